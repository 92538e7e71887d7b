/* Walking the whole graph: what no path leads to, and what should not be. */
#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum { LOST_MIN = 64 };

/* ---- what is out of reach ------------------------------------------------ */

struct hnsw_walk {
    struct hnsw *h;
    uint32_t n; /* node numbers are below */
    uint64_t *seen;
    uint32_t *queue; /* nodes reached, on this level or one above it */
    uint32_t head, tail;
    int level;
    uint32_t counted; /* nodes below it that were not reached are in lost */
    struct hnsw_lost *lost;
    size_t n_lost, cap_lost;
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
        w->level = entry_level(entry);
        reach(w, entry_node(entry));
    }
    return w;
}

/* Searches follow the links of a level only from nodes that they have come to
 * on it, or above. */
static void reach_from(struct hnsw_walk *w, uint32_t node)
{
    const link *row = hnsw_row_of_links(w->h, node, w->level);
    uint32_t i;

    for (i = 0; i < links_on(w->h, w->level); i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        reach(w, id & ~LINK_CHAIN);
    }
}

/* Without memory for it the next walk finds it again. */
static void add_lost(struct hnsw_walk *w, uint32_t node)
{
    if (w->n_lost == w->cap_lost) {
        size_t cap = w->cap_lost ? 2 * w->cap_lost : LOST_MIN;
        struct hnsw_lost *more = mem_try_realloc(w->lost, cap * sizeof(*more));

        if (!more) {
            return;
        }
        w->lost = more;
        w->cap_lost = cap;
    }
    w->lost[w->n_lost++] = (struct hnsw_lost){node, w->level};
}

/* Of 64 nodes those that have this level and were not reached. What hangs in a
 * chain is led to on level 0 alone. */
static void note_lost(struct hnsw_walk *w, uint32_t first)
{
    const struct node_page *p = page_of(w->h, first);
    uint32_t word = first % NODES_PER_PAGE / 64;
    uint64_t lost = p->linked[word] & ~w->seen[first / 64];

    if (w->level > 0) {
        lost &= p->has_upper[word] & ~p->chained[word];
    }
    for (; lost; lost &= lost - 1) {
        uint32_t node = first + (uint32_t)__builtin_ctzll(lost);

        if (hnsw_level(w->h, node) >= w->level) {
            add_lost(w, node);
        }
    }
}

bool hnsw_walk_step(struct hnsw_walk *w, uint32_t budget)
{
    for (; budget > 0; budget--) {
        if (w->head < w->tail) {
            reach_from(w, w->queue[w->head++]);
        } else if (w->counted < w->n) {
            note_lost(w, w->counted);
            w->counted += 64;
        } else if (w->level > 0) {
            w->level--;
            w->head = w->counted = 0;
        } else {
            return false;
        }
    }
    return true;
}

size_t hnsw_walk_lost(const struct hnsw_walk *w, const struct hnsw_lost **lost)
{
    *lost = w->lost;
    return w->n_lost;
}

void hnsw_walk_end(struct hnsw_walk *w)
{
    mem_free(w->seen);
    mem_free(w->queue);
    mem_free(w->lost);
    mem_free(w);
}

/* ---- bringing it back ---------------------------------------------------- */

/* The place of the link a row can best do without: a free one, else the one to
 * the farthest node. */
static uint32_t weakest_link(const struct hnsw *h, const struct row_map *rows,
                             uint32_t node, int level, struct hnsw_scratch *s)
{
    const link *row = hnsw_row_of_links(h, node, level);
    const uint32_t cap = links_on(h, level);
    const struct vec_query *q = vec_query_from_row(
        h->options.format, node_row(h, rows, node), s->choose_query);
    uint32_t at = 0, worst = 0;
    size_t n = 0;

    for (; at < cap; at++) {
        uint32_t id = link_load(&row[at]);

        if (id == LINK_NONE) {
            return at;
        }
        s->ids[n++] = id & ~LINK_CHAIN;
    }
    hnsw_rows_of(h, rows, s->ids, n, s->rows);
    vec_gather(q, s->rows, n, s->keys);
    for (at = 1; at < cap; at++) {
        bool chain = link_load(&row[worst]) & LINK_CHAIN;

        if (!(link_load(&row[at]) & LINK_CHAIN) &&
            (chain || s->keys[at] > s->keys[worst])) {
            worst = at;
        }
    }
    return worst;
}

static bool leads_to(const struct hnsw *h, uint32_t from, int level,
                     uint32_t to)
{
    const link *row = hnsw_row_of_links(h, from, level);
    uint32_t i;

    for (i = 0; i < links_on(h, level); i++) {
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

/* Who was in a chain has no links on the levels above 0: of those around it
 * some are chosen. */
static void fill_row(struct hnsw *h, struct hnsw_lost lost,
                     const struct row_map *rows, const uint64_t *dead,
                     struct hnsw_scratch *s)
{
    link *row = hnsw_row_of_links(h, lost.node, lost.level);
    size_t n = 0, i;

    if (lost.level == 0 || link_load(row) != LINK_NONE) {
        return;
    }
    for (i = 0; i < s->n_pool; i++) {
        if (!bit_test(dead, pool_node(s->pool[i])) &&
            pool_node(s->pool[i]) != lost.node) {
            s->merge[n++] = s->pool[i] & ~(uint64_t)POOL_DONE;
        }
    }
    n = hnsw_choose(h, rows, s->merge, n, h->options.m, links_least(h), s);
    hnsw_write_links(row, h->upper_links, LINK_NONE, s->chosen, n);
}

void hnsw_reattach(struct hnsw *h, struct hnsw_lost lost,
                   const struct row_map *rows, const uint64_t *dead,
                   struct hnsw_scratch *s)
{
    struct beam beam = {.h = h, .rows = rows, .n_slots = UINT32_MAX, .s = s};
    const uint32_t node = lost.node;
    const uint32_t cap = links_on(h, lost.level);
    uint32_t best = LINK_NONE;
    size_t i;

    hnsw_scratch_fit(s, h, h->options.ef);
    hnsw_scratch_fit_choice(s, h, h->options.ef);
    beam.query = vec_query_from_row(h->options.format, node_row(h, rows, node),
                                    s->plan_query);
    if (!hnsw_beam_descend(&beam, lost.level)) {
        return;
    }
    hnsw_beam_widen(&beam, lost.level, h->options.ef);
    for (i = 0; i < s->n_pool; i++) {
        uint32_t id = pool_node(s->pool[i]);

        if (id == node) {
            return; /* it was found, so it is not lost */
        }
        if (bit_test(dead, id)) {
            continue;
        }
        if (leads_to(h, id, lost.level, node)) {
            return;
        }
        if (best == LINK_NONE) {
            best = id;
        }
        if (link_load(&hnsw_row_of_links(h, id, lost.level)[cap - 1]) ==
            LINK_NONE) {
            best = id; /* near, and it has room */
            break;
        }
    }
    fill_row(h, lost, rows, dead, s);
    /* Among many copies the node may have been passed over. */
    if (best != LINK_NONE &&
        !hnsw_row_has(hnsw_row_of_links(h, best, lost.level), cap, node)) {
        uint32_t at = weakest_link(h, rows, best, lost.level, s);

        link_store(&hnsw_row_of_links(h, best, lost.level)[at], node);
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
