/* Elements against a twin that copies everything.
 *
 * Random additions, replacements, removals and attribute changes, with searches
 * under way: each remembers a copy of the whole set at its sequence and must
 * see exactly that, whatever happens before it ends. */
#include "unit/cm.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/mem_map.h"
#include "store/elements.h"

enum {
    NAMES = 300,
    STEPS = 30000,
    VIEWS = 6,
    ROW_BYTES = 12,
};

/* The obviously right twin: what each name stands for, 0 for not there. The
 * value is stored as the row's content. */
struct twin {
    uint64_t value[NAMES];
};

struct view {
    bool open;
    uint64_t ticket;
    struct slots_view slots;
    struct twin then;
};

struct model {
    struct region region;
    struct epoch *epoch;
    struct elements e;
    struct twin now;
    struct view views[VIEWS];
    uint64_t next_value;
    uint32_t count;
    struct rng rng;
};

static void free_attr(void *arg, void *attr)
{
    struct model *m = arg;

    region_free(&m->region, attr, sizeof(uint64_t), 1);
}

static void begin(struct model *m)
{
    struct elements_ops ops = {.free_attr = free_attr, .arg = m};
    const struct row_layout layout = {.row_bytes = ROW_BYTES};

    memset(m, 0, sizeof(*m));
    cm_seed(&m->rng);
    region_init(&m->region, 0);
    m->epoch = epoch_create();
    elements_init(&m->e, &layout, &m->region, m->epoch, &ops);
}

static struct bytes name_of(uint32_t i, char *text)
{
    /* Some long ones, which have blocks of their own. */
    return bytes_of(text,
                    (size_t)snprintf(text, 600, "%0*u",
                                     i % 50 == 7 ? 500 : 1 + (int)i % 9, i));
}

static uint64_t hash_of(struct bytes name)
{
    return hash_bytes(name.data, name.len);
}

static void put(struct model *m, uint32_t i, bool abort)
{
    char text[600];
    struct bytes name = name_of(i, text);
    uint64_t hash = hash_of(name);
    slot_id old = elements_find(&m->e, name, hash);
    uint64_t value = ++m->next_value;
    bool keep = rng_below(&m->rng, 2);
    slot_id slot;

    assert_int_equal(old != SLOT_NONE, m->now.value[i] != 0);
    assert_int_equal(elements_begin(&m->e, name, hash, old, &slot), ERR_OK);
    memcpy(slots_row(&m->e.slots, slot), &value, sizeof(value));
    if (abort) {
        elements_abort(&m->e, hash, slot);
        return;
    }
    if (!keep && rng_below(&m->rng, 2)) {
        uint64_t *attr = region_alloc(&m->region, sizeof(*attr), 1);

        *attr = value;
        assert_int_equal(elements_reserve_attr(&m->e, slot), ERR_OK);
        elements_set_attr(&m->e, slot, attr);
    }
    elements_commit(&m->e, hash, slot, epoch_advance(m->epoch), keep);
    m->count += old == SLOT_NONE;
    m->now.value[i] = value;
}

static void take(struct model *m, uint32_t i)
{
    char text[600];
    struct bytes name = name_of(i, text);
    slot_id slot = elements_find(&m->e, name, hash_of(name));

    assert_int_equal(slot != SLOT_NONE, m->now.value[i] != 0);
    if (slot != SLOT_NONE) {
        assert_int_equal(elements_remove(&m->e, hash_of(name), slot,
                                         epoch_advance(m->epoch)),
                         ERR_OK);
        m->now.value[i] = 0;
        m->count--;
    }
}

static void open_view(struct model *m, struct view *v)
{
    v->open = true;
    v->ticket = epoch_enter(m->epoch);
    slots_view_take(&m->e.slots, &v->slots);
    v->then = m->now;
}

