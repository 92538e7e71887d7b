/* The order of names against a sorted array.
 *
 * All names there can be are sorted beforehand, so that the twin of a set is a
 * flag per name and the answer to a range is read off. The test thread is the
 * loop: it adds, replaces and removes elements, has orders made by real workers
 * while it goes on writing, drops them, and compares every range. */
#include "unit/cm.h"

#include "base/mem.h"
#include "db/names/name_order.h"
#include "db/names/name_select.h"
#include "db/names/name_sort.h"
#include "db/search/search.h"
#include "db/vset/vset_impl.h"
#include "model/db/loop.h"

enum {
    NAMES = 6000,
    NAME_MAX = 700,
    DIM = 4,
    STEPS = 60000,
};

struct universe {
    uint8_t *text;
    struct bytes names[NAMES]; /* ascending, all different */
};

struct world {
    struct vset *set;
    struct rng rng;
    bool there[NAMES]; /* the twin */
    uint32_t count;
    struct name_order_waiter waiter;
    int n_told;
    int n_expected; /* times that waiter was to be told */
};

static struct universe all;
static struct world w;

/* ---- names ------------------------------------------------------------- */

/* The shapes that matter: short ones, equal prefixes of all lengths, zeros and
 * high bytes, one name the prefix of another, and long ones. */
static size_t make_name(struct rng *rng, uint32_t i, uint8_t *out)
{
    char *text = (char *)out;
    size_t len, k;

    switch (i % 7) {
    case 0:
        return (size_t)snprintf(text, NAME_MAX, "%u", i);
    case 1:
        return (size_t)snprintf(text, NAME_MAX, "element:%08u", i);
    case 2:
        return (size_t)snprintf(
            text, NAME_MAX, "example.org/a/rather/long/path/%u/x%u", i % 5, i);
    case 3: /* few letters, zeros among them */
        len = rng_below(rng, 14);
        for (k = 0; k < len; k++) {
            out[k] = (uint8_t)(rng_below(rng, 3) * 127);
        }
        return len;
    case 4: /* runs of one letter, every length */
        len = i / 7 % 300;
        memset(out, 'z', len);
        return len;
    case 5:
        memset(out, 'q', 640);
        return 640 + (size_t)snprintf(text + 640, 50, "%u", i);
    default:
        len = 1 + rng_below(rng, 30);
        for (k = 0; k < len; k++) {
            out[k] = (uint8_t)rng_below(rng, 256);
        }
        return len;
    }
}

static int by_name(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* Sorts, and makes names that came up twice different at their end. */
static void make_universe(struct rng *rng)
{
    bool again = true;
    uint32_t i;

    if (!all.text) {
        all.text = mem_alloc((size_t)NAMES * (NAME_MAX + 8));
    }
    for (i = 0; i < NAMES; i++) {
        uint8_t *at = all.text + (size_t)i * (NAME_MAX + 8);

        all.names[i] = bytes_of(at, make_name(rng, i, at));
    }
    while (again) {
        again = false;
        qsort(all.names, NAMES, sizeof(all.names[0]), by_name);
        for (i = 1; i < NAMES; i++) {
            if (bytes_equal(all.names[i - 1], all.names[i])) {
                uint8_t *end = (uint8_t *)(uintptr_t)all.names[i].data +
                               all.names[i].len++;

                *end = (uint8_t)rng_below(rng, 256);
                again = true;
            }
        }
    }
}

/* ---- a world ----------------------------------------------------------- */

static void told(struct name_order_waiter *waiter)
{
    assert_ptr_equal(waiter, &w.waiter);
    assert_null(waiter->order);
    w.n_told++;
}

static void make_set(void)
{
    struct vset_options o = {.type = VEC_F32,
                             .metric = VEC_COSINE,
                             .dim = DIM,
                             .m = VSET_M_DEFAULT,
                             .keep_empty = true};

    w.set = vset_create(loop.ks, loop.ks->dbs[0], &o);
    assert_non_null(w.set);
    memset(w.there, 0, sizeof(w.there));
    w.count = 0;
}

static void begin(void)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    make_universe(&w.rng);
    w.waiter.told = told;
    loop_begin(2, 0, 1);
    make_set();
}

static void wait_for_some(void)
{
    loop_sleep();
    pool_drain(loop.pool);
}

static void wait_for_order(void)
{
    while (name_order_is_building(w.set)) {
        wait_for_some();
    }
}

static void end(void)
{
    vset_validate(w.set);
    vset_drop(w.set);
    loop_end();
    assert_int_equal(w.n_told, w.n_expected);
}

