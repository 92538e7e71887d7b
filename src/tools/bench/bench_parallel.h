/* Work over a range of items on a few threads: generating sets, printing
 * numbers, computing exact neighbours. */
#ifndef VECTRA_TOOLS_BENCH_PARALLEL_H
#define VECTRA_TOOLS_BENCH_PARALLEL_H

#include "base/err.h"

enum { BENCH_THREADS_MAX = 64 };

/* Calls fn(arg, worker, from, to) for pieces of [0, n) of at most `piece`
 * items, from n_threads threads (1..BENCH_THREADS_MAX), and returns when all
 * are done. `worker` is below n_threads and tells the threads apart.
 *
 * fails  with the first error fn returned; pieces not begun by then are left
 *        out. */
enum err bench_parallel_run(unsigned n_threads, uint64_t n, uint64_t piece,
                            enum err (*fn)(void *arg, unsigned worker,
                                           uint64_t from, uint64_t to),
                            void *arg) MUST_USE;

#endif
