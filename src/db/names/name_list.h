/* A list of live slots in the order of their elements' names, for sets of a few
 * thousand up to a million that change one at a time.
 *
 * Slots lie in blocks of up to 254, the blocks in one array: finding a name is
 * two binary searches, adding or removing one moves at most a block, and now
 * and then the array of blocks.
 *
 *  N1  Names ascend strictly, within blocks and from block to block.
 *  N2  No block is empty.
 *  N3  count is the number of slots.
 *
 * thread loop. */
#ifndef VECTRA_DB_NAME_LIST_H
#define VECTRA_DB_NAME_LIST_H

#include "store/elements.h"

enum { NAME_LIST_BLOCK = 254 };

struct name_list_block {
    uint32_t n;
    slot_id slots[NAME_LIST_BLOCK];
};

struct name_list {
    const struct elements *elements; /* whose names they are */
    struct region *region;
    struct name_list_block **blocks;
    uint32_t n_blocks, cap_blocks;
    uint32_t count;
};

/* A place in a list; right until the list changes. */
struct name_list_place {
    uint32_t block;
    uint32_t at;
};

void name_list_init(struct name_list *l, const struct elements *e);

/* Frees the memory. thread any, when the owner has been unlinked. */
void name_list_deinit(struct name_list *l);

size_t name_list_bytes(const struct name_list *l);

/* Adds a slot whose element is or will be called `name`, which is not there.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err name_list_add(struct name_list *l, struct bytes name,
                       slot_id slot) MUST_USE;

/* Takes out the slot of an element that is there. */
void name_list_remove(struct name_list *l, struct bytes name);

/* The element has moved to another slot. */
void name_list_replace(struct name_list *l, struct bytes name, slot_id slot);

/* The first slot whose name is not less than `name`, or with `past` the first
 * whose name is greater. */
struct name_list_place name_list_find(const struct name_list *l,
                                      struct bytes name, bool past);

/* The slot at a place, SLOT_NONE behind the last. */
static inline slot_id name_list_at(const struct name_list *l,
                                   struct name_list_place p)
{
    return p.block < l->n_blocks ? l->blocks[p.block]->slots[p.at] : SLOT_NONE;
}

static inline struct name_list_place name_list_next(const struct name_list *l,
                                                    struct name_list_place p)
{
    if (++p.at == l->blocks[p.block]->n) {
        p = (struct name_list_place){p.block + 1, 0};
    }
    return p;
}

/* Checks N1-N3; aborts on a violation. */
void name_list_validate(const struct name_list *l);

#endif
