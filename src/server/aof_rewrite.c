/* New bases: see aof.h.
 *
 *     scheduled ─▶ PREPARES ─▶ READY ─▶ CHILD ─▶ COMMITS ─▶ idle
 *                  disk:       loop:    child:   disk: rename,
 *                  a fresh     switch,  writes   manifest
 *                  increment   fork     a file
 *
 * The switch to the fresh increment and the fork happen between two turns, so
 * what the base holds and what the increment goes on with meet at one LSN. A
 * failure at any stage leaves the log as it was: an increment more does no
 * harm. While the log has no base that can be trusted (AOF_WAIT_BASE), the
 * manifest names the fresh increment only together with its base. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "db/snapshot.h"
#include "io/file.h"
#include "server/aof_base.h"
#include "server/aof_impl.h"
#include "server/forked.h"

enum {
    RETRY_US = 1000000,
    RETRY_MAX_US = 60 * 1000000,
    SYNC_EVERY = 4 << 20,
};

/* ---- ends -------------------------------------------------------------- */

static void drop_temp(struct aof *a)
{
    char path[PATH_MAX];

    if (*a->rw.temp) {
        aof_path(a, a->rw.temp, path);
        unlink(path);
        a->rw.temp[0] = '\0';
    }
}

static void leave(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;

    if (rw->out_fd >= 0) {
        rdb_out_close(&rw->out);
        rdb_out_close(&rw->counter);
        close(rw->out_fd);
        rw->out_fd = -1;
    }
    if (rw->null_fd >= 0) {
        close(rw->null_fd);
        rw->null_fd = -1;
    }
    aof_file_close(&rw->file);
    aof_manifest_deinit(&rw->next);
    if (rw->report) {
        munmap(rw->report, sizeof(*rw->report));
        rw->report = NULL;
    }
    rw->stage = REWRITE_IDLE;
    rw->child = 0;
}

static void failed(struct aof *a, const char *why)
{
    struct aof_rewrite *rw = &a->rw;
    time_us pause = RETRY_US;

    LOG_WARN(AOF, "writing a new base failed, the log stays as it was",
             "why=\"%s\"", why);
    drop_temp(a);
    leave(a);
    rw->failed = true;
    rw->last_s = (clock_mono_us() - rw->started_at) / 1000000;
    rw->failures_in_a_row++;
    if (a->trouble != AOF_SYNC_FAILED && rw->failures_in_a_row > 3) {
        pause <<= rw->failures_in_a_row < 9 ? rw->failures_in_a_row - 3 : 6;
    }
    rw->not_before =
        clock_mono_us() + (pause < RETRY_MAX_US ? pause : RETRY_MAX_US);
    /* Without a base there is no log. */
    rw->scheduled |= a->state == AOF_WAIT_BASE;
}

/* ---- preparing --------------------------------------------------------- */

static void run_prepare(struct reaper_job *job)
{
    struct aof_rewrite *rw = CONTAINER_OF(job, struct aof_rewrite, job.job);
    struct aof *a = rw->job.aof;
    size_t n = aof_manifest_incr_count(&rw->next);
    char path[PATH_MAX];

    aof_path(a, aof_manifest_incr(&rw->next, n - 1)->name, path);
    rw->job.err = aof_file_create(&rw->file, path, &rw->job.why);
    if (!rw->job.err) {
        rw->job.err = file_sync_dir(a->dir, &rw->job.why);
    }
    if (!rw->job.err && rw->persist) {
        rw->job.err = aof_save_manifest(a->dir, a->s->config.appendfilename,
                                        &rw->next, &rw->job.why);
    }
    aof_job_done(&rw->job);
}

static void begin(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;
    struct err_ctx why = {""};

    rw->scheduled = false;
    rw->started_at = clock_mono_us();
    if (a->state == AOF_OFF && aof_open_dir(a, &why) != ERR_OK) {
        failed(a, why.text);
        return;
    }
    aof_manifest_copy(&rw->next, &a->manifest);
    rw->with_file = a->state != AOF_OFF;
    rw->persist = a->state == AOF_ON;
    rw->stage = REWRITE_READY;
    if (rw->with_file) {
        aof_manifest_add_incr(&rw->next, a->s->config.appendfilename,
                              a->s->commands.stream.lsn);
        rw->stage = REWRITE_PREPARES;
        aof_job_start(a, &rw->job, a->disk, run_prepare);
    }
}

