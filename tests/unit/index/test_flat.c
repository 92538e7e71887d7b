/* The shared pass: whoever gets on, wherever, with however many workers, the
 * answer is that of scoring and sorting everything. The test thread is the
 * loop. */
#include "unit/cm.h"

#include <math.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "index/flat/flat_scan.h"

enum { DIM = 20, RUN_ROWS = 700, RUNS = 9, ROWS = RUN_ROWS * RUNS, K = 25 };

static struct vec_format format;
static uint8_t *rows;
static struct pool *pool;
static struct flat_ring *ring;
static int wake_fd;
static size_t n_done;

static void wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    assert_int_equal(write(wake_fd, &one, sizeof(one)), sizeof(one));
}

static void *scratch_make(void *arg)
{
    (void)arg;
    return flat_scratch_create();
}

static void scratch_free(void *scratch, void *arg)
{
    (void)arg;
    flat_scratch_destroy(scratch);
}

static struct flat_scratch *scratch_of(struct worker *w)
{
    return w->scratch;
}

static int set_up(void **state)
{
    struct pool_options o = {.n_workers = 3,
                             .wake = wake,
                             .worker_init = scratch_make,
                             .worker_deinit = scratch_free};
    struct rng rng;
    size_t i, j;

    (void)state;
    cm_seed(&rng);
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    vec_format_init(&format, VEC_I8, VEC_COSINE, DIM);
    rows = mem_alloc((size_t)ROWS * format.row_bytes + format.overread);
    for (i = 0; i < ROWS; i++) {
        float x[DIM];

        for (j = 0; j < DIM; j++) {
            x[j] = (float)rng_normal(&rng);
        }
        assert_int_equal(vec_encode(&format, x, rows + i * format.row_bytes),
                         ERR_OK);
    }
    wake_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(pool_create(&o, &pool), ERR_OK);
    ring = flat_ring_create(pool, scratch_of);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_true(flat_ring_is_parked(ring) || pool_pending(pool) > 0);
    pool_destroy(pool);
    flat_ring_destroy(ring);
    close(wake_fd);
    mem_free(rows);
    return 0;
}

/* A search of the first n rows that skips slots for which slot % skip == 0. */
struct probe {
    struct flat_search scan;
    struct completion completion;
    uint32_t n;
    uint32_t skip;
    _Atomic int stop_after; /* runs; -1: never */
    uint64_t heap[K];
    _Alignas(VEC_ALIGN) uint8_t query[1024];
};

static struct vec_run run_of(const void *arg, uint32_t i)
{
    const struct probe *p = arg;
    uint32_t first = i * RUN_ROWS;
    uint32_t n = p->n - first < RUN_ROWS ? p->n - first : RUN_ROWS;

    return (struct vec_run){rows + (size_t)first * format.row_bytes, first, n};
}

static bool admits(const void *arg, uint32_t slot)
{
    const struct probe *p = arg;

    return slot < p->n && (p->skip == 0 || slot % p->skip != 0);
}

static void done(struct completion *c)
{
    (void)c;
    n_done++;
}

static void finish(struct flat_search *s, struct worker *w)
{
    struct probe *p = CONTAINER_OF(s, struct probe, scan);

    topk_sort(&s->best);
    if (w) {
        p->completion.done = done;
        pool_complete(pool, &p->completion);
    } else {
        n_done++;
    }
}

static bool should_stop(struct flat_search *s)
{
    struct probe *p = CONTAINER_OF(s, struct probe, scan);

    return p->stop_after-- <= 0;
}

static struct probe *make_probe(struct rng *rng, uint32_t n, uint32_t skip)
{
    struct probe *p = aligned_alloc(VEC_ALIGN, sizeof(*p));
    struct vec_query *q;
    float x[DIM];
    size_t j;

