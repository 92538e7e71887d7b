/* Connections become clients: the callbacks net/ makes, and what commands may
 * ask of a connection (cmd/cmd_host.h). */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/job.h"
#include "cmd/replay.h"
#include "server/aof.h"
#include "server/exchange.h"
#include "server/info.h"
#include "server/server.h"

enum { LOOK_MIN = 100 }; /* clients looked at in one run of the cron */

struct server_client {
    struct client client;
    size_t index;        /* in server_clients.all */
    size_t memory_bytes; /* at the last look; part of the sum */
};

static struct server_client *wrapper_of(struct client *c)
{
    return CONTAINER_OF(c, struct server_client, client);
}

static struct conn *conn_of(struct client *c)
{
    return c->conn;
}

/* ---- the list of all --------------------------------------------------- */

static struct client *add_client(struct server_clients *list, uint64_t id,
                                 struct conn *conn)
{
    struct server_client *w = mem_calloc(1, sizeof(*w));

    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 64;
        list->all = mem_realloc(list->all, list->cap * sizeof(*list->all));
    }
    client_init(&w->client, id, conn);
    w->index = list->n;
    list->all[list->n++] = w;
    return &w->client;
}

static void remove_client(struct server_clients *list, struct server_client *w)
{
    struct server_client *last = list->all[--list->n];

    last->index = w->index;
    list->all[w->index] = last;
    list->memory_bytes -= w->memory_bytes;
    mem_free(w);
}

void server_clients_deinit(struct server *s)
{
    ASSERT(s->clients.n == 0);
    mem_free(s->clients.all);
}

struct writers {
    uint64_t since;
    size_t n;
};

static void close_if_writer(struct conn *conn, void *arg)
{
    struct writers *w = arg;
    const struct client *c = conn_user(conn);

    if (c && c->write_lsn > w->since) {
        conn_close(conn);
        w->n++;
    }
}

size_t server_close_writers_since(struct server *s, uint64_t lsn)
{
    struct writers w = {.since = lsn};

    net_each(s->net, close_if_writer, &w);
    return w.n;
}

static size_t memory_of(struct client *c, const struct conn_info *info)
{
    return mem_size(wrapper_of(c)) + mem_size(c->conn) + info->query_cap +
           info->output_memory + c->queued_bytes;
}

static bool is_idle(const struct server *s, const struct client *c,
                    const struct conn_info *info)
{
    return s->config.timeout > 0 && !c->is_monitor && !c->job &&
           info->deferred == 0 &&
           s->turn_started_at - info->last_read_at >
               s->config.timeout * 1000000;
}

static void look_at(struct server *s, struct server_client *w)
{
    struct server_clients *list = &s->clients;
    struct client *c = &w->client;
    struct conn_info info;

    conn_info_read(c->conn, &info);
    if (is_idle(s, c, &info)) {
        LOG_INFO(NET, "closing idle client", "id=%llu",
                 (unsigned long long)c->id);
        conn_close(c->conn);
        return;
    }
    list->memory_bytes -= w->memory_bytes;
    w->memory_bytes = memory_of(c, &info);
    list->memory_bytes += w->memory_bytes;
    if (info.query_cap > list->round_input) {
        list->round_input = info.query_cap;
    }
    if (info.output_bytes > list->round_output) {
        list->round_output = info.output_bytes;
    }
}

static void end_round(struct server_clients *list)
{
    list->next = 0;
    list->max_input = list->round_input;
    list->max_output = list->round_output;
    list->round_input = list->round_output = 0;
}

/* Closing a client moves the last one to its place, which may then be missed in
 * this round or seen again: it is seen in the next. */
void server_clients_look(struct server *s)
{
    struct server_clients *list = &s->clients;
    size_t n = list->n / (size_t)s->config.hz + 1;

    if (n < LOOK_MIN) {
        n = LOOK_MIN;
    }
    for (; n > 0 && list->next < list->n; n--) {
        look_at(s, list->all[list->next++]);
    }
    if (list->next >= list->n) {
        end_round(list);
    }
}

/* ---- what net/ calls --------------------------------------------------- */

