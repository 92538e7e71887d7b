/* A value written down for somebody else (DUMP, COPY, MIGRATE) without holding
 * the loop: a large set is written by a thread that takes turns with it
 * (base/baton.h), a slice each.
 *
 * What is written is the value as it was at one instant. Others may write to
 * the key between two turns; then what has been written is thrown away, and it
 * is begun again; after TRIES such tries all is written at once, which is what
 * a key gets that is written to all the time. Work on the set in the background
 * rests meanwhile.
 *
 * thread loop. */
#ifndef VECTRA_CMD_DUMP_TURNS_H
#define VECTRA_CMD_DUMP_TURNS_H

#include "cmd/job.h"
#include "db/graph/graph.h"

enum dump_step {
    DUMP_MORE, /* call again */
    DUMP_PARK, /* the job has been parked, and is unparked when there is news */
    DUMP_DONE, /* d->err tells how */
};

struct dump_turns {
    struct buf out; /* the payload, once it is done; the caller may take it */
    enum err err;   /* ERR_OK, ERR_NOT_FOUND: there is no such key, ERR_NOMEM */
    time_ms expires_at;
    /* When set, the payload is appended to it as a bulk string and not left in
     * `out`. */
    struct buf *to;
    bool at_once; /* set by the caller: in one slice, whatever it takes */

    /* the writer's */
    struct cmd_job *job;
    int db;
    size_t key_at; /* in the job's arguments */
    struct client watcher;
    struct graph_waiter waiter;
    struct vset *set; /* frozen; NULL: none is */
    const struct entry *entry;
    struct baton *baton;
    uint64_t ticket;
    int tries;
    bool stop;
};

/* Begins with the key argv[key_at] of a job that was started, or is about to
 * be. */
void dump_turns_begin(struct dump_turns *d, struct cmd_job *job, int db,
                      size_t key_at);

/* Does a slice; all of it where the job must not be interrupted. */
enum dump_step dump_turns_step(struct dump_turns *d);

/* Ends it, wherever it is, and frees; also one of zeros that never began. */
void dump_turns_end(struct dump_turns *d);

#endif
