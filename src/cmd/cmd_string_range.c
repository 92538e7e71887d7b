/* Parts of strings: APPEND, GETRANGE, SUBSTR, SETRANGE. */
#include <string.h>

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/string_key.h"

/* Replies an error when a value of `len` bytes with `more` behind it would be
 * too long; neither sum overflows. What the log has was short enough once. */
static bool length_ok(struct cmd_ctx *ctx, uint64_t len, size_t more)
{
    uint64_t most = ctx->env->settings.bulk_max;

    if (most > STRING_LEN_MAX || ctx->env->is_loading) {
        most = STRING_LEN_MAX;
    }
    if (len > most || more > most - len) {
        string_key_error(ctx, ERR_LIMIT);
        return false;
    }
    return true;
}

/* Makes a value longer; false: an error was replied and nothing changed. */
static bool grow(struct cmd_ctx *ctx, struct entry *e, size_t len,
                 uint8_t **text)
{
    size_t have = e->encoding == ENC_INT ? 0 : mem_size(e->value.text);
    size_t need = mem_good_size(len);
    enum err err = ERR_NOMEM;

    if (need <= have || mem_has_room(need - have)) {
        err = string_resize(e, len, text);
    }
    if (err) {
        string_key_error(ctx, err);
        return false;
    }
    return true;
}

void cmd_append(struct cmd_ctx *ctx)
{
    struct bytes tail = ctx->argv[2];
    struct entry *e;
    bool added;
    size_t len;

    if (!string_key_write(ctx, &e)) {
        return;
    }
    if (e) {
        uint8_t *text;

        len = string_len(e);
        if (!length_ok(ctx, len, tail.len) ||
            !grow(ctx, e, len + tail.len, &text)) {
            return;
        }
        memcpy(text + len, tail.data, tail.len);
        len += tail.len;
    } else {
        enum err err;

        if (!string_key_write_or_add(ctx, tail.len, &e, &added)) {
            return;
        }
        err = string_set(ctx->ks, e, tail);
        if (err) {
            keyspace_delete(ctx->ks, ctx->client->db, e);
            string_key_error(ctx, err);
            return;
        }
        len = tail.len;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    reply_int(&ctx->reply, (int64_t)len);
}

/* The part of a text that the inclusive positions `from` and `to` enclose;
 * negative ones count from the end. */
static struct bytes range_of(struct bytes text, int64_t from, int64_t to)
{
    int64_t len = (int64_t)text.len;

    if (from < 0 && to < 0 && from > to) {
        return BYTES_NONE;
    }
    from = from < 0 ? from + len : from;
    to = to < 0 ? to + len : to;
    from = from < 0 ? 0 : from;
    to = to < 0 ? 0 : to;
    to = to >= len ? len - 1 : to;
    if (from > to) {
        return BYTES_NONE; /* an empty text too: to is -1 */
    }
    return bytes_of(text.data + from, (size_t)(to - from + 1));
}

void cmd_getrange(struct cmd_ctx *ctx)
{
    struct bytes part = BYTES_NONE;
    char digits[NUM_TEXT_MAX];
    int64_t from, to;
    struct entry *e;

    if (!arg_int(ctx, 2, &from) || !arg_int(ctx, 3, &to) ||
        !string_key_read(ctx, &e)) {
        return;
    }
    if (e) {
        part = range_of(string_get(e, digits), from, to);
    }
    reply_bulk(&ctx->reply, part);
}

/* An entry for SETRANGE on a key that is not there: an empty text. */
static bool add_empty(struct cmd_ctx *ctx, size_t len, struct entry **e)
{
    bool added;

    if (!string_key_write_or_add(ctx, len, e, &added)) {
        return false;
    }
    if (string_set_text(ctx->ks, *e, BYTES_NONE) != ERR_OK) {
        keyspace_delete(ctx->ks, ctx->client->db, *e);
        cmd_error_oom(ctx);
        return false;
    }
    return true;
}

void cmd_setrange(struct cmd_ctx *ctx)
{
    struct bytes part = ctx->argv[3];
    bool added = false;
    uint8_t *text;
    int64_t at;
    struct entry *e;
    size_t len;

    if (!arg_int(ctx, 2, &at)) {
        return;
    }
    if (at < 0) {
        cmd_error(ctx, "ERR offset is out of range");
        return;
    }
    if (!string_key_write(ctx, &e)) {
        return;
    }
    len = e ? string_len(e) : 0;
    if (part.len == 0) {
        reply_int(&ctx->reply, (int64_t)len);
        return;
    }
    if (!length_ok(ctx, (uint64_t)at, part.len)) {
        return;
    }
    len = len > (size_t)at + part.len ? len : (size_t)at + part.len;
    if (!e) {
        added = add_empty(ctx, len, &e);
        if (!added) {
            return;
        }
    }
    if (!grow(ctx, e, len, &text)) {
        if (added) {
            keyspace_delete(ctx->ks, ctx->client->db, e);
        }
        return;
    }
    memcpy(text + at, part.data, part.len);
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    reply_int(&ctx->reply, (int64_t)len);
}
