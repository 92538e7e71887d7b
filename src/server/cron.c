/* What happens hz times a second, in slices that do not hold the loop. */
#include "base/log.h"
#include "base/thread.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/search/search.h"
#include "server/aof.h"
#include "server/exchange.h"
#include "server/server.h"

/* Expired keys are deleted for at most 1 ms at a time. While more than a few in
 * a sample are overdue, that happens every 4 ms, a quarter of the time, as much
 * as Redis spends; otherwise hz times a second. */
enum { EXPIRE_BUDGET_US = 1000, EXPIRE_AGAIN_US = 4000 };

enum {
    DECAY_EVERY_US = 1000000,
    PROMPT_FROM = 200, /* searches a second on workers */
};

static void set_time(struct server *s)
{
    keyspace_set_time(s->ks, clock_wall_ms(), clock_mono_us());
}

static void expire_more(void *arg)
{
    struct server *s = arg;

    set_time(s);
    if (!keyspace_expire_some(s->ks, EXPIRE_BUDGET_US)) {
        loop_timer_stop(s->expire_timer);
        s->expire_timer = NULL;
    }
}

static void expire(struct server *s)
{
    if (!s->expire_timer && keyspace_expire_some(s->ks, EXPIRE_BUDGET_US)) {
        s->expire_timer =
            loop_timer_start(s->loop, EXPIRE_AGAIN_US, expire_more, s);
    }
}

static void sample_rates(struct server *s)
{
    const struct net_stats *n = net_stats(s->net);
    time_us now = clock_mono_us();

    metrics_sample(&s->commands_rate, s->commands.total_commands, now);
    metrics_sample(&s->input_rate, n->input_bytes, now);
    metrics_sample(&s->output_rate, n->output_bytes, now);
}

static void run_decay(struct reaper_job *job)
{
    (void)job;
    mem_decay();
}

/* Memory that is not used goes back to the system, on the background thread;
 * when that has nothing to do, it is through with the last time, too. */
static void decay(struct server *s)
{
    time_us now = clock_mono_us();

    if (now - s->decayed_us >= DECAY_EVERY_US && !reaper_pending(s->reaper)) {
        s->decayed_us = now;
        s->decay.run = run_decay;
        reaper_submit(s->reaper, &s->decay);
    }
}

/* Where workers search the loop does not wait for the end of their slices. Else
 * it had better wake a little later: more requests have come by then. */
static void be_prompt(struct server *s)
{
    struct search_pool_stats stats;
    uint64_t n;
    bool wanted;

    search_pool_stats_read(s->ks->searches, &stats);
    n = stats.worker_runs - s->searches_seen;
    wanted = n * (uint64_t)s->config.hz >= PROMPT_FROM;
    s->searches_seen = stats.worker_runs;
    if (wanted != s->is_prompt) {
        s->is_prompt = wanted;
        thread_wake_at_once(wanted);
    }
}

void server_cron(void *arg)
{
    struct server *s = arg;

    s->cron_runs++;
    set_time(s);
    if (!s->commands.is_loading) { /* the data is the loader's */
        expire(s);
        keyspace_settle(s->ks);
        graph_pump_all(s->ks);
        lists_pump_all(s->ks);
    }
    child_poll(s->child);
    server_snapshot_cron(s);
    aof_cron(s->aof);
    server_clients_look(s);
    exchange_look(s->exchanges);
    sample_rates(s);
    be_prompt(s);
    decay(s);
    (void)mem_used(); /* keeps the peak up to date */
}
