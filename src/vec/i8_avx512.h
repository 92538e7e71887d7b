/* What the I8 kernels with AVX-512 share: from sums to keys, and rows turned so
 * that a lane is a row. See kernels_i8_avx512.c. */
#ifndef VECTRA_VEC_I8_AVX512_H
#define VECTRA_VEC_I8_AVX512_H

#include <immintrin.h>

#include "vec/vec_impl.h"

#define VNNI __attribute__((target("avx512vnni")))

/* ---- keys -------------------------------------------------------------- */

/* vec_i8_dot_key() */
ALWAYS_INLINE __m512 dot_keys(const struct vec_query *q, __m512i dots,
                              __m512 scales)
{
    __m512 both = _mm512_mul_ps(scales, _mm512_set1_ps(q->scale));
    __m512 key = _mm512_sub_ps(_mm512_set1_ps(q->key_add),
                               _mm512_mul_ps(_mm512_cvtepi32_ps(dots), both));

    key = _mm512_max_ps(_mm512_set1_ps(q->key_min), key);
    return _mm512_min_ps(_mm512_set1_ps(q->key_max), key);
}

/* vec_i8_l2_key(), eight rows */
ALWAYS_INLINE __m256 l2_keys8(const struct vec_query *q, __m256i dots,
                              __m256 scales, __m256i sumsqs)
{
    __m512d r = _mm512_cvtps_pd(scales);
    __m512d both =
        _mm512_mul_pd(_mm512_mul_pd(r, _mm512_set1_pd((double)q->scale)),
                      _mm512_set1_pd(2.0));
    __m512d own =
        _mm512_mul_pd(_mm512_mul_pd(r, r), _mm512_cvtepu32_pd(sumsqs));
    __m512d key = _mm512_sub_pd(_mm512_add_pd(own, _mm512_set1_pd(q->self)),
                                _mm512_mul_pd(both, _mm512_cvtepi32_pd(dots)));

    return _mm512_cvtpd_ps(_mm512_max_pd(_mm512_setzero_pd(), key));
}

ALWAYS_INLINE __m512 l2_keys(const struct vec_query *q, __m512i dots,
                             __m512 scales, __m512i sumsqs)
{
    __m256 low = l2_keys8(q, _mm512_castsi512_si256(dots),
                          _mm512_castps512_ps256(scales),
                          _mm512_castsi512_si256(sumsqs));
    __m256 high = l2_keys8(q, _mm512_extracti64x4_epi64(dots, 1),
                           _mm512_extractf32x8_ps(scales, 1),
                           _mm512_extracti64x4_epi64(sumsqs, 1));

    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* Asked where keys are made, once for many rows, so that the code for dot
 * products serves L2 too. */
ALWAYS_INLINE bool is_l2(const struct vec_query *q)
{
    return q->format->metric == VEC_L2;
}

ALWAYS_INLINE __m512 keys_of(const struct vec_query *q, __m512i dots,
                             __m512 scales, __m512i sumsqs)
{
    return is_l2(q) ? l2_keys(q, dots, scales, sumsqs)
                    : dot_keys(q, dots, scales);
}

/* What flipping the codes' top bits adds to a sum. */
ALWAYS_INLINE __m512i bias_of(const struct vec_query *q)
{
    return _mm512_set1_epi32((int32_t)(128u * (uint32_t)q->code_sum));
}

ALWAYS_INLINE __m512i flipped(__m512i codes)
{
    return _mm512_xor_si512(codes, _mm512_set1_epi8((char)0x80));
}

/* ---- rows, turned ------------------------------------------------------- */

ALWAYS_INLINE __m256i two_pieces(const uint8_t *p, const uint8_t *q)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)p)),
        _mm_loadu_si128((const void *)q), 1);
}

/* 16 bytes of rows 0, 4, 8 and 12 from p on. */
ALWAYS_INLINE __m512i four_pieces(const uint8_t *p, size_t stride)
{
    __m256i low = two_pieces(p, p + 4 * stride);
    __m256i high = two_pieces(p + 8 * stride, p + 12 * stride);

    return flipped(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

/* 16 bytes of sixteen rows: lane i of out[w] is the w-th four of row i. */
ALWAYS_INLINE void transpose(const uint8_t *p, size_t stride, __m512i *out)
{
    __m512i a = four_pieces(p, stride);
    __m512i b = four_pieces(p + stride, stride);
    __m512i c = four_pieces(p + 2 * stride, stride);
    __m512i d = four_pieces(p + 3 * stride, stride);
    __m512i ab_low = _mm512_unpacklo_epi32(a, b);
    __m512i ab_high = _mm512_unpackhi_epi32(a, b);
    __m512i cd_low = _mm512_unpacklo_epi32(c, d);
    __m512i cd_high = _mm512_unpackhi_epi32(c, d);

    out[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
    out[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
    out[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    out[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

/* Four bytes at offset `at` of sixteen rows. */
ALWAYS_INLINE __m512 load_factors(const uint8_t *rows, size_t stride, size_t at)
{
    const uint8_t *p = rows + at;
    __m128 four[4];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        __m128 v = _mm_load_ss((const void *)p);

        v = _mm_insert_ps(v, _mm_load_ss((const void *)(p + stride)), 0x10);
        v = _mm_insert_ps(v, _mm_load_ss((const void *)(p + 2 * stride)), 0x20);
        v = _mm_insert_ps(v, _mm_load_ss((const void *)(p + 3 * stride)), 0x30);
        four[k] = v;
        p += 4 * stride;
    }
    return _mm512_insertf32x8(
        _mm512_castps256_ps512(_mm256_set_m128(four[1], four[0])),
        _mm256_set_m128(four[3], four[2]), 1);
}

#endif
