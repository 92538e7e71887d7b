/* Searching the graph: a greedy walk down the levels, then a beam on level 0.
 *
 * The beam is one sorted array of the ef nearest nodes met, with a mark on
 * those whose links have been followed. Most of a search is waiting for memory,
 * so it works ahead by two rounds: while the rows of one round are scored,
 * those of the next come in, and the links of the round after that. A round so
 * is chosen without knowing what the two before it bring, which takes about one
 * node in fifty for nothing. From a pool of some nodes on a round follows the
 * links of two. Nodes that are near enough are sorted and merged into the array
 * in one pass from its end.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum {
    EXACT_MAX = 8 << 20, /* nodes that have a visited mark each */
    PLACES = 1 << 16,    /* for the nodes of greater graphs */
    PREFETCH_MAX = 512,  /* bytes of a row; the processor goes on by itself */
    ROW_MIN = 64,        /* ids that are scored at a time, at least */
    STRIDE_MAX = 2,      /* nodes whose links are followed at a time */
    STRIDE_FROM = 32,    /* nodes in the pool, to go on from two at a time */
    SORT_SHORT = 128,    /* entries that are sorted by insertion, at most */
    STOP_EVERY = 64,     /* rounds; a power of two */
    ANCHOR_MIN = 10,     /* the nearest few are too near or too far */
    SPREAD_UNIT = 1 << 16,
    SPREAD_MIN = 64, /* pools, before they are believed */
    HOPS_SHARE = 4,  /* one in so many of ef is gone through in any case */
};

/* ---- scratch ----------------------------------------------------------- */

struct hnsw_scratch *hnsw_scratch_create(void)
{
    struct hnsw_scratch *s = mem_calloc(1, sizeof(*s));

    hnsw_scratch_limit(s, EXACT_MAX, PLACES);
    return s;
}

void hnsw_scratch_limit(struct hnsw_scratch *s, size_t exact_max,
                        uint32_t places)
{
    s->exact_max = exact_max;
    s->places = places;
}

void hnsw_scratch_destroy(struct hnsw_scratch *s)
{
    mem_free(s->visited);
    mem_free(s->last_seen);
    mem_free(s->pool);
    mem_free(s->ids);
    mem_free(s->rows);
    mem_free(s->keys);
    mem_free(s->near);
    mem_free(s->winners);
    mem_free(s->failing);
    mem_free(s->chosen);
    mem_free(s->choose_rows);
    mem_free(s->choose_at);
    mem_free(s->choose_keys);
    mem_free(s->choose_query);
    mem_free(s->plan_query);
    mem_free(s->floats);
    mem_free(s->merge);
    mem_free(s->fresh);
    mem_free(s);
}

static size_t grown(size_t want)
{
    return want + want / 2;
}

static void fit_visited(struct hnsw_scratch *s, size_t n)
{
    if (s->visited_cap < n) {
        s->visited_cap = grown(n);
        mem_free(s->visited);
        s->visited = mem_calloc(s->visited_cap, 1);
        s->visit = 0;
    }
}

void hnsw_scratch_fit(struct hnsw_scratch *s, const struct hnsw *h, size_t ef)
{
    size_t nodes = node_room(h);
    size_t row = STRIDE_MAX * (size_t)h->row_links;

    row = row < ROW_MIN ? ROW_MIN : row;
    s->lossy = nodes > s->exact_max;
    if (s->lossy && !s->last_seen) {
        s->last_seen = mem_calloc(s->places, sizeof(*s->last_seen));
    }
    if (!s->lossy) {
        fit_visited(s, nodes);
    }
    if (s->pool_cap < ef + h->row_links) {
        s->pool_cap = grown(ef + h->row_links);
        s->pool = mem_realloc(s->pool, s->pool_cap * sizeof(*s->pool));
    }
    if (s->row_cap < row) {
        s->row_cap = row;
        s->ids = mem_realloc(s->ids, 2 * s->row_cap * sizeof(*s->ids));
        s->rows = mem_realloc(s->rows, 2 * s->row_cap * sizeof(*s->rows));
        s->keys = mem_realloc(s->keys, s->row_cap * sizeof(*s->keys));
        s->near = mem_realloc(s->near, s->row_cap * sizeof(*s->near));
        s->winners = mem_realloc(s->winners, s->row_cap * sizeof(*s->winners));
    }
}

