/* Jobs that wait for what builder threads make of a set's index: they are
 * parked until something has happened to some index, and then look again. */
#ifndef VECTRA_CMD_INDEX_JOB_H
#define VECTRA_CMD_INDEX_JOB_H

#include "cmd/job.h"
#include "db/graph/graph.h"

/* The set is that of argv[key_at]. */
struct index_job {
    struct cmd_job job;
    struct graph_waiter waiter;
    uint64_t uid;   /* of the set */
    uint64_t build; /* VTRAIN */
    size_t key_at;
    bool lists;  /* VTRAIN: of lists */
    bool scores; /* VLINKS */
    bool asked;  /* VCHECK */
    struct graph_check check;
    struct vset_check slots;
};

struct index_job *index_job_create(bool (*step)(struct cmd_job *job),
                                   const struct vset *v, size_t key_at);

static inline struct index_job *index_job_of(struct cmd_job *job)
{
    return CONTAINER_OF(job, struct index_job, job);
}

/* Inside EXEC nobody waits. */
static inline bool index_job_runs_to_end(const struct index_job *j)
{
    return j->job.slice_end_ns == INT64_MAX;
}

/* The set it began with; NULL when it is gone. */
struct vset *index_job_set(const struct index_job *j);

/* To be run again when there is news: what a step returns. */
bool index_job_wait(struct index_job *j);

#endif
