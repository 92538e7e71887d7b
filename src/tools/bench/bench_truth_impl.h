/* Shared by bench_truth*.c. */
#ifndef VECTRA_TOOLS_BENCH_TRUTH_IMPL_H
#define VECTRA_TOOLS_BENCH_TRUTH_IMPL_H

#include "tools/bench/bench_truth.h"

/* Room for k neighbours of nq queries, their content undefined.
 *
 * owns   caller; bench_truth_free().
 * fails  ERR_NOMEM. */
enum err bench_truth_alloc(uint64_t nq, uint32_t k, struct bench_truth *out,
                           struct err_ctx *ctx) MUST_USE;

#endif
