/* The finer part of I8 rows.
 *
 * A code says a component to a 127th of the row's largest, which is what Redis
 * stores and what rows are searched by. Where components are very unequal or
 * have one sign that is too coarse to put the nearest few in order: of ten, one
 * in thirty is not the right one. So a row has a fine part besides, of one bit
 * for each dimension, which halves the steps; it lies apart from rows, and is
 * only read when the best of a search are scored once more, against the query
 * as it was given.
 *
 * Vectors of whole numbers (pixels, counts, vectors that were quantised before)
 * are kept exactly: halving a step would take away from those that the code
 * says exactly. As many codes as 127 make of numbers up to 255 are one or two
 * numbers each; the bit says which. The first byte of a fine part is the
 * largest number of such a vector, 0 of others. A vector may be a 255th of one.
 *
 * Bits lie in the order of components. A set bit says that what the code leaves
 * (within half a step) lies in the upper half; a component is taken to lie in
 * the middle of its half.
 *
 * thread any. Nothing here allocates or locks. */
#ifndef VECTRA_VEC_FINE_H
#define VECTRA_VEC_FINE_H

#include "vec/vec.h"

enum {
    VEC_FINE_BLOCK = 16, /* components */
    /* First byte of a fine part that says nothing: the codes are all there is.
     * As the largest of whole numbers it would be the one of which half lie
     * between two codes. */
    VEC_FINE_NONE = 254,
};

/* A row's code and factors, and its fine part. Up to 8 bytes past the fine part
 * may be read. */
struct vec_fine_row {
    const uint8_t *row;
    const uint8_t *fine;
};

/* Bytes of a row's fine part; 0 for formats that have none. */
uint32_t vec_fine_bytes(const struct vec_format *f);

/* vec_encode(), and the fine part of the row. */
enum err vec_encode_fine(const struct vec_format *f, const void *x,
                         uint8_t *row, uint8_t *fine) MUST_USE;

/* vec_decode(), as exactly as the fine part allows. */
void vec_fine_decode(const struct vec_format *f, const struct vec_fine_row *r,
                     float *out);

struct vec_fine_query;

/* A multiple of VEC_ALIGN. */
size_t vec_fine_query_bytes(const struct vec_format *f);

/* Prepares a query that vec_query_init() accepts; memory is VEC_ALIGN-aligned.
 */
struct vec_fine_query *vec_fine_query_init(const struct vec_format *f,
                                           const void *x, void *memory);

/* The key of a row: of the components it stands for, but with the length that
 * the vector had where that matters (COSINE, IP). */
float vec_fine_key(const struct vec_fine_query *q,
                   const struct vec_fine_row *r);

#endif
