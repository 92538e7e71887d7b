/* Linking a batch of nodes: see the phases in hnsw.h. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum {
    BATCH_MIN = 64,
    BATCH_MAX = 4096,
    BATCH_LINKS = 128 * 1024, /* it may make on level 0, about */
    BATCH_SHARE = 32,         /* a batch is at most this part of the graph */
    /* When a batch is more than this part of the graph, its nodes look for
     * neighbours among themselves too. */
    MATES_SHARE = 8,
    NODES_PER_UNIT = 8,    /* of PHASE_CODE */
    TARGETS_PER_UNIT = 16, /* of PHASE_LINK, at most */
    LINKS_AT_ONCE = 8192,  /* that a unit of PHASE_SORT goes on with */
    DIGIT_BITS = 11,
};

enum phase {
    PHASE_CODE, /* store codes and hash them */
    PHASE_TWIN, /* find equal ones within the batch */
    PHASE_PLAN,
    PHASE_SORT,
    PHASE_LINK,
    PHASE_DONE,
};

/* A link to be made from target back to source. */
struct back_link {
    uint32_t target;
    uint32_t source;
    float key;
    int level;
};

struct batch_node {
    uint32_t node;
    uint32_t head; /* the node it is chained behind, or LINK_NONE */
    bool twin;     /* of one in the batch; as of PHASE_TWIN */
    uint32_t first_link;
    uint32_t n_links;
    uint64_t hash;
    /* What a greedy walk finds on the levels above 0: a pool entry, and its
     * region, by which nodes are put in order. */
    uint64_t way_in;
    uint32_t region;
};

struct hnsw_batch {
    struct hnsw *h;
    enum phase phase;
    uint32_t n;
    bool mates;
    const uint64_t *dead;
    const uint64_t *gone; /* see hnsw_batch_avoid() */
    struct row_map rows;
    struct batch_node *nodes;
    uint64_t *order; /* region and index of each node, sorted */
    struct back_link *links, *sorted;
    uint32_t n_links;
    uint32_t *starts; /* first back-link of each target */
    uint32_t n_targets;
    uint32_t targets_per_unit;
    /* of PHASE_SORT */
    bool gathered, in_order;
    int shift;        /* the digit that is next */
    uint32_t highest; /* target */
};

/* ---- beginning --------------------------------------------------------- */

/* A unit is to take a quarter of a millisecond at most, for others may wait for
 * the processor: what a target costs grows with the rows that are compared and,
 * by its square, with their number. */
static uint32_t targets_per_unit(const struct hnsw *h)
{
    uint64_t cost = (uint64_t)(h->options.format->row_bytes + 128) *
                    h->options.m * h->options.m;
    uint64_t n = (uint64_t)TARGETS_PER_UNIT * 256 * 16 * 16 / cost;

    return n < 1 ? 1 : n > TARGETS_PER_UNIT ? TARGETS_PER_UNIT : (uint32_t)n;
}

uint32_t hnsw_batch_size(const struct hnsw *h, uint32_t waiting)
{
    uint32_t n = h->n_nodes / BATCH_SHARE;

    n = n > BATCH_MAX ? BATCH_MAX : n;
    n = n > BATCH_LINKS / h->options.m ? BATCH_LINKS / h->options.m : n;
    n = n < BATCH_MIN ? BATCH_MIN : n;
    return n < waiting ? n : waiting;
}

static void batch_free(struct hnsw_batch *b)
{
    mem_free(b->nodes);
    mem_free(b->order);
    mem_free(b->links);
    mem_free(b->sorted);
    mem_free(b->starts);
    mem_free(b);
}

