/* Starting, turning, stopping. */
#include "server/server.h"

#include <string.h>
#include <sys/resource.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem_map.h"
#include "base/thread.h"
#include "cmd/job.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/names/name_order.h"
#include "db/search/recall.h"
#include "db/search/search.h"
#include "server/aof.h"
#include "server/exchange.h"
#include "server/signals.h"

/* Descriptors beyond those of clients: files, listeners, pipes. */
enum { FDS_RESERVED = 32 };

/* A fork waits, and the loop with it, while another thread gives memory back or
 * has some made; so it is put off until none does, but not for longer. */
enum { FORK_WAIT_US = 200000 };

static void wake_loop(void *arg)
{
    loop_wake(arg);
}

/* What builders hand over is looked at when the turn ends, and only then: the
 * loop's share of their work is a slice per turn. */
static void drain_workers(void *arg)
{
    struct server *s = arg;

    pool_drain(s->pool);
}

/* ---- forking ------------------------------------------------------------ */

bool server_builders_rest(struct server *s)
{
    if (!s->builders_rest) {
        pool_pause(s->builders, NULL, NULL);
        s->builders_rest = true;
        s->rest_since = s->turn_started_at;
    }
    return pool_is_parked(s->builders);
}

bool server_may_fork(struct server *s)
{
    return server_builders_rest(s) &&
           (!reaper_pending(s->reaper) ||
            s->turn_started_at - s->rest_since >= FORK_WAIT_US);
}

void server_forked(struct server *s)
{
    if (s->builders_rest) {
        s->builders_rest = false;
        pool_resume(s->builders);
    }
}

/* ---- shutting down ------------------------------------------------------ */

/* What is loaded only in part must not take the place of what is whole. */
static bool wants_save(const struct server *s, uint32_t flags)
{
    return !s->commands.is_loading && !(flags & SHUTDOWN_NOSAVE) &&
           ((flags & SHUTDOWN_SAVE) || s->snapshots.n_points > 0);
}

enum err server_shutdown(struct server *s, uint32_t flags, const char *why,
                         struct err_ctx *ctx)
{
    enum err err = ERR_OK;

    LOG_NOTE(SERVER, "shutting down", "asked-by=%s", why);
    child_kill(s->child);
    if (wants_save(s, flags)) {
        err = server_snapshot_save(s, ctx);
    }
    if (err && !(flags & SHUTDOWN_FORCE)) {
        LOG_WARN(SERVER, "the data cannot be saved, so the server goes on",
                 "why=\"%s\"", ctx->text);
        return err;
    }
    s->shutting_down = true;
    loop_stop(s->loop);
    return ERR_OK;
}

static void shutdown_by_signal(struct server *s)
{
    struct err_ctx ctx = {""};

    if (server_shutdown(s, 0, "signal", &ctx) != ERR_OK) {
        signals_forget();
    }
}

/* ---- turns -------------------------------------------------------------- */

/* Between turns: replies leave, sliced work goes on. */
static bool turn_end(void *arg)
{
    struct server *s = arg;
    bool more;

    s->turns++;
    s->turn_started_at = clock_mono_us();
    cmd_turn(&s->commands);
    pool_drain(s->pool);
    pool_drain(s->builders);
    more = lists_turn(s->ks);
    more |= cmd_jobs_run(&s->commands);
    net_go_on(s->net, s->turn_started_at);
    aof_turn_end(s->aof);
    more |= net_send(s->net);
    more |= mem_unmap_some();
    more |= s->commands.jobs != NULL; /* sending may have unparked some */
    more |= server_loading_turn(s);
    if (signals_child_ended() || child_is_waiting(s->child)) {
        child_poll(s->child);
    }
    if (signals_asked() && !s->shutting_down) {
        shutdown_by_signal(s);
    }
    return more;
}

static bool is_busy_behind(const struct server *s)
{
    return s->ks->n_graph_jobs > 0 || s->ks->n_lists_jobs > 0 ||
           child_is_busy(s->child);
}

/* What takes some microseconds is not worth looking on for, a search is.
 * Workers and builders have better uses for a processor. */
