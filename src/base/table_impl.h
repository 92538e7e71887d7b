/* The inside of a table: shared by table*.c. */
#ifndef VECTRA_BASE_TABLE_IMPL_H
#define VECTRA_BASE_TABLE_IMPL_H

#include "base/mem.h"
#include "base/table.h"

enum {
    TAG_EMPTY = 0,
    COUNT_MAX = 255, /* of a group: T2 */
    CAP_MAX = 61 * TABLE_WIDEST,
};

/* How much room a segment has. */
struct table_shape {
    uint8_t groups, width;
};

/* The smallest one, which a table begins with. */
#define SHAPE_FIRST ((struct table_shape){1, TABLE_WIDEST})

/* Of the segments that are split. Each width of so many groups fills an
 * allocator size class: 3, 3.5, 4 and 5 KiB of 4-byte references. */
static inline uint8_t groups_max(const struct table *t)
{
    return t->ref_bytes == 4 ? 61 : 28;
}

static inline uint16_t shape_cap(struct table_shape s)
{
    return (uint16_t)(s.groups * s.width);
}

static inline uint16_t cap_max(const struct table *t)
{
    return (uint16_t)(groups_max(t) * TABLE_WIDEST);
}

static inline bool shape_is_last(const struct table *t, struct table_shape s)
{
    return s.groups == groups_max(t) && s.width == TABLE_WIDEST;
}

/* References that are stored before it is full. */
static inline uint16_t shape_limit(struct table_shape s)
{
    return (uint16_t)(shape_cap(s) - shape_cap(s) / 8);
}

static inline size_t shape_bytes(const struct table *t, struct table_shape s)
{
    return sizeof(struct table_segment) + s.groups +
           (size_t)shape_cap(s) * (1u + t->ref_bytes);
}

static inline struct table_shape shape_of(const struct table_segment *seg)
{
    return (struct table_shape){seg->groups, seg->width};
}

static inline size_t block_cost(const struct table *t, size_t size)
{
    return t->region ? region_cost(size, 1) : mem_good_size(size);
}

static inline uint32_t table_cap(const struct table_segment *seg)
{
    return (uint32_t)seg->groups * seg->width;
}

/* The tag of a place. */
static inline uint8_t table_tag_at(const struct table_segment *seg, uint32_t at)
{
    return table_head(seg, at / seg->width)[1 + at % seg->width];
}

/* The least shape, of `groups` or, if that is 0, any, for so many that does not
 * fill up with the next few; the last when there is none. */
struct table_shape table_shape_for(const struct table *t, uint8_t groups,
                                   uint32_t used);

/* The shape that a segment of this one, not the last, gets when it is full. */
struct table_shape table_shape_next(const struct table *t,
                                    struct table_shape s);

/* Copies seg into a segment of another shape, which has room for it.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err table_segment_rebuild(struct table *t, uint64_t hash,
                               struct table_segment *seg,
                               struct table_shape shape) MUST_USE;

#endif