/* ---- writes ------------------------------------------------------------ */

static enum err try_put(uint32_t i)
{
    static const float vector[DIM] = {1, 2, 3, 4};
    struct vset_element e = {.name = all.names[i], .vector = vector};
    bool added;
    enum err err = vset_add(w.set, &e, &added);

    if (!err) {
        assert_int_equal(added, !w.there[i]);
        w.count += added;
        w.there[i] = true;
    }
    return err;
}

static void put(uint32_t i)
{
    assert_int_equal(try_put(i), ERR_OK);
}

static enum err try_take(uint32_t i)
{
    bool removed;
    enum err err = vset_remove(w.set, all.names[i], &removed);

    if (!err) {
        assert_int_equal(removed, w.there[i]);
        w.count -= removed;
        w.there[i] = false;
    }
    return err;
}

static void take(uint32_t i)
{
    assert_int_equal(try_take(i), ERR_OK);
}

static uint32_t any(void)
{
    return (uint32_t)rng_below(&w.rng, NAMES);
}

static void fill(uint32_t n)
{
    while (w.count < n) {
        put(any());
    }
}

/* ---- ranges ------------------------------------------------------------ */

/* The first name of the twin from `at` on, NAMES when there is none. */
static uint32_t next_there(const bool *there, uint32_t at)
{
    while (at < NAMES && !there[at]) {
        at++;
    }
    return at;
}

/* Compares up to `max` names behind or from names[from] on with the twin. */
static void check_range(uint32_t from, bool past, uint32_t max)
{
    struct bytes names[NAME_ORDER_TAKE_MAX];
    struct name_order_cursor c;
    uint32_t want = next_there(w.there, from + past);
    uint32_t seen = 0;

    name_order_seek(w.set, all.names[from], past, &c);
    while (seen < max && !name_order_at_end(w.set, &c)) {
        size_t n = name_order_take(w.set, &c, names,
                                   1 + rng_below(&w.rng, NAME_ORDER_TAKE_MAX));
        size_t i;

        for (i = 0; i < n; i++) {
            assert_int_not_equal(want, NAMES);
            assert_true(bytes_equal(names[i], all.names[want]));
            want = next_there(w.there, want + 1);
            seen++;
        }
    }
    if (seen < max) {
        assert_int_equal(want, NAMES);
    }
}

static void check_everything(void)
{
    check_range(0, false, NAMES);
}

static void check_some(void)
{
    check_range(any(), rng_below(&w.rng, 2),
                1 + (uint32_t)rng_below(&w.rng, 200));
}

static void begin_order(void)
{
    if (!w.set->order) {
        assert_int_equal(name_order_begin(w.set), ERR_OK);
        name_order_wait(w.set, &w.waiter);
        w.n_expected++;
    }
}

/* ---- tests of the order ------------------------------------------------ */

static void step(void)
{
    switch (rng_below(&w.rng, 100)) {
    case 0:
        begin_order();
        break;
    case 1:
        if (w.set->order && rng_below(&w.rng, 20) == 0) {
            name_order_drop(w.set);
        }
        break;
    case 2:
    case 3:
        pool_drain(loop.pool);
        break;
    case 4:
        vset_settle_all(loop.ks->dbs[0]);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        if (name_order_is_ready(w.set)) {
            check_some();
        }
        break;
    default:
        if (rng_below(&w.rng, 2)) {
            put(any());
        } else {
            take(any());
        }
        break;
    }
}

static void
ranges_are_those_of_a_sorted_array_while_orders_come_and_go(void **state)
{
    int i;

    (void)state;
    begin();
    fill(NAMES / 2);
    for (i = 0; i < STEPS; i++) {
        step();
        if (i % 1000 == 0) {
            vset_validate(w.set);
        }
    }
    begin_order();
    wait_for_order();
    vset_validate(w.set);
    check_everything();
    end();
}

static void an_order_knows_what_was_written_while_it_was_made(void **state)
{
    int round, i;

    (void)state;
    begin();
    fill(NAMES * 3 / 4);
    for (round = 0; round < 30; round++) {
        begin_order();
        for (i = 0; i < 300; i++) {
            uint32_t name = any();

            if (i % 3) {
                put(name);
            } else {
                take(name);
            }
        }
        vset_validate(w.set);
        wait_for_order();
        assert_true(name_order_is_ready(w.set));
        vset_validate(w.set);
        check_everything();
        name_order_drop(w.set);
    }
    end();
}

