/* What training and assignment share: finding the nearest of many codes. */
#ifndef VECTRA_INDEX_IVF_CENTROIDS_IMPL_H
#define VECTRA_INDEX_IVF_CENTROIDS_IMPL_H

#include "index/ivf/centroids.h"

enum {
    IVF_TILE = 256, /* codes scored at a time */
    IVF_CLOSE_MAX = 24,
};

struct ivf_scratch {
    uint8_t *memory; /* VEC_ALIGN-aligned */
    size_t size;
    float keys[VEC_BATCH_MAX * IVF_TILE];
    uint32_t at[IVF_TILE];
};

/* At least `size` bytes, aligned; what was there before is lost. */
void *ivf_scratch_room(struct ivf_scratch *s, size_t size);

/* Those codes whose keys are at most `slack` above the least. */
struct ivf_close {
    float least;
    float slack;
    uint32_t n;
    uint32_t at[IVF_CLOSE_MAX];
    float keys[IVF_CLOSE_MAX];
};

/* Scores n codes, numbered from `first` on, for nq <= VEC_BATCH_MAX queries and
 * goes on to fill close[]; bias, if any, is added to keys. */
void ivf_scan_close(const struct vec_query *const *q, size_t nq,
                    const struct vec_format *f, const uint8_t *codes,
                    uint32_t first, uint32_t n, const float *bias,
                    struct ivf_close *close, struct ivf_scratch *s);

void ivf_close_init(struct ivf_close *c, float slack);

/* The nearest of those that are close: of equals the first. */
uint32_t ivf_close_first(const struct ivf_close *c);

/* As lists compare vectors: x made a unit vector where directions count. A
 * vector without a direction stays zero. out may be x. */
void ivf_straighten(enum vec_metric metric, const float *x, uint32_t dim,
                    float *out);

/* Of straightened vectors. */
float ivf_distance(enum vec_metric metric, const float *a, const float *b,
                   uint32_t dim);

/* The format of codes. */
void ivf_coded_format(struct vec_format *f, enum vec_metric metric,
                      uint32_t dim);

/* Codes a straightened vector without the centre; one that is too large for
 * that becomes zero. room: dim floats. False in that case. */
bool ivf_encode(const struct vec_format *f, const float *x, const float *centre,
                float *room, uint8_t *code);

#endif
