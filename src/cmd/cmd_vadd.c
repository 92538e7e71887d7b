/* VADD, VREM, VSETATTR: the writes of Redis's family. The order of checks and
 * the texts of errors are Redis's. So is what a WATCH notices: every one of
 * them that came as far as opening its key, also when nothing changed, the key
 * was not there, or the command failed. */
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/vector_arg.h"
#include "cmd/vset_key.h"

struct vadd {
    struct vector_arg vector;
    struct vset_element element;
    enum vec_type type;
    bool type_given;
    int64_t m;
    bool m_given;
    int64_t ef; /* 0: not given */
    bool has_cas;
    bool is_stored; /* ROW: what the set is to store; see propagate_stored() */
    struct bytes stored;
};

/* The options after the element; replies an error and returns false. */
static bool parse_options(struct cmd_ctx *ctx, size_t at, struct vadd *a)
{
    for (; at < ctx->argc; at++) {
        bool more = at + 1 < ctx->argc;

        if (arg_is(ctx, at, "CAS")) {
            /* Adding is an append and never runs in the background. */
            a->has_cas = true;
        } else if (arg_is(ctx, at, "NOQUANT")) {
            a->type = VEC_F32;
            a->type_given = true;
        } else if (arg_is(ctx, at, "Q8")) {
            a->type = VEC_I8;
            a->type_given = true;
        } else if (arg_is(ctx, at, "BIN")) {
            a->type = VEC_BIT;
            a->type_given = true;
        } else if (arg_is(ctx, at, "EF") && more) {
            if (!arg_int_in(ctx, ++at, 1, VSET_EF_MAX, "ERR invalid EF",
                            &a->ef)) {
                return false;
            }
        } else if (arg_is(ctx, at, "M") && more) {
            if (!arg_int_in(ctx, ++at, VSET_M_MIN, VSET_M_MAX, "ERR invalid M",
                            &a->m)) {
                return false;
            }
            a->m_given = true;
        } else if (arg_is(ctx, at, "SETATTR") && more) {
            a->element.attribute = ctx->argv[++at];
            a->element.has_attribute = true;
        } else {
            cmd_error(ctx, "ERR invalid option after element");
            return false;
        }
    }
    return true;
}

static bool parse(struct cmd_ctx *ctx, struct vadd *a)
{
    size_t at = 2;

    *a = (struct vadd){.type = VEC_I8, .m = VSET_M_DEFAULT};
    if (arg_is(ctx, at, "ROW")) {
        a->is_stored = true;
        a->stored = ctx->argv[at + 1];
        at += 2;
    } else if (!vector_arg_parse(ctx, &at, true, &a->vector)) {
        cmd_error(ctx, "ERR invalid vector specification");
        return false;
    }
    if (at >= ctx->argc) {
        cmd_error_arity(ctx);
        return false;
    }
    a->element.name = ctx->argv[at++];
    a->element.vector = a->vector.data;
    return parse_options(ctx, at, a);
}

/* A row says nothing of what it is a row of. */
static bool check_stored(struct cmd_ctx *ctx, const struct vset *v,
                         struct vadd *a)
{
    if (!v || !vset_element_stored(v, a->stored, &a->element)) {
        cmd_error(ctx, "ERR invalid vector specification");
        return false;
    }
    return true;
}

/* What shapes a set is asked for with every element, as in Redis: what is left
 * out asks for the default. Sets that VCREATE made or VTRAIN shaped may be what
 * VADD has no words for, and what is in the log was let in: there, words are
 * compared when they are given. */
static bool defaults_count(const struct cmd_ctx *ctx,
                           const struct vset_options *o)
{
    return !o->keep_empty && o->index == VSET_INDEX_AUTO &&
           !keyspace_is_replayed(ctx->ks);
}

/* Whether an element fits a set that is there. */
static bool check_shape(struct cmd_ctx *ctx, const struct vset *v,
                        struct vadd *a)
{
    const struct vset_options *o = vset_options(v);
    uint32_t dim = a->vector.dim;
    uint32_t reduce = a->vector.reduce;
    bool all;

    if (UNLIKELY(a->is_stored)) {
        return check_stored(ctx, v, a);
    }
    all = defaults_count(ctx, o);
    if ((all || a->type_given) && a->type != o->type) {
        cmd_error(ctx, "ERR asked quantization mismatch with existing vector "
                       "set");
        return false;
    }
    if ((all || a->m_given) && a->m != o->m) {
        cmd_error(ctx, "ERR asked M value mismatch with existing vector set");
        return false;
    }
    if (!all && !reduce && o->input_dim && dim == o->input_dim) {
        reduce = o->dim;
    }
    if (o->input_dim ? reduce != o->dim : dim != o->dim) {
        cmd_error_fmt(ctx,
                      "ERR Vector dimension mismatch - got %u but set has %u",
                      dim, o->dim);
        return false;
    }
    if (reduce && !o->input_dim) {
        cmd_error(ctx, "ERR cannot add projection to existing set without "
                       "projection");
        return false;
    }
    if (reduce && dim != o->input_dim) {
        cmd_error_fmt(ctx,
                      "ERR Input dimension mismatch for projection - got %u "
                      "but projection expects %u",
                      dim, o->input_dim);
        return false;
    }
    a->element.projected = reduce != 0;
    return true;
}

static struct entry *create_set(struct cmd_ctx *ctx, struct vadd *a)
{
    struct vset_options o = {
        .type = a->type,
        .metric = VEC_COSINE,
        .dim = a->vector.reduce ? a->vector.reduce : a->vector.dim,
        .input_dim = a->vector.reduce ? a->vector.dim : 0,
        .m = (uint32_t)a->m,
        .ef = (uint32_t)a->ef,
    };

