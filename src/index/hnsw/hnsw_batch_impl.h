/* The inside of a batch: shared by hnsw_build.c, hnsw_plan.c and hnsw_link.c.
 */
#ifndef VECTRA_INDEX_HNSW_HNSW_BATCH_IMPL_H
#define VECTRA_INDEX_HNSW_HNSW_BATCH_IMPL_H

#include "index/hnsw/hnsw_impl.h"

enum { BATCH_NODES_PER_UNIT = 8 }; /* of PHASE_CODE */

enum phase {
    PHASE_CODE, /* store codes and hash them */
    PHASE_TWIN, /* find equal ones within the batch */
    PHASE_PLAN,
    PHASE_SORT,
    PHASE_LINK,
    PHASE_DONE,
};

/* A link to be made from target back to source. */
struct back_link {
    uint32_t target;
    uint32_t source;
    float key;
    int level;
};

struct batch_node {
    uint32_t node;
    uint32_t head; /* the node it is chained behind, or LINK_NONE */
    bool twin;     /* of one in the batch; as of PHASE_TWIN */
    uint32_t first_link;
    uint32_t n_links;
    uint64_t hash;
    /* What a greedy walk finds on the levels above 0: a pool entry, and its
     * region, by which nodes are put in order. */
    uint64_t way_in;
    uint32_t region;
};

struct hnsw_batch {
    struct hnsw *h;
    enum phase phase;
    uint32_t n;
    bool mates;
    const uint64_t *dead;
    const uint64_t *gone; /* see hnsw_batch_avoid() */
    struct row_map rows;
    struct batch_node *nodes;
    uint64_t *order; /* region and index of each node, sorted */
    struct back_link *links, *sorted;
    uint32_t n_links;
    uint32_t *starts; /* first back-link of each target */
    uint32_t n_targets;
    uint32_t targets_per_unit;
    /* of PHASE_SORT */
    bool gathered, in_order;
    int shift;        /* the digit that is next */
    uint32_t highest; /* target */
};

/* See hnsw_batch_avoid(). */
static inline bool batch_is_gone(const struct hnsw_batch *b, uint32_t node)
{
    return bit_test(b->gone, node);
}

/* ---- units of the phases; thread any ------------------------------------- */

/* hnsw_plan.c */
void hnsw_code_unit(struct hnsw_batch *b, uint32_t unit,
                    struct hnsw_scratch *s);
void hnsw_twin_unit(struct hnsw_batch *b);
void hnsw_plan_unit(struct hnsw_batch *b, uint32_t unit,
                    struct hnsw_scratch *s);

/* hnsw_link.c. Sorting does as much as is to be done at once, and
 * hnsw_batch_next() has the rest done. */
void hnsw_sort_unit(struct hnsw_batch *b);
void hnsw_link_unit(struct hnsw_batch *b, uint32_t unit,
                    struct hnsw_scratch *s);

#endif
