#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"

struct thread {
    pthread_t id;
    void (*fn)(void *);
    void *arg;
    char name[16];
};

static void *thread_main(void *arg)
{
    struct thread *t = arg;

    pthread_setname_np(pthread_self(), t->name);
    t->fn(t->arg);
    mem_thread_exit();
    return NULL;
}

enum err thread_start(struct thread **out, const char *name, void (*fn)(void *),
                      void *arg)
{
    struct thread *t = mem_calloc(1, sizeof(*t));
    sigset_t all, old;
    int rc;

    t->fn = fn;
    t->arg = arg;
    snprintf(t->name, sizeof(t->name), "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        mem_free(t);
        return ERR_LIMIT;
    }
    *out = t;
    return ERR_OK;
}

void thread_join(struct thread *t)
{
    pthread_join(t->id, NULL);
    mem_free(t);
}

void thread_lower_priority(void)
{
    const struct sched_param none = {.sched_priority = 0};

    /* On Linux both belong to the thread; 0 means the caller. A batch thread
     * displaces nobody when it wakes. While it runs it loses its turn by
     * thread_give_way(): with that, so much comes to the same share of a busy
     * processor as a value of 10 alone does. */
    sched_setscheduler(0, SCHED_BATCH, &none);
    setpriority(PRIO_PROCESS, 0, 3);
}

void thread_give_way(void)
{
    sched_yield();
}

unsigned thread_cpu_count(void)
{
    cpu_set_t set;
    int n;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

int64_t thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
