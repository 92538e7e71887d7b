/* What writes tell a set's graphs, and what is begun for them next.
 *
 * A write notes its slot, and that is all it waits for. When enough rows wait,
 * or when there is time, one job is begun: links for rows that wait, a sweep
 * when many are dead, a walk when a sweep asked for one. */
#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"

enum {
    /* A set has a graph from where a scan of it would take longer than a search
     * in the graph does, about 40 us. */
    FLAT_BYTES = 3 << 19,
    FLAT_ROWS_MIN = 1000,
    FLAT_ROWS_MAX = 12000,
    BATCH_WORTHWHILE = 1024,  /* rows that wait */
    SWEEP_MIN = 4096,         /* dead rows worth a sweep */
    SWEEP_SHARE = 50,         /* or one in so many */
    SWEEP_URGENT = 4,         /* times as many come before rows that wait */
    WALK_PUT_OFF = 32,        /* batches that come before a walk */
    LEVELS_SLICE = 64 * 1024, /* slots whose levels are counted at a time */
    GOING_PAGES = 16,         /* of a graph that is taken apart */
};

/* ---- whether a set should have one --------------------------------------- */

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

/* ---- room for what waits ------------------------------------------------ */

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

/* ---- writes ------------------------------------------------------------ */

/* Being unable to only means that the set is scanned a while longer. */
static void graph_begin_auto(struct vset *v)
{
    if (graph_begin(v) == ERR_OK) {
        graph_pump(v, false);
    }
}

static enum err prepare(struct graph *g, slot_id slot)
{
    if (slot < graph_tail_edge(g) && graph_fit_late(g) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (graph_fit_held(g, slot + 1) != ERR_OK) {
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

/* A large set that stays without an index, for want of room, is looked at every
 * two seconds, not by each write: estimating takes some microseconds. */
void graph_begin_if_due(struct vset *v)
{
    uint8_t now = (uint8_t)v->keyspace->clock_s | 1; /* 0: never */

    if (v->graph || v->coming || !v->keyspace->builders) {
        return;
    }
    if (v->options.index == VSET_INDEX_HNSW) {
        graph_begin_auto(v);
    } else if (v->options.index == VSET_INDEX_AUTO && !lists_of(v) &&
               vset_count(v) >= graph_worthwhile_at(v) && v->flat_at != now) {
        index_choice_review(v, true);
        graph_pump(v, false);
        v->flat_at = v->graph ? 0 : now;
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
    graph_take_place(g);
}

bool graph_is_busy(const struct vset *v)
{
    const struct graph *g = v->graphs;

    while (g && !g->job) {
        g = g->sibling;
    }
    return g != NULL;
}

/* A set that chooses for itself may choose anew now, not in a few seconds: it
 * is small again, or the next writes may be refused for what the graph takes.
 * The latter may last, and is looked into once a second. */
static bool may_choose_soon(const struct vset *v)
{
    return (vset_count(v) < graph_given_up_at(v) && !graph_came_along(v)) ||
           (graph_watch(v)->reviewed_s != v->keyspace->clock_s &&
            !mem_has_room(graph_bytes(v) / 4));
}

void graph_pump(struct vset *v, bool any)
{
    if (v->n_frozen) {
        return;
    }
    if (v->graph && v->options.index == VSET_INDEX_AUTO && !v->graph->job) {
        index_choice_review(v, may_choose_soon(v));
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
