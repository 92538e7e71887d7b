/* Checks what must hold of blocks: K1 to K4 in slots_blocks.h. */
#include <string.h>

#include "base/mem.h"
#include "store/slots_blocks_impl.h"

struct sums {
    uint32_t free, idle, lanes, tail, pool, owned, draining;
    uint32_t asleep; /* slots */
};

static void check_block(const struct slots *s, uint32_t block, uint32_t seen,
                        struct sums *sums)
{
    const struct slots_blocks *b = s->blocks;
    enum slots_block_kind kind = block_kind(b, block);
    uint32_t n_free = block_count(b->free[block]);
    bool is_open = b->open[block / 64] >> (block % 64) & 1;

    ASSERT(block_seen(b, block) == seen); /* K1 */
    ASSERT(tail_has(b->tail, block) ==
           (kind_is_tail(kind) && seen > 0));                 /* K2 */
    ASSERT(is_open == (kind == BLOCK_GENERAL && n_free > 0)); /* K4 */
    ASSERT(!is_open || block / 64 >= b->open_from);
    ASSERT((kind == BLOCK_POOL) == (b->pool[block / 64] >> (block % 64) & 1));
    ASSERT(kind != BLOCK_POOL || block / 64 >= b->pool_from);
    ASSERT(seen + n_free <= SLOTS_BLOCK);
    ASSERT(kind != BLOCK_POOL || n_free == SLOTS_BLOCK);
    ASSERT(kind != BLOCK_DRAINING || n_free < SLOTS_BLOCK);
    ASSERT(kind == BLOCK_GENERAL ||
           (block >= SLOTS_BLOCK_FIRST &&
            (uint64_t)(block + 1) * SLOTS_BLOCK <= s->n_slots));
    sums->free += kind == BLOCK_GENERAL ? n_free : 0;
    sums->idle += kind == BLOCK_DRAINING || kind == BLOCK_POOL ? n_free : 0;
    sums->lanes += kind == BLOCK_OWNED ? n_free : 0;
    sums->tail += kind_is_tail(kind) ? seen : 0;
    sums->pool += kind == BLOCK_POOL;
    sums->asleep += block_is_asleep(b, block) ? SLOTS_BLOCK : 0;
    sums->owned += kind == BLOCK_OWNED;
    sums->draining += kind == BLOCK_DRAINING;
}

static bool is_free(const struct slots *s, slot_id slot)
{
    return s->blocks->free[slot / SLOTS_BLOCK] & slot_bit(slot);
}

static uint32_t seen_in(const struct slots *s, uint32_t block)
{
    uint32_t n = 0, i;
    slot_id slot;

    for (i = 0; i < SLOTS_BLOCK; i++) {
        slot = block * SLOTS_BLOCK + i;
        if (slot < s->n_slots && slots_is_live(s, slot)) {
            ASSERT(!is_free(s, slot)); /* K3 */
            n++;
        }
        ASSERT(slot < s->n_slots || !is_free(s, slot));
    }
    return n + (s->taken != SLOT_NONE && s->taken / SLOTS_BLOCK == block);
}

void slots_blocks_validate(const struct slots *s)
{
    const struct slots_blocks *b = s->blocks;
    uint32_t n = slots_n_blocks(s);
    struct sums sums = {0};
    uint32_t block, i;
    uint8_t *limbo = mem_alloc(n + 1);

    memset(limbo, 0, n + 1);
    ASSERT(n <= b->cap && b->tail->n_words * 64 == b->cap);
    ASSERT(s->free_head == SLOT_NONE && !s->bunches);
    for (i = 0; i < s->limbo_len; i++) {
        slot_id slot = s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)].slot;

        ASSERT(!is_free(s, slot));
        limbo[slot / SLOTS_BLOCK]++;
    }
    for (block = 0; block < n; block++) {
        check_block(s, block, seen_in(s, block) + limbo[block], &sums);
    }
    ASSERT(sums.pool == b->n_pool);
    ASSERT(sums.free == s->n_free && sums.idle == b->n_idle);
    ASSERT(sums.lanes == b->n_lanes && sums.tail == b->n_tail);
    ASSERT(sums.asleep == (uint64_t)b->n_asleep * s->geometry.big_rows);
    ASSERT(sums.owned == b->n_owned && sums.draining == b->n_draining);
    mem_free(limbo);
}
