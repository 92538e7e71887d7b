/* Training lists and assigning rows to them: how long it takes, how even the
 * lists are, and what part of the rows must be scanned for which recall.
 *
 * usage: bench_train DIR|N,DIM [metric] [lists] [rows] [threads] [sample]
 *
 *   DIR     meta.json, base.f32 and query.f32 as docs/benchmark-tool.md says;
 *           N,DIM makes clustered rows up
 *   metric  cosine (default), l2, ip, l1
 *   lists, rows, sample  0: as many as usual, or all
 *
 * Rows are stored as int8, as a set's usually are. Recall here is of an exact
 * scan of the lists probed: what coarse search loses, and nothing else. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "bench/index/vectors.h"
#include "index/ivf/kmeans.h"

enum { K = 10, QUERIES = 300, ASSIGN_UNIT = 1024, THREADS_MAX = 64 };

struct data {
    struct vectors v;
    struct vec_format stored;
    uint8_t *rows;
    uint32_t *sample;
};

/* ---- data -------------------------------------------------------------- */

static void store(struct data *d, enum vec_metric metric)
{
    uint32_t i;

    vec_format_init(&d->stored, VEC_I8, metric, d->v.dim);
    d->rows = malloc((size_t)d->v.n * d->stored.row_bytes + d->stored.overread);
    for (i = 0; i < d->v.n; i++) {
        if (vec_encode(&d->stored, d->v.base + (size_t)i * d->v.dim,
                       d->rows + (size_t)i * d->stored.row_bytes)) {
            fprintf(stderr, "row %u is no vector\n", i);
            exit(1);
        }
    }
}

/* Numbers of n_sample rows, drawn without repetition. */
static void draw(struct data *d, uint32_t n_sample)
{
    struct rng rng;
    uint32_t i;

    d->sample = malloc(sizeof(*d->sample) * d->v.n);
    rng_seed(&rng, 3);
    for (i = 0; i < d->v.n; i++) {
        d->sample[i] = i;
    }
    for (i = 0; i < n_sample; i++) {
        uint32_t j = i + (uint32_t)rng_below(&rng, d->v.n - i);
        uint32_t row = d->sample[j];

        d->sample[j] = d->sample[i];
        d->sample[i] = row;
    }
}

static void fetch(const void *arg, uint32_t first, uint32_t n, float *out)
{
    const struct data *d = arg;
    uint32_t i;

    for (i = 0; i < n; i++) {
        vec_decode_unit(&d->stored,
                        d->rows +
                            (size_t)d->sample[first + i] * d->stored.row_bytes,
                        out + (size_t)i * d->v.dim);
    }
}

/* ---- threads ----------------------------------------------------------- */

/* Units of one phase, worked by all threads; their processor time. */
struct crew {
    void (*unit)(struct crew *c, uint32_t unit, struct ivf_scratch *s);
    uint32_t units;
    _Atomic uint32_t next;
    _Atomic int64_t cpu_ns;
    _Atomic int64_t longest_ns;
    struct kmeans *k;
    const struct data *d;
    const struct ivf_centroids *c;
    uint32_t *lists;
};

static struct ivf_scratch *scratches[THREADS_MAX];
static _Atomic unsigned next_scratch;

static void work(void *arg)
{
    struct crew *c = arg;
    struct ivf_scratch *s = scratches[atomic_fetch_add(&next_scratch, 1)];
    int64_t began = thread_cpu_ns(), before = began, now = began;
    uint32_t unit;

    while ((unit = atomic_fetch_add(&c->next, 1)) < c->units) {
        c->unit(c, unit, s);
        now = thread_cpu_ns();
        if (now - before > atomic_load(&c->longest_ns)) {
            atomic_store(&c->longest_ns, now - before);
        }
        before = now;
    }
    atomic_fetch_add(&c->cpu_ns, now - began);
}

static void run(struct crew *c, uint32_t units, unsigned n_threads)
{
    struct thread *threads[THREADS_MAX];
    unsigned i;

    c->units = units;
    atomic_store(&c->next, 0);
    atomic_store(&next_scratch, 0);
    if (units == 1) {
        n_threads = 1;
    }
    for (i = 1; i < n_threads; i++) {
        if (thread_start(&threads[i], "t", work, c)) {
            exit(1);
        }
    }
    work(c);
    for (i = 1; i < n_threads; i++) {
        thread_join(threads[i]);
    }
}

static void train_unit(struct crew *c, uint32_t unit, struct ivf_scratch *s)
{
    kmeans_unit(c->k, unit, s);
}

