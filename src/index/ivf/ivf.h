/* Inverted lists over the rows of a set: an order of its slots.
 *
 * A list does not hold codes. It owns whole blocks of IVF_BLOCK consecutive
 * slots, and a row is in the list when it lies in one of these: putting it
 * there means moving the element to a free lane of a block. Everybody else
 * finds rows where they always are; a list is scanned block by block.
 *
 *     list ── run ──▶ [block | used lanes] [block | used lanes] ...
 *
 * A lane (slot) of an owned block is
 *
 *              take             died              release
 *     FREE ──────────▶ USED ──────────▶ DEAD ──────────────▶ FREE
 *      ▲                 │ put_back
 *      └─────────────────┘
 *
 * and DEAD until no search under way can see the row. Which lanes are not free
 * is one word with the block's number, so a reader takes both at once.
 *
 * Readers take no lock. ivf_view_take() captures the directory of lists and the
 * centroids it belongs to, as of the sequence at which a search is dispatched;
 * the runs are read later, as they then are, or as they were when the directory
 * was replaced. Either will do:
 *
 *  V1  A row that a search sees lies in a block that was its list's when the
 *      search was dispatched, with its lane marked. A lane is freed, and a
 * block leaves its list, only when no search under way sees a row there. V2
 * What else a run leads to are rows born later, which the search does not see,
 * in blocks that may lie past its view.
 *
 * so a row is found in exactly one list, whatever is split, merged or moved.
 *
 * thread the owner (the loop) calls everything not marked otherwise. */
#ifndef VECTRA_INDEX_IVF_IVF_H
#define VECTRA_INDEX_IVF_IVF_H

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/err.h"
#include "base/region.h"
#include "index/ivf/centroids.h"
#include "index/ivf/codes.h"
#include "index/topk.h"
#include "vec/row_map.h"
#include "vec/vec.h"

enum {
    IVF_BLOCK = 32, /* slots of a block: block b is slots 32b to 32b + 31 */
};

#define IVF_NONE UINT32_MAX

struct ivf;

struct ivf_options {
    uint32_t n_lists;
    /* One row per list; adopted: the lists free them when no search looks at
     * them any more. May be NULL where nothing is probed. */
    struct ivf_centroids *centroids;
    void (*free_centroids)(struct ivf_centroids *c);
    struct region *region; /* these two outlive the lists */
    struct epoch *epoch;
};

/* fails  NULL when memory is out; the centroids are then the caller's. */
struct ivf *ivf_create(const struct ivf_options *o);

/* thread any, once nobody looks at it. */
void ivf_destroy(struct ivf *v);

/* Frees some of what it is made of, which takes a while when all is freed at
 * once; true when there is more. Nothing but this and ivf_destroy() may be
 * called afterwards. */
bool ivf_take_apart(struct ivf *v, uint32_t n);

uint32_t ivf_n_lists(const struct ivf *v);
const struct ivf_centroids *ivf_centroids_of(const struct ivf *v);
size_t ivf_bytes(const struct ivf *v); /* without centroids */

/* ---- blocks and lanes ---------------------------------------------------- */

/* Gives a list a block, all lanes of which are free.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err ivf_block_add(struct ivf *v, uint32_t list, uint32_t block) MUST_USE;

/* Takes those lanes of a block just added that rows lie in already: for a set
 * that is being loaded. */
void ivf_block_fill(struct ivf *v, uint32_t block, uint32_t lanes);

/* Takes a free lane of a list's fullest open block; IVF_NONE when it has none:
 * add a block. */
uint32_t ivf_lane_take(struct ivf *v, uint32_t list);

/* A lane that was taken and not published is free again. */
void ivf_lane_put_back(struct ivf *v, uint32_t slot);

/* The row of a taken lane has died; searches under way may see it. */
void ivf_lane_died(struct ivf *v, uint32_t slot);

/* Nobody sees the dead row of a lane any more. True when that was the last of
 * its block, which may then leave. */
bool ivf_lane_release(struct ivf *v, uint32_t slot);

