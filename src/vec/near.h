/* The nearest of many int8 vectors by squared distance, for many queries: what
 * assigning rows to centroids comes down to.
 *
 * Vectors lie in blocks of sixteen, four components of each after the other, so
 * that sixteen distances are summed up side by side, no sum is ever added up
 * across a register, and a block that has been loaded meets several queries.
 * Each query keeps the least key it has met in each of the sixteen lanes: the
 * nearest vector is the least of these, and most of the others that are nearly
 * as near are there, too.
 *
 *     block:  add f32[16], mul f32[16], codes u8[ceil(dim / 4)][16][4]
 *     key  =  add - mul * (2 * the query's grain) * (sum of products of codes)
 *
 * which is the squared distance without the query's own square. Keys are the
 * same to the bit on all machines.
 *
 * thread any, after vec_simd_select(). Nothing here allocates or locks. */
#ifndef VECTRA_VEC_NEAR_H
#define VECTRA_VEC_NEAR_H

#include <stdint.h>

#include "base/macros.h"

enum { VEC_NEAR_LANES = 16 };

/* A vector: codes times grain. */
struct vec_near_vector {
    const int8_t *codes;
    float grain;
};

/* Blocks begin at addresses that are multiples of 64. */
size_t vec_near_block_bytes(uint32_t dim);

/* Makes a block of n <= VEC_NEAR_LANES vectors; nothing is ever near to the
 * lanes left over. add, if any, is added to the keys of each. */
void vec_near_pack(uint32_t dim, const struct vec_near_vector *v, size_t n,
                   const float *add, uint8_t *block);

struct vec_near_query {
    float mul;
    int32_t sum; /* of the codes, times 128 */
    float square;
    float keys[VEC_NEAR_LANES];  /* the least, infinite to begin with */
    uint32_t at[VEC_NEAR_LANES]; /* and the position it was met at */
    uint8_t codes[];             /* padded to a multiple of four */
};

/* A multiple of 64. */
size_t vec_near_query_bytes(uint32_t dim);
void vec_near_query_init(struct vec_near_query *q, uint32_t dim,
                         const struct vec_near_vector *v);

/* Scores n blocks, the vectors of which have positions from `first` on, for nq
 * queries that all are different. */
void vec_near_scan(struct vec_near_query *const *q, size_t nq, uint32_t dim,
                   const uint8_t *blocks, size_t n, uint32_t first);

/* All keys of n blocks instead: of query j from keys[j * stride] on, 16 for
 * each block. */
void vec_near_keys(struct vec_near_query *const *q, size_t nq, uint32_t dim,
                   const uint8_t *blocks, size_t n, float *keys, size_t stride);

#endif
