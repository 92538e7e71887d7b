#include "tools/bench/bench_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/split.h"

enum { WORDS_MAX = 64, READ_BYTES = 64 * 1024 };

const char *bench_address_text(const struct bench_address *a, char *out,
                               size_t cap)
{
    if (a->socket_path) {
        snprintf(out, cap, "%s", a->socket_path);
    } else {
        snprintf(out, cap, "%s:%d", a->host, a->port);
    }
    return out;
}

/* ---- connecting --------------------------------------------------------- */

/* Waits for what poll() calls events; false with errno set on failure. */
static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int rc;

    do {
        rc = poll(&p, 1, timeout_ms ? timeout_ms : -1);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0) {
        errno = ETIMEDOUT;
    }
    return rc > 0;
}

/* connect() within the time; the socket is non-blocking and stays so. */
static bool connect_fd(int fd, const struct sockaddr *addr, socklen_t len,
                       int timeout_ms)
{
    int failure = 0, tries = 0;
    socklen_t failure_len = sizeof(failure);

    /* A local socket whose backlog is full says EAGAIN, and there is nothing
     * to wait on but time. */
    for (;;) {
        if (connect(fd, addr, len) == 0) {
            return true;
        }
        if (errno != EAGAIN) {
            break;
        }
        if (timeout_ms && ++tries > timeout_ms) {
            errno = ETIMEDOUT;
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, timeout_ms)) {
        return false;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_len);
    errno = failure;
    return failure == 0;
}

static int connect_unix(const char *path, int timeout_ms)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        !connect_fd(fd, (struct sockaddr *)&addr, sizeof(addr), timeout_ms)) {
        int why = errno;

        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

/* *resolve: getaddrinfo's failure, which errno cannot tell. */
static int connect_tcp(const struct bench_address *a, int *resolve)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL, *at;
    char port[16];
    int fd = -1, one = 1, why = 0;

    snprintf(port, sizeof(port), "%d", a->port);
    *resolve = getaddrinfo(a->host, port, &hints, &list);
    for (at = *resolve ? NULL : list; at; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    0);
        if (fd >= 0 &&
            connect_fd(fd, at->ai_addr, at->ai_addrlen, a->timeout_ms)) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            break;
        }
        why = errno;
        if (fd >= 0) {
            close(fd);
        }
        fd = -1;
    }
    if (list) {
        freeaddrinfo(list);
    }
    errno = why;
    return fd;
}

static enum err connect_to(const struct bench_address *a, int *fd,
                           struct err_ctx *ctx)
{
    int resolve = 0;

    *fd = a->socket_path ? connect_unix(a->socket_path, a->timeout_ms)
                         : connect_tcp(a, &resolve);
    if (*fd >= 0) {
        return ERR_OK;
    }
    return err_set(ctx, errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_IO,
                   "cannot connect: %s",
                   resolve ? gai_strerror(resolve) : strerror(errno));
}

/* ---- asking ------------------------------------------------------------- */

static enum err send_all(struct bench_client *c, struct err_ctx *ctx)
{
    size_t at = 0;

    while (at < c->out.len) {
        ssize_t n =
            send(c->fd, c->out.data + at, c->out.len - at, MSG_NOSIGNAL);

        if (n > 0) {
            at += (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for(c->fd, POLLOUT, c->timeout_ms)) {
                return err_set(ctx, ERR_TIMEOUT, "cannot send: %s",
                               strerror(errno));
            }
        } else if (errno != EINTR) {
            return err_set(ctx, ERR_IO, "cannot send: %s", strerror(errno));
        }
    }
    return ERR_OK;
}

/* Adds what has arrived to c->in. */
static enum err receive(struct bench_client *c, struct err_ctx *ctx)
{
    ssize_t n;

    if (!wait_for(c->fd, POLLIN, c->timeout_ms)) {
        return err_set(ctx, ERR_TIMEOUT, "no reply in %d s",
                       c->timeout_ms / 1000);
    }
    n = recv(c->fd, buf_room(&c->in, READ_BYTES), READ_BYTES, 0);
    if (n == 0) {
        return err_set(ctx, ERR_IO, "the server closed the connection");
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return err_set(ctx, ERR_IO, "cannot receive: %s", strerror(errno));
    }
    c->in.len += n > 0 ? (size_t)n : 0;
    return ERR_OK;
}

