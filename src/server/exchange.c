/* Talks with other servers, for MIGRATE: see exchange.h. */
#include "server/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/thread.h"

enum {
    CACHE_MAX = 64,
    CACHE_FOR_MS = 10000, /* that nobody used it */
    LINE_MAX_BYTES = 64 << 10,
    LOOK_MS = 50, /* between two looks whether it is to stop */
};

/* A connection that was used and may be again. */
struct idle {
    char *host, *port;
    int fd;
    int64_t since_ms;
};

struct exchange {
    struct exchanges *all;
    struct cmd_exchange *x;
    struct completion completion;
    struct thread *thread;
    struct exchange *next, **at;
};

struct exchanges {
    struct pool *pool;     /* whose completions the loop takes */
    struct exchange *list; /* under way */
    struct lock lock;
    struct idle idle[CACHE_MAX];
    size_t n_idle;
    _Atomic bool stopping;
};

static int64_t now_ms(void)
{
    return clock_mono_us() / 1000;
}

/* ---- connections ------------------------------------------------------- */

static void idle_drop(struct exchanges *e, size_t i)
{
    close(e->idle[i].fd);
    mem_free(e->idle[i].host);
    mem_free(e->idle[i].port);
    e->idle[i] = e->idle[--e->n_idle];
}

static void drop_old(struct exchanges *e, int64_t before_ms)
{
    size_t i = 0;

    while (i < e->n_idle) {
        if (e->idle[i].since_ms <= before_ms) {
            idle_drop(e, i);
        } else {
            i++;
        }
    }
}

static int take_idle(struct exchanges *e, const struct cmd_exchange *x)
{
    int fd = -1;
    size_t i;

    lock_acquire(&e->lock);
    drop_old(e, now_ms() - CACHE_FOR_MS);
    for (i = 0; i < e->n_idle && fd < 0; i++) {
        if (strcmp(e->idle[i].host, x->host) == 0 &&
            strcmp(e->idle[i].port, x->port) == 0) {
            fd = dup(e->idle[i].fd);
            idle_drop(e, i);
        }
    }
    lock_release(&e->lock);
    return fd;
}

static void keep_idle(struct exchanges *e, const struct cmd_exchange *x, int fd)
{
    lock_acquire(&e->lock);
    if (e->n_idle == CACHE_MAX) {
        idle_drop(e, 0);
    }
    e->idle[e->n_idle++] =
        (struct idle){.host = mem_strndup(x->host, strlen(x->host)),
                      .port = mem_strndup(x->port, strlen(x->port)),
                      .fd = fd,
                      .since_ms = now_ms()};
    lock_release(&e->lock);
}

/* Waits until the socket is ready; false when the time is over. */
static bool wait_for(struct exchanges *e, int fd, short events,
                     int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = until_ms - now_ms();
        int n;

        if (left <= 0 ||
            atomic_load_explicit(&e->stopping, memory_order_relaxed)) {
            return false;
        }
        n = poll(&p, 1, left < LOOK_MS ? (int)left : LOOK_MS);
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

static bool finish_connecting(struct exchanges *e, int fd, int64_t until_ms)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return wait_for(e, fd, POLLOUT, until_ms) &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
           error == 0;
}

static int connect_one(struct exchanges *e, const struct addrinfo *a,
                       int64_t until_ms)
{
    int fd =
        socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int yes = 1;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 &&
        (errno != EINPROGRESS || !finish_connecting(e, fd, until_ms))) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_to(struct exchanges *e, const struct cmd_exchange *x)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL, *a;
    int64_t until_ms = now_ms() + x->timeout_ms;
    int fd = -1;

    if (getaddrinfo(x->host, x->port, &hints, &found) != 0) {
        return -1;
    }
    for (a = found; a && fd < 0; a = a->ai_next) {
        fd = connect_one(e, a, until_ms);
    }
    freeaddrinfo(found);
    return fd;
}

/* ---- talking ----------------------------------------------------------- */

/* Lines come while requests are still going out: a server that replies much
 * must be read, or it stops reading. */
struct talk {
    struct exchanges *e;
    struct cmd_exchange *x;
    int fd;
    size_t sent;
    struct buf line; /* what has come of the next one */
};

/* Takes whole lines out of what has come; false when it is no reply. */
static bool take_lines(struct talk *t)
{
    size_t start = 0, i;

    for (i = 0; i < t->line.len && t->x->n_got < t->x->n_replies; i++) {
        if (t->line.data[i] != '\n') {
            continue;
        }
        if (i == start || t->line.data[i - 1] != '\r' ||
            !memchr("+-:", t->line.data[start], 3)) {
            return false;
        }
        buf_append(&t->x->replies, t->line.data + start, i - 1 - start);
        buf_append_byte(&t->x->replies, 0);
        t->x->n_got++;
        start = i + 1;
    }
    buf_consume(&t->line, start);
    return t->line.len <= LINE_MAX_BYTES;
}

