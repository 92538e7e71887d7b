/* What a search with a filter costs, by the share of elements that pass: CPU
 * time of the thread, recall, and where answers came from.
 *
 * usage: bench_filter DIR|N,DIM [rows] [ef] [f32|i8]
 *
 * Each filter is a bound on a number, either without relation to the vectors
 * ("any") or their first component's rank ("side"), so that what passes lies to
 * one side. "fresh" filters come for the first time, "known" ones were used by
 * a thousand searches before. */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/keyspace.h"
#include "db/search/search.h"

enum { K = 10, QUERIES = 200, WARM = 5 };

struct data {
    uint32_t n, nq, dim;
    float *base, *query;
    uint32_t *any, *side;
};

static struct data d;
static int wake_fd;

static void read_file(const char *dir, const char *name, float *v, size_t n)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f || fread(v, sizeof(*v), n, f) != n) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
}

static float *some(size_t n)
{
    return malloc(sizeof(float) * n);
}

static void make_up(struct rng *rng)
{
    enum { CENTRES = 1000 };
    float *centre = some((size_t)CENTRES * d.dim);
    size_t i, j;

    for (i = 0; i < (size_t)CENTRES * d.dim; i++) {
        centre[i] = (float)rng_normal(rng);
    }
    for (i = 0; i < (size_t)d.n + d.nq; i++) {
        float *x = i < d.n ? d.base + i * d.dim : d.query + (i - d.n) * d.dim;
        const float *c = centre + rng_below(rng, CENTRES) * d.dim;

        for (j = 0; j < d.dim; j++) {
            x[j] = c[j] + 0.7f * (float)rng_normal(rng);
        }
    }
    free(centre);
}

static void normalise(float *v)
{
    double sum = 0;
    uint32_t j;

    for (j = 0; j < d.dim; j++) {
        sum += (double)v[j] * v[j];
    }
    for (j = 0; j < d.dim; j++) {
        v[j] /= (float)sqrt(sum);
    }
}

static int by_side(const void *a, const void *b)
{
    float x = d.base[(size_t) * (const uint32_t *)a * d.dim];
    float y = d.base[(size_t) * (const uint32_t *)b * d.dim];

    return (x > y) - (x < y);
}

/* Rows in random order, each with two numbers below n. */
static void load(const char *what, uint32_t limit)
{
    struct rng rng;
    uint32_t n, i;
    uint32_t *order;

    rng_seed(&rng, 11);
    d.nq = QUERIES;
    if (sscanf(what, "%u,%u", &d.n, &d.dim) != 2) {
        d.n = 340479;
        d.dim = 100;
    }
    n = d.n;
    d.base = some((size_t)d.n * d.dim);
    d.query = some((size_t)d.nq * d.dim);
    if (strchr(what, ',')) {
        make_up(&rng);
    } else {
        read_file(what, "base.f32", d.base, (size_t)n * d.dim);
        read_file(what, "query.f32", d.query, (size_t)d.nq * d.dim);
    }
    for (i = 0; i + 1 < n; i++) {
        uint32_t with = i + (uint32_t)rng_below(&rng, n - i), j;

        for (j = 0; j < d.dim; j++) {
            float t = d.base[(size_t)i * d.dim + j];

            d.base[(size_t)i * d.dim + j] = d.base[(size_t)with * d.dim + j];
            d.base[(size_t)with * d.dim + j] = t;
        }
    }
    d.n = limit && limit < n ? limit : n;
    d.any = malloc(d.n * sizeof(uint32_t));
    d.side = malloc(d.n * sizeof(uint32_t));
    order = malloc(d.n * sizeof(uint32_t));
    for (i = 0; i < d.n; i++) {
        normalise(d.base + (size_t)i * d.dim);
        d.any[i] = order[i] = i;
    }
    for (i = 0; i < d.nq; i++) {
        normalise(d.query + (size_t)i * d.dim);
    }
    for (i = 0; i + 1 < d.n; i++) {
        uint32_t with = i + (uint32_t)rng_below(&rng, d.n - i);
        uint32_t t = d.any[i];

        d.any[i] = d.any[with];
        d.any[with] = t;
    }
    qsort(order, d.n, sizeof(*order), by_side);
    for (i = 0; i < d.n; i++) {
        d.side[order[i]] = i;
    }
    free(order);
}

static void wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    (void)!write(wake_fd, &one, sizeof(one));
}

static struct vset *fill(struct keyspace *ks, struct pool *builders,
                         enum vec_type type)
{
    struct vset_options o = {.type = type,
                             .metric = VEC_COSINE,
                             .dim = d.dim,
                             .m = 16,
                             .ef = 128,
                             .index = VSET_INDEX_HNSW,
                             .keep_empty = true};
    struct vset *v = vset_create(ks, ks->dbs[0], &o);
    struct graph_info info;
    uint32_t i;

    for (i = 0; i < d.n; i++) {
        char name[16], json[64];
        struct vset_element e = {.vector = d.base + (size_t)i * d.dim,
                                 .has_attribute = true};
        bool added;

        e.name = bytes_of(name, (size_t)snprintf(name, 16, "%u", i));
        e.attribute = bytes_of(
            json, (size_t)snprintf(json, sizeof(json),
                                   "{\"any\":%u,\"side\":%u,\"t\":\"word\"}",
                                   d.any[i], d.side[i]));
        if (vset_add(v, &e, &added) != ERR_OK) {
            exit(1);
        }
    }
    do {
        struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};
        uint64_t n;

