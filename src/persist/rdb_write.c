/* Writing the RDB container: see rdb_write.h. */
#include "persist/rdb_write.h"

#include <errno.h>
#include <fcntl.h>
#include <liblzf/lzf.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/file.h"
#include "persist/crc64.h"

enum {
    BUFFER = 512 * 1024,
    BLOCK = 4096, /* of a file, and of memory that is written past the cache */
    COMPRESS_FROM = 21,         /* bytes; shorter strings stay as they are */
    INT_TEXT_MAX = 11,          /* "-2147483648" */
    LEN_14_MAX = (1 << 14) - 1, /* in two bytes */
    LEN_6_MAX = (1 << 6) - 1,
};

/* ---- module ids -------------------------------------------------------- */

static const char id_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

uint64_t rdb_module_id(const char name[9], uint32_t version)
{
    uint64_t id = 0;
    int i;

    for (i = 0; i < 9; i++) {
        const char *at = strchr(id_letters, name[i]);

        ASSERT(at && name[i]);
        id = id << 6 | (uint64_t)(at - id_letters);
    }
    return id << 10 | version;
}

void rdb_module_name(uint64_t id, char name[10])
{
    int i;

    id >>= 10;
    for (i = 8; i >= 0; i--, id >>= 6) {
        name[i] = id_letters[id & 63];
    }
    name[9] = '\0';
}

/* ---- bytes ------------------------------------------------------------- */

void rdb_out_open(struct rdb_out *out, int fd)
{
    memset(out, 0, sizeof(*out));
    out->compress = out->checksum = true;
    out->fd = fd;
    out->buffer = mem_calloc_aligned(BUFFER, BLOCK);
    out->cap = BUFFER;
}

void rdb_out_open_mem(struct rdb_out *out, struct buf *mem)
{
    memset(out, 0, sizeof(*out));
    out->compress = out->checksum = true;
    out->fd = -1;
    out->mem = mem;
    out->mem_start = mem->len;
}

void rdb_out_close(struct rdb_out *out)
{
    if (out->room) {
        munmap(out->room, out->room_cap);
    }
    mem_free(out->buffer);
    memset(out, 0, sizeof(*out));
    out->fd = -1;
}

uint64_t rdb_out_offset(const struct rdb_out *out)
{
    return out->mem ? out->mem->len - out->mem_start : out->written + out->len;
}

static void fail(struct rdb_out *out, int error)
{
    if (out->error == 0) {
        out->error = error ? error : EIO;
    }
    out->len = 0;
}

static void sync_all(struct rdb_out *out)
{
    /* What cannot be synced, such as a pipe, need not be. */
    if (file_fdatasync(out->fd) != 0 && errno != EINVAL && errno != EROFS) {
        fail(out, errno);
    }
}

/* Starts writing out what has come since the last time and waits for what was
 * started then, so that the sync at the end finds little left to do and the
 * disk's queue is never full of this file alone. */
static void sync_some(struct rdb_out *out)
{
    off_t from = (off_t)out->synced;
    off_t n = (off_t)(out->written - out->synced);

    if (sync_file_range(out->fd, from, n, SYNC_FILE_RANGE_WRITE) != 0) {
        sync_all(out);
    } else if (out->synced > 0 &&
               sync_file_range(out->fd, 0, from,
                               SYNC_FILE_RANGE_WAIT_BEFORE |
                                   SYNC_FILE_RANGE_WRITE |
                                   SYNC_FILE_RANGE_WAIT_AFTER) != 0) {
        sync_all(out);
    }
    out->synced = out->written;
}

/* What is left of the buffer goes past the cache in whole blocks that begin
 * where one of the file does, or in parts through it. */
static size_t choose_part(struct rdb_out *out, size_t len)
{
    bool direct = out->past_cache && len >= BLOCK && out->written % BLOCK == 0;

    if (direct != out->is_direct) {
        int flags = fcntl(out->fd, F_GETFL);

        flags = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
        if (fcntl(out->fd, F_SETFL, flags) == 0) {
            out->is_direct = direct;
        } else {
            out->past_cache = direct = false;
        }
    }
    if (direct) {
        return len - len % BLOCK;
    }
    return len < FILE_PART ? len : FILE_PART;
}

/* A file system that refuses, refuses always. */
static bool is_refusal(const struct rdb_out *out, int error)
{
    return out->is_direct && (error == EINVAL || error == EOPNOTSUPP);
}

