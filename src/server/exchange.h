/* Talks with other servers, for MIGRATE: requests go out, replies come back,
 * each on a thread of its own, so that the loop does not wait. Connections are
 * kept for some seconds and used again.
 *
 * thread loop. */
#ifndef VECTRA_SERVER_EXCHANGE_H
#define VECTRA_SERVER_EXCHANGE_H

#include "base/err.h"
#include "cmd/cmd_host.h"

struct exchanges;
struct pool;

/* Completions go through the pool, which outlives it. owns  caller. */
struct exchanges *exchange_create(struct pool *pool);

/* Nothing new is begun, and what is under way ends soon. */
void exchange_stop(struct exchanges *e);

/* Waits until it has; done() is called for each. */
void exchange_finish(struct exchanges *e);
void exchange_destroy(struct exchanges *e);

/* See cmd_host.h. */
void exchange_begin(struct exchanges *e, struct cmd_exchange *x, bool wait);

/* Closes connections that nobody used for a while; now and then. */
void exchange_look(struct exchanges *e);

#endif
