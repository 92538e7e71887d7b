/* Links as bytes: see hnsw_image.h. */
#include "index/hnsw/hnsw_image.h"

#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

/* Tells the links of one row apart: a small filter, and a second look at all of
 * them where that says "perhaps". */
enum { SEEN_BITS = 2048 };

struct seen {
    uint64_t bits[SEEN_BITS / 64];
};

static void seen_clear(struct seen *s)
{
    memset(s, 0, sizeof(*s));
}

/* True when it may have been seen. */
static bool seen_add(struct seen *s, uint32_t id)
{
    uint32_t at = (id * 2654435761u) >> 21;
    uint64_t bit = (uint64_t)1 << (at % 64);
    bool before = s->bits[at / 64] & bit;

    s->bits[at / 64] |= bit;
    return before;
}

/* ---- writing ----------------------------------------------------------- */

size_t hnsw_image_node_max(const struct hnsw *h)
{
    return 2 + (size_t)4 * h->row_links +
           HNSW_LEVEL_MAX * (2 + (size_t)4 * h->upper_links);
}

static void put_u16(uint8_t *to, uint32_t n)
{
    to[0] = (uint8_t)n;
    to[1] = (uint8_t)(n >> 8);
}

static void put_u32(uint8_t *to, uint32_t n)
{
    put_u16(to, n);
    put_u16(to + 2, n >> 16);
}

static uint32_t get_u16(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8;
}

static uint32_t get_u32(const uint8_t *from)
{
    return get_u16(from) | get_u16(from + 2) << 16;
}

static bool is_written(const uint8_t *from, size_t n, uint32_t id)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if ((get_u32(from + 4 * i) & ~LINK_CHAIN) == id) {
            return true;
        }
    }
    return false;
}

/* The first node from `node` on in a chain that is in the graph: those of a
 * batch under way are not yet. */
static uint32_t linked_in_chain(const struct hnsw *h, uint32_t node)
{
    uint32_t hops = 0;

    while (node != LINK_NONE && !hnsw_is_linked(h, node)) {
        node = node < node_room(h) && hops++ < UINT16_MAX
                   ? hnsw_chain_of(h, node)
                   : LINK_NONE;
    }
    return node;
}

static size_t put_row(const struct hnsw *h, uint32_t node, int level,
                      uint8_t *to)
{
    const link *row = hnsw_row_of_links(h, node, level);
    uint8_t *at = to + 2;
    bool has_chain = false;
    struct seen seen;
    size_t n = 0;
    uint32_t i;

    seen_clear(&seen);
    for (i = 0; i < links_on(h, level); i++) {
        uint32_t word = link_load(&row[i]);
        uint32_t id = word & ~LINK_CHAIN;
        uint32_t mark = level == 0 ? word & LINK_CHAIN : 0;

        if (word == LINK_NONE) {
            break;
        }
        if (mark) {
            id = has_chain ? LINK_NONE : linked_in_chain(h, id);
        }
        if (id == node || !hnsw_is_linked(h, id) ||
            (seen_add(&seen, id) && is_written(at, n, id))) {
            continue;
        }
        put_u32(at + 4 * n++, id | mark);
        has_chain |= mark != 0;
    }
    put_u16(to, (uint32_t)n);
    return 2 + 4 * n;
}

size_t hnsw_image_put(const struct hnsw *h, uint32_t node, uint8_t *to)
{
    int top = hnsw_level(h, node), level;
    size_t n = 0;

    for (level = 0; level <= top; level++) {
        n += put_row(h, node, level, to + n);
    }
    return n;
}

bool hnsw_image_chained(const struct hnsw *h, uint32_t node)
{
    return hnsw_is_chained(h, node);
}

uint32_t hnsw_image_entry(const struct hnsw *h)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);

    return entry == ENTRY_NONE ? HNSW_NO_NODE : entry_node(entry);
}

struct hnsw_spread hnsw_image_spread(const struct hnsw *h)
{
    return (struct hnsw_spread){
        .sum = atomic_load_explicit(&h->spread_sum, memory_order_relaxed),
        .n = atomic_load_explicit(&h->spread_n, memory_order_relaxed)};
}

void hnsw_image_set_spread(struct hnsw *h, struct hnsw_spread s)
{
    atomic_store_explicit(&h->spread_sum, s.sum, memory_order_relaxed);
    atomic_store_explicit(&h->spread_n, s.n, memory_order_relaxed);
}

/* The node itself is no neighbour of its own. */
void hnsw_image_learn(struct hnsw *h, const struct row_map *rows, uint32_t node,
                      struct hnsw_scratch *s)
{
    struct beam beam = {.h = h, .rows = rows, .n_slots = UINT32_MAX, .s = s};
    size_t n = 0, i;

