/* What the nodes of a batch are linked to. They are coded and put in the order
 * of the regions they lie in, so that neighbours are planned one after the
 * other; those of equal rows are chained, not linked; the others search the
 * graph as it was before the batch, and choose among what they find. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "index/hnsw/hnsw_batch_impl.h"

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

void hnsw_code_unit(struct hnsw_batch *b, uint32_t unit, struct hnsw_scratch *s)
{
    struct hnsw *h = b->h;
    uint32_t first = unit * BATCH_NODES_PER_UNIT;
    uint32_t i;

    for (i = first; i < b->n && i < first + BATCH_NODES_PER_UNIT; i++) {
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
void hnsw_twin_unit(struct hnsw_batch *b)
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
            !batch_is_gone(b, node) && same_row(b, node, n->node)) {
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
            (!batch_is_gone(b, node) ||
             (with_gone && !same_row(b, node, n->node)))) {
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

void hnsw_plan_unit(struct hnsw_batch *b, uint32_t unit, struct hnsw_scratch *s)
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
