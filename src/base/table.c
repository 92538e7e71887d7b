/* Segments: filling, growing, splitting, merging. See table.h. */
#include "base/table.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    TAG_EMPTY = 0,
    TAG_DELETED = 1, /* full tags have the high bit set */
    CAP_MIN = 16,
    CAP_MAX = 1008, /* of 4-byte references */
    AHEAD = 12,     /* references between the steps of fetching */
    DEPTH_MAX = 40,
    CURSOR_SHIFT = 16, /* cursors are the top 48 bits of a hash */
};

/* The largest segments fill an allocator size class: 5,048 and 4,040 bytes. */
static uint16_t cap_max(const struct table *t)
{
    return t->ref_bytes == 4 ? CAP_MAX : 448;
}

static uint16_t cap_next(const struct table *t, uint16_t cap)
{
    uint16_t next = (uint16_t)(cap * 2);

    return next > cap_max(t) ? cap_max(t) : next;
}

static uint16_t cap_limit(uint16_t cap)
{
    return (uint16_t)(cap - cap / 8);
}

static size_t segment_bytes(const struct table *t, uint16_t cap)
{
    return sizeof(struct table_segment) + (size_t)cap * (1u + t->ref_bytes);
}

static void *block_alloc(const struct table *t, size_t size)
{
    return t->region ? region_alloc(t->region, size, 1) : mem_try_alloc(size);
}

static void block_free(const struct table *t, void *ptr, size_t size)
{
    if (t->region) {
        region_free(t->region, ptr, size, 1);
    } else {
        mem_free(ptr);
    }
}

static size_t block_cost(const struct table *t, size_t size)
{
    return t->region ? region_cost(size, 1) : mem_good_size(size);
}

static struct table_segment *segment_create(const struct table *t, uint16_t cap,
                                            uint8_t depth)
{
    struct table_segment *seg = block_alloc(t, segment_bytes(t, cap));

    if (seg) {
        seg->cap = cap;
        seg->used = 0;
        seg->filled = 0;
        seg->depth = depth;
        seg->pad = 0;
        memset(seg->tags, TAG_EMPTY, cap);
    }
    return seg;
}

static void segment_free(const struct table *t, struct table_segment *seg)
{
    block_free(t, seg, segment_bytes(t, seg->cap));
}

static void ref_store(const struct table *t, struct table_segment *seg,
                      uint32_t at, uint64_t ref)
{
    uint8_t *refs = seg->tags + seg->cap;
    uint32_t narrow = (uint32_t)ref;

    if (t->ref_bytes == 4) {
        memcpy(refs + (size_t)at * 4, &narrow, 4);
    } else {
        memcpy(refs + (size_t)at * 8, &ref, 8);
    }
}

/* Stores into the first place that is free; there is one. */
static void segment_put(const struct table *t, struct table_segment *seg,
                        uint64_t hash, uint64_t ref)
{
    uint32_t n_groups = seg->cap / TABLE_GROUP;
    uint32_t group = table_home(seg, hash);
    uint64_t open;
    uint32_t at;

    for (;;) {
        open = ~table_group(seg, group) & TABLE_HIGHS;
        if (open) {
            break;
        }
        if (++group == n_groups) {
            group = 0;
        }
    }
    at = group * TABLE_GROUP + (uint32_t)__builtin_ctzll(open) / 8;
    if (seg->tags[at] == TAG_EMPTY) {
        seg->filled++;
    }
    seg->tags[at] = (uint8_t)((hash & 0x7f) | 0x80);
    seg->used++;
    ref_store(t, seg, at, ref);
}

static bool place_is_full(const struct table_segment *seg, uint32_t at)
{
    return seg->tags[at] & 0x80;
}

/* ---- directory --------------------------------------------------------- */

/* Points the directory entries of a hash prefix at seg, which has it. */
static void dir_point(struct table *t, uint64_t hash, struct table_segment *seg)
{
    uint64_t first, n, i;

    if (t->depth == 0) {
        t->dir[0] = seg;
        return;
    }
    n = (uint64_t)1 << (t->depth - seg->depth);
    first = hash >> (64 - t->depth) & ~(n - 1);
    for (i = 0; i < n; i++) {
        t->dir[first + i] = seg;
    }
}

static enum err dir_double(struct table *t)
{
    size_t n = (size_t)1 << t->depth;
    struct table_segment **dir;
    size_t i;

    if (t->depth == DEPTH_MAX) {
        return ERR_LIMIT;
    }
    dir = block_alloc(t, 2 * n * sizeof(struct table_segment *));
    if (!dir) {
        return ERR_NOMEM;
    }
    for (i = 0; i < n; i++) {
        dir[2 * i] = dir[2 * i + 1] = t->dir[i];
    }
    if (t->depth > 0) {
        block_free(t, t->dir, n * sizeof(struct table_segment *));
    }
    t->dir = dir;
    t->depth++;
    return ERR_OK;
}

