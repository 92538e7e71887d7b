/* Lists with compact codes, alone and in one process: what a search costs at
 * which recall.
 *
 * usage: bench_codes DIR|N,DIM [metric] [stored] [m|i8|rows] [lists]
 *
 *   DIR     meta.json, base.f32 and query.f32 as docs/benchmark-tool.md says;
 *           N,DIM makes clustered rows up
 *   metric  cosine (default), l2, ip, l1
 *   stored  f32 (default), i8, f16
 *   m       parts of product codes; i8: int8 codes; rows: the rows themselves
 *
 * One line per setting: recall@10, processor time per query, one at a time on
 * one thread, the best of several rounds (ROUNDS). Only settings that no other
 * beats in both are printed; ALL=1 prints all. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/epoch.h"
#include "base/region.h"
#include "bench/index/vectors.h"
#include "index/ivf/centroids.h"
#include "index/ivf/codes.h"
#include "index/ivf/ivf.h"
#include "index/ivf/kmeans.h"
#include "index/topk.h"
#include "vec/pq.h"

enum { K = 10, REFINE_MAX = 64, SAMPLE = 8192, PQ_ROUNDS = 12 };

struct bench {
    struct vectors v;
    uint32_t n_lists;
    struct vec_format stored;
    uint32_t *truth;   /* K per query, numbers in `base` */
    uint32_t *of_slot; /* number in `base`; UINT32_MAX: no row */
    uint32_t n_slots;
    uint8_t *rows;         /* by slot */
    const uint8_t **pages; /* of rows: one run of memory all the same */
    struct row_geometry geometry;
    struct region region;
    struct epoch *epoch;
    struct ivf_centroids *centroids;
    struct ivf *lists;
    struct vec_pq *pq;
    struct ivf_codes *codes; /* NULL: rows are scanned */
    struct ivf_scratch *scratch;
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *huge(size_t bytes)
{
    void *p = aligned_alloc(2 << 20, (bytes + 64 + (2 << 20) - 1) >> 21 << 21);

    if (!p) {
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* ---- making it ----------------------------------------------------------- */

static void fetch(const void *arg, uint32_t first, uint32_t n, float *out)
{
    const struct bench *b = arg;
    uint32_t i;

    /* In no order: a step that is prime to most sizes. */
    for (i = 0; i < n; i++) {
        size_t row = (size_t)(first + i) * 7919 % b->v.n;

        memcpy(out + (size_t)i * b->v.dim, b->v.base + row * b->v.dim,
               4 * b->v.dim);
    }
}

static void find_lists(struct bench *b)
{
    struct kmeans_options o = {
        .metric = b->stored.metric,
        .dim = b->v.dim,
        .n_lists = b->n_lists,
        .n_rows = kmeans_sample_for(b->v.n, b->n_lists),
        .seed = 1,
        .fetch = fetch,
        .arg = b,
    };
    double began = seconds();
    struct kmeans *k = kmeans_begin(&o);
    uint32_t i;

    for (; kmeans_units(k); kmeans_next(k)) {
        for (i = 0; i < kmeans_units(k); i++) {
            kmeans_unit(k, i, b->scratch);
        }
    }
    if (kmeans_end(k, &b->centroids)) {
        exit(1);
    }
    printf("%u lists in %.2f s", b->n_lists, seconds() - began);
}

static void learn_points(struct bench *b, uint32_t m)
{
    size_t n = b->v.n < SAMPLE ? b->v.n : SAMPLE, i;
    float *sample = malloc(4 * n * b->v.dim);
    uint8_t *row = malloc(b->stored.row_bytes), *work = malloc(n);
    double began = seconds();
    uint32_t j;

    b->pq =
        aligned_alloc(VEC_ALIGN, (vec_pq_bytes(b->v.dim, m) + 63) / 64 * 64);
    vec_pq_init(b->pq, b->stored.metric, b->v.dim, m);
    for (i = 0; i < n; i++) {
        if (vec_encode(&b->stored, b->v.base + i * 7919 % b->v.n * b->v.dim,
                       row)) {
            exit(1);
        }
        vec_decode_unit(&b->stored, row, sample + i * b->v.dim);
    }
    for (j = 0; j < m; j++) {
        vec_pq_train(b->pq, j, sample, n, PQ_ROUNDS, 1, work);
    }
    printf(", points in %.2f s", seconds() - began);
    free(sample);
    free(row);
    free(work);
}

static void add_row(struct bench *b, uint32_t i, uint32_t list, void *work,
                    uint8_t *code)
{
    uint32_t slot = ivf_lane_take(b->lists, list);
    uint32_t block = b->n_slots / IVF_BLOCK;
    uint8_t *row;

    if (slot == IVF_NONE) {
        if (ivf_block_add(b->lists, list, block) ||
            (b->codes && ivf_codes_hold(b->codes, block))) {
            exit(1);
        }
        b->n_slots += IVF_BLOCK;
        slot = ivf_lane_take(b->lists, list);
    }
    row = b->rows + (size_t)slot * b->stored.row_bytes;
    b->of_slot[slot] = i;
    if (vec_encode(&b->stored, b->v.base + (size_t)i * b->v.dim, row)) {
        exit(1);
    }
    if (b->codes) {
        ivf_codes_encode(b->codes, row, work, code);
        ivf_codes_put(b->codes, slot, code);
    }
}

static void fill(struct bench *b, const char *codes)
{
    struct ivf_options o = {b->n_lists, b->centroids, ivf_centroids_destroy,
                            &b->region, b->epoch};
    struct ivf_codes_options c = {IVF_CODES_I8, &b->stored, NULL, &b->region,
                                  b->epoch};
    uint32_t *list = malloc(4 * (size_t)b->v.n), i;
    uint32_t most = b->v.n + b->n_lists * IVF_BLOCK;
    void *work;
    uint8_t *code;
    double began;

    if (atoi(codes)) {
        learn_points(b, (uint32_t)atoi(codes));
        c.kind = IVF_CODES_PQ4;
        c.pq = b->pq;
    }
    b->lists = ivf_create(&o);
    b->codes = strcmp(codes, "rows") ? ivf_codes_create(&c) : NULL;
    b->rows = huge((size_t)most * b->stored.row_bytes);
    b->of_slot = malloc(4 * (size_t)most);
    memset(b->of_slot, 0xff, 4 * (size_t)most);
    began = seconds();
    ivf_assign(b->centroids, b->v.base, b->v.n, list, NULL, b->scratch);
    printf(", assigned %.0f/s", b->v.n / (seconds() - began));
    work = aligned_alloc(VEC_ALIGN, 8 * (size_t)b->v.dim + 64);
    code = malloc(8 * (size_t)b->v.dim + 64);
    began = seconds();
    for (i = 0; i < b->v.n; i++) {
        add_row(b, i, list[i], work, code);
    }
    printf(", stored %.0f/s, %.1f bytes a row are scanned, imbalance %.2f\n",
           b->v.n / (seconds() - began),
           b->codes ? (double)ivf_codes_block_bytes(b->codes) / IVF_BLOCK
                    : (double)b->stored.row_bytes,
           ivf_imbalance(b->lists));
    row_geometry_init(&b->geometry, b->stored.row_bytes, 64, 512 * 1024, 16);
    b->pages = malloc(sizeof(*b->pages) * row_pages_for(&b->geometry, most));
    for (i = 0; i < row_pages_for(&b->geometry, most); i++) {
        b->pages[i] = b->rows + (size_t)row_page_first(&b->geometry, i) *
                                    b->stored.row_bytes;
    }
    free(list);
    free(work);
    free(code);
}

static void find_truth(struct bench *b)
{
    struct vec_format f;
    uint64_t heap[K];
    uint8_t *rows;
    float *keys = malloc(4 * (size_t)b->v.n);
    uint32_t i, j;
    void *memory;

    vec_format_init(&f, VEC_F32, b->stored.metric, b->v.dim);
    rows = huge((size_t)b->v.n * f.row_bytes);
    memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(&f));
    b->truth = malloc(4 * (size_t)b->v.nq * K);
    for (i = 0; i < b->v.n; i++) {
        if (vec_encode(&f, b->v.base + (size_t)i * b->v.dim,
                       rows + (size_t)i * f.row_bytes)) {
            exit(1);
        }
    }
    for (j = 0; j < b->v.nq; j++) {
        struct vec_query *q;
        struct topk t;

        if (vec_query_init(&f, b->v.query + (size_t)j * b->v.dim, memory, &q)) {
            exit(1);
        }
        topk_init(&t, heap, K);
        vec_scan(q, rows, b->v.n, keys);
        for (i = 0; i < b->v.n; i++) {
            if (topk_wants(&t, topk_entry(keys[i], i))) {
                topk_push(&t, topk_entry(keys[i], i));
            }
        }
        topk_sort(&t);
        for (i = 0; i < K; i++) {
            b->truth[j * K + i] = topk_entry_slot(heap[i]);
        }
    }
    free(rows);
    free(memory);
    free(keys);
}

/* ---- searching ----------------------------------------------------------- */

static bool admits(const void *arg, uint32_t slot)
{
    const struct bench *b = arg;

    return b->of_slot[slot] != UINT32_MAX;
}

struct searcher {
    struct bench *b;
    uint32_t probes, refine;
    struct ivf_near near[4096];
    uint32_t lists[4096];
    uint64_t heap[K * REFINE_MAX];
    const uint8_t *rows[K * REFINE_MAX];
    float keys[K * REFINE_MAX];
    void *query_memory, *codes_memory;
};

/* The candidates by their rows; the best K go to the front. */
static void score_again(struct searcher *s, const struct vec_query *q,
                        struct topk *t)
{
    uint64_t candidates[K * REFINE_MAX];
    const size_t n = t->n;
    size_t i;

    memcpy(candidates, s->heap, n * sizeof(*candidates));
    for (i = 0; i < n; i++) {
        s->rows[i] = s->b->rows + (size_t)topk_entry_slot(candidates[i]) *
                                      s->b->stored.row_bytes;
    }
    vec_gather(q, s->rows, n, s->keys);
    topk_init(t, s->heap, K);
    for (i = 0; i < n; i++) {
        uint64_t entry = topk_entry(s->keys[i], topk_entry_slot(candidates[i]));

        if (topk_wants(t, entry)) {
            topk_push(t, entry);
        }
    }
}

static size_t search(struct searcher *s, const float *x)
{
    struct bench *b = s->b;
    struct ivf_codes_query *cq;
    struct vec_query *q;
    struct topk t;
    struct ivf_scan scan = {.best = &t, .limit = INFINITY};
    uint32_t n, i;

    n = ivf_probe(b->centroids, x, s->probes, s->near, b->scratch);
    for (i = 0; i < n; i++) {
        s->lists[i] = s->near[i].list;
    }
    scan.admits = admits;
    scan.arg = b;
    ivf_view_take(b->lists, b->n_slots, &scan.view);
    scan.rows = (struct row_map){&b->geometry, b->pages};
    if (vec_query_init(&b->stored, x, s->query_memory, &q)) {
        exit(1);
    }
    scan.query = q;
    if (b->codes) {
        if (ivf_codes_query_init(b->codes, x, s->codes_memory, &cq)) {
            exit(1);
        }
        topk_init(&t, s->heap, (size_t)K * s->refine);
        scan.codes = cq;
        ivf_scan_lists(&scan, s->lists, n);
        score_again(s, q, &t);
    } else {
        topk_init(&t, s->heap, K);
        ivf_scan_lists(&scan, s->lists, n);
    }
    topk_sort(&t);
    return t.n;
}

static size_t hits(const struct searcher *s, uint32_t query, size_t n)
{
    const uint32_t *truth = s->b->truth + (size_t)query * K;
    size_t found = 0, i, j;

    for (i = 0; i < n; i++) {
        for (j = 0; j < K; j++) {
            found += s->b->of_slot[topk_entry_slot(s->heap[i])] == truth[j];
        }
    }
    return found;
}

struct result {
    uint32_t probes, refine;
    double recall, us;
};

static struct result measure(struct searcher *s)
{
    const char *text = getenv("ROUNDS");
    int rounds = text ? atoi(text) : 5, round;
    struct bench *b = s->b;
    double best = INFINITY;
    size_t found = 0;
    uint32_t j;

    for (round = 0; round < rounds; round++) {
        double began = seconds();

        for (j = 0; j < b->v.nq; j++) {
            search(s, b->v.query + (size_t)j * b->v.dim);
        }
        best = fmin(best, seconds() - began);
    }
    for (j = 0; j < b->v.nq; j++) {
        found += hits(s, j, search(s, b->v.query + (size_t)j * b->v.dim));
    }
    return (struct result){s->probes, s->refine,
                           (double)found / ((double)b->v.nq * K),
                           1e6 * best / b->v.nq};
}

static void measure_all(struct bench *b)
{
    static const uint32_t refines[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
    struct searcher *s = calloc(1, sizeof(*s));
    struct result all[256];
    size_t n = 0, i, j;
    uint32_t probes;

    s->b = b;
    s->query_memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(&b->stored));
    s->codes_memory =
        b->codes ? aligned_alloc(VEC_ALIGN, ivf_codes_query_bytes(b->codes))
                 : NULL;
    for (probes = 4; probes <= b->n_lists && probes <= 4096;
         probes += probes / 2) {
        for (i = 0; i < (b->codes ? ARRAY_LEN(refines) : 1); i++) {
            s->probes = probes;
            s->refine = refines[i];
            all[n++] = measure(s);
        }
    }
    for (i = 0; i < n; i++) {
        bool beaten = false;

        for (j = 0; j < n; j++) {
            beaten |= all[j].recall >= all[i].recall && all[j].us < all[i].us;
        }
        if (!beaten || getenv("ALL")) {
            printf("probes %4u refine %3u  recall %.4f  %8.1f us\n",
                   all[i].probes, all[i].refine, all[i].recall, all[i].us);
        }
    }
    free(s->query_memory);
    free(s->codes_memory);
    free(s);
}

static bool choose(struct bench *b, int argc, char **argv)
{
    static const char *const metrics[] = {"cosine", "l2", "ip", "l1"};
    static const char *const types[] = {"f32", "i8", "bit", "f16"};
    uint32_t metric = 0, type = 0;

    while (argc > 2 && metric < 4 && strcmp(argv[2], metrics[metric])) {
        metric++;
    }
    while (argc > 3 && type < 4 && strcmp(argv[3], types[type])) {
        type++;
    }
    if (argc < 2 || metric == 4 || type == 4) {
        fprintf(stderr, "usage: bench_codes DIR [metric] [stored] [m|i8|rows] "
                        "[lists]\n");
        return false;
    }
    vectors_load(&b->v, argv[1], 0);
    vec_format_init(&b->stored, (enum vec_type)type, (enum vec_metric)metric,
                    b->v.dim);
    b->n_lists = argc > 5 ? (uint32_t)atoi(argv[5]) : kmeans_lists_for(b->v.n);
    return true;
}

int main(int argc, char **argv)
{
    const char *level = getenv("SIMD");
    struct bench b = {0};

    if (vec_simd_select(level ? level : "auto") || !choose(&b, argc, argv)) {
        return 1;
    }
    region_init(&b.region, 1);
    b.epoch = epoch_create();
    b.scratch = ivf_scratch_create();
    find_truth(&b);
    find_lists(&b);
    fill(&b, argc > 4 ? argv[4] : "i8");
    measure_all(&b);
    ivf_codes_destroy(b.codes);
    ivf_destroy(b.lists);
    epoch_destroy(b.epoch);
    ivf_scratch_destroy(b.scratch);
    return 0;
}
