/* Vectors to rows and back.
 *
 * Two passes over the input: the first finds the sum of squares and the largest
 * component, the second stores components. A component that is not finite shows
 * in the sum, so nothing looks for it by itself.
 *
 * Redis's results are reproduced to the bit for COSINE: the order in which the
 * norm is summed up, x / norm by a true division, the range as the largest of
 * these, codes as round(component * (127 / range)) with halves away from zero,
 * de-quantising as code * range / 127; all in float32 (observed on 8.0.6; the
 * differential test against it is the reason not to "improve" any of this).
 *
 * Where squares leave float32's range, because components are huge or tiny, the
 * input is multiplied by a power of two first, which changes no digits. */
#include "vec/vec.h"

#include <float.h>
#include <math.h>

#include "vec/pq_rows.h"
#include "vec/vec_impl.h"

/* Below this sum of squares too many squares may have been rounded to
 * denormals for the sum to be trusted. */
#define SUMSQ_MIN 0x1p-100f

#define SCALE_UP   0x1p100f /* of the smallest float: 2^-49, squared 2^-98 */
#define SCALE_DOWN 0x1p-80f /* of the largest: 2^48, squared 2^96 */

/* From these on, rounding to the nearest gives infinity. */
#define F16_LIMIT  65520.0f
#define BF16_LIMIT 0x1.ffp127f

static bool all_finite(const uint8_t *x, size_t dim)
{
    size_t i;

    for (i = 0; i < dim; i++) {
        if (!isfinite(vec_load_f32(x + 4 * i))) {
            return false;
        }
    }
    return true;
}

static void set_root(struct vec_measured *out, const struct vec_measure *m,
                     float scale)
{
    out->scale = scale;
    out->root = sqrtf(m->sumsq);
    out->norm = out->root;
    out->max_abs = m->max_abs;
}

/* Components multiplied by a power of two, some at a time. */
struct scaled {
    float x[64];
    size_t n;
};

static const uint8_t *scaled_part(struct scaled *part, const uint8_t *x,
                                  size_t from, size_t dim, float scale)
{
    size_t i;

    part->n = dim - from < ARRAY_LEN(part->x) ? dim - from : ARRAY_LEN(part->x);
    for (i = 0; i < part->n; i++) {
        part->x[i] = vec_load_f32(x + 4 * (from + i)) * scale;
    }
    return (const uint8_t *)part->x;
}

static struct vec_measure measure_scaled(const uint8_t *x, size_t dim,
                                         float scale)
{
    struct vec_measure m = {0, 0};
    struct scaled part;
    size_t i;

    for (i = 0; i < dim; i += part.n) {
        const uint8_t *p = scaled_part(&part, x, i, dim, scale);

        vec_in_use->measure(p, part.n, &m);
    }
    return m;
}

/* The ways of vectors that are zero, tiny, huge or not finite. */
static enum err measure_odd(const uint8_t *x, size_t dim, float sumsq,
                            struct vec_measured *out)
{
    float scale = sumsq < SUMSQ_MIN ? SCALE_UP : SCALE_DOWN;
    struct vec_measure m;
    double norm;

    if (!all_finite(x, dim)) {
        return ERR_NOT_FINITE;
    }
    m = measure_scaled(x, dim, scale);
    set_root(out, &m, scale);
    norm = (double)out->root / (double)scale;
    if (norm > (double)FLT_MAX) {
        return ERR_NOT_FINITE;
    }
    out->norm = (float)norm;
    if (out->max_abs == 0) {
        out->root = 1.0f;
        out->norm = 1.0f;
    }
    return ERR_OK;
}

static enum err measure(const uint8_t *x, size_t dim, struct vec_measured *out)
{
    struct vec_measure m = {0, 0};

    vec_in_use->measure(x, dim, &m);
    if (UNLIKELY(!(m.sumsq >= SUMSQ_MIN && m.sumsq <= FLT_MAX))) {
        return measure_odd(x, dim, m.sumsq, out);
    }
    set_root(out, &m, 1.0f);
    return ERR_OK;
}

static void put_factor(uint8_t *row, uint32_t at, float value)
{
    memcpy(row + at, &value, sizeof(value));
}

/* What components are divided by, and for I8 multiplied with then. */
struct divisor {
    float root;
    float mul;
};

