/* Rates of INFO's instantaneous fields. */
#include "unit/cm.h"

#include "server/metrics.h"

enum { STEP = METRICS_PERIOD_US };

static void a_steady_rate_is_found_after_all_samples(void **state)
{
    struct metrics_rate r = {.total = 0};
    time_us now = 1000;
    uint64_t total = 5;
    int i;

    (void)state;
    for (i = 0; i <= METRICS_SAMPLES; i++) {
        metrics_sample(&r, total, now);
        total += 100; /* in a tenth of a second */
        now += STEP;
    }
    assert_int_equal(metrics_rate(&r), 1000);
}

static void the_rate_falls_to_zero_when_nothing_happens(void **state)
{
    struct metrics_rate r = {.total = 0};
    int i;

    (void)state;
    metrics_sample(&r, 0, STEP);
    metrics_sample(&r, 1600, 2 * STEP);
    assert_int_equal(metrics_rate(&r), 1000);
    for (i = 3; i < 3 + METRICS_SAMPLES; i++) {
        metrics_sample(&r, 1600, i * STEP);
    }
    assert_int_equal(metrics_rate(&r), 0);
}

static void sampling_too_often_is_of_no_effect(void **state)
{
    struct metrics_rate r = {.total = 0};

    (void)state;
    metrics_sample(&r, 0, STEP);
    metrics_sample(&r, 1000000, STEP + 1);
    assert_int_equal(metrics_rate(&r), 0);
    metrics_sample(&r, 160, 2 * STEP);
    assert_int_equal(metrics_rate(&r), 100);
}

static void a_total_that_was_reset_is_not_a_rate(void **state)
{
    struct metrics_rate r = {.total = 0};

    (void)state;
    metrics_sample(&r, 1000, STEP);
    metrics_sample(&r, 10, 2 * STEP);
    assert_int_equal(metrics_rate(&r), 0);
    metrics_sample(&r, 26, 3 * STEP);
    assert_int_equal(metrics_rate(&r), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_rate_is_found_after_all_samples),
        cmocka_unit_test(the_rate_falls_to_zero_when_nothing_happens),
        cmocka_unit_test(sampling_too_often_is_of_no_effect),
        cmocka_unit_test(a_total_that_was_reset_is_not_a_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
