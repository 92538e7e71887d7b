/* Reading in the order of names; see name_order.h.
 *
 * Finding a name in the snapshot is a binary search, which needs names to
 * compare with; those of stale slots may be gone. It therefore goes by blocks
 * of NAME_BLOCK slots and compares with a block's head, the first slot in it
 * that is not stale. heads[] remembers where that was: what is stale stays so,
 * hence no slot is passed over twice, and a stretch of the snapshot that was
 * removed altogether costs one look per block. */
#include "db/names/name_order_impl.h"
#include "db/vset/vset_impl.h"

enum { LOOK_MAX = 1024 /* snapshot entries that one take looks at */ };

/* ---- finding ----------------------------------------------------------- */

static uint32_t block_end(const struct name_order *o, uint32_t block)
{
    return o->n - block * NAME_BLOCK > NAME_BLOCK ? (block + 1) * NAME_BLOCK
                                                  : o->n;
}

/* The place of a block's head, its end when all of it is stale. */
static uint32_t block_head(struct name_order *o, uint32_t block)
{
    uint32_t end = block_end(o, block);
    uint32_t at = block * NAME_BLOCK + o->heads[block];

    while (at < end && name_order_is_stale(o, o->slots[at])) {
        at++;
    }
    o->heads[block] = (uint16_t)(at - block * NAME_BLOCK);
    return at;
}

static slot_id probe_block(struct name_order *o, uint32_t block)
{
    uint32_t at = block_head(o, block);

    return at < block_end(o, block) ? o->slots[at] : SLOT_NONE;
}

static slot_id probe_slot(struct name_order *o, uint32_t at)
{
    return name_order_is_stale(o, o->slots[at]) ? SLOT_NONE : o->slots[at];
}

struct bound {
    struct bytes name;
    bool past;
};

static bool is_before(const struct name_order *o, slot_id slot,
                      const struct bound *b)
{
    int c = bytes_compare(elements_name(&o->set->elements, slot), b->name);

    return b->past ? c <= 0 : c < 0;
}

/* The first of lo .. hi - 1 that is not before the bound, or one that probe()
 * knows nothing of and that follows the last one before it; hi if there is
 * none. */
