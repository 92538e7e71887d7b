/* Commands in slices: see job.h. Jobs take turns, one slice per loop turn in
 * all, so that ten of them delay others no more than one does. */
#include "cmd/job.h"

#include <string.h>

#include "base/mem.h"

void *cmd_job_alloc(size_t size, bool (*step)(struct cmd_job *job),
                    void (*destroy)(struct cmd_job *job))
{
    struct cmd_job *job = mem_calloc(1, size);

    job->step = step;
    job->destroy = destroy;
    return job;
}

static void link_last(struct cmd_env *env, struct cmd_job *job)
{
    struct cmd_job *last = env->jobs;

    job->next = NULL;
    if (!last) {
        job->prev = NULL;
        env->jobs = job;
        return;
    }
    while (last->next) {
        last = last->next;
    }
    last->next = job;
    job->prev = last;
}

static void unlink_job(struct cmd_job *job)
{
    if (job->prev) {
        job->prev->next = job->next;
    } else if (job->env->jobs == job) {
        job->env->jobs = job->next;
    }
    if (job->next) {
        job->next->prev = job->prev;
    }
    job->prev = job->next = NULL;
}

static void count(struct cmd_job *job)
{
    struct cmd_counter *n = &job->env->counters[command_id(job->command)];

    n->calls++;
    n->ns += job->spent_ns;
    n->failed += job->failed;
    cmd_log_if_slow(job->env, job->command, &job->preview, job->client,
                    job->spent_ns / 1000);
}

static void job_free(struct cmd_job *job)
{
    buf_deinit(&job->out);
    mem_free(job->argv_kept);
    job->destroy(job);
}

static void finish(struct cmd_job *job)
{
    count(job);
    job_free(job);
}

/* Makes the arguments last: their bytes too, unless they are pinned. */
static void keep_argv(struct cmd_job *job)
{
    bool pinned = job->env->host->pin_request(job->client);
    size_t bytes = job->argc * sizeof(struct bytes);
    uint8_t *text;
    size_t i;

    for (i = 0; i < job->argc && !pinned; i++) {
        bytes += job->argv[i].len;
    }
    job->argv_kept = mem_alloc(bytes);
    memcpy(job->argv_kept, job->argv, job->argc * sizeof(struct bytes));
    text = (uint8_t *)(job->argv_kept + job->argc);
    for (i = 0; i < job->argc && !pinned; i++) {
        size_t len = job->argv[i].len;

        if (len) {
            memcpy(text, job->argv[i].data, len);
        }
        job->argv_kept[i] = bytes_of(text, len);
        text += len;
    }
    job->argv = job->argv_kept;
}

/* One slice; true when there is more. */
static bool run_slice(struct cmd_job *job, int64_t slice_ns)
{
    int64_t start = clock_mono_ns();
    uint64_t lsn = job->env->stream.lsn;
    bool more;

    job->slice_end_ns = slice_ns == INT64_MAX ? INT64_MAX : start + slice_ns;
    do {
        more = job->step(job);
    } while (more && job->slice_end_ns == INT64_MAX);
    job->spent_ns += clock_mono_ns() - start;
    if (job->env->stream.lsn != lsn) {
        job->client->write_lsn = job->env->stream.lsn;
    }
    return more;
}

/* There is more to do: at the end of the queue, or when it is unparked. */
static void after_slice(struct cmd_job *job)
{
    job->is_waiting = job->is_parked;
    if (!job->is_waiting) {
        link_last(job->env, job);
    }
}

void cmd_job_park(struct cmd_job *job)
{
    ASSERT(job->slice_end_ns != INT64_MAX);
    job->is_parked = true;
}

void cmd_job_unpark(struct cmd_job *job)
{
    job->is_parked = false;
    if (job->is_waiting) {
        job->is_waiting = false;
        link_last(job->env, job);
    }
}

void cmd_job_start(struct cmd_ctx *ctx, struct cmd_job *job)
{
    int64_t slice = ctx->in_exec ? INT64_MAX : (int64_t)JOB_SLICE_US * 1000;

    job->env = ctx->env;
    job->client = ctx->client;
    job->command = ctx->command;
    job->argv = ctx->argv;
    job->argc = ctx->argc;
    job->db = ctx->client->db;
    job->reply = (struct reply){&job->out, ctx->client->proto};
    ctx->deferred = true; /* the statistics are the job's */
    slowlog_preview_make(&job->preview, ctx->argv, ctx->argc, ctx->hidden,
                         ctx->client->id);
    if (!run_slice(job, slice)) {
        ctx->env->host->give(ctx->client, &job->out);
        ctx->failed = job->failed;
        finish(job);
        return;
    }
    ctx->client->job = job;
    after_slice(job);
    ctx->env->host->pause(ctx->client);
    keep_argv(job);
}

bool cmd_job_should_yield(const struct cmd_job *job)
{
    return job->slice_end_ns != INT64_MAX &&
           clock_mono_ns() >= job->slice_end_ns;
}

void cmd_job_error(struct cmd_job *job, const char *text)
{
    job->out.len = 0;
    reply_error(&job->reply, text);
    job->failed = true;
    cmd_count_error(job->env, text);
}

bool cmd_jobs_run(struct cmd_env *env)
{
    struct cmd_job *job = env->jobs;
    struct client *c;

    if (!job) {
        return false;
    }
    unlink_job(job);
    if (run_slice(job, (int64_t)JOB_SLICE_US * 1000)) {
        after_slice(job);
        return env->jobs != NULL;
    }
    c = job->client;
    c->job = NULL;
    env->host->give(c, &job->out);
    finish(job);
    env->host->resume(c);
    return env->jobs != NULL;
}

void cmd_job_cancel(struct cmd_job *job)
{
    unlink_job(job);
    job->client->job = NULL;
    job_free(job);
}
