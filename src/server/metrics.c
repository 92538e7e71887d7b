/* Rates: see metrics.h. */
#include "server/metrics.h"

void metrics_sample(struct metrics_rate *r, uint64_t total, time_us now)
{
    time_us passed = now - r->at;

    if (r->at != 0 && passed < METRICS_PERIOD_US) {
        return;
    }
    if (r->at != 0 && total >= r->total) {
        r->per_second[r->next] =
            (total - r->total) * 1000000 / (uint64_t)passed;
        r->next = (r->next + 1) % METRICS_SAMPLES;
    }
    r->total = total;
    r->at = now;
}

uint64_t metrics_rate(const struct metrics_rate *r)
{
    uint64_t sum = 0;
    int i;

    for (i = 0; i < METRICS_SAMPLES; i++) {
        sum += r->per_second[i];
    }
    return sum / METRICS_SAMPLES;
}
