/* Life and end of a set's lists. See lists.h, and lists_impl.h for what the
 * other files do.
 *
 * Lists are made when a training is asked for, stand beside those that answer
 * until what they were trained to be is there, and beside the tail from then
 * on. Those that are given up stay until the job that works for them has
 * ended and no search looks at them any more. */
#include "db/lists/lists.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/graph/graph_left.h"
#include "db/lists/lists_impl.h"

enum {
    WORTHWHILE_ROWS = 20000,
    APART = 2048, /* lists, and so on, that are freed at a time */
};

uint32_t lists_n_for(uint32_t rows)
{
    uint32_t n = kmeans_lists_for(rows);

    return n > LISTS_NLIST_MAX ? LISTS_NLIST_MAX : n;
}

uint32_t lists_worthwhile_for(const struct vec_format *f)
{
    uint32_t graph = graph_worthwhile_for(f);

    return graph > WORTHWHILE_ROWS ? graph : WORTHWHILE_ROWS;
}

uint32_t lists_worthwhile_at(const struct vset *v)
{
    return lists_worthwhile_for(&v->format);
}

/* ---- life and end ------------------------------------------------------ */

static void list_home(struct lists_home *h)
{
    struct keyspace *ks = h->keyspace;

    h->prev = NULL;
    h->next = ks->lists;
    if (h->next) {
        h->next->prev = h;
    }
    ks->lists = h;
}

static void unlist_home(struct lists_home *h)
{
    struct keyspace *ks = h->keyspace;

    if (ks->lists_at == h) {
        ks->lists_at = h->next;
    }
    if (h->prev) {
        h->prev->next = h->next;
    } else {
        ks->lists = h->next;
    }
    if (h->next) {
        h->next->prev = h->prev;
    }
}

struct lists_home *lists_home_of(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        h = region_alloc(&v->memory, sizeof(*h), 1);
        if (!h) {
            return NULL;
        }
        memset(h, 0, sizeof(*h));
        h->set = v;
        h->keyspace = v->keyspace;
        h->pace = 1;
        h->long_tail = lists_long_tail(v);
        v->lists = h;
        list_home(h);
    }
    return h;
}

struct lists *lists_make(struct lists_home *h, const struct lists_options *o)
{
    struct lists *l = region_alloc(&h->set->memory, sizeof(*l), 1);

    if (!l) {
        return NULL;
    }
    memset(l, 0, sizeof(*l));
    l->home = h;
    l->options = *o;
    l->build = ++h->set->n_builds;
    l->sibling = h->all;
    h->all = l;
    return l;
}

void lists_destroy(struct lists *l)
{
    struct region *r = &l->home->set->memory;

    if (l->ivf) {
        ivf_destroy(l->ivf);
    }
    lists_free_codes(l);
    region_free(r, l, sizeof(*l), 1);
}

static void destroy_all(struct lists **all)
{
    while (*all) {
        struct lists *l = *all;

        *all = l->sibling;
        lists_destroy(l);
    }
}

void lists_free(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        return;
    }
    if (h->left) {
        graph_left_free(h->left);
    }
    lists_parts_forget(h);
    destroy_all(&h->all);
    destroy_all(&h->apart);
    region_free(&v->memory, h, sizeof(*h), 1);
    v->lists = NULL;
}

static void cancel(struct lists_home *h)
{
    if (h->job) {
        atomic_store_explicit(&h->job->cancelled, true, memory_order_relaxed);
        lists_wake(h->set);
    }
    if (h->discard) {
        lists_discard_cancel(h);
    }
}

static void go(struct lists_home *h)
{
    h->is_going = true;
    unlist_home(h);
    cancel(h);
}

void lists_detach(struct vset *v)
{
    if (v->lists && !v->lists->is_going) {
        go(v->lists);
        graph_tell(v->keyspace);
    }
}

void lists_detach_all(struct keyspace *ks, const struct database *db)
{
    struct lists_home *h = ks->lists;

    while (h) {
        struct lists_home *next = h->next;

        if (h->set->db == db) {
            go(h);
        }
        h = next;
    }
    graph_tell(ks);
}

/* Freeing thousands takes milliseconds, and only the loop may, since the memory
 * is the set's: some are freed each turn in which it looks at all lists. Where
 * the set goes meanwhile, the rest goes with it. */
static void reclaim(struct retired *r, void *arg)
{
    struct lists *l = CONTAINER_OF(r, struct lists, retired);
    struct lists_home *h = l->home;

    (void)arg;
    if (l->ivf && ivf_take_apart(l->ivf, APART)) {
        l->sibling = h->apart;
        h->apart = l;
    } else {
        lists_destroy(l);
    }
}

void lists_take_apart(struct lists_home *h)
{
    struct lists *l = h->apart;

    if (l && !ivf_take_apart(l->ivf, APART)) {
        h->apart = l->sibling;
        lists_destroy(l);
    }
}

/* Nothing works on them any more. */
static void leave(struct lists *l)
{
    struct lists **at = &l->home->all;

    while (*at != l) {
        at = &(*at)->sibling;
    }
    *at = l->sibling;
    epoch_retire(l->home->keyspace->epoch, &l->retired, reclaim, NULL);
}

void lists_dismiss_left(struct lists_home *h)
{
    if (h->left) {
        graph_left_dismiss(h->left);
        h->left = NULL;
    }
}

void lists_drop(struct lists *l)
{
    struct lists_home *h = l->home;

    if (h->answers == l) {
        lists_dismiss_left(h);
        h->answers = NULL;
    }
    h->coming = h->coming == l ? NULL : h->coming;
    l->dropped = true;
    if (h->job && h->job->lists == l) {
        /* It reads rows, which are held until it ends. */
        cancel(h);
    } else {
        leave(l);
    }
    graph_tell(h->keyspace);
}

