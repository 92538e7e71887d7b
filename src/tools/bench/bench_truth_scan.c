/* Computing exact neighbours: the scan bench_truth.h describes. */
#include "tools/bench/bench_truth_impl.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tools/bench/bench_parallel.h"

enum {
    BLOCK_BYTES = 512 * 1024, /* of encoded rows: half of a core's L2 */
    BLOCK_ROWS_MAX = 2048,
};

/* ---- prepared queries --------------------------------------------------- */

struct queries {
    uint8_t *memory;
    struct vec_query **q;
};

static void queries_free(struct queries *qs)
{
    free(qs->memory);
    mem_free(qs->q);
}

static enum err queries_init(const struct vec_format *f,
                             const struct bench_vectors *query,
                             struct queries *out, struct err_ctx *ctx)
{
    size_t bytes = vec_query_bytes(f);
    uint64_t i;

    /* mem.h gives no alignment as large as VEC_ALIGN. */
    out->memory = aligned_alloc(VEC_ALIGN, bytes * (query->n ? query->n : 1));
    out->q = mem_calloc(query->n, sizeof(*out->q));
    if (!out->memory) {
        return err_set(ctx, ERR_NOMEM, "no memory for the queries");
    }
    for (i = 0; i < query->n; i++) {
        enum err err = vec_query_init(f, bench_vectors_row(query, i),
                                      out->memory + i * bytes, &out->q[i]);

        if (err) {
            return err_set(ctx, err, "query %llu: %s", (unsigned long long)i,
                           err_text(err));
        }
    }
    return ERR_OK;
}

/* ---- the k best --------------------------------------------------------- */

struct best {
    float key;
    uint32_t row;
};

/* By key, then by row: the order of a stable sort, so that the result does not
 * depend on how rows were cut into blocks. */
static bool is_farther(const struct best *a, const struct best *b)
{
    return a->key != b->key ? a->key > b->key : a->row > b->row;
}

static int compare_best(const void *pa, const void *pb)
{
    const struct best *a = pa, *b = pb;

    return is_farther(a, b) ? 1 : is_farther(b, a) ? -1 : 0;
}

/* Puts x at the top of a heap of n with the farthest at the top, whose old top
 * is given up. */
