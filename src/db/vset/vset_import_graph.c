/* The graph of a set that Redis wrote: see vset_load.h.
 *
 * Redis's links are ours but for their names. They are kept as words while the
 * set is read, since which slot a node is in is known when all are there, and
 * then put into rows: of Redis's levels, and as wide as its longest. So nothing
 * is searched for, and the set is searched through its graph at once.
 *
 * A graph is kept if it leads everywhere, or nearly, from where a search starts
 * (what it does not lead to is linked by a walk, as after a sweep), and if it
 * is large enough to be worth its pages. Otherwise the set is as one that was
 * filled by commands. */
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/mem_map.h"
#include "db/search/search_impl.h"
#include "db/vset/vset_load.h"

enum {
    PAGE_SLOTS = 1024,
    LOST_SHARE = 100,      /* one in so many nodes may be out of reach */
    FILLED_SHARE = 32,     /* of the room for links, that they are to fill */
    TABLE_SHARE = 4,       /* ids that a table is made for, for each node */
    TABLE_SLACK = 1024,    /* and so many besides */
    WALK_STEPS = 4096,     /* between two looks at the time */
    LEARN_FROM = 128,      /* nodes: what tells how the rows are spread */
    EF = 200,              /* of what is linked later */
    MAPPED_FROM = 4 << 20, /* bytes of a buffer that has pages of its own */
};

/* ---- keeping links ------------------------------------------------------- */

enum err vset_links_begin(struct redis_links *l, uint32_t n, uint32_t m)
{
    uint32_t pages = (uint32_t)(((uint64_t)n + PAGE_SLOTS - 1) / PAGE_SLOTS);

    *l = (struct redis_links){.n = n, .m = m, .shape = {2 * m, m}};
    l->levels = mem_try_alloc(n);
    l->starts = mem_try_alloc(pages * sizeof(*l->starts));
    return l->levels && l->starts ? ERR_OK : ERR_NOMEM;
}

void vset_links_end(struct redis_links *l)
{
    mem_free(l->levels);
    mem_free(l->starts);
    buf_deinit(&l->words);
}

void vset_links_node(struct redis_links *l, slot_id slot, uint32_t level)
{
    l->levels[slot] = (uint8_t)level;
    /* The first one of its page that comes is the last in it. */
    if (slot + 1 == l->n || (slot + 1) % PAGE_SLOTS == 0) {
        l->starts[slot / PAGE_SLOTS] = l->words.len / sizeof(uint32_t);
    }
}

static void longest(uint32_t *most, uint32_t n)
{
    *most = n > *most ? n : *most;
}

void vset_links_row(struct redis_links *l, uint32_t level, const uint64_t *ids,
                    uint32_t n)
{
    uint32_t *words = (uint32_t *)(void *)buf_room(
        &l->words, (1 + (size_t)n) * sizeof(uint32_t));
    uint32_t i;

    words[0] = n;
    for (i = 0; i < n; i++) {
        words[1 + i] = (uint32_t)ids[i];
    }
    l->words.len += (1 + (size_t)n) * sizeof(uint32_t);
    l->n_links += n;
    longest(level ? &l->shape.upper_links : &l->shape.row_links, n);
}

/* ---- which slot a node is in --------------------------------------------- */

/* By the lower halves of ids, which are told apart by them. */
struct slots_of {
    uint32_t first; /* id of the table's first entry */
    uint32_t *table;
    uint64_t *pairs; /* where ids are too far apart for one: id above slot */
    uint32_t n_table, n_pairs;
};

/* The range of ids; false when their lower halves do not tell them apart. */
static bool find_range(const uint64_t *ids, uint32_t n, struct rdb_in *in,
                       uint64_t *least, uint64_t *most)
{
    uint32_t i;

    *least = UINT64_MAX;
    *most = 0;
    for (i = 0; i < n; i++) {
        *least = ids[i] < *least ? ids[i] : *least;
        *most = ids[i] > *most ? ids[i] : *most;
        vset_import_pause(in, i);
    }
    return *most - *least < UINT32_MAX;
}

static bool make_table(struct slots_of *s, const uint64_t *ids, uint32_t n,
                       struct rdb_in *in)
{
    uint32_t i;

