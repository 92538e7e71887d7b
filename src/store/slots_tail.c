/* The tail: the blocks that no list owns and in which something is seen, a bit
 * for each. The loop sets and clears bits; a search that captured them walks
 * what is set. See K1 and K2 in slots_blocks.h. */
#include "store/slots_blocks_impl.h"

void slots_blocks_note_seen(struct slots *s, slot_id slot)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = slot / SLOTS_BLOCK;

    DASSERT(block_seen(b, block) < SLOTS_BLOCK);
    b->state[block]++;
    if (kind_is_tail(block_kind(b, block))) {
        b->n_tail++;
        if (block_seen(b, block) == 1) {
            tail_set(b, block, true);
        }
    }
}

void slots_blocks_note_unseen(struct slots *s, slot_id slot)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = slot / SLOTS_BLOCK;

    ASSERT(block_seen(b, block) > 0);
    b->state[block]--;
    if (kind_is_tail(block_kind(b, block))) {
        b->n_tail--;
        if (block_seen(b, block) == 0) {
            tail_set(b, block, false);
        }
    }
}

uint32_t slots_tail_count(const struct slots *s)
{
    return s->blocks ? s->blocks->n_tail : s->n_slots;
}

/* The first slot at or behind `at` in a block of the tail; n when there is
 * none. */
static slot_id tail_find(const struct slots_tail *t, slot_id at, slot_id n)
{
    uint32_t block = at / SLOTS_BLOCK;
    uint32_t i = block / 64;
    uint64_t word = atomic_load_explicit(&t->words[i], memory_order_acquire) &
                    (UINT64_MAX << (block % 64));

    while (!word) {
        if (++i == t->n_words || (uint64_t)i * 64 * SLOTS_BLOCK >= n) {
            return n;
        }
        word = atomic_load_explicit(&t->words[i], memory_order_acquire);
    }
    block = i * 64 + (uint32_t)__builtin_ctzll(word);
    return block == at / SLOTS_BLOCK ? at : block * SLOTS_BLOCK;
}

bool slots_tail_next(const struct slots_view *v, slot_id *at,
                     struct slots_run *run)
{
    slot_id first = *at;
    uint64_t end, page_end;
    struct row_place place;

    if (first < v->n_slots && v->tail) {
        first = tail_find(v->tail, first, v->n_slots);
    }
    if (first >= v->n_slots) {
        *at = v->n_slots;
        return false;
    }
    place = row_place(v->geometry, first);
    page_end =
        (uint64_t)first - place.row + row_page_count(v->geometry, place.page);
    if (page_end > v->n_slots) {
        page_end = v->n_slots;
    }
    end =
        v->tail ? ((uint64_t)first / SLOTS_BLOCK + 1) * SLOTS_BLOCK : page_end;
    while (end < page_end && tail_has(v->tail, (uint32_t)(end / SLOTS_BLOCK))) {
        end += SLOTS_BLOCK;
    }
    end = end < page_end ? end : page_end;
    *run = (struct slots_run){place.page, place.row, first,
                              (uint32_t)(end - first)};
    *at = (slot_id)end;
    return true;
}
