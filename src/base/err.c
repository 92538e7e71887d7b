/* Error words: formatting into a caller's fixed buffer, so that reporting an
 * error never allocates (it may be reporting that memory is gone). */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const texts[ERR_COUNT] = {
    [ERR_OK] = "ok",
#define ERR(sym, text) [ERR_##sym] = text,
#include "base/err.def"
#undef ERR
};

const char *err_text(enum err err)
{
    return (unsigned)err < ERR_COUNT ? texts[err] : "unknown error";
}

enum err err_set(struct err_ctx *ctx, enum err err, const char *fmt, ...)
{
    va_list ap;

    if (ctx) {
        va_start(ap, fmt);
        vsnprintf(ctx->text, sizeof(ctx->text), fmt, ap);
        va_end(ap);
    }
    return err;
}

enum err err_wrap(struct err_ctx *ctx, enum err err, const char *fmt, ...)
{
    char inner[sizeof(ctx->text)];
    va_list ap;
    size_t n;

    if (!ctx) {
        return err;
    }
    memcpy(inner, ctx->text, sizeof(inner));
    va_start(ap, fmt);
    vsnprintf(ctx->text, sizeof(ctx->text), fmt, ap);
    va_end(ap);
    n = strlen(ctx->text);
    snprintf(ctx->text + n, sizeof(ctx->text) - n, ": %s", inner);
    return err;
}

void assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "vectra: assertion failed: %s (%s:%d)\n", expr, file, line);
    fflush(stderr);
    abort();
}
