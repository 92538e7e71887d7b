/* Jobs of a set's lists: phases of units that the builders share, and slices
 * that the loop works itself; and the training of lists.
 *
 * A training picks a sample of the rows as they are at one instant, under a
 * ticket: it is given back as soon as the rows have been read, since writers
 * keep old versions for it. What follows is index/ivf/kmeans.h. */
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/graph/graph_left.h"
#include "db/lists/lists_impl.h"

enum {
    SHUFFLE_UNIT = 16384, /* rows of the sample */
    FETCH_AHEAD = 8,
};

/* ---- running ----------------------------------------------------------- */

static bool step(struct task *t, struct worker *w)
{
    struct lists_task *lt = CONTAINER_OF(t, struct lists_task, task);
    struct lists_job *job = lt->job;
    uint32_t unit;

    (void)w;
    if (!lists_job_is_cancelled(job)) {
        unit =
            atomic_fetch_add_explicit(&job->next_unit, 1, memory_order_relaxed);
        if (unit < job->n_units) {
            job->unit(job, unit, lt);
            return true;
        }
    }
    if (atomic_fetch_sub_explicit(&job->active, 1, memory_order_acq_rel) == 1) {
        pool_complete(job->pool, &job->completion);
    }
    return false;
}

/* One that is cancelled ends when nobody comes back to it any more. */
static void go_on(struct lists_job *job)
{
    if (!lists_job_is_cancelled(job)) {
        job->next(job);
    } else if (!job->is_running && !job->is_yielding) {
        lists_job_end(job, false);
    }
}

static void phase_done(struct completion *c)
{
    struct lists_job *job = CONTAINER_OF(c, struct lists_job, completion);

    job->is_running = false;
    go_on(job);
}

static void turn_came(struct completion *c)
{
    struct lists_job *job = CONTAINER_OF(c, struct lists_job, turn);

    job->is_yielding = false;
    go_on(job);
}

/* What makes searches of the moment quicker is not left to threads that come
 * after all others. Of the workers one half, so that the loop has a processor
 * for the writes. */
static struct pool *pool_for(const struct lists_job *job, unsigned *most)
{
    const struct keyspace *ks = job->home->keyspace;

    if (job->kind == LISTS_JOB_TRAIN ||
        !(job->home->in_burst || lists_tail_is_long(job->home))) {
        return ks->builders;
    }
    *most = (pool_size(ks->pool) + 1) / 2;
    return ks->pool;
}

void lists_job_phase(struct lists_job *job, uint32_t n_units, unsigned most)
{
    struct pool *pool = pool_for(job, &most);
    unsigned n = job->n_tasks < most ? job->n_tasks : most;
    unsigned i;

    n = n < n_units ? n : n_units;
    n = n ? n : 1;
    job->is_running = true;
    job->pool = pool;
    job->n_units = n_units;
    atomic_store_explicit(&job->next_unit, 0, memory_order_relaxed);
    atomic_store_explicit(&job->active, n, memory_order_relaxed);
    for (i = 0; i < n; i++) {
        pool_submit(pool, &job->tasks[i].task);
    }
}

void lists_job_yield(struct lists_job *job)
{
    if (!job->is_yielding) {
        job->is_yielding = true;
        pool_complete(job->home->keyspace->builders, &job->turn);
    }
}

void lists_job_wait(struct lists_job *job)
{
    job->is_waiting = true;
}

void lists_wake(const struct vset *v)
{
    struct lists_job *job = v->lists ? v->lists->job : NULL;

    if (job && job->is_waiting) {
        job->is_waiting = false;
        lists_job_yield(job);
    }
}