static struct ivf_centroids *train(const struct data *d, uint32_t n_lists,
                                   uint32_t n_sample, unsigned n_threads)
{
    struct kmeans_options o = {.metric = d->stored.metric,
                               .dim = d->v.dim,
                               .n_lists = n_lists,
                               .n_rows = n_sample,
                               .seed = 1,
                               .fetch = fetch,
                               .arg = d};
    struct crew crew = {.unit = train_unit};
    struct ivf_centroids *c = NULL;
    int64_t began = clock_mono_us(), longest_next = 0, cpu = 0;
    const char *verbose = getenv("PHASES");
    double told = 0;
    int phases = 0;

    crew.k = kmeans_begin(&o);
    while (kmeans_units(crew.k) > 0) {
        int64_t before = clock_mono_us(), took;
        uint32_t units = kmeans_units(crew.k);

        atomic_store(&crew.longest_ns, 0);
        run(&crew, units, n_threads);
        if (verbose) {
            printf("  phase %3d: %6u units, %8.1f ms, %8.1f ms of processor "
                   "time, longest unit %6.2f ms, %5.1f %%\n",
                   phases, units, (double)(clock_mono_us() - before) / 1e3,
                   (double)(crew.cpu_ns - cpu) / 1e6,
                   (double)crew.longest_ns / 1e6,
                   100 * kmeans_progress(crew.k));
        }
        cpu = crew.cpu_ns;
        phases++;
        before = clock_mono_us();
        kmeans_next(crew.k);
        took = clock_mono_us() - before;
        longest_next = took > longest_next ? took : longest_next;
        told = kmeans_progress(crew.k);
    }
    if (told < 1 || kmeans_end(crew.k, &c)) {
        exit(1);
    }
    printf("trained %u lists on %u rows in %.2f s by %u, %.2f s of processor "
           "time, %.0f MB beside the rows\n",
           n_lists, n_sample, (double)(clock_mono_us() - began) / 1e6,
           n_threads, (double)crew.cpu_ns / 1e9,
           (double)kmeans_bytes(&o) / 1e6);
    if (longest_next > 500) {
        printf("  going on to the next phase took %lld us\n",
               (long long)longest_next);
    }
    return c;
}

static void assign_unit(struct crew *c, uint32_t unit, struct ivf_scratch *s)
{
    const uint8_t *rows[ASSIGN_UNIT];
    uint32_t first = unit * ASSIGN_UNIT, i;
    uint32_t n =
        c->d->v.n - first < ASSIGN_UNIT ? c->d->v.n - first : ASSIGN_UNIT;

    for (i = 0; i < n; i++) {
        rows[i] = c->d->rows + (size_t)(first + i) * c->d->stored.row_bytes;
    }
    ivf_assign_rows(c->c, &c->d->stored, rows, n, c->lists + first, NULL, s);
}

static uint32_t *assign(const struct data *d, const struct ivf_centroids *c,
                        unsigned n_threads)
{
    struct crew crew = {.unit = assign_unit,
                        .d = d,
                        .c = c,
                        .lists = malloc(sizeof(uint32_t) * d->v.n)};
    int64_t began = clock_mono_us();

    run(&crew, (d->v.n + ASSIGN_UNIT - 1) / ASSIGN_UNIT, n_threads);
    printf("assigned %u rows in %.2f s by %u, %.0f rows/s per core\n", d->v.n,
           (double)(clock_mono_us() - began) / 1e6, n_threads,
           d->v.n / ((double)crew.cpu_ns / 1e9));
    return crew.lists;
}

/* ---- what came of it --------------------------------------------------- */

static void tell_balance(const struct ivf_centroids *c, const uint32_t *lists,
                         uint32_t n, uint32_t *sizes)
{
    double squares = 0, mean = (double)n / c->n;
    uint32_t i, most = 0, small = 0, big = 0;

    for (i = 0; i < n; i++) {
        sizes[lists[i]]++;
    }
    for (i = 0; i < c->n; i++) {
        squares += (double)sizes[i] * sizes[i];
        most = sizes[i] > most ? sizes[i] : most;
        small += sizes[i] < mean / 5;
        big += sizes[i] > 3 * mean;
    }
    printf("lists of %.0f rows, the longest %.2f times that; imbalance %.3f; "
           "%u below a fifth, %u above three times\n",
           mean, most / mean, c->n * squares / ((double)n * n), small, big);
}

static float exact_key(enum vec_metric metric, const float *q, const float *x,
                       uint32_t dim)
{
    float sum = 0, norm = 0;
    uint32_t i;

    for (i = 0; i < dim; i++) {
        if (metric == VEC_L2) {
            sum += (q[i] - x[i]) * (q[i] - x[i]);
        } else if (metric == VEC_L1) {
            sum += fabsf(q[i] - x[i]);
        } else {
            sum -= q[i] * x[i];
            norm += x[i] * x[i];
        }
    }
    return metric == VEC_COSINE && norm > 0 ? sum / sqrtf(norm) : sum;
}

