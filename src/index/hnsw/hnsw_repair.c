/* Taking dead nodes out of the graph, and finding what has come loose.
 *
 * Nobody keeps links backwards: level 0 is one dense array, and reading all of
 * it finds the rows that mention a dead node faster than keeping books would. A
 * row that does is chosen anew from its live links and, for each dead one, the
 * live links of that (as in FreshDiskANN, arXiv 2105.09613). */
#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum {
    REPAIR_EF = 64,        /* of the search that helps a node with few links */
    SECOND_HAND = 1024,    /* candidates from dead neighbours, at most */
    CHAINS_AT_ONCE = 2048, /* dead nodes whose chains one unit looks at */
};

struct hnsw_sweep {
    struct hnsw *h;
    const uint64_t *dead;
    struct row_map rows;
    enum { SWEEP_CHAINS, SWEEP_ROWS, SWEEP_ENTRY } phase;
    uint32_t chains_to; /* dead nodes below it have left their chains */
    uint64_t entry;     /* the next one; SWEEP_ENTRY */
};

/* ---- chains ------------------------------------------------------------ */

/* The first live node of a chain from `node` on. */
static uint32_t live_in_chain(const struct hnsw_sweep *w, uint32_t node)
{
    while (node != LINK_NONE && bit_test(w->dead, node)) {
        node = hnsw_chain_of(w->h, node);
    }
    return node;
}

static void inherit(struct hnsw_sweep *w, uint32_t node)
{
    struct hnsw *h = w->h;
    uint32_t heir = live_in_chain(w, hnsw_chain_of(h, node));
    const link *from = base_links(h, node);
    link *to;
    uint32_t at = 0, i;

    if (heir == LINK_NONE) {
        return;
    }
    if (!hnsw_is_chained(h, node)) {
        hnsw_set_chained(h, heir, false);
    }
    to = base_links(h, heir);
    while (at < h->row_links && link_load(&to[at]) != LINK_NONE) {
        at++;
    }
    if (at > 1) {
        return; /* it has links of its own */
    }
    for (i = 0; i < h->row_links && at < h->row_links; i++) {
        uint32_t id = link_load(&from[i]);

        if (id == LINK_NONE) {
            break;
        }
        if (!(id & LINK_CHAIN) && !bit_test(w->dead, id) && id != heir &&
            !hnsw_row_has(to, at, id)) {
            link_store(&to[at++], id);
        }
    }
}

/* A unit of it; hnsw_sweep_next() has the rest done. */
static void repair_chains(struct hnsw_sweep *w)
{
    uint32_t n = node_room(w->h);
    uint32_t looks = CHAINS_AT_ONCE;
    uint32_t first = w->chains_to;

    for (; first < n && looks > 0; first += 64) {
        uint64_t bits = w->dead[first / 64];

        for (; bits; bits &= bits - 1) {
            uint32_t node = first + (uint32_t)__builtin_ctzll(bits);

            looks -= looks > 0;
            if (hnsw_is_linked(w->h, node) &&
                hnsw_chain_of(w->h, node) != LINK_NONE) {
                inherit(w, node);
            }
        }
    }
    w->chains_to = first;
}

/* ---- rows -------------------------------------------------------------- */

/* Candidates gathered for one row, each once. */
struct gathering {
    struct hnsw_sweep *w;
    struct hnsw_scratch *s;
    uint32_t self;
    size_t n;
    size_t most;    /* candidates there is room for */
    bool hurt;      /* the row has a dead link */
    uint32_t chain; /* what its marked link is to be */
};

static void take(struct gathering *g, uint32_t id)
{
    struct hnsw_scratch *s = g->s;

    size_t i;

    if (g->n == g->most || id == g->self || bit_test(g->w->dead, id) ||
        !hnsw_visit(s, id, s->lossy)) {
        return;
    }
    for (i = 0; s->lossy && i < g->n; i++) {
        if (s->merge[i] == id) {
            return;
        }
    }
    s->merge[g->n++] = id;
}

static void take_links_of_dead(struct gathering *g, uint32_t node, int level)
{
    const struct hnsw *h = g->w->h;
    const link *row = hnsw_row_of_links(h, node, level);
    uint32_t i;

    for (i = 0; i < links_on(h, level); i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        if (id & LINK_CHAIN) {
            id = live_in_chain(g->w, id & ~LINK_CHAIN);
            if (id == LINK_NONE) {
                continue;
            }
        }
        take(g, id);
    }
}

