/* A matrix of float32 rows: mapped from a file, converted from one, or made up.
 *
 * Row i is `dim` little-endian float32 at rows + i * stride. Files of plain
 * floats and .fvecs are used where they lie; .bvecs and .ivecs are widened to
 * floats in memory. */
#ifndef VECTRA_TOOLS_BENCH_VECTORS_H
#define VECTRA_TOOLS_BENCH_VECTORS_H

#include "tools/bench/bench_file.h"

enum bench_random_kind {
    BENCH_RANDOM_GAUSSIAN,  /* independent standard normal components */
    BENCH_RANDOM_UNIFORM,   /* independent components in [-1, 1) */
    BENCH_RANDOM_CLUSTERED, /* normal, around one of n / 256 normal centres */
};

struct bench_vectors {
    const uint8_t *rows;
    size_t stride;
    uint64_t n;
    uint32_t dim;
    struct bench_file file; /* what rows points into, or ... */
    float *heap;            /* ... this */
};

#define BENCH_VECTORS_NONE                                                     \
    ((struct bench_vectors){.rows = NULL, .file = BENCH_FILE_NONE})

static inline const void *bench_vectors_row(const struct bench_vectors *v,
                                            uint64_t i)
{
    return v->rows + i * v->stride;
}

/* A file of n x dim floats and nothing else.
 *
 * fails  ERR_CORRUPT when the size is another. */
enum err bench_vectors_open_plain(const char *path, uint64_t n, uint32_t dim,
                                  struct bench_vectors *out,
                                  struct err_ctx *ctx) MUST_USE;

/* An .fvecs, .bvecs or .ivecs file, told by its name: rows of a 32-bit length
 * and so many floats, bytes or 32-bit integers. At most `limit` rows (0: all).
 *
 * fails  ERR_CORRUPT for a truncated file or rows of unequal length,
 *        ERR_UNSUPPORTED for another name. */
enum err bench_vectors_open(const char *path, uint64_t limit,
                            struct bench_vectors *out,
                            struct err_ctx *ctx) MUST_USE;

/* Made-up rows first..first + n - 1 of the endless set that `seed`, the kind
 * and `of_n` (which gives the number of clusters) describe: the same row has
 * the same content whatever n and n_threads are. */
enum err bench_vectors_random(enum bench_random_kind kind, uint64_t first,
                              uint64_t n, uint64_t of_n, uint32_t dim,
                              uint64_t seed, unsigned n_threads,
                              struct bench_vectors *out,
                              struct err_ctx *ctx) MUST_USE;

void bench_vectors_close(struct bench_vectors *v);

/* A number that changes when the rows do: made of the shape and of up to 1024
 * rows spread over the matrix. */
uint64_t bench_vectors_fingerprint(const struct bench_vectors *v);

#endif
