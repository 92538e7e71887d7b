/* Reading vector sets: shared by vset_load.c and vset_import.c. */
#ifndef VECTRA_DB_VSET_LOAD_H
#define VECTRA_DB_VSET_LOAD_H

#include "base/crew.h"
#include "db/vset/vset_image_impl.h"

struct search_scratch;

/* A set to be filled that is to have so many rows; it counts in the database,
 * its elements not yet. fails  NULL. */
struct vset *vset_load_begin(struct keyspace *ks, struct database *db,
                             const struct vset_options *o, uint64_t n_rows);

/* It comes to nothing. */
void vset_load_abandon(struct vset *v);

/* Gives an element that has none an attribute, if the text is not empty.
 *
 * fails  ERR_NOMEM, ERR_LIMIT. */
enum err vset_load_attribute(struct vset *v, slot_id slot,
                             struct bytes text) MUST_USE;

/* ---- what is shared ----------------------------------------------------- */

/* Something to be done with all slots of a set, some at a time. */
struct slot_work {
    /* Does it from *slot to `end`. fails  with words, *slot the slot.
     * thread any, several at once. */
    const char *(*run)(void *arg, uint32_t *slot, uint32_t end,
                       struct search_scratch *s);
    void *arg;
    uint32_t n_slots, at_once;
    struct pool *crew; /* whose workers do it; NULL: it is done here */
};

/* NULL, or what was broken first and at which slot; also NULL when the input
 * fails meanwhile, for it is given time now and then. */
const char *vset_load_each(const struct slot_work *w, struct rdb_in *in,
                           struct keyspace *ks, uint32_t *slot);

/* What a set of rows that size is given workers for; NULL: none. */
struct pool *vset_load_crew(const struct vset *v, uint64_t n_rows);

/* Checks the nodes of a graph: see hnsw_image_check(). */
const char *vset_load_check_nodes(struct vset *v, struct hnsw *h,
                                  struct pool *crew, struct rdb_in *in,
                                  uint32_t *slot);

/* ---- vset_import.c ------------------------------------------------------- */

/* Reads a set in Redis's form. fails  NULL, the words in->why. */
struct vset *vset_import(struct rdb_in *in, struct keyspace *ks,
                         struct database *db) MUST_USE;

enum { VSET_IMPORT_SLICE = 32768 };

/* In a loop over what there is of all elements: the server has others, too. */
static inline void vset_import_pause(struct rdb_in *in, uint32_t i)
{
    if (i % VSET_IMPORT_SLICE == VSET_IMPORT_SLICE - 1) {
        rdb_yield(in);
    }
}

/* Sorts by the bits from `shift` on, a multiple of 8; what they do not tell
 * apart stays in order. *words becomes another array. fails  no memory. */
bool vset_import_sort(uint64_t **words, uint32_t n, int shift,
                      struct rdb_in *in) MUST_USE;

/* ---- vset_import_graph.c ------------------------------------------------- */

/* Links as Redis names them, by node ids, until all nodes are there. */
struct redis_links {
    uint32_t n, m;    /* nodes; room for links */
    uint8_t *levels;  /* by slot */
    uint64_t *starts; /* of each page of slots, in words */
    struct buf words; /* newest node first: for each level how many, and ids */
    uint64_t n_links;
    struct hnsw_shape shape; /* what the longest rows need */
};

/* fails  ERR_NOMEM. */
enum err vset_links_begin(struct redis_links *l, uint32_t n,
                          uint32_t m) MUST_USE;
void vset_links_end(struct redis_links *l);

/* A node, the one of the highest slot first; then its rows from level 0 on. */
void vset_links_node(struct redis_links *l, slot_id slot, uint32_t level);
void vset_links_row(struct redis_links *l, uint32_t level, const uint64_t *ids,
                    uint32_t n);

/* Gives a set that is whole but for it the graph that these links are, if they
 * are worth it; they have been found to be reciprocal. `ids` are the nodes', by
 * slot. */
void vset_links_install(struct redis_links *l, struct vset *v,
                        const uint64_t *ids, struct rdb_in *in);

#endif
