/* Doubles to shortest text.
 *
 * A double stands for every real number that rounds to it, an interval around
 * its value. The shortest decimal inside that interval, and the closest of
 * those to the value, is found as in "The Schubfach way to render doubles"
 * (Raffaello Giulietti, 2020): scale the interval by the power of ten 10^-k
 * that makes it one to ten units wide, and look at no more than four whole
 * numbers: the two around the value, and the two multiples of ten around it.
 * The scaled ends are computed with 128 bits of 10^-k and "rounded to odd"
 * (the last bit is set when anything was cut off), after which all comparisons
 * with whole numbers are exact.
 *
 * The layout is that of Redis 8, found by asking it: whole numbers up to 2^62
 * are printed exactly, and others are plain while that needs few zeros. Redis
 * does not always find the shortest digits (it prints 1e23 as
 * 99999999999999990000000); we do. */
#include <stdlib.h>

#include "base/num.h"
#include "base/num_impl.h"

enum {
    MANTISSA_BITS = 52,
    EXPONENT_MAX = 0x7ff,
    /* A double is c * 2^(biased - EXPONENT_SHIFT), c whole. */
    EXPONENT_SHIFT = 1023 + MANTISSA_BITS,
    DIGITS_MAX = 17
};

#define TEN_8  ((uint64_t)100000000)
#define TEN_15 ((uint64_t)1000000000000000)

/* Whole numbers up to here are printed as such, like Redis does. */
#define WHOLE_MAX 4611686018427387904.0

/* digits * 10^exp10; digits may end in zeros. */
struct decimal {
    uint64_t digits;
    int exp10;
};

/* DIGITS_MAX digits: one, eight, and eight (see num_impl.h), as characters. The
 * first n count, the rest are zeros; the first is worth 10^exp10. */
struct text {
    uint64_t high;
    uint64_t low;
    char first;
    int n;
    int exp10;
};

/* g * factor / 2^128, rounded to odd, for factor < 2^60.
 *
 * g is at most one unit too large, which makes the quotient too large by less
 * than 2^-68. Continued fractions show for each exponent that a true quotient,
 * if not whole, is more than 2^-66 above a whole number and more than 2^-62
 * below one. So its floor is right, and 2^-68 tells whether it is whole. */
ALWAYS_INLINE uint64_t scale_to_odd(num_u128 g, uint64_t factor)
{
    num_u128 low = (num_u128)(uint64_t)g * factor;
    num_u128 sum = (num_u128)(uint64_t)(g >> 64) * factor + (low >> 64);
    uint64_t rest = (uint64_t)sum | (uint64_t)low >> 60;

    return (uint64_t)(sum >> 64) | (rest != 0);
}

/* yes or no, without a branch: which of them is as good as random. */
ALWAYS_INLINE uint64_t choose(bool which, uint64_t yes, uint64_t no)
{
    return no ^ ((yes ^ no) & (0 - (uint64_t)which));
}

/* The shortest decimal that rounds to c * 2^q, and the closest such; it may
 * end in zeros. Where c is the smallest of its binade the interval reaches
 * down only half as far.
 *
 * Of two neighbouring candidates inside the interval the shorter or closer one
 * counts; a multiple of ten wins if it is the only one. The paper asks for
 * that only from 10 on; below are just 1 and 2 times the smallest denormal,
 * where the same comes out. */
ALWAYS_INLINE struct decimal shortest(uint64_t c, int q, uint64_t smallest)
{
    /* floor(log10(2^q)), or of 3/4 * 2^q, by a 22-bit log10(2). */
    int k = (q * 1262611 - (smallest ? 524031 : 0)) >> 22;
    int shift = q + num_log2_pow10(-k) + 1;
    const struct num_pow10 *entry = num_pow10(-k);
    /* Rounded up (T1 to T3). */
    num_u128 g = ((num_u128)entry->hi << 64 | entry->lo) +
                 (-k < NUM_POW10_SAFE_MIN || -k > NUM_POW10_SAFE_MAX);
    /* In quarters: the value, and the ends of its interval, which belong to
     * it when ties go to this (even) double. */
    uint64_t mid = scale_to_odd(g, (4 * c) << shift);
    uint64_t low = scale_to_odd(g, (4 * c - 2 + smallest) << shift) + (c & 1);
    uint64_t high = scale_to_odd(g, (4 * c + 2) << shift) - (c & 1);
    uint64_t ones = mid / 4;
    uint64_t tens = mid / 40 * 10;
    bool ones_fit = low <= 4 * ones;
    bool next_fits = 4 * ones + 4 <= high;
    bool tens_fit = low <= 4 * tens;
    bool next_tens_fit = 4 * tens + 40 <= high;
    /* The closer one; of two equally close ones the upper, which is what Redis
     * prints for every float32 widened to a double. */
    bool round_up = (mid & 3) >= 2;

    ones += choose(ones_fit != next_fits, next_fits, round_up);
    tens += choose(next_tens_fit, 10, 0);
    return (struct decimal){choose(tens_fit != next_tens_fit, tens, ones), k};
}

/* How many of eight digits are left without the zeros at the end. */
ALWAYS_INLINE int significant(uint64_t word)
{
    return 8 - (int)((unsigned)__builtin_clzll(word) / 8);
}

