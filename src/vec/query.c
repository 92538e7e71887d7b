/* Preparing queries, and the way from scoring calls to kernels.
 *
 * A query of the I8 and BIT types is a row like any other, in the shapes that
 * kernels want. For the float types it stays float32 even where rows are half
 * floats: widening rows is exact, so rounding the query would only lose. */
#include "vec/vec.h"

#include <math.h>

#include "vec/pq_rows.h"
#include "vec/vec_impl.h"

static size_t padded(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

enum vec_op vec_op_of(enum vec_metric metric)
{
    switch (metric) {
    case VEC_L2:
        return VEC_OP_L2;
    case VEC_L1:
        return VEC_OP_L1;
    case VEC_COSINE:
    case VEC_IP:
    case VEC_METRIC_COUNT:
        break;
    }
    return VEC_OP_DOT;
}

static bool uses_codes(const struct vec_format *f)
{
    return f->type == VEC_BIT || (f->type == VEC_I8 && f->metric != VEC_L1);
}

/* Bytes of code[] that kernels load, padding included. */
static size_t code_size(const struct vec_format *f)
{
    if (f->type == VEC_PQ) {
        return vec_pq_query_bytes(f->pq);
    }
    return padded(uses_codes(f) ? f->code_bytes : 4 * (size_t)f->dim);
}

/* Behind code[]: the row a query is made from (of float32 when the query stays
 * float32), then the other shapes of I8 codes. */
static size_t row_size(const struct vec_format *f)
{
    bool floats = f->type != VEC_I8 && f->type != VEC_BIT;

    return padded(floats ? 4 * (size_t)f->dim + 4 : f->row_bytes);
}

static size_t shapes_size(const struct vec_format *f)
{
    return f->type == VEC_I8 && f->metric != VEC_L1
               ? 4 * VEC_ALIGN + 2 * code_size(f)
               : 0;
}

size_t vec_query_bytes(const struct vec_format *f)
{
    return sizeof(struct vec_query) + code_size(f) + row_size(f) +
           shapes_size(f);
}

static void set_key_constants(struct vec_query *q)
{
    const struct vec_format *f = q->format;

    q->key_add = f->metric == VEC_COSINE ? 1.0f : 0.0f;
    q->key_mul = vec_op_of(f->metric) == VEC_OP_DOT ? -1.0f : 1.0f;
    q->key_div = 1.0f;
    q->key_min = -INFINITY;
    q->key_max = INFINITY;
    if (f->type == VEC_I8 && f->metric == VEC_COSINE) {
        q->key_min = 0.0f;
        q->key_max = 2.0f;
    }
    if (f->type != VEC_BIT) {
        return;
    }
    q->key_add = f->metric == VEC_IP ? -(float)f->dim : 0.0f;
    q->key_mul = f->metric == VEC_L2 ? 4.0f : 2.0f;
    q->key_div = f->metric == VEC_COSINE ? (float)f->dim : 1.0f;
}

static struct vec_query *start(const struct vec_format *f, void *memory)
{
    struct vec_query *q = memory;

    ASSERT((uintptr_t)memory % VEC_ALIGN == 0);
    memset(q, 0, sizeof(*q));
    q->format = f;
    q->blocks = code_size(f) / VEC_ALIGN;
    set_key_constants(q);
    return q;
}

static uint8_t *row_room(struct vec_query *q)
{
    return q->code + code_size(q->format);
}

/* The codes once more: the remaining ones at the four places of a tail, and all
 * of them as 16-bit numbers. */
static void add_i8_shapes(struct vec_query *q)
{
    const struct vec_format *f = q->format;
    uint8_t *tails = row_room(q) + row_size(f);
    const bool has_tails = f->row_bytes >= VEC_ALIGN;

    if (has_tails) {
        const size_t from = VEC_ALIGN * vec_i8_whole_blocks(f);
        size_t place;

        memset(tails, 0, 4 * VEC_ALIGN);
        for (place = 0; place < 4 && from < f->dim; place++) {
            memcpy(tails + VEC_ALIGN * place + from - vec_i8_tail_at(f, place),
                   q->code + from, f->dim - from);
        }
        q->tails = tails;
    }
    if (!has_tails || !vec_in_use->i8_by_tails) {
        const size_t n_codes = VEC_ALIGN * q->blocks;
        int16_t *wide = (int16_t *)(void *)(tails + 4 * VEC_ALIGN);
        size_t i;

        for (i = 0; i < n_codes; i++) {
            wide[i] = (int8_t)q->code[i];
        }
        q->wide = wide;
    }
}

static void set_i8(struct vec_query *q, const uint8_t *row)
{
    const struct vec_format *f = q->format;
    const int8_t *codes = (const int8_t *)row;
    float *floats = (float *)(void *)q->code;
    uint32_t i;

    q->scale = vec_i8_scale(f, row);
    if (f->metric == VEC_L2) {
        q->self = (double)q->scale * (double)q->scale *
                  (double)vec_i8_sumsq(row, f->dim);
    }
    for (i = 0; i < f->dim; i++) {
        q->code_sum += codes[i];
    }
    if (f->metric == VEC_L1) {
        for (i = 0; i < f->dim; i++) {
            floats[i] = (float)codes[i] * q->scale;
        }
        memset(floats + f->dim, 0, code_size(f) - 4 * (size_t)f->dim);
        return;
    }
    memcpy(q->code, row, f->code_bytes);
    memset(q->code + f->code_bytes, 0, code_size(f) - f->code_bytes);
    add_i8_shapes(q);
}

/* Of a vector as it is compared. */
static void set_product(struct vec_query *q, const float *x)
{
    vec_pq_query_init(q->format->pq, x, q->code);
}

struct vec_query *vec_query_from_row(const struct vec_format *f,
                                     const uint8_t *row, void *memory)
{
    struct vec_query *q = start(f, memory);

    if (f->type == VEC_PQ) {
        float *x = (float *)(void *)row_room(q);

        vec_decode_unit(f, row, x);
        set_product(q, x);
        return q;
    }
    if (f->type == VEC_I8) {
        set_i8(q, row);
    } else if (f->type == VEC_BIT) {
        memcpy(q->code, row, f->code_bytes);
        memset(q->code + f->code_bytes, 0, code_size(f) - f->code_bytes);
    } else {
        vec_decode_unit(f, row, (float *)(void *)q->code);
        memset(q->code + 4 * (size_t)f->dim, 0,
               code_size(f) - 4 * (size_t)f->dim);
    }
    return q;
}

enum err vec_query_init(const struct vec_format *f, const void *x, void *memory,
                        struct vec_query **out)
{
    struct vec_format own = *f;
    uint8_t *row = row_room(start(f, memory));
    struct vec_query *q;
    enum err err;

    if (f->type == VEC_F16 || f->type == VEC_BF16 || f->type == VEC_PQ) {
        vec_format_init(&own, VEC_F32, f->metric, f->dim);
    }
    err = vec_encode(&own, x, row);
    if (err) {
        return err;
    }
    if (f->type == VEC_PQ) {
        q = memory;
        set_product(q, (const float *)(void *)row);
    } else {
        q = vec_query_from_row(&own, row, memory);
    }
    q->format = f;
    *out = q;
    return ERR_OK;
}

/* ---- scoring ----------------------------------------------------------- */

void vec_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
              float *keys)
{
    const struct vec_format *f = q->format;

    if (UNLIKELY(f->type == VEC_PQ)) {
        vec_pq_rows_scan(q, rows, n, keys);
    } else if (n > 0) {
        vec_in_use->scan[f->type][vec_op_of(f->metric)](q, rows, n, keys);
    }
}

