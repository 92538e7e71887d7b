/* The background: see daemon.h. */
#include "server/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum err daemon_start(int *ready_fd, struct err_ctx *ctx)
{
    int ends[2];
    char byte;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_set(ctx, ERR_LIMIT, "daemonize: %s", strerror(errno));
    }
    pid = fork();
    if (pid < 0) {
        err_set(ctx, ERR_LIMIT, "daemonize: %s", strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return ERR_LIMIT;
    }
    if (pid > 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(ends[0]);
    setsid();
    *ready_fd = ends[1];
    return ERR_OK;
}

void daemon_ready(int ready_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ssize_t done;
    int fd;

    for (fd = 0; fd <= 2 && null >= 0; fd++) {
        dup2(null, fd);
    }
    if (null > 2) {
        close(null);
    }
    done = write(ready_fd, "r", 1);
    (void)done; /* nobody waits any more */
    close(ready_fd);
}

enum err daemon_write_pidfile(const char *path, struct err_ctx *ctx)
{
    FILE *f = fopen(path, "we");

    if (!f) {
        return err_set(ctx, ERR_IO, "%s: %s", path, strerror(errno));
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
    return ERR_OK;
}
