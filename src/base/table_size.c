/* What a table takes, and making it take less. See table.h. */
#include <math.h>

#include "base/table_impl.h"

/* ---- fitting ----------------------------------------------------------- */

/* The least capacity for so many that does not fill up with the next few. They
 * are a size of the allocator's apart, about. */
static uint16_t cap_for(const struct table *t, uint32_t used)
{
    static const uint16_t caps[] = {16,  32,  48,  64,  96,  128, 192, 248,
                                    304, 352, 408, 504, 608, 712, 816};
    size_t i;

    for (i = 0; i < ARRAY_LEN(caps) && caps[i] < cap_max(t); i++) {
        if (cap_limit(caps[i]) > used + used / 32 + 4) {
            return caps[i];
        }
    }
    return cap_max(t);
}

void table_fit(struct table *t, uint64_t *cursor)
{
    enum { LOOK = 64, COPY = 4 };
    uint32_t looked, copied = 0;

    for (looked = 0; looked < LOOK && copied < COPY && t->count; looked++) {
        uint64_t hash = *cursor;
        struct table_segment *seg = table_segment_of(t, hash);
        uint16_t cap = cap_for(t, seg->used);
        uint64_t span = seg->depth ? (uint64_t)1 << (64 - seg->depth) : 0;

        if (block_cost(t, segment_bytes(t, cap)) <
            block_cost(t, segment_bytes(t, seg->cap))) {
            if (table_segment_rebuild(t, hash, seg, cap) != ERR_OK) {
                *cursor = 0;
                return;
            }
            copied++;
        }
        *cursor = span ? (hash & ~(span - 1)) + span : 0; /* 0 at the end */
        if (*cursor == 0) {
            return;
        }
    }
    *cursor = t->count ? *cursor : 0;
}

/* ---- what it takes ----------------------------------------------------- */

/* The share of segments that get more than `limit` references when they get
 * `mean` of them on average. */
static double share_above(double limit, double mean)
{
    return 0.5 * erfc((limit + 0.5 - mean) / sqrt(2 * mean));
}

static size_t bytes_for(int ref_bytes, struct region *region, size_t n,
                        bool fit)
{
    struct table t = {.region = region, .ref_bytes = (uint8_t)ref_bytes};
    uint16_t cap = CAP_MIN;
    double segments = 1, places = 1, limit = cap_limit(cap_max(&t));
    size_t entries = 1;

    while (cap_limit(cap) < n && cap < cap_max(&t)) {
        cap = cap_next(&t, cap);
    }
    if (n <= cap_limit(cap)) {
        cap = fit && cap_for(&t, (uint32_t)n) < cap ? cap_for(&t, (uint32_t)n)
                                                    : cap;
        return n ? block_cost(&t, segment_bytes(&t, cap)) : 0;
    }
    /* Each segment that ever got too many is two now. */
    for (; places < (double)n; places *= 2) {
        double split = places * share_above(limit, (double)n / places);

        segments += split;
        if (split >= 0.5) {
            entries = (size_t)places * 2;
        }
    }
    if (fit) {
        cap = cap_for(&t, (uint32_t)((double)n / segments));
    }
    return (size_t)(segments * (double)block_cost(&t, segment_bytes(&t, cap))) +
           block_cost(&t, entries * sizeof(struct table_segment *));
}

size_t table_bytes_for(int ref_bytes, struct region *region, size_t n)
{
    return bytes_for(ref_bytes, region, n, false);
}

size_t table_bytes_fit(int ref_bytes, struct region *region, size_t n)
{
    return bytes_for(ref_bytes, region, n, true);
}

size_t table_insert_cost(const struct table *t, uint64_t hash)
{
    const struct table_segment *seg = table_segment_of(t, hash);
    size_t cost;

    if (!seg) {
        return block_cost(t, segment_bytes(t, CAP_MIN));
    }
    if (seg->filled < cap_limit(seg->cap)) {
        return 0;
    }
    if (seg->cap < cap_max(t)) {
        return block_cost(t, segment_bytes(t, cap_next(t, seg->cap)));
    }
    cost = 2 * block_cost(t, segment_bytes(t, seg->cap));
    if (seg->depth == t->depth) {
        cost += block_cost(t, sizeof(struct table_segment *) << (t->depth + 1));
    }
    return cost;
}
