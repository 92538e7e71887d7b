/* A navigable small-world graph over the rows of a set: HNSW (Malkov and
 * Yashunin, arXiv 1603.09320), built in batches behind the writes.
 *
 * A node is a row number (a slot). Its links on level 0 are one fixed row of
 * 2M ids; one node in M also has links on level 1, one in M^2 on level 2, and
 * so on. A node's level is a function of the graph's seed and the node's
 * number, so it is known before the node is linked and room for its links is
 * made with its page. A graph that was built elsewhere says which levels its
 * numbers have, for good (hnsw_image.h); those it does not speak of are drawn.
 *
 * Readers take no lock and write nothing shared. A link row is a row of
 * independent 32-bit ids, and any mixture of old and new ones is a valid set of
 * links, because
 *
 *  G1  an id is written into a row only when its vector (and code) is there;
 *  G2  a dead node stays traversable until a sweep has taken its id out of
 * every row and the searches under way then have ended.
 *
 * Building a batch has phases, each worked off in units by any number of
 * threads, each finished before the next begins:
 *
 *     PLAN   per node: search the graph as it was before the batch, choose
 *            neighbours, write the node's own rows; nobody links to it yet
 *     SORT   one unit at a time: back-links ordered by target
 *     LINK   per group of targets: each target's row is changed by one thread
 *
 * so a batch needs no lock either, and the graph does not depend on how many
 * threads built it:
 *
 *  G3  For a given seed, the same batches of the same vectors give the same
 *      links.
 *
 * Rows that are equal to the bit are chained: the first is a node like any
 * other, each further one hangs behind it by a single marked link that pruning
 * never touches. A thousand copies then cost a thousand links and do not crowd
 * everything else out of each other's rows.
 *
 * thread the owner (the loop) calls everything but the functions marked
 *        otherwise, and never two of batch, sweep and check at a time. */
#ifndef VECTRA_INDEX_HNSW_HNSW_H
#define VECTRA_INDEX_HNSW_HNSW_H

#include "base/epoch.h"
#include "base/region.h"
#include "index/verdicts.h"
#include "vec/row_map.h"
#include "vec/vec.h"

enum {
    HNSW_M_MIN = 4,
    HNSW_M_MAX = 4096,
    HNSW_LEVEL_MAX = 16, /* nodes' own are one less at most */
};

/* Nodes past this stay out of the graph: ids have 31 bits. */
#define HNSW_NODE_MAX ((uint32_t)0x7ffffffe)

struct hnsw;
struct hnsw_scratch;

struct hnsw_options {
    const struct vec_format *stored; /* of the set's rows */
    /* What the graph compares. When it is another type than `stored`, the graph
     * keeps codes of its own beside the links. Both outlive the graph. */
    const struct vec_format *format;
    uint32_t m;  /* links per node and level, twice that on level 0 */
    uint32_t ef; /* how many candidates a node's links are chosen from */
    uint64_t seed;
    struct region *region;
    struct epoch *epoch;
    /* Memory that will be written to before long; may be NULL. */
    void (*expect)(void *arg, void *memory, size_t bytes);
    void *arg;
};

/* Memory that a graph of n nodes takes, about; region and epoch of the options
 * are not looked at. */
size_t hnsw_bytes_for(const struct hnsw_options *o, uint32_t n);

/* fails  NULL when memory is out. */
struct hnsw *hnsw_create(const struct hnsw_options *o);

/* thread any, once nobody looks at it. */
void hnsw_destroy(struct hnsw *h);

/* Frees some pages of a graph that is to be destroyed; true when there are
 * more.
 */
bool hnsw_take_apart(struct hnsw *h, uint32_t n_pages);

/* Where searches begin: what is taken now serves a search as long as a ticket
 * is open that was opened now, whatever becomes of the graph. */
uint64_t hnsw_start(const struct hnsw *h);

/* Nodes that are linked, dead ones included until they are swept. */
uint32_t hnsw_count(const struct hnsw *h);
uint32_t hnsw_m(const struct hnsw *h);

/* Whether it was built elsewhere: levels are not drawn from the seed. */
bool hnsw_has_levels(const struct hnsw *h);

/* Nodes that its pages have room for. */
uint32_t hnsw_room(const struct hnsw *h);

const struct vec_format *hnsw_format(const struct hnsw *h);
bool hnsw_has_codes(const struct hnsw *h);
size_t hnsw_bytes(const struct hnsw *h);

