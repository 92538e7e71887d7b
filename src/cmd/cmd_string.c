/* Strings as a whole: SET and its older forms, GET and its variants, MGET,
 * MSET. */
#include "cmd/args.h"
#include "cmd/expire_arg.h"
#include "cmd/string_key.h"

#include "base/mem.h"

/* ---- options ----------------------------------------------------------- */

enum {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_GET = 1 << 2,
    SET_KEEPTTL = 1 << 3,
    SET_PERSIST = 1 << 4,
    SET_EX = 1 << 5,
    SET_PX = 1 << 6,
    SET_EXAT = 1 << 7,
    SET_PXAT = 1 << 8,
    SET_TIMES = SET_EX | SET_PX | SET_EXAT | SET_PXAT,
    SET_EXPIRY = SET_KEEPTTL | SET_PERSIST | SET_TIMES,
    /* Which command takes which. */
    OPTIONS_OF_SET = SET_NX | SET_XX | SET_GET | SET_KEEPTTL | SET_TIMES,
    OPTIONS_OF_GETEX = SET_PERSIST | SET_TIMES,
};

struct options {
    uint32_t given;
    size_t time_at; /* where in argv the time stands, 0: none */
    unsigned time_unit;
};

/* Options that cannot stand beside `bit`: one condition, one expiry. */
static uint32_t excluded_by(uint32_t bit)
{
    if (bit & (SET_NX | SET_XX)) {
        return (SET_NX | SET_XX) & ~bit;
    }
    return bit & SET_EXPIRY ? SET_EXPIRY & ~bit : 0;
}

static uint32_t option_of(const struct cmd_ctx *ctx, size_t i)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } words[] = {
        {"NX", SET_NX},           {"XX", SET_XX},     {"GET", SET_GET},
        {"KEEPTTL", SET_KEEPTTL}, {"EX", SET_EX},     {"PX", SET_PX},
        {"EXAT", SET_EXAT},       {"PXAT", SET_PXAT}, {"PERSIST", SET_PERSIST},
    };
    size_t w;

    for (w = 0; w < ARRAY_LEN(words); w++) {
        if (arg_is(ctx, i, words[w].word)) {
            return words[w].bit;
        }
    }
    return 0;
}

/* Reads the options from argv[i] on; false: an error was replied. */
static bool parse_options(struct cmd_ctx *ctx, size_t i, uint32_t allowed,
                          struct options *o)
{
    *o = (struct options){.given = 0};
    for (; i < ctx->argc; i++) {
        uint32_t bit = option_of(ctx, i) & allowed;

        if (!bit || (o->given & excluded_by(bit)) ||
            ((bit & SET_TIMES) && i + 1 == ctx->argc)) {
            cmd_error_syntax(ctx);
            return false;
        }
        o->given |= bit;
        if (bit & SET_TIMES) {
            o->time_at = ++i;
            o->time_unit = (bit & (SET_EX | SET_EXAT) ? EXPIRE_SECONDS : 0) |
                           (bit & (SET_EXAT | SET_PXAT) ? EXPIRE_ABSOLUTE : 0);
        }
    }
    return true;
}

/* ---- storing ----------------------------------------------------------- */

struct put {
    struct bytes key;
    struct bytes text;
    uint32_t options;   /* SET_NX, SET_XX, SET_KEEPTTL */
    time_ms expires_at; /* NO_EXPIRY: none */
};

/* Gives an entry a text and an expiry, or fails and changes neither: what may
 * fail comes first, and what takes it back cannot fail. */
static enum err set_both(struct cmd_ctx *ctx, struct entry *e,
                         struct bytes text, time_ms at)
{
    struct keyspace *ks = ctx->ks;
    int db = ctx->client->db;
    time_ms before = e->expires_at;
    enum err err;

    if (at != NO_EXPIRY) {
        err = keyspace_set_expiry(ks, db, e, at);
        if (err) {
            return err;
        }
    }
    err = string_set(ks, e, text);
    at = err ? before : at;
    if (at != e->expires_at) {
        ASSERT(keyspace_set_expiry(ks, db, e, at) == ERR_OK);
    }
    return err;
}

/* The same with the time at which it will expire. */
static void propagate_put(struct cmd_ctx *ctx, const struct put *p)
{
    char digits[NUM_TEXT_MAX];
    struct bytes argv[] = {
        bytes_str("SET"), p->key, p->text, bytes_str("PXAT"),
        bytes_of(digits, num_format_i64(p->expires_at, digits))};

    cmd_propagate_as(ctx, ctx->client->db, argv, ARRAY_LEN(argv));
}

