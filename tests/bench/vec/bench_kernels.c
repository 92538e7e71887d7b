/* How fast vec/ scores, next to how fast this machine reads memory.
 *
 * The probe is a plain sum over the same memory with the widest loads there
 * are, one thread, taking turns with the kernels in the same run; every number
 * is the best of several passes. One query meets tiles of rows whose keys are
 * looked through before the next, as the scanner in index/flat does it; several
 * meet chunks of about 256 KiB. Before
 * "MiB" stands how much memory was scanned: little enough for the last cache,
 * then too much for it. x is how much faster several queries at once are than
 * one by one.
 *
 *     bench_kernels [-l LEVEL] [-t TYPE] [-d DIM] [-m METRIC] [-p] [-g] [-e]
 *                   [-n MIB] [-s MIB] [-r MIB]
 *
 *     -l scalar, avx2, avx512, neon or auto
 *     -p also more queries at once (2, 4, 8, 16)   -g instead, scattered rows
 *     -e instead, making rows, and the rest
 *     -n size within the caches   -s size beyond them   -r read per number
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "vec/vec.h"

enum {
    CHUNK_BYTES = 256 * 1024,
    TILE_ROWS = 256,
    DISTINCT = 509, /* rows */
    HUGE_PAGE = 2 * 1024 * 1024
};

static struct {
    uint8_t *memory;
    size_t far_bytes;
    size_t near_bytes;
    size_t effort_bytes; /* read per measurement, about */
    float *keys;
    size_t max_chunk; /* rows */
    float limit;
} bench;

static const char *metric_word = "cosine";

/* ---- the probe --------------------------------------------------------- */

typedef uint64_t wide __attribute__((vector_size(64)));

#if defined(__x86_64__)
#define PROBE_TARGET                                                           \
    __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PROBE_TARGET NO_INLINE
#endif

PROBE_TARGET static uint64_t probe(const uint8_t *p, size_t bytes)
{
    wide sum[4] = {{0}};
    const wide *at = (const wide *)(const void *)p;
    const wide *end = at + bytes / sizeof(wide) / 4 * 4;
    uint64_t total = 0;
    int i;

    for (; at < end; at += 4) {
        sum[0] += at[0];
        sum[1] += at[1];
        sum[2] += at[2];
        sum[3] += at[3];
    }
    sum[0] += sum[1] + sum[2] + sum[3];
    for (i = 0; i < 8; i++) {
        total += sum[0][i];
    }
    return total;
}

static volatile uint64_t sink;

/* ---- rows -------------------------------------------------------------- */

static void random_vector(struct rng *r, float *x, uint32_t dim)
{
    uint32_t i;

    for (i = 0; i < dim; i++) {
        x[i] = (float)rng_normal(r);
    }
}

/* Encodes some rows and repeats them: values only need to be plausible. */
static size_t fill_rows(const struct vec_format *f, struct rng *r)
{
    size_t n = (bench.far_bytes - f->overread) / f->row_bytes;
    size_t distinct = n < DISTINCT ? n : DISTINCT;
    float *x = malloc(4 * (size_t)f->dim);
    size_t i;

    for (i = 0; i < distinct; i++) {
        random_vector(r, x, f->dim);
        if (vec_encode(f, x, bench.memory + i * f->row_bytes)) {
            abort();
        }
    }
    for (; i < n; i++) {
        memcpy(bench.memory + i * f->row_bytes,
               bench.memory + (i - distinct) * f->row_bytes, f->row_bytes);
    }
    free(x);
    return n;
}

static struct vec_query *random_query(const struct vec_format *f, struct rng *r)
{
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(f));
    float *x = malloc(4 * (size_t)f->dim);
    struct vec_query *q;

    random_vector(r, x, f->dim);
    if (vec_query_init(f, x, memory, &q)) {
        abort();
    }
    free(x);
    return q;
}

/* ---- measuring --------------------------------------------------------- */

static size_t chunk_rows(const struct vec_format *f)
{
    size_t n = CHUNK_BYTES / f->row_bytes / 32 * 32;

    n = n < 32 ? 32 : n;
    return n < bench.max_chunk ? n : bench.max_chunk;
}

/* What a search alone does, tile by tile as index/flat does it; the limit lets
 * nothing through. */
static void find_for_one(const struct vec_query *q, size_t row_bytes,
                         const uint8_t *rows, size_t n)
{
    static uint32_t at[TILE_ROWS];
    size_t i;

    for (i = 0; i < n; i += TILE_ROWS) {
        size_t count = n - i < TILE_ROWS ? n - i : TILE_ROWS;

        vec_scan(q, rows + i * row_bytes, count, bench.keys);
        if (vec_select(bench.keys, count, -INFINITY, at) > 0) {
            abort();
        }
    }
}

