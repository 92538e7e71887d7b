/* Vectors as arguments: see vector_arg.h. */
#include "cmd/vector_arg.h"

#include "base/num.h"
#include "cmd/args.h"

/* Room for n floats that lasts as long as the command. */
static float *floats(struct cmd_ctx *ctx, size_t n)
{
    struct buf *b = &ctx->env->vector_scratch;

    b->len = 0;
    return (float *)(void *)buf_room(b, n * sizeof(float));
}

static bool parse_values(struct cmd_ctx *ctx, size_t *at, struct vector_arg *v)
{
    int64_t n;
    float *out;
    size_t i;

    if (*at >= ctx->argc || !num_parse_i64(ctx->argv[*at], &n) || n < 1 ||
        n > VEC_DIM_MAX || (size_t)n > ctx->argc - *at - 1) {
        return false;
    }
    (*at)++;
    out = floats(ctx, (size_t)n);
    for (i = 0; i < (size_t)n; i++) {
        double x;

        if (UNLIKELY(!num_parse_double(ctx->argv[*at + i], &x))) {
            return false;
        }
        /* Beyond float32 it becomes infinite, which the set refuses. */
        out[i] = (float)x;
    }
    *at += (size_t)n;
    v->data = out;
    v->dim = (uint32_t)n;
    return true;
}

static bool parse_blob(struct cmd_ctx *ctx, size_t *at, size_t width,
                       struct vector_arg *v)
{
    struct bytes blob;

    if (*at >= ctx->argc) {
        return false;
    }
    blob = ctx->argv[*at];
    if (blob.len == 0 || blob.len % width || blob.len / width > VEC_DIM_MAX) {
        return false;
    }
    (*at)++;
    v->data = blob.data;
    v->is_blob = true;
    v->dim = (uint32_t)(blob.len / width);
    return true;
}

static bool parse_half(struct cmd_ctx *ctx, size_t *at, bool bfloat,
                       struct vector_arg *v)
{
    float *out;

    if (!parse_blob(ctx, at, 2, v)) {
        return false;
    }
    out = floats(ctx, v->dim);
    if (bfloat) {
        vec_widen_bf16(v->data, v->dim, out);
    } else {
        vec_widen_f16(v->data, v->dim, out);
    }
    v->data = out;
    return true;
}

static bool parse_reduce(struct cmd_ctx *ctx, size_t *at, struct vector_arg *v)
{
    int64_t n;

    if (*at + 1 >= ctx->argc || !num_parse_i64(ctx->argv[*at + 1], &n) ||
        n < 1 || n > VEC_DIM_MAX) {
        return false;
    }
    v->reduce = (uint32_t)n;
    *at += 2;
    return true;
}

bool vector_arg_parse(struct cmd_ctx *ctx, size_t *at, bool may_reduce,
                      struct vector_arg *v)
{
    bool ok;
    size_t i;

    v->reduce = 0;
    v->is_blob = false;
    if (*at < ctx->argc && may_reduce && arg_is(ctx, *at, "REDUCE") &&
        !parse_reduce(ctx, at, v)) {
        return false;
    }
    if (*at >= ctx->argc) {
        return false;
    }
    i = (*at)++;
    if (arg_is(ctx, i, "FP32")) {
        ok = parse_blob(ctx, at, sizeof(float), v);
    } else if (arg_is(ctx, i, "VALUES")) {
        ok = parse_values(ctx, at, v);
    } else if (arg_is(ctx, i, "FP16")) {
        ok = parse_half(ctx, at, false, v);
    } else if (arg_is(ctx, i, "BF16")) {
        ok = parse_half(ctx, at, true, v);
    } else {
        return false;
    }
    return ok && v->reduce <= v->dim;
}
