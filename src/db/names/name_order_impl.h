/* The inside of an order of names: shared by name_order*.c. */
#ifndef VECTRA_DB_NAME_ORDER_IMPL_H
#define VECTRA_DB_NAME_ORDER_IMPL_H

#include <stdatomic.h>

#include "db/names/name_order.h"
#include "db/names/name_sort.h"

enum { NAME_BLOCK = 256, NAME_MARKS = 4096 };

/* What happened to the slots of one stretch since the view; made when the first
 * of them changes. */
struct name_marks {
    uint64_t stale[NAME_MARKS / 64]; /* in the snapshot, and dead */
    uint64_t added[NAME_MARKS / 64]; /* in the list */
};

enum name_build_phase { NAME_COLLECT, NAME_SORT, NAME_FILL };

/* An order in the making. */
struct name_build {
    struct task task;
    struct completion completion;
    struct name_order *order;
    struct name_build *prev, *next; /* keyspace->builds */
    struct pool *pool;
    uint64_t ticket;
    _Atomic bool is_cancelled; /* set by the loop */
    /* the worker's from here on */
    enum name_build_phase phase;
    slot_id next_slot; /* to collect */
    uint32_t at;       /* in records: collected, or copied to the order */
    struct name_view view;
    struct name_sort sort;
    struct name_record records[];
};

/* Checked by name_order_validate():
 *
 *  O1  Names of snapshot slots that are not stale ascend strictly.
 *  O2  Every live slot is in the snapshot and not stale, or in the list and
 *      marked added; never both, nor neither.
 *  O3  The slots before a block's head are stale.
 *  O4  n_stale is the number of slots marked stale, all of them in the
 *      snapshot. */
struct name_order {
    struct vset *set;
    struct name_build *build; /* NULL: READY */
    /* The set, or the order, was dropped while it was made; or READY, and the
     * set was dropped. */
    bool is_unlinked;
    uint32_t used_s;
    struct name_order_waiter *waiters;
    struct name_order *prev, *next; /* when READY, in the database's list */

    uint32_t n; /* the snapshot's size */
    slot_id *slots;
    uint16_t *heads;

    /* what has changed since the view */
    struct name_marks **marks; /* by slot / NAME_MARKS; NULL: nothing there */
    uint32_t cap_marks;
    uint32_t n_stale;
    uint32_t changes_max;
    struct name_list added;
};

/* It was used just now. */
void name_order_use(struct name_order *o);

static inline uint32_t name_order_blocks(const struct name_order *o)
{
    return (o->n + NAME_BLOCK - 1) / NAME_BLOCK;
}

/* ---- marks ------------------------------------------------------------- */

static inline bool name_mark(const uint64_t *bits, slot_id slot)
{
    return bits[slot % NAME_MARKS / 64] >> (slot % 64) & 1;
}

/* NULL: no slot of that stretch has changed. */
static inline struct name_marks *name_order_marks(const struct name_order *o,
                                                  slot_id slot)
{
    uint32_t i = slot / NAME_MARKS;

    return i < o->cap_marks ? o->marks[i] : NULL;
}

static inline bool name_order_is_stale(const struct name_order *o, slot_id slot)
{
    const struct name_marks *m = name_order_marks(o, slot);

    return m && name_mark(m->stale, slot);
}

static inline bool name_order_is_added(const struct name_order *o, slot_id slot)
{
    const struct name_marks *m = name_order_marks(o, slot);

    return m && name_mark(m->added, slot);
}

#endif
