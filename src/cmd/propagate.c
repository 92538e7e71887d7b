#include "cmd/propagate.h"

#include "base/mem.h"
#include "base/num.h"
#include "cmd/cmd.h"

enum { KEEP_BYTES = 1 << 20 }; /* of the buffer, between turns */

/* ---- bytes ------------------------------------------------------------- */

static uint8_t *put_number(uint8_t *at, char type, size_t n)
{
    *at++ = (uint8_t)type;
    if (LIKELY(n < 10)) {
        *at++ = (uint8_t)('0' + n);
    } else {
        at += num_format_u64(n, (char *)at);
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static void append(struct cmd_stream *s, const struct bytes *argv, size_t argc)
{
    enum { HEAD = NUM_TEXT_MAX + 3, TAIL = 2 };
    size_t room = HEAD;
    uint8_t *begin, *at;
    size_t i;

    for (i = 0; i < argc; i++) {
        room += HEAD + argv[i].len + TAIL;
    }
    begin = at = buf_room(&s->out, room);
    at = put_number(at, '*', argc);
    for (i = 0; i < argc; i++) {
        at = put_number(at, '$', argv[i].len);
        if (LIKELY(argv[i].len)) {
            memcpy(at, argv[i].data, argv[i].len);
            at += argv[i].len;
        }
        *at++ = '\r';
        *at++ = '\n';
    }
    s->out.len += (size_t)(at - begin);
    s->lsn += (size_t)(at - begin);
}

static void append_word(struct cmd_stream *s, const char *word)
{
    struct bytes argv = bytes_str(word);

    append(s, &argv, 1);
}

static void select_db(struct cmd_stream *s, int db)
{
    char digits[NUM_TEXT_MAX];
    struct bytes argv[] = {bytes_str("SELECT"),
                           bytes_of(digits, num_format_i64(db, digits))};

    append(s, argv, ARRAY_LEN(argv));
    s->db = db;
}

/* ---- the stream -------------------------------------------------------- */

void propagate_start(struct cmd_env *env)
{
    env->stream.on = true;
    env->stream.run++;
    env->stream.db = -1;
}

void propagate_forget_db(struct cmd_env *env)
{
    env->stream.db = -1;
}

void propagate_stop(struct cmd_env *env)
{
    env->stream.on = false;
    buf_deinit(&env->stream.out);
}

void propagate_taken(struct cmd_stream *s, size_t n)
{
    if (n < s->out.len) {
        buf_consume(&s->out, n);
        return;
    }
    s->out.len = 0;
    if (s->out.cap > KEEP_BYTES) {
        buf_deinit(&s->out);
    }
}

void propagate_append(struct cmd_env *env, int db, const struct bytes *argv,
                      size_t argc)
{
    struct cmd_stream *s = &env->stream;

    if (s->transaction == STREAM_IN_EXEC) {
        append_word(s, "MULTI");
        s->transaction = STREAM_IN_MULTI;
    }
    if (UNLIKELY(s->db != db)) {
        select_db(s, db);
    }
    append(s, argv, argc);
}

void cmd_propagate_as(struct cmd_ctx *ctx, int db, const struct bytes *argv,
                      size_t argc)
{
    if (propagate_is_on(&ctx->env->stream)) {
        propagate_append(ctx->env, db, argv, argc);
        ctx->env->stream.said = true;
    }
}

void cmd_propagate_none(struct cmd_ctx *ctx)
{
    ctx->env->stream.said = true;
}

static void append_del(struct cmd_env *env, int db, struct bytes key)
{
    struct bytes argv[] = {bytes_str("DEL"), key};

    propagate_append(env, db, argv, ARRAY_LEN(argv));
}

void cmd_propagate_del(struct cmd_ctx *ctx, int db, struct bytes key)
{
    if (propagate_is_on(&ctx->env->stream)) {
        append_del(ctx->env, db, key);
        ctx->env->stream.said = true;
    }
}

void propagate_slice(struct cmd_env *env, int db, const struct bytes *argv,
                     size_t n_head, size_t from, size_t to)
{
    struct bytes *part;

    if (!propagate_is_on(&env->stream)) {
        return;
    }
    part = mem_alloc((n_head + to - from) * sizeof(*part));
    memcpy(part, argv, n_head * sizeof(*part));
    memcpy(part + n_head, argv + from, (to - from) * sizeof(*part));
    propagate_append(env, db, part, n_head + to - from);
    mem_free(part);
}

void propagate_expired(struct cmd_env *env, int db, struct bytes key)
{
    if (propagate_is_on(&env->stream)) {
        append_del(env, db, key);
    }
}

void propagate_trained_part(struct cmd_env *env, int db, struct bytes key,
                            uint64_t from, struct bytes part)
{
    char digits[NUM_TEXT_MAX];
    struct bytes argv[] = {bytes_str("VTRAIN"),
                           key,
                           bytes_str("IVF"),
                           bytes_str("PART"),
                           bytes_of(digits, num_format_u64(from, digits)),
                           part};

    if (propagate_is_on(&env->stream)) {
        propagate_append(env, db, argv, ARRAY_LEN(argv));
    }
}

void propagate_trained(struct cmd_env *env, int db, struct bytes key,
                       uint64_t from, struct bytes rest)
{
    char digits[NUM_TEXT_MAX];
    struct bytes argv[] = {bytes_str("VTRAIN"),
                           key,
                           bytes_str("IVF"),
                           bytes_str("TRAINED"),
                           rest,
                           bytes_str("AFTER"),
                           bytes_of(digits, num_format_u64(from, digits))};

    if (propagate_is_on(&env->stream)) {
        propagate_append(env, db, argv, ARRAY_LEN(argv) - (from ? 0 : 2));
    }
}

void propagate_exec_begin(struct cmd_env *env)
{
    env->stream.transaction = STREAM_IN_EXEC;
}

void propagate_exec_end(struct cmd_env *env)
{
    struct cmd_stream *s = &env->stream;

    if (s->transaction == STREAM_IN_MULTI) {
        append_word(s, "EXEC");
    }
    s->transaction = STREAM_PLAIN;
}