static void find_truth(const struct data *d, const float *q, uint32_t *found)
{
    float keys[K];
    uint32_t i, n = 0, at;

    for (i = 0; i < d->v.n; i++) {
        float key = exact_key(d->stored.metric, q,
                              d->v.base + (size_t)i * d->v.dim, d->v.dim);

        if (n == K && key >= keys[K - 1]) {
            continue;
        }
        n += n < K;
        for (at = n - 1; at > 0 && keys[at - 1] > key; at--) {
            keys[at] = keys[at - 1];
            found[at] = found[at - 1];
        }
        keys[at] = key;
        found[at] = i;
    }
}

/* Which lists hold the true neighbours, and what comes before them. */
static void tell_recall(const struct data *d, const struct ivf_centroids *c,
                        const uint32_t *lists, const uint32_t *sizes)
{
    static const uint32_t probes[] = {1,  2,  4,  6,  8,   12,  16, 24,
                                      32, 48, 64, 96, 128, 192, 256};
    uint32_t nq = d->v.nq < QUERIES ? d->v.nq : QUERIES, i, j, p;
    struct ivf_near *near = malloc(sizeof(*near) * c->n);
    double hits[ARRAY_LEN(probes)] = {0}, scanned[ARRAY_LEN(probes)] = {0};
    uint32_t *rank = malloc(sizeof(*rank) * c->n);
    struct ivf_scratch *s = ivf_scratch_create();
    int64_t took = 0;

    for (i = 0; i < 10 * nq; i++) {
        int64_t before = thread_cpu_ns();

        ivf_probe(c, d->v.query + (size_t)(i % nq) * d->v.dim, 16, near, s);
        took += thread_cpu_ns() - before;
    }
    for (i = 0; i < nq; i++) {
        const float *q = d->v.query + (size_t)i * d->v.dim;
        uint32_t truth[K];

        find_truth(d, q, truth);
        ivf_probe(c, q, c->n, near, s);
        for (j = 0; j < c->n; j++) {
            rank[near[j].list] = j;
            for (p = 0; p < ARRAY_LEN(probes); p++) {
                scanned[p] += j < probes[p] ? sizes[near[j].list] : 0;
            }
        }
        for (j = 0; j < K; j++) {
            for (p = 0; p < ARRAY_LEN(probes); p++) {
                hits[p] += rank[lists[truth[j]]] < probes[p];
            }
        }
    }
    printf("16 lists of a query are found in %.1f us\n",
           (double)took / nq / 1e4);
    for (p = 0; p < ARRAY_LEN(probes) && probes[p] <= c->n; p++) {
        printf("nprobe %4u: recall@10 %.4f, %8.0f rows scanned\n", probes[p],
               hits[p] / (K * nq), scanned[p] / nq);
    }
    free(near);
    free(rank);
    ivf_scratch_destroy(s);
}

int main(int argc, char **argv)
{
    static const char *words[] = {"cosine", "l2", "ip", "l1"};
    enum vec_metric metric = VEC_COSINE;
    struct data d = {0};
    struct ivf_centroids *c;
    uint32_t n_lists, n_sample, *lists, *sizes;
    unsigned n_threads, i;

    if (argc < 2 || vec_simd_select("auto")) {
        fprintf(stderr, "usage: bench_train DIR|N,DIM [metric] [lists] [rows] "
                        "[threads] [sample]\n");
        return 1;
    }
    for (i = 0; argc > 2 && i < ARRAY_LEN(words); i++) {
        metric = strcmp(words[i], argv[2]) ? metric : (enum vec_metric)i;
    }
    n_lists = argc > 3 ? (uint32_t)atoi(argv[3]) : 0;
    n_threads = argc > 5 ? (unsigned)atoi(argv[5]) : thread_cpu_count();
    n_sample = argc > 6 ? (uint32_t)atoi(argv[6]) : 0;
    vectors_load(&d.v, argv[1], argc > 4 ? (uint32_t)atoi(argv[4]) : 0);
    n_lists = n_lists ? n_lists : kmeans_lists_for(d.v.n);
    n_sample = n_sample ? n_sample : kmeans_sample_for(d.v.n, n_lists);
    n_sample = n_sample < d.v.n ? n_sample : d.v.n;
    store(&d, metric);
    draw(&d, n_sample);
    for (i = 0; i < n_threads; i++) {
        scratches[i] = ivf_scratch_create();
    }
    printf("%u x %u, %s\n", d.v.n, d.v.dim, words[metric]);
    c = train(&d, n_lists, n_sample, n_threads);
    lists = assign(&d, c, n_threads);
    sizes = calloc(n_lists, sizeof(*sizes));
    tell_balance(c, lists, d.v.n, sizes);
    tell_recall(&d, c, lists, sizes);
    return 0;
}
