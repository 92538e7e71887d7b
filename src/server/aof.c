/* Writing the log: see aof.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd_waiter.h"
#include "io/file.h"
#include "server/aof_impl.h"

enum {
    SYNC_PERIOD_US = 1000000,
    SYNC_LATE_US = 2000000,
    RETRY_US = 1000000,
    DIR_MAX = PATH_MAX - AOF_NAME_MAX - 2,
};

/* ---- names ------------------------------------------------------------- */

void aof_path(const struct aof *a, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%.*s/%.255s", DIR_MAX, a->dir, name);
}

enum err aof_open_dir(struct aof *a, struct err_ctx *ctx)
{
    const char *name = a->s->config.appenddirname;
    char here[PATH_MAX];

    if (!getcwd(here, sizeof(here)) ||
        snprintf(a->dir, sizeof(a->dir), "%s/%s", here, name) >= DIR_MAX) {
        return err_set(ctx, ERR_IO, "the path of %s is too long", name);
    }
    if (mkdir(a->dir, 0755) == 0) {
        return file_sync_dir(here, ctx);
    }
    if (errno != EEXIST) {
        return err_set(ctx, ERR_IO, "making the directory %s: %s", a->dir,
                       strerror(errno));
    }
    return ERR_OK;
}

enum err aof_save_manifest(const char *dir, const char *name,
                           const struct aof_manifest *m, struct err_ctx *ctx)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    enum err err;

    snprintf(path, sizeof(path), "%.*s/%.200s.manifest", DIR_MAX, dir, name);
    aof_manifest_format(m, &text);
    err = file_replace(path, buf_bytes(&text), ctx);
    buf_deinit(&text);
    return err ? err : file_sync_dir(dir, ctx);
}

/* ---- jobs of the disk's thread ----------------------------------------- */

void aof_job_start(struct aof *a, struct aof_job *job,
                   void (*run)(struct reaper_job *job))
{
    ASSERT(!job->under_way);
    job->aof = a;
    job->under_way = true;
    job->err = ERR_OK;
    job->error = 0;
    job->why.text[0] = '\0';
    atomic_store_explicit(&job->done, false, memory_order_relaxed);
    job->job.run = run;
    reaper_submit(a->disk, &job->job);
}

void aof_job_done(struct aof_job *job)
{
    struct loop *loop = job->aof->s->loop;

    atomic_store_explicit(&job->done, true, memory_order_release);
    loop_wake(loop);
}

bool aof_job_ended(struct aof_job *job)
{
    if (job->under_way &&
        atomic_load_explicit(&job->done, memory_order_acquire)) {
        job->under_way = false;
        return true;
    }
    return false;
}

void aof_job_wait(struct aof_job *job)
{
    while (job->under_way &&
           !atomic_load_explicit(&job->done, memory_order_acquire)) {
        usleep(200);
    }
}

/* ---- trouble ----------------------------------------------------------- */

static bool is_always(const struct aof *a)
{
    return a->s->config.appendfsync == AOF_FSYNC_ALWAYS;
}

/* Nothing that was promised is broken yet: no reply has left. */
static void die(const char *what, int error)
{
    LOG_WARN(AOF,
             "the log cannot be made durable under appendfsync always, "
             "exiting without acknowledging",
             "%s: %s (errno %d)", what, strerror(error), error);
    _exit(1);
}

static void enter_trouble(struct aof *a, enum aof_trouble trouble, int error,
                          const char *words)
{
    if (is_always(a)) {
        die(words, error);
    }
    if (a->trouble != trouble) {
        LOG_WARN(AOF,
                 trouble == AOF_SYNC_FAILED
                     ? "syncing the log failed, refusing writes until there is "
                       "a new base"
                     : "writing the log failed, refusing writes and trying "
                       "again",
                 "why=\"%s\" errno=%d", words, error);
    }
    a->trouble = trouble;
    a->retry_at = a->s->turn_started_at + RETRY_US;
    snprintf(a->misconf, sizeof(a->misconf),
             "MISCONF Errors writing to the AOF file: %s", strerror(error));
    a->s->commands.refuse_writes[REFUSED_BY_LOG] = a->misconf;
}

void aof_recovered(struct aof *a)
{
    if (a->trouble != AOF_FINE) {
        LOG_NOTE(AOF, "the log can be written again, taking writes", "lsn=%llu",
                 (unsigned long long)a->file.lsn);
    }
    a->trouble = AOF_FINE;
    a->s->commands.refuse_writes[REFUSED_BY_LOG] = NULL;
}

static void sync_failed(struct aof *a, int error)
{
    enter_trouble(a, AOF_SYNC_FAILED, error, "fdatasync");
    a->is_suspect = true;
    if (a->state != AOF_OFF) {
        a->state = AOF_WAIT_BASE;
        a->rw.scheduled = true;
    }
}

