/* Writing: replies in order, from the handler to the socket. */
#include "net/net_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Short replies are gathered in one buffer, long ones are passed on as they
 * are: no bytes are moved but those of small buffers, however much waits. */
enum {
    /* Once this much has been sent of `ready`, the rest moves to its front. */
    COMPACT_AT = 64 * 1024,
    PIECE_AT = 256 * 1024, /* a buffer that long is not added to */
    PIECE_MIN = 64 * 1024, /* a reply that long is not copied */
    WRITE_MAX = 1 << 20,   /* of one connection in one turn */
};

static void add_piece(struct conn *c, struct buf *bytes)
{
    struct piece *p = mem_alloc(sizeof(*p));

    *p = (struct piece){.bytes = *bytes};
    *bytes = BUF_INIT;
    c->piece_bytes += p->bytes.len;
    if (c->piece_last) {
        c->piece_last->next = p;
    } else {
        c->piece_first = p;
    }
    c->piece_last = p;
}

static void drop_piece(struct conn *c)
{
    struct piece *p = c->piece_first;

    c->piece_first = p->next;
    if (!p->next) {
        c->piece_last = NULL;
    }
    c->piece_bytes -= p->bytes.len;
    net_return_buf(c->net, &p->bytes);
    mem_free(p);
}

struct buf *conn_out(struct conn *c)
{
    conn_mark_flush(c);
    if (c->slot_last && c->slot_last->after.len >= PIECE_AT) {
        conn_defer(c, 0)->filled = true; /* for the sake of its `after` */
    }
    if (c->slot_last) {
        return &c->slot_last->after;
    }
    if (c->ready.len >= PIECE_AT) {
        add_piece(c, &c->ready);
    }
    net_lend_buf(c->net, &c->ready);
    return &c->ready;
}

size_t conn_unsent(const struct conn *c)
{
    size_t last = c->slot_last ? c->slot_last->after.len : 0;

    return c->piece_bytes + c->ready.len - c->sent + c->slot_bytes + last;
}

size_t conn_owed(const struct conn *c)
{
    return conn_unsent(c) + c->expected;
}

void conn_tell_drained(struct conn *c)
{
    c->tell_drained = true;
    conn_mark_flush(c);
}

/* ---- deferred replies -------------------------------------------------- */

struct reply_slot *conn_defer(struct conn *c, size_t expected)
{
    struct net *n = c->net;
    struct reply_slot *s = n->free_slots;

    if (s) {
        n->free_slots = s->next;
    } else {
        s = mem_alloc(sizeof(*s));
    }
    *s = (struct reply_slot){.conn = c, .expected = expected};
    c->expected += expected;
    if (c->slot_last) {
        c->slot_bytes += c->slot_last->after.len;
        c->slot_last->next = s;
    } else {
        c->slot_first = s;
    }
    c->slot_last = s;
    c->n_slots++;
    return s;
}

void reply_slot_when_gone(struct reply_slot *s, void (*gone)(void *arg),
                          void *arg)
{
    s->gone = gone;
    s->gone_arg = arg;
}

struct conn *reply_slot_conn(const struct reply_slot *s)
{
    return s->conn;
}

static void slot_recycle(struct net *n, struct reply_slot *s)
{
    net_return_buf(n, &s->body);
    net_return_buf(n, &s->after);
    s->next = n->free_slots;
    n->free_slots = s;
}

/* Appends `from` to what may be sent; moves the memory when nothing waits, or
 * when it is much. */
static void move_bytes(struct conn *c, struct buf *from)
{
    if (!from->len) {
        return;
    }
    if (c->ready.len > 0 && from->len >= PIECE_MIN) {
        add_piece(c, &c->ready);
    }
    if (c->ready.len == 0) {
        struct buf swap = c->ready;

        c->ready = *from;
        *from = swap;
        from->len = 0;
    } else {
        buf_append_bytes(&c->ready, buf_bytes(from));
    }
}

void conn_give(struct conn *c, struct buf *reply)
{
    if (reply->len < PIECE_MIN) {
        buf_append_bytes(conn_out(c), buf_bytes(reply));
        buf_deinit(reply);
    } else if (c->slot_last) {
        reply_slot_fill(conn_defer(c, 0), reply);
    } else {
        move_bytes(c, reply);
        buf_deinit(reply);
    }
    conn_mark_flush(c);
}

/* Moves the replies that have become first in line. */
static void advance_slots(struct conn *c)
{
    while (c->slot_first && c->slot_first->filled) {
        struct reply_slot *s = c->slot_first;

        c->slot_first = s->next;
        c->slot_bytes -= s->body.len;
        if (s->next) {
            c->slot_bytes -= s->after.len;
        } else {
            c->slot_last = NULL;
        }
        c->n_slots--;
        move_bytes(c, &s->body);
        move_bytes(c, &s->after);
        slot_recycle(c->net, s);
    }
}

