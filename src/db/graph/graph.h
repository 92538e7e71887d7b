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
 * been given out again. Of a long tail only the newest part is scanned; for the
 * rest see graph_tail.c.
 *
 *  B1  Every live slot is in the body, in the tail, or in both; a search that
 *      looks at both as they were when it was dispatched misses nothing (of a
 *      body, and of buckets, what they are good for).
 *  B2  A slot in the body, or in a batch, is not used again when it dies, but
 *      held until no link leads to it (see slots_free()).
 *  B3  At most one job (batch, sweep, walk or check) of a graph is under way.
 *
 * A graph that is asked for anew is built beside the one that answers, if there
 * is one, and takes its place when it holds all that was there when it was
 * begun. Until then nothing is swept, so that each slot is held for one reason
 * only; a slot is used again when neither graph leads to it.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_GRAPH_H
#define VECTRA_DB_GRAPH_H

#include "base/err.h"
#include "db/vset/vset.h"
#include "index/hnsw/hnsw.h"

struct bucket_dir;
struct graph;
struct keyspace;

/* Elements from which on a set that is to choose for itself has a graph, and
 * below which it gives it up again. */
uint32_t graph_worthwhile_at(const struct vset *v);
uint32_t graph_worthwhile_for(const struct vec_format *f);
uint32_t graph_given_up_at(const struct vset *v);

/* Gives a set that has none a graph with nothing in it: all elements are tail.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err graph_begin(struct vset *v) MUST_USE;

/* Begins to build a graph that will answer searches in the place of what does
 * so now; one that was being built is given up. M and EF as the set's options.
 *
 * out    *build: its number, for graph_is_built().
 * fails  ERR_NOMEM, or no room for it under maxmemory; nothing changed. */
enum err graph_build(struct vset *v, uint64_t *build) MUST_USE;

/* Whether a graph answers that is that one or a later one; never when it was
 * given up for good. */
bool graph_is_built(const struct vset *v, uint64_t build);
bool graph_is_given_up(const struct vset *v, uint64_t build);

/* Gives all graphs of a set up; what works on them stops, and they are freed
 * when that has stopped and the searches under way have ended. */
void graph_drop_all(struct vset *v);

/* The set itself goes: nothing new is begun. */
void graph_detach(struct vset *v);

/* Detaches the graphs of all sets of a database. */
void graph_detach_all(struct keyspace *ks, const struct database *db);

/* Frees what a set that nobody looks at any more has. thread any. */
void graph_free(struct vset *v);

/* ---- writes ------------------------------------------------------------ */

/* Makes sure that noting a slot cannot fail. fails  ERR_NOMEM. */
enum err graph_prepare(struct vset *v, slot_id slot) MUST_USE;

/* An element came to live in a slot, or lives there no more. */
void graph_note_put(struct vset *v, slot_id slot);
void graph_note_gone(struct vset *v, slot_id slot);

/* Gives a set its first graph, if it is large enough by now. */
void graph_begin_if_due(struct vset *v);

/* A slot is dead for everybody; true when it is to be held (B2). */
bool graph_holds(struct vset *v, slot_id slot);

/* Begins what there is to do, if it is worth while by now; `any`: also if it is
 * little. */
void graph_pump(struct vset *v, bool any);

/* Whether a job is under way. */
bool graph_is_busy(const struct vset *v);

/* Pumps every graph; some times a second. */
void graph_pump_all(struct keyspace *ks);

/* ---- files ------------------------------------------------------------- */

/* Whether so many elements are worth pages for that many nodes: a graph that
 * came with its set is kept so long, however small the set. */
bool graph_fills(uint32_t count, uint32_t room);
bool graph_came_along(const struct vset *v);

/* A graph that is read from a file, for a set whose slots are there; nobody
 * knows of it until it is installed.
 *
 * fails  NULL when memory is out. */
struct graph *graph_image_begin(struct vset *v, uint32_t m, uint32_t ef);
struct hnsw *graph_image_hnsw(struct graph *g);
void graph_image_abandon(struct graph *g);

/* Lets it answer. What is live and not linked is its tail, of which the slots
 * from fresh_from on lie together; what is linked and dead is to be swept.
 * walk: it is to be walked soon.
 *
 * fails  ERR_NOMEM; ERR_CORRUPT: there are nodes from fresh_from on. Abandon it
 *        then. */
enum err graph_image_install(struct graph *g, slot_id fresh_from,
                             bool walk) MUST_USE;

/* Of the graph that answers: where its tail lies together, its effort of
 * linking. */
slot_id graph_fresh_from(const struct vset *v);
uint32_t graph_ef(const struct vset *v);

/* Whether it has a walk before it. */
bool graph_walk_is_due(const struct vset *v);

/* ---- searches ---------------------------------------------------------- */

/* What a search captures with its view. */
struct graph_view {
    const struct hnsw *hnsw; /* NULL: everything is tail */
    uint64_t start;          /* hnsw_start() */
    uint32_t nodes;          /* dead ones included */
    uint32_t dead;           /* of them, about */
    slot_id fresh_from;
    slot_id raw_from;    /* of fresh slots: those in no bucket */
    const slot_id *late; /* used slots of the tail that are in none */
    uint32_t n_late;
    const struct bucket_dir *buckets; /* the rest of the tail; may be NULL */
    uint32_t bucketed;                /* rows of it, about */
};

void graph_view_take(const struct vset *v, struct graph_view *out);