/* ---- growing and shrinking --------------------------------------------- */

/* Stores what `from` holds into to[1] where the hash has `bit`, else into
 * to[0]. What a hash is computed from lies anywhere in memory, so it is asked
 * for well ahead. */
static void segment_move(const struct table *t,
                         const struct table_segment *from,
                         struct table_segment *const to[2], uint64_t bit)
{
    uint64_t refs[CAP_MAX];
    uint32_t n = 0, i;

    for (i = 0; i < from->cap; i++) {
        if (place_is_full(from, i)) {
            refs[n++] = table_ref(from, t->ref_bytes, i);
        }
    }
    for (i = 0; i < n + 2 * AHEAD; i++) {
        if (t->fetch && i < n) {
            t->fetch(refs[i], 0, t->arg);
        }
        if (t->fetch && i >= AHEAD && i - AHEAD < n) {
            t->fetch(refs[i - AHEAD], 1, t->arg);
        }
        if (i >= 2 * AHEAD) {
            uint64_t ref = refs[i - 2 * AHEAD];
            uint64_t hash = t->hash(ref, t->arg);

            segment_put(t, to[(hash & bit) != 0], hash, ref);
        }
    }
}

/* Copies seg into a segment of another size, tombstones left behind. */
static enum err segment_rebuild(struct table *t, uint64_t hash,
                                struct table_segment *seg, uint16_t cap)
{
    struct table_segment *fresh = segment_create(t, cap, seg->depth);

    if (!fresh) {
        return ERR_NOMEM;
    }
    segment_move(t, seg, (struct table_segment *[2]){fresh, NULL}, 0);
    dir_point(t, hash, fresh);
    segment_free(t, seg);
    return ERR_OK;
}

static enum err segment_split(struct table *t, uint64_t hash,
                              struct table_segment *seg)
{
    uint8_t depth = (uint8_t)(seg->depth + 1);
    uint64_t bit = (uint64_t)1 << (64 - depth);
    struct table_segment *half[2] = {NULL, NULL};
    enum err err;

    if (seg->depth == t->depth) {
        err = dir_double(t);
        if (err) {
            return err;
        }
    }
    half[0] = segment_create(t, seg->cap, depth);
    half[1] = segment_create(t, seg->cap, depth);
    if (!half[0] || !half[1]) {
        goto fail;
    }
    segment_move(t, seg, half, bit);
    dir_point(t, hash & ~bit, half[0]);
    dir_point(t, hash | bit, half[1]);
    segment_free(t, seg);
    return ERR_OK;

fail:
    if (half[0]) {
        segment_free(t, half[0]);
    }
    if (half[1]) {
        segment_free(t, half[1]);
    }
    return ERR_NOMEM;
}

/* Makes sure the segment of `hash` has a free place. */
static enum err make_room(struct table *t, uint64_t hash)
{
    struct table_segment *seg = table_segment_of(t, hash);

    if (!seg) {
        t->only = segment_create(t, CAP_MIN, 0);
        if (!t->only) {
            return ERR_NOMEM;
        }
        t->dir = &t->only;
        t->depth = 0;
        return ERR_OK;
    }
    while (seg->filled >= cap_limit(seg->cap)) {
        enum err err;

        if (seg->used < seg->cap / 2) {
            err = segment_rebuild(t, hash, seg, seg->cap);
        } else if (seg->cap < cap_max(t)) {
            err = segment_rebuild(t, hash, seg, cap_next(t, seg->cap));
        } else {
            err = segment_split(t, hash, seg);
        }
        if (err) {
            return err;
        }
        seg = table_segment_of(t, hash);
    }
    return ERR_OK;
}

/* Joins a sparse segment with its buddy, or makes the only one smaller. Not
 * being able to allocate only means that nothing is saved. */