    hnsw_scratch_fit(s, h, h->options.ef);
    hnsw_scratch_fit_choice(s, h, h->options.ef);
    beam.query = vec_query_from_row(h->options.format, node_row(h, rows, node),
                                    s->plan_query);
    s->n_pool = 0;
    if (!hnsw_beam_descend(&beam, 0)) {
        return;
    }
    hnsw_beam_widen(&beam, 0, h->options.ef);
    for (i = 0; i < s->n_pool; i++) {
        s->pool[n] = s->pool[i];
        n += pool_node(s->pool[i]) != node;
    }
    s->n_pool = n;
    hnsw_note_spread(h, s);
}

/* ---- reading ----------------------------------------------------------- */

size_t hnsw_image_node_bytes(const struct hnsw *h)
{
    return (size_t)h->row_links * sizeof(link) + h->code_bytes;
}

enum err hnsw_image_room(struct hnsw *h, uint32_t n)
{
    return hnsw_reserve_apart(h, n);
}

struct hnsw_shape hnsw_image_shape(const struct hnsw *h)
{
    return (struct hnsw_shape){h->row_links, h->upper_links};
}

size_t hnsw_image_shape_bytes(const struct hnsw *h, const struct hnsw_shape *s,
                              const uint8_t *levels, uint32_t n)
{
    uint64_t rows = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        rows += levels[i];
    }
    i = (n + NODES_PER_PAGE - 1) / NODES_PER_PAGE * NODES_PER_PAGE;
    return i * ((size_t)s->row_links * sizeof(link) + h->code_bytes) +
           rows * s->upper_links * sizeof(link);
}

enum err hnsw_image_room_as(struct hnsw *h, const struct hnsw_shape *s,
                            const uint8_t *levels, uint32_t n)
{
    enum err err;

    ASSERT(h->n_pages == 0 && s->row_links >= 2 * h->options.m &&
           s->upper_links >= h->options.m);
    h->row_links = s->row_links;
    h->upper_links = s->upper_links;
    h->has_levels = true;
    h->levels = levels;
    h->n_levels = n;
    err = hnsw_reserve_apart(h, n);
    h->levels = NULL;
    h->n_levels = 0;
    return err;
}

static bool has_before(const link *row, uint32_t n, uint32_t id)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        if ((link_load(&row[i]) & ~LINK_CHAIN) == id) {
            return true;
        }
    }
    return false;
}

/* Checks all that can be told from the row alone. */
static const char *store_row(link *row, uint32_t node, const uint8_t *from,
                             uint32_t n, uint32_t *chains)
{
    struct seen seen;
    uint32_t i;

    seen_clear(&seen);
    for (i = 0; i < n; i++) {
        uint32_t word = get_u32(from + 4 * (size_t)i);
        uint32_t id = word & ~LINK_CHAIN;

        if (id == node) {
            return "a node links to itself";
        }
        if (word == LINK_NONE) {
            return "a row of links has a gap";
        }
        if (seen_add(&seen, id) && has_before(row, i, id)) {
            return "a node links to another twice";
        }
        *chains += word >> 31;
        link_store(&row[i], word);
    }
    return NULL;
}

static const char *get_row(struct hnsw *h, uint32_t node, int level,
                           struct bytes *in, bool *has_chains)
{
    link *row = hnsw_row_of_links(h, node, level);
    uint32_t cap = links_on(h, level);
    uint32_t chains = 0, n, i;
    const char *broken;

    if (in->len < 2) {
        return "a row of links is cut short";
    }
    n = get_u16(in->data);
    if (n > cap) {
        return "a node has more links than its graph allows";
    }
    if (in->len - 2 < 4 * (size_t)n) {
        return "a row of links is cut short";
    }
    broken = store_row(row, node, in->data + 2, n, &chains);
    if (broken) {
        return broken;
    }
    for (i = n; i < cap; i++) {
        atomic_store_explicit(&row[i], LINK_NONE, memory_order_relaxed);
    }
    in->data += 2 + 4 * (size_t)n;
    in->len -= 2 + 4 * (size_t)n;
    *has_chains |= chains > 0;
    return chains <= (level == 0) ? NULL : "a node has two chained copies";
}

/* Others may be doing so for the neighbours in the same word. */
static bool set_bit(uint64_t *bits, uint32_t node)
{
    uint64_t bit = (uint64_t)1 << (node % 64);

    return __atomic_fetch_or(&bits[node % NODES_PER_PAGE / 64], bit,
                             __ATOMIC_RELAXED) &
           bit;
}

const char *hnsw_image_get(struct hnsw *h, uint32_t node, bool chained,
                           struct bytes *in, struct hnsw_image_part *part)
{
    const char *broken = NULL;
    int top, level;

    if (node >= node_room(h) || node >= HNSW_NODE_MAX) {
        return "a node's number is too high";
    }
    if (set_bit(page_of(h, node)->linked, node)) {
        return "a node is there twice";
    }
    if (chained) {
        set_bit(page_of(h, node)->chained, node);
    }
    top = hnsw_level(h, node);
    for (level = 0; level <= top && !broken; level++) {
        broken = get_row(h, node, level, in, &part->has_chains);
    }
    part->n_nodes++;
    return broken;
}