static void scan_all(const struct vec_format *f, struct vec_query *const *q,
                     size_t nq, size_t n)
{
    size_t chunk = chunk_rows(f);
    size_t i;

    for (i = 0; i < n; i += chunk) {
        const uint8_t *rows = bench.memory + i * f->row_bytes;
        size_t count = n - i < chunk ? n - i : chunk;

        if (nq == 1) {
            find_for_one(q[0], f->row_bytes, rows, count);
        } else {
            vec_scan_many((const struct vec_query *const *)q, nq, rows, count,
                          bench.keys, bench.max_chunk);
        }
    }
}

/* The same for rows near enough, tile by tile as index/flat does it; the limit
 * lets nearly nothing through. */
static void find_all(const struct vec_format *f, struct vec_query *const *q,
                     size_t nq, size_t n)
{
    static uint32_t masks[VEC_WITHIN_MAX][TILE_ROWS / VEC_WITHIN_ROWS];
    const struct vec_within out = {bench.keys, TILE_ROWS, masks[0],
                                   TILE_ROWS / VEC_WITHIN_ROWS};
    float limits[VEC_WITHIN_MAX];
    size_t i;

    for (i = 0; i < nq; i++) {
        limits[i] = bench.limit;
    }
    for (i = 0; i < n; i += TILE_ROWS) {
        vec_scan_within((const struct vec_query *const *)q, nq, limits,
                        bench.memory + i * f->row_bytes,
                        n - i < TILE_ROWS ? n - i : TILE_ROWS, &out);
    }
}

/* Time this thread was running: what others take of the processor does not
 * count, what they take of the memory's bandwidth does, for all alike. */
static double running_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const size_t batch_sizes[] = {1, 2, 4, 8, 16};
static const size_t within_sizes[] = {2, 8, 16, 32, 64};

enum { N_BATCHES = ARRAY_LEN(batch_sizes), N_WITHIN = ARRAY_LEN(within_sizes) };

struct result {
    double probe_ns;
    double scan_ns[N_BATCHES]; /* one pass over all rows */
    double within_ns[N_WITHIN];
};

static void keep_best(double start, double *best)
{
    double ns = running_ns() - start;

    *best = ns < *best ? ns : *best;
}

/* The probe and every batch size take turns, so that all of them meet the same
 * weather. */
static void measure_scans(const struct vec_format *f,
                          struct vec_query *const *q, size_t batches,
                          size_t bytes, struct result *out)
{
    size_t n = (bytes - f->overread) / f->row_bytes;
    int passes = (int)(bench.effort_bytes / bytes) + 3;
    size_t k;
    int i;

    out->probe_ns = 1e18;
    for (k = 0; k < N_BATCHES; k++) {
        out->scan_ns[k] = 1e18;
    }
    for (k = 0; k < N_WITHIN; k++) {
        out->within_ns[k] = 1e18;
    }
    for (i = 0; i < passes; i++) {
        double start = running_ns();

        sink = probe(bench.memory, bytes);
        keep_best(start, &out->probe_ns);
        for (k = 0; k < batches; k++) {
            start = running_ns();
            scan_all(f, q, batch_sizes[k], n);
            keep_best(start, &out->scan_ns[k]);
        }
        for (k = 0; k < N_WITHIN && batches > 1; k++) {
            start = running_ns();
            find_all(f, q, within_sizes[k], n);
            keep_best(start, &out->within_ns[k]);
        }
    }
}

static void report_scan(const struct vec_format *f, struct vec_query *const *q,
                        bool batches)
{
    const size_t sizes[2] = {bench.near_bytes, bench.far_bytes};
    int s;
    size_t k;

    for (s = 0; s < 2; s++) {
        double n = (double)((sizes[s] - f->overread) / f->row_bytes);
        struct result r;
        double probe_gbs;
        double gbs;

        measure_scans(f, q, batches ? N_BATCHES : 1, sizes[s], &r);
        probe_gbs = (double)sizes[s] / r.probe_ns;
        gbs = f->row_bytes * n / r.scan_ns[0];
        printf("%-4s %4u %-6s %4zu MiB | probe %5.1f, scan %5.1f GB/s = %.2f | "
               "%.2f ns/row",
               vec_type_name(f->type), f->dim, vec_metric_name(f->metric),
               sizes[s] >> 20, probe_gbs, gbs, gbs / probe_gbs,
               r.scan_ns[0] / n);
        for (k = 1; batches && k < N_BATCHES; k++) {
            double all = (double)batch_sizes[k] * r.scan_ns[0];

            printf(" | %zu: %.2f ns, x%.1f", batch_sizes[k],
                   r.scan_ns[k] / n / (double)batch_sizes[k],
                   all / r.scan_ns[k]);
        }
        for (k = 0; batches && k < N_WITHIN; k++) {
            printf(" | within %zu: %.2f ns", within_sizes[k],
                   r.within_ns[k] / n / (double)within_sizes[k]);
        }
        printf("\n");
        fflush(stdout);
    }
}

