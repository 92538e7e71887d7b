#include "tools/bench/bench_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static enum err fail_errno(struct err_ctx *ctx, const char *path)
{
    return err_set(ctx, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s",
                   path, strerror(errno));
}

enum err bench_file_open(const char *path, struct bench_file *out,
                         struct err_ctx *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    enum err err = ERR_OK;
    void *map = NULL;

    if (fd < 0) {
        return fail_errno(ctx, path);
    }
    if (fstat(fd, &st) != 0) {
        err = fail_errno(ctx, path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        err = err_set(ctx, ERR_IO, "%s: not a regular file", path);
        goto out;
    }
    if (st.st_size) {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            err = fail_errno(ctx, path);
            goto out;
        }
    }
    out->data = map;
    out->len = (size_t)st.st_size;
out:
    close(fd);
    return err;
}

void bench_file_close(struct bench_file *f)
{
    if (f->data) {
        munmap((void *)(uintptr_t)f->data, f->len);
    }
    *f = BENCH_FILE_NONE;
}

bool bench_file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* mkdir -p of the folders a path names; failures show when the file is made. */
static void make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t i;

    for (i = 0; path[i] && i < sizeof(part) - 1; i++) {
        part[i] = path[i];
        part[i + 1] = '\0';
        if (path[i + 1] == '/') {
            (void)mkdir(part, 0777);
        }
    }
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

enum err bench_file_replace(const char *path, const void *data, size_t len,
                            struct err_ctx *ctx)
{
    char temp[PATH_MAX];
    enum err err = ERR_OK;
    int fd;

    if (snprintf(temp, sizeof(temp), "%s.%ld", path, (long)getpid()) >=
        (int)sizeof(temp)) {
        return err_set(ctx, ERR_RANGE, "%s: the path is too long", path);
    }
    make_folders(path);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return fail_errno(ctx, temp);
    }
    if (!write_all(fd, data, len)) {
        err = fail_errno(ctx, temp);
    }
    if (close(fd) != 0 && !err) {
        err = fail_errno(ctx, temp);
    }
    if (!err && rename(temp, path) != 0) {
        err = fail_errno(ctx, path);
    }
    if (err) {
        (void)unlink(temp);
    }
    return err;
}

/* ---- lines -------------------------------------------------------------- */

enum err bench_lines_open(const char *path, struct bench_lines *out,
                          struct err_ctx *ctx)
{
    struct bench_lines l = {.n = 0};
    uint64_t cap = 1024;
    size_t at = 0;
    enum err err = bench_file_open(path, &l.file, ctx);

    if (err) {
        return err;
    }
    l.starts = mem_alloc((cap + 1) * sizeof(*l.starts));
    l.starts[0] = 0;
    while (at < l.file.len) {
        const uint8_t *nl = memchr(l.file.data + at, '\n', l.file.len - at);

        /* A missing last newline counts as if it were there. */
        at = nl ? (size_t)(nl - l.file.data) + 1 : l.file.len + 1;
        if (l.n == cap) {
            uint64_t *grown;

            cap *= 2;
            grown = mem_try_realloc(l.starts, (cap + 1) * sizeof(*l.starts));
            if (!grown) {
                bench_lines_close(&l);
                return err_set(ctx, ERR_NOMEM, "%s: out of memory", path);
            }
            l.starts = grown;
        }
        l.starts[++l.n] = at;
    }
    *out = l;
    return ERR_OK;
}

void bench_lines_close(struct bench_lines *l)
{
    bench_file_close(&l->file);
    mem_free(l->starts);
    l->starts = NULL;
    l->n = 0;
}
