/* The inside of the graph: shared by hnsw*.c. */
#ifndef VECTRA_INDEX_HNSW_HNSW_IMPL_H
#define VECTRA_INDEX_HNSW_HNSW_IMPL_H

#include <stdatomic.h>

#include "index/hnsw/hnsw.h"
#include "index/topk.h"

#define LINK_NONE  UINT32_MAX          /* ends a row */
#define LINK_CHAIN ((uint32_t)1 << 31) /* to the next row of equal bytes */

enum {
    NODES_PER_PAGE = 1024,
    PAGE_WORDS = NODES_PER_PAGE / 64,
    UNITS_PER_PAGE = 64, /* of a sweep: 16 rows, up to 1 ms at 1,536
                          * dimensions when many are hurt */
};

typedef _Atomic uint32_t link;

struct node_page {
    link *links;        /* NODES_PER_PAGE rows of level 0 */
    uint8_t *codes;     /* NULL when the graph has none of its own */
    link *upper;        /* rows of the upper levels */
    uint32_t *upper_at; /* per node with upper levels: its first row */
    uint32_t n_upper_rows;
    uint32_t n_upper_nodes;
    uint64_t has_upper[PAGE_WORDS];
    uint16_t upper_before[PAGE_WORDS]; /* such nodes in the words before */
    uint64_t linked[PAGE_WORDS];       /* the owner's: nodes in the graph */
    uint64_t chained[PAGE_WORDS];      /* of them, those behind an equal one */
};

struct node_dir {
    struct retired retired;
    struct region *region;
    uint32_t cap;
    /* Of each page once more, since searches come for these alone. */
    link **links;
    const uint8_t **codes;     /* NULL without own codes */
    struct node_page *pages[]; /* cap, then as many entries of the others */
};

/* Where a search starts. */
#define ENTRY_NONE UINT64_MAX
ALWAYS_INLINE uint64_t entry_of(uint32_t node, int level)
{
    return (uint64_t)(unsigned)level << 32 | node;
}
ALWAYS_INLINE uint32_t entry_node(uint64_t entry)
{
    return (uint32_t)entry;
}
ALWAYS_INLINE int entry_level(uint64_t entry)
{
    return (int)(entry >> 32);
}

struct hnsw {
    struct hnsw_options options;
    uint32_t row_links;    /* of level 0 */
    uint32_t upper_links;  /* of each level above */
    bool has_levels;       /* of its own: those of nodes that have a page */
    const uint8_t *levels; /* of nodes below n_levels, while pages are made */
    uint32_t n_levels;
    bool own_codes;
    uint32_t code_bytes; /* from one row of own codes to the next */
    uint64_t level_cut;  /* see hnsw_level_of() */
    _Atomic(struct node_dir *) dir;
    _Atomic uint32_t n_pages; /* stored when the directory has them */
    uint32_t n_nodes;
    size_t page_bytes; /* of the region's */
    _Atomic uint64_t entry;
    /* Of the nodes linked so far: see hnsw_note_spread(). */
    _Atomic uint64_t spread_sum;
    _Atomic uint32_t spread_n;
};

/* ---- where things lie -------------------------------------------------- */

ALWAYS_INLINE struct node_page *page_of(const struct hnsw *h, uint32_t node)
{
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_acquire);

    return dir->pages[node / NODES_PER_PAGE];
}

ALWAYS_INLINE link *base_links(const struct hnsw *h, uint32_t node)
{
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_acquire);

    return dir->links[node / NODES_PER_PAGE] +
           (size_t)(node % NODES_PER_PAGE) * h->row_links;
}

/* A node's row on a level it has. */
link *hnsw_row_of_links(const struct hnsw *h, uint32_t node, int level);

ALWAYS_INLINE uint32_t links_on(const struct hnsw *h, int level)
{
    return level == 0 ? h->row_links : h->upper_links;
}

ALWAYS_INLINE const uint8_t *node_row(const struct hnsw *h,
                                      const struct row_map *rows, uint32_t node)
{
    if (h->own_codes) {
        return page_of(h, node)->codes +
               (size_t)(node % NODES_PER_PAGE) * h->code_bytes;
    }
    return row_map_at(rows, node);
}

/* The rows of n nodes. */
ALWAYS_INLINE void hnsw_rows_of(const struct hnsw *h,
                                const struct row_map *rows,
                                const uint32_t *nodes, size_t n,
                                const uint8_t **out)
{
    const uint8_t *const *codes;
    size_t i;

    if (!h->own_codes) {
        for (i = 0; i < n; i++) {
            out[i] = row_map_at(rows, nodes[i]);
        }
        return;
    }
    codes = atomic_load_explicit(&h->dir, memory_order_acquire)->codes;
    for (i = 0; i < n; i++) {
        out[i] = codes[nodes[i] / NODES_PER_PAGE] +
                 (size_t)(nodes[i] % NODES_PER_PAGE) * h->code_bytes;
    }
}

