/* The log as commands see it: BGREWRITEAOF, WAITAOF, DEBUG LOADAOF. */
#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/cmd_waiter.h"
#include "cmd/job.h"

static void reply_of_host(struct cmd_ctx *ctx, const char *reply)
{
    if (*reply == '-') {
        cmd_error(ctx, reply + 1);
    } else {
        reply_status(&ctx->reply, reply + 1);
    }
}

void cmd_bgrewriteaof(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    reply_of_host(ctx, host->log_rewrite(host->server));
}

void cmd_backup_start(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    reply_of_host(ctx, host->backup_start(host->server, ctx->argv[2]));
}

void cmd_backup_stop(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    reply_of_host(ctx, host->backup_stop(host->server));
}

void cmd_debug_loadaof(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct err_ctx why = {""};

    if (ctx->in_exec) {
        cmd_error(ctx, "ERR DEBUG LOADAOF is not allowed in a transaction");
    } else if (host->log_reload(host->server, &why) != ERR_OK) {
        cmd_error_fmt(ctx, "ERR %s", why.text);
    } else {
        reply_status(&ctx->reply, "OK");
    }
}

/* ---- WAITAOF ----------------------------------------------------------- */

#define NOT_LOGGING                                                            \
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is "       \
    "disabled."

/* A client waits until its last write is on disk: here, since there are no
 * replicas that could have it, too. */
struct wait_job {
    struct cmd_job job;
    struct cmd_waiter waiter;
    uint64_t lsn; /* of the client's last write */
    int64_t n_local, n_replicas;
    time_us until; /* 0: for ever */
};

static void wake_job(struct cmd_waiter *w)
{
    cmd_job_unpark(&CONTAINER_OF(w, struct wait_job, waiter)->job);
}

static bool wait_step(struct cmd_job *job)
{
    struct wait_job *w = CONTAINER_OF(job, struct wait_job, job);
    const struct cmd_host *host = job->env->host;
    bool is_local = host->log_is_on(host->server) &&
                    host->log_synced(host->server) >= w->lsn;
    bool waits = w->n_local > is_local || w->n_replicas > 0;

    if (w->n_local > 0 && !host->log_is_on(host->server)) {
        cmd_job_error(job, NOT_LOGGING);
        return false;
    }
    if (!waits || job->slice_end_ns == INT64_MAX ||
        (w->until && clock_mono_us() >= w->until)) {
        reply_array(&job->reply, 2);
        reply_int(&job->reply, is_local);
        reply_int(&job->reply, 0);
        return false;
    }
    host->log_wait(host->server, &w->waiter);
    cmd_job_park(job);
    return true;
}

static void wait_destroy(struct cmd_job *job)
{
    struct wait_job *w = CONTAINER_OF(job, struct wait_job, job);

    cmd_waiter_unlink(&w->waiter);
    mem_free(w);
}

static bool parse_wait(struct cmd_ctx *ctx, int64_t *n_local,
                       int64_t *n_replicas, int64_t *timeout_ms)
{
    if (!arg_int(ctx, 1, n_local) ||
        !arg_int_in(ctx, 1, 0, 1,
                    "ERR value is out of range, value must between 0 and 1",
                    n_local) ||
        !arg_int(ctx, 2, n_replicas) ||
        !arg_int_in(ctx, 2, 0, INT64_MAX,
                    "ERR value is out of range, must be positive",
                    n_replicas)) {
        return false;
    }
    if (!num_parse_i64(ctx->argv[3], timeout_ms)) {
        cmd_error(ctx, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (*timeout_ms < 0) {
        cmd_error(ctx, "ERR timeout is negative");
        return false;
    }
    return true;
}

void cmd_waitaof(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    int64_t n_local, n_replicas, timeout_ms;
    struct wait_job *w;

    if (!parse_wait(ctx, &n_local, &n_replicas, &timeout_ms)) {
        return;
    }
    if (n_local > 0 && !host->log_is_on(host->server)) {
        cmd_error(ctx, NOT_LOGGING);
        return;
    }
    w = cmd_job_alloc(sizeof(*w), wait_step, wait_destroy);
    w->waiter.wake = wake_job;
    w->lsn = ctx->client->write_lsn;
    w->n_local = n_local;
    w->n_replicas = n_replicas;
    w->until = timeout_ms ? clock_mono_us() + (timeout_ms < INT64_MAX / 2000
                                                   ? timeout_ms * 1000
                                                   : INT64_MAX / 4)
                          : 0;
    cmd_job_start(ctx, &w->job);
}
