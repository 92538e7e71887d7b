/* Values on their own: DUMP, RESTORE, COPY.
 *
 * What DUMP and COPY take from a large set is written in turns with the loop
 * (dump_turns.h). What RESTORE and COPY bring is read beside the loop when it
 * is large: by a thread that takes turns with it (base/baton.h), into a
 * database that is nobody's, so that whatever else happens meanwhile has
 * nothing to do with it. */

#include "base/baton.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/dump_turns.h"
#include "cmd/propagate.h"
#include "db/dump.h"
#include "db/vset/vset.h"

enum {
    READ_AT_ONCE = 128 << 10, /* bytes of a payload */
    SUM_AT_ONCE = 128 << 10,
};

/* ---- DUMP -------------------------------------------------------------- */

struct dump_job {
    struct cmd_job job;
    struct dump_turns dump;
};

static void out_of_memory(struct cmd_job *job)
{
    cmd_job_error(job, "OOM command not allowed when used memory > "
                       "'maxmemory'.");
}

static bool dump_step(struct cmd_job *job)
{
    struct dump_job *j = CONTAINER_OF(job, struct dump_job, job);

    if (dump_turns_step(&j->dump) != DUMP_DONE) {
        return true;
    }
    if (j->dump.err == ERR_NOT_FOUND) {
        reply_null(&job->reply);
    } else if (j->dump.err) {
        out_of_memory(job);
    }
    return false;
}

static void dump_destroy(struct cmd_job *job)
{
    struct dump_job *j = CONTAINER_OF(job, struct dump_job, job);

    dump_turns_end(&j->dump);
    mem_free(j);
}

void cmd_dump(struct cmd_ctx *ctx)
{
    struct dump_job *j = cmd_job_alloc(sizeof(*j), dump_step, dump_destroy);

    dump_turns_begin(&j->dump, &j->job, ctx->client->db, 1);
    j->dump.to = &j->job.out;
    cmd_job_start(ctx, &j->job);
}

/* ---- values that arrive ------------------------------------------------ */

struct arrival {
    struct cmd_job job;
    bool is_copy;
    int db;                 /* where it is to go */
    size_t key_at;          /* among the arguments */
    struct dump_turns dump; /* of what is copied */
    bool has_copy;
    struct buf copied; /* RESTORE has it as an argument */
    int64_t ttl;       /* 0: none */
    int64_t idle_s;
    bool replace, absolute, has_idle, has_freq;
    time_ms expires_at;
    /* being read */
    struct dump_check check;
    bool is_checked, begun, in_turns;
    bool stop; /* nobody waits for it */
    struct baton *baton;
    struct database stage;
    struct value value;
    enum err err;
    struct err_ctx why;
    bool has_value;
};

static struct bytes payload_of(const struct arrival *a)
{
    return a->is_copy ? buf_bytes(&a->copied) : a->job.argv[3];
}

static bool is_stopped(void *arg)
{
    struct arrival *a = arg;

    if (a->baton) {
        baton_yield_if_due(a->baton);
    }
    return a->stop;
}

static void read_value(struct arrival *a)
{
    struct dump_reader reader = {
        .payload = payload_of(a), .stop = is_stopped, .stop_arg = a};

    a->stage.keyspace = a->job.env->ks;
    a->err = dump_read(&reader, a->job.env->ks, &a->stage, &a->value, &a->why);
    a->has_value = a->err == ERR_OK;
}

static void read_in_turns(struct baton *b, void *arg)
{
    struct arrival *a = arg;

    (void)b;
    read_value(a);
}

/* True when it has been read. */
static bool go_on_reading(struct arrival *a)
{
    struct cmd_job *job = &a->job;

    if (!a->begun) {
        a->begun = true;
        if (job->slice_end_ns != INT64_MAX && !job->env->is_loading &&
            payload_of(a).len > READ_AT_ONCE) {
            return false; /* the arguments stay where they are from now on */
        }
        read_value(a);
        return true;
    }
    if (!a->in_turns) {
        if (baton_start(&a->baton, "vectra-read", read_in_turns, a) != ERR_OK) {
            a->baton = NULL;
            read_value(a);
            return true;
        }
        a->in_turns = true;
    }
    if (baton_run(a->baton, JOB_SLICE_US)) {
        return false;
    }
    baton_join(a->baton);
    a->baton = NULL;
    return true;
}

static void discard(struct arrival *a)
{
    if (a->has_value) {
        a->has_value = false;
        value_discard(a->job.env->ks, &a->value);
    }
}

/* Puts the value under its key, in the place of what is there. */
static enum err put_value(struct arrival *a, struct bytes key)
{
    struct keyspace *ks = a->job.env->ks;
    bool added;
    struct entry *e = keyspace_write_or_add(ks, a->db, key, &added);

