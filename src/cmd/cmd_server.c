/* Commands about the server and its databases as wholes. */
#include "base/mem.h"
#include "base/region.h"
#include "cmd/args.h"
#include "db/vset/vset.h"

/* ---- databases --------------------------------------------------------- */

void cmd_dbsize(struct cmd_ctx *ctx)
{
    reply_int(&ctx->reply, (int64_t)keyspace_count(ctx->ks, ctx->client->db));
}

/* Empties a database, or all with db < 0. ASYNC and SYNC are the same here:
 * what is removed is freed in the background either way. Every key counts as a
 * change. */
static void flush(struct cmd_ctx *ctx, int db)
{
    int i;

    if (ctx->argc > 2 || (ctx->argc == 2 && !arg_is(ctx, 1, "ASYNC") &&
                          !arg_is(ctx, 1, "SYNC"))) {
        cmd_error_syntax(ctx);
        return;
    }
    for (i = 0; i < ctx->ks->n_dbs; i++) {
        if (db < 0 || i == db) {
            ctx->ks->stats.changes += keyspace_count(ctx->ks, i);
        }
    }
    keyspace_flush(ctx->ks, db);
    reply_status(&ctx->reply, "OK");
}

void cmd_flushall(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    flush(ctx, -1);
    if (!ctx->failed && !ctx->env->is_loading && host->flushed) {
        host->flushed(host->server);
    }
}

void cmd_flushdb(struct cmd_ctx *ctx)
{
    flush(ctx, ctx->client->db);
}

void cmd_swapdb(struct cmd_ctx *ctx)
{
    int64_t n = ctx->ks->n_dbs;
    int64_t a, b;

    if (!arg_int_in(ctx, 1, INT64_MIN, INT64_MAX, "ERR invalid first DB index",
                    &a) ||
        !arg_int_in(ctx, 2, INT64_MIN, INT64_MAX, "ERR invalid second DB index",
                    &b)) {
        return;
    }
    if (a < 0 || a >= n || b < 0 || b >= n) {
        cmd_error(ctx, "ERR DB index is out of range");
        return;
    }
    keyspace_swap(ctx->ks, (int)a, (int)b);
    ctx->ks->stats.changes++;
    reply_status(&ctx->reply, "OK");
}

/* ---- the server -------------------------------------------------------- */

void cmd_time(struct cmd_ctx *ctx)
{
    time_us now = clock_wall_us();

    reply_array(&ctx->reply, 2);
    reply_bulk_int(&ctx->reply, now / 1000000);
    reply_bulk_int(&ctx->reply, now % 1000000);
}

void cmd_role(struct cmd_ctx *ctx)
{
    reply_array(&ctx->reply, 3);
    reply_bulk_str(&ctx->reply, "master");
    reply_int(&ctx->reply, 0);
    reply_array(&ctx->reply, 0);
}

