/* A hash set of references (slots of a set, entries of a database) that grows
 * without a pause.
 *
 * Extendible hashing (Fagin et al., 1979): a directory, indexed by the top bits
 * of the hash, points to segments of at most about a thousand references. A
 * full segment is split in two and the directory doubles when needed, so one
 * insertion never moves more than one segment, whatever the table's size.
 * Within a segment, groups of up to 16 references are probed one after the
 * other; one tag byte per reference (8 bits of the hash) is compared 16 at a
 * time, in the manner of Google's Swiss tables. A byte of each group counts the
 * references that found it full and lie further on, as in Facebook's F14, so
 * a probe knows where to end and what is removed leaves no trace.
 *
 * All segments fill up and split at about the same time, so they must not have
 * the room of full ones when they are half full. They grow in between, by
 * groups getting wider, from 9 places to 11, 13 and 16 (each a size of the
 * allocator's). References stay in their groups then, so their hashes, which
 * take misses of the cache to find out, need not be known.
 *
 * The table stores references, not keys: the caller compares candidates (see
 * table_probe_*) and tells a reference's hash when a segment is split.
 *
 * Bits of the hash: top bits choose the segment, bits 7..38 the group, bits
 * 0..6 and 39 are the tag. Because segments are ordered by hash, a scan cursor
 * is a place in hash space and stays right across splits.
 *
 *  T1  A reference lies in the segment its hash's top bits select, in its home
 *      group or one behind it.
 *  T2  A group's count is that of the references whose home group is it or one
 *      before it and which lie behind it; 255 says that many or more.
 *  T3  count is the number of references; a segment's `used` likewise.
 *
 * thread one; the owner's. */
#ifndef VECTRA_BASE_TABLE_H
#define VECTRA_BASE_TABLE_H

#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/region.h"
#include "base/rng.h"

enum { TABLE_WIDEST = 16 /* places of a group */ };

struct table_segment {
    uint16_t used; /* references stored */
    uint8_t groups;
    uint8_t width; /* places of a group */
    uint8_t depth; /* how many top bits of the hash all of them share */
    uint8_t pad[3];
    uint8_t heads[]; /* of each group: its count and the tags of its places;
                      * then the references */
};

struct table {
    struct table_segment **dir; /* 1 << depth, NULL when empty */
    struct table_segment *only; /* the directory while depth is 0 */
    uint64_t (*hash)(uint64_t ref, void *arg);
    void (*fetch)(uint64_t ref, int step, void *arg); /* or NULL */
    void *arg;
    struct region *region; /* NULL: the ordinary heap */
    size_t count;
    uint8_t depth;
    uint8_t ref_bytes; /* 4 or 8 */
};

/* hash(ref, arg) gives the hash of a stored reference. */
void table_init(struct table *t, int ref_bytes, struct region *region,
                uint64_t (*hash)(uint64_t ref, void *arg), void *arg);

/* Sets a function that brings what hash(ref, arg) will read towards the cache:
 * step 0 what can be found at once, step 1, later, what hangs on that. */
void table_set_fetch(struct table *t,
                     void (*fetch)(uint64_t ref, int step, void *arg));

/* Frees the memory; the references are the caller's. */
void table_deinit(struct table *t);

/* Stores a reference that is not there yet.
 *
 * cost   amortised O(1); at worst one segment is split, about 30 us.
 * fails  ERR_NOMEM, the table unchanged. */
enum err table_insert(struct table *t, uint64_t hash, uint64_t ref) MUST_USE;

/* Gives a table that is empty, and always was, the segments that it would have
 * after n insertions, about.
 *
 * fails  ERR_NOMEM, the table unchanged. */
enum err table_reserve(struct table *t, size_t n) MUST_USE;

/* Memory that a table takes which n references were stored into, about: how
 * they are spread is up to their hashes. */
size_t table_bytes_for(int ref_bytes, struct region *region, size_t n);

