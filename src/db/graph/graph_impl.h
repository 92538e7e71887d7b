/* The inside of a set's graph: shared by graph*.c.
 *
 *   graph.c        life and end
 *   graph_pump.c   what writes tell, what is begun next
 *   graph_job.c    the work: batches, sweeps, walks, checks
 *   graph_tail.c   rows that wait: the list of them, and their buckets
 *   graph_held.c   the slots it leads to, which are not used again meanwhile
 *   graph_left.c   a graph that answers while lists are filled
 *   graph_apart.c  a graph that is freed page by page
 *   graph_image.c  a graph from a file
 *   graph_info.c   what is known; what searches capture; checking */
#ifndef VECTRA_DB_GRAPH_IMPL_H
#define VECTRA_DB_GRAPH_IMPL_H

#include <stdatomic.h>

#include "base/pool.h"
#include "db/graph/graph.h"
#include "db/tail/buckets.h"
#include "db/vset/index_choice.h"
#include "db/vset/vset_impl.h"

enum graph_job_kind {
    JOB_BATCH,
    JOB_SWEEP,
    JOB_TRAIN, /* these three: of the tail's buckets */
    JOB_ASSIGN,
    JOB_MERGE,
    JOB_WALK, /* from here on: by one thread */
    JOB_CHECK,
};

/* One of the threads that work on a job. */
struct graph_task {
    struct task task;
    struct graph_job *job;
};

/* Work on a graph: phases of units, spread over the builders. */
struct graph_job {
    struct graph *g;
    struct graph_job **at; /* of g, where it is */
    enum graph_job_kind kind;
    struct hnsw_batch *batch;
    struct hnsw_sweep *sweep;
    struct hnsw_walk *walk;
    struct hnsw_check check;
    size_t reattached; /* of the walk's lost nodes */
    int walks;
    struct bucket_training *training;
    struct bucket_work *work;
    slot_id bucketed_to; /* as of the graph, when it is done */
    uint64_t late_bucketed_to;
    struct row_map rows;
    const uint8_t **pages; /* a copy: the set's own may be moved */
    uint64_t *gone;        /* JOB_BATCH: see hnsw_batch_avoid() */
    slot_id fresh_to;      /* where the tail begins when the batch is done */
    uint32_t late_to;
    uint64_t hold;
    _Atomic bool cancelled;
    _Atomic uint32_t next_unit;
    uint32_t n_units;
    _Atomic uint32_t active; /* tasks that have not ended */
    struct completion completion;
    struct graph_job *next, *prev; /* keyspace->graph_jobs */
    unsigned n_tasks;
    struct graph_task tasks[];
};

/* Used slots that wait to be linked, in the order they came; what is written
 * stays until nobody looks. */
struct late_list {
    struct retired retired;
    struct region *region;
    uint32_t cap;
    slot_id slots[];
};

