/* The nearest of many with AVX-512 and VNNI: one instruction multiplies four
 * components of sixteen vectors with those of a query. */
#include <immintrin.h>

#include "vec/kernels_near.h"

#define VNNI __attribute__((target("avx512vnni")))

enum { MANY = 8, FEW = 4 };

/* Sums of products become keys, which are put out or kept. */
ALWAYS_INLINE VNNI void finish(struct vec_near_query *q, const uint8_t *block,
                               __m512i sums, uint32_t position, float *keys_out)
{
    const __m512 add = _mm512_loadu_ps((const void *)block);
    const __m512 mul =
        _mm512_loadu_ps((const void *)(block + VEC_NEAR_LANES * 4));
    const __m512 keys = _mm512_sub_ps(
        add, _mm512_mul_ps(_mm512_mul_ps(mul, _mm512_set1_ps(q->mul)),
                           _mm512_cvtepi32_ps(sums)));

    if (keys_out) {
        _mm512_storeu_ps(keys_out, keys);
    } else {
        const __mmask16 less =
            _mm512_cmp_ps_mask(keys, _mm512_loadu_ps(q->keys), _CMP_LT_OQ);
        const __m512i at =
            _mm512_add_epi32(_mm512_set1_epi32((int32_t)position),
                             _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                               11, 12, 13, 14, 15));

        _mm512_mask_storeu_ps(q->keys, less, keys);
        _mm512_mask_storeu_epi32(q->at, less, at);
    }
}

ALWAYS_INLINE __m512i word_of(const struct vec_near_query *q, size_t w)
{
    return _mm512_set1_epi32((int32_t)vec_load_u32(q->codes + 4 * w));
}

ALWAYS_INLINE __m512i codes_of(const uint8_t *block, size_t w)
{
    return _mm512_loadu_si512(
        (const void *)(block + NEAR_CODES_AT + w * VEC_ALIGN));
}

/* nq is a constant, at least live. */
ALWAYS_INLINE VNNI void one_block(struct vec_near_query *const *q, size_t nq,
                                  size_t live, size_t n_words,
                                  const uint8_t *block, struct near_out out)
{
    __m512i sums[MANY];
    size_t w, j;

#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        sums[j] = _mm512_set1_epi32(-q[j]->sum);
    }
#pragma GCC unroll 2
    for (w = 0; w < n_words; w++) {
        const __m512i x = codes_of(block, w);

#pragma GCC unroll 8
        for (j = 0; j < nq; j++) {
            sums[j] = _mm512_dpbusd_epi32(sums[j], x, word_of(q[j], w));
        }
    }
#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        if (j < live) {
            finish(q[j], block, sums[j], out.position,
                   out.keys ? out.keys + j * out.stride : NULL);
        }
    }
}

ALWAYS_INLINE VNNI void four_blocks(struct vec_near_query *q, size_t n_words,
                                    const uint8_t *blocks, size_t bytes,
                                    struct near_out out)
{
    __m512i sums[4];
    size_t w, i;

#pragma GCC unroll 4
    for (i = 0; i < 4; i++) {
        sums[i] = _mm512_set1_epi32(-q->sum);
    }
#pragma GCC unroll 2
    for (w = 0; w < n_words; w++) {
        const __m512i word = word_of(q, w);

#pragma GCC unroll 4
        for (i = 0; i < 4; i++) {
            sums[i] = _mm512_dpbusd_epi32(
                sums[i], codes_of(blocks + i * bytes, w), word);
        }
    }
#pragma GCC unroll 4
    for (i = 0; i < 4; i++) {
        finish(q, blocks + i * bytes, sums[i], out.position, out.keys);
        near_go_on(&out, 1);
    }
}

NEAR_KERNEL(near_scan, VNNI, one_block, four_blocks, MANY, FEW)

void vec_avx512_near_fill(struct vec_kernels *k)
{
    k->near_scan = near_scan;
}
