/* The request parser: see resp_request.h. Limits and error texts are those
 * Redis clients know. */
#include "resp/resp_request.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/mem_map.h"
#include "base/num.h"
#include "base/split.h"

enum { ARGS_MIN = 64, ARGS_KEEP = 64 * 1024 };

/* Millions of arguments are announced by one number but come one by one: from
 * here on their array grows without being copied. */
enum { ARGS_MAPPED = (4 << 20) / sizeof(struct bytes) };

static void args_free(struct resp_args *a)
{
    if (a->cap >= ARGS_MAPPED) {
        mem_map_free(a->at, a->cap * sizeof(*a->at));
    } else {
        mem_free(a->at);
    }
    *a = (struct resp_args){NULL, 0};
}

static void args_resize(struct resp_args *a, size_t cap)
{
    size_t was = a->cap * sizeof(*a->at);
    size_t bytes = cap * sizeof(*a->at);

    if (cap < ARGS_MAPPED) {
        a->at = mem_realloc(a->at, bytes);
    } else if (a->cap >= ARGS_MAPPED) {
        a->at = mem_map_resize(a->at, was, bytes);
    } else {
        struct bytes *at = mem_map_resize(NULL, 0, bytes);

        if (was) {
            memcpy(at, a->at, was);
        }
        mem_free(a->at);
        a->at = at;
    }
    a->cap = cap;
}

void resp_scratch_init(struct resp_scratch *s)
{
    *s = (struct resp_scratch){{NULL, 0}};
}

void resp_scratch_deinit(struct resp_scratch *s)
{
    args_free(&s->args);
}

void resp_parser_init(struct resp_parser *p)
{
    *p = (struct resp_parser){.bulk_len = -1};
}

void resp_parser_deinit(struct resp_parser *p, struct resp_scratch *s)
{
    (void)s;
    args_free(&p->args);
    resp_parser_init(p);
}

static void args_reserve(struct resp_args *a, size_t n)
{
    size_t cap = a->cap ? a->cap : ARGS_MIN;

    if (n <= a->cap) {
        return;
    }
    while (cap < n) {
        cap *= 2;
    }
    args_resize(a, cap);
}

static enum resp_result invalid(char *error, size_t cap, const char *text)
{
    snprintf(error, cap, "ERR Protocol error: %s", text);
    return RESP_INVALID;
}

/* ---- inline requests --------------------------------------------------- */

static enum resp_result parse_inline(struct resp_args *args, uint8_t *data,
                                     size_t len, struct resp_request *out,
                                     char *error, size_t error_cap)
{
    uint8_t *newline = memchr(data, '\n', len);
    size_t line;
    enum err err;

    if (!newline) {
        if (len > RESP_INLINE_MAX) {
            return invalid(error, error_cap, "too big inline request");
        }
        return RESP_MORE;
    }
    line = (size_t)(newline - data);
    out->consumed = line + 1;
    if (line > RESP_INLINE_MAX) {
        return invalid(error, error_cap, "too big inline request");
    }
    if (line && data[line - 1] == '\r') {
        line--;
    }
    args_reserve(args, split_words_bound((char *)data, line));
    err = split_words((char *)data, line, args->at, args->cap, &out->argc);
    if (err) {
        return invalid(error, error_cap, "unbalanced quotes in request");
    }
    out->argv = args->at;
    return RESP_READY;
}

/* ---- arrays of bulk strings -------------------------------------------- */

/* Reads the number of a "*n" or "$n" line whose first byte is at `at`.
 *
 * out    *next: past the line end. RESP_INVALID: the line is no number. */
