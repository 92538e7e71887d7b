/* Writing the RDB container: lengths, strings and module fields, onto a
 * descriptor or into memory, with a running CRC-64.
 *
 * A forked child writes whole files with it, so after rdb_out_open() it
 * allocates nothing and takes no lock; room for compressing a long string is
 * mapped straight from the kernel.
 *
 * An error is kept: everything after it is ignored, and rdb_out_finish() tells.
 *
 * thread one. */
#ifndef VECTRA_PERSIST_RDB_WRITE_H
#define VECTRA_PERSIST_RDB_WRITE_H

#include <errno.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "persist/rdb.h"

struct rdb_out {
    /* Set by the caller after rdb_out_open(), if at all. */
    bool compress;       /* strings by LZF (yes) */
    bool checksum;       /* sum up, and write the sum at the end (yes) */
    uint64_t sync_every; /* bytes after which a file is synced; 0: never */
    bool past_cache;     /* a file, from its beginning on, is written past the
                          * kernel's page cache, if its file system lets */
    void (*progress)(void *arg, uint64_t written); /* per buffer written */
    void *progress_arg;
    /* Called between the parts of a long value, NULL: not; false gives up. What
     * is being written must then not be looked at any more. */
    bool (*go_on)(void *arg);
    void *go_on_arg;

    int fd;          /* -1: into memory */
    struct buf *mem; /* and where it begins there */
    size_t mem_start;
    uint8_t *buffer; /* bytes not written yet */
    size_t len, cap;
    uint64_t written; /* bytes before those in the buffer */
    uint64_t synced;
    uint64_t crc;
    size_t summed;  /* of the buffer */
    bool is_direct; /* the descriptor, at present */
    int error;      /* errno of the first failure */
    uint8_t *room;  /* for compressed strings */
    size_t room_cap;
};

/* Writes go to a descriptor, from where it stands, which stays the caller's;
 * or are appended to a buffer. owns  rdb_out_close(). */
void rdb_out_open(struct rdb_out *out, int fd);
void rdb_out_open_mem(struct rdb_out *out, struct buf *mem);

/* Writes what is buffered.
 *
 * fails  ERR_IO, for this or any write before; out->error is errno. */
enum err rdb_out_finish(struct rdb_out *out) MUST_USE;

/* Frees; what was not written is lost. */
void rdb_out_close(struct rdb_out *out);

/* Bytes put so far. */
uint64_t rdb_out_offset(const struct rdb_out *out);

/* CRC-64 of them. */
uint64_t rdb_out_crc(struct rdb_out *out);

/* Memory to work in, good until the next call or rdb_put_string(); NULL when
 * there is none. */
uint8_t *rdb_out_room(struct rdb_out *out, size_t len);

static inline bool rdb_out_failed(const struct rdb_out *out)
{
    return out->error != 0;
}

/* Between two parts of a long value; false: there is to be no more of it. */
static inline bool rdb_out_go_on(struct rdb_out *out)
{
    if (out->go_on && !out->error && !out->go_on(out->go_on_arg)) {
        out->error = ECANCELED;
    }
    return out->error == 0;
}

/* ---- pieces ------------------------------------------------------------ */

void rdb_put_raw(struct rdb_out *out, const void *data, size_t len);
void rdb_put_u8(struct rdb_out *out, uint8_t value);
void rdb_put_u16(struct rdb_out *out, uint16_t value); /* little-endian */
void rdb_put_u32(struct rdb_out *out, uint32_t value);
void rdb_put_u64(struct rdb_out *out, uint64_t value);

/* A length or an unsigned number, in 1, 2, 5 or 9 bytes. */
void rdb_put_len(struct rdb_out *out, uint64_t len);

/* A string, as an integer where it reads like one, compressed where that makes
 * it shorter. */
void rdb_put_string(struct rdb_out *out, struct bytes s);

/* The decimal text of a number, as a string. */
void rdb_put_int(struct rdb_out *out, int64_t value);

/* ---- fields of a module's value ---------------------------------------- */

void rdb_put_module(struct rdb_out *out, uint64_t module_id);
void rdb_put_unsigned(struct rdb_out *out, uint64_t value);

/* A string field that is never re-encoded: at once, or its length here and its
 * bytes by rdb_put_raw() after. */
void rdb_put_blob(struct rdb_out *out, struct bytes s);
void rdb_put_blob_begin(struct rdb_out *out, uint64_t len);
void rdb_put_module_end(struct rdb_out *out);

/* ---- whole files ------------------------------------------------------- */

void rdb_put_magic(struct rdb_out *out);
void rdb_put_aux(struct rdb_out *out, const char *name, struct bytes value);
void rdb_put_aux_int(struct rdb_out *out, const char *name, int64_t value);

/* The end and the sum, 0 where there is none. */
void rdb_put_eof(struct rdb_out *out);

#endif
