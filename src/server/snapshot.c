/* Making snapshots: see snapshot.h. */
#include "server/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/file.h"
#include "server/aof.h"
#include "server/loading.h"
#include "server/server.h"

enum {
    RETRY_US = 5000000, /* after a failure, as in Redis */
    SYNC_EVERY = 4 << 20,
    REST_WAIT_US = 10000,
};

#define TEMP_PREFIX "temp-"
#define TEMP_SUFFIX ".rdb"

#define REFUSED                                                                \
    "MISCONF Redis is configured to save RDB snapshots, but it's currently "   \
    "unable to persist to disk. Commands that may modify the data set are "    \
    "disabled, because this instance is configured to report errors during "   \
    "writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). "  \
    "Please check the Redis logs for details about the RDB error."

uint64_t server_snapshot_changes(const struct server *s)
{
    return s->ks->stats.changes - s->snapshots.saved_changes;
}

/* ---- settings ---------------------------------------------------------- */

static void update_refusal(struct server *s)
{
    const struct server_snapshots *n = &s->snapshots;
    bool refuse =
        s->config.stop_writes_on_bgsave_error && !n->last_ok && n->n_points > 0;

    s->commands.refuse_writes[REFUSED_BY_SNAPSHOT] = refuse ? REFUSED : NULL;
}

static void read_points(struct server_snapshots *n, const char *text)
{
    struct save_point p;
    int used;

    n->n_points = 0;
    while (n->n_points < SAVE_POINTS_MAX &&
           sscanf(text, "%" SCNd64 " %" SCNd64 "%n", &p.seconds, &p.changes,
                  &used) == 2) {
        n->points[n->n_points++] = p;
        text += used;
    }
}

void server_snapshot_apply(struct server *s)
{
    read_points(&s->snapshots, s->config.save);
    update_refusal(s);
}

void server_snapshot_init(struct server *s)
{
    s->snapshots = (struct server_snapshots){
        .last_save = clock_wall_us() / 1000000,
        .last_ok = true,
        .last_took_s = -1,
    };
    child_remove_leftovers(".", TEMP_PREFIX, TEMP_SUFFIX);
}

/* ---- results ----------------------------------------------------------- */

static void note_saved(struct server *s, uint64_t changes)
{
    struct server_snapshots *n = &s->snapshots;

    n->saved_changes = changes;
    n->last_save = clock_wall_us() / 1000000;
    n->last_ok = true;
    n->n_saves++;
    update_refusal(s);
}

static void note_failed(struct server *s, const char *why)
{
    s->snapshots.last_ok = false;
    update_refusal(s);
    LOG_WARN(PERSIST,
             s->commands.refuse_writes[REFUSED_BY_SNAPSHOT]
                 ? "saving failed; writes are refused until it succeeds"
                 : "saving failed",
             "why=\"%s\"", why);
}

/* ---- here and now ------------------------------------------------------ */

static enum err write_here(struct server *s, int dir_fd, const char *temp,
                           struct err_ctx *ctx)
{
    struct snapshot_about about = {.lsn = -1};
    struct snapshot_progress progress = {0};
    struct rdb_out out;
    const char *doing = "writing";
    int fd =
        openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int error = 0;

    if (fd < 0) {
        return err_set(ctx, ERR_IO, "creating %s: %s", temp, strerror(errno));
    }
    rdb_out_open(&out, fd);
    out.compress = s->config.rdbcompression;
    out.checksum = s->config.rdbchecksum;
    out.sync_every = s->config.rdb_save_incremental_fsync ? SYNC_EVERY : 0;
    snapshot_write(&out, s->ks, &about, &progress);
    if (rdb_out_finish(&out) != ERR_OK) {
        error = out.error;
    } else if (file_fsync(fd) != 0) {
        error = errno;
        doing = "syncing";
    }
    rdb_out_close(&out);
    close(fd);
    return error
               ? err_set(ctx, ERR_IO, "%s %s: %s", doing, temp, strerror(error))
               : ERR_OK;
}