/* Of a slot, IVF_NONE when its block is no list's. */
uint32_t ivf_list_of(const struct ivf *v, uint32_t slot);

/* Gives no more lanes of a block out, since its rows are to be moved elsewhere;
 * and does so again. */
void ivf_block_close(struct ivf *v, uint32_t block);
void ivf_block_open(struct ivf *v, uint32_t block);

/* A block whose lanes are all free leaves its list. Cannot fail. */
void ivf_block_leave(struct ivf *v, uint32_t block);

/* Lanes of a block that are USED or DEAD, bit by bit; 0 when it is no list's.
 */
uint32_t ivf_block_lanes(const struct ivf *v, uint32_t block);

/* Walks the blocks of a list: *at is 0 at first. IVF_NONE past the last. Blocks
 * added meanwhile may or may not be met. */
uint32_t ivf_next_block(const struct ivf *v, uint32_t list, uint32_t *at);

/* ---- what there is ------------------------------------------------------- */

struct ivf_list_stats {
    uint32_t n_blocks;
    uint32_t n_used; /* lanes in use whose row is alive */
    uint32_t n_dead; /* lanes that wait to be released */
};

void ivf_list_stats(const struct ivf *v, uint32_t list,
                    struct ivf_list_stats *out);

struct ivf_stats {
    uint32_t n_lists, n_empty; /* lists */
    uint32_t n_blocks;
    uint64_t n_used, n_dead;
    uint32_t min, max; /* n_used of a list */
    double imbalance;  /* n_lists * sum(n_used^2) / (sum n_used)^2; 1 is even */
};

/* cost   O(1) but for min, max and n_empty, which are looked for. */
void ivf_stats(const struct ivf *v, struct ivf_stats *out);

/* The same of ivf_stats(), at once. */
double ivf_imbalance(const struct ivf *v);
uint64_t ivf_n_used(const struct ivf *v);

/* The list with the most and the fewest live rows; IVF_NONE without lists. In
 * steps: looks at `budget` lists from *at on (0 at first), true when there are
 * more. */
struct ivf_extremes {
    uint32_t at;
    uint32_t largest, smallest;
};
bool ivf_find_extremes(const struct ivf *v, struct ivf_extremes *x,
                       uint32_t budget);

/* The block of a list that has the fewest lanes in use, closed ones not
 * counted: the one to empty when lanes are to be gathered. IVF_NONE when there
 * are fewer than two. */
uint32_t ivf_sparsest_block(const struct ivf *v, uint32_t list);

/* ---- splitting, merging ------------------------------------------------- */

/* Takes other centroids and as many lists: new_of_old[i] is the new number of
 * list i, each at most once, or IVF_NONE for one that has no blocks. New lists
 * without an old one begin empty. So a split is one list more and a merge, when
 * its rows have been moved, one fewer. Searches under way keep to the numbers
 * and centroids they began with.
 *
 * in     centroids: adopted, as in ivf_options.
 * fails  ERR_NOMEM, nothing changed, the centroids stay the caller's. */
enum err ivf_relist(struct ivf *v, struct ivf_centroids *centroids,
                    uint32_t n_lists, const uint32_t *new_of_old) MUST_USE;

/* ---- reading. thread any, with what ivf_view_take() gave ----------------- */

/* The blocks of a list. */
struct ivf_run {
    struct retired retired;
    struct region *region;
    uint32_t cap;
    _Atomic uint32_t n;
    _Atomic uint64_t blocks[]; /* block << 32 | lanes; 0 lanes: nothing there */
};

struct ivf_dir {
    struct retired retired;
    struct region *region;
    void (*free_centroids)(struct ivf_centroids *c);
    struct ivf_centroids *centroids;
    uint32_t n_lists;
    _Atomic(struct ivf_run *) runs[]; /* NULL: the list has no blocks */
};

/* What a search captures when it is dispatched, valid while a ticket is open
 * that was opened then. */
