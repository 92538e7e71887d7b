/* Reading the RDB container, from a descriptor or from memory: the counterpart
 * of rdb_write.h, for bytes that anybody may have written.
 *
 * No length is believed before it is compared with what is left of the input,
 * and nothing is allocated before that. An error is kept, with its words and
 * the offset where it was met; every call after it fails too.
 *
 * Reading may take long, so a caller can have `yield` called now and then; what
 * reads then looks like straight-line code and yet leaves room for others
 * (base/baton.h).
 *
 * thread one at a time. */
#ifndef VECTRA_PERSIST_RDB_READ_H
#define VECTRA_PERSIST_RDB_READ_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "persist/rdb.h"

struct rdb_in {
    /* Set by the caller after rdb_in_open(), if at all. */
    bool checksum;            /* sum up what is read (yes) */
    void (*yield)(void *arg); /* called between buffers, and by rdb_yield() */
    void *yield_arg;

    int fd;              /* -1: memory */
    const uint8_t *data; /* what lies ready: data[pos] to data[len] */
    size_t pos, len;
    uint8_t *buffer; /* data, when it is our own */
    uint64_t base;   /* offset of data[0] */
    uint64_t end;    /* of the input; UINT64_MAX when nobody knows */
    uint64_t crc;    /* of all before data[summed] */
    size_t summed;
    uint8_t *scratch; /* a string that is not in the buffer as it is */
    size_t scratch_cap;
    enum err err; /* the first error */
    uint64_t failed_at;
    bool truncated; /* it was that the input ended */
    struct err_ctx why;
};

/* Reads a descriptor, which stays the caller's, from where it stands. offset:
 * where that is, for words and offsets. left: how much there is to come, or
 * UINT64_MAX to ask the file, which for a pipe means that nobody knows.
 * owns  rdb_in_close(). */
void rdb_in_open(struct rdb_in *in, int fd, uint64_t offset, uint64_t left);

/* Reads memory, which must stay. */
void rdb_in_open_mem(struct rdb_in *in, struct bytes data);
void rdb_in_close(struct rdb_in *in);

/* How far it has read. */
static inline uint64_t rdb_in_offset(const struct rdb_in *in)
{
    return in->base + in->pos;
}

/* What is left, at most. */
static inline uint64_t rdb_in_left(const struct rdb_in *in)
{
    return in->end - rdb_in_offset(in);
}

/* CRC-64 of what was read so far. */
uint64_t rdb_in_crc(struct rdb_in *in);

static inline void rdb_yield(struct rdb_in *in)
{
    if (in->yield) {
        in->yield(in->yield_arg);
    }
}

/* Keeps the first error with its words, prefixed by the offset, and returns
 * false. */
bool rdb_fail(struct rdb_in *in, enum err err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same for something that was read a while ago, up to that offset: an error
 * that was met further on does not count then. */
bool rdb_fail_at(struct rdb_in *in, uint64_t offset, enum err err,
                 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* ---- pieces; false after an error -------------------------------------- */

bool rdb_get_raw(struct rdb_in *in, void *to, size_t len) MUST_USE;
bool rdb_get_u8(struct rdb_in *in, uint8_t *value) MUST_USE;
bool rdb_get_u16(struct rdb_in *in, uint16_t *value) MUST_USE;
bool rdb_get_u32(struct rdb_in *in, uint32_t *value) MUST_USE;
bool rdb_get_u64(struct rdb_in *in, uint64_t *value) MUST_USE;
bool rdb_skip(struct rdb_in *in, uint64_t len) MUST_USE;

/* A view of the next `len` bytes, valid until the next call. */
bool rdb_get_view(struct rdb_in *in, uint64_t len, struct bytes *view) MUST_USE;

/* A length that is no encoding. */
bool rdb_get_len(struct rdb_in *in, uint64_t *len) MUST_USE;

/* The number of things that follow, of at least item_bytes each. */
bool rdb_get_count(struct rdb_in *in, uint64_t item_bytes,
                   uint64_t *n) MUST_USE;

/* A string of any encoding; the view is valid until the next call. */
bool rdb_get_string(struct rdb_in *in, struct bytes *s) MUST_USE;
bool rdb_skip_string(struct rdb_in *in) MUST_USE;

/* ---- fields of a module's value ---------------------------------------- */

bool rdb_get_module(struct rdb_in *in, uint64_t *module_id) MUST_USE;
bool rdb_get_unsigned(struct rdb_in *in, uint64_t *value) MUST_USE;

/* A string field of any encoding. */
bool rdb_get_blob(struct rdb_in *in, struct bytes *s) MUST_USE;

/* The same for who does not look at it at once. It is appended to `to` if it is
 * stored as it is, is no longer than `most` and comes from a descriptor; then
 * the view is of that, until more is appended. */
enum rdb_place {
    RDB_APPENDED,
    RDB_STAYS,   /* in the memory that is read */
    RDB_PASSING, /* until the next call */
};
bool rdb_get_blob_to(struct rdb_in *in, size_t most, struct buf *to,
                     struct bytes *s, enum rdb_place *place) MUST_USE;

/* A string field stored as it is: its length, of which that much is left; its
 * bytes are for rdb_get_raw(), rdb_get_view() and rdb_skip(). */
bool rdb_get_blob_begin(struct rdb_in *in, uint64_t *len) MUST_USE;
bool rdb_get_module_end(struct rdb_in *in) MUST_USE;

/* ---- whole files ------------------------------------------------------- */

/* fails  also when the version is above RDB_VERSION. */
bool rdb_get_magic(struct rdb_in *in, int *version) MUST_USE;

/* The sum behind the end; 0 in a file means that it was not summed up. */
bool rdb_check_eof(struct rdb_in *in, int version) MUST_USE;

#endif
