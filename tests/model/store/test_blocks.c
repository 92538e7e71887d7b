/* Threads look at a set in which elements are added, removed and moved about:
 * each sees every row of its instant once, in the tail or in a block that was
 * owned then. */
#include "unit/cm.h"

#include <sched.h>

#include "base/hash.h"
#include "base/thread.h"
#include "store/elements.h"
#include "store/slots_blocks.h"

enum {
    NAMES = 3000,
    STEPS = 60000,
    READERS = 2,
    OWNED_MAX = 64,
    ROW_BYTES = 600, /* several large pages */
};

struct owner {
    uint32_t blocks[OWNED_MAX];
    uint32_t lanes[OWNED_MAX]; /* free ones */
    uint32_t n;
};

enum { IDLE, POSTED, DONE, END };

struct reader {
    struct thread *thread;
    _Atomic int state;
    struct slots_view view;
    struct owner owner;
    uint64_t ticket;
    uint64_t want_sum, sum;
    uint32_t want, n, torn;
};

struct world {
    struct region region;
    struct epoch *epoch;
    struct elements e;
    struct owner owner;
    uint64_t value[NAMES];
    uint64_t sum, next;
    struct rng rng;
    struct reader readers[READERS];
    uint32_t reads;
};

/* ---- readers ------------------------------------------------------------- */

static void look(struct reader *r, slot_id first, uint32_t n)
{
    slot_id slot;

    for (slot = first; slot < first + n && slot < r->view.n_slots; slot++) {
        uint64_t row[2];

        if (slots_view_sees(&r->view, slot)) {
            memcpy(row, row_map_at(&r->view.rows, slot), sizeof(row));
            r->torn += row[0] != ~row[1];
            r->sum += row[0];
            r->n++;
        }
    }
}

static void look_at_all(struct reader *r)
{
    struct slots_run run;
    slot_id at = 0;
    uint32_t i;

    r->sum = r->n = r->torn = 0;
    for (i = 0; i < r->owner.n; i++) {
        look(r, r->owner.blocks[i] * SLOTS_BLOCK, SLOTS_BLOCK);
    }
    while (slots_tail_next(&r->view, &at, &run)) {
        look(r, run.first, run.n);
    }
}

static void read_on(void *arg)
{
    struct reader *r = arg;
    int state;

    while ((state = atomic_load(&r->state)) != END) {
        if (state == POSTED) {
            look_at_all(r);
            atomic_store(&r->state, DONE);
        } else {
            sched_yield();
        }
    }
}

/* Takes what a reader found, and sends it off again. */
static void tend(struct world *w, struct reader *r)
{
    if (atomic_load(&r->state) == POSTED) {
        return;
    }
    if (atomic_load(&r->state) == DONE) {
        assert_int_equal(r->torn, 0);
        assert_int_equal(r->n, r->want);
        assert_int_equal(r->sum, r->want_sum);
        epoch_leave(w->epoch, r->ticket);
        elements_settle(&w->e);
        w->reads++;
    }
    r->ticket = epoch_enter(w->epoch);
    slots_view_take(&w->e.slots, &r->view);
    r->owner = w->owner;
    r->want = elements_count(&w->e);
    r->want_sum = w->sum;
    atomic_store(&r->state, POSTED);
}

/* ---- the loop ------------------------------------------------------------ */

static void free_attr(void *arg, void *attr)
{
    (void)arg;
    (void)attr;
}

static void lane_is_free(void *arg, slot_id slot)
{
    struct owner *o = arg;
    uint32_t i = 0;

    while (o->blocks[i] != slot / SLOTS_BLOCK) {
        i++;
        assert_true(i < o->n);
    }
    o->lanes[i] |= (uint32_t)1 << (slot % SLOTS_BLOCK);
}

static struct bytes name_of(uint32_t i, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 16, "%u", i));
}

static void put(struct world *w, uint32_t i)
{
    char text[16];
    struct bytes name = name_of(i, text);
    uint64_t hash = hash_bytes(name.data, name.len), row[2];
    slot_id slot;

    assert_int_equal(elements_begin(&w->e, name, hash,
                                    elements_find(&w->e, name, hash), &slot),
                     ERR_OK);
    row[0] = ++w->next;
    row[1] = ~row[0];
    memcpy(slots_row(&w->e.slots, slot), row, sizeof(row));
    elements_commit(&w->e, hash, slot, epoch_advance(w->epoch), true);
    w->sum += row[0] - w->value[i];
    w->value[i] = row[0];
}

static void take(struct world *w, uint32_t i)
{
    char text[16];
    struct bytes name = name_of(i, text);
    uint64_t hash = hash_bytes(name.data, name.len);
    slot_id slot = elements_find(&w->e, name, hash);

    if (slot != SLOT_NONE) {
        assert_int_equal(
            elements_remove(&w->e, hash, slot, epoch_advance(w->epoch)),
            ERR_OK);
        w->sum -= w->value[i];
        w->value[i] = 0;
    }
}

static void move(struct world *w)
{
    struct owner *o = &w->owner;
    uint32_t i = (uint32_t)rng_below(&w->rng, o->n + 1);
    slot_id slot, lane;

    if (i == o->n || !o->lanes[i]) {
        return;
    }
    slot = elements_random(&w->e, &w->rng);
    lane = o->blocks[i] * SLOTS_BLOCK + (slot_id)__builtin_ctz(o->lanes[i]);
    o->lanes[i] &= o->lanes[i] - 1;
    assert_int_equal(elements_move(&w->e, elements_hash(&w->e, slot), slot,
                                   lane, epoch_advance(w->epoch)),
                     ERR_OK);
}

