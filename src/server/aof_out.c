/* Writing the log: see aof.h.
 *
 * What a turn has put into the stream is in the kernel's hands before its
 * replies leave. Little is written to the log at once. More is put into the
 * slate (persist/aof_slate.h), which costs a tenth, and gathers in the stream
 * until a thread is given all of it to write to the log. Syncs have another
 * thread: no batch waits behind one.
 *
 *  O1  Batches are written one after another, in the stream's order.
 *  O2  The slate has all of the stream that was answered and that is not in the
 *      log: what the thread has and what gathers. What it has no room for is
 *      not answered before the thread has written it: net_set_gate().
 *  O3  While a batch is under way, file is what it was before it, and its
 *      descriptor stays open. Nothing is under way when a turn ends in which
 *      the log may be switched to another file.
 *
 * So clients whose writes the disk does not take wait for it, and nobody else.
 * Where the slate cannot be used, the loop writes, and waits for what is under
 * way. Under `always` it writes too, since replies wait for the sync. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "persist/aof_slate.h"
#include "server/aof_impl.h"

enum {
    RETRY_US = 1000000,
    LITTLE = 6 * 1024,    /* is written at once */
    SOME = 256 * 1024,    /* may be, when all is to be in the log */
    HELD_MAX = 32 << 20,  /* more than this is not kept waiting */
    ENOUGH = 64 * 1024,   /* for the thread; more leaves the caches meanwhile */
    GATHER_US = 50000,    /* or what came in this time */
    KEEP_BYTES = 1 << 20, /* of the buffer, between batches */
    SLOW_US = 10000,      /* a disk to be left alone for a while: */
    SHUN_US = 100000,
    SHUN_MAX_US = 2000000,
};

/* ---- trouble ----------------------------------------------------------- */

/* Nothing that was promised is broken yet: no reply has left. */
static void die(const char *what, int error)
{
    LOG_WARN(AOF,
             "the log cannot be made durable under appendfsync always, "
             "exiting without acknowledging",
             "%s: %s (errno %d)", what, strerror(error), error);
    _exit(1);
}

void aof_enter_trouble(struct aof *a, enum aof_trouble trouble, int error,
                       const char *words)
{
    if (aof_is_always(a)) {
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

/* ---- by the loop ------------------------------------------------------- */

struct aof_batch aof_next_batch(const struct aof *a)
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
    size_t n = server_close_writers_since(a->s, aof_safe(a));

    if (n) {
        LOG_WARN(AOF, "closed clients whose writes are not in the log",
                 "clients=%zu", n);
    }
}

static bool write_out(struct aof *a)
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
    batch = aof_next_batch(a);
    if (aof_file_append(&a->file, &batch, &error, &why) != ERR_OK) {
        aof_enter_trouble(a, AOF_WRITE_FAILED, error, why.text);
        close_unlogged(a);
        return false;
    }
    propagate_taken(stream, stream->out.len);
    a->slate.used = a->slate.gathered = 0;
    if (a->trouble == AOF_WRITE_FAILED) {
        aof_recovered(a);
    }
    return true;
}

/* ---- the slate --------------------------------------------------------- */

static void slate_path(const struct aof *a, char out[PATH_MAX])
{
    char name[AOF_NAME_MAX + 1];

    snprintf(name, sizeof(name), "%.200s.slate", a->s->config.appendfilename);
    aof_path(a, name, out);
}

static void run_create(struct reaper_job *job)
{
    struct aof_slate *st = CONTAINER_OF(job, struct aof_slate, job.job);
    char path[PATH_MAX];

    slate_path(st->job.aof, path);
    st->job.err = aof_slate_create(&st->file, path, &st->job.why);
    aof_job_done(&st->job);
}

static void slate_gave_up(struct aof *a, const char *why)
{
    LOG_WARN(AOF, "the log does without its slate", "why=\"%s\"", why);
    a->slate.is_ready = false;
    a->slate.failed = true;
}

