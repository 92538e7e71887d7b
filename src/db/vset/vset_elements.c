/* The elements of a vector set: found, added, replaced, removed; and their
 * attributes. What a set has besides, an index, an order of names, results of
 * filters, is told of every change. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/names/name_order.h"
#include "db/search/filter_memo.h"
#include "db/vset/vset_impl.h"
#include "vec/fine.h"

void vset_free_attribute(void *arg, void *attribute)
{
    struct vset *v = arg;
    size_t before = v->memory.bytes;

    attribute_free(&v->memory, attribute);
    v->attribute_bytes -= before - v->memory.bytes;
}

slot_id vset_find(const struct vset *v, struct bytes name)
{
    return elements_find(&v->elements, name, hash_bytes(name.data, name.len));
}

struct bytes vset_name(const struct vset *v, slot_id slot)
{
    return elements_name(&v->elements, slot);
}

const uint8_t *vset_row(const struct vset *v, slot_id slot)
{
    return slots_row(&v->elements.slots, slot);
}

size_t vset_matrix_bytes(const struct vset *v)
{
    return (size_t)v->options.dim * v->options.input_dim * sizeof(float);
}

void vset_project(const struct vset *v, const void *x, float *out)
{
    if (v->matrix) {
        vec_project_by(v->matrix, x, v->options.input_dim, out, v->options.dim);
    } else {
        vec_project(x, v->options.input_dim, out, v->options.dim);
    }
}

/* Stores the element's vector into the row of the taken slot. */
static enum err encode(struct vset *v, const struct vset_element *e,
                       slot_id slot)
{
    uint8_t *row = slots_row(&v->elements.slots, slot);
    uint8_t *fine = slots_side(&v->elements.slots, slot);
    struct buf *work = &v->keyspace->work;
    float *out;

    if (e->row) {
        memcpy(row, e->row, v->format.row_bytes);
        memcpy(fine, e->fine, vec_fine_bytes(&v->format));
        return e->is_foreign ? vec_adopt_row(&v->format, row) : ERR_OK;
    }
    if (!e->projected) {
        return vec_encode_fine(&v->format, e->vector, row, fine);
    }
    work->len = 0;
    out = (float *)(void *)buf_room(work, v->options.dim * sizeof(float));
    vset_project(v, e->vector, out);
    return vec_encode_fine(&v->format, out, row, fine);
}

static bool has_room(const struct vset *v, const struct vset_element *e,
                     uint64_t hash)
{
    return mem_limit() == 0 ||
           mem_has_room(elements_add_cost(&v->elements, hash, e->name.len) +
                        attribute_cost(e->attribute));
}

/* The attribute an element brings along; NULL without one. */
static enum err new_attribute(struct vset *v, const struct vset_element *e,
                              slot_id slot, struct attribute **out)
{
    size_t before = v->memory.bytes;

    *out = NULL;
    if (!e->has_attribute || e->attribute.len == 0) {
        return ERR_OK;
    }
    if (elements_reserve_attr(&v->elements, slot) != ERR_OK) {
        return ERR_NOMEM;
    }
    before = v->memory.bytes;
    *out =
        attribute_create(&v->memory, e->attribute, NULL, 0, &v->keyspace->work);
    if (!*out) {
        return ERR_NOMEM;
    }
    v->attribute_bytes += v->memory.bytes - before;
    return ERR_OK;
}

uint64_t vset_hash(struct bytes name)
{
    return hash_bytes(name.data, name.len);
}

void vset_expect(const struct vset *v, uint64_t hash, int step)
{
    elements_expect(&v->elements, hash, step);
}

void vset_expect_rows(const struct vset *v, uint32_t n)
{
    slots_expect(&v->elements.slots, n);
}

size_t vset_stored_bytes(const struct vset *v)
{
    return v->format.row_bytes + vec_fine_bytes(&v->format);
}

void vset_stored(const struct vset *v, slot_id slot, struct buf *out)
{
    const struct slots *s = &v->elements.slots;

    buf_append(out, slots_row(s, slot), v->format.row_bytes);
    buf_append(out, slots_side(s, slot), vec_fine_bytes(&v->format));
}

bool vset_element_stored(const struct vset *v, struct bytes stored,
                         struct vset_element *e)
{
    if (stored.len != vset_stored_bytes(v)) {
        return false;
    }
    e->row = stored.data;
    e->fine = stored.data + v->format.row_bytes;
    e->is_foreign = true;
    return true;
}

enum err vset_put(struct vset *v, const struct vset_element *e, bool *added,
                  slot_id *at)
{
    uint64_t hash = e->hash ? e->hash : vset_hash(e->name);
    slot_id old = elements_find(&v->elements, e->name, hash);
    struct attribute *attribute = NULL;
    bool had = old != SLOT_NONE && vset_slot_has_attribute(v, old);
    slot_id slot;
    enum err err;

    if (UNLIKELY(e->attribute.len > VSET_ATTRIBUTE_MAX)) {
        return ERR_LIMIT;
    }
    if (UNLIKELY(!has_room(v, e, hash))) {
        return ERR_LIMIT;
    }
    err = elements_begin(&v->elements, e->name, hash, old, &slot);
    vset_note_unsettled(v); /* or memory may have been reserved */
    if (UNLIKELY(err)) {
        return err;
    }
    err = graph_prepare(v, slot);
    if (LIKELY(!err)) {
        err = lists_prepare(v, slot);
    }
    if (LIKELY(!err)) {
        err = encode(v, e, slot);
    }
    if (LIKELY(!err)) {
        err = new_attribute(v, e, slot, &attribute);
    }
    if (UNLIKELY(err)) {
        elements_abort(&v->elements, hash, slot);
        return err;
    }
    if (attribute) {
        elements_set_attr(&v->elements, slot, attribute);
    }
    if (UNLIKELY(v->memos)) {
        filter_memos_note_slot(v, slot);
    }
    if (UNLIKELY(v->order)) {
        name_order_note_put(v, old, slot, e->name);
    }
    if (old != SLOT_NONE) {
        lists_note_gone(v, old);
    }
    elements_commit(&v->elements, hash, slot, epoch_advance(v->keyspace->epoch),
                    !e->has_attribute);
    if (old != SLOT_NONE) {
        graph_note_gone(v, old);
    }
    v->node_uid++;
    v->n_attributes += e->has_attribute ? (attribute != NULL) : had;
    v->n_attributes -= had;
    v->db->n_vectors += old == SLOT_NONE;
    *added = old == SLOT_NONE;
    *at = slot;
    vset_note_unsettled(v);
    graph_note_put(v, slot);
    lists_note_put(v, slot);
    if (UNLIKELY(v->memory.bytes > VSET_PRIVATE_AT && !v->memory.is_private)) {
        region_make_private(&v->memory);
    }
    return ERR_OK;
}

