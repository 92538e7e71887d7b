#include "persist/aof_slate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "io/file.h"
#include "persist/crc32c.h"

enum {
    ALIGN = 64,
    FRAMES_AT = ALIGN,
    CAPACITY = AOF_SLATE_SIZE - FRAMES_AT,
};

struct header {
    char magic[16];
    uint64_t key;
};

static const char header_magic[sizeof((struct header *)NULL)->magic] =
    "VECTRA-SLATE:1\n";

struct frame {
    uint64_t magic;
    uint64_t lsn;
    uint32_t len;
    uint32_t sum;
};

#define FRAME_MAGIC 0x454d415246585456U /* "VTXFRAME" */

static uint32_t sum_of(const struct frame *f, uint64_t key, const char *name,
                       const void *bytes)
{
    uint32_t sum = crc32c(0, &key, sizeof(key));

    sum = crc32c(sum, name, strlen(name));
    sum = crc32c(sum, &f->lsn, sizeof(f->lsn));
    sum = crc32c(sum, &f->len, sizeof(f->len));
    return crc32c(sum, bytes, f->len);
}

/* ---- making one -------------------------------------------------------- */

static bool write_at(int fd, struct iovec *v, int n, off_t at)
{
    while (n > 0) {
        ssize_t done = pwritev(fd, v, n, at);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done == 0 ? EIO : errno;
            return false;
        }
        at += done;
        n = file_pieces_left(&v, n, (size_t)done);
    }
    return true;
}

/* The whole file, so that it has all of its blocks. */
static bool fill(int fd, uint64_t key)
{
    uint8_t *part = mem_calloc(1, FILE_PART);
    struct header h = {.key = key};
    bool ok = true;
    off_t at;

    memcpy(h.magic, header_magic, sizeof(h.magic));
    memcpy(part, &h, sizeof(h));
    for (at = 0; at < AOF_SLATE_SIZE && ok; at += FILE_PART) {
        struct iovec v = {part, FILE_PART};

        ok = write_at(fd, &v, 1, at);
        memset(part, 0, sizeof(h));
    }
    mem_free(part);
    return ok && file_fdatasync(fd) == 0;
}

enum err aof_slate_create(struct aof_slate_file *f, const char *path,
                          struct err_ctx *ctx)
{
    enum err err = ERR_OK;

    *f = (struct aof_slate_file){.at = FRAMES_AT};
    rng_system(&f->key, sizeof(f->key));
    f->fd = file_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        return err_set(ctx, ERR_IO, "creating %s: %s", path, strerror(errno));
    }
    if (!fill(f->fd, f->key)) {
        err = err_set(ctx, ERR_IO, "writing %s: %s", path, strerror(errno));
        aof_slate_close(f);
        unlink(path);
    }
    return err;
}

void aof_slate_close(struct aof_slate_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = -1;
}

/* ---- frames ------------------------------------------------------------ */

static size_t room_for(size_t len)
{
    return (sizeof(struct frame) + len + ALIGN - 1) / ALIGN * ALIGN;
}

enum err aof_slate_put(struct aof_slate_file *f, const char *name, uint64_t lsn,
                       struct bytes stream, size_t *used)
{
    struct frame head = {
        .magic = FRAME_MAGIC, .lsn = lsn, .len = (uint32_t)stream.len};
    struct iovec v[2] = {{&head, sizeof(head)},
                         {(void *)(uintptr_t)stream.data, stream.len}};
    /* The same bytes again and again: they stay in the caches. */
    size_t at = *used ? f->at : FRAMES_AT;
    size_t room, skipped = 0;

    if (stream.len > CAPACITY - ALIGN) {
        return ERR_LIMIT;
    }
    room = room_for(stream.len);
    if (at + room > AOF_SLATE_SIZE) {
        skipped = AOF_SLATE_SIZE - at;
        at = FRAMES_AT;
    }
    if (*used + skipped + room > CAPACITY) {
        return ERR_LIMIT;
    }
    head.sum = sum_of(&head, f->key, name, stream.data);
    if (!write_at(f->fd, v, 2, (off_t)at)) {
        return ERR_IO;
    }
    f->at = at + room;
    *used += skipped + room;
    return ERR_OK;
}

/* ---- reading ----------------------------------------------------------- */

struct found {
    size_t at; /* in the file */
    uint64_t lsn;
    struct bytes bytes;
};

static int by_lsn(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->lsn < y->lsn ? -1 : x->lsn > y->lsn;
}

/* Room for as many as there may be at `all`. */
static size_t find_frames(struct bytes file, const char *name,
                          struct found *all)
{
    struct header h;
    size_t at, n = 0;

    memcpy(&h, file.data, sizeof(h));
    for (at = FRAMES_AT; at + sizeof(struct frame) <= file.len; at += ALIGN) {
        const uint8_t *bytes = file.data + at + sizeof(struct frame);
        struct frame f;

        memcpy(&f, file.data + at, sizeof(f));
        if (f.magic == FRAME_MAGIC &&
            f.len <= file.len - at - sizeof(struct frame) &&
            f.sum == sum_of(&f, h.key, name, bytes)) {
            all[n++] = (struct found){at, f.lsn, bytes_of(bytes, f.len)};
        }
    }
    return n;
}

/* The file's bytes and frames; false when it is none. */
static bool open_frames(const char *path, const char *name, struct buf *file,
                        struct found **all, size_t *n)
{
    struct err_ctx why;

    *file = BUF_INIT;
    if (file_read(path, AOF_SLATE_SIZE, file, &why) != ERR_OK ||
        file->len < FRAMES_AT ||
        memcmp(file->data, header_magic, sizeof(header_magic)) != 0) {
        buf_deinit(file);
        return false;
    }
    *all = mem_alloc((file->len / ALIGN + 1) * sizeof(**all));
    *n = find_frames(buf_bytes(file), name, *all);
    return true;
}

void aof_slate_read(const char *path, const char *name, uint64_t lsn,
                    struct buf *out)
{
    struct buf file;
    struct found *all;
    size_t i, n;

    if (!open_frames(path, name, &file, &all, &n)) {
        return;
    }
    qsort(all, n, sizeof(*all), by_lsn);
    for (i = 0; i < n && all[i].lsn <= lsn; i++) {
        uint64_t known = lsn - all[i].lsn;

        if (known < all[i].bytes.len) {
            buf_append(out, all[i].bytes.data + known,
                       all[i].bytes.len - known);
            lsn = all[i].lsn + all[i].bytes.len;
        }
    }
    mem_free(all);
    buf_deinit(&file);
}

enum err aof_slate_cut(const char *path, const char *name, uint64_t lsn,
                       struct err_ctx *ctx)
{
    static const struct frame nothing;
    struct buf file;
    struct found *all;
    size_t i, n;
    bool ok;
    int fd;

    if (!open_frames(path, name, &file, &all, &n)) {
        return ERR_OK;
    }
    fd = file_open(path, O_WRONLY | O_CLOEXEC, 0);
    ok = fd >= 0;
    for (i = 0; i < n && ok; i++) {
        struct iovec v = {(void *)(uintptr_t)&nothing, sizeof(nothing)};

        ok = all[i].lsn + all[i].bytes.len <= lsn ||
             write_at(fd, &v, 1, (off_t)all[i].at);
    }
    ok = ok && file_fdatasync(fd) == 0;
    if (!ok) {
        err_set(ctx, ERR_IO, "cutting %s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    mem_free(all);
    buf_deinit(&file);
    return ok ? ERR_OK : ERR_IO;
}
