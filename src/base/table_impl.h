/* The inside of a table: shared by table*.c. */
#ifndef VECTRA_BASE_TABLE_IMPL_H
#define VECTRA_BASE_TABLE_IMPL_H

#include "base/mem.h"
#include "base/table.h"

enum {
    TAG_EMPTY = 0,
    TAG_DELETED = 1, /* full tags have the high bit set */
    CAP_MIN = 16,
    CAP_MAX = 1008, /* of 4-byte references */
};

/* The largest segments fill an allocator size class: 5,048 and 4,040 bytes. */
static inline uint16_t cap_max(const struct table *t)
{
    return t->ref_bytes == 4 ? CAP_MAX : 448;
}

static inline uint16_t cap_next(const struct table *t, uint16_t cap)
{
    uint16_t next = (uint16_t)(cap * 2);

    return next > cap_max(t) ? cap_max(t) : next;
}

static inline uint16_t cap_limit(uint16_t cap)
{
    return (uint16_t)(cap - cap / 8);
}

static inline size_t segment_bytes(const struct table *t, uint16_t cap)
{
    return sizeof(struct table_segment) + (size_t)cap * (1u + t->ref_bytes);
}

static inline size_t block_cost(const struct table *t, size_t size)
{
    return t->region ? region_cost(size, 1) : mem_good_size(size);
}

static inline bool place_is_full(const struct table_segment *seg, uint32_t at)
{
    return seg->tags[at] & 0x80;
}

/* Copies seg into a segment of another size, tombstones left behind.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err table_segment_rebuild(struct table *t, uint64_t hash,
                               struct table_segment *seg,
                               uint16_t cap) MUST_USE;

#endif
