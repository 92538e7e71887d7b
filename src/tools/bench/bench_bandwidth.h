/* How fast one thread reads memory: what an exact scan is held against. */
#ifndef VECTRA_TOOLS_BENCH_BANDWIDTH_H
#define VECTRA_TOOLS_BENCH_BANDWIDTH_H

#include "base/err.h"

struct bench_bandwidth {
    size_t l3_bytes;    /* as the system says; 0 when it does not */
    size_t cache_bytes; /* size of the buffer that fits the cache */
    size_t big_bytes;   /* size of the one that does not */
    double cache_gb_s;  /* 1e9 bytes per second, the best of some passes */
    double big_gb_s;
};

/* Reads both buffers front to back again and again, for about seconds each.
 *
 * fails  ERR_NOMEM. */
enum err bench_bandwidth_measure(double seconds, struct bench_bandwidth *out,
                                 struct err_ctx *ctx) MUST_USE;

#endif
