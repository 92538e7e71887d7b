/* The form in which vector sets are kept in files: shared by vset_save.c and
 * vset_load.c. */
#ifndef VECTRA_DB_VSET_IMAGE_IMPL_H
#define VECTRA_DB_VSET_IMAGE_IMPL_H

#include "db/graph.h"
#include "db/vset_image.h"
#include "db/vset_impl.h"
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
    IMAGE_SPREAD = 1 << 7, /* of the graph's rows is known */
    IMAGE_FINE = 1 << 8,   /* rows have their fine parts behind them */
    IMAGE_FLAGS_ALL = (1 << 9) - 1,
};

/* What a block holds; a section is the blocks of a kind, which cover slots (or
 * floats of a matrix) without a gap. */
enum block_kind {
    BLOCK_MATRIX = 1,
    BLOCK_ROWS,
    BLOCK_NAMES,
    BLOCK_ATTRIBUTES,
    BLOCK_LINKS,
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
    /* Slots there may be for each that is in use, for a graph to be kept. */
    IMAGE_SPARSE = 8,
    IMAGE_SLACK = 64,
};

static inline bool block_gain_is_bounded(enum block_kind kind)
{
    return kind == BLOCK_MATRIX || kind == BLOCK_ROWS || kind == BLOCK_LINKS;
}

/* Length of a number in 7 bits a byte. */
enum { VARINT_MAX = 5 };

#endif
