/* Rows of products: see pq_rows.h. */
#include "vec/pq_rows.h"

#include <math.h>

#include "vec/kernels_pq.h"

enum { AHEAD = 32 /* rows; of those that are gathered */ };

bool vec_pq_has_rows(enum vec_metric metric, uint32_t dim, uint32_t m)
{
    return metric != VEC_L1 && vec_pq_fits(dim, m) && m <= VEC_PQ_ROW_M_MAX &&
           dim <= VEC_PQ_ROW_DIM_MAX && dim / m <= VEC_PQ_ROW_PART_MAX;
}

/* ---- one row ------------------------------------------------------------- */

static double square_of(const float *x, size_t n)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

static uint16_t ratio_of_row(const struct vec_format *f, const uint8_t *row)
{
    uint16_t ratio;

    memcpy(&ratio, row + f->factor_at + 4, sizeof(ratio));
    return ratio;
}

void vec_pq_row_put(const struct vec_format *f, const float *x, float norm,
                    uint8_t *row)
{
    uint8_t code[VEC_PQ_ROW_M_MAX / 2 + 2 + 4];
    double square = square_of(x, f->dim);
    uint16_t ratio;

    vec_pq_encode(f->pq, x, code);
    memcpy(&ratio, code + f->code_bytes, sizeof(ratio));
    if (square == 0) {
        ratio = 0;
    }
    if (f->metric != VEC_COSINE) {
        norm = (float)sqrt(square);
    }
    memset(row + f->code_bytes, 0, f->row_bytes - f->code_bytes);
    memcpy(row, code, f->code_bytes);
    memcpy(row + f->factor_at, &norm, sizeof(norm));
    memcpy(row + f->factor_at + 4, &ratio, sizeof(ratio));
}

void vec_pq_row_get(const struct vec_format *f, const uint8_t *row, float *out)
{
    const struct vec_pq *pq = f->pq;
    double square, wanted;
    float times;
    uint32_t j, i;

    for (j = 0; j < pq->m; j++) {
        const float *p = pq->points + (size_t)j * pq->part * VEC_PQ_POINTS +
                         (row[j / 2] >> (4 * (j % 2)) & 15);

        for (i = 0; i < pq->part; i++) {
            out[j * pq->part + i] = p[i * VEC_PQ_POINTS];
        }
    }
    square = square_of(out, f->dim);
    wanted = f->metric == VEC_COSINE ? 1 : (double)vec_norm(f, row);
    if (ratio_of_row(f, row) == 0) {
        wanted = 0;
    }
    times = square > 0 ? (float)(wanted / sqrt(square)) : 0;
    for (i = 0; i < f->dim; i++) {
        out[i] *= times;
    }
}

/* ---- blocks -------------------------------------------------------------- */

/* Codes, ratios, squares, and what a kernel reads past them. */
struct turned {
    _Alignas(VEC_ALIGN) uint8_t block[VEC_PQ_LANES / 2 * VEC_PQ_ROW_M_MAX +
                                      6 * VEC_PQ_LANES + VEC_OVERREAD];
};

static void turn(const struct vec_format *f, const uint8_t *const *rows,
                 struct turned *t)
{
    const struct vec_pq *pq = f->pq;
    uint8_t *ratios = t->block + pq->ratio_at;
    size_t i;

    vec_in_use->pq->turn(rows, pq->m, t->block);
    for (i = 0; i < VEC_PQ_LANES; i++) {
        memcpy(ratios + 2 * i, rows[i] + f->factor_at + 4, 2);
    }
    for (i = 0; pq->square_at && i < VEC_PQ_LANES; i++) {
        float norm = vec_norm(f, rows[i]);
        float square = norm * norm;

        memcpy(t->block + pq->square_at + 4 * i, &square, sizeof(square));
    }
}

/* The rows of a block, of which there are n: others are the first again. */
static void rows_from(const uint8_t *rows, size_t row_bytes, size_t n,
                      const uint8_t **at)
{
    size_t i;

    for (i = 0; i < VEC_PQ_LANES; i++) {
        at[i] = rows + (i < n ? i : 0) * row_bytes;
    }
}

static uint32_t score(const struct vec_query *q, const struct turned *t,
                      float limit, float *keys)
{
    const uint8_t *block = t->block;
    uint32_t below;

    vec_in_use->pq->scan((const void *)q->code, &block, 1, limit, &below, keys);
    return below;
}

/* Keys of all lanes. Without one below infinity there are none. */
static void score_all(const struct vec_query *q, const struct turned *t,
                      size_t n, float *keys)
{
    float all[VEC_PQ_LANES];
    size_t i;

    for (i = 0; i < VEC_PQ_LANES; i++) {
        all[i] = INFINITY;
    }
    (void)score(q, t, INFINITY, all);
    memcpy(keys, all, n * sizeof(*keys));
}

static size_t lanes_of(size_t left)
{
    return left < VEC_PQ_LANES ? left : VEC_PQ_LANES;
}

void vec_pq_rows_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                      float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const uint8_t *at[VEC_PQ_LANES];
    struct turned t;
    size_t i;

    for (i = 0; i < n; i += VEC_PQ_LANES) {
        rows_from(rows + i * row_bytes, row_bytes, lanes_of(n - i), at);
        turn(q->format, at, &t);
        score_all(q, &t, lanes_of(n - i), keys + i);
    }
}

void vec_pq_rows_gather(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const uint8_t *at[VEC_PQ_LANES];
    struct turned t;
    size_t i, k, byte;

    for (i = 0; i < n; i += VEC_PQ_LANES) {
        for (k = 0; k < VEC_PQ_LANES; k++) {
            at[k] = rows[i + k < n ? i + k : i];
        }
        for (k = i + AHEAD; k < n && k < i + AHEAD + VEC_PQ_LANES; k++) {
            for (byte = 0; byte < row_bytes; byte += CACHE_LINE) {
                __builtin_prefetch(rows[k] + byte, 0, 2);
            }
        }
        turn(q->format, at, &t);
        score_all(q, &t, lanes_of(n - i), keys + i);
    }
}

void vec_pq_rows_within(const struct vec_query *const *q, size_t nq,
                        const float *limits, const uint8_t *rows, size_t n,
                        const struct vec_within *out)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    const uint8_t *at[VEC_PQ_LANES];
    struct turned t;
    size_t i, j;

    for (i = 0; i < n; i += VEC_PQ_LANES) {
        size_t lanes = lanes_of(n - i);
        uint32_t all = lanes < 32 ? ((uint32_t)1 << lanes) - 1 : UINT32_MAX;

        rows_from(rows + i * row_bytes, row_bytes, lanes, at);
        turn(q[0]->format, at, &t);
        for (j = 0; j < nq; j++) {
            out->masks[j * out->mask_stride + i / VEC_PQ_LANES] =
                all &
                score(q[j], &t, limits[j], out->keys + j * out->key_stride + i);
        }
    }
}