static void names_that_were_removed_in_a_row_are_passed_over(void **state)
{
    uint32_t from, to, i;
    int round;

    (void)state;
    begin();
    for (round = 0; round < 10; round++) {
        fill(NAMES);
        begin_order();
        wait_for_order();
        from = (uint32_t)rng_below(&w.rng, NAMES / 2);
        to = from + (uint32_t)rng_below(&w.rng, NAMES / 2);
        for (i = from; i < to; i++) {
            take(i);
            if (i % 64 == 0 && name_order_is_ready(w.set)) {
                check_some();
            }
        }
        for (i = 0; i < 5; i++) {
            put(from + (uint32_t)rng_below(&w.rng, to - from + 1));
            put(any());
        }
        if (name_order_is_ready(w.set)) {
            vset_validate(w.set);
            check_range(from, false, 10);
            check_range(to, true, 10);
            check_everything();
            name_order_drop(w.set);
        }
    }
    end();
}

static void an_order_of_which_much_has_changed_is_dropped(void **state)
{
    uint32_t i;

    (void)state;
    begin();
    fill(NAMES);
    begin_order();
    wait_for_order();
    for (i = 0; i < 4096; i++) {
        assert_true(name_order_is_ready(w.set));
        take(i);
    }
    take(i);
    assert_null(w.set->order);
    end();
}

static void an_order_nobody_used_for_a_minute_is_dropped(void **state)
{
    size_t before;

    (void)state;
    begin();
    fill(100);
    before = w.set->memory.bytes;
    keyspace_set_time(loop.ks, 0, 1000 * INT64_C(1000000));
    begin_order();
    wait_for_order();
    assert_true(name_order_bytes(w.set) > 400);
    assert_int_equal(w.set->memory.bytes, before + name_order_bytes(w.set));
    keyspace_set_time(loop.ks, 0, 1059 * INT64_C(1000000));
    keyspace_settle(loop.ks);
    check_some();
    keyspace_set_time(loop.ks, 0, 1118 * INT64_C(1000000));
    keyspace_settle(loop.ks);
    assert_true(name_order_is_ready(w.set));
    keyspace_set_time(loop.ks, 0, 1119 * INT64_C(1000000));
    keyspace_settle(loop.ks);
    assert_null(w.set->order);
    assert_int_equal(w.set->memory.bytes, before);
    end();
}

static void
an_order_is_made_on_the_spot_while_a_worker_is_at_another(void **state)
{
    int i;

    (void)state;
    begin();
    fill(NAMES / 2);
    for (i = 0; i < 50; i++) {
        begin_order();
        put(any());
        assert_int_equal(name_order_build(w.set), ERR_OK);
        check_everything();
        take(any());
        vset_validate(w.set);
        check_everything();
        name_order_drop(w.set);
    }
    end();
}

static void a_dropped_set_is_read_to_the_end_by_who_holds_a_ticket(void **state)
{
    struct vset *set;
    uint64_t ticket;

    (void)state;
    begin();
    fill(NAMES / 2);
    begin_order();
    wait_for_order();
    put(any());
    set = w.set;
    ticket = epoch_enter(loop.ks->epoch);
    vset_drop(set);
    assert_null(loop.ks->dbs[0]->orders);
    check_everything();
    epoch_leave(loop.ks->epoch, ticket);
    make_set();
    end();
}

static void a_set_may_go_while_its_order_is_made(void **state)
{
    int i;

    (void)state;
    begin();
    for (i = 0; i < 40; i++) {
        fill(NAMES / 4);
        begin_order();
        if (i % 2) {
            pool_drain(loop.pool);
        }
        vset_drop(w.set);
        assert_null(w.waiter.order);
        make_set();
    }
    while (loop.ks->builds) {
        wait_for_some();
    }
    end();
}

static void a_dropped_set_has_no_order_that_was_not_finished(void **state)
{
    struct vset *set;
    uint64_t ticket;

    (void)state;
    begin();
    fill(NAMES);
    begin_order();
    ticket = epoch_enter(loop.ks->epoch);
    set = w.set;
    vset_drop(set);
    assert_false(name_order_is_ready(set));
    while (loop.ks->builds) {
        wait_for_some();
    }
    assert_false(name_order_is_ready(set));
    assert_false(name_order_is_building(set));
    epoch_leave(loop.ks->epoch, ticket);
    make_set();
    end();
}

static void a_database_may_be_flushed_while_orders_are_made(void **state)
{
    int i;

    (void)state;
    begin();
    for (i = 0; i < 40; i++) {
        struct entry *e = keyspace_add(loop.ks, 0, bytes_str("key"));

        fill(NAMES / 4);
        e->type = VALUE_VSET;
        e->encoding = ENC_VECTOR;
        e->value.vset = w.set;
        begin_order();
        if (i % 3 == 0) {
            wait_for_order();
        }
        keyspace_flush(loop.ks, -1);
        assert_null(w.waiter.order);
        make_set();
    }
    end();
}