/* A node's level, linked or not. thread any. */
int hnsw_level(const struct hnsw *h, uint32_t node);

/* The level nodes of a seed and M draw; hnsw_level() of a graph to come. */
int hnsw_level_of(uint64_t seed, uint32_t m, uint32_t node);

/* ---- scratch: one per thread that searches or builds --------------------- */

struct hnsw_scratch *hnsw_scratch_create(void);
void hnsw_scratch_destroy(struct hnsw_scratch *s);

/* For telling numbers below n apart: hnsw_meet() is true the first time it is
 * asked about one. Until the next search. */
void hnsw_meet_begin(struct hnsw_scratch *s, uint32_t n);
bool hnsw_meet(struct hnsw_scratch *s, uint32_t number);

/* A scratch has a byte for each node of a graph, so that a search looks at none
 * twice. For graphs of more than exact_max nodes, which is some millions, it
 * only has `places` for what was seen last, a power of two: what a search
 * forgets it scores again. For tests; the places must be at least 2^-15 of the
 * nodes. */
void hnsw_scratch_limit(struct hnsw_scratch *s, size_t exact_max,
                        uint32_t places);

/* ---- searching. thread any ----------------------------------------------- */

struct hnsw_search {
    const struct vec_query *query; /* of hnsw_format() */
    struct row_map rows;           /* of the view */
    uint32_t n_slots;              /* of the view: nodes at or past it are not
                                    * looked at */
    uint64_t start;                /* hnsw_start() as of the view; 0: now */
    uint32_t ef;
    /* How many of them matter: the search then ends when the next node to go
     * through is as much farther than the k-th as the ef-th usually is. It so
     * takes less where that is clear, and more where it is not. 0: the ef
     * nearest met are gone through, whatever their distances. */
    size_t k;
    /* When set, asked now and then: true ends the search, without an answer. */
    bool (*stop)(const void *arg);
    /* When set, asked of each node that is scored: nodes that fail are
     * travelled through but take no place in the answer. */
    bool (*admits)(const void *arg, uint32_t node);
    const void *arg;
    size_t want; /* the answer's first so many are enough; 0: all */
    /* Nodes that fail are not scored but looked through: for filters that a
     * third to a thirtieth of the nodes pass. ef then counts nodes that pass.
     * Only nodes without a verdict are asked about on the way. Seeds are linked
     * nodes that pass, wherever they are. */
    const struct verdicts *two_hop; /* NULL: not so */
    const uint32_t *seeds;
    uint32_t n_seeds;
    uint32_t asks_most; /* of admits(); 0: no bound */
    /* the answer: topk entries, best first, in memory of the scratch's; at most
     * ef of them, dead nodes among them unless admits() said no. */
    const uint64_t *found;
    size_t n_found;
    bool exhausted; /* more effort would find no more */
    size_t met;     /* of the nodes, when exhausted: all that links lead to */
    uint32_t asked; /* two_hop's questions to admits() */
    bool gave_up;   /* after asks_most; what was found is no answer */
    uint32_t scored;
    uint32_t hops;
};

/* Finds about the ef nearest nodes. */
void hnsw_search(const struct hnsw *h, struct hnsw_search *s,
                 struct hnsw_scratch *scratch);

/* A node's links to others that are in the graph, on a level: up to `room` ids;
 * returns how many. None of a node that is not linked. thread the owner; and a
 * forked child's, if the builders were at rest between two units. */
size_t hnsw_links(const struct hnsw *h, uint32_t node, int level, uint32_t *out,
                  size_t room);

/* The row the graph compares a node by. */
const uint8_t *hnsw_row(const struct hnsw *h, const struct row_map *rows,
                        uint32_t node);

/* ---- building ------------------------------------------------------------ */

struct hnsw_batch;

/* Begins a batch. nodes are not in the graph, below HNSW_NODE_MAX, and their
 * rows stay as they are until the batch has ended; `dead` is a bitmap over
 * node numbers of what must not be linked to, or NULL.
 *
 * owns   nodes is copied; dead is the caller's and stays.
 * fails  NULL when memory is out, nothing changed. */
struct hnsw_batch *hnsw_batch_begin(struct hnsw *h, const uint32_t *nodes,
                                    uint32_t n, const struct row_map *rows,
                                    const uint64_t *dead);