void reply_slot_fill(struct reply_slot *s, struct buf *body)
{
    struct conn *c = s->conn;

    ASSERT(!s->filled);
    if (!c) {
        buf_deinit(body);
        mem_free(s);
        return;
    }
    s->body = *body;
    *body = BUF_INIT;
    s->filled = true;
    c->expected -= s->expected;
    c->slot_bytes += s->body.len;
    if (s == c->slot_first) {
        advance_slots(c);
        conn_mark_flush(c);
    }
}

/* Forgets everything unsent; slots not filled yet are freed when they are. */
void conn_drop_output(struct conn *c)
{
    struct reply_slot *s = c->slot_first;

    while (s) {
        struct reply_slot *next = s->next;

        if (s->filled) {
            slot_recycle(c->net, s);
        } else {
            buf_deinit(&s->after);
            s->conn = NULL;
            if (s->gone) {
                s->gone(s->gone_arg);
            }
        }
        s = next;
    }
    c->slot_first = c->slot_last = NULL;
    c->n_slots = 0;
    c->slot_bytes = 0;
    c->expected = 0;
    while (c->piece_first) {
        drop_piece(c);
    }
    net_return_buf(c->net, &c->ready);
    c->sent = 0;
}

/* ---- the socket -------------------------------------------------------- */

static void write_wait(struct conn *c, bool wait)
{
    if (wait && !c->writing) {
        event_add(&c->write_event, NULL);
    } else if (!wait && c->writing) {
        event_del(&c->write_event);
    }
    c->writing = wait;
}

/* Sends of the first buffer that waits. False when the socket takes no more, or
 * the connection has been closed. */
static bool send_some(struct conn *c, size_t *left)
{
    struct buf *b = c->piece_first ? &c->piece_first->bytes : &c->ready;
    size_t want = b->len - c->sent;
    ssize_t n = write(c->fd, b->data + c->sent, want < *left ? want : *left);

    if (n < 0) {
        if (errno == EINTR) {
            return true;
        }
        if (errno != EAGAIN) {
            conn_close(c);
        }
        return false;
    }
    *left -= (size_t)n;
    c->sent += (size_t)n;
    c->output_total += (uint64_t)n;
    c->net->stats.writes++;
    c->net->stats.output_bytes += (uint64_t)n;
    if (c->piece_first && c->sent == b->len) {
        drop_piece(c);
        c->sent = 0;
    }
    return true;
}

static void all_sent(struct conn *c)
{
    c->ready.len = 0;
    c->sent = 0;
    net_return_buf(c->net, &c->ready);
    write_wait(c, false);
    if (c->closing && !c->slot_first) {
        conn_close(c);
    } else if (c->tell_drained && !c->slot_first) {
        c->tell_drained = false;
        c->net->handler->drained(c);
    }
}

/* Bytes that may be sent before the log has come further. */
static uint64_t allowed(const struct conn *c)
{
    return c->gated ? c->may_send - c->output_total : UINT64_MAX;
}

void conn_hold(struct conn *c)
{
    const struct net_gate *g = &c->net->gate;
    uint64_t before = c->queued, turn = g->turn;

    c->queued = c->output_total + c->piece_bytes + c->ready.len - c->sent;
    if (LIKELY(turn <= g->durable) || c->queued == before) {
        return;
    }
    if (g->own) {
        turn = c->net->handler->position(c);
        if (turn <= g->durable) {
            return;
        }
    }
    if (!c->gated) {
        c->gated = true;
        c->may_send = before;
        c->gated_next = c->net->gated;
        c->net->gated = c;
    }
    if (c->held[1].lsn && c->held[1].lsn <= g->in_flight) {
        c->held[0] = c->held[1];
        c->held[1].lsn = 0;
    }
    c->held[turn > g->in_flight] = (struct held){turn, c->queued};
}

void conn_flush(struct conn *c)
{
    uint64_t may = allowed(c);
    size_t left = may < WRITE_MAX ? may : WRITE_MAX;

    while (left > 0 && (c->piece_first || c->sent < c->ready.len)) {
        if (!send_some(c, &left)) {
            break;
        }
    }
    if (c->closed) {
        return;
    }
    if (!c->piece_first && c->sent == c->ready.len) {
        all_sent(c);
        return;
    }
    if (!c->piece_first && c->sent >= COMPACT_AT &&
        c->sent > c->ready.len / 2) {
        if (c->ready.len - c->sent > COMPACT_AT) {
            add_piece(c, &c->ready);
        } else {
            buf_consume(&c->ready, c->sent);
            c->sent = 0;
        }
    }
    write_wait(c, allowed(c) > 0);
}

void conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    conn_mark_flush(arg);
}
