/* Decimal texts of vectors. */
#include "unit/cm.h"

#include <math.h>

#include "base/rng.h"
#include "tools/bench/bench_values.h"

static void assert_format(float x, int decimals, const char *want)
{
    char text[BENCH_VALUES_TEXT_MAX + 1];
    size_t n = bench_values_format(x, decimals, text);

    text[n] = '\0';
    assert_string_equal(text, want);
}

static void the_shortest_text_is_chosen(void **state)
{
    (void)state;
    assert_format(0, -1, "0");
    assert_format(1, -1, "1");
    assert_format(-2, -1, "-2");
    assert_format(0.1F, -1, "0.1");
    assert_format(-0.25F, -1, "-0.25");
    assert_format(0.038194F, -1, "0.038194");
    assert_format(123456.78F, -1, "123456.78");
    assert_format(0.00012F, -1, "0.00012");
    assert_format(16777216, -1, "16777216");
}

static void fixed_decimals_are_kept(void **state)
{
    (void)state;
    assert_format(0, 6, "0.000000");
    assert_format(0.5F, 6, "0.500000");
    assert_format(-1.25F, 1, "-1.3");
    assert_format(3.75F, 0, "4");
    assert_format(0.000001F, 3, "0.000");
    assert_format(1e30F, 2, "1000000015047466219876688855040.00");
}

/* Any float: the text reads back as it, and no shorter one of the same kind
 * would (checked by cutting a digit). */
static void texts_read_back_as_the_same_float(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 0) : 1;
    struct rng r;
    int i;

    (void)state;
    rng_seed(&r, seed);
    for (i = 0; i < 300000; i++) {
        char text[BENCH_VALUES_TEXT_MAX + 1];
        uint32_t bits = (uint32_t)rng_next(&r);
        float x;
        size_t n;

        if (i % 2) {
            x = (float)rng_normal(&r); /* what real sets are made of */
        } else {
            memcpy(&x, &bits, sizeof(x));
        }
        if (!isfinite(x)) {
            continue;
        }
        n = bench_values_format(x, -1, text);
        text[n] = '\0';
        if (n > 24 || strtof(text, NULL) != x) {
            fail_msg("SEED=%llu: %.9g became '%s'", (unsigned long long)seed,
                     (double)x, text);
        }
        if (i % 2 && strchr(text, '.') && fabsf(x) > 1e-4F) {
            text[n - 1] = '\0';
            assert_true(strtof(text, NULL) != x);
        }
    }
}

static void rows_made_before_equal_rows_made_on_the_fly(void **state)
{
    enum { N = 1300, DIM = 5 }; /* more than two pieces */
    static float x[N][DIM];
    const struct bench_vectors v = {
        .rows = (const uint8_t *)x, .stride = sizeof(x[0]), .n = N, .dim = DIM};
    struct bench_values *t;
    struct rng r;
    uint64_t i, j;

    (void)state;
    rng_seed(&r, 9);
    for (i = 0; i < N; i++) {
        for (j = 0; j < DIM; j++) {
            x[i][j] = (float)rng_normal(&r);
        }
    }
    assert_int_equal(bench_values_create(&v, 7, N - 7, 4, 3, 1 << 24, &t), 0);
    for (i = 7; i < N; i++) {
        struct buf b = BUF_INIT;

        bench_values_render(&v, i, 4, &b);
        assert_true(bytes_equal(bench_values_row(t, i), buf_bytes(&b)));
        buf_deinit(&b);
    }
    bench_values_destroy(t);
}

static void too_much_text_is_refused(void **state)
{
    static float x[100][4];
    const struct bench_vectors v = {
        .rows = (const uint8_t *)x, .stride = 16, .n = 100, .dim = 4};
    struct bench_values *t;

    (void)state;
    assert_int_equal(bench_values_create(&v, 0, 100, -1, 1, 1000, &t),
                     ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_text_is_chosen),
        cmocka_unit_test(fixed_decimals_are_kept),
        cmocka_unit_test(texts_read_back_as_the_same_float),
        cmocka_unit_test(rows_made_before_equal_rows_made_on_the_fly),
        cmocka_unit_test(too_much_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