/* ---- writing ----------------------------------------------------------- */

static struct aof_batch next_batch(const struct aof *a)
{
    const struct cmd_stream *stream = &a->s->commands.stream;
    const struct config *c = &a->s->config;

    return (struct aof_batch){
        .stream = buf_bytes(&stream->out),
        .end = stream->lsn,
        .synced = c->appendfsync == AOF_FSYNC_NO ? AOF_NOT_SYNCED : a->synced,
        .unix_s = c->aof_timestamp_enabled ? clock_wall_us() / 1000000 : 0,
    };
}

/* The clients whose writes are not in the log learn nothing of their fate but
 * that it is unknown. */
static void close_unlogged(struct aof *a)
{
    size_t n = server_close_writers_since(a->s, a->file.lsn);

    if (n) {
        LOG_WARN(AOF, "closed clients whose writes are not in the log",
                 "clients=%zu", n);
    }
}

bool aof_write_out(struct aof *a)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_batch batch;
    struct err_ctx why = {""};
    int error = 0;

    if (a->is_suspect) {
        close_unlogged(a);
        return false;
    }
    if (a->file.fd < 0) {
        return true; /* switched on a moment ago */
    }
    if (a->trouble == AOF_WRITE_FAILED && a->s->turn_started_at < a->retry_at) {
        close_unlogged(a);
        return false;
    }
    if (stream->out.len == 0 && a->trouble != AOF_WRITE_FAILED) {
        return true;
    }
    batch = next_batch(a);
    if (aof_file_append(&a->file, &batch, &error, &why) != ERR_OK) {
        enter_trouble(a, AOF_WRITE_FAILED, error, why.text);
        close_unlogged(a);
        return false;
    }
    propagate_taken(stream, stream->out.len);
    if (a->trouble == AOF_WRITE_FAILED) {
        aof_recovered(a);
    }
    return true;
}

/* ---- syncing ----------------------------------------------------------- */

static void run_sync(struct reaper_job *job)
{
    struct aof_sync *s = CONTAINER_OF(job, struct aof_sync, job.job);

    if (file_fdatasync(s->fd) != 0) {
        s->job.error = errno;
    }
    aof_job_done(&s->job);
}

static void poll_sync(struct aof *a)
{
    struct aof_sync *s = &a->sync;
    int retired = atomic_load_explicit(&a->retire_error, memory_order_acquire);

    if (retired) {
        atomic_store(&a->retire_error, 0);
        sync_failed(a, retired);
    }
    if (!aof_job_ended(&s->job)) {
        return;
    }
    if (s->job.error) {
        sync_failed(a, s->job.error);
    } else if (!a->is_suspect) {
        a->synced = s->lsn;
    }
}

/* With no-appendfsync-on-rewrite nobody waits for the disk while a child is
 * busy with it. */
static bool is_paused(const struct aof *a)
{
    return a->s->config.no_appendfsync_on_rewrite && aof_child_runs(a);
}

static bool sync_is_due(const struct aof *a)
{
    if (a->file.lsn <= a->synced || a->is_suspect || a->file.fd < 0) {
        return false;
    }
    if (a->waiters) {
        return true;
    }
    switch ((enum aof_fsync)a->s->config.appendfsync) {
    case AOF_FSYNC_ALWAYS:
        return !is_paused(a);
    case AOF_FSYNC_EVERYSEC:
        return !is_paused(a) &&
               a->s->turn_started_at - a->last_sync_at >= SYNC_PERIOD_US;
    case AOF_FSYNC_NO:
        break;
    }
    return false;
}

static void start_sync(struct aof *a)
{
    struct aof_sync *s = &a->sync;
    time_us now = a->s->turn_started_at;

    if (s->job.under_way) {
        if (!s->is_late && a->file.lsn > s->lsn &&
            now - s->started_at > SYNC_LATE_US) {
            s->is_late = true;
            a->delayed_syncs++;
        }
        return;
    }
    if (!sync_is_due(a)) {
        return;
    }
    s->fd = a->file.fd;
    s->lsn = a->file.lsn;
    s->started_at = a->last_sync_at = now;
    s->is_late = false;
    aof_job_start(a, &s->job, run_sync);
}

static void set_gate(struct aof *a)
{
    struct net_gate gate = {0, 0, 0};

    if (a->state != AOF_OFF && is_always(a) && !is_paused(a)) {
        gate.turn = a->file.lsn;
        gate.in_flight = a->sync.job.under_way ? a->sync.lsn : a->synced;
        gate.durable = a->synced;
    }
    net_set_gate(a->s->net, &gate);
}

static void wake_waiters(struct aof *a)
{
    struct cmd_waiter *w = a->waiters;

    a->waiters = NULL;
    while (w) {
        struct cmd_waiter *next = w->next;

        w->list = NULL;
        w->wake(w);
        w = next;
    }
}

