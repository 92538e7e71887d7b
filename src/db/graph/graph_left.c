/* A graph that gives way to lists: see graph_left.h. */
#include "db/graph/graph_left.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "store/slots_blocks.h"

enum { UNLINKED_SHARE = 2 /* one in so many rows: it is not worth it */ };

/* What it has besides, until it is freed. */
struct graph_left {
    struct row_map from; /* what is copied */
    const uint8_t **pages;
    uint32_t n_pages;
    slot_id n_slots; /* that may be nodes */
    uint32_t n_words;
    uint32_t n_unlinked; /* rows, about */
    _Atomic uint64_t unlinked[];
};

static size_t left_bytes(uint32_t n_words)
{
    return sizeof(struct graph_left) + n_words * sizeof(uint64_t);
}

static size_t page_bytes(const struct row_geometry *geometry, uint32_t page)
{
    return (size_t)row_page_count(geometry, page) * geometry->row_bytes +
           geometry->overread;
}

static size_t copies_bytes(const struct graph *g, uint32_t n_pages)
{
    const struct row_geometry *geometry = &g->set->elements.slots.geometry;
    size_t bytes = region_cost(n_pages * sizeof(uint8_t *), 1);
    uint32_t i;

    for (i = 0; i < n_pages; i++) {
        bytes += region_cost(page_bytes(geometry, i), VEC_ALIGN);
    }
    return bytes;
}

size_t graph_left_own_bytes(const struct graph *g)
{
    const struct graph_left *l = g->left;

    return l ? region_cost(left_bytes(l->n_words), 1) +
                   (l->pages ? copies_bytes(g, l->n_pages) : 0)
             : 0;
}

size_t graph_left_bytes(const struct graph *g)
{
    return hnsw_bytes(g->hnsw) + graph_own_bytes(g);
}

void graph_left_free_own(struct graph *g)
{
    const struct row_geometry *geometry = &g->set->elements.slots.geometry;
    struct region *r = &g->set->memory;
    struct graph_left *l = g->left;
    uint32_t i;

    if (!l) {
        return;
    }
    for (i = 0; l->pages && i < l->n_pages; i++) {
        region_free(r, (void *)(uintptr_t)l->pages[i], page_bytes(geometry, i),
                    VEC_ALIGN);
    }
    region_free(r, l->pages, l->n_pages * sizeof(*l->pages), 1);
    region_free(r, l, left_bytes(l->n_words), 1);
    g->left = NULL;
}

/* ---- preparing ----------------------------------------------------------- */

/* The rows themselves are what such a graph compares. */
static bool wants_copies(const struct graph *g)
{
    return !hnsw_has_codes(g->hnsw);
}

static bool is_worth_it(const struct graph *g)
{
    const struct slots *s = &g->set->elements.slots;
    uint32_t n_pages = row_pages_for(&s->geometry, g->fresh_from);

    return hnsw_count(g->hnsw) > 0 && !g->is_going && !g->left &&
           graph_waiting(g) < s->n_live / UNLINKED_SHARE &&
           (!wants_copies(g) || mem_has_room(copies_bytes(g, n_pages)));
}

struct graph *graph_left_begin(struct vset *v)
{
    struct graph *g = v->graph;
    uint32_t n_words;

    if (!g || !is_worth_it(g)) {
        return NULL;
    }
    /* Rows may come to be linked until it rests: all there are are counted. */
    n_words = slots_n_blocks(&v->elements.slots) / 64 + 1;
    g->left = region_alloc(&v->memory, left_bytes(n_words), 1);
    if (!g->left) {
        return NULL;
    }
    memset(g->left, 0, left_bytes(n_words));
    g->left->n_words = n_words;
    return g;
}

bool graph_left_is_at_rest(const struct graph *g)
{
    return !g->job && !g->tail_job;
}

/* Memory for copies; the graph rests. fails  ERR_NOMEM. */
static enum err make_pages(struct graph *g)
{
    const struct slots *s = &g->set->elements.slots;
    struct region *r = &g->set->memory;
    struct graph_left *l = g->left;
    uint32_t n = row_pages_for(&s->geometry, g->fresh_from), i;

    l->from = (struct row_map){&s->geometry, s->dir->rows};
    l->pages = region_alloc(r, n * sizeof(*l->pages), 1);
    if (!l->pages) {
        return ERR_NOMEM;
    }
    memset(l->pages, 0, n * sizeof(*l->pages));
    l->n_pages = n;
    for (i = 0; i < n; i++) {
        l->pages[i] = region_alloc(r, page_bytes(&s->geometry, i), VEC_ALIGN);
        if (!l->pages[i]) {
            return ERR_NOMEM;
        }
    }
    return ERR_OK;
}

