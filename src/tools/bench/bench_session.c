#include "tools/bench/bench_session.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "tools/bench/bench_parallel.h"
#include "tools/bench/bench_recall.h"
#include "tools/bench/bench_server.h"

static unsigned helper_threads(void)
{
    unsigned n = thread_cpu_count();

    return n < BENCH_THREADS_MAX ? n : BENCH_THREADS_MAX;
}

/* Says what a preparation took that lasted long enough to be noticed. */
static void say_took(const struct bench_session *s, const char *what,
                     time_us since)
{
    double seconds = (double)(clock_mono_us() - since) * 1e-6;

    if (!s->o->quiet && !s->o->json && seconds >= 0.1) {
        printf("%s in %.1f s\n", what, seconds);
        fflush(stdout);
    }
}

/* ---- data --------------------------------------------------------------- */

static enum err open_data(struct bench_session *s, struct err_ctx *ctx)
{
    const struct bench_options *o = s->o;
    enum err err = ERR_OK;

    if (o->data) {
        err = bench_dataset_open(o->data, o->queries, (uint64_t)o->limit,
                                 &s->data, ctx);
    } else if (o->random) {
        err = bench_dataset_random(o->random, (uint64_t)o->seed,
                                   helper_threads(), &s->data, ctx);
        if (!err && o->limit && (uint64_t)o->limit < s->data.base.n) {
            s->data.base.n = (uint64_t)o->limit;
        }
    }
    if (!err && s->data.base.n && (uint64_t)o->offset >= s->data.base.n) {
        err = err_set(ctx, ERR_RANGE, "--offset leaves none of %llu rows",
                      (unsigned long long)s->data.base.n);
    }
    return err;
}

static const struct bench_lines *lines_or_null(const struct bench_lines *l)
{
    return l->n ? l : NULL;
}

static void make_envs(struct bench_session *s)
{
    const struct bench_options *o = s->o;
    struct bench_dataset *d = &s->data;

    s->rows = (struct bench_template_env){
        .key = o->key,
        .k = (uint32_t)o->k,
        .dim = d->base.dim,
        .batch = (uint32_t)o->batch,
        .seed = (uint64_t)o->seed,
        .decimals = (int)o->decimals,
        .names = lines_or_null(&d->names),
        .attrs = lines_or_null(&d->attrs),
        .query_names = lines_or_null(&d->query_names),
    };
    if (d->base.n) {
        s->rows.row_first = (uint64_t)o->offset;
        s->rows.row_n = d->base.n - (uint64_t)o->offset;
    }
    s->queries = s->rows;
    s->rows.vectors = d->base.n ? &d->base : NULL;
    s->rows.vec_first = s->rows.row_first;
    s->rows.vec_n = s->rows.row_n;
    s->queries.vectors = d->query.n ? &d->query : NULL;
    s->queries.vec_n = d->query.n;
}

/* Where touch() leaves what it read, so that it reads. */
static volatile uint8_t touched;

/* Reads the rows once, so that the first requests do not wait for the disk. */
static void touch(const struct bench_template_env *e, uint64_t n)
{
    enum { PAGE = 4096 };
    uint8_t sum = 0;
    const uint8_t *at, *end;

    if (!e->vectors) {
        return;
    }
    at = bench_vectors_row(e->vectors, e->vec_first);
    end = at + (n < e->vec_n ? n : e->vec_n) * e->vectors->stride -
          (e->vectors->stride - (size_t)e->dim * 4);
    for (; at < end; at += PAGE) {
        sum ^= *at;
    }
    touched = sum;
}

