/* Life and end of a vector set: see vset.h, and vset_elements.c for what is in
 * it. */
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

    region_touch_on(t->memory, t->bytes);
    mem_free(t);
}

void vset_expect_writes(void *arg, void *memory, size_t bytes)
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
    struct elements_ops ops = {.free_attr = vset_free_attribute,
                               .holds = holds_slot,
                               .expect = vset_expect_writes,
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

void vset_list_unsettled(struct vset *v)
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

/* ---- what it is -------------------------------------------------------- */

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
