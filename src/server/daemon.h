/* Running in the background, and the file that holds the process id. */
#ifndef VECTRA_SERVER_DAEMON_H
#define VECTRA_SERVER_DAEMON_H

#include "base/err.h"

/* Goes on in a child process, in a session of its own. The parent waits until
 * the child calls daemon_ready() and then exits with 0, or until the child ends
 * and then exits with 1; the child's words on standard error are seen
 * meanwhile. Before any thread is started.
 *
 * out    *ready_fd: for daemon_ready(). */
enum err daemon_start(int *ready_fd, struct err_ctx *ctx) MUST_USE;

/* Lets go of the terminal and of the waiting parent. */
void daemon_ready(int ready_fd);

/* fails  ERR_IO. */
enum err daemon_write_pidfile(const char *path, struct err_ctx *ctx) MUST_USE;

#endif
