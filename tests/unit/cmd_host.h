/* A host of commands without sockets: replies go where the test says, and
 * nobody's requests are kept or paused. */
#ifndef VECTRA_TESTS_CMD_HOST_H
#define VECTRA_TESTS_CMD_HOST_H

#include "cmd/cmd_host.h"

static inline bool host_pin(struct client *c)
{
    (void)c;
    return false;
}

static inline void host_ignore(struct client *c)
{
    (void)c;
}

/* out(c): an empty buffer, or one to append to; give(c, reply): the reply of a
 * command that took more than a slice. */
#define HOST_WITHOUT_SOCKETS(out_, give_)                                      \
    {                                                                          \
        .out = (out_), .give = (give_), .pin_request = host_pin,               \
        .pause = host_ignore, .resume = host_ignore                            \
    }

#endif
