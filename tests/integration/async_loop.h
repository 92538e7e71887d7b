/* A poll() loop under hiredis' asynchronous API, for many connections. */
#ifndef VECTRA_TESTS_INTEGRATION_ASYNC_LOOP_H
#define VECTRA_TESTS_INTEGRATION_ASYNC_LOOP_H

#include "integration/server_fixture.h"

#include <hiredis/async.h>

enum { ASYNC_MAX = 512 };

struct async_conn {
    redisAsyncContext *ac; /* NULL when the connection is gone */
    int fd;
    short events;
};

static struct async_conn async_conns[ASYNC_MAX];
static size_t async_count;

static inline void async_add_read(void *p)
{
    ((struct async_conn *)p)->events |= POLLIN;
}

static inline void async_del_read(void *p)
{
    ((struct async_conn *)p)->events &= (short)~POLLIN;
}

static inline void async_add_write(void *p)
{
    ((struct async_conn *)p)->events |= POLLOUT;
}

static inline void async_del_write(void *p)
{
    ((struct async_conn *)p)->events &= (short)~POLLOUT;
}

static inline void async_cleanup(void *p)
{
    ((struct async_conn *)p)->ac = NULL;
}

static inline redisAsyncContext *async_open(const struct server *s)
{
    struct async_conn *conn = &async_conns[async_count++];
    redisAsyncContext *ac = redisAsyncConnect("127.0.0.1", s->port);

    assert_true(async_count <= ASYNC_MAX);
    assert_non_null(ac);
    assert_int_equal(ac->err, 0);
    conn->ac = ac;
    conn->fd = ac->c.fd;
    conn->events = 0;
    ac->ev.data = conn;
    ac->ev.addRead = async_add_read;
    ac->ev.delRead = async_del_read;
    ac->ev.addWrite = async_add_write;
    ac->ev.delWrite = async_del_write;
    ac->ev.cleanup = async_cleanup;
    async_add_write(conn); /* becomes writable when it is connected */
    return ac;
}

/* Waits once and handles what is ready; false when no connection is left. */
static inline bool async_turn(void)
{
    static struct pollfd fds[ASYNC_MAX];
    size_t live = 0;
    size_t i;
    int n;

    for (i = 0; i < async_count; i++) {
        struct async_conn *conn = &async_conns[i];

        fds[i] = (struct pollfd){.fd = conn->ac ? conn->fd : -1,
                                 .events = conn->events};
        live += conn->ac != NULL;
    }
    if (live == 0) {
        return false;
    }
    n = poll(fds, async_count, WAIT_S * 1000);
    assert_true(n > 0);
    for (i = 0; i < async_count; i++) {
        short got = fds[i].revents;

        if (got & (POLLIN | POLLHUP | POLLERR)) {
            redisAsyncHandleRead(async_conns[i].ac);
        }
        if ((got & POLLOUT) && async_conns[i].ac) {
            redisAsyncHandleWrite(async_conns[i].ac);
        }
    }
    return true;
}

/* Closes what connections a test has left. */
static inline void async_close_all(void)
{
    size_t i;

    for (i = 0; i < async_count; i++) {
        if (async_conns[i].ac) {
            redisAsyncFree(async_conns[i].ac);
        }
    }
    async_count = 0;
}

#endif