    if (!e) {
        return ERR_NOMEM;
    }
    if (keyspace_set_expiry(ks, a->db, e, a->expires_at) != ERR_OK) {
        if (added) {
            keyspace_delete(ks, a->db, e);
        }
        return ERR_NOMEM;
    }
    if (a->value.type == VALUE_VSET) {
        vset_moved(a->value.as.vset, ks->dbs[a->db]);
    }
    value_adopt(ks, e, &a->value);
    a->has_value = false;
    if (a->has_idle) {
        e->accessed_s =
            ks->clock_s -
            (uint32_t)(a->idle_s < INT32_MAX ? a->idle_s : INT32_MAX);
    }
    return ERR_OK;
}

/* A copy that took its time is not a copy of what is there now. */
static void propagate_copy(const struct arrival *a)
{
    const struct cmd_job *job = &a->job;
    char text[NUM_TEXT_MAX];
    size_t len =
        num_format_i64(a->expires_at == NO_EXPIRY ? 0 : a->expires_at, text);
    struct bytes argv[] = {
        bytes_str("RESTORE"), job->argv[a->key_at], bytes_of(text, len),
        payload_of(a),        bytes_str("ABSTTL"),  bytes_str("REPLACE"),
    };

    if (a->in_turns) {
        propagate_append(job->env, a->db, argv, ARRAY_LEN(argv));
    } else {
        propagate_append(job->env, job->db, job->argv, job->argc);
    }
}

/* The stream gets the time at which it expires, not how long that is. */
static void propagate_restore(const struct arrival *a)
{
    enum { ARGS_MAX = 64 };
    const struct cmd_job *job = &a->job;
    struct bytes argv[ARGS_MAX];
    char text[NUM_TEXT_MAX];
    size_t i, n = 0;

    for (i = 0; i < 4; i++) {
        argv[n++] = job->argv[i];
    }
    argv[2] = bytes_of(text, num_format_i64(a->ttl ? a->expires_at : 0, text));
    argv[n++] = bytes_str("ABSTTL");
    if (a->replace) {
        argv[n++] = bytes_str("REPLACE");
    }
    propagate_append(job->env, a->db, argv, n);
}

static void propagate(const struct arrival *a)
{
    if (propagate_is_on(&a->job.env->stream)) {
        if (a->is_copy) {
            propagate_copy(a);
        } else {
            propagate_restore(a);
        }
    }
}

/* It had expired before it came: what was there goes all the same. */
static void arrive_late(struct arrival *a, struct bytes key, struct entry *old)
{
    struct cmd_env *env = a->job.env;
    struct bytes argv[] = {bytes_str("DEL"), key};

    if (old) {
        keyspace_delete(env->ks, a->db, old);
        keyspace_changed(env->ks, a->db, key);
        if (propagate_is_on(&env->stream)) {
            propagate_append(env, a->db, argv, ARRAY_LEN(argv));
        }
    }
    reply_status(&a->job.reply, "OK");
}

static void arrive(struct arrival *a)
{
    struct cmd_job *job = &a->job;
    struct keyspace *ks = job->env->ks;
    struct bytes key = job->argv[a->key_at];
    struct entry *old = keyspace_write(ks, a->db, key);

    if (old && !a->replace) {
        if (a->is_copy) {
            reply_int(&job->reply, 0);
        } else {
            cmd_job_error(job, "BUSYKEY Target key name already exists.");
        }
        return;
    }
    if (!a->is_copy && a->ttl && keyspace_is_past(ks, a->expires_at)) {
        arrive_late(a, key, old);
        return;
    }
    if (put_value(a, key) != ERR_OK) {
        out_of_memory(job);
        return;
    }
    propagate(a);
    keyspace_changed(ks, a->db, key);
    if (a->is_copy) {
        reply_int(&job->reply, 1);
    } else {
        reply_status(&job->reply, "OK");
    }
}

/* Whether there is a copy, after a slice of making it. */
static enum dump_step go_on_copying(struct arrival *a)
{
    enum dump_step step = dump_turns_step(&a->dump);

    if (step == DUMP_DONE) {
        a->has_copy = a->dump.err == ERR_OK;
        a->copied = a->dump.out;
        a->dump.out = BUF_INIT;
        a->expires_at = a->dump.expires_at;
    }
    return step;
}

/* A slice of summing up what came; true when there is more. The argument may
 * move between two of them. */
static bool go_on_checking(struct arrival *a)
{
    bool more;

    a->check.payload = payload_of(a);
    do {
        more = dump_check_step(&a->check, SUM_AT_ONCE);
    } while (more && !cmd_job_should_yield(&a->job));
    a->is_checked = !more;
    return more;
}

static bool arrival_step(struct cmd_job *job)
{
    struct arrival *a = CONTAINER_OF(job, struct arrival, job);

    if (a->is_copy && !a->has_copy) {
        if (go_on_copying(a) != DUMP_DONE) {
            return true;
        }
        if (a->dump.err == ERR_NOT_FOUND) {
            reply_int(&job->reply, 0);
            return false;
        }
        if (a->dump.err) {
            out_of_memory(job);
            return false;
        }
    }
    if (!a->is_copy && !a->is_checked) {
        if (go_on_checking(a)) {
            return true;
        }
        if (!a->check.intact) {
            cmd_job_error(job,
                          "ERR DUMP payload version or checksum are wrong");
            return false;
        }
    }
    if (!go_on_reading(a)) {
        return true;
    }
    if (a->has_value) {
        arrive(a);
    } else if (a->err == ERR_NOMEM) {
        out_of_memory(job);
    } else {
        LOG_NOTE(DB, "RESTORE refused", "why=\"%s\"", a->why.text);
        cmd_job_error(job, "ERR Bad data format");
    }
    return false;
}

