/* BACKUP: a folder with all that the log consists of, kept while the server
 * goes on writing and rewriting.
 *
 * START makes the folder and has hard links put there to the base and to the
 * increments (copies, where the folder is on another file system). From then on
 * the backup keeps up by itself: the increment that is written grows under both
 * its names, and one that is begun later is linked when it is. STOP puts a copy
 * in the place of the last one, which ends where the log does at that moment;
 * so the folder holds every state between the base and STOP.
 *
 * All the work is done by the background thread, in the order it was given, and
 * the log's old files are removed by the same thread: none goes before it is
 * linked. docs/DURABILITY.md tells how a backup is used. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "server/aof.h"
#include "server/aof_impl.h"

enum { COPY_STEP = 1 << 20 };

/* Makes the folder hold what `names` says. */
struct update {
    struct reaper_job job;
    struct aof_backup *backup;
    char from[PATH_MAX], to[PATH_MAX];
    char name[AOF_NAME_MAX + 1]; /* of the log */
    struct aof_manifest names;
    int active_fd; /* the increment that is written: -1: none */
    uint64_t active_size;
    bool is_last;
    uint64_t lsn;
};

/* ---- on the background thread ------------------------------------------ */

static bool copy_bytes(int from, int to, uint64_t size)
{
    while (size > 0) {
        size_t step = size < COPY_STEP ? (size_t)size : COPY_STEP;
        ssize_t n = copy_file_range(from, NULL, to, NULL, step, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS)) {
            char chunk[16384];

            n = read(from, chunk, step < sizeof(chunk) ? step : sizeof(chunk));
            n = n > 0 ? write(to, chunk, (size_t)n) : n;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        size -= (uint64_t)n;
    }
    return true;
}

