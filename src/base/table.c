/* Segments: filling, growing, splitting, merging. See table.h; what takes no
 * part in that is in table_walk.c and table_size.c. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/table_impl.h"

enum {
    AHEAD = 12, /* references between the steps of fetching */
    DEPTH_MAX = 40,
};

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

enum err table_segment_rebuild(struct table *t, uint64_t hash,
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
            err = table_segment_rebuild(t, hash, seg, seg->cap);
        } else if (seg->cap < cap_max(t)) {
            err = table_segment_rebuild(t, hash, seg, cap_next(t, seg->cap));
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
        if (table_segment_rebuild(t, hash, seg,
                                  (uint16_t)(seg->cap / 16 * 8)) != ERR_OK) {
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
    joined = segment_create(t, seg->cap > buddy->cap ? seg->cap : buddy->cap,
                            (uint8_t)(seg->depth - 1));
    if (!joined) {
        return;
    }
    segment_move(t, seg, (struct table_segment *[2]){joined, NULL}, 0);
    segment_move(t, buddy, (struct table_segment *[2]){joined, NULL}, 0);
    dir_point(t, hash, joined);
    segment_free(t, seg);
    segment_free(t, buddy);
}

/* ---- life and changes -------------------------------------------------- */

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
