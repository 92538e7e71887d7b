/* Searching for nodes that pass a filter when few do.
 *
 * An ordinary search travels through nodes that fail: to have ef that pass it
 * scores 1/share times as many. Here nodes that fail are not scored. A beam
 * goes from passing node to passing node; where a neighbour fails, its own
 * neighbours are looked at instead, as if the node were not there (ACORN-1,
 * Patel and others, arXiv 2403.04871). Nothing is built for it, and a node's
 * passing neighbours at two steps are about as many as its links when a
 * thirtieth passes; below that a scan of what passes is cheaper anyway.
 *
 * It begins with the nearest few nodes that an ordinary search finds, whether
 * they pass or not, so it is in the right place; and with some nodes that are
 * known to pass, from wherever, in case all that pass are far away. */
#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum {
    NEAR = HNSW_TWO_HOP_EXTRA, /* of the ordinary search to begin with */
    STOP_EVERY = 32,           /* nodes gone through; a power of two */
    CHAIN_STEPS = 128, /* behind a node that fails, per node gone through */
};

struct two_hop {
    struct beam *b;
    struct hnsw_search *q;
    uint32_t *failing; /* whose neighbours are looked at */
    size_t n_failing, cap_failing;
    uint32_t *ids; /* that pass, to be scored */
    size_t n_ids;
    /* What the pool began with that fails: it is in the pool as well. */
    uint64_t in_the_way[NEAR];
    size_t n_in_the_way;
};

/* A node that fails is visited when its own links are to be looked at, hence
 * never twice. */
static void look_through(struct two_hop *t, uint32_t node)
{
    const struct beam *b = t->b;

    hnsw_visit(b->s, node, b->s->lossy);
    hnsw_prefetch_links(b->h, node);
    t->failing[t->n_failing++] = node;
}

/* Only nodes without a verdict are asked about. */
static bool passes(struct two_hop *t, uint32_t node)
{
    enum verdict verdict = verdict_of(t->q->two_hop, node);

    if (verdict == VERDICT_PASSES || verdict == VERDICT_FAILS) {
        return verdict == VERDICT_PASSES;
    }
    t->q->asked++;
    return t->q->admits(t->q->arg, node);
}

/* Of the last ids, from `from` on, keeps those that pass, and visits them. */
static void keep_passing(struct two_hop *t, size_t from, bool through)
{
    const struct beam *b = t->b;
    size_t n = from, i;

    for (i = from; i < t->n_ids; i++) {
        uint32_t id = t->ids[i];

        if (passes(t, id)) {
            hnsw_visit(b->s, id, b->s->lossy);
            __builtin_prefetch(node_row(b->h, b->rows, id));
            t->ids[n++] = id;
        } else if (through) {
            look_through(t, id);
        }
    }
    t->n_ids = n;
}

/* The neighbours that have not been visited. */
static size_t first_step(struct two_hop *t, uint32_t node)
{
    const struct beam *b = t->b;
    const link *row = base_links(b->h, node);
    size_t n;
    uint32_t i;

    t->n_ids = t->n_failing = 0;
    for (i = 0; i < b->h->row_links; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        id &= ~LINK_CHAIN;
        if (id < b->n_slots && !hnsw_was_visited(b->s, id)) {
            t->ids[t->n_ids++] = id;
        }
    }
    n = t->n_ids;
    keep_passing(t, 0, true);
    return n;
}

/* The neighbours of one that fails. Most fail themselves, without a pattern
 * that a branch could be guessed by. Of equal rows each leads to the next only:
 * there the row after it is looked through as well. */
