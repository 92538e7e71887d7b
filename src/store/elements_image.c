/* Elements that come from a file: see elements_image.h. */
#include "store/elements_image.h"

enum err elements_image_expect(struct elements *e, uint32_t n)
{
    return n ? table_reserve(&e->table, n) : ERR_OK;
}

enum err elements_image_add(struct elements *e, slot_id slot, struct bytes name,
                            uint64_t hash)
{
    uint32_t row;
    struct page *p = slots_page(&e->slots, slot, &row);
    name_ref ref;
    enum err err;

    if (elements_find(e, name, hash) != SLOT_NONE) {
        return ERR_EXISTS;
    }
    err = name_heap_add(&e->names, name, &ref);
    if (err) {
        return err;
    }
    p->names[row] = ref;
    err = table_insert(&e->table, hash, slot);
    if (err) {
        name_heap_free(&e->names, ref);
        return err;
    }
    atomic_fetch_or_explicit(&p->live[row / 64], (uint64_t)1 << (row % 64),
                             memory_order_relaxed);
    e->slots.n_live++;
    return ERR_OK;
}

void elements_image_finish(struct elements *e,
                           bool (*holds)(const void *arg, slot_id slot),
                           const void *arg)
{
    struct slots *s = &e->slots;
    slot_id slot = s->n_slots;

    while (slot > 0) {
        uint32_t row;
        struct page *p = slots_page(s, --slot, &row);

        if (page_is_live(p, row)) {
            continue;
        }
        if (holds(arg, slot)) {
            s->n_held++;
        } else {
            p->names[row] = s->free_head;
            s->free_head = slot;
            s->n_free++;
        }
    }
}
