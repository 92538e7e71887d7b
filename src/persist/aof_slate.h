/* The log's slate: a file of a fixed size beside the log, which is written over
 * and over. What is about to be written to the log is put here first, since
 * that costs a tenth: the file's blocks and pages are there already. A process
 * that is killed leaves in it what the log does not have yet.
 *
 *     header: "VECTRA-SLATE:1\n", 0, key
 *     frame:  magic, LSN, length, sum, bytes of the stream     at 64, 128, ...
 *
 * Frames follow each other and begin again behind the header where the next
 * would not fit. The sum of a frame begins with the key, which is random and
 * new with each file, and the name of the increment that its bytes belong to:
 * nothing that is left of another history, or that a client has made up, is
 * taken for one. docs/formats/aof.md has the details.
 *
 * thread any, one at a time. */
#ifndef VECTRA_PERSIST_AOF_SLATE_H
#define VECTRA_PERSIST_AOF_SLATE_H

#include "base/buf.h"
#include "base/err.h"

enum { AOF_SLATE_SIZE = 2 << 20 };

struct aof_slate_file {
    int fd;
    uint64_t key;
    size_t at; /* of the next frame */
};

/* Makes a fresh one in the place of what is there, on disk when this returns.
 *
 * fails  ERR_IO, with words; there is none then. */
enum err aof_slate_create(struct aof_slate_file *f, const char *path,
                          struct err_ctx *ctx) MUST_USE;
void aof_slate_close(struct aof_slate_file *f);

/* Puts bytes of the stream, from `lsn` on, into a frame of the increment
 * `name`. *used: what of the file may not be written over; the frame's part is
 * added.
 *
 * fails  ERR_LIMIT when it does not fit, ERR_IO. */
enum err aof_slate_put(struct aof_slate_file *f, const char *name, uint64_t lsn,
                       struct bytes stream, size_t *used) MUST_USE;

/* Appends to *out what a slate has of the stream from `lsn` on, where the
 * increment `name` ends: nothing, as a rule. */
void aof_slate_read(const char *path, const char *name, uint64_t lsn,
                    struct buf *out);

/* Has the increment's frames that end past `lsn` be nothing; on disk when this
 * returns.
 *
 * fails  ERR_IO, with words. */
enum err aof_slate_cut(const char *path, const char *name, uint64_t lsn,
                       struct err_ctx *ctx) MUST_USE;

#endif
