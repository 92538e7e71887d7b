/* The server: everything below, wired together.
 *
 * thread loop only. */
#ifndef VECTRA_SERVER_SERVER_H
#define VECTRA_SERVER_SERVER_H

#include "base/mem.h"
#include "base/pool.h"
#include "base/reaper.h"
#include "cmd/cmd.h"
#include "db/keyspace.h"
#include "net/net.h"
#include "server/child.h"
#include "server/config.h"
#include "server/loading.h"
#include "server/metrics.h"
#include "server/snapshot.h"

#define SERVER_VERSION "0.1.0"

struct aof;
struct server_client;

/* Every client, in no order, so that a few at a time can be looked at. */
struct server_clients {
    struct server_client **all;
    size_t n, cap;
    size_t next;         /* the one to look at next */
    size_t memory_bytes; /* sum of what was found at the last look */
    /* Over the last round and the one under way. */
    size_t max_input, max_output;
    size_t round_input, round_output;
};

struct server {
    struct config config;
    struct net_config net_config; /* the part of it that net/ reads */
    struct loop *loop;
    struct net *net;
    struct pool *pool;     /* searches */
    struct pool *builders; /* graphs */
    struct reaper *reaper;
    struct exchanges *exchanges; /* with other servers */
    struct keyspace *ks;
    struct cmd_env commands;
    struct aof *aof;
    struct cmd_host host;
    struct server_clients clients;
    struct loop_timer *cron_timer;
    struct loop_timer *expire_timer; /* while many keys are overdue */
    uint64_t next_client_id;
    time_us started_at;
    time_us turn_started_at;
    uint64_t turns;
    uint64_t cron_runs;
    struct reaper_job decay; /* of unused memory */
    time_us decayed_us;      /* when it was last submitted */
    uint64_t searches_seen;  /* of those on workers, by the cron */
    bool is_prompt;          /* see thread_wake_at_once() */
    unsigned processors;     /* that its threads may run on */
    char run_id[41];
    char replid[41];
    bool shutting_down;

    /* persistence */
    struct child *child;
    bool builders_rest;
    time_us rest_since; /* or are to */
    struct server_snapshots snapshots;
    struct server_loading loading;
    char reply_text[256]; /* of an error that a command replies */
    /* Called once, when the data is there; or how it could not be. */
    void (*on_ready)(struct server *s);
    int ready_fd; /* see daemon.h */
    enum err failure;
    struct err_ctx failed_why;

    /* statistics */
    struct metrics_rate commands_rate, input_rate, output_rate;
    size_t startup_bytes; /* in use when the server was ready */
    struct mem_stats mem_stats;
    size_t resident_bytes;
    time_us mem_sampled_at;
};

/* Starts everything but the loop's turns, as s->config says; the rest of *s is
 * zero.
 *
 * fails  with words in ctx; what was started is stopped again. */
enum err server_start(struct server *s, struct err_ctx *ctx) MUST_USE;

/* Asks the builders to rest, so that what a child gets, or a reader of
 * everything, is not in the middle of a change (db/graph/graph.h, F1-F3); true
 * when they do. To be asked turn by turn until then; they go on with
 * server_forked(). A fork is put off for a moment besides while there is
 * something that it would wait for. */
bool server_builders_rest(struct server *s);
bool server_may_fork(struct server *s);
void server_forked(struct server *s);

/* Takes turns until a shutdown.
 *
 * fails  with words in ctx, when the data cannot be loaded or writing it cannot
 *        go on. */
enum err server_run(struct server *s, struct err_ctx *ctx) MUST_USE;

/* Ends server_run() with an error. */
void server_fail(struct server *s, enum err err, const char *why);

/* Loading has ended. */
void server_loaded(struct server *s, enum err err, const char *why);

/* Sends what is ready to be sent, closes all, frees all but s->config. */
void server_stop(struct server *s);

/* Ends server_run() with this turn, as SHUTDOWN with these flags does: saves
 * first where that is wanted.
 *
 * fails  the server goes on; ctx and the log say why. */
enum err server_shutdown(struct server *s, uint32_t flags, const char *why,
                         struct err_ctx *ctx) MUST_USE;

/* Listens where the configuration says, and nowhere else.
 *
 * fails  with words in ctx; it then listens on some of the addresses. */
enum err server_listen(struct server *s, struct err_ctx *ctx) MUST_USE;

/* Listens on TCP anew after `port` or `bind` has changed. */
enum err server_listen_tcp(struct server *s, struct err_ctx *ctx) MUST_USE;

/* Raises the limit of open files as far as maxclients needs and the system
 * lets it; returns how many clients may be connected. */
int64_t server_raise_fd_limit(int64_t maxclients);

/* clients.c: connections become clients. */
extern const struct net_handler server_net_handler;
void server_host_init(struct server *s);

/* Looks at some clients: closes what has been idle for too long, and adds up
 * memory. A round takes about a second. */
void server_clients_look(struct server *s);
void server_clients_deinit(struct server *s);

/* Closes the clients that have written something behind that LSN; returns how
 * many. */
size_t server_close_writers_since(struct server *s, uint64_t lsn);

/* cron.c: what happens hz times a second. */
void server_cron(void *arg);

/* config_apply.c: what CONFIG does to a running server. */

/* Passes on the settings that cannot fail. */
void server_apply_settings(struct server *s);
void server_config_get(void *server, const struct bytes *patterns, size_t n,
                       void (*found)(void *arg, struct bytes name,
                                     struct bytes value),
                       void *arg);
enum err server_config_set(void *server, struct client *by,
                           const struct bytes *pairs, size_t n_pairs,
                           struct err_ctx *ctx) MUST_USE;
bool server_config_is_secret(struct bytes name);
enum err server_config_rewrite(void *server, struct err_ctx *ctx) MUST_USE;
void server_reset_stats(void *server);

#endif
