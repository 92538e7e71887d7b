/* A whole invocation: the data, the commands, what is asked before, the runs
 * and what is said about them. */
#ifndef VECTRA_TOOLS_BENCH_RUN_H
#define VECTRA_TOOLS_BENCH_RUN_H

#include <stdatomic.h>

#include "tools/bench/bench_options.h"

/* Does what the options ask and prints it to stdout.
 *
 * in     stop: set from a signal handler, it ends a run early.
 * fails  whatever stood in the way; ctx says it in one line. *below: the run
 *        went well, but recall is less than --check-recall. */
enum err bench_run(const struct bench_options *o, const _Atomic bool *stop,
                   bool *below, struct err_ctx *ctx) MUST_USE;

#endif
