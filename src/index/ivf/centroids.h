/* The centroids of inverted lists: which list a row belongs to, and which lists
 * a query should look through.
 *
 * Lists are made by nearness: COSINE and IP compare directions, that is unit
 * vectors by their squared distance, L2 the vectors themselves, L1 by L1. A key
 * here is such a distance from a centroid: smaller is nearer, and a query's key
 * may be compared with other keys of the same centroids, nothing else.
 *
 * All centroids are scored by int8 codes, of what is left when the mean of all
 * rows has been taken away: a common part of all vectors so costs no precision.
 * What codes cannot tell apart is compared in float32.
 *
 * Once made, centroids do not change: any number of threads may look at them.
 * Keys and lists do not depend on how many rows are asked about at once, nor on
 * the order. */
#ifndef VECTRA_INDEX_IVF_CENTROIDS_H
#define VECTRA_INDEX_IVF_CENTROIDS_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "index/ivf/groups.h"

enum {
    IVF_LISTS_MAX = 65536,
    IVF_CENTROIDS_OVERHEAD = 64, /* at most, of the serialised form */
};

struct ivf_centroids {
    uint32_t n; /* lists are 0 .. n - 1 */
    uint32_t dim;
    enum vec_metric metric; /* of the set */
    float *rows;            /* n * dim; of unit length for COSINE and IP */
    float *centre;          /* dim; what is taken away from all vectors */
    /* What is scored: codes of rows[i] - centre, in groups. */
    struct vec_format coded; /* I8 with L2 */
    struct ivf_groups groups;
    float reach; /* typical norm of a coded centroid, and what code 1 means */
    float grain;
    size_t bytes; /* of memory, all of it */
};

/* owns   caller; rows and centre are copied. For COSINE and IP rows are made
 *        unit vectors first. centre NULL: the mean of the rows.
 * fails  ERR_NOMEM; ERR_NOT_FINITE. */
enum err ivf_centroids_create(enum vec_metric metric, uint32_t dim, uint32_t n,
                              const float *rows, const float *centre,
                              struct ivf_centroids **out) MUST_USE;
void ivf_centroids_destroy(struct ivf_centroids *c);

/* Memory one thread needs to ask about rows and queries; of any centroids. It
 * grows as needed and then stays. */
struct ivf_scratch;
struct ivf_scratch *ivf_scratch_create(void);
void ivf_scratch_destroy(struct ivf_scratch *s);

/* ---- rows. thread any ---------------------------------------------------- */

/* The list each of n vectors belongs to; x holds dim floats of each, finite,
 * for COSINE of any length.
 *
 * out    keys: how far from its centroid each is; NULL when not wanted. */
void ivf_assign(const struct ivf_centroids *c, const float *x, size_t n,
                uint32_t *lists, float *keys, struct ivf_scratch *s);

/* The same for stored rows, wherever they are; prefetches. */
void ivf_assign_rows(const struct ivf_centroids *c,
                     const struct vec_format *stored,
                     const uint8_t *const *rows, size_t n, uint32_t *lists,
                     float *keys, struct ivf_scratch *s);

/* The key of one vector and one list, in float32. */
float ivf_key(const struct ivf_centroids *c, uint32_t list, const float *x);

/* ---- queries. thread any ------------------------------------------------- */

struct ivf_near {
    uint32_t list;
    float key;
};

/* The lists nearest to a query, nearest first; returns how many: n_probe, or
 * all there are. */
uint32_t ivf_probe(const struct ivf_centroids *c, const float *query,
                   uint32_t n_probe, struct ivf_near *out,
                   struct ivf_scratch *s);

/* The same for nq <= VEC_BATCH_MAX queries in one pass: the answer of query j
 * begins at out[j * n_probe]. */
uint32_t ivf_probe_many(const struct ivf_centroids *c,
                        const float *const *queries, size_t nq,
                        uint32_t n_probe, struct ivf_near *out,
                        struct ivf_scratch *s);

/* ---- bytes --------------------------------------------------------------- */

/* The serialised form: the same bytes for the same centroids, on any machine.
 * docs/formats says what is where. */
enum { IVF_CENTROIDS_HEAD = 16 };
size_t ivf_centroids_size(const struct ivf_centroids *c);
void ivf_centroids_write(const struct ivf_centroids *c, uint8_t *out);

/* The same without a copy: so many bytes that come first, and all others. */
void ivf_centroids_head(const struct ivf_centroids *c,
                        uint8_t out[IVF_CENTROIDS_HEAD]);
struct bytes ivf_centroids_floats(const struct ivf_centroids *c);

/* owns   caller.
 * fails  ERR_CORRUPT for what ivf_centroids_write() cannot have written, or is
 *        of another metric or dimension; ERR_NOMEM. */
enum err ivf_centroids_read(const uint8_t *data, size_t len,
                            enum vec_metric metric, uint32_t dim,
                            struct ivf_centroids **out) MUST_USE;

/* As lists compare vectors: x made a unit vector where directions count. A
 * vector without a direction stays zero. out may be x. */
void ivf_straighten(enum vec_metric metric, const float *x, uint32_t dim,
                    float *out);

#endif
