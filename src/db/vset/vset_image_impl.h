/* The form in which vector sets are kept in files: shared by vset_save.c and
 * vset_load.c. */
#ifndef VECTRA_DB_VSET_IMAGE_IMPL_H
#define VECTRA_DB_VSET_IMAGE_IMPL_H

#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/vset/vset_image.h"
#include "db/vset/vset_impl.h"
#include "index/hnsw/hnsw_image.h"

#define VSET_IMAGE_NAME "vectra-vs"
#define VSET_REDIS_NAME "vectorset"

enum {
    VSET_IMAGE_VERSION = 1,
    VSET_REDIS_VERSION = 0,
};

/* The first field. */
enum image_flag {
    IMAGE_KEEP_EMPTY = 1 << 0,
    IMAGE_ATTRIBUTES = 1 << 1, /* there are some */
    IMAGE_GRAPH = 1 << 2,      /* slots are as they were */
    IMAGE_WALK_DUE = 1 << 3,
    IMAGE_COMING = 1 << 4, /* a graph was being built */
    IMAGE_CALIBRATED = 1 << 5,
    IMAGE_MATRIX = 1 << 6,
    IMAGE_SPREAD = 1 << 7,    /* of the graph's rows is known */
    IMAGE_FINE = 1 << 8,      /* rows have their fine parts behind them */
    IMAGE_LISTS = 1 << 9,     /* there are some: what they were trained to be */
    IMAGE_OWNERS = 1 << 10,   /* slots are as they were, and whose they are */
    IMAGE_TRAINING = 1 << 11, /* lists were being trained */
    IMAGE_PQ = 1 << 12,       /* rows are codes, of books that follow */
    IMAGE_LEVELS = 1 << 13,   /* the graph's nodes have levels of their own */
    IMAGE_FLAGS_ALL = (1 << 14) - 1,
};

/* Whether slots keep their numbers; then bitmaps tell which are in use. */
static inline bool image_keeps_slots(uint32_t flags)
{
    return flags & (IMAGE_GRAPH | IMAGE_OWNERS);
}

/* What a block holds; a section is the blocks of a kind, which cover slots (or
 * floats of a matrix or of codebooks, bytes of what was trained, groups of 32
 * slots) without a gap. */
enum block_kind {
    BLOCK_MATRIX = 1,
    BLOCK_ROWS,
    BLOCK_NAMES,
    BLOCK_ATTRIBUTES,
    BLOCK_LINKS,
    BLOCK_TRAINED,
    BLOCK_OWNERS,
    BLOCK_BOOKS,
    BLOCK_LEVELS,
    BLOCK_KIND_COUNT,
};

enum block_coding { CODING_PLAIN, CODING_LZ4 };

enum {
    BLOCK_HEAD = 16,
    BLOCK_TAIL = 4,
    BLOCK_RAW_MAX = 4 << 20, /* of what is not a single name or attribute */
    BLOCK_FILL = 512 << 10,  /* bytes, about, that one is to hold */
    BLOCK_SLOTS_MAX = 1 << 16,
    /* Rows, links and matrices gain no more than that by compression: what a
     * file asks memory for is in proportion to its size. */
    BLOCK_GAIN_MAX = 16,
    /* Slots there may be for each that is in use, for them to be kept. */
    IMAGE_SPARSE = 8,
    IMAGE_SLACK = 64,
    IMAGE_TRAINED_MAX = INT32_MAX,
};

static inline bool block_gain_is_bounded(enum block_kind kind)
{
    return kind == BLOCK_MATRIX || kind == BLOCK_BOOKS || kind == BLOCK_ROWS ||
           kind == BLOCK_LINKS || kind == BLOCK_TRAINED || kind == BLOCK_LEVELS;
}

/* Groups of 32 slots that may belong to a list. */
enum { IMAGE_GROUP = 32 };

static inline uint32_t image_groups(uint32_t n_slots)
{
    return (uint32_t)(((uint64_t)n_slots + IMAGE_GROUP - 1) / IMAGE_GROUP);
}

/* Length of a number in 7 bits a byte. */
enum { VARINT_MAX = 5 };

#endif
