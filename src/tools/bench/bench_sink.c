#include "tools/bench/bench_sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum { EVENTS = 64, TICK_MS = 50, READ_BYTES = 256 * 1024, BACKLOG = 1024 };

/* Where a connection stands within a request:
 *
 *     ARGC ──"*n\r\n"──▶ LEN ──"$len\r\n"──▶ BODY ──len + 2 bytes──▶ LEN, or
 *     ARGC after the n-th argument, which is when the reply is due
 *
 * In ARGC and LEN the number is collected digit by digit. */
enum state { AT_ARGC, AT_LEN, AT_BODY };

struct peer {
    int fd;
    struct peer *next;
    enum state state;
    uint64_t number;    /* being collected */
    uint64_t args_left; /* in this request */
    uint64_t body_left; /* bytes */
    uint64_t answered;
    struct buf out;
    size_t sent;
    bool wants_out;
};

struct bench_sink {
    int listen_fd, epoll_fd;
    int port;
    const char *socket_path;
    struct bytes reply;
    uint64_t reply_limit;
    uint64_t answered;
    struct peer *peers;
    uint8_t *in;
};

/* ---- opening ------------------------------------------------------------ */

static int listen_unix(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
                    listen(fd, BACKLOG) != 0)) {
        int why = errno;

        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int listen_tcp(int *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)*port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&addr, len) != 0 ||
        listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        int why = errno;

        close(fd);
        errno = why;
        return -1;
    }
    *port = ntohs(addr.sin_port);
    return fd;
}

enum err bench_sink_open(const char *socket_path, int port,
                         struct bench_sink **out, struct err_ctx *ctx)
{
    struct bench_sink *s = mem_calloc(1, sizeof(*s));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    enum err err = ERR_OK;

    s->port = port;
    s->reply = bytes_str("+OK\r\n");
    s->in = mem_alloc(READ_BYTES);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->listen_fd =
        socket_path ? listen_unix(socket_path) : listen_tcp(&s->port);
    if (s->epoll_fd < 0 || s->listen_fd < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &ev) != 0) {
        err = err_set(ctx, ERR_IO, "cannot listen: %s", strerror(errno));
        bench_sink_close(s);
        return err;
    }
    s->socket_path = socket_path;
    *out = s;
    return ERR_OK;
}

static void peer_free(struct peer *p)
{
    close(p->fd);
    buf_deinit(&p->out);
    mem_free(p);
}

void bench_sink_close(struct bench_sink *s)
{
    while (s->peers) {
        struct peer *p = s->peers;

        s->peers = p->next;
        peer_free(p);
    }
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    if (s->epoll_fd >= 0) {
        close(s->epoll_fd);
    }
    if (s->socket_path) {
        (void)unlink(s->socket_path);
    }
    mem_free(s->in);
    mem_free(s);
}

int bench_sink_port(const struct bench_sink *s)
{
    return s->port;
}

void bench_sink_answer(struct bench_sink *s, struct bytes reply,
                       uint64_t reply_limit)
{
    s->reply = reply;
    s->reply_limit = reply_limit;
}

uint64_t bench_sink_answered(const struct bench_sink *s)
{
    return s->answered;
}

/* ---- requests ----------------------------------------------------------- */

/* The last argument has gone by. */
static void answer(struct bench_sink *s, struct peer *p)
{
    p->state = AT_ARGC;
    p->answered++;
    s->answered++;
    buf_append_bytes(&p->out, s->reply);
}

/* Takes one byte of "*n\r\n" or "$len\r\n"; false when it does not belong. */
static bool take_head_byte(struct bench_sink *s, struct peer *p, uint8_t c)
{
    if (c >= '0' && c <= '9') {
        p->number = p->number * 10 + (uint64_t)(c - '0');
        return p->number < UINT64_C(1) << 40;
    }
    if (c != '\n') {
        return c == '\r' || c == (p->state == AT_ARGC ? '*' : '$');
    }
    if (p->state == AT_ARGC) {
        p->args_left = p->number;
        p->state = AT_LEN;
        if (p->args_left == 0) {
            answer(s, p);
        }
    } else {
        p->body_left = p->number + 2;
        p->state = AT_BODY;
    }
    p->number = 0;
    return true;
}

static bool take_bytes(struct bench_sink *s, struct peer *p,
                       const uint8_t *data, size_t n)
{
    size_t i = 0;

    while (i < n) {
        if (p->state == AT_BODY) {
            size_t skip = n - i < p->body_left ? n - i : p->body_left;

            i += skip;
            p->body_left -= skip;
            if (p->body_left == 0) {
                p->state = AT_LEN;
                if (--p->args_left == 0) {
                    answer(s, p);
                }
            }
        } else if (!take_head_byte(s, p, data[i++])) {
            return false;
        }
        if (s->reply_limit && p->answered >= s->reply_limit) {
            return true;
        }
    }
    return true;
}

/* ---- serving ------------------------------------------------------------ */

static void accept_peers(struct bench_sink *s)
{
    int fd, one = 1;

    while ((fd = accept4(s->listen_fd, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = mem_calloc(1, sizeof(*p));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};

        p->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
            peer_free(p);
            continue;
        }
        p->next = s->peers;
        s->peers = p;
    }
}

/* Sends what is due; false when the connection is to be dropped. */
static bool flush_peer(struct bench_sink *s, struct peer *p)
{
    bool blocked = false;

    while (p->sent < p->out.len && !blocked) {
        ssize_t n = send(p->fd, p->out.data + p->sent, p->out.len - p->sent,
                         MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        blocked = n < 0 && errno == EAGAIN;
        p->sent += n > 0 ? (size_t)n : 0;
    }
    if (p->sent == p->out.len) {
        p->sent = p->out.len = 0;
        if (s->reply_limit && p->answered >= s->reply_limit) {
            return false;
        }
    }
    if (blocked != p->wants_out) {
        struct epoll_event ev = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0U),
                                 .data.ptr = p};

        p->wants_out = blocked;
        return epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, p->fd, &ev) == 0;
    }
    return true;
}

static bool serve_peer(struct bench_sink *s, struct peer *p)
{
    ssize_t n = recv(p->fd, s->in, READ_BYTES, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        return false;
    }
    if (n > 0 && !take_bytes(s, p, s->in, (size_t)n)) {
        return false;
    }
    return flush_peer(s, p);
}

static void drop_peer(struct bench_sink *s, struct peer *p)
{
    struct peer **at = &s->peers;

    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    peer_free(p);
}

void bench_sink_serve(struct bench_sink *s, const _Atomic bool *stop)
{
    struct epoll_event events[EVENTS];

    while (!atomic_load(stop)) {
        int n = epoll_wait(s->epoll_fd, events, EVENTS, TICK_MS);
        int i;

        for (i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;

            if (!p) {
                accept_peers(s);
            } else if (!serve_peer(s, p)) {
                drop_peer(s, p);
            }
        }
    }
}
