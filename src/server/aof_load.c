/* Loading the log: see aof.h. The manifest names a base, a snapshot or
 * commands, and increments, whose commands are run in order (cmd/replay.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "cmd/replay.h"
#include "db/snapshot.h"
#include "io/file.h"
#include "persist/aof_read.h"
#include "server/aof_impl.h"

struct load {
    struct aof *a;
    struct replay replay;
    bool has_lsn; /* the stream's place is known */
    uint64_t lsn;
    uint64_t loaded_before;  /* bytes of files before this one */
    uint64_t transaction_at; /* offset of a MULTI without its EXEC yet */
    const struct aof_entry *ended_in; /* the last that held a command, */
    int ended_db;                     /* and what it had selected */
    unsigned n_unyielded;             /* commands since others had their turn */
    time_us began_at;
};

/* A file of the log while it is loaded. */
struct load_file {
    const struct aof_entry *entry;
    int fd;
    bool is_last;
    bool is_ours; /* batches with sums */
    bool is_torn;
    bool has_gap;  /* it does not go on where the one before ends */
    uint64_t good; /* of it, all that is whole */
};

static uint64_t size_of(const struct aof *a, const struct aof_entry *e)
{
    char path[PATH_MAX];
    struct stat st;

    aof_path(a, e->name, path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* ---- one file ---------------------------------------------------------- */

enum {
    AHEAD = 8,      /* commands that are read before they are run */
    AHEAD_ARGS = 8, /* of those; longer ones wait until these have run */
    YIELD_COMMANDS = 16,
    YIELD_BYTES = 4096,
};

struct load_command {
    const struct bytes *argv;
    size_t argc;
    uint64_t offset;
    struct bytes own[AHEAD_ARGS];
};

static enum err run_command(struct load *l, const struct load_command *c,
                            struct err_ctx *ctx)
{
    bool inside = replay_in_transaction(&l->replay);
    enum err err = replay_command(&l->replay, c->argv, c->argc, ctx);
    uint64_t at = l->loaded_before + c->offset;

    if (err) {
        return err_wrap(ctx, err, "offset %" PRIu64, c->offset);
    }
    if (++l->n_unyielded >= YIELD_COMMANDS ||
        at - l->a->s->loading.loaded_bytes >= YIELD_BYTES) {
        l->n_unyielded = 0;
        l->a->s->loading.loaded_bytes = at;
        if (!server_loading_yield(l->a->s)) {
            return err_set(ctx, ERR_BUSY, "the server is asked to stop");
        }
    }
    if (!inside && replay_in_transaction(&l->replay)) {
        l->transaction_at = c->offset;
    }
    return ERR_OK;
}

/* Commands are read some ahead, so that what they will look for is fetched
 * meanwhile. */
static enum err run_unit(struct load *l, struct aof_reader *r,
                         struct aof_unit *unit, struct err_ctx *ctx)
{
    struct load_command ring[AHEAD], next;
    size_t read = 0, run = 0;
    bool more = true, is_long = false;
    enum err err = ERR_OK;

    while (!err && (more || run < read)) {
        while (more && !is_long && read - run < AHEAD) {
            struct bytes *argv;

            more = aof_next_command(r, unit, &argv, &next.argc, &next.offset);
            next.argv = argv;
            is_long = more && next.argc > AHEAD_ARGS;
            if (more && !is_long) {
                struct load_command *c = &ring[read++ % AHEAD];

                c->argc = next.argc;
                c->offset = next.offset;
                c->argv = c->own;
                memcpy(c->own, argv, next.argc * sizeof(*argv));
                replay_expect(&l->replay, c->argv, c->argc);
            }
        }
        if (run < read) {
            err = run_command(l, &ring[run++ % AHEAD], ctx);
        } else if (is_long) {
            is_long = false;
            err = run_command(l, &next, ctx);
        }
    }
    return err;
}

static enum err load_snapshot(struct load *l, struct load_file *f,
                              uint64_t *offset, struct err_ctx *ctx)
{
    struct server *s = l->a->s;
    struct snapshot_load load = {
        .keep_expired = true, .skip_unknown = s->config.rdb_skip_unknown_types};
    enum err err = server_load_fd(s, f->fd, f->entry->name, 0, UINT64_MAX,
                                  &load, offset, ctx);

    if (!err && load.about.lsn > 0) {
        l->lsn = (uint64_t)load.about.lsn;
        l->has_lsn = true;
    }
    return err;
}

/* What a reader says of a file's end, in a word. */
static enum err judge_end(struct load *l, struct load_file *f,
                          struct aof_reader *r, enum aof_read_result result,
                          struct err_ctx *ctx)
{
    int64_t tail_max = l->a->s->config.aof_load_corrupt_tail_max_size;

    f->good = r->good;
    if (replay_in_transaction(&l->replay)) {
        f->good = l->transaction_at;
        replay_abandon_transaction(&l->replay);
        if (result == AOF_READ_END) {
            err_set(ctx, ERR_CORRUPT,
                    "offset %" PRIu64 ": the file ends inside a transaction",
                    f->good);
            result = AOF_READ_TORN;
        }
    }
    if (result == AOF_READ_DAMAGED && tail_max > 0 &&
        r->file_size - f->good <= (uint64_t)tail_max) {
        result = AOF_READ_TORN;
    }
    f->is_torn = result == AOF_READ_TORN;
    return result == AOF_READ_DAMAGED ? ERR_CORRUPT : ERR_OK;
}

/* A log that has no base yet tells where its first increment begins. */
static bool is_first(const struct load *l, const struct aof_entry *e)
{
    return !aof_manifest_base(&l->a->manifest) &&
           e == aof_manifest_incr(&l->a->manifest, 0);
}

static enum err load_commands(struct load *l, struct load_file *f,
                              uint64_t offset, struct err_ctx *ctx)
{
    bool is_base = f->entry->type == AOF_BASE;
    struct aof_reader r;
    struct aof_unit unit;
    enum aof_read_result result;
    enum err err = aof_reader_open(&r, f->fd, offset, ctx);

    if (err) {
        return err;
    }
    /* A base has a stream of its own. */
    if (!l->has_lsn && is_first(l, f->entry) && f->entry->start_lsn >= 0) {
        l->lsn = (uint64_t)f->entry->start_lsn;
        l->has_lsn = true;
    }
    r.has_lsn = l->has_lsn && !is_base;
    r.lsn = is_base ? 0 : l->lsn;
    l->replay.client.db = 0;
    while (!err &&
           (result = aof_reader_next(&r, &unit, ctx)) == AOF_READ_UNIT) {
        err = run_unit(l, &r, &unit, ctx);
    }
    if (!err) {
        err = judge_end(l, f, &r, result, ctx);
    }
    f->is_ours = r.has_sums;
    f->has_gap = r.has_gap;
    if (!is_base && r.has_sums) {
        if (r.lsn != l->lsn) {
            l->ended_in = f->entry;
            l->ended_db = l->replay.client.db;
        }
        l->lsn = r.lsn;
        l->has_lsn |= r.has_lsn;
    }
    aof_reader_close(&r);
    return err;
}

static bool begins_as_snapshot(int fd)
{
    char head[5];

    return pread(fd, head, sizeof(head), 0) == sizeof(head) &&
           memcmp(head, "REDIS", sizeof(head)) == 0;
}

static enum err load_content(struct load *l, struct load_file *f,
                             struct err_ctx *ctx)
{
    uint64_t offset = 0;
    enum err err = ERR_OK;

    if (begins_as_snapshot(f->fd)) {
        err = load_snapshot(l, f, &offset, ctx);
    }
    return err ? err : load_commands(l, f, offset, ctx);
}

/* ---- torn tails -------------------------------------------------------- */

/* Whether a file after a torn one tells that what is missing was on disk. */
static bool is_contradicted(struct load *l, size_t from)
{
    const struct aof_entry *e;

    for (; (e = aof_manifest_incr(&l->a->manifest, from)); from++) {
        char path[PATH_MAX];
        char head[sizeof(AOF_MAGIC) - 1];
        bool proves;
        int fd;

        aof_path(l->a, e->name, path);
        fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
        if (fd < 0) {
            return true;
        }
        proves = pread(fd, head, sizeof(head), 0) != sizeof(head) ||
                 memcmp(head, AOF_MAGIC, sizeof(head)) != 0 ||
                 aof_proves_synced(fd, l->lsn);
        close(fd);
        if (proves) {
            return true;
        }
    }
    return false;
}

/* Increments from `from` on are no part of the log any more. */
static void forget_after(struct load *l, size_t from)
{
    const struct aof_entry *e;

    while ((e = aof_manifest_incr(&l->a->manifest, from))) {
        LOG_WARN(AOF,
                 "an increment behind a torn one was never on disk as a "
                 "whole, leaving it out",
                 "file=%s", e->name);
        ((struct aof_entry *)(uintptr_t)e)->type = AOF_HISTORY;
    }
}

static bool cut(const char *path, uint64_t size)
{
    int rc;

    do {
        rc = truncate(path, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0;
}

static enum err cut_tail(struct load *l, struct load_file *f, const char *path,
                         size_t next_incr, struct err_ctx *ctx)
{
    struct stat st;

    if (!l->a->s->config.aof_load_truncated) {
        return err_wrap(ctx, ERR_CORRUPT,
                        "it is cut short, and aof-load-truncated is no");
    }
    if (!f->is_last && (!f->is_ours || is_contradicted(l, next_incr))) {
        return err_wrap(ctx, ERR_CORRUPT, "it is cut short and not the last");
    }
    if (fstat(f->fd, &st) != 0 || !cut(path, f->good)) {
        return err_set(ctx, ERR_IO, "cutting it to %" PRIu64 " bytes: %s",
                       f->good, strerror(errno));
    }
    LOG_WARN(AOF, "the log is cut short, going on with what is whole",
             "file=%s bytes=%" PRIu64 " cut-off=%" PRIu64 " why=\"%s\"",
             f->entry->name, f->good, (uint64_t)st.st_size - f->good,
             ctx->text);
    ctx->text[0] = '\0';
    if (!f->is_last) {
        forget_after(l, next_incr);
    }
    return ERR_OK;
}

/* The end of the increment before never reached the disk, as a whole batch or
 * more, and nothing says that it had: then the log ends there. */
static bool is_behind_a_tail(struct load *l, const struct load_file *f,
                             size_t next_incr)
{
    return f->has_gap && next_incr > 1 && l->a->s->config.aof_load_truncated &&
           !is_contradicted(l, next_incr - 1);
}

static enum err load_file(struct load *l, struct load_file *f, size_t next_incr,
                          struct err_ctx *ctx)
{
    char path[PATH_MAX];
    enum err err;

    aof_path(l->a, f->entry->name, path);
    f->fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (f->fd < 0) {
        return err_set(ctx, ERR_IO, "opening %s: %s", path, strerror(errno));
    }
    err = load_content(l, f, ctx);
    if (!err && f->is_torn) {
        err = cut_tail(l, f, path, next_incr, ctx);
    } else if (err && is_behind_a_tail(l, f, next_incr)) {
        forget_after(l, next_incr - 1);
        ctx->text[0] = '\0';
        err = ERR_OK;
    }
    l->loaded_before += size_of(l->a, f->entry);
    close(f->fd);
    return err ? err_wrap(ctx, err, "%s", f->entry->name) : ERR_OK;
}

/* ---- the manifest ------------------------------------------------------ */

/* Redis before 7 had one file, in dir itself; it becomes the base. */
static enum err adopt_old_file(struct aof *a, bool *found, struct err_ctx *ctx)
{
    const char *name = a->s->config.appendfilename;
    struct stat st;

    *found = stat(name, &st) == 0 && S_ISREG(st.st_mode);
    if (!*found) {
        return ERR_OK;
    }
    LOG_NOTE(AOF, "a log of one file becomes the base of a new one", "file=%s",
             name);
    aof_manifest_set_base(&a->manifest, name, 0);
    return aof_save_manifest(a->dir, name, &a->manifest, ctx);
}

/* The second half of it, which a crash may have left out. */
static enum err move_old_file(struct aof *a, struct err_ctx *ctx)
{
    const struct aof_entry *base = aof_manifest_base(&a->manifest);
    const char *name = a->s->config.appendfilename;
    char path[PATH_MAX];

    if (!base || strcmp(base->name, name) != 0) {
        return ERR_OK;
    }
    aof_path(a, name, path);
    if (access(path, F_OK) == 0 || access(name, F_OK) != 0) {
        return ERR_OK;
    }
    if (rename(name, path) != 0) {
        return err_set(ctx, ERR_IO, "moving %s to %s: %s", name, path,
                       strerror(errno));
    }
    return file_sync_dir(a->dir, ctx);
}

static enum err read_manifest(struct aof *a, bool *found, struct err_ctx *ctx)
{
    char name[AOF_NAME_MAX + 1];
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    enum err err;

    snprintf(name, sizeof(name), "%.200s.manifest",
             a->s->config.appendfilename);
    aof_path(a, name, path);
    aof_manifest_deinit(&a->manifest);
    err = file_read(path, AOF_MANIFEST_MAX, &text, ctx);
    *found = !err;
    if (err == ERR_NOT_FOUND) {
        ctx->text[0] = '\0';
        return ERR_OK;
    }
    if (!err) {
        err = aof_manifest_parse(&a->manifest, buf_bytes(&text), ctx);
    }
    buf_deinit(&text);
    return err ? err_wrap(ctx, err, "%s", name) : ERR_OK;
}

/* What the last process wrote, and the names it gave, may be in the kernel's
 * memory alone; but what clients see of it is not to go with the power, nor are
 * old files to be removed while the disk's manifest names them. */
static enum err sync_files(struct aof *a, struct err_ctx *ctx)
{
    size_t i;

    for (i = 0; i < a->manifest.n; i++) {
        const struct aof_entry *e = &a->manifest.entries[i];
        char path[PATH_MAX];
        int fd, error;

        if (e->type == AOF_HISTORY) {
            continue;
        }
        aof_path(a, e->name, path);
        fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
        error = fd < 0 || file_fdatasync(fd) != 0 ? errno : 0;
        if (fd >= 0) {
            close(fd);
        }
        if (error) {
            return err_set(ctx, ERR_IO, "syncing %s: %s", e->name,
                           strerror(error));
        }
    }
    return file_sync_dir(a->dir, ctx);
}

/* Files that are no part of it any more, and the lines that name them. */
static enum err drop_history(struct aof *a, struct err_ctx *ctx)
{
    size_t n = a->manifest.n;
    size_t i;

    for (i = 0; i < n; i++) {
        char path[PATH_MAX];

        if (a->manifest.entries[i].type == AOF_HISTORY) {
            aof_path(a, a->manifest.entries[i].name, path);
            unlink(path);
        }
    }
    aof_manifest_drop_history(&a->manifest);
    return a->manifest.n == n
               ? ERR_OK
               : aof_save_manifest(a->dir, a->s->config.appendfilename,
                                   &a->manifest, ctx);
}

/* ---- all of it --------------------------------------------------------- */

static enum err load_all(struct load *l, struct err_ctx *ctx)
{
    struct aof *a = l->a;
    const struct aof_entry *e = aof_manifest_base(&a->manifest);
    struct load_file f = {.entry = e}, last = {.good = 0};
    enum err err = ERR_OK;
    size_t i;

    a->other_bytes = a->file.size = 0;
    if (e) {
        f.is_last = !aof_manifest_incr(&a->manifest, 0);
        err = load_file(l, &f, 0, ctx);
        a->other_bytes = size_of(a, e);
    }
    for (i = 0; !err && (e = aof_manifest_incr(&a->manifest, i)); i++) {
        f = (struct load_file){
            .entry = e, .is_last = !aof_manifest_incr(&a->manifest, i + 1)};
        err = load_file(l, &f, i + 1, ctx);
        if (e->type == AOF_INCR) { /* still */
            a->other_bytes += size_of(a, e);
            last = f;
        }
    }
    if (!err && last.is_ours) { /* it goes on */
        a->file.size = last.good;
        a->other_bytes -= size_of(a, last.entry);
    }
    return err;
}

static void tell_size(struct aof *a)
{
    uint64_t total = 0;
    size_t i;

    for (i = 0; i < a->manifest.n; i++) {
        if (a->manifest.entries[i].type != AOF_HISTORY) {
            total += size_of(a, &a->manifest.entries[i]);
        }
    }
    a->s->loading.total_bytes = total;
    a->s->loading.loaded_bytes = 0;
}

static void tell(const struct load *l)
{
    LOG_NOTE(AOF, "the log is loaded",
             "commands=%" PRIu64 " lsn=%" PRIu64 " ms=%" PRId64,
             l->replay.n_commands, l->lsn,
             (clock_mono_us() - l->began_at) / 1000);
}

/* What the last process had answered and not written to the log yet. It belongs
 * to the last increment, or to one before it where those behind are empty: what
 * is prepared for a rewrite is named before it is used. */
static void find_slate(struct load *l)
{
    struct aof *a = l->a;
    size_t n = aof_manifest_incr_count(&a->manifest);
    struct buf found = BUF_INIT;
    size_t i;

    for (i = n; i > 0 && found.len == 0; i--) {
        const struct aof_entry *e = aof_manifest_incr(&a->manifest, i - 1);

        aof_slate_recover(a, e->name, l->lsn, &found);
        l->replay.client.db = e == l->ended_in ? l->ended_db : 0;
        if (found.len && i < n) {
            char db[NUM_TEXT_MAX];
            size_t len = num_format_i64(l->replay.client.db, db);

            buf_printf(&a->recovered, "*2\r\n$6\r\nSELECT\r\n$%zu\r\n%.*s\r\n",
                       len, (int)len, db);
        }
        if (e == l->ended_in) {
            break;
        }
    }
    buf_append_bytes(&a->recovered, buf_bytes(&found));
    buf_deinit(&found);
}

static enum err load_slate(struct load *l, struct err_ctx *ctx)
{
    struct aof *a = l->a;
    struct aof_reader r = {.fd = -1};
    struct aof_unit unit = {.offset = 0};
    enum err err = ERR_OK;

    if (!a->recovers || a->file.size == 0 || !l->has_lsn) {
        return ERR_OK;
    }
    find_slate(l);
    unit.text = buf_bytes(&a->recovered);
    if (unit.text.len) {
        LOG_NOTE(AOF, "going on with what was not in the log yet",
                 "lsn=%" PRIu64 " bytes=%zu", l->lsn, unit.text.len);
        err = run_unit(l, &r, &unit, ctx);
    }
    aof_reader_close(&r);
    return err ? err_wrap(ctx, err, "the slate") : ERR_OK;
}

static enum err replay_log(struct aof *a, struct err_ctx *ctx)
{
    struct cmd_env *env = &a->s->commands;
    struct load l = {.a = a, .began_at = clock_mono_us()};
    uint64_t changes = a->s->ks->stats.changes;
    bool was_loading = env->is_loading; /* at the start: in slices */
    enum err err;

    l.lsn = env->stream.lsn;
    replay_begin(&l.replay, env);
    env->is_loading = true;
    tell_size(a);
    err = load_all(&l, ctx);
    if (!err) {
        err = load_slate(&l, ctx);
    }
    env->is_loading = was_loading;
    if (!err) {
        tell(&l);
    }
    replay_end(&l.replay);
    a->s->ks->stats.changes = changes;
    if (l.lsn > env->stream.lsn) {
        env->stream.lsn = l.lsn;
    }
    return err;
}

enum err aof_load(struct aof *a, struct err_ctx *ctx)
{
    bool found;
    enum err err = read_manifest(a, &found, ctx);

    if (!err && !found) {
        err = adopt_old_file(a, &found, ctx);
    }
    if (!err && !found && access(a->s->config.dbfilename, F_OK) == 0) {
        LOG_WARN(AOF,
                 "there is a snapshot and no log: starting empty, since "
                 "appendonly is yes",
                 "file=%s", a->s->config.dbfilename);
    }
    if (err || !found) {
        return err;
    }
    err = move_old_file(a, ctx);
    if (!err) {
        err = replay_log(a, ctx);
    }
    if (!err) {
        err = sync_files(a, ctx);
    }
    return err ? err : drop_history(a, ctx);
}

/* Whether there is anything that aof_load() would find. */
static enum err find_log(struct aof *a, struct err_ctx *ctx)
{
    bool found;
    enum err err = aof_open_dir(a, ctx);

    if (!err) {
        err = read_manifest(a, &found, ctx);
    }
    if (!err && !found && access(a->s->config.appendfilename, F_OK) != 0) {
        err = err_set(ctx, ERR_NOT_FOUND, "there is no log in %s", a->dir);
    }
    return err;
}

enum err aof_reload(struct aof *a, struct err_ctx *ctx)
{
    struct cmd_env *env = &a->s->commands;
    uint64_t size = a->file.size;
    uint64_t other = a->other_bytes;
    bool on = env->stream.on;
    enum err err;

    if (a->state == AOF_OFF) {
        err = find_log(a, ctx);
        if (err) {
            return err;
        }
    } else if (a->rw.stage != REWRITE_IDLE || a->state == AOF_WAIT_BASE ||
               !aof_write_all(a)) {
        return err_set(ctx, ERR_BUSY, "the log is not whole at present");
    }
    env->stream.on = false;
    keyspace_flush(a->s->ks, -1);
    err = aof_load(a, ctx);
    env->stream.on = on;
    a->file.size = size;
    a->other_bytes = other;
    return err;
}
