#include "cmd/args.h"

#include <limits.h>

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

bool arg_db(struct cmd_ctx *ctx, size_t i, int *out)
{
    int64_t n;

    if (!arg_int(ctx, i, &n)) {
        return false;
    }
    if (n < INT_MIN || n > INT_MAX) {
        cmd_error_fmt(ctx,
                      "ERR value is out of range, value must between %d "
                      "and %d",
                      INT_MIN, INT_MAX);
        return false;
    }
    if (n < 0 || n >= ctx->ks->n_dbs) {
        cmd_error(ctx, "ERR DB index is out of range");
        return false;
    }
    *out = (int)n;
    return true;
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