struct hnsw_batch *hnsw_batch_begin(struct hnsw *h, const uint32_t *nodes,
                                    uint32_t n, const struct row_map *rows,
                                    const uint64_t *dead)
{
    struct hnsw_batch *b = mem_calloc(1, sizeof(*b));
    uint32_t highest = 0;
    uint32_t total = 0;
    uint32_t i;

    b->h = h;
    b->n = n;
    b->dead = dead;
    b->rows = *rows;
    b->targets_per_unit = targets_per_unit(h);
    b->mates = n > h->n_nodes / MATES_SHARE;
    b->nodes = mem_try_alloc(n * sizeof(*b->nodes));
    b->order = mem_try_alloc(n * sizeof(*b->order));
    for (i = 0; b->nodes && i < n; i++) {
        ASSERT(nodes[i] < HNSW_NODE_MAX);
        b->nodes[i] = (struct batch_node){
            .node = nodes[i], .head = LINK_NONE, .first_link = total};
        /* At most m links on every level it has. */
        total += h->options.m * (1 + (uint32_t)hnsw_level(h, nodes[i]));
        highest = nodes[i] > highest ? nodes[i] : highest;
    }
    b->links = mem_try_alloc(total * sizeof(*b->links));
    b->sorted = mem_try_alloc(total * sizeof(*b->sorted));
    b->starts = mem_try_alloc((total + 1) * sizeof(*b->starts));
    if (!b->nodes || !b->order || !b->links || !b->sorted || !b->starts ||
        hnsw_reserve(h, highest + 1) != ERR_OK) {
        batch_free(b);
        return NULL;
    }
    return b;
}

void hnsw_batch_avoid(struct hnsw_batch *b, const uint64_t *gone)
{
    b->gone = gone;
}

static uint32_t units_of(uint32_t n, uint32_t per_unit)
{
    return (n + per_unit - 1) / per_unit;
}

uint32_t hnsw_batch_units(const struct hnsw_batch *b)
{
    switch (b->phase) {
    case PHASE_CODE:
        return units_of(b->n, NODES_PER_UNIT);
    case PHASE_PLAN:
        return b->n;
    case PHASE_TWIN:
    case PHASE_SORT:
        return 1;
    case PHASE_LINK:
        return units_of(b->n_targets, b->targets_per_unit);
    case PHASE_DONE:
        break;
    }
    return 0;
}

static int graph_level(const struct hnsw *h)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);

    return entry == ENTRY_NONE ? -1 : entry_level(entry);
}

/* ---- CODE and TWIN ----------------------------------------------------- */

void hnsw_store_code(struct hnsw *h, const struct row_map *rows, uint32_t node,
                     struct hnsw_scratch *s)
{
    const struct vec_format *from = h->options.stored;
    uint8_t *to = page_of(h, node)->codes +
                  (size_t)(node % NODES_PER_PAGE) * h->code_bytes;

    memset(to, 0, h->code_bytes);
    if (s->floats_cap < from->dim) {
        s->floats_cap = from->dim;
        s->floats = mem_realloc(s->floats, s->floats_cap * sizeof(*s->floats));
    }
    vec_decode_unit(from, row_map_at(rows, node), s->floats);
    if (vec_encode(h->options.format, s->floats, to) != ERR_OK) {
        memset(to, 0, h->code_bytes); /* not finite: it was stored, so never */
    }
}

/* Finds the way in to level 0. Its region is what the walk finds two levels
 * up: some hundreds of nodes have the same. */
static void find_way_in(struct hnsw_batch *b, struct batch_node *n,
                        struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    struct beam beam = {
        .h = h, .rows = &b->rows, .n_slots = UINT32_MAX, .s = s};

    hnsw_scratch_fit(s, h, 1);
    hnsw_scratch_fit_choice(s, h, 1);
    beam.query = vec_query_from_row(
        h->options.format, node_row(h, &b->rows, n->node), s->plan_query);
    if (graph_level(h) >= 2 && hnsw_beam_descend(&beam, 1)) {
        n->region = pool_node(s->pool[0]);
        beam.start = entry_of(n->region, 2) + 1;
    }
    n->way_in = hnsw_beam_descend(&beam, 0) ? s->pool[0] : 0;
}

static void code_unit(struct hnsw_batch *b, uint32_t unit,
                      struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    uint32_t first = unit * NODES_PER_UNIT;
    uint32_t i;

    for (i = first; i < b->n && i < first + NODES_PER_UNIT; i++) {
        struct batch_node *n = &b->nodes[i];

        if (h->own_codes) {
            hnsw_store_code(h, &b->rows, n->node, s);
        }
        n->hash = hash_bytes(node_row(h, &b->rows, n->node),
                             h->options.format->row_bytes);
        find_way_in(b, n, s);
        b->order[i] = (uint64_t)n->region << 32 | i;
    }
}

static bool is_gone(const struct hnsw_batch *b, uint32_t node)
{
    return bit_test(b->gone, node);
}

static bool same_row(const struct hnsw_batch *b, uint32_t x, uint32_t y)
{
    return memcmp(node_row(b->h, &b->rows, x), node_row(b->h, &b->rows, y),
                  b->h->options.format->row_bytes) == 0;
}

