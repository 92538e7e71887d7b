/* Scanning product codes with AVX-512: a register holds the codes of four parts
 * of a block, and the four tables of these parts.
 *
 * Sums of a byte each go up to four parts deep in each 128-bit lane before they
 * are widened. Then the lanes are added up, and the 32 sums of a block are in
 * one register. */
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
    __m512i mixed;
    __m512i odd;
};

ALWAYS_INLINE void widen(struct wide *w, __m512i bytes)
{
    w->mixed = _mm512_add_epi16(w->mixed, bytes);
    w->odd = _mm512_add_epi16(w->odd, _mm512_srli_epi16(bytes, 8));
}

ALWAYS_INLINE __m512i even_of(const struct wide *w)
{
    return _mm512_sub_epi16(w->mixed, _mm512_slli_epi16(w->odd, 8));
}

/* Adds up n <= 4 registers of codes from `at` on. */
ALWAYS_INLINE void add_group(struct wide *low, struct wide *high,
                             const uint8_t *codes, const uint8_t *tables,
                             size_t n)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i l = _mm512_setzero_si512();
    __m512i h = _mm512_setzero_si512();
    size_t i;

#pragma GCC unroll 4
    for (i = 0; i < n; i++) {
        __m512i c = _mm512_loadu_si512(codes + 64 * i);
        __m512i t = _mm512_load_si512(tables + 64 * i);
        __m512i lc = _mm512_and_si512(c, nibble);
        __m512i hc = _mm512_and_si512(_mm512_srli_epi16(c, 4), nibble);

        l = _mm512_add_epi8(l, _mm512_shuffle_epi8(t, lc));
        h = _mm512_add_epi8(h, _mm512_shuffle_epi8(t, hc));
    }
    widen(low, l);
    widen(high, h);
}

/* Lanes of the result: the sums of a's lanes, of b's, of c's, of d's. */
ALWAYS_INLINE __m512i add_lanes(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi16(_mm512_shuffle_i64x2(a, b, 0x44),
                                  _mm512_shuffle_i64x2(a, b, 0xee));
    __m512i cd = _mm512_add_epi16(_mm512_shuffle_i64x2(c, d, 0x44),
                                  _mm512_shuffle_i64x2(c, d, 0xee));

    return _mm512_add_epi16(_mm512_shuffle_i64x2(ab, cd, 0x88),
                            _mm512_shuffle_i64x2(ab, cd, 0xdd));
}

/* The 32 sums of a block, in order. */
ALWAYS_INLINE __m512i sums_of(const struct vec_pq_query *q,
                              const uint8_t *block, __m512i order)
{
    const size_t n = (q->pq->m + 3) / 4;
    struct wide low = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    struct wide high = low;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        add_group(&low, &high, block + 64 * i, q->tables + 64 * i, 4);
    }
    switch (n - i) {
    case 3:
        add_group(&low, &high, block + 64 * i, q->tables + 64 * i, 3);
        break;
    case 2:
        add_group(&low, &high, block + 64 * i, q->tables + 64 * i, 2);
        break;
    case 1:
        add_group(&low, &high, block + 64 * i, q->tables + 64 * i, 1);
        break;
    default:
        break;
    }
    return _mm512_permutexvar_epi16(
        order, add_lanes(even_of(&low), low.odd, even_of(&high), high.odd));
}

/* Keys of 16 lanes, the sums of which are in the low half. */
ALWAYS_INLINE __m512 keys_of(const struct vec_pq_query *q, const uint8_t *block,
                             size_t from, __m256i sums)
{
    const struct vec_pq *pq = q->pq;
    __m512 key = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sums));
    __m512 add = _mm512_set1_ps(q->add);

    key = _mm512_add_ps(_mm512_mul_ps(key, _mm512_set1_ps(q->step)),
                        _mm512_set1_ps(q->base));
    if (pq->ratio_at) {
        __m256i ratio =
            _mm256_loadu_si256((const void *)(block + pq->ratio_at + 2 * from));

        key = _mm512_mul_ps(key,
                            _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(ratio)));
    }
    if (pq->square_at) {
        add = _mm512_add_ps(add,
                            _mm512_loadu_ps(block + pq->square_at + 4 * from));
    }
    return _mm512_add_ps(add, key);
}

static void scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys)
{
    /* Even ones of 0..15, odd ones, even ones of 16..31, odd ones. */
    const __m512i order = _mm512_set_epi16(
        31, 23, 30, 22, 29, 21, 28, 20, 27, 19, 26, 18, 25, 17, 24, 16, 15, 7,
        14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
    const __m512 most = _mm512_set1_ps(limit);
    size_t i;

    for (i = 0; i < n; i++, keys += VEC_PQ_LANES) {
        const uint8_t *block = blocks[i];
        __m512i sums;
        __m512 a, b;

        pq_fetch(blocks, i, n, q->pq->block_bytes);
        below[i] = 0;
        if (UNLIKELY(!block)) {
            continue;
        }
        sums = sums_of(q, block, order);
        a = keys_of(q, block, 0, _mm512_castsi512_si256(sums));
        b = keys_of(q, block, 16, _mm512_extracti64x4_epi64(sums, 1));
        below[i] = (uint32_t)_mm512_cmp_ps_mask(a, most, _CMP_LE_OQ) |
                   (uint32_t)_mm512_cmp_ps_mask(b, most, _CMP_LE_OQ) << 16;
        if (below[i]) {
            _mm512_storeu_ps(keys, a);
            _mm512_storeu_ps(keys + 16, b);
        }
    }
}

static const struct vec_pq_kernels kernels = {nearest, table, scan, turn};

void vec_avx512_pq_fill(struct vec_kernels *k)
{
    k->pq = &kernels;
}
