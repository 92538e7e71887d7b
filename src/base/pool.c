/* The worker pool: see pool.h.
 *
 * Submission is a bounded ring per class with one producer (the loop) and many
 * consumers. A consumer claims position `head` by compare-and-swap after
 * reading the slot; the producer never overwrites a slot before head has passed
 * it, so the value read before a successful swap is the value claimed. When a
 * ring is full, tasks wait in a list that only the loop sees and move up as it
 * submits or drains.
 *
 * Sleeping is a futex on a submission counter: a worker reads the counter,
 * looks for work once more, and sleeps only if the counter has not moved. The
 * loop wakes one worker per submission; one that finds more work than it takes
 * wakes the next.
 *
 * A worker that may run a unit has said so in `awake` before it looked at
 * `paused`, and who pauses looks at `awake` afterwards: one of the two sees the
 * other (all four are sequentially consistent). Both are left alone from unit
 * to unit, so that being able to pause costs a load. */
#include "base/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    RING_SIZE = 4096,
    SPINS = 200,
    HELD_MAX = 4,
    INDEX_TURN = 8,
    PATIENCE = 32,        /* units, for which a task is left to another */
    PARK_LOOK_NS = 50000, /* how often pool_wait_parked() looks */
};

struct ring {
    _Alignas(CACHE_LINE) _Atomic uint64_t head; /* consumers */
    _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* loop */
    _Alignas(CACHE_LINE) _Atomic(struct task *) slots[RING_SIZE];
    struct task *waiting; /* loop: did not fit */
    struct task **waiting_last;
};

/* Tasks of one class that a worker has begun, taken in turn. */
struct held {
    struct task *first;
    struct task **last;
    unsigned n;
};

struct pool_worker {
    struct worker public;
    struct pool *pool;
    struct thread *thread;
    struct held held[TASK_CLASS_COUNT];
    unsigned turn;
    unsigned patience; /* units since there was nothing to leave to another */
    bool idle;         /* counted in the pool's idle */
    _Alignas(CACHE_LINE) _Atomic bool awake; /* may be at a unit */
};

struct pool {
    struct ring rings[TASK_CLASS_COUNT];
    _Alignas(CACHE_LINE) _Atomic uint32_t submissions; /* the futex word */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t idle;   /* workers looking for work, asleep or not */
    _Atomic uint32_t n_long; /* tasks that are not brief */
    _Atomic uint32_t spare;  /* workers to be left asleep: see pool_help() */
    _Atomic bool stopping;
    _Alignas(CACHE_LINE) _Atomic(struct completion *) completed;
    _Alignas(CACHE_LINE) _Atomic size_t pending;
    _Alignas(CACHE_LINE) _Atomic uint32_t paused; /* a futex word */
    /* `told` is on the completion stack, or is about to be. */
    _Atomic bool telling;
    struct completion told;
    void (*parked)(void *arg); /* loop: to be called; NULL when it was */
    void *parked_arg;
    bool is_parked; /* loop */
    bool helped;    /* loop */
    struct pool_options options;
    unsigned n_started;
    struct pool_worker *workers;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* ---- submission -------------------------------------------------------- */

static bool ring_push(struct ring *r, struct task *t)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

    if (tail - head == RING_SIZE) {
        return false;
    }
    atomic_store_explicit(&r->slots[tail % RING_SIZE], t, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return true;
}

static struct task *ring_pop(struct ring *r)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

    for (;;) {
        uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
        struct task *t;

        if (head == tail) {
            return NULL;
        }
        t = atomic_load_explicit(&r->slots[head % RING_SIZE],
                                 memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&r->head, &head, head + 1,
                                                  memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return t;
        }
    }
}

static bool ring_is_empty(const struct ring *r)
{
    return atomic_load_explicit(&r->head, memory_order_relaxed) ==
           atomic_load_explicit(&r->tail, memory_order_relaxed);
}

/* Moves what did not fit into the ring as far as there is room. */
static void ring_refill(struct ring *r)
{
    while (r->waiting) {
        struct task *next = r->waiting->next;

        if (!ring_push(r, r->waiting)) {
            return;
        }
        r->waiting = next;
    }
    r->waiting_last = &r->waiting;
}

static bool has_sleeper(const struct pool *p)
{
    return atomic_load(&p->sleepers) > atomic_load(&p->spare);
}

