/* Elements: see elements.h. */
#include "store/elements.h"

#include <string.h>

#include "base/hash.h"
#include "store/slots_impl.h"

static uint64_t hash_of_slot(uint64_t ref, void *arg)
{
    struct bytes name = elements_name(arg, (slot_id)ref);

    return hash_bytes(name.data, name.len);
}

static void fetch_name(uint64_t ref, int step, void *arg)
{
    const struct elements *e = arg;
    uint32_t row;
    const struct page *p = slots_page(&e->slots, (slot_id)ref, &row);

    if (step == 0) {
        __builtin_prefetch(&p->names[row]);
    } else {
        name_heap_prefetch(&e->names, p->names[row]);
    }
}

static struct page_attr *attr_at(const struct elements *e, slot_id slot)
{
    uint32_t row;
    struct page *p = slots_page(&e->slots, slot, &row);

    struct page_attr *attrs =
        atomic_load_explicit(&p->attrs, memory_order_acquire);

    return attrs ? &attrs[row] : NULL;
}

static bool slot_released(void *arg, slot_id slot, uint32_t kept)
{
    struct elements *e = arg;
    uint32_t row;
    struct page *p = slots_page(&e->slots, slot, &row);
    void *attr;

    if (!(kept & SLOT_KEPT_NAME)) {
        name_heap_free(&e->names, p->names[row]);
    }
    attr = elements_attr(e, slot);
    if (attr) {
        elements_set_attr(e, slot, NULL);
        if (!(kept & SLOT_KEPT_ATTR)) {
            e->ops.free_attr(e->ops.arg, attr);
        }
    }
    return e->ops.holds && e->ops.holds(e->ops.arg, slot);
}

static void rows_expected(void *arg, void *memory, size_t bytes)
{
    struct elements *e = arg;

    e->ops.expect(e->ops.arg, memory, bytes);
}

void elements_init(struct elements *e, const struct row_layout *layout,
                   struct region *region, struct epoch *epoch,
                   const struct elements_ops *ops)
{
    struct slots_ops slots_ops = {.released = slot_released,
                                  .expect = ops->expect ? rows_expected : NULL,
                                  .arg = e};

    e->ops = *ops;
    e->pending_old = SLOT_NONE;
    slots_init(&e->slots, layout, region, epoch, &slots_ops);
    table_init(&e->table, 4, region, hash_of_slot, e);
    table_set_fetch(&e->table, fetch_name);
    name_heap_init(&e->names, region, epoch);
}

/* What only a slot refers to: its attribute and a long name. A slot whose name
 * or attribute went over to another one must leave it alone. */
static void free_slot_blocks(struct elements *e, slot_id slot, uint32_t kept)
{
    uint32_t row;
    struct page *p = slots_page(&e->slots, slot, &row);
    void *attr = elements_attr(e, slot);

    if (attr && !(kept & SLOT_KEPT_ATTR)) {
        e->ops.free_attr(e->ops.arg, attr);
    }
    if (!(kept & SLOT_KEPT_NAME) &&
        name_heap_is_long(&e->names, p->names[row])) {
        name_heap_free(&e->names, p->names[row]);
    }
}

void elements_deinit(struct elements *e)
{
    const struct slots *s = &e->slots;
    slot_id slot;
    uint32_t i;

    for (slot = 0; slot < s->n_slots; slot++) {
        if (slots_is_live(s, slot)) {
            free_slot_blocks(e, slot, 0);
        }
    }
    for (i = 0; i < s->limbo_len; i++) {
        const struct limbo_entry *l =
            &s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)];

        free_slot_blocks(e, l->slot, l->kept);
    }
    table_deinit(&e->table);
    name_heap_deinit(&e->names);
    slots_deinit(&e->slots);
}

struct bytes elements_name(const struct elements *e, slot_id slot)
{
    uint32_t row;
    const struct page *p = slots_page(&e->slots, slot, &row);

    return name_heap_get(&e->names, p->names[row]);
}

