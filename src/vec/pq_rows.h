/* Rows of products: vectors of which no more is kept than a code (pq.h).
 *
 *     code                    pad   norm f32    ratio u16   0 u16
 *     0 ... code_bytes        ..4   factor_at
 *
 * The norm is that of the vector; L2 needs its square, too, which is computed.
 * A ratio of 0 says that the vector is zero. Rows lie one after the other like
 * any others, so that they are stored, moved, saved and read as these are. To
 * be scored, 32 of them are turned into a block of pq.h first: that takes about
 * as long as scoring it, and many queries share it.
 *
 * Keys are those of a block, estimates of what the vector's would be; they are
 * the same to the bit on all machines, and whichever way rows are scored.
 *
 * thread any. Nothing here allocates or locks. */
#ifndef VECTRA_VEC_PQ_ROWS_H
#define VECTRA_VEC_PQ_ROWS_H

#include "vec/pq.h"

enum {
    VEC_PQ_ROW_M_MAX = 2048,
    VEC_PQ_ROW_DIM_MAX = 8192,
    VEC_PQ_ROW_PART_MAX = 8, /* of more components nothing is left */
};

/* Whether vectors can be kept as such rows. */
bool vec_pq_has_rows(enum vec_metric metric, uint32_t dim, uint32_t m);

/* Stores a vector as it is compared (vec_decode_unit()), and its norm. */
void vec_pq_row_put(const struct vec_format *f, const float *x, float norm,
                    uint8_t *row);

/* The vector a row stands for, as it is compared. */
void vec_pq_row_get(const struct vec_format *f, const uint8_t *row, float *out);

/* What vec_scan(), vec_gather() and vec_scan_within() do for such rows. */
void vec_pq_rows_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                      float *keys);
void vec_pq_rows_gather(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys);
void vec_pq_rows_within(const struct vec_query *const *q, size_t nq,
                        const float *limits, const uint8_t *rows, size_t n,
                        const struct vec_within *out);

#endif
