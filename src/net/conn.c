/* A connection's life, its state and what is told about it. */
#include "net/net_impl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

static bool peer_is_loopback(int fd)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);

    getpeername(fd, (struct sockaddr *)&ss, &len);
    if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&ss;

        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&ss;

        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) &&
                in6->sin6_addr.s6_addr[12] == 127);
    }
    return true; /* a unix socket */
}

struct conn *conn_create(struct net *n, int fd, bool is_unix)
{
    struct conn *c = mem_calloc(1, sizeof(*c));
    struct event_base *base = loop_base(n->loop);

    c->net = n;
    c->fd = fd;
    c->is_unix = is_unix;
    c->is_loopback = peer_is_loopback(fd);
    c->last_read_at = n->now;
    resp_parser_init(&c->parser);
    event_assign(&c->read_event, base, fd, EV_READ | EV_PERSIST,
                 conn_on_readable, c);
    event_assign(&c->write_event, base, fd, EV_WRITE | EV_PERSIST,
                 conn_on_writable, c);
    c->next = n->conns;
    if (c->next) {
        c->next->prev = c;
    }
    n->conns = c;
    n->n_conns++;
    return c;
}

static void unlink_conn(struct conn *c)
{
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        c->net->conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->net->n_conns--;
}

void conn_close(struct conn *c)
{
    struct net *n = c->net;

    if (c->closed) {
        return;
    }
    c->closed = true;
    n->handler->closed(c);
    conn_read_stop(c);
    if (c->writing) {
        event_del(&c->write_event);
        c->writing = false;
    }
    close(c->fd);
    conn_drop_output(c);
    n->output_pending -= c->counted;
    c->counted = 0;
    unlink_conn(c);
    c->closed_next = n->closed;
    n->closed = c;
}

/* Only for a closed connection, at the end of the turn. */
void conn_free(struct conn *c)
{
    struct conn **at;

    for (at = &c->net->flush; *at; at = &(*at)->flush_next) {
        if (*at == c) {
            *at = c->flush_next;
            break;
        }
    }
    for (at = &c->net->resume; *at; at = &(*at)->resume_next) {
        if (*at == c) {
            *at = c->resume_next;
            break;
        }
    }
    for (at = &c->net->gated; *at && c->gated; at = &(*at)->gated_next) {
        if (*at == c) {
            *at = c->gated_next;
            break;
        }
    }
    resp_parser_deinit(&c->parser, &c->net->scratch);
    buf_deinit(&c->in);
    ASSERT(!c->piece_first);
    buf_deinit(&c->ready);
    mem_free(c);
}

void conn_close_after_replies(struct conn *c)
{
    if (!c->closed) {
        c->closing = true;
        conn_read_stop(c);
        conn_mark_flush(c);
    }
}

void conn_mark_flush(struct conn *c)
{
    if (!c->in_flush) {
        c->in_flush = true;
        c->flush_next = c->net->flush;
        c->net->flush = c;
    }
}

void conn_mark_resume(struct conn *c)
{
    if (!c->in_resume) {
        c->in_resume = true;
        c->resume_next = c->net->resume;
        c->net->resume = c;
    }
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    conn_read_stop(c);
}

bool conn_pin_request(struct conn *c)
{
    ASSERT(c->paused);
    c->pinned = c->in_own_buf;
    return c->pinned;
}

void conn_resume(struct conn *c)
{
    if (c->closed || !c->paused) {
        return;
    }
    c->paused = false;
    if (c->pinned) {
        c->pinned = false;
        conn_consume(c, c->pinned_bytes);
    }
    if (c->closing || c->throttled) {
        return;
    }
    conn_read_start(c);
    if (c->in.len) {
        conn_mark_resume(c);
    }
}

/* ---- getters and setters ----------------------------------------------- */

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

void conn_set_class(struct conn *c, enum conn_class class)
{
    c->class = (uint8_t) class;
}

void conn_set_authenticated(struct conn *c, bool yes)
{
    c->authenticated = yes;
}

static void format_addr(const struct sockaddr_storage *ss, const char *path,
                        char *out)
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)ss;

        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
        snprintf(out, CONN_ADDR_MAX, "%s:%d", ip, ntohs(in->sin_port));
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)ss;

        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
        snprintf(out, CONN_ADDR_MAX, "[%s]:%d", ip, ntohs(in6->sin6_port));
    } else {
        snprintf(out, CONN_ADDR_MAX, "%s:0", path ? path : "?");
    }
}

static const char *unix_path(const struct net *n)
{
    int i;

    for (i = 0; i < n->n_listeners; i++) {
        if (n->listeners[i]->unix_path) {
            return n->listeners[i]->unix_path;
        }
    }
    return NULL;
}

void conn_peer_addr(const struct conn *c, char out[CONN_ADDR_MAX])
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);

    getpeername(c->fd, (struct sockaddr *)&ss, &len);
    format_addr(&ss, unix_path(c->net), out);
}

void conn_local_addr(const struct conn *c, char out[CONN_ADDR_MAX])
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);

    getsockname(c->fd, (struct sockaddr *)&ss, &len);
    format_addr(&ss, unix_path(c->net), out);
}

void conn_info_read(const struct conn *c, struct conn_info *out)
{
    *out = (struct conn_info){
        .fd = c->fd,
        .is_unix = c->is_unix,
        .is_loopback = c->is_loopback,
        .query_bytes = c->in.len,
        .query_cap = c->in.cap,
        .output_bytes = conn_unsent(c),
        .output_memory =
            c->ready.cap + conn_unsent(c) - (c->ready.len - c->sent),
        .deferred = c->n_slots,
        .last_read_at = c->last_read_at,
        .input_total = c->input_total,
        .output_total = c->output_total,
    };
}
