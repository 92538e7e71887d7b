/* The engine: connections kept full of requests, replies counted and timed.
 *
 * Every connection has up to `pipeline` requests under way. Requests are
 * numbered 0, 1, 2 ... across all connections and are taken in runs, so that
 * one clock reading, one system call and one entry of the send ring serve as
 * many as fit a buffer; a reply's latency is from its run being handed to the
 * socket to the read that brought it. Replies are only told apart from one
 * another, except the first capture_n, which are parsed for the caller. */
#ifndef VECTRA_TOOLS_BENCH_ENGINE_H
#define VECTRA_TOOLS_BENCH_ENGINE_H

#include <stdatomic.h>

#include "tools/bench/bench_client.h"
#include "tools/bench/bench_hist.h"
#include "tools/bench/bench_template.h"

enum { BENCH_CONNECTIONS_MAX = 65536, BENCH_PIPELINE_MAX = 1 << 20 };

struct bench_job {
    const struct bench_address *address;
    const struct bench_template *request;
    const struct bench_template *write; /* NULL: none; else write_percent ... */
    unsigned write_percent;             /* ... of the requests are these */
    uint64_t n_requests;                /* 0: no limit but the duration */
    int64_t duration_ns;                /* 0: no limit but n_requests */
    unsigned connections, pipeline;
    unsigned threads; /* at most connections and BENCH_THREADS_MAX */
    uint64_t seed;
    const _Atomic bool *stop; /* set from outside: end now; may be NULL */
    bool progress;            /* a line per second on stderr */

    /* Called for the replies of requests below capture_n, on any of the
     * threads, once per request. */
    uint64_t capture_n;
    void (*on_reply)(void *arg, uint64_t index, const struct resp_reply *reply,
                     const uint8_t *data);
    void *arg;
};

enum { BENCH_READS, BENCH_WRITES, BENCH_KINDS };

struct bench_outcome {
    uint64_t requests; /* answered */
    uint64_t rows;     /* in them */
    uint64_t errors;   /* of them, answered with an error */
    char first_error[160];
    double seconds;      /* from the first request to the last reply */
    double client_cpu_s; /* of all threads */
    double client_busy;  /* share of the time the busiest thread worked */
    bool interrupted;
    struct bench_hist hist[BENCH_KINDS]; /* all is READS without a write */
};

/* Runs a job to its end, or until *stop.
 *
 * out    also after a failure: what was measured until then.
 * fails  ERR_IO, ERR_TIMEOUT, ERR_CORRUPT, as bench_client_open(); ctx names
 *        the server. */
enum err bench_engine_run(const struct bench_job *job,
                          struct bench_outcome *out,
                          struct err_ctx *ctx) MUST_USE;

#endif
