/* Elements against a twin that copies everything.
 *
 * Random additions, replacements, removals and attribute changes, with searches
 * under way: each remembers a copy of the whole set at its sequence and must
 * see exactly that, whatever happens before it ends. The same with an owner of
 * blocks who moves elements about, which nobody is to notice. */
#include "unit/cm.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/mem_map.h"
#include "store/elements.h"
#include "store/slots_blocks.h"

enum {
    NAMES = 300,
    STEPS = 30000,
    VIEWS = 6,
    ROW_BYTES = 12,
    WIDE_ROW_BYTES = 20000, /* so that few rows need many pages */
    OWNED_MAX = 40,
    HELD_MAX = 200,
};

/* The obviously right twin: what each name stands for, 0 for not there. The
 * value is stored as the row's content. */
struct twin {
    uint64_t value[NAMES];
};

/* Who owns blocks, and what he was told of their lanes. */
struct owner {
    uint32_t blocks[OWNED_MAX];
    uint32_t lanes[OWNED_MAX]; /* those free, a bit each */
    uint32_t n;
};

struct view {
    bool open;
    uint64_t ticket;
    struct slots_view slots;
    struct twin then;
    struct owner owner;
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
    struct owner owner;
    bool holds; /* an index holds some slots back */
    slot_id held[HELD_MAX];
    uint32_t n_held;
    uint32_t n_moved, n_pooled;
};

static void free_attr(void *arg, void *attr)
{
    struct model *m = arg;

    region_free(&m->region, attr, sizeof(uint64_t), 1);
}

static bool holds(void *arg, slot_id slot)
{
    struct model *m = arg;

    if (!m->holds || m->n_held == HELD_MAX || rng_below(&m->rng, 4)) {
        return false;
    }
    m->held[m->n_held++] = slot;
    return true;
}

static void begin_rows(struct model *m, uint32_t row_bytes)
{
    struct elements_ops ops = {
        .free_attr = free_attr, .holds = holds, .arg = m};
    const struct row_layout layout = {.row_bytes = row_bytes, .side_bytes = 4};

    memset(m, 0, sizeof(*m));
    cm_seed(&m->rng);
    region_init(&m->region, 0);
    m->epoch = epoch_create();
    elements_init(&m->e, &layout, &m->region, m->epoch, &ops);
}

static void begin(struct model *m)
{
    begin_rows(m, ROW_BYTES);
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
    memcpy(slots_side(&m->e.slots, slot), &value, 4);
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
    v->owner = m->owner;
}

static void count_run(const struct view *v, slot_id first, uint32_t n,
                      uint32_t *times)
{
    slot_id slot;

    for (slot = first; slot < first + n; slot++) {
        if (slot < v->slots.n_slots && slots_view_sees(&v->slots, slot)) {
            times[slot]++;
        }
    }
}

/* K2: the tail and the blocks that were owned have every row once. */
static void check_places(const struct view *v)
{
    uint32_t *times = calloc(v->slots.n_slots + 1, sizeof(*times));
    struct slots_run run;
    slot_id at = 0, slot;
    uint32_t i;

    while (slots_tail_next(&v->slots, &at, &run)) {
        struct row_place place = row_place(v->slots.geometry, run.first);

        assert_int_equal(place.page, run.page);
        assert_int_equal(place.row, run.row);
        assert_true(run.n > 0 &&
                    run.row + run.n <=
                        row_page_count(v->slots.geometry, run.page));
        count_run(v, run.first, run.n, times);
    }
    for (i = 0; i < v->owner.n; i++) {
        count_run(v, v->owner.blocks[i] * SLOTS_BLOCK, SLOTS_BLOCK, times);
    }
    for (slot = 0; slot < v->slots.n_slots; slot++) {
        assert_int_equal(times[slot], slots_view_sees(&v->slots, slot));
    }
    free(times);
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
        memcpy(&value, p->rows + (size_t)at.row * v->slots.geometry->row_bytes,
               sizeof(value));
        assert_memory_equal(p->side + (size_t)at.row * 4, &value, 4);
        assert_int_equal(seen.value[i], 0); /* twice is wrong too */
        seen.value[i] = value;
    }
    assert_memory_equal(&seen, &v->then, sizeof(seen));
    check_places(v);
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