static void tend_blocks(struct world *w)
{
    struct slots *s = &w->e.slots;
    struct owner *o = &w->owner;
    uint32_t i;

    if (o->n < OWNED_MAX) {
        assert_int_equal(slots_block_own(s, &o->blocks[o->n]), ERR_OK);
        o->lanes[o->n++] = UINT32_MAX;
    }
    for (i = 0; i < o->n; i++) {
        if (o->lanes[i] == UINT32_MAX && rng_below(&w->rng, 2)) {
            slots_block_give(s, o->blocks[i]);
            o->n--;
            o->blocks[i] = o->blocks[o->n];
            o->lanes[i] = o->lanes[o->n];
        }
    }
    slots_block_drain(s, (uint32_t)rng_below(&w->rng, slots_n_blocks(s)));
}

static void rest(struct world *w)
{
    uint64_t at = 0;
    uint32_t page = 0;

    while (slots_blocks_rest(&w->e.slots, &page)) {
    }
    do {
        elements_fit(&w->e, &at);
    } while (at);
    slots_trim(&w->e.slots);
}

static void step(struct world *w)
{
    uint32_t i = (uint32_t)rng_below(&w->rng, NAMES);

    switch (rng_below(&w->rng, 8)) {
    case 0:
        put(w, i);
        break;
    case 1:
        take(w, i);
        put(w, (uint32_t)rng_below(&w->rng, NAMES));
        break;
    case 2:
        tend_blocks(w);
        if (rng_below(&w->rng, 256) == 0) {
            rest(w);
        }
        break;
    default:
        move(w);
    }
}

static void threads_see_each_row_of_their_instant_once(void **state)
{
    static struct world w;
    const struct elements_ops ops = {.free_attr = free_attr, .arg = &w};
    const struct row_layout layout = {.row_bytes = ROW_BYTES};
    uint32_t i;
    int k;

    (void)state;
    cm_seed(&w.rng);
    region_init(&w.region, 0);
    w.epoch = epoch_create();
    elements_init(&w.e, &layout, &w.region, w.epoch, &ops);
    for (i = 0; i < NAMES; i++) {
        put(&w, i);
    }
    assert_int_equal(slots_blocks_begin(&w.e.slots, lane_is_free, &w.owner),
                     ERR_OK);
    for (k = 0; k < READERS; k++) {
        assert_int_equal(thread_start(&w.readers[k].thread, "reader", read_on,
                                      &w.readers[k]),
                         ERR_OK);
    }
    for (i = 0; i < STEPS || w.reads < 50; i++) {
        step(&w);
        for (k = 0; k < READERS && i % 8 == 0; k++) {
            tend(&w, &w.readers[k]);
        }
    }
    elements_validate(&w.e);
    for (k = 0; k < READERS; k++) {
        struct reader *r = &w.readers[k];

        while (atomic_load(&r->state) == POSTED) {
            sched_yield();
        }
        epoch_leave(w.epoch, r->ticket);
        atomic_store(&r->state, END);
        thread_join(r->thread);
    }
    assert_true(elements_settle(&w.e));
    elements_validate(&w.e);
    elements_deinit(&w.e);
    epoch_destroy(w.epoch);
    assert_int_equal(w.region.bytes, 0);
    region_deinit(&w.region);
}

/* Everything goes, and comes again. */
static void pages_that_are_not_used_sleep_until_they_are_K5(void **state)
{
    static struct world w;
    const struct elements_ops ops = {.free_attr = free_attr, .arg = &w};
    const struct row_layout layout = {.row_bytes = 3 * ROW_BYTES,
                                      .side_bytes = 9};
    struct slots *s = &w.e.slots;
    size_t awake, given;
    uint32_t i, round;

    (void)state;
    cm_seed(&w.rng);
    region_init(&w.region, 0);
    w.epoch = epoch_create();
    elements_init(&w.e, &layout, &w.region, w.epoch, &ops);
    for (i = 0; i < NAMES; i++) {
        put(&w, i);
    }
    assert_int_equal(slots_blocks_begin(s, lane_is_free, &w.owner), ERR_OK);
    for (round = 0; round < 3; round++) {
        rest(&w);
        assert_int_equal(slots_asleep_bytes(s), 0);
        for (i = 0; i < NAMES; i++) {
            take(&w, i);
        }
        assert_true(elements_settle(&w.e));
        for (i = 0; i < slots_n_blocks(s); i++) {
            slots_block_drain(s, i);
        }
        awake = w.region.bytes;
        rest(&w);
        given = slots_asleep_bytes(s);
        assert_true(given > awake / 3);
        assert_true(w.region.bytes <= awake - given);
        elements_validate(&w.e);
        for (i = 0; i < (round == 1 ? NAMES / 4 : NAMES); i++) {
            put(&w, i);
        }
        elements_validate(&w.e);
        assert_true(slots_asleep_bytes(s) <= given);
        assert_true(round == 1 || slots_asleep_bytes(s) == 0);
        for (; i < NAMES; i++) {
            put(&w, i);
        }
    }
    for (i = 0; i < NAMES; i++) {
        take(&w, i);
    }
    assert_true(elements_settle(&w.e));
    for (i = 0; i < slots_n_blocks(s); i++) {
        slots_block_drain(s, i);
    }
    rest(&w);
    assert_true(slots_asleep_bytes(s) > 0);
    if (rng_below(&w.rng, 2)) {
        slots_blocks_end(s);
        elements_validate(&w.e);
        put(&w, 1);
    }
    elements_deinit(&w.e);
    epoch_destroy(w.epoch);
    assert_int_equal(w.region.bytes, 0);
    region_deinit(&w.region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_see_each_row_of_their_instant_once),
        cmocka_unit_test(pages_that_are_not_used_sleep_until_they_are_K5),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