    a->element.projected = o.input_dim != 0;
    return vset_key_create(ctx->ks, ctx->client->db, ctx->argv[1], &o);
}

static struct bytes number(int64_t n, char text[NUM_TEXT_MAX])
{
    return bytes_of(text, num_format_i64(n, text));
}

/* What is stored of the vector, where that is shorter than the vector: a third
 * of it for Q8. The log is written with fewer bytes and read without
 * quantising. */
static bool propagate_stored(struct cmd_ctx *ctx, const struct vadd *a,
                             const struct vset *v, slot_id slot)
{
    enum { ARGS_MAX = 7 };
    struct buf *stored = &ctx->env->vector_scratch;
    struct bytes argv[ARGS_MAX];
    size_t n = 0;

    if (a->is_stored || vset_stored_bytes(v) >= a->vector.dim * sizeof(float)) {
        return false;
    }
    stored->len = 0;
    vset_stored(v, slot, stored);
    argv[n++] = bytes_str("VADD");
    argv[n++] = ctx->argv[1];
    argv[n++] = bytes_str("ROW");
    argv[n++] = buf_bytes(stored);
    argv[n++] = a->element.name;
    if (a->element.has_attribute) {
        argv[n++] = bytes_str("SETATTR");
        argv[n++] = a->element.attribute;
    }
    cmd_propagate_as(ctx, ctx->client->db, argv, n);
    return true;
}

/* The command that made a set tells its shape: its vector goes along. A blob as
 * it came; VALUES become one, and CAS is left out: Redis 8.0 cannot load it. */
static void propagate_whole(struct cmd_ctx *ctx, const struct vadd *a)
{
    enum { ARGS_MAX = 14 };
    static const char *const words[VEC_TYPE_COUNT] = {
        [VEC_F32] = "NOQUANT", [VEC_I8] = "Q8", [VEC_BIT] = "BIN"};
    char reduce[NUM_TEXT_MAX], ef[NUM_TEXT_MAX], m[NUM_TEXT_MAX];
    struct bytes argv[ARGS_MAX];
    size_t n = 0;

    if (a->is_stored || (a->vector.is_blob && !a->has_cas)) {
        return;
    }
    argv[n++] = ctx->argv[0];
    argv[n++] = ctx->argv[1];
    if (a->vector.reduce) {
        argv[n++] = bytes_str("REDUCE");
        argv[n++] = number(a->vector.reduce, reduce);
    }
    argv[n++] = bytes_str("FP32");
    argv[n++] = bytes_of(a->vector.data, a->vector.dim * sizeof(float));
    argv[n++] = a->element.name;
    if (a->type_given) {
        argv[n++] = bytes_str(words[a->type]);
    }
    if (a->ef) {
        argv[n++] = bytes_str("EF");
        argv[n++] = number(a->ef, ef);
    }
    if (a->m_given) {
        argv[n++] = bytes_str("M");
        argv[n++] = number(a->m, m);
    }
    if (a->element.has_attribute) {
        argv[n++] = bytes_str("SETATTR");
        argv[n++] = a->element.attribute;
    }
    cmd_propagate_as(ctx, ctx->client->db, argv, n);
}

void cmd_vadd(struct cmd_ctx *ctx)
{
    struct vadd a;
    struct entry *e;
    bool added = false;
    bool created;
    slot_id slot;
    enum err err;

    if (!parse(ctx, &a) || !vset_key_write(ctx, &e)) {
        return;
    }
    if (!e && a.is_stored) {
        (void)check_stored(ctx, NULL, &a);
        return;
    }
    if (e && !check_shape(ctx, e->value.vset, &a)) {
        keyspace_touched(ctx->ks, ctx->client->db, ctx->argv[1]);
        return;
    }
    created = !e;
    if (created) {
        e = create_set(ctx, &a);
        if (!e) {
            cmd_error_oom(ctx);
            return;
        }
    }
    err = vset_put(e->value.vset, &a.element, &added, &slot);
    if (UNLIKELY(err)) {
        if (created) {
            keyspace_delete(ctx->ks, ctx->client->db, e);
        }
        vset_key_error(ctx, err);
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    if (propagate_is_on(&ctx->env->stream) &&
        (created || !propagate_stored(ctx, &a, e->value.vset, slot))) {
        propagate_whole(ctx, &a);
    }
    reply_bool(&ctx->reply, added);
}

void cmd_vrem(struct cmd_ctx *ctx)
{
    struct entry *e;
    bool removed = false;
    enum err err;

    if (!vset_key_write(ctx, &e)) {
        return;
    }
    if (!e) {
        keyspace_touched(ctx->ks, ctx->client->db, ctx->argv[1]);
        reply_bool(&ctx->reply, false);
        return;
    }
    err = vset_remove(e->value.vset, ctx->argv[2], &removed);
    if (err) {
        vset_key_error(ctx, err);
        return;
    }
    reply_bool(&ctx->reply, removed);
    if (removed) {
        keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
        vset_key_drop_if_empty(ctx->ks, ctx->client->db, e);
    } else {
        keyspace_touched(ctx->ks, ctx->client->db, ctx->argv[1]);
    }
}

void cmd_vsetattr(struct cmd_ctx *ctx)
{
    struct entry *e;
    slot_id slot;
    enum err err;

    if (!vset_key_write(ctx, &e)) {
        return;
    }
    slot = e ? vset_find(e->value.vset, ctx->argv[2]) : SLOT_NONE;
    if (slot == SLOT_NONE) {
        keyspace_touched(ctx->ks, ctx->client->db, ctx->argv[1]);
        reply_bool(&ctx->reply, false);
        return;
    }
    err = vset_set_attribute(e->value.vset, slot, ctx->argv[3]);
    if (err) {
        vset_key_error(ctx, err);
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    reply_bool(&ctx->reply, true);
}
