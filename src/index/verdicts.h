/* What is known of a filter: two bits per row, that it fails and that it
 * passes. None: nobody asked. Both: the answer has changed and must be asked
 * for.
 *
 * Rows that pass may be dead, or not visible to a search; rows that fail are of
 * no interest either way.
 *
 * thread any; bits are set while others look. */
#ifndef VECTRA_INDEX_VERDICTS_H
#define VECTRA_INDEX_VERDICTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/macros.h"

enum { VERDICTS_PER_WORD = 32 };

struct verdicts {
    uint32_t cap; /* rows from here on are not known */
    /* Who fails in the lower half of a word, who passes in the upper. */
    _Atomic uint64_t *words;
};

enum verdict { VERDICT_UNKNOWN, VERDICT_FAILS, VERDICT_PASSES, VERDICT_ASK };

ALWAYS_INLINE enum verdict verdict_of(const struct verdicts *v, uint32_t row)
{
    uint64_t word;

    if (UNLIKELY(row >= v->cap)) {
        return VERDICT_ASK;
    }
    word = atomic_load_explicit(&v->words[row / VERDICTS_PER_WORD],
                                memory_order_relaxed) >>
           (row % VERDICTS_PER_WORD);
    return (enum verdict)((word & 1) | (word >> 31 & 2));
}

/* Of the rows of a word those that are not known to fail. */
ALWAYS_INLINE uint32_t verdicts_hopeful(const struct verdicts *v, uint32_t i)
{
    uint64_t word;

    if (UNLIKELY(i >= v->cap / VERDICTS_PER_WORD)) {
        return UINT32_MAX;
    }
    word = atomic_load_explicit(&v->words[i], memory_order_relaxed);
    return (uint32_t)(word >> 32) | ~(uint32_t)word;
}

#endif