static void put(const struct vec_format *f, const uint8_t *x, size_t n,
                struct divisor by, uint8_t *out)
{
    switch (f->type) {
    case VEC_F32:
        vec_in_use->put_f32(x, n, by.root, out);
        break;
    case VEC_F16:
        vec_in_use->put_f16(x, n, by.root, out);
        break;
    case VEC_BF16:
        vec_in_use->put_bf16(x, n, by.root, out);
        break;
    case VEC_I8:
        vec_in_use->put_i8(x, n, by.root, by.mul, out);
        break;
    case VEC_BIT:
        vec_in_use->put_bit(x, n, out);
        break;
    case VEC_TYPE_COUNT:
    case VEC_PQ:
        break;
    }
}

static void put_scaled(const struct vec_format *f, const uint8_t *x,
                       float scale, struct divisor by, uint8_t *out)
{
    struct scaled part;
    size_t i;

    for (i = 0; i < f->dim; i += part.n) {
        const uint8_t *p = scaled_part(&part, x, i, f->dim, scale);

        put(f, p, part.n, by, out + f->code_bytes / f->dim * i);
    }
}

static void finish_fine(const struct vec_format *f, struct vec_fine_writer *w,
                        const uint8_t *fine)
{
    uint32_t i;

    for (i = 0; i < w->n_bits; i += 8) {
        *w->out++ = (uint8_t)(w->bits >> i);
    }
    if (UNLIKELY(w->out < fine + vec_fine_bytes(f))) {
        memset(w->out, 0, (size_t)(fine + vec_fine_bytes(f) - w->out));
    }
}

/* The fine part of a vector that is one of whole numbers when multiplied by
 * `times`; false when it is not. */
static bool put_whole(const struct vec_format *f, const uint8_t *x,
                      const struct vec_measured *m, float times,
                      const uint8_t *row, uint8_t *fine)
{
    struct vec_fine_writer w = {.out = fine + 1};
    float most = m->max_abs * times;
    float nearest;

    if (!(most > 0.5f && most < 256.0f)) {
        return false;
    }
    nearest = (float)(int32_t)(most + 0.5f);
    if (!(nearest >= 1 && nearest <= 255 && nearest != VEC_FINE_NONE &&
          fabsf(most - nearest) <= 1e-3f) ||
        !vec_in_use->fine->put_whole(&w, x, f->dim, times, nearest, row)) {
        return false;
    }
    fine[0] = (uint8_t)nearest;
    finish_fine(f, &w, fine);
    return true;
}

/* The fine part. What put() divided and multiplied by is put together: codes
 * have been rounded, and this need not be as exact. */
static void put_fine(const struct vec_format *f, const uint8_t *x,
                     const struct vec_measured *m, struct divisor by,
                     const uint8_t *row, uint8_t *fine)
{
    struct vec_fine_writer w = {.out = fine + 1};
    const float times = by.mul / by.root;
    struct scaled part;
    uint32_t i;

    if (m->scale == 1.0f && (put_whole(f, x, m, 1, row, fine) ||
                             put_whole(f, x, m, 255, row, fine))) {
        return;
    }
    fine[0] = 0;
    if (LIKELY(m->scale == 1.0f)) {
        vec_in_use->fine->put(&w, x, f->dim, times, row);
    } else {
        for (i = 0; i < f->dim; i += (uint32_t)part.n) {
            const uint8_t *p = scaled_part(&part, x, i, f->dim, m->scale);

            vec_in_use->fine->put(&w, p, part.n, times, row + i);
        }
    }
    finish_fine(f, &w, fine);
}

static enum err check_limit(const struct vec_format *f,
                            const struct vec_measured *m)
{
    float max_abs = m->max_abs / m->scale;

    if ((f->type == VEC_F16 && max_abs >= F16_LIMIT) ||
        (f->type == VEC_BF16 && max_abs >= BF16_LIMIT)) {
        return ERR_RANGE;
    }
    return ERR_OK;
}

static enum err measure_for(const struct vec_format *f, const void *x,
                            struct vec_measured *m)
{
    enum err err = measure(x, f->dim, m);

    return err || f->metric == VEC_COSINE ? err : check_limit(f, m);
}