/* A limit that no row meets. */
static float limit_of(struct vec_query *const *q)
{
    float limit = INFINITY;
    size_t i, j;

    for (j = 0; j < VEC_WITHIN_MAX; j++) {
        vec_scan(q[j], bench.memory, DISTINCT, bench.keys);
        for (i = 0; i < DISTINCT; i++) {
            limit = bench.keys[i] < limit ? bench.keys[i] : limit;
        }
    }
    return limit - 0.01f;
}

static void report_gather(const struct vec_format *f, struct vec_query *q,
                          struct rng *r, size_t n_rows)
{
    enum { BATCH = 32, BATCHES = 20000 };
    const uint8_t **at = malloc(BATCH * BATCHES * sizeof(*at));
    double best = 1e18;
    int pass;
    size_t i;

    for (i = 0; i < BATCH * BATCHES; i++) {
        at[i] = bench.memory + rng_below(r, n_rows) * f->row_bytes;
    }
    for (pass = 0; pass < 5; pass++) {
        int64_t t = clock_mono_ns();
        double ns;

        for (i = 0; i < BATCH * BATCHES; i += BATCH) {
            vec_gather(q, at + i, BATCH, bench.keys);
        }
        ns = (double)(clock_mono_ns() - t) / (BATCH * BATCHES);
        best = ns < best ? ns : best;
    }
    printf("%-4s %4u gather of %d rows out of %zu MiB: %6.1f ns/row\n",
           vec_type_name(f->type), f->dim, BATCH, bench.far_bytes >> 20, best);
    free(at);
}

/* Different vectors in turn, as they come in. */
static void report_codes(struct rng *r)
{
    static const uint32_t dims[] = {100, 128, 768};
    enum { VECTORS = 64, REPEAT = 20000 };
    float *x = malloc(4 * VECTORS * 768);
    uint8_t row[768 * 4 + 16];
    size_t d;
    int t;
    int i;

    for (d = 0; d < ARRAY_LEN(dims); d++) {
        random_vector(r, x, VECTORS * dims[d]);
        printf("dim %4u encode:", dims[d]);
        for (t = 0; t < VEC_TYPE_COUNT; t++) {
            struct vec_format f;
            double best = 1e18;
            int pass;

            vec_format_init(&f, (enum vec_type)t, VEC_COSINE, dims[d]);
            for (pass = 0; pass < 20; pass++) {
                double start = running_ns();

                for (i = 0; i < REPEAT; i++) {
                    if (vec_encode(&f, x + i % VECTORS * dims[d], row)) {
                        abort();
                    }
                }
                keep_best(start, &best);
            }
            printf("  %s %.1f ns", vec_type_name((enum vec_type)t),
                   best / REPEAT);
        }
        printf("\n");
    }
    free(x);
}

static void report_rest(struct rng *r)
{
    enum { N = 4096, REPEAT = 5000 };
    static float keys[N];
    static uint32_t at[N];
    static float out[N];
    int64_t t;
    int i;

    for (i = 0; i < N; i++) {
        keys[i] = (float)rng_unit(r);
    }
    t = clock_mono_ns();
    for (i = 0; i < REPEAT; i++) {
        sink = vec_select(keys, N, 0.001f, at);
    }
    printf("select, 1 in 1000: %.3f ns/key\n",
           (double)(clock_mono_ns() - t) / REPEAT / N);
    t = clock_mono_ns();
    for (i = 0; i < REPEAT; i++) {
        sink = vec_select(keys, N, 0.5f, at);
    }
    printf("select, 1 in 2: %.3f ns/key\n",
           (double)(clock_mono_ns() - t) / REPEAT / N);
    t = clock_mono_ns();
    for (i = 0; i < REPEAT / 10; i++) {
        vec_project(keys, 768, out, 128);
    }
    printf("project 768 to 128: %.2f us\n",
           (double)(clock_mono_ns() - t) / (REPEAT / 10) / 1000);
    t = clock_mono_ns();
    for (i = 0; i < REPEAT; i++) {
        vec_widen_f16(keys, N, out);
    }
    printf("widen f16: %.3f ns/component\n",
           (double)(clock_mono_ns() - t) / REPEAT / N);
}