#define PROTECTED_TEXT                                                         \
    "-DENIED Vectra is running in protected mode because protected mode is "   \
    "enabled and no password is set for the default user. In this mode "       \
    "connections are only accepted from the loopback interface. If you want "  \
    "to connect from external computers, set a password with the "             \
    "'requirepass' directive, or switch protected mode off with 'CONFIG SET "  \
    "protected-mode no' from the loopback interface, having made sure that "   \
    "the server is not accessible from the internet.\r\n"

static const char *client_opened(struct conn *conn, void *arg)
{
    struct server *s = arg;
    struct conn_info info;
    struct client *c;

    conn_info_read(conn, &info);
    if (net_count(s->net) > (size_t)s->config.maxclients) {
        return "-ERR max number of clients reached\r\n";
    }
    if (s->config.protected_mode && !info.is_loopback &&
        !s->commands.settings.password.is_set) {
        return PROTECTED_TEXT;
    }
    c = add_client(&s->clients, ++s->next_client_id, conn);
    c->server = s;
    c->is_unix = info.is_unix;
    c->authenticated = !s->commands.settings.password.is_set;
    conn_set_authenticated(conn, c->authenticated);
    conn_set_user(conn, c);
    return NULL;
}

static void client_request(struct conn *conn, struct bytes *argv, size_t argc)
{
    struct client *c = conn_user(conn);
    struct server *s = c->server;

    /* What is written after the last save would be lost: it is not taken, and
     * the connection closes unanswered. */
    if (LIKELY(!s->shutting_down)) {
        cmd_run(&s->commands, c, argv, argc);
    }
}

static void client_invalid(struct conn *conn, const char *error)
{
    struct client *c = conn_user(conn);
    struct server *s = c->server;

    cmd_invalid_request(&s->commands, c, error);
}

static void client_closed(struct conn *conn)
{
    struct client *c = conn_user(conn);
    struct server *s;

    if (!c) {
        return; /* it was turned away */
    }
    s = c->server;
    client_deinit(c, &s->commands);
    remove_client(&s->clients, wrapper_of(c));
    conn_set_user(conn, NULL);
}

static void client_drained(struct conn *conn)
{
    struct client *c = conn_user(conn);

    if (c && c->job) {
        cmd_job_unpark(c->job);
    }
}

static uint64_t client_position(const struct conn *conn)
{
    const struct client *c = conn_user(conn);

    return c ? c->write_lsn : 0;
}

const struct net_handler server_net_handler = {
    .opened = client_opened,
    .request = client_request,
    .invalid = client_invalid,
    .closed = client_closed,
    .drained = client_drained,
    .position = client_position,
};

/* ---- what commands ask ------------------------------------------------- */

static struct buf *host_out(struct client *c)
{
    return c->conn ? conn_out(conn_of(c)) : &replay_of(c)->out;
}

static void host_give(struct client *c, struct buf *reply)
{
    if (c->conn) {
        conn_give(conn_of(c), reply);
    } else {
        buf_append_bytes(&replay_of(c)->out, buf_bytes(reply));
        buf_deinit(reply);
    }
}

static void *host_defer(struct client *c, size_t expected)
{
    return conn_defer(conn_of(c), expected);
}

static void host_when_gone(void *deferred, void (*gone)(void *arg), void *arg)
{
    reply_slot_when_gone(deferred, gone, arg);
}

static size_t host_owed(struct client *c)
{
    return conn_owed(conn_of(c));
}

static void host_unpark_drained(struct client *c)
{
    conn_tell_drained(conn_of(c));
}

static void host_fulfil(void *deferred, struct buf *body)
{
    reply_slot_fill(deferred, body);
}

static struct client *host_deferred_client(void *deferred)
{
    struct conn *conn = reply_slot_conn(deferred);

    return conn ? conn_user(conn) : NULL;
}

static void host_pause(struct client *c)
{
    conn_pause(conn_of(c));
}

static void host_resume(struct client *c)
{
    conn_resume(conn_of(c));
}

static bool host_pin_request(struct client *c)
{
    return conn_pin_request(conn_of(c));
}

static void host_close_after_reply(struct client *c)
{
    conn_close_after_replies(conn_of(c));
}

static void host_close(struct client *c)
{
    conn_close(conn_of(c));
}

static void host_authenticated(struct client *c, bool yes)
{
    conn_set_authenticated(conn_of(c), yes);
}

