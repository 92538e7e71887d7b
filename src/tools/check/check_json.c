/* JSON: see check_json.h. */
#include "tools/check/check_json.h"

/* The length of the UTF-8 character at p, or 0. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
               : p[0] < 0xF5 ? 4
                             : 0;
    size_t i;

    if (n > left) {
        return 0;
    }
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    /* Longer than need be, a surrogate, or past the last. */
    if ((n == 3 &&
         ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] >= 0xA0))) ||
        (n == 4 &&
         ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] >= 0x90)))) {
        return 0;
    }
    return n;
}

static bool is_text(struct bytes s)
{
    size_t i, n;

    for (i = 0; i < s.len; i += n) {
        n = utf8_len(s.data + i, s.len - i);
        if (n == 0) {
            return false;
        }
    }
    return true;
}

void check_json_string(FILE *out, struct bytes s)
{
    bool text = is_text(s);
    size_t i;

    putc('"', out);
    for (i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];

        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7F || (c >= 0x80 && !text)) {
            fprintf(out, "\\u%04x", c);
        } else {
            putc(c, out);
        }
    }
    putc('"', out);
}
