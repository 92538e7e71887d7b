/* The k best rows of a search.
 *
 * Rows are ordered by key, then by slot, so an answer does not depend on the
 * order in which rows were looked at or on how many workers looked. A row is
 * kept as one 64-bit number, the key's bits made sortable above the slot, in a
 * binary heap with the worst on top.
 *
 * thread one at a time. */
#ifndef VECTRA_INDEX_TOPK_H
#define VECTRA_INDEX_TOPK_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

struct topk {
    uint64_t *heap; /* the caller's, cap entries */
    size_t n;
    size_t cap; /* k, at least 1 */
};

/* Order-preserving between floats (NaN counts as +inf) and u32. */
ALWAYS_INLINE uint32_t topk_key_bits(float key)
{
    uint32_t bits;

    if (UNLIKELY(isnan(key))) {
        key = INFINITY;
    }
    memcpy(&bits, &key, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

ALWAYS_INLINE float topk_bits_key(uint32_t bits)
{
    float key;

    bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
    memcpy(&key, &bits, sizeof(key));
    return key;
}

ALWAYS_INLINE uint64_t topk_entry(float key, uint32_t slot)
{
    return (uint64_t)topk_key_bits(key) << 32 | slot;
}

ALWAYS_INLINE float topk_entry_key(uint64_t entry)
{
    return topk_bits_key((uint32_t)(entry >> 32));
}

ALWAYS_INLINE uint32_t topk_entry_slot(uint64_t entry)
{
    return (uint32_t)entry;
}

void topk_init(struct topk *t, uint64_t *heap, size_t cap);

/* True when a row would be kept; cheap to ask first. */
ALWAYS_INLINE bool topk_wants(const struct topk *t, uint64_t entry)
{
    return t->n < t->cap || entry < t->heap[0];
}

/* Keeps a row that topk_wants(). */
void topk_push(struct topk *t, uint64_t entry);

/* The largest key a row may have to be kept: +inf until there are k. */
ALWAYS_INLINE float topk_limit(const struct topk *t)
{
    return t->n < t->cap ? INFINITY : topk_entry_key(t->heap[0]);
}

/* Orders the entries best first; the heap is one no longer. */
void topk_sort(struct topk *t);

#endif
