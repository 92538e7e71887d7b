/* Which index a set has that is to choose for itself, and why.
 *
 * Small sets are scanned, unless they came with a graph, which is kept. From
 * where a scan takes longer a set has a graph, which finds most for the least
 * work, unless
 *
 *   memory    maxmemory leaves no room for a graph of what there is
 *   size      there are more elements than a graph is built of in a day or two
 *   churn     more than half of the elements are replaced or removed every
 *             hour: a graph would do little but repair itself
 *
 * speak for lists, which take a tenth of the memory and are never repaired. A
 * set that has no room for a graph and is too small for lists is scanned.
 *
 * A choice stands until something speaks clearly against it. Each bound is half
 * as far again in the way back; churn must have lasted for two hours, or have
 * been gone for two; and lists are not given up for a graph within an hour of
 * being chosen. Memory is counted as if the set had no index at all, so that a
 * choice does not change what it depends on.
 *
 * thread loop; index_choose() any. */
#ifndef VECTRA_DB_INDEX_CHOICE_H
#define VECTRA_DB_INDEX_CHOICE_H

#include "db/vset/vset.h"

enum {
    INDEX_HUGE = 20000000,  /* elements */
    INDEX_HOUR = 3600,      /* seconds */
    INDEX_WHY_MAX = 160,    /* bytes of a text */
    INDEX_REVIEW_EVERY = 10 /* seconds */
};

/* Of the elements, that are replaced or removed in an hour. */
#define INDEX_CHURN 0.5

struct index_facts {
    enum vset_index now; /* FLAT, HNSW or IVF */
    bool came_along;     /* the graph there is: see graph_came_along() */
    uint32_t count;
    uint32_t graph_at;    /* elements from which a graph is worth while */
    uint32_t lists_at;    /* and lists */
    uint64_t graph_bytes; /* that a graph of them takes */
    uint64_t room;        /* for an index; UINT64_MAX: no limit */
    double churn_least, churn_most; /* of the last two hours */
    uint32_t age_s;                 /* of the index there is */
};

enum index_reason {
    INDEX_SMALL,
    INDEX_CAME,
    INDEX_LARGE,
    INDEX_NO_ROOM,
    INDEX_TOO_MANY,
    INDEX_CHANGING,
    INDEX_YOUNG,
};

struct index_choice {
    enum vset_index index;
    enum index_reason reason;
};

struct index_choice index_choose(const struct index_facts *f);

/* What is remembered of a set that has an index; all 0 at first. */
struct index_watch {
    uint64_t gone;   /* elements replaced or removed when the hour began */
    uint32_t hour_s; /* when that was */
    uint32_t since_s;
    uint32_t reviewed_s;
    float churn[2]; /* of the last whole hours, the later first */
    bool has_begun;
};

/* gone: elements replaced or removed so far, ever. */
void index_watch_note(struct index_watch *w, uint64_t gone, uint32_t count,
                      uint32_t now_s);

/* Lets a set that is to choose for itself have what it should; does nothing
 * while it is given an index. `soon`: not only now and then. */
void index_choice_review(struct vset *v, bool soon);

/* What an index may take when there is so much besides that is not there yet.
 */
uint64_t index_choice_room(uint64_t besides);

/* Why a set has the index it has. */
void index_choice_why(const struct vset *v, char *text, size_t size);

#endif
