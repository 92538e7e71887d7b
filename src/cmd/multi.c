/* MULTI, EXEC, WATCH.
 *
 * A watched key is a node in two lists: its client's, and the chain of all who
 * watch that key, whose first node the table `watches` finds by database and
 * key. A change of a key marks the clients of its chain; nobody watching costs
 * one comparison. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "cmd/cmd.h"

enum { BEHIND_BYTES = 256 * 1024 }; /* of the stream, that nobody has taken */

struct watched_key {
    struct client *client;
    struct watched_key *next_of_client;
    struct watched_key *next_of_key;
    uint64_t hash;
    int db;
    size_t key_len;
    uint8_t key[];
};

/* ---- watching ---------------------------------------------------------- */

static uint64_t watch_hash(int db, struct bytes key)
{
    return hash_bytes(key.data, key.len) ^ (uint64_t)db * 0x9e3779b97f4a7c15u;
}

static uint64_t watch_ref_hash(uint64_t ref, void *arg)
{
    (void)arg;
    return ((const struct watched_key *)(uintptr_t)ref)->hash;
}

static struct watched_key *find_chain(const struct cmd_env *env, int db,
                                      struct bytes key, uint64_t hash)
{
    struct table_probe p;
    uint64_t ref;

    table_probe_start(&p, &env->watches, hash);
    while (table_probe_next(&p, &ref)) {
        struct watched_key *w = (struct watched_key *)(uintptr_t)ref;

        if (w->db == db && bytes_equal(bytes_of(w->key, w->key_len), key)) {
            return w;
        }
    }
    return NULL;
}

static void key_changed(void *arg, int db, struct bytes key)
{
    struct cmd_env *env = arg;
    struct watched_key *w;

    if (LIKELY(env->n_watches == 0)) {
        return;
    }
    for (w = find_chain(env, db, key, watch_hash(db, key)); w;
         w = w->next_of_key) {
        w->client->keys_changed = true;
    }
}

static void key_expired(void *arg, int db, struct bytes key)
{
    propagate_expired(arg, db, key);
}

static void set_trained(void *arg, int db, struct bytes key, uint64_t from,
                        struct bytes rest)
{
    propagate_trained(arg, db, key, from, rest);
}

static void part_trained(void *arg, int db, struct bytes key, uint64_t from,
                         struct bytes part)
{
    propagate_trained_part(arg, db, key, from, part);
}

static struct keyspace_log log_of(void *arg)
{
    const struct cmd_stream *s = &((const struct cmd_env *)arg)->stream;

    return (struct keyspace_log){.run = s->on ? s->run : 0,
                                 .is_behind = s->out.len > BEHIND_BYTES};
}

/* A database is about to be emptied, or exchanged with another: watched keys
 * that are in either count as changed. */
struct flushed {
    struct cmd_env *env;
    int db;
    int other; /* -1: none */
};

static void key_flushed(uint64_t ref, void *arg)
{
    const struct flushed *f = arg;
    struct watched_key *w = (struct watched_key *)(uintptr_t)ref;
    struct bytes key = bytes_of(w->key, w->key_len);

    if (w->db != f->db ||
        (!keyspace_has(f->env->ks, f->db, key) &&
         (f->other < 0 || !keyspace_has(f->env->ks, f->other, key)))) {
        return;
    }
    for (; w; w = w->next_of_key) {
        w->client->keys_changed = true;
    }
}

static void db_flushed(void *arg, int db, int other)
{
    struct cmd_env *env = arg;
    struct flushed f = {env, db, other};

    if (env->n_watches > 0) {
        table_each(&env->watches, key_flushed, &f);
    }
}

/* chain: all who watch the key. A client may watch a hundred thousand keys, and
 * a key is rarely watched by more than a few. */
static bool is_watching(const struct client *c, const struct watched_key *chain)
{
    for (; chain; chain = chain->next_of_key) {
        if (chain->client == c) {
            return true;
        }
    }
    return false;
}

