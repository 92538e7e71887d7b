/* How to wait for the next request: asleep, or by looking again and again.
 *
 * A thread that sleeps takes some time to wake, which one connection that asks
 * again as soon as it is answered waits for each time. Looking spares it that
 * where a processor would have nothing to do otherwise; where others want it,
 * looking keeps it from them, and who has looked is made to wait afterwards.
 * Nobody can say beforehand which it is. So both are tried in turn, by how long
 * it takes from one request to the next, and what did better is kept to for a
 * while, longer each time that the answer is the same.
 *
 * Looking that finds nothing is given up after a few times, so that it costs
 * little where clients ask now and then.
 *
 * Nothing here waits or reads a clock. thread one. */
#ifndef VECTRA_NET_LOOK_H
#define VECTRA_NET_LOOK_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOK_NS = 100000 }; /* that one may look for, at most */

enum look_way { LOOK_SLEEPS, LOOK_LOOKS };

struct look {
    enum look_way way; /* for now */
    enum { LOOK_TRY_SLEEP, LOOK_TRY_LOOK, LOOK_KEEP } stage;
    int64_t noticed_ns;   /* the last request, if it was by itself; or 0 */
    uint32_t n, misses;   /* of this stage: requests, looks for nothing */
    int64_t sum_ns;       /* of it: from one request to the next */
    int64_t mean_ns[2];   /* as last tried */
    uint32_t stretch;     /* requests for which the better is kept to */
    enum look_way better; /* as last tried */
};

/* Sleeps, and will see. */
void look_init(struct look *l);

/* A request has come. */
void look_note_request(struct look *l, int64_t now_ns);

/* Several have come at once, or something is under way: it is not one
 * connection that asks and waits. */
void look_note_others(struct look *l);

/* Whether to look before sleeping; and that nothing came meanwhile. */
static inline bool look_is_wanted(const struct look *l)
{
    return l->way == LOOK_LOOKS && l->noticed_ns != 0;
}
void look_note_miss(struct look *l);

#endif
