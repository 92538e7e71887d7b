/* Graphs that were given up while their set goes on.
 *
 * Freeing a large one takes milliseconds, and only the loop may, since the
 * memory is the set's: so it is done page by page, some at each look at all
 * graphs. Where the set goes meanwhile, the rest goes with it, on the
 * background thread. */
#include "db/graph/graph_impl.h"

enum { AT_ONCE = 4096 /* nodes of a graph that is simply freed */ };

/* A set that was dropped, or whose database was flushed, is on its way. */
static bool is_staying(const struct vset *v)
{
    const struct keyspace *ks = v->keyspace;
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (ks->dbs[i] == v->db) {
            return true;
        }
    }
    return false;
}

static void leave_to_set(struct graph *g)
{
    g->is_going = true;
    g->sibling = g->set->graphs;
    g->set->graphs = g;
}

void graph_reclaim(struct retired *r, void *arg)
{
    struct graph *g = CONTAINER_OF(r, struct graph, retired);
    struct keyspace *ks = g->keyspace;

    (void)arg;
    if (hnsw_bitmap_words(g->hnsw) * 64 <= AT_ONCE) {
        graph_destroy(g);
    } else if (is_staying(g->set)) {
        g->next = ks->graphs_apart;
        ks->graphs_apart = g;
    } else {
        leave_to_set(g);
    }
}

void graph_take_apart(struct keyspace *ks, uint32_t n_pages)
{
    struct graph *g = ks->graphs_apart;

    if (g && !hnsw_take_apart(g->hnsw, n_pages)) {
        ks->graphs_apart = g->next;
        graph_destroy(g);
    }
}

void graph_leave_to_sets(struct keyspace *ks, const struct vset *v,
                         const struct database *db)
{
    struct graph **at = &ks->graphs_apart;

    while (*at) {
        struct graph *g = *at;

        if (g->set == v || (db && g->set->db == db)) {
            *at = g->next;
            leave_to_set(g);
        } else {
            at = &g->next;
        }
    }
}

size_t graph_apart_bytes(const struct vset *v)
{
    const struct graph *g;
    size_t bytes = 0;

    for (g = v->keyspace->graphs_apart; g; g = g->next) {
        if (g->set == v) {
            bytes += hnsw_bytes(g->hnsw) + graph_own_bytes(g);
        }
    }
    return bytes;
}
