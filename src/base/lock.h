/* Mutexes with ranks: see lock.def. The loop thread takes no lock that a worker
 * holds while working; what passes between them goes through queues. */
#ifndef VECTRA_BASE_LOCK_H
#define VECTRA_BASE_LOCK_H

#include <pthread.h>

#include "base/macros.h"

enum lock_rank {
#define LOCK(sym, rank, guards) LOCK_##sym = rank,
#include "base/lock.def"
#undef LOCK
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_deinit(struct lock *l);
void lock_acquire(struct lock *l);
void lock_release(struct lock *l);

/* A condition to wait for under a lock. */
struct lock_signal {
    pthread_cond_t cond;
};

void lock_signal_init(struct lock_signal *s);
void lock_signal_deinit(struct lock_signal *s);
void lock_signal_wait(struct lock_signal *s, struct lock *held);
void lock_signal_wake(struct lock_signal *s);

#endif
