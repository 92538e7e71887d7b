/* The elements of a set in the order of their names, for VRANGE.
 *
 * A set finds names by hash and keeps no order. One is made when it is first
 * asked for, by a worker, from a view of the set and an epoch ticket, like a
 * search; it is a snapshot, an array of slots. From the moment of the view on
 * the set notes what changes, so that its contents are always
 *
 *     the snapshot, less the slots marked stale, merged with the list `added`.
 *
 * Removing an element of the snapshot marks its slot stale; a new element goes
 * to the list, as does one whose vector is replaced, since it moves to another
 * slot. When many have changed (an eighth of the set) or nobody has asked for a
 * minute, the order is dropped, and the next reader has another one made. A set
 * without an order pays one branch per write.
 *
 *     none ── begin ──▶ BUILDING ── the worker is done ──▶ READY
 *      ▲                    │                                │
 *      └──── drop: changes could not be noted, or READY and  ┘
 *            too much has changed, idle, memory is short
 *
 * A set that is dropped keeps its order, which changes no more: a reader that
 * holds a ticket may go on with it.
 *
 * Reading is by name: a reader that has been away goes on behind the last name
 * it saw, whatever has changed and whichever order is there now.
 *
 * thread loop, but for the worker's part. */
#ifndef VECTRA_DB_NAME_ORDER_H
#define VECTRA_DB_NAME_ORDER_H

#include "db/names/name_list.h"
#include "db/vset/vset.h"

struct name_order;

enum {
    NAME_ORDER_TAKE_MAX = 64,
    NAME_ORDER_IDLE_S = 60,
};

/* ---- having one -------------------------------------------------------- */

bool name_order_is_ready(const struct vset *v);
bool name_order_is_building(const struct vset *v);

/* Has a worker make an order of a set that has none.
 *
 * fails  ERR_NOMEM; ERR_LIMIT when it does not fit under maxmemory. */
enum err name_order_begin(struct vset *v) MUST_USE;

/* Makes one on the spot, also while a worker is at it.
 *
 * cost   0.1 to 0.3 us per element.
 * fails  as name_order_begin(). */
enum err name_order_build(struct vset *v) MUST_USE;

/* Told once when the order that is being made is ready, or will never be. */
struct name_order_waiter {
    void (*told)(struct name_order_waiter *w);
    struct name_order *order; /* NULL: waits for nothing */
    struct name_order_waiter *prev, *next;
};
void name_order_wait(struct vset *v, struct name_order_waiter *w);
void name_order_stop_waiting(struct name_order_waiter *w);

/* ---- reading one ------------------------------------------------------- */

/* Right until the set changes. */
struct name_order_cursor {
    uint32_t at; /* in the snapshot */
    struct name_list_place added;
};

/* To the first element whose name is not less than `name`, or with `past`
 * greater. The order is ready.
 *
 * cost   some microseconds; amortised over the removals since it was made. */
void name_order_seek(struct vset *v, struct bytes name, bool past,
                     struct name_order_cursor *c);

/* The next names, at most `max` (up to NAME_ORDER_TAKE_MAX); they are valid
 * until the set changes. None does not mean the end: where many elements have
 * been removed, a call may find nothing but them. */
size_t name_order_take(struct vset *v, struct name_order_cursor *c,
                       struct bytes *names, size_t max);
bool name_order_at_end(const struct vset *v, const struct name_order_cursor *c);

/* ---- what the set tells it --------------------------------------------- */

/* To be called only when the set has an order, just before the change. */
void name_order_note_put(struct vset *v, slot_id old, slot_id slot,
                         struct bytes name);
void name_order_note_removed(struct vset *v, slot_id slot, struct bytes name);

/* Forgets the order; one that is being made is thrown away when it is done. */
void name_order_drop(struct vset *v);

/* The set is unlinked: its order changes no more and nobody waits for it. */
void name_order_detach(struct vset *v);

/* Frees the order of a set that nobody looks at. thread any. */
void name_order_free(struct vset *v);

/* Bytes it takes, 0 without one. */
size_t name_order_bytes(const struct vset *v);

/* ---- all orders of a keyspace ------------------------------------------ */

/* Drops some orders that have not been used for a minute, or the least recently
 * used ones while memory is short. */
void name_order_settle(struct database *db, uint32_t now_s);

/* A database is emptied: nobody waits for orders of its sets. */
void name_order_detach_builds(struct keyspace *ks, const struct database *db);

/* Makes workers give up what they are making. */
void name_order_cancel_builds(struct keyspace *ks);

/* Ends what was being made when the workers ended. */
void name_order_end_builds(struct keyspace *ks);

/* Checks the invariants in name_order.c; aborts on a violation. */
void name_order_validate(const struct vset *v);

#endif
