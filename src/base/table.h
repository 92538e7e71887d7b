/* A hash set of references (slots of a set, entries of a database) that grows
 * without a pause.
 *
 * Extendible hashing (Fagin et al., 1979): a directory, indexed by the top bits
 * of the hash, points to segments of at most about a thousand references. A
 * full segment is split in two and the directory doubles when needed, so one
 * insertion never moves more than one segment, whatever the table's size.
 * Within a segment, one tag byte per reference (7 bits of the hash) is compared
 * eight at a time, and linear probing by groups of eight resolves collisions,
 * in the manner of Google's Swiss tables.
 *
 * The table stores references, not keys: the caller compares candidates (see
 * table_probe_*) and tells a reference's hash when a segment is split.
 *
 * Bits of the hash: top bits choose the segment, bits 7..38 the group, bits
 * 0..6 are the tag. Because segments are ordered by hash, a scan cursor is a
 * place in hash space and stays right across splits.
 *
 *  T1  A reference lies in the segment its hash's top bits select, in the first
 *      group from its home group on that had room when it was stored.
 *  T2  Every group between its home and its own is full or holds a tombstone.
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

enum { TABLE_GROUP = 8 };

struct table_segment {
    uint16_t cap;    /* references there is room for, a multiple of 8 */
    uint16_t used;   /* references stored */
    uint16_t filled; /* used and tombstones */
    uint8_t depth;   /* how many top bits of the hash all of them share */
    uint8_t pad;
    uint8_t tags[]; /* cap tags, then cap references */
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

/* Makes segments that are half empty smaller, which they are after they were
 * split, some at a time: begin with *cursor 0, until it is 0 again. They grow
 * as before when more is stored.
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
    uint64_t pattern; /* the tag in every byte */
    uint64_t matches; /* high bits of matching tags in this group */
    uint32_t group;
    uint32_t left; /* groups not visited yet */
    bool last;     /* this group has an empty place */
    uint8_t ref_bytes;
};

#define TABLE_ONES  0x0101010101010101u
#define TABLE_HIGHS 0x8080808080808080u

ALWAYS_INLINE uint32_t table_home(const struct table_segment *seg,
                                  uint64_t hash)
{
    return (uint32_t)(((hash >> 7 & 0xffffffffu) * (seg->cap / TABLE_GROUP)) >>
                      32);
}

ALWAYS_INLINE uint64_t table_group(const struct table_segment *seg,
                                   uint32_t group)
{
    uint64_t word;

    memcpy(&word, seg->tags + (size_t)group * TABLE_GROUP, sizeof(word));
    return word;
}

ALWAYS_INLINE uint64_t table_ref(const struct table_segment *seg, int ref_bytes,
                                 uint32_t at)
{
    const uint8_t *refs = seg->tags + seg->cap;
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
    uint64_t word = table_group(p->seg, p->group);
    uint64_t diff = word ^ p->pattern;

    /* A byte above a match may match falsely; the caller compares anyway. */
    p->matches = (diff - TABLE_ONES) & ~diff & TABLE_HIGHS;
    p->last = ((word - TABLE_ONES) & ~word & TABLE_HIGHS) != 0;
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
    p->pattern = ((hash & 0x7f) | 0x80) * TABLE_ONES;
    p->ref_bytes = t->ref_bytes;
    p->group = table_home(seg, hash);
    p->left = seg->cap / TABLE_GROUP - 1u;
    table_probe_group(p);
}

ALWAYS_INLINE bool table_probe_next(struct table_probe *p, uint64_t *ref)
{
    while (!p->matches) {
        if (p->last || p->left == 0) {
            return false;
        }
        p->left--;
        if (++p->group == p->seg->cap / TABLE_GROUP) {
            p->group = 0;
        }
        table_probe_group(p);
    }
    *ref = table_ref(p->seg, p->ref_bytes,
                     p->group * TABLE_GROUP +
                         (uint32_t)__builtin_ctzll(p->matches) / 8);
    p->matches &= p->matches - 1;
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
        uint32_t home = table_home(seg, hash) * TABLE_GROUP;

        __builtin_prefetch(seg->tags + home);
        __builtin_prefetch(seg->tags + seg->cap + (size_t)home * t->ref_bytes);
    }
}

#endif
