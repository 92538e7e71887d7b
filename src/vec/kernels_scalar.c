/* The kernels in plain C: what runs where nothing better is known, and the
 * reference for what the others must do.
 *
 * Float sums are kept in LANES partial sums that the compiler can hold in
 * whatever vectors the baseline has; that also keeps rounding errors down for
 * long vectors. Everything that makes rows out of vectors uses operations that
 * IEEE 754 rounds exactly and one order of additions, so that the vector
 * kernels can, and do, give the same bytes. */
#include <math.h>

#include "vec/vec_impl.h"

enum { LANES = 16 };

/* ---- half floats ------------------------------------------------------- */

static float from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint16_t load_u16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* Exponent and mantissa move into place; multiplying by 2^112 corrects the
 * exponent's bias and normalises denormals at once. Infinity and NaN need the
 * full exponent back. */
static float widen_f16_one(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = (uint32_t)(half & 0x7fff) << 13;
    float value = from_bits(rest) * 0x1p112f;
    uint32_t bits;

    if (rest >= 0x7c00u << 13) {
        return from_bits(sign | rest | 0x7f800000u);
    }
    memcpy(&bits, &value, sizeof(bits));
    return from_bits(sign | bits);
}

static float widen_bf16_one(uint16_t half)
{
    return from_bits((uint32_t)half << 16);
}

/* To the nearest, ties to even, as VCVTPS2PH does. */
static uint16_t narrow_f16_one(float value)
{
    uint32_t bits;
    uint32_t sign;

    memcpy(&bits, &value, sizeof(bits));
    sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits < 0x38800000) { /* a denormal half: let an addition round it */
        float magic = from_bits(bits) + 0.5f;

        memcpy(&bits, &magic, sizeof(bits));
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    bits += 0xfff + ((bits >> 13) & 1);
    bits -= 0x38000000;
    return (uint16_t)(sign | (bits >= 0x0f800000 ? 0x7c00 : bits >> 13));
}

static uint16_t narrow_bf16_one(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void widen_f16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        out[i] = widen_f16_one(load_u16(in + 2 * i));
    }
}

static void widen_bf16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        out[i] = widen_bf16_one(load_u16(in + 2 * i));
    }
}

/* ---- float kernels ----------------------------------------------------- */

/* Component i of a row. */
ALWAYS_INLINE float component(enum vec_type type, const uint8_t *row, size_t i,
                              float scale)
{
    switch (type) {
    case VEC_F32:
        return vec_load_f32(row + 4 * i);
    case VEC_F16:
        return widen_f16_one(load_u16(row + 2 * i));
    case VEC_BF16:
        return widen_bf16_one(load_u16(row + 2 * i));
    case VEC_I8:
    case VEC_BIT:
    case VEC_TYPE_COUNT:
    case VEC_PQ:
        break;
    }
    return (float)(int8_t)row[i] * scale;
}

ALWAYS_INLINE float term(enum vec_op op, float x, float q)
{
    float difference = x - q;

    switch (op) {
    case VEC_OP_DOT:
        return x * q;
    case VEC_OP_L2:
        return difference * difference;
    case VEC_OP_L1:
    case VEC_OP_COUNT:
        break;
    }
    return fabsf(difference);
}

ALWAYS_INLINE float float_key(const struct vec_query *q, const uint8_t *row,
                              enum vec_type type, enum vec_op op)
{
    const struct vec_format *f = q->format;
    const float *code = (const float *)(const void *)q->code;
    float scale = type == VEC_I8 ? vec_i8_scale(f, row) : 1.0f;
    float sums[LANES] = {0};
    size_t i;
    size_t k;

    for (i = 0; i + LANES <= f->dim; i += LANES) {
        for (k = 0; k < LANES; k++) {
            sums[k] +=
                term(op, component(type, row, i + k, scale), code[i + k]);
        }
    }
    for (; i < f->dim; i++) {
        sums[i % LANES] += term(op, component(type, row, i, scale), code[i]);
    }
    for (k = LANES / 2; k > 0; k /= 2) {
        for (i = 0; i < k; i++) {
            sums[i] += sums[i + k];
        }
    }
    return q->key_add + q->key_mul * sums[0];
}

/* ---- integer kernels --------------------------------------------------- */

