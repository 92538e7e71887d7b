/* The graph alone, in one process: how fast it is built, and what a search
 * costs at which recall.
 *
 * usage: bench_hnsw DIR|N,DIM [metric] [stored] [rows] [m] [ef] [threads] [efs]
 *
 *   DIR     meta.json, base.f32 and query.f32 as docs/benchmark-tool.md says;
 *           N,DIM makes clustered rows up
 *   metric  cosine (default), l2, ip, l1
 *   stored  f32 (default; compared by int8 codes, re-ranked), i8, bit, f16
 *   efs     10,64 measures these efforts only */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "base/region.h"
#include "base/rng.h"
#include "bench/index/vectors.h"
#include "index/hnsw/hnsw.h"
#include "index/topk.h"

enum { K = 10, AGAIN = 2 * K + 6, ROUNDS = 15, PHASES = 8 };

struct set {
    struct vec_format stored, codes;
    struct row_geometry geometry;
    const uint8_t **pages;
    struct row_map rows;
};

static void store(struct set *s, const struct vectors *d)
{
    uint32_t n_pages, i;

    row_geometry_init(&s->geometry, s->stored.row_bytes, s->stored.overread,
                      512 * 1024, 16);
    n_pages = row_pages_for(&s->geometry, d->n);
    s->pages = malloc(n_pages * sizeof(*s->pages));
    for (i = 0; i < n_pages; i++) {
        size_t bytes =
            (size_t)row_page_count(&s->geometry, i) * s->stored.row_bytes +
            s->stored.overread;

        s->pages[i] =
            aligned_alloc(2 << 20, (bytes + (2 << 20) - 1) >> 21 << 21);
        /* As a server's are. */
        madvise((void *)(uintptr_t)s->pages[i], bytes, MADV_HUGEPAGE);
    }
    s->rows = (struct row_map){&s->geometry, s->pages};
    for (i = 0; i < d->n; i++) {
        uint8_t *row = (uint8_t *)(uintptr_t)row_map_at(&s->rows, i);

        if (vec_encode(&s->stored, d->base + (size_t)i * d->dim, row)) {
            fprintf(stderr, "row %u is no vector\n", i);
            exit(1);
        }
    }
}

/* CPU time of this thread: less disturbed by others than the time of day. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- building ---------------------------------------------------------- */

/* What units of one phase took, of processor time. */
struct phase_times {
    int64_t total, longest;
};

struct crew {
    _Atomic int phase;
    pthread_mutex_t lock;
    struct phase_times times[PHASES];
    struct hnsw_batch *batch;
    _Atomic uint32_t next;
    uint32_t units;
    pthread_barrier_t start, end;
    bool quit;
};

static void work(struct crew *c, struct hnsw_scratch *s)
{
    struct phase_times here = {0}, *sum = &c->times[c->phase];
    int64_t before = cpu_ns();
    uint32_t unit;

    while ((unit = atomic_fetch_add(&c->next, 1)) < c->units) {
        int64_t took;

        hnsw_batch_unit(c->batch, unit, s);
        took = cpu_ns() - before;
        before += took;
        here.total += took;
        here.longest = took > here.longest ? took : here.longest;
    }
    pthread_mutex_lock(&c->lock);
    sum->total += here.total;
    sum->longest = here.longest > sum->longest ? here.longest : sum->longest;
    pthread_mutex_unlock(&c->lock);
}

static void *builder(void *arg)
{
    struct crew *c = arg;
    struct hnsw_scratch *s = hnsw_scratch_create();

    for (;;) {
        pthread_barrier_wait(&c->start);
        if (c->quit) {
            break;
        }
        work(c, s);
        pthread_barrier_wait(&c->end);
    }
    hnsw_scratch_destroy(s);
    return NULL;
}

static void print_phases(const struct crew *c, uint32_t n)
{
    static const char *names[] = {"code", "twin", "plan", "sort", "link"};
    double all = 0;
    size_t i;

    for (i = 0; i < ARRAY_LEN(names); i++) {
        all += (double)c->times[i].total;
    }
    printf("%.1f us of processor time a row:", all / 1e3 / n);
    for (i = 0; i < ARRAY_LEN(names); i++) {
        printf(" %s %.1f (longest unit %.0f)", names[i],
               (double)c->times[i].total / 1e3 / n,
               (double)c->times[i].longest / 1e3);
    }
    printf("\n");
}

