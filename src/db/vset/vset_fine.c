/* Fine parts of rows: see vset_fine.h. */
#include "db/vset/vset_fine.h"

#include <string.h>

#include "db/vset/vset_impl.h"

void vset_fine_have_none(struct vset *v)
{
    struct slots *s = &v->elements.slots;
    slot_id slot;

    for (slot = 0; slot < s->n_slots && s->geometry.side_bytes; slot++) {
        uint8_t *fine = slots_side(s, slot);

        memset(fine, 0, s->geometry.side_bytes);
        *fine = VEC_FINE_NONE;
    }
}

bool vset_has_fine(const struct vset *v)
{
    return v->format.type == VEC_I8 && vset_count(v) >= VSET_FINE_FROM;
}

struct vec_fine_row vset_fine_row(const struct slots_view *view, slot_id slot)
{
    struct row_place at = row_place(view->geometry, slot);
    const struct page *p = view->pages[at.page];

    return (struct vec_fine_row){
        .row = p->rows + (size_t)at.row * view->geometry->row_bytes,
        .fine = p->side + (size_t)at.row * view->geometry->side_bytes,
    };
}
