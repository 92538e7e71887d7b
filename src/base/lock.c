/* Mutexes that know their rank. */
#include "base/lock.h"

#ifdef VECTRA_DEBUG
enum { LOCK_DEPTH_MAX = 8 };
static _Thread_local enum lock_rank held[LOCK_DEPTH_MAX];
static _Thread_local int n_held;

static void rank_push(enum lock_rank rank)
{
    ASSERT(n_held < LOCK_DEPTH_MAX);
    ASSERT(n_held == 0 || held[n_held - 1] < rank);
    held[n_held++] = rank;
}

static void rank_pop(enum lock_rank rank)
{
    ASSERT(n_held > 0 && held[n_held - 1] == rank);
    n_held--;
}
#else
static void rank_push(enum lock_rank rank)
{
    (void)rank;
}

static void rank_pop(enum lock_rank rank)
{
    (void)rank;
}
#endif

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->rank = rank;
    ASSERT(pthread_mutex_init(&l->mutex, NULL) == 0);
}

void lock_deinit(struct lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

void lock_acquire(struct lock *l)
{
    rank_push(l->rank);
    pthread_mutex_lock(&l->mutex);
}

void lock_release(struct lock *l)
{
    pthread_mutex_unlock(&l->mutex);
    rank_pop(l->rank);
}

void lock_signal_init(struct lock_signal *s)
{
    ASSERT(pthread_cond_init(&s->cond, NULL) == 0);
}

void lock_signal_deinit(struct lock_signal *s)
{
    pthread_cond_destroy(&s->cond);
}

void lock_signal_wait(struct lock_signal *s, struct lock *held_lock)
{
    pthread_cond_wait(&s->cond, &held_lock->mutex);
}

void lock_signal_wake(struct lock_signal *s)
{
    pthread_cond_signal(&s->cond);
}