/* Stores a string under a key, whatever that held. *stored: whether the
 * conditions in p->options let it.
 *
 * fails  ERR_NOMEM, ERR_LIMIT; nothing changed. */
static enum err put(struct cmd_ctx *ctx, const struct put *p, bool *stored)
{
    int db = ctx->client->db;
    struct entry *e;
    enum err err;
    bool added;

    if (p->options & (SET_NX | SET_XX)) {
        bool there = keyspace_write(ctx->ks, db, p->key) != NULL;

        *stored = there == !(p->options & SET_NX);
        if (!*stored) {
            return ERR_OK;
        }
    }
    if (!string_key_has_room(ctx, p->key, p->text.len)) {
        return ERR_NOMEM;
    }
    e = keyspace_write_or_add(ctx->ks, db, p->key, &added);
    if (UNLIKELY(!e)) {
        return ERR_NOMEM;
    }
    err = set_both(ctx, e, p->text,
                   p->options & SET_KEEPTTL ? e->expires_at : p->expires_at);
    if (UNLIKELY(err)) {
        if (added) {
            keyspace_delete(ctx->ks, db, e);
        }
        return err;
    }
    keyspace_changed(ctx->ks, db, p->key);
    *stored = true;
    if (p->expires_at != NO_EXPIRY && propagate_is_on(&ctx->env->stream)) {
        propagate_put(ctx, p);
    }
    return ERR_OK;
}

/* Replies the present value or null; false: WRONGTYPE was replied. */
static bool reply_present(struct cmd_ctx *ctx)
{
    struct entry *e;

    if (!string_key_read(ctx, &e)) {
        return false;
    }
    if (e) {
        string_key_reply(ctx, e);
    } else {
        reply_null(&ctx->reply);
    }
    return true;
}

/* ---- SET and its kin --------------------------------------------------- */

void cmd_set(struct cmd_ctx *ctx)
{
    struct put p = {ctx->argv[1], ctx->argv[2], 0, NO_EXPIRY};
    size_t mark = ctx->reply.out->len;
    struct options o;
    bool stored;
    enum err err;

    if (!parse_options(ctx, 3, OPTIONS_OF_SET, &o)) {
        return;
    }
    if (o.time_at &&
        !expire_arg_positive_time(ctx, o.time_at, o.time_unit, &p.expires_at)) {
        return;
    }
    if ((o.given & SET_GET) && !reply_present(ctx)) {
        return;
    }
    p.options = o.given;
    err = put(ctx, &p, &stored);
    if (err) {
        ctx->reply.out->len = mark; /* the value is not the reply after all */
        string_key_error(ctx, err);
    } else if (o.given & SET_GET) {
        return;
    } else if (stored) {
        reply_status(&ctx->reply, "OK");
    } else {
        reply_null(&ctx->reply);
    }
}

void cmd_setnx(struct cmd_ctx *ctx)
{
    struct put p = {ctx->argv[1], ctx->argv[2], SET_NX, NO_EXPIRY};
    bool stored;
    enum err err = put(ctx, &p, &stored);

    if (err) {
        string_key_error(ctx, err);
    } else {
        reply_int(&ctx->reply, stored);
    }
}

