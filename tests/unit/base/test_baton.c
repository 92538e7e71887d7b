/* Lock step of two threads: they never run at once, and what one wrote the
 * other sees. Run under ThreadSanitizer, too. */
#include "unit/cm.h"

#include "base/baton.h"

struct shared {
    int n;      /* no atomic: the baton is what protects it */
    int target; /* steps of the other */
    int yields_seen;
    bool stopped_early;
};

static void count_up(struct baton *b, void *arg)
{
    struct shared *s = arg;

    while (s->n < s->target) {
        s->n++;
        baton_yield_if_due(b);
        if (baton_is_cancelled(b)) {
            s->stopped_early = true;
            return;
        }
    }
}

static void both_take_turns_until_the_end(void **state)
{
    struct shared s = {.target = 2000};
    struct baton *b;
    int last = 0;

    (void)state;
    assert_int_equal(baton_start(&b, "test", count_up, &s), ERR_OK);
    assert_int_equal(s.n, 0); /* nothing before it is given the baton */
    while (baton_run(b, 0)) {
        assert_int_equal(s.n, last + 1);
        last = s.n;
        s.target -= s.n % 2; /* what is written here is seen there */
        s.yields_seen++;
    }
    assert_int_equal(s.n, s.target);
    assert_in_range(s.yields_seen, 1000, 2000);
    assert_false(baton_run(b, 0));
    baton_join(b);
}

static void a_long_slice_is_not_interrupted(void **state)
{
    struct shared s = {.target = 1000};
    struct baton *b;

    (void)state;
    assert_int_equal(baton_start(&b, "test", count_up, &s), ERR_OK);
    assert_false(baton_run(b, INT64_C(3600) * 1000000));
    assert_int_equal(s.n, 1000);
    baton_join(b);
}

static void what_is_cancelled_comes_to_an_end(void **state)
{
    struct shared s = {.target = INT32_MAX};
    struct baton *b;

    (void)state;
    assert_int_equal(baton_start(&b, "test", count_up, &s), ERR_OK);
    assert_true(baton_run(b, 0));
    baton_cancel(b);
    baton_join(b);
    assert_true(s.stopped_early);
    assert_int_equal(s.n, 1);
}

static void joining_runs_what_is_left(void **state)
{
    struct shared s = {.target = 100};
    struct baton *b;

    (void)state;
    assert_int_equal(baton_start(&b, "test", count_up, &s), ERR_OK);
    baton_join(b);
    assert_int_equal(s.n, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_take_turns_until_the_end),
        cmocka_unit_test(a_long_slice_is_not_interrupted),
        cmocka_unit_test(what_is_cancelled_comes_to_an_end),
        cmocka_unit_test(joining_runs_what_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
