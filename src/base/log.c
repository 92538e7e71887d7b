/* The log: see log.h. The file is opened for appending, so that it may be
 * rotated by renaming it and sending CONFIG SET logfile again. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static _Atomic int log_fd = STDOUT_FILENO;
static _Atomic int threshold = LOG_NOTICE;

static const char *const names[LOG_SUBSYSTEM_COUNT] = {
#define LOGSYS(sym, name) [LOG_##sym] = name,
#include "base/log.def"
#undef LOGSYS
};

enum err log_open(const char *path, struct err_ctx *ctx)
{
    int fd = STDOUT_FILENO;
    int old;

    if (path && *path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) {
            return err_set(ctx, ERR_IO, "cannot open log file %s: %s", path,
                           strerror(errno));
        }
    }
    old = atomic_exchange(&log_fd, fd);
    if (old != STDOUT_FILENO) {
        close(old);
    }
    return ERR_OK;
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

enum log_level log_level_get(void)
{
    return (enum log_level)atomic_load_explicit(&threshold,
                                                memory_order_relaxed);
}

void log_write(enum log_level level, enum log_subsystem sys, const char *words,
               const char *fmt, ...)
{
    time_us now = clock_wall_us();
    time_t seconds = (time_t)(now / 1000000);
    char line[1024];
    size_t n;
    struct tm tm;
    va_list ap;
    ssize_t done;

    localtime_r(&seconds, &tm);
    n = (size_t)snprintf(line, sizeof(line), "%d:M ", (int)getpid());
    n += strftime(line + n, sizeof(line) - n, "%d %b %Y %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03d %c %s: %s",
                          (int)(now / 1000 % 1000), ".-*#"[level], names[sys],
                          words);
    if (n < sizeof(line) - 2 && fmt[0]) {
        line[n++] = ' ';
        va_start(ap, fmt);
        n += (size_t)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
        va_end(ap);
    }
    if (n > sizeof(line) - 1) {
        n = sizeof(line) - 1;
    }
    line[n++] = '\n';
    done = write(atomic_load(&log_fd), line, n);
    (void)done; /* there is nowhere left to report a log that cannot be
                 * written */
}
