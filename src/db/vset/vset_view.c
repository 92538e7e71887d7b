#include "db/vset/vset_view.h"

#include "db/vset/vset_impl.h"

void vset_view_open(struct vset_view *w, const struct vset *v)
{
    w->epoch = v->keyspace->epoch;
    w->ticket = epoch_enter(w->epoch);
    name_view_take(&w->names, &v->elements);
    w->at = 0;
}

void vset_view_close(struct vset_view *w)
{
    epoch_leave(w->epoch, w->ticket); /* the set may go with it */
}

bool vset_view_walk(struct vset_view *w, uint32_t want,
                    bool (*fn)(void *arg, struct bytes name), void *arg)
{
    slot_id end = w->names.slots.n_slots;

    for (; want > 0 && w->at < end; want--, w->at++) {
        if (slots_view_sees(&w->names.slots, w->at) &&
            !fn(arg, name_view_get(&w->names, w->at))) {
            w->at = end;
        }
    }
    return w->at < end;
}
