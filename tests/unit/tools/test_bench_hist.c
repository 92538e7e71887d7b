/* The latency histogram: what percentiles of known values come out. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tools/bench/bench_hist.h"

static struct bench_hist *make(void)
{
    struct bench_hist *h = mem_alloc(sizeof(*h));

    bench_hist_init(h);
    return h;
}

static void an_empty_histogram_knows_nothing(void **state)
{
    struct bench_hist *h = make();

    (void)state;
    assert_true(bench_hist_quantile(h, 0.5) == 0);
    assert_true(bench_hist_mean(h) == 0);
    mem_free(h);
}

static void small_values_are_exact(void **state)
{
    struct bench_hist *h = make();
    int i;

    (void)state;
    for (i = 1; i <= 100; i++) {
        bench_hist_record(h, i, 1);
    }
    assert_true(bench_hist_quantile(h, 0.5) == 50);
    assert_true(bench_hist_quantile(h, 0.99) == 99);
    assert_true(bench_hist_quantile(h, 1) == 100);
    assert_true(bench_hist_quantile(h, 0) == 1);
    assert_true(bench_hist_mean(h) == 50.5);
    mem_free(h);
}

static void a_single_value_is_every_percentile(void **state)
{
    struct bench_hist *h = make();

    (void)state;
    bench_hist_record(h, 123456789, 7);
    assert_int_equal(h->count, 7);
    assert_true(bench_hist_quantile(h, 0.001) == 123456789);
    assert_true(bench_hist_quantile(h, 0.999) == 123456789);
    mem_free(h);
}

/* Values of any size from a microsecond to 100 s: within one percent. */
static void percentiles_are_within_one_percent(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 0) : 1;
    struct rng r;
    int i;

    (void)state;
    rng_seed(&r, seed);
    for (i = 0; i < 20000; i++) {
        struct bench_hist *h = make();
        double v = floor(1000 * pow(1e8, rng_unit(&r)));
        double far = v * 4;
        double found;

        bench_hist_record(h, (int64_t)v, 1);
        /* Others around it, so that min and max do not give it away. */
        bench_hist_record(h, 1, 1);
        bench_hist_record(h, (int64_t)far, 1);
        found = bench_hist_quantile(h, 0.5);
        if (fabs(found - v) > 0.01 * v) {
            fail_msg("SEED=%llu: %.0f came out as %.0f",
                     (unsigned long long)seed, v, found);
        }
        mem_free(h);
    }
}

static void values_beyond_the_range_count_at_its_end(void **state)
{
    struct bench_hist *h = make();

    (void)state;
    bench_hist_record(h, INT64_MAX, 1);
    bench_hist_record(h, -5, 1);
    assert_int_equal(h->count, 2);
    assert_int_equal(h->min, 0);
    assert_true(h->max == INT64_MAX);
    assert_true(bench_hist_quantile(h, 0.25) == 0);
    assert_true(bench_hist_quantile(h, 1) > 1e11);
    mem_free(h);
}

static void merging_equals_recording_in_one(void **state)
{
    struct bench_hist *a = make(), *b = make(), *all = make();
    struct rng r;
    int i;

    (void)state;
    rng_seed(&r, 3);
    for (i = 0; i < 10000; i++) {
        int64_t v = (int64_t)rng_below(&r, 1u << (1 + i % 30));

        bench_hist_record(i % 3 ? a : b, v, 1 + (uint64_t)i % 5);
        bench_hist_record(all, v, 1 + (uint64_t)i % 5);
    }
    bench_hist_merge(a, b);
    assert_memory_equal(a->buckets, all->buckets, sizeof(a->buckets));
    assert_int_equal(a->count, all->count);
    assert_int_equal(a->min, all->min);
    assert_int_equal(a->max, all->max);
    mem_free(a);
    mem_free(b);
    mem_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_knows_nothing),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_single_value_is_every_percentile),
        cmocka_unit_test(percentiles_are_within_one_percent),
        cmocka_unit_test(values_beyond_the_range_count_at_its_end),
        cmocka_unit_test(merging_equals_recording_in_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
