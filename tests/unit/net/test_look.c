/* How the loop waits, on machines that are made up: a request comes so long
 * after the one before. */
#include "unit/cm.h"

#include <stdbool.h>

#include "base/macros.h"
#include "net/look.h"

static struct look look;
static int64_t now;
static unsigned looked, missed, slept;

/* One request after another; the next comes within `asleep` ns when the loop
 * sleeps, within `looking` when it looks. */
static void serve(unsigned n, int64_t asleep, int64_t looking)
{
    looked = missed = slept = 0;
    while (n-- > 0) {
        bool looks = look_is_wanted(&look);

        looked += looks;
        slept += !looks;
        if (looks && looking > LOOK_NS) {
            missed++;
            look_note_miss(&look);
        }
        now += looks ? looking : asleep;
        look_note_request(&look, now);
    }
}

static int set_up(void **state)
{
    (void)state;
    look_init(&look);
    now = 1;
    return 0;
}

static void what_is_quicker_is_kept_to(void **state)
{
    (void)state;
    serve(1000, 150000, 90000);
    serve(100000, 150000, 90000);
    assert_true(looked > 95000);
    assert_int_equal(missed, 0);
}

static void who_gains_nothing_sleeps(void **state)
{
    (void)state;
    serve(1000, 90000, 89000);
    serve(100000, 90000, 89000);
    assert_true(slept > 98000);
    serve(100000, 90000, 95000); /* others want the processor */
    assert_true(slept > 98000);
}

static void a_change_is_noticed(void **state)
{
    (void)state;
    serve(100000, 150000, 90000);
    assert_true(looked > 95000);
    serve(20000, 90000, 95000);
    serve(100000, 90000, 95000);
    assert_true(slept > 95000);
    serve(20000, 150000, 90000);
    serve(100000, 150000, 90000);
    assert_true(looked > 95000);
}

static void looks_for_nothing_are_few(void **state)
{
    (void)state;
    serve(100000, 150000, 90000);
    assert_true(looked > 95000);
    /* Now it asks every half millisecond, then every two. */
    serve(40000, 500000, 500000);
    serve(100000, 500000, 500000);
    assert_true(missed < 1500);
    serve(100000, 2000000, 2000000);
    assert_true(missed < 1500);
}

static void several_who_ask_are_not_looked_for(void **state)
{
    int i;

    (void)state;
    serve(10000, 150000, 90000);
    assert_true(look_is_wanted(&look));
    look_note_others(&look);
    assert_false(look_is_wanted(&look));
    for (i = 0; i < 10; i++) { /* nothing is learned from them */
        look_note_request(&look, now += 10);
        look_note_others(&look);
    }
    look_note_request(&look, now);
    assert_true(look_is_wanted(&look));
}

#define T(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_quicker_is_kept_to),
        T(who_gains_nothing_sleeps),
        T(a_change_is_noticed),
        T(looks_for_nothing_are_few),
        T(several_who_ask_are_not_looked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