/* Makes segments smaller that have more room than they need, some at a time:
 * begin with *cursor 0, until it is 0 again. They grow as before when more is
 * stored.
 *
 * cost   at most 4 segments are copied, about 10 us each. */
void table_fit(struct table *t, uint64_t *cursor);

/* The same as table_bytes_for() when all of it has been made to fit. */
size_t table_bytes_fit(int ref_bytes, struct region *region, size_t n);

/* Takes out a reference; false when it is not there. */
bool table_remove(struct table *t, uint64_t hash, uint64_t ref);

/* Puts `ref` in the place of `old`, which has the same hash and is there. */
void table_replace(struct table *t, uint64_t hash, uint64_t old, uint64_t ref);

/* Calls fn for the references in hash order from `cursor` until about `want`
 * have been seen; fn must not change the table. Returns the cursor to go on
 * from, 0 at the end. A reference that is present from cursor 0 to the end is
 * seen at least once. Cursors are below 2^48.
 *
 * cost   proportional to want, at least one segment. */
uint64_t table_scan(const struct table *t, uint64_t cursor, size_t want,
                    void (*fn)(uint64_t ref, void *arg), void *arg);

/* Calls fn for every reference; fn may destroy what it refers to, but must not
 * change the table. */
void table_each(const struct table *t, void (*fn)(uint64_t ref, void *arg),
                void *arg);

/* A reference chosen at random, nearly uniformly; false when empty. */
bool table_random(const struct table *t, struct rng *rng, uint64_t *ref);

/* The most bytes the next table_insert() of this hash may allocate. */
size_t table_insert_cost(const struct table *t, uint64_t hash);

/* Checks T1-T3; aborts on a violation. */
void table_validate(const struct table *t);

/* ---- lookup ------------------------------------------------------------ */

/* Walks the references that may have a hash:
 *
 *     table_probe_start(&p, t, hash);
 *     while (table_probe_next(&p, &ref)) { if (same(ref, key)) ... } */
struct table_probe {
    const struct table_segment *seg;
    uint32_t at;      /* the place of the one that was answered last */
    uint32_t matches; /* a bit for each place of this group */
    uint32_t group;
    uint32_t left; /* groups not visited yet */
    uint8_t tag;
    uint8_t ref_bytes;
    bool last; /* nothing passed this group */
};

/* A bit for each of 16 tags that is `tag`. A narrower group has what follows
 * behind them; behind the last one there are references. */
#ifdef __SSE2__
typedef char table_tags __attribute__((vector_size(TABLE_WIDEST)));

ALWAYS_INLINE uint32_t table_tags_equal(const uint8_t *tags, uint8_t tag)
{
    const char c = (char)tag;
    const table_tags want = {c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c};
    table_tags have;

    memcpy(&have, tags, sizeof(have));
    return (uint32_t)__builtin_ia32_pmovmskb128((table_tags)(have == want));
}
#else
ALWAYS_INLINE uint32_t table_tags_equal(const uint8_t *tags, uint8_t tag)
{
    const uint64_t ones = 0x0101010101010101u, sevens = 0x7fu * ones;
    uint32_t bits = 0;
    int i;

    for (i = 0; i < 2; i++) {
        uint64_t word;

        memcpy(&word, tags + i * 8, sizeof(word));
        word ^= tag * ones;
        word = ~(((word & sevens) + sevens) | word | sevens) >> 7;
        /* Bits 0, 8, 16... move to the topmost byte. */
        bits |= (uint32_t)(word * 0x0102040810204080u >> 56) << (i * 8);
    }
    return bits;
}
#endif

/* 1..255 */
ALWAYS_INLINE uint8_t table_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)((hash & 0x7f) | (hash >> 32 & 0x80));

    return tag ? tag : 1;
}

ALWAYS_INLINE uint32_t table_home(const struct table_segment *seg,
                                  uint64_t hash)
{
    return (uint32_t)(((hash >> 7 & 0xffffffffu) * seg->groups) >> 32);
}