struct graph {
    struct vset *set;
    struct keyspace *keyspace;
    struct hnsw *hnsw;
    struct vec_format codes; /* what the graph compares */
    uint32_t ef;
    /* the tail */
    slot_id fresh_from;
    struct late_list *late;
    uint32_t late_from, late_n; /* of it */
    uint64_t late_base;         /* what came before its first place */
    uint32_t to_finish;         /* of it, to be linked though it be little */
    /* what of it is found through buckets: see graph_tail.c */
    struct bucket_centroids *centroids; /* NULL: nothing */
    struct bucket_dir *buckets;
    slot_id bucketed_to;       /* fresh slots below, as far as they wait */
    uint64_t late_bucketed_to; /* places below: late_base and on */
    uint32_t trained_at;       /* rows that waited then */
    uint32_t raw_bound;        /* of rows in none */
    struct graph_job *tail_job;
    /* by slot; region memory, grown with the set */
    uint64_t *held;  /* in the body or in a batch */
    uint64_t *dying; /* of them, dead and not yet in `dead`; in held's block */
    uint64_t *waiting; /* in `late`, not in a batch yet; in held's block */
    uint64_t *raw;     /* of them, in no bucket; in held's block */
    uint64_t *dead;    /* to be swept; constant while a job is under way */
    uint32_t held_words, dead_words;
    uint32_t n_dead, n_dying;
    /* live elements by level, of the slots below counted_to */
    uint32_t levels[HNSW_LEVEL_MAX + 1];
    slot_id counted_to;
    slot_id goal;   /* while it is being built: slots there were */
    uint64_t build; /* its number */
    uint32_t checks_asked, checks_made;
    const char *broken; /* what the last check found */
    float pace;         /* see graph_pace() */
    size_t row_bytes;   /* that a row takes once it is linked, roughly */
    size_t promised;    /* of the rows that wait, see graph_promise() */
    struct index_watch watch;
    uint32_t walked_at; /* nodes when the graph was last walked */
    bool walk_due;
    bool swept_last;       /* the last job was a sweep */
    uint32_t walk_put_off; /* batches begun while a walk was due */
    bool is_going;         /* with its set */
    bool dropped;          /* the set goes on without it */
    struct graph_job *job;
    struct graph *next, *prev; /* keyspace->graphs */
    struct graph *sibling;     /* set->graphs */
    struct graph_left *left;   /* it gives way to lists: see graph_left.h */
    struct retired retired;
};

static inline bool graph_bit(const uint64_t *bits, slot_id slot)
{
    return bits[slot / 64] >> (slot % 64) & 1;
}

/* A graph with nothing in it that is in no list yet; and its end.
 *
 * fails  NULL when memory is out. */
struct graph *graph_make(struct vset *v, uint32_t m, uint32_t ef);
void graph_destroy(struct graph *g);

/* Puts it into the lists and gives it a number. */
void graph_enlist(struct graph *g);

/* Takes one that nothing works on out of the lists and lets its slots go; it
 * answers no more as its set's graph. */
void graph_take_out(struct graph *g);

/* A live slot below the tail's edge waits to be linked. fails  ERR_NOMEM. */
enum err graph_add_late(struct graph *g, slot_id slot) MUST_USE;

/* Lets one that was being built answer, once it is as good as what does. */
void graph_take_place(struct graph *g);

/* Slots below are noted when they are used again: they have been looked at, to
 * be linked or to be put into a bucket. */
slot_id graph_tail_edge(const struct graph *g);

/* Slots it has not taken in. */
static inline uint32_t graph_waiting(const struct graph *g)
{
    return g->late_n - g->late_from + g->set->elements.slots.n_slots -
           g->fresh_from;
}

/* ---- graph_info.c -------------------------------------------------------- */

/* Bytes of its own bookkeeping. */
size_t graph_own_bytes(const struct graph *g);

/* ---- graph_pump.c -------------------------------------------------------- */

/* Keeps room under maxmemory for linking what waits in a graph that was asked
 * for, so that no row of it stays unlinked for good. */
void graph_promise(struct graph *g);

/* Counts the levels of slots below `to`, some of them at a time. */
void graph_count_levels(struct graph *g, slot_id to);

/* ---- graph_held.c -------------------------------------------------------- */

/* Room in `held` and what shares its block for slots below n. fails  ERR_NOMEM.
 */
enum err graph_grow_held(struct graph *g, uint32_t n) MUST_USE;
static inline MUST_USE enum err graph_fit_held(struct graph *g, uint32_t n)
{
    return (uint64_t)g->held_words * 64 >= n ? ERR_OK : graph_grow_held(g, n);
}

/* Moves `dying` into `dead`; no job is under way. fails  ERR_NOMEM. */
enum err graph_gather_dead(struct graph *g) MUST_USE;

/* Gives up the graph's hold on the slots of a bunch; those that another graph
 * of the set leads to are taken out of it. */
void graph_let_go(struct graph *g, struct slot_bunch *b);

/* Slots that were held for a graph that has gone are free. */
void graph_free_all_held(struct graph *g);

