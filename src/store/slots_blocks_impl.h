/* How blocks are kept: shared by slots_blocks*.c, slots_tail.c and
 * slots_sleep.c. A block's state is a byte: its kind, and how many of its slots
 * are seen. */
#ifndef VECTRA_STORE_SLOTS_BLOCKS_IMPL_H
#define VECTRA_STORE_SLOTS_BLOCKS_IMPL_H

#include "store/slots_impl.h"

enum {
    SEEN_BITS = 6,
    SEEN_MASK = (1 << SEEN_BITS) - 1,
    ASLEEP = SEEN_MASK,
};

/* Of a block that is free as a whole, the word of its free slots. */
#define FREE_ALL UINT32_MAX

_Static_assert((int)SLOTS_BLOCK == 32, "a block's free slots are a word");

static inline enum slots_block_kind block_kind(const struct slots_blocks *b,
                                               uint32_t block)
{
    return (enum slots_block_kind)(b->state[block] >> SEEN_BITS);
}

static inline uint32_t block_seen(const struct slots_blocks *b, uint32_t block)
{
    return block_kind(b, block) == BLOCK_POOL ? 0 : b->state[block] & SEEN_MASK;
}

/* Of a POOL block nothing is seen, so it says there whether its page sleeps. */
static inline bool block_is_asleep(const struct slots_blocks *b, uint32_t block)
{
    return b->state[block] == (BLOCK_POOL << SEEN_BITS | ASLEEP);
}

static inline bool kind_is_tail(enum slots_block_kind kind)
{
    return kind == BLOCK_GENERAL || kind == BLOCK_DRAINING;
}

/* The kind changes; the tail does not, for in a block that changes from or to
 * tail nothing is seen. */
static inline void block_set_kind(struct slots_blocks *b, uint32_t block,
                                  enum slots_block_kind kind)
{
    b->state[block] =
        (uint8_t)((unsigned)kind << SEEN_BITS | block_seen(b, block));
}

static inline uint32_t slot_bit(slot_id slot)
{
    return (uint32_t)1 << (slot % SLOTS_BLOCK);
}

static inline uint32_t block_count(uint32_t bits)
{
    return (uint32_t)__builtin_popcount(bits);
}

static inline void tail_set(struct slots_blocks *b, uint32_t block, bool on)
{
    _Atomic uint64_t *at = &b->tail->words[block / 64];
    uint64_t bit = (uint64_t)1 << (block % 64);
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);

    /* Only the loop writes it. */
    atomic_store_explicit(at, on ? word | bit : word & ~bit,
                          memory_order_release);
}

static inline bool tail_has(const struct slots_tail *t, uint32_t block)
{
    uint64_t word =
        atomic_load_explicit(&t->words[block / 64], memory_order_acquire);

    return word >> (block % 64) & 1;
}

/* ---- slots_sleep.c ------------------------------------------------------- */

/* The page of a block of the pool is there again; all pages are. */
void slots_block_wake(struct slots *s, uint32_t block);
void slots_blocks_wake_all(struct slots *s);

#endif
