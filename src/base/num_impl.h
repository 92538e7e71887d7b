/* What parsing and printing of doubles share: powers of ten as 128-bit
 * significands, and eight decimal digits handled in one 64-bit word.
 *
 * Such a word holds one digit per byte, the most significant digit in the
 * lowest byte, which is how eight characters look when a little-endian
 * processor loads them. */
#ifndef VECTRA_BASE_NUM_IMPL_H
#define VECTRA_BASE_NUM_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/macros.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "words of digits are little-endian");

#define NUM_ASCII_ZEROS 0x3030303030303030u

__extension__ typedef unsigned __int128 num_u128;

/* Parsing needs 10^-342..10^308, printing 10^-292..10^324. */
enum {
    NUM_POW10_MIN = -342,
    NUM_POW10_MAX = 324,
    /* Outside these two exponents an entry is inexact in a way that shows. */
    NUM_POW10_SAFE_MIN = -27,
    NUM_POW10_SAFE_MAX = 55
};

/* The significand s of 10^q, with its top bit set:
 *
 *     10^q = s * 2^(num_log2_pow10(q) - 127), up to rounding.
 *
 *  T1  q < -27 or q > 55: s is rounded down, and the true value is not whole.
 *  T2  -27 <= q < 0:      s is rounded down, then 1 is added.
 *  T3  0 <= q <= 55:      s is exact. */
struct num_pow10 {
    uint64_t hi;
    uint64_t lo;
};

extern struct num_pow10 num_pow10_table[NUM_POW10_MAX - NUM_POW10_MIN + 1];
extern atomic_bool num_pow10_ready;

/* Fills the table once, whichever thread comes first. About 30 us. */
void num_pow10_build(void);

/* The entry of 10^q. After the first call it costs a load and a branch that is
 * always predicted. */
ALWAYS_INLINE const struct num_pow10 *num_pow10(int q)
{
    if (UNLIKELY(
            !atomic_load_explicit(&num_pow10_ready, memory_order_acquire))) {
        num_pow10_build();
    }
    return &num_pow10_table[q - NUM_POW10_MIN];
}

/* floor(log2(10^q)) for |q| <= 400: 1741647 / 2^19 is log2(10) to 7 digits.
 * The shift of a negative number rounds down with every compiler we use. */
ALWAYS_INLINE int num_log2_pow10(int q)
{
    return (q * 1741647) >> 19;
}

ALWAYS_INLINE uint64_t num_mul_high(uint64_t a, uint64_t b)
{
    return (uint64_t)(((num_u128)a * b) >> 64);
}

/* The number spelled by eight digits (bytes 0..9): neighbours are joined into
 * two, four, then eight digits, each step with one multiplication. */
ALWAYS_INLINE uint64_t num_join_digits(uint64_t word)
{
    word = ((word * (10 * 0x100 + 1)) >> 8) & 0x00ff00ff00ff00ffu;
    word = ((word * (100 * 0x10000 + 1)) >> 16) & 0x0000ffff0000ffffu;
    return (word * (10000 * 0x100000000u + 1)) >> 32;
}

/* The inverse: the eight digits of value < 10^8. The quotients by 100 and 10
 * are multiplications too, exact for lanes below 10^4 and 100. */
ALWAYS_INLINE uint64_t num_split_digits(uint32_t value)
{
    uint64_t word = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t top = ((word * 10486) >> 20) & 0x0000007f0000007fu;

    word = top | (word - 100 * top) << 16;
    top = ((word * 103) >> 10) & 0x000f000f000f000fu;
    return top | (word - 10 * top) << 8;
}

#endif