uint32_t graph_left_units(struct graph *g)
{
    g->left->n_slots = g->fresh_from;
    if (!wants_copies(g) || make_pages(g) != ERR_OK) {
        return 0;
    }
    return g->left->n_pages;
}

/* Rows that are held do not change meanwhile; of others copies are of no
 * meaning. */
void graph_left_unit(struct graph *g, uint32_t unit)
{
    const struct graph_left *l = g->left;
    const struct row_geometry *geometry = l->from.geometry;
    uint32_t first = row_page_first(geometry, unit);
    uint32_t n = row_page_count(geometry, unit), i;
    uint8_t *to = (uint8_t *)(uintptr_t)l->pages[unit];

    for (i = 0; i < n && first + i < l->n_slots; i++) {
        vec_copy_row(&g->set->format, row_map_at(&l->from, first + i),
                     to + (size_t)i * geometry->row_bytes);
    }
}

void graph_left_abandon(struct graph *g)
{
    graph_left_free_own(g);
}

/* ---- leaving ---------------------------------------------------------------
 */

static void mark(struct graph_left *l, uint32_t block)
{
    if (block / 64 < l->n_words) {
        atomic_fetch_or_explicit(&l->unlinked[block / 64],
                                 (uint64_t)1 << (block % 64),
                                 memory_order_relaxed);
    }
}

/* What waits to be linked. */
static void mark_tail(struct graph *g)
{
    struct graph_left *l = g->left;
    uint32_t block = g->fresh_from / SLOTS_BLOCK, i;

    for (; block / 64 < l->n_words && block % 64; block++) {
        mark(l, block);
    }
    for (i = block / 64; i < l->n_words; i++) {
        atomic_store_explicit(&l->unlinked[i], UINT64_MAX,
                              memory_order_relaxed);
    }
    for (i = g->late_from; i < g->late_n; i++) {
        mark(l, g->late->slots[i] / SLOTS_BLOCK);
    }
}

bool graph_left_leave(struct graph *g)
{
    const struct graph_left *l = g->left;
    bool has_copies = l->pages && l->n_pages && l->pages[l->n_pages - 1];

    if (g->dropped || (wants_copies(g) && !has_copies)) {
        return false;
    }
    mark_tail(g);
    g->left->n_unlinked = graph_waiting(g);
    graph_take_out(g);
    return true;
}

void graph_left_dismiss(struct graph *g)
{
    epoch_retire(g->keyspace->epoch, &g->retired, graph_reclaim, NULL);
}

const struct hnsw *graph_left_hnsw(const struct graph *g)
{
    return g->hnsw;
}

void graph_left_free(struct graph *g)
{
    graph_destroy(g);
}

/* ---- while it is the lists' ------------------------------------------------
 */

void graph_left_note_put(struct graph *g, slot_id slot)
{
    mark(g->left, slot / SLOTS_BLOCK);
    g->left->n_unlinked++;
}

uint64_t graph_left_unlinked_of(const struct graph *g, uint32_t word)
{
    struct graph_left_view view;

    graph_left_view_take(g, &view);
    return graph_left_unlinked(&view, word);
}

void graph_left_count(struct graph *g)
{
    const struct slots *s = &g->set->elements.slots;
    const struct slots_tail *t = s->blocks ? s->blocks->tail : NULL;
    uint32_t n = 0, i;

    for (i = 0; t && i < t->n_words; i++) {
        uint64_t tail =
            atomic_load_explicit(&t->words[i], memory_order_relaxed);

        n +=
            (uint32_t)__builtin_popcountll(tail & graph_left_unlinked_of(g, i));
    }
    g->left->n_unlinked = n * SLOTS_BLOCK;
}

void graph_left_view_take(const struct graph *g, struct graph_left_view *out)
{
    const struct graph_left *l = g->left;

    *out = (struct graph_left_view){
        .hnsw = g->hnsw,
        .start = hnsw_start(g->hnsw),
        .n_slots = l->n_slots,
        .rows = {&g->set->elements.slots.geometry, l->pages},
        .unlinked = l->unlinked,
        .n_words = l->n_words,
        .n_unlinked = l->n_unlinked,
    };
}
