/* The graph's memory: pages of link rows, levels, the directory. See hnsw.h. */
#include "index/hnsw/hnsw.h"

#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

enum {
    DIR_MIN = 8,
    DRAWN_LEVEL_MAX = 15,
};

/* ---- levels ------------------------------------------------------------ */

/* splitmix64 (Steele, Lea and Flood, 2014): every node's own random number. */
static uint64_t node_random(uint64_t seed, uint32_t node)
{
    uint64_t z = seed + ((uint64_t)node + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* One node in this many goes up a level. */
static uint32_t level_share(uint32_t m)
{
    return m < 64 ? m : 64;
}

int hnsw_level_of(uint64_t seed, uint32_t m, uint32_t node)
{
    uint64_t random = node_random(seed, node);
    uint64_t cut = UINT64_MAX / level_share(m);
    int level = 0;

    while (random < cut && level < DRAWN_LEVEL_MAX) {
        level++;
        cut /= level_share(m);
    }
    return level;
}

/* Of a page's nodes with upper levels, how many come before one. */
static uint32_t upper_before(const struct node_page *p, uint32_t at)
{
    uint64_t below = p->has_upper[at / 64] & (((uint64_t)1 << (at % 64)) - 1);

    return p->upper_before[at / 64] + (uint32_t)__builtin_popcountll(below);
}

/* What room there is in a page says which level a node has. */
static int level_in_page(const struct node_page *p, uint32_t at)
{
    uint32_t i;

    if (!bit_test(p->has_upper, at)) {
        return 0;
    }
    i = upper_before(p, at);
    return (
        int)((i + 1 < p->n_upper_nodes ? p->upper_at[i + 1] : p->n_upper_rows) -
             p->upper_at[i]);
}

int hnsw_level(const struct hnsw *h, uint32_t node)
{
    if (UNLIKELY(h->has_levels) && node < node_room(h)) {
        return level_in_page(page_of(h, node), node % NODES_PER_PAGE);
    }
    return hnsw_level_of(h->options.seed, h->options.m, node);
}

/* A node's level when its page is made. */
static int level_to_be(const struct hnsw *h, uint32_t node)
{
    return node < h->n_levels
               ? h->levels[node]
               : hnsw_level_of(h->options.seed, h->options.m, node);
}

/* ---- pages ------------------------------------------------------------- */

static size_t links_bytes(const struct hnsw *h)
{
    return (size_t)NODES_PER_PAGE * h->row_links * sizeof(link);
}

static size_t codes_bytes(const struct hnsw *h)
{
    return (size_t)NODES_PER_PAGE * h->code_bytes + h->options.format->overread;
}

static link *links_alloc(struct hnsw *h)
{
    return region_alloc(h->options.region, links_bytes(h), CACHE_LINE);
}

static uint8_t *codes_alloc(struct hnsw *h)
{
    return h->own_codes
               ? region_alloc(h->options.region, codes_bytes(h), CACHE_LINE)
               : NULL;
}

static void rows_free(struct hnsw *h, link *links, uint8_t *codes)
{
    region_free(h->options.region, (void *)links, links_bytes(h), CACHE_LINE);
    region_free(h->options.region, codes, codes_bytes(h), CACHE_LINE);
}

static size_t upper_bytes(const struct hnsw *h, const struct node_page *p)
{
    return (size_t)p->n_upper_rows * h->upper_links * sizeof(link);
}

static size_t upper_at_bytes(const struct node_page *p)
{
    return (size_t)p->n_upper_nodes * sizeof(uint32_t);
}

/* Of the region, without what is in upper rows. */
static size_t page_base_cost(const struct hnsw *h)
{
    return region_cost(sizeof(struct node_page), CACHE_LINE) +
           region_cost(links_bytes(h), CACHE_LINE) +
           (h->own_codes ? region_cost(codes_bytes(h), CACHE_LINE) : 0);
}

static size_t page_cost(const struct hnsw *h, const struct node_page *p)
{
    return page_base_cost(h) + (p->n_upper_nodes
                                    ? region_cost(upper_bytes(h, p), 1) +
                                          region_cost(upper_at_bytes(p), 1)
                                    : 0);
}

static void page_destroy(struct hnsw *h, struct node_page *p)
{
    struct region *r = h->options.region;

    rows_free(h, p->links, p->codes);
    region_free(r, (void *)p->upper, upper_bytes(h, p), 1);
    region_free(r, p->upper_at, upper_at_bytes(p), 1);
    region_free(r, p, sizeof(*p), CACHE_LINE);
}

/* Which nodes of a page have upper levels, and how many rows they need. */
static void page_levels(const struct hnsw *h, struct node_page *p,
                        uint32_t first)
{
    uint32_t i;

    for (i = 0; i < NODES_PER_PAGE; i++) {
        int level = level_to_be(h, first + i);

        if (i % 64 == 0) {
            p->upper_before[i / 64] = (uint16_t)p->n_upper_nodes;
        }
        if (level > 0) {
            p->has_upper[i / 64] |= (uint64_t)1 << (i % 64);
            p->n_upper_nodes++;
            p->n_upper_rows += (uint32_t)level;
        }
    }
}

/* links, codes: of the new page, or NULL. They are the page's either way. */
static struct node_page *page_create(struct hnsw *h, uint32_t index,
                                     link *links, uint8_t *codes)
{
    struct region *r = h->options.region;
    uint32_t first = index * NODES_PER_PAGE;
    uint32_t row = 0, n = 0, i;
    struct node_page *p = region_alloc(r, sizeof(*p), CACHE_LINE);

    if (!p) {
        rows_free(h, links, codes);
        return NULL;
    }
    memset(p, 0, sizeof(*p));
    page_levels(h, p, first);
    p->links = links ? links : links_alloc(h);
    p->codes = codes ? codes : codes_alloc(h);
    if (p->n_upper_nodes) {
        p->upper = region_alloc(r, upper_bytes(h, p), 1);
        p->upper_at = region_alloc(r, upper_at_bytes(p), 1);
    }
    if (!p->links || (h->own_codes && !p->codes) ||
        (p->n_upper_nodes && (!p->upper || !p->upper_at))) {
        page_destroy(h, p);
        return NULL;
    }
    /* A node's rows are written before anything leads to it (PLAN), so pages
     * are not: it would take long to fault them in here. */
    for (i = 0; i < NODES_PER_PAGE; i++) {
        int level = level_to_be(h, first + i);

        if (level > 0) {
            p->upper_at[n++] = row;
            row += (uint32_t)level;
        }
    }
    return p;
}

static size_t dir_bytes(uint32_t cap)
{
    return sizeof(struct node_dir) + 3 * cap * sizeof(void *);
}

static void dir_reclaim(struct retired *r, void *arg)
{
    struct node_dir *dir = CONTAINER_OF(r, struct node_dir, retired);

    (void)arg;
    region_free(dir->region, dir, dir_bytes(dir->cap), 1);
}

/* Readers may hold the old directory; for the nodes they can meet it is as
 * right as the new one. */
static enum err dir_grow(struct hnsw *h)
{
    struct node_dir *old = atomic_load_explicit(&h->dir, memory_order_relaxed);
    uint32_t cap = old ? old->cap * 2 : DIR_MIN;
    struct node_dir *dir = region_alloc(h->options.region, dir_bytes(cap), 1);

    if (!dir) {
        return ERR_NOMEM;
    }
    dir->region = h->options.region;
    dir->cap = cap;
    dir->links = (link **)(void *)(dir->pages + cap);
    dir->codes = (const uint8_t **)(void *)(dir->links + cap);
    if (old) {
        memcpy(dir->pages, old->pages, old->cap * sizeof(*dir->pages));
        memcpy((void *)dir->links, (void *)old->links,
               old->cap * sizeof(*dir->links));
        memcpy((void *)dir->codes, (void *)old->codes,
               old->cap * sizeof(*dir->codes));
    }
    atomic_store_explicit(&h->dir, dir, memory_order_release);
    if (old) {
        epoch_retire(h->options.epoch, &old->retired, dir_reclaim, NULL);
    }
    return ERR_OK;
}

static enum err add_page(struct hnsw *h, link *links, uint8_t *codes)
{
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_relaxed);
    uint32_t n_pages = h->n_pages;
    struct node_page *p;

    if ((!dir || n_pages == dir->cap) && dir_grow(h) != ERR_OK) {
        rows_free(h, links, codes);
        return ERR_NOMEM;
    }
    dir = atomic_load_explicit(&h->dir, memory_order_relaxed);
    p = page_create(h, n_pages, links, codes);
    if (!p) {
        return ERR_NOMEM;
    }
    h->page_bytes += page_cost(h, p);
    dir->links[n_pages] = p->links;
    dir->codes[n_pages] = p->codes;
    dir->pages[n_pages] = p;
    atomic_store_explicit(&h->n_pages, n_pages + 1, memory_order_release);
    return ERR_OK;
}

static uint32_t pages_for(uint32_t n)
{
    return (uint32_t)(((uint64_t)n + NODES_PER_PAGE - 1) / NODES_PER_PAGE);
}

static void expect_writes(const struct hnsw *h, uint32_t page)
{
    const struct hnsw_options *o = &h->options;
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_relaxed);
    struct node_page *p = dir->pages[page];

    if (o->expect) {
        o->expect(o->arg, (void *)p->links, links_bytes(h));
    }
    if (o->expect && h->own_codes) {
        o->expect(o->arg, p->codes, codes_bytes(h));
    }
}