ALWAYS_INLINE uint32_t link_load(const link *l)
{
    return atomic_load_explicit(l, memory_order_acquire);
}

ALWAYS_INLINE void link_store(link *l, uint32_t value)
{
    atomic_store_explicit(l, value, memory_order_release);
}

ALWAYS_INLINE bool bit_test(const uint64_t *bits, uint32_t i)
{
    return bits && (bits[i / 64] >> (i % 64) & 1);
}

/* Makes room for nodes below n. fails  ERR_NOMEM. */
enum err hnsw_reserve(struct hnsw *h, uint32_t n) MUST_USE;

/* The same, for who has others fill in the rows of links: they lie in memory
 * that nobody has written to. */
enum err hnsw_reserve_apart(struct hnsw *h, uint32_t n) MUST_USE;

/* Nodes below it have a page. */
ALWAYS_INLINE uint32_t node_room(const struct hnsw *h)
{
    return atomic_load_explicit(&h->n_pages, memory_order_acquire) *
           NODES_PER_PAGE;
}

void hnsw_set_linked(struct hnsw *h, uint32_t node, bool on);

/* Whether a node is led to by the chain it hangs in only. */
bool hnsw_is_chained(const struct hnsw *h, uint32_t node);
void hnsw_set_chained(struct hnsw *h, uint32_t node, bool on);

/* Stores the code the graph compares a node by. */
void hnsw_store_code(struct hnsw *h, const struct row_map *rows, uint32_t node,
                     struct hnsw_scratch *s);

/* ---- scratch ----------------------------------------------------------- */

/* A pool entry: the key's sortable bits, the node, and whether its links have
 * been followed. */
#define POOL_DONE 1u
ALWAYS_INLINE uint64_t pool_entry(float key, uint32_t node)
{
    return (uint64_t)topk_key_bits(key) << 32 | (uint64_t)node << 1;
}
ALWAYS_INLINE uint32_t pool_node(uint64_t entry)
{
    return (uint32_t)entry >> 1;
}
ALWAYS_INLINE float pool_key(uint64_t entry)
{
    return topk_bits_key((uint32_t)(entry >> 32));
}

struct hnsw_scratch {
    /* Which nodes a search has seen: by node, the number of the search that saw
     * it. For graphs of more than exact_max nodes a table of the last seen, so
     * that a node may be seen again; the pool then rejects what it has. */
    uint8_t *visited;
    size_t visited_cap;
    uint8_t visit;
    bool lossy;
    uint32_t lossy_visit;
    uint32_t *last_seen;
    uint32_t places; /* in last_seen, a power of two */
    size_t exact_max;
    uint64_t *pool; /* sorted, best first */
    size_t pool_cap;
    size_t n_pool;
    /* Of one node's links. ids and rows have room for row_cap twice: a beam
     * collects the next node's while those before come from memory. */
    size_t row_cap;
    uint32_t *ids;
    const uint8_t **rows;
    float *keys;
    uint32_t *near;
    uint64_t *winners;
    uint32_t *failing; /* see hnsw_filter.c */
    size_t cap_failing;
    /* for choosing neighbours */
    size_t choose_cap;
    uint64_t *chosen;
    const uint8_t **choose_rows;
    uint32_t *choose_at;
    float *choose_keys;
    void *choose_query;
    void *plan_query;
    size_t query_cap;
    uint64_t *merge; /* candidates of one row */
    uint64_t *fresh; /* of them, those that are new */
    size_t merge_cap;
    float *floats; /* a stored row's components */
    size_t floats_cap;
    uint32_t scored;
    uint32_t hops;
};

/* Room for a search of a graph. */
void hnsw_scratch_fit(struct hnsw_scratch *s, const struct hnsw *h, size_t ef);

/* Room for a row's neighbours and so many more. */
uint32_t *hnsw_scratch_fit_failing(struct hnsw_scratch *s, const struct hnsw *h,
                                   size_t more, size_t *cap);

/* Room for choosing among n candidates, and for merging as many. */
void hnsw_scratch_fit_choice(struct hnsw_scratch *s, const struct hnsw *h,
                             size_t n);

void hnsw_sort_entries(uint64_t *v, size_t n);

/* Visits a node; true when this search had not seen it, or has forgotten. In
 * the table a node's place and its upper bits, which are kept there, tell
 * exactly which node it is. `lossy` is the scratch's. */
enum { NODE_UPPER = 1 << 15, LOSSY_VISITS = 1 << 17 };
ALWAYS_INLINE uint32_t *lossy_place(const struct hnsw_scratch *s, uint32_t node,
                                    uint32_t *mark)
{
    uint32_t upper = node / s->places;

    *mark = s->lossy_visit * NODE_UPPER + upper;
    return &s->last_seen[(node + upper * 40503u) & (s->places - 1)];
}

