#include "cmd/replay.h"

#include "base/mem.h"
#include "base/num.h"
#include "db/vset/vset.h"

enum { SHOWN_MAX = 100 }; /* bytes of an error or a name in words */

void replay_begin(struct replay *r, struct cmd_env *env)
{
    *r = (struct replay){
        .env = env,
        .memory_limit = mem_limit(),
        .slower_than_us = env->settings.slowlog_slower_than_us,
        .total_commands = env->total_commands,
        .total_errors = env->total_errors,
    };
    r->counters = mem_alloc(sizeof(env->counters));
    memcpy(r->counters, env->counters, sizeof(env->counters));
    client_init(&r->client, 0, NULL);
    r->client.authenticated = true;
    mem_set_limit(0);
    env->settings.slowlog_slower_than_us = -1;
    env->ks->keep_expired = true;
}

void replay_end(struct replay *r)
{
    struct cmd_env *env = r->env;

    client_deinit(&r->client, env);
    memcpy(env->counters, r->counters, sizeof(env->counters));
    mem_free(r->counters);
    buf_deinit(&r->out);
    env->total_commands = r->total_commands;
    env->total_errors = r->total_errors;
    env->settings.slowlog_slower_than_us = r->slower_than_us;
    env->ks->keep_expired = false;
    mem_set_limit(r->memory_limit);
}

static int shown(size_t len)
{
    return (int)(len < SHOWN_MAX ? len : SHOWN_MAX);
}

static enum err select_db(struct replay *r, const struct bytes *argv,
                          struct err_ctx *ctx)
{
    int64_t db;

    if (!num_parse_i64(argv[1], &db) || db < 0 || db >= r->env->ks->n_dbs) {
        return err_set(ctx, ERR_CORRUPT,
                       "there is no database '%.*s', see the directive "
                       "databases",
                       shown(argv[1].len), (const char *)argv[1].data);
    }
    r->client.db = (int)db;
    return ERR_OK;
}

static enum err run(struct replay *r, const struct command *command,
                    const struct bytes *argv, size_t argc, struct err_ctx *ctx)
{
    uint64_t errors = r->env->total_errors;

    if (command_id(command) == CMD_ID_SELECT) {
        return select_db(r, argv, ctx);
    }
    r->out.len = 0;
    /* As if inside EXEC: jobs run to their end. */
    cmd_call(r->env, &r->client, command, argv, argc, true);
    if (UNLIKELY(r->env->total_errors != errors)) {
        return err_set(ctx, ERR_CORRUPT, "'%s' failed: %.*s", command->name,
                       shown(r->out.len), (const char *)r->out.data);
    }
    r->n_commands++;
    return ERR_OK;
}

static enum err exec(struct replay *r, struct err_ctx *ctx)
{
    struct client *c = &r->client;
    enum err err = ERR_OK;
    size_t i;

    if (!c->in_multi) {
        return err_set(ctx, ERR_CORRUPT, "EXEC without MULTI");
    }
    for (i = 0; i < c->n_queued && !err; i++) {
        const struct queued_command *q = &c->queue[i];

        err = run(r, q->command, q->argv, q->argc, ctx);
    }
    multi_end(c);
    return err;
}

enum err replay_command(struct replay *r, const struct bytes *argv, size_t argc,
                        struct err_ctx *ctx)
{
    const struct command *parent;
    const struct command *command = command_lookup(argv, argc, &parent);

    if (!command || !command_arity_ok(command, argc)) {
        return err_set(ctx, ERR_CORRUPT,
                       "unknown command or wrong number of "
                       "arguments: '%.*s'",
                       shown(argv[0].len), (const char *)argv[0].data);
    }
    switch (command_id(command)) {
    case CMD_ID_MULTI:
        if (r->client.in_multi) {
            return err_set(ctx, ERR_CORRUPT, "MULTI inside MULTI");
        }
        r->client.in_multi = true;
        return ERR_OK;
    case CMD_ID_EXEC:
        return exec(r, ctx);
    default:
        break;
    }
    if (!(command->flags & CMD_WRITE) && command_id(command) != CMD_ID_SELECT) {
        return err_set(ctx, ERR_CORRUPT, "'%s' is no command that writes",
                       command->name);
    }
    if (r->client.in_multi) {
        multi_queue(&r->client, command, argv, argc);
        return ERR_OK;
    }
    return run(r, command, argv, argc, ctx);
}

void replay_expect(const struct replay *r, const struct bytes *argv,
                   size_t argc)
{
    enum { NAME = 4 }; /* of VADD key ROW blob element */
    const struct entry *e;

    if (argc > NAME && bytes_equal_fold(argv[0], "vadd")) {
        e = keyspace_find(r->env->ks, r->client.db, argv[1]);
        if (e && e->type == VALUE_VSET) {
            vset_expect(e->value.vset, vset_hash(argv[NAME]), 1);
        }
    }
}

void replay_abandon_transaction(struct replay *r)
{
    multi_end(&r->client);
}
