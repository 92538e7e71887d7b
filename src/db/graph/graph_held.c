/* The slots that a graph leads to, dead ones among them: they are held, not
 * used again, until a sweep has taken the dead out and no search goes there.
 * Bitmaps by slot, in the set's region. */
#include <string.h>

#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"

enum { WORDS_MIN = 64 };

static size_t held_bytes(uint32_t words)
{
    return 4 * (size_t)words * sizeof(uint64_t);
}

static size_t dead_bytes(uint32_t words)
{
    return (size_t)words * sizeof(uint64_t);
}

static uint32_t words_for(uint32_t words, uint32_t n)
{
    while ((uint64_t)words * 64 < n) {
        words *= 2;
    }
    return words;
}

enum err graph_grow_held(struct graph *g, uint32_t n)
{
    struct region *r = &g->set->memory;
    uint32_t words = words_for(g->held_words ? g->held_words : WORDS_MIN, n);
    uint64_t *block;

    block = region_alloc(r, held_bytes(words), 1);
    if (!block) {
        return ERR_NOMEM;
    }
    memset(block, 0, held_bytes(words));
    if (g->held) {
        memcpy(block, g->held, g->held_words * sizeof(*block));
        memcpy(block + words, g->dying, g->held_words * sizeof(*block));
        memcpy(block + 2 * (size_t)words, g->waiting,
               g->held_words * sizeof(*block));
        memcpy(block + 3 * (size_t)words, g->raw,
               g->held_words * sizeof(*block));
    }
    region_free(r, g->held, held_bytes(g->held_words), 1);
    g->held = block;
    g->dying = block + words;
    g->waiting = block + 2 * (size_t)words;
    g->raw = block + 3 * (size_t)words;
    g->held_words = words;
    return ERR_OK;
}

enum err graph_gather_dead(struct graph *g)
{
    struct region *r = &g->set->memory;
    uint32_t words = g->held_words;
    uint64_t *block;
    uint32_t i;

    if (g->dead_words < words) {
        block = region_alloc(r, dead_bytes(words), 1);
        if (!block) {
            return ERR_NOMEM;
        }
        memset(block, 0, dead_bytes(words));
        if (g->dead) {
            memcpy(block, g->dead, dead_bytes(g->dead_words));
        }
        region_free(r, g->dead, dead_bytes(g->dead_words), 1);
        g->dead = block;
        g->dead_words = words;
    }
    for (i = 0; g->n_dying && i < g->held_words; i++) {
        g->dead[i] |= g->dying[i];
        g->dying[i] = 0;
    }
    g->n_dead += g->n_dying;
    g->n_dying = 0;
    return ERR_OK;
}

bool graph_holds(struct vset *v, slot_id slot)
{
    struct graph *g;
    bool holds = false;

    for (g = v->graphs; g; g = g->sibling) {
        if (slot / 64 < g->held_words && graph_bit(g->held, slot)) {
            graph_bit_set(g->dying, slot);
            g->n_dying++;
            holds = true;
        }
    }
    return holds;
}

bool graph_is_holding(const struct vset *v, slot_id slot)
{
    const struct graph *g;

    for (g = v->graphs; g; g = g->sibling) {
        if (slot / 64 < g->held_words && graph_bit(g->held, slot)) {
            return true;
        }
    }
    return false;
}

/* Whether a slot is held for another reason: another graph of the set leads
 * there, or the row is being moved into a list. */
static bool others_hold(const struct graph *g, slot_id slot)
{
    const struct graph *o;

    if (lists_is_holding(g->set, slot)) {
        return true;
    }

    for (o = g->set->graphs; o; o = o->sibling) {
        if (o != g && slot / 64 < o->held_words && graph_bit(o->held, slot)) {
            return true;
        }
    }
    return false;
}

void graph_let_go(struct graph *g, struct slot_bunch *b)
{
    bool alone = g->set->graphs == g && !g->sibling && !g->set->lists;
    uint32_t word;

    for (word = 0; word < b->n_words; word++) {
        uint64_t bits = b->bits[word];

        g->held[word] &= ~bits;
        for (; bits && !alone; bits &= bits - 1) {
            slot_id slot = word * 64 + (slot_id)__builtin_ctzll(bits);

            if (others_hold(g, slot)) {
                b->bits[word] &= ~(bits & -bits);
            }
        }
        b->n += (uint32_t)__builtin_popcountll(b->bits[word]);
    }
}

void graph_free_all_held(struct graph *g)
{
    struct slots *s = &g->set->elements.slots;
    struct slot_bunch *b = slots_bunch_create(s, g->held_words);
    uint32_t word;

    /* Without memory for it the slots stay unused for good; nothing worse. */
    for (word = 0; b && word < g->held_words; word++) {
        b->bits[word] =
            g->dying[word] | (word < g->dead_words ? g->dead[word] : 0);
    }
    if (b) {
        graph_let_go(g, b);
        slots_free_bunch(b);
    }
    if (g->held_words) { /* else there is nothing there */
        memset(g->held, 0, g->held_words * sizeof(*g->held));
    }
}

void graph_held_free(struct graph *g)
{
    struct region *r = &g->set->memory;

    region_free(r, g->held, held_bytes(g->held_words), 1);
    region_free(r, g->dead, dead_bytes(g->dead_words), 1);
}

size_t graph_held_bytes(const struct graph *g)
{
    return (g->held ? region_cost(held_bytes(g->held_words), 1) : 0) +
           (g->dead ? region_cost(dead_bytes(g->dead_words), 1) : 0);
}

size_t graph_held_bytes_for(uint32_t n)
{
    uint32_t words = words_for(WORDS_MIN, n);

    return region_cost(held_bytes(words), 1) +
           region_cost(dead_bytes(words), 1);
}