/* 65536 * 128 * 127 < 2^31. */
static int32_t dot_of_codes(const struct vec_query *q, const uint8_t *row)
{
    const size_t dim = q->format->dim;
    int32_t sum = 0;
    size_t i;

    for (i = 0; i < dim; i++) {
        sum += (int8_t)row[i] * (int8_t)q->code[i];
    }
    return sum;
}

static float i8_dot_key(const struct vec_query *q, const uint8_t *row)
{
    return vec_i8_dot_key(q, dot_of_codes(q, row),
                          vec_i8_scale(q->format, row));
}

static float i8_l2_key(const struct vec_query *q, const uint8_t *row)
{
    const struct vec_format *f = q->format;

    return vec_i8_l2_key(q, dot_of_codes(q, row), vec_i8_scale(f, row),
                         vec_load_u32(row + f->factor_at + 8));
}

static float bit_key(const struct vec_query *q, const uint8_t *row)
{
    const struct vec_format *f = q->format;
    int bits = 0;
    size_t i;

    for (i = 0; i < f->code_bytes; i += 8) {
        uint64_t a;
        uint64_t b;

        memcpy(&a, row + i, sizeof(a));
        memcpy(&b, q->code + i, sizeof(b));
        bits += __builtin_popcountll(a ^ b);
    }
    return (q->key_add + q->key_mul * (float)bits) / q->key_div;
}

/* ---- one key function, three ways to be called ------------------------- */

#define ROW_LOOPS(name, KEY)                                                   \
    static void scan_##name(const struct vec_query *q, const uint8_t *rows,    \
                            size_t n, float *keys)                             \
    {                                                                          \
        const size_t row_bytes = q->format->row_bytes;                         \
        size_t i;                                                              \
                                                                               \
        for (i = 0; i < n; i++) {                                              \
            const uint8_t *row = rows + i * row_bytes;                         \
                                                                               \
            keys[i] = KEY;                                                     \
        }                                                                      \
    }                                                                          \
    static void gather_##name(const struct vec_query *q,                       \
                              const uint8_t *const *rows, size_t n,            \
                              float *keys)                                     \
    {                                                                          \
        size_t i;                                                              \
                                                                               \
        for (i = 0; i < n; i++) {                                              \
            const uint8_t *row = rows[i];                                      \
                                                                               \
            if (i + 4 < n) {                                                   \
                __builtin_prefetch(rows[i + 4]);                               \
            }                                                                  \
            keys[i] = KEY;                                                     \
        }                                                                      \
    }                                                                          \
    static void many_##name(const struct vec_query *const *queries, size_t nq, \
                            const uint8_t *rows, size_t n, float *keys,        \
                            size_t key_stride)                                 \
    {                                                                          \
        const size_t row_bytes = queries[0]->format->row_bytes;                \
        size_t i;                                                              \
        size_t j;                                                              \
                                                                               \
        for (i = 0; i < n; i++) {                                              \
            const uint8_t *row = rows + i * row_bytes;                         \
                                                                               \
            for (j = 0; j < nq; j++) {                                         \
                const struct vec_query *q = queries[j];                        \
                                                                               \
                keys[j * key_stride + i] = KEY;                                \
            }                                                                  \
        }                                                                      \
    }

ROW_LOOPS(f32_dot, float_key(q, row, VEC_F32, VEC_OP_DOT))
ROW_LOOPS(f32_l2, float_key(q, row, VEC_F32, VEC_OP_L2))
ROW_LOOPS(f32_l1, float_key(q, row, VEC_F32, VEC_OP_L1))
ROW_LOOPS(f16_dot, float_key(q, row, VEC_F16, VEC_OP_DOT))
ROW_LOOPS(f16_l2, float_key(q, row, VEC_F16, VEC_OP_L2))
ROW_LOOPS(f16_l1, float_key(q, row, VEC_F16, VEC_OP_L1))
ROW_LOOPS(bf16_dot, float_key(q, row, VEC_BF16, VEC_OP_DOT))
ROW_LOOPS(bf16_l2, float_key(q, row, VEC_BF16, VEC_OP_L2))
ROW_LOOPS(bf16_l1, float_key(q, row, VEC_BF16, VEC_OP_L1))
ROW_LOOPS(i8_dot, i8_dot_key(q, row))
ROW_LOOPS(i8_l2, i8_l2_key(q, row))
ROW_LOOPS(i8_l1, float_key(q, row, VEC_I8, VEC_OP_L1))
ROW_LOOPS(bit, bit_key(q, row))

