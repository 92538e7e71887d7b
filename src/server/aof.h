/* The log of a running server: appendonly and what belongs to it.
 *
 * Once a turn, between its last request and its replies, the turn's part of the
 * canonical stream (cmd/propagate.h) is handed to the kernel with one system
 * call: written to the log or, when it is much, to the slate, from where a
 * thread writes it on. When it is brought to the disk is appendfsync's matter;
 * syncing, renaming and the manifest are the work of another thread, so the
 * loop never waits for the disk but for that one write. Under `always` the
 * replies wait instead (net_set_gate()), and one sync serves all that was
 * written before it began.
 *
 *     aof.c          syncing, increments, switching on and off
 *     aof_out.c      writing, and what happens when that fails
 *     aof_load.c     at the start, and DEBUG LOADAOF
 *     aof_rewrite.c  new bases: BGREWRITEAOF, growth, switching on
 *     aof_backup.c   BACKUP: the log's files kept in another folder
 *
 * thread loop only. */
#ifndef VECTRA_SERVER_AOF_H
#define VECTRA_SERVER_AOF_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct aof;
struct cmd_waiter;
struct server;

/* fails  ERR_LIMIT when no thread can be started. owns  caller. */
enum err aof_create(struct server *s, struct aof **out) MUST_USE;

/* Nothing may be written any more. */
void aof_destroy(struct aof *a);

/* Loads the log if there is to be one, and goes on with it.
 *
 * fails  with words: it is damaged, cannot be read or written. */
enum err aof_start(struct aof *a, struct err_ctx *ctx) MUST_USE;

/* Writes and syncs what there is, whatever the policy, and waits for it. */
void aof_finish(struct aof *a);

/* To be called in each turn when all its commands have run and none of their
 * replies has left. */
void aof_turn_end(struct aof *a);

/* To be called hz times a second. */
void aof_cron(struct aof *a);

/* Makes `appendonly` hold.
 *
 * fails  with words; it is then as it was. */
enum err aof_apply(struct aof *a, struct err_ctx *ctx) MUST_USE;

/* BGREWRITEAOF: begins to write a new base, or will when it can. Returns the
 * reply, "+..." or "-...". */
const char *aof_rewrite(struct aof *a);

/* BACKUP START and STOP: the reply, "+..." or "-...", valid until the next. */
const char *aof_backup_start(struct aof *a, struct bytes dir);
const char *aof_backup_stop(struct aof *a);

/* DEBUG LOADAOF: makes the data what the log says.
 *
 * fails  with words; what was loaded until then is what is left. */
enum err aof_reload(struct aof *a, struct err_ctx *ctx) MUST_USE;

/* Up to which LSN the log is on disk. */
uint64_t aof_synced(const struct aof *a);

/* Has the log synced soon, whatever the policy, and `waiter` told when that is
 * done (cmd/cmd_host.h). */
void aof_wait_synced(struct aof *a, struct cmd_waiter *waiter);

/* A child process writes a base. */
bool aof_child_runs(const struct aof *a);

struct aof_info {
    bool is_on;
    bool rewriting, rewrite_scheduled;
    bool rewrite_failed, write_failed;
    int64_t last_rewrite_s, current_rewrite_s; /* -1: none */
    uint64_t rewrites, rewrite_failures_in_a_row;
    uint64_t cow_bytes;
    uint64_t current_size, base_size;
    uint64_t buffered, delayed_syncs;
    bool sync_pending;
    bool backing_up, backup_failed;
    uint64_t backup_lsn;
    uint64_t lsn;
};
void aof_info_read(const struct aof *a, struct aof_info *out);

#endif