static int compare_order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Chains each node behind the first of the batch that equals it. */
static void twin_unit(struct hnsw_batch *b)
{
    uint32_t cap = 2;
    uint32_t *table;
    uint32_t i, at;

    while (cap < 2 * b->n) {
        cap *= 2;
    }
    table = mem_alloc(cap * sizeof(*table));
    memset(table, 0xff, cap * sizeof(*table));
    for (i = 0; i < b->n; i++) {
        struct batch_node *n = &b->nodes[i];

        for (at = (uint32_t)n->hash & (cap - 1); table[at] != UINT32_MAX;
             at = (at + 1) & (cap - 1)) {
            const struct batch_node *other = &b->nodes[table[at]];

            if (other->hash == n->hash && same_row(b, other->node, n->node)) {
                n->head = other->node;
                n->twin = true;
                break;
            }
        }
        if (n->head == LINK_NONE) {
            table[at] = i;
        }
    }
    mem_free(table);
    qsort(b->order, b->n, sizeof(*b->order), compare_order);
}

/* ---- PLAN -------------------------------------------------------------- */

/* Offers the other nodes of the batch that have a level. They are scored, but
 * not gone through: their rows are being written. */
static void offer_mates(struct hnsw_batch *b, struct beam *beam, uint32_t self,
                        int level)
{
    struct hnsw_scratch *s = beam->s;
    size_t n = 0;
    uint32_t i;

    if (!b->mates && level <= graph_level(b->h)) {
        return;
    }
    for (i = 0; i < b->n; i++) {
        uint32_t node = b->nodes[i].node;

        if (node != self && !b->nodes[i].twin &&
            (level == 0 || hnsw_level(b->h, node) >= level)) {
            s->ids[n++] = node;
        }
        if (n == s->row_cap || (i + 1 == b->n && n)) {
            hnsw_beam_offer(beam, n, b->h->options.ef);
            n = 0;
        }
    }
}

/* What is left to start the next level from. */
static void drop_mates(struct hnsw_batch *b, struct hnsw_scratch *s)
{
    size_t kept = 0, i;

    for (i = 0; i < s->n_pool; i++) {
        if (hnsw_is_linked(b->h, pool_node(s->pool[i]))) {
            s->pool[kept++] = s->pool[i];
        }
    }
    s->n_pool = kept;
}

/* Whether one of the nodes found equals this one to the bit: they have the key
 * the node has to itself. */
static bool find_equal(struct hnsw_batch *b, struct beam *beam,
                       struct batch_node *n)
{
    const struct hnsw_scratch *s = beam->s;
    const uint8_t *self = node_row(b->h, &b->rows, n->node);
    float key;
    uint64_t bits;
    size_t i;

    vec_gather(beam->query, &self, 1, &key);
    bits = topk_key_bits(key);
    for (i = 0; i < s->n_pool && s->pool[i] >> 32 <= bits; i++) {
        uint32_t node = pool_node(s->pool[i]);

        if (s->pool[i] >> 32 == bits && !bit_test(b->dead, node) &&
            !is_gone(b, node) && same_row(b, node, n->node)) {
            n->head = node;
            return true;
        }
    }
    return false;
}

/* Gathers candidates from the pool, best first. Of those that are gone a row
 * that equals the node's own is left out in any case: it is as near to all
 * others as the node is, so that none of them would be chosen beside it. */
static size_t gather_candidates(struct hnsw_batch *b,
                                const struct batch_node *n, bool with_gone,
                                struct hnsw_scratch *s)
{
    size_t n_good = 0, i;

    for (i = 0; i < s->n_pool; i++) {
        uint32_t node = pool_node(s->pool[i]);

        if (!bit_test(b->dead, node) &&
            (!is_gone(b, node) || (with_gone && !same_row(b, node, n->node)))) {
            s->merge[n_good++] = s->pool[i] & ~(uint64_t)POOL_DONE;
        }
    }
    return n_good;
}

