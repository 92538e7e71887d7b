/* Inverted lists alone, in one process: what training and filling them takes,
 * and what a search costs at which recall.
 *
 * usage: bench_ivf DIR|N,DIM [-m metric] [-s stored] [-c codes] [-n rows]
 *                  [-l lists] [-p probes,...] [-f factor] [-r rounds] [-b] [-a]
 *
 *   DIR  meta.json, base.f32 and query.f32 as docs/benchmark-tool.md says;
 *        N,DIM makes clustered rows up
 *   -m   cosine (default), l2, ip, l1
 *   -s   i8 (default), f32, f16, bf16, bit
 *   -c   int8: lists are scanned by a column of codes, the best scored once
 *        more by their rows
 *   -f   how many times k that is (default 2)
 *   -a   each query ends when little is to be expected any more
 *   -b   probe for sixteen queries at a time
 *
 * Blocks come in the order in which lists need them, as in a server whose lists
 * are filled while it works. Processor time of one thread, the best of several
 * rounds. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "base/region.h"
#include "base/rng.h"
#include "bench/index/vectors.h"
#include "index/ivf/centroids.h"
#include "index/ivf/codes.h"
#include "index/ivf/ivf.h"
#include "index/ivf/kmeans.h"
#include "index/topk.h"

enum {
    K = 10,
    THREADS = 2,
    PROBES_MAX = 4096,
    PAGE = 512 * 1024,
    KEPT_MAX = 1024
};

struct data {
    struct vectors v;
    enum vec_metric metric;
    uint32_t *truth;
};

struct set {
    struct vec_format stored;
    struct row_geometry geometry;
    const uint8_t **pages;
    struct row_map rows;
    struct region region;
    struct epoch *epoch;
    struct ivf *ivf;
    struct ivf_codes *codes; /* NULL: rows are scanned */
    uint32_t *row_of;        /* by slot; IVF_NONE: none */
    uint32_t n_slots;
};

struct options {
    const char *data;
    uint32_t limit, n_lists, rounds;
    enum vec_metric metric;
    enum vec_type type;
    enum ivf_codes_kind codes;
    double factor;
    bool batch, adaptive;
    uint32_t probes[32];
    uint32_t n_probes;
};

static void die(const char *what, const char *which)
{
    fprintf(stderr, "%s %s\n", what, which);
    exit(1);
}

/* ---- data ---------------------------------------------------------------- */

static const float *base_row(const struct data *d, uint32_t i)
{
    return d->v.base + (size_t)i * d->v.dim;
}

static void encode(const struct vec_format *f, const float *x, uint8_t *row)
{
    if (vec_encode(f, x, row)) {
        die("not a vector:", "a row");
    }
}

/* Part of the queries, by every row in float32. */
struct truth_part {
    const struct data *d;
    const struct vec_format *f;
    const uint8_t *rows;
    uint32_t from, to;
};

static void *find_part(void *arg)
{
    const struct truth_part *p = arg;
    const struct data *d = p->d;
    float *keys = malloc(sizeof(float) * d->v.n);
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(p->f));
    uint32_t q, i;

    for (q = p->from; q < p->to; q++) {
        struct vec_query *query = NULL;
        uint64_t heap[K];
        struct topk best;

        topk_init(&best, heap, K);
        (void)!vec_query_init(p->f, d->v.query + (size_t)q * d->v.dim, memory,
                              &query);
        vec_scan(query, p->rows, d->v.n, keys);
        for (i = 0; i < d->v.n; i++) {
            uint64_t entry = topk_entry(keys[i], i);

            if (topk_wants(&best, entry)) {
                topk_push(&best, entry);
            }
        }
        for (i = 0; i < K; i++) {
            d->truth[q * K + i] = topk_entry_slot(heap[i]);
        }
    }
    free(keys);
    free(memory);
    return NULL;
}

