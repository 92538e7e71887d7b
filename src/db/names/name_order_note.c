/* What a set tells its order; see name_order.h. */
#include <string.h>

#include "db/names/name_order_impl.h"
#include "db/vset/vset_impl.h"

/* ---- marks ------------------------------------------------------------- */

static void mark_flip(uint64_t *bits, slot_id slot)
{
    bits[slot % NAME_MARKS / 64] ^= (uint64_t)1 << (slot % 64);
}

static bool grow_marks(struct name_order *o, uint32_t need)
{
    struct region *region = &o->set->memory;
    uint32_t cap = o->cap_marks ? o->cap_marks : 1;
    struct name_marks **marks;

    while (cap < need) {
        cap *= 2;
    }
    marks = region_alloc(region, cap * sizeof(struct name_marks *), 1);
    if (!marks) {
        return false;
    }
    memset(marks, 0, cap * sizeof(struct name_marks *));
    if (o->cap_marks) {
        memcpy(marks, o->marks, o->cap_marks * sizeof(struct name_marks *));
    }
    region_free(region, o->marks, o->cap_marks * sizeof(struct name_marks *),
                1);
    o->marks = marks;
    o->cap_marks = cap;
    return true;
}

/* The same as name_order_marks(), made when it is not there; NULL without
 * memory. */
static struct name_marks *marks_for(struct name_order *o, slot_id slot)
{
    uint32_t i = slot / NAME_MARKS;
    struct name_marks *m;

    if (i >= o->cap_marks && !grow_marks(o, i + 1)) {
        return NULL;
    }
    if (!o->marks[i]) {
        m = region_alloc(&o->set->memory, sizeof(*m), 1);
        if (!m) {
            return NULL;
        }
        memset(m, 0, sizeof(*m));
        o->marks[i] = m;
    }
    return o->marks[i];
}

/* ---- noting changes ---------------------------------------------------- */

static bool add(struct name_order *o, slot_id slot, struct bytes name)
{
    struct name_marks *m = marks_for(o, slot);

    if (!m || name_list_add(&o->added, name, slot) != ERR_OK) {
        return false;
    }
    mark_flip(m->added, slot);
    return true;
}

static bool make_stale(struct name_order *o, slot_id slot)
{
    struct name_marks *m = marks_for(o, slot);

    if (!m) {
        return false;
    }
    mark_flip(m->stale, slot);
    o->n_stale++;
    return true;
}

/* An element of the list moves to another slot. */
static bool move_added(struct name_order *o, slot_id old, slot_id slot,
                       struct bytes name)
{
    struct name_marks *m = marks_for(o, slot);

    if (!m) {
        return false;
    }
    name_list_replace(&o->added, name, slot);
    mark_flip(m->added, slot);
    mark_flip(name_order_marks(o, old)->added, old);
    return true;
}

/* What could not be noted, or is too much, ends the order. */
static void noted(struct vset *v, bool ok)
{
    const struct name_order *o = v->order;

    if (UNLIKELY(!ok ||
                 (!o->build && o->n_stale + o->added.count > o->changes_max))) {
        name_order_drop(v);
    }
}

void name_order_note_put(struct vset *v, slot_id old, slot_id slot,
                         struct bytes name)
{
    struct name_order *o = v->order;

    if (old == SLOT_NONE) {
        noted(v, add(o, slot, name));
    } else if (name_order_is_added(o, old)) {
        noted(v, move_added(o, old, slot, name));
    } else {
        noted(v, make_stale(o, old) && add(o, slot, name));
    }
}

void name_order_note_removed(struct vset *v, slot_id slot, struct bytes name)
{
    struct name_order *o = v->order;

    if (name_order_is_added(o, slot)) {
        name_list_remove(&o->added, name);
        mark_flip(name_order_marks(o, slot)->added, slot);
    } else {
        noted(v, make_stale(o, slot));
    }
}
