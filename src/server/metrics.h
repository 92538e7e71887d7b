/* Rates of the last moments, for INFO's instantaneous_*: how much totals grew,
 * averaged over the last samples, which are taken ten times a second. */
#ifndef VECTRA_SERVER_METRICS_H
#define VECTRA_SERVER_METRICS_H

#include "base/clock.h"

enum { METRICS_SAMPLES = 16, METRICS_PERIOD_US = 100000 };

struct metrics_rate {
    uint64_t total; /* at the last sample */
    time_us at;
    uint64_t per_second[METRICS_SAMPLES];
    unsigned next;
};

/* Notes what a total has come to; more often than the period is of no effect. A
 * total that fell has been reset. */
void metrics_sample(struct metrics_rate *r, uint64_t total, time_us now);

/* Per second, of late. */
uint64_t metrics_rate(const struct metrics_rate *r);

#endif
