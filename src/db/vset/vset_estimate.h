/* What a vector set would take, before there is one.
 *
 * Each part is asked what it takes for so many elements; what is up to chance
 * (how names are spread over a hash table, which nodes of a graph have upper
 * levels) is taken as it is on average. The result is a few percent off at
 * most, for a set whose elements were added and not replaced much since.
 *
 * thread any. */
#ifndef VECTRA_DB_VSET_ESTIMATE_H
#define VECTRA_DB_VSET_ESTIMATE_H

#include "db/lists/lists_options.h"
#include "db/vset/vset.h"

struct vset_estimate_of {
    struct vset_options options; /* AUTO: what a set of that size has */
    struct lists_options lists;  /* for INDEX IVF; 0: the defaults */
    uint32_t count;
    uint32_t name_len;      /* mean */
    struct bytes attribute; /* one like those of all elements; empty: none */
};

struct vset_estimate {
    enum vset_index index; /* FLAT, HNSW or IVF */
    uint64_t code_bytes;   /* as of struct vset_info */
    uint64_t name_bytes;
    uint64_t attribute_bytes;
    uint64_t index_bytes;
    uint64_t memory_bytes; /* all of it */
};
void vset_estimate(const struct vset_estimate_of *of,
                   struct vset_estimate *out);

#endif
