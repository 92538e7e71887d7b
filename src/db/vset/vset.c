/* Vector sets: see vset.h. */
#include "db/vset/vset_impl.h"

#include <string.h>

#include "base/digest.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mem_map.h"
#include "base/num.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/names/name_order.h"
#include "db/search/filter_memo.h"
#include "store/slots_blocks.h"
#include "vec/fine.h"
#include "vec/pq.h"

static void free_attribute(void *arg, void *attribute)
{
    struct vset *v = arg;
    size_t before = v->memory.bytes;

    attribute_free(&v->memory, attribute);
    v->attribute_bytes -= before - v->memory.bytes;
}

static bool holds_slot(void *arg, slot_id slot)
{
    bool held = graph_holds(arg, slot);

    return lists_holds(arg, slot) || held;
}

/* Finding memory takes the system milliseconds at times: 2 MiB are cleared at
 * once. The background thread frees sets, too, in order, so the memory is still
 * the set's when it is touched. */
struct touch_job {
    struct reaper_job job;
    void *memory;
    size_t bytes;
};

static void touch(struct reaper_job *job)
{
    struct touch_job *t = CONTAINER_OF(job, struct touch_job, job);

    mem_touch(t->memory, t->bytes);
    mem_free(t);
}

static void touch_in_background(void *arg, void *memory, size_t bytes)
{
    struct vset *v = arg;
    struct touch_job *t = mem_try_alloc(sizeof(*t));

    if (t) {
        *t = (struct touch_job){{.run = touch}, memory, bytes};
        reaper_submit(v->keyspace->reaper, &t->job);
    }
}

_Static_assert(sizeof(void *) != 8 || sizeof(struct vset) <= 640,
               "see vset_impl.h");

struct vec_pq *vset_pq(const struct vset *v)
{
    return (struct vec_pq *)(uintptr_t)v->format.pq;
}

static size_t pq_bytes(const struct vset_options *o)
{
    return vec_pq_bytes(o->dim, o->pq_m);
}

/* false when memory is out. */
static bool make_format(struct vset *v, const struct vec_pq *like)
{
    const struct vset_options *o = &v->options;
    struct vec_pq *pq;

    if (!o->pq_m) {
        vec_format_init(&v->format, o->type, o->metric, o->dim);
        return true;
    }
    pq = region_alloc(&v->memory, pq_bytes(o), 1);
    if (!pq) {
        return false;
    }
    if (like) {
        memcpy(pq, like, pq_bytes(o));
    } else {
        vec_pq_init(pq, o->metric, o->dim, o->pq_m);
    }
    vec_format_init_pq(&v->format, o->metric, o->dim, o->pq_m, pq);
    return true;
}

struct vset *vset_create_pq(struct keyspace *ks, struct database *db,
                            const struct vset_options *o,
                            const struct vec_pq *pq)
{
    struct vset *v = mem_try_alloc(sizeof(*v));
    struct elements_ops ops = {.free_attr = free_attribute,
                               .holds = holds_slot,
                               .expect = touch_in_background,
                               .arg = v};
    struct row_layout layout;

    if (!v) {
        return NULL;
    }
    memset(v, 0, sizeof(*v));
    v->keyspace = ks;
    v->db = db;
    v->options = *o;
    v->uid = v->seed = ks->next_vset_uid++;
    region_init(&v->memory, v->uid);
    if (!make_format(v, pq)) {
        region_deinit(&v->memory);
        mem_free(v);
        return NULL;
    }
    layout = (struct row_layout){.row_bytes = v->format.row_bytes,
                                 .side_bytes = vec_fine_bytes(&v->format),
                                 .overread = v->format.overread};
    elements_init(&v->elements, &layout, &v->memory, ks->epoch, &ops);
    db->n_vsets++;
    return v;
}

struct vset *vset_create(struct keyspace *ks, struct database *db,
                         const struct vset_options *o)
{
    return vset_create_pq(ks, db, o, NULL);
}

size_t vset_create_cost(void)
{
    return mem_good_size(sizeof(struct vset));
}

/* ---- the end ----------------------------------------------------------- */

void vset_free(struct vset *v)
{
    if (v->order) {
        name_order_free(v);
    }
    filter_memos_free(v);
    graph_free(v);
    lists_free(v);
    region_free(&v->memory, v->matrix, vset_matrix_bytes(v), 1);
    if (v->options.pq_m) {
        region_free(&v->memory, vset_pq(v), pq_bytes(&v->options), 1);
    }
    elements_deinit(&v->elements);
    region_deinit(&v->memory);
    mem_free(v);
}

static void free_in_background(struct reaper_job *job)
{
    struct vset *v = CONTAINER_OF(job, struct vset, job);
    bool shared = !v->memory.is_private && v->memory.bytes > 1 << 20;

    vset_free(v);
    if (shared) {
        region_purge_shared();
    }
}

static void reap(struct retired *r, void *arg)
{
    struct vset *v = CONTAINER_OF(r, struct vset, retired);
    struct reaper *reaper = arg;

    v->job.run = free_in_background;
    reaper_submit(reaper, &v->job);
}

static void list_unsettled(struct vset *v)
{
    struct vset **head = &v->db->unsettled;

    v->unsettled_next = *head;
    v->unsettled_at = head;
    if (*head) {
        (*head)->unsettled_at = &v->unsettled_next;
    }
    *head = v;
}

static void unlist_unsettled(struct vset *v)
{
    if (v->unsettled_at) {
        *v->unsettled_at = v->unsettled_next;
        if (v->unsettled_next) {
            v->unsettled_next->unsettled_at = v->unsettled_at;
        }
        v->unsettled_at = NULL;
    }
}

