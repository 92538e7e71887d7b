/* What commands need from the server above them. The server fills this in once;
 * tests fill in what they need.
 *
 * thread loop only. */
#ifndef VECTRA_CMD_CMD_HOST_H
#define VECTRA_CMD_CMD_HOST_H

#include "base/buf.h"
#include "cmd/client.h"

struct net_client_info {
    char addr[128];
    char laddr[128];
    int fd;
    time_us last_read_at;
    size_t query_bytes, query_free;
    size_t output_bytes;
    size_t memory_bytes;
    uint64_t input_total, output_total;
};

struct cmd_waiter;

enum shutdown_flag {
    SHUTDOWN_SAVE = 1 << 0,
    SHUTDOWN_NOSAVE = 1 << 1,
    SHUTDOWN_NOW = 1 << 2,
    SHUTDOWN_FORCE = 1 << 3,
};

enum reload_flag {
    RELOAD_NOSAVE = 1 << 0,  /* the file is there already */
    RELOAD_NOFLUSH = 1 << 1, /* what is there stays */
    RELOAD_MERGE = 1 << 2,   /* unless the file has it, too */
};

/* Requests to another server and its replies, each of which is one line. */
struct cmd_exchange {
    char *host, *port;
    int64_t timeout_ms; /* for the connection, and without any progress */
    struct buf request;
    size_t n_replies;
    void (*done)(struct cmd_exchange *x); /* on the loop thread */
    void *arg;
    /* found */
    enum {
        EXCHANGE_COMPLETE,
        EXCHANGE_NOT_CONNECTED,
        EXCHANGE_NOT_SENT,
        EXCHANGE_NOT_ANSWERED,
    } result;
    size_t n_got;
    struct buf replies; /* n_got lines, a NUL at the end of each */
};

struct cmd_host {
    void *server;

    /* Where the next reply to a client goes; valid until defer(). */
    struct buf *(*out)(struct client *c);
    /* Appends a reply there; takes its memory and leaves it empty. */
    void (*give)(struct client *c, struct buf *reply);
    /* Takes the place of a reply that fulfil() gives later, also when the
     * client is gone by then. expected: about the memory it takes. */
    void *(*defer)(struct client *c, size_t expected);
    /* Calls gone(arg) when the client goes before that. */
    void (*when_gone)(void *deferred, void (*gone)(void *arg), void *arg);
    /* Bytes of replies that the client has not read, those expected included;
     * and unparks its job when there are none. */
    size_t (*owed)(struct client *c);
    void (*unpark_drained)(struct client *c);
    void (*fulfil)(void *deferred, struct buf *body);
    struct client *(*deferred_client)(void *deferred); /* NULL: gone */
    /* Keeps the arguments of the request that runs where they are until
     * resume(), which must follow pause(). False: they are in memory that is
     * about to be used again, and small enough to copy. */
    bool (*pin_request)(struct client *c);
    /* Holds back a client's further requests. */
    void (*pause)(struct client *c);
    void (*resume)(struct client *c);
    void (*close_after_reply)(struct client *c);
    void (*close)(struct client *c);
    /* The client has proved who it is, or no longer counts as having. */
    void (*authenticated)(struct client *c, bool yes);
    void (*client_info)(struct client *c, struct net_client_info *out);
    void (*each_client)(void *server, void (*fn)(struct client *c, void *arg),
                        void *arg);
    size_t (*client_count)(void *server);

    /* It came over the loopback interface or a Unix socket. */
    bool (*is_local)(struct client *c);

    /* Talks with another server, elsewhere: done() is called later. With
     * `wait` here and now, and done() is not called. */
    void (*exchange)(void *server, struct cmd_exchange *x, bool wait);

    /* Appends INFO's text for the sections asked for; none means default. */
    void (*info)(void *server, const struct bytes *sections, size_t n,
                 struct buf *out);
    /* Calls found() for every directive that one of the patterns matches; its
     * name is spelled as in a pattern that is a name. */
    void (*config_get)(void *server, const struct bytes *patterns, size_t n,
                       void (*found)(void *arg, struct bytes name,
                                     struct bytes value),
                       void *arg);
    /* Sets all of the name, value pairs or none. fails  with ctx holding the
     * error line. */
    enum err (*config_set)(void *server, struct client *by,
                           const struct bytes *pairs, size_t n_pairs,
                           struct err_ctx *ctx);
    /* Whether a directive's value is not to be shown in logs. */
    bool (*config_is_secret)(struct bytes name);
    /* fails  with ctx holding the error line. */
    enum err (*config_rewrite)(void *server, struct err_ctx *ctx);
    void (*reset_stats)(void *server);
    /* Ends the server; returns the error line when it will not. */
    const char *(*shutdown)(void *server, uint32_t flags);

    /* Snapshots. Writes one; the error line, or NULL. */
    const char *(*save)(void *server);
    /* Has one written: the reply, "+..." or "-...". */
    const char *(*bgsave)(void *server, bool schedule);
    int64_t (*lastsave)(void *server); /* Unix time */
    /* All databases were emptied by a client. */
    void (*flushed)(void *server);
    /* Writes one and makes the data what it says; the error line, or NULL. */
    const char *(*debug_reload)(void *server, uint32_t flags);
    const char *run_id;

    /* The log. Begins to write a new base: the reply, "+..." or "-...". */
    const char *(*log_rewrite)(void *server);
    /* BACKUP: the reply. */
    const char *(*backup_start)(void *server, struct bytes dir);
    const char *(*backup_stop)(void *server);
    /* Makes the data what the log says; fails  with words. */
    enum err (*log_reload)(void *server, struct err_ctx *ctx);
    bool (*log_is_on)(void *server);
    uint64_t (*log_synced)(void *server); /* LSN up to which it is on disk */
    /* Has that become more soon, and wakes w then; now and then before. */
    void (*log_wait)(void *server, struct cmd_waiter *w);
};

#endif
