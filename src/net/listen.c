/* Listening sockets and the connections they accept. */
#include "net/net_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum { ACCEPTS_PER_TURN = 1000 };

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

static void tune_tcp(const struct net *n, int fd)
{
    int idle = n->config->tcp_keepalive_s;

    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (idle > 0) {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle / 3 > 0 ? idle / 3 : 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    }
}

static void accept_one(struct listener *l, int fd)
{
    struct net *n = l->net;
    bool is_unix = l->unix_path != NULL;
    const char *refusal;
    struct conn *c;
    ssize_t done;

    if (!is_unix) {
        tune_tcp(n, fd);
    }
    c = conn_create(n, fd, is_unix);
    refusal = n->handler->opened(c, n->arg);
    if (!refusal) {
        n->stats.connections++;
        conn_read_start(c);
        return;
    }
    n->stats.rejected++;
    done = write(fd, refusal, strlen(refusal));
    (void)done; /* best effort: the client is being turned away */
    conn_close(c);
}

/* Out of descriptors: a connection left in the backlog would wake the loop
 * again at once and forever, so one is freed to accept it and close it. */
static void turn_away(struct net *n, int listen_fd)
{
    int fd;

    if (n->spare_fd < 0) {
        return;
    }
    close(n->spare_fd);
    fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        n->stats.rejected++;
    }
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    int i;

    (void)what;
    for (i = 0; i < ACCEPTS_PER_TURN; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                turn_away(l->net, fd);
            }
            return;
        }
        accept_one(l, client);
    }
}

static enum err add_listener(struct net *n, int fd, const char *path,
                             struct err_ctx *ctx)
{
    struct listener *l;

    if (n->n_listeners == LISTENERS_MAX) {
        close(fd);
        return err_set(ctx, ERR_LIMIT, "too many addresses to listen on");
    }
    l = mem_calloc(1, sizeof(*l));
    n->listeners[n->n_listeners++] = l;
    l->net = n;
    l->fd = fd;
    l->unix_path = path ? mem_strndup(path, strlen(path)) : NULL;
    event_assign(&l->event, loop_base(n->loop), fd, EV_READ | EV_PERSIST,
                 on_connection, l);
    event_add(&l->event, NULL);
    return ERR_OK;
}

static int listen_on(const struct addrinfo *ai, int backlog)
{
    int fd =
        socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (ai->ai_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
        listen(fd, backlog) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

enum err net_listen_tcp(struct net *n, const char *address, int port,
                        struct err_ctx *ctx)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    const char *host = address;
    char service[16];
    int rc, fd;

    hints.ai_family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (strcmp(address, "*") == 0 || strcmp(address, "::*") == 0) {
        host = NULL;
    }
    snprintf(service, sizeof(service), "%d", port);
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        return err_set(ctx, ERR_IO, "address %s: %s", address,
                       gai_strerror(rc));
    }
    fd = listen_on(list, n->config->tcp_backlog);
    freeaddrinfo(list);
    if (fd < 0) {
        return err_set(ctx, errno == EADDRINUSE ? ERR_EXISTS : ERR_IO,
                       "listening on %s port %d: %s", address, port,
                       strerror(errno));
    }
    return add_listener(n, fd, NULL, ctx);
}

enum err net_listen_unix(struct net *n, const char *path, unsigned mode,
                         struct err_ctx *ctx)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(sun.sun_path)) {
        return err_set(ctx, ERR_IO, "unix socket path is too long: %s", path);
    }
    strcpy(sun.sun_path, path);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 ||
        listen(fd, n->config->tcp_backlog) != 0) {
        err_set(ctx, ERR_IO, "listening on %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return ERR_IO;
    }
    if (mode) {
        chmod(path, (mode_t)mode);
    }
    return add_listener(n, fd, path, ctx);
}

static void listener_close(struct listener *l)
{
    event_del(&l->event);
    close(l->fd);
    if (l->unix_path) {
        unlink(l->unix_path);
        mem_free(l->unix_path);
    }
    mem_free(l);
}

void net_stop_listening(struct net *n, bool tcp_only)
{
    int kept = 0;
    int i;

    for (i = 0; i < n->n_listeners; i++) {
        struct listener *l = n->listeners[i];

        if (tcp_only && l->unix_path) {
            n->listeners[kept++] = l;
        } else {
            listener_close(l);
        }
    }
    n->n_listeners = kept;
}
