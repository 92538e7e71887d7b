/* Work on a set's graph: batches, sweeps, walks and checks, in phases of units
 * that the builder threads share. Between phases the loop has a look; it never
 * waits.
 *
 * A job holds what is retired (epoch_hold), so that pages it reads stay, but is
 * no search: writers need not keep old versions for it. The rows it reads do
 * not change, because their slots are held (B2). */
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"

enum {
    LOOK_MAX = 16384,  /* slots looked at for one batch */
    WALK_NODES = 1024, /* of one unit */
    WALKS_MAX = 8,     /* until nothing is lost any more */
    CHECK_NODES = 256,
};

/* ---- running ----------------------------------------------------------- */

static void unit_of_walk(struct graph_job *job, struct hnsw_scratch *s)
{
    const struct hnsw_lost *lost;
    size_t n;

    if (hnsw_walk_step(job->walk, WALK_NODES)) {
        return;
    }
    n = hnsw_walk_lost(job->walk, &lost);
    if (job->reattached < n) {
        hnsw_reattach(job->g->hnsw, lost[job->reattached++], &job->rows,
                      job->g->dead, s);
        return;
    }
    job->n_units = 0; /* one task works on this */
}

/* What makes searches of the moment quicker is not left to threads that come
 * after all others. Units are short, and it writes nothing that a child that is
 * forked meanwhile would read. */
static bool is_of_buckets(enum graph_job_kind kind)
{
    return kind == JOB_TRAIN || kind == JOB_ASSIGN || kind == JOB_MERGE;
}

static struct pool *pool_for(const struct keyspace *ks,
                             enum graph_job_kind kind)
{
    return is_of_buckets(kind) ? ks->pool : ks->builders;
}

/* Of the workers one half, so that the loop has a processor for the writes. */
static unsigned n_threads(const struct keyspace *ks, enum graph_job_kind kind)
{
    unsigned n = pool_size(pool_for(ks, kind));

    return kind >= JOB_WALK ? 1 : is_of_buckets(kind) ? (n + 1) / 2 : n;
}

static struct pool *pool_of(const struct graph_job *job)
{
    return pool_for(job->g->keyspace, job->kind);
}

static void work(struct graph_job *job, uint32_t unit, struct hnsw_scratch *s)
{
    switch (job->kind) {
    case JOB_BATCH:
        hnsw_batch_unit(job->batch, unit, s);
        break;
    case JOB_SWEEP:
        hnsw_sweep_unit(job->sweep, unit, s);
        break;
    case JOB_TRAIN:
        buckets_training_unit(job->training, unit);
        break;
    case JOB_ASSIGN:
    case JOB_MERGE:
        buckets_work_unit(job->work, unit);
        break;
    case JOB_WALK:
        unit_of_walk(job, s);
        break;
    case JOB_CHECK:
        if (!hnsw_check_step(&job->check, CHECK_NODES)) {
            job->n_units = 0; /* one task works on this */
        }
        break;
    }
}

static bool step(struct task *t, struct worker *w)
{
    struct graph_task *gt = CONTAINER_OF(t, struct graph_task, task);
    struct graph_job *job = gt->job;
    uint32_t unit;

    if (!atomic_load_explicit(&job->cancelled, memory_order_relaxed)) {
        unit = job->kind >= JOB_WALK
                   ? 0
                   : atomic_fetch_add_explicit(&job->next_unit, 1,
                                               memory_order_relaxed);
        if (unit < job->n_units) {
            work(job, unit, w->scratch);
            return true;
        }
    }
    if (atomic_fetch_sub_explicit(&job->active, 1, memory_order_acq_rel) == 1) {
        pool_complete(pool_of(job), &job->completion);
    }
    return false;
}

/* Where there is nothing to do one task finds that out, and says so. */
void graph_run_phase(struct graph_job *job, uint32_t n_units)
{
    struct pool *pool = pool_of(job);
    unsigned n = job->n_tasks < n_units ? job->n_tasks : n_units;
    unsigned i;

    n = n ? n : 1;
    job->n_units = n_units;
    atomic_store_explicit(&job->next_unit, 0, memory_order_relaxed);
    atomic_store_explicit(&job->active, n, memory_order_relaxed);
    for (i = 0; i < n; i++) {
        pool_submit(pool, &job->tasks[i].task);
    }
}

