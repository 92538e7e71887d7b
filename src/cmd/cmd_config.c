/* CONFIG and INFO: the server above knows the answers. */
#include "cmd/args.h"

/* ---- CONFIG GET -------------------------------------------------------- */

struct found {
    struct reply reply; /* into a buffer aside: the map's size comes first */
    size_t n;
};

static void add_found(void *arg, struct bytes name, struct bytes value)
{
    struct found *f = arg;

    f->n++;
    reply_bulk(&f->reply, name);
    reply_bulk(&f->reply, value);
}

void cmd_config_get(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct buf body = BUF_INIT;
    struct found f = {.reply = {&body, ctx->reply.proto}};

    host->config_get(host->server, ctx->argv + 2, ctx->argc - 2, add_found, &f);
    reply_map(&ctx->reply, f.n);
    buf_append_bytes(ctx->reply.out, buf_bytes(&body));
    buf_deinit(&body);
}

/* ---- CONFIG SET, REWRITE, RESETSTAT ------------------------------------ */

static void reply_outcome(struct cmd_ctx *ctx, enum err err,
                          const struct err_ctx *words)
{
    if (err) {
        cmd_error(ctx, words->text);
    } else {
        reply_status(&ctx->reply, "OK");
    }
}

void cmd_config_set(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct err_ctx words = {""};
    enum err err;
    size_t i;

    for (i = 2; i + 1 < ctx->argc; i += 2) {
        if (host->config_is_secret(ctx->argv[i])) {
            cmd_hide_argument(ctx, i + 1);
        }
    }
    if (ctx->argc % 2 != 0) {
        cmd_error_syntax(ctx);
        return;
    }
    err = host->config_set(host->server, ctx->client, ctx->argv + 2,
                           (ctx->argc - 2) / 2, &words);
    reply_outcome(ctx, err, &words);
}

void cmd_config_rewrite(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct err_ctx words = {""};
    enum err err = host->config_rewrite(host->server, &words);

    reply_outcome(ctx, err, &words);
}

void cmd_config_resetstat(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;

    host->reset_stats(host->server);
    reply_status(&ctx->reply, "OK");
}

/* ---- INFO -------------------------------------------------------------- */

void cmd_info(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct buf text = BUF_INIT;

    host->info(host->server, ctx->argv + 1, ctx->argc - 1, &text);
    reply_verbatim(&ctx->reply, buf_bytes(&text));
    buf_deinit(&text);
}
