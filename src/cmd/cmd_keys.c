/* Keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE, RANDOMKEY, RENAME,
 * RENAMENX, MOVE. */

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"

/* ---- commands on many keys --------------------------------------------- */

/* DEL, UNLINK, EXISTS and TOUCH do one thing to each key and answer how often
 * it applied. A command with more keys than this goes in slices. */
enum { KEYS_AT_ONCE = 1000, KEYS_PER_LOOK = 64 };

typedef bool key_fn(struct keyspace *ks, int db, struct bytes key);

struct many_job {
    struct cmd_job job;
    key_fn *fn;
    size_t at; /* the next argument */
    int64_t n;
};

static bool delete_one(struct keyspace *ks, int db, struct bytes key)
{
    struct entry *e = keyspace_find(ks, db, key);

    if (!e) {
        return false;
    }
    keyspace_delete(ks, db, e);
    keyspace_changed(ks, db, key);
    return true;
}

static bool many_step(struct cmd_job *job)
{
    struct many_job *m = CONTAINER_OF(job, struct many_job, job);

    size_t from = m->at;
    int64_t n = m->n;

    while (m->at < job->argc) {
        m->n += m->fn(job->env->ks, job->db, job->argv[m->at++]);
        if (m->at % KEYS_PER_LOOK == 0 && cmd_job_should_yield(job)) {
            break;
        }
    }
    if (m->fn == delete_one && m->n > n) {
        propagate_slice(job->env, job->db, job->argv, 1, from, m->at);
    }
    if (m->at < job->argc) {
        return true;
    }
    reply_int(&job->reply, m->n);
    return false;
}

static void many_destroy(struct cmd_job *job)
{
    mem_free(job);
}

static void each_key(struct cmd_ctx *ctx, key_fn *fn)
{
    int64_t n = 0;
    size_t i;

    if (ctx->argc - 1 > KEYS_AT_ONCE) {
        struct many_job *m = cmd_job_alloc(sizeof(*m), many_step, many_destroy);

        m->fn = fn;
        m->at = 1;
        cmd_propagate_none(ctx); /* each slice does */
        cmd_job_start(ctx, &m->job);
        return;
    }
    for (i = 1; i < ctx->argc; i++) {
        n += fn(ctx->ks, ctx->client->db, ctx->argv[i]);
    }
    reply_int(&ctx->reply, n);
}

static bool exists_one(struct keyspace *ks, int db, struct bytes key)
{
    return keyspace_peek(ks, db, key) != NULL;
}

static bool touch_one(struct keyspace *ks, int db, struct bytes key)
{
    return keyspace_read(ks, db, key) != NULL;
}

void cmd_del(struct cmd_ctx *ctx)
{
    each_key(ctx, delete_one);
}

void cmd_exists(struct cmd_ctx *ctx)
{
    each_key(ctx, exists_one);
}

void cmd_touch(struct cmd_ctx *ctx)
{
    each_key(ctx, touch_one);
}

/* ---- one key ----------------------------------------------------------- */

void cmd_type(struct cmd_ctx *ctx)
{
    const struct entry *e =
        keyspace_peek(ctx->ks, ctx->client->db, ctx->argv[1]);

    reply_status(&ctx->reply,
                 e ? keyspace_type_name((enum value_type)e->type) : "none");
}

void cmd_randomkey(struct cmd_ctx *ctx)
{
    const struct entry *e = keyspace_random(ctx->ks, ctx->client->db);

    if (e) {
        reply_bulk(&ctx->reply, entry_key(e));
    } else {
        reply_null(&ctx->reply);
    }
}

/* ---- moving ------------------------------------------------------------ */

/* Renames argv[1] to argv[2]. *done is false where overwriting is not allowed
 * and would be needed. False: an error was replied. */
static bool rename_key(struct cmd_ctx *ctx, bool overwrite, bool *done)
{
    struct bytes from = ctx->argv[1];
    struct bytes to = ctx->argv[2];
    int db = ctx->client->db;
    struct entry *e = keyspace_write(ctx->ks, db, from);
    bool same = bytes_equal(from, to);

    if (!e) {
        cmd_error(ctx, "ERR no such key");
        return false;
    }
    *done = overwrite || (!same && !keyspace_find(ctx->ks, db, to));
    if (!*done || same) {
        return true;
    }
    if (keyspace_move(ctx->ks, db, e, db, to) != ERR_OK) {
        cmd_error_oom(ctx);
        return false;
    }
    /* One change, seen under both names. */
    keyspace_touched(ctx->ks, db, from);
    keyspace_changed(ctx->ks, db, to);
    return true;
}

void cmd_rename(struct cmd_ctx *ctx)
{
    bool done;

    if (rename_key(ctx, true, &done)) {
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_renamenx(struct cmd_ctx *ctx)
{
    bool done;

    if (rename_key(ctx, false, &done)) {
        reply_int(&ctx->reply, done);
    }
}

void cmd_move(struct cmd_ctx *ctx)
{
    struct bytes key = ctx->argv[1];
    int from = ctx->client->db;
    struct entry *e;
    int to;

    if (!arg_db(ctx, 2, &to)) {
        return;
    }
    if (to == from) {
        cmd_error(ctx, "ERR source and destination objects are the same");
        return;
    }
    e = keyspace_write(ctx->ks, from, key);
    if (!e || keyspace_find(ctx->ks, to, key)) {
        reply_int(&ctx->reply, 0);
        return;
    }
    if (keyspace_move(ctx->ks, from, e, to, key) != ERR_OK) {
        cmd_error_oom(ctx);
        return;
    }
    keyspace_touched(ctx->ks, from, key);
    keyspace_changed(ctx->ks, to, key);
    reply_int(&ctx->reply, 1);
}
