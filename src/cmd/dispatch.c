/* From a request to a handler: see cmd.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/job.h"

struct cmd_pending {
    struct cmd_env *env;
    const struct command *command;
    void *slot;
    int64_t handler_ns; /* spent before deferring */
    struct slowlog_preview preview;
    struct cmd_pending *next; /* free */
};

void cmd_env_init(struct cmd_env *env, struct keyspace *ks,
                  const struct cmd_host *host)
{
    memset(env, 0, sizeof(*env));
    env->ks = ks;
    env->host = host;
    env->stream.db = -1;
    multi_init(env);
    cmd_turn(env);
}

void cmd_env_deinit(struct cmd_env *env)
{
    while (env->free_pending) {
        struct cmd_pending *p = env->free_pending;

        env->free_pending = p->next;
        mem_free(p);
    }
    buf_deinit(&env->vector_scratch);
    buf_deinit(&env->stream.out);
    slowlog_deinit(&env->slowlog);
    multi_deinit(env);
    mem_free(env->monitors);
}

void cmd_turn(struct cmd_env *env)
{
    env->wall_offset_us = clock_wall_us() - clock_mono_us();
}

/* ---- errors ------------------------------------------------------------ */

void cmd_count_error(struct cmd_env *env, const char *text)
{
    size_t n = strcspn(text, " ");
    size_t i;

    env->total_errors++;
    for (i = 0; i < env->n_errors; i++) {
        struct cmd_error_count *e = &env->errors[i];

        if (strncmp(e->code, text, n) == 0 && e->code[n] == '\0') {
            e->n++;
            return;
        }
    }
    if (env->n_errors < CMD_ERROR_KINDS && n < sizeof(env->errors[0].code)) {
        struct cmd_error_count *e = &env->errors[env->n_errors++];

        memcpy(e->code, text, n);
        e->code[n] = '\0';
        e->n = 1;
    }
}

void cmd_error(struct cmd_ctx *ctx, const char *text)
{
    ctx->failed = true;
    cmd_count_error(ctx->env, text);
    reply_error(&ctx->reply, text);
}

void cmd_error_fmt(struct cmd_ctx *ctx, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    char small[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(small)) {
        cmd_error(ctx, small);
        return;
    }
    va_start(ap, fmt);
    vsnprintf((char *)buf_room(&text, (size_t)n + 1), (size_t)n + 1, fmt, ap);
    va_end(ap);
    cmd_error(ctx, (char *)text.data);
    buf_deinit(&text);
}

void cmd_error_arity(struct cmd_ctx *ctx)
{
    cmd_error_fmt(ctx, "ERR wrong number of arguments for '%s' command",
                  ctx->command->name);
}

void cmd_error_wrongtype(struct cmd_ctx *ctx)
{
    cmd_error(ctx, "WRONGTYPE Operation against a key holding the wrong kind "
                   "of value");
}

void cmd_error_syntax(struct cmd_ctx *ctx)
{
    cmd_error(ctx, "ERR syntax error");
}

void cmd_error_oom(struct cmd_ctx *ctx)
{
    cmd_error(ctx, "OOM command not allowed when used memory > 'maxmemory'.");
}

void cmd_invalid_request(struct cmd_env *env, struct client *c,
                         const char *error)
{
    struct reply r = {env->host->out(c), c->proto};

    cmd_count_error(env, error);
    reply_error(&r, error);
}

/* ---- running one command ----------------------------------------------- */

void cmd_log_if_slow(struct cmd_env *env, const struct command *command,
                     const struct slowlog_preview *preview,
                     const struct client *c, time_us took_us)
{
    int64_t threshold = env->settings.slowlog_slower_than_us;
    struct net_client_info info = {.addr = ""};

    if (threshold < 0 || took_us < threshold ||
        (command->flags & CMD_SKIP_SLOWLOG)) {
        return;
    }
    if (c) {
        env->host->client_info((struct client *)(uintptr_t)c, &info);
    }
    slowlog_add(&env->slowlog, preview, info.addr, c ? c->name : NULL,
                clock_wall_us() / 1000000, took_us,
                (size_t)env->settings.slowlog_max_len);
}

static void log_if_slow_now(struct cmd_ctx *ctx, int64_t ns)
{
    struct slowlog_preview preview;
    int64_t threshold = ctx->env->settings.slowlog_slower_than_us;

    if (LIKELY(threshold < 0 || ns < threshold * 1000)) {
        return;
    }
    slowlog_preview_make(&preview, ctx->argv, ctx->argc, ctx->hidden,
                         ctx->client->id);
    cmd_log_if_slow(ctx->env, ctx->command, &preview, ctx->client, ns / 1000);
}

