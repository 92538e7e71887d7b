/* The nearest of many with AVX2: components as 16-bit numbers, even and odd
 * ones apart, since products of bytes would not fit. */
#include <immintrin.h>

#include "vec/kernels_near.h"

enum { MANY = 4, FEW = 2 };

ALWAYS_INLINE __m256i even(__m256i v)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
}

ALWAYS_INLINE __m256i odd(__m256i v)
{
    return _mm256_srai_epi16(v, 8);
}

/* nq is a constant, at least live; eight of the block's vectors. */
ALWAYS_INLINE void half_block(struct vec_near_query *const *q, size_t nq,
                              size_t live, size_t n_words, const uint8_t *block,
                              size_t half, struct near_out out)
{
    const size_t lane = 8 * half;
    const __m256 add =
        _mm256_loadu_ps((const float *)(const void *)block + lane);
    const __m256 mul = _mm256_loadu_ps((const float *)(const void *)block +
                                       VEC_NEAR_LANES + lane);
    const __m256i at =
        _mm256_add_epi32(_mm256_set1_epi32((int32_t)(out.position + lane)),
                         _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const uint8_t *codes = block + NEAR_CODES_AT + 4 * lane;
    __m256i sums[MANY];
    size_t w, j;

#pragma GCC unroll 4
    for (j = 0; j < nq; j++) {
        sums[j] = _mm256_setzero_si256();
    }
    for (w = 0; w < n_words; w++) {
        const __m256i x = _mm256_xor_si256(
            _mm256_loadu_si256((const void *)(codes + w * VEC_ALIGN)),
            _mm256_set1_epi8((char)-128));
        const __m256i x_even = even(x), x_odd = odd(x);

#pragma GCC unroll 4
        for (j = 0; j < nq; j++) {
            const __m256i y =
                _mm256_set1_epi32((int32_t)vec_load_u32(q[j]->codes + 4 * w));

            sums[j] = _mm256_add_epi32(
                sums[j], _mm256_add_epi32(_mm256_madd_epi16(x_even, even(y)),
                                          _mm256_madd_epi16(x_odd, odd(y))));
        }
    }
#pragma GCC unroll 4
    for (j = 0; j < nq; j++) {
        const __m256 keys = _mm256_sub_ps(
            add, _mm256_mul_ps(_mm256_mul_ps(mul, _mm256_set1_ps(q[j]->mul)),
                               _mm256_cvtepi32_ps(sums[j])));

        if (j >= live) {
            break;
        }
        if (out.keys) {
            _mm256_storeu_ps(out.keys + j * out.stride + lane, keys);
        } else {
            const __m256i less = _mm256_castps_si256(_mm256_cmp_ps(
                keys, _mm256_loadu_ps(q[j]->keys + lane), _CMP_LT_OQ));

            _mm256_maskstore_ps(q[j]->keys + lane, less, keys);
            _mm256_maskstore_epi32((int *)(void *)q[j]->at + lane, less, at);
        }
    }
}

ALWAYS_INLINE void one_block(struct vec_near_query *const *q, size_t nq,
                             size_t live, size_t n_words, const uint8_t *block,
                             struct near_out out)
{
    half_block(q, nq, live, n_words, block, 0, out);
    half_block(q, nq, live, n_words, block, 1, out);
}

ALWAYS_INLINE void four_blocks(struct vec_near_query *q, size_t n_words,
                               const uint8_t *blocks, size_t bytes,
                               struct near_out out)
{
    size_t i;

    for (i = 0; i < 4; i++) {
        one_block(&q, 1, 1, n_words, blocks + i * bytes, out);
        near_go_on(&out, 1);
    }
}

NEAR_KERNEL(near_scan, , one_block, four_blocks, MANY, FEW)

void vec_avx2_near_fill(struct vec_kernels *k)
{
    k->near_scan = near_scan;
}