static void wake_one(struct pool *p)
{
    atomic_fetch_add(&p->submissions, 1);
    if (has_sleeper(p)) {
        futex_wake(&p->submissions, 1);
    }
}

void pool_submit(struct pool *p, struct task *t)
{
    struct ring *r = &p->rings[t->class];

    t->next = NULL;
    if (!t->brief) {
        atomic_fetch_add_explicit(&p->n_long, 1, memory_order_relaxed);
    }
    atomic_store(&p->spare, p->helped && atomic_load(&p->n_long) == 0);
    atomic_fetch_add_explicit(&p->pending, 1, memory_order_relaxed);
    ring_refill(r);
    if (r->waiting || !ring_push(r, t)) {
        *r->waiting_last = t;
        r->waiting_last = &t->next;
    }
    wake_one(p);
}

/* ---- pausing ----------------------------------------------------------- */

/* Nobody is at a unit, nor will be until they resume; though one who had been
 * about to look may yet seem awake for a moment. */
static bool all_parked(const struct pool *p)
{
    unsigned i;

    if (!atomic_load(&p->paused)) {
        return false;
    }
    for (i = 0; i < p->n_started; i++) {
        if (atomic_load(&p->workers[i].awake)) {
            return false;
        }
    }
    return true;
}

bool pool_is_parked(struct pool *p)
{
    p->is_parked = p->is_parked || all_parked(p);
    return p->is_parked;
}

/* Has the loop told when all have parked. */
static void tell_if_parked(struct pool *p)
{
    if (all_parked(p) && !atomic_exchange(&p->telling, true)) {
        pool_complete(p, &p->told);
    }
}

/* On the loop. By now it may be another pause than the one it was meant for, or
 * none. */
static void told_parked(struct completion *c)
{
    struct pool *p = CONTAINER_OF(c, struct pool, told);
    void (*parked)(void *arg) = p->parked;

    atomic_store(&p->telling, false);
    if (parked && pool_is_parked(p)) {
        p->parked = NULL;
        parked(p->parked_arg);
    }
}

void pool_pause(struct pool *p, void (*parked)(void *arg), void *arg)
{
    ASSERT(!atomic_load(&p->paused));
    p->parked = parked;
    p->parked_arg = arg;
    atomic_store(&p->paused, 1);
    tell_if_parked(p);
}

bool pool_wait_parked(struct pool *p, int64_t timeout_us)
{
    const struct timespec look = {.tv_nsec = PARK_LOOK_NS};
    int64_t until = clock_mono_us() + timeout_us;

    while (!pool_is_parked(p)) {
        if (clock_mono_us() >= until) {
            return false;
        }
        nanosleep(&look, NULL);
    }
    return true;
}

void pool_resume(struct pool *p)
{
    p->parked = NULL;
    p->is_parked = false;
    if (atomic_exchange(&p->paused, 0)) {
        futex_wake(&p->paused, INT_MAX);
    }
}

static void fall_asleep(struct pool_worker *w)
{
    atomic_store(&w->awake, false);
    if (UNLIKELY(atomic_load(&w->pool->paused))) {
        tell_if_parked(w->pool);
    }
}

/* Before a unit: waits while the pool is paused. */
static void stay_awake(struct pool_worker *w)
{
    struct pool *p = w->pool;

    if (!atomic_load_explicit(&w->awake, memory_order_relaxed)) {
        atomic_store(&w->awake, true);
    }
    while (UNLIKELY(atomic_load(&p->paused))) {
        fall_asleep(w);
        futex_wait(&p->paused, 1);
        atomic_store(&w->awake, true);
    }
}

/* ---- workers ----------------------------------------------------------- */

static bool has_new(const struct pool *p)
{
    int class;

    for (class = 0; class < TASK_CLASS_COUNT; class ++) {
        if (!ring_is_empty(&p->rings[class])) {
            return true;
        }
    }
    return false;
}

/* Whether a new task is better left to a worker that has nothing to do. Waking
 * takes longer than a unit of work, so a busy worker would get at every task
 * first and do them all in turn, while the other one finds nothing. Whoever
 * submitted the task has woken the other; should it not come for long, its
 * processor is busy. */
static bool leaves_to_another(struct pool_worker *w)
{
    bool busy = w->held[TASK_QUERY].n > 0 || w->held[TASK_INDEX].n > 0;

    if (!busy ||
        atomic_load_explicit(&w->pool->idle, memory_order_relaxed) == 0 ||
        !has_new(w->pool)) {
        w->patience = 0;
        return false;
    }
    return w->patience++ < PATIENCE;
}

