/* The worker pool: threads that run search and index tasks for the loop.
 *
 * A task is a struct the submitter owns and a step() that does one bounded unit
 * of work (a chunk of a scan, about 10 microseconds to 1 ms) and says whether
 * there is more. A worker interleaves the tasks it holds, one unit each, and
 * looks for new ones of a higher class after every unit, so a long task delays
 * a short one by one unit at most.
 *
 *     loop ── submit ──▶ ring per class (one producer, any consumer)
 *                               │  workers take, futex wakes sleepers
 *     loop ◀── drain ── completion stack (any producer, one consumer)
 *
 * Nothing allocates after creation and no lock is shared with the loop: a
 * worker that is descheduled holds up nobody.
 *
 * thread pool_submit, pool_drain, pausing: the loop. pool_complete: workers. */
#ifndef VECTRA_BASE_POOL_H
#define VECTRA_BASE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum task_class {
    TASK_QUERY, /* a client waits */
    TASK_INDEX, /* building what makes queries faster */
    TASK_CLASS_COUNT,
};

enum { POOL_WORKERS_MAX = 64 };

struct pool;

/* Given to step(): who is running it. */
struct worker {
    unsigned index; /* 0 .. n_workers - 1 */
    void *scratch;  /* the pool user's, from worker_init */
};

struct task {
    /* Does one unit; true when there is more. After false the pool does not
     * touch the task again. */
    bool (*step)(struct task *t, struct worker *w);
    enum task_class class;
    /* Of TASK_QUERY: one unit, of a quarter of a millisecond at most, which the
     * loop may run; see pool_help(). */
    bool brief;
    struct task *next; /* the pool's */
};

/* Embedded in whatever a worker hands back to the loop. */
struct completion {
    void (*done)(struct completion *c); /* on the loop thread */
    struct completion *next;            /* the pool's */
};

struct pool_options {
    unsigned n_workers;
    const char *name;  /* of the threads, behind "vectra-"; NULL: "w" */
    bool low_priority; /* others' threads come first */
    /* Called by a worker when the completion stack stops being empty; must
     * make the loop call pool_drain() soon. */
    void (*wake)(void *arg);
    void *wake_arg;
    /* Makes and frees worker->scratch, on the worker's thread; may be NULL. */
    void *(*worker_init)(void *arg);
    void (*worker_deinit)(void *scratch, void *arg);
    void *worker_arg;
};

/* owns   caller. */
enum err pool_create(const struct pool_options *o, struct pool **out) MUST_USE;

/* Waits for the tasks that are queued or running; the loop must have drained
 * or be done with completions. */
void pool_destroy(struct pool *p);

unsigned pool_size(const struct pool *p);

/* Queues a task. */
void pool_submit(struct pool *p, struct task *t);

/* Called before the loop would sleep: runs a brief task for which there is no
 * worker, with the scratch given, and says whether there was one. So with as
 * many workers as processors the loop works as well, in place of one of them,
 * which is left asleep while all tasks are brief: it need not be displaced, nor
 * wait, each time that a client asks or a worker has an answer.
 *
 * pool_may_help() says beforehand that it will be called. */
void pool_may_help(struct pool *p, bool on);
bool pool_help(struct pool *p, void *scratch);

/* Hands a completion to the loop. */
void pool_complete(struct pool *p, struct completion *c);

/* Runs the completions that have arrived, in order of arrival; returns how
 * many. */
size_t pool_drain(struct pool *p);

/* Tasks submitted and not yet finished; completions may still be on the way. */
size_t pool_pending(const struct pool *p);

/* Asks all workers to park: each ends the unit it is at and begins no other, so
 * it holds no lock and what it works on is as it is between units. It is not
 * waited for. When all have parked, pool_drain() calls parked(arg), if that is
 * not NULL and nobody has asked to resume meanwhile; never from in here.
 *
 * Tasks may be submitted and completions drained as ever; a task that is
 * submitted now begins when the workers resume. One pause at a time. */
void pool_pause(struct pool *p, void (*parked)(void *arg), void *arg);

/* Whether all workers have parked; stays so until pool_resume(). */
bool pool_is_parked(struct pool *p);

/* Waits until all have parked, but no longer than that: whether they have. For
 * when the loop has nothing else to do. */
bool pool_wait_parked(struct pool *p, int64_t timeout_us);

/* The workers go on, whether or not all had parked. */
void pool_resume(struct pool *p);

#endif
