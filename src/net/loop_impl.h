/* What connections and listeners need of the loop. */
#ifndef VECTRA_NET_LOOP_IMPL_H
#define VECTRA_NET_LOOP_IMPL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "net/loop.h"

struct event_base *loop_base(struct loop *l);

/* A request has come, or may have. */
void loop_note_request(struct loop *l);

#endif
