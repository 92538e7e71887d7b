/* A batch of nodes that are linked, from its beginning to its end: see the
 * phases in hnsw.h. hnsw_plan.c chooses the nodes' own links, hnsw_link.c makes
 * the links back. */
#include "base/mem.h"
#include "index/hnsw/hnsw_batch_impl.h"

enum {
    BATCH_MIN = 64,
    BATCH_MAX = 4096,
    BATCH_LINKS = 128 * 1024, /* it may make on level 0, about */
    BATCH_SHARE = 32,         /* a batch is at most this part of the graph */
    /* When a batch is more than this part of the graph, its nodes look for
     * neighbours among themselves too. */
    MATES_SHARE = 8,
    TARGETS_PER_UNIT = 16, /* of PHASE_LINK, at most */
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
        return units_of(b->n, BATCH_NODES_PER_UNIT);
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

/* ---- phases ------------------------------------------------------------ */

void hnsw_batch_unit(struct hnsw_batch *b, uint32_t unit,
                     struct hnsw_scratch *s)
{
    switch (b->phase) {
    case PHASE_CODE:
        hnsw_code_unit(b, unit, s);
        break;
    case PHASE_TWIN:
        hnsw_twin_unit(b);
        break;
    case PHASE_PLAN:
        hnsw_plan_unit(b, unit, s);
        break;
    case PHASE_SORT:
        hnsw_sort_unit(b);
        break;
    case PHASE_LINK:
        hnsw_link_unit(b, unit, s);
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
