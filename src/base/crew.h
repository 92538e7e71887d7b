/* Units of work that a pool's workers do for one thread, which goes on
 * meanwhile and asks for them one by one:
 *
 *     u->run = fn;
 *     crew_begin(pool, u);      fn(u, worker), on some worker
 *     ...
 *     crew_wait(u);             it has been done, and is its owner's again
 *
 * What the thread wrote before it began a unit the unit sees, and what the unit
 * wrote is seen by the thread that waited for it.
 *
 * Who waits holds up everybody who waits for that thread: a unit is to be a few
 * milliseconds at most, and waits for nothing.
 *
 * thread crew_*(): the loop, or who holds the loop's baton (base/baton.h). */
#ifndef VECTRA_BASE_CREW_H
#define VECTRA_BASE_CREW_H

#include "base/pool.h"

struct crew_unit {
    void (*run)(struct crew_unit *u, struct worker *w);
    struct task task;       /* from here on: the crew's */
    _Atomic uint32_t state; /* a futex word */
};

/* Has a unit run. It stays where it is until it has been waited for. */
void crew_begin(struct pool *pool, struct crew_unit *u);
void crew_wait(struct crew_unit *u);

#endif
