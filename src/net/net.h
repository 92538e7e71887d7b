/* Connections: sockets, their buffers, and replies in order.
 *
 * The server above supplies callbacks (struct net_handler): a connection hands
 * up each complete request as views into its input buffer, and takes reply
 * bytes in conn_out(). What is written there leaves at the end of the turn.
 *
 * A request that cannot be answered at once takes a place in the order of
 * replies with conn_defer(); replies to later requests wait behind it until
 * reply_slot_fill(). A request that must not be overtaken by later ones pauses
 * the connection instead.
 *
 *     reading ──request──▶ handler ──conn_out──▶ ready ──write──▶ socket
 *        ▲                    └─conn_defer─▶ slot ─fill─▶ ┘ in order
 *        └── paused: by conn_pause(), or throttled while too many replies wait
 *            or too many bytes are unread
 *
 *  N1  While slots wait, bytes of later replies go to the `after` buffer of the
 *      last slot; `ready` holds only what may be sent.
 *  N2  A connection is freed at the end of the turn in which it was closed,
 *      never inside a callback.
 *  N3  An idle connection owns no buffer.
 *
 * thread loop only. */
#ifndef VECTRA_NET_NET_H
#define VECTRA_NET_NET_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/loop.h"

struct net;
struct conn;
struct reply_slot;

/* Classes of client-output-buffer-limit. */
enum conn_class { CONN_NORMAL, CONN_REPLICA, CONN_PUBSUB, CONN_CLASS_COUNT };

struct output_limit {
    size_t hard_bytes; /* 0: none */
    size_t soft_bytes;
    int64_t soft_seconds;
};

/* Read at every use: may be changed at any time. */
struct net_config {
    size_t bulk_max;         /* proto-max-bulk-len */
    size_t query_buffer_max; /* client-query-buffer-limit */
    int tcp_keepalive_s;     /* 0: off */
    int tcp_backlog;
    struct output_limit output[CONN_CLASS_COUNT];
};

struct net_handler {
    /* A connection was accepted. Returns NULL to admit it, having set
     * conn_set_user(), or the error line to send before closing. */
    const char *(*opened)(struct conn *c, void *arg);
    /* argv is valid during the call. */
    void (*request)(struct conn *c, struct bytes *argv, size_t argc);
    /* The bytes are no request; `error` is to be replied. The connection
     * closes after the reply. */
    void (*invalid)(struct conn *c, const char *error);
    void (*closed)(struct conn *c);
    /* See conn_tell_drained(). */
    void (*drained)(struct conn *c);
    /* Where the log is to be before the newest reply leaves; see net_gate. */
    uint64_t (*position)(const struct conn *c);
};

struct net_stats {
    uint64_t connections; /* ever accepted and admitted */
    uint64_t rejected;
    uint64_t reads, writes; /* that moved bytes */
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t query_limit_closes;
    uint64_t output_limit_closes;
};

/* config and handler are kept, not copied. owns  caller. */
struct net *net_create(struct loop *l, const struct net_config *config,
                       const struct net_handler *handler, void *arg);

/* Closes everything at once, listeners included. */
void net_destroy(struct net *n);

/* Starts listening. address: numeric or a name; "*" and "::*" mean all.
 *
 * fails  ERR_EXISTS when somebody else listens there, ERR_IO; with words. */
enum err net_listen_tcp(struct net *n, const char *address, int port,
                        struct err_ctx *ctx) MUST_USE;
enum err net_listen_unix(struct net *n, const char *path, unsigned mode,
                         struct err_ctx *ctx) MUST_USE;

/* Closes the listening sockets: those of TCP only, or all. */
void net_stop_listening(struct net *n, bool tcp_only);

/* To be called at the end of each turn: goes on with resumed connections, then
 * sends and frees closed ones. True when requests are left to run. */
bool net_turn_end(struct net *n, time_us now);

/* Its two halves, for who has something to do between the last request of a
 * turn and its replies. */
void net_go_on(struct net *n, time_us now);
bool net_send(struct net *n);

/* Replies that wait for the log: what was given to connections since the last
 * net_send() leaves when `durable` has reached `turn`. `in_flight` is what
 * `durable` will be next. Positions rise; all of them 0 holds nothing back.
 * With `own` each connection's replies wait for its own position instead of
 * `turn`.
 *
 * A connection keeps two marks, what leaves with the sync that is under way and
 * what leaves with the one after it; so nothing waits for more than two. */
struct net_gate {
    uint64_t turn, in_flight, durable;
    bool own;
};

/* To be called before net_send(); lets go what need not wait any longer. */
void net_set_gate(struct net *n, const struct net_gate *gate);

size_t net_count(const struct net *n);
size_t
net_output_pending(const struct net *n); /* bytes clients have not read */
const struct net_stats *net_stats(const struct net *n);
void net_reset_stats(struct net *n);
void net_each(struct net *n, void (*fn)(struct conn *c, void *arg), void *arg);

/* ---- one connection ---------------------------------------------------- */

void conn_set_user(struct conn *c, void *user);
void *conn_user(const struct conn *c);
void conn_set_class(struct conn *c, enum conn_class class);
/* Lifts the limits that hold before authentication. */
void conn_set_authenticated(struct conn *c, bool yes);

/* Where the next reply's bytes go; valid until the handler returns. */
struct buf *conn_out(struct conn *c);

/* Appends a reply there; takes its memory and leaves it empty. */
void conn_give(struct conn *c, struct buf *reply);

/* Takes the place of a reply that comes later; the connection may be gone by
 * then. Every slot must be filled. expected: about what memory it will take
 * until it is, so that requests for more than clients read are not run. */
struct reply_slot *conn_defer(struct conn *c, size_t expected);

/* Calls gone(arg) when the connection closes before the slot is filled. */
void reply_slot_when_gone(struct reply_slot *s, void (*gone)(void *arg),
                          void *arg);

/* Bytes that wait to be read by the client, those expected included. */
size_t conn_owed(const struct conn *c);

/* Has the handler's drained() called, once, when all replies are sent and none
 * is deferred. */
void conn_tell_drained(struct conn *c);

/* Gives a deferred reply; takes body's memory and leaves it empty. */
void reply_slot_fill(struct reply_slot *s, struct buf *body);

/* The connection a slot belongs to, NULL once it is closed. */
struct conn *reply_slot_conn(const struct reply_slot *s);

/* No further request is handed up until conn_resume(). */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* During a request, after conn_pause(): keeps the bytes of its arguments where
 * they are until conn_resume(). False when they lie in memory that other
 * connections use too; they are then at most 64 KiB and to be copied. */
bool conn_pin_request(struct conn *c);

/* Reads nothing more; closes when all replies are sent. */
void conn_close_after_replies(struct conn *c);

/* Closes now, dropping what is unsent. */
void conn_close(struct conn *c);

struct conn_info {
    int fd;
    bool is_unix;
    bool is_loopback;
    size_t query_bytes;   /* read, not run yet */
    size_t query_cap;     /* of that buffer */
    size_t output_bytes;  /* replies not read by the client */
    size_t output_memory; /* that holds them */
    size_t deferred;      /* replies that are still being made */
    time_us last_read_at;
    uint64_t input_total;
    uint64_t output_total;
};
void conn_info_read(const struct conn *c, struct conn_info *out);

/* "127.0.0.1:4242", "[::1]:4242" or "/path:0". */
enum { CONN_ADDR_MAX = 128 };
void conn_peer_addr(const struct conn *c, char out[CONN_ADDR_MAX]);
void conn_local_addr(const struct conn *c, char out[CONN_ADDR_MAX]);

#endif
