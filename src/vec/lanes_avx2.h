/* Adding up four vectors of eight partial sums at once: what lanes_avx512.h
 * does, in half the width, and in one pattern for the same reason. */
#ifndef VECTRA_VEC_LANES_AVX2_H
#define VECTRA_VEC_LANES_AVX2_H

#include <immintrin.h>
#include <stdbool.h>

#include "base/macros.h"

ALWAYS_INLINE __m256 add_lanes(__m256 a, __m256 b, bool integers)
{
    return integers ? _mm256_castsi256_ps(_mm256_add_epi32(
                          _mm256_castps_si256(a), _mm256_castps_si256(b)))
                    : _mm256_add_ps(a, b);
}

/* Of each 128 bits: a0+a2, a1+a3, b2+b0, b3+b1. */
ALWAYS_INLINE __m256 fold_halves(__m256 a, __m256 b, bool integers)
{
    __m256 kept = _mm256_blend_ps(a, b, 0xcc);
    __m256 moved = _mm256_castpd_ps(
        _mm256_shuffle_pd(_mm256_castps_pd(a), _mm256_castps_pd(b), 0x5));

    return add_lanes(kept, moved, integers);
}

/* Lane i of the result is the sum of the lanes of v[i]. */
ALWAYS_INLINE __m128 fold4(const __m256 *v, bool integers)
{
    __m256 ab = fold_halves(v[0], v[1], integers);
    __m256 cd = fold_halves(v[2], v[3], integers);
    __m256 sums = add_lanes(_mm256_shuffle_ps(ab, cd, 0x88),
                            _mm256_shuffle_ps(ab, cd, 0xdd), integers);
    __m256 upper = _mm256_permute2f128_ps(sums, sums, 0x81);

    return _mm256_castps256_ps128(add_lanes(sums, upper, integers));
}

ALWAYS_INLINE __m128i fold4_i32(const __m256i *v)
{
    const __m256 sums[4] = {
        _mm256_castsi256_ps(v[0]), _mm256_castsi256_ps(v[1]),
        _mm256_castsi256_ps(v[2]), _mm256_castsi256_ps(v[3])};

    return _mm_castps_si128(fold4(sums, true));
}

/* The first n lanes of four, n <= 4. */
ALWAYS_INLINE __m128i first_of_four(size_t n)
{
    return _mm_cmpgt_epi32(_mm_set1_epi32((int)n), _mm_set_epi32(3, 2, 1, 0));
}

/* The first n lanes of eight. */
ALWAYS_INLINE __m256i first_of_eight(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n),
                              _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

#endif