void aof_turn_end(struct aof *a)
{
    uint64_t synced = a->synced;

    if (a->state == AOF_OFF && a->rw.stage == REWRITE_IDLE &&
        !a->rw.scheduled) {
        return;
    }
    poll_sync(a);
    if (a->state != AOF_OFF) {
        aof_write_out(a);
    }
    aof_rewrite_poll(a);
    if (a->state != AOF_OFF) {
        start_sync(a);
    }
    set_gate(a);
    if (a->waiters && a->synced != synced) {
        wake_waiters(a);
    }
}

void aof_wait_synced(struct aof *a, struct cmd_waiter *waiter)
{
    cmd_waiter_link(waiter, &a->waiters);
}

/* Without its base an increment is worth nothing. */
uint64_t aof_synced(const struct aof *a)
{
    return a->state == AOF_ON ? a->synced : 0;
}

/* ---- increments -------------------------------------------------------- */

/* An increment that is done with. */
struct retire {
    struct reaper_job job;
    struct aof *aof;
    int fd;
    bool sync;
};

static void run_retire(struct reaper_job *job)
{
    struct retire *r = CONTAINER_OF(job, struct retire, job);

    if (r->sync && file_fdatasync(r->fd) != 0) {
        atomic_store_explicit(&r->aof->retire_error, errno,
                              memory_order_release);
    }
    close(r->fd);
    mem_free(r);
}

static void retire_file(struct aof *a, struct aof_file *f)
{
    struct retire *r = mem_alloc(sizeof(*r));

    *r = (struct retire){
        .job.run = run_retire, .aof = a, .fd = f->fd, .sync = !a->is_suspect};
    f->fd = -1;
    reaper_submit(a->disk, &r->job);
}

enum err aof_switch_file(struct aof *a, struct aof_file *file, const char *name,
                         struct err_ctx *ctx)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_batch batch = {.end = stream->lsn,
                              .synced = next_batch(a).synced};
    int error;
    enum err err = aof_file_append(file, &batch, &error, ctx);

    if (err) {
        return err;
    }
    if (a->file.fd >= 0) {
        a->other_bytes += a->file.size;
        retire_file(a, &a->file);
    }
    a->file = *file;
    file->fd = -1;
    snprintf(a->file_name, sizeof(a->file_name), "%s", name);
    a->is_suspect = false;
    /* What could not be written is in the base. */
    propagate_taken(stream, stream->out.len);
    propagate_start(&a->s->commands);
    return ERR_OK;
}

/* ---- starting and ending ----------------------------------------------- */

enum err aof_create(struct server *s, struct aof **out)
{
    struct aof *a = mem_calloc(1, sizeof(*a));
    enum err err;

    a->s = s;
    a->file.fd = -1;
    a->rw.file.fd = a->rw.out_fd = a->rw.null_fd = -1;
    a->rw.last_s = -1;
    aof_manifest_init(&a->manifest);
    err = reaper_create_named("vectra-disk", &a->disk);
    if (err) {
        mem_free(a);
        return err;
    }
    *out = a;
    return ERR_OK;
}

/* The increment to write to: the last, if it is ours and whole; else a new
 * one. */
static enum err open_increment(struct aof *a, struct err_ctx *ctx)
{
    size_t n = aof_manifest_incr_count(&a->manifest);
    const struct aof_entry *last =
        n ? aof_manifest_incr(&a->manifest, n - 1) : NULL;
    uint64_t lsn = a->s->commands.stream.lsn;
    char path[PATH_MAX];
    enum err err;

    if (last && a->file.size > 0) {
        snprintf(a->file_name, sizeof(a->file_name), "%s", last->name);
        aof_path(a, last->name, path);
        return aof_file_open(&a->file, path, a->file.size, lsn, ctx);
    }
    last =
        aof_manifest_add_incr(&a->manifest, a->s->config.appendfilename, lsn);
    snprintf(a->file_name, sizeof(a->file_name), "%s", last->name);
    aof_path(a, last->name, path);
    err = aof_file_create(&a->file, path, ctx);
    if (!err) {
        /* Its name first, or a power cut may leave a manifest that names what
         * is not there. */
        err = file_sync_dir(a->dir, ctx);
    }
    if (!err) {
        err = aof_save_manifest(a->dir, a->s->config.appendfilename,
                                &a->manifest, ctx);
    }
    a->file.lsn = lsn;
    return err;
}

enum err aof_start(struct aof *a, struct err_ctx *ctx)
{
    enum err err;

    if (!a->s->config.appendonly) {
        return ERR_OK;
    }
    err = aof_open_dir(a, ctx);
    if (!err) {
        child_remove_leftovers(a->dir, AOF_TEMP_PREFIX, AOF_TEMP_SUFFIX);
        err = aof_load(a, ctx);
    }
    if (!err) {
        err = open_increment(a, ctx);
    }
    if (err) {
        return err_wrap(ctx, err, "the log");
    }
    a->state = AOF_ON;
    a->synced = a->file.lsn;
    a->base_size = a->other_bytes + a->file.size;
    propagate_start(&a->s->commands);
    return ERR_OK;
}

