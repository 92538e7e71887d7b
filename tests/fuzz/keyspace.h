/* A keyspace for fuzzing, with a worker, a builder, and commands on it. */
#ifndef VECTRA_TESTS_FUZZ_KEYSPACE_H
#define VECTRA_TESTS_FUZZ_KEYSPACE_H

#include <poll.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/command.h"
#include "cmd/job.h"
#include "db/graph/graph.h"
#include "db/search/search.h"
#include "unit/cmd_host.h"
#include "vec/vec.h"

static struct {
    struct pool *pool, *builders;
    struct reaper *reaper;
    struct keyspace *ks; /* NULL: not begun */
    struct cmd_env env;
} w;

static inline void wake(void *arg)
{
    (void)arg;
}

static inline void keyspace_begin(int n_dbs, const struct cmd_host *host)
{
    struct pool_options o = {.n_workers = 1,
                             .wake = wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};

    log_set_level(LOG_NOTHING);
    command_init();
    ASSERT(vec_simd_select("auto") == ERR_OK);
    ASSERT(pool_create(&o, &w.pool) == ERR_OK);
    o.worker_init = graph_worker_init;
    o.worker_deinit = graph_worker_deinit;
    ASSERT(pool_create(&o, &w.builders) == ERR_OK);
    ASSERT(reaper_create(&w.reaper) == ERR_OK);
    w.ks = keyspace_create(n_dbs, w.pool, w.reaper);
    keyspace_set_builders(w.ks, w.builders);
    cmd_env_init(&w.env, w.ks, host);
    w.env.settings.slowlog_slower_than_us = -1;
    w.env.settings.bulk_max = 1 << 20;
}

static inline void finish_jobs(void)
{
    while (w.ks->n_graph_jobs + w.ks->n_lists_jobs > 0) {
        if (pool_drain(w.builders) == 0) {
            poll(NULL, 0, 1);
        }
    }
    keyspace_settle(w.ks);
}

/* Until all memory of what was dropped is back. */
static inline void clear(void)
{
    keyspace_flush(w.ks, -1);
    finish_jobs();
    while (reaper_pending(w.reaper) > 0) {
        poll(NULL, 0, 1);
    }
}

#endif
