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
    /* The codes of 32 vectors, one by itself each (vec_pq_encode()), as those
     * of a block. Up to 15 bytes behind a code are read. */
    void (*turn)(const uint8_t *const *rows, uint32_t m, uint8_t *block);
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

/* 16 bytes of each of 16 rows, turned: one register for each byte. In registers
 * of 32 bytes the two halves are such squares by themselves. */
typedef uint8_t pq_v16 __attribute__((vector_size(16)));
typedef uint8_t pq_v32 __attribute__((vector_size(32)));

#define PQ_LOW16(a, b)                                                         \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, \
                            22, 7, 23)
#define PQ_HIGH16(a, b)                                                        \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,    \
                            29, 14, 30, 15, 31)
#define PQ_LOW32(a, b)                                                         \
    __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, \
                            38, 7, 39, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, \
                            21, 53, 22, 54, 23, 55)
#define PQ_HIGH32(a, b)                                                        \
    __builtin_shufflevector(a, b, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13,    \
                            45, 14, 46, 15, 47, 24, 56, 25, 57, 26, 58, 27,    \
                            59, 28, 60, 29, 61, 30, 62, 31, 63)

/* Four times rows i and i + 8 become 2i and 2i + 1, byte by byte. */
#define PQ_TURN(W)                                                             \
    ALWAYS_INLINE void pq_turn_tile_##W(const uint8_t *const *rows,            \
                                        size_t from, pq_v##W *t)               \
    {                                                                          \
        pq_v##W u[16];                                                         \
        size_t i, round;                                                       \
                                                                               \
        for (i = 0; i < 16; i++) {                                             \
            memcpy(&t[i], rows[i] + from, W);                                  \
        }                                                                      \
        for (round = 0; round < 2; round++) {                                  \
            for (i = 0; i < 8; i++) {                                          \
                u[2 * i] = PQ_LOW##W(t[i], t[i + 8]);                          \
                u[2 * i + 1] = PQ_HIGH##W(t[i], t[i + 8]);                     \
            }                                                                  \
            for (i = 0; i < 8; i++) {                                          \
                t[2 * i] = PQ_LOW##W(u[i], u[i + 8]);                          \
                t[2 * i + 1] = PQ_HIGH##W(u[i], u[i + 8]);                     \
            }                                                                  \
        }                                                                      \
    }                                                                          \
                                                                               \
    /* Parts 2 * from on of all 32 rows; at most `parts` of them. */           \
    ALWAYS_INLINE void pq_turn_bytes_##W(                                      \
        const uint8_t *const *rows, size_t from, size_t parts, uint8_t *block) \
    {                                                                          \
        pq_v##W a[16], b[16], even, odd;                                       \
        size_t i, half;                                                        \
                                                                               \
        pq_turn_tile_##W(rows, from, a);                                       \
        pq_turn_tile_##W(rows + 16, from, b);                                  \
        for (i = 0; i < 16; i++) {                                             \
            even = (a[i] & 15) | (b[i] << 4);                                  \
            odd = (a[i] >> 4) | (b[i] & 0xf0);                                 \
            for (half = 0; half < W / 16; half++) {                            \
                size_t part = 2 * (i + 16 * half);                             \
                                                                               \
                if (part < parts) {                                            \
                    memcpy(block + 16 * part, (uint8_t *)&even + 16 * half,    \
                           16);                                                \
                }                                                              \
                if (part + 1 < parts) {                                        \
                    memcpy(block + 16 * part + 16,                             \
                           (uint8_t *)&odd + 16 * half, 16);                   \
                }                                                              \
            }                                                                  \
        }                                                                      \
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
