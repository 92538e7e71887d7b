/* A log as a whole: see check_aof_cut.h. */
#include "tools/check/check_aof_cut.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"
#include "persist/aof_slate.h"

static char *text_copy(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    return copy;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The manifest in a folder: the one name that ends so. */
static enum err find_manifest(const char *dir, char out[PATH_MAX],
                              struct err_ctx *ctx)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d)) != NULL) {
        if (ends_with(e->d_name, ".manifest")) {
            n++;
            snprintf(out, PATH_MAX, "%.2000s/%.2000s", dir, e->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
    return n == 1 ? ERR_OK
                  : err_set(ctx, ERR_NOT_FOUND, "%s has %s manifest", dir,
                            n ? "more than one" : "no");
}

static enum err add_file(struct check_log *log, const char *path,
                         const struct check_limit *limit, struct err_ctx *ctx)
{
    struct check_log_file *f = &log->files[log->n];
    const char *slash = strrchr(path, '/');

    f->path = text_copy(path);
    f->name = f->path + (slash ? slash - path + 1 : 0);
    log->n++;
    return check_aof_scan(path, limit, &f->scan, ctx);
}

/* Notes an increment that does not go on where the last one ended. */
static void check_order(struct check_log *log)
{
    uint64_t lsn = CHECK_NO_LSN;
    size_t i;

    for (i = 0; i < log->n; i++) {
        const struct check_aof_file *f = &log->files[i].scan;

        if (f->first_lsn == CHECK_NO_LSN) {
            continue;
        }
        if (lsn != CHECK_NO_LSN && f->first_lsn != lsn && !log->gap[0]) {
            snprintf(log->gap, sizeof(log->gap),
                     "%.200s begins at LSN %" PRIu64
                     ", the file before it ends at %" PRIu64,
                     log->files[i].name, f->first_lsn, lsn);
        }
        lsn = f->last_lsn;
    }
}

/* ---- the slate ----------------------------------------------------------- */

/* Beside the manifest. */
static char *slate_path(const char *manifest)
{
    const char *suffix = strrchr(manifest, '.');
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.*s.slate", (int)(suffix - manifest),
             manifest);
    return text_copy(path);
}

/* Where the log ends; CHECK_NO_LSN: nobody knows. */
static uint64_t end_of(const struct check_log *log)
{
    size_t i;

    for (i = log->n; i > 0; i--) {
        if (log->files[i - 1].scan.last_lsn != CHECK_NO_LSN) {
            return log->files[i - 1].scan.last_lsn;
        }
    }
    return log->base_lsn >= 0 ? (uint64_t)log->base_lsn : CHECK_NO_LSN;
}

/* As the server looks for it: of the last increment, or of one before it where
 * those behind have nothing. */
static void find_slate(struct check_log *log)
{
    struct check_slate *s = &log->slate;
    struct buf found = BUF_INIT;
    struct stat st;
    size_t i;

    s->path = slate_path(log->manifest_path);
    s->from = s->to = end_of(log);
    if (s->from == CHECK_NO_LSN || stat(s->path, &st) != 0) {
        return;
    }
    s->unix_s = (int64_t)st.st_mtime;
    for (i = log->n; i > (log->has_base ? 1 : 0) && found.len == 0; i--) {
        s->name = log->files[i - 1].name;
        aof_slate_read(s->path, s->name, s->from, &found);
        if (log->files[i - 1].scan.units) {
            break;
        }
    }
    s->to = s->from + found.len;
    buf_deinit(&found);
}

static enum err open_manifest(struct check_log *log, const char *path,
                              const struct check_limit *limit,
                              struct err_ctx *ctx)
{
    struct buf text = BUF_INIT;
    char file[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int dir_len = slash ? (int)(slash - path) + 1 : 0;
    enum err err = file_read(path, AOF_MANIFEST_MAX, &text, ctx);
    size_t i;

    if (!err) {
        err = aof_manifest_parse(&log->manifest, buf_bytes(&text), ctx);
    }
    buf_deinit(&text);
    if (err) {
        return err_wrap(ctx, err, "%s", path);
    }
    log->has_manifest = true;
    log->manifest_path = text_copy(path);
    log->files = mem_calloc(log->manifest.n + 1, sizeof(*log->files));
    for (i = 0; i < log->manifest.n && !err; i++) {
        const struct aof_entry *e = &log->manifest.entries[i];

        if (e->type == AOF_HISTORY) {
            continue;
        }
        if (e->type == AOF_INCR && log->base_lsn < 0) {
            log->base_lsn = e->start_lsn;
        }
        snprintf(file, sizeof(file), "%.*s%s", dir_len, path, e->name);
        err = add_file(log, file, limit, ctx);
        if (e->type == AOF_BASE) {
            log->has_base = true;
            log->base_lsn = log->files[log->n - 1].scan.base_lsn;
            log->base_unix_s = log->files[log->n - 1].scan.base_unix_s;
        }
    }
    check_order(log);
    if (!err) {
        find_slate(log);
    }
    return err;
}

enum err check_log_open(struct check_log *log, const char *path,
                        const struct check_limit *limit, struct err_ctx *ctx)
{
    char manifest[PATH_MAX];
    struct stat st;
    enum err err = ERR_OK;

    memset(log, 0, sizeof(*log));
    log->base_lsn = log->base_unix_s = -1;
    if (stat(path, &st) != 0) {
        return err_set(ctx, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
    }
    snprintf(manifest, sizeof(manifest), "%s", path);
    if (S_ISDIR(st.st_mode)) {
        err = find_manifest(path, manifest, ctx);
    }
    if (!err && ends_with(manifest, ".manifest")) {
        err = open_manifest(log, manifest, limit, ctx);
    } else if (!err) {
        log->files = mem_calloc(1, sizeof(*log->files));
        err = add_file(log, path, limit, ctx);
    }
    if (err) {
        check_log_close(log);
    }
    return err;
}

void check_log_close(struct check_log *log)
{
    size_t i;

    for (i = 0; i < log->n; i++) {
        mem_free(log->files[i].path);
    }
    mem_free(log->files);
    if (log->has_manifest) {
        aof_manifest_deinit(&log->manifest);
        mem_free(log->manifest_path);
        mem_free(log->slate.path);
    }
    memset(log, 0, sizeof(*log));
}

/* ---- cutting ----------------------------------------------------------- */

/* The manifest without what comes after file `name`. */
static enum err forget_later(const struct check_log *log, const char *name,
                             struct err_ctx *ctx)
{
    struct aof_manifest m;
    struct buf text = BUF_INIT;
    enum err err;
    size_t i, n = 0;

    aof_manifest_init(&m);
    aof_manifest_copy(&m, &log->manifest);
    for (i = 0; i < m.n; i++) {
        n = strcmp(m.entries[i].name, name) == 0 ? i + 1 : n;
    }
    m.n = n;
    aof_manifest_format(&m, &text);
    err = file_replace(log->manifest_path, buf_bytes(&text), ctx);
    buf_deinit(&text);
    m.n = log->manifest.n;
    aof_manifest_deinit(&m);
    return err;
}

static enum err remove_slate(const struct check_log *log, struct err_ctx *ctx)
{
    const char *path = log->slate.path;

    if (path && unlink(path) != 0 && errno != ENOENT) {
        return err_set(ctx, ERR_IO, "removing %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

/* A server that has the log open would go on where it was. */
static enum err lock_log(const struct check_log *log, int *lock,
                         struct err_ctx *ctx)
{
    const char *path = log->manifest_path;
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];

    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    return file_lock_dir(*dir ? dir : "/", lock, ctx);
}

static enum err cut(const struct check_log *log, size_t at, uint64_t offset,
                    bool keep_slate, struct err_ctx *ctx)
{
    const struct check_log_file *f = &log->files[at];
    enum err err = ERR_OK;
    size_t i;
    int fd;

    if (log->has_manifest && at + 1 < log->n) {
        err = forget_later(log, f->name, ctx);
    }
    if (!err && !keep_slate) {
        err = remove_slate(log, ctx);
    }
    for (i = at + 1; i < log->n && !err; i++) {
        if (unlink(log->files[i].path) != 0) {
            err = err_set(ctx, ERR_IO, "removing %s: %s", log->files[i].path,
                          strerror(errno));
        }
    }
    if (err) {
        return err;
    }
    fd = open(f->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)offset) != 0 || fsync(fd) != 0) {
        err = err_set(ctx, ERR_IO, "cutting %s: %s", f->path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

enum err check_log_cut(const struct check_log *log, size_t at, uint64_t offset,
                       bool keep_slate, struct err_ctx *ctx)
{
    int lock = -1;
    enum err err = log->has_manifest ? lock_log(log, &lock, ctx) : ERR_OK;

    if (!err) {
        err = cut(log, at, offset, keep_slate, ctx);
    }
    if (lock >= 0) {
        close(lock);
    }
    return err;
}

enum err check_log_cut_slate(const struct check_log *log, uint64_t lsn,
                             struct err_ctx *ctx)
{
    int lock = -1;
    enum err err = lock_log(log, &lock, ctx);

    if (!err) {
        err = aof_slate_cut(log->slate.path, log->slate.name, lsn, ctx);
    }
    if (lock >= 0) {
        close(lock);
    }
    return err;
}
