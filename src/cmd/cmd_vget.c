/* The reads of a vector set that are no searches: VCARD, VDIM, VEMB,
 * VGETATTR, VISMEMBER, VRANDMEMBER. */
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vset_key.h"
#include "db/vset/vset_view.h"

void cmd_vcard(struct cmd_ctx *ctx)
{
    struct vset *v;

    if (vset_key_read(ctx, &v)) {
        reply_int(&ctx->reply, v ? vset_count(v) : 0);
    }
}

void cmd_vdim(struct cmd_ctx *ctx)
{
    struct vset *v;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        cmd_error(ctx, "ERR key does not exist");
        return;
    }
    reply_int(&ctx->reply, vset_options(v)->dim);
}

/* The set and the slot that argv[1] and argv[2] name; SLOT_NONE when either is
 * not there. False: an error was replied. */
static bool find_element(struct cmd_ctx *ctx, struct vset **v, slot_id *slot)
{
    *slot = SLOT_NONE;
    if (!vset_key_read(ctx, v)) {
        return false;
    }
    if (*v) {
        *slot = vset_find(*v, ctx->argv[2]);
    }
    return true;
}

void cmd_vismember(struct cmd_ctx *ctx)
{
    struct vset *v;
    slot_id slot;

    if (find_element(ctx, &v, &slot)) {
        reply_bool(&ctx->reply, slot != SLOT_NONE);
    }
}

void cmd_vgetattr(struct cmd_ctx *ctx)
{
    struct bytes attribute = BYTES_NONE;
    struct vset *v;
    slot_id slot;

    if (!find_element(ctx, &v, &slot)) {
        return;
    }
    if (slot != SLOT_NONE) {
        attribute = vset_attribute(v, slot);
    }
    if (attribute.len) {
        reply_bulk(&ctx->reply, attribute);
    } else {
        reply_null(&ctx->reply);
    }
}

/* ---- VEMB -------------------------------------------------------------- */

static void reply_raw(struct cmd_ctx *ctx, const struct vset *v, slot_id slot)
{
    const struct vec_format *f = vset_format(v);
    const uint8_t *row = vset_row(v, slot);

    reply_array(&ctx->reply, f->type == VEC_I8 ? 4 : 3);
    reply_status(&ctx->reply, vec_type_name(f->type));
    reply_bulk(&ctx->reply, bytes_of(row, f->code_bytes));
    reply_double(&ctx->reply, (double)vec_norm(f, row));
    if (f->type == VEC_I8) {
        reply_double(&ctx->reply, (double)vec_range(f, row));
    }
}

static void reply_components(struct cmd_ctx *ctx, const struct vset *v,
                             slot_id slot)
{
    const struct vec_format *f = vset_format(v);
    struct buf *work = &ctx->env->vector_scratch;
    float *x;
    uint32_t i;

    work->len = 0;
    x = (float *)(void *)buf_room(work, f->dim * sizeof(float));
    vec_decode(f, vset_row(v, slot), x);
    reply_array(&ctx->reply, f->dim);
    for (i = 0; i < f->dim; i++) {
        reply_double(&ctx->reply, (double)x[i]);
    }
}

void cmd_vemb(struct cmd_ctx *ctx)
{
    struct vset *v;
    slot_id slot;
    size_t i;

    for (i = 3; i < ctx->argc; i++) {
        if (!arg_is(ctx, i, "RAW")) {
            cmd_error(ctx, "ERR invalid option");
            return;
        }
    }
    if (!find_element(ctx, &v, &slot)) {
        return;
    }
    if (slot == SLOT_NONE) {
        reply_null(&ctx->reply);
    } else if (ctx->argc > 3) {
        reply_raw(ctx, v, slot);
    } else {
        reply_components(ctx, v, slot);
    }
}

/* ---- VRANDMEMBER ------------------------------------------------------- */

/* Distinct elements at random: a walk over the set as it was, taking each
 * element with probability wanted / left (Knuth's algorithm S). Without the
 * view an element whose vector is replaced meanwhile might be met twice. */
struct distinct_job {
    struct cmd_job job;
    struct vset_view view;
    uint32_t wanted;
    uint32_t left; /* elements not walked yet */
    uint32_t drawn;
    struct buf names; /* bulk strings, in the reply's format */
};

static bool select_element(void *arg, struct bytes name)
{
    struct distinct_job *d = arg;

    if (rng_below(&d->job.env->ks->rng, d->left--) < d->wanted - d->drawn) {
        struct reply out = {&d->names, d->job.reply.proto};

        reply_bulk(&out, name);
        d->drawn++;
    }
    return d->drawn < d->wanted;
}

