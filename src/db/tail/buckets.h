/* Buckets: a coarse order of rows that no index body holds yet.
 *
 * A tail that has grown long is not scanned as a whole. Workers assign its
 * rows to buckets, a thousand times as fast as a graph links them: around
 * centroids that are trained in a moment from a sample, each row goes to the
 * nearest. A search compares the centroids with its query and scores the rows
 * of the nearest buckets only.
 *
 *     rows in arrival order ──assign──▶ SEGMENT ──merge──▶ larger SEGMENT
 *                                 its rows are all in the body: gone ──┘
 *
 * A segment holds the slots that came between two points of a tail, by bucket,
 * and copies of their codes, so that a bucket is read in one stream: rows here
 * and there took three to five times as long. It never changes; a directory
 * lists the segments there are and is replaced when that changes. So a search
 * that captured a directory with its view reads both without a lock while its
 * ticket is open.
 *
 *  T1  A slot is in a segment once it was assigned, whatever becomes of it. By
 *      its codes it is a candidate, no more: it is scored by its row as that is
 *      and asked whether the search sees it. An entry that is out of date costs
 *      time and is never a wrong answer.
 *  T2  A slot that is used again after it was handed to be assigned is in the
 *      wrong bucket. Whoever keeps the tail lists it anew; see graph_tail.c.
 *
 * Workers read rows that the loop may be writing anew, through a copy
 * (vec_copy_row); by T2 nobody relies on what becomes of those.
 *
 * thread the loop, but for units. */
#ifndef VECTRA_DB_BUCKETS_H
#define VECTRA_DB_BUCKETS_H

#include "base/epoch.h"
#include "base/err.h"
#include "base/region.h"
#include "vec/row_map.h"
#include "vec/vec.h"

enum {
    BUCKETS_MAX = 1024,
    BUCKET_SAMPLE_ROWS = 32,      /* for each centroid */
    BUCKET_SAMPLE_BYTES = 8 << 20 /* but not more than these */
};

/* What rows are compared in. */
struct bucket_formats {
    const struct vec_format *stored;
    const struct vec_format *codes; /* the same, or int8 codes of it */
    struct row_map rows;
};

struct bucket_centroids {
    struct region *region;
    size_t bytes;
    const struct vec_format *codes;
    uint32_t uses; /* by segments, and by who assigns rows to them */
    uint32_t n;
    size_t query_bytes;
    uint8_t *queries; /* what rows are assigned by */
    uint8_t *rows;    /* what queries are compared with */
};

static inline const struct vec_query *
buckets_query(const struct bucket_centroids *c, uint32_t i)
{
    return (const struct vec_query *)(const void *)(c->queries +
                                                    i * c->query_bytes);
}

/* Gives up a use of them; the last one frees them. A search looks at them only
 * through a segment, so nobody does then. */
void buckets_centroids_release(struct bucket_centroids *c);

/* ---- training ------------------------------------------------------------ */

/* Work in phases of units, as hnsw.h has it. */
struct bucket_training;

/* Begins training centroids on a sample of the first n_slots slots, at least
 * one, for so many rows.
 *
 * fails  NULL when memory is out. */
struct bucket_training *buckets_training_begin(const struct bucket_formats *f,
                                               struct region *region,
                                               uint32_t n_slots,
                                               uint32_t n_rows, uint64_t seed);
uint32_t buckets_training_units(const struct bucket_training *t);
void buckets_training_unit(struct bucket_training *t, uint32_t unit);
void buckets_training_next(struct bucket_training *t);

/* Frees it; owns: its centroids, with one use. */
struct bucket_centroids *buckets_training_end(struct bucket_training *t);
void buckets_training_abandon(struct bucket_training *t);

/* ---- segments ------------------------------------------------------------ */

struct bucket_segment {
    struct retired retired;
    struct region *region;
    size_t bytes;
    struct bucket_centroids *centroids;
    bool late;         /* of which part of a tail */
    uint64_t from, to; /* slots, or positions in the list */
    uint32_t n, cap;
    uint32_t *starts; /* in `slots`, of each bucket, and n */
    uint8_t *codes;   /* of the slots: rows of centroids->codes */
    uint32_t slots[]; /* ascending within a bucket where `late` is not */
};

struct bucket_dir {
    struct retired retired;
    struct region *region;
    uint32_t n;
    struct bucket_segment *segments[];
};

/* Assigns rows, or brings what segments hold together. Bytes of it are the
 * region's. */
struct bucket_work;

/* What is assigned: the slots from..to, or, with a list, list[0..to - from].
 * The list is copied.
 *
 * fails  NULL when memory is out. */
struct bucket_assignment {
    const struct bucket_formats *formats;
    struct bucket_centroids *centroids;
    struct region *region;
    bool late;
    uint64_t from, to;
    const uint32_t *list;
};
struct bucket_work *buckets_assign_begin(const struct bucket_assignment *a);

/* Segments of the same centroids and the same part of a tail that lie next to
 * each other. Slots below `from` are left out where they are not late. */
struct bucket_work *buckets_merge_begin(struct bucket_segment *const *segments,
                                        uint32_t n, uint32_t from);
uint32_t buckets_work_units(const struct bucket_work *w);
void buckets_work_unit(struct bucket_work *w, uint32_t unit);
void buckets_work_next(struct bucket_work *w);

/* Frees the work; owns: a segment that is in no directory. */
struct bucket_segment *buckets_work_end(struct bucket_work *w);
void buckets_work_abandon(struct bucket_work *w);

/* Makes a directory of what `old` (may be NULL) lists and keep() does not
 * refuse, and of `added` (may be NULL), in order; what is left out, and the old
 * one, is freed when nobody looks any more. *out is NULL for none.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err buckets_dir_change(struct bucket_dir *old, struct region *region,
                            struct epoch *epoch,
                            bool (*keep)(const void *arg,
                                         const struct bucket_segment *s),
                            const void *arg, struct bucket_segment *added,
                            struct bucket_dir **out) MUST_USE;

/* Frees a directory and all in it that nobody looks at. thread any. */
void buckets_dir_free(struct bucket_dir *d);

/* A segment that is in no directory. */
void buckets_segment_free(struct bucket_segment *s);

/* Bytes that assigning so many rows takes, about. */
size_t buckets_assign_cost(const struct bucket_centroids *c, uint32_t n);

/* The first entry of a bucket that is of a slot from `from` on, where those are
 * in order; *end is where the bucket ends. */
uint32_t buckets_entries_from(const struct bucket_segment *s, uint32_t bucket,
                              uint32_t from, uint32_t *end);

/* Bytes of a directory and its segments; their centroids not included. */
size_t buckets_dir_bytes(const struct bucket_dir *d);

#endif