void aof_finish(struct aof *a)
{
    if (a->state == AOF_OFF) {
        return;
    }
    aof_rewrite_abandon(a);
    a->retry_at = 0;
    aof_job_wait(&a->sync.job);
    poll_sync(a);
    if (aof_write_out(a) && !a->is_suspect && a->file.fd >= 0) {
        if (file_fdatasync(a->file.fd) != 0) {
            sync_failed(a, errno);
        } else {
            a->synced = a->file.lsn;
        }
    }
    if (a->trouble != AOF_FINE) {
        LOG_WARN(AOF, "the log does not hold the last writes", "%s",
                 a->misconf);
    }
    set_gate(a);
}

void aof_destroy(struct aof *a)
{
    aof_rewrite_abandon(a);
    aof_backup_destroy(a);
    wake_waiters(a);
    reaper_destroy(a->disk);
    aof_file_close(&a->file);
    aof_manifest_deinit(&a->manifest);
    mem_free(a);
}

/* ---- switching --------------------------------------------------------- */

static void switch_off(struct aof *a)
{
    LOG_NOTE(AOF, "the log is switched off", "lsn=%llu",
             (unsigned long long)a->file.lsn);
    aof_finish(a);
    a->state = AOF_OFF;
    aof_backup_note(a);
    set_gate(a);
    if (a->file.fd >= 0) {
        retire_file(a, &a->file);
    }
    propagate_stop(&a->s->commands);
    a->is_suspect = false;
    aof_recovered(a);
    wake_waiters(a);
}

static enum err switch_on(struct aof *a, struct err_ctx *ctx)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    enum err err = aof_open_dir(a, ctx);

    if (err) {
        return err;
    }
    /* Numbers go on from those of an older log, whose files the first base
     * makes history. */
    aof_manifest_deinit(&a->manifest);
    snprintf(path, sizeof(path), "%.*s/%.200s.manifest", DIR_MAX, a->dir,
             a->s->config.appendfilename);
    err = file_read(path, AOF_MANIFEST_MAX, &text, ctx);
    if (!err) {
        err = aof_manifest_parse(&a->manifest, buf_bytes(&text), ctx);
    }
    buf_deinit(&text);
    if (err && err != ERR_NOT_FOUND) {
        return err;
    }
    a->state = AOF_WAIT_BASE;
    a->synced = a->file.lsn = a->s->commands.stream.lsn;
    a->file.size = a->other_bytes = 0;
    a->is_suspect = false;
    a->rw.scheduled = true;
    a->rw.not_before = 0;
    LOG_NOTE(AOF, "the log is switched on, writing its base", "dir=%s", a->dir);
    return ERR_OK;
}

enum err aof_apply(struct aof *a, struct err_ctx *ctx)
{
    bool on = a->state != AOF_OFF;

    if (a->s->config.appendonly == on) {
        return ERR_OK;
    }
    if (on) {
        switch_off(a);
        return ERR_OK;
    }
    return switch_on(a, ctx);
}

void aof_cron(struct aof *a)
{
    aof_rewrite_cron(a);
    if (a->waiters) {
        wake_waiters(a); /* their time may be up */
    }
}

/* ---- what is told ------------------------------------------------------ */

void aof_info_read(const struct aof *a, struct aof_info *out)
{
    const struct aof_rewrite *rw = &a->rw;
    time_us now = clock_mono_us();

    *out = (struct aof_info){
        .is_on = a->state != AOF_OFF,
        .rewriting = rw->stage != REWRITE_IDLE,
        .rewrite_scheduled = aof_rewrite_waits(a),
        .rewrite_failed = rw->failed,
        .write_failed = a->trouble != AOF_FINE,
        .last_rewrite_s = rw->last_s,
        .current_rewrite_s =
            rw->stage == REWRITE_IDLE ? -1 : (now - rw->started_at) / 1000000,
        .rewrites = rw->n,
        .rewrite_failures_in_a_row = rw->failures_in_a_row,
        .cow_bytes = rw->cow_bytes,
        .current_size = a->other_bytes + a->file.size,
        .base_size = a->base_size,
        .buffered = a->s->commands.stream.out.len,
        .delayed_syncs = a->delayed_syncs,
        .sync_pending = a->sync.job.under_way,
        .lsn = a->s->commands.stream.lsn,
        .backing_up = a->backup.is_open || atomic_load(&a->backup.n_jobs) > 0,
        .backup_failed = atomic_load(&a->backup.failed),
        .backup_lsn = a->backup.lsn,
    };
}