static void gather_row(struct gathering *g, int level)
{
    const struct hnsw *h = g->w->h;
    const link *row = hnsw_row_of_links(h, g->self, level);
    uint32_t cap = links_on(h, level);
    uint32_t i;

    for (i = 0; i < cap; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        if (id & LINK_CHAIN) {
            g->chain = live_in_chain(g->w, id & ~LINK_CHAIN);
            g->hurt |= g->chain != (id & ~LINK_CHAIN);
        } else if (bit_test(g->w->dead, id)) {
            g->hurt = true;
            take_links_of_dead(g, id, level);
        } else {
            take(g, id);
        }
    }
}

static void drop(struct gathering *g, uint32_t id)
{
    size_t i, kept = 0;

    for (i = 0; i < g->n; i++) {
        g->s->merge[kept] = g->s->merge[i];
        kept += g->s->merge[i] != id;
    }
    g->n = kept;
}

/* A node that lost nearly all its neighbours asks the graph for others. */
static void ask_graph(struct gathering *g, const struct vec_query *q, int level)
{
    struct beam beam = {.h = g->w->h,
                        .query = q,
                        .rows = &g->w->rows,
                        .n_slots = UINT32_MAX,
                        .s = g->s};
    size_t i;

    if (!hnsw_beam_descend(&beam, level)) {
        return;
    }
    hnsw_beam_widen(&beam, level, REPAIR_EF);
    for (i = 0; i < g->s->n_pool; i++) {
        uint32_t id = pool_node(g->s->pool[i]);
        size_t j = 0;

        while (j < g->n && g->s->merge[j] != id) {
            j++;
        }
        if (j == g->n && id != g->self && !bit_test(g->w->dead, id)) {
            g->s->merge[g->n++] = id;
        }
    }
}

/* Turns the nodes in scratch->merge into entries by distance, best first. */
static void order_by_distance(const struct hnsw *h, const struct row_map *rows,
                              const struct vec_query *q, size_t n,
                              struct hnsw_scratch *s)
{
    size_t done, i;

    for (done = 0; done < n; done += i) {
        for (i = 0; i < s->row_cap && done + i < n; i++) {
            s->ids[i] = (uint32_t)s->merge[done + i];
        }
        hnsw_rows_of(h, rows, s->ids, i, s->rows);
        vec_gather(q, s->rows, i, s->keys);
        while (i > 0) {
            i--;
            s->merge[done + i] = pool_entry(s->keys[i], s->ids[i]);
        }
        i = n - done < s->row_cap ? n - done : s->row_cap;
    }
    hnsw_sort_entries(s->merge, n);
}

/* Adds to what was chosen of n candidates the links the row has already,
 * nearest first, while there is room: a row that was chosen anew from its few
 * diverse neighbours alone would lose links whenever one of them dies. */
static size_t keep_links(const link *row, uint32_t cap, size_t n, size_t room,
                         size_t n_chosen, struct hnsw_scratch *s)
{
    size_t n_new = n_chosen;
    size_t i, j = 0;

    for (i = 0; i < n && n_chosen < room; i++) {
        if (j < n_new && s->chosen[j] == s->merge[i]) {
            j++; /* both are in order */
        } else if (hnsw_row_has(row, cap, pool_node(s->merge[i]))) {
            s->chosen[n_chosen++] = s->merge[i];
        }
    }
    return n_chosen;
}

static void repair_row(struct hnsw_sweep *w, uint32_t node, int level,
                       struct hnsw_scratch *s)
{
    struct hnsw *h = w->h;
    struct gathering g = {.w = w,
                          .s = s,
                          .self = node,
                          .most = h->row_links + SECOND_HAND,
                          .chain = LINK_NONE};
    uint32_t cap = links_on(h, level);
    link *row = hnsw_row_of_links(h, node, level);
    struct vec_query *q;
    size_t n;

    hnsw_visit_begin(s);
    gather_row(&g, level);
    if (!g.hurt) {
        return;
    }
    q = vec_query_from_row(h->options.format, node_row(h, &w->rows, node),
                           s->plan_query);
    if (g.n < h->options.m / 2 && !(level == 0 && g.chain != LINK_NONE)) {
        ask_graph(&g, q, level);
    }
    drop(&g, g.chain);
    order_by_distance(h, &w->rows, q, g.n, s);
    n = hnsw_choose(h, &w->rows, s->merge, g.n,
                    links_wanted(h, level) - (g.chain != LINK_NONE),
                    links_least(h), s);
    n = keep_links(row, cap, g.n, cap - (g.chain != LINK_NONE), n, s);
    hnsw_write_links(row, cap, g.chain, s->chosen, n);
}

