/* Exact neighbours: computed from the original floats, cached, or read from a
 * file; and recall against them.
 *
 * Truth is for the queries of a set against its rows first .. first + n - 1.
 * Computing it is a blocked scan: a block of rows, encoded for the metric,
 * stays in the cache while all queries pass over it, and each thread keeps the
 * k best of every query in a heap. The result is cached in a file named after
 * the content of both matrices, the metric and the range. */
#ifndef VECTRA_TOOLS_BENCH_TRUTH_H
#define VECTRA_TOOLS_BENCH_TRUTH_H

#include "tools/bench/bench_vectors.h"
#include "vec/vec.h"

/* What truth is asked of. */
struct bench_question {
    const struct bench_vectors *base;
    const struct bench_vectors *query;
    enum vec_metric metric;
    uint64_t first, n; /* base rows that are in the set */
    uint32_t k;
};

/* ids[q * k + i] is the row (of base) of the i-th neighbour of query q, and
 * keys[q * k + i] its score (vec.h). Where there are fewer than k, the rest of
 * the ids is UINT32_MAX. */
struct bench_truth {
    uint64_t nq;
    uint32_t k;
    uint32_t *ids;
    float *keys;
};

/* Computes truth.
 *
 * owns   caller; bench_truth_free().
 * fails  ERR_NOT_FINITE for a row or query that is, ERR_LIMIT for more than
 *        2^32 - 2 rows, ERR_NOMEM. */
enum err bench_truth_compute(const struct bench_question *q, unsigned n_threads,
                             struct bench_truth *out,
                             struct err_ctx *ctx) MUST_USE;

/* The same, from the cache folder when it is there, else computed and stored.
 * The cache keeps at least 100 neighbours, so that one file serves many k. A
 * file that cannot be read or written is no failure; it is computed anew.
 *
 * in     folder: NULL for no cache. *computed tells what was done. */
enum err bench_truth_get(const struct bench_question *q, const char *folder,
                         unsigned n_threads, struct bench_truth *out,
                         bool *computed, struct err_ctx *ctx) MUST_USE;

/* From an .ivecs file of row numbers, nearest first, one line per query.
 *
 * fails  ERR_CORRUPT when it is not of that shape or names rows there are
 *        not. */
enum err bench_truth_read(const struct bench_question *q, const char *path,
                          struct bench_truth *out,
                          struct err_ctx *ctx) MUST_USE;

/* From neighbours found elsewhere (a server's own exact answer): ids as in
 * struct bench_truth, n_found[q] of them for query q. */
enum err bench_truth_from_ids(const struct bench_question *q,
                              const uint32_t *ids, const uint32_t *n_found,
                              struct bench_truth *out,
                              struct err_ctx *ctx) MUST_USE;

void bench_truth_free(struct bench_truth *t);

/* The share of query number `query`'s true neighbours that an answer of n row
 * numbers holds. A row as near as the k-th neighbour counts as one of them, a
 * row given twice counts once. Where the truth has fewer than k neighbours
 * (small or filtered sets), the share is of those there are; 1 when none.
 *
 * in     rows: of base; UINT32_MAX for a name of no row, counts as a miss. */
double bench_truth_recall(const struct bench_question *q,
                          const struct bench_truth *t, uint64_t query,
                          const uint32_t *rows, uint32_t n);

#endif