void cmd_call(struct cmd_env *env, struct client *c,
              const struct command *command, const struct bytes *argv,
              size_t argc, bool in_exec)
{
    struct cmd_counter *n = &env->counters[command_id(command)];
    struct cmd_ctx ctx = {
        .env = env,
        .ks = env->ks,
        .client = c,
        .command = command,
        .argv = argv,
        .argc = argc,
        .reply = {env->host->out(c), c->proto},
        .started_ns = clock_mono_ns(),
        .in_exec = in_exec,
    };
    uint64_t changes = env->ks->stats.changes;
    uint64_t lsn = env->stream.lsn;
    bool outer_said = env->stream.said;
    int db = c->db;
    int64_t ns;

    env->stream.said = false;
    keyspace_set_time(env->ks,
                      (ctx.started_ns / 1000 + env->wall_offset_us) / 1000,
                      ctx.started_ns / 1000);
    env->total_commands++;
    c->n_commands++;
    command->handler(&ctx);
    if (propagate_is_on(&env->stream) && !env->stream.said &&
        env->ks->stats.changes != changes && (command->flags & CMD_WRITE)) {
        propagate_append(env, db, argv, argc);
    }
    env->stream.said = outer_said;
    /* A read that met an expired key has written nothing of its client's. */
    if (env->stream.lsn != lsn && (command->flags & CMD_WRITE)) {
        c->write_lsn = env->stream.lsn;
    }
    /* Behind the handler, which knows what is not to be shown. */
    if (UNLIKELY(env->n_monitors > 0) && c->conn &&
        !(command->flags & (CMD_SKIP_MONITOR | CMD_ADMIN))) {
        monitor_feed(env, c, argv, argc, ctx.hidden);
    }
    if (ctx.deferred) {
        return; /* counted where it ends */
    }
    ns = clock_mono_ns() - ctx.started_ns;
    n->calls++;
    n->ns += ns;
    n->failed += ctx.failed;
    log_if_slow_now(&ctx, ns);
}

/* ---- deferring --------------------------------------------------------- */

struct cmd_pending *cmd_defer(struct cmd_ctx *ctx, size_t expected)
{
    struct cmd_env *env = ctx->env;
    struct cmd_pending *p = env->free_pending;

    if (p) {
        env->free_pending = p->next;
    } else {
        p = mem_alloc(sizeof(*p));
    }
    p->env = env;
    p->command = ctx->command;
    p->slot = env->host->defer(ctx->client, expected);
    p->handler_ns = clock_mono_ns() - ctx->started_ns;
    slowlog_preview_make(&p->preview, ctx->argv, ctx->argc, ctx->hidden,
                         ctx->client->id);
    ctx->deferred = true;
    ctx->reply.out = env->host->out(ctx->client);
    return p;
}

void cmd_when_gone(struct cmd_pending *p, void (*gone)(void *arg), void *arg)
{
    p->env->host->when_gone(p->slot, gone, arg);
}

void cmd_fulfil(struct cmd_pending *p, struct buf *body, time_us run_us,
                const char *error)
{
    struct cmd_env *env = p->env;
    struct cmd_counter *n = &env->counters[command_id(p->command)];

    n->calls++;
    n->ns += p->handler_ns + run_us * 1000;
    if (error) {
        n->failed++;
        cmd_count_error(env, error);
    }
    cmd_log_if_slow(env, p->command, &p->preview,
                    env->host->deferred_client(p->slot),
                    p->handler_ns / 1000 + run_us);
    env->host->fulfil(p->slot, body);
    p->next = env->free_pending;
    env->free_pending = p;
}

/* ---- the dispatcher ---------------------------------------------------- */

/* A command that is refused before it runs. An EXEC that is ends its
 * transaction, and does so in Redis's words also where there is none. */
static void reject(struct cmd_env *env, struct client *c,
                   const struct command *command, const char *text)
{
    struct reply r = {env->host->out(c), c->proto};
    char aborted[256];

    if (command) {
        env->counters[command_id(command)].rejected++;
    }
    c->must_abort |= c->in_multi;
    if (command && command_id(command) == CMD_ID_EXEC) {
        snprintf(aborted, sizeof(aborted),
                 "EXECABORT Transaction discarded because of: %s",
                 strncmp(text, "ERR ", 4) ? text : text + 4);
        text = aborted;
        multi_discard(env, c);
    }
    cmd_count_error(env, text);
    reply_error(&r, text);
}

enum { SHOWN_MAX = 128 }; /* bytes of arguments in an error */

/* Appends an argument as an error shows it: cut, and up to a NUL byte. */
static size_t append_shown(struct buf *text, struct bytes arg, size_t most)
{
    size_t n = arg.len < most ? arg.len : most;

    n = n ? strnlen((const char *)arg.data, n) : 0;
    buf_append(text, arg.data, n);
    return n;
}

