/* Orders of names: how they are made and how they end; see name_order.h. */
#include "db/names/name_order_impl.h"

#include <string.h>

#include "base/mem.h"
#include "db/vset/vset_impl.h"

enum {
    /* Changes after which an order that is ready is dropped: an eighth of its
     * elements, within these. */
    CHANGES_MIN = 4096,
    CHANGES_MAX = 1 << 20,
    DROPS_MAX = 32, /* in one settling of a database */
    /* One unit of a build, 50 to 200 us. */
    UNIT_SLOTS = 8192,
    UNIT_COMPARES = 16384,
};

/* ---- lists ------------------------------------------------------------- */

/* A database's orders, those used last in front. */
static void link_order(struct database *db, struct name_order *o)
{
    o->prev = NULL;
    o->next = db->orders;
    if (o->next) {
        o->next->prev = o;
    } else {
        db->orders_last = o;
    }
    db->orders = o;
}

static void unlink_order(struct database *db, struct name_order *o)
{
    if (o->prev) {
        o->prev->next = o->next;
    } else {
        db->orders = o->next;
    }
    if (o->next) {
        o->next->prev = o->prev;
    } else {
        db->orders_last = o->prev;
    }
}

void name_order_use(struct name_order *o)
{
    struct database *db = o->set->db;

    o->used_s = o->set->keyspace->clock_s;
    if (!o->is_unlinked && db->orders != o) {
        unlink_order(db, o);
        link_order(db, o);
    }
}

static void link_build(struct keyspace *ks, struct name_build *b)
{
    b->prev = NULL;
    b->next = ks->builds;
    if (b->next) {
        b->next->prev = b;
    }
    ks->builds = b;
}

static void unlink_build(struct keyspace *ks, struct name_build *b)
{
    if (b->prev) {
        b->prev->next = b->next;
    } else {
        ks->builds = b->next;
    }
    if (b->next) {
        b->next->prev = b->prev;
    }
}

/* ---- memory ------------------------------------------------------------ */

static size_t build_bytes(uint32_t n)
{
    return sizeof(struct name_build) + n * sizeof(struct name_record);
}

static size_t slots_bytes(uint32_t n)
{
    return n * sizeof(slot_id);
}

static size_t heads_bytes(const struct name_order *o)
{
    return name_order_blocks(o) * sizeof(uint16_t);
}

static size_t marks_bytes(uint32_t cap)
{
    return cap * sizeof(struct name_marks *);
}

static void free_build(struct name_order *o)
{
    region_free(&o->set->memory, o->build, build_bytes(o->n), 1);
    o->build = NULL;
}

static void free_order(struct name_order *o)
{
    struct region *region = &o->set->memory;
    uint32_t i;

    free_build(o);
    region_free(region, o->slots, slots_bytes(o->n), 1);
    region_free(region, o->heads, heads_bytes(o), 1);
    for (i = 0; i < o->cap_marks; i++) {
        region_free(region, o->marks[i], sizeof(*o->marks[i]), 1);
    }
    region_free(region, o->marks, marks_bytes(o->cap_marks), 1);
    name_list_deinit(&o->added);
    region_free(region, o, sizeof(*o), 1);
}

static struct name_order *create(struct vset *v)
{
    struct region *region = &v->memory;
    uint32_t n = vset_count(v);
    struct name_order *o = region_alloc(region, sizeof(*o), 1);

    if (!o) {
        return NULL;
    }
    *o = (struct name_order){.set = v, .n = n};
    name_list_init(&o->added, &v->elements);
    o->build = region_alloc(region, build_bytes(n), 1);
    o->slots = region_alloc(region, slots_bytes(n), 1);
    o->heads = region_alloc(region, heads_bytes(o), 1);
    if (!o->build || !o->slots || !o->heads) {
        free_order(o);
        return NULL;
    }
    memset(o->heads, 0, heads_bytes(o));
    memset(o->build, 0, sizeof(*o->build));
    o->build->order = o;
    return o;
}

