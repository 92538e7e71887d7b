/* Adding up many vectors of partial sums at once.
 *
 * A kernel that scores sixteen rows ends up with sixteen vectors of sixteen
 * partial sums. Adding up each by itself costs about ten dependent
 * instructions; here two vectors are folded into one, then two of those, and
 * four steps later lane i holds the sum of vector i: 15 additions for all, with
 * a blend in place of a shuffle where lanes can stay.
 *
 * Every vector is folded in the same pattern (halves of 128 bits, neighbours,
 * then the same with 128-bit lanes), so the rounding of a float sum does not
 * depend on the place a row took. That vec_scan_many() and vec_gather() are
 * bit-equal to vec_scan() rests on it. */
#ifndef VECTRA_VEC_LANES_AVX512_H
#define VECTRA_VEC_LANES_AVX512_H

#include <immintrin.h>
#include <stdbool.h>

#include "base/macros.h"

/* Makes the compiler hold a vector in a register. Left alone it reads it from
 * memory at each use, and loads are what these kernels have too many of. */
#define HOLD_VECTOR(v) __asm__ volatile("" : "+v"(v))

ALWAYS_INLINE __m512 add_lanes(__m512 a, __m512 b, bool integers)
{
    return integers ? _mm512_castsi512_ps(_mm512_add_epi32(
                          _mm512_castps_si512(a), _mm512_castps_si512(b)))
                    : _mm512_add_ps(a, b);
}

/* Of each 128 bits: a0+a2, a1+a3, b2+b0, b3+b1. */
ALWAYS_INLINE __m512 fold_halves(__m512 a, __m512 b, bool integers)
{
    __m512 kept = _mm512_mask_blend_ps(0xcccc, a, b);
    __m512 moved = _mm512_castpd_ps(
        _mm512_shuffle_pd(_mm512_castps_pd(a), _mm512_castps_pd(b), 0x55));

    return add_lanes(kept, moved, integers);
}

/* Of each 128 bits: a0+a1, a2+a3, b0+b1, b2+b3. */
ALWAYS_INLINE __m512 fold_neighbours(__m512 a, __m512 b, bool integers)
{
    return add_lanes(_mm512_shuffle_ps(a, b, 0x88),
                     _mm512_shuffle_ps(a, b, 0xdd), integers);
}

/* Of the four 128-bit lanes: a0+a2, a1+a3, b2+b0, b3+b1. */
ALWAYS_INLINE __m512 fold_wide_halves(__m512 a, __m512 b, bool integers)
{
    return add_lanes(_mm512_mask_blend_ps(0xff00, a, b),
                     _mm512_shuffle_f32x4(a, b, 0x4e), integers);
}

/* Of the four 128-bit lanes: a0+a1, a2+a3, b0+b1, b2+b3. */
ALWAYS_INLINE __m512 fold_wide_neighbours(__m512 a, __m512 b, bool integers)
{
    return add_lanes(_mm512_shuffle_f32x4(a, b, 0x88),
                     _mm512_shuffle_f32x4(a, b, 0xdd), integers);
}

/* Four vectors to one, v[i] to lane i of each 128 bits: the first half of
 * adding up sixteen. */
ALWAYS_INLINE __m512 fold4(const __m512 *v, bool integers)
{
    return fold_neighbours(fold_halves(v[0], v[1], integers),
                           fold_halves(v[2], v[3], integers), integers);
}

/* The second half, of four results of fold4(): lane 4 * g + i of the result is
 * the sum of vector i of the four that went into v[g]. */
ALWAYS_INLINE __m512 fold_wide4(const __m512 *v, bool integers)
{
    return fold_wide_neighbours(fold_wide_halves(v[0], v[1], integers),
                                fold_wide_halves(v[2], v[3], integers),
                                integers);
}

/* The second half of one result of fold4() by itself, in the same order. */
ALWAYS_INLINE __m128 fold_wide1(__m512 v)
{
    __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));

    return _mm_add_ps(_mm256_castps256_ps128(half),
                      _mm256_extractf128_ps(half, 1));
}

#endif
