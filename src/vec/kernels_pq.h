/* What the files of product quantization share, and what each has for itself.
 *
 * Learning points and making codes compare a part with 16 points, one to each
 * lane: sums go along components, so any width of vectors gives the same. It is
 * plain C, compiled once per instruction set. */
#ifndef VECTRA_VEC_KERNELS_PQ_H
#define VECTRA_VEC_KERNELS_PQ_H

#include "vec/pq.h"
#include "vec/vec_impl.h"

enum {
    /* Entries of a table are at most this: four of them fit a byte. */
    PQ_ENTRY_MAX = 63,
    PQ_GROUP = 4,
    PQ_RATIO_ONE = 16384, /* the ratio 1 as u16 */
};

struct vec_pq_query {
    const struct vec_pq *pq;
    uint32_t groups; /* of 16 parts, the last one padded with zeros */
    /* key = add + square + ratio * (sum * step + base) */
    float add;
    float step;
    float base;
    _Alignas(VEC_ALIGN) uint8_t tables[]; /* 16 entries per part */
};

struct vec_pq_kernels {
    /* Which of the 16 points a part of a vector is nearest to. */
    void (*nearest)(const float *x, const float *points, size_t parts,
                    size_t part, uint8_t *out);
    /* out[i] = sum over components of term(x, point i), for each part. */
    void (*table)(enum vec_op op, const float *x, const float *points,
                  size_t parts, size_t part, float *out);
    void (*scan)(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys);
};

ALWAYS_INLINE void pq_sums(enum vec_op op, const float *x, const float *points,
                           size_t part, float *sums)
{
    float s[VEC_PQ_POINTS] = {0};
    size_t i, k;

    for (i = 0; i < part; i++) {
        for (k = 0; k < VEC_PQ_POINTS; k++) {
            float p = points[i * VEC_PQ_POINTS + k];
            float d = x[i] - p;

            s[k] += op == VEC_OP_DOT  ? x[i] * p
                    : op == VEC_OP_L2 ? d * d
                                      : __builtin_fabsf(d);
        }
    }
    memcpy(sums, s, sizeof(s));
}

ALWAYS_INLINE void pq_nearest(const float *x, const float *points, size_t parts,
                              size_t part, uint8_t *out)
{
    float sums[VEC_PQ_POINTS];
    size_t j, k;

    for (j = 0; j < parts; j++) {
        float least;
        uint8_t at = 0;

        pq_sums(VEC_OP_L2, x + j * part, points + j * part * VEC_PQ_POINTS,
                part, sums);
        least = sums[0];
        for (k = 1; k < VEC_PQ_POINTS; k++) {
            at = sums[k] < least ? (uint8_t)k : at;
            least = sums[k] < least ? sums[k] : least;
        }
        out[j] = at;
    }
}

ALWAYS_INLINE void pq_table(enum vec_op op, const float *x, const float *points,
                            size_t parts, size_t part, float *out)
{
    size_t j;

    for (j = 0; j < parts; j++) {
        const float *p = points + j * part * VEC_PQ_POINTS;
        float *to = out + j * VEC_PQ_POINTS;

        if (op == VEC_OP_DOT) {
            pq_sums(VEC_OP_DOT, x + j * part, p, part, to);
        } else {
            pq_sums(VEC_OP_L1, x + j * part, p, part, to);
        }
    }
}

#define PQ_PLAIN                                                               \
    static void nearest(const float *x, const float *points, size_t parts,     \
                        size_t part, uint8_t *out)                             \
    {                                                                          \
        pq_nearest(x, points, parts, part, out);                               \
    }                                                                          \
    static void table(enum vec_op op, const float *x, const float *points,     \
                      size_t parts, size_t part, float *out)                   \
    {                                                                          \
        pq_table(op, x, points, parts, part, out);                             \
    }

/* The sum of a lane as a key: in float32, and in this order. */
ALWAYS_INLINE float pq_key(const struct vec_pq_query *q, const uint8_t *block,
                           uint32_t lane, uint32_t sum)
{
    const struct vec_pq *pq = q->pq;
    float key = (float)sum * q->step + q->base;
    float add = q->add;
    uint16_t ratio;

    if (pq->ratio_at) {
        memcpy(&ratio, block + pq->ratio_at + 2 * lane, sizeof(ratio));
        key *= (float)ratio;
    }
    if (pq->square_at) {
        add += vec_load_f32(block + pq->square_at + 4 * lane);
    }
    return add + key;
}

/* Asks for the block after the next. */
ALWAYS_INLINE void pq_fetch(const uint8_t *const *blocks, size_t i, size_t n,
                            size_t bytes)
{
    size_t at;

    if (i + 2 < n && blocks[i + 2]) {
        for (at = 0; at < bytes; at += CACHE_LINE) {
            __builtin_prefetch(blocks[i + 2] + at, 0, 2);
        }
    }
}

#endif
