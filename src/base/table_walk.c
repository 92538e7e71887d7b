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
        for (at = 0; at < seg->cap; at++) {
            uint64_t ref, h;

            if (!place_is_full(seg, at)) {
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

        for (at = 0; at < seg->cap; at++) {
            if (place_is_full(seg, at)) {
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
        uint32_t at =
            (uint32_t)rng_below(rng, t->depth ? cap_max(t) : seg->cap);
        uint32_t i;

        if (at >= seg->cap) {
            continue;
        }
        if (place_is_full(seg, at)) {
            *ref = table_ref(seg, t->ref_bytes, at);
            return true;
        }
        if (--tries > 0 || !seg->used) {
            continue;
        }
        /* A sparse table: the next one in this segment will do. */
        for (i = 0; i < seg->cap; i++) {
            at = at + 1 < seg->cap ? at + 1 : 0;
            if (place_is_full(seg, at)) {
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
    uint32_t used = 0, filled = 0, at;

    for (at = 0; at < seg->cap; at++) {
        uint64_t ref, h;
        struct table_probe p;
        uint64_t found;
        bool reachable = false;

        filled += seg->tags[at] != TAG_EMPTY;
        if (!place_is_full(seg, at)) {
            continue;
        }
        used++;
        ref = table_ref(seg, t->ref_bytes, at);
        h = t->hash(ref, t->arg);
        ASSERT(seg->depth == 0 ||
               h >> (64 - seg->depth) == index >> (t->depth - seg->depth));
        table_probe_start(&p, t, h);
        while (!reachable && table_probe_next(&p, &found)) {
            reachable = found == ref;
        }
        ASSERT(reachable);
    }
    ASSERT(used == seg->used);
    ASSERT(filled == seg->filled);
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
