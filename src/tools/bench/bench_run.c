#include "tools/bench/bench_run.h"

#include <math.h>

#include "base/mem.h"
#include "tools/bench/bench_commands.h"
#include "tools/bench/bench_recall.h"
#include "tools/bench/bench_report.h"
#include "tools/bench/bench_session.h"

enum { REQUESTS_DEFAULT = 100000 };

/* What one run needs beside the session. */
struct run {
    struct bench_template *request, *write;
    struct bench_answers answers;
    struct bench_job job;
    struct bench_report report;
    struct bench_server_facts before, after;
};

static void choose_length(const struct bench_session *s, struct run *r)
{
    const struct bench_options *o = s->o;
    const struct bench_template *t = r->write ? r->write : r->request;

    if (o->duration_s > 0) {
        r->job.duration_ns = (int64_t)(o->duration_s * 1e9);
    } else if (o->requests) {
        r->job.n_requests = (uint64_t)o->requests;
    } else if (s->data.base.n && o->mode != BENCH_MODE_PING) {
        r->job.n_requests = bench_template_pass(t);
    } else {
        r->job.n_requests = REQUESTS_DEFAULT;
    }
}

/* Has the first answer to every query kept. */
static void capture(struct bench_session *s, struct run *r)
{
    uint64_t pass = bench_template_pass(r->request);
    bool all = r->job.n_requests == 0 || r->job.n_requests > pass;

    bench_answers_init(&r->answers, &s->data, r->request, s->o->batch > 1,
                       s->data.query.n, s->question.k);
    r->job.capture_n = all ? pass : r->job.n_requests;
    r->job.on_reply = bench_answers_take;
    r->job.arg = &r->answers;
}

/* Compiles the commands and makes ready what they send. */
static enum err prepare(struct bench_session *s, const struct bench_commands *c,
                        uint32_t ef, struct run *r, struct err_ctx *ctx)
{
    const struct bench_options *o = s->o;
    bool asks = o->mode == BENCH_MODE_SEARCH || o->mode == BENCH_MODE_MIXED;
    struct bench_template_env *env = asks ? &s->queries : &s->rows;
    uint64_t n;
    enum err err;

    env->ef = ef;
    err = bench_template_compile(c->request, env, &r->request, ctx);
    if (!err && c->write) {
        err = bench_template_compile(c->write, &s->rows, &r->write, ctx);
    }
    if (err) {
        return err;
    }
    r->job = bench_session_job(s, r->request);
    r->job.write = r->write;
    r->job.write_percent = (unsigned)(o->ratio + 0.5);
    r->job.progress = o->progress;
    choose_length(s, r);
    n = r->job.n_requests ? r->job.n_requests : UINT64_MAX;
    n = n < UINT64_MAX / (uint64_t)o->batch ? n * (uint64_t)o->batch
                                            : UINT64_MAX;
    err = bench_session_warm_rows(s, env, n,
                                  bench_template_uses_values(r->request), ctx);
    if (!err && r->write) {
        err = bench_session_warm_rows(
            s, &s->rows, n, bench_template_uses_values(r->write), ctx);
    }
    if (!err && s->truth.k) {
        capture(s, r);
    }
    return err;
}

static enum err warm_up(struct bench_session *s, const struct run *r,
                        struct err_ctx *ctx)
{
    struct bench_job job = r->job;

    if (s->o->warmup == 0) {
        return ERR_OK;
    }
    job.n_requests = (uint64_t)s->o->warmup;
    job.duration_ns = 0;
    job.capture_n = 0;
    job.progress = false;
    return bench_engine_run(&job, s->outcome, ctx);
}

static void describe(const struct bench_session *s,
                     const struct bench_commands *c, uint32_t ef, struct run *r)
{
    const struct bench_options *o = s->o;

    r->report = (struct bench_report){
        .mode = bench_options_mode_name(o->mode),
        .server = s->server,
        .address = s->address_text,
        .dataset = s->data.name,
        .command = c->request,
        .write_command = c->write,
        .base_n = s->rows.row_n,
        .dim = s->rows.dim,
        .k = (uint32_t)o->k,
        .ef = ef,
        .batch = (uint32_t)o->batch,
        .connections = (unsigned)o->connections,
        .pipeline = (unsigned)o->pipeline,
        .threads = (unsigned)o->threads,
        .writes = o->mode != BENCH_MODE_SEARCH && o->mode != BENCH_MODE_PING,
        .outcome = s->outcome,
        .before = &r->before,
        .after = &r->after,
        .settle_s = NAN,
        .recall = NAN,
    };
}

