/* Text to the nearest double.
 *
 * Three ways, each taken when the one before cannot decide:
 *
 * 1. Scan up to 19 significant digits into a whole number w, eight characters
 *    at a time, so that the text is w * 10^q. With w < 2^53 and |q| <= 22 both
 *    are doubles, and one multiplication or division rounds correctly
 *    (Clinger, "How to read floating point numbers accurately", 1990).
 * 2. Otherwise multiply w by 128 bits of 10^q and round the product, as in
 *    "Number Parsing at a Gigabyte per Second" (Lemire, 2021).
 * 3. Whatever is left, and that is rare or wrong: hexadecimal, infinities,
 *    results below the smallest normal double, digits past the 19th that
 *    matter. A strict scanner writes an equivalent text of bounded length and
 *    asks strtod(), which also decides what is underflow.
 *
 * The fast scan never refuses a text: all it cannot take it leaves to the
 * third way, so the grammar is written down in one place. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "base/num_impl.h"

_Static_assert(FLT_EVAL_METHOD == 0, "way 1 must round once, to double");

enum {
    /* Any 19 digits fit in 64 bits. */
    W_DIGITS = 19,
    /* The digits of the longest exact midpoint between two doubles are 768,
     * so what follows 800 digits matters only by being zero or not. */
    KEPT_DIGITS = 800,
    /* KEPT_DIGITS digits times ten (or two) to this power is certainly out
     * of range, in both directions. */
    EXPONENT_CLAMP = 100000
};

/* Exponents stop growing here: far past any text's length, far from
 * overflow. */
#define EXPONENT_CAP ((int64_t)1 << 56)

#define MANTISSA_BITS 52
#define TWO_53        ((uint64_t)1 << 53)

