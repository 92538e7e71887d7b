/* Lock step: see baton.h. The lock guards whose turn it is, and by it what one
 * side wrote is seen by the other. */
#include "base/baton.h"

#include "base/lock.h"
#include "base/mem.h"
#include "base/thread.h"

enum turn { TURN_STARTER, TURN_OTHER, TURN_ENDED };

struct baton {
    struct lock lock;
    struct lock_signal to_starter, to_other;
    enum turn turn; /* lock */
    time_us until;  /* of the slice; who holds the baton */
    bool is_cancelled;
    void (*fn)(struct baton *b, void *arg);
    void *arg;
    struct thread *thread;
};

static void wait_for_turn(struct baton *b)
{
    while (b->turn != TURN_OTHER) {
        lock_signal_wait(&b->to_other, &b->lock);
    }
}

static void baton_main(void *arg)
{
    struct baton *b = arg;

    lock_acquire(&b->lock);
    wait_for_turn(b);
    lock_release(&b->lock);
    b->fn(b, b->arg);
    lock_acquire(&b->lock);
    b->turn = TURN_ENDED;
    lock_signal_wake(&b->to_starter);
    lock_release(&b->lock);
}

enum err baton_start(struct baton **out, const char *name,
                     void (*fn)(struct baton *b, void *arg), void *arg)
{
    struct baton *b = mem_calloc(1, sizeof(*b));
    enum err err;

    lock_init(&b->lock, LOCK_BATON);
    lock_signal_init(&b->to_starter);
    lock_signal_init(&b->to_other);
    b->fn = fn;
    b->arg = arg;
    err = thread_start(&b->thread, name, baton_main, b);
    if (err) {
        lock_signal_deinit(&b->to_starter);
        lock_signal_deinit(&b->to_other);
        lock_deinit(&b->lock);
        mem_free(b);
        return err;
    }
    *out = b;
    return ERR_OK;
}

bool baton_run(struct baton *b, time_us slice_us)
{
    bool more;

    lock_acquire(&b->lock);
    if (b->turn != TURN_ENDED) {
        b->until = clock_mono_us() + slice_us;
        b->turn = TURN_OTHER;
        lock_signal_wake(&b->to_other);
        while (b->turn == TURN_OTHER) {
            lock_signal_wait(&b->to_starter, &b->lock);
        }
    }
    more = b->turn != TURN_ENDED;
    lock_release(&b->lock);
    return more;
}

void baton_cancel(struct baton *b)
{
    b->is_cancelled = true;
}

void baton_join(struct baton *b)
{
    while (baton_run(b, 1000000)) {
    }
    thread_join(b->thread);
    lock_signal_deinit(&b->to_starter);
    lock_signal_deinit(&b->to_other);
    lock_deinit(&b->lock);
    mem_free(b);
}

void baton_yield_if_due(struct baton *b)
{
    if (clock_mono_us() < b->until) {
        return;
    }
    lock_acquire(&b->lock);
    b->turn = TURN_STARTER;
    lock_signal_wake(&b->to_starter);
    wait_for_turn(b);
    lock_release(&b->lock);
}

bool baton_is_cancelled(const struct baton *b)
{
    return b->is_cancelled;
}