enum err multi_watch(struct cmd_env *env, struct client *c, struct bytes key)
{
    uint64_t hash = watch_hash(c->db, key);
    struct watched_key *chain = find_chain(env, c->db, key, hash);
    struct watched_key *w;

    if (is_watching(c, chain)) {
        return ERR_OK;
    }
    w = mem_try_alloc(sizeof(*w) + key.len);
    if (!w) {
        return ERR_NOMEM;
    }
    *w = (struct watched_key){
        .client = c, .hash = hash, .db = c->db, .key_len = key.len};
    if (key.len) {
        memcpy(w->key, key.data, key.len);
    }
    if (chain) {
        w->next_of_key = chain->next_of_key;
        chain->next_of_key = w;
    } else if (table_insert(&env->watches, w->hash, (uintptr_t)w) != ERR_OK) {
        mem_free(w);
        return ERR_NOMEM;
    }
    env->n_watching += c->watched == NULL;
    w->next_of_client = c->watched;
    c->watched = w;
    env->n_watches++;
    return ERR_OK;
}

static void unwatch(struct cmd_env *env, struct watched_key *w)
{
    struct watched_key *chain =
        find_chain(env, w->db, bytes_of(w->key, w->key_len), w->hash);

    if (chain != w) {
        while (chain->next_of_key != w) {
            chain = chain->next_of_key;
        }
        chain->next_of_key = w->next_of_key;
    } else if (w->next_of_key) {
        table_replace(&env->watches, w->hash, (uintptr_t)w,
                      (uintptr_t)w->next_of_key);
    } else {
        table_remove(&env->watches, w->hash, (uintptr_t)w);
    }
    env->n_watches--;
    mem_free(w);
}

void multi_unwatch_all(struct cmd_env *env, struct client *c)
{
    env->n_watching -= c->watched != NULL;
    while (c->watched) {
        struct watched_key *w = c->watched;

        c->watched = w->next_of_client;
        unwatch(env, w);
    }
    c->keys_changed = false;
}

size_t multi_watch_count(const struct client *c)
{
    const struct watched_key *w;
    size_t n = 0;

    for (w = c->watched; w; w = w->next_of_client) {
        n++;
    }
    return n;
}

void multi_init(struct cmd_env *env)
{
    table_init(&env->watches, 8, NULL, watch_ref_hash, NULL);
    env->ks->listener = (struct keyspace_listener){.changed = key_changed,
                                                   .expired = key_expired,
                                                   .flushed = db_flushed,
                                                   .trained = set_trained,
                                                   .trained_part = part_trained,
                                                   .log = log_of,
                                                   .arg = env};
}

void multi_deinit(struct cmd_env *env)
{
    env->ks->listener = (struct keyspace_listener){.arg = NULL};
    table_deinit(&env->watches);
}

/* ---- the queue --------------------------------------------------------- */

