/* The segmented hash set, against a plain array of what should be in it. */
#include "unit/cm.h"

#include "base/mem.h"
#include "base/table.h"

/* Hash of a reference: any bijection that spreads bits will do. */
static uint64_t mix(uint64_t ref, void *arg)
{
    (void)arg;
    ref ^= ref >> 33;
    ref *= 0xff51afd7ed558ccdu;
    ref ^= ref >> 33;
    ref *= 0xc4ceb9fe1a85ec53u;
    return ref ^ ref >> 33;
}

static bool contains(const struct table *t, uint64_t ref)
{
    struct table_probe p;
    uint64_t found;

    table_probe_start(&p, t, mix(ref, NULL));
    while (table_probe_next(&p, &found)) {
        if (found == ref) {
            return true;
        }
    }
    return false;
}

static void insert(struct table *t, uint64_t ref)
{
    assert_int_equal(table_insert(t, mix(ref, NULL), ref), ERR_OK);
}

static void an_empty_table_finds_nothing(void **state)
{
    struct table t;
    struct rng rng;
    uint64_t ref;

    (void)state;
    rng_seed(&rng, 1);
    table_init(&t, 4, NULL, mix, NULL);
    assert_false(contains(&t, 7));
    assert_false(table_remove(&t, mix(7, NULL), 7));
    assert_false(table_random(&t, &rng, &ref));
    assert_int_equal(table_scan(&t, 0, 10, NULL, NULL), 0);
    table_validate(&t);
    table_deinit(&t);
}

/* What a table asked to be brought near: step 0 of every reference comes before
 * its step 1, and that before its hash. */
static uint8_t fetched[50000];

static void fetch(uint64_t ref, int step, void *arg)
{
    assert_ptr_equal(arg, fetched);
    assert_int_equal(fetched[ref], step);
    fetched[ref]++;
}

static uint64_t hash_of_fetched(uint64_t ref, void *arg)
{
    assert_ptr_equal(arg, fetched);
    assert_int_equal(fetched[ref], 2);
    fetched[ref] = 0;
    return mix(ref, NULL);
}

static void what_a_split_reads_is_fetched_ahead(void **state)
{
    struct table t;
    uint64_t i;

    (void)state;
    table_init(&t, 4, NULL, hash_of_fetched, fetched);
    table_set_fetch(&t, fetch);
    for (i = 0; i < ARRAY_LEN(fetched); i++) {
        insert(&t, i);
    }
    for (i = 0; i < ARRAY_LEN(fetched); i++) {
        assert_true(table_remove(&t, mix(i, NULL), i));
    }
    table_deinit(&t);
}

static void fill_and_drain(int ref_bytes)
{
    enum { N = 50000 };
    struct table t;
    size_t used = mem_used();
    uint64_t i;

    table_init(&t, ref_bytes, NULL, mix, NULL);
    for (i = 0; i < N; i++) {
        insert(&t, i);
    }
    table_validate(&t);
    assert_int_equal(t.count, N);
    for (i = 0; i < N; i++) {
        assert_true(contains(&t, i));
    }
    assert_false(contains(&t, N));
    for (i = 0; i < N; i++) {
        assert_true(table_remove(&t, mix(i, NULL), i));
    }
    table_validate(&t);
    assert_int_equal(t.count, 0);
    table_deinit(&t);
    assert_int_equal(mem_used(), used);
}

static void what_is_inserted_is_found_until_removed_4_bytes(void **state)
{
    (void)state;
    fill_and_drain(4);
}

static void what_is_inserted_is_found_until_removed_8_bytes(void **state)
{
    (void)state;
    fill_and_drain(8);
}

static void eight_byte_references_keep_all_their_bits(void **state)
{
    struct table t;
    uint64_t ref = 0xfedcba9876543210u;

    (void)state;
    table_init(&t, 8, NULL, mix, NULL);
    insert(&t, ref);
    assert_true(contains(&t, ref));
    assert_false(contains(&t, (uint32_t)ref));
    table_deinit(&t);
}

static void replacing_puts_a_reference_where_the_old_one_was(void **state)
{
    struct table t;
    struct table_probe p;
    uint64_t found = 0;

    (void)state;
    table_init(&t, 4, NULL, mix, NULL);
    insert(&t, 5);
    /* The new reference stands for the same key: it has the old one's hash. */
    table_replace(&t, mix(5, NULL), 5, 9);
    table_probe_start(&p, &t, mix(5, NULL));
    assert_true(table_probe_next(&p, &found));
    assert_int_equal(found, 9);
    assert_int_equal(t.count, 1);
    table_deinit(&t);
}