/* Chooses the node's links on a level and notes the links back. */
static void plan_level(struct hnsw_batch *b, struct batch_node *n, int level,
                       struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    size_t n_good, n_chosen, i;

    hnsw_scratch_fit_choice(s, h, s->n_pool);
    n_good = gather_candidates(b, n, false, s);
    if (n_good < 2 * h->options.m && b->gone) {
        n_good = gather_candidates(b, n, true, s);
    }
    n_chosen = hnsw_choose(h, &b->rows, s->merge, n_good, h->options.m,
                           links_least(h), s);
    hnsw_write_links(hnsw_row_of_links(h, n->node, level), links_on(h, level),
                     LINK_NONE, s->chosen, n_chosen);
    for (i = 0; i < n_chosen; i++) {
        b->links[n->first_link + n->n_links++] = (struct back_link){
            pool_node(s->chosen[i]), n->node, pool_key(s->chosen[i]), level};
    }
}

static void clear_links(const struct hnsw *h, uint32_t node)
{
    int level;

    for (level = 0; level <= hnsw_level(h, node); level++) {
        hnsw_write_links(hnsw_row_of_links(h, node, level), links_on(h, level),
                         LINK_NONE, NULL, 0);
    }
}

static void plan_unit(struct hnsw_batch *b, uint32_t unit,
                      struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    struct batch_node *n = &b->nodes[(uint32_t)b->order[unit]];
    struct beam beam = {
        .h = h, .rows = &b->rows, .n_slots = UINT32_MAX, .s = s};
    int top = graph_level(h);
    int level = hnsw_level(h, n->node);

    hnsw_scratch_fit(s, h, h->options.ef);
    hnsw_scratch_fit_choice(s, h, h->options.ef);
    clear_links(h, n->node);
    if (n->twin) {
        return;
    }
    beam.query = vec_query_from_row(
        h->options.format, node_row(h, &b->rows, n->node), s->plan_query);
    for (; level > top && level > 0; level--) {
        s->n_pool = 0;
        offer_mates(b, &beam, n->node, level);
        plan_level(b, n, level, s);
    }
    s->n_pool = 0;
    if (level == 0 && n->way_in) {
        s->pool[s->n_pool++] = n->way_in;
    }
    for (; level >= 0; level--) {
        if (s->n_pool || hnsw_beam_descend(&beam, level)) {
            hnsw_beam_widen(&beam, level, h->options.ef);
        }
        if (level == 0) {
            hnsw_note_spread(h, s);
        }
        offer_mates(b, &beam, n->node, level);
        if (level == 0 && find_equal(b, &beam, n)) {
            n->n_links = 0;
            clear_links(h, n->node);
            return;
        }
        plan_level(b, n, level, s);
        drop_mates(b, s);
    }
}

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
static void sort_unit(struct hnsw_batch *b)
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
        } else if (!bit_test(b->dead, id) && !is_gone(b, id)) {
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

static void link_unit(struct hnsw_batch *b, uint32_t unit,
                      struct hnsw_scratch *s)
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

/* ---- phases ------------------------------------------------------------ */

void hnsw_batch_unit(struct hnsw_batch *b, uint32_t unit,
                     struct hnsw_scratch *s)
{
    switch (b->phase) {
    case PHASE_CODE:
        code_unit(b, unit, s);
        break;
    case PHASE_TWIN:
        twin_unit(b);
        break;
    case PHASE_PLAN:
        plan_unit(b, unit, s);
        break;
    case PHASE_SORT:
        sort_unit(b);
        break;
    case PHASE_LINK:
        link_unit(b, unit, s);
        break;
    case PHASE_DONE:
        break;
    }
}

void hnsw_batch_next(struct hnsw_batch *b)
{
    if (b->phase == PHASE_SORT && !b->in_order) {
        return;
    }
    b->phase++;
    if (b->phase == PHASE_LINK && b->n_targets == 0) {
        b->phase++;
    }
}

void hnsw_batch_end(struct hnsw_batch *b)
{
    struct hnsw *h = b->h;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    uint32_t i;

    ASSERT(b->phase == PHASE_DONE);
    for (i = 0; i < b->n; i++) {
        const struct batch_node *n = &b->nodes[i];
        int level = hnsw_level(h, n->node);

        hnsw_set_linked(h, n->node, true);
        hnsw_set_chained(h, n->node, n->head != LINK_NONE);
        if (n->head == LINK_NONE &&
            (entry == ENTRY_NONE || level > entry_level(entry))) {
            entry = entry_of(n->node, level);
        }
    }
    h->n_nodes += b->n;
    atomic_store_explicit(&h->entry, entry, memory_order_release);
    batch_free(b);
}

void hnsw_batch_abandon(struct hnsw_batch *b)
{
    batch_free(b);
}