static void free_held(struct model *m, bool together);

static void end(struct model *m)
{
    int i;

    m->holds = false;
    free_held(m, true);
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

/* ---- an owner of blocks -------------------------------------------------- */

static void lane_is_free(void *arg, slot_id slot)
{
    struct model *m = arg;
    uint32_t bit = (uint32_t)1 << (slot % SLOTS_BLOCK), i = 0;

    while (m->owner.blocks[i] != slot / SLOTS_BLOCK) {
        i++;
        assert_true(i < m->owner.n);
    }
    assert_false(m->owner.lanes[i] & bit);
    m->owner.lanes[i] |= bit;
}

static void begin_blocks(struct model *m)
{
    assert_int_equal(slots_blocks_begin(&m->e.slots, lane_is_free, m), ERR_OK);
}

static void end_blocks(struct model *m)
{
    slots_blocks_end(&m->e.slots);
    m->owner.n = 0;
}

static void own(struct model *m)
{
    struct owner *o = &m->owner;

    if (o->n < OWNED_MAX) {
        assert_int_equal(slots_block_own(&m->e.slots, &o->blocks[o->n]),
                         ERR_OK);
        o->lanes[o->n++] = UINT32_MAX;
    }
}

static void give_empty(struct model *m)
{
    struct owner *o = &m->owner;
    uint32_t i;

    for (i = 0; i < o->n; i++) {
        if (o->lanes[i] == UINT32_MAX) {
            slots_block_give(&m->e.slots, o->blocks[i]);
            o->n--;
            o->blocks[i] = o->blocks[o->n];
            o->lanes[i] = o->lanes[o->n];
        }
    }
}

static slot_id some_lane(struct model *m, uint32_t *block)
{
    struct owner *o = &m->owner;
    uint32_t tries;

    for (tries = 0; o->n > 0 && tries < 8; tries++) {
        uint32_t i = (uint32_t)rng_below(&m->rng, o->n);

        if (o->lanes[i]) {
            *block = i;
            return o->blocks[i] * SLOTS_BLOCK +
                   (slot_id)__builtin_ctz(o->lanes[i]);
        }
    }
    return SLOT_NONE;
}

static void move(struct model *m)
{
    uint32_t block;
    slot_id lane = some_lane(m, &block), slot;
    uint64_t hash;
    void *attr;

    if (lane == SLOT_NONE || m->count == 0) {
        return;
    }
    slot = elements_random(&m->e, &m->rng);
    hash = elements_hash(&m->e, slot);
    attr = elements_attr(&m->e, slot);
    m->owner.lanes[block] &= m->owner.lanes[block] - 1;
    assert_int_equal(
        elements_move(&m->e, hash, slot, lane, epoch_advance(m->epoch)),
        ERR_OK);
    assert_false(slots_is_live(&m->e.slots, slot));
    assert_true(slots_is_live(&m->e.slots, lane));
    assert_ptr_equal(elements_attr(&m->e, lane), attr);
    m->n_moved++;
}

static void free_held(struct model *m, bool together)
{
    struct slots *s = &m->e.slots;
    struct slot_bunch *b = NULL;

    if (together && m->n_held) {
        uint32_t words = s->n_slots / 64 + 1;

        b = slots_bunch_create(s, words);
        memset(b->bits, 0, words * sizeof(uint64_t));
    }
    while (m->n_held > 0) {
        slot_id slot = m->held[--m->n_held];

        if (b) {
            b->bits[slot / 64] |= (uint64_t)1 << (slot % 64);
            b->n++;
        } else {
            slots_free(s, slot);
        }
    }
    if (b) {
        slots_free_bunch(b);
    }
}

static void step_of_blocks(struct model *m)
{
    struct slots *s = &m->e.slots;
    uint32_t block = (uint32_t)rng_below(&m->rng, slots_n_blocks(s) + 1);
    int i;

    switch (rng_below(&m->rng, 16)) {
    case 0:
        own(m);
        break;
    case 1:
        give_empty(m);
        break;
    case 2:
        slots_block_drain(s, block);
        break;
    case 3:
        if (slots_block_kind(s, block) == BLOCK_DRAINING) {
            slots_block_keep(s, block);
        }
        break;
    case 4:
        free_held(m, rng_below(&m->rng, 2));
        break;
    case 5:
        if (rng_below(&m->rng, 50) == 0) {
            end_blocks(m);
            free_held(m, rng_below(&m->rng, 2));
            begin_blocks(m);
        }
        break;
    default:
        for (i = 0; i < 4; i++) {
            move(m);
        }
    }
    m->n_pooled += s->blocks->n_pool > 0;
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

static void run_blocks(uint32_t row_bytes, bool with_views)
{
    static struct model m;
    uint32_t i;

    begin_rows(&m, row_bytes);
    m.holds = true;
    for (i = 0; i < NAMES; i++) {
        put(&m, i, false);
    }
    begin_blocks(&m);
    for (i = 0; i < STEPS; i++) {
        step(&m, with_views);
        step_of_blocks(&m);
        if (i % 200 == 0) {
            check_now(&m);
        }
    }
    assert_true(m.n_moved > STEPS && m.n_pooled > 1000);
    end(&m);
}

static void nobody_notices_that_elements_are_moved(void **state)
{
    (void)state;
    run_blocks(ROW_BYTES, false);
    run_blocks(WIDE_ROW_BYTES, false);
}

static void searches_see_each_row_once_while_elements_are_moved(void **state)
{
    (void)state;
    run_blocks(ROW_BYTES, true);
    run_blocks(WIDE_ROW_BYTES, true);
}

/* All that is in general blocks is moved into owned ones, in the order of
 * slots: what is left behind is used for further ones, and the set does not
 * grow. */
static void a_set_is_put_in_order_in_the_memory_it_has(void **state)
{
    enum { MANY = 64 * NAMES };
    static struct model m;
    struct slots *s = &m.e.slots;
    uint32_t lanes = 0, block = 0, before;
    slot_id slot, end_slot;
    char text[32];
    uint32_t i;

    (void)state;
    begin_rows(&m, 2000);
    for (i = 0; i < MANY; i++) {
        struct bytes name =
            bytes_of(text, (size_t)snprintf(text, sizeof(text), "e%u", i));

        assert_int_equal(
            elements_begin(&m.e, name, hash_of(name), SLOT_NONE, &slot),
            ERR_OK);
        elements_commit(&m.e, hash_of(name), slot, epoch_advance(m.epoch),
                        false);
    }
    assert_int_equal(slots_blocks_begin(s, NULL, NULL), ERR_OK);
    before = s->n_slots;
    end_slot = s->n_slots;
    for (slot = 0; slot < end_slot; slot++) {
        if (slot % SLOTS_BLOCK == 0) {
            slots_block_drain(s, slot / SLOTS_BLOCK);
        }
        if (!lanes) {
            assert_int_equal(slots_block_own(s, &block), ERR_OK);
            lanes = UINT32_MAX;
        }
        assert_int_equal(
            elements_move(&m.e, elements_hash(&m.e, slot), slot,
                          block * SLOTS_BLOCK + (slot_id)__builtin_ctz(lanes),
                          epoch_advance(m.epoch)),
            ERR_OK);
        lanes &= lanes - 1;
    }
    elements_validate(&m.e);
    assert_int_equal(s->n_live, MANY);
    assert_int_equal(slots_tail_count(s), 0);
    assert_true(s->n_slots <= before + 4 * SLOTS_BLOCK);
    slots_blocks_end(s);
    assert_int_equal(slots_tail_count(s), s->n_slots);
    elements_validate(&m.e);
    elements_deinit(&m.e);
    epoch_destroy(m.epoch);
    assert_int_equal(m.region.bytes, 0);
    region_deinit(&m.region);
}

/* Moves with the n-th allocation failing; true when it failed. */
static bool move_failing(struct model *m, slot_id slot, slot_id lane,
                         uint64_t n)
{
    enum err err;

    mem_fail_after(n);
    err = elements_move(&m->e, elements_hash(&m->e, slot), slot, lane,
                        epoch_advance(m->epoch));
    mem_fail_after(0);
    assert_true(err == ERR_OK || err == ERR_NOMEM);
    return err != ERR_OK;
}

static void a_move_without_memory_does_nothing(void **state)
{
    static struct model m;
    size_t failures = 0;
    uint32_t i, block = 0;

    (void)state;
    begin_rows(&m, WIDE_ROW_BYTES);
    for (i = 0; i < NAMES; i++) {
        put(&m, i, false);
    }
    mem_fail_after(1);
    assert_int_equal(slots_blocks_begin(&m.e.slots, lane_is_free, &m),
                     ERR_NOMEM);
    mem_fail_after(2);
    assert_int_equal(slots_blocks_begin(&m.e.slots, lane_is_free, &m),
                     ERR_NOMEM);
    mem_fail_after(0);
    check_now(&m);
    begin_blocks(&m);
    for (i = 0; i < NAMES; i++) {
        slot_id lane = SLOT_NONE, slot = elements_random(&m.e, &m.rng);
        uint64_t n = 1;

        if (i % 8 == 0) {
            if (m.views[0].open) {
                close_view(&m, &m.views[0]);
            }
            open_view(&m, &m.views[0]);
            elements_settle(&m.e);
            own(&m);
        }
        while (lane == SLOT_NONE) {
            lane = some_lane(&m, &block);
        }
        m.owner.lanes[block] &= m.owner.lanes[block] - 1;
        for (; move_failing(&m, slot, lane, n); n++) {
            failures++;
            check_now(&m);
        }
    }
    assert_true(failures > 20);
    end(&m);
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
    void *memory[256];
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
    size_t i, bytes;

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
    assert_true(x.n / 2 > s.n_ahead);
    for (i = 0; i < x.n / 2; i++) { /* rows, and what is written of a page */
        size_t page = s.n_pages + s.n_ahead - x.n / 2 + i;
        struct page_room room =
            s.ahead[page < s.n_pages ? 0 : page - s.n_pages];

        if (page < s.n_pages) {
            room = (struct page_room){s.dir->pages[page],
                                      s.dir->pages[page]->rows};
        }
        assert_ptr_equal(room.rows, x.memory[2 * i]);
        assert_ptr_equal(room.page, x.memory[2 * i + 1]);
    }
    /* Where no more come they are given back, and are there again when some
     * do. */
    for (i = 0; i < SLOTS_AHEAD_KEPT; i++) {
        assert_false(slots_settle(&s));
    }
    bytes = region.bytes;
    assert_true(slots_settle(&s));
    assert_int_equal(s.n_ahead, 0);
    assert_int_equal(region.bytes,
                     bytes -
                         SLOTS_AHEAD_MAX * page_cost(&s.geometry, s.n_pages));
    assert_true(slots_settle(&s));
    x.n = 0;
    assert_int_equal(
        slots_extend(&s, row_page_first(&s.geometry, s.n_pages) + 1), ERR_OK);
    assert_int_equal(s.n_ahead, SLOTS_AHEAD_MAX);
    assert_false(slots_settle(&s));
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
        cmocka_unit_test(nobody_notices_that_elements_are_moved),
        cmocka_unit_test(searches_see_each_row_once_while_elements_are_moved),
        cmocka_unit_test(a_set_is_put_in_order_in_the_memory_it_has),
        cmocka_unit_test(a_move_without_memory_does_nothing),
        cmocka_unit_test(churn_does_not_grow_a_quiet_set),
        cmocka_unit_test(slots_are_used_again_while_searches_keep_coming),
        cmocka_unit_test(a_failed_allocation_leaves_the_elements_as_they_were),
        cmocka_unit_test(a_large_set_expects_the_pages_it_takes_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
