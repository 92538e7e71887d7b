/* Whole files: see file.h. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_STEP = 16 * 1024 };

int file_open(const char *path, int flags, mode_t mode)
{
    int fd;

    do {
        fd = open(path, flags, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int file_fsync(int fd)
{
    int rc;

    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

int file_fdatasync(int fd)
{
    int rc;

    do {
        rc = fdatasync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

int file_truncate(int fd, off_t size)
{
    int rc;

    do {
        rc = ftruncate(fd, size);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

static enum err fail_io(struct err_ctx *ctx, const char *verb, const char *name)
{
    return err_set(ctx, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s %s: %s",
                   verb, name, strerror(errno));
}

enum err file_read_fd(int fd, const char *name, size_t max, struct buf *out,
                      struct err_ctx *ctx)
{
    size_t before = out->len;
    enum err err;

    for (;;) {
        ssize_t got = read(fd, buf_room(out, READ_STEP), READ_STEP);

        if (got == 0) {
            return ERR_OK;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            err = fail_io(ctx, "reading", name);
            break;
        }
        out->len += (size_t)got;
        if (out->len - before > max) {
            err = err_set(ctx, ERR_LIMIT, "%s is longer than %zu bytes", name,
                          max);
            break;
        }
    }
    out->len = before;
    return err;
}

enum err file_read(const char *path, size_t max, struct buf *out,
                   struct err_ctx *ctx)
{
    int fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
    enum err err;

    if (fd < 0) {
        return fail_io(ctx, "opening", path);
    }
    err = file_read_fd(fd, path, max, out, ctx);
    close(fd);
    return err;
}

/* ---- replacing --------------------------------------------------------- */

static enum err write_all(int fd, struct bytes content)
{
    while (content.len > 0) {
        ssize_t done = write(fd, content.data, content.len);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return ERR_IO;
        }
        content = bytes_of(content.data + done, content.len - (size_t)done);
    }
    return ERR_OK;
}

/* The mode the new file is to have. */
static mode_t mode_for(const char *path)
{
    struct stat st;
    mode_t mask;

    if (stat(path, &st) == 0) {
        return st.st_mode & 07777;
    }
    mask = umask(0);
    umask(mask);
    return 0644 & ~mask;
}

/* Makes a rename in the directory of `path` last. */
static int sync_directory(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    int fd, rc;

    if (slash && len == 0) {
        len = 1; /* the root itself */
    }
    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)len : 1,
             slash ? path : ".");
    fd = file_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    rc = file_fsync(fd);
    close(fd);
    return rc;
}

enum err file_replace(const char *path, struct bytes content,
                      struct err_ctx *ctx)
{
    char target[PATH_MAX];
    char temp[PATH_MAX + 16];
    const char *verb = "creating";
    int fd = -1;

    /* A link is followed, so that it is not replaced by a file. */
    if (!realpath(path, target)) {
        if (errno != ENOENT || strlen(path) >= sizeof(target)) {
            return fail_io(ctx, "resolving", path);
        }
        strcpy(target, path);
    }
    do {
        snprintf(temp, sizeof(temp), "%s.XXXXXX", target);
        fd = mkostemp(temp, O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        goto fail;
    }
    verb = "writing";
    if (fchmod(fd, mode_for(target)) != 0 || write_all(fd, content) != ERR_OK ||
        file_fsync(fd) != 0) {
        goto fail;
    }
    verb = "replacing";
    if (rename(temp, target) != 0) {
        goto fail;
    }
    close(fd);
    /* The new content is there already; only its survival of a power cut is
     * in doubt, which is worth telling but not worth a failure. */
    (void)sync_directory(target);
    return ERR_OK;

fail:
    err_set(ctx, ERR_IO, "%s %s: %s", verb, fd < 0 ? temp : target,
            strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlink(temp);
    }
    return ERR_IO;
}

enum err file_sync_dir(const char *path, struct err_ctx *ctx)
{
    int fd = file_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    int rc;

    if (fd < 0) {
        return fail_io(ctx, "opening", path);
    }
    rc = file_fsync(fd);
    if (rc != 0) {
        err_set(ctx, ERR_IO, "syncing %s: %s", path, strerror(errno));
    }
    close(fd);
    return rc == 0 ? ERR_OK : ERR_IO;
}

int file_pieces_left(struct iovec **v, int n, size_t done)
{
    while (n > 0 && done >= (*v)->iov_len) {
        done -= (*v)->iov_len;
        (*v)++;
        n--;
    }
    if (n > 0) {
        (*v)->iov_base = (char *)(*v)->iov_base + done;
        (*v)->iov_len -= done;
    }
    return n;
}

enum err file_lock_dir(const char *path, int *fd, struct err_ctx *ctx)
{
    int dir = file_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    int rc;

    if (dir < 0) {
        return fail_io(ctx, "opening", path);
    }
    do {
        rc = flock(dir, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno == EWOULDBLOCK) {
        close(dir);
        return err_set(ctx, ERR_BUSY, "%s is in use by another process", path);
    }
    *fd = dir;
    return ERR_OK;
}