    s->table = mem_try_alloc(s->n_table * sizeof(*s->table));
    if (!s->table) {
        return false;
    }
    for (i = 0; i < s->n_table; i++) {
        s->table[i] = SLOT_NONE;
        vset_import_pause(in, i);
    }
    for (i = 0; i < n; i++) {
        s->table[(uint32_t)ids[i] - s->first] = i;
        vset_import_pause(in, i);
    }
    return true;
}

static bool make_pairs(struct slots_of *s, const uint64_t *ids, uint32_t n,
                       struct rdb_in *in)
{
    uint32_t i;

    s->pairs = mem_try_alloc(n * sizeof(*s->pairs));
    if (!s->pairs) {
        return false;
    }
    for (i = 0; i < n; i++) {
        s->pairs[i] = (uint64_t)((uint32_t)ids[i] - s->first) << 32 | i;
        vset_import_pause(in, i);
    }
    return vset_import_sort(&s->pairs, n, 32, in);
}

/* In slices: the loop has others to serve. */
static bool slots_of_begin(struct slots_of *s, const uint64_t *ids, uint32_t n,
                           struct rdb_in *in)
{
    uint64_t least, most;

    *s = (struct slots_of){.first = 0};
    if (!find_range(ids, n, in, &least, &most)) {
        return false;
    }
    s->first = (uint32_t)least;
    if (most - least < (uint64_t)TABLE_SHARE * n + TABLE_SLACK) {
        s->n_table = (uint32_t)(most - least + 1);
        return make_table(s, ids, n, in) && !in->err;
    }
    s->n_pairs = n;
    return make_pairs(s, ids, n, in) && !in->err;
}

static void slots_of_end(struct slots_of *s)
{
    mem_free(s->table);
    mem_free(s->pairs);
}

