/* Float kernels with AVX2, FMA and F16C: the vocabulary of kernels_float.h in
 * vectors of eight. The end of a float32 row is loaded under a mask. The types
 * of fewer bits have no such load: theirs reads beyond the row (VEC_OVERREAD)
 * and what does not belong to it is cleared, since no garbage may be multiplied
 * with the zeros of the query: it could be infinite. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_avx2.h"
#include "vec/lanes_turn.h"

#define V       __m256
#define V4      __m128
#define V_LANES 8
#define MANY    2

ALWAYS_INLINE bool v_in_tiles(size_t dim)
{
    return dim >= 400;
}

ALWAYS_INLINE V v_zero(void)
{
    return _mm256_setzero_ps();
}

ALWAYS_INLINE V v_query(const float *p)
{
    return _mm256_load_ps(p);
}

ALWAYS_INLINE V v_scale(float scale)
{
    return _mm256_set1_ps(scale);
}

ALWAYS_INLINE V widen(enum vec_type type, __m128i x, V scale)
{
    if (type == VEC_F16) {
        return _mm256_cvtph_ps(x);
    }
    if (type == VEC_BF16) {
        return _mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
    }
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), scale);
}

ALWAYS_INLINE V v_row(enum vec_type type, const uint8_t *p, V scale)
{
    if (type == VEC_F32) {
        return _mm256_loadu_ps((const void *)p);
    }
    if (type == VEC_I8) {
        return widen(type, _mm_loadl_epi64((const void *)p), scale);
    }
    return widen(type, _mm_loadu_si128((const void *)p), scale);
}

ALWAYS_INLINE V v_row_part(enum vec_type type, const uint8_t *p, V scale,
                           size_t n)
{
    const __m256i mask = first_of_eight(n);

    if (type == VEC_F32) {
        return _mm256_maskload_ps((const void *)p, mask);
    }
    return _mm256_and_ps(v_row(type, p, scale), _mm256_castsi256_ps(mask));
}

ALWAYS_INLINE V v_step(enum vec_op op, V sum, V x, V q)
{
    V difference;

    if (op == VEC_OP_DOT) {
        return _mm256_fmadd_ps(x, q, sum);
    }
    difference = _mm256_sub_ps(x, q);
    return op == VEC_OP_L2
               ? _mm256_fmadd_ps(difference, difference, sum)
               : _mm256_add_ps(
                     sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), difference));
}

ALWAYS_INLINE V4 v_keys4(const struct vec_query *q, const V *sums)
{
    return _mm_add_ps(_mm_set1_ps(q->key_add),
                      _mm_mul_ps(_mm_set1_ps(q->key_mul), fold4(sums, false)));
}

ALWAYS_INLINE void v4_store(float *p, V4 keys)
{
    _mm_storeu_ps(p, keys);
}

ALWAYS_INLINE void v4_store_part(float *p, V4 keys, size_t n)
{
    _mm_maskstore_ps(p, first_of_four(n), keys);
}

#define SIDE_LANES 1

#include "vec/kernels_float.h"
#include "vec/kernels_float_side.h"

void vec_avx2_float_fill(struct vec_kernels *k)
{
    fill_floats(k);
    fill_side(k);
}
