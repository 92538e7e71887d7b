/* Blocks of slots, for a set whose rows lie in an order.
 *
 * An index that scans rows wants those it scans together to lie together. It
 * owns blocks of SLOTS_BLOCK slots each and moves elements into them
 * (elements_move()); all else that is kept by slot goes on as ever. What lies
 * in no such block is the tail, which searches look at besides.
 *
 *               own                          the last row has left
 *     ┌──────────────────────── POOL ◀──────────────────────────┐
 *     ▼           give           │ ▲                            │
 *   OWNED ───────────────────────┼─┘      drain                 │
 *                                └──────▶ GENERAL ─────────▶ DRAINING
 *                    nothing else is free        ◀───────── keep
 *
 * GENERAL   new elements come here: free slots are given out
 * DRAINING  as general, but what becomes free in it is not given out
 * POOL      wholly free: the next to be owned, or general again before the set
 *           grows
 * OWNED     its free slots are lanes, which only elements_move() fills
 *
 * Blocks are kept from slots_blocks_begin() on; a set without pays nothing.
 * They lie within one page each, but for the first two, which stay general.
 *
 *  K1  seen is the number of a block's slots that are taken, live or in limbo.
 *  K2  A block's bit in the tail is set when it is GENERAL or DRAINING and seen
 *      is not 0. A search that looks at all blocks whose bit is set, and at the
 *      owned blocks as they were when it was dispatched, misses no row it sees;
 *      and it sees no row twice, for a block changes hands only when nobody
 *      sees a row in it.
 *  K3  `free` has a bit for each slot that is free, whatever the kind.
 *  K4  A GENERAL block has its bit in `open` when a slot of it is free.
 *  K5  A page whose blocks are all POOL may sleep: what its rows took has gone
 *      back to the system. It wakes when one of the blocks is taken.
 *
 * thread loop; readers look at the tail through a view. */
#ifndef VECTRA_STORE_SLOTS_BLOCKS_H
#define VECTRA_STORE_SLOTS_BLOCKS_H

#include "store/slots.h"

enum {
    SLOTS_BLOCK = PAGE_UNIT_ROWS, /* slots of a block */
    SLOTS_BLOCK_FIRST = 2,        /* those before are always general */
};

enum slots_block_kind {
    BLOCK_GENERAL,
    BLOCK_DRAINING,
    BLOCK_POOL,
    BLOCK_OWNED
};

/* The tail, a bit per block. */
struct slots_tail {
    struct retired retired;
    struct region *region;
    uint32_t n_words;
    _Atomic uint64_t words[];
};

/* Told when a lane of an owned block is free again: its row died, or was
 * moved, and neither a search nor an index leads there any more. Possibly while
 * vset_move() is under way. */
typedef void slots_lane_fn(void *arg, slot_id slot);

struct slots_blocks {
    slots_lane_fn *lane; /* may be NULL */
    void *arg;
    struct slots_tail *tail;
    uint64_t *open; /* general blocks with free slots; one block of memory */
    uint32_t *free; /* with these: by block, its slots that are free */
    uint8_t *state; /* by block: kind and seen, see block_kind() */
    uint32_t cap;   /* blocks there is room for */
    uint64_t *pool; /* POOL blocks */
    uint32_t open_from; /* no bit is set in the words of `open` before */
    uint32_t pool_from; /* nor in those of `pool` */
    uint32_t n_pool, n_owned, n_draining;
    uint32_t n_idle;   /* free slots of DRAINING and POOL blocks */
    uint32_t n_lanes;  /* of OWNED ones */
    uint32_t n_tail;   /* slots seen in GENERAL and DRAINING ones */
    uint32_t n_asleep; /* pages */
    size_t slept;      /* what each of them does not take */
};

/* Keeps blocks from now on; all are GENERAL. When they are kept already, only
 * the owner changes.
 *
 * cost   O(slots)
 * fails  ERR_NOMEM, nothing changed. */
enum err slots_blocks_begin(struct slots *s, slots_lane_fn *lane,
                            void *arg) MUST_USE;

/* Ends it: whatever lies where, all is tail again. Searches that took their
 * view before go on with the tail they have. */
void slots_blocks_end(struct slots *s);

/* Memory it takes, and what it would take for n slots. */
size_t slots_blocks_bytes(const struct slots *s);
size_t slots_blocks_bytes_for(uint32_t n);

static inline uint32_t slots_n_blocks(const struct slots *s)
{
    return (uint32_t)(((uint64_t)s->n_slots + SLOTS_BLOCK - 1) / SLOTS_BLOCK);
}

/* The kind of a block, and which of its slots are free. */
enum slots_block_kind slots_block_kind(const struct slots *s, uint32_t block);
uint32_t slots_block_free(const struct slots *s, uint32_t block);

/* Which of its slots are live; not for the first SLOTS_BLOCK_FIRST. */
uint32_t slots_block_live(const struct slots *s, uint32_t block);

/* Whether its rows are tail: GENERAL or DRAINING. */
bool slots_block_is_general(const struct slots *s, uint32_t block);

/* A block to own: all its lanes are free. From the pool, else new ones at the
 * end of the slots.
 *
 * fails  ERR_NOMEM; ERR_LIMIT at SLOTS_MAX. */
enum err slots_block_own(struct slots *s, uint32_t *block) MUST_USE;

/* Gives an owned block back; all its lanes are free. */
void slots_block_give(struct slots *s, uint32_t block);

/* Makes a general block with what lies in it an owned one, for a set that
 * nobody searches: one that is being loaded. *free_lanes is a bit each. Not for
 * the first SLOTS_BLOCK_FIRST.
 *
 * fails  ERR_CORRUPT: there is no such block, or it is owned already. */
enum err slots_block_adopt(struct slots *s, uint32_t block,
                           uint32_t *free_lanes) MUST_USE;

/* Stops giving out slots of a GENERAL block; it is POOL when the last has left
 * it, possibly at once. The first SLOTS_BLOCK_FIRST stay what they are, as does
 * one of another kind. */
void slots_block_drain(struct slots *s, uint32_t block);

/* Gives out slots of a DRAINING block again. */
void slots_block_keep(struct slots *s, uint32_t block);

/* Lets pages sleep of which nothing is used (K5), some at a time: begin with
 * *page 0. False when that is all. */
bool slots_blocks_rest(struct slots *s, uint32_t *page);

/* What pages that sleep do not take of what pages cost. */
static inline size_t slots_asleep_bytes(const struct slots *s)
{
    return s->blocks ? s->blocks->n_asleep * s->blocks->slept : 0;
}

/* ---- searches ------------------------------------------------------------ */

/* Slots that lie together in one page. */
struct slots_run {
    uint32_t page;
    uint32_t row; /* the first, within the page */
    slot_id first;
    uint32_t n;
};

/* The next run of the tail at or behind slot *at, which moves on; begin with 0.
 * All slots there are when blocks were not kept. False at the end.
 *
 * thread any, through the view. */
bool slots_tail_next(const struct slots_view *v, slot_id *at,
                     struct slots_run *run);

/* Slots that may hold a row in the tail, about; all when no blocks are kept. */
uint32_t slots_tail_count(const struct slots *s);

#endif