/* Says, where it changes, whether the worker looks for work. */
static void set_idle(struct pool_worker *w, bool idle)
{
    if (w->idle != idle) {
        w->idle = idle;
        if (idle) {
            atomic_fetch_add(&w->pool->idle, 1);
        } else {
            atomic_fetch_sub(&w->pool->idle, 1);
        }
    }
}

/* Takes a task of the highest class that has one. A worker holds few tasks at
 * a time, so that another one, idle, finds the rest in the ring. */
static struct task *take_new(struct pool_worker *w)
{
    struct task *t = NULL;
    int class;

    if (leaves_to_another(w)) {
        return NULL;
    }
    for (class = 0; class < TASK_CLASS_COUNT && !t; class ++) {
        if (w->held[class].n < HELD_MAX) {
            t = ring_pop(&w->pool->rings[class]);
        }
    }
    return t;
}

static void hold(struct pool_worker *w, struct task *t)
{
    struct held *h = &w->held[t->class];

    t->next = NULL;
    *h->last = t;
    h->last = &t->next;
    h->n++;
}

static struct task *held_pop(struct held *h)
{
    struct task *t = h->first;

    if (t) {
        h->first = t->next;
        if (!h->first) {
            h->last = &h->first;
        }
        h->n--;
    }
    return t;
}

/* The task to run a unit of: queries first, but every INDEX_TURN-th unit goes
 * to building if there is any, so that a stream of queries cannot stop it. */
static struct task *next_held(struct pool_worker *w)
{
    struct task *t = NULL;

    if (++w->turn % INDEX_TURN == 0) {
        t = held_pop(&w->held[TASK_INDEX]);
    }
    if (!t) {
        t = held_pop(&w->held[TASK_QUERY]);
    }
    return t ? t : held_pop(&w->held[TASK_INDEX]);
}

