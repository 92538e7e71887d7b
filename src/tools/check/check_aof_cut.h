/* A log as a whole: the files that its manifest names, in order, and cutting it
 * somewhere. A single file is a log of one.
 *
 * thread any. */
#ifndef VECTRA_TOOLS_CHECK_AOF_CUT_H
#define VECTRA_TOOLS_CHECK_AOF_CUT_H

#include "tools/check/check_aof_scan.h"

struct check_log_file {
    char *path;
    const char *name; /* its end */
    struct check_aof_file scan;
};

/* What a server that starts puts behind the log: nothing, as a rule. */
struct check_slate {
    char *path;        /* of the file, whether or not there is one */
    const char *name;  /* of the increment whose frames they are */
    uint64_t from, to; /* LSNs */
    int64_t unix_s;    /* when it was written to last */
};

struct check_log {
    struct check_log_file *files;
    size_t n;
    bool has_manifest;
    char *manifest_path;
    struct aof_manifest manifest;
    struct check_slate slate;
    bool has_base;
    int64_t base_lsn;    /* where the first increment begins; -1: not told */
    int64_t base_unix_s; /* when a snapshot was made; -1: not told */
    char gap[320]; /* words, when an increment does not go on where the one
                    * before it ends */
};

/* Reads all of it. owns check_log_close().
 *
 * fails  ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT (the manifest). */
enum err check_log_open(struct check_log *log, const char *path,
                        const struct check_limit *limit,
                        struct err_ctx *ctx) MUST_USE;
void check_log_close(struct check_log *log);

/* Makes file `at` end at `offset` and the log end with that file: first the
 * manifest forgets the later files, then they are removed, then it is cut, each
 * synced before the next. What is on the slate goes first, or stays, to go on
 * where the log then ends.
 *
 * fails  ERR_IO; ERR_BUSY when a server has the log. */
enum err check_log_cut(const struct check_log *log, size_t at, uint64_t offset,
                       bool keep_slate, struct err_ctx *ctx) MUST_USE;

/* Takes off the slate what ends past an LSN. fails  as above. */
enum err check_log_cut_slate(const struct check_log *log, uint64_t lsn,
                             struct err_ctx *ctx) MUST_USE;

#endif