static void find_truth(struct data *d)
{
    struct truth_part parts[THREADS];
    pthread_t threads[THREADS];
    struct vec_format f;
    uint8_t *rows;
    uint32_t i;

    d->truth = malloc(sizeof(*d->truth) * d->v.nq * K);
    vec_format_init(&f, VEC_F32, d->metric, d->v.dim);
    rows = malloc((size_t)d->v.n * f.row_bytes + f.overread);
    for (i = 0; i < d->v.n; i++) {
        encode(&f, base_row(d, i), rows + (size_t)i * f.row_bytes);
    }
    for (i = 0; i < THREADS; i++) {
        parts[i] = (struct truth_part){d, &f, rows, d->v.nq * i / THREADS,
                                       d->v.nq * (i + 1) / THREADS};
        pthread_create(&threads[i], NULL, find_part, &parts[i]);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    free(rows);
}

/* CPU time of this thread: less disturbed by others than the time of day. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- training ------------------------------------------------------------ */

struct crew {
    struct kmeans *k;
    _Atomic uint32_t next;
    uint32_t units;
};

static void *train_units(void *arg)
{
    struct crew *c = arg;
    struct ivf_scratch *s = ivf_scratch_create();
    uint32_t unit;

    while ((unit = atomic_fetch_add(&c->next, 1)) < c->units) {
        kmeans_unit(c->k, unit, s);
    }
    ivf_scratch_destroy(s);
    return NULL;
}

/* The sample is spread over the rows by a step that meets each once. */
struct sample {
    const struct data *d;
    uint64_t step;
};

static void fetch(const void *arg, uint32_t first, uint32_t n, float *out)
{
    const struct sample *s = arg;
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint32_t row = (uint32_t)((first + i) * s->step % s->d->v.n);

        memcpy(out + (size_t)i * s->d->v.dim, base_row(s->d, row),
               s->d->v.dim * sizeof(float));
    }
}

static struct ivf_centroids *train(const struct data *d, uint32_t n_lists)
{
    struct sample sample = {d, 0x9e3779b1}; /* a prime */
    struct kmeans_options o = {.metric = d->metric,
                               .dim = d->v.dim,
                               .n_lists = n_lists,
                               .n_rows = kmeans_sample_for(d->v.n, n_lists),
                               .seed = 3,
                               .fetch = fetch,
                               .arg = &sample};
    struct ivf_centroids *centroids = NULL;
    struct crew c;
    int64_t began = clock_mono_ns();

    c.k = kmeans_begin(&o);
    while ((c.units = kmeans_units(c.k)) > 0) {
        pthread_t other;

        atomic_store(&c.next, 0);
        pthread_create(&other, NULL, train_units, &c);
        train_units(&c);
        pthread_join(other, NULL);
        kmeans_next(c.k);
    }
    if (kmeans_end(c.k, &centroids)) {
        die("no memory for", "centroids");
    }
    printf("%u lists trained by %d in %.2f s\n", n_lists, THREADS,
           (double)(clock_mono_ns() - began) / 1e9);
    return centroids;
}

/* ---- filling ------------------------------------------------------------- */

static void make_rows(struct set *s, uint32_t n, uint32_t n_lists)
{
    uint32_t big = (PAGE - s->stored.overread) / s->stored.row_bytes;
    uint32_t pages, i;
    uint8_t *memory;

    /* A block lies in one page. */
    big = big > IVF_BLOCK ? big / IVF_BLOCK * IVF_BLOCK : IVF_BLOCK;
    row_geometry_init(&s->geometry, s->stored.row_bytes, s->stored.overread,
                      (uint64_t)big * s->stored.row_bytes + s->stored.overread,
                      IVF_BLOCK);
    s->n_slots = s->geometry.small_rows + n + n_lists * IVF_BLOCK;
    pages = row_pages_for(&s->geometry, s->n_slots);
    s->pages = calloc(pages, sizeof(*s->pages));
    memory = aligned_alloc(2 << 20, (size_t)(pages + 4) * PAGE / 4 * 4);
    madvise(memory, (size_t)pages * PAGE, MADV_HUGEPAGE); /* as a server's */
    for (i = s->geometry.small_pages; i < pages; i++) {
        s->pages[i] = memory;
        memory += (size_t)big * s->stored.row_bytes + s->stored.overread;
        memory += -(uintptr_t)memory % 64;
    }
    s->rows = (struct row_map){&s->geometry, s->pages};
    s->row_of = malloc(s->n_slots * sizeof(*s->row_of));
    for (i = 0; i < s->n_slots; i++) {
        s->row_of[i] = IVF_NONE;
    }
}

