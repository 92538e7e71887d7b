/* Values on their own: DUMP, RESTORE, COPY. */
#include <limits.h>

#include "base/log.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/propagate.h"
#include "db/dump.h"

/* ---- DUMP -------------------------------------------------------------- */

void cmd_dump(struct cmd_ctx *ctx)
{
    const struct entry *e =
        keyspace_read(ctx->ks, ctx->client->db, ctx->argv[1]);
    struct buf out = BUF_INIT;

    if (!e) {
        reply_null(&ctx->reply);
        return;
    }
    if (dump_write(e, &out) != ERR_OK) {
        cmd_error_oom(ctx);
    } else {
        reply_bulk(&ctx->reply, buf_bytes(&out));
    }
    buf_deinit(&out);
}

/* ---- RESTORE ----------------------------------------------------------- */

struct restore {
    struct bytes key, payload;
    int64_t ttl; /* 0: none */
    int64_t idle_s;
    bool replace, absolute, has_idle, has_freq;
};

static bool parse_restore(struct cmd_ctx *ctx, struct restore *r)
{
    int64_t freq;
    size_t i;

    for (i = 4; i < ctx->argc; i++) {
        bool more = i + 1 < ctx->argc;

        if (arg_is(ctx, i, "REPLACE")) {
            r->replace = true;
        } else if (arg_is(ctx, i, "ABSTTL")) {
            r->absolute = true;
        } else if (arg_is(ctx, i, "IDLETIME") && more && !r->has_freq) {
            if (!arg_int_in(ctx, ++i, 0, INT64_MAX,
                            "ERR Invalid IDLETIME value, must be >= 0",
                            &r->idle_s)) {
                return false;
            }
            r->has_idle = true;
        } else if (arg_is(ctx, i, "FREQ") && more && !r->has_idle) {
            if (!arg_int_in(ctx, ++i, 0, 255,
                            "ERR Invalid FREQ value, must be >= 0 and <= 255",
                            &freq)) {
                return false;
            }
            r->has_freq = true; /* eviction does not go by it */
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

/* The reply to RESTORE without a value: it had expired before it came. */
static void restore_nothing(struct cmd_ctx *ctx, struct entry *old)
{
    int db = ctx->client->db;

    if (old) {
        keyspace_delete(ctx->ks, db, old);
        keyspace_changed(ctx->ks, db, ctx->argv[1]);
        cmd_propagate_del(ctx, db, ctx->argv[1]);
    }
    reply_status(&ctx->reply, "OK");
}

/* Puts a value under a key, in the place of what is there. False: no memory. */
static bool put_value(struct cmd_ctx *ctx, int db, struct bytes key,
                      struct value *v, time_ms expires_at)
{
    bool added;
    struct entry *e = keyspace_write_or_add(ctx->ks, db, key, &added);

    if (!e || keyspace_set_expiry(ctx->ks, db, e, expires_at) != ERR_OK) {
        if (e && added) {
            keyspace_delete(ctx->ks, db, e);
        }
        value_discard(ctx->ks, v);
        cmd_error_oom(ctx);
        return false;
    }
    value_adopt(ctx->ks, e, v);
    return true;
}

/* The stream gets the time at which it expires, not how long that is. */
static void propagate_restore(struct cmd_ctx *ctx, const struct restore *r,
                              time_ms expires_at)
{
    struct bytes argv[10];
    char text[NUM_TEXT_MAX];
    size_t i;

    if (!r->ttl || r->absolute) {
        return; /* as it came */
    }
    for (i = 0; i < ctx->argc && i < ARRAY_LEN(argv) - 1; i++) {
        argv[i] = ctx->argv[i];
    }
    argv[2] = bytes_of(text, num_format_i64(expires_at, text));
    argv[i] = bytes_str("ABSTTL");
    cmd_propagate_as(ctx, ctx->client->db, argv, i + 1);
}

static void note_idle(struct cmd_ctx *ctx, const struct restore *r)
{
    struct entry *e = keyspace_find(ctx->ks, ctx->client->db, r->key);

    if (e && r->has_idle) {
        e->accessed_s =
            ctx->ks->clock_s -
            (uint32_t)(r->idle_s < INT32_MAX ? r->idle_s : INT32_MAX);
    }
}

static void restore(struct cmd_ctx *ctx, const struct restore *r)
{
    struct dump_reader reader = {.payload = r->payload};
    int db = ctx->client->db;
    time_ms expires_at = NO_EXPIRY;
    struct err_ctx why = {""};
    struct value v;

    if (dump_read(&reader, ctx->ks, ctx->ks->dbs[db], &v, &why) != ERR_OK) {
        LOG_NOTE(DB, "RESTORE refused", "why=\"%s\"", why.text);
        cmd_error(ctx, "ERR Bad data format");
        return;
    }
    if (r->ttl) {
        expires_at = r->absolute ? r->ttl : ctx->ks->now + r->ttl;
    }
    if (r->ttl && keyspace_is_past(ctx->ks, expires_at)) {
        value_discard(ctx->ks, &v);
        restore_nothing(ctx, keyspace_find(ctx->ks, db, r->key));
        return;
    }
    if (!put_value(ctx, db, r->key, &v, expires_at)) {
        return;
    }
    note_idle(ctx, r);
    propagate_restore(ctx, r, expires_at);
    keyspace_changed(ctx->ks, db, r->key);
    reply_status(&ctx->reply, "OK");
}

void cmd_restore(struct cmd_ctx *ctx)
{
    struct restore r = {.key = ctx->argv[1], .payload = ctx->argv[3]};

    if (!parse_restore(ctx, &r)) {
        return;
    }
    if (!r.replace && keyspace_write(ctx->ks, ctx->client->db, r.key)) {
        cmd_error(ctx, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!arg_int(ctx, 2, &r.ttl)) {
        return;
    }
    if (r.ttl < 0) {
        cmd_error(ctx, "ERR Invalid TTL value, must be >= 0");
        return;
    }
    if (!dump_is_intact(r.payload)) {
        cmd_error(ctx, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    restore(ctx, &r);
}

/* ---- COPY -------------------------------------------------------------- */

static bool parse_copy(struct cmd_ctx *ctx, int *to, bool *replace)
{
    size_t i;

    *to = ctx->client->db;
    *replace = false;
    for (i = 3; i < ctx->argc; i++) {
        int64_t n;

        if (arg_is(ctx, i, "REPLACE")) {
            *replace = true;
        } else if (arg_is(ctx, i, "DB") && i + 1 < ctx->argc) {
            if (!arg_int_in(ctx, ++i, INT_MIN, INT_MAX,
                            "ERR value is not an integer or out of range",
                            &n)) {
                return false;
            }
            if (n < 0 || n >= ctx->ks->n_dbs) {
                cmd_error(ctx, "ERR DB index is out of range");
                return false;
            }
            *to = (int)n;
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

/* A value like that of an entry. */
static enum err copy_value(struct cmd_ctx *ctx, const struct entry *e, int to,
                           struct value *out)
{
    struct buf bytes = BUF_INIT;
    struct err_ctx why;
    enum err err = dump_write(e, &bytes);

    if (!err) {
        struct dump_reader reader = {.payload = buf_bytes(&bytes)};

        err = dump_read(&reader, ctx->ks, ctx->ks->dbs[to], out, &why);
    }
    buf_deinit(&bytes);
    return err;
}

void cmd_copy(struct cmd_ctx *ctx)
{
    struct bytes from = ctx->argv[1], to = ctx->argv[2];
    int db = ctx->client->db, to_db;
    const struct entry *e;
    struct value v;
    bool replace;

    if (!parse_copy(ctx, &to_db, &replace)) {
        return;
    }
    if (db == to_db && bytes_equal(from, to)) {
        cmd_error(ctx, "ERR source and destination objects are the same");
        return;
    }
    e = keyspace_read(ctx->ks, db, from);
    if (!e || (keyspace_write(ctx->ks, to_db, to) && !replace)) {
        reply_int(&ctx->reply, 0);
        return;
    }
    if (copy_value(ctx, e, to_db, &v) != ERR_OK) {
        cmd_error_oom(ctx);
        return;
    }
    if (put_value(ctx, to_db, to, &v, e->expires_at)) {
        keyspace_changed(ctx->ks, to_db, to);
        reply_int(&ctx->reply, 1);
    }
}