static bool may_look_on(void *arg, bool looked)
{
    struct server *s = arg;

    if (looked) {
        search_pool_rest(s->ks->searches);
    }
    return search_pool_has_ended(s->ks->searches) && !is_busy_behind(s);
}

/* Works in place of a worker where there are as many as processors. Not beside
 * builders: a loop that has searched for long does not displace them when it
 * wakes, and requests would wait. */
static bool help(void *arg)
{
    struct server *s = arg;
    unsigned n = pool_size(s->pool);

    pool_may_help(s->pool, n > 1 && n >= s->processors && !is_busy_behind(s));
    return search_pool_help(s->ks->searches);
}

enum err server_run(struct server *s, struct err_ctx *ctx)
{
    loop_run(s->loop);
    return s->failure ? err_set(ctx, s->failure, "%s", s->failed_why.text)
                      : ERR_OK;
}

void server_fail(struct server *s, enum err err, const char *why)
{
    s->failure = err_set(&s->failed_why, err, "%s", why);
    s->shutting_down = true;
    loop_stop(s->loop);
}

void server_loaded(struct server *s, enum err err, const char *why)
{
    if (err) {
        server_fail(s, err, why);
    } else if (s->on_ready) {
        s->on_ready(s);
    }
}

/* ---- starting ---------------------------------------------------------- */

/* How many threads a directive stands for: 0 is one per processor. */
static unsigned threads_wanted(int64_t configured)
{
    unsigned n = configured ? (unsigned)configured : thread_cpu_count();

    return n < POOL_WORKERS_MAX ? n : POOL_WORKERS_MAX;
}

static enum err start_threads(struct server *s, struct err_ctx *ctx)
{
    struct pool_options workers = {
        .n_workers = threads_wanted(s->config.worker_threads),
        .wake = wake_loop,
        .wake_arg = s->loop,
        .worker_init = search_worker_init,
        .worker_deinit = search_worker_deinit,
    };
    struct pool_options builders = {
        .n_workers = threads_wanted(s->config.vector_build_threads),
        .name = "b",
        .low_priority = true,
        .wake = wake_loop,
        .wake_arg = s->loop,
        .worker_init = graph_worker_init,
        .worker_deinit = graph_worker_deinit,
    };

    if (pool_create(&workers, &s->pool) != ERR_OK ||
        pool_create(&builders, &s->builders) != ERR_OK ||
        reaper_create(&s->reaper) != ERR_OK) {
        return err_set(ctx, ERR_LIMIT, "cannot start %u threads",
                       workers.n_workers + builders.n_workers);
    }
    return ERR_OK;
}

int64_t server_raise_fd_limit(int64_t maxclients)
{
    rlim_t want = (rlim_t)maxclients + FDS_RESERVED;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want) {
        return maxclients;
    }
    /* First all of it, which a privileged process gets; then what is
     * allowed. */
    if (setrlimit(RLIMIT_NOFILE,
                  &(struct rlimit){want, limit.rlim_max > want ? limit.rlim_max
                                                               : want}) == 0) {
        return maxclients;
    }
    if (setrlimit(RLIMIT_NOFILE,
                  &(struct rlimit){limit.rlim_max, limit.rlim_max}) == 0) {
        limit.rlim_cur = limit.rlim_max;
    }
    return limit.rlim_cur > FDS_RESERVED
               ? (int64_t)(limit.rlim_cur - FDS_RESERVED)
               : 1;
}

static void adjust_maxclients(struct server *s)
{
    int64_t possible = server_raise_fd_limit(s->config.maxclients);

    if (possible < s->config.maxclients) {
        LOG_WARN(NET, "the limit of open files allows fewer clients",
                 "maxclients=%lld asked=%lld", (long long)possible,
                 (long long)s->config.maxclients);
        s->config.maxclients = possible;
    }
}

/* The log holds more than any snapshot, so where there is one nothing else is
 * looked at. */
static enum err load_data(struct server *s, struct err_ctx *ctx)
{
    return s->config.appendonly ? aof_start(s->aof, ctx)
                                : server_load_snapshot(s, ctx);
}

static enum err start_engine(struct server *s, struct err_ctx *ctx)
{
    enum err err = loop_create(&s->loop);