static void put(struct set *s, const struct data *d, uint32_t i, uint32_t list,
                uint32_t *next_block)
{
    uint32_t slot = ivf_lane_take(s->ivf, list);
    uint8_t *row;

    if (slot == IVF_NONE) {
        if (ivf_block_add(s->ivf, list, *next_block) ||
            (s->codes && ivf_codes_hold(s->codes, *next_block))) {
            die("no memory for", "a block");
        }
        ++*next_block;
        slot = ivf_lane_take(s->ivf, list);
    }
    row = (uint8_t *)(uintptr_t)row_map_at(&s->rows, slot);
    encode(&s->stored, base_row(d, i), row);
    s->row_of[slot] = i;
    if (s->codes) {
        void *work = aligned_alloc(VEC_ALIGN, ivf_codes_work_bytes(s->codes));
        uint8_t *code = malloc(ivf_codes_code_bytes(s->codes));

        ivf_codes_encode(s->codes, row, work, code);
        ivf_codes_put(s->codes, slot, code);
        free(work);
        free(code);
    }
}

static void fill(struct set *s, const struct data *d,
                 struct ivf_centroids *centroids, enum ivf_codes_kind codes)
{
    struct ivf_options o = {.n_lists = centroids->n,
                            .centroids = centroids,
                            .free_centroids = ivf_centroids_destroy,
                            .region = &s->region};
    struct ivf_codes_options co = {
        .kind = codes, .stored = &s->stored, .region = &s->region};
    struct ivf_scratch *scratch = ivf_scratch_create();
    uint32_t *lists = malloc(d->v.n * sizeof(*lists));
    uint32_t next_block, i;
    struct ivf_stats stats;
    int64_t began = cpu_ns();

    region_init(&s->region, 0);
    s->epoch = epoch_create();
    o.epoch = co.epoch = s->epoch;
    s->ivf = ivf_create(&o);
    s->codes = codes == IVF_CODES_NONE ? NULL : ivf_codes_create(&co);
    ivf_assign(centroids, d->v.base, d->v.n, lists, NULL, scratch);
    printf("assigned: %.2f us of processor time a row\n",
           (double)(cpu_ns() - began) / 1e3 / d->v.n);
    make_rows(s, d->v.n, centroids->n);
    next_block = s->geometry.small_rows / IVF_BLOCK;
    for (i = 0; i < d->v.n; i++) {
        put(s, d, i, lists[i], &next_block);
    }
    if (next_block * IVF_BLOCK > s->n_slots) {
        die("too few", "slots");
    }
    ivf_validate(s->ivf, NULL, NULL);
    ivf_stats(s->ivf, &stats);
    printf("%u blocks, %.2f bytes a row of lists, sizes %u to %u, imbalance "
           "%.2f\n",
           stats.n_blocks, (double)ivf_bytes(s->ivf) / d->v.n, stats.min,
           stats.max, stats.imbalance);
    ivf_scratch_destroy(scratch);
    free(lists);
}

/* ---- searching ----------------------------------------------------------- */

struct searcher {
    const struct set *set;
    const struct data *data;
    struct ivf_scratch *scratch;
    struct ivf_near *near;
    void *row_query, *code_query;
    double factor;
    uint64_t scored, admitted, lists;
    int64_t probe_ns;
};

static bool admits(const void *arg, uint32_t slot)
{
    const struct searcher *s = arg;

    return s->set->row_of[slot] != IVF_NONE;
}

/* The best candidates once more, by their rows. */
static void refine(struct searcher *s, const struct vec_query *query,
                   struct topk *best)
{
    const uint8_t *rows[KEPT_MAX];
    float keys[KEPT_MAX];
    size_t n = best->n, i;