ALWAYS_INLINE size_t table_head_bytes(const struct table_segment *seg)
{
    return seg->width + 1u;
}

/* The count of a group, and its tags behind it. */
ALWAYS_INLINE const uint8_t *table_head(const struct table_segment *seg,
                                        uint32_t group)
{
    return seg->heads + group * table_head_bytes(seg);
}

/* A bit for each place of a group. */
ALWAYS_INLINE uint32_t table_places(const struct table_segment *seg)
{
    return (1u << seg->width) - 1;
}

/* The places of a group that have this tag. */
ALWAYS_INLINE uint32_t table_group_equal(const struct table_segment *seg,
                                         const uint8_t *head, uint8_t tag)
{
    return table_tags_equal(head + 1, tag) & table_places(seg);
}

ALWAYS_INLINE const uint8_t *table_refs(const struct table_segment *seg)
{
    return seg->heads + seg->groups * table_head_bytes(seg);
}

ALWAYS_INLINE uint64_t table_ref(const struct table_segment *seg, int ref_bytes,
                                 uint32_t at)
{
    const uint8_t *refs = table_refs(seg);
    uint64_t wide;
    uint32_t narrow;

    if (ref_bytes == 4) {
        memcpy(&narrow, refs + (size_t)at * 4, 4);
        return narrow;
    }
    memcpy(&wide, refs + (size_t)at * 8, 8);
    return wide;
}

ALWAYS_INLINE void table_probe_group(struct table_probe *p)
{
    const uint8_t *head = table_head(p->seg, p->group);

    p->matches = table_group_equal(p->seg, head, p->tag);
    p->last = head[0] == 0;
}

ALWAYS_INLINE struct table_segment *table_segment_of(const struct table *t,
                                                     uint64_t hash)
{
    if (!t->dir) {
        return NULL;
    }
    return t->depth ? t->dir[hash >> (64 - t->depth)] : t->dir[0];
}

ALWAYS_INLINE void table_probe_start(struct table_probe *p,
                                     const struct table *t, uint64_t hash)
{
    const struct table_segment *seg = table_segment_of(t, hash);

    if (!seg) {
        *p = (struct table_probe){.last = true};
        return;
    }
    p->seg = seg;
    p->tag = table_tag(hash);
    p->ref_bytes = t->ref_bytes;
    p->group = table_home(seg, hash);
    p->left = seg->groups - 1u;
    table_probe_group(p);
}

ALWAYS_INLINE bool table_probe_next(struct table_probe *p, uint64_t *ref)
{
    while (!p->matches) {
        if (p->last || p->left == 0) {
            return false;
        }
        p->left--;
        if (++p->group == p->seg->groups) {
            p->group = 0;
        }
        table_probe_group(p);
    }
    p->at = p->group * p->seg->width + (uint32_t)__builtin_ctz(p->matches);
    p->matches &= p->matches - 1;
    *ref = table_ref(p->seg, p->ref_bytes, p->at);
    return true;
}

/* Two steps that bring what a lookup of `hash` will read towards the cache: the
 * head of its segment, and, when that has arrived, the group. */
ALWAYS_INLINE void table_prefetch_segment(const struct table *t, uint64_t hash)
{
    const struct table_segment *seg = table_segment_of(t, hash);

    if (seg) {
        __builtin_prefetch(seg);
    }
}

ALWAYS_INLINE void table_prefetch(const struct table *t, uint64_t hash)
{
    const struct table_segment *seg = table_segment_of(t, hash);

    if (seg) {
        uint32_t home = table_home(seg, hash);
        size_t bytes = (size_t)seg->width * t->ref_bytes;
        const uint8_t *head = table_head(seg, home);
        const uint8_t *refs = table_refs(seg) + home * bytes;

        __builtin_prefetch(head);
        __builtin_prefetch(head + seg->width);
        __builtin_prefetch(refs);
        __builtin_prefetch(refs + bytes - 1);
    }
}

#endif