ALWAYS_INLINE enum resp_result parse_count(const uint8_t *data, size_t len,
                                           size_t at, int64_t *value,
                                           size_t *next)
{
    const uint8_t *end;
    size_t i = at + 1;
    int64_t v = 0;

    /* Up to six digits and a complete line: nearly always. */
    while (i < len && i < at + 7 && (uint8_t)(data[i] - '0') < 10) {
        v = v * 10 + (data[i] - '0');
        i++;
    }
    if (LIKELY(i + 1 < len && data[i] == '\r' && i > at + 1 &&
               (data[at + 1] != '0' || i == at + 2))) {
        *value = v;
        *next = i + 2;
        return RESP_READY;
    }
    end = memchr(data + at + 1, '\r', len - at - 1);
    if (!end || end + 1 >= data + len) {
        return RESP_MORE;
    }
    *next = (size_t)(end - data) + 2;
    return num_parse_i64(bytes_of(data + at + 1, (size_t)(end - data) - at - 1),
                         value)
               ? RESP_READY
               : RESP_INVALID;
}

static enum resp_result parse_header(struct resp_parser *p,
                                     const struct resp_limits *limits,
                                     const uint8_t *data, size_t len,
                                     char *error, size_t error_cap)
{
    int64_t n = 0;
    size_t next = 0;
    enum resp_result r = parse_count(data, len, 0, &n, &next);

    if (r == RESP_MORE) {
        if (len > RESP_INLINE_MAX) {
            return invalid(error, error_cap, "too big mbulk count string");
        }
        return r;
    }
    if (r == RESP_INVALID || n > RESP_ARGS_MAX) {
        return invalid(error, error_cap, "invalid multibulk length");
    }
    if (n > RESP_ARGS_MAX_NO_AUTH && !limits->authenticated) {
        return invalid(error, error_cap, "unauthenticated multibulk length");
    }
    p->pos = next;
    p->args_left = n > 0 ? n : 0;
    p->argc = 0;
    p->bulk_len = -1;
    return RESP_READY;
}

/* Reads the "$n" line at p->pos. */
ALWAYS_INLINE enum resp_result parse_bulk_len(struct resp_parser *p,
                                              const struct resp_limits *limits,
                                              const uint8_t *data, size_t len,
                                              char *error, size_t error_cap)
{
    int64_t n = 0;
    size_t next = 0;
    enum resp_result r;

    if (p->pos >= len) {
        return RESP_MORE;
    }
    if (UNLIKELY(data[p->pos] != '$')) {
        snprintf(error, error_cap, "ERR Protocol error: expected '$', got '%c'",
                 data[p->pos]);
        return RESP_INVALID;
    }
    r = parse_count(data, len, p->pos, &n, &next);
    if (UNLIKELY(r == RESP_MORE)) {
        if (len - p->pos > RESP_INLINE_MAX) {
            return invalid(error, error_cap, "too big bulk count string");
        }
        return r;
    }
    if (UNLIKELY(r == RESP_INVALID || n < 0 ||
                 (uint64_t)n > limits->bulk_max)) {
        return invalid(error, error_cap, "invalid bulk length");
    }
    if (UNLIKELY(n > RESP_BULK_MAX_NO_AUTH && !limits->authenticated)) {
        return invalid(error, error_cap, "unauthenticated bulk length");
    }
    p->pos = next;
    p->bulk_len = n;
    return RESP_READY;
}

/* Points the views of an interrupted request at where its bytes are now. */
static void rebase(struct resp_parser *p, struct resp_args *args,
                   const uint8_t *data)
{
    size_t i;

    for (i = 0; i < p->argc; i++) {
        args->at[i].data = data + (args->at[i].data - p->base);
    }
}

/* Takes what is short and there as a whole, such as the numbers of a vector in
 * decimals; whatever looks different is left to parse_bulk_len(). Whether a
 * length has one digit or two is as good as random: no branches. */
