/* Vectors as arguments: FP32, FP16 and BF16 blobs, and VALUES. */
#ifndef VECTRA_CMD_VECTOR_ARG_H
#define VECTRA_CMD_VECTOR_ARG_H

#include "cmd/cmd.h"
#include "vec/vec.h"

struct vector_arg {
    const void *data; /* dim float32, any alignment; in argv or in scratch */
    uint32_t dim;
    uint32_t reduce; /* 0: no REDUCE given */
    bool is_blob;    /* it came as one, FP32, FP16 or BF16 */
};

/* Parses a vector that starts at argv[*at] and moves *at past it. An FP32 blob
 * is not copied.
 *
 * out    *v; its data is valid until the next call or the end of the command.
 * fails  false: not a vector; nothing is replied. */
bool vector_arg_parse(struct cmd_ctx *ctx, size_t *at, bool may_reduce,
                      struct vector_arg *v);

#endif