    for (i = 0; i < n; i++) {
        rows[i] = row_map_at(&s->set->rows, topk_entry_slot(best->heap[i]));
    }
    vec_gather(query, rows, n, keys);
    for (i = 0; i < n; i++) {
        best->heap[i] = topk_entry(keys[i], topk_entry_slot(best->heap[i]));
    }
    /* Few, and the heap is made anew. */
    n = best->n;
    best->n = 0;
    best->cap = K;
    for (i = 0; i < n; i++) {
        uint64_t entry = best->heap[i];

        if (topk_wants(best, entry)) {
            topk_push(best, entry);
        }
    }
}

/* near: what was probed for, when that is so. */
static void search_one(struct searcher *s, uint32_t q, uint32_t n_probe,
                       const struct ivf_near *near, uint32_t *out)
{
    const float *x = s->data->v.query + (size_t)q * s->data->v.dim;
    size_t want = s->set->codes ? (size_t)(s->factor * K) : K;
    uint64_t heap[KEPT_MAX];
    struct topk best;
    struct vec_query *query = NULL;
    struct ivf_codes_query *codes = NULL;
    struct ivf_scan scan = {.rows = s->set->rows,
                            .best = &best,
                            .limit = INFINITY,
                            .admits = admits,
                            .arg = s};
    size_t i;

    topk_init(&best, heap, want < KEPT_MAX ? want : KEPT_MAX);
    (void)!vec_query_init(&s->set->stored, x, s->row_query, &query);
    if (s->set->codes) {
        (void)!ivf_codes_query_init(s->set->codes, x, s->code_query, &codes);
    }
    scan.query = query;
    scan.codes = codes;
    ivf_view_take(s->set->ivf, s->set->n_slots, &scan.view);
    if (near) {
        ivf_scan_near(&scan, near, n_probe);
    } else {
        ivf_search(&scan, x, n_probe, UINT32_MAX, s->near, s->scratch);
    }
    s->scored += scan.scored;
    s->admitted += scan.admitted;
    s->lists += scan.n_lists;
    if (codes) {
        refine(s, query, &best);
    }
    topk_sort(&best);
    for (i = 0; i < K; i++) {
        out[i] = i < best.n ? s->set->row_of[topk_entry_slot(best.heap[i])]
                            : IVF_NONE;
    }
}

static void search_all(struct searcher *s, uint32_t n_probe,
                       const struct options *o, uint32_t *out)
{
    const struct ivf_centroids *c = ivf_centroids_of(s->set->ivf);
    uint32_t step = o->batch ? VEC_BATCH_MAX : 1;
    uint32_t q, i;

    for (q = 0; q < s->data->v.nq; q += step) {
        uint32_t n = s->data->v.nq - q < step ? s->data->v.nq - q : step;
        const float *x[VEC_BATCH_MAX];
        int64_t began;

        if (o->adaptive) {
            search_one(s, q, n_probe, NULL, out + (size_t)q * K);
            continue;
        }
        began = clock_mono_ns();
        for (i = 0; i < n; i++) {
            x[i] = s->data->v.query + (size_t)(q + i) * s->data->v.dim;
        }
        ivf_probe_many(c, x, n, n_probe, s->near, s->scratch);
        s->probe_ns += clock_mono_ns() - began;
        for (i = 0; i < n; i++) {
            search_one(s, q + i, n_probe, s->near + i * n_probe,
                       out + (size_t)(q + i) * K);
        }
    }
}

static double recall_of(const struct data *d, const uint32_t *out)
{
    uint64_t hits = 0;
    uint32_t q, i, j;

    for (q = 0; q < d->v.nq; q++) {
        for (i = 0; i < K; i++) {
            for (j = 0; j < K; j++) {
                hits += out[q * K + i] == d->truth[q * K + j];
            }
        }
    }
    return (double)hits / d->v.nq / K;
}

static void measure(struct searcher *s, const struct options *o,
                    uint32_t n_probe)
{
    uint32_t nq = s->data->v.nq;
    uint32_t *out = malloc(sizeof(*out) * nq * K);
    double best = INFINITY, probe = INFINITY;
    uint32_t round;

    for (round = 0; round < o->rounds; round++) {
        int64_t began = cpu_ns();
        double us;

        s->scored = s->admitted = s->lists = 0;
        s->probe_ns = 0;
        search_all(s, n_probe, o, out);
        us = (double)(cpu_ns() - began) / 1e3 / nq;
        best = us < best ? us : best;
        us = (double)s->probe_ns / 1e3 / nq;
        probe = us < probe ? us : probe;
    }
    printf("np %4u  recall %.4f  %7.2f us (%6.0f/s)  %6.1f lists  %6.0f rows  "
           "%.2f ns each  %4.0f kept  probing %.2f us\n",
           n_probe, recall_of(s->data, out), best, 1e6 / best,
           (double)s->lists / nq, (double)s->scored / nq,
           (best - probe) * 1e3 * nq / (double)s->scored,
           (double)s->admitted / nq, probe);
    fflush(stdout);
    free(out);
}

