/* Fine parts of rows: see fine.h. */
#include "vec/fine.h"

#include <math.h>

#include "vec/vec_impl.h"

struct vec_fine_query {
    const struct vec_format *format;
    _Alignas(VEC_ALIGN) float x[]; /* to whole blocks, with zeros */
};

static size_t n_blocks(uint32_t dim)
{
    return (dim + VEC_FINE_BLOCK - 1) / VEC_FINE_BLOCK;
}

uint32_t vec_fine_bytes(const struct vec_format *f)
{
    return f->type == VEC_I8 ? 1 + (f->dim + 7) / 8 : 0;
}

/* ---- rows ---------------------------------------------------------------- */

void vec_fine_decode(const struct vec_format *f, const struct vec_fine_row *r,
                     float *out)
{
    float scale = vec_fine_scale(f, r);
    uint32_t i;

    vec_in_use->fine->open(r, f->dim, out);
    for (i = 0; i < f->dim; i++) {
        out[i] *= scale;
    }
    if (f->metric == VEC_COSINE) {
        float norm = vec_norm(f, r->row);

        for (i = 0; i < f->dim; i++) {
            out[i] *= norm;
        }
    }
}

/* ---- queries ------------------------------------------------------------- */

static size_t padded_dim(uint32_t dim)
{
    return n_blocks(dim) * VEC_FINE_BLOCK;
}

size_t vec_fine_query_bytes(const struct vec_format *f)
{
    return sizeof(struct vec_fine_query) + padded_dim(f->dim) * sizeof(float);
}

struct vec_fine_query *vec_fine_query_init(const struct vec_format *f,
                                           const void *x, void *memory)
{
    struct vec_fine_query *q = memory;
    double sum = 0;
    uint32_t i;

    ASSERT((uintptr_t)memory % VEC_ALIGN == 0);
    q->format = f;
    memcpy(q->x, x, f->dim * sizeof(float));
    memset(q->x + f->dim, 0, (padded_dim(f->dim) - f->dim) * sizeof(float));
    if (f->metric != VEC_COSINE) {
        return q;
    }
    for (i = 0; i < f->dim; i++) {
        sum += (double)q->x[i] * (double)q->x[i];
    }
    sum = sqrt(sum);
    for (i = 0; i < f->dim && sum > 0; i++) {
        q->x[i] = (float)((double)q->x[i] / sum);
    }
    return q;
}

float vec_fine_key(const struct vec_fine_query *q, const struct vec_fine_row *r)
{
    const struct vec_format *f = q->format;
    const enum vec_op op = vec_op_of(f->metric);
    const float scale = vec_fine_scale(f, r);
    float sums[2];
    float key;

    vec_in_use->fine->sum[op](q->x, r, f->dim, scale, sums);
    if (op != VEC_OP_DOT) {
        return sums[0];
    }
    /* A row's length does not depend on its codes: what they say of it is not
     * believed, which takes away the part of the error along the row. The bits
     * of a row of zeros say nothing. */
    sums[0] = scale > 0 && sums[1] > 0 ? sums[0] / sqrtf(sums[1]) : 0;
    if (f->metric == VEC_IP) {
        return -sums[0] * vec_norm(f, r->row);
    }
    key = 1.0f - sums[0];
    key = key < 0 ? 0 : key;
    return key > 2 ? 2 : key;
}