struct ivf_view {
    const struct ivf_dir *dir;
    uint32_t n_slots; /* of the view of the slots */
};

void ivf_view_take(const struct ivf *v, uint32_t n_slots, struct ivf_view *out);

ALWAYS_INLINE const struct ivf_run *ivf_view_run(const struct ivf_view *v,
                                                 uint32_t list)
{
    return atomic_load_explicit(&v->dir->runs[list], memory_order_acquire);
}

ALWAYS_INLINE uint32_t ivf_run_length(const struct ivf_run *r)
{
    return r ? atomic_load_explicit(&r->n, memory_order_acquire) : 0;
}

/* The i-th block and its lanes that are not free. */
ALWAYS_INLINE uint32_t ivf_run_block(const struct ivf_run *r, uint32_t i,
                                     uint32_t *lanes)
{
    uint64_t entry = atomic_load_explicit(&r->blocks[i], memory_order_acquire);

    *lanes = (uint32_t)entry;
    return (uint32_t)(entry >> 32);
}

/* A scan of lists for one search: what is nearer than all that was found so far
 * is asked about and kept. May be called again with more lists. */
struct ivf_scan {
    struct ivf_view view;
    struct row_map rows; /* of the view of the slots */
    const struct vec_query
        *query; /* of the rows; NULL when codes are scanned */
    const struct ivf_codes_query *codes; /* NULL: rows are scanned */
    struct topk *best;                   /* the caller's */
    float limit; /* keys above are not wanted; or +inf */
    /* Whether a row that scored well is visible and passes. */
    bool (*admits)(const void *arg, uint32_t slot);
    /* When set, asked now and then: true ends the scan. */
    bool (*stop)(const void *arg);
    const void *arg;
    /* ivf_scan_near() need not go through all lists: the greater, the more it
     * does. 0: it does. */
    float patience;
    /* out, added up over calls */
    uint64_t scored; /* rows */
    uint64_t admitted;
    uint32_t n_lists, n_blocks;
    uint32_t n_idle; /* lists since the last that gave something */
    bool stopped;
    bool enough; /* patience is at an end */
};

/* Scans lists in the order given. */
void ivf_scan_lists(struct ivf_scan *s, const uint32_t *lists, uint32_t n);

/* The same for lists as ivf_probe() gives them. With patience it ends where
 * little is to be expected any more: when lists have given nothing for a while,
 * the sooner the farther the next centroid is compared with the k-th best row.
 */
void ivf_scan_near(struct ivf_scan *s, const struct ivf_near *near, uint32_t n);

/* Probes for a query and scans about n_probe lists: more where it is hard to
 * say what is near, up to IVF_REACH times as many, and fewer where it is easy.
 * This finds as much as n_probe lists for each would, of a fifth to a half
 * fewer rows.
 *
 * in     x: the query, dim floats. near: room for IVF_REACH * n_probe, or all
 *        lists if those are fewer; n_probe is at least 1. No more than `most`
 *        lists are scanned.
 * out    near[0 .. s->n_lists - 1] have been scanned. */
enum { IVF_REACH = 8 };
void ivf_search(struct ivf_scan *s, const float *x, uint32_t n_probe,
                uint32_t most, struct ivf_near *near,
                struct ivf_scratch *scratch);

/* Scans everything that is in lists. */
void ivf_scan_all(struct ivf_scan *s);

/* ---- checking ------------------------------------------------------------ */

/* Checks the invariants of ivf_impl.h; aborts on a violation. is_used, when
 * set, says whether a slot is alive, in limbo or taken: its lane must not be
 * free, and a lane that is not free must be one of these. */
void ivf_validate(const struct ivf *v,
                  bool (*is_used)(const void *arg, uint32_t slot),
                  const void *arg);

/* The same in steps, for a builder: looks at `budget` lists from *list on; NULL
 * and *list at n_lists when all is well, else what is broken. The owner does
 * not change the lists meanwhile. */
const char *ivf_check(const struct ivf *v, uint32_t *list, uint32_t budget);

#endif