void multi_queue(struct client *c, const struct command *command,
                 const struct bytes *argv, size_t argc)
{
    size_t bytes = argc * sizeof(struct bytes);
    struct queued_command *q;
    uint8_t *text;
    size_t i;

    for (i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    if (c->n_queued == c->cap_queued) {
        c->cap_queued = c->cap_queued ? c->cap_queued * 2 : 8;
        c->queue = mem_realloc(c->queue, c->cap_queued * sizeof(*c->queue));
    }
    q = &c->queue[c->n_queued++];
    q->command = command;
    q->argc = argc;
    q->argv = mem_alloc(bytes);
    text = (uint8_t *)(q->argv + argc);
    for (i = 0; i < argc; i++) {
        q->argv[i] = bytes_of(text, argv[i].len);
        if (argv[i].len) {
            memcpy(text, argv[i].data, argv[i].len);
        }
        text += argv[i].len;
    }
    c->queued_bytes += bytes;
}

void multi_end(struct client *c)
{
    size_t i;

    for (i = 0; i < c->n_queued; i++) {
        mem_free(c->queue[i].argv);
    }
    c->n_queued = 0;
    c->queued_bytes = 0;
    c->in_multi = false;
    c->must_abort = false;
}

void multi_discard(struct cmd_env *env, struct client *c)
{
    multi_end(c);
    multi_unwatch_all(env, c);
}

/* ---- commands ---------------------------------------------------------- */

void cmd_multi(struct cmd_ctx *ctx)
{
    if (ctx->client->in_multi) {
        cmd_error(ctx, "ERR MULTI calls can not be nested");
        return;
    }
    ctx->client->in_multi = true;
    reply_status(&ctx->reply, "OK");
}

void cmd_discard(struct cmd_ctx *ctx)
{
    if (!ctx->client->in_multi) {
        cmd_error(ctx, "ERR DISCARD without MULTI");
        return;
    }
    multi_discard(ctx->env, ctx->client);
    reply_status(&ctx->reply, "OK");
}

/* Looking a watched key up deletes it if it has expired, which marks those who
 * watch it. */
static void expire_watched(struct cmd_env *env, const struct client *c)
{
    const struct watched_key *w;

    for (w = c->watched; w && !c->keys_changed; w = w->next_of_client) {
        (void)keyspace_find(env->ks, w->db, bytes_of(w->key, w->key_len));
    }
}

static bool queue_has(const struct client *c, uint32_t flag)
{
    size_t i;

    for (i = 0; i < c->n_queued; i++) {
        if (c->queue[i].command->flags & flag) {
            return true;
        }
    }
    return false;
}

/* The queue is taken off the client first, so that what runs sees the client
 * outside of MULTI. */
static void run_queue(struct cmd_ctx *ctx)
{
    struct client *c = ctx->client;
    struct queued_command *queue = c->queue;
    size_t n = c->n_queued;
    size_t i;

    c->queue = NULL;
    c->n_queued = c->cap_queued = 0;
    multi_end(c);
    reply_array(&ctx->reply, n);
    propagate_exec_begin(ctx->env);
    for (i = 0; i < n; i++) {
        cmd_call(ctx->env, c, queue[i].command, queue[i].argv, queue[i].argc,
                 true);
        mem_free(queue[i].argv);
    }
    propagate_exec_end(ctx->env);
    mem_free(queue);
}

void cmd_exec(struct cmd_ctx *ctx)
{
    struct client *c = ctx->client;

    if (!c->in_multi) {
        cmd_error(ctx, "ERR EXEC without MULTI");
        return;
    }
    expire_watched(ctx->env, c);
    if (c->must_abort) {
        cmd_error(ctx, "EXECABORT Transaction discarded because of previous "
                       "errors.");
    } else if (c->keys_changed) {
        reply_null_array(&ctx->reply);
    } else if (!mem_has_room(0) && queue_has(c, CMD_DENYOOM)) {
        cmd_error(ctx, "EXECABORT Transaction discarded because of: OOM "
                       "command not allowed when used memory > 'maxmemory'.");
    } else if (cmd_refusal(ctx->env) && queue_has(c, CMD_WRITE)) {
        cmd_error_fmt(ctx, "EXECABORT Transaction discarded because of: %s",
                      cmd_refusal(ctx->env));
    } else {
        multi_unwatch_all(ctx->env, c);
        run_queue(ctx);
        return;
    }
    multi_discard(ctx->env, c);
}

void cmd_watch(struct cmd_ctx *ctx)
{
    size_t i;

    if (ctx->client->in_multi) {
        cmd_error(ctx, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (i = 1; i < ctx->argc; i++) {
        (void)keyspace_find(ctx->ks, ctx->client->db, ctx->argv[i]);
        if (multi_watch(ctx->env, ctx->client, ctx->argv[i]) != ERR_OK) {
            cmd_error_oom(ctx);
            return;
        }
    }
    reply_status(&ctx->reply, "OK");
}

void cmd_unwatch(struct cmd_ctx *ctx)
{
    multi_unwatch_all(ctx->env, ctx->client);
    reply_status(&ctx->reply, "OK");
}