/* Whether all components are of ordinary size: finite, and so are the sum of
 * their squares and what any type stores. Adding up squares as measure() does
 * takes five times as long. */
static bool is_ordinary(const struct vec_format *f, const uint8_t *x)
{
    const bool narrow = f->type == VEC_F16 && f->metric != VEC_COSINE;
    const uint32_t limit = narrow ? 0x47000000 : 0x53800000; /* 2^15, 2^40 */
    uint32_t below = UINT32_MAX;
    size_t i;

    for (i = 0; i < f->dim; i++) {
        below &= (vec_load_u32(x + 4 * i) & 0x7fffffff) - limit;
    }
    return below >> 31;
}

enum err vec_check(const struct vec_format *f, const void *x)
{
    struct vec_measured m;

    return LIKELY(is_ordinary(f, x)) ? ERR_OK : measure_for(f, x, &m);
}

/* The factors of an I8 row that are known before its codes are. */
static void put_range(const struct vec_format *f, const struct vec_measured *m,
                      struct divisor *by, uint8_t *row)
{
    float range = m->max_abs / by->root; /* of what is quantised */

    by->mul = range > 0 ? 127.0f / range : 0.0f;
    if (f->metric != VEC_COSINE) {
        range = m->max_abs / m->scale;
    }
    put_factor(row, f->factor_at + 4, range);
}

static void put_sumsq(const struct vec_format *f, uint8_t *row)
{
    uint32_t sumsq = vec_i8_sumsq(row, f->dim);

    memcpy(row + f->factor_at + 8, &sumsq, sizeof(sumsq));
}

/* fine: NULL when it is not wanted. */
ALWAYS_INLINE void encode_measured(const struct vec_format *f, const void *x,
                                   const struct vec_measured *m, uint8_t *row,
                                   uint8_t *fine)
{
    const bool cosine = f->metric == VEC_COSINE;
    struct divisor by = {1.0f, 0};
    bool as_is;

    if (cosine) {
        by.root = m->root;
    }
    if (f->factor_at > f->code_bytes) {
        memset(row + f->code_bytes, 0, f->factor_at - f->code_bytes);
    }
    put_factor(row, f->factor_at, m->norm);
    if (f->type == VEC_I8) {
        put_range(f, m, &by, row);
    }
    /* Bits are signs, and of other types all but I8 store x itself. */
    as_is = f->type == VEC_BIT || (!cosine && f->type != VEC_I8);
    if (LIKELY(m->scale == 1.0f || as_is)) {
        put(f, x, f->dim, by, row);
    } else {
        put_scaled(f, x, m->scale, by, row);
    }
    if (f->type == VEC_I8 && f->metric == VEC_L2) {
        put_sumsq(f, row);
    }
    if (fine) {
        put_fine(f, x, m, by, row, fine);
    }
}

/* By way of a float32 row. */
static NO_INLINE void encode_product(const struct vec_format *f, const void *x,
                                     const struct vec_measured *m, uint8_t *row)
{
    float floats[VEC_PQ_ROW_DIM_MAX + 1];
    struct vec_format own;

    vec_format_init(&own, VEC_F32, f->metric, f->dim);
    encode_measured(&own, x, m, (uint8_t *)floats, NULL);
    vec_pq_row_put(f, floats, m->norm, row);
}

static void encode_any(const struct vec_format *f, const void *x,
                       const struct vec_measured *m, uint8_t *row,
                       uint8_t *fine)
{
    if (UNLIKELY(f->type == VEC_PQ)) {
        encode_product(f, x, m, row);
    } else {
        encode_measured(f, x, m, row, fine);
    }
}

static enum err encode(const struct vec_format *f, const void *x, uint8_t *row,
                       uint8_t *fine)
{
    struct vec_measured m;
    enum err err = measure_for(f, x, &m);

    if (!err) {
        encode_any(f, x, &m, row, fine);
    }
    return err;
}

enum err vec_measure(const struct vec_format *f, const void *x,
                     struct vec_measured *out)
{
    return measure_for(f, x, out);
}