/* Makes the VALUES texts of the first n rows of an environment. */
static enum err make_values(struct bench_session *s,
                            struct bench_template_env *e, uint64_t n,
                            struct err_ctx *ctx)
{
    struct bench_values **values =
        e == &s->queries ? &s->query_values : &s->row_values;
    size_t memory =
        (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    time_us start = clock_mono_us();
    enum err err;

    if (*values) {
        return ERR_OK;
    }
    err = bench_values_create(e->vectors, e->vec_first,
                              n < e->vec_n ? n : e->vec_n, e->decimals,
                              helper_threads(), memory / 4, values);
    if (err == ERR_LIMIT) {
        fprintf(stderr, "vectra-benchmark: VALUES are printed as they are "
                        "sent: no memory for all of them\n");
        return ERR_OK;
    }
    if (err) {
        return err_set(ctx, err, "printing VALUES: %s", err_text(err));
    }
    e->values = *values;
    say_took(s, "VALUES printed beforehand", start);
    return ERR_OK;
}

enum err bench_session_warm_rows(struct bench_session *s,
                                 struct bench_template_env *e, uint64_t n,
                                 bool values, struct err_ctx *ctx)
{
    touch(e, n);
    return values ? make_values(s, e, n, ctx) : ERR_OK;
}

/* ---- before the runs ---------------------------------------------------- */

static enum err open_client(struct bench_session *s, struct err_ctx *ctx)
{
    const struct bench_options *o = s->o;
    enum err err;

    s->address = (struct bench_address){
        .host = o->host,
        .port = (int)o->port,
        .socket_path = o->socket_path,
        .user = o->user,
        .password = o->password,
        .db = (unsigned)o->db,
        .resp3 = o->resp3,
        .timeout_ms = (int)(o->timeout_s * 1000 < INT_MAX ? o->timeout_s * 1000
                                                          : INT_MAX),
    };
    bench_address_text(&s->address, s->address_text, sizeof(s->address_text));
    err = bench_client_open(&s->address, &s->client, ctx);
    if (err) {
        return err;
    }
    s->has_client = true;
    return bench_server_name(&s->client, s->server, sizeof(s->server), ctx);
}

/* DEL of the key, if asked. */
static enum err delete_key(struct bench_session *s, struct err_ctx *ctx)
{
    struct bytes args[2] = {bytes_str("DEL"), bytes_str(s->o->key)};
    const struct resp_reply *reply;

    return s->o->del ? bench_client_ask_args(&s->client, args, 2, &reply, ctx)
                     : ERR_OK;
}

static enum err create_set(struct bench_session *s, const char *command,
                           struct err_ctx *ctx)
{
    struct bench_template *t;
    const struct resp_reply *reply;
    struct buf request = BUF_INIT, scratch = BUF_INIT;
    enum err err;

    if (!command) {
        return ERR_OK;
    }
    err = bench_template_compile(command, &s->rows, &t, ctx);
    if (err) {
        return err;
    }
    bench_template_render(t, 0, &request, &scratch);
    bench_template_destroy(t);
    err = bench_client_ask_raw(&s->client, buf_bytes(&request), &reply, ctx);
    if (!err && reply->type == RESP_REPLY_ERROR) {
        struct bytes text = bench_client_text(&s->client, reply);

        fprintf(stderr, "vectra-benchmark: VCREATE: %.*s\n", (int)text.len,
                (const char *)text.data);
    }
    buf_deinit(&request);
    buf_deinit(&scratch);
    return err;
}

enum err bench_session_prepare_set(struct bench_session *s,
                                   const struct bench_commands *c,
                                   struct err_ctx *ctx)
{
    enum err err = delete_key(s, ctx);

    return err ? err : create_set(s, c->create, ctx);
}

static bool wants_recall(const struct bench_session *s)
{
    const struct bench_options *o = s->o;
    bool from_server = o->truth && strcmp(o->truth, "server") == 0;

    return o->mode == BENCH_MODE_SEARCH && !o->no_recall && s->data.base.n &&
           s->data.query.n && (!o->filter || from_server);
}

/* The folder for computed truth; NULL when there is no home. */
static const char *cache_folder(const struct bench_options *o,
                                char path[PATH_MAX])
{
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (o->cache) {
        return o->cache;
    }
    if (xdg && xdg[0]) {
        snprintf(path, PATH_MAX, "%s/vectra/truth", xdg);
    } else if (home && home[0]) {
        snprintf(path, PATH_MAX, "%s/.cache/vectra/truth", home);
    } else {
        return NULL;
    }
    return path;
}

struct bench_job bench_session_job(const struct bench_session *s,
                                   const struct bench_template *request)
{
    const struct bench_options *o = s->o;

    return (struct bench_job){
        .address = &s->address,
        .request = request,
        .connections = (unsigned)o->connections,
        .pipeline = (unsigned)o->pipeline,
        .threads = (unsigned)o->threads,
        .seed = (uint64_t)o->seed,
        .stop = s->stop,
    };
}

/* Truth as the server's own exact search has it. */
static enum err ask_truth(struct bench_session *s, const char *command,
                          struct err_ctx *ctx)
{
    struct bench_template *t;
    struct bench_answers answers;
    struct bench_job job;
    uint64_t i;
    enum err err;

