/* The write sequence, the readers under way, and what may be reclaimed when.
 *
 * Every write takes the next number of one global sequence. A search is
 * dispatched by the loop thread at the sequence current then and sees exactly
 * the writes up to it, however long it waits or runs. While it is under way it
 * holds a ticket; memory it might look at is retired and freed only when every
 * ticket issued before the retirement has come back.
 *
 * The usual epoch scheme has each reader announce itself with a store and a
 * fence. Here dispatch and completion both happen on the loop thread, so the
 * loop keeps the book alone and a reader does nothing at all: no announcement,
 * no fence, no shared write. The queue that carries a task to a worker and the
 * one that carries it back give the ordering.
 *
 *  E1  Tickets are closed in any order; `oldest` is the first one still open.
 *  E2  An object retired when the next ticket was t is freed once every ticket
 *      below t is closed: at once when none is open.
 *  E3  Objects are freed in the order in which they were retired.
 *  E4  A hold keeps retired memory as a ticket does, and nothing else: what
 *      builds an index looks at rows that do not change, and asks for no
 *      instant. Writers need not mind it.
 *
 * thread loop only. */
#ifndef VECTRA_BASE_EPOCH_H
#define VECTRA_BASE_EPOCH_H

#include <stdbool.h>

#include "base/macros.h"

typedef uint64_t write_seq;

struct epoch;

/* Embedded in what is to be reclaimed. */
struct retired {
    void (*reclaim)(struct retired *r, void *arg);
    void *arg;
    struct retired *next;
    uint64_t ticket;
    uint64_t hold;
};

struct epoch *epoch_create(void);

/* No ticket may be open; what is still retired is reclaimed. */
void epoch_destroy(struct epoch *e);

/* The number of the last write; writes are numbered from 1. */
write_seq epoch_now(const struct epoch *e);

/* Takes the next number, for one write. */
write_seq epoch_advance(struct epoch *e);

/* Opens a ticket at the current sequence. */
uint64_t epoch_enter(struct epoch *e);
void epoch_leave(struct epoch *e, uint64_t ticket);

/* Opens and closes a hold. */
uint64_t epoch_hold(struct epoch *e);
void epoch_release(struct epoch *e, uint64_t hold);

/* True when no ticket is open: nobody else looks at anything. */
bool epoch_is_quiet(const struct epoch *e);

/* The sequence of the oldest open ticket, epoch_now() when there is none: what
 * died at or before it is invisible to everybody. */
write_seq epoch_oldest(const struct epoch *e);

/* Reclaims what it may, some thousands of them; so does every return of a
 * ticket, and every retirement. To be called now and then. */
void epoch_settle(struct epoch *e);

/* Calls reclaim(r, arg) when E2 allows, possibly before it returns. */
void epoch_retire(struct epoch *e, struct retired *r,
                  void (*reclaim)(struct retired *r, void *arg), void *arg);

#endif