size_t vec_encode_measured(const struct vec_format *f, const void *x,
                           const struct vec_measured *m, size_t n,
                           uint8_t *rows, uint8_t *fine)
{
    const size_t bytes = f->dim * sizeof(float);
    const size_t fine_bytes = fine ? vec_fine_bytes(f) : 0;
    const uint8_t *from = x;
    size_t i;

    for (i = 0; i < n; i++) {
        /* The format may be another one than it was measured for. */
        if (f->metric != VEC_COSINE && check_limit(f, &m[i]) != ERR_OK) {
            break;
        }
        encode_any(f, from + i * bytes, &m[i], rows + i * f->row_bytes,
                   fine_bytes ? fine + i * fine_bytes : NULL);
    }
    return i;
}

size_t vec_encode_many(const struct vec_format *f, const void *x, size_t n,
                       uint8_t *rows, uint8_t *fine)
{
    const size_t bytes = f->dim * sizeof(float);
    const uint8_t *from = x;
    struct vec_measured m[VEC_ENCODE_MAX];
    size_t good = 0;

    ASSERT(n <= VEC_ENCODE_MAX);
    while (good < n &&
           measure_for(f, from + good * bytes, &m[good]) == ERR_OK) {
        good++;
    }
    return vec_encode_measured(f, x, m, good, rows, fine);
}

enum err vec_encode(const struct vec_format *f, const void *x, uint8_t *row)
{
    return encode(f, x, row, NULL);
}

enum err vec_encode_fine(const struct vec_format *f, const void *x,
                         uint8_t *row, uint8_t *fine)
{
    return encode(f, x, row, vec_fine_bytes(f) ? fine : NULL);
}

/* ---- back -------------------------------------------------------------- */

static void decode_i8(const struct vec_format *f, const uint8_t *row,
                      float *out)
{
    const int8_t *codes = (const int8_t *)row;
    const float range = vec_range(f, row);
    uint32_t i;

    for (i = 0; i < f->dim; i++) {
        out[i] = (float)codes[i] * range / 127.0f;
    }
}

static void decode_bit(const struct vec_format *f, const uint8_t *row,
                       float *out)
{
    uint32_t i;

    for (i = 0; i < f->dim; i++) {
        out[i] = (row[i / 8] >> (i % 8)) & 1 ? 1.0f : -1.0f;
    }
}

void vec_decode_unit(const struct vec_format *f, const uint8_t *row, float *out)
{
    switch (f->type) {
    case VEC_F32:
        memcpy(out, row, f->code_bytes);
        break;
    case VEC_F16:
        vec_widen_f16(row, f->dim, out);
        break;
    case VEC_BF16:
        vec_widen_bf16(row, f->dim, out);
        break;
    case VEC_I8:
        decode_i8(f, row, out);
        break;
    case VEC_BIT:
        decode_bit(f, row, out);
        break;
    case VEC_PQ:
        vec_pq_row_get(f, row, out);
        break;
    case VEC_TYPE_COUNT:
        break;
    }
}

void vec_decode(const struct vec_format *f, const uint8_t *row, float *out)
{
    vec_decode_unit(f, row, out);
    if (f->metric == VEC_COSINE && f->type != VEC_BIT) {
        const float norm = vec_norm(f, row);
        uint32_t i;

        for (i = 0; i < f->dim; i++) {
            out[i] *= norm;
        }
    }
}

/* The row's own components, whatever its length and range are said to be, and
 * small enough to be squared and added up. */
static void decode_direction(const struct vec_format *f, const uint8_t *row,
                             float *out)
{
    uint32_t i;

    if (f->type == VEC_I8) {
        for (i = 0; i < f->dim; i++) {
            out[i] = (float)(int8_t)row[i];
        }
        return;
    }
    vec_decode_unit(f, row, out);
    for (i = 0; i < f->dim; i++) {
        out[i] *= 0x1p-64f;
    }
}

void vec_keep_finite(const struct vec_format *f, const uint8_t *row,
                     float *decoded)
{
    uint32_t i = 0;

    while (i < f->dim && isfinite(decoded[i])) {
        i++;
    }
    if (i < f->dim && f->metric == VEC_COSINE) {
        decode_direction(f, row, decoded);
    }
}

void vec_widen_f16(const void *in, size_t n, float *out)
{
    vec_in_use->widen_f16(in, n, out);
}

void vec_widen_bf16(const void *in, size_t n, float *out)
{
    vec_in_use->widen_bf16(in, n, out);
}
