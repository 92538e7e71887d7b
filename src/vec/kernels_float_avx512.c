/* Float kernels with AVX-512 (F, BW, DQ, VL): the vocabulary of kernels_float.h
 * in vectors of sixteen. The end of a row is loaded under a mask, which reads
 * nothing beyond it and leaves zeros, as the query has them there. Why not
 * VDPBF16PS: see dispatch.c. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_avx512.h"
#include "vec/lanes_turn.h"

#define V       __m512
#define V4      __m128
#define V_LANES 16
#define MANY    4

ALWAYS_INLINE bool v_in_tiles(size_t dim)
{
    (void)dim;
    return false; /* slower from memory at any length */
}

ALWAYS_INLINE V v_zero(void)
{
    return _mm512_setzero_ps();
}

ALWAYS_INLINE V v_query(const float *p)
{
    return _mm512_load_ps(p);
}

ALWAYS_INLINE V v_scale(float scale)
{
    return _mm512_set1_ps(scale);
}

ALWAYS_INLINE V widen_halves(enum vec_type type, __m256i halves)
{
    return type == VEC_F16 ? _mm512_cvtph_ps(halves)
                           : _mm512_castsi512_ps(_mm512_slli_epi32(
                                 _mm512_cvtepu16_epi32(halves), 16));
}

ALWAYS_INLINE V widen_codes(__m128i codes, V scale)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)),
                         scale);
}

ALWAYS_INLINE V v_row(enum vec_type type, const uint8_t *p, V scale)
{
    if (type == VEC_F32) {
        return _mm512_loadu_ps(p);
    }
    if (type == VEC_I8) {
        return widen_codes(_mm_loadu_si128((const void *)p), scale);
    }
    return widen_halves(type, _mm256_loadu_si256((const void *)p));
}

ALWAYS_INLINE V v_row_part(enum vec_type type, const uint8_t *p, V scale,
                           size_t n)
{
    const __mmask16 mask = (__mmask16)((1u << n) - 1);

    if (type == VEC_F32) {
        return _mm512_maskz_loadu_ps(mask, p);
    }
    if (type == VEC_I8) {
        return widen_codes(_mm_maskz_loadu_epi8(mask, p), scale);
    }
    return widen_halves(type, _mm256_maskz_loadu_epi16(mask, p));
}

ALWAYS_INLINE V v_step(enum vec_op op, V sum, V x, V q)
{
    V difference;

    if (op == VEC_OP_DOT) {
        return _mm512_fmadd_ps(x, q, sum);
    }
    difference = _mm512_sub_ps(x, q);
    return op == VEC_OP_L2 ? _mm512_fmadd_ps(difference, difference, sum)
                           : _mm512_add_ps(sum, _mm512_abs_ps(difference));
}

ALWAYS_INLINE V4 v_keys4(const struct vec_query *q, const V *sums)
{
    V4 sum = fold_wide1(fold4(sums, false));

    return _mm_add_ps(_mm_set1_ps(q->key_add),
                      _mm_mul_ps(_mm_set1_ps(q->key_mul), sum));
}

ALWAYS_INLINE void v4_store(float *p, V4 keys)
{
    _mm_storeu_ps(p, keys);
}

ALWAYS_INLINE void v4_store_part(float *p, V4 keys, size_t n)
{
    _mm_mask_storeu_ps(p, (__mmask8)((1u << n) - 1), keys);
}

#define SIDE_LANES 2

#include "vec/kernels_float.h"
#include "vec/kernels_float_side.h"

void vec_avx512_float_fill(struct vec_kernels *k)
{
    fill_floats(k);
    fill_side(k);
}