uint32_t *hnsw_scratch_fit_failing(struct hnsw_scratch *s, const struct hnsw *h,
                                   size_t more, size_t *cap)
{
    *cap = h->row_links + more;
    if (s->cap_failing < *cap) {
        s->cap_failing = *cap;
        s->failing =
            mem_realloc(s->failing, s->cap_failing * sizeof(*s->failing));
    }
    return s->failing;
}

/* A new search: nothing has been visited. */
void hnsw_visit_begin(struct hnsw_scratch *s)
{
    if (s->lossy) {
        s->lossy_visit = (s->lossy_visit + 1) % LOSSY_VISITS;
        if (s->lossy_visit == 0) {
            memset(s->last_seen, 0, s->places * sizeof(*s->last_seen));
            s->lossy_visit = 1;
        }
        return;
    }
    if (++s->visit == 0) {
        memset(s->visited, 0, s->visited_cap);
        s->visit = 1;
    }
}

void hnsw_meet_begin(struct hnsw_scratch *s, uint32_t n)
{
    s->lossy = false;
    fit_visited(s, n);
    hnsw_visit_begin(s);
}

bool hnsw_meet(struct hnsw_scratch *s, uint32_t number)
{
    bool first = s->visited[number] != s->visit;

    s->visited[number] = s->visit;
    return first;
}

/* ---- the pool ---------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

void hnsw_sort_entries(uint64_t *v, size_t n)
{
    size_t i, j;

    if (n > SORT_SHORT) {
        qsort(v, n, sizeof(*v), compare_entries);
        return;
    }

    for (i = 1; i < n; i++) {
        uint64_t entry = v[i];

        for (j = i; j > 0 && v[j - 1] > entry; j--) {
            v[j] = v[j - 1];
        }
        v[j] = entry;
    }
}

/* How many of the first n pool entries come before an entry. */
static size_t pool_place(const uint64_t *pool, size_t n, uint64_t entry)
{
    const uint64_t *base = pool;

    while (n > 1) {
        size_t half = n / 2;

        /* No jump, which would be foretold wrongly half the time. */
        base += half & -(size_t)(base[half - 1] < entry);
        n -= half;
    }
    return (size_t)(base - pool) + (n == 1 && *base < entry);
}

/* Merges sorted winners into the sorted pool and keeps the ef best; returns
 * where the first one came to lie. */
static size_t pool_merge(struct hnsw_scratch *s, const uint64_t *win, size_t n,
                         size_t ef)
{
    uint64_t *pool = s->pool;
    size_t total = s->n_pool + n;
    size_t from = s->n_pool;
    size_t to;

    /* Past ef the worst of both fall off the end. */
    while (total > ef) {
        if (from > 0 && (n == 0 || pool[from - 1] > win[n - 1])) {
            from--;
        } else {
            n--;
        }
        total--;
    }
    s->n_pool = total;
    to = total;
    while (n > 0) {
        size_t at = pool_place(pool, from, win[n - 1]);

        to = at + n;
        memmove(pool + to, pool + at, (from - at) * sizeof(*pool));
        from = at;
        pool[--to] = win[--n];
    }
    return to;
}

/* ---- walking ------------------------------------------------------------ */

/* Nodes whose rows are on their way from memory. */
struct hop {
    uint32_t *ids;
    const uint8_t **rows;
    size_t n;
};

/* Has a row come into the cache. */
ALWAYS_INLINE void fetch_row(const uint8_t *row, size_t bytes)
{
    size_t at;

    __builtin_prefetch(row);
    for (at = CACHE_LINE; at + CACHE_LINE < bytes && at < PREFETCH_MAX;
         at += CACHE_LINE) {
        __builtin_prefetch(row + at);
    }
    __builtin_prefetch(row + bytes - 1);
}

/* Where the rows of a hop's nodes lie; has them come. */
static void fetch_rows(const struct beam *b, struct hop *hop)
{
    const struct hnsw *h = b->h;
    const size_t bytes = h->options.format->row_bytes;
    const uint32_t *ids = hop->ids;
    const uint8_t **rows = hop->rows;
    const size_t n = hop->n;
    const uint8_t *const *codes;
    size_t stride, i;

    if (!h->own_codes) {
        for (i = 0; i < n; i++) {
            rows[i] = row_map_at(b->rows, ids[i]);
            fetch_row(rows[i], bytes);
        }
        return;
    }
    codes = atomic_load_explicit(&h->dir, memory_order_acquire)->codes;
    stride = h->code_bytes;
    for (i = 0; i < n; i++) {
        rows[i] = codes[ids[i] / NODES_PER_PAGE] +
                  (size_t)(ids[i] % NODES_PER_PAGE) * stride;
        fetch_row(rows[i], bytes);
    }
}