static int find_word(const char *word, const char *const *words, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    die("unknown:", word);
    return 0;
}

static void parse(int argc, char **argv, struct options *o)
{
    static const char *metrics[] = {"cosine", "l2", "ip", "l1"};
    static const char *types[] = {"f32", "i8", "bit", "f16", "bf16"};
    static const char *codes[] = {"none", "int8"};
    static const uint32_t probes[] = {1,  2,  4,  6,  8,   12,  16,  24,
                                      32, 48, 64, 96, 128, 192, 256, 384};
    const char *at;
    int c;

    *o = (struct options){
        .rounds = 9, .type = VEC_I8, .factor = 2, .n_probes = 16};
    memcpy(o->probes, probes, sizeof(probes));
    while ((c = getopt(argc, argv, "m:s:c:n:l:p:f:r:ab")) != -1) {
        switch (c) {
        case 'm':
            o->metric = (enum vec_metric)find_word(optarg, metrics, 4);
            break;
        case 's':
            o->type = (enum vec_type)find_word(optarg, types, 5);
            break;
        case 'c':
            o->codes = (enum ivf_codes_kind)find_word(optarg, codes, 2);
            break;
        case 'n':
            o->limit = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            o->n_lists = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            o->n_probes = 0;
            for (at = optarg; at && o->n_probes < 32; at = strchr(at, ',')) {
                at += *at == ',';
                o->probes[o->n_probes++] = (uint32_t)strtoul(at, NULL, 10);
            }
            break;
        case 'f':
            o->factor = strtod(optarg, NULL);
            break;
        case 'r':
            o->rounds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'a':
            o->adaptive = true;
            break;
        case 'b':
            o->batch = true;
            break;
        default:
            die("usage:", "bench_ivf [options] DIR|N,DIM");
        }
    }
    if (optind != argc - 1) {
        die("usage:", "bench_ivf [options] DIR|N,DIM");
    }
    o->data = argv[optind];
}

int main(int argc, char **argv)
{
    struct options o;
    struct data d = {0};
    static struct set set;
    struct searcher s = {.set = &set, .data = &d};
    uint32_t i;

    parse(argc, argv, &o);
    if (vec_simd_select("auto")) {
        return 1;
    }
    d.metric = o.metric;
    vectors_load(&d.v, o.data, o.limit);
    d.v.nq = d.v.nq < 1000 ? d.v.nq : 1000;
    o.n_lists = o.n_lists ? o.n_lists : kmeans_lists_for(d.v.n);
    vec_format_init(&set.stored, o.type, o.metric, d.v.dim);
    printf("%u x %u, %u bytes a row, %s\n", d.v.n, d.v.dim,
           set.stored.row_bytes, vec_simd_name());
    find_truth(&d);
    fill(&set, &d, train(&d, o.n_lists), o.codes);
    s.scratch = ivf_scratch_create();
    s.near =
        malloc(sizeof(*s.near) * VEC_BATCH_MAX * PROBES_MAX * IVF_REACH / 8);
    s.row_query = aligned_alloc(VEC_ALIGN, vec_query_bytes(&set.stored));
    s.code_query =
        set.codes ? aligned_alloc(VEC_ALIGN, ivf_codes_query_bytes(set.codes))
                  : NULL;
    s.factor = o.factor;
    for (i = 0; i < o.n_probes; i++) {
        if (o.probes[i] > 0 && o.probes[i] <= o.n_lists &&
            o.probes[i] <= PROBES_MAX) {
            measure(&s, &o, o.probes[i]);
        }
    }
    return 0;
}