enum err vset_remove(struct vset *v, struct bytes name, bool *removed)
{
    uint64_t hash = hash_bytes(name.data, name.len);
    slot_id slot = elements_find(&v->elements, name, hash);
    bool had;
    enum err err;

    *removed = false;
    if (slot == SLOT_NONE) {
        return ERR_OK;
    }
    had = vset_slot_has_attribute(v, slot);
    err = slots_prepare(&v->elements.slots, slot);
    if (err) {
        vset_note_unsettled(v);
        return err;
    }
    if (UNLIKELY(v->order)) {
        name_order_note_removed(v, slot, name);
    }
    lists_note_gone(v, slot);
    err = elements_remove(&v->elements, hash, slot,
                          epoch_advance(v->keyspace->epoch));
    ASSERT(!err); /* it was prepared */
    vset_note_unsettled(v);
    graph_note_gone(v, slot);
    v->n_attributes -= had;
    v->db->n_vectors--;
    *removed = true;
    return ERR_OK;
}

slot_id vset_random(struct vset *v)
{
    return elements_random(&v->elements, &v->keyspace->rng);
}

/* ---- attributes -------------------------------------------------------- */

struct bytes vset_attribute(const struct vset *v, slot_id slot)
{
    const struct attribute *a = elements_attr(&v->elements, slot);

    a = attribute_at(a, epoch_now(v->keyspace->epoch));
    return a ? attribute_text(a) : BYTES_NONE;
}

/* An attribute that searches under way may still read. */
struct dead_attribute {
    struct retired retired;
    struct vset *vset;
    struct attribute *attribute;
};

static void dead_attribute_reclaim(struct retired *r, void *arg)
{
    struct dead_attribute *d = CONTAINER_OF(r, struct dead_attribute, retired);

    (void)arg;
    vset_free_attribute(d->vset, d->attribute);
    region_free(&d->vset->memory, d, sizeof(*d), 1);
}

/* Puts a new attribute in the place of `old` while searches are under way. */
static enum err replace_under_way(struct vset *v, slot_id slot,
                                  struct attribute *old, struct bytes json)
{
    struct dead_attribute *dead = NULL;
    write_seq seq = epoch_advance(v->keyspace->epoch);
    size_t before;
    struct attribute *a;

    if (old) {
        dead = region_alloc(&v->memory, sizeof(*dead), 1);
        if (!dead) {
            return ERR_NOMEM;
        }
    }
    before = v->memory.bytes;
    a = attribute_create(&v->memory, json, old, seq, &v->keyspace->work);
    if (!a) {
        region_free(&v->memory, dead, sizeof(*dead), 1);
        return ERR_NOMEM;
    }
    v->attribute_bytes += v->memory.bytes - before;
    elements_set_attr(&v->elements, slot, a);
    if (dead) {
        dead->vset = v;
        dead->attribute = old;
        epoch_retire(v->keyspace->epoch, &dead->retired, dead_attribute_reclaim,
                     NULL);
    }
    return ERR_OK;
}

static enum err replace_quietly(struct vset *v, slot_id slot,
                                struct attribute *old, struct bytes json)
{
    size_t before = v->memory.bytes;
    struct attribute *a = NULL;

    epoch_advance(v->keyspace->epoch);
    if (json.len) {
        a = attribute_create(&v->memory, json, NULL, 0, &v->keyspace->work);
        if (!a) {
            return ERR_NOMEM;
        }
        v->attribute_bytes += v->memory.bytes - before;
    }
    elements_set_attr(&v->elements, slot, a);
    if (old) {
        vset_free_attribute(v, old);
    }
    return ERR_OK;
}

enum err vset_set_attribute(struct vset *v, slot_id slot, struct bytes json)
{
    struct attribute *old = elements_attr(&v->elements, slot);
    bool had = vset_slot_has_attribute(v, slot);
    enum err err;

    /* Past maxmemory, too, what makes an attribute no longer is allowed. */
    if (json.len > VSET_ATTRIBUTE_MAX ||
        (json.len > vset_attribute(v, slot).len &&
         !mem_has_room(attribute_cost(json)))) {
        return ERR_LIMIT;
    }
    if (!had && json.len == 0) {
        return ERR_OK;
    }
    err = elements_reserve_attr(&v->elements, slot);
    if (!err) {
        err = epoch_is_quiet(v->keyspace->epoch)
                  ? replace_quietly(v, slot, old, json)
                  : replace_under_way(v, slot, old, json);
    }
    if (!err) {
        lists_note_attribute(v, slot);
        filter_memos_note_change(v, slot);
        v->n_attributes += (json.len > 0);
        v->n_attributes -= had;
    }
    return err;
}