/* Adds the neighbours of a node on a level that have not been visited, and
 * visits them. */
ALWAYS_INLINE void take_links(const struct beam *b, uint32_t node, int level,
                              bool lossy, struct hop *hop)
{
    const struct hnsw *h = b->h;
    const link *row =
        level == 0 ? base_links(h, node) : hnsw_row_of_links(h, node, level);
    const uint32_t n_links = links_on(h, level);
    const uint32_t n_slots = b->n_slots;
    /* Marks are bytes, which might be part of anything for all the compiler
     * knows; what the loop reads is kept out of their way. */
    uint8_t *const visited = b->s->visited;
    const uint8_t visit = b->s->visit;
    uint32_t *const ids = hop->ids;
    size_t n = hop->n;
    uint32_t i;

    for (i = 0; i < n_links; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        id &= ~LINK_CHAIN;
        if (LIKELY(id < n_slots)) {
            ids[n] = id;
            if (lossy) {
                n += hnsw_visit(b->s, id, true);
            } else {
                n += visited[id] != visit;
                visited[id] = visit;
            }
        }
    }
    hop->n = n;
}

static void take_neighbours(const struct beam *b, uint32_t node, int level,
                            struct hop *hop)
{
    if (UNLIKELY(b->s->lossy)) {
        take_links(b, node, level, true, hop);
    } else {
        take_links(b, node, level, false, hop);
    }
}

static void score(struct beam *b, const struct hop *hop)
{
    vec_gather_fetched(b->query, hop->rows, hop->n, b->s->keys);
    b->s->scored += (uint32_t)hop->n;
}

static struct hop first_hop(const struct hnsw_scratch *s)
{
    return (struct hop){s->ids, s->rows, 0};
}

/* Goes to the nearest neighbour as long as that is nearer. */
static uint64_t walk_level(struct beam *b, uint64_t best, int level)
{
    for (;;) {
        uint64_t start = best;
        struct hop hop = first_hop(b->s);
        size_t i;

        take_neighbours(b, pool_node(best), level, &hop);
        fetch_rows(b, &hop);
        score(b, &hop);
        b->s->hops++;
        for (i = 0; i < hop.n; i++) {
            uint64_t entry = pool_entry(b->s->keys[i], b->s->ids[i]);

            best = entry < best ? entry : best;
        }
        if (best == start) {
            return best;
        }
    }
}

bool hnsw_beam_descend(struct beam *b, int level)
{
    struct hnsw_scratch *s = b->s;
    uint64_t entry =
        b->start ? b->start - 1
                 : atomic_load_explicit(&b->h->entry, memory_order_acquire);
    struct hop hop = first_hop(s);
    uint64_t best;
    int at;

    s->n_pool = 0;
    /* Nodes of higher levels than the entry's lead nowhere there. */
    if (entry == ENTRY_NONE || entry_node(entry) >= b->n_slots ||
        entry_level(entry) < level) {
        return false;
    }
    hnsw_visit_begin(s);
    s->ids[0] = entry_node(entry);
    s->rows[0] = node_row(b->h, b->rows, s->ids[0]);
    hop.n = 1;
    score(b, &hop);
    best = pool_entry(s->keys[0], s->ids[0]);
    for (at = entry_level(entry); at > level; at--) {
        best = walk_level(b, best, at);
    }
    s->pool[0] = best;
    s->n_pool = 1;
    return true;
}

/* Drops winners that are in the pool or among themselves twice. */
static size_t drop_known(const struct hnsw_scratch *s, size_t n)
{
    size_t kept = 0, i;

    for (i = 0; i < n; i++) {
        uint64_t entry = s->winners[i];
        size_t at = pool_place(s->pool, s->n_pool, entry);

        if ((at == s->n_pool ||
             (s->pool[at] | POOL_DONE) != (entry | POOL_DONE)) &&
            (kept == 0 || s->winners[kept - 1] != entry)) {
            s->winners[kept++] = entry;
        }
    }
    return kept;
}

/* What comes later than that is of no use: the pool has ef better ones, or the
 * search would end before it went through it. */