    if (err) {
        return err_set(ctx, err, "cannot create the event loop");
    }
    signals_install(s->loop);
    err = start_threads(s, ctx);
    if (err) {
        return err;
    }
    s->ks = keyspace_create((int)s->config.databases, s->pool, s->reaper);
    keyspace_set_builders(s->ks, s->builders);
    s->exchanges = exchange_create(s->pool);
    server_host_init(s);
    cmd_env_init(&s->commands, s->ks, &s->host);
    server_snapshot_init(s);
    server_apply_settings(s);
    s->child = child_create(s);
    s->net = net_create(s->loop, &s->net_config, &server_net_handler, s);
    err = aof_create(s, &s->aof);
    if (err) {
        return err_set(ctx, err, "cannot start a thread");
    }
    loop_on_wake(s->loop, drain_workers, s);
    loop_on_turn_end(s->loop, turn_end, s);
    loop_on_idle(s->loop, may_look_on, s);
    s->processors = thread_cpu_count();
    loop_on_rest(s->loop, help, s);
    err = server_listen(s, ctx);
    return err ? err : server_loading_begin(s, load_data, ctx);
}

enum err server_start(struct server *s, struct err_ctx *ctx)
{
    const char *simd = config_simd_name(&s->config);
    uint64_t seed;
    enum err err;

    rng_system(&seed, sizeof(seed));
    hash_set_seed(seed);
    rng_run_id(s->run_id);
    rng_run_id(s->replid);
    command_init();
    s->started_at = s->turn_started_at = clock_mono_us();
    err = vec_simd_select(simd);
    if (err) {
        return err_set(ctx, err, "vector-simd %s: this processor has it not",
                       simd);
    }
    adjust_maxclients(s);
    err = start_engine(s, ctx);
    if (err) {
        server_stop(s);
        return err;
    }
    mem_unmap_slowly(true);
    s->cron_timer =
        loop_timer_start(s->loop, 1000000 / s->config.hz, server_cron, s);
    s->startup_bytes = mem_used();
    return ERR_OK;
}

/* ---- stopping ---------------------------------------------------------- */

/* Waits until no search is under way, so that nothing looks at the keyspace. */
static void finish_searches(struct server *s)
{
    while (search_pool_under_way(s->ks->searches) > 0) {
        pool_drain(s->pool);
    }
}

static void stop_timers(struct server *s)
{
    if (s->cron_timer) {
        loop_timer_stop(s->cron_timer);
    }
    if (s->expire_timer) {
        loop_timer_stop(s->expire_timer);
    }
}

/* Gives clients the answers to what they asked, as far as their sockets take
 * them at once, and closes. */
static void stop_net(struct server *s)
{
    mem_unmap_slowly(false);
    net_stop_listening(s->net, false);
    recall_stop_all(s->ks);
    exchange_stop(s->exchanges);
    do {
        /* Sending may let requests run that waited for earlier replies. */
        finish_searches(s);
        net_go_on(s->net, clock_mono_us());
        if (s->aof) {
            aof_finish(s->aof);
        }
        net_send(s->net);
    } while (search_pool_under_way(s->ks->searches) > 0);
    net_destroy(s->net);
    exchange_finish(s->exchanges);
    name_order_cancel_builds(s->ks);
    graph_cancel_all(s->ks);
    lists_cancel_all(s->ks);
}

void server_stop(struct server *s)
{
    stop_timers(s);
    server_loading_stop(s);
    if (s->child) {
        child_kill(s->child);
        child_destroy(s->child);
    }
    if (s->net) {
        stop_net(s);
    }
    if (s->aof) {
        aof_destroy(s->aof);
    }
    if (s->exchanges) {
        exchange_destroy(s->exchanges);
    }
    if (s->pool) {
        pool_destroy(s->pool);
    }
    if (s->builders) {
        pool_destroy(s->builders);
    }
    if (s->ks) {
        cmd_env_deinit(&s->commands);
        keyspace_destroy(s->ks);
    }
    server_clients_deinit(s);
    if (s->reaper) {
        reaper_destroy(s->reaper);
    }
    if (s->loop) {
        signals_install(NULL);
        loop_destroy(s->loop);
    }
}