static void the_keyspace_may_end_while_an_order_is_made(void **state)
{
    (void)state;
    begin();
    fill(NAMES / 2);
    begin_order();
    name_order_cancel_builds(loop.ks);
    assert_null(w.set->order);
    begin_order();
    end();
}

static void a_reader_may_stop_waiting(void **state)
{
    (void)state;
    begin();
    fill(NAMES / 2);
    assert_int_equal(name_order_begin(w.set), ERR_OK);
    name_order_wait(w.set, &w.waiter);
    name_order_stop_waiting(&w.waiter);
    name_order_stop_waiting(&w.waiter);
    wait_for_order();
    check_everything();
    end();
}

/* ---- without memory ---------------------------------------------------- */

/* An addition or removal with the n-th allocation failing; true when it or the
 * order felt it. */
static bool write_failing(uint32_t i, uint64_t n)
{
    enum err err;

    mem_fail_after(n);
    err = w.there[i] && rng_below(&w.rng, 2) ? try_take(i) : try_put(i);
    mem_fail_after(0);
    assert_true(!err || err == ERR_NOMEM);
    return err || !w.set->order;
}

static void an_order_that_cannot_note_a_change_is_dropped(void **state)
{
    int rounds = 0, dropped = 0;
    uint64_t n = 1;

    (void)state;
    begin();
    fill(NAMES / 2);
    while (rounds < 3000) {
        if (!w.set->order) {
            assert_int_equal(name_order_build(w.set), ERR_OK);
        }
        n = write_failing(any(), n) ? n + 1 : 1;
        dropped += !w.set->order;
        rounds++;
        if (rounds % 100 == 0) {
            vset_validate(w.set);
        }
        if (w.set->order) {
            check_some();
        }
    }
    assert_true(dropped > 20);
    end();
}

static void making_an_order_fails_cleanly_without_memory(void **state)
{
    size_t before;
    uint64_t n;

    (void)state;
    begin();
    fill(NAMES / 2);
    before = w.set->memory.bytes;
    for (n = 1; n <= 4; n++) {
        mem_fail_after(n);
        assert_int_equal(name_order_begin(w.set), ERR_NOMEM);
        mem_fail_after(0);
        assert_null(w.set->order);
        assert_int_equal(w.set->memory.bytes, before);
    }
    mem_set_limit(mem_used() + 1000);
    assert_int_equal(name_order_begin(w.set), ERR_LIMIT);
    assert_int_equal(name_order_build(w.set), ERR_LIMIT);
    mem_set_limit(0);
    assert_int_equal(name_order_build(w.set), ERR_OK);
    check_everything();
    mem_set_limit(1);
    keyspace_settle(loop.ks);
    mem_set_limit(0);
    assert_null(w.set->order);
    end();
}

/* ---- selecting --------------------------------------------------------- */

/* Writes between the steps of a selection, which must not see them. */
static void disturb(void)
{
    int i;

    for (i = 0; i < 20; i++) {
        if (rng_below(&w.rng, 2)) {
            put(any());
        } else {
            take(any());
        }
    }
}

static void check_selection(size_t want)
{
    uint32_t from = any(), to = any();
    struct name_range range = {
        .from = all.names[from],
        .to = all.names[to],
        .from_excluded = rng_below(&w.rng, 2),
        .to_excluded = rng_below(&w.rng, 2),
        .has_no_end = rng_below(&w.rng, 2),
    };
    uint64_t ticket = epoch_enter(loop.ks->epoch);
    static bool then[NAMES];
    struct name_select *s;
    uint32_t at, last;
    size_t i;

    memcpy(then, w.there, sizeof(then));
    last = range.has_no_end ? NAMES : to + !range.to_excluded;
    assert_int_equal(name_select_create(w.set, want, &s), ERR_OK);
    while (name_select_step(s, &range)) {
        disturb();
    }
    at = next_there(then, from + range.from_excluded);
    for (i = 0; i < name_select_count(s); i++) {
        assert_true(at < last);
        assert_true(bytes_equal(name_select_name(s, i), all.names[at]));
        at = next_there(then, at + 1);
    }
    if (i < want) {
        assert_true(at >= last);
    }
    if (!name_select_has_more(s)) {
        assert_true(at >= last);
    }
    name_select_destroy(s);
    epoch_leave(loop.ks->epoch, ticket);
}