static const double POW10_EXACT[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum { POW10_EXACT_MAX = ARRAY_LEN(POW10_EXACT) - 1 };

/* ---- way 3: everything ------------------------------------------------ */

/* Digits and their point: kept * 10^exponent or kept * 16^exponent. */
struct mantissa {
    char kept[KEPT_DIGITS + 1]; /* from the first that is not zero */
    int n_kept;
    bool any; /* there was a digit at all */
    int64_t exponent;
};

struct cursor {
    const uint8_t *p;
    const uint8_t *end;
};

static bool at_letter(const struct cursor *c, char lower)
{
    return c->p < c->end && (*c->p | 0x20) == (uint8_t)lower;
}

static bool take_sign(struct cursor *c)
{
    bool negative = c->p < c->end && *c->p == '-';

    if (negative || (c->p < c->end && *c->p == '+')) {
        c->p++;
    }
    return negative;
}

static bool is_digit(uint8_t c, bool hex)
{
    if (c >= '0' && c <= '9') {
        return true;
    }
    c |= 0x20;
    return hex && c >= 'a' && c <= 'f';
}

/* Digits with at most one point among them. Digits past KEPT_DIGITS become
 * one more digit, 1, unless they are all zero: that keeps the text on the
 * same side of every number with fewer digits. */
static void scan_mantissa(struct cursor *c, bool hex, struct mantissa *m)
{
    bool after_point = false;
    bool rest_is_zero = true;

    m->n_kept = 0;
    m->any = false;
    m->exponent = 0;
    for (; c->p < c->end; c->p++) {
        uint8_t ch = *c->p;

        if (ch == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (!is_digit(ch, hex)) {
            break;
        }
        m->any = true;
        m->exponent -= after_point;
        if (m->n_kept < KEPT_DIGITS) {
            if (m->n_kept > 0 || ch != '0') {
                m->kept[m->n_kept++] = (char)ch;
            }
        } else {
            m->exponent++;
            rest_is_zero = rest_is_zero && ch == '0';
        }
    }
    if (!rest_is_zero) {
        m->kept[m->n_kept++] = '1';
        m->exponent--;
    }
}

/* The part after 'e' or 'p'. */
static bool scan_exponent(struct cursor *c, int64_t *exponent)
{
    bool negative = take_sign(c);
    const uint8_t *first = c->p;
    int64_t value = 0;

    for (; c->p < c->end && is_digit(*c->p, false); c->p++) {
        if (value < EXPONENT_CAP / 16) {
            value = value * 10 + (*c->p - '0');
        }
    }
    *exponent = negative ? -value : value;
    return c->p > first;
}

/* Asks strtod() for kept * 10^exponent, or kept (hexadecimal) * 2^exponent.
 * The text has no point, so no locale matters. */
static bool convert_by_strtod(const struct mantissa *m, bool hex,
                              int64_t exponent, double *out)
{
    char text[KEPT_DIGITS + 32];
    int saved_errno = errno;
    char *p = text;
    double value;
    bool in_range;

    if (m->n_kept == 0) {
        *out = 0;
        return true;
    }
    if (exponent > EXPONENT_CLAMP) {
        exponent = EXPONENT_CLAMP;
    } else if (exponent < -EXPONENT_CLAMP) {
        exponent = -EXPONENT_CLAMP;
    }
    if (hex) {
        *p++ = '0';
        *p++ = 'x';
    }
    memcpy(p, m->kept, (size_t)m->n_kept);
    p += m->n_kept;
    *p++ = hex ? 'p' : 'e';
    p += num_format_i64(exponent, p);
    *p = '\0';

    errno = 0;
    value = strtod(text, NULL);
    in_range = value != 0 && value <= DBL_MAX;
    errno = saved_errno;
    if (!in_range) {
        return false;
    }
    *out = value;
    return true;
}

static bool is_infinity(struct cursor c)
{
    struct bytes rest = bytes_of(c.p, (size_t)(c.end - c.p));

    return bytes_equal_fold(rest, "inf") || bytes_equal_fold(rest, "infinity");
}

static NO_INLINE bool parse_anything(struct bytes text, double *out)
{
    struct cursor c = {text.data, text.data + text.len};
    bool negative = take_sign(&c);
    struct mantissa m;
    int64_t exponent = 0;
    double value;
    bool hex;

    if (is_infinity(c)) {
        *out = negative ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    hex = c.end - c.p > 2 && c.p[0] == '0' && (c.p[1] | 0x20) == 'x';
    if (hex) {
        c.p += 2;
    }
    scan_mantissa(&c, hex, &m);
    if (!m.any) {
        return false;
    }
    if (at_letter(&c, hex ? 'p' : 'e')) {
        c.p++;
        if (!scan_exponent(&c, &exponent)) {
            return false;
        }
    }
    if (c.p != c.end) {
        return false;
    }
    exponent += hex ? 4 * m.exponent : m.exponent;
    if (!convert_by_strtod(&m, hex, exponent, &value)) {
        return false;
    }
    *out = negative ? -value : value;
    return true;
}

/* ---- way 2: 128-bit product ------------------------------------------- */

enum product { PRODUCT_OK, PRODUCT_OVERFLOW, PRODUCT_UNDECIDED };

/* The bits of the double nearest to w * 10^q, w > 0.
 *
 * `hi` and `lo` are the top 128 bits of the product of w and 10^q. T1 makes
 * the product too small by less than one unit of lo, so hi is right unless lo
 * is all ones. T2 makes it too large by less than one unit of lo; as w / 5^-q
 * is whole or at least 5^-27 > 2^-64 away from it, hi is right there, and what
 * follows it is zero exactly when lo is.
 *
 * Below hi's top 54 bits (53 and one to round by) the rest tells ties. A tie
 * means that w * 10^q has 54 significant bits: then 5^q < 2^54, or 5^-q
 * divides w < 2^64 leaving 54 bits; so -4 <= q <= 23, where the rest is exact.
 * For other q a rest that looks zero is not, and the value is above the tie. */
static enum product multiply(uint64_t w, int64_t q, uint64_t *bits)
{
    const struct num_pow10 *ten;
    uint64_t hi;
    uint64_t lo;
    uint64_t mantissa;
    num_u128 product;
    int zeros;
    int top;
    int shift;
    int biased;

    if (q > 308) {
        return PRODUCT_OVERFLOW;
    }
    if (q < NUM_POW10_MIN) {
        return PRODUCT_UNDECIDED;
    }
    ten = num_pow10((int)q);
    zeros = __builtin_clzll(w);
    w <<= zeros;
    product = (num_u128)w * ten->hi + num_mul_high(w, ten->lo);
    hi = (uint64_t)(product >> 64);
    lo = (uint64_t)product;
    if (UNLIKELY(lo == UINT64_MAX) &&
        (q < NUM_POW10_SAFE_MIN || q > NUM_POW10_SAFE_MAX)) {
        return PRODUCT_UNDECIDED;
    }
    top = (int)(hi >> 63);
    shift = top + 9;
    mantissa = hi >> shift;
    biased = top + 63 + num_log2_pow10((int)q) - zeros + 1023;
    if (UNLIKELY(biased <= 0)) {
        return PRODUCT_UNDECIDED; /* below the smallest normal double */
    }
    if (UNLIKELY(lo == 0) && q >= -4 && q <= 23 && (mantissa & 3) == 1 &&
        mantissa << shift == hi) {
        mantissa--; /* a tie, and the even neighbour is below */
    }
    mantissa = (mantissa + 1) >> 1;
    /* Rounding up may carry into the exponent, which is what it should do:
     * the leading bit of the mantissa counts as one there. */
    *bits = ((uint64_t)(biased - 1) << MANTISSA_BITS) + mantissa;
    return *bits < (uint64_t)0x7ff << MANTISSA_BITS ? PRODUCT_OK
                                                    : PRODUCT_OVERFLOW;
}

/* ---- way 1: short decimals -------------------------------------------- */

/* How a fast scan saw the text: w * 10^q, w wrapped around if the text has
 * more than W_DIGITS significant digits. */
struct scan {
    const uint8_t *first; /* of the mantissa */
    const uint8_t *end;   /* of the mantissa */
    int64_t exponent;     /* as written */
    int64_t q;
    uint64_t w;
    bool has_point;
};

/* The eight characters from p on; those past `end` read as zero bytes. The
 * eight bytes before `end` are readable, so a short rest is loaded with them
 * and they are shifted out. */
ALWAYS_INLINE uint64_t load_window(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    unsigned excess = left < 8 ? 8 - (unsigned)left : 0;
    uint64_t word;

    memcpy(&word, p - excess, 8);
    /* Two shifts, for excess may be 8. */
    return (word >> (4 * excess)) >> (4 * excess);
}

/* Both append the digits from p on to *w (modulo 2^64) and return their end.
 * The first is for few digits, as before the point and in short texts: there a
 * loop that is mostly predicted beats a fixed amount of work. */

ALWAYS_INLINE const uint8_t *scan_digits(const uint8_t *p, const uint8_t *end,
                                         uint64_t *w)
{
    for (; p < end && (uint8_t)(*p - '0') < 10; p++) {
        *w = *w * 10 + (*p - (uint64_t)'0');
    }
    return p;
}

ALWAYS_INLINE const uint8_t *
scan_digits_by_eight(const uint8_t *p, const uint8_t *end, uint64_t *w)
{
    static const uint64_t pow10[8] = {1,     10,     100,     1000,
                                      10000, 100000, 1000000, 10000000};

    for (;;) {
        /* Digits become 0..9; a byte that is no digit gets its top bit set,
         * possibly with bytes above it, below it never. */
        uint64_t word = load_window(p, end) ^ NUM_ASCII_ZEROS;
        uint64_t other =
            ((word + 0x7676767676767676u) | word) & 0x8080808080808080u;
        unsigned n;

        if (other == 0) {
            *w = *w * 100000000 + num_join_digits(word);
            p += 8;
            continue;
        }
        n = (unsigned)__builtin_ctzll(other) / 8;
        /* Leading zeros in place of what follows the digits. */
        word = (word << (32 - 4 * n)) << (32 - 4 * n);
        *w = *w * pow10[n] + num_join_digits(word);
        return p + n;
    }
}

/* Reads an unsigned decimal at p, all of it; false leaves it to way 3. is_long
 * promises that eight bytes before `end` are readable. */
ALWAYS_INLINE bool scan_decimal(const uint8_t *p, const uint8_t *end,
                                bool is_long, struct scan *s)
{
    int64_t fraction = 0;
    uint64_t w = 0;

    s->first = p;
    s->exponent = 0;
    p = scan_digits(p, end, &w);
    s->has_point = p < end && *p == '.';
    if (s->has_point) {
        const uint8_t *after = p + 1;

        p = is_long ? scan_digits_by_eight(after, end, &w)
                    : scan_digits(after, end, &w);
        fraction = p - after;
    }
    s->end = p;
    if (p < end) {
        struct cursor c = {p + 1, end};

        if ((*p | 0x20) != 'e' || !scan_exponent(&c, &s->exponent) ||
            c.p != end) {
            return false;
        }
    }
    s->w = w;
    s->q = s->exponent - fraction;
    return p - s->first > s->has_point; /* a digit at all */
}

/* The same with the digits cut after the 19th significant one; *exact tells
 * whether all were used. */
static void rescan_long(struct scan *s, bool *exact)
{
    const uint8_t *p = s->first;
    bool after_point = false;
    int n = 0;

    s->w = 0;
    s->q = s->exponent;
    *exact = true;
    for (; p < s->end; p++) {
        uint64_t digit = *p - (uint64_t)'0';

        if (*p == '.') {
            after_point = true;
        } else if (n < W_DIGITS) {
            s->w = s->w * 10 + digit;
            s->q -= after_point;
            n += s->w != 0;
        } else {
            *exact = *exact && digit == 0;
            s->q += !after_point;
        }
    }
}

/* More than W_DIGITS characters of digits. When the cut-off digits matter, the
 * value lies between w and w + 1, and both mostly round to the same double. */
static NO_INLINE enum product convert_long(struct scan *s, uint64_t *bits)
{
    enum product result;
    uint64_t upper;
    bool exact;

    rescan_long(s, &exact);
    if (s->w == 0) {
        *bits = 0;
        return PRODUCT_OK;
    }
    result = multiply(s->w, s->q, bits);
    if (exact || result == PRODUCT_OVERFLOW) {
        return result;
    }
    if (result == PRODUCT_OK &&
        multiply(s->w + 1, s->q, &upper) == PRODUCT_OK && upper == *bits) {
        return PRODUCT_OK;
    }
    return PRODUCT_UNDECIDED;
}

/* The bits of |value|, from a scan that succeeded. */
ALWAYS_INLINE enum product convert(struct scan *s, uint64_t *bits)
{
    if (UNLIKELY(s->end - s->first > W_DIGITS + s->has_point)) {
        return convert_long(s, bits);
    }
    if (s->w < TWO_53 && s->q >= -POW10_EXACT_MAX && s->q <= POW10_EXACT_MAX) {
        double value = (double)(int64_t)s->w;

        if (s->q < 0) {
            value /= POW10_EXACT[-s->q];
        } else {
            value *= POW10_EXACT[s->q];
        }
        memcpy(bits, &value, sizeof(*bits));
        return PRODUCT_OK;
    }
    if (s->w == 0) {
        *bits = 0;
        return PRODUCT_OK;
    }
    return multiply(s->w, s->q, bits);
}

/* Way 1 for what most vectors are written as, a point among three to seven
 * digits, whose number is as good as random: all of it at once, no branches.
 * false leaves it to the others. */
ALWAYS_INLINE bool parse_little(const uint8_t *p, const uint8_t *end,
                                double *out)
{
    unsigned absent = 8 - (unsigned)(end - p); /* 0 to 4 */
    uint64_t ones = 0x0101010101010101u;
    uint64_t word, point, below;
    uint32_t first, last;

    /* The text at the upper end of a word, zeros before it. */
    memcpy(&first, p, sizeof(first));
    memcpy(&last, end - sizeof(last), sizeof(last));
    word = (uint64_t)last << 32 | (uint32_t)((uint64_t)first << (8 * absent));
    word ^= NUM_ASCII_ZEROS << (8 * absent);
    /* The lowest bit of `point` is in the first byte that is one. */
    point = word ^ ('.' ^ '0') * ones;
    point = (point - ones) & ~point & 0x80 * ones;
    if (UNLIKELY(point == 0)) {
        return false;
    }
    point = (point & -point) >> 7;
    below = point - 1;
    word = (word & ~(below | point * 0xff)) | (word & below) << 8;
    if (UNLIKELY((((word + 0x76 * ones) | word) & 0x80 * ones) != 0)) {
        return false;
    }
    *out = (double)(int64_t)num_join_digits(word) /
           POW10_EXACT[7 - __builtin_ctzll(point) / 8];
    return true;
}

bool num_parse_double(struct bytes text, double *out)
{
    const uint8_t *p = text.data;
    const uint8_t *end;
    enum product result;
    bool scanned;
    struct scan s;
    uint64_t bits;
    uint64_t sign;

    if (text.len == 0) {
        return false;
    }
    end = p + text.len;
    /* Signs are as good as random: no branches. */
    sign = (uint64_t)(*p == '-') << 63;
    p += (*p == '-') | (*p == '+');
    if ((size_t)(end - p) - 4 <= 4 && parse_little(p, end, out)) {
        memcpy(&bits, out, sizeof(bits));
        bits |= sign;
        memcpy(out, &bits, sizeof(bits));
        return true;
    }
    scanned = text.len >= 8 ? scan_decimal(p, end, true, &s)
                            : scan_decimal(p, end, false, &s);
    if (UNLIKELY(!scanned)) {
        return parse_anything(text, out);
    }
    result = convert(&s, &bits);
    if (UNLIKELY(result != PRODUCT_OK)) {
        return result == PRODUCT_UNDECIDED && parse_anything(text, out);
    }
    bits |= sign;
    memcpy(out, &bits, sizeof(bits));
    return true;
}