/* A copy of the first `size` bytes, under another name first. */
static bool copy_file(const char *from, const char *to, uint64_t size)
{
    char temp[PATH_MAX + 8];
    int in = file_open(from, O_RDONLY | O_CLOEXEC, 0);
    int out;
    bool ok;

    snprintf(temp, sizeof(temp), "%s.part", to);
    out = in < 0
              ? -1
              : file_open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ok = out >= 0 && copy_bytes(in, out, size) && file_fsync(out) == 0;
    if (in >= 0) {
        close(in);
    }
    if (out >= 0) {
        close(out);
    }
    if (ok) {
        ok = rename(temp, to) == 0;
    }
    if (!ok && out >= 0) {
        unlink(temp);
    }
    return ok;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Brings one file up to date. */
static bool put_file(const struct update *u, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct stat source, there, active = {0};
    bool exists, is_active;
    uint64_t size;

    snprintf(from, sizeof(from), "%.2000s/%s", u->from, name);
    snprintf(to, sizeof(to), "%.2000s/%s", u->to, name);
    exists = stat(to, &there) == 0;
    if (stat(from, &source) != 0) {
        return exists; /* it was linked, and is no longer part of the log */
    }
    is_active = u->active_fd >= 0 && fstat(u->active_fd, &active) == 0 &&
                is_same_file(&active, &source);
    size = is_active ? u->active_size : (uint64_t)source.st_size;
    if (is_active && u->is_last) {
        return copy_file(from, to, size);
    }
    if (exists &&
        (is_same_file(&source, &there) || (uint64_t)there.st_size == size)) {
        return true;
    }
    if (!exists && link(from, to) == 0) {
        return true;
    }
    return copy_file(from, to, size);
}

static bool sync_file(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int fd;
    bool ok;

    snprintf(path, sizeof(path), "%.2000s/%s", dir, name);
    fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
    ok = fd >= 0 && file_fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static void run_update(struct reaper_job *job)
{
    struct update *u = CONTAINER_OF(job, struct update, job);
    struct aof_backup *b = u->backup;
    struct err_ctx why = {""};
    bool ok = true;
    size_t i;

    for (i = 0; i < u->names.n && ok; i++) {
        ok = put_file(u, u->names.entries[i].name) &&
             (!u->is_last || sync_file(u->to, u->names.entries[i].name));
        if (!ok) {
            err_set(&why, ERR_IO, "%s: %s", u->names.entries[i].name,
                    strerror(errno));
        }
    }
    ok = ok && aof_save_manifest(u->to, u->name, &u->names, &why) == ERR_OK;
    if (!ok) {
        LOG_WARN(AOF, "the backup failed", "dir=%s why=\"%s\"", u->to,
                 why.text);
        atomic_store(&b->failed, true);
    } else if (u->is_last) {
        LOG_NOTE(AOF, "the backup is complete", "dir=%s lsn=%llu", u->to,
                 (unsigned long long)u->lsn);
    }
    if (u->active_fd >= 0) {
        close(u->active_fd);
    }
    aof_manifest_deinit(&u->names);
    mem_free(u);
    atomic_fetch_sub(&b->n_jobs, 1);
}

/* ---- on the loop ------------------------------------------------------- */

static void submit(struct aof *a, bool is_last)
{
    struct aof_backup *b = &a->backup;
    struct update *u = mem_calloc(1, sizeof(*u));

    u->job.run = run_update;
    u->backup = b;
    u->is_last = is_last;
    u->lsn = a->file.lsn;
    snprintf(u->from, sizeof(u->from), "%s", a->dir);
    snprintf(u->to, sizeof(u->to), "%s", b->dir);
    snprintf(u->name, sizeof(u->name), "%.200s", a->s->config.appendfilename);
    aof_manifest_copy(&u->names, &b->names);
    u->active_fd = a->file.fd >= 0 ? fcntl(a->file.fd, F_DUPFD_CLOEXEC, 0) : -1;
    u->active_size = a->file.size;
    atomic_fetch_add(&b->n_jobs, 1);
    reaper_submit(a->s->reaper, &u->job);
}

/* The increments of the log that the backup does not have yet. */
static void take_increments(struct aof *a)
{
    struct aof_backup *b = &a->backup;
    const struct aof_entry *e;
    size_t i;

    for (i = 0; (e = aof_manifest_incr(&a->manifest, i)) != NULL; i++) {
        if (e->seq > b->names.incr_seq) {
            aof_manifest_add(&b->names, e);
        }
    }
}

void aof_backup_note(struct aof *a)
{
    struct aof_backup *b = &a->backup;

    if (!b->is_open) {
        return;
    }
    if (a->state != AOF_ON) {
        /* What the log went on with is not what this is a copy of. */
        LOG_WARN(AOF, "the backup ends, the log begins anew", "dir=%s", b->dir);
        atomic_store(&b->failed, true);
        b->is_open = false;
        return;
    }
    take_increments(a);
    submit(a, false);
}

const char *aof_backup_start(struct aof *a, struct bytes dir)
{
    struct aof_backup *b = &a->backup;
    struct aof_manifest none;

    if (a->state != AOF_ON) {
        return "-ERR there is no log to back up: appendonly is off or has no "
               "base yet";
    }
    if (b->is_open || b->is_ending || atomic_load(&b->n_jobs) > 0) {
        return "-ERR a backup is in progress";
    }
    if (dir.len == 0 || dir.len > PATH_MAX / 2 ||
        memchr(dir.data, '\0', dir.len)) {
        return "-ERR invalid directory";
    }
    snprintf(b->dir, sizeof(b->dir), "%.*s", (int)dir.len,
             (const char *)dir.data);
    if (mkdir(b->dir, 0755) != 0) {
        snprintf(b->error, sizeof(b->error),
                 "-ERR cannot make the directory: %s", strerror(errno));
        return b->error;
    }
    aof_manifest_deinit(&b->names);
    aof_manifest_copy(&none, &a->manifest);
    aof_manifest_drop_history(&none);
    b->names = none;
    b->is_open = true;
    atomic_store(&b->failed, false);
    submit(a, false);
    LOG_NOTE(AOF, "a backup begins", "dir=%s lsn=%llu", b->dir,
             (unsigned long long)a->file.lsn);
    return "+Background backup started";
}

const char *aof_backup_stop(struct aof *a)
{
    struct aof_backup *b = &a->backup;

    if (!b->is_open) {
        return "-ERR no backup is in progress";
    }
    b->is_open = false;
    if (a->trouble != AOF_FINE || a->state != AOF_ON) {
        atomic_store(&b->failed, true);
        return "-ERR the log is in trouble, the backup is not complete";
    }
    b->is_ending = true;
    return "+Background backup finishing";
}

void aof_backup_turn(struct aof *a)
{
    struct aof_backup *b = &a->backup;

    if (!b->is_ending) {
        return;
    }
    b->is_ending = false;
    if (a->trouble != AOF_FINE || a->state != AOF_ON) {
        LOG_WARN(AOF, "the backup failed, the log is in trouble", "dir=%s",
                 b->dir);
        atomic_store(&b->failed, true);
        return;
    }
    b->lsn = a->file.lsn;
    submit(a, true);
}

void aof_backup_destroy(struct aof *a)
{
    while (atomic_load(&a->backup.n_jobs) > 0) {
        usleep(1000);
    }
    aof_manifest_deinit(&a->backup.names);
}