/* The graph of a set that has one. */
const struct hnsw *graph_of(const struct vset *v);

/* How long searches through the graph took of late, in times of what was
 * estimated; and what tells it. Rows differ in how far a search must go, and
 * machines in how fast it gets there. */
double graph_pace(const struct vset *v);
void graph_note_pace(struct vset *v, int64_t estimated_ns, int64_t took_ns);

/* What is remembered of a set with a graph, for choosing its index. */
struct index_watch;
struct index_watch *graph_watch(const struct vset *v);

/* ---- what is known ------------------------------------------------------- */

struct graph_info {
    bool has_graph; /* one that answers */
    uint64_t build; /* its number */
    uint32_t m, ef;
    uint32_t nodes;    /* in the body, dead ones included */
    uint32_t dead;     /* to be swept */
    uint32_t tail;     /* slots not in the body, about */
    uint32_t bucketed; /* of them, found through buckets */
    int max_level;     /* of the live elements */
    bool is_building;  /* another one is on its way */
    uint32_t built;    /* nodes it has */
    uint32_t to_build; /* slots it has not looked at yet */
    size_t bytes;      /* of all graphs */
    const char *job;   /* "none", "batch", "sweep", "walk", "check" */
};
void graph_info_read(const struct vset *v, struct graph_info *out);

/* Memory of a set's graphs; and what the graph of a set of n elements takes. */
size_t graph_bytes(const struct vset *v);
size_t graph_promised(const struct vset *v); /* see mem_promise() */
size_t graph_bytes_for(const struct vec_format *stored, uint32_t m, uint32_t n);

/* Graphs that answer, and slots that graphs have not taken in yet; of these
 * those that are found through buckets. */
void graph_count_all(const struct keyspace *ks, uint64_t *graphs,
                     uint64_t *tail, uint64_t *bucketed);

/* Whether an element can be asked for its links. */
bool graph_has(const struct vset *v, slot_id slot);

/* An element's level in the graph that the set has, 0 without one. */
int graph_level(const struct vset *v, slot_id slot);

/* The live elements an element links to on a level: up to `room`. */
size_t graph_links(const struct vset *v, slot_id slot, int level, slot_id *out,
                   size_t room);

/* The scores of an element and others, as stored. */
void graph_link_scores(const struct vset *v, slot_id slot, const slot_id *links,
                       size_t n, double *scores);

/* Whether a dead slot is held for a graph's sake. */
bool graph_is_holding(const struct vset *v, slot_id slot);

/* ---- waiting ------------------------------------------------------------- */

/* Told once, when something has happened to some graph. */
struct graph_waiter {
    void (*told)(struct graph_waiter *w);
    struct graph_waiter *next;
    struct graph_waiter **at; /* what points here; NULL: not waiting */
};
void graph_wait(struct keyspace *ks, struct graph_waiter *w);
void graph_stop_waiting(struct graph_waiter *w);

/* Something happened. */
void graph_tell(struct keyspace *ks);

/* ---- checking ------------------------------------------------------------ */

/* Asks for the graph that answers to be checked by a builder. */
struct graph_check {
    uint64_t build;
    uint32_t number;
};
void graph_ask_check(struct vset *v, struct graph_check *out);

/* Whether the check has been made, or cannot be any more; *broken is then what
 * it found, or NULL. */
bool graph_was_checked(const struct vset *v, const struct graph_check *check,
                       const char **broken);

/* Checks what must hold of the slots from `first` on, at most n of them, at any
 * instant: B1, B2 and the bookkeeping. NULL, or what is broken. */
const char *graph_check_slots(const struct vset *v, slot_id first, uint32_t n);

/* ---- forking ------------------------------------------------------------- */

/* Before the process forks, the builders are to be at rest: pool_pause() on
 * keyspace->builders asks them, and they are within a unit, which takes up to
 * a millisecond of a processor at 1,536 dimensions. Searches need not rest, nor
 * need what else the workers do: they change nothing that a set consists of.
 *
 * In a child forked then, by the loop and between two commands, everything that
 * the loop may read of the sets is as it is for the loop: slots, rows, names,
 * attributes, options, levels; hnsw_is_linked(), hnsw_links() and hnsw_start()
 * of the graphs. It must allocate nothing from a set's region and call nothing
 * that waits for another thread. A batch or a sweep may be under way:
 *
 *  F1  A node is in the graph or not, by hnsw_is_linked(). Nodes of the batch
 *      are not yet; rows may lead to them already, so hnsw_links() leaves them
 *      out. What is left is a graph, if one that has a few links less.
 *  F2  Dead nodes are in the graph until their sweep has ended. On disk they
 *      are what is in the graph and not live.
 *  F3  What is not in the graph is in the tail.
 *
 * The builders may stay at rest as long as the child lives, so that it need
 * not have copies of the link rows that they would write; writes are then kept
 * in the tail, and searches look at all of it. What a job under way holds is
 * kept so long, too: memory of sets that are dropped meanwhile. */

/* ---- the end ------------------------------------------------------------- */

/* Stops all work; to be called before the builders end. graph_end_jobs() when
 * they have ended. */
void graph_cancel_all(struct keyspace *ks);
void graph_end_jobs(struct keyspace *ks);

/* What the builder pool is to be created with: see pool_options. */
void *graph_worker_init(void *arg);
void graph_worker_deinit(void *scratch, void *arg);

#endif