static uint64_t same_hash(uint64_t ref, void *arg)
{
    (void)ref;
    (void)arg;
    return 0x0123456789abcdefu;
}

static void references_with_one_hash_are_all_found(void **state)
{
    struct table t;
    struct table_probe p;
    uint64_t found, i, n = 0;

    (void)state;
    table_init(&t, 4, NULL, same_hash, NULL);
    for (i = 0; i < 100; i++) {
        assert_int_equal(table_insert(&t, same_hash(i, NULL), i), ERR_OK);
    }
    table_probe_start(&p, &t, same_hash(0, NULL));
    while (table_probe_next(&p, &found)) {
        n++;
    }
    assert_int_equal(n, 100);
    table_deinit(&t);
}

struct seen {
    uint8_t *times;
    size_t n;
};

static void note_seen(uint64_t ref, void *arg)
{
    struct seen *s = arg;

    s->times[ref]++;
    s->n++;
}

static void
a_scan_sees_every_reference_exactly_once_when_nothing_changes(void **state)
{
    enum { N = 20000 };
    struct table t;
    struct seen s = {calloc(N, 1), 0};
    uint64_t cursor = 0, i;
    size_t calls = 0;

    (void)state;
    table_init(&t, 8, NULL, mix, NULL);
    for (i = 0; i < N; i++) {
        insert(&t, i);
    }
    do {
        cursor = table_scan(&t, cursor, 10, note_seen, &s);
        assert_true(cursor < (uint64_t)1 << 48);
        calls++;
    } while (cursor);
    for (i = 0; i < N; i++) {
        assert_int_equal(s.times[i], 1);
    }
    /* About ten at a time. */
    assert_true(calls > N / 30 && calls < N / 3);
    free(s.times);
    table_deinit(&t);
}

static void
a_scan_sees_what_stays_while_the_table_grows_and_shrinks(void **state)
{
    enum { STAY = 3000, CHURN = 60000 };
    struct table t;
    struct seen s = {calloc(STAY + CHURN, 1), 0};
    uint64_t cursor = 0, i, next = STAY, oldest = STAY;
    struct rng rng;

    (void)state;
    cm_seed(&rng);
    table_init(&t, 8, NULL, mix, NULL);
    for (i = 0; i < STAY; i++) {
        insert(&t, i);
    }
    do {
        cursor = table_scan(&t, cursor, 20, note_seen, &s);
        for (i = 0; i < 200 && next < STAY + CHURN; i++) {
            insert(&t, next++);
        }
        while (oldest < next && rng_below(&rng, 3) && next > STAY + CHURN / 2) {
            assert_true(table_remove(&t, mix(oldest, NULL), oldest));
            oldest++;
        }
    } while (cursor);
    for (i = 0; i < STAY; i++) {
        assert_true(s.times[i] >= 1);
    }
    table_validate(&t);
    free(s.times);
    table_deinit(&t);
}

static void random_operations_agree_with_an_array(void **state)
{
    enum { SPACE = 4000, STEPS = 200000 };
    struct table t;
    bool *there = calloc(SPACE, sizeof(bool));
    size_t count = 0;
    struct rng rng;
    int step;

    (void)state;
    cm_seed(&rng);
    table_init(&t, 4, NULL, mix, NULL);
    for (step = 0; step < STEPS; step++) {
        /* Phases of growth and of shrinking. */
        bool grow = rng_below(&rng, 100) < (step / 20000 % 2 ? 30u : 70u);
        uint64_t ref = rng_below(&rng, SPACE);

        assert_int_equal(contains(&t, ref), there[ref]);
        if (grow && !there[ref]) {
            insert(&t, ref);
            there[ref] = true;
            count++;
        } else if (!grow && there[ref]) {
            assert_true(table_remove(&t, mix(ref, NULL), ref));
            there[ref] = false;
            count--;
        }
        assert_int_equal(t.count, count);
        if (step % 5000 == 0) {
            table_validate(&t);
        }
    }
    table_validate(&t);
    free(there);
    table_deinit(&t);
}

static void random_choice_reaches_every_reference(void **state)
{
    enum { N = 2000 };
    struct table t;
    uint8_t *times = calloc(N, 1);
    struct rng rng;
    uint64_t i, ref, reached = 0;

    (void)state;
    cm_seed(&rng);
    table_init(&t, 4, NULL, mix, NULL);
    for (i = 0; i < N; i++) {
        insert(&t, i);
    }
    for (i = 0; i < 40 * N && reached < N; i++) {
        assert_true(table_random(&t, &rng, &ref));
        reached += times[ref] == 0;
        times[ref] = 1;
    }
    assert_int_equal(reached, N);
    free(times);
    table_deinit(&t);
}

