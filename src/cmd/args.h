/* Reading arguments, and the replies of their usual errors. */
#ifndef VECTRA_CMD_ARGS_H
#define VECTRA_CMD_ARGS_H

#include "cmd/cmd.h"

/* Option words are compared without case. */
static inline bool arg_is(const struct cmd_ctx *ctx, size_t i, const char *word)
{
    return bytes_equal_fold(ctx->argv[i], word);
}

/* argv[i] as an integer; replies "ERR value is not an integer or out of range"
 * when it is none. */
bool arg_int(struct cmd_ctx *ctx, size_t i, int64_t *out);

/* The same with a range and an error text of the caller's. */
bool arg_int_in(struct cmd_ctx *ctx, size_t i, int64_t min, int64_t max,
                const char *error, int64_t *out);

/* argv[i] as the number of a database; replies an error when there is none of
 * that number. */
bool arg_db(struct cmd_ctx *ctx, size_t i, int *out);

/* argv[i] as a number greater than `floor`; replies `error` otherwise. */
bool arg_double_over(struct cmd_ctx *ctx, size_t i, double floor,
                     const char *error, double *out);

#endif
