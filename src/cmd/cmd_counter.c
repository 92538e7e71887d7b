/* Numbers kept in strings: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/args.h"
#include "cmd/string_key.h"

static void add(struct cmd_ctx *ctx, int64_t delta)
{
    struct entry *e;
    int64_t n;
    bool added;

    if (!string_key_write_or_add(ctx, 0, &e, &added)) {
        return;
    }
    /* A fresh entry is 0, to which anything can be added. */
    if (!string_as_int(e, &n)) {
        cmd_error(ctx, "ERR value is not an integer or out of range");
        return;
    }
    if (__builtin_add_overflow(n, delta, &n)) {
        cmd_error(ctx, "ERR increment or decrement would overflow");
        return;
    }
    string_set_int(ctx->ks, e, n);
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    reply_int(&ctx->reply, n);
}

void cmd_incr(struct cmd_ctx *ctx)
{
    add(ctx, 1);
}

void cmd_decr(struct cmd_ctx *ctx)
{
    add(ctx, -1);
}

void cmd_incrby(struct cmd_ctx *ctx)
{
    int64_t delta;

    if (arg_int(ctx, 2, &delta)) {
        add(ctx, delta);
    }
}

void cmd_decrby(struct cmd_ctx *ctx)
{
    int64_t delta;

    if (!arg_int(ctx, 2, &delta)) {
        return;
    }
    if (delta == INT64_MIN) {
        cmd_error(ctx, "ERR decrement would overflow");
        return;
    }
    add(ctx, -delta);
}

/* ---- INCRBYFLOAT ------------------------------------------------------- */

/* It counts in long double and answers up to 17 places after the point, so that
 * decimal fractions clients add come out as they expect: 0.1 and 0.2 give 0.3.
 * Texts may have this many bytes, which any long double fits in. */
enum { FLOAT_TEXT_MAX = 5 * 1024 };

static bool parse_float(struct bytes text, long double *out)
{
    char copy[FLOAT_TEXT_MAX];
    long double x;
    char *end;

    if (text.len == 0 || text.len >= sizeof(copy) || isspace(text.data[0])) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    x = strtold(copy, &end);
    if (end != copy + text.len || isnan(x) ||
        (errno == ERANGE && (isinf(x) || fpclassify(x) == FP_ZERO))) {
        return false;
    }
    *out = x;
    return true;
}

/* Without trailing zeros, and never "-0". Returns the length. */
static size_t format_float(long double x, char *out, size_t cap)
{
    size_t len = (size_t)snprintf(out, cap, "%.17Lf", x);

    while (out[len - 1] == '0') {
        len--;
    }
    if (out[len - 1] == '.') {
        len--;
    }
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        len = 1;
    }
    return len;
}

/* The sum of the value and argv[2] as text; false: an error was replied. */
static bool sum_text(struct cmd_ctx *ctx, const struct entry *e,
                     char text[FLOAT_TEXT_MAX], size_t *len)
{
    long double x = 0;
    long double delta;
    char digits[NUM_TEXT_MAX];

    if ((e && !parse_float(string_get(e, digits), &x)) ||
        !parse_float(ctx->argv[2], &delta)) {
        cmd_error(ctx, "ERR value is not a valid float");
        return false;
    }
    x += delta;
    if (isnan(x) || isinf(x)) {
        cmd_error(ctx, "ERR increment would produce NaN or Infinity");
        return false;
    }
    *len = format_float(x, text, FLOAT_TEXT_MAX);
    return true;
}

void cmd_incrbyfloat(struct cmd_ctx *ctx)
{
    char text[FLOAT_TEXT_MAX];
    struct entry *e;
    bool added;
    size_t len;
    enum err err;

    if (!string_key_write(ctx, &e) || !sum_text(ctx, e, text, &len) ||
        !string_key_write_or_add(ctx, len, &e, &added)) {
        return;
    }
    err = string_set_text(ctx->ks, e, bytes_of(text, len));
    if (err) {
        if (added) {
            keyspace_delete(ctx->ks, ctx->client->db, e);
        }
        string_key_error(ctx, err);
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    cmd_propagate_as(ctx, ctx->client->db,
                     (struct bytes[]){bytes_str("SET"), ctx->argv[1],
                                      bytes_of(text, len),
                                      bytes_str("KEEPTTL")},
                     4);
    reply_bulk(&ctx->reply, bytes_of(text, len));
}
