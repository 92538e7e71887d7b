/* All kernels for 64-bit ARM with DOTPROD and FP16 (every server core since
 * about 2019): the vocabulary of kernels_float.h in vectors of four, SDOT for
 * I8 and byte counts for BIT. Making rows is left to kernels_scalar.c, which a
 * compiler for this processor vectorises.
 *
 * SDOT takes signed bytes on both sides and adds groups of four products to
 * 32-bit sums, so nothing has to be corrected and nothing overflows. What a
 * load brings in from beyond a row's codes meets zeros of the query. */
#include "vec/vec_impl.h"

#include <arm_neon.h>

/* ---- floats ------------------------------------------------------------ */

#define V       float32x4_t
#define V4      float32x4_t
#define V_LANES 4
#define MANY    4

ALWAYS_INLINE bool v_in_tiles(size_t dim)
{
    return dim >= 400;
}

ALWAYS_INLINE V v_zero(void)
{
    return vdupq_n_f32(0);
}

ALWAYS_INLINE V v_query(const float *p)
{
    return vld1q_f32(p);
}

ALWAYS_INLINE V v_scale(float scale)
{
    return vdupq_n_f32(scale);
}

ALWAYS_INLINE V v_row(enum vec_type type, const uint8_t *p, V scale)
{
    int16x8_t codes;
    uint16x4_t halves;

    if (type == VEC_F32) {
        return vreinterpretq_f32_u8(vld1q_u8(p));
    }
    if (type == VEC_I8) {
        codes = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(vec_load_u32(p))));
        return vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes))), scale);
    }
    halves = vreinterpret_u16_u8(vld1_u8(p));
    if (type == VEC_F16) {
        return vcvt_f32_f16(vreinterpret_f16_u16(halves));
    }
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(halves), 16));
}

ALWAYS_INLINE V v_row_part(enum vec_type type, const uint8_t *p, V scale,
                           size_t n)
{
    uint8_t part[16] = {0};

    memcpy(part, p, n * (type == VEC_F32 ? 4 : type == VEC_I8 ? 1 : 2));
    return v_row(type, part, scale);
}

ALWAYS_INLINE V v_step(enum vec_op op, V sum, V x, V q)
{
    V difference;

    if (op == VEC_OP_DOT) {
        return vfmaq_f32(sum, x, q);
    }
    difference = vsubq_f32(x, q);
    return op == VEC_OP_L2 ? vfmaq_f32(sum, difference, difference)
                           : vaddq_f32(sum, vabsq_f32(difference));
}

ALWAYS_INLINE V4 v_keys4(const struct vec_query *q, const V *sums)
{
    V4 sum =
        vpaddq_f32(vpaddq_f32(sums[0], sums[1]), vpaddq_f32(sums[2], sums[3]));

    return vaddq_f32(vdupq_n_f32(q->key_add),
                     vmulq_f32(vdupq_n_f32(q->key_mul), sum));
}

ALWAYS_INLINE void v4_store(float *p, V4 keys)
{
    vst1q_f32(p, keys);
}

ALWAYS_INLINE void v4_store_part(float *p, V4 keys, size_t n)
{
    float all[4];

    vst1q_f32(all, keys);
    memcpy(p, all, n * sizeof(float));
}

#include "vec/kernels_float.h"

/* ---- I8 ---------------------------------------------------------------- */

ALWAYS_INLINE int8x16_t codes_at(const uint8_t *p)
{
    return vreinterpretq_s8_u8(vld1q_u8(p));
}

ALWAYS_INLINE int32x4_t dot_row(const uint8_t *q, const uint8_t *row,
                                size_t dim)
{
    int32x4_t even = vdupq_n_s32(0);
    int32x4_t odd = vdupq_n_s32(0);
    size_t i;

    for (i = 0; i + 32 <= dim; i += 32) {
        even = vdotq_s32(even, codes_at(row + i), codes_at(q + i));
        odd = vdotq_s32(odd, codes_at(row + i + 16), codes_at(q + i + 16));
    }
    for (; i < dim; i += 16) {
        even = vdotq_s32(even, codes_at(row + i), codes_at(q + i));
    }
    return vaddq_s32(even, odd);
}

/* Rows first to first + count - 1, count <= 4; the last one stands in for
 * missing ones. */