static uint64_t last_wanted(const struct beam *b, size_t ef)
{
    const struct hnsw_scratch *s = b->s;
    uint64_t last = s->n_pool < ef ? UINT64_MAX : s->pool[s->n_pool - 1];
    uint64_t kept, end;
    float near;

    if (!b->anchor || s->n_pool < b->keep) {
        return last;
    }
    near = pool_key(s->pool[b->anchor - 1]);
    if (!(near > 0)) {
        return last;
    }
    kept = s->pool[b->keep - 1];
    end = pool_entry(b->far * near, UINT32_MAX >> 1);
    end = end > kept ? end : kept;
    return end < last ? end : last;
}

/* Of the neighbours just scored those that belong into the pool, sorted. */
static size_t take_winners(struct beam *b, const struct hop *hop, size_t ef)
{
    struct hnsw_scratch *s = b->s;
    uint64_t worst = last_wanted(b, ef);
    size_t n, n_win = 0;
    size_t i;

    n = vec_select(s->keys, hop->n,
                   worst == UINT64_MAX ? INFINITY : pool_key(worst), s->near);
    b->left_out |= n < hop->n;
    for (i = 0; i < n; i++) {
        uint32_t at = s->near[i];
        uint64_t entry = pool_entry(s->keys[at], hop->ids[at]);

        s->winners[n_win] = entry;
        n_win += entry < worst;
    }
    hnsw_sort_entries(s->winners, n_win);
    return s->lossy ? drop_known(s, n_win) : n_win;
}

/* Scores and adds what a hop brought; returns where the pool changed. */
static size_t land(struct beam *b, const struct hop *hop, size_t ef)
{
    struct hnsw_scratch *s = b->s;
    size_t n_win;

    score(b, hop);
    n_win = take_winners(b, hop, ef);
    return n_win ? pool_merge(s, s->winners, n_win, ef) : SIZE_MAX;
}

size_t hnsw_beam_offer(struct beam *b, size_t n, size_t ef)
{
    struct hop hop = first_hop(b->s);

    hop.n = n;
    hnsw_rows_of(b->h, b->rows, hop.ids, n, hop.rows);
    return land(b, &hop, ef);
}

size_t hnsw_next_open(const struct hnsw_scratch *s, size_t at)
{
    while (at < s->n_pool && (s->pool[at] & POOL_DONE)) {
        at++;
    }
    return at;
}

void hnsw_note_spread(struct hnsw *h, const struct hnsw_scratch *s)
{
    size_t last = s->n_pool - 1;
    float near, far;

    if (s->n_pool < 2 * (size_t)ANCHOR_MIN ||
        h->options.format->metric == VEC_IP) {
        return;
    }
    near = pool_key(s->pool[ANCHOR_MIN - 1]);
    far = pool_key(s->pool[last]);
    /* Copies of one vector say nothing; keys of VEC_IP have no zero. */
    if (near > 0 && far < 1e6F * near) {
        double slope = log((double)far / (double)near) /
                       log((double)s->n_pool / ANCHOR_MIN);

        /* Whole numbers: the sum does not depend on the order. */
        atomic_fetch_add_explicit(&h->spread_sum,
                                  (uint64_t)(slope * SPREAD_UNIT),
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&h->spread_n, 1, memory_order_relaxed);
    }
}

