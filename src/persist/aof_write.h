/* Writing the log: batches of the canonical stream, each with an annotation
 * that says where in the stream it lies and lets a reader see whether it is
 * whole.
 *
 *     #VECTRA:1\r\n                         once, at the start
 *     *2\r\n$6\r\nSELECT\r\n...            commands
 *     #LSN:0-4711:SYNCED:0:CRC32C:89abcdef\r\n
 *
 * A line that begins with # is a comment to Redis. The sum covers all bytes of
 * the file since the end of the annotation before, the annotation's own up to
 * and with "CRC32C:" included. SYNCED is up to where the log was known to be on
 * disk; it is left out when the log is not synced at all. docs/formats/aof.md
 * has the details.
 *
 * thread the loop's; or a forked child's, for a base. */
#ifndef VECTRA_PERSIST_AOF_WRITE_H
#define VECTRA_PERSIST_AOF_WRITE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

#define AOF_NOT_SYNCED UINT64_MAX
#define AOF_MAGIC      "#VECTRA:1\r\n"

enum { AOF_ANNOTATION_MAX = 128 };

/* Room for bytes on their way past the kernel's page cache, in whole blocks of
 * the file. Such a write costs a fifth of one into fresh pages of the cache and
 * waits for the disk, but is not there for good before a sync either. */
enum { AOF_BLOCK = 4096, AOF_ROOM = 512 * 1024 };

struct aof_batch {
    struct bytes stream; /* whole commands */
    uint64_t end;        /* the LSN behind them */
    uint64_t synced;     /* or AOF_NOT_SYNCED */
    int64_t unix_s;      /* 0, or for a line "#TS:" before them */
    uint8_t *room;       /* NULL, or AOF_ROOM bytes at a multiple of AOF_BLOCK:
                          * what fills blocks passes the cache by, if it can */
};

/* Puts a batch's annotation at `out` and returns its length. crc: of the bytes
 * before it. */
size_t aof_annotation(const struct aof_batch *b, uint32_t crc,
                      char out[AOF_ANNOTATION_MAX]);

struct aof_file {
    int fd;          /* -1: none */
    uint64_t size;   /* of whole batches */
    uint64_t lsn;    /* at that place */
    int64_t last_ts; /* of the last line "#TS:" */
    bool has_rest;   /* a failed write may have left bytes past size */
    bool is_cached;  /* nothing passes the cache by: it was refused */
};

/* Makes a fresh file and syncs its first line, or opens one to go on with at
 * `size`, which is all that is good of it: the rest is cut off.
 *
 * fails  ERR_IO, with words; *f has no descriptor. */
enum err aof_file_create(struct aof_file *f, const char *path,
                         struct err_ctx *ctx) MUST_USE;
enum err aof_file_open(struct aof_file *f, const char *path, uint64_t size,
                       uint64_t lsn, struct err_ctx *ctx) MUST_USE;
void aof_file_close(struct aof_file *f);

/* Writes a batch; one of ordinary size with one system call. Whichever way it
 * goes, the file then ends behind it, and others read it as usual.
 *
 * fails  ERR_IO, errno is in *error and words in ctx; what was written of the
 *        batch is cut off again, now or before the next one. */
enum err aof_file_append(struct aof_file *f, const struct aof_batch *b,
                         int *error, struct err_ctx *ctx) MUST_USE;

#endif
