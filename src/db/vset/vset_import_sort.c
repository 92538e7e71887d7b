/* Sorting what a set that Redis wrote has of ids: see vset_load.h. By digits,
 * so that it takes the same time whatever the input is, and in slices. */
#include <string.h>

#include "base/mem.h"
#include "db/vset/vset_load.h"

enum { BITS = 8, DIGITS = 1 << BITS };

static inline unsigned digit(uint64_t word, int shift)
{
    return (unsigned)(word >> shift) & (DIGITS - 1);
}

/* Where each digit's words begin. Returns whether there is more than one. */
static bool count(const uint64_t *words, uint32_t n, int shift,
                  uint32_t begins[DIGITS], struct rdb_in *in)
{
    uint32_t sum = 0, i;
    bool several = false;

    memset(begins, 0, DIGITS * sizeof(*begins));
    for (i = 0; i < n; i++) {
        begins[digit(words[i], shift)]++;
        vset_import_pause(in, i);
    }
    for (i = 0; i < DIGITS; i++) {
        uint32_t words_here = begins[i];

        several |= words_here > 0 && words_here < n;
        begins[i] = sum;
        sum += words_here;
    }
    return several;
}

bool vset_import_sort(uint64_t **words, uint32_t n, int shift,
                      struct rdb_in *in)
{
    uint64_t *other = mem_try_alloc(n * sizeof(*other));
    uint32_t begins[DIGITS], i;

    if (!other) {
        return false;
    }
    for (; shift < 64; shift += BITS) {
        uint64_t *from = *words;

        if (!count(from, n, shift, begins, in)) {
            continue;
        }
        for (i = 0; i < n; i++) {
            other[begins[digit(from[i], shift)]++] = from[i];
            vset_import_pause(in, i);
        }
        *words = other;
        other = from;
    }
    mem_free(other);
    return true;
}
