/* The command line of vectra-benchmark. One table (bench_options.c) describes
 * every option; parsing and --help come from it. */
#ifndef VECTRA_TOOLS_BENCH_OPTIONS_H
#define VECTRA_TOOLS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "vec/vec.h"

enum bench_mode {
    BENCH_MODE_LOAD,
    BENCH_MODE_SEARCH,
    BENCH_MODE_MIXED,
    BENCH_MODE_PING,
    BENCH_MODE_RAW,
};

enum bench_peer { BENCH_PEER_VECTRA, BENCH_PEER_REDIS8 };

enum bench_quant {
    BENCH_QUANT_NONE_GIVEN,
    BENCH_QUANT_Q8,
    BENCH_QUANT_NOQUANT,
    BENCH_QUANT_BIN,
    BENCH_QUANT_FP16,
    BENCH_QUANT_BF16,
};

enum { BENCH_EF_LIST_MAX = 32 };

/* Texts point into argv. A NULL text and a number 0 mean "not given" unless a
 * default is named. */
struct bench_options {
    const char *host; /* 127.0.0.1 */
    int64_t port;     /* 6379 */
    const char *socket_path, *password, *user;
    int64_t db;
    bool resp3;
    double timeout_s; /* 60 */

    int64_t requests;
    int64_t connections; /* 8 */
    int64_t pipeline;    /* 1 */
    int64_t threads;     /* 1 */
    double duration_s;
    int64_t warmup; /* requests */

    const char *data, *queries, *random;
    int64_t limit, offset;
    int64_t seed; /* 1 */

    int mode;            /* enum bench_mode */
    const char *command; /* implies BENCH_MODE_RAW without a --mode */
    int peer;            /* enum bench_peer */
    const char *key;     /* bench */
    bool values;
    int64_t decimals; /* -1: shortest */
    int metric;       /* enum vec_metric */
    int quant;        /* enum bench_quant */
    const char *index;
    int64_t k; /* 10 */
    const char *ef;
    uint32_t ef_list[BENCH_EF_LIST_MAX]; /* from ef; one 0 when not given */
    unsigned n_ef;
    bool exact;
    const char *filter, *append;
    bool attrs;
    int64_t batch; /* 1 */
    double ratio;  /* percent of writes in mixed: 10 */
    bool del, settle;

    const char *truth, *cache;
    bool no_recall;
    double check_recall; /* negative: not asked */

    bool json, quiet, progress;
    bool read_bandwidth, sink, help, version;
};

/* Reads the command line and checks what can be checked without files.
 *
 * fails  ERR_SYNTAX; ctx names the option. */
enum err bench_options_parse(int argc, char *const *argv,
                             struct bench_options *out,
                             struct err_ctx *ctx) MUST_USE;

void bench_options_help(FILE *out);

const char *bench_options_mode_name(int mode);

#endif
