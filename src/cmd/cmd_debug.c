/* DEBUG: what tests need to look inside. Refused unless enable-debug-command
 * allows it; the dispatcher sees to that.
 *
 * Digests read every byte of the data, so they are jobs. A vector set is
 * digested as it was when its turn came (db/value_digest.h); what changes
 * between one key and the next is seen or not, key by key. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "db/string_value.h"
#include "db/value_digest.h"
#include "db/vset/vset.h"

enum { SLOTS_PER_STEP = 64, DIGEST_TEXT = 2 * DIGEST_SHA1 };

/* The loop stops, as clients of a server that hangs would see it. */
void cmd_debug_sleep(struct cmd_ctx *ctx)
{
    struct timespec t;
    double seconds;

    if (!arg_double_over(ctx, 2, -INFINITY, "ERR value is not a valid float",
                         &seconds)) {
        return;
    }
    if (seconds > 0) {
        seconds = seconds < 1e9 ? seconds : 1e9;
        t.tv_sec = (time_t)seconds;
        t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
        nanosleep(&t, NULL);
    }
    reply_status(&ctx->reply, "OK");
}

void cmd_debug_set_active_expire(struct cmd_ctx *ctx)
{
    int64_t on;

    if (arg_int(ctx, 2, &on)) {
        ctx->ks->active_expire = on != 0;
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_debug_reload(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    const char *error;
    uint32_t flags = 0;
    size_t i;

    for (i = 2; i < ctx->argc; i++) {
        if (arg_is(ctx, i, "NOSAVE")) {
            flags |= RELOAD_NOSAVE;
        } else if (arg_is(ctx, i, "NOFLUSH")) {
            flags |= RELOAD_NOFLUSH;
        } else if (arg_is(ctx, i, "MERGE")) {
            flags |= RELOAD_MERGE;
        } else {
            cmd_error(ctx, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH "
                           "and NOSAVE options.");
            return;
        }
    }
    error = host->debug_reload(host->server, flags);
    if (error) {
        cmd_error(ctx, error);
    } else {
        reply_status(&ctx->reply, "OK");
    }
}

/* ---- DEBUG OBJECT ------------------------------------------------------ */

static size_t content_bytes(const struct entry *e)
{
    return e->type == VALUE_VSET ? vset_memory(e->value.vset) : string_len(e);
}

void cmd_debug_object(struct cmd_ctx *ctx)
{
    static const char *const encodings[] = {[ENC_INT] = "int",
                                            [ENC_SHORT] = "embstr",
                                            [ENC_RAW] = "raw",
                                            [ENC_VECTOR] = "raw"};
    const struct entry *e =
        keyspace_find(ctx->ks, ctx->client->db, ctx->argv[2]);
    char line[256];

    if (!e) {
        cmd_error(ctx, "ERR no such key");
        return;
    }
    snprintf(line, sizeof(line),
             "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u "
             "lru_seconds_idle:%u",
             (const void *)e, encodings[e->encoding], content_bytes(e),
             e->accessed_s & 0xffffff, ctx->ks->clock_s - e->accessed_s);
    reply_status(&ctx->reply, line);
}

/* ---- digests ----------------------------------------------------------- */

static void reply_digest(struct reply *r, const struct value_digest *d)
{
    char text[DIGEST_TEXT + 1];
    int i;

    for (i = 0; i < DIGEST_SHA1; i++) {
        snprintf(text + 2 * i, 3, "%02x", d->bytes[i]);
    }
    reply_status(r, text);
}

/* Goes on with a walk until it ends or the slice does; true when it ended. */
static bool walk_on(struct cmd_job *job, struct value_digest_walk *walk)
{
    while (!value_digest_step(walk, SLOTS_PER_STEP)) {
        if (cmd_job_should_yield(job)) {
            return false;
        }
    }
    return true;
}

/* DEBUG DIGEST-VALUE: argv[next] is the key whose turn it is. */
struct values_job {
    struct cmd_job job;
    size_t next;
    bool walking;
    struct value_digest digest;
    struct value_digest_walk walk;
};

static bool values_step(struct cmd_job *job)
{
    struct values_job *v = CONTAINER_OF(job, struct values_job, job);

    if (!v->next) {
        v->next = 2;
        reply_array(&job->reply, job->argc - 2);
    }
    while (v->next < job->argc) {
        if (!v->walking) {
            struct entry *e =
                keyspace_find(job->env->ks, job->db, job->argv[v->next]);

            value_digest_clear(&v->digest);
            if (e) {
                value_digest_begin(&v->walk, job->env->ks, e, &v->digest);
            }
            v->walking = true;
        }
        if (!walk_on(job, &v->walk)) {
            return true;
        }
        reply_digest(&job->reply, &v->digest);
        v->walking = false;
        v->next++;
        if (v->next < job->argc && cmd_job_should_yield(job)) {
            return true;
        }
    }
    return false;
}

static void values_destroy(struct cmd_job *job)
{
    struct values_job *v = CONTAINER_OF(job, struct values_job, job);

    value_digest_cancel(&v->walk);
    mem_free(v);
}

void cmd_debug_digest_value(struct cmd_ctx *ctx)
{
    struct values_job *v =
        cmd_job_alloc(sizeof(*v), values_step, values_destroy);

    cmd_job_start(ctx, &v->job);
}

/* DEBUG DIGEST. The keys of a stretch of the database are copied first, each
 * with its length before it, because what is written between slices may take
 * entries away. */
struct all_job {
    struct cmd_job job;
    int db;
    bool db_begun;
    uint64_t cursor; /* of the scan of db */
    bool scanned;    /* to its end */
    struct buf keys;
    size_t at; /* in keys */
    bool walking;
    struct value_digest all, one;
    struct value_digest_walk walk;
};

enum { KEYS_PER_SCAN = 1024 }; /* a segment of the table */

static void copy_key(void *arg, struct entry *e)
{
    struct buf *keys = arg;
    size_t len = e->key_len;

    buf_append(keys, &len, sizeof(len));
    buf_append_bytes(keys, entry_key(e));
}

static struct bytes next_key(const struct all_job *a)
{
    size_t len;

    memcpy(&len, a->keys.data + a->at, sizeof(len));
    return bytes_of(a->keys.data + a->at + sizeof(len), len);
}

/* Makes sure there is a key to digest; false at the end of all databases. */
static bool find_keys(struct all_job *a)
{
    struct keyspace *ks = a->job.env->ks;

    while (a->at == a->keys.len) {
        if (a->scanned || keyspace_count(ks, a->db) == 0) {
            a->db++;
            a->db_begun = a->scanned = false;
            a->cursor = 0;
        }
        if (a->db >= ks->n_dbs) {
            return false;
        }
        if (keyspace_count(ks, a->db) == 0) {
            continue;
        }
        if (!a->db_begun) {
            value_digest_mix_u32(&a->all, (uint32_t)a->db);
            a->db_begun = true;
        }
        a->keys.len = a->at = 0;
        a->cursor = keyspace_scan(ks, a->db, a->cursor, KEYS_PER_SCAN, copy_key,
                                  &a->keys);
        a->scanned = a->cursor == 0;
    }
    return true;
}

static void begin_key(struct all_job *a)
{
    struct keyspace *ks = a->job.env->ks;
    struct bytes key = next_key(a);
    struct entry *e = keyspace_find(ks, a->db, key);

    value_digest_clear(&a->one);
    if (e) {
        value_digest_mix(&a->one, key);
        value_digest_begin(&a->walk, ks, e, &a->one);
    }
    a->walking = true;
}

static void end_key(struct all_job *a)
{
    /* All zero: the key was gone. */
    if (!value_digest_is_clear(&a->one)) {
        value_digest_xor(&a->all, bytes_of(a->one.bytes, sizeof(a->one.bytes)));
    }
    a->at += sizeof(size_t) + next_key(a).len;
    a->walking = false;
}

static bool all_step(struct cmd_job *job)
{
    struct all_job *a = CONTAINER_OF(job, struct all_job, job);

    while (find_keys(a)) {
        if (!a->walking) {
            begin_key(a);
        }
        if (!walk_on(job, &a->walk)) {
            return true;
        }
        end_key(a);
        if (cmd_job_should_yield(job)) {
            return true;
        }
    }
    reply_digest(&job->reply, &a->all);
    return false;
}

static void all_destroy(struct cmd_job *job)
{
    struct all_job *a = CONTAINER_OF(job, struct all_job, job);

    value_digest_cancel(&a->walk);
    buf_deinit(&a->keys);
    mem_free(a);
}

void cmd_debug_digest(struct cmd_ctx *ctx)
{
    struct all_job *a = cmd_job_alloc(sizeof(*a), all_step, all_destroy);

    cmd_job_start(ctx, &a->job);
}
