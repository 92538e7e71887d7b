/* Fine parts of rows: see fine.h. */
#include "vec/fine.h"

#include <math.h>

#include "vec/vec_impl.h"

enum {
    BUCKETS_PER_OCTAVE = 8,
    BUCKETS = 1024, /* of what a bit is worth; the last one is for all below */
};

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

size_t vec_fine_plan_bytes(uint32_t dim)
{
    struct vec_fine_plan *p = NULL;

    return sizeof(*p) + n_blocks(dim) * sizeof(p->gets[0]);
}

/* ---- plans --------------------------------------------------------------- */

/* How much each component varies: log2 of the sum of squares around the mean,
 * left in sums; -inf for one that does not. */
static void measure_spread(const struct vec_format *f,
                           const uint8_t *const *rows, size_t n, float *sums,
                           float *squares)
{
    uint32_t i;
    size_t r;

    memset(sums, 0, f->dim * sizeof(*sums));
    memset(squares, 0, f->dim * sizeof(*squares));
    for (r = 0; r < n; r++) {
        const int8_t *codes = (const int8_t *)rows[r];
        /* Of unit length whatever the metric, so that no row outweighs the
         * others and nothing overflows. */
        float range = vec_range(f, rows[r]);
        float unit = f->metric == VEC_COSINE ? 1 : vec_norm(f, rows[r]);
        float scale = unit > 0 ? range / unit : 0;

        for (i = 0; i < f->dim; i++) {
            float v = (float)codes[i] * scale;

            sums[i] += v;
            squares[i] += v * v;
        }
    }
    for (i = 0; i < f->dim; i++) {
        float around = squares[i] - sums[i] * sums[i] / (float)n;

        /* What float32 cannot tell from nothing is nothing. */
        sums[i] = around > squares[i] * 1e-5f ? log2f(around) : -INFINITY;
    }
}

/* What the nth bit of a component is worth, 0 the most: each bit takes away
 * three quarters of the error that the one before left. */
static uint32_t bucket_of(float spread, float most, int bit)
{
    float at = (most - spread + 2.0f * (float)bit) * BUCKETS_PER_OCTAVE;

    return at < BUCKETS - 1 ? (uint32_t)at : BUCKETS - 1;
}

/* The last bucket all of which there is room for, and what remains then. */
static uint32_t last_whole(const uint32_t *count, uint32_t budget,
                           uint32_t *remain)
{
    uint32_t b = 0;

    while (b < BUCKETS && count[b] <= budget) {
        budget -= count[b++];
    }
    *remain = budget;
    return b;
}

void vec_fine_fit(const struct vec_format *f, const uint8_t *const *rows,
                  size_t n, float *work, struct vec_fine_plan *out)
{
    const uint32_t budget = 8 * (vec_fine_bytes(f) - 1);
    uint32_t count[BUCKETS] = {0};
    float most = -INFINITY;
    uint32_t i, whole, remain;
    int bit;

    memset(out, 0, vec_fine_plan_bytes(f->dim));
    out->n_blocks = (uint32_t)n_blocks(f->dim);
    if (n == 0) {
        return;
    }
    measure_spread(f, rows, n, work, work + f->dim);
    for (i = 0; i < f->dim; i++) {
        most = work[i] > most ? work[i] : most;
    }
    for (i = 0; i < f->dim && most > -INFINITY; i++) {
        for (bit = 0; bit < VEC_FINE_BITS && work[i] > -INFINITY; bit++) {
            count[bucket_of(work[i], most, bit)]++;
        }
    }
    whole = last_whole(count, budget, &remain);
    for (bit = 0; bit < VEC_FINE_BITS; bit++) {
        for (i = 0; i < f->dim; i++) {
            uint16_t *gets = out->gets[i / VEC_FINE_BLOCK];
            uint16_t one = (uint16_t)(1u << (i % VEC_FINE_BLOCK));
            uint32_t bucket;

            if (!(work[i] > -INFINITY) || (bit > 0 && !(gets[bit - 1] & one))) {
                continue;
            }
            bucket = bucket_of(work[i], most, bit);
            if (bucket < whole || (bucket == whole && remain > 0)) {
                remain -= bucket == whole;
                gets[bit] |= one;
            }
        }
    }
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
