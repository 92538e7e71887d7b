/* VRECALL key [K n] [SAMPLES n] [EF n | NPROBE n]: how good and how fast the
 * set's searches are, measured on its own elements. A job that is parked while
 * the workers search. */
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vsearch.h"
#include "cmd/vset_key.h"
#include "db/search/recall.h"

enum {
    SAMPLES_DEFAULT = 100,
    SAMPLES_MAX = 100000,
    K_MAX = 10000,
    EF_DEFAULT = 100, /* as a search without EF has it */
};

struct vrecall_job {
    struct cmd_job job;
    struct recall_request request;
    struct recall_result result;
    struct recall *recall; /* under way */
    bool is_begun, is_done;
};

static void measured(const struct recall_result *result, void *arg)
{
    struct vrecall_job *j = arg;

    j->result = *result;
    j->is_done = true;
    j->recall = NULL;
    cmd_job_unpark(&j->job);
}

static void field_int(struct reply *r, const char *name, int64_t n)
{
    reply_bulk_str(r, name);
    reply_int(r, n);
}

static void write_result(struct vrecall_job *j)
{
    struct reply *r = &j->job.reply;

    reply_map(r, 7);
    field_int(r, "samples", j->result.samples);
    field_int(r, "k", j->request.k);
    field_int(r, j->request.probes ? "nprobe" : "ef", j->request.efs[0]);
    reply_bulk_str(r, "recall");
    reply_double(r, j->result.samples ? j->result.recall[0] : 1);
    field_int(r, "p50-us", j->result.p50);
    field_int(r, "p99-us", j->result.p99);
    field_int(r, "exact-us", j->result.exact);
}

/* True when the answer is to come. */
static bool begin(struct vrecall_job *j)
{
    struct cmd_job *job = &j->job;
    struct entry *e = keyspace_find(job->env->ks, job->db, job->argv[1]);
    struct recall *r;

    j->is_begun = true;
    if (!e || e->type != VALUE_VSET) {
        j->is_done = true;
        return true;
    }
    if (job->slice_end_ns == INT64_MAX) {
        return recall_run(e->value.vset, &j->request, measured, j) == ERR_OK;
    }
    r = recall_begin(e->value.vset, &j->request, measured, j);
    j->recall = j->is_done ? NULL : r;
    return r != NULL;
}

static bool vrecall_step(struct cmd_job *job)
{
    struct vrecall_job *j = CONTAINER_OF(job, struct vrecall_job, job);

    if (!j->is_begun && !begin(j)) {
        cmd_job_error(job, "OOM command not allowed when used memory > "
                           "'maxmemory'.");
        return false;
    }
    if (!j->is_done) {
        cmd_job_park(job);
        return true;
    }
    write_result(j);
    return false;
}

static void vrecall_destroy(struct cmd_job *job)
{
    struct vrecall_job *j = CONTAINER_OF(job, struct vrecall_job, job);

    if (j->recall) {
        recall_cancel(j->recall);
    }
    mem_free(j);
}

static bool number(struct cmd_ctx *ctx, size_t at, const char *error,
                   int64_t max, uint32_t *out)
{
    int64_t n;

    if (!arg_int_in(ctx, at, 1, max, error, &n)) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

static bool parse(struct cmd_ctx *ctx, struct recall_request *q)
{
    size_t at;

    for (at = 2; at < ctx->argc; at += 2) {
        bool more = at + 1 < ctx->argc;

        if (arg_is(ctx, at, "K") && more) {
            if (!number(ctx, at + 1, "ERR invalid K", K_MAX, &q->k)) {
                return false;
            }
        } else if (arg_is(ctx, at, "SAMPLES") && more) {
            if (!number(ctx, at + 1, "ERR invalid SAMPLES", SAMPLES_MAX,
                        &q->samples)) {
                return false;
            }
        } else if (arg_is(ctx, at, "EF") && more) {
            if (!number(ctx, at + 1, "ERR invalid EF", VSEARCH_EF_MAX,
                        &q->efs[0])) {
                return false;
            }
            q->probes = false;
        } else if (arg_is(ctx, at, "NPROBE") && more) {
            if (!number(ctx, at + 1, "ERR invalid NPROBE", VSEARCH_NPROBE_MAX,
                        &q->efs[0])) {
                return false;
            }
            q->probes = true;
        } else {
            cmd_error(ctx, "ERR syntax error in VRECALL command");
            return false;
        }
    }
    return true;
}

void cmd_vrecall(struct cmd_ctx *ctx)
{
    struct recall_request q = {.samples = SAMPLES_DEFAULT,
                               .k = VSEARCH_K_DEFAULT,
                               .n_efs = 1,
                               .efs = {EF_DEFAULT}};
    struct vrecall_job *j;
    struct vset *v;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        cmd_error(ctx, "ERR key does not exist");
        return;
    }
    if (!parse(ctx, &q)) {
        return;
    }
    j = cmd_job_alloc(sizeof(*j), vrecall_step, vrecall_destroy);
    j->request = q;
    cmd_job_start(ctx, &j->job);
}
