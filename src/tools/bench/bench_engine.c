/* A run as a whole: lanes started, watched, joined and added up. */
#include "tools/bench/bench_engine_impl.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

/* Rows carried by `n` answered requests: exact when all numbers below n were
 * answered, which is so unless a run was cut short. */
static uint64_t count_rows(const struct bench_template *t, uint64_t n)
{
    uint64_t pass = bench_template_pass(t);
    uint64_t rows_per_pass =
        bench_template_first(t, pass - 1) + bench_template_rows(t, pass - 1);
    uint64_t rest = n % pass;

    return n / pass * rows_per_pass +
           (rest ? bench_template_first(t, rest - 1) +
                       bench_template_rows(t, rest - 1)
                 : 0);
}

static void collect(struct bench_engine *e, struct bench_outcome *out)
{
    unsigned threads = e->job->threads;
    int64_t last = e->start_ns, busiest = 0, cpu = 0;
    unsigned i, kind;

    for (i = 0; i < threads; i++) {
        struct bench_lane *lane = &e->lanes[i];
        struct bench_outcome *from = lane->out;

        if (out->errors == 0 && from->errors) {
            snprintf(out->first_error, sizeof(out->first_error), "%s",
                     from->first_error);
        }
        out->requests += from->requests;
        out->errors += from->errors;
        for (kind = 0; kind < BENCH_KINDS; kind++) {
            bench_hist_merge(&out->hist[kind], &from->hist[kind]);
        }
        last = lane->last_reply_ns > last ? lane->last_reply_ns : last;
        busiest = lane->cpu_ns > busiest ? lane->cpu_ns : busiest;
        cpu += lane->cpu_ns;
    }
    out->rows = e->job->write ? out->requests
                              : count_rows(e->job->request, out->requests);
    out->seconds = (double)(last - e->start_ns) * 1e-9;
    out->client_cpu_s = (double)cpu * 1e-9;
    out->client_busy =
        out->seconds > 0 ? (double)busiest * 1e-9 / out->seconds : 0;
    out->interrupted = e->job->stop && atomic_load(e->job->stop);
}

static void report_progress(const struct bench_engine *e)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    int64_t shown_ns = e->start_ns;
    uint64_t shown = 0;

    while (atomic_load(&e->running)) {
        uint64_t done = 0;
        int64_t now;
        unsigned i;

        (void)nanosleep(&pause, NULL);
        now = clock_mono_ns();
        if (now - shown_ns < INT64_C(1000000000)) {
            continue;
        }
        for (i = 0; i < e->job->threads; i++) {
            done += atomic_load_explicit(&e->lanes[i].answered,
                                         memory_order_relaxed);
        }
        fprintf(stderr, "%6.1f s %12llu requests %12.0f /s\n",
                (double)(now - e->start_ns) * 1e-9, (unsigned long long)done,
                (double)(done - shown) * 1e9 / (double)(now - shown_ns));
        shown = done;
        shown_ns = now;
    }
}

static enum err start_lanes(struct bench_engine *e, struct err_ctx *ctx)
{
    const struct bench_job *job = e->job;
    unsigned i;
    enum err err = ERR_OK;

    e->start_ns = clock_mono_ns();
    e->deadline_ns =
        job->duration_ns ? e->start_ns + job->duration_ns : INT64_MAX;
    for (i = 0; i < job->threads; i++) {
        struct bench_lane *lane = &e->lanes[i];

        atomic_fetch_add(&e->running, 1);
        lane->last_reply_ns = e->start_ns;
        err = thread_start(&lane->thread, "load", bench_lane_main, lane);
        if (err) {
            atomic_fetch_sub(&e->running, 1);
            atomic_store(&e->failed, true);
            return err_set(ctx, err, "cannot start a thread");
        }
    }
    if (job->progress) {
        report_progress(e);
    }
    return ERR_OK;
}

enum err bench_engine_run(const struct bench_job *job,
                          struct bench_outcome *out, struct err_ctx *ctx)
{
    struct bench_engine e = {.job = job, .n_requests = UINT64_MAX};
    enum err err = ERR_OK;
    unsigned i;

    ASSERT(job->threads >= 1 && job->threads <= job->connections);
    ASSERT(job->pipeline >= 1 && (job->n_requests || job->duration_ns));
    memset(out, 0, sizeof(*out));
    if (job->n_requests) {
        e.n_requests = job->n_requests;
    }
    e.lanes = mem_calloc(job->threads, sizeof(*e.lanes));
    for (i = 0; i < job->threads; i++) {
        e.lanes[i].engine = &e;
        e.lanes[i].epoll_fd = -1;
        e.lanes[i].out = mem_calloc(1, sizeof(*e.lanes[i].out));
    }
    for (i = 0; !err && i < job->threads; i++) {
        /* The first lanes take what does not divide. */
        err = bench_lane_open(&e.lanes[i],
                              job->connections / job->threads +
                                  (i < job->connections % job->threads),
                              ctx);
    }
    if (!err) {
        err = start_lanes(&e, ctx);
    }
    for (i = 0; i < job->threads; i++) {
        if (e.lanes[i].thread) {
            thread_join(e.lanes[i].thread);
        }
        if (!err && e.lanes[i].err) {
            char text[128];

            *ctx = e.lanes[i].ctx;
            err =
                err_wrap(ctx, e.lanes[i].err, "%s",
                         bench_address_text(job->address, text, sizeof(text)));
        }
    }
    collect(&e, out);
    for (i = 0; i < job->threads; i++) {
        bench_lane_close(&e.lanes[i]);
    }
    mem_free(e.lanes);
    return err;
}