static void list_job(struct graph_job *job)
{
    struct keyspace *ks = job->g->keyspace;

    job->next = ks->graph_jobs;
    if (job->next) {
        job->next->prev = job;
    }
    ks->graph_jobs = job;
    ks->n_graph_jobs++;
}

static void unlist_job(struct graph_job *job)
{
    struct keyspace *ks = job->g->keyspace;

    if (job->prev) {
        job->prev->next = job->next;
    } else {
        ks->graph_jobs = job->next;
    }
    if (job->next) {
        job->next->prev = job->prev;
    }
    ks->n_graph_jobs--;
}

struct graph_job *graph_job_create(struct graph *g, enum graph_job_kind kind,
                                   struct graph_job **at,
                                   void (*done)(struct completion *c))
{
    const struct slots *s = &g->set->elements.slots;
    unsigned n = n_threads(g->keyspace, kind);
    struct graph_job *job =
        mem_try_alloc(sizeof(*job) + n * sizeof(struct graph_task));
    unsigned i;

    if (!job) {
        return NULL;
    }
    memset(job, 0, sizeof(*job));
    job->g = g;
    job->at = at;
    job->kind = kind;
    job->n_tasks = n;
    job->completion.done = done;
    job->pages = mem_try_alloc((s->n_pages + 1) * sizeof(*job->pages));
    if (!job->pages) {
        mem_free(job);
        return NULL;
    }
    if (s->n_pages) { /* a set that never had an element has no directory */
        memcpy(job->pages, s->dir->rows, s->n_pages * sizeof(*job->pages));
    }
    job->rows = (struct row_map){&s->geometry, job->pages};
    for (i = 0; i < n; i++) {
        job->tasks[i].task = (struct task){.step = step, .class = TASK_INDEX};
        job->tasks[i].job = job;
    }
    job->hold = epoch_hold(g->keyspace->epoch);
    *at = job;
    list_job(job);
    return job;
}

/* The job is over; the last thing, for the graph and its set may go with it. */
void graph_job_end(struct graph_job *job, bool go_on)
{
    struct graph *g = job->g;
    struct epoch *epoch = g->keyspace->epoch;
    struct keyspace *ks = g->keyspace;
    uint64_t hold = job->hold;

    unlist_job(job);
    *job->at = NULL;
    mem_free(job->pages);
    mem_free(job->gone);
    mem_free(job);
    graph_job_ended(g, go_on);
    epoch_release(epoch, hold);
    graph_tell(ks);
}

bool graph_job_is_cancelled(const struct graph_job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

/* ---- batches ----------------------------------------------------------- */

/* Takes a live slot that is not in the graph. */
static bool take(struct graph *g, slot_id slot)
{
    uint64_t bit = (uint64_t)1 << (slot % 64);

    if (slot >= HNSW_NODE_MAX || (g->held[slot / 64] & bit) ||
        !slots_is_live(&g->set->elements.slots, slot)) {
        return false;
    }
    g->held[slot / 64] |= bit;
    return true;
}

/* The next rows of the tail; says where the tail begins without them. */
static uint32_t take_tail(struct graph *g, uint32_t *nodes, uint32_t size,
                          slot_id *fresh_to, uint32_t *late_to)
{
    slot_id end = g->set->elements.slots.n_slots;
    uint32_t n = 0;
    int looks = LOOK_MAX;

    *late_to = g->late_from;
    *fresh_to = g->fresh_from;
    for (; n < size && *late_to < g->late_n && looks > 0; looks--) {
        slot_id slot = g->late->slots[(*late_to)++];

        graph_bit_clear(g->waiting, slot);
        graph_bit_clear(g->raw, slot);
        nodes[n] = slot;
        n += take(g, slot);
    }
    for (; n < size && *fresh_to < end && looks > 0; looks--) {
        slot_id slot = (*fresh_to)++;

        nodes[n] = slot;
        n += take(g, slot);
    }
    return n;
}

static void untake(struct graph *g, const uint32_t *nodes, uint32_t n,
                   uint32_t late_to)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        g->held[nodes[i] / 64] &= ~((uint64_t)1 << (nodes[i] % 64));
    }
    for (i = g->late_from; i < late_to; i++) {
        graph_bit_set(g->waiting, g->late->slots[i]);
    }
}