/* Whether there is one; if not, it is made. */
static bool slate_is_ready(struct aof *a)
{
    struct aof_slate *st = &a->slate;

    if (!st->is_ready && !st->failed && !st->job.under_way) {
        aof_job_start(a, &st->job, a->disk, run_create);
    }
    return st->is_ready;
}

static void slate_poll(struct aof *a)
{
    struct aof_slate *st = &a->slate;

    if (aof_job_ended(&st->job)) {
        st->is_ready = st->job.err == ERR_OK;
        if (!st->is_ready) {
            slate_gave_up(a, st->job.why.text);
        }
    }
}

/* Puts there what is not in the log and not there yet. */
static bool slate_put(struct aof *a)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_slate *st = &a->slate;
    uint64_t begin = stream->lsn - stream->out.len;
    uint64_t from = aof_safe(a);
    struct bytes fresh;
    size_t before = st->used;
    enum err err;

    if (from == stream->lsn) {
        return true;
    }
    if (from < begin) {
        return false; /* what is under way is not there */
    }
    fresh = bytes_of(stream->out.data + (from - begin), stream->lsn - from);
    err = aof_slate_put(&st->file, a->file_name, from, fresh, &st->used);
    if (err == ERR_IO) {
        slate_gave_up(a, strerror(errno));
    }
    if (err) {
        return false;
    }
    if (st->gathered == 0) {
        st->since = a->s->turn_started_at;
    }
    st->gathered += st->used - before;
    st->end = stream->lsn;
    return true;
}

void aof_slate_remove(const struct aof *a)
{
    char path[PATH_MAX];

    slate_path(a, path);
    unlink(path);
}

void aof_slate_drop(struct aof *a)
{
    struct aof_slate *st = &a->slate;

    aof_job_wait(&st->job);
    slate_poll(a);
    if (st->file.fd >= 0) {
        aof_slate_close(&st->file);
        aof_slate_remove(a);
    }
    st->is_ready = st->failed = false;
    st->used = st->gathered = 0;
    st->end = 0;
}

void aof_slate_recover(const struct aof *a, const char *name, uint64_t lsn,
                       struct buf *out)
{
    char path[PATH_MAX];

    slate_path(a, path);
    aof_slate_read(path, name, lsn, out);
}

/* ---- by the thread ----------------------------------------------------- */

static void run_write(struct reaper_job *job)
{
    struct aof_write *w = CONTAINER_OF(job, struct aof_write, job.job);
    time_us start = clock_mono_us();

    w->job.err =
        aof_file_append(&w->file, &w->batch, &w->job.error, &w->job.why);
    w->took_us = clock_mono_us() - start;
    aof_job_quiet(&w->job);
    if (atomic_load(&w->wake)) {
        loop_wake(w->job.aof->s->loop);
    }
}

/* The loop is to learn of the end of what is under way, if it has not ended. */
static void want_to_know(struct aof *a)
{
    struct aof_write *w = &a->write;

    atomic_store(&w->wake, true);
    if (atomic_load(&w->job.done)) {
        loop_wake(a->s->loop);
    }
}

/* Past the cache goes what a disk takes as fast as it comes: more than the
 * usual has gathered when it does not. Where nobody syncs, only the cache keeps
 * the order in which batches reach the disk; what waits there would leave
 * holes. */
static bool may_pass_cache_by(const struct aof *a)
{
    return a->s->config.appendfsync != AOF_FSYNC_NO &&
           a->s->commands.stream.out.len <= AOF_ROOM &&
           a->s->turn_started_at >= a->write.shun_until;
}

static void hand_over(struct aof *a)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_write *w = &a->write;
    struct buf empty = w->bytes;

    w->batch = aof_next_batch(a);
    if (may_pass_cache_by(a)) {
        if (!w->room) {
            w->room = mem_calloc_aligned(AOF_ROOM, AOF_BLOCK);
        }
        w->batch.room = w->room;
    }
    w->file = a->file;
    w->bytes = stream->out;
    stream->out = empty;
    a->slate.gathered = 0;
    aof_job_start(a, &w->job, w->thread, run_write);
}