static bool receive(struct talk *t)
{
    ssize_t n = recv(t->fd, buf_room(&t->line, 4096), 4096, 0);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    t->line.len += (size_t)n;
    return n > 0 && take_lines(t);
}

static bool transmit(struct talk *t)
{
    const struct buf *r = &t->x->request;
    ssize_t n = send(t->fd, r->data + t->sent, r->len - t->sent, MSG_NOSIGNAL);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    t->sent += (size_t)n;
    return true;
}

/* One round: whatever is possible. */
static bool go_on(struct talk *t)
{
    bool sending = t->sent < t->x->request.len;
    struct pollfd p = {.fd = t->fd,
                       .events = (short)(POLLIN | (sending ? POLLOUT : 0))};

    if (!wait_for(t->e, t->fd, p.events, now_ms() + t->x->timeout_ms) ||
        poll(&p, 1, 0) < 0) {
        return false;
    }
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) && !receive(t)) {
        return false;
    }
    return !(p.revents & POLLOUT) || transmit(t);
}

/* Sends all and reads all replies. */
static void talk(struct exchanges *e, struct cmd_exchange *x, int fd)
{
    struct talk t = {.e = e, .x = x, .fd = fd};
    bool good = true;

    x->n_got = 0;
    x->replies.len = 0;
    while (good && x->n_got < x->n_replies) {
        good = go_on(&t);
    }
    x->result = good                      ? EXCHANGE_COMPLETE
                : t.sent < x->request.len ? EXCHANGE_NOT_SENT
                                          : EXCHANGE_NOT_ANSWERED;
    if (good && t.line.len == 0) {
        keep_idle(e, x, fd);
    } else {
        close(fd);
    }
    buf_deinit(&t.line);
}

static void run(struct exchanges *e, struct cmd_exchange *x)
{
    int fd = take_idle(e, x);

    if (fd >= 0) {
        talk(e, x, fd);
        /* It may have been closed at the other end long ago. */
        if (x->result == EXCHANGE_COMPLETE || x->n_got > 0) {
            return;
        }
    }
    fd = connect_to(e, x);
    if (fd < 0) {
        x->result = EXCHANGE_NOT_CONNECTED;
        return;
    }
    talk(e, x, fd);
}

/* ---- on a thread of its own -------------------------------------------- */

static void thread_main(void *arg)
{
    struct exchange *one = arg;

    run(one->all, one->x);
    pool_complete(one->all->pool, &one->completion);
}

static void done(struct completion *c)
{
    struct exchange *one = CONTAINER_OF(c, struct exchange, completion);
    struct cmd_exchange *x = one->x;

    thread_join(one->thread);
    *one->at = one->next;
    if (one->next) {
        one->next->at = one->at;
    }
    mem_free(one);
    x->done(x);
}

static void start(struct exchanges *e, struct cmd_exchange *x)
{
    struct exchange *one = mem_calloc(1, sizeof(*one));

    one->all = e;
    one->x = x;
    one->completion.done = done;
    one->next = e->list;
    one->at = &e->list;
    if (one->next) {
        one->next->at = &one->next;
    }
    e->list = one;
    if (thread_start(&one->thread, "vectra-migrate", thread_main, one) !=
        ERR_OK) {
        *one->at = one->next;
        if (one->next) {
            one->next->at = one->at;
        }
        mem_free(one);
        run(e, x); /* the loop waits then */
        x->done(x);
    }
}

void exchange_begin(struct exchanges *e, struct cmd_exchange *x, bool wait)
{
    if (wait) {
        run(e, x);
    } else {
        start(e, x);
    }
}

struct exchanges *exchange_create(struct pool *pool)
{
    struct exchanges *e = mem_calloc(1, sizeof(*e));

    e->pool = pool;
    lock_init(&e->lock, LOCK_EXCHANGE);
    return e;
}

void exchange_look(struct exchanges *e)
{
    lock_acquire(&e->lock);
    drop_old(e, now_ms() - CACHE_FOR_MS);
    lock_release(&e->lock);
}

void exchange_stop(struct exchanges *e)
{
    atomic_store_explicit(&e->stopping, true, memory_order_relaxed);
}

void exchange_finish(struct exchanges *e)
{
    while (e->list) {
        if (pool_drain(e->pool) == 0) {
            poll(NULL, 0, 1);
        }
    }
}

void exchange_destroy(struct exchanges *e)
{
    exchange_finish(e);
    drop_old(e, INT64_MAX);
    lock_deinit(&e->lock);
    mem_free(e);
}