/* The next reply that is no push. */
static enum err read_reply(struct bench_client *c,
                           const struct resp_reply **reply, struct err_ctx *ctx)
{
    for (;;) {
        enum err err;

        buf_consume(&c->in, c->reply_len);
        c->reply_len = 0;
        resp_reply_reset(&c->parser);
        while (c->reply_len == 0) {
            err = resp_reply_parse(&c->parser, c->in.data, c->in.len,
                                   &c->reply_len);
            if (err) {
                return err_set(ctx, ERR_CORRUPT, "malformed reply: %s",
                               err_text(err));
            }
            err = c->reply_len ? ERR_OK : receive(c, ctx);
            if (err) {
                return err;
            }
        }
        *reply = resp_reply_root(&c->parser);
        if ((*reply)->type != RESP_REPLY_PUSH) {
            return ERR_OK;
        }
    }
}

enum err bench_client_ask_args(struct bench_client *c, const struct bytes *args,
                               size_t n, const struct resp_reply **reply,
                               struct err_ctx *ctx)
{
    enum err err;
    size_t i;

    c->out.len = 0;
    buf_printf(&c->out, "*%zu\r\n", n);
    for (i = 0; i < n; i++) {
        buf_printf(&c->out, "$%zu\r\n", args[i].len);
        buf_append_bytes(&c->out, args[i]);
        buf_append_str(&c->out, "\r\n");
    }
    err = send_all(c, ctx);
    return err ? err : read_reply(c, reply, ctx);
}

enum err bench_client_ask_raw(struct bench_client *c, struct bytes request,
                              const struct resp_reply **reply,
                              struct err_ctx *ctx)
{
    enum err err;

    c->out.len = 0;
    buf_append_bytes(&c->out, request);
    err = send_all(c, ctx);
    return err ? err : read_reply(c, reply, ctx);
}

enum err bench_client_ask(struct bench_client *c, const char *line,
                          const struct resp_reply **reply, struct err_ctx *ctx)
{
    char *copy = mem_strndup(line, strlen(line));
    struct bytes words[WORDS_MAX];
    size_t n;
    enum err err = split_words(copy, strlen(copy), words, WORDS_MAX, &n);

    ASSERT(!err && n);
    err = bench_client_ask_args(c, words, n, reply, ctx);
    mem_free(copy);
    return err;
}

struct bytes bench_client_text(const struct bench_client *c,
                               const struct resp_reply *node)
{
    return resp_reply_text(node, c->in.data);
}

/* ---- introducing -------------------------------------------------------- */

/* Asks and insists on a reply that is no error. */
static enum err demand(struct bench_client *c, const struct bytes *args,
                       size_t n, struct err_ctx *ctx)
{
    const struct resp_reply *reply;
    enum err err = bench_client_ask_args(c, args, n, &reply, ctx);

    if (!err && reply->type == RESP_REPLY_ERROR) {
        struct bytes text = bench_client_text(c, reply);

        err = err_set(ctx, ERR_UNSUPPORTED, "%.*s: %.*s", (int)args[0].len,
                      (const char *)args[0].data, (int)text.len,
                      (const char *)text.data);
    }
    return err;
}

static enum err introduce(struct bench_client *c, const struct bench_address *a,
                          struct err_ctx *ctx)
{
    char db[16];
    enum err err = ERR_OK;

    if (a->password) {
        struct bytes auth[3] = {bytes_str("AUTH"),
                                bytes_str(a->user ? a->user : ""),
                                bytes_str(a->password)};

        if (!a->user) {
            auth[1] = auth[2];
        }
        err = demand(c, auth, a->user ? 3 : 2, ctx);
    }
    if (!err && a->resp3) {
        struct bytes hello[2] = {bytes_str("HELLO"), bytes_str("3")};

        err = demand(c, hello, 2, ctx);
    }
    if (!err && a->db) {
        struct bytes select[2] = {bytes_str("SELECT"), bytes_str(db)};

        snprintf(db, sizeof(db), "%u", a->db);
        select[1] = bytes_str(db);
        err = demand(c, select, 2, ctx);
    }
    return err;
}

enum err bench_client_open(const struct bench_address *a,
                           struct bench_client *out, struct err_ctx *ctx)
{
    struct bench_client c = {.timeout_ms = a->timeout_ms};
    char text[128];
    enum err err = connect_to(a, &c.fd, ctx);

    if (!err) {
        resp_reply_init(&c.parser, true, BENCH_REPLY_TEXT_MAX,
                        BENCH_REPLY_NODES_MAX);
        err = introduce(&c, a, ctx);
        if (err) {
            bench_client_close(&c);
        }
    }
    if (err) {
        return err_wrap(ctx, err, "%s",
                        bench_address_text(a, text, sizeof(text)));
    }
    *out = c;
    return ERR_OK;
}

void bench_client_close(struct bench_client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    buf_deinit(&c->out);
    buf_deinit(&c->in);
    resp_reply_deinit(&c->parser);
}
