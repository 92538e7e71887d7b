/* What finding the nearest is made of: see near.h. Kernels score one block for
 * some queries at a time; their number and whether keys are kept or put out are
 * constants where they are instantiated. */
#ifndef VECTRA_VEC_KERNELS_NEAR_H
#define VECTRA_VEC_KERNELS_NEAR_H

#include "vec/near.h"
#include "vec/vec_impl.h"

/* Positions of a block's vectors, or where its keys go. */
struct near_out {
    uint32_t position;
    float *keys; /* NULL: they are kept by the queries */
    size_t stride;
};

enum { NEAR_CODES_AT = 2 * VEC_NEAR_LANES * sizeof(float) };

ALWAYS_INLINE void near_go_on(struct near_out *out, size_t n_blocks)
{
    out->position += (uint32_t)(n_blocks * VEC_NEAR_LANES);
    if (out->keys) {
        out->keys += n_blocks * VEC_NEAR_LANES;
    }
}

ALWAYS_INLINE size_t near_words(uint32_t dim)
{
    return ((size_t)dim + 3) / 4;
}

ALWAYS_INLINE size_t near_block_bytes(uint32_t dim)
{
    return NEAR_CODES_AT + near_words(dim) * 4 * VEC_NEAR_LANES;
}

/* All blocks for all queries: `many` at a time, then `few`; queries missing to
 * make up that number are the last one over again. One or two queries meet four
 * blocks at a time each, since a sum alone would wait for itself. */
#define NEAR_KERNEL(name, attributes, one_block, four_blocks, many, few)       \
    static attributes void name##_some(                                        \
        struct vec_near_query *const *q, size_t live, uint32_t dim,            \
        const uint8_t *blocks, size_t n, struct near_out out)                  \
    {                                                                          \
        const size_t bytes = near_block_bytes(dim);                            \
        struct vec_near_query *some[many];                                     \
        size_t i, k;                                                           \
                                                                               \
        for (k = 0; k < many; k++) {                                           \
            some[k] = q[k < live ? k : live - 1];                              \
        }                                                                      \
        for (i = 0; i < n; i++) {                                              \
            if (live <= few) {                                                 \
                one_block(some, few, live, near_words(dim),                    \
                          blocks + i * bytes, out);                            \
            } else {                                                           \
                one_block(some, many, live, near_words(dim),                   \
                          blocks + i * bytes, out);                            \
            }                                                                  \
            near_go_on(&out, 1);                                               \
        }                                                                      \
    }                                                                          \
                                                                               \
    static attributes void name##_one(struct vec_near_query *q, uint32_t dim,  \
                                      const uint8_t *blocks, size_t n,         \
                                      struct near_out out)                     \
    {                                                                          \
        const size_t bytes = near_block_bytes(dim);                            \
        size_t i;                                                              \
                                                                               \
        for (i = 0; i + 4 <= n; i += 4) {                                      \
            four_blocks(q, near_words(dim), blocks + i * bytes, bytes, out);   \
            near_go_on(&out, 4);                                               \
        }                                                                      \
        if (i < n) {                                                           \
            name##_some(&q, 1, dim, blocks + i * bytes, n - i, out);           \
        }                                                                      \
    }                                                                          \
                                                                               \
    static attributes void name(struct vec_near_query *const *q, size_t nq,    \
                                uint32_t dim, const uint8_t *blocks, size_t n, \
                                struct near_out out)                           \
    {                                                                          \
        size_t j, live;                                                        \
                                                                               \
        for (j = 0; j < nq; j += live) {                                       \
            struct near_out to = out;                                          \
                                                                               \
            if (out.keys) {                                                    \
                to.keys += j * out.stride;                                     \
            }                                                                  \
            live = nq - j < many ? nq - j : many;                              \
            if (live <= 2) {                                                   \
                live = 1;                                                      \
                name##_one(q[j], dim, blocks, n, to);                          \
            } else {                                                           \
                name##_some(q + j, live, dim, blocks, n, to);                  \
            }                                                                  \
        }                                                                      \
    }

#endif
