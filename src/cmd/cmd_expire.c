/* Times to live: EXPIRE and its kin, TTL and its kin, PERSIST. */
#include "cmd/args.h"
#include "cmd/expire_arg.h"

/* ---- setting ----------------------------------------------------------- */

enum {
    IF_NONE = 1 << 0,    /* NX: the key has no expiry */
    IF_SOME = 1 << 1,    /* XX: it has one */
    IF_LATER = 1 << 2,   /* GT: the new one is later; none counts as never */
    IF_EARLIER = 1 << 3, /* LT */
};

static bool parse_conditions(struct cmd_ctx *ctx, unsigned *out)
{
    unsigned given = 0;
    size_t i;

    for (i = 3; i < ctx->argc; i++) {
        if (arg_is(ctx, i, "NX")) {
            given |= IF_NONE;
        } else if (arg_is(ctx, i, "XX")) {
            given |= IF_SOME;
        } else if (arg_is(ctx, i, "GT")) {
            given |= IF_LATER;
        } else if (arg_is(ctx, i, "LT")) {
            given |= IF_EARLIER;
        } else {
            cmd_error_fmt(ctx, "ERR Unsupported option %.*s",
                          (int)ctx->argv[i].len,
                          (const char *)ctx->argv[i].data);
            return false;
        }
    }
    if ((given & IF_NONE) && (given & ~(unsigned)IF_NONE)) {
        cmd_error(ctx, "ERR NX and XX, GT or LT options at the same time are "
                       "not compatible");
        return false;
    }
    if ((given & IF_LATER) && (given & IF_EARLIER)) {
        cmd_error(ctx, "ERR GT and LT options at the same time are not "
                       "compatible");
        return false;
    }
    *out = given;
    return true;
}

static bool conditions_hold(unsigned conditions, time_ms present, time_ms at)
{
    bool some = present != NO_EXPIRY;

    return !((conditions & IF_NONE) && some) &&
           !((conditions & IF_SOME) && !some) &&
           !((conditions & IF_LATER) && (!some || at <= present)) &&
           !((conditions & IF_EARLIER) && some && at >= present);
}

static void expire(struct cmd_ctx *ctx, unsigned unit)
{
    int db = ctx->client->db;
    unsigned conditions;
    struct entry *e;
    time_ms at;

    if (!parse_conditions(ctx, &conditions) ||
        !expire_arg_time(ctx, 2, unit, &at)) {
        return;
    }
    e = keyspace_write(ctx->ks, db, ctx->argv[1]);
    if (!e || !conditions_hold(conditions, e->expires_at, at)) {
        reply_int(&ctx->reply, 0);
        return;
    }
    if (keyspace_is_past(ctx->ks, at)) {
        keyspace_delete(ctx->ks, db, e);
        cmd_propagate_del(ctx, db, ctx->argv[1]);
    } else if (keyspace_set_expiry(ctx->ks, db, e, at) != ERR_OK) {
        cmd_error_oom(ctx);
        return;
    } else {
        expire_arg_propagate(ctx, at);
    }
    keyspace_changed(ctx->ks, db, ctx->argv[1]);
    reply_int(&ctx->reply, 1);
}

void cmd_expire(struct cmd_ctx *ctx)
{
    expire(ctx, EXPIRE_SECONDS);
}

void cmd_pexpire(struct cmd_ctx *ctx)
{
    expire(ctx, 0);
}

void cmd_expireat(struct cmd_ctx *ctx)
{
    expire(ctx, EXPIRE_SECONDS | EXPIRE_ABSOLUTE);
}

void cmd_pexpireat(struct cmd_ctx *ctx)
{
    expire(ctx, EXPIRE_ABSOLUTE);
}

void cmd_persist(struct cmd_ctx *ctx)
{
    int db = ctx->client->db;
    struct entry *e = keyspace_write(ctx->ks, db, ctx->argv[1]);

    if (!e || e->expires_at == NO_EXPIRY) {
        reply_int(&ctx->reply, 0);
        return;
    }
    ASSERT(keyspace_set_expiry(ctx->ks, db, e, NO_EXPIRY) == ERR_OK);
    keyspace_changed(ctx->ks, db, ctx->argv[1]);
    reply_int(&ctx->reply, 1);
}

/* ---- asking ------------------------------------------------------------ */

enum { REPLY_NO_KEY = -2, REPLY_NO_EXPIRY = -1 };

static void reply_time(struct cmd_ctx *ctx, unsigned unit)
{
    const struct entry *e =
        keyspace_peek(ctx->ks, ctx->client->db, ctx->argv[1]);
    uint64_t t;

    if (!e || e->expires_at == NO_EXPIRY) {
        reply_int(&ctx->reply, e ? REPLY_NO_EXPIRY : REPLY_NO_KEY);
        return;
    }
    t = (uint64_t)e->expires_at;
    if (!(unit & EXPIRE_ABSOLUTE)) {
        t -= (uint64_t)ctx->ks->now;
    }
    reply_int(&ctx->reply,
              (int64_t)(unit & EXPIRE_SECONDS ? (t + 500) / 1000 : t));
}

void cmd_ttl(struct cmd_ctx *ctx)
{
    reply_time(ctx, EXPIRE_SECONDS);
}

void cmd_pttl(struct cmd_ctx *ctx)
{
    reply_time(ctx, 0);
}

void cmd_expiretime(struct cmd_ctx *ctx)
{
    reply_time(ctx, EXPIRE_SECONDS | EXPIRE_ABSOLUTE);
}

void cmd_pexpiretime(struct cmd_ctx *ctx)
{
    reply_time(ctx, EXPIRE_ABSOLUTE);
}
