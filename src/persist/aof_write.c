#include "persist/aof_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/file.h"
#include "persist/crc32c.h"

/* ---- annotations ------------------------------------------------------- */

size_t aof_annotation(const struct aof_batch *b, uint32_t crc,
                      char out[AOF_ANNOTATION_MAX])
{
    size_t len =
        (size_t)snprintf(out, AOF_ANNOTATION_MAX, "#LSN:%" PRIu64 "-%" PRIu64,
                         b->end - b->stream.len, b->end);

    if (b->synced != AOF_NOT_SYNCED) {
        len += (size_t)snprintf(out + len, AOF_ANNOTATION_MAX - len,
                                ":SYNCED:%" PRIu64, b->synced);
    }
    memcpy(out + len, ":CRC32C:", 8);
    len += 8;
    crc = crc32c(crc, out, len);
    return len + (size_t)snprintf(out + len, AOF_ANNOTATION_MAX - len,
                                  "%08" PRIx32 "\r\n", crc);
}

static ssize_t write_some(int fd, const struct iovec *v, int n)
{
    if (v->iov_len > FILE_PART) {
        return write(fd, v->iov_base, FILE_PART);
    }
    return n > 1 && v[1].iov_len > FILE_PART ? writev(fd, v, 1)
                                             : writev(fd, v, n);
}

/* All of the pieces, of which the last is not empty; errno on failure. */
static bool write_all(int fd, struct iovec *v, int n)
{
    for (;;) {
        ssize_t done;

        while (n > 0 && v->iov_len == 0) {
            v++;
            n--;
        }
        if (n == 0) {
            return true;
        }
        done = write_some(fd, v, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done == 0 ? EIO : errno;
            return false;
        }
        n = file_pieces_left(&v, n, (size_t)done);
    }
}

/* ---- past the cache ---------------------------------------------------- */

static size_t total(const struct iovec *v, int n)
{
    size_t sum = 0;

    while (n > 0) {
        sum += v[--n].iov_len;
    }
    return sum;
}

static void copy_front(uint8_t *to, const struct iovec *v, size_t len)
{
    while (len > 0) {
        size_t part = v->iov_len < len ? v->iov_len : len;

        memcpy(to, v->iov_base, part);
        to += part;
        len -= part;
        v++;
    }
}

/* As write(), but for whole blocks, which begin where one of the file does.
 * Some file systems refuse; those of memory do nothing else. */
static ssize_t write_blocks(struct aof_file *f, const void *blocks, size_t len)
{
    ssize_t done = -1;
    int error;

    if (fcntl(f->fd, F_SETFL, O_APPEND | O_DIRECT) == 0) {
        done = write(f->fd, blocks, len);
    }
    error = errno;
    (void)fcntl(f->fd, F_SETFL, O_APPEND);
    if (done < 0 && (error == EINVAL || error == EOPNOTSUPP)) {
        f->is_cached = true;
        return 0;
    }
    errno = error;
    return done;
}

/* What fills blocks of the file goes there past the cache; what is before and
 * behind goes through it, so that the file's end is where it should be. The
 * kernel keeps one consistent with the other, page by page. */
static bool write_past_cache(struct aof_file *f, struct iovec *v, int n,
                             uint8_t *room)
{
    uint64_t at = f->size;
    size_t left = total(v, n);

    while (left > 0 && !f->is_cached) {
        size_t len = AOF_BLOCK - at % AOF_BLOCK;
        bool fills = len == AOF_BLOCK && left >= AOF_BLOCK;
        ssize_t done;

        if (fills) {
            len = left < AOF_ROOM ? left - left % AOF_BLOCK : AOF_ROOM;
        } else if (len > left) {
            len = left;
        }
        copy_front(room, v, len);
        done = fills ? write_blocks(f, room, len) : write(f->fd, room, len);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0 || (done == 0 && !f->is_cached)) {
            errno = done == 0 ? EIO : errno;
            return false;
        }
        n = file_pieces_left(&v, n, (size_t)done);
        left -= (size_t)done;
        at += (size_t)done;
    }
    return write_all(f->fd, v, n);
}

/* ---- files ------------------------------------------------------------- */

static enum err open_file(struct aof_file *f, const char *path, int flags,
                          struct err_ctx *ctx)
{
    *f = (struct aof_file){
        .fd = file_open(path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0644)};
    if (f->fd < 0) {
        return err_set(ctx, ERR_IO, "opening %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

enum err aof_file_create(struct aof_file *f, const char *path,
                         struct err_ctx *ctx)
{
    struct iovec v = {(void *)(uintptr_t)AOF_MAGIC, strlen(AOF_MAGIC)};
    enum err err = open_file(f, path, O_CREAT | O_TRUNC, ctx);

    if (err) {
        return err;
    }
    if (!write_all(f->fd, &v, 1) || file_fsync(f->fd) != 0) {
        err = err_set(ctx, ERR_IO, "writing %s: %s", path, strerror(errno));
        aof_file_close(f);
        return err;
    }
    f->size = strlen(AOF_MAGIC);
    return ERR_OK;
}

enum err aof_file_open(struct aof_file *f, const char *path, uint64_t size,
                       uint64_t lsn, struct err_ctx *ctx)
{
    enum err err = open_file(f, path, 0, ctx);

    f->size = size;
    f->lsn = lsn;
    if (!err && file_truncate(f->fd, (off_t)size) != 0) {
        err = err_set(ctx, ERR_IO, "cutting %s: %s", path, strerror(errno));
        aof_file_close(f);
    }
    return err;
}

void aof_file_close(struct aof_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = -1;
}

/* ---- batches ----------------------------------------------------------- */

static bool cut_rest(struct aof_file *f)
{
    if (f->has_rest) {
        f->has_rest = file_truncate(f->fd, (off_t)f->size) != 0;
    }
    return !f->has_rest;
}

enum err aof_file_append(struct aof_file *f, const struct aof_batch *b,
                         int *error, struct err_ctx *ctx)
{
    char ts[32];
    char note[AOF_ANNOTATION_MAX];
    size_t ts_len = 0;
    size_t note_len;
    struct iovec v[3];
    uint32_t crc;

    if (!cut_rest(f)) {
        *error = errno;
        return err_set(ctx, ERR_IO,
                       "cutting off what is left of a failed "
                       "write: %s",
                       strerror(errno));
    }
    if (b->unix_s && b->unix_s != f->last_ts) {
        ts_len =
            (size_t)snprintf(ts, sizeof(ts), "#TS:%" PRId64 "\r\n", b->unix_s);
    }
    crc = crc32c(crc32c(0, ts, ts_len), b->stream.data, b->stream.len);
    note_len = aof_annotation(b, crc, note);
    v[0] = (struct iovec){ts, ts_len};
    v[1] = (struct iovec){(void *)(uintptr_t)b->stream.data, b->stream.len};
    v[2] = (struct iovec){note, note_len};
    if (b->room ? !write_past_cache(f, v, 3, b->room)
                : !write_all(f->fd, v, 3)) {
        *error = errno;
        f->has_rest = true;
        (void)cut_rest(f);
        return err_set(ctx, ERR_IO, "writing: %s", strerror(*error));
    }
    f->last_ts = ts_len ? b->unix_s : f->last_ts;
    f->size += ts_len + b->stream.len + note_len;
    f->lsn = b->end;
    return ERR_OK;
}
