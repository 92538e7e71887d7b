/* What a table takes, and making it take less. See table.h. */
#include <math.h>

#include "base/table_impl.h"

/* ---- shapes ------------------------------------------------------------ */

static const uint8_t widths[] = {9, 11, 13, TABLE_WIDEST};

static uint8_t groups_next(const struct table *t, uint8_t groups)
{
    return groups * 2 < groups_max(t) ? (uint8_t)(groups * 2) : groups_max(t);
}

struct table_shape table_shape_for(const struct table *t, uint8_t groups,
                                   uint32_t used)
{
    struct table_shape s = {groups ? groups : 1, TABLE_WIDEST};
    uint32_t least = used + used / 32 + 4;
    size_t i = groups ? 0 : ARRAY_LEN(widths) - 1;

    for (;;) {
        for (; i < ARRAY_LEN(widths); i++) {
            s.width = widths[i];
            if (shape_limit(s) > least) {
                return s;
            }
        }
        if (s.groups == groups_max(t)) {
            return s;
        }
        s.groups = groups_next(t, s.groups);
        i = 0;
    }
}

struct table_shape table_shape_next(const struct table *t, struct table_shape s)
{
    size_t i;

    for (i = 0; i < ARRAY_LEN(widths); i++) {
        if (widths[i] > s.width) {
            return (struct table_shape){s.groups, widths[i]};
        }
    }
    return table_shape_for(t, groups_next(t, s.groups), shape_limit(s));
}

/* ---- fitting ----------------------------------------------------------- */

void table_fit(struct table *t, uint64_t *cursor)
{
    enum { LOOK = 64, COPY = 4 };
    uint32_t looked, copied = 0;

    for (looked = 0; looked < LOOK && copied < COPY && t->count; looked++) {
        uint64_t hash = *cursor;
        struct table_segment *seg = table_segment_of(t, hash);
        struct table_shape shape = table_shape_for(t, 0, seg->used);
        uint64_t span = seg->depth ? (uint64_t)1 << (64 - seg->depth) : 0;

        if (block_cost(t, shape_bytes(t, shape)) <
            block_cost(t, shape_bytes(t, shape_of(seg)))) {
            if (table_segment_rebuild(t, hash, seg, shape) != ERR_OK) {
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

/* Bytes of a segment that so many were stored into, on average. */
static double segment_bytes(const struct table *t, double mean, bool fit)
{
    struct table_shape s = {groups_max(t), 0};
    double bytes = 0, before = 0;
    size_t i;

    for (i = 0; i < ARRAY_LEN(widths); i++) {
        double share;

        share = before
                    ? share_above(fit ? before - before / 32 - 4 : before, mean)
                    : 1;
        s.width = widths[i];
        bytes += share * (double)block_cost(t, shape_bytes(t, s));
        if (i > 0) {
            s.width = widths[i - 1];
            bytes -= share * (double)block_cost(t, shape_bytes(t, s));
            s.width = widths[i];
        }
        before = shape_limit(s);
    }
    return bytes;
}

static size_t bytes_for(int ref_bytes, struct region *region, size_t n,
                        bool fit)
{
    struct table t = {.region = region, .ref_bytes = (uint8_t)ref_bytes};
    struct table_shape s = SHAPE_FIRST;
    double places = 1, bytes = 0, there = 1, limit;
    size_t entries = 1;

    while (shape_limit(s) < n && !shape_is_last(&t, s)) {
        s = table_shape_next(&t, s);
    }
    limit = shape_limit(s);
    if (n <= shape_limit(s)) {
        struct table_shape small = table_shape_for(&t, 0, (uint32_t)n);

        s = fit && shape_cap(small) < shape_cap(s) ? small : s;
        return n ? block_cost(&t, shape_bytes(&t, s)) : 0;
    }
    /* Each segment that ever got too many is two now. */
    for (; there > 0 && places < (double)n; places *= 2) {
        double mean = (double)n / places;
        double split = places * share_above(limit, mean);

        split = split < there ? split : there;
        bytes += (there - split) * segment_bytes(&t, mean, fit);
        if (split >= 0.5) {
            entries = (size_t)places * 2;
        }
        there = split * 2;
    }
    return (size_t)bytes +
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
    struct table_shape shape = SHAPE_FIRST;
    size_t cost;

    if (seg) {
        shape = shape_of(seg);
        if (seg->used < shape_limit(shape)) {
            return 0;
        }
        if (shape_is_last(t, shape)) {
            cost = 2 * block_cost(t, shape_bytes(t, shape));
            return seg->depth < t->depth
                       ? cost
                       : cost + block_cost(t, sizeof(struct table_segment *)
                                                  << (t->depth + 1));
        }
        shape = table_shape_next(t, shape);
    }
    return block_cost(t, shape_bytes(t, shape));
}
