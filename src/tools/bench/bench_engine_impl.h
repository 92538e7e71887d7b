/* Shared by bench_engine.c and bench_lane.c.
 *
 * One lane is one thread with its share of the connections and an epoll set.
 * Lanes share the counter of request numbers and the flag that ends them all;
 * everything else is a lane's own until its thread has been joined. */
#ifndef VECTRA_TOOLS_BENCH_ENGINE_IMPL_H
#define VECTRA_TOOLS_BENCH_ENGINE_IMPL_H

#include "tools/bench/bench_engine.h"

struct bench_engine {
    const struct bench_job *job;
    uint64_t n_requests; /* UINT64_MAX: no limit */
    int64_t start_ns;
    int64_t deadline_ns; /* INT64_MAX: none */
    _Atomic uint64_t next;
    _Atomic bool failed;
    _Atomic unsigned running;
    struct bench_lane *lanes;
};

struct bench_lane {
    struct bench_engine *engine;
    struct thread *thread;
    int epoll_fd;
    struct bench_conn *conns;
    unsigned n_conns;
    uint64_t in_flight;
    bool exhausted; /* there are no more requests to send */
    struct buf scratch;
    int64_t last_reply_ns;
    int64_t cpu_ns;
    enum err err;
    struct err_ctx ctx;
    _Atomic uint64_t answered; /* written by the lane, read for progress */
    struct bench_outcome *out;
};

/* Opens n connections and puts them into the lane's epoll set.
 *
 * fails  as bench_client_open(); bench_lane_close() is due all the same. */
enum err bench_lane_open(struct bench_lane *lane, unsigned n,
                         struct err_ctx *ctx) MUST_USE;
void bench_lane_close(struct bench_lane *lane);

/* What a lane's thread runs: sends and receives until there is nothing left to
 * do or something failed, which is then in lane->err and lane->ctx. */
void bench_lane_main(void *lane);

#endif