static void print(const struct bench_session *s, const struct run *r,
                  bool first)
{
    if (s->o->json) {
        struct buf b = BUF_INIT;

        bench_report_json(&b, &r->report);
        fwrite(b.data, 1, b.len, stdout);
        buf_deinit(&b);
    } else {
        if (first && !s->o->quiet) {
            bench_report_head(stdout, &r->report);
            bench_report_columns(stdout);
        }
        bench_report_line(stdout, &r->report);
        if (!s->o->quiet) {
            bench_report_notes(stdout, &r->report);
        }
    }
    fflush(stdout);
}

/* CPU is read at once and memory once the index is complete. */
static enum err read_after(struct bench_session *s, struct run *r,
                           struct err_ctx *ctx)
{
    const char *key = s->o->key;
    enum err err = bench_server_facts_read(&s->client, key, &r->after, ctx);
    double cpu_s = r->after.cpu_s;

    if (err || !s->o->settle) {
        return err;
    }
    err = bench_server_settle(&s->client, key, &r->report.settle_s, ctx);
    if (!err) {
        err = bench_server_facts_read(&s->client, key, &r->after, ctx);
        r->after.cpu_s = cpu_s;
    }
    return err;
}

/* The timed part and the questions around it. A failure of the run itself is
 * returned after what was measured has been printed. */
static enum err measure(struct bench_session *s, struct run *r, bool first,
                        struct err_ctx *ctx)
{
    const char *key = s->o->key;
    enum err run_err, err;

    err = warm_up(s, r, ctx);
    if (!err) {
        err = bench_server_facts_read(&s->client, key, &r->before, ctx);
    }
    if (err) {
        return err;
    }
    run_err = bench_engine_run(&r->job, s->outcome, ctx);
    if (run_err && s->outcome->requests == 0) {
        return run_err;
    }
    r->after = (struct bench_server_facts){NAN, NAN, NAN, NAN, NAN};
    if (!run_err) {
        err = read_after(s, r, ctx);
    }
    if (s->truth.k) {
        r->report.recall = bench_answers_recall(
            &r->answers, &s->question, &s->truth, &r->report.recall_queries);
        if (r->report.recall_queries == 0) {
            r->report.recall = NAN;
        }
    }
    print(s, r, first);
    return run_err ? run_err : err;
}

static enum err one_run(struct bench_session *s, unsigned i, bool *below,
                        struct err_ctx *ctx)
{
    const struct bench_options *o = s->o;
    uint32_t ef = o->ef_list[i];
    struct bench_commands commands;
    struct run r = {.request = NULL};
    enum err err = ERR_OK;

    bench_commands_init(o, ef != 0, &commands);
    if (i == 0) {
        err = bench_session_prepare_set(s, &commands, ctx);
        if (!err) {
            err = bench_session_get_truth(s, &commands, ctx);
        }
    }
    if (!err) {
        err = prepare(s, &commands, ef, &r, ctx);
    }
    if (!err) {
        describe(s, &commands, ef, &r);
        err = measure(s, &r, i == 0, ctx);
    }
    if (!err && s->outcome->errors &&
        s->outcome->errors == s->outcome->requests) {
        err = err_set(ctx, ERR_UNSUPPORTED, "every reply was an error: %s",
                      s->outcome->first_error);
    }
    if (!err && o->check_recall >= 0 && !(r.report.recall >= o->check_recall)) {
        *below = true;
    }
    if (r.job.on_reply) {
        bench_answers_deinit(&r.answers);
    }
    bench_template_destroy(r.request);
    bench_template_destroy(r.write);
    bench_commands_deinit(&commands);
    return err;
}

enum err bench_run(const struct bench_options *o, const _Atomic bool *stop,
                   bool *below, struct err_ctx *ctx)
{
    struct bench_session s;
    unsigned i;
    enum err err = bench_session_open(&s, o, stop, ctx);

    *below = false;
    for (i = 0; !err && i < o->n_ef && !atomic_load(stop); i++) {
        err = one_run(&s, i, below, ctx);
    }
    bench_session_close(&s);
    return err;
}