/* ---- making rows ------------------------------------------------------- */

/* Redis adds the squares of four components at a time, left to right, to one
 * running sum; so do all our kernels (four additions in flight at once are as
 * fast as this gets without another order). */
static void measure(const uint8_t *x, size_t n, struct vec_measure *m)
{
    float sum = m->sumsq;
    float max = m->max_abs;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        float a = vec_load_f32(x + 4 * i);
        float b = vec_load_f32(x + 4 * i + 4);
        float c = vec_load_f32(x + 4 * i + 8);
        float d = vec_load_f32(x + 4 * i + 12);

        sum += a * a + b * b + c * c + d * d;
    }
    for (; i < n; i++) {
        float a = vec_load_f32(x + 4 * i);

        sum += a * a;
    }
    for (i = 0; i < n; i++) {
        float a = fabsf(vec_load_f32(x + 4 * i));

        max = a > max ? a : max;
    }
    m->sumsq = sum;
    m->max_abs = max;
}

static void put_f32(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        float value = vec_load_f32(x + 4 * i) / norm;

        memcpy(out + 4 * i, &value, sizeof(value));
    }
}

static void put_f16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint16_t half = narrow_f16_one(vec_load_f32(x + 4 * i) / norm);

        memcpy(out + 2 * i, &half, sizeof(half));
    }
}

static void put_bf16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint16_t half = narrow_bf16_one(vec_load_f32(x + 4 * i) / norm);

        memcpy(out + 2 * i, &half, sizeof(half));
    }
}

/* To the nearest integer, halves away from zero: adding the largest float below
 * one half and truncating does that exactly for |value| < 2^22. */
static int round_code(float value)
{
    return (int)(value + copysignf(0x1.fffffep-2f, value));
}

static void put_i8(const uint8_t *x, size_t n, float norm, float mul,
                   uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i++) {
        float value = vec_load_f32(x + 4 * i) / norm;

        out[i] = (uint8_t)(int8_t)round_code(value * mul);
    }
}

static void put_bit(const uint8_t *x, size_t n, uint8_t *out)
{
    size_t i;

    memset(out, 0, (n + 63) / 64 * 8);
    for (i = 0; i < n; i++) {
        if (vec_load_f32(x + 4 * i) > 0) {
            out[i / 8] |= (uint8_t)(1u << (i % 8));
        }
    }
}

/* ---- the rest ---------------------------------------------------------- */

static void project(const uint8_t *x, uint32_t in_dim, float *out,
                    uint32_t out_dim)
{
    const float s = (float)(1.0 / sqrt((double)in_dim));
    uint32_t i;
    uint32_t j;

    for (i = 0; i < out_dim; i++) {
        float sum = 0;

        for (j = 0; j < in_dim; j++) {
            float value = vec_load_f32(x + 4 * (size_t)j) * s;

            sum += __builtin_parity(i & j) ? -value : value;
        }
        out[i] = sum;
    }
}

static size_t select_keys(const float *keys, size_t n, float limit,
                          uint32_t *at)
{
    size_t count = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        at[count] = (uint32_t)i;
        count += !(keys[i] > limit);
    }
    return count;
}

#define ALL_TYPES(kind)                                                        \
    {                                                                          \
        [VEC_F32] = {kind##_f32_dot, kind##_f32_l2, kind##_f32_l1},            \
        [VEC_I8] = {kind##_i8_dot, kind##_i8_l2, kind##_i8_l1},                \
        [VEC_BIT] = {kind##_bit, kind##_bit, kind##_bit},                      \
        [VEC_F16] = {kind##_f16_dot, kind##_f16_l2, kind##_f16_l1},            \
        [VEC_BF16] = {kind##_bf16_dot, kind##_bf16_l2, kind##_bf16_l1},        \
    }

const struct vec_kernels vec_scalar = {
    .scan = ALL_TYPES(scan),
    .gather = ALL_TYPES(gather),
    .many = ALL_TYPES(many),
    .measure = measure,
    .put_f32 = put_f32,
    .put_f16 = put_f16,
    .put_bf16 = put_bf16,
    .put_i8 = put_i8,
    .put_bit = put_bit,
    .widen_f16 = widen_f16,
    .widen_bf16 = widen_bf16,
    .project = project,
    .select = select_keys,
    .fine = &vec_scalar_fine,
    .pq = &vec_scalar_pq,
    .near_scan = vec_scalar_near_scan,
};
