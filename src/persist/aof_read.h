/* Reading a log file, whoever wrote it.
 *
 * A file that begins as aof_write.h says is read batch by batch:
 * nothing of one is handed out before its sum is found right. Any other is read
 * command by command, and lines that begin with # are skipped.
 *
 * A file may end anywhere, or in bytes that were never written, when the power
 * went: that is a torn tail, and *good* is where it begins. What was known to
 * be on disk is no tail: a later batch tells how far that is. Without sums only
 * a file that simply ends too early, or in zeros, is torn. Everything else is
 * damage.
 *
 * Lengths are compared with what is left of the file before anything is
 * allocated.
 *
 * thread any. */
#ifndef VECTRA_PERSIST_AOF_READ_H
#define VECTRA_PERSIST_AOF_READ_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum aof_read_result {
    AOF_READ_UNIT,    /* commands to run */
    AOF_READ_END,     /* the file ends as it should */
    AOF_READ_TORN,    /* from `good` on it is a tail */
    AOF_READ_DAMAGED, /* with words */
};

/* Whole commands, one after the other, perhaps with comments between. */
struct aof_unit {
    struct bytes text;
    uint64_t offset; /* in the file */
};

struct aof_reader {
    int fd;
    uint64_t file_size;
    struct buf buf; /* of the file, from base on */
    uint64_t base;  /* offset of buf.data[0] */
    size_t used;    /* of buf: handed out */
    size_t pos;     /* of buf: parsed */
    bool has_sums;  /* it is ours */
    bool begun;
    bool has_lsn;  /* lsn is known: else the first batch tells */
    bool has_gap;  /* the first batch is good, but begins past lsn */
    uint64_t lsn;  /* behind the last batch: what is known to be on disk past it
                    * is damage if it is bad */
    uint64_t good; /* offset behind the last batch or command */
    struct bytes *argv; /* of aof_next_command() */
    size_t cap_argv;
};

/* Reads a descriptor from `offset` on, which stays the caller's. */
enum err aof_reader_open(struct aof_reader *r, int fd, uint64_t offset,
                         struct err_ctx *ctx) MUST_USE;
void aof_reader_close(struct aof_reader *r);

/* The next unit, valid until the next call. */
enum aof_read_result aof_reader_next(struct aof_reader *r,
                                     struct aof_unit *unit,
                                     struct err_ctx *ctx);

/* Whether a file of ours holds a whole batch that says that the log was on disk
 * past `lsn`, wherever in it. */
bool aof_proves_synced(int fd, uint64_t lsn);

/* The next command of a unit: its arguments, valid until the next call, and its
 * offset. False at the end. */
bool aof_next_command(struct aof_reader *r, struct aof_unit *unit,
                      struct bytes **argv, size_t *argc, uint64_t *offset);

#endif
