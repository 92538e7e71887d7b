/* Reads the files of a log and finds how far they are good, and where they
 * would have to be cut to end at a point of the stream or of time.
 *
 * thread any. */
#ifndef VECTRA_TOOLS_CHECK_AOF_SCAN_H
#define VECTRA_TOOLS_CHECK_AOF_SCAN_H

#include "persist/aof_manifest.h"
#include "persist/aof_read.h"
#include "tools/check/check_rdb_walk.h"

#define CHECK_NO_LSN  UINT64_MAX
#define CHECK_NO_TIME INT64_MAX

/* What is wanted at most. */
struct check_limit {
    uint64_t lsn;   /* CHECK_NO_LSN: all */
    int64_t unix_s; /* CHECK_NO_TIME: all */
};

struct check_aof_file {
    bool is_rdb;   /* it begins with a snapshot */
    bool has_sums; /* batches, with annotations */
    bool ends_torn, damaged;
    uint64_t size, good; /* what is behind good is torn or damaged */
    uint64_t units, commands, keys;
    uint64_t first_lsn, last_lsn;  /* CHECK_NO_LSN: not told */
    int64_t first_ts, last_ts;     /* of lines #TS:, 0: none */
    int64_t base_lsn, base_unix_s; /* told by the snapshot; -1: not */
    /* Where the first thing past the limit begins. */
    bool has_cut;
    uint64_t cut, cut_lsn; /* the LSN that is kept */
    char words[256];       /* what is wrong */
};

/* fails  ERR_IO, ERR_NOT_FOUND; that a file is bad is no failure. */
enum err check_aof_scan(const char *path, const struct check_limit *limit,
                        struct check_aof_file *out,
                        struct err_ctx *ctx) MUST_USE;

#endif
