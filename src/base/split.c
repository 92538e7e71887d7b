/* Quoted words: see split.h. A flat scanner; `to` trails `at` as escapes are
 * decoded in place. */
#include "base/split.h"

#include <stdbool.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' ||
           c == '\f' || c == '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes the escape at line[*at], the byte after a backslash. */
static char unescape(const char *line, size_t len, size_t *at)
{
    char c = line[*at];

    if (c == 'x' && *at + 2 < len && hex_digit(line[*at + 1]) >= 0 &&
        hex_digit(line[*at + 2]) >= 0) {
        c = (char)(hex_digit(line[*at + 1]) * 16 + hex_digit(line[*at + 2]));
        *at += 2;
        return c;
    }
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* Copies a quoted run from line[*at], past its opening quote, to line[*to];
 * leaves *at past the closing quote. False when it is not closed properly. */
static bool copy_quoted(char *line, size_t len, size_t *at, size_t *to)
{
    char quote = line[*at - 1];

    for (; *at < len; (*at)++) {
        if (line[*at] == quote) {
            (*at)++;
            return *at == len || is_blank(line[*at]);
        }
        if (line[*at] == '\\' && *at + 1 < len) {
            if (quote == '"') {
                (*at)++;
                line[(*to)++] = unescape(line, len, at);
                continue;
            }
            if (line[*at + 1] == '\'') {
                (*at)++;
            }
        }
        line[(*to)++] = line[*at];
    }
    return false;
}

enum err split_words(char *line, size_t len, struct bytes *words, size_t cap,
                     size_t *n)
{
    size_t at = 0;
    size_t found = 0;

    for (;;) {
        size_t start, to;

        while (at < len && is_blank(line[at])) {
            at++;
        }
        if (at == len) {
            break;
        }
        if (found == cap) {
            return ERR_LIMIT;
        }
        start = to = at;
        while (at < len && !is_blank(line[at])) {
            if (line[at] == '"' || line[at] == '\'') {
                at++;
                if (!copy_quoted(line, len, &at, &to)) {
                    return ERR_SYNTAX;
                }
            } else {
                line[to++] = line[at++];
            }
        }
        words[found++] = bytes_of(line + start, to - start);
    }
    *n = found;
    return ERR_OK;
}

size_t split_words_bound(const char *line, size_t len)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        n += !is_blank(line[i]) && (i == 0 || is_blank(line[i - 1]));
    }
    return n;
}