slot_id elements_find(const struct elements *e, struct bytes name,
                      uint64_t hash)
{
    struct table_probe probe;
    uint64_t ref;

    table_probe_start(&probe, &e->table, hash);
    while (table_probe_next(&probe, &ref)) {
        if (bytes_equal(elements_name(e, (slot_id)ref), name)) {
            return (slot_id)ref;
        }
    }
    return SLOT_NONE;
}

void elements_expect(const struct elements *e, uint64_t hash, int step)
{
    if (step == 0) {
        table_prefetch_segment(&e->table, hash);
    } else {
        table_prefetch(&e->table, hash);
    }
}

/* ---- adding and replacing ---------------------------------------------- */

size_t elements_add_cost(const struct elements *e, uint64_t hash,
                         size_t name_len)
{
    return slots_take_cost(&e->slots) + table_insert_cost(&e->table, hash) +
           name_heap_add_cost(&e->names, name_len);
}

/* Everything elements_commit() will need for moving `old` into `slot`. */
static enum err prepare_replace(struct elements *e, slot_id old, slot_id slot)
{
    enum err err = slots_prepare(&e->slots, old);

    if (!err && elements_attr(e, old)) {
        err = elements_reserve_attr(e, slot);
    }
    return err;
}

static enum err prepare_new(struct elements *e, struct bytes name,
                            uint64_t hash, slot_id slot)
{
    uint32_t row;
    struct page *p = slots_page(&e->slots, slot, &row);
    enum err err = name_heap_add(&e->names, name, &e->pending_name);

    if (err) {
        return err;
    }
    p->names[row] = e->pending_name;
    /* After the name: the table looks at names while it makes room. */
    err = table_insert(&e->table, hash, slot);
    if (err) {
        name_heap_free(&e->names, e->pending_name);
    }
    return err;
}

enum err elements_begin(struct elements *e, struct bytes name, uint64_t hash,
                        slot_id old, slot_id *slot)
{
    enum err err = slots_take(&e->slots, slot);

    if (err) {
        return err;
    }
    err = slots_prepare(&e->slots, *slot);
    if (!err) {
        err = old == SLOT_NONE ? prepare_new(e, name, hash, *slot)
                               : prepare_replace(e, old, *slot);
    }
    if (err) {
        slots_put_back(&e->slots);
        return err;
    }
    e->pending_old = old;
    return ERR_OK;
}

void elements_abort(struct elements *e, uint64_t hash, slot_id slot)
{
    if (e->pending_old == SLOT_NONE) {
        table_remove(&e->table, hash, slot);
        name_heap_free(&e->names, e->pending_name);
    }
    if (elements_attr(e, slot)) {
        elements_set_attr(e, slot, NULL);
    }
    slots_put_back(&e->slots);
    e->pending_old = SLOT_NONE;
}

/* The name of the element in a slot is to stand for another one. */
static void hand_over(struct elements *e, uint64_t hash, slot_id old,
                      slot_id slot, bool keep_attr)
{
    uint32_t row, old_row;
    struct page *p = slots_page(&e->slots, slot, &row);
    const struct page *from = slots_page(&e->slots, old, &old_row);

    p->names[row] = from->names[old_row];
    if (keep_attr && elements_attr(e, old)) {
        elements_set_attr(e, slot, elements_attr(e, old));
    }
    table_replace(&e->table, hash, old, slot);
}

void elements_commit(struct elements *e, uint64_t hash, slot_id slot,
                     write_seq seq, bool keep_attr)
{
    slot_id old = e->pending_old;

    e->pending_old = SLOT_NONE;
    if (old != SLOT_NONE) {
        hand_over(e, hash, old, slot, keep_attr);
    }
    slots_publish(&e->slots, seq);
    if (old != SLOT_NONE) {
        slots_kill(&e->slots, old, seq,
                   SLOT_KEPT_NAME | (keep_attr ? SLOT_KEPT_ATTR : 0));
    }
}