static void a_failed_allocation_leaves_the_table_as_it_was(void **state)
{
    struct table t;
    uint64_t i, failures = 0;

    (void)state;
    table_init(&t, 4, NULL, mix, NULL);
    for (i = 0; i < 5000; i++) {
        enum err err;

        /* Each allocation fails once, then works. */
        mem_fail_after(1);
        err = table_insert(&t, mix(i, NULL), i);
        mem_fail_after(0);
        if (err) {
            assert_int_equal(err, ERR_NOMEM);
            assert_false(contains(&t, i));
            failures++;
            insert(&t, i);
        }
    }
    assert_true(failures > 5);
    table_validate(&t);
    table_deinit(&t);
}

static void the_cost_of_an_insertion_is_an_upper_bound(void **state)
{
    struct table t;
    uint64_t i;

    (void)state;
    table_init(&t, 4, NULL, mix, NULL);
    for (i = 0; i < 30000; i++) {
        size_t cost = table_insert_cost(&t, mix(i, NULL));
        size_t before = mem_used();

        insert(&t, i);
        assert_true(mem_used() <= before + cost);
    }
    table_deinit(&t);
}

/* Between two splits of all segments, too. */
static void what_a_table_will_take_is_known_before(void **state)
{
    struct table t;
    struct region r;
    uint64_t i;

    (void)state;
    region_init(&r, 0);
    table_init(&t, 4, &r, mix, NULL);
    assert_int_equal(table_bytes_for(4, &r, 0), 0);
    for (i = 1; i <= 200000; i++) {
        insert(&t, i);
        if (i < 1000 || i % 997 == 0) {
            size_t said = table_bytes_for(4, &r, i);
            size_t slack = i <= 854 ? 0 : r.bytes / 20 + 6000;

            assert_true(said <= r.bytes + slack && said + slack >= r.bytes);
        }
    }
    table_deinit(&t);
    assert_int_equal(r.bytes, 0);
    region_deinit(&r);
}

/* Wherever all its segments are between two splits. */
static void a_large_table_takes_7_bytes_of_a_reference(void **state)
{
    struct table t;
    struct region r;
    uint64_t i;

    (void)state;
    region_init(&r, 0);
    table_init(&t, 4, &r, mix, NULL);
    for (i = 1; i <= 200000; i++) {
        insert(&t, i);
        assert_true(i < 30000 || r.bytes < i * 29 / 4);
    }
    table_deinit(&t);
    region_deinit(&r);
}

static uint64_t few_homes(uint64_t ref, void *arg)
{
    return mix(ref, arg) & 0xfffffffe0000007fu;
}

/* Those that lie far from home, and pass by more groups than can be counted,
 * are found and removed like others. */
static void many_references_may_have_one_home(void **state)
{
    enum { N = 600 };
    struct table t;
    struct table_probe p;
    uint64_t i, ref = 0;
    int round;

    (void)state;
    table_init(&t, 4, NULL, few_homes, NULL);
    for (round = 0; round < 2; round++) {
        for (i = 0; i < N; i++) {
            assert_int_equal(table_insert(&t, few_homes(i, NULL), i), ERR_OK);
            table_probe_start(&p, &t, few_homes(i / 2, NULL));
            while (table_probe_next(&p, &ref) && ref != i / 2) {
            }
            assert_int_equal(ref, i / 2);
        }
        table_validate(&t);
        for (i = 0; i < N; i++) {
            assert_true(table_remove(&t, few_homes(i, NULL), i));
            if (i % 50 == 0) {
                table_validate(&t);
            }
        }
        assert_int_equal(t.count, 0);
    }
    table_deinit(&t);
}

/* A table that was told what will come is the one it becomes by itself. */
static void what_is_reserved_is_what_would_be_there(void **state)
{
    static const size_t sizes[] = {1,    14,   15,   800,   882,   883,
                                   1000, 1900, 2500, 30000, 61000, 124000};
    struct table told, grown;
    struct region r, s;
    size_t k;
    uint64_t i;

    (void)state;
    region_init(&r, 0);
    region_init(&s, 0);
    for (k = 0; k < ARRAY_LEN(sizes); k++) {
        table_init(&told, 4, &r, mix, NULL);
        table_init(&grown, 4, &s, mix, NULL);
        assert_int_equal(table_reserve(&told, sizes[k]), ERR_OK);
        table_validate(&told);
        for (i = 0; i < sizes[k]; i++) {
            insert(&told, i);
            insert(&grown, i);
        }
        table_validate(&told);
        assert_in_range(r.bytes, s.bytes, s.bytes + s.bytes / 50);
        for (i = 0; i < sizes[k]; i++) {
            assert_true(contains(&told, i));
            assert_true(table_remove(&told, mix(i, NULL), i));
        }
        table_validate(&told);
        table_deinit(&told);
        table_deinit(&grown);
    }
    for (i = 1; i < 40; i++) {
        table_init(&told, 4, &r, mix, NULL);
        mem_fail_after(i);
        if (table_reserve(&told, 20000) != ERR_OK) {
            assert_false(contains(&told, 1));
        }
        mem_fail_after(0);
        insert(&told, 1);
        table_validate(&told);
        table_deinit(&told);
        assert_int_equal(r.bytes, 0);
    }
    region_deinit(&r);
    region_deinit(&s);
}

