/* Fine parts with AVX2 and BMI2. */
#include <immintrin.h>

#define FINE_WIDEN(from, to)                                                   \
    do {                                                                       \
        float *at = (float *)(void *)(to);                                     \
        __m128i low = (__m128i)(from);                                         \
        __m128i high = _mm_srli_si128(low, 8);                                 \
                                                                               \
        _mm256_storeu_ps(at, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)));   \
        _mm256_storeu_ps(at + 8,                                               \
                         _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)));      \
    } while (0)
#define FINE_SIGNS(v)                                                          \
    ((uint32_t)_mm256_movemask_ps(                                             \
         _mm256_loadu_ps((const float *)(const void *)&(v))) |                 \
     (uint32_t)_mm256_movemask_ps(                                             \
         _mm256_loadu_ps((const float *)(const void *)&(v) + 8))               \
         << 8)

#include "vec/kernels_fine.h"

static const struct vec_fine_kernels kernels = FINE_KERNELS;

void vec_avx2_fine_fill(struct vec_kernels *k)
{
    k->fine = &kernels;
}