float hnsw_spread(const struct hnsw *h, double ef, double k)
{
    uint64_t sum = atomic_load_explicit(&h->spread_sum, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(&h->spread_n, memory_order_relaxed);

    if (n < SPREAD_MIN) {
        return INFINITY;
    }
    return (float)pow(ef / k, (double)sum / n / SPREAD_UNIT);
}

bool hnsw_beam_ends(const struct beam *b, size_t anchor, size_t next)
{
    const struct hnsw_scratch *s = b->s;
    float near;

    if (s->hops < b->hops_least || next >= s->n_pool || s->n_pool < anchor) {
        return false;
    }
    near = pool_key(s->pool[anchor - 1]);
    return near > 0 && pool_key(s->pool[next]) > b->far * near;
}

/* Marks the nearest nodes that have not been gone through and fetches their
 * links. */
static uint32_t choose_next(struct beam *b, int level, size_t *next,
                            uint32_t *nodes)
{
    struct hnsw_scratch *s = b->s;
    uint32_t most = s->n_pool < STRIDE_FROM ? 1 : STRIDE_MAX;
    uint32_t n = 0;

    if (b->anchor && hnsw_beam_ends(b, b->anchor, *next)) {
        return 0;
    }
    while (n < most && *next < s->n_pool) {
        uint32_t node = pool_node(s->pool[*next]);

        if (level == 0) {
            hnsw_prefetch_links(b->h, node);
        }
        nodes[n++] = node;
        s->pool[*next] |= POOL_DONE;
        *next = hnsw_next_open(s, *next + 1);
    }
    return n;
}

void hnsw_beam_widen(struct beam *b, int level, size_t ef)
{
    struct hnsw_scratch *s = b->s;
    struct hop hops[2] = {
        {s->ids, s->rows, 0},
        {s->ids + s->row_cap, s->rows + s->row_cap, 0},
    };
    uint32_t nodes[STRIDE_MAX];
    uint32_t n_nodes = 0;
    uint32_t rounds = 0;
    size_t next = 0;
    size_t i;
    int round;

    /* The levels above may have visited nodes of this one: start anew. */
    hnsw_visit_begin(s);
    for (i = 0; i < s->n_pool; i++) {
        s->pool[i] &= ~(uint64_t)POOL_DONE;
        hnsw_visit(s, pool_node(s->pool[i]), s->lossy);
    }
    for (round = 0;; round ^= 1) {
        struct hop *coming = &hops[round];
        const struct hop *here = &hops[round ^ 1];

        coming->n = 0;
        for (i = 0; i < n_nodes; i++) {
            take_neighbours(b, nodes[i], level, coming);
        }
        fetch_rows(b, coming);
        s->hops += n_nodes;
        if (++rounds % STOP_EVERY == 0 && b->stop && b->stop(b->arg)) {
            return;
        }
        n_nodes = choose_next(b, level, &next, nodes);
        if (here->n) {
            size_t at = land(b, here, ef);

            next = hnsw_next_open(s, at < next ? at : next);
        } else if (!coming->n && !n_nodes) {
            return;
        }
    }
}

/* Says when the search may end; returns the size of its pool: some searches
 * then go on for longer than ef. */
static size_t plan_end(struct beam *b, const struct hnsw_search *q)
{
    size_t k = q->k < ANCHOR_MIN ? ANCHOR_MIN : q->k;

    if (!q->k || q->ef <= k) {
        return q->ef;
    }
    b->far = hnsw_spread(b->h, q->ef, (double)k);
    if (isinf(b->far)) {
        return q->ef;
    }
    b->anchor = k;
    b->hops_least = q->ef / HOPS_SHARE;
    /* Of the want and the k that k stands for some may not be admitted; a pool
     * with nodes that fail a filter is as long as it is for those that pass. */
    b->keep = q->want + k > b->hops_least ? q->want + k : b->hops_least;
    b->keep = q->two_hop || !q->want ? SIZE_MAX : b->keep;
    return q->ef + q->ef / 2 * 3;
}

/* The nodes of the pool that are admitted. */
static void take_found(struct hnsw_search *q, struct hnsw_scratch *s)
{
    const size_t want = q->want ? q->want : SIZE_MAX;
    size_t i, n = 0;

    for (i = 0; i < s->n_pool && n < want; i++) {
        uint32_t node = pool_node(s->pool[i]);

        if (!q->admits || q->admits(q->arg, node)) {
            s->pool[n++] = (s->pool[i] & ~(uint64_t)UINT32_MAX) | node;
        }
    }
    q->found = s->pool;
    q->n_found = n;
}

void hnsw_search(const struct hnsw *h, struct hnsw_search *q,
                 struct hnsw_scratch *s)
{
    struct beam b = {.h = h,
                     .query = q->query,
                     .rows = &q->rows,
                     .n_slots = q->n_slots,
                     .s = s,
                     .start = q->start,
                     .stop = q->stop,
                     .arg = q->arg};
    const size_t ef = plan_end(&b, q);

    hnsw_scratch_fit(s, h, ef + HNSW_TWO_HOP_EXTRA);
    /* Nodes that get a page from here on were in the tail when the search was
     * dispatched. */
    b.n_slots =
        b.n_slots < s->visited_cap ? b.n_slots : (uint32_t)s->visited_cap;
    s->scored = 0;
    s->hops = 0;
    s->n_pool = 0;
    q->asked = 0;
    q->gave_up = false;
    if (hnsw_beam_descend(&b, 0)) {
        if (q->two_hop) {
            hnsw_beam_widen_passing(&b, q, ef);
        } else {
            hnsw_beam_widen(&b, 0, ef);
        }
    }
    q->exhausted = s->n_pool < ef && !q->two_hop && !b.left_out &&
                   hnsw_next_open(s, 0) == s->n_pool;
    q->met = s->n_pool;
    q->scored = s->scored;
    q->hops = s->hops;
    take_found(q, s);
}