void vec_gather(const struct vec_query *q, const uint8_t *const *rows, size_t n,
                float *keys)
{
    const struct vec_format *f = q->format;

    if (UNLIKELY(f->type == VEC_PQ)) {
        vec_pq_rows_gather(q, rows, n, keys);
    } else if (n > 0) {
        vec_in_use->gather[f->type][vec_op_of(f->metric)](q, rows, n, keys);
    }
}

void vec_gather_fetched(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys)
{
    const struct vec_format *f = q->format;
    const enum vec_op op = vec_op_of(f->metric);
    vec_gather_fn fn;

    if (UNLIKELY(f->type == VEC_PQ)) {
        vec_pq_rows_gather(q, rows, n, keys);
    } else if (n > 0) {
        fn = vec_in_use->fetched[f->type][op];
        fn = fn ? fn : vec_in_use->gather[f->type][op];
        fn(q, rows, n, keys);
    }
}

void vec_scan_many(const struct vec_query *const *q, size_t nq,
                   const uint8_t *rows, size_t n, float *keys,
                   size_t key_stride)
{
    const struct vec_format *f = nq > 0 ? q[0]->format : NULL;
    size_t j;

    ASSERT(nq <= VEC_BATCH_MAX);
    if (nq > 1 && UNLIKELY(f->type == VEC_PQ)) {
        for (j = 0; j < nq; j++) {
            vec_pq_rows_scan(q[j], rows, n, keys + j * key_stride);
        }
    } else if (nq > 1 && n > 0) {
        vec_in_use->many[f->type][vec_op_of(f->metric)](q, nq, rows, n, keys,
                                                        key_stride);
    } else if (nq == 1) {
        vec_scan(q[0], rows, n, keys);
    }
}