static void arrival_destroy(struct cmd_job *job)
{
    struct arrival *a = CONTAINER_OF(job, struct arrival, job);

    if (a->baton) {
        a->stop = true;
        baton_cancel(a->baton);
        baton_join(a->baton);
        a->baton = NULL;
    }
    discard(a);
    dump_turns_end(&a->dump);
    buf_deinit(&a->copied);
    mem_free(a);
}

static struct arrival *arrival_create(struct cmd_ctx *ctx, size_t key_at)
{
    struct arrival *a =
        cmd_job_alloc(sizeof(*a), arrival_step, arrival_destroy);

    a->key_at = key_at;
    a->db = ctx->client->db;
    a->expires_at = NO_EXPIRY;
    return a;
}

/* ---- RESTORE ----------------------------------------------------------- */

static bool parse_restore(struct cmd_ctx *ctx, struct arrival *r)
{
    int64_t freq;
    size_t i;

    for (i = 4; i < ctx->argc; i++) {
        bool more = i + 1 < ctx->argc;

        if (arg_is(ctx, i, "REPLACE")) {
            r->replace = true;
        } else if (arg_is(ctx, i, "ABSTTL")) {
            r->absolute = true;
        } else if (arg_is(ctx, i, "IDLETIME") && more && !r->has_freq) {
            if (!arg_int(ctx, ++i, &r->idle_s) ||
                !arg_int_in(ctx, i, 0, INT64_MAX,
                            "ERR Invalid IDLETIME value, must be >= 0",
                            &r->idle_s)) {
                return false;
            }
            r->has_idle = true;
        } else if (arg_is(ctx, i, "FREQ") && more && !r->has_idle) {
            if (!arg_int(ctx, ++i, &freq) ||
                !arg_int_in(ctx, i, 0, 255,
                            "ERR Invalid FREQ value, must be >= 0 and <= 255",
                            &freq)) {
                return false;
            }
            r->has_freq = true; /* eviction does not go by it */
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

/* What is wrong with the arguments, in Redis's order. */
static bool check_restore(struct cmd_ctx *ctx, struct arrival *a)
{
    if (!parse_restore(ctx, a)) {
        return false;
    }
    if (!a->replace && keyspace_write(ctx->ks, a->db, ctx->argv[1])) {
        cmd_error(ctx, "BUSYKEY Target key name already exists.");
        return false;
    }
    if (!arg_int(ctx, 2, &a->ttl)) {
        return false;
    }
    if (a->ttl < 0) {
        cmd_error(ctx, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    return true;
}

void cmd_restore(struct cmd_ctx *ctx)
{
    struct arrival *a = arrival_create(ctx, 1);

    if (!check_restore(ctx, a)) {
        mem_free(a);
        return;
    }
    if (a->ttl) {
        int64_t most = INT64_MAX - ctx->ks->now;

        a->expires_at = a->absolute     ? a->ttl
                        : a->ttl < most ? ctx->ks->now + a->ttl
                                        : INT64_MAX;
    }
    cmd_propagate_none(ctx); /* what comes of it is propagated */
    cmd_job_start(ctx, &a->job);
}

/* ---- COPY -------------------------------------------------------------- */

static bool parse_copy(struct cmd_ctx *ctx, int *to, bool *replace)
{
    size_t i;

    *to = ctx->client->db;
    *replace = false;
    for (i = 3; i < ctx->argc; i++) {
        if (arg_is(ctx, i, "REPLACE")) {
            *replace = true;
        } else if (arg_is(ctx, i, "DB") && i + 1 < ctx->argc) {
            if (!arg_db(ctx, ++i, to)) {
                return false;
            }
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

void cmd_copy(struct cmd_ctx *ctx)
{
    struct bytes from = ctx->argv[1], to = ctx->argv[2];
    int db = ctx->client->db, to_db;
    struct arrival *a;
    bool replace;

    if (!parse_copy(ctx, &to_db, &replace)) {
        return;
    }
    if (db == to_db && bytes_equal(from, to)) {
        cmd_error(ctx, "ERR source and destination objects are the same");
        return;
    }
    if (!keyspace_read(ctx->ks, db, from) ||
        (keyspace_write(ctx->ks, to_db, to) && !replace)) {
        reply_int(&ctx->reply, 0);
        return;
    }
    a = arrival_create(ctx, 2);
    a->is_copy = true;
    a->db = to_db;
    a->replace = replace;
    dump_turns_begin(&a->dump, &a->job, db, 1);
    cmd_propagate_none(ctx);
    cmd_job_start(ctx, &a->job);
}