enum err hnsw_reserve(struct hnsw *h, uint32_t n)
{
    enum err err = ERR_OK;

    while (!err && h->n_pages < pages_for(n)) {
        err = add_page(h, NULL, NULL);
        if (!err) {
            expect_writes(h, h->n_pages - 1);
        }
    }
    return err;
}

void hnsw_expect(struct hnsw *h, uint32_t n)
{
    (void)!hnsw_reserve(h, n); /* there is time for that */
}

/* What is written to in a page at once, and what is not, are not taken in turn:
 * they would lie side by side, and all of it be faulted in here. */
enum err hnsw_reserve_apart(struct hnsw *h, uint32_t n)
{
    struct {
        link *links;
        uint8_t *codes;
    } * rows;
    uint32_t more = pages_for(n) - h->n_pages, got = 0, i;
    enum err err = ERR_OK;

    if (pages_for(n) <= h->n_pages) {
        return ERR_OK;
    }
    rows = mem_try_alloc(more * sizeof(*rows));
    if (!rows) {
        return ERR_NOMEM;
    }
    for (; got < more && !err; got++) {
        rows[got].links = links_alloc(h);
        rows[got].codes = codes_alloc(h);
        if (!rows[got].links || (h->own_codes && !rows[got].codes)) {
            err = ERR_NOMEM;
        }
    }
    for (i = 0; i < got; i++) {
        if (err) {
            rows_free(h, rows[i].links, rows[i].codes);
        } else {
            err = add_page(h, rows[i].links, rows[i].codes);
        }
    }
    mem_free(rows);
    return err;
}

