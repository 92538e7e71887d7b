#include "tools/bench/bench_hist.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"

enum { SUB = 1 << BENCH_HIST_SUB_BITS };

/* Values below SUB have a bucket each; from there the top SUB_BITS + 1 bits of
 * a value select its bucket, and the leading one need not be stored. */
static unsigned bucket_of(uint64_t v)
{
    unsigned shift, bucket;

    if (v < SUB) {
        return (unsigned)v;
    }
    shift = (unsigned)(63 - __builtin_clzll(v)) - BENCH_HIST_SUB_BITS;
    bucket = (shift << BENCH_HIST_SUB_BITS) + (unsigned)(v >> shift);
    return bucket < BENCH_HIST_BUCKETS ? bucket : BENCH_HIST_BUCKETS - 1;
}

static double bucket_middle(unsigned bucket)
{
    unsigned shift;

    if (bucket < SUB) {
        return bucket;
    }
    shift = (bucket >> BENCH_HIST_SUB_BITS) - 1;
    return ldexp(SUB + bucket % SUB, (int)shift) +
           (ldexp(1, (int)shift) - 1) / 2;
}

void bench_hist_init(struct bench_hist *h)
{
    memset(h, 0, sizeof(*h));
}

void bench_hist_record(struct bench_hist *h, int64_t ns, uint64_t n)
{
    if (n == 0) {
        return;
    }
    if (ns < 0) {
        ns = 0;
    }
    if (h->count == 0 || ns < h->min) {
        h->min = ns;
    }
    if (h->count == 0 || ns > h->max) {
        h->max = ns;
    }
    h->count += n;
    h->sum += (double)ns * (double)n;
    h->buckets[bucket_of((uint64_t)ns)] += n;
}

void bench_hist_merge(struct bench_hist *h, const struct bench_hist *from)
{
    unsigned i;

    if (from->count == 0) {
        return;
    }
    if (h->count == 0 || from->min < h->min) {
        h->min = from->min;
    }
    if (h->count == 0 || from->max > h->max) {
        h->max = from->max;
    }
    h->count += from->count;
    h->sum += from->sum;
    for (i = 0; i < BENCH_HIST_BUCKETS; i++) {
        h->buckets[i] += from->buckets[i];
    }
}

double bench_hist_quantile(const struct bench_hist *h, double q)
{
    uint64_t want = (uint64_t)ceil(q * (double)h->count);
    uint64_t seen = 0;
    unsigned i;

    if (h->count == 0) {
        return 0;
    }
    for (i = 0; i < BENCH_HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen && seen >= want) {
            double v = bucket_middle(i);

            return v < (double)h->min   ? (double)h->min
                   : v > (double)h->max ? (double)h->max
                                        : v;
        }
    }
    return (double)h->max;
}

double bench_hist_mean(const struct bench_hist *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
