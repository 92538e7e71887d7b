/* Training: centroids of lists from a sample of rows, by k-means.
 *
 * A training has phases, each worked off in units by any number of threads,
 * each finished before the next begins (as hnsw_batch): whoever owns it hands
 * out units, and calls kmeans_next() between phases, which takes no time.
 *
 *     CENTRE   the mean of some rows
 *     TAKE     rows are fetched and kept as int8 codes: 1 + 12 / dim bytes per
 *              component; after that they are not asked for any more
 *     rounds   ASSIGN each row to its nearest centroid, SORT rows by centroid,
 *              MEANS: each centroid becomes the mean of its rows
 *     MAKE     the centroids
 *
 * K1  For a given seed, the same rows give the same centroids, whoever and
 *     however many worked the units.
 *
 * Centroids that lose all their rows are seeded anew where lists are long. */
#ifndef VECTRA_INDEX_IVF_KMEANS_H
#define VECTRA_INDEX_IVF_KMEANS_H

#include "index/ivf/centroids.h"

struct kmeans;

struct kmeans_options {
    enum vec_metric metric;
    uint32_t dim;
    uint32_t n_lists; /* 1 .. IVF_LISTS_MAX */
    uint32_t n_rows;  /* of the sample, at least n_lists */
    uint32_t rounds;  /* at most so many over all rows; 0: as usual */
    uint64_t seed;
    /* Writes n rows of the sample, dim floats each, from number `first` on; the
     * sample is in no order. Asked by several threads at a time, and about
     * a row more than once, until kmeans_has_read(). */
    void (*fetch)(const void *arg, uint32_t first, uint32_t n, float *out);
    const void *arg;
};

/* How many lists are worth while for so many rows, and how many rows suffice
 * to train so many lists. */
uint32_t kmeans_lists_for(uint64_t n_rows);
uint32_t kmeans_sample_for(uint64_t n_rows, uint32_t n_lists);

/* fails  NULL when memory is out. */
struct kmeans *kmeans_begin(const struct kmeans_options *o);

/* Bytes that training takes while it is under way. */
size_t kmeans_bytes(const struct kmeans_options *o);

/* Units of the current phase, 0 when training is complete. Units are taken by
 * number, each once, by any thread. */
uint32_t kmeans_units(const struct kmeans *k);

/* Works one unit. thread any. */
void kmeans_unit(struct kmeans *k, uint32_t unit, struct ivf_scratch *s);

/* Goes on to the next phase when all units of this one are done. */
void kmeans_next(struct kmeans *k);

/* No row is fetched any more. */
bool kmeans_has_read(const struct kmeans *k);

/* How much of it is done, 0 to 1. */
double kmeans_progress(const struct kmeans *k);

/* Hands out what was trained and frees the rest.
 *
 * owns   caller.
 * fails  ERR_NOMEM; frees all the same. */
enum err kmeans_end(struct kmeans *k, struct ivf_centroids **out) MUST_USE;

/* Frees a training that no thread works on, whatever its phase. thread any. */
void kmeans_abandon(struct kmeans *k);

#endif
