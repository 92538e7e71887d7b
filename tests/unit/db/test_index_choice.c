/* Which index a set chooses: what for, and that it does not go back and forth.
 */
#include "unit/cm.h"

#include "base/macros.h"
#include "db/vset/index_choice.h"

static const struct index_facts usual = {
    .now = VSET_INDEX_FLAT,
    .graph_at = 12000,
    .lists_at = 20000,
    .room = UINT64_MAX,
};

static struct index_choice choose(struct index_facts f, uint32_t count)
{
    f.count = count;
    f.graph_bytes = 140 * (uint64_t)count;
    return index_choose(&f);
}

static void a_set_has_a_graph_from_where_scanning_takes_longer(void **state)
{
    struct index_facts f = usual;

    (void)state;
    assert_int_equal(choose(f, 11999).index, VSET_INDEX_FLAT);
    assert_int_equal(choose(f, 12000).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 0).index, VSET_INDEX_FLAT);
    f.now = VSET_INDEX_HNSW;
    assert_int_equal(choose(f, 8000).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 7999).index, VSET_INDEX_FLAT);
    f.now = VSET_INDEX_IVF;
    assert_int_equal(choose(f, 7999).index, VSET_INDEX_FLAT);
}

static void a_graph_that_came_with_its_set_is_kept(void **state)
{
    struct index_facts f = usual;

    (void)state;
    f.now = VSET_INDEX_HNSW;
    f.came_along = true;
    assert_int_equal(choose(f, 100).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 100).reason, INDEX_CAME);
    assert_int_equal(choose(f, 12000).reason, INDEX_LARGE);
    f.came_along = false;
    assert_int_equal(choose(f, 100).index, VSET_INDEX_FLAT);
}

static void a_set_has_lists_when_there_is_no_room_for_a_graph(void **state)
{
    struct index_facts f = usual;

    (void)state;
    f.room = 14 << 20;
    assert_int_equal(choose(f, 60000).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 80000).index, VSET_INDEX_IVF);
    f.now = VSET_INDEX_HNSW;
    assert_int_equal(choose(f, 90000).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 100000).index, VSET_INDEX_IVF);
    assert_int_equal(choose(f, 100000).reason, INDEX_NO_ROOM);
    f.room = 0;
    assert_int_equal(choose(f, 20000).index, VSET_INDEX_IVF);
    f.now = VSET_INDEX_IVF;
    f.age_s = INDEX_HOUR;
    assert_int_equal(choose(f, 13400).index, VSET_INDEX_IVF);
}

static void a_set_too_small_for_lists_and_without_room_is_scanned(void **state)
{
    struct index_facts f = usual;

    (void)state;
    f.room = 15000 * 140;
    assert_int_equal(choose(f, 15000).index, VSET_INDEX_FLAT);
    assert_int_equal(choose(f, 15000).reason, INDEX_NO_ROOM);
    f.now = VSET_INDEX_HNSW;
    assert_int_equal(choose(f, 13500).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, 14000).index, VSET_INDEX_FLAT);
    assert_int_equal(choose(f, 20000).index, VSET_INDEX_IVF);
    f.now = VSET_INDEX_IVF;
    f.age_s = INDEX_HOUR;
    assert_int_equal(choose(f, 13400).index, VSET_INDEX_IVF);
    assert_int_equal(choose(f, 13300).index, VSET_INDEX_FLAT);
}

static void a_huge_set_has_lists(void **state)
{
    struct index_facts f = usual;

    (void)state;
    f.now = VSET_INDEX_HNSW;
    assert_int_equal(choose(f, INDEX_HUGE - 1).index, VSET_INDEX_HNSW);
    assert_int_equal(choose(f, INDEX_HUGE).index, VSET_INDEX_IVF);
    f.now = VSET_INDEX_IVF;
    f.age_s = INDEX_HOUR;
    assert_int_equal(choose(f, INDEX_HUGE * 3 / 4).index, VSET_INDEX_IVF);
    assert_int_equal(choose(f, INDEX_HUGE / 2).index, VSET_INDEX_HNSW);
}

static void a_set_that_changes_all_the_time_has_lists(void **state)
{
    struct index_watch w = {0};
    struct index_facts f = usual;
    enum { COUNT = 50000 };
    uint64_t gone = 0;
    uint32_t now = 5000;
    int hour;

    (void)state;
    f.now = VSET_INDEX_HNSW;
    index_watch_note(&w, gone, COUNT, now);
    for (hour = 1; hour <= 8; hour++) {
        /* Two hours of much, then none. */
        gone += hour <= 2 || hour == 4 ? COUNT : 0;
        now += INDEX_HOUR;
        index_watch_note(&w, gone, COUNT, now);
        f.churn_least = w.churn[0] < w.churn[1] ? w.churn[0] : w.churn[1];
        f.churn_most = w.churn[0] > w.churn[1] ? w.churn[0] : w.churn[1];
        f.age_s = INDEX_HOUR;
        f.now = choose(f, COUNT).index;
        assert_int_equal(f.now, hour >= 2 && hour <= 5 ? VSET_INDEX_IVF
                                                       : VSET_INDEX_HNSW);
    }
}

static void lists_are_not_given_up_at_once(void **state)
{
    struct index_facts f = usual;

    (void)state;
    f.now = VSET_INDEX_IVF;
    f.age_s = INDEX_HOUR - 1;
    assert_int_equal(choose(f, 100000).index, VSET_INDEX_IVF);
    assert_int_equal(choose(f, 100000).reason, INDEX_YOUNG);
    f.age_s = INDEX_HOUR;
    assert_int_equal(choose(f, 100000).index, VSET_INDEX_HNSW);
}

/* Facts that wander up and down by a fifth around any place, also one where two
 * bounds meet, change the index once at most in either direction. */
static void no_set_goes_back_and_forth(void **state)
{
    struct rng rng;
    int trial, i;

    (void)state;
    cm_seed(&rng);
    for (trial = 0; trial < 2000; trial++) {
        struct index_facts f = usual;
        double count = 1000 * (double)((uint64_t)1 << rng_below(&rng, 16)) *
                       (1 + (double)rng_below(&rng, 100) / 100);
        double room = count * 140 * (double)(50 + rng_below(&rng, 200)) / 100;
        double churn = (double)rng_below(&rng, 100) / 100;
        int changes = 0;

        f.age_s = 10 * INDEX_HOUR;
        for (i = 0; i < 300; i++) {
            double by = 0.91 + (double)rng_below(&rng, 180) / 1000;
            struct index_choice c;

            f.room = (uint64_t)room;
            f.churn_least = f.churn_most = churn * by;
            c = choose(f, (uint32_t)(count * by));
            changes += c.index != f.now;
            f.now = c.index;
        }
        assert_true(changes <= 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_has_a_graph_from_where_scanning_takes_longer),
        cmocka_unit_test(a_graph_that_came_with_its_set_is_kept),
        cmocka_unit_test(a_set_has_lists_when_there_is_no_room_for_a_graph),
        cmocka_unit_test(a_set_too_small_for_lists_and_without_room_is_scanned),
        cmocka_unit_test(a_huge_set_has_lists),
        cmocka_unit_test(a_set_that_changes_all_the_time_has_lists),
        cmocka_unit_test(lists_are_not_given_up_at_once),
        cmocka_unit_test(no_set_goes_back_and_forth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
