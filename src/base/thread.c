#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    LOW_NICE = 7,
    NICE_MAX = 19,
    LOW_SLICE_NS = 100000,
    PROMPT_SLICE_NS = 100000,
};

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

/* As the kernel knows it; the C library has no name for it yet. */
struct sched_terms {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns; /* of an ordinary thread, since Linux 6.12 */
    uint64_t deadline, period;
};

/* False where the kernel does not know how. */
static bool set_terms(uint32_t policy, int nice, uint64_t slice_ns)
{
    struct sched_terms t = {.size = sizeof(t),
                            .policy = policy,
                            .nice = nice,
                            .slice_ns = slice_ns};

    return syscall(SYS_sched_setattr, 0, &t, 0) == 0;
}

void thread_lower_priority(void)
{
    /* On Linux these belong to the thread; 0 means the caller. A batch thread
     * displaces nobody when it wakes. Giving way costs it the rest of its slice
     * and, since Linux 6.18, a slice that it has not had: were that one of the
     * usual millisecond and a half, it would starve beside busy neighbours. */
    int nice = getpriority(PRIO_PROCESS, 0) + LOW_NICE;

    nice = nice < NICE_MAX ? nice : NICE_MAX;
    if (!set_terms(SCHED_BATCH, nice, LOW_SLICE_NS)) {
        setpriority(PRIO_PROCESS, 0, nice);
    }
}

void thread_wake_at_once(bool on)
{
    /* Who wakes displaces a thread whose slice is longer than its own, if it
     * has not had more than its share; else it may wait for a whole slice, some
     * milliseconds. */
    if (sched_getscheduler(0) == SCHED_OTHER) {
        (void)set_terms(SCHED_OTHER, getpriority(PRIO_PROCESS, 0),
                        on ? PROMPT_SLICE_NS : 0);
    }
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