static bool distinct_step(struct cmd_job *job)
{
    struct distinct_job *d = CONTAINER_OF(job, struct distinct_job, job);

    while (vset_view_walk(&d->view, 4096, select_element, d)) {
        if (cmd_job_should_yield(job)) {
            return true;
        }
    }
    reply_array(&job->reply, d->drawn);
    buf_append_bytes(&job->out, buf_bytes(&d->names));
    return false;
}

static void distinct_destroy(struct cmd_job *job)
{
    struct distinct_job *d = CONTAINER_OF(job, struct distinct_job, job);

    vset_view_close(&d->view);
    buf_deinit(&d->names);
    mem_free(d);
}

static void random_distinct(struct cmd_ctx *ctx, const struct vset *v,
                            int64_t count)
{
    struct distinct_job *d =
        cmd_job_alloc(sizeof(*d), distinct_step, distinct_destroy);

    vset_view_open(&d->view, v);
    d->left = vset_view_count(&d->view);
    d->wanted = count < d->left ? (uint32_t)count : d->left;
    cmd_job_start(ctx, &d->job);
}

/* As many draws as asked for, each from the set as it is then. */
struct draws_job {
    struct cmd_job job;
    int64_t wanted;
    int64_t drawn;
    uint64_t uid;     /* of the set when it began */
    struct buf names; /* bulk strings, in the reply's format */
};

enum { DRAWS_FREE = 1 << 20, DRAWS_MAX = 512 << 20 }; /* bytes of answer */

/* The number is the client's whim, not bounded by the set. */
static bool draws_too_many(const struct draws_job *d)
{
    return d->names.len > DRAWS_MAX ||
           (d->names.len > DRAWS_FREE && !mem_has_room(0));
}

static bool draws_step(struct cmd_job *job)
{
    struct draws_job *d = CONTAINER_OF(job, struct draws_job, job);
    struct entry *e = keyspace_find(job->env->ks, job->db, job->argv[1]);
    struct reply out = {&d->names, job->reply.proto};

    /* A set that was emptied, dropped or replaced between slices ends it. */
    while (d->drawn < d->wanted && e && e->type == VALUE_VSET &&
           vset_uid(e->value.vset) == d->uid && vset_count(e->value.vset) > 0) {
        struct vset *v = e->value.vset;
        int i;

        for (i = 0; i < 256 && d->drawn < d->wanted; i++, d->drawn++) {
            reply_bulk(&out, vset_name(v, vset_random(v)));
            if (UNLIKELY(draws_too_many(d))) {
                cmd_job_error(job, "ERR COUNT asks for too large an answer");
                return false;
            }
        }
        if (cmd_job_should_yield(job)) {
            return true;
        }
    }
    reply_array(&job->reply, (size_t)d->drawn);
    buf_append_bytes(&job->out, buf_bytes(&d->names));
    return false;
}

static void draws_destroy(struct cmd_job *job)
{
    struct draws_job *d = CONTAINER_OF(job, struct draws_job, job);

    buf_deinit(&d->names);
    mem_free(d);
}

static void random_draws(struct cmd_ctx *ctx, const struct vset *v,
                         int64_t wanted)
{
    struct draws_job *d = cmd_job_alloc(sizeof(*d), draws_step, draws_destroy);

    d->uid = vset_uid(v);
    d->wanted = wanted;
    cmd_job_start(ctx, &d->job);
}

void cmd_vrandmember(struct cmd_ctx *ctx)
{
    int64_t count = 0;
    struct vset *v;

    if (ctx->argc > 3) {
        cmd_error_arity(ctx);
        return;
    }
    if (ctx->argc == 3) {
        if (!arg_int_in(ctx, 2, -INT64_MAX, INT64_MAX,
                        "ERR COUNT value is not an integer", &count)) {
            return;
        }
        if (count == 0) {
            reply_array(&ctx->reply, 0);
            return;
        }
    }
    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v || vset_count(v) == 0) {
        if (ctx->argc == 3) {
            reply_array(&ctx->reply, 0);
        } else {
            reply_null(&ctx->reply);
        }
    } else if (count > 0) {
        random_distinct(ctx, v, count);
    } else if (count < 0) {
        random_draws(ctx, v, -count);
    } else {
        reply_bulk(&ctx->reply, vset_name(v, vset_random(v)));
    }
}
