/* The inside of reading a vector set in our own form: shared by vset_load.c,
 * vset_load_blocks.c, vset_load_rows.c, vset_load_graph.c and
 * vset_load_lists.c.
 *
 * A set is a header and sections of blocks. What is in a block is looked at in
 * three steps, which each section says how to do:
 *
 *     expect   when it has been read, in order: room is made for it
 *     decode   on any thread, several at once, once it is decompressed: what
 *              can be done without looking at what other blocks do
 *     take     in order again: the rest
 *
 * For a set of some size the pool's workers decode; blocks that follow each
 * other are put together into parts, of which a few are under way. What the
 * owner's thread does, and in what order, does not depend on how fast they are.
 *
 * thread the owner's, but for decode. */
#ifndef VECTRA_DB_VSET_LOAD_IMPL_H
#define VECTRA_DB_VSET_LOAD_IMPL_H

#include "base/crew.h"
#include "db/vset/vset_load.h"
#include "index/hnsw/hnsw_image.h"

enum { PARTS_MAX = 16, PART_BLOCKS = 8 };

/* A block as it is looked at. */
struct block {
    uint32_t first, n;
    uint64_t end;        /* the offset behind it in the input */
    struct bytes stored; /* all of it; NULL: it is at `at` of its part */
    size_t at;
    struct bytes body; /* of the content, what has not been looked at yet */
    /* By decode, for take. */
    const uint8_t *present, *live; /* bitmaps, where slots keep their numbers */
    uint32_t rows;
    size_t hashes_at; /* of names: in the part's */
    struct hnsw_image_part nodes;
};

struct reader;
struct part;

struct section {
    enum block_kind kind;
    /* Any may be NULL. fails  false or words; decode's are of a block that is
     * corrupt. */
    bool (*expect)(struct reader *r, const struct block *b, uint32_t raw_len);
    const char *(*decode)(const struct reader *r, struct part *p,
                          struct block *b);
    bool (*take)(struct reader *r, struct part *p, struct block *b);
};

/* Blocks that one worker looks at. */
struct part {
    struct crew_unit unit;
    const struct reader *reader;
    const struct section *section;
    struct block blocks[PART_BLOCKS];
    uint32_t n, n_decoded;
    size_t bytes, raw_bytes;
    struct buf stored; /* blocks as they were read */
    struct buf raw;    /* decompressed */
    struct buf hashes; /* of names, uint64_t */
    const char *fault; /* of the block after the n_decoded first */
};

struct reader {
    struct rdb_in *in;
    struct keyspace *ks;
    struct vset *set;
    uint32_t flags;
    struct vset_options options;
    uint64_t seed, node_uid;
    uint32_t n_slots, n_rows, n_live;
    uint32_t graph_m, graph_ef, n_nodes, entry, fresh_from;
    struct hnsw_spread spread;
    struct hnsw_shape shape; /* with IMAGE_LEVELS */
    struct buf levels;       /* by slot, a byte each */
    struct graph *graph;
    bool has_chains;
    float recall[RECALL_EFS_MAX];
    uint32_t calibrated_at;
    struct buf present; /* bitmaps by slot, of a set with a graph or lists */
    struct buf live;
    uint32_t rows_read, named;
    uint32_t trained_len;
    struct buf trained; /* what lists_write_trained() wrote */
    struct buf owners;  /* by group of slots: uint32_t, LISTS_NONE: no list's */
    struct lists_options asked;
    /* Parts, see vset_load_blocks.c. */
    struct pool *crew;    /* NULL: everything is done at once */
    struct part now;      /* what is done at once */
    struct part *filling; /* a part that blocks are added to, or NULL */
    struct part *parts[PARTS_MAX]; /* a ring of those under way */
    uint32_t first_part, n_parts, most_parts;
    struct part *spare;
    size_t part_bytes;
    bool is_broken; /* nothing more is to be taken */
    uint64_t at; /* the offset that what is looked at ends at; 0: the input's */
};

/* ---- vset_load.c ------------------------------------------------------- */

/* Keep an error and return false. fail() returns true of ERR_OK. */
bool vset_load_corrupt(struct reader *r, const char *what);
bool vset_load_fail(struct reader *r, enum err err);

/* ---- vset_load_blocks.c ------------------------------------------------ */

/* From here on workers take part, if the set is large enough for that. */
void vset_load_share(struct reader *r);

/* Reads a section about so many. What it says may yet have to be taken. */
bool vset_load_section(struct reader *r, const struct section *s,
                       uint64_t total);

/* Everything that was read is decoded and taken. */
bool vset_load_settle(struct reader *r);

/* Waits for what is under way, whether or not something failed, and frees. */
void vset_load_parts_end(struct reader *r);

/* Takes so many bits from the front of a block; NULL when it is shorter. */
const uint8_t *vset_load_bits(struct block *b, size_t n);

/* A number in 7 bits a byte. */
bool vset_load_varint(struct bytes *from, uint32_t *out);

static inline bool bit_at(const uint8_t *bits, uint32_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

/* ---- vset_load_rows.c, vset_load_graph.c, vset_load_lists.c ------------- */

bool vset_load_matrix(struct reader *r);
bool vset_load_books(struct reader *r);
bool vset_load_rows(struct reader *r);
bool vset_load_names(struct reader *r);
bool vset_load_attributes(struct reader *r);

/* Reads levels, if the nodes have their own; links; then, when everything has
 * settled, checks them. */
bool vset_load_levels(struct reader *r);
bool vset_load_links(struct reader *r);
bool vset_load_check_links(struct reader *r);

bool vset_load_trained(struct reader *r);
bool vset_load_owners(struct reader *r);
bool vset_load_make_lists(struct reader *r);

#endif
