/* Going through a table: in order of hashes, all of it, at random; and checking
 * it. See table.h. */
#include "base/table_impl.h"

enum { CURSOR_SHIFT = 16 }; /* cursors are the top 48 bits of a hash */

uint64_t table_scan(const struct table *t, uint64_t cursor, size_t want,
                    void (*fn)(uint64_t ref, void *arg), void *arg)
{
    const uint64_t space = (uint64_t)1 << (64 - CURSOR_SHIFT);
    uint64_t step, end;

    if (!t->count || cursor >= space) {
        return 0;
    }
    step = want >= t->count ? space : space / t->count * (want ? want : 1);
    end = step >= space - cursor ? space : cursor + step;
    while (cursor < end) {
        uint64_t lead = cursor << CURSOR_SHIFT;
        const struct table_segment *seg = table_segment_of(t, lead);
        uint64_t span = space >> seg->depth;
        uint64_t stop = (cursor & ~(span - 1)) + span;
        uint32_t at;

        stop = stop < end ? stop : end;
        for (at = 0; at < table_cap(seg); at++) {
            uint64_t ref, h;

            if (!table_tag_at(seg, at)) {
                continue;
            }
            ref = table_ref(seg, t->ref_bytes, at);
            h = t->hash(ref, t->arg) >> CURSOR_SHIFT;
            if (h >= cursor && h < stop) {
                fn(ref, arg);
            }
        }
        cursor = stop;
    }
    return cursor >= space ? 0 : cursor;
}

void table_each(const struct table *t, void (*fn)(uint64_t ref, void *arg),
                void *arg)
{
    size_t n = t->dir ? (size_t)1 << t->depth : 0;
    size_t i = 0;
    uint32_t at;

    while (i < n) {
        const struct table_segment *seg = t->dir[i];

        for (at = 0; at < table_cap(seg); at++) {
            if (table_tag_at(seg, at)) {
                fn(table_ref(seg, t->ref_bytes, at), arg);
            }
        }
        i += (size_t)1 << (t->depth - seg->depth);
    }
}

bool table_random(const struct table *t, struct rng *rng, uint64_t *ref)
{
    size_t n = (size_t)1 << t->depth;
    int tries = 64;

    if (!t->count) {
        return false;
    }
    for (;;) {
        const struct table_segment *seg = t->dir[rng_below(rng, n)];
        uint32_t cap = table_cap(seg);
        uint32_t at = (uint32_t)rng_below(rng, t->depth ? cap_max(t) : cap);
        uint32_t i;

        if (at >= cap) {
            continue;
        }
        if (table_tag_at(seg, at)) {
            *ref = table_ref(seg, t->ref_bytes, at);
            return true;
        }
        if (--tries > 0 || !seg->used) {
            continue;
        }
        /* A sparse table: the next one in this segment will do. */
        for (i = 0; i < cap; i++) {
            at = at + 1 < cap ? at + 1 : 0;
            if (table_tag_at(seg, at)) {
                *ref = table_ref(seg, t->ref_bytes, at);
                return true;
            }
        }
    }
}

/* ---- checking ---------------------------------------------------------- */

static size_t segment_validate(const struct table *t, size_t index,
                               const struct table_segment *seg)
{
    uint32_t passed[UINT8_MAX] = {0};
    uint32_t used = 0, at, group;

    for (at = 0; at < table_cap(seg); at++) {
        uint64_t ref, h;
        struct table_probe p;
        uint64_t found;
        bool reachable = false;

        if (!table_tag_at(seg, at)) {
            continue;
        }
        used++;
        ref = table_ref(seg, t->ref_bytes, at);
        h = t->hash(ref, t->arg);
        ASSERT(table_tag_at(seg, at) == table_tag(h));
        ASSERT(seg->depth == 0 ||
               h >> (64 - seg->depth) == index >> (t->depth - seg->depth));
        table_probe_start(&p, t, h);
        while (!reachable && table_probe_next(&p, &found)) {
            reachable = found == ref;
        }
        ASSERT(reachable);
        for (group = table_home(seg, h); group != at / seg->width;
             group = (group + 1) % seg->groups) {
            passed[group]++;
        }
    }
    for (group = 0; group < seg->groups; group++) {
        uint8_t count = table_head(seg, group)[0];

        ASSERT(count == COUNT_MAX || count == passed[group]);
    }
    ASSERT(used == seg->used);
    return used;
}

void table_validate(const struct table *t)
{
    size_t n = t->dir ? (size_t)1 << t->depth : 0;
    size_t count = 0;
    size_t i = 0;
    size_t j;

    while (i < n) {
        const struct table_segment *seg = t->dir[i];
        size_t span;

        ASSERT(seg->depth <= t->depth);
        span = (size_t)1 << (t->depth - seg->depth);
        ASSERT(i % span == 0);
        for (j = i; j < i + span; j++) {
            ASSERT(t->dir[j] == seg);
        }
        count += segment_validate(t, i, seg);
        i += span;
    }
    ASSERT(count == t->count);
}
