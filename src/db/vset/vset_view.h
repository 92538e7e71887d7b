/* A set as it is at one instant, for walks that last longer than a turn of the
 * loop: what is added, replaced or removed meanwhile, even the whole set,
 * leaves the view as it was. It costs an epoch ticket, as a search does.
 *
 * thread loop. */
#ifndef VECTRA_DB_VSET_VIEW_H
#define VECTRA_DB_VSET_VIEW_H

#include "db/names/name_sort.h"
#include "db/vset/vset.h"

struct vset_view {
    struct epoch *epoch;
    uint64_t ticket;
    struct name_view names;
    slot_id at; /* where the walk goes on */
};

void vset_view_open(struct vset_view *w, const struct vset *v);
void vset_view_close(struct vset_view *w);

static inline uint32_t vset_view_count(const struct vset_view *w)
{
    return w->names.slots.n_live;
}

/* Looks at the next `want` slots and calls fn for each element; an fn that
 * returns false ends the walk for good. False at the end. */
bool vset_view_walk(struct vset_view *w, uint32_t want,
                    bool (*fn)(void *arg, struct bytes name), void *arg);

#endif