static double build(struct hnsw *h, const struct set *set, uint32_t n,
                    unsigned threads)
{
    struct crew c = {.quit = false, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct hnsw_scratch *scratch = hnsw_scratch_create();
    uint32_t *nodes = malloc(n * sizeof(*nodes));
    int64_t began = clock_mono_ns();
    pthread_t thread[64];
    uint32_t done = 0, i;

    for (i = 0; i < n; i++) {
        nodes[i] = i;
    }
    pthread_barrier_init(&c.start, NULL, threads);
    pthread_barrier_init(&c.end, NULL, threads);
    for (i = 1; i < threads; i++) {
        pthread_create(&thread[i], NULL, builder, &c);
    }
    while (done < n) {
        uint32_t size = hnsw_batch_size(h, n - done);

        c.batch = hnsw_batch_begin(h, nodes + done, size, &set->rows, NULL);
        c.phase = 0;
        while ((c.units = hnsw_batch_units(c.batch)) > 0) {
            atomic_store(&c.next, 0);
            pthread_barrier_wait(&c.start);
            work(&c, scratch);
            pthread_barrier_wait(&c.end);
            hnsw_batch_next(c.batch);
            /* Sorting is told in several units, one after another. */
            c.phase += hnsw_batch_units(c.batch) != 1 || c.phase != 3;
        }
        hnsw_batch_end(c.batch);
        done += size;
    }
    c.quit = true;
    if (threads > 1) {
        pthread_barrier_wait(&c.start);
    }
    for (i = 1; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    hnsw_scratch_destroy(scratch);
    free(nodes);
    print_phases(&c, n);
    return (double)(clock_mono_ns() - began) / 1e9;
}

/* ---- searching --------------------------------------------------------- */

static uint32_t *find_truth(const struct vectors *d, enum vec_metric metric)
{
    uint32_t *truth = malloc(sizeof(*truth) * d->nq * K);
    struct vec_format f;
    uint8_t *rows;
    float *keys = malloc(sizeof(float) * d->n);
    void *memory;
    uint32_t i, q;

    vec_format_init(&f, VEC_F32, metric, d->dim);
    rows = malloc((size_t)d->n * f.row_bytes + f.overread);
    memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(&f));
    for (i = 0; i < d->n; i++) {
        (void)!vec_encode(&f, d->base + (size_t)i * d->dim,
                          rows + (size_t)i * f.row_bytes);
    }
    for (q = 0; q < d->nq; q++) {
        struct vec_query *query = NULL;
        uint64_t heap[K];
        struct topk best;

        topk_init(&best, heap, K);
        (void)!vec_query_init(&f, d->query + (size_t)q * d->dim, memory,
                              &query);
        vec_scan(query, rows, d->n, keys);
        for (i = 0; i < d->n; i++) {
            uint64_t entry = topk_entry(keys[i], i);

            if (topk_wants(&best, entry)) {
                topk_push(&best, entry);
            }
        }
        for (i = 0; i < K; i++) {
            truth[q * K + i] = topk_entry_slot(heap[i]);
        }
    }
    free(rows);
    free(keys);
    free(memory);
    return truth;
}

struct searcher {
    const struct hnsw *h;
    const struct set *set;
    const struct vectors *data;
    struct hnsw_scratch *scratch;
    void *code_query, *full_query;
};

/* The k best of one query into out; re-ranked where the graph has codes of its
 * own. */
static void search_one(struct searcher *s, uint32_t q, uint32_t ef,
                       uint32_t *out, uint64_t *scored, uint64_t *hops)
{
    const float *x = s->data->query + (size_t)q * s->data->dim;
    struct vec_query *query = NULL;
    struct hnsw_search search = {.rows = s->set->rows,
                                 .n_slots = s->data->n,
                                 .ef = ef,
                                 .k = K,
                                 .want = AGAIN};
    size_t n, i;

    (void)!vec_query_init(hnsw_format(s->h), x, s->code_query, &query);
    search.query = query;
    hnsw_search(s->h, &search, s->scratch);
    n = search.n_found;
    *scored += search.scored;
    *hops += search.hops;
    if (hnsw_has_codes(s->h)) {
        const uint8_t *rows[4096];
        float keys[4096];
        uint64_t heap[K];
        struct topk best;

        n = n < AGAIN ? n : AGAIN;
        (void)!vec_query_init(&s->set->stored, x, s->full_query, &query);
        for (i = 0; i < n; i++) {
            rows[i] =
                row_map_at(&s->set->rows, topk_entry_slot(search.found[i]));
        }
        vec_gather(query, rows, n, keys);
        topk_init(&best, heap, K);
        for (i = 0; i < n; i++) {
            uint64_t entry =
                topk_entry(keys[i], topk_entry_slot(search.found[i]));

            if (topk_wants(&best, entry)) {
                topk_push(&best, entry);
            }
        }
        for (i = 0; i < K; i++) {
            out[i] = i < best.n ? topk_entry_slot(heap[i]) : UINT32_MAX;
        }
        return;
    }
    for (i = 0; i < K; i++) {
        out[i] = i < n ? topk_entry_slot(search.found[i]) : UINT32_MAX;
    }
}

static void measure(struct searcher *s, const uint32_t *truth, uint32_t ef)
{
    uint32_t nq = s->data->nq;
    uint32_t *out = malloc(sizeof(*out) * nq * K);
    uint64_t scored = 0, hops = 0, hits = 0;
    double best = INFINITY;
    int round;
    uint32_t q, i, j;

    for (round = 0; round < ROUNDS; round++) {
        int64_t began = cpu_ns();
        double us;

        scored = hops = 0;
        for (q = 0; q < nq; q++) {
            search_one(s, q, ef, out + q * K, &scored, &hops);
        }
        us = (double)(cpu_ns() - began) / 1e3 / nq;
        best = us < best ? us : best;
    }
    for (q = 0; q < nq; q++) {
        for (i = 0; i < K; i++) {
            for (j = 0; j < K; j++) {
                hits += out[q * K + i] == truth[q * K + j];
            }
        }
    }
    printf("ef %4u  recall %.4f  %7.1f us  %6.0f scored  %4.0f hops  %.1f ns "
           "each\n",
           ef, (double)hits / nq / K, best, (double)scored / nq,
           (double)hops / nq, best * 1e3 * nq / (double)scored);
    free(out);
}

/* The efforts of a list, or the usual ones. */
static void measure_all(struct searcher *s, const uint32_t *truth, char *list)
{
    static const uint32_t efs[] = {10,  16,  24,  32,  48,  64, 80,
                                   100, 128, 160, 200, 300, 400};
    size_t i;

    if (list) {
        for (list = strtok(list, ","); list; list = strtok(NULL, ",")) {
            measure(s, truth, (uint32_t)atoi(list));
        }
        return;
    }
    for (i = 0; i < ARRAY_LEN(efs); i++) {
        measure(s, truth, efs[i]);
    }
}

static const char *argument(int argc, char **argv, int i, const char *fallback)
{
    return argc > i ? argv[i] : fallback;
}

int main(int argc, char **argv)
{
    static const char *metrics[] = {"cosine", "l2", "ip", "l1"};
    static const char *types[] = {"f32", "i8", "bit", "f16", "bf16"};
    enum vec_metric metric = VEC_COSINE;
    enum vec_type type = VEC_F32;
    struct vectors data = {0};
    struct set set;
    struct region region;
    struct hnsw_options o;
    struct searcher s;
    uint32_t *truth;
    double seconds;
    unsigned threads;
    size_t i;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_hnsw DIR|N,DIM [metric] [stored] [rows] "
                        "[m] [ef] [threads] [efs]\n");
        return 1;
    }
    for (i = 0; i < ARRAY_LEN(metrics); i++) {
        metric = strcmp(argument(argc, argv, 2, "cosine"), metrics[i]) == 0
                     ? (enum vec_metric)i
                     : metric;
    }
    for (i = 0; i < ARRAY_LEN(types); i++) {
        type = strcmp(argument(argc, argv, 3, "f32"), types[i]) == 0
                   ? (enum vec_type)i
                   : type;
    }
    (void)!vec_simd_select(getenv("SIMD") ? getenv("SIMD") : "auto");
    vectors_load(&data, argv[1], (uint32_t)atoi(argument(argc, argv, 4, "0")));
    threads = (unsigned)atoi(argument(argc, argv, 7, "2"));
    vec_format_init(&set.stored, type, metric, data.dim);
    vec_format_init(&set.codes, type == VEC_F32 ? VEC_I8 : type, metric,
                    data.dim);
    store(&set, &data);
    region_init(&region, 0);
    region_make_private(&region);
    o = (struct hnsw_options){
        .stored = &set.stored,
        .format = &set.codes,
        .m = (uint32_t)atoi(argument(argc, argv, 5, "16")),
        .ef = (uint32_t)atoi(argument(argc, argv, 6, "128")),
        .seed = 1,
        .region = &region,
        .epoch = epoch_create(),
    };
    s = (struct searcher){.h = hnsw_create(&o), .set = &set, .data = &data};
    seconds = build((struct hnsw *)(uintptr_t)s.h, &set, data.n, threads);
    printf("%u x %u, %s, %s, %s: built in %.2f s by %u, %.0f rows/s, %.0f "
           "bytes each\n",
           data.n, data.dim, metrics[metric], types[type], vec_simd_name(),
           seconds, threads, data.n / seconds,
           (double)hnsw_bytes(s.h) / data.n);
    truth = find_truth(&data, metric);
    s.scratch = hnsw_scratch_create();
    s.code_query = aligned_alloc(VEC_ALIGN, vec_query_bytes(&set.codes));
    s.full_query = aligned_alloc(VEC_ALIGN, vec_query_bytes(&set.stored));
    measure_all(&s, truth, argc > 8 ? argv[8] : NULL);
    return 0;
}
