/* Writing: replies in order, from the handler to the socket. */
#include "net/net_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Once this much has been sent of a buffer that is still filled, the rest is
 * moved to its front. */
enum {
    COMPACT_AT = 64 * 1024,
    WRITE_MAX = 1 << 20, /* of one connection in one turn */
};

struct buf *conn_out(struct conn *c)
{
    conn_mark_flush(c);
    if (c->slot_last) {
        return &c->slot_last->after;
    }
    net_lend_buf(c->net, &c->ready);
    return &c->ready;
}

size_t conn_unsent(const struct conn *c)
{
    size_t last = c->slot_last ? c->slot_last->after.len : 0;

    return c->ready.len - c->sent + c->slot_bytes + last;
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

/* Appends `from` to what may be sent; moves the memory when nothing waits. */
static void move_bytes(struct conn *c, struct buf *from)
{
    if (!from->len) {
        return;
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

void conn_flush(struct conn *c)
{
    size_t left = WRITE_MAX;

    while (c->sent < c->ready.len && left > 0) {
        size_t want = c->ready.len - c->sent;
        ssize_t n =
            write(c->fd, c->ready.data + c->sent, want < left ? want : left);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno != EAGAIN) {
                conn_close(c);
                return;
            }
            break;
        }
        c->sent += (size_t)n;
        left -= (size_t)n;
        c->output_total += (uint64_t)n;
        c->net->stats.output_bytes += (uint64_t)n;
    }
    if (c->sent == c->ready.len) {
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
        return;
    }
    if (c->sent >= COMPACT_AT && c->sent > c->ready.len / 2) {
        buf_consume(&c->ready, c->sent);
        c->sent = 0;
    }
    write_wait(c, true);
}

void conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    conn_mark_flush(arg);
}