/* ---- the entry --------------------------------------------------------- */

/* How well a node would serve as the entry: no links lead on from one that
 * hangs in a chain, and on the upper levels from one that has been its head's
 * heir. */
static int fitness(const struct hnsw *h, uint32_t node)
{
    int level = hnsw_level(h, node);
    uint32_t first;

    if (hnsw_is_chained(h, node)) {
        return 0;
    }
    if (level > 0 && link_load(hnsw_row_of_links(h, node, 1)) != LINK_NONE) {
        return 2 + level;
    }
    first = link_load(base_links(h, node));
    return 1 + (first != LINK_NONE && !(first & LINK_CHAIN));
}

static uint64_t choose_entry(const struct hnsw *h, const uint64_t *dead)
{
    uint32_t end = node_room(h);
    uint64_t best = ENTRY_NONE;
    int most = -1;
    uint32_t first;

    for (first = 0; first < end; first += 64) {
        const struct node_page *p = page_of(h, first);
        uint32_t word = first % NODES_PER_PAGE / 64;
        uint64_t bits = p->linked[word] & ~dead[first / 64] &
                        (most >= 2 ? p->has_upper[word] : UINT64_MAX);

        for (; bits; bits &= bits - 1) {
            uint32_t node = first + (uint32_t)__builtin_ctzll(bits);
            int f;

            if (most >= 2 && hnsw_level(h, node) + 2 <= most) {
                continue;
            }
            f = fitness(h, node);
            if (f > most) {
                most = f;
                best = entry_of(node, hnsw_level(h, node));
            }
        }
    }
    return best;
}

static void renew_entry(struct hnsw_sweep *w)
{
    uint64_t entry = atomic_load_explicit(&w->h->entry, memory_order_relaxed);

    w->entry = entry;
    if (entry != ENTRY_NONE && bit_test(w->dead, entry_node(entry))) {
        w->entry = choose_entry(w->h, w->dead);
    }
}

/* ---- the sweep --------------------------------------------------------- */

struct hnsw_sweep *hnsw_sweep_begin(struct hnsw *h, const uint64_t *dead,
                                    const struct row_map *rows)
{
    struct hnsw_sweep *w = mem_try_alloc(sizeof(*w));

    if (w) {
        *w = (struct hnsw_sweep){.h = h, .dead = dead, .rows = *rows};
    }
    return w;
}

uint32_t hnsw_sweep_units(const struct hnsw_sweep *w)
{
    return w->phase == SWEEP_ROWS ? w->h->n_pages * UNITS_PER_PAGE : 1;
}

void hnsw_sweep_unit(struct hnsw_sweep *w, uint32_t unit,
                     struct hnsw_scratch *s)
{
    struct hnsw *h = w->h;
    uint32_t first = unit * (NODES_PER_PAGE / UNITS_PER_PAGE);
    size_t most = h->row_links + SECOND_HAND + REPAIR_EF;
    uint32_t node;
    int level;

    if (w->phase != SWEEP_ROWS) {
        if (w->phase == SWEEP_CHAINS) {
            repair_chains(w);
        } else {
            renew_entry(w);
        }
        return;
    }
    hnsw_scratch_fit(s, h, REPAIR_EF);
    hnsw_scratch_fit_choice(s, h, most);
    for (node = first; node < first + NODES_PER_PAGE / UNITS_PER_PAGE; node++) {
        if (hnsw_is_linked(h, node) && !bit_test(w->dead, node)) {
            for (level = hnsw_level(h, node); level >= 0; level--) {
                repair_row(w, node, level, s);
            }
        }
    }
}

bool hnsw_sweep_next(struct hnsw_sweep *w)
{
    if (w->phase == SWEEP_CHAINS && w->chains_to < node_room(w->h)) {
        return true;
    }
    return w->phase++ != SWEEP_ENTRY;
}

void hnsw_sweep_end(struct hnsw_sweep *w)
{
    struct hnsw *h = w->h;
    uint32_t n = node_room(h) / 64;
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint64_t *linked = &page_of(h, i * 64)->linked[i % PAGE_WORDS];

        h->n_nodes -= (uint32_t)__builtin_popcountll(*linked & w->dead[i]);
        *linked &= ~w->dead[i];
    }
    atomic_store_explicit(&h->entry, w->entry, memory_order_release);
    mem_free(w);
}
