/* libevent in turns: see loop.h. The base runs without locks (one thread uses
 * it) and with epoll's change list, which folds several changes of a descriptor
 * between two waits into one system call. */
#include "net/loop_impl.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "net/look.h"

enum { SIGNALS_MAX = 8 };

struct loop_timer {
    struct event event;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_signal {
    struct event event;
    struct loop *loop;
    int signo;
    void (*fn)(int signo, void *arg);
    void *arg;
};

struct loop {
    struct event_base *base;
    int wake_fd;
    struct event wake_event;
    void (*on_wake)(void *arg);
    void *wake_arg;
    bool (*turn_end)(void *arg);
    void *turn_arg;
    struct loop_signal signals[SIGNALS_MAX];
    int n_signals;
    bool stopping;
    bool (*idle)(void *arg, bool looked); /* NULL: never looks */
    void *idle_arg;
    bool (*rest)(void *arg);
    void *rest_arg;
    _Atomic bool asleep; /* or about to be */
    _Atomic bool woken;
    struct look look;
    unsigned events, requests; /* of this turn */
    unsigned asked; /* requests of the last turn with any; 0: it slept since */
};

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

static void wake_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    uint64_t n;
    ssize_t got = read(fd, &n, sizeof(n));

    l->events++;
    (void)what;
    (void)got; /* the count does not matter, and a spurious wake is harmless */
}

enum err loop_create(struct loop **out)
{
    struct loop *l = mem_calloc(1, sizeof(*l));
    struct event_config *config = event_config_new();

    look_init(&l->look);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
                                          EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
        l->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (!l->base || l->wake_fd < 0) {
        if (l->base) {
            event_base_free(l->base);
        }
        if (l->wake_fd >= 0) {
            close(l->wake_fd);
        }
        mem_free(l);
        return ERR_LIMIT;
    }
    event_assign(&l->wake_event, l->base, l->wake_fd, EV_READ | EV_PERSIST,
                 wake_ready, l);
    event_add(&l->wake_event, NULL);
    *out = l;
    return ERR_OK;
}

void loop_destroy(struct loop *l)
{
    int i;

    for (i = 0; i < l->n_signals; i++) {
        event_del(&l->signals[i].event);
    }
    event_del(&l->wake_event);
    event_base_free(l->base);
    close(l->wake_fd);
    mem_free(l);
}

void loop_on_turn_end(struct loop *l, bool (*fn)(void *arg), void *arg)
{
    l->turn_end = fn;
    l->turn_arg = arg;
}

void loop_on_idle(struct loop *l, bool (*fn)(void *arg, bool looked), void *arg)
{
    /* Who asks needs a processor, too. */
    l->idle = thread_cpu_count() > 1 ? fn : NULL;
    l->idle_arg = arg;
}

void loop_on_rest(struct loop *l, bool (*fn)(void *arg), void *arg)
{
    l->rest = fn;
    l->rest_arg = arg;
}

void loop_note_request(struct loop *l)
{
    l->events++;
    if (l->idle && l->requests++ == 0) {
        look_note_request(&l->look, clock_mono_ns());
    }
}

void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg)
{
    l->on_wake = fn;
    l->wake_arg = arg;
}

void loop_wake(struct loop *l)
{
    uint64_t one = 1;

    /* Either the loop sees `woken` before it sleeps, or this sees that it
     * does: all four are sequentially consistent. */
    if (!atomic_exchange(&l->woken, true) && atomic_load(&l->asleep)) {
        ssize_t done = write(l->wake_fd, &one, sizeof(one));

        (void)done; /* a full counter means that a wake is pending already */
    }
}

static void timer_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->loop->events++;
    t->fn(t->arg);
}

void loop_timer_set(struct loop_timer *t, int64_t period_us)
{
    struct timeval tv = {.tv_sec = period_us / 1000000,
                         .tv_usec = period_us % 1000000};

    event_add(&t->event, &tv);
}

struct loop_timer *loop_timer_start(struct loop *l, int64_t period_us,
                                    void (*fn)(void *arg), void *arg)
{
    struct loop_timer *t = mem_calloc(1, sizeof(*t));

    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    event_assign(&t->event, l->base, -1, EV_PERSIST, timer_ready, t);
    loop_timer_set(t, period_us);
    return t;
}

void loop_timer_stop(struct loop_timer *t)
{
    event_del(&t->event);
    mem_free(t);
}

static void signal_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)fd;
    (void)what;
    s->loop->events++;
    s->fn(s->signo, s->arg);
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg),
                    void *arg)
{
    struct loop_signal *s;

    ASSERT(l->n_signals < SIGNALS_MAX);
    s = &l->signals[l->n_signals++];
    s->loop = l;
    s->signo = signo;
    s->fn = fn;
    s->arg = arg;
    evsignal_assign(&s->event, l->base, signo, signal_ready, s);
    event_add(&s->event, NULL);
}

/* Runs what is ready. */
static void run_ready(struct loop *l)
{
    event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* Takes note that it was woken. */
static bool was_woken(struct loop *l)
{
    if (!atomic_load_explicit(&l->woken, memory_order_relaxed) ||
        !atomic_exchange(&l->woken, false)) {
        return false;
    }
    if (l->on_wake) {
        l->on_wake(l->wake_arg);
    }
    return true;
}

/* True when something came. */
static bool look_on(struct loop *l)
{
    int64_t until = clock_mono_ns() + LOOK_NS;

    do {
        run_ready(l);
        if (was_woken(l) || l->events) {
            return true;
        }
        if (!l->idle(l->idle_arg, true)) {
            return false;
        }
    } while (clock_mono_ns() < until);
    look_note_miss(&l->look);
    return false;
}

static void wait_for_events(struct loop *l)
{
    l->asked = l->requests ? l->requests : l->asked;
    l->events = l->requests = 0;
    if (l->idle && l->asked) {
        if (l->asked > 1 || !l->idle(l->idle_arg, false)) {
            look_note_others(&l->look);
        } else if (look_is_wanted(&l->look) && look_on(l)) {
            return;
        }
    }
    if (l->rest && l->rest(l->rest_arg)) {
        run_ready(l);
        was_woken(l);
        return;
    }
    l->asked = 0;
    atomic_store(&l->asleep, true);
    if (atomic_load(&l->woken)) {
        run_ready(l);
    } else {
        event_base_loop(l->base, EVLOOP_ONCE);
    }
    atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
    was_woken(l);
}

void loop_run(struct loop *l)
{
    bool more = false;

    while (!l->stopping) {
        if (more) {
            run_ready(l);
            was_woken(l);
        } else {
            wait_for_events(l);
        }
        more = l->turn_end ? l->turn_end(l->turn_arg) : false;
    }
    l->stopping = false; /* it may be run again */
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

const char *loop_method(const struct loop *l)
{
    return event_base_get_method(l->base);
}
