/* Times to live among the arguments of a command. */
#ifndef VECTRA_CMD_EXPIRE_ARG_H
#define VECTRA_CMD_EXPIRE_ARG_H

#include "cmd/cmd.h"

enum expire_unit {
    EXPIRE_SECONDS = 1 << 0,  /* else milliseconds */
    EXPIRE_ABSOLUTE = 1 << 1, /* a Unix time, else from now */
};

/* argv[i] as the wall clock time it stands for; it may lie in the past.
 *
 * out    false: an error was replied, as for no integer or one that leaves the
 *        range of time_ms. */
bool expire_arg_time(struct cmd_ctx *ctx, size_t i, unsigned unit,
                     time_ms *out);

/* The same, but zero and negative numbers are errors too, as SET and its kin
 * have it. */
bool expire_arg_positive_time(struct cmd_ctx *ctx, size_t i, unsigned unit,
                              time_ms *out);

/* What is appended to the stream for a command that gave argv[1] the expiry
 * `at`, or took it with NO_EXPIRY. */
void expire_arg_propagate(struct cmd_ctx *ctx, time_ms at);

#endif