void vset_note_unsettled(struct vset *v)
{
    const struct slots *s = &v->elements.slots;

    if (UNLIKELY(!v->unsettled_at && (s->limbo_len > 0 || s->stamped))) {
        list_unsettled(v);
    }
}

void vset_drop(struct vset *v)
{
    unlist_unsettled(v);
    graph_detach(v);
    lists_detach(v);
    if (v->order) {
        name_order_detach(v);
    }
    v->db->n_vsets--;
    v->db->n_vectors -= vset_count(v);
    v->db = NULL;
    epoch_retire(v->keyspace->epoch, &v->retired, reap, v->keyspace->reaper);
}

void vset_set_entry(struct vset *v, struct entry *e)
{
    v->entry = e;
}

const struct entry *vset_entry(const struct vset *v)
{
    return v->db ? v->entry : NULL;
}

const struct database *vset_database(const struct vset *v)
{
    return v->db;
}

bool vset_is_dropped(const struct vset *v)
{
    return !v->db;
}

void vset_freeze(struct vset *v)
{
    v->n_frozen++;
}

void vset_thaw(struct vset *v)
{
    if (--v->n_frozen == 0 && v->db) {
        graph_pump(v, false);
        lists_pump(v, false);
    }
}

bool vset_is_at_rest(const struct vset *v)
{
    return !graph_is_busy(v) && !lists_is_busy(v);
}

void vset_moved(struct vset *v, struct database *to)
{
    unlist_unsettled(v);
    if (v->order) {
        name_order_drop(v); /* it is in a list of the old one's */
    }
    v->db->n_vsets--;
    v->db->n_vectors -= vset_count(v);
    v->db = to;
    to->n_vsets++;
    to->n_vectors += vset_count(v);
    vset_note_unsettled(v);
}

void vset_take_place(struct vset *v, struct vset *of)
{
    struct entry *e = of->entry;

    v->uid = of->uid;
    v->node_uid = of->node_uid;
    vset_moved(v, of->db);
    vset_set_entry(v, e);
    e->value.vset = v;
    vset_drop(of);
}

/* ---- settling ---------------------------------------------------------- */

void vset_settle_all(struct database *db)
{
    struct vset *v = db->unsettled;

    while (v) {
        struct vset *next = v->unsettled_next;

        if (elements_settle(&v->elements)) {
            unlist_unsettled(v);
        }
        v = next;
    }
}

/* ---- elements ---------------------------------------------------------- */

const struct vset_options *vset_options(const struct vset *v)
{
    return &v->options;
}

const struct vec_format *vset_format(const struct vset *v)
{
    return &v->format;
}

uint32_t vset_count(const struct vset *v)
{
    return elements_count(&v->elements);
}

uint64_t vset_uid(const struct vset *v)
{
    return v->uid;
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

static bool slot_has_attribute(const struct vset *v, slot_id slot)
{
    const struct attribute *a = elements_attr(&v->elements, slot);

    return attribute_at(a, epoch_now(v->keyspace->epoch)) != NULL;
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
    bool had = old != SLOT_NONE && slot_has_attribute(v, old);
    slot_id slot;
    enum err err;

    if (UNLIKELY(e->attribute.len > VSET_ATTRIBUTE_MAX)) {
        return ERR_LIMIT;
    }
    if (UNLIKELY(!has_room(v, e, hash))) {
        return ERR_LIMIT;
    }
    err = elements_begin(&v->elements, e->name, hash, old, &slot);
    vset_note_unsettled(
        v); /* also when it fails: memory may have been reserved */
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
    had = slot_has_attribute(v, slot);
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
    free_attribute(d->vset, d->attribute);
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
        free_attribute(v, old);
    }
    return ERR_OK;
}

enum err vset_set_attribute(struct vset *v, slot_id slot, struct bytes json)
{
    struct attribute *old = elements_attr(&v->elements, slot);
    bool had = slot_has_attribute(v, slot);
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

/* ---- the index --------------------------------------------------------- */

enum err vset_set_index(struct vset *v, const struct vset_options *wanted,
                        uint64_t *build)
{
    struct vset_options before = v->options;

    *build = 0;
    if (v->options.pq_m && wanted->index == VSET_INDEX_HNSW) {
        return ERR_UNSUPPORTED; /* links are made of vectors */
    }
    lists_forget_asked(v);
    v->options.index = wanted->index;
    v->options.m = wanted->m;
    v->options.ef = wanted->ef;
    if (wanted->index == VSET_INDEX_FLAT) {
        graph_drop_all(v);
        lists_drop_all(v);
        return ERR_OK;
    }
    if (graph_build(v, build) != ERR_OK) {
        v->options = before;
        return ERR_NOMEM;
    }
    return ERR_OK; /* lists answer until the graph is there */
}

/* ---- what is known ----------------------------------------------------- */

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
    *c = (struct vset_check){.seq = epoch_now(v->keyspace->epoch)};
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

    c->broken = graph_check_slots(v, c->next, n);
    if (!c->broken) {
        c->broken = lists_check_slots(v, c->next, n);
    }
    for (; n > 0 && c->next < s->n_slots && !c->broken; n--, c->next++) {
        if (slots_is_live(s, c->next)) {
            c->broken = check_element(v, c->next);
            c->n_live++;
            c->n_attributes += slot_has_attribute(v, c->next);
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
                          slot_has_attribute(v, slot);
    }
    ASSERT(with_attribute == v->n_attributes);
    ASSERT(v->unsettled_at ||
           (v->elements.slots.limbo_len == 0 && !v->elements.slots.stamped));
    ASSERT(!graph_check_slots(v, 0, UINT32_MAX));
    ASSERT(!lists_check_slots(v, 0, UINT32_MAX));
    name_order_validate(v);
}