static void host_client_info(struct client *c, struct net_client_info *out)
{
    struct conn_info info;

    conn_info_read(conn_of(c), &info);
    memset(out, 0, sizeof(*out));
    conn_peer_addr(conn_of(c), out->addr);
    conn_local_addr(conn_of(c), out->laddr);
    out->fd = info.fd;
    out->last_read_at = info.last_read_at;
    out->query_bytes = info.query_bytes;
    out->query_free = info.query_cap - info.query_bytes;
    out->output_bytes = info.output_bytes;
    out->memory_bytes = memory_of(c, &info);
    out->input_total = info.input_total;
    out->output_total = info.output_total;
}

static void host_exchange(void *server, struct cmd_exchange *x, bool wait)
{
    struct server *s = server;

    exchange_begin(s->exchanges, x, wait);
}

static bool host_is_local(struct client *c)
{
    struct conn_info info;

    conn_info_read(conn_of(c), &info);
    return info.is_unix || info.is_loopback;
}

struct each {
    void (*fn)(struct client *c, void *arg);
    void *arg;
};

static void each_conn(struct conn *conn, void *arg)
{
    const struct each *e = arg;
    struct client *c = conn_user(conn);

    if (c) {
        e->fn(c, e->arg);
    }
}

static void host_each_client(void *server,
                             void (*fn)(struct client *c, void *arg), void *arg)
{
    struct server *s = server;
    struct each e = {fn, arg};

    net_each(s->net, each_conn, &e);
}

static size_t host_client_count(void *server)
{
    return net_count(((struct server *)server)->net);
}

static const char *host_shutdown(void *server, uint32_t flags)
{
    struct err_ctx ctx = {""};

    return server_shutdown(server, flags, "SHUTDOWN", &ctx) == ERR_OK
               ? NULL
               : "ERR Errors trying to SHUTDOWN. Check logs.";
}

static const char *host_backup_start(void *server, struct bytes dir)
{
    return aof_backup_start(((struct server *)server)->aof, dir);
}

static const char *host_backup_stop(void *server)
{
    return aof_backup_stop(((struct server *)server)->aof);
}

static const char *host_log_rewrite(void *server)
{
    return aof_rewrite(((struct server *)server)->aof);
}

static enum err host_log_reload(void *server, struct err_ctx *ctx)
{
    return aof_reload(((struct server *)server)->aof, ctx);
}

static bool host_log_is_on(void *server)
{
    return ((struct server *)server)->config.appendonly;
}

static uint64_t host_log_synced(void *server)
{
    return aof_synced(((struct server *)server)->aof);
}

static void host_log_wait(void *server, struct cmd_waiter *w)
{
    aof_wait_synced(((struct server *)server)->aof, w);
}

void server_host_init(struct server *s)
{
    s->host = (struct cmd_host){
        .server = s,
        .out = host_out,
        .give = host_give,
        .defer = host_defer,
        .when_gone = host_when_gone,
        .owed = host_owed,
        .unpark_drained = host_unpark_drained,
        .fulfil = host_fulfil,
        .deferred_client = host_deferred_client,
        .pin_request = host_pin_request,
        .pause = host_pause,
        .resume = host_resume,
        .close_after_reply = host_close_after_reply,
        .close = host_close,
        .authenticated = host_authenticated,
        .client_info = host_client_info,
        .each_client = host_each_client,
        .client_count = host_client_count,
        .is_local = host_is_local,
        .exchange = host_exchange,
        .info = info_write,
        .config_get = server_config_get,
        .config_set = server_config_set,
        .config_is_secret = server_config_is_secret,
        .config_rewrite = server_config_rewrite,
        .reset_stats = server_reset_stats,
        .shutdown = host_shutdown,
        .save = server_save,
        .bgsave = server_bgsave,
        .lastsave = server_lastsave,
        .flushed = server_flushed,
        .debug_reload = server_debug_reload,
        .run_id = s->run_id,
        .log_rewrite = host_log_rewrite,
        .backup_start = host_backup_start,
        .backup_stop = host_backup_stop,
        .log_reload = host_log_reload,
        .log_is_on = host_log_is_on,
        .log_synced = host_log_synced,
        .log_wait = host_log_wait,
    };
}