static void give_back(struct table *t, uint64_t hash, struct table_segment *seg)
{
    uint64_t bit;
    struct table_segment *buddy, *joined;

    if (seg->cap > CAP_MIN && seg->used < seg->cap / 8 && seg->depth == 0) {
        if (segment_rebuild(t, hash, seg, (uint16_t)(seg->cap / 16 * 8)) !=
            ERR_OK) {
            return;
        }
        return;
    }
    if (seg->depth == 0 || seg->used >= seg->cap / 8) {
        return;
    }
    bit = (uint64_t)1 << (64 - seg->depth);
    buddy = table_segment_of(t, hash ^ bit);
    if (buddy->depth != seg->depth || buddy->used >= buddy->cap / 4) {
        return;
    }
    joined = segment_create(t, seg->cap, (uint8_t)(seg->depth - 1));
    if (!joined) {
        return;
    }
    segment_move(t, seg, (struct table_segment *[2]){joined, NULL}, 0);
    segment_move(t, buddy, (struct table_segment *[2]){joined, NULL}, 0);
    dir_point(t, hash, joined);
    segment_free(t, seg);
    segment_free(t, buddy);
}

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
            if (segment_rebuild(t, hash, seg, cap) != ERR_OK) {
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

/* ---- operations -------------------------------------------------------- */

void table_init(struct table *t, int ref_bytes, struct region *region,
                uint64_t (*hash)(uint64_t ref, void *arg), void *arg)
{
    ASSERT(ref_bytes == 4 || ref_bytes == 8);
    *t = (struct table){.hash = hash,
                        .arg = arg,
                        .region = region,
                        .ref_bytes = (uint8_t)ref_bytes};
}

void table_set_fetch(struct table *t,
                     void (*fetch)(uint64_t ref, int step, void *arg))
{
    t->fetch = fetch;
}

void table_deinit(struct table *t)
{
    size_t n = t->dir ? (size_t)1 << t->depth : 0;
    size_t i = 0;

    while (i < n) {
        struct table_segment *seg = t->dir[i];

        i += (size_t)1 << (t->depth - seg->depth);
        segment_free(t, seg);
    }
    if (t->depth > 0) {
        block_free(t, t->dir, n * sizeof(struct table_segment *));
    }
    t->dir = NULL;
    t->count = 0;
    t->depth = 0;
}

/* As deep as it would become by n insertions all the same: where a segment that
 * gets the mean would be split, and three deviations below it, too, hardly any
 * is not. */
enum err table_reserve(struct table *t, size_t n)
{
    double limit = cap_limit(cap_max(t));
    uint16_t cap = CAP_MIN;
    uint64_t i, segments;
    uint8_t depth = 0;

    ASSERT(!t->dir);
    while (depth < DEPTH_MAX &&
           (double)(n >> depth) > limit + 3 * sqrt(limit)) {
        depth++;
    }
    while (cap_limit(cap) < n && cap < cap_max(t)) {
        cap = cap_next(t, cap);
    }
    segments = (uint64_t)1 << depth;
    t->dir = depth ? block_alloc(t, segments * sizeof(struct table_segment *))
                   : &t->only;
    for (i = 0; t->dir && i < segments; i++) {
        t->dir[i] = segment_create(t, cap, depth);
        if (!t->dir[i]) {
            while (i > 0) {
                segment_free(t, t->dir[--i]);
            }
            if (depth) {
                block_free(t, t->dir,
                           segments * sizeof(struct table_segment *));
            }
            t->dir = NULL;
        }
    }
    t->depth = t->dir ? depth : 0;
    return t->dir ? ERR_OK : ERR_NOMEM;
}

enum err table_insert(struct table *t, uint64_t hash, uint64_t ref)
{
    enum err err = make_room(t, hash);

    if (err) {
        return err;
    }
    segment_put(t, table_segment_of(t, hash), hash, ref);
    t->count++;
    return ERR_OK;
}

/* Where ref is stored, or -1. */
static int64_t find_ref(const struct table *t, uint64_t hash, uint64_t ref)
{
    struct table_probe p;
    uint64_t found;

    table_probe_start(&p, t, hash);
    for (;;) {
        if (!table_probe_next(&p, &found)) {
            return -1;
        }
        if (found == ref) {
            /* table_probe_next() has cleared the bit it answered; the match
             * is the first place in the group that holds this reference. */
            uint32_t at = p.group * TABLE_GROUP;
            uint8_t tag = (uint8_t)((hash & 0x7f) | 0x80);

            while (p.seg->tags[at] != tag ||
                   table_ref(p.seg, t->ref_bytes, at) != ref) {
                at++;
            }
            return at;
        }
    }
}

bool table_remove(struct table *t, uint64_t hash, uint64_t ref)
{
    struct table_segment *seg = table_segment_of(t, hash);
    int64_t at = find_ref(t, hash, ref);
    uint64_t word;

    if (at < 0) {
        return false;
    }
    word = table_group(seg, (uint32_t)at / TABLE_GROUP);
    if ((word - TABLE_ONES) & ~word & TABLE_HIGHS) {
        /* The group ends every probe already: no tombstone is needed. */
        seg->tags[at] = TAG_EMPTY;
        seg->filled--;
    } else {
        seg->tags[at] = TAG_DELETED;
    }
    seg->used--;
    t->count--;
    give_back(t, hash, seg);
    return true;
}

void table_replace(struct table *t, uint64_t hash, uint64_t old, uint64_t ref)
{
    int64_t at = find_ref(t, hash, old);

    ASSERT(at >= 0);
    ref_store(t, table_segment_of(t, hash), (uint32_t)at, ref);
}

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
