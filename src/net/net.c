/* The set of connections, and the end of a turn. */
#include "net/net_impl.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

/* Clients that do not read may hold this much in all before the server stops
 * taking requests from those that owe the most. One naive client that sends a
 * long pipeline before it reads stays well below it. */
enum {
    OUTPUT_BUDGET = 256 << 20,
    OUTPUT_SHARE = 1 << 20, /* below this a connection is never throttled */
};

struct net *net_create(struct loop *l, const struct net_config *config,
                       const struct net_handler *handler, void *arg)
{
    struct net *n = mem_calloc(1, sizeof(*n));

    n->loop = l;
    n->config = config;
    n->handler = handler;
    n->arg = arg;
    n->now = clock_mono_us();
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    n->read_chunk = mem_alloc(READ_CHUNK);
    resp_scratch_init(&n->scratch);
    return n;
}

static void free_closed(struct net *n)
{
    while (n->closed) {
        struct conn *c = n->closed;

        n->closed = c->closed_next;
        conn_free(c);
    }
}

void net_destroy(struct net *n)
{
    net_stop_listening(n, false);
    if (n->spare_fd >= 0) {
        close(n->spare_fd);
    }
    while (n->conns) {
        conn_close(n->conns);
    }
    free_closed(n);
    while (n->free_slots) {
        struct reply_slot *s = n->free_slots;

        n->free_slots = s->next;
        mem_free(s);
    }
    while (n->n_bufs > 0) {
        buf_deinit(&n->bufs[--n->n_bufs]);
    }
    resp_scratch_deinit(&n->scratch);
    mem_free(n->read_chunk);
    mem_free(n);
}

void net_lend_buf(struct net *n, struct buf *b)
{
    if (!b->data && n->n_bufs > 0) {
        *b = n->bufs[--n->n_bufs];
    }
}

void net_return_buf(struct net *n, struct buf *b)
{
    if (b->data && b->cap <= BUF_KEEP && n->n_bufs < BUFS_KEPT) {
        b->len = 0;
        n->bufs[n->n_bufs++] = *b;
        *b = BUF_INIT;
    } else {
        buf_deinit(b);
    }
}

/* ---- sending ----------------------------------------------------------- */

/* Brings the sum of unread bytes up to date with one connection. */
static void count_output(struct conn *c)
{
    size_t now = conn_owed(c);

    c->net->output_pending = c->net->output_pending - c->counted + now;
    c->counted = now;
}

/* Closes a connection that is over the limit of its class. */
static void apply_output_limit(struct conn *c)
{
    const struct output_limit *limit = &c->net->config->output[c->class];
    size_t unsent = conn_unsent(c);
    bool hard = limit->hard_bytes && unsent > limit->hard_bytes;
    bool soft = limit->soft_bytes && unsent > limit->soft_bytes;

    if (!soft) {
        c->soft_since = 0;
    } else if (!c->soft_since) {
        c->soft_since = c->net->now;
        soft = false;
    } else {
        soft = c->net->now - c->soft_since > limit->soft_seconds * 1000000;
    }
    if (hard || soft) {
        c->net->stats.output_limit_closes++;
        conn_close(c);
    }
}

static void throttle(struct conn *c)
{
    bool much =
        (c->counted > OUTPUT_SHARE && c->net->output_pending > OUTPUT_BUDGET) ||
        c->n_slots >= SLOTS_MAX;

    if (much && !c->throttled) {
        c->throttled = true;
        conn_read_stop(c);
    } else if (c->throttled && !much) {
        c->throttled = false;
        if (!c->paused) {
            conn_read_start(c);
            if (c->in.len) {
                conn_mark_resume(c);
            }
        }
    }
}

static void flush_all(struct net *n)
{
    while (n->flush) {
        struct conn *c = n->flush;

        n->flush = c->flush_next;
        c->in_flush = false;
        if (c->closed) {
            continue;
        }
        conn_hold(c);
        conn_flush(c);
        count_output(c);
        if (!c->closed) {
            apply_output_limit(c);
        }
        if (!c->closed) {
            throttle(c);
        }
    }
}

/* ---- replies that wait for the log ------------------------------------- */

/* True when the connection waits for nothing any more. */
static bool let_go(struct conn *c, uint64_t durable)
{
    int i;

    for (i = 0; i < 2; i++) {
        if (c->held[i].lsn && c->held[i].lsn <= durable) {
            c->may_send = c->held[i].total;
            c->held[i].lsn = 0;
            conn_mark_flush(c);
        }
    }
    return !c->held[0].lsn && !c->held[1].lsn;
}

void net_set_gate(struct net *n, const struct net_gate *gate)
{
    bool moved = gate->durable != n->gate.durable || gate->turn == 0;
    struct conn **at = &n->gated;

    n->gate = *gate;
    while (moved && *at) {
        struct conn *c = *at;

        if (let_go(c, gate->turn ? gate->durable : UINT64_MAX)) {
            c->gated = false;
            *at = c->gated_next;
        } else {
            at = &c->gated_next;
        }
    }
}

/* ---- the end of a turn ------------------------------------------------- */

bool net_turn_end(struct net *n, time_us now)
{
    net_go_on(n, now);
    return net_send(n);
}

void net_go_on(struct net *n, time_us now)
{
    struct conn *c = n->resume;

    n->now = now;
    n->resume = NULL;
    while (c) {
        struct conn *next = c->resume_next;

        c->in_resume = false;
        if (!c->closed && !c->paused && !c->throttled) {
            conn_go_on(c);
        }
        c = next;
    }
}

bool net_send(struct net *n)
{
    flush_all(n);
    free_closed(n);
    return n->resume != NULL;
}

/* ---- the whole --------------------------------------------------------- */

size_t net_count(const struct net *n)
{
    return n->n_conns;
}

size_t net_output_pending(const struct net *n)
{
    return n->output_pending;
}

const struct net_stats *net_stats(const struct net *n)
{
    return &n->stats;
}

void net_reset_stats(struct net *n)
{
    n->stats = (struct net_stats){.connections = 0};
}

void net_each(struct net *n, void (*fn)(struct conn *c, void *arg), void *arg)
{
    struct conn *c = n->conns;

    while (c) {
        struct conn *next = c->next;

        fn(c, arg);
        c = next;
    }
}
