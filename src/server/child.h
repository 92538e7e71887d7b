/* The forked child that writes a snapshot to a file while the server goes on.
 * There is one at a time; the log's (aof_rewrite.c) counts as one.
 *
 *     idle ── child_start() ──▶ waiting ── builders rest: fork ──▶ running
 *      ▲                                                              │ ended
 *      └──────── done(result) ◀── finishing: rename, sync ◀───────────┘
 *
 * The child owns a copy of everything as it was at the fork. It allocates
 * nothing, takes no lock and logs nothing; it counts what it has done on a page
 * that both share, writes DIR/PREFIX<pid>SUFFIX, syncs it and exits. The
 * background thread then gives the file its name and syncs the directory. DIR
 * is held open, so that a change of the working directory misleads nobody.
 *
 * thread loop only. */
#ifndef VECTRA_SERVER_CHILD_H
#define VECTRA_SERVER_CHILD_H

#include <sys/types.h>

#include "base/err.h"
#include "db/snapshot.h"

struct child;
struct server;

struct child_result {
    bool ok;
    bool killed; /* by child_kill() */
    uint64_t keys, bytes;
    size_t cow_bytes; /* memory that had to be copied meanwhile */
    time_us took_us;
    struct err_ctx why; /* when not ok */
};

struct child_order {
    const char *dir; /* of the file; a name for open() */
    const char *prefix, *suffix;
    const char *name; /* of the file in the end, in dir */
    struct snapshot_about about;
    bool compress, checksum, sync_often;
    int64_t key_delay_us; /* for tests */

    /* Right before the fork, on the loop: `about` may be completed here. Fails
     * with words in ctx, and there is no fork. May be NULL. */
    enum err (*before_fork)(void *arg, struct snapshot_about *about,
                            struct err_ctx *ctx);
    /* When all is over, on the loop. */
    void (*done)(void *arg, const struct child_result *r);
    void *arg;
};

/* owns   caller. */
struct child *child_create(struct server *s);

/* Nothing is under way any more, see child_kill(). */
void child_destroy(struct child *c);

/* Whether one is under way. */
bool child_is_busy(const struct child *c);

/* It waits for something that no signal tells of: child_poll() at every turn.
 */
bool child_is_waiting(const struct child *c);

/* Begins; strings are copied. done() will be called exactly once unless this
 * fails.
 *
 * fails  ERR_BUSY when something is under way; ERR_IO, ERR_LIMIT: with words.
 */
enum err child_start(struct child *c, const struct child_order *order,
                     struct err_ctx *ctx) MUST_USE;

/* Goes on, if there is something to go on with; when a child has ended, and now
 * and then. */
void child_poll(struct child *c);

/* Ends what is under way, however far it is, and removes its file, unless that
 * is about to get its name, which is waited for. done() is called before this
 * returns. */
void child_kill(struct child *c);

/* The same, but nothing is waited for: done() is called by a later
 * child_poll(). */
void child_abandon(struct child *c);

/* Removes DIR/PREFIX<pid>SUFFIX of processes that are no more. */
void child_remove_leftovers(const char *dir, const char *prefix,
                            const char *suffix);

struct child_progress {
    pid_t pid;          /* 0: not forked yet, or ended */
    time_us started_at; /* monotonic */
    uint64_t keys, keys_total, bytes;
    size_t cow_bytes, cow_peak;
    time_us cow_at; /* when that was measured, monotonic; 0: never */
};
void child_progress_read(const struct child *c, struct child_progress *out);

struct child_stats {
    uint64_t forks;
    time_us last_fork_us; /* what the fork took */
};
const struct child_stats *child_stats(const struct child *c);

/* Another child was forked, which took that long. */
void child_note_fork(struct child *c, time_us took);

#endif
