/* Fine parts with AVX-512 (DQ). */
#include <immintrin.h>

#define FINE_WIDEN(from, to)                                                   \
    (*(to) = (fine_floats)_mm512_cvtepi32_ps(                                  \
         _mm512_cvtepi8_epi32((__m128i)(from))))
#define FINE_SIGNS(v) ((uint32_t)_mm512_movepi32_mask((__m512i)(v)))

#include "vec/kernels_fine.h"

static const struct vec_fine_kernels kernels = FINE_KERNELS;

void vec_avx512_fine_fill(struct vec_kernels *k)
{
    k->fine = &kernels;
}
