/* The bytes of an input: buffered, summed up, and its numbers; and the memory
 * for strings that do not lie in the buffer. See rdb_read.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "persist/crc64.h"
#include "persist/rdb_in_impl.h"

enum {
    SCRATCH_KEPT = 1 << 20, /* more is given back after use */
    SCRATCH_STEP = 16 << 20,
};

static void PRINTF_LIKE(4, 0)
    keep_error(struct rdb_in *in, uint64_t offset, enum err err,
               const char *fmt, va_list ap)
{
    char words[sizeof(in->why.text)];

    vsnprintf(words, sizeof(words), fmt, ap);
    in->failed_at = offset;
    in->err = err_set(&in->why, err, "offset %llu: %s",
                      (unsigned long long)offset, words);
}

bool rdb_fail(struct rdb_in *in, enum err err, const char *fmt, ...)
{
    va_list ap;

    if (!in->err) {
        va_start(ap, fmt);
        keep_error(in, rdb_in_offset(in), err, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool rdb_fail_at(struct rdb_in *in, uint64_t offset, enum err err,
                 const char *fmt, ...)
{
    va_list ap;

    if (!in->err || (in->err == ERR_CORRUPT && offset < in->failed_at)) {
        va_start(ap, fmt);
        keep_error(in, offset, err, fmt, ap);
        va_end(ap);
        in->truncated = false;
    }
    return false;
}

bool rdb_in_fail_truncated(struct rdb_in *in)
{
    in->truncated = in->truncated || in->err == ERR_OK;
    return rdb_fail(in, ERR_CORRUPT, "the input ends in the middle");
}

/* ---- bytes ------------------------------------------------------------- */

void rdb_in_open(struct rdb_in *in, int fd, uint64_t offset, uint64_t left)
{
    struct stat st;

    memset(in, 0, sizeof(*in));
    in->checksum = true;
    in->fd = fd;
    in->base = offset;
    in->end = UINT64_MAX;
    if (left < UINT64_MAX - offset) {
        in->end = offset + left;
    } else if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t at = lseek(fd, 0, SEEK_CUR);

        in->end = at >= 0 && st.st_size > at
                      ? offset + (uint64_t)(st.st_size - at)
                      : offset;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* where it is a file */
    in->buffer = mem_alloc(RDB_IN_BUFFER);
    in->data = in->buffer;
}

void rdb_in_open_mem(struct rdb_in *in, struct bytes data)
{
    memset(in, 0, sizeof(*in));
    in->checksum = true;
    in->fd = -1;
    in->data = data.data;
    in->len = data.len;
    in->end = data.len;
}

void rdb_in_close(struct rdb_in *in)
{
    mem_free(in->buffer);
    mem_free(in->scratch);
    in->buffer = in->scratch = NULL;
    in->data = NULL;
    in->pos = in->len = in->scratch_cap = 0;
}

static void sum_up(struct rdb_in *in)
{
    if (in->checksum) {
        in->crc = crc64(in->crc, in->data + in->summed, in->pos - in->summed);
    }
    in->summed = in->pos;
}

uint64_t rdb_in_crc(struct rdb_in *in)
{
    sum_up(in);
    return in->crc;
}

/* Reads some, up to `most` bytes, from the descriptor; 0 after an error. */
static size_t read_some(struct rdb_in *in, uint8_t *to, size_t most)
{
    ssize_t got;

    do {
        got = read(in->fd, to, most);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        rdb_fail(in, ERR_IO, "reading: %s", strerror(errno));
        return 0;
    }
    if (got == 0) {
        rdb_in_fail_truncated(in);
    }
    return (size_t)got;
}

bool rdb_in_refill(struct rdb_in *in, size_t n)
{
    if (in->err) {
        return false;
    }
    if (n > rdb_in_left(in) || in->fd < 0) {
        return rdb_in_fail_truncated(in);
    }
    rdb_yield(in);
    if (in->err) {
        return false;
    }
    sum_up(in);
    memmove(in->buffer, in->buffer + in->pos, in->len - in->pos);
    in->base += in->pos;
    in->len -= in->pos;
    in->pos = in->summed = 0;
    while (in->len < n) {
        uint64_t most = in->end - in->base - in->len;
        size_t got =
            read_some(in, in->buffer + in->len,
                      most < RDB_IN_BUFFER - in->len ? (size_t)most
                                                     : RDB_IN_BUFFER - in->len);

        if (got == 0) {
            return false;
        }
        in->len += got;
    }
    return true;
}

/* Bytes that are longer than the buffer go straight to where they belong. */
static bool get_long(struct rdb_in *in, uint8_t *to, size_t len)
{
    size_t have = in->len - in->pos;

    if (in->err || len > rdb_in_left(in) || in->fd < 0) {
        return in->err ? false : rdb_in_fail_truncated(in);
    }
    memcpy(to, in->data + in->pos, have);
    in->pos += have;
    sum_up(in);
    in->base += in->pos;
    in->pos = in->len = in->summed = 0;
    for (to += have, len -= have; len > 0;) {
        size_t got =
            read_some(in, to, len < RDB_IN_BUFFER ? len : RDB_IN_BUFFER);

        if (got == 0) {
            return false;
        }
        if (in->checksum) {
            in->crc = crc64(in->crc, to, got);
        }
        in->base += got;
        to += got;
        len -= got;
        rdb_yield(in);
        if (in->err) {
            return false;
        }
    }
    return true;
}

bool rdb_get_raw(struct rdb_in *in, void *to, size_t len)
{
    if (len > in->len - in->pos && len >= RDB_IN_BUFFER) {
        return get_long(in, to, len);
    }
    if (!rdb_in_ready(in, len)) {
        return false;
    }
    if (len) {
        memcpy(to, in->data + in->pos, len);
    }
    in->pos += len;
    return true;
}

bool rdb_skip(struct rdb_in *in, uint64_t len)
{
    while (len > 0) {
        uint64_t have = in->len - in->pos;

        if (in->err) {
            return false;
        }
        if (have == 0) {
            if (len > rdb_in_left(in) || !rdb_in_refill(in, 1)) {
                return rdb_in_fail_truncated(in);
            }
            continue;
        }
        in->pos += (size_t)(len < have ? len : have);
        len -= len < have ? len : have;
    }
    return in->err == ERR_OK;
}

bool rdb_in_get_le(struct rdb_in *in, int n, uint64_t *value)
{
    int i;

    if (!rdb_in_ready(in, (size_t)n)) {
        return false;
    }
    *value = 0;
    for (i = 0; i < n; i++) {
        *value |= (uint64_t)in->data[in->pos + (size_t)i] << 8 * i;
    }
    in->pos += (size_t)n;
    return true;
}

bool rdb_get_u8(struct rdb_in *in, uint8_t *value)
{
    if (!rdb_in_ready(in, 1)) {
        return false;
    }
    *value = in->data[in->pos++];
    return true;
}

bool rdb_get_u16(struct rdb_in *in, uint16_t *value)
{
    uint64_t wide;

    if (!rdb_in_get_le(in, 2, &wide)) {
        return false;
    }
    *value = (uint16_t)wide;
    return true;
}

bool rdb_get_u32(struct rdb_in *in, uint32_t *value)
{
    uint64_t wide;

    if (!rdb_in_get_le(in, 4, &wide)) {
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

bool rdb_get_u64(struct rdb_in *in, uint64_t *value)
{
    return rdb_in_get_le(in, 8, value);
}

/* ---- memory for strings ------------------------------------------------ */

void rdb_in_drop_scratch(struct rdb_in *in)
{
    if (in->scratch_cap > SCRATCH_KEPT) {
        mem_free(in->scratch);
        in->scratch = NULL;
        in->scratch_cap = 0;
    }
}

bool rdb_in_grow_scratch(struct rdb_in *in, uint64_t cap)
{
    uint8_t *p;

    if (cap <= in->scratch_cap) {
        return true;
    }
    p = mem_try_realloc(in->scratch, (size_t)cap);
    if (!p) {
        return rdb_fail(in, ERR_NOMEM, "no memory for a string of %llu bytes",
                        (unsigned long long)cap);
    }
    in->scratch = p;
    in->scratch_cap = (size_t)cap;
    return true;
}

bool rdb_get_view(struct rdb_in *in, uint64_t len, struct bytes *view)
{
    uint64_t have = 0;

    rdb_in_drop_scratch(in);
    if (len <= RDB_IN_BUFFER || in->fd < 0) {
        if (len > rdb_in_left(in)) {
            return rdb_in_fail_truncated(in);
        }
        if (!rdb_in_ready(in, (size_t)len)) {
            return false;
        }
        *view = bytes_of(in->data + in->pos, (size_t)len);
        in->pos += (size_t)len;
        return true;
    }
    if (len > rdb_in_left(in)) {
        return rdb_in_fail_truncated(in);
    }
    /* Where nobody knows how much will come, only what came is believed. */
    while (have < len) {
        uint64_t step = in->end != UINT64_MAX || len - have < SCRATCH_STEP
                            ? len - have
                            : SCRATCH_STEP;

        if (!rdb_in_grow_scratch(in, have + step) ||
            !rdb_get_raw(in, in->scratch + have, (size_t)step)) {
            return false;
        }
        have += step;
    }
    *view = bytes_of(in->scratch, (size_t)len);
    return true;
}