/* Waits until there may be work; false when the pool is stopping. */
static bool wait_for_work(struct pool *p)
{
    uint32_t seen;
    int i;

    for (i = 0; i < SPINS; i++) {
        if (has_new(p)) {
            return true;
        }
    }
    seen = atomic_load(&p->submissions);
    atomic_fetch_add(&p->sleepers, 1);
    if (!has_new(p) && !atomic_load(&p->stopping)) {
        futex_wait(&p->submissions, seen);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    return has_new(p) || !atomic_load(&p->stopping);
}

/* Where others' threads come first, who waits for this processor comes next;
 * the kernel would let it wait for the next tick, up to 4 ms. Queries give way
 * to nobody: it would cost them their share beside busy neighbours. */
static void run_unit(struct pool_worker *w, struct task *t)
{
    struct pool *p = w->pool;
    const bool brief = t->brief;
    bool more = t->step(t, &w->public);

    if (more) {
        hold(w, t);
    } else {
        if (!brief) {
            atomic_fetch_sub_explicit(&p->n_long, 1, memory_order_relaxed);
        }
        atomic_fetch_sub_explicit(&p->pending, 1, memory_order_release);
    }
    if (p->options.low_priority) {
        thread_give_way();
    }
}

static void worker_run(struct pool_worker *w)
{
    struct pool *p = w->pool;

    for (;;) {
        struct task *t = take_new(w);

        if (t) {
            set_idle(w, false);
            if (has_new(p) && has_sleeper(p)) {
                futex_wake(&p->submissions, 1);
            }
            hold(w, t);
        }
        t = next_held(w);
        if (t) {
            stay_awake(w);
            run_unit(w, t);
            continue;
        }
        fall_asleep(w);
        set_idle(w, true);
        if (!wait_for_work(p)) {
            return;
        }
    }
}

static void worker_main(void *arg)
{
    struct pool_worker *w = arg;
    const struct pool_options *o = &w->pool->options;

    if (o->low_priority) {
        thread_lower_priority();
    } else {
        thread_wake_at_once(true);
    }
    if (o->worker_init) {
        w->public.scratch = o->worker_init(o->worker_arg);
    }
    worker_run(w);
    if (o->worker_deinit) {
        o->worker_deinit(w->public.scratch, o->worker_arg);
    }
}

/* ---- the loop's help ---------------------------------------------------- */

void pool_may_help(struct pool *p, bool on)
{
    p->helped = on;
}

/* The next task if it is brief and more wait than workers are about to come.
 * Nobody but the loop frees a task, so that it may look. */
static struct task *pop_brief(struct pool *p)
{
    struct ring *r = &p->rings[TASK_QUERY];
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint32_t idle = atomic_load_explicit(&p->idle, memory_order_relaxed);
    uint32_t spare = atomic_load_explicit(&p->spare, memory_order_relaxed);
    struct task *t;

    if (tail - head <= (idle > spare ? idle - spare : 0)) {
        return NULL;
    }
    t = atomic_load_explicit(&r->slots[head % RING_SIZE], memory_order_relaxed);
    return t->brief && atomic_compare_exchange_strong_explicit(
                           &r->head, &head, head + 1, memory_order_acq_rel,
                           memory_order_acquire)
               ? t
               : NULL;
}

bool pool_help(struct pool *p, void *scratch)
{
    struct worker self = {.index = p->options.n_workers, .scratch = scratch};
    struct task *t;

    if (!p->helped || atomic_load(&p->paused)) {
        return false;
    }
    t = pop_brief(p);
    if (!t) {
        return false;
    }
    (void)t->step(t, &self);
    atomic_fetch_sub_explicit(&p->pending, 1, memory_order_release);
    return true;
}

/* ---- completion -------------------------------------------------------- */

void pool_complete(struct pool *p, struct completion *c)
{
    struct completion *top =
        atomic_load_explicit(&p->completed, memory_order_relaxed);

    do {
        c->next = top;
    } while (!atomic_compare_exchange_weak_explicit(
        &p->completed, &top, c, memory_order_acq_rel, memory_order_relaxed));
    if (!top) {
        p->options.wake(p->options.wake_arg);
    }
}

size_t pool_drain(struct pool *p)
{
    struct completion *c =
        atomic_exchange_explicit(&p->completed, NULL, memory_order_acq_rel);
    struct completion *ordered = NULL;
    size_t n = 0;
    int class;

    while (c) {
        struct completion *next = c->next;

        c->next = ordered;
        ordered = c;
        c = next;
    }
    while (ordered) {
        c = ordered;
        ordered = c->next;
        c->done(c);
        n++;
    }
    for (class = 0; class < TASK_CLASS_COUNT; class ++) {
        if (p->rings[class].waiting) {
            ring_refill(&p->rings[class]);
            wake_one(p);
        }
    }
    return n;
}

size_t pool_pending(const struct pool *p)
{
    return atomic_load_explicit(&p->pending, memory_order_acquire);
}

/* ---- life -------------------------------------------------------------- */

unsigned pool_size(const struct pool *p)
{
    return p->options.n_workers;
}

enum err pool_create(const struct pool_options *o, struct pool **out)
{
    struct pool *p;
    enum err err = ERR_OK;
    unsigned i;

    if (o->n_workers < 1 || o->n_workers > POOL_WORKERS_MAX) {
        return ERR_RANGE;
    }
    p = mem_calloc_aligned(sizeof(*p), CACHE_LINE);
    p->options = *o;
    p->told.done = told_parked;
    for (i = 0; i < TASK_CLASS_COUNT; i++) {
        p->rings[i].waiting_last = &p->rings[i].waiting;
    }
    p->workers =
        mem_calloc_aligned(o->n_workers * sizeof(*p->workers), CACHE_LINE);
    for (i = 0; i < o->n_workers && !err; i++) {
        struct pool_worker *w = &p->workers[i];
        char name[24];

        snprintf(name, sizeof(name), "vectra-%s%u", o->name ? o->name : "w", i);
        w->pool = p;
        w->public.index = i;
        w->held[TASK_QUERY].last = &w->held[TASK_QUERY].first;
        w->held[TASK_INDEX].last = &w->held[TASK_INDEX].first;
        err = thread_start(&w->thread, name, worker_main, w);
        p->n_started += err == ERR_OK;
    }
    if (err) {
        pool_destroy(p);
        return err;
    }
    *out = p;
    return ERR_OK;
}

void pool_destroy(struct pool *p)
{
    unsigned i;

    atomic_store(&p->stopping, true);
    pool_resume(p);
    atomic_fetch_add(&p->submissions, 1);
    futex_wake(&p->submissions, INT_MAX);
    for (i = 0; i < p->n_started; i++) {
        thread_join(p->workers[i].thread);
    }
    mem_free(p->workers);
    mem_free(p);
}
