/* Whole numbers and their texts. */
#include "base/num.h"

/* "00" to "99", so that one division yields two characters. */
static const char DIGIT_PAIRS[200] = {
#define TENS(t)                                                                \
    t, '0', t, '1', t, '2', t, '3', t, '4', t, '5', t, '6', t, '7', t, '8', t, \
        '9'
    TENS('0'), TENS('1'), TENS('2'), TENS('3'), TENS('4'),
    TENS('5'), TENS('6'), TENS('7'), TENS('8'), TENS('9'),
#undef TENS
};

/* INT64_MAX has 19 digits, and any 19 digits fit in 64 bits unsigned. */
enum { I64_DIGITS_MAX = 19 };

bool num_parse_i64(struct bytes text, int64_t *out)
{
    const uint8_t *p = text.data;
    size_t len = text.len;
    uint64_t value = 0;
    bool negative;
    size_t i;

    if (len == 0) {
        return false;
    }
    negative = p[0] == '-';
    p += negative;
    len -= negative;
    if (len == 0 || len > I64_DIGITS_MAX) {
        return false;
    }
    if (p[0] == '0' && text.len > 1) {
        return false; /* a leading zero, or "-0" */
    }
    for (i = 0; i < len; i++) {
        uint64_t digit = p[i] - (uint64_t)'0';

        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = (int64_t)(negative ? 0 - value : value);
    return true;
}

static size_t count_digits(uint64_t value)
{
    uint64_t bound = 10;
    size_t n = 1;

    /* Four digits a turn: most numbers printed are small. */
    while (value >= bound) {
        if (value < bound * 10) {
            return n + 1;
        }
        if (value < bound * 100) {
            return n + 2;
        }
        if (value < bound * 1000) {
            return n + 3;
        }
        value /= 10000;
        n += 4;
    }
    return n;
}

size_t num_format_u64(uint64_t value, char *out)
{
    size_t len = count_digits(value);
    char *p = out + len;

    while (value >= 100) {
        p -= 2;
        memcpy(p, DIGIT_PAIRS + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(out, DIGIT_PAIRS + 2 * value, 2);
    } else {
        out[0] = (char)('0' + value);
    }
    return len;
}

size_t num_format_i64(int64_t value, char *out)
{
    uint64_t magnitude = (uint64_t)value;
    size_t sign = value < 0;

    if (sign) {
        *out++ = '-';
        magnitude = 0 - magnitude;
    }
    return sign + num_format_u64(magnitude, out);
}