void cmd_monitor(struct cmd_ctx *ctx)
{
    if (ctx->in_exec) {
        cmd_error(ctx, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    monitor_add(ctx->env, ctx->client);
    reply_status(&ctx->reply, "OK");
}

static bool shutdown_flags(struct cmd_ctx *ctx, uint32_t *flags, bool *abort)
{
    size_t i;

    *flags = 0;
    *abort = false;
    for (i = 1; i < ctx->argc; i++) {
        if (arg_is(ctx, i, "NOSAVE")) {
            *flags |= SHUTDOWN_NOSAVE;
        } else if (arg_is(ctx, i, "SAVE")) {
            *flags |= SHUTDOWN_SAVE;
        } else if (arg_is(ctx, i, "NOW")) {
            *flags |= SHUTDOWN_NOW;
        } else if (arg_is(ctx, i, "FORCE")) {
            *flags |= SHUTDOWN_FORCE;
        } else if (arg_is(ctx, i, "ABORT")) {
            *abort = true;
        } else {
            return false;
        }
    }
    return !(*abort && *flags) &&
           (*flags & (SHUTDOWN_SAVE | SHUTDOWN_NOSAVE)) !=
               (SHUTDOWN_SAVE | SHUTDOWN_NOSAVE);
}

/* ---- snapshots --------------------------------------------------------- */

void cmd_save(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    const char *error = host->save(host->server);

    if (error) {
        cmd_error(ctx, error);
    } else {
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_bgsave(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    bool schedule = ctx->argc == 2 && arg_is(ctx, 1, "SCHEDULE");
    const char *reply;

    if (ctx->argc > 1 && !schedule) {
        cmd_error_syntax(ctx);
        return;
    }
    reply = host->bgsave(host->server, schedule);
    if (*reply == '-') {
        cmd_error(ctx, reply + 1);
    } else {
        reply_status(&ctx->reply, reply + 1);
    }
}

void cmd_lastsave(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    reply_int(&ctx->reply, host->lastsave(host->server));
}

/* No reply when the server ends: the connection closing is the reply. */
void cmd_shutdown(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    const char *error;
    uint32_t flags;
    bool abort;

    if (!shutdown_flags(ctx, &flags, &abort)) {
        cmd_error_syntax(ctx);
        return;
    }
    /* A shutdown waits for nothing here, so there is never one to abort. */
    error = abort ? "ERR No shutdown in progress."
                  : host->shutdown(host->server, flags);
    if (error) {
        cmd_error(ctx, error);
    }
}

/* ---- MEMORY ------------------------------------------------------------ */

static size_t entry_memory(const struct entry *e)
{
    size_t bytes = mem_size(e);

    if (e->type == VALUE_VSET) {
        bytes += vset_memory(e->value.vset);
    } else if (e->encoding != ENC_INT) {
        bytes += mem_size(e->value.text);
    }
    return bytes;
}

void cmd_memory_usage(struct cmd_ctx *ctx)
{
    const struct entry *e;
    int64_t samples;
    size_t i;

    for (i = 3; i < ctx->argc; i += 2) {
        if (!arg_is(ctx, i, "SAMPLES") || i + 1 == ctx->argc) {
            cmd_error_syntax(ctx);
            return;
        }
        if (!arg_int(ctx, i + 1, &samples)) {
            return;
        }
        if (samples < 0) {
            cmd_error_syntax(ctx);
            return;
        }
    }
    e = keyspace_find(ctx->ks, ctx->client->db, ctx->argv[2]);
    if (e) {
        reply_int(&ctx->reply, (int64_t)entry_memory(e));
    } else {
        reply_null(&ctx->reply);
    }
}

void cmd_memory_purge(struct cmd_ctx *ctx)
{
    region_purge_shared();
    mem_purge();
    reply_status(&ctx->reply, "OK");
}

/* ---- SLOWLOG ----------------------------------------------------------- */

void cmd_slowlog_get(struct cmd_ctx *ctx)
{
    const struct slowlog *s = &ctx->env->slowlog;
    struct reply *r = &ctx->reply;
    int64_t want = 10;
    size_t n, i, j;

    if (ctx->argc > 3) {
        cmd_error_fmt(ctx,
                      "ERR unknown subcommand or wrong number of arguments "
                      "for '%.*s'. Try SLOWLOG HELP.",
                      (int)ctx->argv[1].len, (const char *)ctx->argv[1].data);
        return;
    }
    if (ctx->argc == 3 &&
        !arg_int_in(ctx, 2, -1, INT64_MAX,
                    "ERR count should be greater than or equal to -1", &want)) {
        return;
    }
    n = want < 0 || (uint64_t)want > s->len ? s->len : (size_t)want;
    reply_array(r, n);
    for (i = 0; i < n; i++) {
        const struct slowlog_entry *e = slowlog_get(s, i);

        reply_array(r, 6);
        reply_int(r, (int64_t)e->id);
        reply_int(r, e->at_s);
        reply_int(r, e->took_us);
        reply_array(r, e->argc);
        for (j = 0; j < e->argc; j++) {
            reply_bulk(r, e->argv[j]);
        }
        reply_bulk_str(r, e->addr);
        reply_bulk_str(r, e->client_name);
    }
}

void cmd_slowlog_len(struct cmd_ctx *ctx)
{
    reply_int(&ctx->reply, (int64_t)ctx->env->slowlog.len);
}

void cmd_slowlog_reset(struct cmd_ctx *ctx)
{
    slowlog_clear(&ctx->env->slowlog);
    reply_status(&ctx->reply, "OK");
}
