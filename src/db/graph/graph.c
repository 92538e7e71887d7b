/* Life and end of a set's graphs. See graph.h, and graph_impl.h for what the
 * other files do.
 *
 * A set has one graph that answers and at most one that is being built to take
 * its place. A graph that is given up lets its slots go when the work on it has
 * ended, and is freed when no search looks at it any more. */
#include "db/graph/graph.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"

enum { EF_DEFAULT = 200 };

/* ---- life and end ------------------------------------------------------ */

static void list_graph(struct graph *g)
{
    struct keyspace *ks = g->keyspace;

    g->prev = NULL;
    g->next = ks->graphs;
    if (g->next) {
        g->next->prev = g;
    }
    ks->graphs = g;
}

static void unlist_graph(struct graph *g)
{
    if (g->keyspace->graphs_at == g) {
        g->keyspace->graphs_at = g->next;
    }
    if (g->prev) {
        g->prev->next = g->next;
    } else {
        g->keyspace->graphs = g->next;
    }
    if (g->next) {
        g->next->prev = g->prev;
    }
}

void graph_destroy(struct graph *g)
{
    struct region *r = &g->set->memory;

    if (g->hnsw) {
        hnsw_destroy(g->hnsw);
    }
    graph_tail_free(g);
    graph_left_free_own(g);
    graph_held_free(g);
    region_free(r, g, sizeof(*g), 1);
}

static void join_siblings(struct graph *g)
{
    g->sibling = g->set->graphs;
    g->set->graphs = g;
}

static void leave_siblings(struct graph *g)
{
    struct graph **at = &g->set->graphs;

    while (*at != g) {
        at = &(*at)->sibling;
    }
    *at = g->sibling;
}

/* What the graph of a set compares. */
static void init_codes(struct vec_format *codes, const struct vec_format *f)
{
    vec_format_init(codes, f->type == VEC_F32 ? VEC_I8 : f->type, f->metric,
                    f->dim);
}

size_t graph_bytes_for(const struct vec_format *stored, uint32_t m, uint32_t n)
{
    struct vec_format codes;
    struct hnsw_options o = {.stored = stored, .format = &codes, .m = m};

    init_codes(&codes, stored);
    return hnsw_bytes_for(&o, n) + region_cost(sizeof(struct graph), 1) +
           graph_held_bytes_for(n);
}

struct graph *graph_make(struct vset *v, uint32_t m, uint32_t ef)
{
    struct region *r = &v->memory;
    struct graph *g = region_alloc(r, sizeof(*g), 1);
    struct hnsw_options o = {
        .stored = &v->format,
        .m = m,
        .ef = ef,
        .seed = v->seed,
        .region = r,
        .epoch = v->keyspace->epoch,
        .expect = vset_expect_writes,
        .arg = v,
    };

    if (!g) {
        return NULL;
    }
    memset(g, 0, sizeof(*g));
    g->set = v;
    g->keyspace = v->keyspace;
    g->pace = 1;
    g->raw_bound = graph_raw_bound(&v->format);
    g->ef = o.ef;
    init_codes(&g->codes, &v->format);
    o.format = &g->codes;
    /* Fewer candidates than links make no graph. */
    o.ef = o.ef > o.m ? o.ef : o.m;
    g->hnsw = hnsw_create(&o);
    if (!g->hnsw || graph_fit_held(g, v->elements.slots.n_slots) != ERR_OK) {
        graph_destroy(g);
        return NULL;
    }
    g->goal = v->elements.slots.n_slots;
    g->row_bytes = hnsw_bytes_for(&o, HNSW_NODE_MAX) / HNSW_NODE_MAX;
    return g;
}

void graph_enlist(struct graph *g)
{
    g->build = ++g->set->n_builds;
    list_graph(g);
    join_siblings(g);
    graph_promise(g);
}

/* One that is in the lists, but neither answers nor is to. */
static enum err create(struct vset *v, struct graph **out)
{
    uint32_t ef = v->options.ef ? v->options.ef : EF_DEFAULT;

    *out = graph_make(v, v->options.m, ef);
    if (!*out) {
        return ERR_NOMEM;
    }
    graph_enlist(*out);
    return ERR_OK;
}

void graph_free(struct vset *v)
{
    while (v->graphs) {
        struct graph *g = v->graphs;

        v->graphs = g->sibling;
        graph_destroy(g);
    }
}

static void cancel_job(struct graph_job *job)
{
    if (job) {
        atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
    }
}

static void cancel(struct graph *g)
{
    cancel_job(g->job);
    cancel_job(g->tail_job);
}

static void go(struct graph *g)
{
    g->is_going = true;
    graph_promise(g);
    unlist_graph(g);
    cancel(g);
}

void graph_detach(struct vset *v)
{
    struct graph *g;

    for (g = v->graphs; g; g = g->sibling) {
        if (!g->is_going) {
            go(g);
        }
    }
    graph_leave_to_sets(v->keyspace, v, NULL);
    graph_tell(v->keyspace);
}

