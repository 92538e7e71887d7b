/* Running commands: the environment they share, the context of one call, and
 * the dispatcher.
 *
 *     cmd_run: look up ─▶ arity ─▶ authenticated? ─▶ memory left? ─▶ in MULTI?
 *                 │                                                    │ queue
 *                 └──▶ cmd_call: monitor feed, handler, statistics ◀── EXEC
 *
 * A handler answers at once through ctx->reply; or takes the place of its reply
 * with cmd_defer() and gives it later; or starts a job (job.h) that does the
 * work in slices while the client's further requests wait.
 *
 * thread loop only. */
#ifndef VECTRA_CMD_CMD_H
#define VECTRA_CMD_CMD_H

#include "base/table.h"
#include "cmd/client.h"
#include "cmd/cmd_host.h"
#include "cmd/propagate.h"
#include "cmd/slowlog.h"
#include "db/keyspace.h"
#include "resp/resp_write.h"

/* The Redis version that clients' feature gates are told. */
#define CMD_REDIS_VERSION "8.0.6"

/* Counted per command, for INFO commandstats. */
struct cmd_counter {
    uint64_t calls;
    int64_t ns;
    uint64_t rejected; /* before running */
    uint64_t failed;   /* replied an error */
};

enum { CMD_ERROR_KINDS = 64 };

/* Errors by their first word, for INFO errorstats. */
struct cmd_error_count {
    char code[32];
    uint64_t n;
};

/* Settings that commands read; the server's configuration fills them in. */
struct cmd_settings {
    struct acl_password password;
    int64_t slowlog_slower_than_us; /* negative: off */
    int64_t slowlog_max_len;
    uint64_t bulk_max; /* what a string may become, piece by piece */
    enum { DEBUG_NO, DEBUG_LOCAL, DEBUG_YES } debug_command;
};

/* Who may have writes refused. */
enum refusal { REFUSED_BY_SNAPSHOT, REFUSED_BY_LOG, REFUSAL_COUNT };

struct cmd_env {
    struct keyspace *ks;
    const struct cmd_host *host;
    struct cmd_settings settings;
    struct cmd_counter counters[CMD_ID_COUNT];
    struct cmd_error_count errors[CMD_ERROR_KINDS];
    size_t n_errors;
    uint64_t total_commands;
    uint64_t total_errors;
    uint64_t denied_auths; /* wrong user or password */
    struct slowlog slowlog;
    struct table watches; /* see multi.c */
    size_t n_watches;
    size_t n_watching; /* clients that have some */
    struct client **monitors;
    size_t n_monitors;
    struct cmd_job *jobs; /* see job.c */
    struct cmd_pending *free_pending;
    struct buf vector_scratch; /* floats of the command that runs */
    time_us wall_offset_us;    /* wall clock minus monotonic clock */
    struct cmd_stream stream;  /* see propagate.h */
    const char *refuse_writes[REFUSAL_COUNT]; /* the error; NULL: not */
    bool is_loading;
};

/* host outlives it. */
void cmd_env_init(struct cmd_env *env, struct keyspace *ks,
                  const struct cmd_host *host);
void cmd_env_deinit(struct cmd_env *env);

/* Once per turn: brings the clocks together. */
void cmd_turn(struct cmd_env *env);

struct cmd_ctx {
    struct cmd_env *env;
    struct keyspace *ks;
    struct client *client;
    const struct command *command;
    const struct bytes *argv; /* valid until the handler returns */
    size_t argc;
    struct reply reply;
    int64_t started_ns;
    uint32_t hidden; /* see cmd_hide_argument() */
    bool in_exec;
    bool failed;   /* an error was replied */
    bool deferred; /* the reply, and the statistics, come later */
};

/* Runs one request of a client: replies, queues it in a transaction, or begins
 * what will reply. */
void cmd_run(struct cmd_env *env, struct client *c, const struct bytes *argv,
             size_t argc);

/* The error with which writes are refused at present; NULL when they are
 * not. */
static inline const char *cmd_refusal(const struct cmd_env *env)
{
    return env->refuse_writes[REFUSED_BY_SNAPSHOT]
               ? env->refuse_writes[REFUSED_BY_SNAPSHOT]
               : env->refuse_writes[REFUSED_BY_LOG];
}

/* Calls one command that has passed the dispatcher's checks. */
void cmd_call(struct cmd_env *env, struct client *c,
              const struct command *command, const struct bytes *argv,
              size_t argc, bool in_exec);

/* The reply to bytes that are no request. */
void cmd_invalid_request(struct cmd_env *env, struct client *c,
                         const char *error);

/* ---- for handlers ------------------------------------------------------ */

/* Replies an error, `text` with its code, and counts it. */
void cmd_error(struct cmd_ctx *ctx, const char *text);
void cmd_error_fmt(struct cmd_ctx *ctx, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cmd_error_arity(struct cmd_ctx *ctx);
void cmd_error_wrongtype(struct cmd_ctx *ctx);
void cmd_error_syntax(struct cmd_ctx *ctx);
void cmd_error_oom(struct cmd_ctx *ctx);

/* argv[i] is a secret: the slow log and MONITOR show "(redacted)". */
static inline void cmd_hide_argument(struct cmd_ctx *ctx, size_t i)
{
    ctx->hidden |= slowlog_hidden_bit(i);
}

/* Counts an error whose text is written elsewhere. */
void cmd_count_error(struct cmd_env *env, const char *text);

/* A reply that comes later. */
struct cmd_pending;

/* Takes the place of the reply to this command. What the handler writes to
 * ctx->reply afterwards stands behind it. expected: about the memory it will
 * take. owns  cmd_fulfil(). */
struct cmd_pending *cmd_defer(struct cmd_ctx *ctx, size_t expected);

/* Calls gone(arg) when the client goes before the reply is given; it is to be
 * given all the same. */
void cmd_when_gone(struct cmd_pending *p, void (*gone)(void *arg), void *arg);

/* Gives it. body: the reply's bytes, taken. run_us: what the work took
 * elsewhere. error: the text when the reply is one, else NULL. */
void cmd_fulfil(struct cmd_pending *p, struct buf *body, time_us run_us,
                const char *error);

/* Adds to the slow log what took long; c may be NULL. */
void cmd_log_if_slow(struct cmd_env *env, const struct command *command,
                     const struct slowlog_preview *preview,
                     const struct client *c, time_us took_us);

/* ---- transactions (multi.c) -------------------------------------------- */

/* Adds a command to a client's transaction. */
void multi_queue(struct client *c, const struct command *command,
                 const struct bytes *argv, size_t argc);
void multi_end(struct client *c);
/* Ends the transaction, if there is one, and what is watched for it. */
void multi_discard(struct cmd_env *env, struct client *c);

/* Has c->keys_changed set when a key of c->db changes. fails  ERR_NOMEM. */
enum err multi_watch(struct cmd_env *env, struct client *c,
                     struct bytes key) MUST_USE;
void multi_unwatch_all(struct cmd_env *env, struct client *c);
size_t multi_watch_count(const struct client *c);
void multi_init(struct cmd_env *env);
void multi_deinit(struct cmd_env *env);

/* ---- MONITOR (monitor.c) ----------------------------------------------- */

void monitor_add(struct cmd_env *env, struct client *c);
void monitor_remove(struct cmd_env *env, struct client *c);
void monitor_feed(struct cmd_env *env, const struct client *c,
                  const struct bytes *argv, size_t argc, uint32_t hidden);

#endif