static void batch_ended(struct graph_job *job)
{
    struct graph *g = job->g;

    hnsw_batch_end(job->batch);
    g->fresh_from = job->fresh_to;
    g->late_from = job->late_to;
    graph_tail_shrink(g);
    if (hnsw_count(g->hnsw) > g->walked_at + g->walked_at / 2) {
        g->walk_due = true;
    }
    graph_job_end(job, true);
}

static void batch_phase_done(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);

    if (!graph_job_is_cancelled(job)) {
        hnsw_batch_next(job->batch);
        if (hnsw_batch_units(job->batch) > 0) {
            graph_run_phase(job, hnsw_batch_units(job->batch));
            return;
        }
        batch_ended(job);
        return;
    }
    graph_abandon_job(job);
}

/* What has died so far and is not to be swept yet: builders cannot look at what
 * the loop goes on to note. NULL when there is none, or no memory. */
static uint64_t *copy_dying(const struct graph *g)
{
    size_t bytes = g->held_words * sizeof(*g->dying);
    uint64_t *copy = g->n_dying ? mem_try_alloc(bytes) : NULL;

    if (copy) {
        memcpy(copy, g->dying, bytes);
    }
    return copy;
}

/* Memory for the next batch is found while this one is linked. */
static void expect_next(struct graph *g, uint32_t last, uint32_t size)
{
    slot_id end = g->set->elements.slots.n_slots;

    end = end < HNSW_NODE_MAX ? end : HNSW_NODE_MAX;
    end = end - last > 2 * size ? last + 2 * size : end;
    if (last < end && mem_has_room(size * g->row_bytes)) {
        hnsw_expect(g->hnsw, end);
    }
}

void graph_begin_batch(struct graph *g)
{
    uint32_t size = hnsw_batch_size(g->hnsw, UINT32_MAX);
    uint32_t *nodes = mem_alloc((size + 1) * sizeof(*nodes));
    slot_id fresh_to;
    uint32_t late_to, looked, n;
    struct graph_job *job = NULL;

    if (g->dead_words < g->held_words && graph_gather_dead(g) != ERR_OK) {
        mem_free(nodes);
        return;
    }
    n = take_tail(g, nodes, size, &fresh_to, &late_to);
    graph_count_levels(g, fresh_to);
    looked = fresh_to - g->fresh_from + late_to - g->late_from;
    g->to_finish -= looked < g->to_finish ? looked : g->to_finish;
    if (n == 0) {
        g->fresh_from = fresh_to;
        g->late_from = late_to;
        graph_tail_shrink(g);
    } else {
        job = graph_job_create(g, JOB_BATCH, &g->job, batch_phase_done);
    }
    if (job) {
        job->fresh_to = fresh_to;
        job->late_to = late_to;
        job->batch = hnsw_batch_begin(g->hnsw, nodes, n, &job->rows, g->dead);
        if (!job->batch) {
            untake(g, nodes, n, late_to);
            mem_free(nodes);
            graph_job_end(job, false);
            return;
        }
        expect_next(g, nodes[n - 1], size);
        job->gone = copy_dying(g);
        hnsw_batch_avoid(job->batch, job->gone);
        graph_run_phase(job, hnsw_batch_units(job->batch));
    } else if (n) {
        untake(g, nodes, n, late_to);
    }
    mem_free(nodes);
}

