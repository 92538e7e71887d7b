#include "tools/bench/bench_truth_impl.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum err bench_truth_alloc(uint64_t nq, uint32_t k, struct bench_truth *out,
                           struct err_ctx *ctx)
{
    out->nq = nq;
    out->k = k;
    out->ids = mem_try_alloc(nq * k * sizeof(*out->ids));
    out->keys = mem_try_alloc(nq * k * sizeof(*out->keys));
    if (!out->ids || !out->keys) {
        bench_truth_free(out);
        return err_set(ctx, ERR_NOMEM, "no memory for the neighbours");
    }
    return ERR_OK;
}

void bench_truth_free(struct bench_truth *t)
{
    mem_free(t->ids);
    mem_free(t->keys);
    *t = (struct bench_truth){.nq = 0};
}

/* ---- keys of single rows ------------------------------------------------ */

/* Scores rows one by one, as the scan does: bit for bit the same keys. */
struct scorer {
    struct vec_format format;
    uint8_t *row;
    uint8_t *memory;
    struct vec_query *query;
};

static enum err scorer_init(struct scorer *s, const struct bench_question *q,
                            uint64_t query)
{
    size_t bytes;

    vec_format_init(&s->format, VEC_F32, q->metric, q->base->dim);
    bytes = vec_query_bytes(&s->format);
    s->row = mem_alloc(s->format.row_bytes + s->format.overread);
    s->memory = aligned_alloc(VEC_ALIGN, bytes);
    ASSERT(s->memory);
    return vec_query_init(&s->format, bench_vectors_row(q->query, query),
                          s->memory, &s->query);
}

static void scorer_deinit(struct scorer *s)
{
    mem_free(s->row);
    free(s->memory);
}

/* The key of a row; NaN, which is no nearer than anything, for one that is not
 * in the set. */
static float score(struct scorer *s, const struct bench_question *q,
                   uint32_t row)
{
    float key = NAN;

    if (row >= q->first && row - q->first < q->n &&
        vec_encode(&s->format, bench_vectors_row(q->base, row), s->row) ==
            ERR_OK) {
        vec_scan(s->query, s->row, 1, &key);
    }
    return key;
}

/* ---- recall ------------------------------------------------------------- */

/* Rounding may order equals differently in a server's arithmetic and ours. */
static float with_slack(float limit)
{
    return limit + 1e-6F * fabsf(limit) + 1e-7F;
}

static bool is_repeated(const uint32_t *rows, uint32_t i)
{
    uint32_t j;

    for (j = 0; j < i; j++) {
        if (rows[j] == rows[i]) {
            return true;
        }
    }
    return false;
}

/* The key of the farthest neighbour; *have: how many there are. */
static float farthest(const struct bench_truth *t, uint64_t query,
                      uint32_t *have)
{
    const uint32_t *ids = t->ids + query * t->k;
    const float *keys = t->keys + query * t->k;
    float far = -INFINITY;

    for (*have = 0; *have < t->k && ids[*have] != UINT32_MAX; ++*have) {
        far = keys[*have] > far ? keys[*have] : far;
    }
    return far;
}

double bench_truth_recall(const struct bench_question *q,
                          const struct bench_truth *t, uint64_t query,
                          const uint32_t *rows, uint32_t n)
{
    uint32_t have, hits = 0, i;
    float limit = with_slack(farthest(t, query, &have));
    struct scorer s;

    if (have == 0) {
        return 1;
    }
    if (scorer_init(&s, q, query) == ERR_OK) {
        for (i = 0; i < n; i++) {
            hits += rows[i] != UINT32_MAX && !is_repeated(rows, i) &&
                    score(&s, q, rows[i]) <= limit;
        }
    }
    scorer_deinit(&s);
    return (hits < have ? hits : have) / (double)have;
}

/* ---- other sources ------------------------------------------------------ */

/* Scores the neighbours of one query that stand in `ids`. */
static enum err score_ids(const struct bench_question *q, uint64_t query,
                          struct bench_truth *out)
{
    struct scorer s;
    enum err err = scorer_init(&s, q, query);
    uint32_t j;

    for (j = 0; !err && j < q->k; j++) {
        uint32_t id = out->ids[query * q->k + j];

        out->keys[query * q->k + j] =
            id == UINT32_MAX ? INFINITY : score(&s, q, id);
    }
    scorer_deinit(&s);
    return err;
}

enum err bench_truth_from_ids(const struct bench_question *q,
                              const uint32_t *ids, const uint32_t *n_found,
                              struct bench_truth *out, struct err_ctx *ctx)
{
    uint64_t i;
    enum err err = bench_truth_alloc(q->query->n, q->k, out, ctx);

    for (i = 0; !err && i < out->nq; i++) {
        uint32_t *to = out->ids + i * q->k;
        uint32_t j, n = 0;

        for (j = 0; j < n_found[i] && j < q->k; j++) {
            if (ids[i * q->k + j] != UINT32_MAX) {
                to[n++] = ids[i * q->k + j];
            }
        }
        while (n < q->k) {
            to[n++] = UINT32_MAX;
        }
        err = score_ids(q, i, out);
        if (err) {
            bench_truth_free(out);
            err = err_set(ctx, err, "query %llu: %s", (unsigned long long)i,
                          err_text(err));
        }
    }
    return err;
}

/* The shape of an .ivecs file of neighbours: rows of at least k for at least
 * all queries. */
static enum err check_ivecs(const struct bench_question *q,
                            const struct bench_file *f, size_t *stride)
{
    uint32_t width = 0;
    uint64_t i;

    if (f->len >= sizeof(width)) {
        memcpy(&width, f->data, sizeof(width));
    }
    *stride = ((size_t)width + 1) * 4;
    if (width < q->k || f->len % *stride || f->len / *stride < q->query->n) {
        return ERR_CORRUPT;
    }
    for (i = 0; i < q->query->n; i++) {
        if (memcmp(f->data + i * *stride, &width, sizeof(width)) != 0) {
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

enum err bench_truth_read(const struct bench_question *q, const char *path,
                          struct bench_truth *out, struct err_ctx *ctx)
{
    uint64_t nq = q->query->n, i;
    struct bench_file f;
    uint32_t *ids = NULL, *n_found = NULL;
    size_t stride;
    enum err err = bench_file_open(path, &f, ctx);

    if (err) {
        return err;
    }
    err = check_ivecs(q, &f, &stride);
    if (err) {
        err = err_set(ctx, err,
                      "%s: not %llu or more rows of %u or more "
                      "neighbours",
                      path, (unsigned long long)nq, q->k);
        goto out;
    }
    ids = mem_calloc(nq * q->k, sizeof(*ids));
    n_found = mem_calloc(nq, sizeof(*n_found));
    for (i = 0; i < nq; i++) {
        memcpy(ids + i * q->k, f.data + i * stride + 4, (size_t)q->k * 4);
        n_found[i] = q->k;
    }
    for (i = 0; i < nq * q->k; i++) {
        if (ids[i] >= q->base->n) {
            err = err_set(ctx, ERR_CORRUPT, "%s: row %u of %llu", path, ids[i],
                          (unsigned long long)q->base->n);
            goto out;
        }
    }
    err = bench_truth_from_ids(q, ids, n_found, out, ctx);
out:
    mem_free(ids);
    mem_free(n_found);
    bench_file_close(&f);
    return err;
}