/* What the view sees is what there was, no more, no less, names included. */
static void check_view(struct model *m, struct view *v)
{
    struct twin seen = {{0}};
    slot_id slot;

    for (slot = 0; slot < v->slots.n_slots; slot++) {
        struct row_place at = row_place(v->slots.geometry, slot);
        const struct page *p = v->slots.pages[at.page];
        struct bytes name;
        uint64_t value;
        char text[600];
        uint32_t i;

        if (!slots_view_sees(&v->slots, slot)) {
            continue;
        }
        name = name_heap_get(&m->e.names, p->names[at.row]);
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        i = (uint32_t)strtoul(text, NULL, 10);
        memcpy(&value, p->rows + at.row * ROW_BYTES, sizeof(value));
        assert_int_equal(seen.value[i], 0); /* twice is wrong too */
        seen.value[i] = value;
    }
    assert_memory_equal(&seen, &v->then, sizeof(seen));
}

static void close_view(struct model *m, struct view *v)
{
    check_view(m, v);
    v->open = false;
    epoch_leave(m->epoch, v->ticket);
}

static void check_now(struct model *m)
{
    uint32_t i;

    elements_validate(&m->e);
    assert_int_equal(elements_count(&m->e), m->count);
    for (i = 0; i < NAMES; i++) {
        char text[600];
        struct bytes name = name_of(i, text);
        slot_id slot = elements_find(&m->e, name, hash_of(name));
        uint64_t value;

        assert_int_equal(slot != SLOT_NONE, m->now.value[i] != 0);
        if (slot != SLOT_NONE) {
            memcpy(&value, slots_row(&m->e.slots, slot), sizeof(value));
            assert_int_equal(value, m->now.value[i]);
            assert_true(bytes_equal(elements_name(&m->e, slot), name));
        }
    }
}

static void end(struct model *m)
{
    int i;

    for (i = 0; i < VIEWS; i++) {
        if (m->views[i].open) {
            close_view(m, &m->views[i]);
        }
    }
    assert_true(elements_settle(&m->e));
    check_now(m);
    elements_deinit(&m->e);
    epoch_destroy(m->epoch);
    assert_int_equal(m->region.bytes, 0);
    region_deinit(&m->region);
}

static void step(struct model *m, bool with_views)
{
    uint32_t i = (uint32_t)rng_below(&m->rng, NAMES);
    struct view *v = &m->views[rng_below(&m->rng, VIEWS)];

    switch (rng_below(&m->rng, 10)) {
    case 0:
        put(m, i, true);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        put(m, i, false);
        break;
    case 5:
    case 6:
    case 7:
        take(m, i);
        break;
    case 8:
        if (with_views && !v->open) {
            open_view(m, v);
        } else if (with_views) {
            check_view(m, v);
        }
        break;
    default:
        if (v->open && rng_below(&m->rng, 2)) {
            close_view(m, v);
        }
        elements_settle(&m->e);
        break;
    }
}

static void run(bool with_views)
{
    static struct model m;
    int i;

    begin(&m);
    for (i = 0; i < STEPS; i++) {
        step(&m, with_views);
        if (i % 500 == 0) {
            check_now(&m);
        }
    }
    end(&m);
}

static void a_quiet_set_holds_what_was_put_into_it(void **state)
{
    (void)state;
    run(false);
}

static void every_search_sees_the_set_as_it_was_when_it_began(void **state)
{
    (void)state;
    run(true);
}

static void churn_does_not_grow_a_quiet_set(void **state)
{
    static struct model m;
    size_t bytes;
    int round;
    uint32_t i;

    (void)state;
    begin(&m);
    for (i = 0; i < NAMES; i++) {
        put(&m, i, false);
    }
    for (i = 0; i < NAMES; i++) {
        put(&m, i, false);
    }
    bytes = m.region.bytes;
    for (round = 0; round < 100; round++) {
        for (i = 0; i < NAMES; i++) {
            if ((i + (uint32_t)round) % 3) {
                take(&m, i);
            }
        }
        for (i = 0; i < NAMES; i++) {
            put(&m, i, false);
        }
    }
    /* Attributes come and go at random; rows, names and table do not grow. */
    assert_true(m.region.bytes <= bytes + NAMES * 24);
    assert_true(m.e.slots.n_slots <= NAMES + 1);
    end(&m);
}

