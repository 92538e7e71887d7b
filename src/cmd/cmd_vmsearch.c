/* VMSEARCH key n FP32 blob [options of VSEARCH]: n searches in one command.
 *
 * Each search has a place of its own in the order of replies, behind the header
 * of the array, so they are answered in order however they finish; on one set
 * they share the pass over its rows. Starting them is a job, so that thousands
 * of queries do not hold the loop. */
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vsearch.h"
#include "cmd/vset_key.h"

enum {
    QUERIES_MAX = 10000,
    FLYING_MAX = 512,    /* searches of one command under way at a time */
    OWED_MAX = 16 << 20, /* unread bytes at which it waits */
    BLOB = 4,            /* in argv */
    OPTIONS = 5,         /* from here on */
};

/* The searches of one command; freed with the last of them. */
struct batch;

struct place {
    struct batch *batch;
    void *slot; /* in the order of replies */
};

struct batch {
    struct cmd_env *env;
    const struct command *command;
    struct cmd_job *job; /* NULL once it has ended */
    size_t left;         /* answers to come, and one for the job itself */
    size_t flying;       /* searches under way */
    struct place places[];
};

struct vmsearch_job {
    struct cmd_job job;
    struct batch *batch;
    struct search_request request; /* but for query and filter */
    size_t filter_at;              /* in argv; 0: none */
    size_t n, started;
    size_t expects;   /* memory of an answer */
    uint32_t dim;     /* of the queries given */
    uint64_t uid;     /* of the set */
    float *projected; /* room for one query; NULL: they are as the set's */
};

static void batch_release(struct batch *b)
{
    if (--b->left == 0) {
        mem_free(b);
    }
}

static void answered(struct search *s, void *arg)
{
    struct place *p = arg;
    struct batch *b = p->batch;

    if (!search_was_cancelled(s) && search_outcome(s) == SEARCH_TIMED_OUT) {
        cmd_count_error(b->env, "TIMEOUT");
    }
    b->env->counters[command_id(b->command)].ns += search_run_us(s) * 1000;
    b->env->host->fulfil(p->slot, search_reply(s));
    b->flying--;
    if (b->job && b->flying < FLYING_MAX / 2) {
        cmd_job_unpark(b->job);
    }
    batch_release(b);
}

static void abandoned(void *arg)
{
    search_cancel(arg);
}

static void fill_error(struct batch *b, struct place *p, int proto,
                       const char *text)
{
    struct buf body = BUF_INIT;
    struct reply r = {&body, proto};

    cmd_count_error(b->env, text);
    reply_error(&r, text);
    b->env->host->fulfil(p->slot, &body);
    batch_release(b);
}

