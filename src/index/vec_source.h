/* What an index needs to know of the rows it searches. The floor that stores
 * them fills this in; an index sees no pages and no names.
 *
 * thread any; nothing here changes while a search is under way. */
#ifndef VECTRA_INDEX_VEC_SOURCE_H
#define VECTRA_INDEX_VEC_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

/* A run of rows that lie one after the other. */
struct vec_run {
    const uint8_t *rows;
    uint32_t first_slot;
    uint32_t n;
};

struct vec_source {
    uint32_t first_run; /* of the runs to look at; 0 for all of them */
    uint32_t n_runs;    /* the first past them */
    uint32_t row_bytes;
    /* The i-th run; runs are in slot order and cover every slot once. */
    struct vec_run (*run)(const void *arg, uint32_t i);
    /* Whether a row that scored well may be in the answer: one of this view's
     * slots, visible to this search, and passing its filter. */
    bool (*admits)(const void *arg, uint32_t slot);
    const void *arg;
};

#endif