void graph_abandon_job(struct graph_job *job)
{
    switch (job->kind) {
    case JOB_BATCH:
        hnsw_batch_abandon(job->batch);
        break;
    case JOB_SWEEP:
        mem_free(job->sweep);
        break;
    case JOB_TRAIN:
        buckets_training_abandon(job->training);
        break;
    case JOB_ASSIGN:
    case JOB_MERGE:
        buckets_work_abandon(job->work);
        break;
    case JOB_WALK:
        hnsw_walk_end(job->walk);
        break;
    case JOB_CHECK:
        break;
    }
    graph_job_end(job, false);
}

/* ---- sweeps ------------------------------------------------------------ */

/* Nobody can be on the way through these slots any more. */
static void swept_reclaim(struct retired *r, void *arg)
{
    (void)arg;
    slots_free_bunch(CONTAINER_OF(r, struct slot_bunch, retired));
}

/* When there is no memory for it they stay where they are till next time. */
static void let_go_of_dead(struct graph *g)
{
    struct slots *s = &g->set->elements.slots;
    struct slot_bunch *b = slots_bunch_create(s, g->dead_words);
    uint32_t word;

    if (!b) {
        return;
    }
    for (word = 0; word < g->dead_words; word++) {
        b->bits[word] = g->dead[word];
        g->dead[word] = 0;
    }
    g->n_dead = 0;
    graph_let_go(g, b);
    epoch_retire(g->keyspace->epoch, &b->retired, swept_reclaim, NULL);
}

static void sweep_phase_done(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);
    struct graph *g = job->g;

    if (graph_job_is_cancelled(job)) {
        graph_abandon_job(job);
        return;
    }
    if (hnsw_sweep_next(job->sweep)) {
        graph_run_phase(job, hnsw_sweep_units(job->sweep));
        return;
    }
    hnsw_sweep_end(job->sweep);
    let_go_of_dead(g);
    g->walk_due = true;
    graph_job_end(job, true);
}

void graph_begin_sweep(struct graph *g)
{
    struct graph_job *job;

    if (graph_gather_dead(g) != ERR_OK) {
        return;
    }
    job = graph_job_create(g, JOB_SWEEP, &g->job, sweep_phase_done);
    if (!job) {
        return;
    }
    job->sweep = hnsw_sweep_begin(g->hnsw, g->dead, &job->rows);
    if (!job->sweep) {
        graph_job_end(job, false);
        return;
    }
    graph_run_phase(job, hnsw_sweep_units(job->sweep));
}

/* ---- walks ------------------------------------------------------------- */

static void walk_done(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);
    struct graph *g = job->g;
    bool again = job->reattached > 0 && ++job->walks < WALKS_MAX;

    hnsw_walk_end(job->walk);
    job->walk =
        graph_job_is_cancelled(job) || !again ? NULL : hnsw_walk_begin(g->hnsw);
    if (job->walk) {
        job->reattached = 0;
        graph_run_phase(job, 1);
        return;
    }
    graph_job_end(job, true);
}

void graph_begin_walk(struct graph *g)
{
    struct graph_job *job = graph_job_create(g, JOB_WALK, &g->job, walk_done);

    if (!job) {
        return;
    }
    g->walk_due = false;
    g->walk_put_off = 0;
    g->walked_at = hnsw_count(g->hnsw);
    job->walk = hnsw_walk_begin(g->hnsw);
    if (!job->walk) {
        graph_job_end(job, false);
        return;
    }
    graph_run_phase(job, 1);
}

/* ---- checks ------------------------------------------------------------ */

static void check_done(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);
    struct graph *g = job->g;

    if (graph_job_is_cancelled(job)) {
        graph_abandon_job(job);
        return;
    }
    g->checks_made++;
    g->broken = job->check.broken;
    graph_job_end(job, true);
}

void graph_begin_check(struct graph *g)
{
    struct graph_job *job = graph_job_create(g, JOB_CHECK, &g->job, check_done);

    if (!job) {
        return;
    }
    /* Who asks from here on is asking for another. */
    g->checks_made = g->checks_asked - 1;
    hnsw_check_begin(&job->check, g->hnsw);
    graph_run_phase(job, 1);
}
