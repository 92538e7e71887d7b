#include "cmd/expire_arg.h"

#include "base/num.h"
#include "cmd/args.h"

static bool refuse(struct cmd_ctx *ctx)
{
    cmd_error_fmt(ctx, "ERR invalid expire time in '%s' command",
                  ctx->command->name);
    return false;
}

static bool to_time(struct cmd_ctx *ctx, int64_t n, unsigned unit, time_ms *out)
{
    time_ms base = unit & EXPIRE_ABSOLUTE ? 0 : ctx->ks->now;

    if ((unit & EXPIRE_SECONDS) && __builtin_mul_overflow(n, 1000, &n)) {
        return refuse(ctx);
    }
    if (__builtin_add_overflow(n, base, &n)) {
        return refuse(ctx);
    }
    *out = n;
    return true;
}

void expire_arg_propagate(struct cmd_ctx *ctx, time_ms at)
{
    char digits[NUM_TEXT_MAX];
    bool none = at == NO_EXPIRY;
    struct bytes argv[] = {bytes_str(none ? "PERSIST" : "PEXPIREAT"),
                           ctx->argv[1],
                           bytes_of(digits, num_format_i64(at, digits))};

    cmd_propagate_as(ctx, ctx->client->db, argv, none ? 2 : 3);
}

bool expire_arg_time(struct cmd_ctx *ctx, size_t i, unsigned unit, time_ms *out)
{
    int64_t n;

    return arg_int(ctx, i, &n) && to_time(ctx, n, unit, out);
}

bool expire_arg_positive_time(struct cmd_ctx *ctx, size_t i, unsigned unit,
                              time_ms *out)
{
    int64_t n;

    if (!arg_int(ctx, i, &n)) {
        return false;
    }
    return n > 0 ? to_time(ctx, n, unit, out) : refuse(ctx);
}