size_t name_order_bytes(const struct vset *v)
{
    const struct name_order *o = v->order;
    size_t bytes;
    uint32_t i;

    if (!o) {
        return 0;
    }
    bytes = region_cost(sizeof(*o), 1) + region_cost(slots_bytes(o->n), 1) +
            region_cost(heads_bytes(o), 1) + name_list_bytes(&o->added);
    if (o->build) {
        bytes += region_cost(build_bytes(o->n), 1);
    }
    if (o->cap_marks) {
        bytes += region_cost(marks_bytes(o->cap_marks), 1);
    }
    for (i = 0; i < o->cap_marks; i++) {
        bytes += o->marks[i] ? region_cost(sizeof(*o->marks[i]), 1) : 0;
    }
    return bytes;
}

/* ---- waiting ----------------------------------------------------------- */

void name_order_wait(struct vset *v, struct name_order_waiter *w)
{
    struct name_order *o = v->order;

    ASSERT(o && o->build && !o->is_unlinked && !w->order);
    w->order = o;
    w->prev = NULL;
    w->next = o->waiters;
    if (w->next) {
        w->next->prev = w;
    }
    o->waiters = w;
}

void name_order_stop_waiting(struct name_order_waiter *w)
{
    if (!w->order) {
        return;
    }
    if (w->prev) {
        w->prev->next = w->next;
    } else {
        w->order->waiters = w->next;
    }
    if (w->next) {
        w->next->prev = w->prev;
    }
    w->order = NULL;
}

static void tell_waiters(struct name_order *o)
{
    while (o->waiters) {
        struct name_order_waiter *w = o->waiters;

        name_order_stop_waiting(w);
        w->told(w);
    }
}

/* ---- making one -------------------------------------------------------- */

static void collect(struct name_build *b, uint32_t n)
{
    const struct slots_view *view = &b->view.slots;
    slot_id slot = b->next_slot;
    slot_id end = view->n_slots;

    if (end - slot > UNIT_SLOTS) {
        end = slot + UNIT_SLOTS;
    }
    for (; slot < end; slot++) {
        if (slots_view_sees(view, slot)) {
            ASSERT(b->at < n);
            b->records[b->at++].slot = slot;
        }
    }
    b->next_slot = slot;
    if (slot == view->n_slots) {
        ASSERT(b->at == n);
        name_sort_begin(&b->sort, &b->view, b->records, n, view->seq);
        b->at = 0;
        b->phase = NAME_SORT;
    }
}

/* One unit; true when there is more. */
static bool build_unit(struct name_build *b)
{
    struct name_order *o = b->order;
    uint32_t end;

    switch (b->phase) {
    case NAME_COLLECT:
        collect(b, o->n);
        return true;
    case NAME_SORT:
        if (!name_sort_step(&b->sort, UNIT_COMPARES)) {
            b->phase = NAME_FILL;
        }
        return true;
    case NAME_FILL:
        end = o->n - b->at > UNIT_COMPARES ? b->at + UNIT_COMPARES : o->n;
        for (; b->at < end; b->at++) {
            o->slots[b->at] = b->records[b->at].slot;
        }
        break;
    }
    return b->at < o->n;
}

static void become_ready(struct name_order *o)
{
    uint32_t more = o->n / 8;

    more = more < CHANGES_MIN ? CHANGES_MIN : more;
    more = more > CHANGES_MAX ? CHANGES_MAX : more;
    /* Counted from here, so that readers see something of an order that was
     * long in the making while much was written. */
    o->changes_max = o->n_stale + o->added.count + more;
    free_build(o);
    link_order(o->set->db, o);
    name_order_use(o);
}

/* Back on the loop thread. If the worker has given up, or should have, the
 * order was unlinked before. */
static void built(struct completion *c)
{
    struct name_build *b = CONTAINER_OF(c, struct name_build, completion);
    struct name_order *o = b->order;
    struct vset *v = o->set;
    struct epoch *epoch = v->keyspace->epoch;
    uint64_t ticket = b->ticket;

    unlink_build(v->keyspace, b);
    if (!o->is_unlinked) {
        become_ready(o);
        tell_waiters(o);
    } else {
        if (v->order == o) {
            v->order = NULL;
        }
        free_order(o);
    }
    /* Last: the set may go with it. */
    epoch_leave(epoch, ticket);
}