static void a_selection_is_of_the_moment_it_was_begun(void **state)
{
    int i;

    (void)state;
    begin();
    for (i = 0; i < 150; i++) {
        if (i % 50 == 0) {
            fill(10 + (uint32_t)rng_below(&w.rng, NAMES * 2 / 3));
        }
        check_selection(1 + rng_below(&w.rng, i % 2 ? 20 : NAMES * 2));
        vset_settle_all(loop.ks->dbs[0]);
    }
    end();
}

static void a_selection_makes_do_with_the_memory_there_is(void **state)
{
    struct name_range range = {.has_no_end = true};
    struct name_select *s;
    size_t seen = 0;
    bool more = true;
    struct buf last = BUF_INIT;
    uint32_t at;

    (void)state;
    begin();
    fill(NAMES * 9 / 10);
    at = next_there(w.there, 0);
    mem_set_limit(1);
    while (more) {
        size_t i;

        assert_int_equal(name_select_create(w.set, NAMES, &s), ERR_OK);
        while (name_select_step(s, &range)) {
        }
        assert_true(name_select_count(s) < NAMES / 4);
        for (i = 0; i < name_select_count(s); i++) {
            assert_true(bytes_equal(name_select_name(s, i), all.names[at]));
            at = next_there(w.there, at + 1);
            seen++;
        }
        last.len = 0;
        buf_append_bytes(&last, name_select_name(s, i - 1));
        range.from = buf_bytes(&last);
        range.from_excluded = true;
        more = name_select_has_more(s);
        name_select_destroy(s);
    }
    mem_set_limit(0);
    assert_int_equal(seen, w.count);
    buf_deinit(&last);
    end();
}

/* ---- sorting ----------------------------------------------------------- */

static void check_sort(uint32_t n, uint32_t budget_max)
{
    struct name_record *records = mem_alloc(NAMES * sizeof(*records));
    struct name_view view;
    struct name_sort sort;
    uint32_t used = 0, at = 0, i;

    fill(n);
    name_view_take(&view, &w.set->elements);
    for (i = 0; i < view.slots.n_slots; i++) {
        if (slots_view_sees(&view.slots, i)) {
            records[used++].slot = i;
        }
    }
    assert_int_equal(used, w.count);
    name_sort_begin(&sort, &view, records, used, rng_next(&w.rng));
    while (name_sort_step(&sort, 1 + (uint32_t)rng_below(&w.rng, budget_max))) {
    }
    at = next_there(w.there, 0);
    for (i = 0; i < used; i++) {
        assert_true(
            bytes_equal(name_view_get(&view, records[i].slot), all.names[at]));
        at = next_there(w.there, at + 1);
    }
    mem_free(records);
}

static void sorting_may_stop_after_any_step(void **state)
{
    uint32_t n;

    (void)state;
    begin();
    for (n = 0; n < 40; n++) {
        check_sort(n, 3);
    }
    check_sort(1000, 2);
    check_sort(NAMES, 1);
    check_sort(NAMES, 100000);
    end();
}

static int free_universe(void **state)
{
    (void)state;
    mem_free(all.text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            ranges_are_those_of_a_sorted_array_while_orders_come_and_go),
        cmocka_unit_test(an_order_knows_what_was_written_while_it_was_made),
        cmocka_unit_test(names_that_were_removed_in_a_row_are_passed_over),
        cmocka_unit_test(an_order_of_which_much_has_changed_is_dropped),
        cmocka_unit_test(an_order_nobody_used_for_a_minute_is_dropped),
        cmocka_unit_test(
            an_order_is_made_on_the_spot_while_a_worker_is_at_another),
        cmocka_unit_test(
            a_dropped_set_is_read_to_the_end_by_who_holds_a_ticket),
        cmocka_unit_test(a_set_may_go_while_its_order_is_made),
        cmocka_unit_test(a_dropped_set_has_no_order_that_was_not_finished),
        cmocka_unit_test(a_database_may_be_flushed_while_orders_are_made),
        cmocka_unit_test(the_keyspace_may_end_while_an_order_is_made),
        cmocka_unit_test(a_reader_may_stop_waiting),
        cmocka_unit_test(an_order_that_cannot_note_a_change_is_dropped),
        cmocka_unit_test(making_an_order_fails_cleanly_without_memory),
        cmocka_unit_test(a_selection_is_of_the_moment_it_was_begun),
        cmocka_unit_test(a_selection_makes_do_with_the_memory_there_is),
        cmocka_unit_test(sorting_may_stop_after_any_step),
    };

    return cmocka_run_group_tests(tests, NULL, free_universe);
}
