/* Reading: from the socket into requests.
 *
 * Bytes are read into one chunk shared by all connections and parsed there.
 * Only what is left of an unfinished request is copied into a buffer of the
 * connection's own, so an idle connection costs no buffer and a request that
 * fits into one read is never copied. A request larger than the chunk goes on
 * being read into that buffer, which is made as large as the request says it
 * will be, though never more than twice what has arrived or 1 MiB ahead. */
#include "net/net_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    AHEAD_MAX = 1 << 20,
    READ_MIN = 16 * 1024, /* room in a buffer of a connection's own */
    READ_MAX = 1 << 20,
    /* Replies a connection may have made in one turn before the others have
     * theirs. One read may hold thousands of requests for a megabyte each, so
     * this, and not net.c's look at the end of the turn, bounds them. */
    TURN_OUTPUT = 1 << 20,
};

void conn_read_start(struct conn *c)
{
    if (!c->reading && !c->closed) {
        event_add(&c->read_event, NULL);
        c->reading = true;
    }
}

void conn_read_stop(struct conn *c)
{
    if (c->reading) {
        event_del(&c->read_event);
        c->reading = false;
    }
}

static bool may_run(const struct conn *c)
{
    return !c->paused && !c->closed && !c->closing && !c->throttled;
}

/* The rest of the requests runs in the next turn, and what follows them is read
 * when they have. */
static void yield(struct conn *c)
{
    c->yielded = true;
    conn_read_stop(c);
    conn_mark_resume(c);
}

/* Runs the complete requests at data; returns the bytes they took. */
static size_t run_requests(struct conn *c, uint8_t *data, size_t len)
{
    struct net *n = c->net;
    struct resp_limits limits = {.bulk_max = n->config->bulk_max};
    size_t enough = conn_owed(c) + TURN_OUTPUT;
    size_t at = 0;

    c->yielded = false;
    while (at < len && may_run(c) && !c->yielded) {
        struct resp_request request = {NULL, 0, 0};
        char error[128];
        enum resp_result r;

        limits.authenticated = c->authenticated;
        r = resp_parse(&c->parser, &n->scratch, &limits, data + at, len - at,
                       &request, error, sizeof(error));
        if (r == RESP_MORE) {
            break;
        }
        if (r == RESP_INVALID) {
            n->handler->invalid(c, error);
            conn_close_after_replies(c);
            return len;
        }
        if (request.argc > 0) {
            n->handler->request(c, request.argv, request.argc);
        }
        at += request.consumed;
        if (c->n_slots >= SLOTS_MAX && !c->closed) {
            c->throttled = true;
            conn_read_stop(c);
        } else if (at < len && !c->closed && conn_owed(c) > enough) {
            yield(c);
        }
    }
    return at;
}

static void close_over_limit(struct conn *c)
{
    if (c->in.len > c->net->config->query_buffer_max) {
        c->net->stats.query_limit_closes++;
        conn_close(c);
    }
}

void conn_consume(struct conn *c, size_t used)
{
    if (used == c->in.len) {
        c->in.len = 0;
        net_return_buf(c->net, &c->in);
    } else {
        buf_consume(&c->in, used);
    }
}

/* Runs what is in the connection's own buffer. */
static void run_own(struct conn *c)
{
    size_t used;

    c->in_own_buf = true;
    used = run_requests(c, c->in.data, c->in.len);
    if (c->closed || c->closing) {
        return;
    }
    if (c->pinned) {
        c->pinned_bytes = used;
        return;
    }
    conn_consume(c, used);
    close_over_limit(c);
}

/* Runs what was read into the shared chunk and keeps the rest. */
static void run_chunk(struct conn *c, uint8_t *data, size_t len)
{
    size_t used;

    c->in_own_buf = false;
    used = run_requests(c, data, len);
    if (c->closed || c->closing || used == len) {
        return;
    }
    net_lend_buf(c->net, &c->in);
    buf_append(&c->in, data + used, len - used);
    close_over_limit(c);
}

/* Room in the connection's own buffer for the next read. */
static size_t make_room(struct conn *c)
{
    size_t wants = resp_parser_wants(&c->parser);
    size_t more = READ_MIN;

    if (wants > c->in.len) {
        size_t ahead = c->in.len > AHEAD_MAX ? c->in.len : AHEAD_MAX;

        more = wants - c->in.len;
        more = more < ahead ? more : ahead;
        more = more > READ_MIN ? more : READ_MIN;
    }
    buf_room(&c->in, more);
    more = c->in.cap - c->in.len;
    return more < READ_MAX ? more : READ_MAX;
}

void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    struct net *n = c->net;
    bool own = c->in.len > 0;
    size_t room = own ? make_room(c) : READ_CHUNK;
    uint8_t *at = own ? c->in.data + c->in.len : n->read_chunk;
    ssize_t got;

    (void)what;
    loop_note_request(n->loop);
    got = read(fd, at, room);
    if (got == 0 && (c->slot_first || conn_unsent(c) > 0)) {
        conn_close_after_replies(c); /* it may still read what it asked for */
        return;
    }
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            conn_close(c);
        }
        return;
    }
    c->last_read_at = n->now;
    c->input_total += (uint64_t)got;
    n->stats.reads++;
    n->stats.input_bytes += (uint64_t)got;
    if (own) {
        c->in.len += (size_t)got;
        run_own(c);
    } else {
        run_chunk(c, at, (size_t)got);
    }
}

void conn_go_on(struct conn *c)
{
    if (c->in.len) {
        run_own(c);
    }
    if (may_run(c) && !c->yielded) {
        conn_read_start(c);
    }
}
