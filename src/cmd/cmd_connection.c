/* Commands about the connection itself: who is there, who may, in which
 * protocol, on which database. */

#include "cmd/args.h"

#define WRONGPASS                                                              \
    "WRONGPASS invalid username-password pair or user is disabled."

void cmd_ping(struct cmd_ctx *ctx)
{
    if (ctx->argc > 2) {
        cmd_error_arity(ctx);
    } else if (ctx->argc == 2) {
        reply_bulk(&ctx->reply, ctx->argv[1]);
    } else {
        reply_status(&ctx->reply, "PONG");
    }
}

void cmd_echo(struct cmd_ctx *ctx)
{
    reply_bulk(&ctx->reply, ctx->argv[1]);
}

void cmd_quit(struct cmd_ctx *ctx)
{
    reply_status(&ctx->reply, "OK");
    ctx->env->host->close_after_reply(ctx->client);
}

void cmd_select(struct cmd_ctx *ctx)
{
    if (arg_db(ctx, 1, &ctx->client->db)) {
        reply_status(&ctx->reply, "OK");
    }
}

static void set_authenticated(struct cmd_ctx *ctx, bool yes)
{
    if (ctx->client->authenticated != yes) {
        ctx->client->authenticated = yes;
        ctx->env->host->authenticated(ctx->client, yes);
    }
}

void cmd_reset(struct cmd_ctx *ctx)
{
    client_reset(ctx->client, ctx->env);
    set_authenticated(ctx, !ctx->env->settings.password.is_set);
    ctx->reply.proto = ctx->client->proto;
    reply_status(&ctx->reply, "RESET");
}

/* ---- AUTH and HELLO ---------------------------------------------------- */

/* False: the error was replied. */
static bool authenticate(struct cmd_ctx *ctx, struct bytes user,
                         struct bytes password)
{
    if (!bytes_equal(user, bytes_str("default")) ||
        !acl_password_check(&ctx->env->settings.password, password)) {
        ctx->env->denied_auths++;
        cmd_error(ctx, WRONGPASS);
        return false;
    }
    set_authenticated(ctx, true);
    return true;
}

void cmd_auth(struct cmd_ctx *ctx)
{
    struct bytes user = bytes_str("default");

    if (ctx->argc > 3) {
        cmd_error_syntax(ctx);
        return;
    }
    cmd_hide_argument(ctx, 1);
    if (ctx->argc == 3) {
        cmd_hide_argument(ctx, 2);
        user = ctx->argv[1];
    } else if (!ctx->env->settings.password.is_set) {
        cmd_error(ctx, "ERR AUTH <password> called without any password "
                       "configured for the default user. Are you sure your "
                       "configuration is correct?");
        return;
    }
    if (authenticate(ctx, user, ctx->argv[ctx->argc - 1])) {
        reply_status(&ctx->reply, "OK");
    }
}

struct hello {
    int64_t proto; /* 0: as it is */
    struct bytes user, password;
    struct bytes name;
    bool has_auth;
    bool has_name;
};

static bool hello_options(struct cmd_ctx *ctx, struct hello *h)
{
    size_t i;

    for (i = 2; i < ctx->argc; i++) {
        size_t more = ctx->argc - 1 - i;

        if (arg_is(ctx, i, "AUTH") && more >= 2) {
            cmd_hide_argument(ctx, i + 1);
            cmd_hide_argument(ctx, i + 2);
            h->has_auth = true;
            h->user = ctx->argv[i + 1];
            h->password = ctx->argv[i + 2];
            i += 2;
        } else if (arg_is(ctx, i, "SETNAME") && more >= 1) {
            h->name = ctx->argv[++i];
            h->has_name = true;
            if (!client_name_is_valid(h->name)) {
                cmd_error(ctx, "ERR Client names cannot contain spaces, "
                               "newlines or special characters.");
                return false;
            }
        } else {
            cmd_error_fmt(
                ctx, "ERR Syntax error in HELLO option '%.*s'",
                (int)(ctx->argv[i].len < 128 ? ctx->argv[i].len : 128),
                (const char *)ctx->argv[i].data);
            return false;
        }
    }
    return true;
}

static bool hello_parse(struct cmd_ctx *ctx, struct hello *h)
{
    if (ctx->argc < 2) {
        return true;
    }
    if (!arg_int_in(ctx, 1, INT64_MIN, INT64_MAX,
                    "ERR Protocol version is not an integer or out of range",
                    &h->proto)) {
        return false;
    }
    if (h->proto < 2 || h->proto > 3) {
        cmd_error(ctx, "NOPROTO unsupported protocol version");
        return false;
    }
    return hello_options(ctx, h);
}

static void reply_modules(struct reply *r)
{
    reply_array(r, 1);
    reply_map(r, 4);
    reply_bulk_str(r, "name");
    reply_bulk_str(r, "vectorset");
    reply_bulk_str(r, "ver");
    reply_int(r, 1);
    reply_bulk_str(r, "path");
    reply_bulk_str(r, "");
    reply_bulk_str(r, "args");
    reply_array(r, 0);
}

void cmd_hello(struct cmd_ctx *ctx)
{
    struct hello h = {.proto = 0};
    struct reply *r = &ctx->reply;

    if (!hello_parse(ctx, &h)) {
        return;
    }
    if (h.has_auth && !authenticate(ctx, h.user, h.password)) {
        return;
    }
    if (!ctx->client->authenticated) {
        cmd_error(ctx, "NOAUTH HELLO must be called with the client already "
                       "authenticated, otherwise the HELLO <proto> AUTH <user> "
                       "<pass> option can be used to authenticate the client "
                       "and select the RESP protocol version at the same time");
        return;
    }
    if (h.has_name) {
        client_set_name(ctx->client, h.name);
    }
    if (h.proto) {
        ctx->client->proto = r->proto = (int)h.proto;
    }
    reply_map(r, 7);
    /* Client libraries look at these two before they use anything new. */
    reply_bulk_str(r, "server");
    reply_bulk_str(r, "redis");
    reply_bulk_str(r, "version");
    reply_bulk_str(r, CMD_REDIS_VERSION);
    reply_bulk_str(r, "proto");
    reply_int(r, ctx->client->proto);
    reply_bulk_str(r, "id");
    reply_int(r, (int64_t)ctx->client->id);
    reply_bulk_str(r, "mode");
    reply_bulk_str(r, "standalone");
    reply_bulk_str(r, "role");
    reply_bulk_str(r, "master");
    reply_bulk_str(r, "modules");
    reply_modules(r);
}
