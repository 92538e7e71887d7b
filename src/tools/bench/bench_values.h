/* Vectors as decimal text, the way VALUES takes them.
 *
 * Printing a number costs more than sending it, so the texts of the rows that a
 * run will use are made before its clock starts, when there is memory for them,
 * and printed on the fly when there is not. */
#ifndef VECTRA_TOOLS_BENCH_VALUES_H
#define VECTRA_TOOLS_BENCH_VALUES_H

#include "base/buf.h"
#include "tools/bench/bench_vectors.h"

enum { BENCH_VALUES_TEXT_MAX = 64 };

/* Writes x with so many decimals (0..9) or, for -1, as the shortest decimal
 * that reads back as the same float32. Returns the length; no NUL.
 *
 * out    BENCH_VALUES_TEXT_MAX bytes. */
size_t bench_values_format(float x, int decimals, char *out);

/* Appends a row as dim + 1 RESP bulk strings: the dimension and the values. */
void bench_values_render(const struct bench_vectors *v, uint64_t row,
                         int decimals, struct buf *out);

struct bench_values;

/* The texts of rows first .. first + n - 1, made by n_threads.
 *
 * owns   caller; bench_values_destroy(). v must outlive it.
 * fails  ERR_LIMIT when they would take more than about max_bytes. */
enum err bench_values_create(const struct bench_vectors *v, uint64_t first,
                             uint64_t n, int decimals, unsigned n_threads,
                             size_t max_bytes,
                             struct bench_values **out) MUST_USE;
void bench_values_destroy(struct bench_values *t);

/* What bench_values_render() would append. */
struct bytes bench_values_row(const struct bench_values *t, uint64_t row);

#endif
