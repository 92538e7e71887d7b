/* A set's graph: tail, bookkeeping of slots, life and end. See graph.h; the
 * work itself is in graph_job.c. */
#include "db/graph/graph.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"

enum {
    /* A set has a graph from where a scan of it would take longer than a search
     * in the graph does, about 40 us. */
    FLAT_BYTES = 3 << 19,
    FLAT_ROWS_MIN = 1000,
    FLAT_ROWS_MAX = 12000,
    BATCH_WORTHWHILE = 1024, /* rows that wait */
    SWEEP_MIN = 4096,        /* dead rows worth a sweep */
    SWEEP_SHARE = 50,        /* or one in so many */
    SWEEP_URGENT = 4,        /* times as many come before rows that wait */
    WALK_PUT_OFF = 32,       /* batches that come before a walk */
    WORDS_MIN = 64,
    LEVELS_SLICE = 64 * 1024, /* slots whose levels are counted at a time */
    GOING_PAGES = 16,         /* of a graph that is taken apart */
    EF_DEFAULT = 200,
};

uint32_t graph_worthwhile_for(const struct vec_format *f)
{
    uint32_t rows = FLAT_BYTES / f->row_bytes;

    rows = rows < FLAT_ROWS_MIN ? FLAT_ROWS_MIN : rows;
    return rows > FLAT_ROWS_MAX ? FLAT_ROWS_MAX : rows;
}

uint32_t graph_worthwhile_at(const struct vset *v)
{
    return graph_worthwhile_for(&v->format);
}

uint32_t graph_given_up_at(const struct vset *v)
{
    return graph_worthwhile_at(v) * 2 / 3;
}

/* ---- bitmaps ----------------------------------------------------------- */

static size_t held_bytes(uint32_t words)
{
    return 4 * (size_t)words * sizeof(uint64_t);
}

static size_t dead_bytes(uint32_t words)
{
    return (size_t)words * sizeof(uint64_t);
}

/* Room in `held` and what shares its block for slots below n. */
static enum err fit_held(struct graph *g, uint32_t n)
{
    struct region *r = &g->set->memory;
    uint32_t words = g->held_words ? g->held_words : WORDS_MIN;
    uint64_t *block;

    if ((uint64_t)g->held_words * 64 >= n) {
        return ERR_OK;
    }
    while ((uint64_t)words * 64 < n) {
        words *= 2;
    }
    block = region_alloc(r, held_bytes(words), 1);
    if (!block) {
        return ERR_NOMEM;
    }
    memset(block, 0, held_bytes(words));
    if (g->held) {
        memcpy(block, g->held, g->held_words * sizeof(*block));
        memcpy(block + words, g->dying, g->held_words * sizeof(*block));
        memcpy(block + 2 * (size_t)words, g->waiting,
               g->held_words * sizeof(*block));
        memcpy(block + 3 * (size_t)words, g->raw,
               g->held_words * sizeof(*block));
    }
    region_free(r, g->held, held_bytes(g->held_words), 1);
    g->held = block;
    g->dying = block + words;
    g->waiting = block + 2 * (size_t)words;
    g->raw = block + 3 * (size_t)words;
    g->held_words = words;
    return ERR_OK;
}

enum err graph_gather_dead(struct graph *g)
{
    struct region *r = &g->set->memory;
    uint32_t words = g->held_words;
    uint64_t *block;
    uint32_t i;

    if (g->dead_words < words) {
        block = region_alloc(r, dead_bytes(words), 1);
        if (!block) {
            return ERR_NOMEM;
        }
        memset(block, 0, dead_bytes(words));
        if (g->dead) {
            memcpy(block, g->dead, dead_bytes(g->dead_words));
        }
        region_free(r, g->dead, dead_bytes(g->dead_words), 1);
        g->dead = block;
        g->dead_words = words;
    }
    for (i = 0; g->n_dying && i < g->held_words; i++) {
        g->dead[i] |= g->dying[i];
        g->dying[i] = 0;
    }
    g->n_dead += g->n_dying;
    g->n_dying = 0;
    return ERR_OK;
}

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