static void slots_are_used_again_while_searches_keep_coming(void **state)
{
    static struct model m;
    uint32_t i;
    int round;

    (void)state;
    begin(&m);
    for (i = 0; i < NAMES; i++) {
        put(&m, i, false);
    }
    /* There is always a search under way, never an old one. */
    open_view(&m, &m.views[0]);
    for (round = 0; round < 300; round++) {
        for (i = 0; i < NAMES; i += 3) {
            take(&m, i);
            put(&m, i, false);
        }
        open_view(&m, &m.views[1 + round % 2]);
        close_view(&m, &m.views[round ? 2 - round % 2 : 0]);
    }
    assert_true(m.e.slots.n_slots < NAMES * 3);
    end(&m);
}

/* Adds or replaces with the n-th allocation failing; true when it failed. */
static bool put_failing(struct model *m, uint32_t i, uint64_t n)
{
    char text[600];
    struct bytes name = name_of(i, text);
    uint64_t hash = hash_of(name);
    slot_id old = elements_find(&m->e, name, hash);
    slot_id slot;
    enum err err;

    mem_fail_after(n);
    err = elements_begin(&m->e, name, hash, old, &slot);
    mem_fail_after(0);
    if (err) {
        assert_int_equal(err, ERR_NOMEM);
        return true;
    }
    elements_abort(&m->e, hash, slot);
    return false;
}

static void a_failed_allocation_leaves_the_elements_as_they_were(void **state)
{
    static struct model m;
    size_t failures = 0;
    uint32_t i;

    (void)state;
    begin(&m);
    open_view(&m, &m.views[0]);
    for (i = 0; i < NAMES; i++) {
        uint64_t n = 1;

        while (put_failing(&m, i, n)) {
            failures++;
            n++;
            check_now(&m);
        }
        put(&m, i, false);
        if (i % 10 == 0) {
            close_view(&m, &m.views[0]);
            open_view(&m, &m.views[0]);
        }
    }
    assert_true(failures > 20);
    end(&m);
}

/* ---- pages ahead --------------------------------------------------------- */

struct expected {
    void *memory[128];
    size_t n;
};

static void expect(void *arg, void *memory, size_t bytes)
{
    struct expected *x = arg;

    assert_true(x->n < sizeof(x->memory) / sizeof(x->memory[0]));
    x->memory[x->n++] = memory;
    memset(memory, 1, bytes);
    mem_touch(memory, bytes);
    assert_int_equal(((uint8_t *)memory)[bytes - 1], 1);
}

static void a_large_set_expects_the_pages_it_takes_next(void **state)
{
    enum { WIDE = 32 * 1024, BIG_PAGES = 3 * SLOTS_AHEAD_SHARE };
    struct expected x = {.n = 0};
    struct slots_ops ops = {.expect = expect, .arg = &x};
    struct row_layout layout = {.row_bytes = WIDE, .side_bytes = WIDE / 8};
    struct epoch *epoch = epoch_create();
    struct region region;
    struct slots s;
    size_t i;

    (void)state;
    region_init(&region, 0);
    slots_init(&s, &layout, &region, epoch, &ops);
    while (s.n_pages < s.geometry.small_pages + BIG_PAGES) {
        uint32_t before = s.n_pages;

        assert_int_equal(
            slots_extend(&s, row_page_first(&s.geometry, s.n_pages) + 1),
            ERR_OK);
        assert_int_equal(s.n_pages, before + 1);
        assert_true(s.n_ahead * SLOTS_AHEAD_SHARE <= s.n_pages);
    }
    assert_int_equal(s.n_ahead, SLOTS_AHEAD_MAX);
    assert_true(x.n > s.n_ahead);
    for (i = 0; i < x.n; i++) {
        size_t page = s.n_pages + s.n_ahead - x.n + i;
        const uint8_t *rows = page < s.n_pages
                                  ? s.dir->rows[page]
                                  : s.ahead[page - s.n_pages]->rows;

        assert_ptr_equal(rows, x.memory[i]);
    }
    slots_deinit(&s);
    epoch_destroy(epoch);
    assert_int_equal(region.bytes, 0);
    region_deinit(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_set_holds_what_was_put_into_it),
        cmocka_unit_test(every_search_sees_the_set_as_it_was_when_it_began),
        cmocka_unit_test(churn_does_not_grow_a_quiet_set),
        cmocka_unit_test(slots_are_used_again_while_searches_keep_coming),
        cmocka_unit_test(a_failed_allocation_leaves_the_elements_as_they_were),
        cmocka_unit_test(a_large_set_expects_the_pages_it_takes_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
