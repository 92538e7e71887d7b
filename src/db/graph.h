/* The graph of a vector set and what keeps it up with the writes.
 *
 * A write never waits for the graph. A row that is added lies in the tail
 * first, where every search scores it exactly; builder threads link rows in
 * batches, in the order they came. A row that dies is invisible at once;
 * builders take it out of the graph when enough have gathered.
 *
 *       add                 a batch ends
 *     ───────▶  TAIL  ───────────────────▶  BODY
 *                                            │ dies: not visible, still a way
 *                 ▲                          ▼ through the graph
 *                 └───── slot free ◀──── swept, and the searches of then ended
 *
 * The tail is two things: all slots from `fresh_from` on, which have never been
 * in the body and lie together, and a list of used slots below it that have
 * been given out again.
 *
 *  B1  Every live slot is in the body, in the tail, or in both; a search that
 *      looks at both as they were when it was dispatched misses nothing.
 *  B2  A slot in the body, or in a batch, is not used again when it dies, but
 *      held until no link leads to it (see slots_free()).
 *  B3  At most one job (batch, sweep or walk) of a set is under way.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_GRAPH_H
#define VECTRA_DB_GRAPH_H

#include "base/err.h"
#include "db/vset.h"
#include "index/hnsw/hnsw.h"

struct graph;
struct keyspace;

/* Elements from which on a set that is to choose for itself has a graph, and
 * below which it gives it up again. */
uint32_t graph_worthwhile_at(const struct vset *v);
uint32_t graph_given_up_at(const struct vset *v);

/* Gives a set an empty graph; all its elements are tail then.
 *
 * fails  ERR_NOMEM; ERR_BUSY while one that was dropped is still being left;
 *        nothing changed. */
enum err graph_create(struct vset *v, uint32_t m, uint32_t ef) MUST_USE;

/* Gives the graph up; what works on it stops, and it is freed when that has
 * stopped and the searches under way have ended. */
void graph_drop(struct vset *v);

/* The set itself goes: nothing new is begun. */
void graph_detach(struct vset *v);

/* Detaches the graphs of all sets of a database. */
void graph_detach_all(struct keyspace *ks, const struct database *db);

/* Frees what a set that nobody looks at any more has. thread any. */
void graph_free(struct vset *v);

/* ---- writes ------------------------------------------------------------ */

/* Makes sure that noting a slot cannot fail. fails  ERR_NOMEM. */
enum err graph_prepare(struct vset *v, slot_id slot) MUST_USE;

/* An element came to live in a slot. */
void graph_note_put(struct vset *v, slot_id slot);

/* A slot is dead for everybody; true when it is to be held (B2). */
bool graph_holds(struct vset *v, slot_id slot);

/* Begins what there is to do, if it is worth while by now; `any`: also if it is
 * little. */
void graph_pump(struct vset *v, bool any);

/* Pumps every graph; some times a second. */
void graph_pump_all(struct keyspace *ks);

/* ---- searches ---------------------------------------------------------- */

/* What a search captures with its view. */
struct graph_view {
    const struct hnsw *hnsw; /* NULL: everything is tail */
    uint64_t start;          /* hnsw_start() */
    uint32_t nodes;          /* dead ones included */
    slot_id fresh_from;
    const slot_id *late; /* used slots of the tail */
    uint32_t n_late;
};

void graph_view_take(const struct vset *v, struct graph_view *out);

/* The graph of a set that has one. */
const struct hnsw *graph_of(const struct vset *v);

/* ---- what is known ------------------------------------------------------- */

struct graph_info {
    uint32_t m, ef;
    uint32_t nodes; /* in the body, dead ones included */
    uint32_t dead;  /* to be swept */
    uint32_t tail;  /* slots not in the body, about */
    size_t bytes;
    const char *job; /* "none", "batch", "sweep", "walk" */
};
void graph_info_read(const struct vset *v, struct graph_info *out);

/* An element's level in the graph that the set has, 0 without one. */
int graph_level(const struct vset *v, slot_id slot);

/* Stops all work; to be called before the builders end. graph_end_jobs() when
 * they have ended. */
void graph_cancel_all(struct keyspace *ks);
void graph_end_jobs(struct keyspace *ks);

/* What the builder pool is to be created with: see pool_options. */
void *graph_worker_init(void *arg);
void graph_worker_deinit(void *scratch, void *arg);

#endif
