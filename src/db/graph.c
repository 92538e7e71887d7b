/* A set's graph: tail, bookkeeping of slots, life and end. See graph.h; the
 * work itself is in graph_job.c. */
#include "db/graph.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph_impl.h"

enum {
    /* A set has a graph from where a scan of it would take longer than a search
     * in the graph does, about 40 us. */
    FLAT_BYTES = 3 << 19,
    FLAT_ROWS_MIN = 1000,
    FLAT_ROWS_MAX = 12000,
    LATE_MIN = 64,
    BATCH_WORTHWHILE = 1024, /* rows that wait */
    SWEEP_MIN = 4096,        /* dead rows worth a sweep */
    SWEEP_SHARE = 50,        /* or one in so many */
    WORDS_MIN = 64,
    EF_DEFAULT = 200,
};

uint32_t graph_worthwhile_at(const struct vset *v)
{
    uint32_t rows = FLAT_BYTES / v->format.row_bytes;

    rows = rows < FLAT_ROWS_MIN ? FLAT_ROWS_MIN : rows;
    return rows > FLAT_ROWS_MAX ? FLAT_ROWS_MAX : rows;
}

uint32_t graph_given_up_at(const struct vset *v)
{
    return graph_worthwhile_at(v) * 2 / 3;
}

/* ---- bitmaps ----------------------------------------------------------- */

static bool bit_get(const uint64_t *bits, slot_id slot)
{
    return bits[slot / 64] >> (slot % 64) & 1;
}