        pool_drain(builders);
        graph_pump(v, true);
        if (poll(&pfd, 1, 10) == 1) {
            (void)!read(wake_fd, &n, sizeof(n));
        }
        graph_info_read(v, &info);
    } while (info.tail || strcmp(info.job, "none") != 0);
    return v;
}

/* ---- asking -------------------------------------------------------------- */

static uint32_t answer[K];
static size_t n_answer;
static const char *plan;

static void take(const struct search *s, const void *data, struct buf *out)
{
    struct search_stats st;

    (void)data;
    (void)out;
    for (n_answer = 0; n_answer < search_hit_count(s); n_answer++) {
        struct search_hit hit;
        char text[16] = "";

        search_hit_read(s, n_answer, &hit);
        memcpy(text, hit.name.data, hit.name.len);
        answer[n_answer] = (uint32_t)atoi(text);
    }
    search_stats_read(s, &st);
    plan = st.plan;
}

static void done(struct search *s, void *arg)
{
    (void)s;
    (void)arg;
}

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double ask(struct vset *v, uint32_t q, uint32_t ef, const char *text)
{
    struct search_request r = {.vector = d.query + (size_t)q * d.dim,
                               .exclude = SLOT_NONE,
                               .k = K,
                               .ef = ef,
                               .radius = INFINITY,
                               .format = take};
    struct search *s;
    double began;
    size_t at;

    if (filter_compile(bytes_of(text, strlen(text)), &r.filter, &at)) {
        exit(1);
    }
#ifndef NO_MEMO
    r.filter_text = bytes_of(text, strlen(text));
#endif
    began = cpu_us();
    if (search_create(v, &r, &s)) {
        exit(1);
    }
    search_run(s, done, NULL);
    return cpu_us() - began;
}

static void find_truth(const uint32_t *number, uint32_t bound, uint32_t *truth)
{
    uint32_t q, i, j, n;

    for (q = 0; q < QUERIES; q++) {
        float best[K];
        const float *x = d.query + (size_t)q * d.dim;

        for (i = n = 0; i < d.n; i++) {
            const float *y = d.base + (size_t)i * d.dim;
            float dot = 0;

            if (number[i] >= bound) {
                continue;
            }
            for (j = 0; j < d.dim; j++) {
                dot += x[j] * y[j];
            }
            if (n == K && dot <= best[K - 1]) {
                continue;
            }
            n += n < K;
            for (j = n - 1; j > 0 && best[j - 1] < dot; j--) {
                best[j] = best[j - 1];
                truth[q * K + j] = truth[q * K + j - 1];
            }
            best[j] = dot;
            truth[q * K + j] = i;
        }
        for (; n < K; n++) {
            truth[q * K + n] = UINT32_MAX;
        }
    }
}

static void measure(struct vset *v, const char *field, const uint32_t *truth,
                    uint32_t bound, uint32_t ef, bool fresh)
{
    static unsigned serial;
    uint32_t q, i, j, found = 0, wanted = 0, round;
    double us = 0;

    for (round = fresh ? WARM : 0; round <= WARM; round++) {
        us = found = wanted = 0;
        for (q = 0; q < QUERIES; q++) {
            char text[64];

            snprintf(text, sizeof(text), ".%s < %u.%05u", field, bound - 1,
                     fresh ? ++serial : ef);
            us += ask(v, q, ef, text);
            for (i = 0; i < K && truth[q * K + i] != UINT32_MAX; i++) {
                wanted++;
                for (j = 0; j < n_answer; j++) {
                    found += answer[j] == truth[q * K + i];
                }
            }
        }
    }
    printf("  %s %8.1f us %.4f %-13s", fresh ? "fresh" : "known", us / QUERIES,
           (double)found / wanted, plan);
}

int main(int argc, char **argv)
{
    static const double shares[] = {0.9, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001};
    static uint32_t truth[QUERIES * K];
    struct pool_options o = {.n_workers = 1,
                             .wake = wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};
    uint32_t limit = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    uint32_t ef = argc > 3 ? (uint32_t)atoi(argv[3]) : 100;
    enum vec_type type =
        argc > 4 && strcmp(argv[4], "i8") == 0 ? VEC_I8 : VEC_F32;
    struct pool *pool, *builders;
    struct reaper *reaper;
    struct keyspace *ks;
    struct vset *v;
    size_t i, f;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_filter DIR|N,DIM [rows] [ef] [f32|i8]\n");
        return 1;
    }
    (void)!vec_simd_select("auto");
    load(argv[1], limit);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)!pool_create(&o, &pool);
    o.n_workers = 2;
    o.worker_init = graph_worker_init;
    o.worker_deinit = graph_worker_deinit;
    (void)!pool_create(&o, &builders);
    (void)!reaper_create(&reaper);
    ks = keyspace_create(1, pool, reaper);
    keyspace_set_builders(ks, builders);
    v = fill(ks, builders, type);
    printf("%u x %u, %s, ef %u\n", d.n, d.dim, argc > 4 ? argv[4] : "f32", ef);
    for (f = 0; f < 2; f++) {
        for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
            uint32_t bound = (uint32_t)(shares[i] * d.n);

            find_truth(f ? d.side : d.any, bound, truth);
            printf("%-4s %5.3f", f ? "side" : "any", shares[i]);
            measure(v, f ? "side" : "any", truth, bound, ef, true);
            measure(v, f ? "side" : "any", truth, bound, ef, false);
            printf("\n");
            fflush(stdout);
        }
    }
    return 0;
}