ALWAYS_INLINE void score_four_codes(const struct vec_query *q,
                                    const struct vec_rows *rows, size_t first,
                                    size_t count, enum vec_op op, float *keys)
{
    const struct vec_format *f = q->format;
    const uint8_t *row[4];
    int32x4_t sums[4];
    int32_t dots[4];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        row[k] = vec_row(rows, first + (k < count ? k : count - 1));
        VEC_KEEP_ORDER(row[k]);
        sums[k] = dot_row(q->code, row[k], f->dim);
    }
    vst1q_s32(dots, vpaddq_s32(vpaddq_s32(sums[0], sums[1]),
                               vpaddq_s32(sums[2], sums[3])));
    for (k = 0; k < count; k++) {
        const float scale = vec_i8_scale(f, row[k]);

        keys[k] = op == VEC_OP_L2
                      ? vec_i8_l2_key(q, dots[k], scale,
                                      vec_load_u32(row[k] + f->factor_at + 8))
                      : vec_i8_dot_key(q, dots[k], scale);
    }
}

/* ---- BIT --------------------------------------------------------------- */

ALWAYS_INLINE float bit_key(const struct vec_query *q, const uint8_t *row)
{
    const size_t end = q->format->code_bytes;
    uint16x8_t sums = vdupq_n_u16(0); /* at most 512 * 16 */
    uint32_t bits = 0;
    size_t i;

    for (i = 0; i + 16 <= end; i += 16) {
        uint8x16_t x = veorq_u8(vld1q_u8(row + i), vld1q_u8(q->code + i));

        sums = vpadalq_u8(sums, vcntq_u8(x));
    }
    if (i < end) {
        bits =
            vaddv_u8(vcnt_u8(veor_u8(vld1_u8(row + i), vld1_u8(q->code + i))));
    }
    bits += vaddlvq_u16(sums);
    return (q->key_add + q->key_mul * (float)(int32_t)bits) / q->key_div;
}

ALWAYS_INLINE void score_four_bits(const struct vec_query *q,
                                   const struct vec_rows *rows, size_t first,
                                   size_t count, enum vec_op op, float *keys)
{
    size_t k;

    (void)op;
    for (k = 0; k < count; k++) {
        keys[k] = bit_key(q, vec_row(rows, first + k));
    }
}

/* ---- by fours ---------------------------------------------------------- */

#define BY_FOURS(name, score, op)                                              \
    ALWAYS_INLINE void rows_##name(const struct vec_query *q,                  \
                                   const struct vec_rows *rows, float *keys)   \
    {                                                                          \
        const size_t row_bytes = q->format->row_bytes;                         \
        const size_t ahead = vec_gather_ahead(row_bytes);                      \
        size_t i;                                                              \
                                                                               \
        for (i = 0; rows->at && i < ahead; i += 4) {                           \
            vec_prefetch_four(rows, i, row_bytes);                             \
        }                                                                      \
        for (i = 0; i + 4 <= rows->n; i += 4) {                                \
            if (rows->at) {                                                    \
                vec_prefetch_four(rows, i + ahead, row_bytes);                 \
            }                                                                  \
            score(q, rows, i, 4, op, keys + i);                                \
        }                                                                      \
        if (i < rows->n) {                                                     \
            score(q, rows, i, rows->n - i, op, keys + i);                      \
        }                                                                      \
    }                                                                          \
    static void scan_##name(const struct vec_query *q, const uint8_t *rows,    \
                            size_t n, float *keys)                             \
    {                                                                          \
        const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};     \
                                                                               \
        rows_##name(q, &set, keys);                                            \
    }                                                                          \
    static void gather_##name(const struct vec_query *q,                       \
                              const uint8_t *const *rows, size_t n,            \
                              float *keys)                                     \
    {                                                                          \
        const struct vec_rows set = {NULL, 0, rows, n};                        \
                                                                               \
        rows_##name(q, &set, keys);                                            \
    }                                                                          \
    static void many_##name(const struct vec_query *const *q, size_t nq,       \
                            const uint8_t *rows, size_t n, float *keys,        \
                            size_t key_stride)                                 \
    {                                                                          \
        take_turns(q, nq, rows, n, keys, key_stride, scan_##name);             \
    }

BY_FOURS(codes_dot, score_four_codes, VEC_OP_DOT)
BY_FOURS(codes_l2, score_four_codes, VEC_OP_L2)
BY_FOURS(bits, score_four_bits, VEC_OP_DOT)

void vec_neon_fill(struct vec_kernels *k)
{
    int op;

    fill_floats(k);
    PUT_KERNELS(k, codes_dot, VEC_I8, VEC_OP_DOT);
    PUT_KERNELS(k, codes_l2, VEC_I8, VEC_OP_L2);
    for (op = 0; op < VEC_OP_COUNT; op++) {
        PUT_KERNELS(k, bits, VEC_BIT, op);
    }
}