static void heap_replace(struct best *heap, uint32_t n, struct best x)
{
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= n) {
            break;
        }
        if (child + 1 < n && is_farther(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!is_farther(&heap[child], &x)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = x;
}

/* ---- computing ---------------------------------------------------------- */

/* A thread's memory. Heaps start full of entries at infinite distance. */
struct scanner {
    uint8_t *rows;
    float *keys;
    uint32_t *selected;
    struct best *heaps; /* nq heaps of k */
};

struct scan {
    const struct bench_question *question;
    struct vec_format format;
    struct queries queries;
    uint32_t block_rows;
    struct scanner *scanners;
    _Atomic uint64_t bad_row; /* + 1 */
};

/* Offers keys[i], of row first + i, to the heap. */
static void offer(struct scanner *s, struct best *heap, uint32_t k,
                  const float *keys, uint32_t n, uint64_t first)
{
    size_t found = vec_select(keys, n, heap[0].key, s->selected);
    size_t i;

    for (i = 0; i < found; i++) {
        struct best x = {keys[s->selected[i]],
                         (uint32_t)(first + s->selected[i])};

        if (is_farther(&heap[0], &x)) {
            heap_replace(heap, k, x);
        }
    }
}

static enum err scan_block(void *arg, unsigned worker, uint64_t from,
                           uint64_t to)
{
    struct scan *scan = arg;
    const struct bench_question *q = scan->question;
    struct scanner *s = &scan->scanners[worker];
    uint32_t n = (uint32_t)(to - from);
    uint64_t row, i;

    for (row = from; row < to; row++) {
        enum err err = vec_encode(
            &scan->format, bench_vectors_row(q->base, q->first + row),
            s->rows + (row - from) * scan->format.row_bytes);

        if (err) {
            atomic_store(&scan->bad_row, q->first + row + 1);
            return err;
        }
    }
    for (i = 0; i < q->query->n; i += VEC_BATCH_MAX) {
        uint64_t left = q->query->n - i;
        size_t batch = left < VEC_BATCH_MAX ? (size_t)left : VEC_BATCH_MAX;
        size_t j;

        vec_scan_many((const struct vec_query *const *)scan->queries.q + i,
                      batch, s->rows, n, s->keys, n);
        for (j = 0; j < batch; j++) {
            offer(s, s->heaps + (i + j) * q->k, q->k, s->keys + j * n, n,
                  q->first + from);
        }
    }
    return ERR_OK;
}

static void scanner_deinit(struct scanner *s)
{
    mem_free(s->rows);
    mem_free(s->keys);
    mem_free(s->selected);
    mem_free(s->heaps);
}

static enum err scanner_init(const struct scan *scan, struct scanner *s,
                             struct err_ctx *ctx)
{
    const struct bench_question *q = scan->question;
    uint64_t n = q->query->n * q->k, i;

    s->rows = mem_try_alloc((size_t)scan->block_rows * scan->format.row_bytes +
                            scan->format.overread);
    s->keys = mem_try_alloc((size_t)scan->block_rows * VEC_BATCH_MAX *
                            sizeof(*s->keys));
    s->selected = mem_try_alloc(scan->block_rows * sizeof(*s->selected));
    s->heaps = mem_try_alloc(n * sizeof(*s->heaps));
    if (!s->rows || !s->keys || !s->selected || !s->heaps) {
        return err_set(ctx, ERR_NOMEM, "no memory for %llu neighbours",
                       (unsigned long long)n);
    }
    for (i = 0; i < n; i++) {
        s->heaps[i] = (struct best){INFINITY, UINT32_MAX};
    }
    return ERR_OK;
}

/* Joins the threads' heaps of each query in the first one's and sorts it. */
static void merge(const struct scan *scan, unsigned n_threads,
                  struct bench_truth *out)
{
    uint32_t k = scan->question->k;
    uint64_t i;

    for (i = 0; i < out->nq; i++) {
        struct best *heap = scan->scanners[0].heaps + i * k;
        unsigned t;
        uint32_t j;

        for (t = 1; t < n_threads; t++) {
            const struct best *other = scan->scanners[t].heaps + i * k;

            for (j = 0; j < k; j++) {
                if (is_farther(&heap[0], &other[j])) {
                    heap_replace(heap, k, other[j]);
                }
            }
        }
        qsort(heap, k, sizeof(*heap), compare_best);
        for (j = 0; j < k; j++) {
            out->ids[i * k + j] = heap[j].row;
            out->keys[i * k + j] = heap[j].key;
        }
    }
}

enum err bench_truth_compute(const struct bench_question *q, unsigned n_threads,
                             struct bench_truth *out, struct err_ctx *ctx)
{
    struct scan scan = {.question = q};
    uint32_t fit;
    enum err err;
    unsigned i;

    ASSERT(q->k && q->first + q->n <= q->base->n);
    if (q->first + q->n >= UINT32_MAX) {
        return err_set(ctx, ERR_LIMIT, "exact neighbours of 2^32 rows or more");
    }
    vec_format_init(&scan.format, VEC_F32, q->metric, q->base->dim);
    fit = BLOCK_BYTES / scan.format.row_bytes;
    scan.block_rows = fit < 1 ? 1 : fit > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : fit;
    scan.scanners = mem_calloc(n_threads, sizeof(*scan.scanners));
    err = queries_init(&scan.format, q->query, &scan.queries, ctx);
    for (i = 0; !err && i < n_threads; i++) {
        err = scanner_init(&scan, &scan.scanners[i], ctx);
    }
    if (!err) {
        err = bench_parallel_run(n_threads, q->n, scan.block_rows, scan_block,
                                 &scan);
        if (err) {
            err =
                err_set(ctx, err, "row %llu: %s",
                        (unsigned long long)(scan.bad_row - 1), err_text(err));
        }
    }
    if (!err) {
        err = bench_truth_alloc(q->query->n, q->k, out, ctx);
    }
    if (!err) {
        merge(&scan, n_threads, out);
    }
    for (i = 0; i < n_threads; i++) {
        scanner_deinit(&scan.scanners[i]);
    }
    mem_free(scan.scanners);
    queries_free(&scan.queries);
    return err;
}