ALWAYS_INLINE void take_short(struct resp_parser *p, struct resp_args *args,
                              const struct resp_limits *limits,
                              const uint8_t *data, size_t len)
{
    enum { SHORT_MAX = 99, WHOLE_MAX = 5 + SHORT_MAX + 2 };
    size_t pos = p->pos, argc = p->argc;
    size_t room = args->cap - argc;
    size_t end =
        argc + ((size_t)p->args_left < room ? (size_t)p->args_left : room);

    if (p->bulk_len >= 0 || limits->bulk_max < SHORT_MAX) {
        return;
    }
    for (; argc < end && len - pos >= WHOLE_MAX; argc++) {
        const uint8_t *line = data + pos;
        unsigned first = line[1] - (unsigned)'0';
        unsigned second = line[2] - (unsigned)'0';
        unsigned two = line[2] != '\r';
        unsigned has = first + two * (9 * first + second);
        unsigned is_two = (first != 0) & (second <= 9) & (line[3] == '\r');

        if ((line[0] != '$') | (first > 9) | (two & (is_two ^ 1))) {
            break;
        }
        args->at[argc] = bytes_of(line + 4 + two, has);
        pos += 4 + two + has + 2;
    }
    p->args_left -= (int64_t)(argc - p->argc);
    p->argc = argc;
    p->pos = pos;
}

static enum resp_result
parse_array(struct resp_parser *p, struct resp_args *args,
            const struct resp_limits *limits, uint8_t *data, size_t len,
            struct resp_request *out, char *error, size_t error_cap)
{
    enum resp_result r;

    if (p->pos == 0) {
        r = parse_header(p, limits, data, len, error, error_cap);
        if (r != RESP_READY) {
            return r;
        }
    } else if (p->base != data) {
        rebase(p, args, data);
    }
    p->base = data;
    for (;;) {
        take_short(p, args, limits, data, len);
        if (p->args_left == 0) {
            break;
        }
        if (p->bulk_len < 0) {
            r = parse_bulk_len(p, limits, data, len, error, error_cap);
            if (r != RESP_READY) {
                return r;
            }
        }
        if (len - p->pos < (size_t)p->bulk_len + 2) {
            return RESP_MORE;
        }
        if (UNLIKELY(p->argc == args->cap)) {
            /* By what has arrived, never by what was announced. */
            args_reserve(args, p->argc + 1);
        }
        args->at[p->argc++] = bytes_of(data + p->pos, (size_t)p->bulk_len);
        p->pos += (size_t)p->bulk_len + 2;
        p->bulk_len = -1;
        p->args_left--;
    }
    out->argv = args->at;
    out->argc = p->argc;
    out->consumed = p->pos;
    return RESP_READY;
}

/* ---- the parser -------------------------------------------------------- */

/* Takes the array of an interrupted request back into the scratch. */
static void scratch_take(struct resp_scratch *s, struct resp_parser *p)
{
    if (p->args.at) {
        args_free(&s->args);
        s->args = p->args;
        p->args = (struct resp_args){NULL, 0};
    }
}

enum resp_result resp_parse(struct resp_parser *p, struct resp_scratch *s,
                            const struct resp_limits *limits, uint8_t *data,
                            size_t len, struct resp_request *out, char *error,
                            size_t error_cap)
{
    enum resp_result r;

    if (len == 0) {
        return RESP_MORE;
    }
    scratch_take(s, p);
    if (UNLIKELY(s->args.cap > ARGS_KEEP && p->argc == 0)) {
        resp_scratch_deinit(s); /* one huge request must not pin its array */
    }
    if (p->pos == 0 && data[0] != '*') {
        r = parse_inline(&s->args, data, len, out, error, error_cap);
    } else {
        r = parse_array(p, &s->args, limits, data, len, out, error, error_cap);
    }
    if (LIKELY(r == RESP_READY)) {
        p->pos = 0;
        p->argc = 0;
        p->args_left = 0;
    } else if (r == RESP_MORE && p->argc > 0) {
        p->args = s->args;
        s->args = (struct resp_args){NULL, 0};
    }
    return r;
}

size_t resp_parser_wants(const struct resp_parser *p)
{
    return p->bulk_len >= 0 ? p->pos + (size_t)p->bulk_len + 2 : 0;
}
