/* Signals: see signals.h. Handlers of our own instead of the loop's, because
 * those run only when the loop turns: a server that hangs could not be
 * interrupted. Here lies the one piece of the process's state that no object
 * can own. */
#include "server/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t asked;
static volatile sig_atomic_t child_ended;
static _Atomic(struct loop *) woken;

static void on_signal(int signo)
{
    static const char words[] = "vectra-server: interrupted again, exiting\n";
    struct loop *l = atomic_load(&woken);

    if (asked && signo == SIGINT) {
        ssize_t done = write(STDERR_FILENO, words, sizeof(words) - 1);

        (void)done;
        _exit(1);
    }
    asked = signo;
    if (l) {
        loop_wake(l);
    }
}

/* A child has ended: whoever waits for it looks at the end of the turn. */
static void on_child(int signo)
{
    struct loop *l = atomic_load(&woken);
    int error = errno;

    (void)signo;
    child_ended = 1;
    if (l) {
        loop_wake(l);
    }
    errno = error;
}

void signals_install(struct loop *l)
{
    struct sigaction action;

    atomic_store(&woken, l);
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL); /* write() tells */
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = on_child;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    sigaction(SIGCHLD, &action, NULL);
}

bool signals_child_ended(void)
{
    bool yes = child_ended;

    child_ended = 0;
    return yes;
}

void signals_forget(void)
{
    asked = 0;
}

int signals_asked(void)
{
    return asked;
}
