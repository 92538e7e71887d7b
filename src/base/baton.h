/* Two threads in lock step: long straight-line code, such as loading a file,
 * on a thread of its own, in slices that another thread, the loop, hands out.
 *
 * Only who holds the baton runs, so whatever both touch has one owner at any
 * time and needs no lock. The alternative, a loader that can be left and
 * re-entered at every byte, would turn every reader inside out.
 *
 *     loop                          the other
 *     baton_start(&b, fn, arg)      (waits)
 *     while (baton_run(b, 5000)) ── fn(b, arg): work, baton_yield_if_due(b),
 *         serve clients             work, ... return
 *     baton_join(b)
 *
 * A switch costs some ten microseconds. */
#ifndef VECTRA_BASE_BATON_H
#define VECTRA_BASE_BATON_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

struct baton;

/* Makes a thread of that name that will run fn(b, arg) when it is given the
 * baton.
 *
 * owns   caller: baton_join().
 * fails  ERR_LIMIT when the system refuses a thread. */
enum err baton_start(struct baton **out, const char *name,
                     void (*fn)(struct baton *b, void *arg),
                     void *arg) MUST_USE;

/* Hands the baton over for about slice_us and waits to get it back; false once
 * fn has returned. thread the one that started it. */
bool baton_run(struct baton *b, time_us slice_us);

/* Asks fn to come to its end: baton_is_cancelled() is true from then on. */
void baton_cancel(struct baton *b);

/* Runs what is left of fn and frees. */
void baton_join(struct baton *b);

/* ---- for fn ------------------------------------------------------------ */

/* Gives the baton back and waits for it when the slice is over. */
void baton_yield_if_due(struct baton *b);
bool baton_is_cancelled(const struct baton *b);

#endif