static void prepared(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;

    if (rw->job.err) {
        failed(a, rw->job.why.text);
        return;
    }
    if (rw->persist) {
        aof_manifest_deinit(&a->manifest);
        aof_manifest_copy(&a->manifest, &rw->next);
        aof_backup_note(a);
    }
    rw->stage = REWRITE_READY;
}

/* ---- the child --------------------------------------------------------- */

static bool open_temp(struct aof *a, struct err_ctx *why)
{
    struct aof_rewrite *rw = &a->rw;
    char path[PATH_MAX];

    snprintf(rw->temp, sizeof(rw->temp), AOF_TEMP_PREFIX "%d" AOF_TEMP_SUFFIX,
             (int)getpid());
    aof_path(a, rw->temp, path);
    rw->out_fd =
        file_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (rw->out_fd < 0) {
        err_set(why, ERR_IO, "creating %s: %s", path, strerror(errno));
        return false;
    }
    rw->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    rdb_out_open(&rw->out, rw->out_fd);
    rdb_out_open(&rw->counter, rw->null_fd);
    rw->out.checksum = a->s->config.aof_use_rdb_preamble;
    rw->out.past_cache = true;
    rw->out.sync_every =
        a->s->config.aof_rewrite_incremental_fsync ? SYNC_EVERY : 0;
    rw->report = mmap(NULL, sizeof(*rw->report), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rw->report == MAP_FAILED) {
        rw->report = NULL;
        err_set(why, ERR_NOMEM, "no memory for a child");
        return false;
    }
    return true;
}

static void wait_after_key(void *arg)
{
    const struct config *config = arg;

    if (config->rdb_key_save_delay > 0) {
        usleep((useconds_t)config->rdb_key_save_delay);
    }
}

/* No allocation, no lock, no log from here on. */
static void child_main(struct aof *a, pid_t parent)
{
    struct aof_rewrite *rw = &a->rw;
    struct snapshot_about about = {.is_aof_base = true,
                                   .lsn = (int64_t)a->s->commands.stream.lsn};
    struct snapshot_progress progress = {.tick = wait_after_key,
                                         .arg = &a->s->config};
    const int keep[] = {rw->out_fd < rw->null_fd ? rw->out_fd : rw->null_fd,
                        rw->out_fd < rw->null_fd ? rw->null_fd : rw->out_fd};
    bool failed;

    forked_settle(parent, "vectra-base", keep, ARRAY_LEN(keep));
    if (a->s->config.aof_use_rdb_preamble) {
        snapshot_write(&rw->out, a->s->ks, &about, &progress);
    } else {
        aof_base_write(&rw->out, &rw->counter, a->s->ks);
    }
    failed = rdb_out_finish(&rw->out) != ERR_OK || file_fsync(rw->out_fd) != 0;
    if (failed) {
        const char *why = strerror(rw->out.error ? rw->out.error : errno);
        size_t len = strnlen(why, sizeof(rw->report->why) - 1);

        memcpy(rw->report->why, why, len);
    }
    rw->report->cow_bytes = forked_private_bytes();
    _exit(failed);
}