static void set_with_time(struct cmd_ctx *ctx, unsigned unit)
{
    struct put p = {ctx->argv[1], ctx->argv[3], 0, NO_EXPIRY};
    bool stored;
    enum err err;

    if (!expire_arg_positive_time(ctx, 2, unit, &p.expires_at)) {
        return;
    }
    err = put(ctx, &p, &stored);
    if (err) {
        string_key_error(ctx, err);
    } else {
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_setex(struct cmd_ctx *ctx)
{
    set_with_time(ctx, EXPIRE_SECONDS);
}

void cmd_psetex(struct cmd_ctx *ctx)
{
    set_with_time(ctx, 0);
}

void cmd_getset(struct cmd_ctx *ctx)
{
    struct put p = {ctx->argv[1], ctx->argv[2], 0, NO_EXPIRY};
    size_t mark = ctx->reply.out->len;
    bool stored;
    enum err err;

    if (!reply_present(ctx)) {
        return;
    }
    err = put(ctx, &p, &stored);
    if (err) {
        ctx->reply.out->len = mark;
        string_key_error(ctx, err);
    }
}

/* ---- MSET, MSETNX ------------------------------------------------------ */

/* Whether all pairs together have room. */
static bool pairs_have_room(struct cmd_ctx *ctx)
{
    int db = ctx->client->db;
    size_t cost = 0;
    size_t i;

    if (LIKELY(mem_limit() == 0)) {
        return true;
    }
    for (i = 1; i < ctx->argc; i += 2) {
        cost += mem_good_size(ctx->argv[i + 1].len);
        if (!keyspace_find(ctx->ks, db, ctx->argv[i])) {
            cost += keyspace_add_cost(ctx->ks, db, ctx->argv[i]);
        }
    }
    return mem_has_room(cost);
}

/* Stores the pairs; false: an error was replied. What `maxmemory` forbids
 * changes nothing; should the system itself run out of memory on the way, the
 * pairs before that stay. */
static bool put_pairs(struct cmd_ctx *ctx)
{
    size_t i;

    if (!pairs_have_room(ctx)) {
        cmd_error_oom(ctx);
        return false;
    }
    for (i = 1; i < ctx->argc; i += 2) {
        struct put p = {ctx->argv[i], ctx->argv[i + 1], 0, NO_EXPIRY};
        bool stored;
        enum err err = put(ctx, &p, &stored);

        if (err) {
            string_key_error(ctx, err);
            cmd_propagate_as(ctx, ctx->client->db, ctx->argv, i);
            return false;
        }
    }
    return true;
}

void cmd_mset(struct cmd_ctx *ctx)
{
    if (ctx->argc % 2 == 0) {
        cmd_error_arity(ctx);
    } else if (put_pairs(ctx)) {
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_msetnx(struct cmd_ctx *ctx)
{
    size_t i;

    if (ctx->argc % 2 == 0) {
        cmd_error_arity(ctx);
        return;
    }
    for (i = 1; i < ctx->argc; i += 2) {
        if (keyspace_write(ctx->ks, ctx->client->db, ctx->argv[i])) {
            reply_int(&ctx->reply, 0);
            return;
        }
    }
    if (put_pairs(ctx)) {
        reply_int(&ctx->reply, 1);
    }
}

/* ---- GET and its kin --------------------------------------------------- */

void cmd_get(struct cmd_ctx *ctx)
{
    reply_present(ctx);
}

void cmd_mget(struct cmd_ctx *ctx)
{
    size_t i;

    reply_array(&ctx->reply, ctx->argc - 1);
    for (i = 1; i < ctx->argc; i++) {
        const struct entry *e =
            keyspace_read(ctx->ks, ctx->client->db, ctx->argv[i]);

        if (e && e->type == VALUE_STRING) {
            string_key_reply(ctx, e);
        } else {
            reply_null(&ctx->reply);
        }
    }
}

void cmd_strlen(struct cmd_ctx *ctx)
{
    struct entry *e;

    if (string_key_read(ctx, &e)) {
        reply_int(&ctx->reply, e ? (int64_t)string_len(e) : 0);
    }
}

void cmd_getdel(struct cmd_ctx *ctx)
{
    struct entry *e;

    if (!string_key_read(ctx, &e)) {
        return;
    }
    if (!e) {
        reply_null(&ctx->reply);
        return;
    }
    string_key_reply(ctx, e);
    keyspace_delete(ctx->ks, ctx->client->db, e);
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    cmd_propagate_del(ctx, ctx->client->db, ctx->argv[1]);
}

void cmd_getex(struct cmd_ctx *ctx)
{
    int db = ctx->client->db;
    time_ms at = NO_EXPIRY;
    struct options o;
    struct entry *e;
    size_t mark;

    if (!parse_options(ctx, 2, OPTIONS_OF_GETEX, &o) ||
        !string_key_read(ctx, &e)) {
        return;
    }
    if (!e) {
        reply_null(&ctx->reply);
        return;
    }
    if (o.time_at &&
        !expire_arg_positive_time(ctx, o.time_at, o.time_unit, &at)) {
        return;
    }
    mark = ctx->reply.out->len;
    string_key_reply(ctx, e);
    if (o.time_at && keyspace_is_past(ctx->ks, at)) {
        keyspace_delete(ctx->ks, db, e);
        cmd_propagate_del(ctx, db, ctx->argv[1]);
    } else if (o.time_at ||
               ((o.given & SET_PERSIST) && e->expires_at != NO_EXPIRY)) {
        if (keyspace_set_expiry(ctx->ks, db, e, at) != ERR_OK) {
            ctx->reply.out->len = mark;
            cmd_error_oom(ctx);
            return;
        }
        expire_arg_propagate(ctx, at);
    } else {
        return;
    }
    keyspace_changed(ctx->ks, db, ctx->argv[1]);
}