void graph_detach_all(struct keyspace *ks, const struct database *db)
{
    struct graph *g = ks->graphs;

    while (g) {
        struct graph *next = g->next;

        if (g->set->db == db) {
            go(g);
        }
        g = next;
    }
    graph_leave_to_sets(ks, NULL, db);
    graph_tell(ks);
}

void graph_take_out(struct graph *g)
{
    struct vset *v = g->set;

    v->graph = v->graph == g ? NULL : v->graph;
    g->dropped = true;
    graph_promise(g);
    graph_free_all_held(g);
    unlist_graph(g);
    leave_siblings(g);
}

/* Nothing works on it any more. */
static void leave(struct graph *g)
{
    graph_take_out(g);
    epoch_retire(g->keyspace->epoch, &g->retired, graph_reclaim, NULL);
}

static void drop(struct graph *g)
{
    struct vset *v = g->set;

    v->graph = v->graph == g ? NULL : v->graph;
    v->coming = v->coming == g ? NULL : v->coming;
    g->dropped = true;
    graph_promise(g);
    if (g->job || g->tail_job) {
        /* It reads rows of slots that are held; they stay so until it ends. */
        cancel(g);
    } else {
        leave(g);
    }
    graph_tell(v->keyspace);
}

void graph_drop_all(struct vset *v)
{
    if (v->coming) {
        drop(v->coming);
    }
    if (v->graph) {
        drop(v->graph);
    }
}

/* ---- beginning --------------------------------------------------------- */

/* It is as good as what answers now: it holds all there was when it was begun,
 * and is not further behind with the writes since. */
static bool is_ready(const struct graph *g)
{
    const struct vset *v = g->set;

    return g->fresh_from >= g->goal &&
           (!v->graph || graph_waiting(g) <= graph_waiting(v->graph) +
                                                 hnsw_count(g->hnsw) / 16);
}

void graph_take_place(struct graph *g)
{
    struct vset *v = g->set;

    if (g != v->coming || !is_ready(g)) {
        return;
    }
    v->coming = NULL;
    if (v->graph) {
        drop(v->graph);
    }
    graph_count_levels(g, v->elements.slots.n_slots);
    v->graph = g;
    lists_drop_all(v);
    graph_tell(v->keyspace);
}

enum err graph_build(struct vset *v, uint64_t *build)
{
    uint32_t n = v->elements.slots.n_slots;
    struct graph *g;

    if (!v->keyspace->builders ||
        !mem_has_room(graph_bytes_for(&v->format, v->options.m, n)) ||
        create(v, &g) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (v->coming) {
        drop(v->coming);
    }
    v->coming = g;
    *build = g->build;
    graph_pump(v, true);
    return ERR_OK;
}

bool graph_is_built(const struct vset *v, uint64_t build)
{
    return v->graph && v->graph->build >= build;
}

bool graph_is_given_up(const struct vset *v, uint64_t build)
{
    return !graph_is_built(v, build) &&
           !(v->coming && v->coming->build >= build);
}

enum err graph_begin(struct vset *v)
{
    struct graph *g;
    enum err err = create(v, &g);

    if (!err) {
        v->graph = g;
        graph_count_levels(g, v->elements.slots.n_slots);
    }
    return err;
}

void graph_job_ended(struct graph *g, bool go_on)
{
    if (g->is_going) {
        return; /* freed with its set */
    }
    graph_promise(g);
    lists_wake(g->set);
    if (g->dropped) {
        if (!g->job && !g->tail_job) {
            leave(g);
        }
    } else if (go_on) {
        graph_take_place(g);
        graph_pump(g->set, false);
    }
}

/* ---- waiting ----------------------------------------------------------- */

void graph_wait(struct keyspace *ks, struct graph_waiter *w)
{
    w->next = ks->graph_waiters;
    if (w->next) {
        w->next->at = &w->next;
    }
    w->at = &ks->graph_waiters;
    ks->graph_waiters = w;
}

void graph_stop_waiting(struct graph_waiter *w)
{
    if (w->at) {
        *w->at = w->next;
        if (w->next) {
            w->next->at = w->at;
        }
        w->at = NULL;
    }
}

void graph_tell(struct keyspace *ks)
{
    while (ks->graph_waiters) {
        struct graph_waiter *w = ks->graph_waiters;

        graph_stop_waiting(w);
        w->told(w);
    }
}

/* ---- the end ----------------------------------------------------------- */

void graph_cancel_all(struct keyspace *ks)
{
    struct graph *g;

    for (g = ks->graphs; g; g = g->next) {
        cancel(g);
    }
}

void graph_end_jobs(struct keyspace *ks)
{
    graph_cancel_all(ks);
    while (ks->graph_jobs) {
        graph_abandon_job(ks->graph_jobs);
    }
}

void *graph_worker_init(void *arg)
{
    (void)arg;
    return hnsw_scratch_create();
}

void graph_worker_deinit(void *scratch, void *arg)
{
    (void)arg;
    hnsw_scratch_destroy(scratch);
}