/* A disk that keeps the thread waiting would soon keep the loop waiting. */
static void note_time(struct aof *a)
{
    struct aof_write *w = &a->write;

    if (!w->batch.room) {
        return;
    }
    if (w->took_us < SLOW_US) {
        w->shun_us = w->shun_us > SHUN_US ? w->shun_us * 15 / 16 : SHUN_US;
        return;
    }
    w->shun_us = w->shun_us * 2 < SHUN_MAX_US ? w->shun_us * 2 : SHUN_MAX_US;
    w->shun_until = a->s->turn_started_at + w->shun_us;
}

/* The stream is as if nobody had tried. */
static void take_back(struct aof *a)
{
    struct cmd_stream *stream = &a->s->commands.stream;
    struct aof_write *w = &a->write;

    buf_append_bytes(&w->bytes, buf_bytes(&stream->out));
    buf_deinit(&stream->out);
    stream->out = w->bytes;
    w->bytes = BUF_INIT;
    a->slate.gathered = a->slate.used;
}

static void write_poll(struct aof *a)
{
    struct aof_write *w = &a->write;

    if (!aof_job_ended(&w->job)) {
        return;
    }
    a->file = w->file;
    note_time(a);
    if (w->job.err) {
        take_back(a);
        aof_enter_trouble(a, AOF_WRITE_FAILED, w->job.error, w->job.why.text);
        return;
    }
    a->slate.used = a->slate.gathered;
    w->bytes.len = 0;
    if (w->bytes.cap > KEEP_BYTES) {
        buf_deinit(&w->bytes);
    }
}

/* ---- the turn's part --------------------------------------------------- */

/* Whether there is somebody who could wait for the thread. */
static bool may_leave_it(const struct aof *a)
{
    return a->state == AOF_ON && a->trouble == AOF_FINE && !a->is_suspect &&
           !aof_is_always(a) && !a->backup.is_ending;
}

/* Whether it is for the loop to write what the turn has made: it is little, or
 * somebody wants it synced, or is about to do something with the whole of the
 * log. Not behind a batch under way, for which it would wait. */
static bool is_for_the_loop(const struct aof *a)
{
    size_t len = a->s->commands.stream.out.len;

    return !a->write.job.under_way &&
           (len < LITTLE ||
            (len < SOME && (a->waiters || aof_switch_is_near(a))));
}

/* Whether the thread is to have what has gathered. */
static bool is_enough(const struct aof *a)
{
    return a->s->commands.stream.out.len >= ENOUGH ||
           a->s->turn_started_at - a->slate.since >= GATHER_US;
}

/* What is not on the slate is answered when the thread has written it. */
static void gather(struct aof *a, bool is_put)
{
    struct aof_write *w = &a->write;

    if (!w->job.under_way && a->s->commands.stream.out.len &&
        (!is_put || is_enough(a))) {
        hand_over(a);
    }
    w->holds = !is_put;
    if (w->job.under_way && (w->holds || a->waiters || aof_switch_is_near(a))) {
        want_to_know(a);
    } else {
        atomic_store_explicit(&w->wake, false, memory_order_relaxed);
    }
}

void aof_write_turn(struct aof *a)
{
    bool is_put;

    slate_poll(a);
    write_poll(a);
    if (!may_leave_it(a) || is_for_the_loop(a) || !slate_is_ready(a)) {
        aof_write_all(a);
        return;
    }
    is_put = slate_put(a);
    if (is_put ||
        (a->slate.is_ready && a->s->commands.stream.out.len <= HELD_MAX)) {
        gather(a, is_put);
    } else {
        aof_write_all(a);
    }
}

bool aof_write_all(struct aof *a)
{
    aof_job_wait(&a->write.job);
    write_poll(a);
    a->write.holds = false;
    return write_out(a);
}
