/* Error codes and their words.
 *
 * A function that can fail returns `enum err`; codes are for branching. Words
 * for the operator go into an optional `struct err_ctx`, to which each level
 * adds what it was doing, outermost first:
 * "loading vectra.conf: line 12: unknown directive 'prot'". */
#ifndef VECTRA_BASE_ERR_H
#define VECTRA_BASE_ERR_H

#include "base/macros.h"

enum err {
    ERR_OK = 0,
#define ERR(sym, text) ERR_##sym,
#include "base/err.def"
#undef ERR
    ERR_COUNT
};

struct err_ctx {
    char text[256];
};

/* The text of a code, a static string. */
const char *err_text(enum err err);

/* Stores a message (ctx may be NULL) and returns `err`. */
enum err err_set(struct err_ctx *ctx, enum err err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Prefixes "what: " to the message already in ctx and returns `err`. */
enum err err_wrap(struct err_ctx *ctx, enum err err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
