/* The inside of tending: shared by lists_tend.c, lists_split.c and
 * lists_merge.c. */
#ifndef VECTRA_DB_LISTS_TEND_IMPL_H
#define VECTRA_DB_LISTS_TEND_IMPL_H

#include "db/lists/lists_impl.h"

enum {
    TEND_SPLITS_MAX = 4,  /* of one job */
    TEND_MERGES_MAX = 64, /* likewise */
    TEND_MERGE_SHARE = 5, /* of the mean: a list with fewer rows is merged */
};

/* What is due. */
struct lists_need {
    uint32_t n_splits, split[TEND_SPLITS_MAX];
    uint32_t n_merges, merge[TEND_MERGES_MAX];
    bool compact;
};

/* A job that tends. */
struct lists_tending {
    uint32_t n_splits, n_merges;
    uint32_t split[TEND_SPLITS_MAX]; /* lists */
    uint32_t first[TEND_SPLITS_MAX]; /* of job->slots, theirs: */
    uint32_t rows[TEND_SPLITS_MAX];
    bool is_split[TEND_SPLITS_MAX];
    double least;                    /* rows of the smaller half */
    float *means;                    /* two for each */
    uint32_t merge[TEND_MERGES_MAX]; /* lists, ascending */
    uint32_t *new_of_old, *old_of_new;
    struct ivf_centroids *made;
    uint32_t n_old, n_new;
    int64_t emptied_ns; /* since when blocks are waited for; 0: not yet */
};

/* ---- lists_tend.c ------------------------------------------------------- */

/* With room for so many rows. fails  NULL when memory is out. */
struct lists_job *lists_begin_tend_job(struct lists *l, uint32_t rows);

/* Takes the rows of a list; true when all of them are there. */
bool lists_take_list(struct lists_job *job, uint32_t list);

/* Lanes of a list: at most so many rows. */
uint32_t lists_rows_of(const struct lists *l, uint32_t list);

/* Finds where all rows of the job belong by the centroids that were made. */
void lists_begin_placing(struct lists_job *job,
                         void (*placed)(struct lists_job *job));

/* Moves rows, a slice at a time; then the job ends. */
void lists_tended(struct lists_job *job);

/* ---- lists_split.c, lists_merge.c: begin a job; false when they cannot --- */

bool lists_begin_splitting(struct lists *l, const struct lists_need *need);
bool lists_begin_merging(struct lists *l, const struct lists_need *need);

/* Whether a list of so many rows could not be split when it was tried last. */
bool lists_is_stuck(const struct lists *l, uint32_t list, uint32_t rows);
void lists_renumber_stuck(struct lists *l, const uint32_t *new_of_old);

#endif
