/* The inside of a vector set: shared by vset*.c and by what a set has: its
 * index (graph/, lists/), the order of its names (names/), searches (search/).
 *
 *   vset.c           life and end
 *   vset_elements.c  elements and their attributes
 *   vset_move.c      an element moves to another slot
 *   vset_fine.c      what rows have besides their codes
 *   vset_view.c      what a search captures
 *   vset_info.c      what is known; checking
 *   vset_estimate.c  what it would take for so many elements
 *   vset_save.c, vset_load*.c, vset_import.c  a set in a file: vset_image.h */
#ifndef VECTRA_DB_VSET_IMPL_H
#define VECTRA_DB_VSET_IMPL_H

#include "db/search/recall.h"
#include "db/vset/attribute.h"
#include "db/vset/vset.h"

struct filter_memo;
struct flat_ring;
struct graph;
struct lists_home;
struct name_order;

/* A set of this size gets an arena of its own. Below it, an arena's own cost
 * (about 90 KB, and time in every fork) would be felt. */
enum { VSET_PRIVATE_AT = 32 << 20 };

/* Checked by vset_validate():
 *
 *  V1  n_attributes is the number of live slots with an attribute.
 *  V2  The set is in its database's list `unsettled` when its elements have
 *      something to settle.
 *  V3  memory is the sum of all blocks of the set, its own struct included. */
/* There may be very many: the order of the fields leaves no gaps, and 640 bytes
 * are a size the allocator has. */
struct vset {
    struct keyspace *keyspace;
    struct database *db; /* where it counts; NULL once dropped */
    struct vset_options options;
    struct vec_format format;
    bool is_calibrating; /* see recall.h */
    uint8_t flat_at;     /* see graph_begin_if_due() */
    uint16_t n_frozen;   /* see vset_freeze() */
    struct region memory;
    struct elements elements;
    uint64_t uid;
    uint64_t seed; /* of its graphs; the uid it had when it was made */
    uint64_t node_uid;
    /* The matrix it projects by, when that is not vec_project()'s: dim rows of
     * input_dim floats. */
    float *matrix;
    uint32_t n_attributes;
    uint32_t n_scanning;
    size_t attribute_bytes;
    struct flat_ring *ring;   /* while exact searches are under way */
    struct graph *graph;      /* answers; see graph.h; NULL: none */
    struct graph *coming;     /* being built, to take its place */
    struct graph *graphs;     /* these, and dropped ones while work on them ends
                               */
    struct lists_home *lists; /* see lists.h; NULL: never had any */
    /* see recall.h */
    float recall[RECALL_EFS_MAX];
    uint32_t calibrated_at;
    uint32_t calibrated_build;
    uint32_t n_builds;         /* of graphs and lists */
    struct filter_memo *memos; /* see filter_memo.h */
    struct name_order *order;  /* see name_order.h; NULL: nobody asked */
    union {
        struct { /* while db is not NULL */
            struct vset *unsettled_next;
            struct vset **unsettled_at; /* what points here; NULL: not listed */
            struct entry *entry;        /* whose value it is; NULL: nobody's */
        };
        struct { /* once it is */
            struct retired retired;
            struct reaper_job job;
        };
    };
};

/* To be called after a change: see V2. */
void vset_list_unsettled(struct vset *v);
static inline void vset_note_unsettled(struct vset *v)
{
    const struct slots *s = &v->elements.slots;

    if (UNLIKELY(!v->unsettled_at &&
                 (s->limbo_len > 0 || s->stamped || s->n_ahead > 0))) {
        vset_list_unsettled(v);
    }
}

/* Memory of the set will be written to before long: it is touched on the
 * background thread. arg: the set. */
void vset_expect_writes(void *arg, void *memory, size_t bytes);

/* Frees an attribute that nobody looks at. arg: the set. */
void vset_free_attribute(void *arg, void *attribute);

/* Whether an element has one now. */
static inline bool vset_slot_has_attribute(const struct vset *v, slot_id slot)
{
    const struct attribute *a = elements_attr(&v->elements, slot);

    return attribute_at(a, epoch_now(v->keyspace->epoch)) != NULL;
}

/* The codebooks that rows are decoded by; NULL when the set has its vectors. */
struct vec_pq *vset_pq(const struct vset *v);

/* Bytes of v->matrix, if there is one. */
size_t vset_matrix_bytes(const struct vset *v);

#endif
