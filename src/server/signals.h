/* Signals: SIGTERM and SIGINT ask the server to end, and a second SIGINT ends
 * it on the spot, even when the loop hangs. SIGCHLD tells that a child process
 * has ended. SIGPIPE and SIGHUP are ignored.
 *
 * thread loop only; threads block all signals (base/thread.c). */
#ifndef VECTRA_SERVER_SIGNALS_H
#define VECTRA_SERVER_SIGNALS_H

#include "net/loop.h"

/* The loop is woken when a signal has arrived; NULL: none is any more. */
void signals_install(struct loop *l);

/* SIGTERM or SIGINT when one has arrived, else 0. */
int signals_asked(void);

/* Forgets that: the server could not end. */
void signals_forget(void);

/* Whether a child has ended since the last time this was asked. */
bool signals_child_ended(void);

#endif
