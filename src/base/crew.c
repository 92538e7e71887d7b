/* Units of work for one thread: see crew.h. */
#include "base/crew.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"

enum { UNDER_WAY, WAITED_FOR, DONE };

/* Once it is done its memory may be anybody's: waking somebody who sleeps on
 * another word there then is something sleepers expect. */
static bool step(struct task *t, struct worker *w)
{
    struct crew_unit *u = CONTAINER_OF(t, struct crew_unit, task);

    u->run(u, w);
    if (atomic_exchange(&u->state, DONE) == WAITED_FOR) {
        syscall(SYS_futex, &u->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return false;
}

void crew_begin(struct pool *pool, struct crew_unit *u)
{
    atomic_init(&u->state, UNDER_WAY);
    u->task = (struct task){.step = step, .class = TASK_INDEX};
    pool_submit(pool, &u->task);
}

void crew_wait(struct crew_unit *u)
{
    uint32_t state = UNDER_WAY;

    atomic_compare_exchange_strong(&u->state, &state, WAITED_FOR);
    while (atomic_load(&u->state) != DONE) {
        syscall(SYS_futex, &u->state, FUTEX_WAIT_PRIVATE, WAITED_FOR, NULL,
                NULL, 0);
    }
}
