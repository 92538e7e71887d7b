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

static struct table_segment *
segment_create(const struct table *t, struct table_shape shape, uint8_t depth)
{
    struct table_segment *seg = block_alloc(t, shape_bytes(t, shape));

    if (seg) {
        *seg = (struct table_segment){
            .groups = shape.groups, .width = shape.width, .depth = depth};
        memset(seg->heads, 0, shape.groups * table_head_bytes(seg));
    }
    return seg;
}

static void segment_free(const struct table *t, struct table_segment *seg)
{
    block_free(t, seg, shape_bytes(t, shape_of(seg)));
}

static void ref_store(const struct table *t, struct table_segment *seg,
                      uint32_t at, uint64_t ref)
{
    uint8_t *refs = (uint8_t *)table_refs(seg);
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
    uint32_t group = table_home(seg, hash);
    uint8_t *head;
    uint32_t open, place;

    for (;;) {
        head = seg->heads + group * table_head_bytes(seg);
        open = table_group_equal(seg, head, TAG_EMPTY);
        if (LIKELY(open)) {
            break;
        }
        head[0] = (uint8_t)(head[0] + (head[0] < COUNT_MAX));
        if (++group == seg->groups) {
            group = 0;
        }
    }
    place = (uint32_t)__builtin_ctz(open);
    head[1 + place] = table_tag(hash);
    seg->used++;
    ref_store(t, seg, group * seg->width + place, ref);
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

/* References that change places. */
struct movers {
    uint32_t n;
    uint64_t refs[CAP_MAX];
    uint64_t hashes[CAP_MAX];
};

/* Asks for their hashes. What a hash is computed from lies anywhere in memory,
 * so it is fetched well ahead. */
static void movers_hash(const struct table *t, struct movers *m)
{
    uint32_t n = m->n, i;

    for (i = 0; n && i < n + 2 * AHEAD; i++) {
        if (t->fetch && i < n) {
            t->fetch(m->refs[i], 0, t->arg);
        }
        if (t->fetch && i >= AHEAD && i - AHEAD < n) {
            t->fetch(m->refs[i - AHEAD], 1, t->arg);
        }
        if (i >= 2 * AHEAD) {
            m->hashes[i - 2 * AHEAD] = t->hash(m->refs[i - 2 * AHEAD], t->arg);
        }
    }
}

/* All of a segment's. */
static void movers_take(const struct table *t, const struct table_segment *from,
                        struct movers *m)
{
    uint32_t group;

    m->n = 0;
    for (group = 0; group < from->groups; group++) {
        uint32_t full =
            table_places(from) ^
            table_group_equal(from, table_head(from, group), TAG_EMPTY);

        for (; full; full &= full - 1) {
            uint32_t place = (uint32_t)__builtin_ctz(full);

            m->refs[m->n++] =
                table_ref(from, t->ref_bytes, group * from->width + place);
        }
    }
    movers_hash(t, m);
}

/* Stores those whose hash has none of the bits into to[0], the others into
 * to[1]. */
static void movers_put(const struct table *t, const struct movers *m,
                       struct table_segment *const *to, uint64_t bit)
{
    uint32_t i;

    for (i = 0; i < m->n; i++) {
        segment_put(t, to[(m->hashes[i] & bit) != 0], m->hashes[i], m->refs[i]);
    }
}

static void segment_move(const struct table *t,
                         const struct table_segment *from,
                         struct table_segment *to)
{
    struct movers m;

    movers_take(t, from, &m);
    movers_put(t, &m, &to, 0);
}

/* Copies a segment into a wider one of as many groups. */
static void segment_widen(const struct table *t,
                          const struct table_segment *from,
                          struct table_segment *to)
{
    const uint8_t *refs = table_refs(from);
    uint8_t *to_refs = to->heads + to->groups * table_head_bytes(to);
    size_t bytes = (size_t)from->width * t->ref_bytes;
    size_t to_bytes = (size_t)to->width * t->ref_bytes;
    /* Of the tags behind the first 8. */
    uint64_t places = UINT64_MAX >> (8 * (TABLE_WIDEST - from->width));
    uint32_t group;

    DASSERT(from->width > 8 && from->width < to->width);
    /* What is copied or cleared behind a group is written over by the next. */
    for (group = 0; group < from->groups; group++) {
        const uint8_t *head = table_head(from, group);
        uint8_t *to_head = to->heads + group * table_head_bytes(to);
        uint64_t tags;

        memcpy(to_head, head, 9);
        memcpy(&tags, head + 9, sizeof(tags));
        tags &= places;
        memcpy(to_head + 9, &tags, sizeof(tags));
    }
    for (group = 0; group + 1u < from->groups; group++) {
        if (t->ref_bytes == 4) {
            memcpy(to_refs + group * to_bytes, refs + group * bytes,
                   (size_t)TABLE_WIDEST * 4);
        } else {
            memcpy(to_refs + group * to_bytes, refs + group * bytes,
                   (size_t)TABLE_WIDEST * 8);
        }
    }
    memcpy(to_refs + group * to_bytes, refs + group * bytes, bytes);
    to->used = from->used;
}

enum err table_segment_rebuild(struct table *t, uint64_t hash,
                               struct table_segment *seg,
                               struct table_shape shape)
{
    struct table_segment *fresh = segment_create(t, shape, seg->depth);

    if (!fresh) {
        return ERR_NOMEM;
    }
    if (shape.groups == seg->groups && shape.width > seg->width) {
        segment_widen(t, seg, fresh);
    } else {
        segment_move(t, seg, fresh);
    }
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
    uint32_t n[2] = {0, 0}, i;
    struct movers m;

    if (seg->depth == t->depth) {
        enum err err = dir_double(t);

        if (err) {
            return err;
        }
    }
    movers_take(t, seg, &m);
    for (i = 0; i < m.n; i++) {
        n[(m.hashes[i] & bit) != 0]++;
    }
    for (i = 0; i < 2; i++) {
        half[i] =
            segment_create(t, table_shape_for(t, groups_max(t), n[i]), depth);
    }
    if (!half[0] || !half[1]) {
        for (i = 0; i < 2; i++) {
            if (half[i]) {
                segment_free(t, half[i]);
            }
        }
        return ERR_NOMEM;
    }
    movers_put(t, &m, half, bit);
    dir_point(t, hash & ~bit, half[0]);
    dir_point(t, hash | bit, half[1]);
    segment_free(t, seg);
    return ERR_OK;
}

/* Makes sure the segment of `hash` has a free place. */
static enum err make_room(struct table *t, uint64_t hash)
{
    struct table_segment *seg = table_segment_of(t, hash);

    if (!seg) {
        t->only = segment_create(t, SHAPE_FIRST, 0);
        if (!t->only) {
            return ERR_NOMEM;
        }
        t->dir = &t->only;
        t->depth = 0;
        return ERR_OK;
    }
    while (UNLIKELY(seg->used >= shape_limit(shape_of(seg)))) {
        struct table_shape shape = shape_of(seg);
        enum err err;

        if (!shape_is_last(t, shape)) {
            shape = table_shape_next(t, shape);
            err = table_segment_rebuild(t, hash, seg, shape);
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

    if (seg->depth == 0) {
        struct table_shape shape = table_shape_for(t, 0, seg->used * 2u);

        if (seg->used < table_cap(seg) / 8 &&
            shape_cap(shape) < table_cap(seg) &&
            table_segment_rebuild(t, hash, seg, shape) != ERR_OK) {
            return;
        }
        return;
    }
    if (seg->used >= cap_max(t) / 8) {
        return;
    }
    bit = (uint64_t)1 << (64 - seg->depth);
    buddy = table_segment_of(t, hash ^ bit);
    if (buddy->depth != seg->depth || buddy->used >= cap_max(t) / 4) {
        return;
    }
    joined = segment_create(
        t, table_shape_for(t, groups_max(t), seg->used + buddy->used),
        (uint8_t)(seg->depth - 1));
    if (!joined) {
        return;
    }
    segment_move(t, seg, joined);
    segment_move(t, buddy, joined);
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
    struct table_shape shape = SHAPE_FIRST;
    double limit =
        shape_limit((struct table_shape){groups_max(t), TABLE_WIDEST});
    uint64_t i, segments;
    uint8_t depth = 0;
    double mean;

    ASSERT(!t->dir);
    while (depth < DEPTH_MAX &&
           (double)(n >> depth) > limit + 3 * sqrt(limit)) {
        depth++;
    }
    /* Segments that get more than most do grow; it is done at once. */
    mean = (double)(n >> depth);
    while (shape_limit(shape) < (depth ? mean - sqrt(mean) : mean) &&
           !shape_is_last(t, shape)) {
        shape = table_shape_next(t, shape);
    }
    segments = (uint64_t)1 << depth;
    t->dir = depth ? block_alloc(t, segments * sizeof(struct table_segment *))
                   : &t->only;
    for (i = 0; t->dir && i < segments; i++) {
        t->dir[i] = segment_create(t, shape, depth);
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
            return p.at;
        }
    }
}

bool table_remove(struct table *t, uint64_t hash, uint64_t ref)
{
    struct table_segment *seg = table_segment_of(t, hash);
    int64_t at = find_ref(t, hash, ref);
    uint32_t group;

    if (at < 0) {
        return false;
    }
    for (group = table_home(seg, hash); group != (uint32_t)at / seg->width;
         group = group + 1u < seg->groups ? group + 1 : 0) {
        uint8_t *head = seg->heads + group * table_head_bytes(seg);

        head[0] = (uint8_t)(head[0] - (head[0] < COUNT_MAX));
    }
    seg->heads[group * table_head_bytes(seg) + 1 + (uint32_t)at % seg->width] =
        TAG_EMPTY;
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
