/* Somebody who waits for something that the server above tells about. */
#ifndef VECTRA_CMD_CMD_WAITER_H
#define VECTRA_CMD_CMD_WAITER_H

#include <stddef.h>

struct cmd_waiter {
    void (*wake)(struct cmd_waiter *w); /* it is off the list then */
    struct cmd_waiter *next;
    struct cmd_waiter **list; /* what points to it; NULL: on no list */
};

static inline void cmd_waiter_link(struct cmd_waiter *w,
                                   struct cmd_waiter **list)
{
    w->next = *list;
    w->list = list;
    if (w->next) {
        w->next->list = &w->next;
    }
    *list = w;
}

static inline void cmd_waiter_unlink(struct cmd_waiter *w)
{
    if (w->list) {
        *w->list = w->next;
        if (w->next) {
            w->next->list = w->list;
        }
        w->list = NULL;
    }
}

#endif