/* Left-aligns d.digits in 17 places. For normal doubles they fill 16 or 17:
 * the least c, 2^52, times at least 1, and less than 2^53 times 10. */
ALWAYS_INLINE struct text spread(struct decimal d)
{
    uint64_t top;
    uint64_t high;
    uint64_t low;
    struct text t;
    bool short_by_one;

    while (UNLIKELY(d.digits < TEN_15)) {
        d.digits *= 10;
        d.exp10--;
    }
    short_by_one = d.digits < 10 * TEN_15;
    d.digits = choose(short_by_one, 10 * d.digits, d.digits);
    t.exp10 = d.exp10 - short_by_one + DIGITS_MAX - 1;

    top = d.digits / TEN_8;
    low = num_split_digits((uint32_t)(d.digits % TEN_8));
    high = num_split_digits((uint32_t)(top % TEN_8));
    t.first = (char)('0' + top / TEN_8);
    t.high = high | NUM_ASCII_ZEROS;
    t.low = low | NUM_ASCII_ZEROS;
    if (low != 0) {
        t.n = 9 + significant(low);
    } else {
        t.n = high != 0 ? 1 + significant(high) : 1;
    }
    return t;
}

/* The layouts store whole words, twice where the point goes between, for
 * loading back what was just stored in other pieces would stall. What they
 * write too much is within NUM_TEXT_MAX and is overwritten or ignored. */

ALWAYS_INLINE void put_word(char *out, uint64_t word)
{
    memcpy(out, &word, 8);
}

/* "123.45" or "1.2345", the point after 1 to 16 digits, before the last. */
ALWAYS_INLINE size_t lay_out_point_inside(const struct text *t, int whole,
                                          char *out)
{
    out[0] = t->first;
    put_word(out + 1, t->high);
    if (whole <= 8) {
        put_word(out + whole + 1, t->high >> (8 * (whole - 1)));
        put_word(out + 10, t->low);
    } else {
        put_word(out + 9, t->low);
        put_word(out + whole + 1, t->low >> (8 * (whole - 9)));
    }
    out[whole] = '.';
    return (size_t)t->n + 1;
}

/* "0.00123", at most five zeros after the point. */
ALWAYS_INLINE size_t lay_out_point_before(const struct text *t, char *out)
{
    int start = 1 - t->exp10;

    memcpy(out, "0.000000", 8);
    out[start] = t->first;
    put_word(out + start + 1, t->high);
    put_word(out + start + 9, t->low);
    return (size_t)(start + t->n);
}

/* "12300", at most seven zeros at the end. */
static size_t lay_out_whole(const struct text *t, char *out)
{
    out[0] = t->first;
    put_word(out + 1, t->high);
    put_word(out + 9, t->low);
    put_word(out + 17, NUM_ASCII_ZEROS);
    return (size_t)t->exp10 + 1;
}

/* "1e+25", "1.5e-7". */
static size_t lay_out_scientific(const struct text *t, char *out)
{
    unsigned exp10 = (unsigned)abs(t->exp10);
    size_t len = lay_out_point_inside(t, 1, out);

    len -= t->n == 1 ? 1 : 0; /* without the point */
    out[len++] = 'e';
    out[len++] = t->exp10 < 0 ? '-' : '+';
    return len + num_format_u64(exp10, out + len);
}

ALWAYS_INLINE size_t lay_out(const struct text *t, char *out)
{
    int ulp = t->exp10 - (t->n - 1); /* the last digit is worth 10^ulp */

    if (ulp >= 0) {
        return t->exp10 < t->n + 7 ? lay_out_whole(t, out)
                                   : lay_out_scientific(t, out);
    }
    if (ulp > -7 || (t->exp10 > -4 && t->exp10 < 4)) {
        return t->exp10 < 0 ? lay_out_point_before(t, out)
                            : lay_out_point_inside(t, t->exp10 + 1, out);
    }
    return lay_out_scientific(t, out);
}

static size_t lay_out_word(const char *word, char *out)
{
    size_t len = strlen(word);

    memcpy(out, word, len);
    return len;
}

size_t num_format_double(double value, char *out)
{
    uint64_t bits;
    uint64_t c;
    size_t negative;
    uint64_t smallest;
    int biased;
    struct text t;

    memcpy(&bits, &value, sizeof(bits));
    negative = bits >> 63;
    biased = (int)(bits >> MANTISSA_BITS) & EXPONENT_MAX;
    c = bits & (((uint64_t)1 << MANTISSA_BITS) - 1);

    if (value >= -WHOLE_MAX && value <= WHOLE_MAX &&
        (double)(int64_t)value == value) {
        if (value == 0 && negative) {
            return lay_out_word("-0", out);
        }
        return num_format_i64((int64_t)value, out);
    }
    if (biased == EXPONENT_MAX) {
        return lay_out_word(c ? "nan" : negative ? "-inf" : "inf", out);
    }
    smallest = c == 0 && biased > 1;
    if (biased > 0) {
        c |= (uint64_t)1 << MANTISSA_BITS;
    } else {
        biased = 1; /* denormal: the exponent of the smallest normal ones */
    }
    t = spread(shortest(c, biased - EXPONENT_SHIFT, smallest));
    *out = '-';
    return negative + lay_out(&t, out + negative);
}