enum err server_snapshot_save(struct server *s, struct err_ctx *ctx)
{
    char temp[64];
    int dir_fd;
    enum err err;

    if (child_is_busy(s->child)) {
        return err_set(ctx, ERR_BUSY, "Background save already in progress");
    }
    dir_fd = file_open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir_fd < 0) {
        err =
            err_set(ctx, ERR_IO, "opening the directory: %s", strerror(errno));
        note_failed(s, ctx->text);
        return err;
    }
    snprintf(temp, sizeof(temp), TEMP_PREFIX "%d" TEMP_SUFFIX, (int)getpid());
    while (!server_builders_rest(s)) {
        (void)pool_wait_parked(s->builders, REST_WAIT_US);
    }
    err = write_here(s, dir_fd, temp, ctx);
    server_forked(s);
    if (!err && renameat(dir_fd, temp, dir_fd, s->config.dbfilename) != 0) {
        err = err_set(ctx, ERR_IO, "renaming %s to %s: %s", temp,
                      s->config.dbfilename, strerror(errno));
    }
    if (!err && file_fsync(dir_fd) != 0) {
        err =
            err_set(ctx, ERR_IO, "syncing the directory: %s", strerror(errno));
    }
    if (err) {
        unlinkat(dir_fd, temp, 0);
        note_failed(s, ctx->text);
    } else {
        note_saved(s, s->ks->stats.changes);
        LOG_NOTE(PERSIST, "saved", "file=%s", s->config.dbfilename);
    }
    close(dir_fd);
    return err;
}

/* ---- by a child -------------------------------------------------------- */

/* A child that was killed says nothing about the disk. */
static void child_done(void *arg, const struct child_result *r)
{
    struct server *s = arg;
    struct server_snapshots *n = &s->snapshots;

    n->last_took_s = r->took_us / 1000000;
    n->last_cow_bytes = r->cow_bytes;
    if (r->ok) {
        note_saved(s, n->going_changes);
        LOG_NOTE(PERSIST, "saved in the background",
                 "keys=%llu bytes=%llu seconds=%.3f copied-on-write=%zu",
                 (unsigned long long)r->keys, (unsigned long long)r->bytes,
                 (double)r->took_us / 1e6, r->cow_bytes);
    } else if (r->killed) {
        LOG_NOTE(PERSIST, "saving in the background was given up", "%s", "");
    } else {
        note_failed(s, r->why.text);
    }
}

static enum err note_fork(void *arg, struct snapshot_about *about,
                          struct err_ctx *ctx)
{
    struct server *s = arg;

    (void)about;
    (void)ctx;
    s->snapshots.going_changes = s->ks->stats.changes;
    return ERR_OK;
}

enum err server_snapshot_begin(struct server *s, struct err_ctx *ctx)
{
    struct child_order order = {
        .dir = ".",
        .prefix = TEMP_PREFIX,
        .suffix = TEMP_SUFFIX,
        .name = s->config.dbfilename,
        .about = {.lsn = -1},
        .compress = s->config.rdbcompression,
        .checksum = s->config.rdbchecksum,
        .sync_often = s->config.rdb_save_incremental_fsync,
        .key_delay_us = s->config.rdb_key_save_delay,
        .before_fork = note_fork,
        .done = child_done,
        .arg = s,
    };
    enum err err;

    s->snapshots.last_try_at = clock_mono_us();
    err = child_start(s->child, &order, ctx);
    if (err && err != ERR_BUSY) {
        note_failed(s, ctx->text);
    }
    if (!err) {
        s->snapshots.is_scheduled = false;
        LOG_NOTE(PERSIST, "saving in the background", "changes=%llu",
                 (unsigned long long)server_snapshot_changes(s));
    }
    return err;
}

/* ---- save points ------------------------------------------------------- */

static const struct save_point *point_reached(const struct server *s)
{
    const struct server_snapshots *n = &s->snapshots;
    int64_t since = clock_wall_us() / 1000000 - n->last_save;
    uint64_t changes = server_snapshot_changes(s);
    int i;

    for (i = 0; i < n->n_points; i++) {
        if (changes >= (uint64_t)n->points[i].changes &&
            since > n->points[i].seconds) {
            return &n->points[i];
        }
    }
    return NULL;
}

