/* What a vector set tells about itself; and checking it. */
#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/names/name_order.h"
#include "db/vset/vset_impl.h"
#include "store/slots_blocks.h"

size_t vset_memory(const struct vset *v)
{
    return mem_size(v) + v->memory.bytes + lists_outside_bytes(v);
}

void vset_info_read(const struct vset *v, struct vset_info *out)
{
    const struct elements *e = &v->elements;
    size_t live_pages = 0;
    uint32_t i;

    for (i = 0; i < e->slots.n_pages; i++) {
        live_pages += page_cost(&e->slots.geometry, i);
    }
    live_pages -= slots_asleep_bytes(&e->slots);
    *out = (struct vset_info){
        .uid = v->uid,
        .node_uid = v->node_uid,
        .count = vset_count(v),
        .n_slots = e->slots.n_slots,
        .n_attributes = v->n_attributes,
        .memory_bytes = vset_memory(v),
        .code_bytes = live_pages,
        .attribute_bytes = v->attribute_bytes,
        .index_bytes = name_order_bytes(v) + graph_bytes(v) + lists_bytes(v),
    };
    out->name_bytes = v->memory.bytes - out->code_bytes - out->attribute_bytes -
                      out->index_bytes;
    out->index_bytes += lists_outside_bytes(v);
}

void vset_check_begin(struct vset_check *c, const struct vset *v)
{
    *c = (struct vset_check){.of = v, .seq = epoch_now(v->keyspace->epoch)};
}

static const char *check_element(const struct vset *v, slot_id slot)
{
    return vset_find(v, vset_name(v, slot)) == slot
               ? NULL
               : "L1: a live slot's name is not found, or in another slot";
}

bool vset_check_step(struct vset_check *c, const struct vset *v, uint32_t n)
{
    const struct slots *s = &v->elements.slots;

    if (c->of != v) {
        vset_check_begin(c, v);
    }
    c->broken = graph_check_slots(v, c->next, n);
    if (!c->broken) {
        c->broken = lists_check_slots(v, c->next, n);
    }
    for (; n > 0 && c->next < s->n_slots && !c->broken; n--, c->next++) {
        if (slots_is_live(s, c->next)) {
            c->broken = check_element(v, c->next);
            c->n_live++;
            c->n_attributes += vset_slot_has_attribute(v, c->next);
        }
    }
    if (c->broken || c->next < s->n_slots) {
        return !c->broken;
    }
    /* What is summed up over many instants is right if nothing was written. */
    if (c->seq == epoch_now(v->keyspace->epoch)) {
        if (c->n_live != vset_count(v)) {
            c->broken = "S2: the number of elements is wrong";
        } else if (c->n_attributes != v->n_attributes) {
            c->broken = "V1: the number of attributes is wrong";
        }
    }
    return false;
}

void vset_validate(const struct vset *v)
{
    uint32_t with_attribute = 0;
    slot_id slot;

    elements_validate(&v->elements);
    for (slot = 0; slot < v->elements.slots.n_slots; slot++) {
        with_attribute += slots_is_live(&v->elements.slots, slot) &&
                          vset_slot_has_attribute(v, slot);
    }
    ASSERT(with_attribute == v->n_attributes);
    ASSERT(v->unsettled_at ||
           (v->elements.slots.limbo_len == 0 && !v->elements.slots.stamped));
    ASSERT(!graph_check_slots(v, 0, UINT32_MAX));
    ASSERT(!lists_check_slots(v, 0, UINT32_MAX));
    name_order_validate(v);
}