ALWAYS_INLINE bool hnsw_visit(struct hnsw_scratch *s, uint32_t node, bool lossy)
{
    bool fresh;

    if (lossy) {
        uint32_t mark;
        uint32_t *place = lossy_place(s, node, &mark);

        fresh = *place != mark;
        *place = mark;
        return fresh;
    }
    fresh = s->visited[node] != s->visit;
    s->visited[node] = s->visit;
    return fresh;
}

/* Whether a node has been visited, as far as remembered. */
ALWAYS_INLINE bool hnsw_was_visited(const struct hnsw_scratch *s, uint32_t node)
{
    if (s->lossy) {
        uint32_t mark;

        return *lossy_place(s, node, &mark) == mark;
    }
    return s->visited[node] == s->visit;
}

/* ---- searching --------------------------------------------------------- */

/* From here on nothing counts as visited. */
void hnsw_visit_begin(struct hnsw_scratch *s);

struct beam {
    const struct hnsw *h;
    const struct vec_query *query;
    const struct row_map *rows;
    uint32_t n_slots;
    struct hnsw_scratch *s;
    uint64_t start; /* see struct hnsw_search */
    bool (*stop)(const void *arg);
    const void *arg;
    /* When not 0, the search is over when the next node is so many times as far
     * away as the one in this place of the pool. */
    size_t anchor;
    float far;
    uint32_t hops_least; /* but not before it has gone through so many */
    size_t keep;   /* that many are kept, however far; the anchor among them */
    bool left_out; /* nodes that were scored are not in the pool */
};

/* Keys grow with rank, near a node of the set, about as a power of it; the
 * exponent says how long a search must go on. It is estimated from the pools
 * that nodes' links are chosen from: this notes one. */
void hnsw_note_spread(struct hnsw *h, const struct hnsw_scratch *s);

/* The factor by which the ef-th nearest is farther than the k-th; infinite when
 * nothing is known. */
float hnsw_spread(const struct hnsw *h, double ef, double k);

/* Starts with the nearest node a greedy walk finds on the levels above
 * `level`; false when the graph is empty or its entry is below. */
bool hnsw_beam_descend(struct beam *b, int level);

/* Widens the pool to the ef nearest on a level. */
void hnsw_beam_widen(struct beam *b, int level, size_t ef);

/* The same for nodes that pass, on level 0: see hnsw_filter.c. The pool has
 * HNSW_TWO_HOP_EXTRA more places, and nodes that fail among them. */
enum { HNSW_TWO_HOP_EXTRA = 16 };
void hnsw_beam_widen_passing(struct beam *b, struct hnsw_search *q, size_t ef);

/* Whether it is not worth it to go through the pool from `next` on; anchor says
 * which place counts. */
bool hnsw_beam_ends(const struct beam *b, size_t anchor, size_t next);

/* Scores the n <= row_cap nodes in scratch->ids, and keeps those near enough;
 * returns where the pool changed, SIZE_MAX for nowhere. */
size_t hnsw_beam_offer(struct beam *b, size_t n, size_t ef);

/* The first node of the pool, from `at` on, that has not been gone through. */
size_t hnsw_next_open(const struct hnsw_scratch *s, size_t at);

ALWAYS_INLINE void hnsw_prefetch_links(const struct hnsw *h, uint32_t node)
{
    const link *row = base_links(h, node);

    __builtin_prefetch((const void *)row);
    __builtin_prefetch((const void *)(row + 16));
}

/* ---- choosing neighbours ------------------------------------------------- */

/* How full a row is made when it overflowed: the next few links are cheap. */
ALWAYS_INLINE uint32_t links_wanted(const struct hnsw *h, int level)
{
    return level == 0 ? h->row_links - h->row_links / 8 : h->upper_links;
}

/* Writes a row: `chain` (LINK_NONE for none), then the nodes of entries. */
void hnsw_write_links(link *row, uint32_t cap, uint32_t chain,
                      const uint64_t *entries, size_t n);

/* Whether a row of n links has one to a node, marked or not. */
bool hnsw_row_has(const link *row, uint32_t n, uint32_t node);

/* The marked link of a row, LINK_NONE when there is none. */
uint32_t hnsw_chain_of(const struct hnsw *h, uint32_t node);

/* Of candidates (pool entries by distance from `node`, best first) takes at
 * most `want` that are nearer to the node than to any taken before: the
 * heuristic of the paper's algorithm 4; then the nearest others until there are
 * `least`. Returns how many are in scratch->chosen, best first. */
size_t hnsw_choose(const struct hnsw *h, const struct row_map *rows,
                   const uint64_t *candidates, size_t n, size_t want,
                   size_t least, struct hnsw_scratch *s);

/* How many links a row gets in any case, if there are so many candidates. */
ALWAYS_INLINE uint32_t links_least(const struct hnsw *h)
{
    return h->options.m - h->options.m / 4;
}

#endif
