/* Running the canonical stream: commands from a log, without a connection.
 *
 * Nothing here expires by itself, is refused for lack of memory or is counted:
 * what was executed once is executed again as it was. A transaction is run when
 * its EXEC comes. An error means that the data is not what it was when the
 * command was logged, and ends it all.
 *
 * thread loop only, or the one that has the baton. */
#ifndef VECTRA_CMD_REPLAY_H
#define VECTRA_CMD_REPLAY_H

#include "cmd/cmd.h"

struct replay {
    struct cmd_env *env;
    struct client client;
    struct buf out; /* replies, looked at and thrown away */
    uint64_t n_commands;
    /* as they were before */
    size_t memory_limit;
    int64_t slower_than_us;
    struct cmd_counter *counters;
    uint64_t total_commands, total_errors;
};

/* env->host->out() and give() are called with a client whose conn is NULL; they
 * are to use replay_of(client)->out. */
void replay_begin(struct replay *r, struct cmd_env *env);
void replay_end(struct replay *r);

static inline struct replay *replay_of(struct client *c)
{
    return CONTAINER_OF(c, struct replay, client);
}

/* Runs one command of the stream.
 *
 * fails  ERR_CORRUPT with words: it is unknown, none that writes, or replied an
 *        error. */
enum err replay_command(struct replay *r, const struct bytes *argv, size_t argc,
                        struct err_ctx *ctx) MUST_USE;

/* Has fetched what a command that comes soon will read of its set's names: a
 * hint, of no matter where it is wrong. */
void replay_expect(const struct replay *r, const struct bytes *argv,
                   size_t argc);

/* Between MULTI and EXEC. */
static inline bool replay_in_transaction(const struct replay *r)
{
    return r->client.in_multi;
}

/* Forgets a transaction whose EXEC does not come. */
void replay_abandon_transaction(struct replay *r);

#endif
