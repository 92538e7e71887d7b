/* Tickets and retirement: E1-E3 of base/epoch.h. */
#include "unit/cm.h"

#include "base/epoch.h"

struct object {
    struct retired retired;
    int id;
};

static int log_ids[64];
static int n_log;

static void reclaim(struct retired *r, void *arg)
{
    struct object *o = CONTAINER_OF(r, struct object, retired);

    (void)arg;
    log_ids[n_log++] = o->id;
}

static void without_a_ticket_objects_go_at_once(void **state)
{
    struct epoch *e = epoch_create();
    struct object o = {.id = 1};

    (void)state;
    n_log = 0;
    assert_true(epoch_is_quiet(e));
    epoch_retire(e, &o.retired, reclaim, NULL);
    assert_int_equal(n_log, 1);
    epoch_destroy(e);
}

static void an_object_waits_for_tickets_issued_before_it_only(void **state)
{
    struct epoch *e = epoch_create();
    struct object o = {.id = 1};
    uint64_t before, after;

    (void)state;
    n_log = 0;
    before = epoch_enter(e);
    epoch_retire(e, &o.retired, reclaim, NULL);
    after = epoch_enter(e);
    assert_int_equal(n_log, 0);
    epoch_leave(e, before);
    assert_int_equal(n_log, 1); /* though `after` is still open */
    epoch_leave(e, after);
    epoch_destroy(e);
}

static void objects_go_in_the_order_in_which_they_were_retired(void **state)
{
    struct epoch *e = epoch_create();
    struct object o[3] = {{.id = 1}, {.id = 2}, {.id = 3}};
    uint64_t t1, t2;

    (void)state;
    n_log = 0;
    t1 = epoch_enter(e);
    epoch_retire(e, &o[0].retired, reclaim, NULL);
    t2 = epoch_enter(e);
    epoch_retire(e, &o[1].retired, reclaim, NULL);
    epoch_retire(e, &o[2].retired, reclaim, NULL);
    epoch_leave(e, t2);
    assert_int_equal(n_log, 0);
    epoch_leave(e, t1);
    assert_int_equal(n_log, 3);
    assert_int_equal(log_ids[0], 1);
    assert_int_equal(log_ids[1], 2);
    assert_int_equal(log_ids[2], 3);
    epoch_destroy(e);
}

static void the_oldest_ticket_gives_the_oldest_sequence(void **state)
{
    struct epoch *e = epoch_create();
    uint64_t t1, t2;

    (void)state;
    assert_int_equal(epoch_advance(e), 1);
    t1 = epoch_enter(e);
    epoch_advance(e);
    t2 = epoch_enter(e);
    epoch_advance(e);
    assert_int_equal(epoch_oldest(e), 1);
    epoch_leave(e, t1);
    assert_int_equal(epoch_oldest(e), 2);
    epoch_leave(e, t2);
    assert_int_equal(epoch_oldest(e), epoch_now(e));
    assert_int_equal(epoch_now(e), 3);
    epoch_destroy(e);
}

static void thousands_of_tickets_close_in_any_order(void **state)
{
    enum { N = 5000 };
    struct epoch *e = epoch_create();
    uint64_t *tickets = calloc(N, sizeof(*tickets));
    struct object o = {.id = 7};
    struct rng rng;
    int i;

    (void)state;
    cm_seed(&rng);
    n_log = 0;
    for (i = 0; i < N; i++) {
        tickets[i] = epoch_enter(e);
        if (i == N / 2) {
            epoch_retire(e, &o.retired, reclaim, NULL);
        }
    }
    for (i = N - 1; i > 0; i--) {
        int j = (int)rng_below(&rng, (uint64_t)i + 1);
        uint64_t swap = tickets[i];

        tickets[i] = tickets[j];
        tickets[j] = swap;
    }
    for (i = 0; i < N; i++) {
        epoch_leave(e, tickets[i]);
    }
    assert_true(epoch_is_quiet(e));
    assert_int_equal(n_log, 1);
    free(tickets);
    epoch_destroy(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_ticket_objects_go_at_once),
        cmocka_unit_test(an_object_waits_for_tickets_issued_before_it_only),
        cmocka_unit_test(objects_go_in_the_order_in_which_they_were_retired),
        cmocka_unit_test(the_oldest_ticket_gives_the_oldest_sequence),
        cmocka_unit_test(thousands_of_tickets_close_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
