/* Turning eight vectors of eight lanes: lane j of vector i becomes lane i of
 * vector j. */
#ifndef VECTRA_VEC_LANES_TURN_H
#define VECTRA_VEC_LANES_TURN_H

#include <immintrin.h>
#include <stddef.h>

#include "base/macros.h"

ALWAYS_INLINE void turn8(__m256 *v)
{
    __m256 a[8];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 8; k += 2) {
        a[k] = _mm256_unpacklo_ps(v[k], v[k + 1]);
        a[k + 1] = _mm256_unpackhi_ps(v[k], v[k + 1]);
    }
#pragma GCC unroll 2
    for (k = 0; k < 8; k += 4) {
        v[k] = _mm256_shuffle_ps(a[k], a[k + 2], 0x44);
        v[k + 1] = _mm256_shuffle_ps(a[k], a[k + 2], 0xee);
        v[k + 2] = _mm256_shuffle_ps(a[k + 1], a[k + 3], 0x44);
        v[k + 3] = _mm256_shuffle_ps(a[k + 1], a[k + 3], 0xee);
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        const __m256 low = v[k];
        const __m256 high = v[k + 4];

        v[k] = _mm256_permute2f128_ps(low, high, 0x20);
        v[k + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

#endif
