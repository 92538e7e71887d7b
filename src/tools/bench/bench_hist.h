/* A histogram of latencies with buckets that widen with the value.
 *
 * Values are nanoseconds. Each power of two is cut into 128 equal buckets, so
 * a percentile is known to within 0.8 % from 128 ns up to 137 s; smaller values
 * are exact and larger ones count into the last bucket. The exact minimum,
 * maximum and sum are kept beside the buckets. */
#ifndef VECTRA_TOOLS_BENCH_HIST_H
#define VECTRA_TOOLS_BENCH_HIST_H

#include <stdint.h>

enum {
    BENCH_HIST_SUB_BITS = 7,
    BENCH_HIST_MAX_BITS = 37, /* 2^37 ns are 137 s */
    BENCH_HIST_BUCKETS = (BENCH_HIST_MAX_BITS - BENCH_HIST_SUB_BITS + 1)
                         << BENCH_HIST_SUB_BITS,
};

struct bench_hist {
    uint64_t count;
    int64_t min, max; /* meaningful when count is not 0 */
    double sum;
    uint64_t buckets[BENCH_HIST_BUCKETS];
};

void bench_hist_init(struct bench_hist *h);

/* Counts n equal values; negative ones count as 0. */
void bench_hist_record(struct bench_hist *h, int64_t ns, uint64_t n);

/* Adds what `from` counted. */
void bench_hist_merge(struct bench_hist *h, const struct bench_hist *from);

/* The value that a share q (0..1) of all values does not exceed: the middle of
 * its bucket, held within min and max. 0 when nothing was counted. */
double bench_hist_quantile(const struct bench_hist *h, double q);

double bench_hist_mean(const struct bench_hist *h);

#endif
