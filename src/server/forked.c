/* Forked children: see forked.h. */
#include "server/forked.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/thread.h"

static void close_others(const int *keep, size_t n)
{
    unsigned from = STDERR_FILENO + 1;
    size_t i;

    for (i = 0; i < n; i++) {
        if ((unsigned)keep[i] > from) {
            close_range(from, (unsigned)keep[i] - 1, 0);
        }
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, UINT_MAX, 0);
}

void forked_settle(pid_t parent, const char *name, const int *keep, size_t n)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_DFL;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    prctl(PR_SET_NAME, name);
    thread_wake_at_once(false); /* the parent does, and comes first */
    /* Nobody would give the file its name when the parent is gone. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    close_others(keep, n);
}

uint64_t forked_private_bytes(void)
{
    static const char field[] = "Private_Dirty:";
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t got = 0, n = 0;
    const char *at;

    while (fd >= 0 && got < (ssize_t)sizeof(text) - 1 &&
           (n = read(fd, text + got, sizeof(text) - 1 - (size_t)got)) > 0) {
        got += n;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[got] = '\0';
    at = strstr(text, field);
    return at ? strtoull(at + sizeof(field) - 1, NULL, 10) * 1024 : 0;
}