/* An increment whose base was never written is named by nobody. */
static bool is_named(const struct aof *a, const char *name)
{
    size_t i;

    for (i = 0; i < a->manifest.n; i++) {
        if (strcmp(a->manifest.entries[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool switch_increment(struct aof *a, struct err_ctx *why)
{
    struct aof_rewrite *rw = &a->rw;
    size_t n = aof_manifest_incr_count(&rw->next);
    const char *name = aof_manifest_incr(&rw->next, n - 1)->name;
    bool drop = a->file.fd >= 0 && !is_named(a, a->file_name);
    char path[PATH_MAX];

    aof_path(a, a->file_name, path);
    if (aof_switch_file(a, &rw->file, name, why) != ERR_OK) {
        return false;
    }
    if (drop) {
        unlink(path);
    }
    /* Should there be no base, the next attempt is to take another name. */
    a->manifest.incr_seq = rw->next.incr_seq;
    return true;
}

/* Between two turns: the increment and the base begin here. */
static void start_child(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;
    struct err_ctx why = {""};
    pid_t parent = getpid();
    time_us before;

    if (!open_temp(a, &why)) {
        failed(a, why.text);
        return;
    }
    if (rw->with_file && !switch_increment(a, &why)) {
        failed(a, why.text);
        return;
    }
    before = clock_mono_us();
    rw->child = fork();
    if (rw->child == 0) {
        child_main(a, parent);
    }
    if (rw->child < 0) {
        char text[64];

        snprintf(text, sizeof(text), "fork: %s", strerror(errno));
        failed(a, text);
        return;
    }
    child_note_fork(a->s->child, clock_mono_us() - before);
    rw->stage = REWRITE_CHILD;
    rw->look_for_child = true;
    LOG_NOTE(AOF, "a child writes a new base", "pid=%d lsn=%llu",
             (int)rw->child, (unsigned long long)a->s->commands.stream.lsn);
}

/* ---- committing -------------------------------------------------------- */

static void run_commit(struct reaper_job *job)
{
    struct aof_rewrite *rw = CONTAINER_OF(job, struct aof_rewrite, job.job);
    struct aof *a = rw->job.aof;
    char from[PATH_MAX], to[PATH_MAX];

    aof_path(a, rw->temp, from);
    aof_path(a, rw->base, to);
    if (rename(from, to) != 0) {
        rw->job.err = err_set(&rw->job.why, ERR_IO, "renaming %s to %s: %s",
                              from, to, strerror(errno));
    }
    if (!rw->job.err) {
        rw->job.err = file_sync_dir(a->dir, &rw->job.why);
    }
    if (!rw->job.err) {
        rw->job.err = aof_save_manifest(a->dir, a->s->config.appendfilename,
                                        &rw->next, &rw->job.why);
    }
    aof_job_done(&rw->job);
}

static void child_ended(struct aof *a, int status)
{
    struct aof_rewrite *rw = &a->rw;

    rw->cow_bytes = rw->report->cow_bytes;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char why[sizeof(rw->report->why) + 64];

        if (WIFSIGNALED(status)) {
            snprintf(why, sizeof(why), "the child died of signal %d",
                     WTERMSIG(status));
        } else {
            snprintf(why, sizeof(why), "the child: %s", rw->report->why);
        }
        failed(a, why);
        return;
    }
    aof_manifest_next_base(&rw->next, a->s->config.appendfilename,
                           a->s->config.aof_use_rdb_preamble, rw->base);
    aof_manifest_set_base(&rw->next, rw->base, rw->with_file);
    rw->stage = REWRITE_COMMITS;
    aof_job_start(a, &rw->job, a->disk, run_commit);
}

/* ---- history ----------------------------------------------------------- */

struct removal {
    struct reaper_job job;
    size_t n;
    char paths[][PATH_MAX];
};

static void run_removal(struct reaper_job *job)
{
    struct removal *r = CONTAINER_OF(job, struct removal, job);
    size_t i;

    for (i = 0; i < r->n; i++) {
        unlink(r->paths[i]);
    }
    mem_free(r);
}

/* Unlinking what is large takes the file system a while. */
static void remove_history(struct aof *a)
{
    struct removal *r =
        mem_calloc(1, sizeof(*r) + a->manifest.n * sizeof(r->paths[0]));
    size_t i;

    r->job.run = run_removal;
    for (i = 0; i < a->manifest.n; i++) {
        if (a->manifest.entries[i].type == AOF_HISTORY) {
            aof_path(a, a->manifest.entries[i].name, r->paths[r->n++]);
        }
    }
    aof_manifest_drop_history(&a->manifest);
    reaper_submit(a->s->reaper, &r->job);
}

static uint64_t size_on_disk(const struct aof *a, const char *name)
{
    char path[PATH_MAX];
    int fd;
    off_t size;

    aof_path(a, name, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (fd >= 0) {
        close(fd);
    }
    return size > 0 ? (uint64_t)size : 0;
}

static void committed(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;

    if (rw->job.err) {
        /* The manifest on disk may be the new one already: what either names
         * stays until there is another, and no name is given twice. */
        aof_manifest_add_history(&a->manifest, rw->base);
        a->manifest.base_seq = rw->next.base_seq;
        failed(a, rw->job.why.text);
        return;
    }
    rw->temp[0] = '\0';
    aof_backup_note(a);
    aof_manifest_deinit(&a->manifest);
    aof_manifest_copy(&a->manifest, &rw->next);
    remove_history(a);
    a->other_bytes = size_on_disk(a, rw->base);
    a->base_size = a->other_bytes + a->file.size;
    rw->failed = false;
    rw->failures_in_a_row = 0;
    rw->n++;
    rw->last_s = (clock_mono_us() - rw->started_at) / 1000000;
    leave(a);
    LOG_NOTE(AOF, "the log has a new base", "file=%s bytes=%llu", rw->base,
             (unsigned long long)a->other_bytes);
    if (a->state == AOF_WAIT_BASE) {
        a->state = AOF_ON;
        aof_recovered(a);
    }
}

/* ---- turns ------------------------------------------------------------- */

/* Whether the old increment has all that comes before the new one; what it
 * cannot take will be in the base. */
static bool is_all_written(const struct aof *a)
{
    return !a->write.job.under_way &&
           (a->s->commands.stream.out.len == 0 || a->state != AOF_ON ||
            a->trouble != AOF_FINE);
}

void aof_rewrite_poll(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;
    int status;

    switch (rw->stage) {
    case REWRITE_IDLE:
        if (rw->scheduled && a->trouble != AOF_WRITE_FAILED &&
            a->s->turn_started_at >= rw->not_before) {
            begin(a);
        }
        break;
    case REWRITE_PREPARES:
        if (aof_job_ended(&rw->job)) {
            prepared(a);
        }
        break;
    case REWRITE_READY:
        if (a->trouble != AOF_WRITE_FAILED && !child_is_busy(a->s->child) &&
            server_may_fork(a->s) && is_all_written(a)) {
            start_child(a);
            server_forked(a->s);
        }
        break;
    case REWRITE_CHILD:
        if (rw->look_for_child) {
            rw->look_for_child = false;
            if (waitpid(rw->child, &status, WNOHANG) == rw->child) {
                child_ended(a, status);
            }
        }
        break;
    case REWRITE_COMMITS:
        if (aof_job_ended(&rw->job)) {
            committed(a);
        }
        break;
    }
}

static bool has_grown(const struct aof *a)
{
    const struct config *c = &a->s->config;
    uint64_t size = a->other_bytes + a->file.size;
    uint64_t base = a->base_size ? a->base_size : 1;

    return c->auto_aof_rewrite_percentage > 0 &&
           size > (uint64_t)c->auto_aof_rewrite_min_size && size >= base &&
           (size - base) / base * 100 + (size - base) % base * 100 / base >=
               (uint64_t)c->auto_aof_rewrite_percentage;
}

void aof_rewrite_cron(struct aof *a)
{
    a->rw.look_for_child = true;
    if (a->state == AOF_ON && a->rw.stage == REWRITE_IDLE &&
        a->trouble == AOF_FINE && has_grown(a) &&
        a->s->turn_started_at >= a->rw.not_before) {
        LOG_NOTE(AOF, "the log has grown, writing a new base", "bytes=%llu",
                 (unsigned long long)(a->other_bytes + a->file.size));
        a->rw.scheduled = true;
    }
}

bool aof_rewrite_waits(const struct aof *a)
{
    return a->rw.scheduled ||
           (a->rw.stage < REWRITE_CHILD && a->rw.stage != REWRITE_IDLE &&
            child_is_busy(a->s->child));
}

const char *aof_rewrite(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;

    if (rw->stage != REWRITE_IDLE && !aof_rewrite_waits(a)) {
        return "-ERR Background append only file rewriting already in "
               "progress";
    }
    rw->not_before = 0;
    rw->scheduled = rw->stage == REWRITE_IDLE;
    if (a->trouble == AOF_WRITE_FAILED || child_is_busy(a->s->child)) {
        return "+Background append only file rewriting scheduled";
    }
    return "+Background append only file rewriting started";
}

bool aof_switch_is_near(const struct aof *a)
{
    return a->rw.stage == REWRITE_READY && !child_is_busy(a->s->child);
}

bool aof_child_runs(const struct aof *a)
{
    return a->rw.stage == REWRITE_CHILD;
}

void aof_rewrite_abandon(struct aof *a)
{
    struct aof_rewrite *rw = &a->rw;

    rw->scheduled = false;
    if (rw->stage == REWRITE_IDLE) {
        return;
    }
    if (rw->stage == REWRITE_CHILD) {
        kill(rw->child, SIGKILL);
        waitpid(rw->child, NULL, 0);
    }
    aof_job_wait(&rw->job);
    if (rw->stage == REWRITE_COMMITS && aof_job_ended(&rw->job)) {
        committed(a);
        return;
    }
    if (rw->stage == REWRITE_PREPARES && aof_job_ended(&rw->job)) {
        prepared(a);
    }
    if (rw->stage != REWRITE_IDLE) {
        drop_temp(a);
        leave(a);
    }
}