link *hnsw_row_of_links(const struct hnsw *h, uint32_t node, int level)
{
    const struct node_page *p;
    uint32_t row;

    if (level == 0) {
        return base_links(h, node);
    }
    p = page_of(h, node);
    row = p->upper_at[upper_before(p, node % NODES_PER_PAGE)] +
          (uint32_t)level - 1;
    return p->upper + (size_t)row * h->upper_links;
}

/* ---- nodes ------------------------------------------------------------- */

bool hnsw_is_linked(const struct hnsw *h, uint32_t node)
{
    uint32_t at = node % NODES_PER_PAGE;

    return node / NODES_PER_PAGE < h->n_pages &&
           bit_test(page_of(h, node)->linked, at);
}

void hnsw_set_linked(struct hnsw *h, uint32_t node, bool on)
{
    uint64_t *word = &page_of(h, node)->linked[node % NODES_PER_PAGE / 64];
    uint64_t bit = (uint64_t)1 << (node % 64);

    *word = on ? *word | bit : *word & ~bit;
}

bool hnsw_is_chained(const struct hnsw *h, uint32_t node)
{
    uint64_t word =
        __atomic_load_n(&page_of(h, node)->chained[node % NODES_PER_PAGE / 64],
                        __ATOMIC_RELAXED);

    return word >> (node % 64) & 1;
}

void hnsw_set_chained(struct hnsw *h, uint32_t node, bool on)
{
    uint64_t *word = &page_of(h, node)->chained[node % NODES_PER_PAGE / 64];
    uint64_t bit = (uint64_t)1 << (node % 64);

    /* One thread writes; the loop may be writing the graph down. */
    __atomic_store_n(word, on ? *word | bit : *word & ~bit, __ATOMIC_RELAXED);
}

/* ---- the graph --------------------------------------------------------- */

/* Short rows of codes begin with a cache line where that costs a fifth more
 * memory at most and saves a tenth of the lines read: a row anywhere touches
 * (row_bytes + 60) / 64 lines on average. */
