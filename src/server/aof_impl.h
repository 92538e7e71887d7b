/* The inside of the log: shared by aof*.c. */
#ifndef VECTRA_SERVER_AOF_IMPL_H
#define VECTRA_SERVER_AOF_IMPL_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/reaper.h"
#include "persist/aof_manifest.h"
#include "persist/aof_slate.h"
#include "persist/aof_write.h"
#include "persist/rdb_write.h"
#include "server/aof.h"
#include "server/server.h"

/* Off -> waiting for a base -> on; or on from the start.
 *
 *  OFF        nothing is logged.
 *  WAIT_BASE  an increment is written, but the manifest does not name it yet:
 *             its base is still to be made. Also after a sync has failed.
 *  ON         what the manifest names, and file, is all of the data. */
#define AOF_TEMP_PREFIX "temp-rewriteaof-bg-"
#define AOF_TEMP_SUFFIX ".aof"

enum aof_state { AOF_OFF, AOF_WAIT_BASE, AOF_ON };

/* WRITE: the last batch could not be written; it is tried again.
 * SYNC: the file cannot be trusted any more; only a new base and increment
 * help. Either way writes are refused meanwhile. */
enum aof_trouble { AOF_FINE, AOF_WRITE_FAILED, AOF_SYNC_FAILED };

/* A job of the disk's thread or the one that writes, which has the rest of the
 * struct until `done`. */
struct aof_job {
    struct reaper_job job;
    struct aof *aof;
    bool under_way; /* loop */
    atomic_bool done;
    enum err err;
    int error; /* errno */
    struct err_ctx why;
};

struct aof_sync {
    struct aof_job job;
    int fd;
    uint64_t lsn; /* what it makes durable */
    time_us started_at;
    bool is_late; /* counted in delayed_syncs */
};

/* What is answered before it is in the log; see aof_out.c. */
struct aof_slate {
    struct aof_job job; /* makes the file */
    struct aof_slate_file file;
    bool is_ready, failed;
    size_t used;     /* of the file: of what the thread has and what gathers */
    size_t gathered; /* of that: of what gathers, since then */
    time_us since;
    uint64_t end; /* LSN up to which all is in the log or there */
};

/* A batch on its way from there to the log. */
struct aof_write {
    struct aof_job job;
    struct reaper *thread;
    struct buf bytes; /* empty when none is */
    uint8_t *room;    /* AOF_ROOM bytes, once there was a batch for them */
    struct aof_batch batch;
    struct aof_file file; /* becomes the log's */
    bool holds;           /* replies wait until it is there */
    atomic_bool wake;     /* the loop waits for the end of the job */
    time_us took_us;
    time_us shun_us, shun_until; /* the disk, when it is slow: see aof_out.c */
};

enum aof_stage {
    REWRITE_IDLE,
    REWRITE_PREPARES, /* disk: a fresh increment */
    REWRITE_READY,    /* to fork, when builders let it */
    REWRITE_CHILD,    /* writes the base */
    REWRITE_COMMITS,  /* disk: the base gets its name, the manifest says so */
};

/* What a child tells; in memory shared with it. */
struct aof_child_report {
    uint64_t cow_bytes;
    char why[200];
};

struct aof_rewrite {
    enum aof_stage stage;
    bool scheduled;
    struct aof_job job;
    struct aof_manifest next; /* what the manifest is to become */
    bool persist;             /* after preparing, already */
    bool with_file;           /* a fresh increment is part of it */
    struct aof_file file;
    char temp[AOF_NAME_MAX + 1];
    char base[AOF_NAME_MAX + 1];
    struct rdb_out out;
    struct rdb_out counter; /* see aof_base.h */
    int out_fd, null_fd;
    pid_t child;
    bool look_for_child;
    struct aof_child_report *report;
    time_us started_at;
    time_us not_before;
    bool failed; /* the last one */
    int64_t last_s;
    uint64_t n, failures_in_a_row;
    uint64_t cow_bytes;
};

/* aof_backup.c */
struct aof_backup {
    bool is_open;
    bool is_ending; /* with this turn */
    char dir[PATH_MAX];
    struct aof_manifest names; /* what is there, or on its way */
    uint64_t lsn;              /* the end of the last one */
    char error[128];
    atomic_int n_jobs;
    atomic_bool failed;
};

