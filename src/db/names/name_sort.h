/* Sorting slots by the names of their elements, a bounded unit at a time.
 *
 * Names lie scattered over memory, so comparing two of them costs two cache
 * misses, and names made by programs ("user:1000042") begin alike, so that a
 * comparison has far to go. Here each record carries the next eleven bytes of
 * its name past what all names of its group share; records are compared as
 * numbers, and a name is looked at only when its group is loaded.
 *
 * It is multikey quicksort (Bentley and Sedgewick, 1997) on characters of
 * eleven bytes: a group is divided into the records whose key is smaller than,
 * equal to and greater than a pivot's. In the equal part every name goes on; it
 * becomes a group of its own, whose keys begin after the longest prefix its
 * names share. It sorts in place, and its whole state is a short stack of
 * groups, so it can stop after any step.
 *
 * The twelfth byte of a key tells how much of the name was left, up to twelve:
 * a name that ends sorts before one that goes on with zeros, and records of
 * equal keys that end would be equal names, which a set does not have.
 *
 * thread one at a time; any, while the view holds. */
#ifndef VECTRA_DB_NAME_SORT_H
#define VECTRA_DB_NAME_SORT_H

#include "base/rng.h"
#include "store/elements.h"

/* The names of a set at one write sequence; holds while nothing changes, or as
 * long as an epoch ticket opened by then. */
struct name_view {
    struct slots_view slots;
    const struct name_heap *heap;
};

static inline void name_view_take(struct name_view *v, const struct elements *e)
{
    slots_view_take(&e->slots, &v->slots);
    v->heap = &e->names;
}

/* The name of a slot that the view sees. */
static inline struct bytes name_view_get(const struct name_view *v,
                                         slot_id slot)
{
    struct row_place at = row_place(v->slots.geometry, slot);

    return name_heap_get(v->heap, v->slots.pages[at.page]->names[at.row]);
}

/* The caller sets the slot; the key is the sort's. */
struct name_record {
    uint64_t key_high; /* the first eight bytes, big-endian */
    uint32_t key_low;  /* three more and the count of bytes left, 0 to 12 */
    slot_id slot;
};

/* The stack holds the two larger of three parts while the smallest is worked
 * on, at most a third of the whole: 1.3 log2(n) groups. */
enum { NAME_SORT_STACK = 64 };

/* Records whose names share their first `depth` bytes. */
struct name_group {
    uint32_t begin, end;
    uint32_t depth;
    bool keyed; /* the keys are those at depth */
};

enum name_sort_phase {
    NAME_SORT_NEXT,    /* take a group from the stack */
    NAME_SORT_MEASURE, /* how much more do its names share? */
    NAME_SORT_LOAD,    /* load its keys */
    NAME_SORT_DIVIDE,  /* bring what is less than the pivot to the front */
    NAME_SORT_GATHER,  /* then what is equal to it */
};

struct name_sort {
    const struct name_view *view;
    struct name_record *records;
    struct rng rng; /* pivots, so that no order of names is a bad one */
    struct name_group stack[NAME_SORT_STACK];
    uint32_t n_stack;
    enum name_sort_phase phase;
    /* the group in hand */
    struct name_group group;
    uint32_t at;     /* next record to measure, load or compare */
    uint32_t shared; /* measuring: bytes all names so far share past depth */
    bool all_equal;  /* loading: all keys so far are equal */
    struct name_record pivot;
    uint32_t less;    /* the records before it are less than the pivot */
    uint32_t greater; /* those between are equal to it */
};

/* Begins sorting n records, whose slots are different and seen by the view.
 * Both stay the caller's and must outlive the sort. */
void name_sort_begin(struct name_sort *s, const struct name_view *view,
                     struct name_record *records, uint32_t n, uint64_t seed);

/* Goes on for about `budget` comparisons of numbers, a few nanoseconds each;
 * true when there is more to do. */
bool name_sort_step(struct name_sort *s, uint32_t budget);

#endif
