/* The background thread: see reaper.h. A mutex and a condition are enough: the
 * loop submits rarely, and the lock is held for a few instructions. */
#include "base/reaper.h"

#include "base/lock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <stdbool.h>

struct reaper {
    struct lock lock;
    struct lock_signal wake;
    struct reaper_job *head; /* lock */
    struct reaper_job **tail;
    size_t pending;
    bool stopping;
    struct thread *thread;
};

static void reaper_main(void *arg)
{
    struct reaper *r = arg;
    struct reaper_job *job;

    lock_acquire(&r->lock);
    for (;;) {
        while (!r->head && !r->stopping) {
            lock_signal_wait(&r->wake, &r->lock);
        }
        job = r->head;
        if (!job) {
            break;
        }
        r->head = job->next;
        if (!r->head) {
            r->tail = &r->head;
        }
        lock_release(&r->lock);
        job->run(job);
        lock_acquire(&r->lock);
        r->pending--;
    }
    lock_release(&r->lock);
}

enum err reaper_create(struct reaper **out)
{
    return reaper_create_named("vectra-reaper", out);
}

enum err reaper_create_named(const char *name, struct reaper **out)
{
    struct reaper *r = mem_calloc(1, sizeof(*r));
    enum err err;

    lock_init(&r->lock, LOCK_REAPER);
    lock_signal_init(&r->wake);
    r->tail = &r->head;
    err = thread_start(&r->thread, name, reaper_main, r);
    if (err) {
        lock_signal_deinit(&r->wake);
        lock_deinit(&r->lock);
        mem_free(r);
        return err;
    }
    *out = r;
    return ERR_OK;
}

void reaper_destroy(struct reaper *r)
{
    lock_acquire(&r->lock);
    r->stopping = true;
    lock_signal_wake(&r->wake);
    lock_release(&r->lock);
    thread_join(r->thread);
    lock_signal_deinit(&r->wake);
    lock_deinit(&r->lock);
    mem_free(r);
}

void reaper_submit(struct reaper *r, struct reaper_job *job)
{
    job->next = NULL;
    lock_acquire(&r->lock);
    *r->tail = job;
    r->tail = &job->next;
    r->pending++;
    lock_signal_wake(&r->wake);
    lock_release(&r->lock);
}

size_t reaper_pending(struct reaper *r)
{
    size_t n;

    lock_acquire(&r->lock);
    n = r->pending;
    lock_release(&r->lock);
    return n;
}
