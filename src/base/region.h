/* A region: the memory of one owner (one vector set), counted exactly.
 *
 * A region draws on a jemalloc arena. Small owners share a few process-wide
 * arenas; an owner that grows large is moved onto a private one, so that its
 * pages lie together in huge pages and dropping it gives the address space back
 * whole. Blocks never move, and a block taken before the move stays where it
 * is. At most REGION_PRIVATE_MAX private arenas exist at a time, because each
 * costs fork() time (it locks and re-initialises every arena); past that,
 * large owners stay shared.
 *
 * thread one at a time: the loop while the owner lives, the background thread
 *        once the owner has been unlinked. */
#ifndef VECTRA_BASE_REGION_H
#define VECTRA_BASE_REGION_H

#include <stdbool.h>

#include "base/err.h"

enum {
    REGION_SHARED_ARENAS = 4,
    REGION_PRIVATE_MAX = 32,
    REGION_AHEAD = 2 << 20, /* bytes behind a block: a huge page */
};

struct region {
    size_t bytes;   /* usable sizes of all live blocks */
    unsigned arena; /* where the next block comes from */
    bool is_private;
};

/* `salt` picks one of the shared arenas. */
void region_init(struct region *r, uint64_t salt);

/* Every block must have been freed. */
void region_deinit(struct region *r);

/* Moves the region onto a private arena if one is to be had. */
void region_make_private(struct region *r);

/* align is a power of two, 1 for don't care.
 * fails  NULL when the system has no memory. */
void *region_alloc(struct region *r, size_t size, size_t align) MUST_USE;

/* size and align as given to region_alloc(). NULL is ignored. */
void region_free(struct region *r, void *ptr, size_t size, size_t align);

/* Has the system find memory for a block that will be written to, and for some
 * more that the region's next blocks will be cut from, so that who writes there
 * is not held up: 2 MiB are cleared at a time, which takes up to some
 * milliseconds. A block that was freed meanwhile is no harm.
 *
 * thread any. */
void region_touch_on(void *ptr, size_t size);

/* Gives what lies in a block back to the system: it reads as zeros. Returns the
 * bytes that count no more, until region_wake() of as many, before the block is
 * written to or freed. */
size_t region_sleep(struct region *r, void *ptr, size_t size);
void region_wake(struct region *r, void *ptr, size_t size, size_t bytes);

/* What region_alloc(size, align) would add to `bytes`. */
size_t region_cost(size_t size, size_t align);

/* Gives unused pages of the shared arenas back to the system. */
void region_purge_shared(void);

#endif