/* By way of all keys: rows `from` to n - 1, `from` a multiple of the rows of a
 * mask. */
static void within_by_keys(const struct vec_query *const *q, size_t nq,
                           const float *limits, const uint8_t *rows,
                           size_t from, size_t n, const struct vec_within *out)
{
    uint32_t at[VEC_WITHIN_ROWS];
    size_t i, j, k;

    for (j = 0; j < nq; j += VEC_BATCH_MAX) {
        vec_scan_many(q + j, nq - j < VEC_BATCH_MAX ? nq - j : VEC_BATCH_MAX,
                      rows + from * q[0]->format->row_bytes, n - from,
                      out->keys + j * out->key_stride + from, out->key_stride);
    }
    for (j = 0; j < nq; j++) {
        uint32_t *masks = out->masks + j * out->mask_stride;
        const float *keys = out->keys + j * out->key_stride;

        for (i = from; i < n; i += VEC_WITHIN_ROWS) {
            size_t left = n - i < VEC_WITHIN_ROWS ? n - i : VEC_WITHIN_ROWS;
            size_t hits = vec_select(keys + i, left, limits[j], at);
            uint32_t mask = 0;

            for (k = 0; k < hits; k++) {
                mask |= 1u << at[k];
            }
            masks[i / VEC_WITHIN_ROWS] = mask;
        }
    }
}

void vec_scan_within(const struct vec_query *const *q, size_t nq,
                     const float *limits, const uint8_t *rows, size_t n,
                     const struct vec_within *out)
{
    const struct vec_format *f = q[0]->format;
    size_t whole = n - n % VEC_WITHIN_ROWS;
    vec_within_fn fn;

    ASSERT(nq <= VEC_WITHIN_MAX);
    if (UNLIKELY(f->type == VEC_PQ)) {
        vec_pq_rows_within(q, nq, limits, rows, n, out);
        return;
    }
    fn = vec_in_use->within[f->type][vec_op_of(f->metric)];
    if (!fn || nq == 1 || !whole || !fn(q, nq, limits, rows, whole, out)) {
        whole = 0;
    }
    if (whole < n) {
        within_by_keys(q, nq, limits, rows, whole, n, out);
    }
}

size_t vec_select(const float *keys, size_t n, float limit, uint32_t *at)
{
    return vec_in_use->select(keys, n, limit, at);
}