static void bit_set(uint64_t *bits, slot_id slot)
{
    bits[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static void bit_clear(uint64_t *bits, slot_id slot)
{
    bits[slot / 64] &= ~((uint64_t)1 << (slot % 64));
}

static size_t held_bytes(uint32_t words)
{
    return 3 * (size_t)words * sizeof(uint64_t);
}

static size_t dead_bytes(uint32_t words)
{
    return (size_t)words * sizeof(uint64_t);
}

/* Room in `held`, `dying` and `waiting`, one block, for slots below n. */
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
    }
    region_free(r, g->held, held_bytes(g->held_words), 1);
    g->held = block;
    g->dying = block + words;
    g->waiting = block + 2 * (size_t)words;
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

static size_t late_bytes(uint32_t cap)
{
    return sizeof(struct late_list) + cap * sizeof(slot_id);
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
    if (g->prev) {
        g->prev->next = g->next;
    } else {
        g->keyspace->graphs = g->next;
    }
    if (g->next) {
        g->next->prev = g->prev;
    }
}

static void destroy(struct graph *g)
{
    struct region *r = &g->set->memory;

    if (g->hnsw) {
        hnsw_destroy(g->hnsw);
    }
    if (g->late) {
        region_free(r, g->late, late_bytes(g->late->cap), 1);
    }
    region_free(r, g->held, held_bytes(g->held_words), 1);
    region_free(r, g->dead, dead_bytes(g->dead_words), 1);
    region_free(r, g, sizeof(*g), 1);
}

enum err graph_create(struct vset *v, uint32_t m, uint32_t ef)
{
    struct region *r = &v->memory;
    struct graph *g;
    struct hnsw_options o = {
        .stored = &v->format,
        .m = m,
        .ef = ef,
        .seed = v->uid,
        .region = r,
        .epoch = v->keyspace->epoch,
    };

    if (v->stopping) {
        return ERR_BUSY;
    }
    g = region_alloc(r, sizeof(*g), 1);
    if (!g) {
        return ERR_NOMEM;
    }
    memset(g, 0, sizeof(*g));
    g->set = v;
    g->keyspace = v->keyspace;
    g->ef = ef;
    vec_format_init(&g->codes,
                    v->format.type == VEC_F32 ? VEC_I8 : v->format.type,
                    v->format.metric, v->format.dim);
    o.format = &g->codes;
    g->hnsw = hnsw_create(&o);
    if (!g->hnsw || fit_held(g, v->elements.slots.n_slots) != ERR_OK) {
        destroy(g);
        return ERR_NOMEM;
    }
    v->graph = g;
    list_graph(g);
    return ERR_OK;
}

void graph_free(struct vset *v)
{
    if (v->graph) {
        destroy(v->graph);
    }
    if (v->stopping) {
        destroy(v->stopping);
    }
}

static void cancel(struct graph *g)
{
    if (g->job) {
        atomic_store_explicit(&g->job->cancelled, true, memory_order_relaxed);
    }
}

static void go(struct graph *g)
{
    g->is_going = true;
    unlist_graph(g);
    cancel(g);
}

void graph_detach(struct vset *v)
{
    if (v->graph && !v->graph->is_going) {
        go(v->graph);
    }
    if (v->stopping && !v->stopping->is_going) {
        go(v->stopping);
    }
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
}

/* Slots that were held for a graph that has gone. */
static void free_all_held(struct graph *g)
{
    struct slots *s = &g->set->elements.slots;
    struct slot_bunch *b = slots_bunch_create(s, g->held_words);
    uint32_t word;

    for (word = 0; word < g->held_words; word++) {
        uint64_t bits = g->dying[word];

        bits |= word < g->dead_words ? g->dead[word] : 0;
        if (b) {
            b->bits[word] = bits;
            b->n += (uint32_t)__builtin_popcountll(bits);
            continue;
        }
        for (; bits; bits &= bits - 1) {
            slots_free(s, word * 64 + (slot_id)__builtin_ctzll(bits));
        }
    }
    if (b) {
        slots_free_bunch(b);
    }
}

static void reclaim(struct retired *r, void *arg)
{
    (void)arg;
    destroy(CONTAINER_OF(r, struct graph, retired));
}

/* Nothing works on it any more. */
static void leave(struct graph *g)
{
    free_all_held(g);
    unlist_graph(g);
    epoch_retire(g->keyspace->epoch, &g->retired, reclaim, NULL);
}

void graph_drop(struct vset *v)
{
    struct graph *g = v->graph;

    v->graph = NULL;
    g->dropped = true;
    if (g->job) {
        /* It reads rows of slots that are held; they stay so until it ends. */
        v->stopping = g;
        cancel(g);
    } else {
        leave(g);
    }
}

/* Being unable to only means that the set is scanned a while longer. */
static void graph_begin_auto(struct vset *v)
{
    uint32_t ef = v->options.ef ? v->options.ef : EF_DEFAULT;

    if (graph_create(v, v->options.m, ef) == ERR_OK) {
        graph_pump(v, false);
    }
}

/* ---- writes ------------------------------------------------------------ */

static void late_reclaim(struct retired *r, void *arg)
{
    struct late_list *l = CONTAINER_OF(r, struct late_list, retired);

    (void)arg;
    region_free(l->region, l, late_bytes(l->cap), 1);
}

/* Room for one more. */
static enum err fit_late(struct graph *g)
{
    struct region *r = &g->set->memory;
    struct late_list *old = g->late, *fresh;
    uint32_t waiting = g->late_n - g->late_from;
    uint32_t cap = LATE_MIN;

    if (old && g->late_n < old->cap) {
        return ERR_OK;
    }
    if (old && !waiting && !g->job && epoch_is_quiet(g->keyspace->epoch)) {
        g->late_from = g->late_n = 0;
        return ERR_OK;
    }
    while (cap < 2 * waiting) {
        cap *= 2;
    }
    fresh = region_alloc(r, late_bytes(cap), 1);
    if (!fresh) {
        return ERR_NOMEM;
    }
    fresh->region = r;
    fresh->cap = cap;
    if (old) {
        memcpy(fresh->slots, old->slots + g->late_from,
               waiting * sizeof(slot_id));
        epoch_retire(g->keyspace->epoch, &old->retired, late_reclaim, NULL);
    }
    if (g->job) {
        g->job->late_to -= g->late_from;
    }
    g->late = fresh;
    g->late_n = waiting;
    g->late_from = 0;
    return ERR_OK;
}

slot_id graph_tail_edge(const struct graph *g)
{
    return g->job && g->job->fresh_to > g->fresh_from ? g->job->fresh_to
                                                      : g->fresh_from;
}

enum err graph_prepare(struct vset *v, slot_id slot)
{
    struct graph *g = v->graph;

    if (!g) {
        return ERR_OK;
    }
    if (slot < graph_tail_edge(g) && fit_late(g) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (fit_held(g, slot + 1) != ERR_OK) {
        return ERR_NOMEM;
    }
    bit_clear(g->held, slot); /* it was held till it became free */
    return ERR_OK;
}

void graph_note_put(struct vset *v, slot_id slot)
{
    struct graph *g = v->graph;

    if (!g) {
        if (UNLIKELY(vset_count(v) >= graph_worthwhile_at(v)) &&
            v->options.index == VSET_INDEX_AUTO && v->keyspace->builders) {
            graph_begin_auto(v);
        }
        return;
    }
    if (slot < graph_tail_edge(g) && !bit_get(g->waiting, slot)) {
        bit_set(g->waiting, slot);
        g->late->slots[g->late_n++] = slot;
    }
    if (UNLIKELY(!g->job) &&
        g->late_n - g->late_from + v->elements.slots.n_slots - g->fresh_from >=
            BATCH_WORTHWHILE) {
        graph_pump(v, false);
    }
}

bool graph_holds(struct vset *v, slot_id slot)
{
    struct graph *g = v->graph ? v->graph : v->stopping;

    if (!g || slot / 64 >= g->held_words || !bit_get(g->held, slot)) {
        return false;
    }
    bit_set(g->dying, slot);
    g->n_dying++;
    return true;
}

/* ---- what to do next --------------------------------------------------- */

static bool sweep_is_due(const struct graph *g, bool any)
{
    uint32_t dead = g->n_dead + g->n_dying;
    uint32_t share = hnsw_count(g->hnsw) / SWEEP_SHARE;

    return dead >= (share > SWEEP_MIN ? share : SWEEP_MIN) ||
           (any && dead > 0 && dead >= share / 4);
}

void graph_pump(struct vset *v, bool any)
{
    struct graph *g = v->graph;
    uint32_t waiting;

    if (!g || g->job || g->is_going) {
        return;
    }
    if (v->options.index == VSET_INDEX_AUTO &&
        vset_count(v) < graph_given_up_at(v)) {
        graph_drop(v);
        return;
    }
    if (sweep_is_due(g, any)) {
        graph_begin_sweep(g);
        return;
    }
    waiting =
        g->late_n - g->late_from + v->elements.slots.n_slots - g->fresh_from;
    if (waiting >= BATCH_WORTHWHILE || (any && waiting > 0)) {
        graph_begin_batch(g);
    } else if (g->walk_due) {
        graph_begin_walk(g);
    }
}

void graph_pump_all(struct keyspace *ks)
{
    struct graph *g = ks->graphs;

    while (g) {
        struct graph *next = g->next;

        if (!g->dropped) {
            graph_pump(g->set, true);
        }
        g = next;
    }
}

void graph_job_ended(struct graph *g, bool go_on)
{
    if (g->is_going) {
        return; /* freed with its set */
    }
    if (g->dropped) {
        g->set->stopping = NULL;
        leave(g);
    } else if (go_on) {
        graph_pump(g->set, false);
    }
}

const struct hnsw *graph_of(const struct vset *v)
{
    return v->graph->hnsw;
}

/* ---- what is known ------------------------------------------------------- */

void graph_view_take(const struct vset *v, struct graph_view *out)
{
    const struct graph *g = v->graph;

    *out = (struct graph_view){.hnsw = NULL};
    if (g && hnsw_count(g->hnsw) > 0) {
        out->hnsw = g->hnsw;
        out->start = hnsw_start(g->hnsw);
        out->nodes = hnsw_count(g->hnsw);
        out->fresh_from = g->fresh_from;
        out->n_late = g->late_n - g->late_from;
        out->late = out->n_late ? g->late->slots + g->late_from : NULL;
    }
}

void graph_info_read(const struct vset *v, struct graph_info *out)
{
    static const char *const jobs[] = {"batch", "sweep", "walk"};
    const struct graph *g = v->graph;

    *out = (struct graph_info){.job = "none"};
    if (g) {
        out->m = hnsw_m(g->hnsw);
        out->ef = g->ef;
        out->nodes = hnsw_count(g->hnsw);
        out->dead = g->n_dead + g->n_dying;
        out->tail = g->late_n - g->late_from + v->elements.slots.n_slots -
                    g->fresh_from;
        out->bytes = hnsw_bytes(g->hnsw);
        out->job = g->job ? jobs[g->job->kind] : "none";
    }
}

int graph_level(const struct vset *v, slot_id slot)
{
    return v->graph ? hnsw_level(v->graph->hnsw, slot) : 0;
}

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