/* ---- what to run ------------------------------------------------------- */

static const struct {
    enum vec_type type;
    uint32_t dim;
} standard[] = {
    {VEC_I8, 64},    {VEC_I8, 100},    {VEC_I8, 128},   {VEC_I8, 384},
    {VEC_I8, 768},   {VEC_I8, 1536},   {VEC_F32, 100},  {VEC_F32, 128},
    {VEC_F32, 768},  {VEC_F32, 1536},  {VEC_BIT, 100},  {VEC_BIT, 128},
    {VEC_BIT, 768},  {VEC_BIT, 1536},  {VEC_F16, 100},  {VEC_F16, 128},
    {VEC_F16, 768},  {VEC_F16, 1536},  {VEC_BF16, 100}, {VEC_BF16, 128},
    {VEC_BF16, 768}, {VEC_BF16, 1536},
};

static void allocate(void)
{
    size_t bytes = bench.far_bytes + 2 * HUGE_PAGE;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        abort();
    }
    p += HUGE_PAGE - (uintptr_t)p % HUGE_PAGE;
    madvise(p, bench.far_bytes + HUGE_PAGE, MADV_HUGEPAGE);
    bench.memory = p;
    bench.max_chunk = 32768;
    bench.keys =
        aligned_alloc(64, VEC_BATCH_MAX * bench.max_chunk * sizeof(float));
    memset(bench.keys, 0, VEC_BATCH_MAX * bench.max_chunk * sizeof(float));
}

static void run(enum vec_type type, uint32_t dim, struct rng *r, bool batches,
                bool gather)
{
    struct vec_query *q[VEC_WITHIN_MAX];
    enum vec_metric metric = VEC_COSINE;
    struct vec_format f;
    size_t n;
    int i;

    for (i = 0; i < VEC_METRIC_COUNT; i++) {
        if (strcmp(metric_word, vec_metric_name((enum vec_metric)i)) == 0) {
            metric = (enum vec_metric)i;
        }
    }
    vec_format_init(&f, type, metric, dim);
    n = fill_rows(&f, r);
    for (i = 0; i < VEC_WITHIN_MAX; i++) {
        q[i] = random_query(&f, r);
    }
    if (gather) {
        report_gather(&f, q[0], r, n);
    } else {
        bench.limit = limit_of(q);
        report_scan(&f, q, batches);
    }
    for (i = 0; i < VEC_WITHIN_MAX; i++) {
        free(q[i]);
    }
}

int main(int argc, char **argv)
{
    const char *level = "auto";
    const char *type = NULL;
    uint32_t dim = 0;
    bool batches = false;
    bool gather = false;
    bool codes = false;
    struct rng r;
    size_t i;
    int option;

    bench.far_bytes = (size_t)192 << 20;
    bench.effort_bytes = (size_t)1 << 31;
    bench.near_bytes = (size_t)8 << 20;
    while ((option = getopt(argc, argv, "l:t:d:m:s:n:r:pge")) != -1) {
        switch (option) {
        case 'l':
            level = optarg;
            break;
        case 't':
            type = optarg;
            break;
        case 'd':
            dim = (uint32_t)atoi(optarg);
            break;
        case 'm':
            metric_word = optarg;
            break;
        case 's':
            bench.far_bytes = (size_t)atoi(optarg) << 20;
            break;
        case 'n':
            bench.near_bytes = (size_t)atoi(optarg) << 20;
            break;
        case 'r':
            bench.effort_bytes = (size_t)atoi(optarg) << 20;
            break;
        case 'p':
            batches = true;
            break;
        case 'g':
            gather = true;
            break;
        case 'e':
            codes = true;
            break;
        default:
            return 2;
        }
    }
    if (vec_simd_select(level)) {
        fprintf(stderr, "%s does not run here\n", level);
        return 1;
    }
    printf("# %s\n", vec_simd_name());
    rng_seed(&r, 1);
    if (codes) {
        report_codes(&r);
        report_rest(&r);
        return 0;
    }
    allocate();
    for (i = 0; i < ARRAY_LEN(standard); i++) {
        if ((!type || strcmp(type, vec_type_name(standard[i].type)) == 0) &&
            (!dim || dim == standard[i].dim)) {
            run(standard[i].type, standard[i].dim, &r, batches, gather);
        }
    }
    return 0;
}