static void write_out(struct rdb_out *out, const uint8_t *data, size_t len)
{
    if (out->checksum) {
        out->crc = crc64(out->crc, data + out->summed, len - out->summed);
    }
    out->summed = 0;
    while (len > 0) {
        ssize_t done = write(out->fd, data, choose_part(out, len));

        if (done < 0 && is_refusal(out, errno)) {
            out->past_cache = false;
            continue;
        }
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            fail(out, done == 0 ? ENOSPC : errno);
            return;
        }
        data += done;
        len -= (size_t)done;
        out->written += (uint64_t)done;
    }
    if (!out->past_cache && out->sync_every &&
        out->written - out->synced >= out->sync_every) {
        sync_some(out);
    }
    if (out->progress) {
        out->progress(out->progress_arg, out->written);
    }
}

static void flush(struct rdb_out *out)
{
    size_t len = out->len;

    out->len = 0;
    if (len > 0 && out->error == 0) {
        write_out(out, out->buffer, len);
    }
}

enum err rdb_out_finish(struct rdb_out *out)
{
    if (!out->mem) {
        flush(out);
    }
    return out->error ? ERR_IO : ERR_OK;
}

uint64_t rdb_out_crc(struct rdb_out *out)
{
    if (out->mem) {
        return crc64(0, out->mem->data + out->mem_start,
                     out->mem->len - out->mem_start);
    }
    if (out->checksum && out->error == 0) {
        out->crc =
            crc64(out->crc, out->buffer + out->summed, out->len - out->summed);
        out->summed = out->len;
    }
    return out->crc;
}

/* All but the last of the buffers that are written are full ones. */
static void put_in_blocks(struct rdb_out *out, const uint8_t *p, size_t len)
{
    while (len > 0 && out->error == 0) {
        size_t room = out->cap - out->len;
        size_t part = len < room ? len : room;

        memcpy(out->buffer + out->len, p, part);
        out->len += part;
        p += part;
        len -= part;
        if (out->len == out->cap) {
            flush(out);
        }
    }
}

void rdb_put_raw(struct rdb_out *out, const void *data, size_t len)
{
    const uint8_t *p = data;

    if (out->error) {
        return;
    }
    if (out->mem) {
        buf_append(out->mem, data, len);
        return;
    }
    if (out->past_cache) {
        put_in_blocks(out, p, len);
        return;
    }
    if (len > out->cap - out->len) {
        flush(out);
    }
    /* Long runs go out as they lie, in pieces that stay in the cache between
     * summing and writing. */
    for (; len >= out->cap && out->error == 0; p += out->cap, len -= out->cap) {
        write_out(out, p, out->cap);
    }
    if (len > 0 && out->error == 0) {
        memcpy(out->buffer + out->len, p, len);
        out->len += len;
    }
}

void rdb_put_u8(struct rdb_out *out, uint8_t value)
{
    rdb_put_raw(out, &value, 1);
}

static void put_le(struct rdb_out *out, uint64_t value, int n)
{
    uint8_t bytes[8];
    int i;

    for (i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    rdb_put_raw(out, bytes, (size_t)n);
}

void rdb_put_u16(struct rdb_out *out, uint16_t value)
{
    put_le(out, value, 2);
}

void rdb_put_u32(struct rdb_out *out, uint32_t value)
{
    put_le(out, value, 4);
}

void rdb_put_u64(struct rdb_out *out, uint64_t value)
{
    put_le(out, value, 8);
}

/* ---- lengths and strings ----------------------------------------------- */

static size_t format_be(uint8_t *to, uint64_t value, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        to[i] = (uint8_t)(value >> 8 * (n - 1 - i));
    }
    return (size_t)n;
}

void rdb_put_len(struct rdb_out *out, uint64_t len)
{
    uint8_t b[9];
    size_t n = 1;

    if (len <= LEN_6_MAX) {
        b[0] = (uint8_t)len;
    } else if (len <= LEN_14_MAX) {
        b[0] = (uint8_t)(RDB_LEN_14 << 6 | len >> 8);
        b[1] = (uint8_t)len;
        n = 2;
    } else if (len <= UINT32_MAX) {
        b[0] = RDB_LEN_32;
        n += format_be(b + 1, len, 4);
    } else {
        b[0] = RDB_LEN_64;
        n += format_be(b + 1, len, 8);
    }
    rdb_put_raw(out, b, n);
}