/* Before its first unit: `gone`, a bitmap over all nodes there are, says which
 * have died, though they are not to be swept yet. New nodes link to them only
 * where there are few others, and hang behind none of them in a chain. NULL for
 * none; the caller's, and stays. */
void hnsw_batch_avoid(struct hnsw_batch *b, const uint64_t *gone);

/* Nodes below n are to be linked by the next batches: makes room for them now,
 * as far as there is memory, so that it is found elsewhere (`expect`). */
void hnsw_expect(struct hnsw *h, uint32_t n);

/* How big a batch is worth while on a graph of this size. */
uint32_t hnsw_batch_size(const struct hnsw *h, uint32_t waiting);

/* Units of the current phase, 0 when the batch is complete. Units are taken by
 * number, each once, by any thread. */
uint32_t hnsw_batch_units(const struct hnsw_batch *b);

/* Works one unit of the current phase. thread any. */
void hnsw_batch_unit(struct hnsw_batch *b, uint32_t unit,
                     struct hnsw_scratch *scratch);

/* Goes on to the next phase when all units of this one are done. */
void hnsw_batch_next(struct hnsw_batch *b);

/* The nodes are in the graph; frees the batch. */
void hnsw_batch_end(struct hnsw_batch *b);

/* Frees a batch that no thread works on, whatever its phase; the graph may then
 * only be destroyed. */
void hnsw_batch_abandon(struct hnsw_batch *b);

/* ---- repairing ----------------------------------------------------------- */

struct hnsw_sweep;

/* Begins taking the nodes of a bitmap out of every row. The bitmap covers every
 * page of the graph (hnsw_bitmap_words()) and stays until the end; rows are of
 * a view that covers all nodes.
 *
 * fails  NULL when memory is out. */
struct hnsw_sweep *hnsw_sweep_begin(struct hnsw *h, const uint64_t *dead,
                                    const struct row_map *rows);

/* Units of the current phase. */
uint32_t hnsw_sweep_units(const struct hnsw_sweep *w);
void hnsw_sweep_unit(struct hnsw_sweep *w, uint32_t unit,
                     struct hnsw_scratch *scratch);

/* Goes on to the next phase; false when there is none. */
bool hnsw_sweep_next(struct hnsw_sweep *w);

/* No row mentions the dead nodes any more, and they are no nodes any more; a
 * search under way may still travel through them. */
void hnsw_sweep_end(struct hnsw_sweep *w);

/* 64-bit words of a bitmap over all nodes. */
size_t hnsw_bitmap_words(const struct hnsw *h);

/* ---- checking ------------------------------------------------------------ */

/* A node, and a level it has that no search which is led there comes to it on.
 */
struct hnsw_lost {
    uint32_t node;
    int level;
};

/* Walks the graph as searches do, level by level from its entry, `budget` nodes
 * per call, and says when it is done; then *lost lists what no path leads to.
 * fails  NULL. */
struct hnsw_walk;
struct hnsw_walk *hnsw_walk_begin(struct hnsw *h);

/* thread any, one at a time. True when there is more. */
bool hnsw_walk_step(struct hnsw_walk *w, uint32_t budget);
size_t hnsw_walk_lost(const struct hnsw_walk *w, const struct hnsw_lost **lost);
void hnsw_walk_end(struct hnsw_walk *w);

/* Makes a node that was lost somebody's neighbour, whatever that costs. */
void hnsw_reattach(struct hnsw *h, struct hnsw_lost lost,
                   const struct row_map *rows, const uint64_t *dead,
                   struct hnsw_scratch *scratch);

/* Whether a node is in the graph. thread the owner, and whoever works on the
 * graph for it. */
bool hnsw_is_linked(const struct hnsw *h, uint32_t node);

/* Checks every node's links: ids of nodes only, no node twice in a row, none of
 * itself, levels as they should be, an entry of the highest level. */
struct hnsw_check {
    const struct hnsw *h;
    uint32_t node;      /* where it goes on */
    uint32_t n_linked;  /* below */
    bool paused;        /* a batch is under way: links may lead to its nodes */
    const char *broken; /* what was found; NULL: nothing */
};
void hnsw_check_begin(struct hnsw_check *c, const struct hnsw *h);

/* Looks at `budget` nodes; true when there is more. thread any, one at a
 * time. */
bool hnsw_check_step(struct hnsw_check *c, uint32_t budget);

/* Checks all of it; aborts on a violation. */
void hnsw_validate(const struct hnsw *h);

#endif
