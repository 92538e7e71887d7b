/* What a test needs to be the loop: workers, builders, a keyspace.
 *
 * The test's thread adds and removes elements and dispatches, as the server's
 * loop does, while real threads search and build; it waits where the server
 * would. */
#ifndef VECTRA_TESTS_LOOP_H
#define VECTRA_TESTS_LOOP_H

#include "unit/cm.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/pool.h"
#include "base/reaper.h"
#include "db/graph/graph.h"
#include "db/keyspace.h"
#include "db/lists/lists.h"
#include "db/search/search.h"

struct loop {
    struct pool *pool, *builders; /* builders: NULL when there are to be none */
    struct reaper *reaper;
    struct keyspace *ks;
    int wake_fd;
};

static struct loop loop;

static inline void loop_wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    assert_int_equal(write(loop.wake_fd, &one, sizeof(one)), sizeof(one));
}

static inline void loop_begin(unsigned workers, unsigned builders, int n_dbs)
{
    struct pool_options o = {.n_workers = workers,
                             .wake = loop_wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};

    memset(&loop, 0, sizeof(loop));
    loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(pool_create(&o, &loop.pool), ERR_OK);
    if (builders) {
        o.n_workers = builders;
        o.name = "b";
        o.worker_init = graph_worker_init;
        o.worker_deinit = graph_worker_deinit;
        assert_int_equal(pool_create(&o, &loop.builders), ERR_OK);
    }
    assert_int_equal(reaper_create(&loop.reaper), ERR_OK);
    loop.ks = keyspace_create(n_dbs, loop.pool, loop.reaper);
    if (builders) {
        keyspace_set_builders(loop.ks, loop.builders);
    }
}

/* The sets have been dropped, and no search is under way. */
static inline void loop_end(void)
{
    graph_cancel_all(loop.ks);
    lists_cancel_all(loop.ks);
    pool_destroy(loop.pool);
    if (loop.builders) {
        pool_destroy(loop.builders);
    }
    keyspace_destroy(loop.ks);
    reaper_destroy(loop.reaper);
    close(loop.wake_fd);
}

static inline void loop_settle(void)
{
    int i;

    for (i = 0; i < loop.ks->n_dbs; i++) {
        vset_settle_all(loop.ks->dbs[i]);
    }
}

/* One turn: takes what threads have done, and settles; whether there was
 * anything. */
static inline bool loop_turn(void)
{
    size_t n = pool_drain(loop.pool);

    n += loop.builders ? pool_drain(loop.builders) : 0;
    loop_settle();
    return n > 0;
}

/* Until a thread has something to tell. When none has for a while everybody is
 * asked whether there is anything to do, as the server does. */
static inline void loop_sleep(void)
{
    struct pollfd pfd = {.fd = loop.wake_fd, .events = POLLIN};
    int ticks = 0;
    uint64_t n;

    while (poll(&pfd, 1, 100) != 1) {
        assert_true(++ticks < 600);
        graph_pump_all(loop.ks);
        lists_pump_all(loop.ks);
    }
    assert_int_equal(read(loop.wake_fd, &n, sizeof(n)), sizeof(n));
}

/* Turns, until there was anything. */
static inline void loop_wait(void)
{
    while (!loop_turn()) {
        loop_sleep();
    }
}

/* Until builders have nothing to do. */
static inline void loop_finish_jobs(void)
{
    while (loop.ks->n_graph_jobs + loop.ks->n_lists_jobs > 0) {
        loop_wait();
    }
    loop_settle();
}

#endif