static void look_at(struct two_hop *t, uint32_t node, uint32_t *steps)
{
    const struct beam *b = t->b;
    const struct verdicts *verdicts = t->q->two_hop;
    const link *row = base_links(b->h, node);
    size_t from = t->n_ids;
    size_t n = from;
    uint32_t i;

    for (i = 0; i < b->h->row_links; i++) {
        uint32_t marked = link_load(&row[i]);
        uint32_t id = marked & ~LINK_CHAIN;
        bool fails;

        if (marked == LINK_NONE) {
            break;
        }
        if (UNLIKELY(id >= b->n_slots)) {
            continue;
        }
        fails = verdict_of(verdicts, id) == VERDICT_FAILS;
        t->ids[n] = id;
        n += !fails & !hnsw_was_visited(b->s, id);
        if (UNLIKELY(marked != id) && fails && *steps > 0 &&
            t->n_failing < t->cap_failing && !hnsw_was_visited(b->s, id)) {
            --*steps;
            look_through(t, id);
        }
    }
    t->n_ids = n;
    keep_passing(t, from, false);
}

/* The neighbours of those that fail, nearest first, until there is a row's
 * worth. */
static void second_step(struct two_hop *t)
{
    uint32_t steps = CHAIN_STEPS;
    size_t f;

    for (f = 0; f < t->n_failing && t->n_ids < t->b->h->row_links; f++) {
        look_at(t, t->failing[f], &steps);
    }
}

/* Some nodes that pass, in the pool if they are near enough. */
static void offer_seeds(struct two_hop *t, size_t ef)
{
    struct hnsw_scratch *s = t->b->s;
    uint32_t i;

    t->n_ids = 0;
    for (i = 0; i < t->q->n_seeds && t->n_ids < s->row_cap; i++) {
        uint32_t node = t->q->seeds[i];

        if (node < t->b->n_slots && hnsw_visit(s, node, s->lossy)) {
            t->ids[t->n_ids++] = node;
        }
    }
    hnsw_beam_offer(t->b, t->n_ids, ef);
}

/* What the ordinary search found is where this one begins. */
static void begin(struct two_hop *t)
{
    struct hnsw_scratch *s = t->b->s;
    size_t i;

    hnsw_visit_begin(s);
    for (i = 0; i < s->n_pool; i++) {
        s->pool[i] &= ~(uint64_t)POOL_DONE;
        hnsw_visit(s, pool_node(s->pool[i]), s->lossy);
        if (!passes(t, pool_node(s->pool[i]))) {
            t->in_the_way[t->n_in_the_way++] = s->pool[i];
        }
    }
}

/* The place in the pool of the k-th that passes. */
static size_t anchor_among(const struct two_hop *t, size_t k)
{
    const struct hnsw_scratch *s = t->b->s;
    size_t at = k, i;

    for (i = 0; i < t->n_in_the_way && at <= s->n_pool &&
                t->in_the_way[i] < s->pool[at - 1];
         i++) {
        at++;
    }
    return at;
}

static bool ends(const struct two_hop *t, size_t k, size_t next)
{
    return k && hnsw_beam_ends(t->b, anchor_among(t, k), next);
}

void hnsw_beam_widen_passing(struct beam *b, struct hnsw_search *q, size_t ef)
{
    const size_t k = b->anchor;
    struct hnsw_scratch *s = b->s;
    struct two_hop t = {.b = b, .q = q, .ids = s->ids};
    size_t next = 0;

    /* Nodes that fail keep their places. */
    ef += NEAR;
    b->anchor = 0;
    hnsw_beam_widen(b, 0, NEAR);
    t.failing = hnsw_scratch_fit_failing(s, b->h, CHAIN_STEPS, &t.cap_failing);
    begin(&t);
    offer_seeds(&t, ef);
    while (next < s->n_pool && !ends(&t, k, next)) {
        uint32_t node = pool_node(s->pool[next]);
        size_t at, n;

        s->pool[next] |= POOL_DONE;
        n = first_step(&t, node);
        if (2 * t.n_ids <= n) {
            second_step(&t);
        }
        if (++s->hops % STOP_EVERY == 0 && b->stop && b->stop(b->arg)) {
            return;
        }
        at = hnsw_beam_offer(b, t.n_ids, ef);
        next = hnsw_next_open(s, at < next ? at : next);
        q->gave_up = q->asks_most > 0 && q->asked > q->asks_most;
        if (q->gave_up) {
            return;
        }
        if (next < s->n_pool) {
            hnsw_prefetch_links(b->h, pool_node(s->pool[next]));
        }
    }
}
