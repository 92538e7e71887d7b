/* A scanner for one flat JSON object. Values that do not matter are stepped
 * over by counting brackets outside strings, which is all the structure a
 * reader of four members needs. */
#include "tools/bench/bench_meta.h"

#include <stdio.h>

struct scan {
    const uint8_t *at, *end;
};

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end && memchr(" \t\r\n", *s->at, 4)) {
        s->at++;
    }
}

static bool take(struct scan *s, char c)
{
    skip_blanks(s);
    if (s->at == s->end || *s->at != (uint8_t)c) {
        return false;
    }
    s->at++;
    return true;
}

/* A string with its escapes left in. */
static bool take_string(struct scan *s, struct bytes *out)
{
    const uint8_t *start;

    if (!take(s, '"')) {
        return false;
    }
    for (start = s->at; s->at < s->end; s->at++) {
        if (*s->at == '"') {
            *out = bytes_of(start, (size_t)(s->at - start));
            s->at++;
            return true;
        }
        if (*s->at == '\\' && ++s->at == s->end) {
            return false;
        }
    }
    return false;
}

/* Digits only, at most 2^53. */
static bool take_count(struct scan *s, uint64_t *out)
{
    uint64_t v = 0;
    const uint8_t *start;

    skip_blanks(s);
    for (start = s->at; s->at < s->end; s->at++) {
        unsigned digit = (unsigned)*s->at - '0';

        if (digit > 9) {
            break;
        }
        v = v * 10 + digit;
        if (v > UINT64_C(1) << 53) {
            return false;
        }
    }
    *out = v;
    return s->at > start;
}

static bool skip_value(struct scan *s)
{
    struct bytes ignored;
    unsigned depth = 0;
    const uint8_t *start;

    skip_blanks(s);
    start = s->at;
    while (s->at < s->end) {
        uint8_t c = *s->at;

        if (c == '"') {
            if (!take_string(s, &ignored)) {
                return false;
            }
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}')) {
            break;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                return false;
            }
            depth--;
        }
        s->at++;
    }
    return s->at > start && depth == 0;
}

static bool take_member(struct scan *s, struct bench_meta *m)
{
    struct bytes name, text;
    uint64_t dim = 0;
    bool ok;

    if (!take_string(s, &name) || !take(s, ':')) {
        return false;
    }
    if (bytes_equal(name, bytes_str("n"))) {
        return take_count(s, &m->n);
    }
    if (bytes_equal(name, bytes_str("nq"))) {
        return take_count(s, &m->nq);
    }
    if (bytes_equal(name, bytes_str("dim"))) {
        ok = take_count(s, &dim) && dim <= UINT32_MAX;
        m->dim = (uint32_t)dim;
        return ok;
    }
    if (bytes_equal(name, bytes_str("name"))) {
        ok = take_string(s, &text);
        if (ok) {
            snprintf(m->name, sizeof(m->name), "%.*s",
                     (int)(text.len < sizeof(m->name) ? text.len
                                                      : sizeof(m->name) - 1),
                     (const char *)text.data);
        }
        return ok;
    }
    return skip_value(s);
}

/* '{' members '}' and nothing after it. */
static bool take_object(struct scan *s, struct bench_meta *m)
{
    if (!take(s, '{')) {
        return false;
    }
    if (!take(s, '}')) {
        do {
            if (!take_member(s, m)) {
                return false;
            }
        } while (take(s, ','));
        if (!take(s, '}')) {
            return false;
        }
    }
    skip_blanks(s);
    return s->at == s->end;
}

enum err bench_meta_parse(struct bytes text, struct bench_meta *out,
                          struct err_ctx *ctx)
{
    struct scan s = {text.data, text.data + text.len};
    struct bench_meta m = {.n = 0};

    if (!take_object(&s, &m)) {
        return err_set(ctx, ERR_CORRUPT,
                       "not a JSON object like "
                       "{\"n\": 1000, \"nq\": 10, \"dim\": 100}");
    }
    if (m.n == 0 || m.dim == 0 || m.dim > 65536) {
        return err_set(ctx, ERR_CORRUPT,
                       "needs \"n\" above 0 and \"dim\" of 1 to 65536");
    }
    *out = m;
    return ERR_OK;
}