/* SLOT_NONE: there is no such node. */
static slot_id slot_of(const struct slots_of *s, uint32_t id)
{
    uint32_t low = 0, high = s->n_pairs;

    id -= s->first;
    if (s->table) {
        return id < s->n_table ? s->table[id] : SLOT_NONE;
    }
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (s->pairs[mid] >> 32 < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < s->n_pairs && s->pairs[low] >> 32 == id
               ? (slot_id)s->pairs[low]
               : SLOT_NONE;
}

/* ---- making rows --------------------------------------------------------- */

struct rows {
    const struct redis_links *links;
    const struct slots_of *slots;
    struct hnsw *h;
    _Atomic uint32_t n_nodes;
};

/* Ids become slots where they are. Returns how many words a row takes; 0: it
 * leads to no node. */
static size_t make_row(const struct rows *r, slot_id slot, int level,
                       uint32_t *words)
{
    uint32_t n = words[0], i;

    for (i = 1; i <= n; i++) {
        words[i] = slot_of(r->slots, words[i]);
        if (words[i] == SLOT_NONE) {
            return 0;
        }
    }
    hnsw_image_take_row(r->h, slot, level, words + 1, n);
    return 1 + (size_t)n;
}

/* Words that are rows now are of no more use. */
static void give_back(const struct redis_links *l, uint32_t *from, uint32_t *to)
{
    size_t bytes = (size_t)(to - from) * sizeof(*from);

    if (l->words.cap >= MAPPED_FROM) {
        (void)mem_discard(from, bytes);
    }
}

/* A page of slots, which came from its end to its beginning. */
static const char *make_rows(void *arg, uint32_t *slot, uint32_t end,
                             struct search_scratch *scratch)
{
    struct rows *r = arg;
    const struct redis_links *l = r->links;
    uint32_t *first =
        (uint32_t *)(void *)l->words.data + l->starts[*slot / PAGE_SLOTS];
    uint32_t *words = first;
    struct hnsw_image_part part = {0, false};

    (void)scratch;
    for (; end > *slot; end--) {
        int level;

        hnsw_image_take(r->h, end - 1, &part);
        for (level = 0; level <= l->levels[end - 1]; level++) {
            size_t n = make_row(r, end - 1, level, words);

            if (n == 0) {
                return "a link leads to no node";
            }
            words += n;
        }
    }
    give_back(l, first, words);
    atomic_fetch_add_explicit(&r->n_nodes, part.n_nodes, memory_order_relaxed);
    return NULL;
}

static bool make_all_rows(const struct redis_links *l, struct vset *v,
                          struct hnsw *h, const uint64_t *ids,
                          struct pool *crew, struct rdb_in *in)
{
    struct slots_of slots;
    struct rows r = {l, &slots, h, 0};
    struct slot_work w = {make_rows, &r, l->n, PAGE_SLOTS, crew};
    bool fine = slots_of_begin(&slots, ids, l->n, in);
    uint32_t at;

    if (fine) {
        fine = !vset_load_each(&w, in, v->keyspace, &at) && !in->err;
        hnsw_image_add(h, &(struct hnsw_image_part){.n_nodes = r.n_nodes});
    }
    slots_of_end(&slots);
    return fine;
}

/* ---- whether it is worth it ---------------------------------------------- */

/* Room is in proportion to links, and so to the input. */
static bool is_worth_it(const struct redis_links *l, const struct hnsw *h)
{
    size_t room = hnsw_image_shape_bytes(h, &l->shape, l->levels, l->n);

    return graph_fills(l->n,
                       (l->n + PAGE_SLOTS - 1) / PAGE_SLOTS * PAGE_SLOTS) &&
           room / FILLED_SHARE <= l->n_links * sizeof(uint32_t) &&
           mem_has_room(room);
}

/* As Redis does: of those of the highest level the one that came first. */
static uint32_t entry_of(const struct redis_links *l)
{
    uint32_t entry = l->n - 1, i;

    for (i = l->n - 1; i > 0; i--) {
        if (l->levels[i - 1] > l->levels[entry]) {
            entry = i - 1;
        }
    }
    return entry;
}

/* Counts what no path leads to. */
static bool walk(struct hnsw *h, struct rdb_in *in, size_t *n_lost)
{
    struct hnsw_walk *w = hnsw_walk_begin(h);
    const struct hnsw_lost *lost;

    if (!w) {
        return false;
    }
    while (hnsw_walk_step(w, WALK_STEPS) && !in->err) {
        rdb_yield(in);
    }
    *n_lost = hnsw_walk_lost(w, &lost);
    hnsw_walk_end(w);
    return !in->err;
}

static void learn(struct vset *v, struct hnsw *h, struct rdb_in *in)
{
    const struct slots *s = &v->elements.slots;
    struct row_map rows = {&s->geometry, s->dir->rows};
    struct search_scratch *scratch = v->keyspace->searches->scratch;
    uint32_t step = s->n_slots / LEARN_FROM + 1, node;

    for (node = 0; node < s->n_slots; node += step) {
        hnsw_image_learn(h, &rows, node, scratch->hnsw);
        rdb_yield(in);
    }
}

/* ---- all of it ----------------------------------------------------------- */

static bool make_graph(struct redis_links *l, struct vset *v, struct graph *g,
                       const uint64_t *ids, struct rdb_in *in, size_t *n_lost)
{
    struct hnsw *h = graph_image_hnsw(g);
    struct pool *crew = vset_load_crew(v, l->n);
    uint32_t at;

    if (!is_worth_it(l, h) ||
        hnsw_image_room_as(h, &l->shape, l->levels, l->n) != ERR_OK ||
        !make_all_rows(l, v, h, ids, crew, in) ||
        vset_load_check_nodes(v, h, crew, in, &at) ||
        hnsw_image_enter(h, entry_of(l)) || !walk(h, in, n_lost) ||
        *n_lost > l->n / LOST_SHARE) {
        return false;
    }
    learn(v, h, in);
    return true;
}

void vset_links_install(struct redis_links *l, struct vset *v,
                        const uint64_t *ids, struct rdb_in *in)
{
    struct graph *g = graph_image_begin(v, l->m, EF);
    size_t n_lost;

    if (g && (!make_graph(l, v, g, ids, in, &n_lost) ||
              graph_image_install(g, l->n, n_lost > 0) != ERR_OK)) {
        graph_image_abandon(g);
    }
}
