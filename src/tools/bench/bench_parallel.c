#include "tools/bench/bench_parallel.h"

#include <stdatomic.h>

#include "base/thread.h"

struct work {
    uint64_t n, piece;
    enum err (*fn)(void *, unsigned, uint64_t, uint64_t);
    void *arg;
    _Atomic uint64_t next;
    _Atomic int err;
};

struct worker {
    struct work *work;
    unsigned index;
};

static void worker_main(void *arg)
{
    struct worker *self = arg;
    struct work *w = self->work;

    while (!atomic_load(&w->err)) {
        uint64_t from = atomic_fetch_add(&w->next, w->piece);
        uint64_t to = from + w->piece < w->n ? from + w->piece : w->n;
        enum err err;
        int none = ERR_OK;

        if (from >= w->n) {
            return;
        }
        err = w->fn(w->arg, self->index, from, to);
        if (err) {
            atomic_compare_exchange_strong(&w->err, &none, (int)err);
        }
    }
}

enum err bench_parallel_run(unsigned n_threads, uint64_t n, uint64_t piece,
                            enum err (*fn)(void *arg, unsigned worker,
                                           uint64_t from, uint64_t to),
                            void *arg)
{
    struct work work = {.n = n, .piece = piece, .fn = fn, .arg = arg};
    struct worker workers[BENCH_THREADS_MAX];
    struct thread *threads[BENCH_THREADS_MAX];
    unsigned i;

    ASSERT(n_threads >= 1 && n_threads <= BENCH_THREADS_MAX && piece);
    for (i = 0; i < n_threads; i++) {
        workers[i] = (struct worker){&work, i};
        threads[i] = NULL;
        /* A thread that cannot be had only makes the others do more; the
         * caller's own thread is worker 0. */
        if (i && thread_start(&threads[i], "worker", worker_main,
                              &workers[i]) != ERR_OK) {
            threads[i] = NULL;
        }
    }
    worker_main(&workers[0]);
    for (i = 1; i < n_threads; i++) {
        if (threads[i]) {
            thread_join(threads[i]);
        }
    }
    return (enum err)atomic_load(&work.err);
}
