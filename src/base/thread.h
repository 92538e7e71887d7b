/* Threads with names. Signals are blocked in all of them, so that the loop
 * thread alone receives them. */
#ifndef VECTRA_BASE_THREAD_H
#define VECTRA_BASE_THREAD_H

#include <stdbool.h>

#include "base/err.h"

struct thread;

/* Starts fn(arg) on a thread of that name (15 bytes show in top and perf).
 *
 * owns   caller; give it to thread_join().
 * fails  ERR_LIMIT when the system refuses. */
enum err thread_start(struct thread **out, const char *name, void (*fn)(void *),
                      void *arg) MUST_USE;

/* Waits for the end and frees. */
void thread_join(struct thread *t);

/* Asks the scheduler to prefer others over the calling thread, which calls
 * thread_give_way() often. */
void thread_lower_priority(void);

/* Asks it to let the calling thread, which sleeps and wakes often, run as soon
 * as it wakes. Threads and processes that it starts afterwards inherit that. */
void thread_wake_at_once(bool on);

/* Lets a thread run that waits for this processor, if there is one. */
void thread_give_way(void);

/* Processors the process may run on, at least 1. */
unsigned thread_cpu_count(void);

/* CPU time of the calling thread. */
int64_t thread_cpu_ns(void);

#endif
