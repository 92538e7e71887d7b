/* The table of powers of ten, computed instead of pasted: 667 entries are
 * unreadable as a source text but follow from two rows of whole numbers.
 *
 * Upwards, 5^q is multiplied up and its top 128 bits are taken. Downwards,
 * floor(2^1023 / 5^n) is divided by five again and again; dividing a floor by
 * a whole number and rounding down loses nothing, so each row is the exact
 * floor, and its top 128 bits are the floor of 5^-n scaled to 128 bits. The
 * last row, n = 342, still has 229 bits. */
#include <pthread.h>

#include "base/num_impl.h"

/* 2^1023 needs 16 words of 64 bits, 5^324 needs 12. */
enum { BIG_WORDS = 16 };

struct big {
    uint64_t word[BIG_WORDS]; /* least significant first */
};

struct num_pow10 num_pow10_table[NUM_POW10_MAX - NUM_POW10_MIN + 1];
atomic_bool num_pow10_ready;

static void big_multiply_by_5(struct big *b)
{
    uint64_t carry = 0;
    int i;

    for (i = 0; i < BIG_WORDS; i++) {
        num_u128 x = (num_u128)b->word[i] * 5 + carry;

        b->word[i] = (uint64_t)x;
        carry = (uint64_t)(x >> 64);
    }
}

static void big_divide_by_5(struct big *b)
{
    uint64_t rest = 0;
    int i;

    for (i = BIG_WORDS - 1; i >= 0; i--) {
        num_u128 x = (num_u128)rest << 64 | b->word[i];

        b->word[i] = (uint64_t)(x / 5);
        rest = (uint64_t)(x % 5);
    }
}

/* The top 128 bits of b > 0, shifted so that the first one is set. */
static struct num_pow10 big_top(const struct big *b)
{
    uint64_t w[3];
    int top = BIG_WORDS - 1;
    int shift;
    int i;

    while (b->word[top] == 0) {
        top--;
    }
    for (i = 0; i < 3; i++) {
        w[i] = top >= i ? b->word[top - i] : 0;
    }
    shift = __builtin_clzll(w[0]);
    if (shift > 0) {
        w[0] = w[0] << shift | w[1] >> (64 - shift);
        w[1] = w[1] << shift | w[2] >> (64 - shift);
    }
    return (struct num_pow10){w[0], w[1]};
}

static void fill_table(void)
{
    struct big b = {{1}};
    int q;

    for (q = 0; q <= NUM_POW10_MAX; q++) {
        num_pow10_table[q - NUM_POW10_MIN] = big_top(&b);
        big_multiply_by_5(&b);
    }
    b = (struct big){{0}};
    b.word[BIG_WORDS - 1] = (uint64_t)1 << 63;
    for (q = -1; q >= NUM_POW10_MIN; q--) {
        struct num_pow10 *entry = &num_pow10_table[q - NUM_POW10_MIN];

        big_divide_by_5(&b);
        *entry = big_top(&b);
        if (q >= NUM_POW10_SAFE_MIN) {
            entry->lo++; /* T2 */
            entry->hi += entry->lo == 0;
        }
    }
    atomic_store_explicit(&num_pow10_ready, true, memory_order_release);
}

void num_pow10_build(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill_table);
}
