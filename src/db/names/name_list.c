/* Slots in the order of names: see name_list.h. */
#include "db/names/name_list.h"

#include <string.h>

enum { CAP_MIN = 4 };

void name_list_init(struct name_list *l, const struct elements *e)
{
    *l = (struct name_list){.elements = e, .region = e->slots.region};
}

void name_list_deinit(struct name_list *l)
{
    uint32_t i;

    for (i = 0; i < l->n_blocks; i++) {
        region_free(l->region, l->blocks[i], sizeof(*l->blocks[i]), 1);
    }
    region_free(l->region, l->blocks, l->cap_blocks * sizeof(*l->blocks), 1);
    l->blocks = NULL;
    l->n_blocks = l->cap_blocks = l->count = 0;
}

size_t name_list_bytes(const struct name_list *l)
{
    size_t dir = l->cap_blocks * sizeof(*l->blocks);

    return (dir ? region_cost(dir, 1) : 0) +
           l->n_blocks * region_cost(sizeof(struct name_list_block), 1);
}

/* ---- finding ----------------------------------------------------------- */

static bool is_before(const struct name_list *l, slot_id slot,
                      struct bytes name, bool past)
{
    int c = bytes_compare(elements_name(l->elements, slot), name);

    return past ? c <= 0 : c < 0;
}

struct name_list_place name_list_find(const struct name_list *l,
                                      struct bytes name, bool past)
{
    const struct name_list_block *b;
    struct name_list_place p = {0, 0};
    uint32_t end = l->n_blocks;

    /* The first block whose last name is not before. */
    while (p.block < end) {
        uint32_t mid = p.block + (end - p.block) / 2;

        b = l->blocks[mid];
        if (is_before(l, b->slots[b->n - 1], name, past)) {
            p.block = mid + 1;
        } else {
            end = mid;
        }
    }
    if (p.block == l->n_blocks) {
        return p;
    }
    b = l->blocks[p.block];
    end = b->n - 1;
    while (p.at < end) {
        uint32_t mid = p.at + (end - p.at) / 2;

        if (is_before(l, b->slots[mid], name, past)) {
            p.at = mid + 1;
        } else {
            end = mid;
        }
    }
    return p;
}

/* ---- changing ---------------------------------------------------------- */

/* Puts a new block at `at` in the array. */
static enum err add_block(struct name_list *l, uint32_t at)
{
    struct name_list_block *b = region_alloc(l->region, sizeof(*b), 1);

    if (!b) {
        return ERR_NOMEM;
    }
    if (l->n_blocks == l->cap_blocks) {
        uint32_t cap = l->cap_blocks ? l->cap_blocks * 2 : CAP_MIN;
        struct name_list_block **blocks =
            region_alloc(l->region, cap * sizeof(struct name_list_block *), 1);

        if (!blocks) {
            region_free(l->region, b, sizeof(*b), 1);
            return ERR_NOMEM;
        }
        if (l->n_blocks) {
            memcpy(blocks, l->blocks,
                   l->n_blocks * sizeof(struct name_list_block *));
        }
        region_free(l->region, l->blocks,
                    l->cap_blocks * sizeof(struct name_list_block *), 1);
        l->blocks = blocks;
        l->cap_blocks = cap;
    }
    memmove(l->blocks + at + 1, l->blocks + at,
            (l->n_blocks - at) * sizeof(struct name_list_block *));
    b->n = 0;
    l->blocks[at] = b;
    l->n_blocks++;
    return ERR_OK;
}

/* Makes room in the full block of a place, and moves the place along. The upper
 * half goes to a new block; behind the last name nothing is moved, so that
 * names which come in order fill their blocks. */
static enum err split(struct name_list *l, struct name_list_place *p)
{
    struct name_list_block *b = l->blocks[p->block];
    struct name_list_block *upper;
    uint32_t keep = p->at == b->n ? b->n : b->n / 2;
    enum err err = add_block(l, p->block + 1);

    if (err) {
        return err;
    }
    upper = l->blocks[p->block + 1];
    upper->n = b->n - keep;
    memcpy(upper->slots, b->slots + keep, upper->n * sizeof(slot_id));
    b->n = keep;
    if (p->at >= keep) {
        p->block++;
        p->at -= keep;
    }
    return ERR_OK;
}

enum err name_list_add(struct name_list *l, struct bytes name, slot_id slot)
{
    struct name_list_place p = name_list_find(l, name, false);
    struct name_list_block *b;
    enum err err = ERR_OK;

    if (l->n_blocks == 0) {
        err = add_block(l, 0);
    } else if (p.block == l->n_blocks) {
        p.block--;
        p.at = l->blocks[p.block]->n;
    }
    if (!err && l->blocks[p.block]->n == NAME_LIST_BLOCK) {
        err = split(l, &p);
    }
    if (err) {
        return err;
    }
    b = l->blocks[p.block];
    memmove(b->slots + p.at + 1, b->slots + p.at,
            (b->n - p.at) * sizeof(slot_id));
    b->slots[p.at] = slot;
    b->n++;
    l->count++;
    return ERR_OK;
}

void name_list_remove(struct name_list *l, struct bytes name)
{
    struct name_list_place p = name_list_find(l, name, false);
    struct name_list_block *b;

    ASSERT(p.block < l->n_blocks);
    b = l->blocks[p.block];
    DASSERT(bytes_equal(elements_name(l->elements, b->slots[p.at]), name));
    b->n--;
    l->count--;
    memmove(b->slots + p.at, b->slots + p.at + 1,
            (b->n - p.at) * sizeof(slot_id));
    if (b->n == 0) {
        region_free(l->region, b, sizeof(*b), 1);
        l->n_blocks--;
        memmove(l->blocks + p.block, l->blocks + p.block + 1,
                (l->n_blocks - p.block) * sizeof(struct name_list_block *));
    }
}

void name_list_replace(struct name_list *l, struct bytes name, slot_id slot)
{
    struct name_list_place p = name_list_find(l, name, false);

    ASSERT(p.block < l->n_blocks);
    DASSERT(bytes_equal(
        elements_name(l->elements, l->blocks[p.block]->slots[p.at]), name));
    l->blocks[p.block]->slots[p.at] = slot;
}

void name_list_validate(const struct name_list *l)
{
    struct bytes last = BYTES_NONE;
    uint32_t i, k, count = 0;

    for (i = 0; i < l->n_blocks; i++) {
        const struct name_list_block *b = l->blocks[i];

        ASSERT(b->n > 0 && b->n <= NAME_LIST_BLOCK);
        for (k = 0; k < b->n; k++) {
            struct bytes name = elements_name(l->elements, b->slots[k]);

            ASSERT(slots_is_live(&l->elements->slots, b->slots[k]));
            ASSERT(count == 0 || bytes_compare(last, name) < 0);
            last = name;
            count++;
        }
    }
    ASSERT(count == l->count);
}