/* Starts the i-th search, or answers it with an error. */
static void start_one(struct vmsearch_job *m, struct vset *v, size_t i)
{
    struct place *p = &m->batch->places[i];
    struct search_request r = m->request;
    struct search *s;
    size_t at;

    p->batch = m->batch;
    p->slot = m->job.env->host->defer(m->job.client, m->expects);
    if (!v) {
        fill_error(m->batch, p, m->job.reply.proto, "ERR no such key");
        return;
    }
    if (m->filter_at &&
        filter_compile(m->job.argv[m->filter_at], &r.filter, &at) != ERR_OK) {
        r.filter = NULL; /* it compiled before: only memory can be wanting */
        fill_error(m->batch, p, m->job.reply.proto,
                   "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    }
    if (m->filter_at) {
        r.filter_text = m->job.argv[m->filter_at]; /* it may have moved */
    }
    r.vector = m->job.argv[BLOB].data + i * m->dim * sizeof(float);
    if (m->projected) {
        vset_project(v, r.vector, m->projected);
        r.vector = m->projected;
    }
    switch (search_create(v, &r, &s)) {
    case ERR_OK:
        break;
    case ERR_NOT_FINITE:
    case ERR_RANGE:
        fill_error(m->batch, p, m->job.reply.proto,
                   "ERR invalid vector specification");
        return;
    default:
        fill_error(m->batch, p, m->job.reply.proto,
                   "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    }
    m->batch->flying++;
    m->expects = search_expects(s); /* for the next one, which is alike */
    if (search_is_cheap(s)) {
        search_run(s, answered, p);
    } else {
        m->job.env->host->when_gone(p->slot, abandoned, s);
        search_submit(s, answered, p);
    }
}

/* Thousands of large answers are not made before the client has read some. */
static bool should_wait(struct vmsearch_job *m)
{
    const struct cmd_host *host = m->job.env->host;

    if (m->job.slice_end_ns == INT64_MAX) {
        return false; /* inside EXEC */
    }
    if (m->batch->flying >= FLYING_MAX) {
        return true;
    }
    if (host->owed(m->job.client) < OWED_MAX) {
        return false;
    }
    if (m->batch->flying == 0) {
        host->unpark_drained(m->job.client);
    }
    return true;
}

static bool vmsearch_step(struct cmd_job *job)
{
    struct vmsearch_job *m = CONTAINER_OF(job, struct vmsearch_job, job);
    struct entry *e = keyspace_find(job->env->ks, job->db, job->argv[1]);
    struct vset *v = NULL;

    /* A set that was replaced between slices is not the one asked. */
    if (e && e->type == VALUE_VSET && vset_uid(e->value.vset) == m->uid) {
        v = e->value.vset;
    }
    while (m->started < m->n) {
        if (should_wait(m)) {
            cmd_job_park(job);
            return true;
        }
        start_one(m, v, m->started++);
        if (cmd_job_should_yield(job)) {
            return m->started < m->n;
        }
    }
    return false;
}

static void vmsearch_destroy(struct cmd_job *job)
{
    struct vmsearch_job *m = CONTAINER_OF(job, struct vmsearch_job, job);

    if (m->batch) {
        m->batch->job = NULL;
        m->batch->left -= m->n - m->started; /* the client is gone */
        batch_release(m->batch);
    }
    mem_free(m->projected);
    mem_free(m);
}

static bool parse(struct cmd_ctx *ctx, const struct vset *v,
                  struct vmsearch_job *m)
{
    const struct vset_options *o = vset_options(v);
    struct bytes blob = ctx->argv[BLOB];
    struct vsearch_shape sh;
    int64_t n;

    if (!arg_int_in(ctx, 2, 1, QUERIES_MAX, "ERR invalid query count", &n)) {
        return false;
    }
    m->n = (size_t)n;
    if (!arg_is(ctx, 3, "FP32") || blob.len == 0 ||
        blob.len % (m->n * sizeof(float)) != 0) {
        cmd_error(ctx, "ERR invalid vector specification");
        return false;
    }
    m->dim = (uint32_t)(blob.len / (m->n * sizeof(float)));
    if (o->input_dim && m->dim == o->input_dim) {
        m->projected = mem_alloc(o->dim * sizeof(float));
    } else if (m->dim != o->dim) {
        cmd_error_fmt(ctx,
                      "ERR Vector dimension mismatch - got %u but set has %u",
                      m->dim, o->dim);
        return false;
    }
    vsearch_init(&m->request, &sh, ctx);
    if (!vsearch_parse_options(ctx, OPTIONS, &m->request, &sh, &m->filter_at)) {
        return false;
    }
    vsearch_shape_store(&m->request, &sh);
    return true;
}

/* A key that is not there: every query finds nothing. */
static void reply_nothing(struct cmd_ctx *ctx)
{
    int64_t n;

    if (!arg_int_in(ctx, 2, 1, QUERIES_MAX, "ERR invalid query count", &n)) {
        return;
    }
    reply_array(&ctx->reply, (size_t)n);
    while (n-- > 0) {
        reply_array(&ctx->reply, 0);
    }
}

void cmd_vmsearch(struct cmd_ctx *ctx)
{
    struct vmsearch_job *m;
    struct vset *v;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        reply_nothing(ctx);
        return;
    }
    m = cmd_job_alloc(sizeof(*m), vmsearch_step, vmsearch_destroy);
    if (!parse(ctx, v, m)) {
        filter_destroy(m->request.filter);
        vmsearch_destroy(&m->job);
        return;
    }
    /* Checked; each search compiles its own. */
    filter_destroy(m->request.filter);
    m->request.filter = NULL;
    m->uid = vset_uid(v);
    m->batch = mem_calloc(1, sizeof(*m->batch) + m->n * sizeof(struct place));
    m->batch->env = ctx->env;
    m->batch->command = ctx->command;
    m->batch->job = &m->job;
    m->batch->left = m->n + 1;
    reply_array(&ctx->reply, m->n);
    cmd_job_start(ctx, &m->job);
}
