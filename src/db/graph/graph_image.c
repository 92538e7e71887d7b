/* A set's graph that comes from a file: see graph.h. */
#include "db/graph/graph_impl.h"

struct graph *graph_image_begin(struct vset *v, uint32_t m, uint32_t ef)
{
    return graph_make(v, m, ef);
}

struct hnsw *graph_image_hnsw(struct graph *g)
{
    return g->hnsw;
}

void graph_image_abandon(struct graph *g)
{
    graph_destroy(g);
}

enum { FILLS_SHARE = 16 };

bool graph_fills(uint32_t count, uint32_t room)
{
    return count >= room / FILLS_SHARE;
}

bool graph_came_along(const struct vset *v)
{
    const struct graph *g = v->graph;

    return g && hnsw_has_levels(g->hnsw) &&
           graph_fills(vset_count(v), hnsw_room(g->hnsw));
}

/* Nodes lie below the tail. */
static bool has_nodes_from(const struct graph *g, slot_id slot)
{
    slot_id end = g->set->elements.slots.n_slots;

    while (slot < end && !hnsw_is_linked(g->hnsw, slot)) {
        slot++;
    }
    return slot < end;
}

static enum err note_slot(struct graph *g, slot_id slot)
{
    uint64_t bit = (uint64_t)1 << (slot % 64);
    bool live = slots_is_live(&g->set->elements.slots, slot);

    if (hnsw_is_linked(g->hnsw, slot)) {
        g->held[slot / 64] |= bit;
        g->dying[slot / 64] |= live ? 0 : bit;
        g->n_dying += !live;
        return ERR_OK;
    }
    return live ? graph_add_late(g, slot) : ERR_OK;
}

enum err graph_image_install(struct graph *g, slot_id fresh_from, bool walk)
{
    struct vset *v = g->set;
    slot_id slot;

    if (fresh_from > v->elements.slots.n_slots ||
        has_nodes_from(g, fresh_from)) {
        return ERR_CORRUPT;
    }
    g->fresh_from = fresh_from;
    for (slot = 0; slot < g->fresh_from; slot++) {
        enum err err = note_slot(g, slot);

        if (err) {
            return err;
        }
    }
    g->walk_due = walk;
    g->walked_at = hnsw_count(g->hnsw);
    graph_enlist(g);
    v->graph = g;
    while (g->counted_to < v->elements.slots.n_slots) {
        graph_count_levels(g, v->elements.slots.n_slots);
    }
    return ERR_OK;
}

slot_id graph_fresh_from(const struct vset *v)
{
    return v->graph->fresh_from;
}

uint32_t graph_ef(const struct vset *v)
{
    return v->graph->ef;
}

bool graph_walk_is_due(const struct vset *v)
{
    return v->graph->walk_due ||
           (v->graph->job && v->graph->job->kind != JOB_CHECK);
}