/* Bytes of the bitmaps; of a graph of n slots; and their end. */
size_t graph_held_bytes(const struct graph *g);
size_t graph_held_bytes_for(uint32_t n);
void graph_held_free(struct graph *g);

/* ---- graph_apart.c ------------------------------------------------------- */

/* Nobody looks at a graph any more: frees it, or sees to it. */
void graph_reclaim(struct retired *r, void *arg);

/* Frees so many pages of the graphs that are being taken apart. */
void graph_take_apart(struct keyspace *ks, uint32_t n_pages);

/* Those of a set, or of all sets of a database, are freed with their sets. */
void graph_leave_to_sets(struct keyspace *ks, const struct vset *v,
                         const struct database *db);

/* Bytes that a set's graphs take that are being taken apart. */
size_t graph_apart_bytes(const struct vset *v);

/* ---- graph_left.c -------------------------------------------------------- */

size_t graph_left_own_bytes(const struct graph *g);
void graph_left_free_own(struct graph *g);

/* ---- graph_tail.c -------------------------------------------------------- */

static inline void graph_bit_set(uint64_t *bits, slot_id slot)
{
    bits[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static inline void graph_bit_clear(uint64_t *bits, slot_id slot)
{
    bits[slot / 64] &= ~((uint64_t)1 << (slot % 64));
}

/* Room in the list of used slots for one more. fails  ERR_NOMEM. */
enum err graph_fit_late(struct graph *g) MUST_USE;

/* A slot below the tail's edge came to be used again; there is room. */
void graph_note_late(struct graph *g, slot_id slot);

/* Bytes of the list and the buckets; and their end. */
size_t graph_tail_bytes(const struct graph *g);
void graph_tail_free(struct graph *g);

/* Where fresh rows begin that are scanned, and used ones in the list. */
static inline slot_id graph_raw_from(const struct graph *g)
{
    return g->fresh_from > g->bucketed_to ? g->fresh_from : g->bucketed_to;
}

static inline uint32_t graph_raw_late(const struct graph *g)
{
    return g->late_bucketed_to > g->late_base + g->late_from
               ? (uint32_t)(g->late_bucketed_to - g->late_base)
               : g->late_from;
}

/* Rows found through buckets. */
uint32_t graph_bucketed(const struct graph *g);

/* So many rows of a tail may be scanned. */
uint32_t graph_raw_bound(const struct vec_format *f);

/* So many are. */
static inline uint32_t graph_raw_rows(const struct graph *g)
{
    return g->set->elements.slots.n_slots - graph_raw_from(g) + g->late_n -
           graph_raw_late(g);
}

/* Assigns rows to buckets, if more are scanned than ought to be. */
void graph_tail_pump(struct graph *g);

/* Whether builders should do that and nothing else: it is a hundred times as
 * fast as linking them. */
bool graph_tail_is_urgent(const struct graph *g);

/* What rows have been linked meanwhile. */
void graph_tail_shrink(struct graph *g);

/* ---- graph_job.c --------------------------------------------------------- */

/* Of another kind than the graph's own, which is to be at `at`: see
 * graph_run_phase(). NULL when memory is out. */
struct graph_job *graph_job_create(struct graph *g, enum graph_job_kind kind,
                                   struct graph_job **at,
                                   void (*done)(struct completion *c));
void graph_run_phase(struct graph_job *job, uint32_t n_units);
void graph_job_end(struct graph_job *job, bool go_on);
bool graph_job_is_cancelled(const struct graph_job *job);

void graph_begin_batch(struct graph *g);
void graph_begin_sweep(struct graph *g);
void graph_begin_walk(struct graph *g);
void graph_begin_check(struct graph *g);

/* A job has ended: go on, or free what was waiting for it. */
void graph_job_ended(struct graph *g, bool go_on);

/* Ends a job whose tasks will not be run any more. */
void graph_abandon_job(struct graph_job *job);

#endif
