/* Units of work are all done, and what each side wrote the other sees. Run
 * under ThreadSanitizer, too. */
#include "unit/cm.h"

#include "base/crew.h"

enum { UNITS = 5, ROUNDS = 2000 };

struct sum {
    struct crew_unit unit;
    uint64_t n, sum; /* no atomics: begin and wait are what protects them */
};

static void wake(void *arg)
{
    (void)arg;
}

static void sum_up(struct crew_unit *u, struct worker *w)
{
    struct sum *s = CONTAINER_OF(u, struct sum, unit);
    uint64_t i;

    (void)w;
    for (s->sum = 0, i = 1; i <= s->n; i++) {
        s->sum += i;
    }
}

static void what_is_begun_has_been_done_when_it_was_waited_for(void **state)
{
    struct pool_options o = {.n_workers = 3, .wake = wake};
    struct sum sums[UNITS];
    struct pool *pool;
    struct rng rng;
    int i;

    (void)state;
    cm_seed(&rng);
    assert_int_equal(pool_create(&o, &pool), ERR_OK);
    for (i = 0; i < ROUNDS + UNITS; i++) {
        struct sum *s = &sums[i % UNITS];

        if (i >= UNITS && i - UNITS < ROUNDS) {
            crew_wait(&s->unit);
            assert_true(s->sum == s->n * (s->n + 1) / 2);
        }
        if (i < ROUNDS) {
            s->n = rng_below(&rng, 3000);
            s->unit.run = sum_up;
            crew_begin(pool, &s->unit);
        }
    }
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_begun_has_been_done_when_it_was_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