/* A promise that is about right costs a write nothing. */
#define PROMISE_STEP ((size_t)64 << 10)

static void promise(struct graph *g, size_t bytes)
{
    mem_promise((int64_t)bytes - (int64_t)g->promised);
    g->promised = bytes;
}

/* A set that chooses for itself can do without a graph. */
static bool is_asked_for(const struct graph *g)
{
    return g->set->options.index == VSET_INDEX_HNSW;
}

void graph_promise(struct graph *g)
{
    size_t bytes = is_asked_for(g) ? graph_waiting(g) * g->row_bytes : 0;
    size_t less = bytes < g->promised ? bytes : g->promised;

    if (g->is_going || g->dropped) {
        promise(g, 0);
    } else if (bytes + g->promised - 2 * less >= PROMISE_STEP || bytes == 0) {
        promise(g, bytes);
    }
}

/* Past maxmemory the rows of a set that chooses for itself stay as they are
 * until there is room, or it has lists. */
static bool has_room(const struct graph *g, uint32_t waiting)
{
    uint32_t batch = hnsw_batch_size(g->hnsw, waiting);

    return is_asked_for(g) || mem_has_room(batch * g->row_bytes);
}

void graph_destroy(struct graph *g)
{
    struct region *r = &g->set->memory;

    if (g->hnsw) {
        hnsw_destroy(g->hnsw);
    }
    graph_tail_free(g);
    graph_left_free_own(g);
    region_free(r, g->held, held_bytes(g->held_words), 1);
    region_free(r, g->dead, dead_bytes(g->dead_words), 1);
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
    uint32_t words = WORDS_MIN;
    struct vec_format codes;
    struct hnsw_options o = {.stored = stored, .format = &codes, .m = m};

    init_codes(&codes, stored);
    while ((uint64_t)words * 64 < n) {
        words *= 2;
    }
    return hnsw_bytes_for(&o, n) + region_cost(sizeof(struct graph), 1) +
           region_cost(held_bytes(words), 1) +
           region_cost(dead_bytes(words), 1);
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
    if (!g->hnsw || fit_held(g, v->elements.slots.n_slots) != ERR_OK) {
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
    promise(g, 0);
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

bool graph_is_holding(const struct vset *v, slot_id slot)
{
    const struct graph *g;

    for (g = v->graphs; g; g = g->sibling) {
        if (slot / 64 < g->held_words && graph_bit(g->held, slot)) {
            return true;
        }
    }
    return false;
}

/* Whether a slot is held for another reason: another graph of the set leads
 * there, or the row is being moved into a list. */
static bool others_hold(const struct graph *g, slot_id slot)
{
    const struct graph *o;

    if (lists_is_holding(g->set, slot)) {
        return true;
    }

    for (o = g->set->graphs; o; o = o->sibling) {
        if (o != g && slot / 64 < o->held_words && graph_bit(o->held, slot)) {
            return true;
        }
    }
    return false;
}

void graph_let_go(struct graph *g, struct slot_bunch *b)
{
    bool alone = g->set->graphs == g && !g->sibling && !g->set->lists;
    uint32_t word;

    for (word = 0; word < b->n_words; word++) {
        uint64_t bits = b->bits[word];

        g->held[word] &= ~bits;
        for (; bits && !alone; bits &= bits - 1) {
            slot_id slot = word * 64 + (slot_id)__builtin_ctzll(bits);

            if (others_hold(g, slot)) {
                b->bits[word] &= ~(bits & -bits);
            }
        }
        b->n += (uint32_t)__builtin_popcountll(b->bits[word]);
    }
}

/* Slots that were held for a graph that has gone. */
static void free_all_held(struct graph *g)
{
    struct slots *s = &g->set->elements.slots;
    struct slot_bunch *b = slots_bunch_create(s, g->held_words);
    uint32_t word;

    /* Without memory for it the slots stay unused for good; nothing worse. */
    for (word = 0; b && word < g->held_words; word++) {
        b->bits[word] =
            g->dying[word] | (word < g->dead_words ? g->dead[word] : 0);
    }
    if (b) {
        graph_let_go(g, b);
        slots_free_bunch(b);
    }
    if (g->held_words) { /* else there is nothing there */
        memset(g->held, 0, g->held_words * sizeof(*g->held));
    }
}

void graph_take_out(struct graph *g)
{
    struct vset *v = g->set;

    v->graph = v->graph == g ? NULL : v->graph;
    g->dropped = true;
    promise(g, 0);
    free_all_held(g);
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
    promise(g, 0);
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

/* Lets the graph that was being built answer. */
static void take_place(struct graph *g)
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

/* Being unable to only means that the set is scanned a while longer. */
static void graph_begin_auto(struct vset *v)
{
    if (graph_begin(v) == ERR_OK) {
        graph_pump(v, false);
    }
}

/* ---- writes ------------------------------------------------------------ */

static enum err prepare(struct graph *g, slot_id slot)
{
    if (slot < graph_tail_edge(g) && graph_fit_late(g) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (fit_held(g, slot + 1) != ERR_OK) {
        return ERR_NOMEM;
    }
    graph_bit_clear(g->held, slot); /* it was held till it became free */
    return ERR_OK;
}

enum err graph_prepare(struct vset *v, slot_id slot)
{
    enum err err = v->graph ? prepare(v->graph, slot) : ERR_OK;

    return !err && v->coming ? prepare(v->coming, slot) : err;
}

static void note_put(struct graph *g, slot_id slot)
{
    if (slot < graph_tail_edge(g)) {
        graph_note_late(g, slot);
    }
    if (slot < g->counted_to) {
        g->levels[hnsw_level(g->hnsw, slot)]++;
    } else if (g == g->set->graph && slot == g->counted_to) {
        graph_count_levels(g, slot + 1);
    }
}

void graph_begin_if_due(struct vset *v)
{
    if (v->graph || v->coming || !v->keyspace->builders) {
        return;
    }
    if (v->options.index == VSET_INDEX_HNSW) {
        graph_begin_auto(v);
    } else if (v->options.index == VSET_INDEX_AUTO && !lists_of(v) &&
               vset_count(v) >= graph_worthwhile_at(v)) {
        index_choice_review(v, true);
        graph_pump(v, false);
    }
}

void graph_note_put(struct vset *v, slot_id slot)
{
    if (v->coming) {
        note_put(v->coming, slot);
        graph_promise(v->coming);
    }
    if (!v->graph) {
        graph_begin_if_due(v);
        return;
    }
    note_put(v->graph, slot);
    graph_promise(v->graph);
    if (UNLIKELY(graph_raw_rows(v->graph) > v->graph->raw_bound)) {
        graph_tail_pump(v->graph);
    }
    if (UNLIKELY(!v->graph->job) &&
        graph_waiting(v->graph) >= BATCH_WORTHWHILE) {
        graph_pump(v, false);
    }
}

static void note_gone(struct graph *g, slot_id slot)
{
    if (slot < g->counted_to) {
        g->levels[hnsw_level(g->hnsw, slot)]--;
    }
}

void graph_note_gone(struct vset *v, slot_id slot)
{
    if (v->graph) {
        note_gone(v->graph, slot);
    }
    if (v->coming) {
        note_gone(v->coming, slot);
    }
}

void graph_count_levels(struct graph *g, slot_id to)
{
    const struct slots *s = &g->set->elements.slots;

    if (to > g->counted_to && to - g->counted_to > LEVELS_SLICE) {
        to = g->counted_to + LEVELS_SLICE;
    }
    for (; g->counted_to < to; g->counted_to++) {
        if (slots_is_live(s, g->counted_to)) {
            g->levels[hnsw_level(g->hnsw, g->counted_to)]++;
        }
    }
}

bool graph_holds(struct vset *v, slot_id slot)
{
    struct graph *g;
    bool holds = false;

    for (g = v->graphs; g; g = g->sibling) {
        if (slot / 64 < g->held_words && graph_bit(g->held, slot)) {
            graph_bit_set(g->dying, slot);
            g->n_dying++;
            holds = true;
        }
    }
    return holds;
}

/* ---- what to do next --------------------------------------------------- */

/* A sweep looks at the whole graph, however little there is to do: rows that
 * wait come first, or those of a busy set would wait for ever. */
static bool sweep_is_due(const struct graph *g, bool any, uint32_t waiting)
{
    uint32_t dead = g->n_dead + g->n_dying;
    uint32_t share = hnsw_count(g->hnsw) / SWEEP_SHARE;
    uint32_t worth = share > SWEEP_MIN ? share : SWEEP_MIN;

    if (waiting >= BATCH_WORTHWHILE) {
        return !g->swept_last && dead / SWEEP_URGENT >= worth;
    }
    return dead >= worth || (any && dead > 0 && dead >= share / 4);
}

static void pump(struct graph *g, bool any)
{
    struct vset *v = g->set;
    uint32_t waiting = graph_waiting(g);

    if (g->job || g->is_going || g->dropped || g->left ||
        !g->keyspace->builders) {
        return;
    }
    if (any && g->to_finish < waiting) {
        g->to_finish = waiting;
    }
    if (g->checks_asked != g->checks_made) {
        graph_begin_check(g);
        return;
    }
    if (!g->sibling && v->graphs == g && sweep_is_due(g, any, waiting)) {
        g->swept_last = true;
        graph_begin_sweep(g);
        return;
    }
    g->swept_last = false;
    if (g->walk_due && g->walk_put_off >= WALK_PUT_OFF) {
        graph_begin_walk(g);
    } else if (graph_tail_is_urgent(g)) {
        return;
    } else if ((waiting >= BATCH_WORTHWHILE ||
                (g->to_finish > 0 && waiting > 0)) &&
               has_room(g, waiting)) {
        g->walk_put_off += g->walk_due;
        graph_begin_batch(g);
    } else if (g->walk_due) {
        graph_begin_walk(g);
    }
    take_place(g);
}

bool graph_is_busy(const struct vset *v)
{
    const struct graph *g = v->graphs;

    while (g && !g->job) {
        g = g->sibling;
    }
    return g != NULL;
}

void graph_pump(struct vset *v, bool any)
{
    if (v->n_frozen) {
        return;
    }
    if (v->graph && v->options.index == VSET_INDEX_AUTO && !v->graph->job) {
        index_choice_review(v, vset_count(v) < graph_given_up_at(v));
    }
    if (v->graph) {
        graph_count_levels(v->graph, v->elements.slots.n_slots);
        graph_tail_pump(v->graph);
        pump(v->graph, any);
    }
    if (v->coming) {
        pump(v->coming, true);
    }
}

void graph_pump_all(struct keyspace *ks)
{
    struct graph *g = ks->graphs;

    /* Any graph of the set may go, so the list is gone through with care. */
    for (; g; g = ks->graphs_at) {
        ks->graphs_at = g->next;
        if (!g->dropped) {
            graph_pump(g->set, true);
        }
    }
    graph_take_apart(ks, GOING_PAGES);
    graph_tell(ks); /* what could not be begun is tried again */
}

void graph_job_ended(struct graph *g, bool go_on)
{
    if (g->is_going) {
        return; /* freed with its set */
    }
    graph_promise(g);
    if (g->dropped) {
        if (!g->job && !g->tail_job) {
            leave(g);
        }
    } else if (go_on) {
        take_place(g);
        graph_pump(g->set, false);
    }
}

size_t graph_own_bytes(const struct graph *g)
{
    return region_cost(sizeof(*g), 1) + graph_tail_bytes(g) +
           graph_left_own_bytes(g) +
           (g->held ? region_cost(held_bytes(g->held_words), 1) : 0) +
           (g->dead ? region_cost(dead_bytes(g->dead_words), 1) : 0);
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
