/* Lists in groups: which few of many centroids are worth scoring.
 *
 * A few hundred centroids are scored one and all. Of more, those that lie near
 * each other form a group with a head, about as many groups as a group has
 * members; a vector meets the heads first and then the members of the nearest
 * groups only. That its nearest centroid is among them is likely, not certain.
 *
 * Centroids lie in blocks of vec/near.h, those of a group together. Groups
 * follow from the centroids' codes, to the bit, so they are made anew wherever
 * centroids are read.
 *
 * thread any; groups that are made are only read. */
#ifndef VECTRA_INDEX_IVF_GROUPS_H
#define VECTRA_INDEX_IVF_GROUPS_H

#include <stdbool.h>

#include "vec/vec.h"

enum { IVF_GROUPS_MAX = 256 };

/* The list at a place of a block that is left over. */
#define IVF_LIST_NONE UINT32_MAX

struct ivf_scratch;

struct ivf_groups {
    uint32_t dim;
    uint32_t n_lists;
    uint32_t n;      /* 1: there is nothing to choose */
    uint32_t *start; /* the first block of each, and the end */
    uint32_t *ids;   /* the list at each position */
    uint32_t *group; /* of each list */
    uint8_t *heads;  /* blocks of the groups' heads */
    uint8_t *blocks; /* of the centroids */
};

/* Groups of so many lists need so much memory, aligned to VEC_ALIGN. */
size_t ivf_groups_bytes(uint32_t dim, uint32_t n_lists);
void ivf_groups_init(struct ivf_groups *g, uint32_t dim, uint32_t n_lists,
                     void *memory);

/* Groups the centroids with these I8 rows, which lie by list. Those that are
 * not `fresh` begin with the groups there are. add, if any, is added to the
 * keys of each list.
 *
 * fails  ERR_NOMEM. */
enum err ivf_groups_make(struct ivf_groups *g, const struct vec_format *f,
                         const uint8_t *rows, const float *add, bool fresh,
                         struct ivf_scratch *s) MUST_USE;

/* The groups nearest to a query, nearest first: at most `want`. keys are those
 * of the heads; returns how many. */
uint32_t ivf_groups_choose(const struct ivf_groups *g, const float *keys,
                           uint32_t want, uint32_t *out);

#endif
