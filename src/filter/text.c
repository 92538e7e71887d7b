/* Texts of numbers and of strings, as JSON and expressions both write them. */
#include "filter/filter_impl.h"

#include <stdlib.h>

#include "base/num.h"

/* Most strings are words, and comparing them with a number must be cheap. */
static bool may_start_number(uint8_t c)
{
    return filter_is_digit(c) || c == '-' || c == '+' || c == '.' ||
           filter_is_blank(c) || (c | 0x20) == 'i' || (c | 0x20) == 'n';
}

bool filter_parse_number(struct bytes text, double *out)
{
    char copy[FILTER_NUMBER_MAX + 1];
    char *end;
    double value;

    if (text.len == 0 || text.len > FILTER_NUMBER_MAX ||
        !may_start_number(text.data[0])) {
        return false;
    }
    if (num_parse_double(text, out)) {
        return true;
    }
    /* What the exact parser refuses and the language knows: blanks before the
     * number, NaN, and magnitudes out of range. */
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    value = strtod(copy, &end);
    if (end != copy + text.len) {
        return false;
    }
    *out = value;
    return true;
}

static uint8_t escaped_byte(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

size_t filter_unescape(struct bytes text, uint8_t *dst)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\' && i + 1 < text.len) {
            i++;
            dst[n++] = escaped_byte(text.data[i]);
        } else {
            dst[n++] = text.data[i];
        }
    }
    return n;
}