void server_snapshot_cron(struct server *s)
{
    struct server_snapshots *n = &s->snapshots;
    struct err_ctx ctx = {""};
    const struct save_point *p;

    if (child_is_busy(s->child) || aof_child_runs(s->aof) ||
        s->commands.is_loading || s->shutting_down ||
        (!n->last_ok && clock_mono_us() - n->last_try_at < RETRY_US)) {
        return;
    }
    p = point_reached(s);
    if (p) {
        LOG_NOTE(PERSIST, "a save point is reached", "changes=%llu after=%llds",
                 (unsigned long long)p->changes, (long long)p->seconds);
    }
    if ((p || n->is_scheduled) && server_snapshot_begin(s, &ctx) != ERR_OK) {
        n->last_try_at = clock_mono_us(); /* it is tried again */
    }
}

/* ---- commands ---------------------------------------------------------- */

static const char *as_reply(struct server *s, const char *words)
{
    snprintf(s->reply_text, sizeof(s->reply_text), "ERR %.*s",
             (int)sizeof(s->reply_text) - 5, words);
    return s->reply_text;
}

const char *server_save(void *server)
{
    struct server *s = server;
    struct err_ctx ctx = {""};

    return server_snapshot_save(s, &ctx) == ERR_OK ? NULL
                                                   : as_reply(s, ctx.text);
}

const char *server_bgsave(void *server, bool schedule)
{
    struct server *s = server;
    struct err_ctx ctx = {""};

    if (child_is_busy(s->child)) {
        return "-ERR Background save already in progress";
    }
    if (aof_child_runs(s->aof) && !schedule) {
        return "-ERR Another child process is active (AOF?): can't BGSAVE "
               "right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE "
               "whenever possible.";
    }
    if (aof_child_runs(s->aof)) {
        s->snapshots.is_scheduled = true;
        return "+Background saving scheduled";
    }
    if (server_snapshot_begin(s, &ctx) != ERR_OK) {
        char words[sizeof(ctx.text)];

        memcpy(words, ctx.text, sizeof(words));
        snprintf(s->reply_text, sizeof(s->reply_text), "-ERR %.*s",
                 (int)sizeof(s->reply_text) - 6, words);
        return s->reply_text;
    }
    return "+Background saving started";
}

/* With save points the file is to be empty soon as well, and a child that still
 * writes what is gone is in the way of that. */
void server_flushed(void *server)
{
    struct server *s = server;

    if (s->snapshots.n_points > 0) {
        child_abandon(s->child);
        s->snapshots.is_scheduled = true;
    }
}

int64_t server_lastsave(void *server)
{
    return ((struct server *)server)->snapshots.last_save;
}

/* The data is there again when this returns, or the error is replied. The loop
 * stands still: this is for tests. */
const char *server_debug_reload(void *server, uint32_t flags)
{
    struct server *s = server;
    struct snapshot_load load = {
        .skip_unknown = s->config.rdb_skip_unknown_types,
        .replace = (flags & RELOAD_MERGE) != 0,
    };
    struct err_ctx ctx = {""};
    enum err err = ERR_OK;

    if (!(flags & RELOAD_NOSAVE)) {
        err = server_snapshot_save(s, &ctx);
        if (err) {
            return as_reply(s, ctx.text);
        }
    }
    if (!(flags & RELOAD_NOFLUSH)) {
        keyspace_flush(s->ks, -1);
    }
    mem_set_limit(0);
    err = server_load_file(s, s->config.dbfilename, &load, &ctx);
    mem_set_limit((size_t)s->config.maxmemory);
    if (err) {
        LOG_WARN(PERSIST, "cannot load the snapshot again", "why=\"%s\"",
                 ctx.text);
        return "ERR Error trying to load the RDB dump, check server logs.";
    }
    return NULL;
}