static uint32_t first_not_before(struct name_order *o, uint32_t lo, uint32_t hi,
                                 slot_id (*probe)(struct name_order *o,
                                                  uint32_t i),
                                 const struct bound *b)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        uint32_t at = mid;
        slot_id slot = probe(o, at);

        while (slot == SLOT_NONE && ++at < hi) {
            slot = probe(o, at);
        }
        if (slot != SLOT_NONE && is_before(o, slot, b)) {
            lo = at + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

void name_order_seek(struct vset *v, struct bytes name, bool past,
                     struct name_order_cursor *c)
{
    struct name_order *o = v->order;
    struct bound b = {name, past};
    uint32_t block =
        first_not_before(o, 0, name_order_blocks(o), probe_block, &b);

    ASSERT(!o->build);
    name_order_use(o);
    c->added = name_list_find(&o->added, name, past);
    c->at = 0;
    if (block > 0) {
        c->at = first_not_before(o, (block - 1) * NAME_BLOCK,
                                 block_end(o, block - 1), probe_slot, &b);
    }
}

/* Some slots of the snapshot in a row, stale ones left out, with their names.
 */
struct stretch {
    uint32_t n;
    uint32_t end; /* where the next one begins */
    uint32_t at[NAME_ORDER_TAKE_MAX];
    struct bytes names[NAME_ORDER_TAKE_MAX];
};

/* Reads names that lie anywhere: first all references, then all names, so that
 * the cache misses of each step overlap. */
static void read_names(const struct name_order *o, struct stretch *s)
{
    const struct elements *e = &o->set->elements;
    name_ref refs[NAME_ORDER_TAKE_MAX];
    uint32_t i, row;

    for (i = 0; i < s->n; i++) {
        const struct page *p = slots_page(&e->slots, o->slots[s->at[i]], &row);

        refs[i] = p->names[row];
    }
    for (i = 0; i < s->n; i++) {
        s->names[i] = name_heap_get(&e->names, refs[i]);
    }
}

static void read_stretch(struct name_order *o, uint32_t at, size_t max,
                         struct stretch *s)
{
    uint32_t look_end = o->n - at > LOOK_MAX ? at + LOOK_MAX : o->n;

    s->n = 0;
    while (at < look_end && s->n < max) {
        uint32_t block = at / NAME_BLOCK;
        uint32_t head = block * NAME_BLOCK + o->heads[block];

        if (at < head) {
            at = head; /* O3 */
        } else if (name_order_is_stale(o, o->slots[at])) {
            o->heads[block] += at == head;
            at++;
        } else {
            s->at[s->n++] = at++;
        }
    }
    s->end = at;
    read_names(o, s);
}

size_t name_order_take(struct vset *v, struct name_order_cursor *c,
                       struct bytes *names, size_t max)
{
    struct name_order *o = v->order;
    slot_id added = name_list_at(&o->added, c->added);
    struct bytes next = BYTES_NONE;
    struct stretch s;
    uint32_t i = 0;
    size_t n = 0;

    ASSERT(!o->build && max <= NAME_ORDER_TAKE_MAX);
    read_stretch(o, c->at, max, &s);
    if (added != SLOT_NONE) {
        next = elements_name(&v->elements, added);
    }
    while (n < max && (i < s.n || added != SLOT_NONE)) {
        if (i == s.n && s.end < o->n) {
            break; /* what comes next in the snapshot may be smaller */
        }
        if (added == SLOT_NONE ||
            (i < s.n && bytes_compare(s.names[i], next) < 0)) {
            names[n++] = s.names[i++];
            continue;
        }
        names[n++] = next;
        c->added = name_list_next(&o->added, c->added);
        added = name_list_at(&o->added, c->added);
        if (added != SLOT_NONE) {
            next = elements_name(&v->elements, added);
        }
    }
    c->at = i < s.n ? s.at[i] : s.end;
    return n;
}

bool name_order_at_end(const struct vset *v, const struct name_order_cursor *c)
{
    return c->at == v->order->n && c->added.block == v->order->added.n_blocks;
}

/* ---- checking ---------------------------------------------------------- */

/* O1, O3, and that what is stale or left is all there is; returns how many of
 * the snapshot are not stale. */
static uint32_t validate_snapshot(const struct name_order *o)
{
    const struct elements *e = &o->set->elements;
    struct bytes last = BYTES_NONE;
    uint32_t at, left = 0;

    for (at = 0; at < o->n; at++) {
        slot_id slot = o->slots[at];
        struct bytes name;

        if (at % NAME_BLOCK < o->heads[at / NAME_BLOCK]) {
            ASSERT(name_order_is_stale(o, slot));
        }
        if (name_order_is_stale(o, slot)) {
            continue;
        }
        ASSERT(slots_is_live(&e->slots, slot) && !name_order_is_added(o, slot));
        name = elements_name(e, slot);
        ASSERT(left == 0 || bytes_compare(last, name) < 0);
        last = name;
        left++;
    }
    ASSERT(left + o->n_stale == o->n);
    return left;
}

void name_order_validate(const struct vset *v)
{
    const struct name_order *o = v->order;
    uint32_t n_stale = 0, n_added = 0;
    slot_id slot;

    if (!o) {
        return;
    }
    ASSERT(o->set == v);
    name_list_validate(&o->added);
    for (slot = 0; slot < v->elements.slots.n_slots; slot++) {
        n_stale += name_order_is_stale(o, slot);
        n_added += name_order_is_added(o, slot);
        ASSERT(!name_order_is_added(o, slot) ||
               slots_is_live(&v->elements.slots, slot));
    }
    ASSERT(n_stale == o->n_stale && n_added == o->added.count);
    /* Of the same number and without a slot in common: O2. */
    ASSERT(o->n - o->n_stale + o->added.count == vset_count(v));
    if (!o->build) {
        ASSERT(validate_snapshot(o) + o->added.count == vset_count(v));
    }
}
