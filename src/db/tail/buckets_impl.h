/* Shared by buckets*.c. */
#ifndef VECTRA_DB_BUCKETS_IMPL_H
#define VECTRA_DB_BUCKETS_IMPL_H

#include "db/tail/buckets.h"

/* Rows, in the format they are compared in, with room for what is read behind
 * them. Memory for n of them. */
size_t buckets_rows_bytes(const struct vec_format *codes, size_t n);

/* Copies rows of slots into such memory: `list`, or those from `first` on. One
 * that was being written may become anything. thread any. */
void buckets_read_rows(const struct bucket_formats *f, const uint32_t *list,
                       uint32_t first, uint32_t n, uint8_t *out);

/* The nearest centroid of each of n rows. thread any. */
void buckets_nearest(const struct bucket_centroids *c, const uint8_t *rows,
                     uint32_t n, uint16_t *out);

/* Rows that buckets_nearest() takes a quarter of a millisecond for. */
uint32_t buckets_unit_rows(const struct bucket_centroids *c);

#endif
