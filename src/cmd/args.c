#include "cmd/args.h"

#include "base/num.h"

bool arg_int_in(struct cmd_ctx *ctx, size_t i, int64_t min, int64_t max,
                const char *error, int64_t *out)
{
    int64_t v;

    if (!num_parse_i64(ctx->argv[i], &v) || v < min || v > max) {
        cmd_error(ctx, error);
        return false;
    }
    *out = v;
    return true;
}

bool arg_int(struct cmd_ctx *ctx, size_t i, int64_t *out)
{
    return arg_int_in(ctx, i, INT64_MIN, INT64_MAX,
                      "ERR value is not an integer or out of range", out);
}

bool arg_double_over(struct cmd_ctx *ctx, size_t i, double floor,
                     const char *error, double *out)
{
    double x;

    if (!num_parse_double(ctx->argv[i], &x) || !(x > floor)) {
        cmd_error(ctx, error);
        return false;
    }
    *out = x;
    return true;
}
