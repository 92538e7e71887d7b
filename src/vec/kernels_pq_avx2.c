/* Scanning product codes with AVX2: as with AVX-512, two parts at a time. */
#include <immintrin.h>

#include "vec/kernels_pq.h"

PQ_PLAIN

PQ_TURN(16)
PQ_TURN(32)

static void turn(const uint8_t *const *rows, uint32_t m, uint8_t *block)
{
    size_t part;

    for (part = 0; part + 64 <= m; part += 64) {
        pq_turn_bytes_32(rows, part / 2, 64, block + 16 * part);
    }
    for (; part < m; part += 32) {
        size_t left = m - part;

        pq_turn_bytes_16(rows, part / 2, left < 32 ? left : 32,
                         block + 16 * part);
    }
}

/* Sums of even bytes, and of odd ones; `mixed` is even + 256 * odd. */
struct wide {
    __m256i mixed;
    __m256i odd;
};

ALWAYS_INLINE void widen(struct wide *w, __m256i bytes)
{
    w->mixed = _mm256_add_epi16(w->mixed, bytes);
    w->odd = _mm256_add_epi16(w->odd, _mm256_srli_epi16(bytes, 8));
}

/* The 16 sums, in order, of the two lanes of a struct wide. */
ALWAYS_INLINE __m256i sums_of_wide(const struct wide *w)
{
    __m256i even = _mm256_sub_epi16(w->mixed, _mm256_slli_epi16(w->odd, 8));
    __m128i e = _mm_add_epi16(_mm256_castsi256_si128(even),
                              _mm256_extracti128_si256(even, 1));
    __m128i o = _mm_add_epi16(_mm256_castsi256_si128(w->odd),
                              _mm256_extracti128_si256(w->odd, 1));

    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_unpacklo_epi16(e, o)),
        _mm_unpackhi_epi16(e, o), 1);
}

ALWAYS_INLINE void add_group(struct wide *low, struct wide *high,
                             const uint8_t *codes, const uint8_t *tables,
                             size_t n)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i l = _mm256_setzero_si256();
    __m256i h = _mm256_setzero_si256();
    size_t i;

#pragma GCC unroll 4
    for (i = 0; i < n; i++) {
        __m256i c = _mm256_loadu_si256((const void *)(codes + 32 * i));
        __m256i t = _mm256_load_si256((const void *)(tables + 32 * i));
        __m256i lc = _mm256_and_si256(c, nibble);
        __m256i hc = _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble);

        l = _mm256_add_epi8(l, _mm256_shuffle_epi8(t, lc));
        h = _mm256_add_epi8(h, _mm256_shuffle_epi8(t, hc));
    }
    widen(low, l);
    widen(high, h);
}

/* Keys of eight lanes. */
ALWAYS_INLINE __m256 keys_of(const struct vec_pq_query *q, const uint8_t *block,
                             size_t from, __m128i sums)
{
    const struct vec_pq *pq = q->pq;
    __m256 key = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(sums));
    __m256 add = _mm256_set1_ps(q->add);

    key = _mm256_add_ps(_mm256_mul_ps(key, _mm256_set1_ps(q->step)),
                        _mm256_set1_ps(q->base));
    if (pq->ratio_at) {
        __m128i ratio =
            _mm_loadu_si128((const void *)(block + pq->ratio_at + 2 * from));

        key = _mm256_mul_ps(key,
                            _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(ratio)));
    }
    if (pq->square_at) {
        add = _mm256_add_ps(
            add, _mm256_loadu_ps((const float *)(const void *)(block +
                                                               pq->square_at +
                                                               4 * from)));
    }
    return _mm256_add_ps(add, key);
}

/* Keys of 16 lanes; which are not above the limit. */
ALWAYS_INLINE uint32_t put_half(const struct vec_pq_query *q,
                                const uint8_t *block, size_t from, __m256i sums,
                                __m256 limit, float *keys)
{
    __m256 a = keys_of(q, block, from, _mm256_castsi256_si128(sums));
    __m256 b = keys_of(q, block, from + 8, _mm256_extracti128_si256(sums, 1));

    _mm256_storeu_ps(keys + from, a);
    _mm256_storeu_ps(keys + from + 8, b);
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, limit, _CMP_LE_OQ)) |
           (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(b, limit, _CMP_LE_OQ))
               << 8;
}

static uint32_t scan_block(const struct vec_pq_query *q, const uint8_t *block,
                           __m256 limit, float *keys)
{
    const size_t n = (q->pq->m + 1) / 2;
    struct wide low = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    struct wide high = low;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        add_group(&low, &high, block + 32 * i, q->tables + 32 * i, 4);
    }
    for (; i < n; i++) {
        add_group(&low, &high, block + 32 * i, q->tables + 32 * i, 1);
    }
    return put_half(q, block, 0, sums_of_wide(&low), limit, keys) |
           put_half(q, block, 16, sums_of_wide(&high), limit, keys) << 16;
}

static void scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys)
{
    const __m256 most = _mm256_set1_ps(limit);
    size_t i;

    for (i = 0; i < n; i++, keys += VEC_PQ_LANES) {
        pq_fetch(blocks, i, n, q->pq->block_bytes);
        below[i] = LIKELY(blocks[i] != NULL)
                       ? scan_block(q, blocks[i], most, keys)
                       : 0;
    }
}

static const struct vec_pq_kernels kernels = {nearest, table, scan, turn};

void vec_avx2_pq_fill(struct vec_kernels *k)
{
    k->pq = &kernels;
}
