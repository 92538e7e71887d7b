/* Walking the whole graph: what no path leads to, and what should not be. */
#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

/* ---- what is out of reach ------------------------------------------------ */

struct hnsw_walk {
    struct hnsw *h;
    uint32_t n; /* node numbers are below */
    uint64_t *seen;
    uint32_t *queue; /* nodes reached; afterwards the lost ones */
    uint32_t head, tail;
    uint32_t counted; /* nodes below it that were not reached are in queue */
    size_t n_lost;
};

static void reach(struct hnsw_walk *w, uint32_t node)
{
    if (node < w->n && !bit_test(w->seen, node)) {
        w->seen[node / 64] |= (uint64_t)1 << (node % 64);
        w->queue[w->tail++] = node;
    }
}

struct hnsw_walk *hnsw_walk_begin(struct hnsw *h)
{
    struct hnsw_walk *w = mem_calloc(1, sizeof(*w));
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);

    w->h = h;
    w->n = h->n_pages * NODES_PER_PAGE;
    w->seen = mem_try_alloc(w->n / 8 + 8);
    w->queue = mem_try_alloc(((size_t)w->n + 1) * sizeof(*w->queue));
    if (!w->seen || !w->queue) {
        hnsw_walk_end(w);
        return NULL;
    }
    memset(w->seen, 0, w->n / 8 + 8);
    if (entry != ENTRY_NONE) {
        reach(w, entry_node(entry));
    }
    return w;
}

/* Reaches what a node links to, on every level: a part of level 0 that only an
 * upper level leads to is found by searches, too. */
static void reach_from(struct hnsw_walk *w, uint32_t node)
{
    int level;
    uint32_t i;

    for (level = hnsw_level(w->h, node); level >= 0; level--) {
        const link *row = hnsw_row_of_links(w->h, node, level);

        for (i = 0; i < links_on(w->h, level); i++) {
            uint32_t id = link_load(&row[i]);

            if (id == LINK_NONE) {
                break;
            }
            reach(w, id & ~LINK_CHAIN);
        }
    }
}

/* Of 64 nodes those in the graph that were not reached. */
static void note_lost(struct hnsw_walk *w, uint32_t first)
{
    uint64_t lost = page_of(w->h, first)->linked[first % NODES_PER_PAGE / 64] &
                    ~w->seen[first / 64];

    for (; lost; lost &= lost - 1) {
        w->queue[w->n_lost++] = first + (uint32_t)__builtin_ctzll(lost);
    }
}

bool hnsw_walk_step(struct hnsw_walk *w, uint32_t budget)
{
    for (; budget > 0 && w->head < w->tail; budget--) {
        reach_from(w, w->queue[w->head++]);
    }
    for (; budget > 0 && w->counted < w->n; budget--, w->counted += 64) {
        note_lost(w, w->counted);
    }
    return w->head < w->tail || w->counted < w->n;
}

size_t hnsw_walk_lost(const struct hnsw_walk *w, const uint32_t **lost)
{
    *lost = w->queue;
    return w->n_lost;
}

void hnsw_walk_end(struct hnsw_walk *w)
{
    mem_free(w->seen);
    mem_free(w->queue);
    mem_free(w);
}

/* ---- bringing it back ---------------------------------------------------- */

/* The place of the link a row can best do without: a free one, else the one to
 * the farthest node. */
static uint32_t weakest_link(const struct hnsw *h, const struct row_map *rows,
                             uint32_t node, struct hnsw_scratch *s)
{
    const link *row = base_links(h, node);
    const struct vec_query *q = vec_query_from_row(
        h->options.format, node_row(h, rows, node), s->choose_query);
    uint32_t at = 0, worst = 0;
    size_t n = 0;

    for (; at < h->row_links; at++) {
        uint32_t id = link_load(&row[at]);

        if (id == LINK_NONE) {
            return at;
        }
        s->ids[n++] = id & ~LINK_CHAIN;
    }
    hnsw_rows_of(h, rows, s->ids, n, s->rows);
    vec_gather(q, s->rows, n, s->keys);
    for (at = 1; at < h->row_links; at++) {
        bool chain = link_load(&row[worst]) & LINK_CHAIN;

        if (!(link_load(&row[at]) & LINK_CHAIN) &&
            (chain || s->keys[at] > s->keys[worst])) {
            worst = at;
        }
    }
    return worst;
}

static bool leads_to(const struct hnsw *h, uint32_t from, uint32_t to)
{
    const link *row = base_links(h, from);
    uint32_t i;

    for (i = 0; i < h->row_links; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        if ((id & ~LINK_CHAIN) == to) {
            return true;
        }
    }
    return false;
}