void lists_drop_all(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        return;
    }
    h->has_asked = false;
    cancel(h); /* it may work from the one for the other */
    if (h->coming) {
        lists_drop(h->coming);
    }
    if (h->answers) {
        lists_drop(h->answers);
    }
    slots_blocks_end(lists_slots(h));
}

void lists_take_place(struct lists *l)
{
    struct lists_home *h = l->home;

    h->coming = NULL;
    lists_drop(h->answers);
    h->answers = l;
}

void lists_job_ended(struct lists_home *h, struct lists *l, bool go_on)
{
    if (h->is_going) {
        return; /* freed with the set */
    }
    if (l->dropped) {
        leave(l);
    }
    if (go_on) {
        lists_pump(h->set, false);
    }
    if (h->becoming) {
        lists_discard_filled(h);
    }
}

/* ---- training ---------------------------------------------------------- */

static bool is_busy(const struct lists_home *h)
{
    return h->coming || (h->answers && !h->answers->is_filled);
}

static void put_off(struct lists_home *h, const struct lists_options *o)
{
    if (h->coming && !h->coming->ivf) {
        h->coming->options = *o; /* nothing has been made of what it was */
    } else {
        h->has_asked = true;
        h->asked = *o;
    }
}

void lists_forget_asked(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (h) {
        h->has_asked = false;
        if (h->coming && !h->coming->ivf) {
            lists_drop(h->coming);
        }
    }
}

enum err lists_train(struct vset *v, const struct lists_options *o,
                     uint64_t *build)
{
    struct lists_home *h;
    struct lists *l;
    char why[192];
    bool busy = v->lists && is_busy(v->lists);

    if ((busy || v->coming) && !keyspace_is_replayed(v->keyspace)) {
        return ERR_BUSY;
    }
    if (lists_options_wrong(o) ||
        !lists_options_fit(o, &v->options, vset_count(v), why, sizeof(why))) {
        return ERR_RANGE;
    }
    *build = 0;
    if (busy) {
        put_off(v->lists, o);
        return ERR_OK;
    }
    /* A set that chose lists did so to take less before long. */
    if (!o->by_itself && !mem_has_room(lists_training_bytes(v, o))) {
        return ERR_NOMEM;
    }
    h = v->keyspace->builders ? lists_home_of(v) : NULL;
    l = h ? lists_make(h, o) : NULL;
    if (!l) {
        return ERR_NOMEM;
    }
    h->coming = l;
    *build = l->build;
    lists_pump(v, true);
    return ERR_OK;
}

bool lists_is_built(const struct vset *v, uint64_t build)
{
    const struct lists *l = v->lists ? v->lists->answers : NULL;

    return l && l->build >= build && l->is_filled;
}

bool lists_is_given_up(const struct vset *v, uint64_t build)
{
    const struct lists_home *h = v->lists;

    return !h || h->is_going ||
           (!(h->answers && h->answers->build >= build) &&
            !(h->coming && h->coming->build >= build));
}

bool lists_is_training(const struct vset *v)
{
    return v->lists && is_busy(v->lists);
}

/* A lane is nobody's any more. */
static void release_lane(struct lists_home *h, slot_id slot)
{
    uint32_t block = slot / IVF_BLOCK;
    struct lists *l = lists_owning(h, block);

    if (ivf_lane_release(l->ivf, slot)) {
        lists_block_leave(l, block);
        lists_wake(h->set);
    }
}

/* Told by the slots. */
static void lane_is_free(void *arg, slot_id slot)
{
    release_lane(arg, slot);
}

static void free_centroids(struct ivf_centroids *c)
{
    ivf_centroids_destroy(c);
}

enum err lists_install(struct lists *l, struct ivf_centroids *c,
                       struct graph *leaving)
{
    struct lists_home *h = l->home;
    struct vset *v = h->set;
    struct ivf_options o = {.n_lists = c->n,
                            .centroids = c,
                            .free_centroids = free_centroids,
                            .region = &v->memory,
                            .epoch = h->keyspace->epoch};

    if (slots_blocks_begin(lists_slots(h), lane_is_free, h) != ERR_OK) {
        return ERR_NOMEM;
    }
    l->ivf = lists_make_codes(l) == ERR_OK ? ivf_create(&o) : NULL;
    if (!l->ivf) {
        if (!h->answers) {
            slots_blocks_end(lists_slots(h));
        }
        return ERR_NOMEM;
    }
    l->goal = vset_count(v);
    l->filling_since_ns = clock_mono_ns();
    h->trainings++;
    h->tail_left = 0;
    if (!l->options.by_itself) {
        v->options.index = VSET_INDEX_IVF;
    }
    if (!h->answers) {
        h->answers = l;
        h->coming = NULL;
        if (leaving && graph_left_leave(leaving)) {
            h->left = leaving;
        } else if (leaving) {
            graph_left_abandon(leaving);
        }
    } else if (leaving) {
        graph_left_abandon(leaving);
    }
    graph_drop_all(v); /* one that was to come is not asked for any more */
    graph_tell(h->keyspace);
    return ERR_OK;
}

/* ---- the end ----------------------------------------------------------- */

void lists_cancel_all(struct keyspace *ks)
{
    struct lists_home *h;

    for (h = ks->lists; h; h = h->next) {
        cancel(h);
    }
}

void lists_end_jobs(struct keyspace *ks)
{
    lists_cancel_all(ks);
    while (ks->lists_jobs) {
        lists_job_end(ks->lists_jobs, false);
    }
}
