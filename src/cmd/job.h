/* Commands in slices.
 *
 * A command whose work grows with the data (KEYS, a VMADD of a hundred thousand
 * vectors, DEBUG DIGEST) is a job: a struct with a step() that does about half
 * a millisecond of it. The first slice runs at once; if more is left, the
 * client's further requests wait while the loop serves others between slices.
 * The reply is built aside and given at the end.
 *
 * Inside EXEC a job runs to its end, because a transaction is one instant.
 *
 * Between slices anything may happen to the data: a step looks its key up again
 * and holds no pointer into the keyspace. The arguments stay: they are kept
 * where they were read, or copied, if the job goes on after its first slice;
 * they may move then, so a step goes to job->argv for them. */
#ifndef VECTRA_CMD_JOB_H
#define VECTRA_CMD_JOB_H

#include "cmd/cmd.h"

enum { JOB_SLICE_US = 500 };

struct cmd_job {
    /* Does some work, replies into job->reply when it ends. True: there is
     * more. Asks cmd_job_should_yield() now and then. */
    bool (*step)(struct cmd_job *job);
    /* Frees the job; it ended or its client is gone. */
    void (*destroy)(struct cmd_job *job);

    /* set by cmd_job_start() */
    struct cmd_env *env;
    struct client *client;
    const struct command *command;
    const struct bytes *argv;
    size_t argc;
    struct bytes *argv_kept; /* owned; NULL during the first slice */
    struct reply reply;
    struct buf out;
    int64_t spent_ns;
    int64_t slice_end_ns; /* INT64_MAX: run to the end */
    bool failed;
    bool is_parked;  /* by its step */
    bool is_waiting; /* and off the queue since */
    int db;          /* the client's when the command came */
    struct slowlog_preview preview;
    struct cmd_job *prev, *next;
};

/* A zeroed job of `size` bytes, a struct that begins with a cmd_job. */
void *cmd_job_alloc(size_t size, bool (*step)(struct cmd_job *job),
                    void (*destroy)(struct cmd_job *job));

/* Starts a job for the command of ctx, which then has replied. */
void cmd_job_start(struct cmd_ctx *ctx, struct cmd_job *job);

bool cmd_job_should_yield(const struct cmd_job *job);

/* Replies an error as the job's reply. */
void cmd_job_error(struct cmd_job *job, const char *text);

/* For a step that waits for something, such as a worker: it is not run again
 * until cmd_job_unpark(), though it returns true. Not inside EXEC, where
 * slice_end_ns is INT64_MAX. What is to unpark it must forget it when destroy()
 * is called. */
void cmd_job_park(struct cmd_job *job);
void cmd_job_unpark(struct cmd_job *job);

/* Runs waiting jobs for about a slice; true when some are left. */
bool cmd_jobs_run(struct cmd_env *env);

/* The client is gone. */
void cmd_job_cancel(struct cmd_job *job);

#endif