static void fit(struct table *t)
{
    uint64_t cursor = 0;

    do {
        table_fit(t, &cursor);
    } while (cursor);
}

static uint64_t itself(uint64_t ref, void *arg)
{
    (void)arg;
    return ref;
}

/* A segment that was made small joins one that was not. */
static void two_segments_that_join_have_room_for_both(void **state)
{
    const uint64_t high = (uint64_t)1 << 63;
    struct table t;
    uint64_t i;

    (void)state;
    table_init(&t, 8, NULL, itself, NULL);
    for (i = 0; i < 450; i++) {
        uint64_t ref = i << 7 | (i % 3 == 0 ? high : 0);

        assert_int_equal(table_insert(&t, ref, ref), ERR_OK);
    }
    for (i = 9; i < 450; i += 3) {
        assert_true(table_remove(&t, i << 7 | high, i << 7 | high));
    }
    fit(&t);
    for (i = 151; i < 450; i++) {
        if (i % 3) {
            assert_true(table_remove(&t, i << 7, i << 7));
        }
    }
    assert_true(table_remove(&t, high, high));
    assert_true(table_remove(&t, 3 << 7 | high, 3 << 7 | high));
    table_validate(&t);
    assert_int_equal(t.count, 101);
    table_deinit(&t);
}

static void a_table_that_fits_takes_less_and_grows_as_before(void **state)
{
    struct table t;
    struct region r;
    uint64_t n = 0;
    size_t i;

    (void)state;
    region_init(&r, 0);
    table_init(&t, 4, &r, mix, NULL);
    fit(&t);
    for (i = 0; i < 40; i++) {
        uint64_t to = n + 1 + n / 3 + i % 3;
        size_t said, took;

        while (n < to) {
            insert(&t, ++n);
        }
        took = r.bytes;
        fit(&t);
        table_validate(&t);
        assert_true(r.bytes <= took);
        said = table_bytes_fit(4, &r, n);
        assert_true(said <= r.bytes + r.bytes / 8 + 6000);
        assert_true(r.bytes <= said + said / 8 + 6000);
        took = r.bytes;
        fit(&t);
        assert_int_equal(took, r.bytes);
    }
    assert_true(n > 50000 && r.bytes < 8 * n);
    while (n > 0) {
        assert_true(table_remove(&t, mix(n, NULL), n));
        if (n % 5000 == 0) {
            fit(&t);
            table_validate(&t);
        }
        n--;
    }
    table_deinit(&t);
    assert_int_equal(r.bytes, 0);
    region_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing),
        cmocka_unit_test(what_is_inserted_is_found_until_removed_4_bytes),
        cmocka_unit_test(what_is_inserted_is_found_until_removed_8_bytes),
        cmocka_unit_test(eight_byte_references_keep_all_their_bits),
        cmocka_unit_test(replacing_puts_a_reference_where_the_old_one_was),
        cmocka_unit_test(what_a_split_reads_is_fetched_ahead),
        cmocka_unit_test(references_with_one_hash_are_all_found),
        cmocka_unit_test(
            a_scan_sees_every_reference_exactly_once_when_nothing_changes),
        cmocka_unit_test(
            a_scan_sees_what_stays_while_the_table_grows_and_shrinks),
        cmocka_unit_test(random_operations_agree_with_an_array),
        cmocka_unit_test(random_choice_reaches_every_reference),
        cmocka_unit_test(what_is_reserved_is_what_would_be_there),
        cmocka_unit_test(a_failed_allocation_leaves_the_table_as_it_was),
        cmocka_unit_test(the_cost_of_an_insertion_is_an_upper_bound),
        cmocka_unit_test(what_a_table_will_take_is_known_before),
        cmocka_unit_test(a_large_table_takes_7_bytes_of_a_reference),
        cmocka_unit_test(many_references_may_have_one_home),
        cmocka_unit_test(two_segments_that_join_have_room_for_both),
        cmocka_unit_test(a_table_that_fits_takes_less_and_grows_as_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