    if (!command) {
        return err_set(ctx, ERR_UNSUPPORTED,
                       "--truth server works with the built-in search only");
    }
    err = bench_template_compile(command, &s->queries, &t, ctx);
    if (err) {
        return err;
    }
    bench_answers_init(&answers, &s->data, t, s->o->batch > 1, s->data.query.n,
                       s->question.k);
    job = bench_session_job(s, t);
    job.n_requests = job.capture_n = bench_template_pass(t);
    job.on_reply = bench_answers_take;
    job.arg = &answers;
    err = bench_engine_run(&job, s->outcome, ctx);
    for (i = 0; !err && i < answers.nq; i++) {
        if (answers.n_found[i] == BENCH_UNANSWERED) {
            err =
                err_set(ctx, ERR_NOT_FOUND, "no exact answer to query %llu%s%s",
                        (unsigned long long)i, s->outcome->errors ? ": " : "",
                        s->outcome->first_error);
        }
    }
    if (!err) {
        err = bench_truth_from_ids(&s->question, answers.ids, answers.n_found,
                                   &s->truth, ctx);
    }
    bench_answers_deinit(&answers);
    bench_template_destroy(t);
    return err;
}

enum err bench_session_get_truth(struct bench_session *s,
                                 const struct bench_commands *c,
                                 struct err_ctx *ctx)
{
    const struct bench_options *o = s->o;
    char path[PATH_MAX];
    time_us start = clock_mono_us();
    bool computed = true;
    enum err err;

    if (!wants_recall(s)) {
        return o->check_recall >= 0
                   ? err_set(ctx, ERR_NOT_FOUND,
                             "--check-recall needs a search with data and "
                             "queries, and for --filter --truth server")
                   : ERR_OK;
    }
    s->question = (struct bench_question){
        .base = &s->data.base,
        .query = &s->data.query,
        .metric = (enum vec_metric)o->metric,
        .first = s->rows.row_first,
        .n = s->rows.row_n,
        .k = (uint32_t)o->k,
    };
    err = bench_dataset_map_names(&s->data, ctx);
    if (err) {
        return err;
    }
    if (!o->truth) {
        err = bench_truth_get(&s->question, cache_folder(o, path),
                              helper_threads(), &s->truth, &computed, ctx);
    } else if (strcmp(o->truth, "server") == 0) {
        err = ask_truth(s, c->exact, ctx);
    } else {
        err = bench_truth_read(&s->question, o->truth, &s->truth, ctx);
    }
    if (!err && computed) {
        say_took(s, "exact neighbours found", start);
    }
    return err ? err_wrap(ctx, err, "exact neighbours") : ERR_OK;
}

/* ---- opening ------------------------------------------------------------ */

static enum err need_queries(const struct bench_session *s, struct err_ctx *ctx)
{
    bool asks =
        s->o->mode == BENCH_MODE_SEARCH || s->o->mode == BENCH_MODE_MIXED;

    if (asks && s->data.base.n && s->data.query.n == 0) {
        return err_set(ctx, ERR_NOT_FOUND, "%s has no queries: give --queries",
                       s->o->data);
    }
    return ERR_OK;
}

enum err bench_session_open(struct bench_session *s,
                            const struct bench_options *o,
                            const _Atomic bool *stop, struct err_ctx *ctx)
{
    enum err err;

    memset(s, 0, sizeof(*s));
    s->o = o;
    s->stop = stop;
    s->outcome = mem_calloc(1, sizeof(*s->outcome));
    err = open_data(s, ctx);
    if (!err) {
        err = need_queries(s, ctx);
    }
    if (!err) {
        make_envs(s);
        err = open_client(s, ctx);
    }
    return err;
}

void bench_session_close(struct bench_session *s)
{
    if (s->has_client) {
        bench_client_close(&s->client);
    }
    bench_truth_free(&s->truth);
    bench_values_destroy(s->row_values);
    bench_values_destroy(s->query_values);
    bench_dataset_close(&s->data);
    mem_free(s->outcome);
}
