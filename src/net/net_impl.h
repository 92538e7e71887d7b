/* The inside of net/: shared by net.c, conn_*.c and listen.c. */
#ifndef VECTRA_NET_NET_IMPL_H
#define VECTRA_NET_NET_IMPL_H

#include <sys/socket.h>

#include "net/loop_impl.h"
#include "net/net.h"
#include "resp/resp_request.h"

enum {
    READ_CHUNK = 256 * 1024, /* shared, so its size matters once */
    BUF_KEEP = 64 * 1024,    /* larger buffers are freed, not recycled */
    BUFS_KEPT = 64,
    SLOTS_MAX = 1024, /* deferred replies of one connection */
    LISTENERS_MAX = 32,
};

struct listener {
    struct net *net;
    struct event event;
    int fd;
    char *unix_path; /* removed when listening stops; NULL for TCP */
};

struct reply_slot {
    struct conn *conn; /* NULL: the connection is gone */
    struct reply_slot *next;
    struct buf body;
    struct buf after;        /* replies to requests after this one */
    size_t expected;         /* of body */
    void (*gone)(void *arg); /* NULL: nobody wants to know */
    void *gone_arg;
    bool filled;
};

/* A long stretch of replies that may be sent, moved here instead of copied. */
struct piece {
    struct piece *next;
    struct buf bytes;
};

/* Bytes of a connection up to `total`, counted since it was opened, leave when
 * the log is durable up to `lsn`. */
struct held {
    uint64_t lsn; /* 0: none */
    uint64_t total;
};

struct conn {
    struct net *net;
    struct conn *prev, *next; /* all connections */
    struct conn *flush_next;
    struct conn *resume_next;
    struct conn *closed_next;
    void *user;
    int fd;
    uint8_t class;
    bool is_unix;
    bool is_loopback;
    bool in_flush;
    bool in_resume;
    bool paused;    /* by the handler */
    bool throttled; /* too much is waiting to be read by the client */
    bool yielded;   /* has requests left for the next turn */
    bool reading;   /* the read event is on */
    bool writing;   /* the write event is on */
    bool closing;   /* close when replies are sent */
    bool closed;
    bool tell_drained;
    bool authenticated;
    bool in_own_buf;     /* the request that runs lies in `in` */
    bool pinned;         /* and stays there until conn_resume() */
    size_t pinned_bytes; /* of `in`, up to its end */
    struct resp_parser parser;
    struct buf in;             /* unfinished requests; empty when idle */
    struct piece *piece_first; /* sent before `ready` */
    struct piece *piece_last;
    size_t piece_bytes;
    struct buf ready;
    size_t sent; /* of the first piece or, without one, of ready */
    struct reply_slot *slot_first;
    struct reply_slot *slot_last;
    size_t n_slots;
    size_t slot_bytes; /* in slots, but for the last one's `after` */
    size_t expected;   /* of slots not filled */
    size_t counted;    /* this connection's part of net->output_pending */
    struct conn *gated_next;
    bool gated;          /* in net->gated: held[] is in use */
    struct held held[2]; /* see struct net_gate */
    uint64_t may_send;   /* while gated, as a total */
    uint64_t queued;     /* total of bytes sent or ready at the last flush */
    time_us soft_since;
    time_us last_read_at;
    uint64_t input_total;
    uint64_t output_total;
    struct event read_event;
    struct event write_event;
};

struct net {
    struct loop *loop;
    const struct net_config *config;
    const struct net_handler *handler;
    void *arg;
    struct listener *listeners[LISTENERS_MAX];
    int n_listeners;
    int spare_fd; /* given up to turn a client away when none are left */
    struct conn *conns;
    size_t n_conns;
    struct conn *flush;  /* have something to send */
    struct conn *resume; /* have requests to go on with */
    struct conn *closed; /* to be freed at the end of the turn */
    struct conn *gated;  /* have something that waits for the log */
    struct net_gate gate;
    size_t output_pending;
    time_us now;
    struct net_stats stats;
    struct resp_scratch scratch;
    uint8_t *read_chunk;
    struct buf bufs[BUFS_KEPT];
    int n_bufs;
    struct reply_slot *free_slots;
};

/* conn.c */
struct conn *conn_create(struct net *n, int fd, bool is_unix);
void conn_free(struct conn *c);
void conn_mark_flush(struct conn *c);
void conn_mark_resume(struct conn *c);

/* conn_read.c */
void conn_read_start(struct conn *c);
void conn_read_stop(struct conn *c);
void conn_on_readable(evutil_socket_t fd, short what, void *arg);
void conn_consume(struct conn *c, size_t used); /* of `in`, from its front */
void conn_go_on(struct conn *c); /* runs requests that were left in `in` */

/* conn_write.c */
void conn_on_writable(evutil_socket_t fd, short what, void *arg);
void conn_flush(struct conn *c);
void conn_drop_output(struct conn *c);
void conn_hold(struct conn *c); /* what is new waits for the log */
size_t conn_unsent(const struct conn *c);

/* net.c: recycled buffers, so that idle connections own none. */
void net_lend_buf(struct net *n, struct buf *b);
void net_return_buf(struct net *n, struct buf *b);

#endif
