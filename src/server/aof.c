/* Syncing the log, switching it, starting and ending it: see aof.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd_waiter.h"
#include "io/file.h"
#include "server/aof_impl.h"

enum {
    SYNC_PERIOD_US = 900000, /* and what has gathered: less than a second */
    SYNC_LATE_US = 2000000,
    CLAIM_US = 10000000,
    DIR_MAX = PATH_MAX - AOF_NAME_MAX - 2,
};

/* ---- names ------------------------------------------------------------- */

void aof_path(const struct aof *a, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%.*s/%.255s", DIR_MAX, a->dir, name);
}

/* Two servers that write to one log would destroy it. The directory stays ours
 * while the server lives, or uses another. */
static enum err claim_dir(struct aof *a, struct err_ctx *ctx)
{
    enum err err;
    int fd;

    if (a->dir_fd >= 0 && strcmp(a->claimed, a->dir) == 0) {
        return ERR_OK;
    }
    err = file_lock_dir(a->dir, &fd, ctx);
    if (err) {
        return err;
    }
    if (a->dir_fd >= 0) {
        close(a->dir_fd);
    }
    a->dir_fd = fd;
    memcpy(a->claimed, a->dir, sizeof(a->claimed));
    return ERR_OK;
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
        enum err err = file_sync_dir(here, ctx);

        return err ? err : claim_dir(a, ctx);
    }
    if (errno != EEXIST) {
        return err_set(ctx, ERR_IO, "making the directory %s: %s", a->dir,
                       strerror(errno));
    }
    return claim_dir(a, ctx);
}

/* A server that was killed may still be waiting for the disk. */
static enum err open_dir_patiently(struct aof *a, struct err_ctx *ctx)
{
    time_us until = clock_mono_us() + CLAIM_US;
    bool said = false;
    enum err err;

    while ((err = aof_open_dir(a, ctx)) == ERR_BUSY &&
           clock_mono_us() < until) {
        if (!said) {
            LOG_WARN(AOF, "waiting for another process to leave the log",
                     "dir=%s", a->dir);
            said = true;
        }
        poll(NULL, 0, 10);
    }
    return err;
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

void aof_job_start(struct aof *a, struct aof_job *job, struct reaper *thread,
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
    reaper_submit(thread, &job->job);
}

void aof_job_done(struct aof_job *job)
{
    struct loop *loop = job->aof->s->loop;

    atomic_store_explicit(&job->done, true, memory_order_release);
    loop_wake(loop);
}

void aof_job_quiet(struct aof_job *job)
{
    atomic_store_explicit(&job->done, true, memory_order_release);
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

/* ---- syncing ----------------------------------------------------------- */

static void sync_failed(struct aof *a, int error)
{
    aof_enter_trouble(a, AOF_SYNC_FAILED, error, "fdatasync");
    a->is_suspect = true;
    if (a->state != AOF_OFF) {
        a->state = AOF_WAIT_BASE;
        a->rw.scheduled = true;
    }
}

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
    aof_job_start(a, &s->job, a->disk, run_sync);
}

static void set_gate(struct aof *a)
{
    struct net_gate gate = {0};

    if (a->write.holds) {
        gate.turn = a->s->commands.stream.lsn;
        gate.durable = aof_safe(a);
        gate.in_flight =
            a->write.job.under_way ? a->write.batch.end : gate.durable;
        gate.own = true;
    } else if (a->state != AOF_OFF && aof_is_always(a) && !is_paused(a)) {
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
        aof_write_turn(a);
    }
    aof_backup_turn(a);
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
                              .synced = aof_next_batch(a).synced};
    int error;
    enum err err = aof_file_append(file, &batch, &error, ctx);

    ASSERT(!a->write.job.under_way);
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
    a->slate.used = a->slate.gathered = 0;
    return ERR_OK;
}

/* ---- starting and ending ----------------------------------------------- */

enum err aof_create(struct server *s, struct aof **out)
{
    struct aof *a = mem_calloc(1, sizeof(*a));
    enum err err;

    a->s = s;
    a->dir_fd = a->file.fd = a->slate.file.fd = -1;
    a->rw.file.fd = a->rw.out_fd = a->rw.null_fd = -1;
    a->rw.last_s = -1;
    aof_manifest_init(&a->manifest);
    err = reaper_create_named("vectra-disk", &a->disk);
    if (!err) {
        err = reaper_create_named("vectra-log", &a->write.thread);
    }
    if (err) {
        if (a->disk) {
            reaper_destroy(a->disk);
        }
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

/* What the last process had on the slate goes where it was to go, and to the
 * disk like all of the log; if it cannot be written, it is tried again like any
 * other write. */
static enum err write_recovered(struct aof *a, struct err_ctx *ctx)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_batch batch;
    struct err_ctx why = {""};
    int error;

    if (a->recovered.len) {
        buf_append_bytes(&stream->out, buf_bytes(&a->recovered));
        stream->lsn += a->recovered.len;
        buf_deinit(&a->recovered);
        batch = aof_next_batch(a);
        if (aof_file_append(&a->file, &batch, &error, &why) != ERR_OK) {
            return ERR_OK;
        }
        propagate_taken(stream, stream->out.len);
        if (file_fdatasync(a->file.fd) != 0) {
            return err_set(ctx, ERR_IO, "syncing it: %s", strerror(errno));
        }
    }
    aof_slate_remove(a);
    return ERR_OK;
}

enum err aof_start(struct aof *a, struct err_ctx *ctx)
{
    enum err err;

    if (!a->s->config.appendonly) {
        return ERR_OK;
    }
    err = open_dir_patiently(a, ctx);
    if (!err) {
        child_remove_leftovers(a->dir, AOF_TEMP_PREFIX, AOF_TEMP_SUFFIX);
        a->recovers = true;
        err = aof_load(a, ctx);
        a->recovers = false;
    }
    if (!err) {
        err = open_increment(a, ctx);
    }
    if (!err) {
        err = write_recovered(a, ctx);
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
    aof_job_wait(&a->sync.job);
    poll_sync(a);
    (void)aof_write_all(a);
    a->retry_at = 0;
    if (aof_write_all(a) && !a->is_suspect && a->file.fd >= 0) {
        if (file_fdatasync(a->file.fd) != 0) {
            sync_failed(a, errno);
        } else {
            a->synced = a->file.lsn;
        }
    }
    aof_backup_turn(a);
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
    reaper_destroy(a->write.thread);
    if (a->trouble == AOF_FINE) {
        aof_slate_drop(a); /* else it has what the log has not */
    }
    reaper_destroy(a->disk);
    aof_slate_close(&a->slate.file);
    buf_deinit(&a->write.bytes);
    mem_free(a->write.room);
    buf_deinit(&a->recovered);
    aof_file_close(&a->file);
    aof_manifest_deinit(&a->manifest);
    if (a->dir_fd >= 0) {
        close(a->dir_fd);
    }
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
    aof_slate_drop(a);
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
    aof_slate_remove(a);
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
        .buffered = a->s->commands.stream.out.len + a->write.bytes.len,
        .delayed_syncs = a->delayed_syncs,
        .sync_pending = a->sync.job.under_way,
        .lsn = a->s->commands.stream.lsn,
        .backing_up = a->backup.is_open || a->backup.is_ending ||
                      atomic_load(&a->backup.n_jobs) > 0,
        .backup_failed = atomic_load(&a->backup.failed),
        .backup_lsn = a->backup.lsn,
    };
}
