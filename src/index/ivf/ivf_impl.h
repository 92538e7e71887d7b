/* The inside of the inverted lists.
 *
 *  I1  A block of a list is in that list's run exactly once, at the place its
 *      record says; no other place of a run names it.
 *  I2  The places of a run below n that hold no block are a chain of holes,
 *      with no lanes.
 *  I3  A block is on its list's open chain when it has a free lane and is not
 *      closed, and on no chain otherwise.
 *  I4  Of a list, the lanes marked in its run are n_used + n_dead.
 *  I5  n_used, n_dead, n_blocks and the sum of squares of the whole are the
 * sums over the lists. I6  A lane that is not free is one of a slot that is
 * alive, in limbo or taken, and the other way round. I7  A block is written
 * into a run before `n` covers it, and its lanes before anybody is told of the
 * row: a reader that came later sees both. */
#ifndef VECTRA_INDEX_IVF_IVF_IMPL_H
#define VECTRA_INDEX_IVF_IVF_IMPL_H

#include "index/ivf/ivf.h"

enum {
    RECORD_CHUNK = 1024, /* blocks whose records lie together */
    RUN_MIN = 4,
};

#define LANES_ALL   UINT32_MAX
#define LIST_CLOSED 0x80000000u /* in block_record.list */

/* In place of a block, with the next hole's place; IVF_NONE is the last. */
#define RUN_HOLE 0x80000000u

/* The owner's book of a block. */
struct block_record {
    uint32_t list; /* IVF_NONE: no list's; else with LIST_CLOSED, perhaps */
    uint32_t at;   /* its place in the run */
    uint32_t prev, next; /* on the open chain, IVF_NONE at its ends */
};

/* The owner's book of a list. */
struct list_record {
    uint32_t n_blocks;
    uint32_t n_used;
    uint32_t n_dead;
    uint32_t open_first, open_last; /* blocks with free lanes, fullest first */
    uint32_t hole;                  /* a place of the run, IVF_NONE: none */
};

struct ivf {
    struct ivf_dir *dir;
    struct list_record *lists; /* dir->n_lists of them */
    struct block_record **records;
    uint32_t n_chunks;
    uint32_t cap_chunks; /* more when some have been freed */
    uint32_t n_apart;    /* lists whose runs have been */
    uint32_t n_blocks;
    uint64_t n_used, n_dead;
    uint64_t squares; /* of every list's n_used, summed up */
    size_t bytes;
    void (*free_centroids)(struct ivf_centroids *c);
    struct region *region;
    struct epoch *epoch;
};

ALWAYS_INLINE struct block_record *ivf_record(const struct ivf *v,
                                              uint32_t block)
{
    uint32_t chunk = block / RECORD_CHUNK;

    return chunk < v->n_chunks && v->records[chunk]
               ? &v->records[chunk][block % RECORD_CHUNK]
               : NULL;
}

/* The owner's own view of a run. */
ALWAYS_INLINE struct ivf_run *ivf_run_of(const struct ivf *v, uint32_t list)
{
    return atomic_load_explicit(&v->dir->runs[list], memory_order_relaxed);
}

/* What is at a place of a run, as its owner sees it. */
ALWAYS_INLINE uint64_t ivf_entry(const struct ivf_run *r, uint32_t at)
{
    return atomic_load_explicit(&r->blocks[at], memory_order_relaxed);
}

ALWAYS_INLINE bool ivf_entry_is_hole(uint64_t entry)
{
    return entry >> 32 & RUN_HOLE;
}

ALWAYS_INLINE uint32_t ivf_record_list(const struct block_record *r)
{
    return r->list & ~LIST_CLOSED;
}

#endif