struct aof {
    struct server *s;
    enum aof_state state;
    char dir[PATH_MAX];     /* absolute; "" before the first use */
    int dir_fd;             /* keeps other servers out of it; -1: not ours */
    char claimed[PATH_MAX]; /* dir, when it was opened */
    struct aof_manifest manifest;
    struct aof_file file;
    char file_name[AOF_NAME_MAX + 1];
    struct aof_slate slate;
    struct aof_write write;
    struct reaper *disk;
    uint64_t synced; /* LSN up to which all is on disk */
    struct aof_sync sync;
    time_us last_sync_at;
    atomic_int retire_error; /* errno of the last sync of an old increment */
    enum aof_trouble trouble;
    bool is_suspect; /* file has failed to sync: it is left alone */
    char misconf[256];
    time_us retry_at;
    uint64_t delayed_syncs;
    struct cmd_waiter *waiters;
    uint64_t other_bytes; /* of the base and increments before file */
    uint64_t base_size;   /* of the whole log when its base was new */
    struct aof_rewrite rw;
    struct aof_backup backup;
    bool recovers;        /* loading takes what the slate has, too */
    struct buf recovered; /* by that: not in the log yet */
};

/* aof.c */
void aof_path(const struct aof *a, const char *name, char out[PATH_MAX]);

/* Finds out where the log lies, and makes the directory. */
enum err aof_open_dir(struct aof *a, struct err_ctx *ctx) MUST_USE;

/* Makes the manifest's file say what m says. thread any. */
enum err aof_save_manifest(const char *dir, const char *name,
                           const struct aof_manifest *m,
                           struct err_ctx *ctx) MUST_USE;

/* Gives a job to a thread; run() ends with aof_job_done(), or aof_job_quiet(),
 * of which the loop learns in a later turn. */
void aof_job_start(struct aof *a, struct aof_job *job, struct reaper *thread,
                   void (*run)(struct reaper_job *job));
void aof_job_done(struct aof_job *job);
void aof_job_quiet(struct aof_job *job);

/* True once, when it has ended. */
bool aof_job_ended(struct aof_job *job);
void aof_job_wait(struct aof_job *job);

/* From now on batches go to `file`, which is called `name`; the old increment
 * is synced, unless it is not to be trusted, and closed by the disk's thread.
 */
enum err aof_switch_file(struct aof *a, struct aof_file *file, const char *name,
                         struct err_ctx *ctx) MUST_USE;

static inline bool aof_is_always(const struct aof *a)
{
    return a->s->config.appendfsync == AOF_FSYNC_ALWAYS;
}

/* aof_out.c: Writes the stream's bytes, or has them written. Once a turn. */
void aof_write_turn(struct aof *a);

/* LSN up to which all is in the log or on the slate: in the kernel's hands. */
static inline uint64_t aof_safe(const struct aof *a)
{
    return a->slate.end > a->file.lsn ? a->slate.end : a->file.lsn;
}

/* Removes the slate, whose bytes are in the log or given up. */
void aof_slate_drop(struct aof *a);

void aof_slate_remove(const struct aof *a);

/* Appends to *out what a slate that was left has behind the end of the log,
 * which is that of the increment `name`. */
void aof_slate_recover(const struct aof *a, const char *name, uint64_t lsn,
                       struct buf *out);

/* Writes all there is and waits for it; false when that could not be done. */
bool aof_write_all(struct aof *a);

struct aof_batch aof_next_batch(const struct aof *a);

/* The log can not be written or synced: writes are refused, or the process
 * exits. */
void aof_enter_trouble(struct aof *a, enum aof_trouble trouble, int error,
                       const char *words);

/* The log is as it should be again. */
void aof_recovered(struct aof *a);

/* To be called when the log has new increments, and before old ones go. */
void aof_backup_note(struct aof *a);
/* When the turn's part is written. */
void aof_backup_turn(struct aof *a);
void aof_backup_destroy(struct aof *a);

/* aof_load.c */
enum err aof_load(struct aof *a, struct err_ctx *ctx) MUST_USE;

/* aof_rewrite.c */
void aof_rewrite_poll(struct aof *a);
void aof_rewrite_cron(struct aof *a);

/* A fresh increment is to be switched to as soon as no batch is under way. */
bool aof_switch_is_near(const struct aof *a);

/* Ends one that is under way, if any, and waits until it has. */
void aof_rewrite_abandon(struct aof *a);

/* A new base is wanted, but another child or a disk that fails comes first. */
bool aof_rewrite_waits(const struct aof *a);

#endif