static bool put_encoded_int(struct rdb_out *out, int64_t value)
{
    enum rdb_encoding how;
    int n;

    if (value >= INT8_MIN && value <= INT8_MAX) {
        how = RDB_ENC_I8;
        n = 1;
    } else if (value >= INT16_MIN && value <= INT16_MAX) {
        how = RDB_ENC_I16;
        n = 2;
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        how = RDB_ENC_I32;
        n = 4;
    } else {
        return false;
    }
    rdb_put_u8(out, (uint8_t)(RDB_LEN_ENCODED << 6 | how));
    put_le(out, (uint64_t)value, n);
    return true;
}

void rdb_put_int(struct rdb_out *out, int64_t value)
{
    char text[NUM_TEXT_MAX];
    size_t n;

    if (!put_encoded_int(out, value)) {
        n = num_format_i64(value, text);
        rdb_put_len(out, n);
        rdb_put_raw(out, text, n);
    }
}

/* At least len bytes to compress into; NULL when there are none. */
uint8_t *rdb_out_room(struct rdb_out *out, size_t len)
{
    size_t cap = (len + BUFFER - 1) / BUFFER * BUFFER;
    void *p;

    if (cap <= out->room_cap) {
        return out->room;
    }
    p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (out->room) {
        munmap(out->room, out->room_cap);
    }
    out->room = p;
    out->room_cap = cap;
    return p;
}

static bool put_compressed(struct rdb_out *out, struct bytes s)
{
    uint8_t *room;
    unsigned n;

    if (!out->compress || s.len < COMPRESS_FROM || s.len > INT32_MAX) {
        return false;
    }
    room = rdb_out_room(out, s.len);
    if (!room) {
        return false;
    }
    n = lzf_compress(s.data, (unsigned)s.len, room, (unsigned)s.len - 4);
    if (n == 0) {
        return false;
    }
    rdb_put_u8(out, RDB_LEN_ENCODED << 6 | RDB_ENC_LZF);
    rdb_put_len(out, n);
    rdb_put_len(out, s.len);
    rdb_put_raw(out, room, n);
    return true;
}

void rdb_put_string(struct rdb_out *out, struct bytes s)
{
    int64_t number;

    if (s.len <= INT_TEXT_MAX && num_parse_i64(s, &number) &&
        put_encoded_int(out, number)) {
        return;
    }
    if (put_compressed(out, s)) {
        return;
    }
    rdb_put_len(out, s.len);
    rdb_put_raw(out, s.data, s.len);
}

/* ---- modules ----------------------------------------------------------- */

void rdb_put_module(struct rdb_out *out, uint64_t module_id)
{
    rdb_put_len(out, module_id);
}

void rdb_put_unsigned(struct rdb_out *out, uint64_t value)
{
    rdb_put_len(out, RDB_FIELD_UNSIGNED);
    rdb_put_len(out, value);
}

void rdb_put_blob_begin(struct rdb_out *out, uint64_t len)
{
    rdb_put_len(out, RDB_FIELD_STRING);
    rdb_put_len(out, len);
}

void rdb_put_blob(struct rdb_out *out, struct bytes s)
{
    rdb_put_blob_begin(out, s.len);
    rdb_put_raw(out, s.data, s.len);
}

void rdb_put_module_end(struct rdb_out *out)
{
    rdb_put_len(out, RDB_FIELD_END);
}

/* ---- files ------------------------------------------------------------- */

void rdb_put_magic(struct rdb_out *out)
{
    char magic[RDB_MAGIC_LEN + 1];

    snprintf(magic, sizeof(magic), "REDIS%04d", RDB_VERSION_WRITTEN);
    rdb_put_raw(out, magic, RDB_MAGIC_LEN);
}

void rdb_put_aux(struct rdb_out *out, const char *name, struct bytes value)
{
    rdb_put_u8(out, RDB_OP_AUX);
    rdb_put_string(out, bytes_str(name));
    rdb_put_string(out, value);
}

void rdb_put_aux_int(struct rdb_out *out, const char *name, int64_t value)
{
    rdb_put_u8(out, RDB_OP_AUX);
    rdb_put_string(out, bytes_str(name));
    rdb_put_int(out, value);
}

void rdb_put_eof(struct rdb_out *out)
{
    rdb_put_u8(out, RDB_OP_EOF);
    rdb_put_u64(out, out->checksum ? rdb_out_crc(out) : 0);
}