void hnsw_image_take(struct hnsw *h, uint32_t node,
                     struct hnsw_image_part *part)
{
    set_bit(page_of(h, node)->linked, node);
    part->n_nodes++;
}

void hnsw_image_take_row(struct hnsw *h, uint32_t node, int level,
                         const uint32_t *ids, uint32_t n)
{
    link *row = hnsw_row_of_links(h, node, level);
    uint32_t cap = links_on(h, level), i;

    for (i = 0; i < cap; i++) {
        atomic_store_explicit(&row[i], i < n ? ids[i] : LINK_NONE,
                              memory_order_relaxed);
    }
}

void hnsw_image_add(struct hnsw *h, const struct hnsw_image_part *part)
{
    h->n_nodes += part->n_nodes;
}

/* ---- checking ---------------------------------------------------------- */

/* hnsw_is_linked() of a node that has a page. */
ALWAYS_INLINE bool is_node(const struct hnsw *h, uint32_t node)
{
    return bit_test(page_of(h, node)->linked, node % NODES_PER_PAGE);
}

/* Where the links of a row lead. */
static const char *check_row(const struct hnsw *h, uint32_t node, int level)
{
    const link *row = hnsw_row_of_links(h, node, level);
    uint32_t cap = links_on(h, level);
    uint32_t room = node_room(h);
    uint32_t i;

    for (i = 0; i < cap; i++) {
        uint32_t word = link_load(&row[i]);
        uint32_t id = word & ~LINK_CHAIN;

        if (word == LINK_NONE) {
            break;
        }
        if (id >= room || !is_node(h, id)) {
            return "a link leads to no node";
        }
        if (level > 0 && hnsw_level(h, id) < level) {
            return "a link leads to a node of a lower level";
        }
    }
    return NULL;
}

const char *hnsw_image_check(struct hnsw *h, const struct row_map *rows,
                             uint32_t *node, uint32_t end,
                             struct hnsw_scratch *scratch)
{
    const char *broken = NULL;
    int level;

    for (; *node < end; ++*node) {
        if (!hnsw_is_linked(h, *node)) {
            continue;
        }
        if (h->own_codes) {
            hnsw_store_code(h, rows, *node, scratch);
        }
        for (level = hnsw_level(h, *node); level >= 0 && !broken; level--) {
            broken = check_row(h, *node, level);
        }
        if (broken) {
            return broken;
        }
    }
    return NULL;
}

const char *hnsw_image_enter(struct hnsw *h, uint32_t entry)
{
    if ((entry == HNSW_NO_NODE) != (h->n_nodes == 0)) {
        return "a graph without an entry, or an entry without a graph";
    }
    if (entry == HNSW_NO_NODE) {
        return NULL;
    }
    if (entry >= node_room(h) || !hnsw_is_linked(h, entry)) {
        return "the entry is no node";
    }
    atomic_store_explicit(&h->entry, entry_of(entry, hnsw_level(h, entry)),
                          memory_order_release);
    return NULL;
}

static void mark(uint64_t *bits, uint32_t i, bool on)
{
    uint64_t bit = (uint64_t)1 << (i % 64);

    bits[i / 64] = on ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

/* Whether a chain from here on comes to an end. The links have been checked.
 * Behind the bits of settled nodes are those of the path being walked. */
static bool chain_ends(const struct hnsw *h, uint64_t *settled, uint32_t first)
{
    uint64_t *path = settled + hnsw_bitmap_words(h);
    bool ends = true;
    uint32_t node;

    for (node = first; node != LINK_NONE && !bit_test(settled, node);
         node = hnsw_chain_of(h, node)) {
        if (bit_test(path, node)) {
            ends = false;
            break;
        }
        mark(path, node, true);
    }
    for (node = first; ends && node != LINK_NONE && !bit_test(settled, node);
         node = hnsw_chain_of(h, node)) {
        mark(path, node, false);
        mark(settled, node, true);
    }
    return ends;
}

const char *hnsw_image_check_chains(const struct hnsw *h, uint32_t *node)
{
    size_t bytes = 2 * hnsw_bitmap_words(h) * sizeof(uint64_t);
    uint64_t *settled = mem_try_alloc(bytes + 1);
    const char *broken = NULL;
    uint32_t end = node_room(h);

    if (!settled) {
        return "out of memory";
    }
    memset(settled, 0, bytes);
    for (*node = 0; *node < end && !broken; ++*node) {
        if (hnsw_is_linked(h, *node) && !chain_ends(h, settled, *node)) {
            broken = "a chain of equal rows goes round in a circle";
        }
    }
    mem_free(settled);
    *node -= broken != NULL;
    return broken;
}