static uint32_t code_stride(uint32_t row_bytes)
{
    uint32_t whole = (row_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;

    return whole - row_bytes <= row_bytes / 5 &&
                   10 * (row_bytes + CACHE_LINE - 4) >= 11 * whole
               ? whole
               : row_bytes;
}

static void init(struct hnsw *h, const struct hnsw_options *o)
{
    memset(h, 0, sizeof(*h));
    h->options = *o;
    h->row_links = 2 * o->m;
    h->upper_links = o->m;
    h->own_codes = o->format->type != o->stored->type;
    h->code_bytes = h->own_codes ? code_stride(o->format->row_bytes) : 0;
}

/* Pages differ in how many nodes have upper levels: a few tell the mean. */
size_t hnsw_bytes_for(const struct hnsw_options *o, uint32_t n)
{
    enum { SAMPLE = 4 };
    uint32_t pages = pages_for(n);
    uint32_t cap = DIR_MIN, sample = pages < SAMPLE ? pages : SAMPLE, i;
    struct hnsw h;
    size_t page, upper = 0;

    init(&h, o);
    page = page_base_cost(&h);
    for (i = 0; i < sample; i++) {
        struct node_page p = {.n_upper_nodes = 0};

        page_levels(&h, &p, i * NODES_PER_PAGE);
        upper += region_cost(upper_bytes(&h, &p), 1) +
                 region_cost(upper_at_bytes(&p), 1);
    }
    while (cap < pages) {
        cap *= 2;
    }
    return region_cost(sizeof(h), CACHE_LINE) + region_cost(dir_bytes(cap), 1) +
           pages * page +
           (sample ? (size_t)((double)upper / sample * pages) : 0);
}

struct hnsw *hnsw_create(const struct hnsw_options *o)
{
    struct hnsw *h = region_alloc(o->region, sizeof(*h), CACHE_LINE);

    ASSERT(o->m >= HNSW_M_MIN && o->m <= HNSW_M_MAX);
    if (!h) {
        return NULL;
    }
    init(h, o);
    atomic_init(&h->dir, NULL);
    atomic_init(&h->n_pages, 0);
    atomic_init(&h->entry, ENTRY_NONE);
    atomic_init(&h->spread_sum, 0);
    atomic_init(&h->spread_n, 0);
    return h;
}

bool hnsw_take_apart(struct hnsw *h, uint32_t n_pages)
{
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_relaxed);
    size_t before = h->options.region->bytes;
    uint32_t n = h->n_pages;

    for (; n > 0 && n_pages > 0; n_pages--) {
        page_destroy(h, dir->pages[--n]);
    }
    h->n_pages = n;
    h->page_bytes -= before - h->options.region->bytes;
    return n > 0;
}

void hnsw_destroy(struct hnsw *h)
{
    struct node_dir *dir = atomic_load_explicit(&h->dir, memory_order_relaxed);

    (void)hnsw_take_apart(h, UINT32_MAX);
    if (dir) {
        region_free(h->options.region, dir, dir_bytes(dir->cap), 1);
    }
    region_free(h->options.region, h, sizeof(*h), CACHE_LINE);
}

uint64_t hnsw_start(const struct hnsw *h)
{
    return atomic_load_explicit(&h->entry, memory_order_relaxed) + 1;
}

uint32_t hnsw_count(const struct hnsw *h)
{
    return h->n_nodes;
}

size_t hnsw_bitmap_words(const struct hnsw *h)
{
    return (size_t)h->n_pages * PAGE_WORDS;
}

uint32_t hnsw_m(const struct hnsw *h)
{
    return h->options.m;
}

bool hnsw_has_levels(const struct hnsw *h)
{
    return h->has_levels;
}

uint32_t hnsw_room(const struct hnsw *h)
{
    return node_room(h);
}

const struct vec_format *hnsw_format(const struct hnsw *h)
{
    return h->options.format;
}

bool hnsw_has_codes(const struct hnsw *h)
{
    return h->own_codes;
}

size_t hnsw_bytes(const struct hnsw *h)
{
    const struct node_dir *dir =
        atomic_load_explicit(&h->dir, memory_order_relaxed);

    return h->page_bytes + region_cost(sizeof(*h), CACHE_LINE) +
           (dir ? region_cost(dir_bytes(dir->cap), 1) : 0);
}

const uint8_t *hnsw_row(const struct hnsw *h, const struct row_map *rows,
                        uint32_t node)
{
    return node_row(h, rows, node);
}

size_t hnsw_links(const struct hnsw *h, uint32_t node, int level, uint32_t *out,
                  size_t room)
{
    const link *row;
    size_t n = 0;
    uint32_t i;

    if (!hnsw_is_linked(h, node)) {
        return 0;
    }
    row = hnsw_row_of_links(h, node, level);
    for (i = 0; i < links_on(h, level) && n < room; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        id &= ~LINK_CHAIN;
        out[n] = id;
        n += hnsw_is_linked(h, id); /* else of the batch under way */
    }
    return n;
}