static bool build_step(struct task *t, struct worker *w)
{
    struct name_build *b = CONTAINER_OF(t, struct name_build, task);

    (void)w;
    if (!atomic_load_explicit(&b->is_cancelled, memory_order_relaxed) &&
        build_unit(b)) {
        return true;
    }
    pool_complete(b->pool, &b->completion);
    return false;
}

/* Makes the order that is to be built, with its view. */
static enum err prepare(struct vset *v)
{
    uint32_t n = vset_count(v);
    struct name_order *o;

    ASSERT(!v->order);
    if (!mem_has_room(build_bytes(n) + slots_bytes(n))) {
        return ERR_LIMIT;
    }
    o = create(v);
    if (!o) {
        return ERR_NOMEM;
    }
    name_view_take(&o->build->view, &v->elements);
    v->order = o;
    return ERR_OK;
}

enum err name_order_begin(struct vset *v)
{
    struct keyspace *ks = v->keyspace;
    enum err err = prepare(v);
    struct name_build *b;

    if (err) {
        return err;
    }
    b = v->order->build;
    b->ticket = epoch_enter(ks->epoch);
    b->pool = ks->pool;
    b->task = (struct task){.step = build_step, .class = TASK_QUERY};
    b->completion.done = built;
    link_build(ks, b);
    pool_submit(ks->pool, &b->task);
    return ERR_OK;
}

enum err name_order_build(struct vset *v)
{
    enum err err;

    if (v->order) {
        name_order_drop(v);
    }
    err = prepare(v);
    if (err) {
        return err;
    }
    while (build_unit(v->order->build)) {
    }
    become_ready(v->order);
    return ERR_OK;
}

bool name_order_is_ready(const struct vset *v)
{
    return v->order && !v->order->build;
}

bool name_order_is_building(const struct vset *v)
{
    return v->order && v->order->build;
}

/* ---- the end of one ---------------------------------------------------- */

/* The worker ends soon; built() does the rest. */
static void cancel(struct name_order *o)
{
    o->is_unlinked = true;
    atomic_store_explicit(&o->build->is_cancelled, true, memory_order_relaxed);
    tell_waiters(o);
}

void name_order_drop(struct vset *v)
{
    struct name_order *o = v->order;

    v->order = NULL;
    if (o->build) {
        cancel(o);
        return;
    }
    unlink_order(v->db, o);
    free_order(o);
}

void name_order_detach(struct vset *v)
{
    struct name_order *o = v->order;

    if (o->build) {
        cancel(o);
    } else {
        unlink_order(v->db, o);
        o->is_unlinked = true;
    }
}

void name_order_free(struct vset *v)
{
    free_order(v->order);
    v->order = NULL;
}

void name_order_settle(struct database *db, uint32_t now_s)
{
    bool is_short = !mem_has_room(0);
    int i;

    for (i = 0; i < DROPS_MAX && db->orders_last; i++) {
        struct name_order *o = db->orders_last;

        if (!is_short && now_s - o->used_s < NAME_ORDER_IDLE_S) {
            return;
        }
        name_order_drop(o->set);
    }
}

void name_order_detach_builds(struct keyspace *ks, const struct database *db)
{
    struct name_build *b;

    for (b = ks->builds; b; b = b->next) {
        if (!b->order->is_unlinked && b->order->set->db == db) {
            cancel(b->order);
        }
    }
}

void name_order_cancel_builds(struct keyspace *ks)
{
    struct name_build *b;

    for (b = ks->builds; b; b = b->next) {
        if (!b->order->is_unlinked) {
            name_order_drop(b->order->set);
        }
    }
}

void name_order_end_builds(struct keyspace *ks)
{
    name_order_cancel_builds(ks);
    while (ks->builds) {
        built(&ks->builds->completion);
    }
}
