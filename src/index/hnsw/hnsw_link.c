/* The links back of a batch: they are sorted by target, so that each target's
 * row is changed by one thread, which needs no lock. A row that is full keeps
 * what the heuristic would choose among its links and the new ones. */
#include <string.h>

#include "index/hnsw/hnsw_batch_impl.h"

enum {
    LINKS_AT_ONCE = 8192, /* that a unit of PHASE_SORT goes on with */
    DIGIT_BITS = 11,
};

/* ---- SORT -------------------------------------------------------------- */

/* Hangs a node into the chain behind another. */
static void chain_behind(struct hnsw *h, uint32_t head, uint32_t node)
{
    link *row = base_links(h, head);
    uint32_t next = hnsw_chain_of(h, head);
    uint32_t i;

    hnsw_write_links(base_links(h, node), h->row_links, next, NULL, 0);
    for (i = 0; i + 1 < h->row_links; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE || (id & LINK_CHAIN)) {
            break;
        }
    }
    link_store(&row[i], node | LINK_CHAIN);
}

/* All links without the gaps between those of one node and the next. */
static void gather_links(struct hnsw_batch *b)
{
    uint32_t i, j;

    for (i = 0; i < b->n; i++) {
        struct batch_node *n = &b->nodes[i];

        for (j = 0; j < n->n_links; j++) {
            struct back_link l = b->links[n->first_link + j];

            b->highest = l.target > b->highest ? l.target : b->highest;
            b->links[b->n_links++] = l;
        }
        if (n->head != LINK_NONE) {
            chain_behind(b->h, n->head, n->node);
        }
    }
}

/* Orders links by one digit of their target, keeping the order of those where
 * it is the same: one pass of a radix sort. */
static void sort_by_digit(struct hnsw_batch *b, int shift)
{
    enum { DIGITS = 1 << DIGIT_BITS };
    uint32_t count[DIGITS] = {0};
    struct back_link *swap = b->links;
    uint32_t sum = 0;
    uint32_t i;

    for (i = 0; i < b->n_links; i++) {
        count[b->links[i].target >> shift & (DIGITS - 1)]++;
    }
    for (i = 0; i < DIGITS; i++) {
        uint32_t n = count[i];

        count[i] = sum;
        sum += n;
    }
    for (i = 0; i < b->n_links; i++) {
        b->sorted[count[b->links[i].target >> shift & (DIGITS - 1)]++] =
            b->links[i];
    }
    b->links = b->sorted;
    b->sorted = swap;
}

static void find_targets(struct hnsw_batch *b)
{
    uint32_t i;

    for (i = 0; i < b->n_links; i++) {
        if (i == 0 || b->links[i].target != b->links[i - 1].target) {
            b->starts[b->n_targets++] = i;
        }
    }
    b->starts[b->n_targets] = b->n_links;
}

/* As much as is to be done at once; hnsw_batch_next() has the rest done. */
void hnsw_sort_unit(struct hnsw_batch *b)
{
    do {
        if (!b->gathered) {
            gather_links(b);
            b->gathered = true;
        } else if (b->shift < 32 && b->highest >> b->shift) {
            sort_by_digit(b, b->shift);
            b->shift += DIGIT_BITS;
        } else {
            find_targets(b);
            b->in_order = true;
        }
    } while (!b->in_order && b->n_links <= LINKS_AT_ONCE);
}

/* ---- LINK -------------------------------------------------------------- */

/* A full row: its links and the new ones compete. Nodes that are gone do not: a
 * row that comes again as it was would lose its place to its dead self. */
static void prune(struct hnsw_batch *b, uint32_t target, int level,
                  const uint64_t *fresh, size_t n_fresh, struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    link *row = hnsw_row_of_links(h, target, level);
    uint32_t cap = links_on(h, level);
    uint32_t chain = LINK_NONE;
    struct vec_query *q;
    size_t n = 0, i;
    uint32_t at;

    for (at = 0; at < cap; at++) {
        uint32_t id = link_load(&row[at]);

        if (id == LINK_NONE) {
            break;
        }
        if (id & LINK_CHAIN) {
            chain = id & ~LINK_CHAIN;
        } else if (!bit_test(b->dead, id) && !batch_is_gone(b, id)) {
            s->ids[n] = id;
            s->rows[n++] = node_row(h, &b->rows, id);
        }
    }
    q = vec_query_from_row(h->options.format, node_row(h, &b->rows, target),
                           s->plan_query);
    vec_gather(q, s->rows, n, s->keys);
    for (i = 0; i < n; i++) {
        s->merge[i] = pool_entry(s->keys[i], s->ids[i]);
    }
    memcpy(s->merge + n, fresh, n_fresh * sizeof(*fresh));
    n += n_fresh;
    hnsw_sort_entries(s->merge, n);
    n = hnsw_choose(h, &b->rows, s->merge, n,
                    links_wanted(h, level) - (chain != LINK_NONE),
                    links_least(h), s);
    hnsw_write_links(row, cap, chain, s->chosen, n);
}

/* Adds the back-links of one target and level. */
static void link_level(struct hnsw_batch *b, const struct back_link *links,
                       uint32_t n_links, int level, struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    uint32_t target = links[0].target;
    uint32_t cap = links_on(h, level);
    link *row = hnsw_row_of_links(h, target, level);
    uint32_t n_old = 0;
    size_t n = 0, room;
    uint32_t i;

    while (n_old < cap && link_load(&row[n_old]) != LINK_NONE) {
        n_old++;
    }
    hnsw_scratch_fit_choice(s, h, cap + n_links);
    for (i = 0; i < n_links; i++) {
        if (links[i].level == level &&
            !hnsw_row_has(row, n_old, links[i].source)) {
            s->fresh[n++] = pool_entry(links[i].key, links[i].source);
        }
    }
    if (n_old + n <= cap) {
        for (i = 0; i < n; i++) {
            link_store(&row[n_old + i], pool_node(s->fresh[i]));
        }
        return;
    }
    /* Everybody's neighbour: the nearest of the new ones will do. */
    hnsw_sort_entries(s->fresh, n);
    room = 2 * (size_t)cap;
    prune(b, target, level, s->fresh, n < room ? n : room, s);
}

void hnsw_link_unit(struct hnsw_batch *b, uint32_t unit, struct hnsw_scratch *s)
{
    uint32_t first = unit * b->targets_per_unit;
    uint32_t t, i;

    hnsw_scratch_fit(s, b->h, b->h->options.ef);
    for (t = first; t < b->n_targets && t < first + b->targets_per_unit; t++) {
        const struct back_link *links = b->links + b->starts[t];
        uint32_t n = b->starts[t + 1] - b->starts[t];
        int levels = 0;
        int level;

        for (i = 0; i < n; i++) {
            levels |= 1 << links[i].level;
        }
        for (level = 0; levels >> level; level++) {
            if (levels >> level & 1) {
                link_level(b, links, n, level, s);
            }
        }
    }
}