enum err elements_remove(struct elements *e, uint64_t hash, slot_id slot,
                         write_seq seq)
{
    enum err err = slots_prepare(&e->slots, slot);

    if (err) {
        return err;
    }
    ASSERT(table_remove(&e->table, hash, slot));
    slots_kill(&e->slots, slot, seq, 0);
    return ERR_OK;
}

/* ---- moving ------------------------------------------------------------ */

enum err elements_move(struct elements *e, uint64_t hash, slot_id from,
                       slot_id to, write_seq seq)
{
    struct slots *s = &e->slots;
    enum err err =
        elements_attr(e, from) ? elements_reserve_attr(e, to) : ERR_OK;

    if (!err) {
        err = slots_take_lane(s, from, to);
    }
    if (err) {
        return err;
    }
    memcpy(slots_row(s, to), slots_row(s, from), s->geometry.row_bytes);
    memcpy(slots_side(s, to), slots_side(s, from), s->geometry.side_bytes);
    hand_over(e, hash, from, to, true);
    slots_publish(s, seq);
    slots_kill(s, from, seq, SLOT_KEPT_NAME | SLOT_KEPT_ATTR);
    return ERR_OK;
}

uint64_t elements_hash(const struct elements *e, slot_id slot)
{
    return hash_of_slot(slot, (void *)(uintptr_t)e);
}

void elements_expect_hash(const struct elements *e, slot_id slot, int step)
{
    fetch_name(slot, step, (void *)(uintptr_t)e);
}

/* ---- attributes -------------------------------------------------------- */

void *elements_attr(const struct elements *e, slot_id slot)
{
    const struct page_attr *at = attr_at(e, slot);

    return at ? atomic_load_explicit(&at->of, memory_order_acquire) : NULL;
}

enum err elements_reserve_attr(struct elements *e, slot_id slot)
{
    struct row_place at = row_place(&e->slots.geometry, slot);
    struct page *p = e->slots.dir->pages[at.page];
    size_t bytes =
        row_page_count(&e->slots.geometry, at.page) * sizeof(struct page_attr);
    struct page_attr *attrs;

    if (atomic_load_explicit(&p->attrs, memory_order_relaxed)) {
        return ERR_OK;
    }
    attrs = region_alloc(e->slots.region, bytes, 1);
    if (!attrs) {
        return ERR_NOMEM;
    }
    memset(attrs, 0, bytes);
    atomic_store_explicit(&p->attrs, attrs, memory_order_release);
    return ERR_OK;
}

void elements_set_attr(struct elements *e, slot_id slot, void *attr)
{
    struct page_attr *at = attr_at(e, slot);

    ASSERT(at);
    atomic_store_explicit(&at->of, attr, memory_order_release);
}

/* ---- walking ----------------------------------------------------------- */

slot_id elements_random(const struct elements *e, struct rng *rng)
{
    const struct slots *s = &e->slots;
    uint64_t ref = 0;
    int tries;
    slot_id slot;

    ASSERT(s->n_live > 0);
    for (tries = 0; tries < 256; tries++) {
        slot = (slot_id)rng_below(rng, s->n_slots);
        if (slots_is_live(s, slot)) {
            return slot;
        }
    }
    /* A set that has lost nearly all it had: by name then, nearly uniform. */
    ASSERT(table_random(&e->table, rng, &ref));
    return (slot_id)ref;
}

bool elements_settle(struct elements *e)
{
    return slots_settle(&e->slots);
}

void elements_fit(struct elements *e, uint64_t *cursor)
{
    table_fit(&e->table, cursor);
}

void elements_validate(const struct elements *e)
{
    slot_id slot;

    slots_validate(&e->slots);
    table_validate(&e->table);
    ASSERT(e->table.count == e->slots.n_live);
    for (slot = 0; slot < e->slots.n_slots; slot++) {
        if (slots_is_live(&e->slots, slot)) {
            struct bytes name = elements_name(e, slot);

            ASSERT(elements_find(e, name, hash_bytes(name.data, name.len)) ==
                   slot);
        }
    }
}