void hnsw_reattach(struct hnsw *h, uint32_t node, const struct row_map *rows,
                   const uint64_t *dead, struct hnsw_scratch *s)
{
    struct beam beam = {.h = h, .rows = rows, .n_slots = UINT32_MAX, .s = s};
    uint32_t best = LINK_NONE;
    size_t i;

    hnsw_scratch_fit(s, h, h->options.ef);
    hnsw_scratch_fit_choice(s, h, h->options.ef);
    beam.query = vec_query_from_row(h->options.format, node_row(h, rows, node),
                                    s->plan_query);
    if (!hnsw_beam_descend(&beam, 0)) {
        return;
    }
    hnsw_beam_widen(&beam, 0, h->options.ef);
    for (i = 0; i < s->n_pool; i++) {
        uint32_t id = pool_node(s->pool[i]);

        if (id == node) {
            return; /* it was found, so it is not lost */
        }
        if (bit_test(dead, id)) {
            continue;
        }
        if (leads_to(h, id, node)) {
            return;
        }
        if (best == LINK_NONE) {
            best = id;
        }
        if (link_load(&base_links(h, id)[h->row_links - 1]) == LINK_NONE) {
            best = id; /* near, and it has room */
            break;
        }
    }
    /* Among many copies the node may have been passed over. */
    if (best != LINK_NONE &&
        !hnsw_row_has(base_links(h, best), h->row_links, node)) {
        uint32_t at = weakest_link(h, rows, best, s);

        link_store(&base_links(h, best)[at], node);
    }
}

/* ---- checking ------------------------------------------------------------ */

static const char *check_row(const struct hnsw_check *c, uint32_t node,
                             int level)
{
    const struct hnsw *h = c->h;
    const link *row = hnsw_row_of_links(h, node, level);
    uint32_t cap = links_on(h, level);
    uint32_t chains = 0, n, i, j;

    for (n = 0; n < cap && link_load(&row[n]) != LINK_NONE; n++) {
        uint32_t id = link_load(&row[n]) & ~LINK_CHAIN;

        chains += (link_load(&row[n]) & LINK_CHAIN) != 0;
        if (id == node) {
            return "a node links to itself";
        }
        if (!hnsw_is_linked(h, id) && !(c->paused && id < node_room(h))) {
            return "a link leads to no node";
        }
        if (hnsw_level(h, id) < level) {
            return "a link leads to a node of a lower level";
        }
        for (j = 0; j < n; j++) {
            if ((link_load(&row[j]) & ~LINK_CHAIN) == id) {
                return "a node links to another twice";
            }
        }
    }
    for (i = n; i < cap; i++) {
        if (link_load(&row[i]) != LINK_NONE) {
            return "a row of links has a gap";
        }
    }
    return chains <= (level == 0) ? NULL : "a node has two chained copies";
}

static const char *check_node(const struct hnsw_check *c, uint32_t node)
{
    const char *broken = NULL;
    int level;

    for (level = hnsw_level(c->h, node); level >= 0 && !broken; level--) {
        broken = check_row(c, node, level);
    }
    return broken;
}

static const char *check_entry(const struct hnsw *h, uint32_t n_linked)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);

    if (n_linked != h->n_nodes) {
        return "the number of nodes is wrong";
    }
    if ((n_linked == 0) != (entry == ENTRY_NONE)) {
        return n_linked ? "there is no entry" : "there is an entry to nothing";
    }
    if (entry == ENTRY_NONE) {
        return NULL;
    }
    if (!hnsw_is_linked(h, entry_node(entry))) {
        return "the entry is no node";
    }
    return hnsw_level(h, entry_node(entry)) == entry_level(entry)
               ? NULL
               : "the entry has another level";
}

void hnsw_check_begin(struct hnsw_check *c, const struct hnsw *h)
{
    *c = (struct hnsw_check){.h = h};
}

bool hnsw_check_step(struct hnsw_check *c, uint32_t budget)
{
    uint32_t end = c->h->n_pages * NODES_PER_PAGE;

    for (; budget > 0 && c->node < end && !c->broken; budget--, c->node++) {
        if (hnsw_is_linked(c->h, c->node)) {
            c->n_linked++;
            c->broken = check_node(c, c->node);
        }
    }
    if (c->broken || c->node < end) {
        return !c->broken;
    }
    c->broken = check_entry(c->h, c->n_linked);
    return false;
}

void hnsw_validate(const struct hnsw *h)
{
    struct hnsw_check c;

    hnsw_check_begin(&c, h);
    while (hnsw_check_step(&c, UINT32_MAX)) {
    }
    ASSERT(!c.broken);
}