    memset(p, 0, sizeof(*p));
    assert_true(vec_query_bytes(&format) <= sizeof(p->query));
    for (j = 0; j < DIM; j++) {
        x[j] = (float)rng_normal(rng);
    }
    assert_int_equal(vec_query_init(&format, x, p->query, &q), ERR_OK);
    p->n = n;
    p->skip = skip;
    p->stop_after = -1;
    p->scan.query = q;
    p->scan.limit = INFINITY;
    p->scan.finish = finish;
    p->scan.source = (struct vec_source){
        .n_runs = (n + RUN_ROWS - 1) / RUN_ROWS,
        .row_bytes = format.row_bytes,
        .run = run_of,
        .admits = admits,
        .arg = p,
    };
    topk_init(&p->scan.best, p->heap, K);
    return p;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Scores and sorts everything. */
static void check_answer(const struct probe *p)
{
    float *keys = malloc(ROWS * sizeof(*keys));
    uint64_t *all = malloc(ROWS * sizeof(*all));
    size_t n = 0;
    uint32_t i;

    vec_scan(p->scan.query, rows, p->n, keys);
    for (i = p->scan.source.first_run * RUN_ROWS; i < p->n; i++) {
        if (admits(p, i) && keys[i] <= p->scan.limit) {
            all[n++] = topk_entry(keys[i], i);
        }
    }
    qsort(all, n, sizeof(*all), by_value);
    n = n < K ? n : K;
    assert_int_equal(p->scan.best.n, n);
    assert_memory_equal(p->heap, all, n * sizeof(*all));
    free(all);
    free(keys);
}

static void wait_until_done(size_t want)
{
    while (n_done < want) {
        struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};
        uint64_t n;

        assert_int_equal(poll(&pfd, 1, 60000), 1);
        assert_int_equal(read(wake_fd, &n, sizeof(n)), sizeof(n));
        pool_drain(pool);
    }
}

static void a_scan_on_this_thread_finds_the_nearest(void **state)
{
    struct flat_scratch *scratch = flat_scratch_create();
    struct rng rng;
    uint32_t n;

    (void)state;
    cm_seed(&rng);
    for (n = 1; n < ROWS; n = n * 3 + 1) {
        struct probe *p = make_probe(&rng, n, n > 100 ? 3 : 0);

        flat_scan_now(&p->scan, scratch);
        check_answer(p);
        free(p);
    }
    flat_scratch_destroy(scratch);
}

static void rows_past_the_limit_are_left_out(void **state)
{
    struct flat_scratch *scratch = flat_scratch_create();
    struct rng rng;
    struct probe *p;

    (void)state;
    cm_seed(&rng);
    p = make_probe(&rng, ROWS, 0);
    p->scan.limit = 0.3f;
    flat_scan_now(&p->scan, scratch);
    check_answer(p);
    free(p);
    flat_scratch_destroy(scratch);
}

static void searches_that_share_a_pass_all_get_their_own_answer(void **state)
{
    enum { N = 100 };
    struct probe *probes[N];
    struct rng rng;
    size_t i;

    (void)state;
    cm_seed(&rng);
    n_done = 0;
    for (i = 0; i < N; i++) {
        /* Views of different length, as a growing set gives them. */
        probes[i] = make_probe(&rng, (uint32_t)(ROWS / 2 + i * ROWS / 2 / N),
                               (uint32_t)(i % 4));
        flat_ring_add(ring, &probes[i]->scan);
    }
    wait_until_done(N);
    for (i = 0; i < N; i++) {
        check_answer(probes[i]);
        free(probes[i]);
    }
}

static void searches_get_on_while_a_pass_is_under_way(void **state)
{
    enum { N = 400 };
    struct probe *probes[N];
    struct rng rng;
    size_t i;

    (void)state;
    cm_seed(&rng);
    n_done = 0;
    for (i = 0; i < N; i++) {
        probes[i] = make_probe(&rng, (uint32_t)(1 + rng_below(&rng, ROWS)), 0);
        if (i % 2) {
            /* Some want the end of the set only. */
            probes[i]->scan.source.first_run =
                (uint32_t)rng_below(&rng, probes[i]->scan.source.n_runs);
        }
        flat_ring_add(ring, &probes[i]->scan);
        if (rng_below(&rng, 3) == 0) {
            wait_until_done(n_done + 1);
        }
    }
    wait_until_done(N);
    for (i = 0; i < N; i++) {
        check_answer(probes[i]);
        free(probes[i]);
    }
}

static void a_search_that_is_stopped_ends_and_others_go_on(void **state)
{
    enum { N = 12 };
    struct probe *probes[N];
    struct rng rng;
    size_t i;

    (void)state;
    cm_seed(&rng);
    n_done = 0;
    for (i = 0; i < N; i++) {
        probes[i] = make_probe(&rng, ROWS, 0);
        if (i % 3 == 0) {
            probes[i]->stop_after = (int)(i / 3);
            probes[i]->scan.stop = should_stop;
        }
        flat_ring_add(ring, &probes[i]->scan);
    }
    wait_until_done(N);
    for (i = 0; i < N; i++) {
        assert_int_equal(probes[i]->scan.stopped, i % 3 == 0);
        if (i % 3) {
            check_answer(probes[i]);
        }
        free(probes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_on_this_thread_finds_the_nearest),
        cmocka_unit_test(rows_past_the_limit_are_left_out),
        cmocka_unit_test(searches_that_share_a_pass_all_get_their_own_answer),
        cmocka_unit_test(searches_get_on_while_a_pass_is_under_way),
        cmocka_unit_test(a_search_that_is_stopped_ends_and_others_go_on),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