static void reject_unknown(struct cmd_env *env, struct client *c,
                           const struct command *parent,
                           const struct bytes *argv, size_t argc)
{
    struct buf text = BUF_INIT;
    size_t used = 0;
    size_t i;

    if (parent) {
        buf_append_str(&text, parent->flags & CMD_DEBUG
                                  ? "ERR unknown subcommand or wrong number "
                                    "of arguments for '"
                                  : "ERR unknown subcommand '");
        append_shown(&text, argv[1], SHOWN_MAX);
        buf_append_str(&text, "'. Try ");
        for (i = 0; parent->name[i]; i++) {
            char ch = parent->name[i];

            buf_append_byte(&text, ch >= 'a' && ch <= 'z' ? (uint8_t)(ch - 32)
                                                          : (uint8_t)ch);
        }
        buf_append_str(&text, " HELP.");
    } else {
        buf_append_str(&text, "ERR unknown command '");
        append_shown(&text, argv[0], SHOWN_MAX);
        buf_append_str(&text, "', with args beginning with: ");
        for (i = 1; i < argc && used < SHOWN_MAX; i++) {
            buf_append_byte(&text, '\'');
            used += append_shown(&text, argv[i], SHOWN_MAX - used) + 3;
            buf_append_str(&text, "' ");
        }
    }
    buf_append_byte(&text, '\0');
    reject(env, c, NULL, (char *)text.data);
    buf_deinit(&text);
}

#define DEBUG_REFUSED                                                          \
    "ERR DEBUG command not allowed. If the enable-debug-command option is "    \
    "set "                                                                     \
    "to \"local\", you can run it from a local connection, otherwise you "     \
    "need "                                                                    \
    "to set this option in the configuration file, and then restart the "      \
    "server."

static bool may_debug(const struct cmd_env *env, struct client *c)
{
    return env->settings.debug_command == DEBUG_YES ||
           (env->settings.debug_command == DEBUG_LOCAL &&
            env->host->is_local(c));
}

/* A browser can be made to send HTTP here by any page it shows. Its first line
 * is an unknown command; the next ones could be known. */
static bool is_http(struct bytes word)
{
    return bytes_equal_fold(word, "post") || bytes_equal_fold(word, "host:");
}

/* The command of a request; remembered, since clients repeat themselves. */
ALWAYS_INLINE const struct command *lookup(struct client *c,
                                           const struct bytes *argv,
                                           size_t argc,
                                           const struct command **parent)
{
    const struct command *found = c->repeated;

    *parent = NULL;
    if (found && bytes_equal_fold(argv[0], found->name)) {
        c->last_command = found;
        return found;
    }
    found = command_lookup(argv, argc, parent);
    if (found) {
        c->last_command = found;
        c->repeated = *parent || command_is_container(found) ? NULL : found;
    }
    return found;
}

void cmd_run(struct cmd_env *env, struct client *c, const struct bytes *argv,
             size_t argc)
{
    const struct command *parent;
    const struct command *command = lookup(c, argv, argc, &parent);

    if (UNLIKELY(!command)) {
        if (is_http(argv[0])) {
            LOG_WARN(NET, "a client speaks HTTP, closing it", "id=%llu",
                     (unsigned long long)c->id);
            env->host->close(c);
        } else if (parent && (parent->flags & CMD_DEBUG) &&
                   !may_debug(env, c)) {
            reject(env, c, parent, DEBUG_REFUSED);
        } else {
            reject_unknown(env, c, parent, argv, argc);
        }
        return;
    }
    if (UNLIKELY(!command_arity_ok(command, argc))) {
        char text[160];

        if (parent && (parent->flags & CMD_DEBUG) && may_debug(env, c)) {
            reject_unknown(env, c, parent, argv, argc);
            return;
        }
        snprintf(text, sizeof(text),
                 "ERR wrong number of arguments for '%s' command",
                 command->name);
        reject(env, c, command, text);
        return;
    }
    if (UNLIKELY(!c->authenticated) && !(command->flags & CMD_NO_AUTH)) {
        reject(env, c, command, "NOAUTH Authentication required.");
        return;
    }
    if (UNLIKELY(command->flags & CMD_DEBUG) && !may_debug(env, c)) {
        reject(env, c, command, DEBUG_REFUSED);
        return;
    }
    if (UNLIKELY(command->flags & CMD_DENYOOM) && UNLIKELY(!mem_has_room(0))) {
        reject(env, c, command,
               "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    }
    if (UNLIKELY(cmd_refusal(env) != NULL) &&
        ((command->flags & CMD_WRITE) || command_id(command) == CMD_ID_PING)) {
        reject(env, c, command, cmd_refusal(env));
        return;
    }
    if (UNLIKELY(env->is_loading) && !(command->flags & CMD_LOADING)) {
        reject(env, c, command,
               "LOADING Redis is loading the dataset in memory");
        return;
    }
    if (UNLIKELY(c->in_multi) && !(command->flags & CMD_AT_ONCE)) {
        if (command->flags & CMD_NO_MULTI) {
            reject(env, c, command,
                   "ERR Command not allowed inside a transaction");
            return;
        }
        struct reply r = {env->host->out(c), c->proto};

        multi_queue(c, command, argv, argc);
        reply_status(&r, "QUEUED");
        return;
    }
    cmd_call(env, c, command, argv, argc, false);
}
