/* The event loop: readiness, timers and signals from libevent, in turns.
 *
 * A turn waits for events, runs what became ready, then calls the turn_end
 * hook, where connections flush their replies and sliced work goes on. Bytes
 * move by read and write through buffers of our own; libevent moves none.
 *
 * thread the loop's, except loop_wake(). */
#ifndef VECTRA_NET_LOOP_H
#define VECTRA_NET_LOOP_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;
struct loop_timer;

/* owns   caller. */
enum err loop_create(struct loop **out) MUST_USE;
void loop_destroy(struct loop *l);

/* Called after the events of each turn. Returns true when there is more to do
 * at once: the next turn then does not wait. */
void loop_on_turn_end(struct loop *l, bool (*fn)(void *arg), void *arg);

/* Called after a turn with one request: whether the loop may look for the next
 * one for a while (see look.h), since what was asked for is done and took
 * longer than waking does, and nobody has a use for this processor; `looked`:
 * so it has, and nothing was ready. Without it the loop sleeps. */
void loop_on_idle(struct loop *l, bool (*fn)(void *arg, bool looked),
                  void *arg);

/* Called before the loop would sleep; true when it has done something, and
 * there may be more: the loop then takes a turn without waiting. */
void loop_on_rest(struct loop *l, bool (*fn)(void *arg), void *arg);

/* Called on the loop thread after loop_wake(). */
void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg);

/* Makes the loop take a turn soon. thread any; async-signal-safe. */
void loop_wake(struct loop *l);

/* Calls fn every period. owns  caller, until loop_timer_stop(). */
struct loop_timer *loop_timer_start(struct loop *l, int64_t period_us,
                                    void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, int64_t period_us);
void loop_timer_stop(struct loop_timer *t);

/* Calls fn(arg) on the loop thread when the signal arrives. */
void loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg),
                    void *arg);

/* Takes turns until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* The polling method in use, such as "epoll". */
const char *loop_method(const struct loop *l);

#endif