bool lists_job_is_cancelled(const struct lists_job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

static void list_job(struct lists_job *job)
{
    struct keyspace *ks = job->home->keyspace;

    job->next_job = ks->lists_jobs;
    if (job->next_job) {
        job->next_job->prev_job = job;
    }
    ks->lists_jobs = job;
    ks->n_lists_jobs++;
}

static void unlist_job(struct lists_job *job)
{
    struct keyspace *ks = job->home->keyspace;

    if (job->prev_job) {
        job->prev_job->next_job = job->next_job;
    } else {
        ks->lists_jobs = job->next_job;
    }
    if (job->next_job) {
        job->next_job->prev_job = job->prev_job;
    }
    ks->n_lists_jobs--;
}

struct lists_job *lists_job_create(struct lists *l, enum lists_job_kind kind)
{
    struct lists_home *h = l->home;
    unsigned n = pool_size(h->keyspace->builders);
    struct lists_job *job =
        mem_try_alloc(sizeof(*job) + (n + 1) * sizeof(struct lists_task));
    unsigned i;

    if (!job) {
        return NULL;
    }
    memset(job, 0, sizeof(*job) + (n + 1) * sizeof(struct lists_task));
    job->home = h;
    job->lists = job->into = l;
    job->kind = kind;
    job->n_tasks = n;
    job->completion.done = phase_done;
    job->turn.done = turn_came;
    for (i = 0; i < n; i++) {
        job->tasks[i].task = (struct task){.step = step, .class = TASK_INDEX};
        job->tasks[i].job = job;
        job->tasks[i].scratch = ivf_scratch_create();
    }
    job->began_ns = clock_mono_ns();
    job->hold = epoch_hold(h->keyspace->epoch);
    h->job = job;
    list_job(job);
    return job;
}

void lists_job_take_ticket(struct lists_job *job)
{
    job->ticket = epoch_enter(job->home->keyspace->epoch);
    job->has_ticket = true;
    slots_view_take(lists_slots(job->home), &job->view);
}

void lists_job_give_ticket_back(struct lists_job *job)
{
    if (job->has_ticket) {
        job->has_ticket = false;
        epoch_leave(job->home->keyspace->epoch, job->ticket);
    }
}

static void job_free(struct lists_job *job)
{
    unsigned i;

    for (i = 0; i <= job->n_tasks; i++) {
        ivf_scratch_destroy(job->tasks[i].scratch);
        mem_free(job->tasks[i].work_block);
    }
    if (job->kmeans) {
        kmeans_abandon(job->kmeans);
    }
    if (job->leaving) {
        graph_left_abandon(job->leaving);
    }
    if (job->tending) {
        lists_tending_free(job->tending);
    }
    if (job->made) {
        ivf_centroids_destroy(job->made);
    }
    lists_log_free(job);
    mem_free(job->sample);
    mem_free(job->blocks);
    mem_free(job->held);
    mem_free(job->slots);
    mem_free(job->to);
    mem_free(job->keys);
    mem_free(job->codes);
    mem_free(job->books_sample);
    mem_free(job);
}

void lists_job_end(struct lists_job *job, bool go_on)
{
    struct lists_home *h = job->home;
    struct lists *l = job->lists;
    struct keyspace *ks = h->keyspace;
    uint64_t hold = job->hold;

    unlist_job(job);
    h->job = NULL;
    if (!h->is_going) {
        lists_let_go(job);
    }
    lists_job_give_ticket_back(job);
    if (h->discard) {
        lists_discard_abandon(h);
    }
    job_free(job);
    lists_job_ended(h, l, go_on);
    epoch_release(ks->epoch, hold);
    graph_tell(ks);
}

/* ---- the sample -------------------------------------------------------- */

/* A page: each row that is seen is taken with the chance that leaves as many as
 * are wanted. */
static void unit_of_pick(struct lists_job *job, uint32_t unit,
                         struct lists_task *t)
{
    const struct slots_view *v = &job->view;
    const struct page *p = v->pages[unit];
    slot_id first = (slot_id)row_page_first(v->geometry, unit);
    uint32_t n = row_page_count(v->geometry, unit);
    uint32_t i;

    (void)t;
    for (i = 0; i < n && first + i < v->n_slots; i++) {
        uint32_t left = v->n_live - job->n_seen;
        uint32_t wanted = job->n_sample - job->n_picked;

        if (!left || !page_sees(p, i, v->seq)) {
            continue;
        }
        job->n_seen++;
        if (rng_below(&job->rng, left) < wanted) {
            job->sample[job->n_picked++] = first + i;
        }
    }
}

static void unit_of_shuffle(struct lists_job *job, uint32_t unit,
                            struct lists_task *t)
{
    uint32_t from = unit * SHUFFLE_UNIT;
    uint32_t to = from + SHUFFLE_UNIT;
    uint32_t i;

    (void)t;
    for (i = from; i < to && i < job->n_picked; i++) {
        uint32_t j = (uint32_t)rng_below(&job->rng, i + 1);
        uint32_t swap = job->sample[i];

        job->sample[i] = job->sample[j];
        job->sample[j] = swap;
    }
}

void lists_fetch(const void *arg, uint32_t first, uint32_t n, float *out)
{
    const struct lists_job *job = arg;
    const struct vec_format *f = &job->home->set->format;
    uint32_t i;

    for (i = 0; i < n; i++) {
        if (i + FETCH_AHEAD < n) {
            __builtin_prefetch(row_map_at(
                &job->view.rows, job->sample[first + i + FETCH_AHEAD]));
        }
        vec_decode_unit(f, row_map_at(&job->view.rows, job->sample[first + i]),
                        out + (size_t)i * f->dim);
    }
}

/* ---- training ---------------------------------------------------------- */

static void unit_of_kmeans(struct lists_job *job, uint32_t unit,
                           struct lists_task *t)
{
    kmeans_unit(job->kmeans, unit, t->scratch);
}

void lists_job_give_up(struct lists_job *job)
{
    lists_drop(job->lists);
    lists_job_end(job, false);
}

/* What lists are made of; `result` is theirs from then on. */
static void note_result(struct lists_job *job)
{
    struct lists *l = job->lists;

    l->trained_rows = job->view.n_live;
    l->trained_at = job->home->keyspace->now;
    l->train_s = (double)(clock_mono_ns() - job->began_ns) / 1e9;
}

static struct lists_result result_of(const struct lists *l)
{
    return (struct lists_result){.options = l->options,
                                 .build = l->build,
                                 .trained_rows = l->trained_rows,
                                 .trained_at = l->trained_at,
                                 .train_s = l->train_s,
                                 .pq = l->pq};
}

static bool gives_vectors_up(const struct lists_job *job)
{
    return lists_discards(&job->lists->options, job->home->set);
}

/* The set that has none but codes comes to answer once it is made. */
static void discard(struct lists_job *job)
{
    struct lists_result r = result_of(job->lists);

    r.centroids = job->made;
    job->made = NULL;
    if (lists_discard_begin(job, &r) != ERR_OK) {
        lists_job_give_up(job);
    }
}

/* Lets what came of it answer. */
static void answer(struct lists_job *job)
{
    struct lists *l = job->lists;

    if (lists_install(l, job->made, job->leaving) != ERR_OK) {
        lists_job_give_up(job);
        return;
    }
    job->made = NULL;
    job->leaving = NULL;
    lists_log_end(job, l->home->set);
    lists_job_end(job, true);
}

static void unit_of_leaving(struct lists_job *job, uint32_t unit,
                            struct lists_task *t)
{
    (void)t;
    graph_left_unit(job->leaving, unit);
}

/* Not while the set is written down (vset_freeze()). */
static void install_when_thawed(struct lists_job *job)
{
    if (job->home->set->n_frozen) {
        lists_job_wait(job);
    } else if (gives_vectors_up(job)) {
        discard(job);
    } else if (lists_log_some(job)) {
        answer(job);
    }
}

/* The graph that answers is to go on doing so while rows move. */
static void prepare_leaving(struct lists_job *job)
{
    struct lists_home *h = job->home;
    uint32_t n = 0;

    job->next = prepare_leaving;
    if (!job->has_asked) {
        job->has_asked = true;
        job->leaving = h->answers || gives_vectors_up(job)
                           ? NULL
                           : graph_left_begin(h->set);
    }
    if (job->leaving && !graph_left_is_at_rest(job->leaving)) {
        lists_job_wait(job);
        return;
    }
    job->next = install_when_thawed;
    n = job->leaving ? graph_left_units(job->leaving) : 0;
    if (n) {
        job->unit = unit_of_leaving;
        lists_job_phase(job, n, UINT32_MAX);
    } else {
        install_when_thawed(job);
    }
}

/* The log is told before the graph is held. */
static void tell_log(struct lists_job *job)
{
    if (lists_log_some(job)) {
        prepare_leaving(job);
    }
}

static void trained(struct lists_job *job)
{
    struct kmeans *k = job->kmeans;
    struct lists_result r;

    job->kmeans = NULL;
    if (kmeans_end(k, &job->made) != ERR_OK) {
        lists_job_give_up(job);
        return;
    }
    note_result(job);
    if (gives_vectors_up(job)) {
        prepare_leaving(job);
        return;
    }
    r = result_of(job->lists);
    lists_form_make(lists_log_begin(job), &r, job->made, 0);
    job->next = tell_log;
    tell_log(job);
}

static void next_of_kmeans(struct lists_job *job)
{
    kmeans_next(job->kmeans);
    if (kmeans_has_read(job->kmeans)) {
        lists_job_give_ticket_back(job);
    }
    if (kmeans_units(job->kmeans) > 0) {
        lists_job_phase(job, kmeans_units(job->kmeans), UINT32_MAX);
    } else {
        trained(job);
    }
}

static struct kmeans_options kmeans_options(const struct vset *v,
                                            const struct lists_options *o,
                                            uint32_t n_live)
{
    uint32_t n_lists = o->nlist ? o->nlist : lists_n_for(n_live);
    uint64_t sample =
        o->sample ? o->sample : kmeans_sample_for(n_live, n_lists);

    return (struct kmeans_options){
        .metric = v->format.metric,
        .dim = v->format.dim,
        .n_lists = n_lists,
        .n_rows = sample < n_live ? (uint32_t)sample : n_live,
        .rounds = o->iterations,
        .seed = o->seed ? o->seed : v->seed,
    };
}

size_t lists_training_bytes(const struct vset *v, const struct lists_options *o)
{
    struct kmeans_options k = kmeans_options(v, o, vset_count(v));

    return kmeans_bytes(&k) + k.n_rows * sizeof(slot_id);
}

static void picked(struct lists_job *job)
{
    const struct vset *v = job->home->set;
    struct kmeans_options k =
        kmeans_options(v, &job->lists->options, job->view.n_live);

    k.n_rows = job->n_picked;
    k.fetch = lists_fetch;
    k.arg = job;

    if (k.n_lists > k.n_rows) {
        k.n_lists = k.n_rows; /* there are fewer by now */
    }
    job->kmeans = k.n_rows ? kmeans_begin(&k) : NULL;
    if (!job->kmeans) {
        lists_job_give_up(job);
        return;
    }
    job->unit = unit_of_kmeans;
    job->next = next_of_kmeans;
    lists_job_phase(job, kmeans_units(job->kmeans), UINT32_MAX);
}

static void shuffled(struct lists_job *job)
{
    lists_learn_codes(job, picked);
}

static void seen(struct lists_job *job)
{
    job->unit = unit_of_shuffle;
    job->next = shuffled;
    lists_job_phase(job, (job->n_picked + SHUFFLE_UNIT - 1) / SHUFFLE_UNIT, 1);
}

enum err lists_begin_training(struct lists *l)
{
    struct lists_home *h = l->home;
    const struct lists_options *o = &l->options;
    struct lists_job *job = lists_job_create(l, LISTS_JOB_TRAIN);

    if (!job) {
        return ERR_NOMEM;
    }
    job->n_sample = kmeans_options(h->set, o, vset_count(h->set)).n_rows;
    job->sample = mem_try_alloc((job->n_sample + 1) * sizeof(*job->sample));
    if (!job->sample || lists_make_pq(l) != ERR_OK) {
        lists_job_end(job, false);
        return ERR_NOMEM;
    }
    rng_seed(&job->rng, o->seed ? o->seed : h->set->seed);
    lists_job_take_ticket(job);
    job->unit = unit_of_pick;
    job->next = seen;
    lists_job_phase(job, job->view.n_pages, 1);
    return ERR_OK;
}
