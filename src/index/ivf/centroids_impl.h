/* What training and assignment share: finding the nearest of many centroids for
 * many vectors. */
#ifndef VECTRA_INDEX_IVF_CENTROIDS_IMPL_H
#define VECTRA_INDEX_IVF_CENTROIDS_IMPL_H

#include "index/ivf/centroids.h"
#include "vec/near.h"

enum { IVF_BATCH_MAX = 256 /* vectors looked at together */ };

struct ivf_scratch {
    uint8_t *memory; /* VEC_ALIGN-aligned */
    size_t size;
    /* Vectors looked at together. */
    uint32_t n;
    struct vec_near_query *queries[IVF_BATCH_MAX];
    float keys[VEC_BATCH_MAX * IVF_GROUPS_MAX]; /* of heads */
    /* Which of the vectors want a group. */
    uint64_t wanted[IVF_GROUPS_MAX][IVF_BATCH_MAX / 64];
};

/* At least `size` bytes, aligned; what was there before is lost. */
void *ivf_scratch_room(struct ivf_scratch *s, size_t size);

/* How many vectors are looked at together: their queries fit into a cache. */
uint32_t ivf_batch_size(uint32_t dim);

/* Each of the scratch's queries meets the centroids that are worth it. */
void ivf_batch_scan(const struct ivf_groups *g, struct ivf_scratch *s);

/* The position nearest to a query: of equals the lowest. */
uint32_t ivf_nearest_of(const struct vec_near_query *q);

/* An I8 row as vec/near.h wants it. */
struct vec_near_vector ivf_vector(const struct vec_format *f,
                                  const uint8_t *row);

/* sums += what an I8 row stands for. */
void ivf_add_code(const struct vec_format *f, const uint8_t *row, float *sums);

/* Of straightened vectors. */
float ivf_distance(enum vec_metric metric, const float *a, const float *b,
                   uint32_t dim);

/* Codes a straightened vector without the centre; one that is too large for
 * that becomes zero. room: dim floats. False in that case. */
bool ivf_encode(const struct vec_format *f, const float *x, const float *centre,
                float *room, uint8_t *row);

#endif
