#include "cmd/index_job.h"

#include "base/mem.h"

static void told(struct graph_waiter *w)
{
    cmd_job_unpark(&CONTAINER_OF(w, struct index_job, waiter)->job);
}

static void index_job_destroy(struct cmd_job *job)
{
    struct index_job *j = index_job_of(job);

    graph_stop_waiting(&j->waiter);
    mem_free(j);
}

struct index_job *index_job_create(bool (*step)(struct cmd_job *job),
                                   const struct vset *v, size_t key_at)
{
    struct index_job *j = cmd_job_alloc(sizeof(*j), step, index_job_destroy);

    j->waiter.told = told;
    j->uid = vset_uid(v);
    j->key_at = key_at;
    return j;
}

struct vset *index_job_set(const struct index_job *j)
{
    struct entry *e =
        keyspace_find(j->job.env->ks, j->job.db, j->job.argv[j->key_at]);

    return e && e->type == VALUE_VSET && vset_uid(e->value.vset) == j->uid
               ? e->value.vset
               : NULL;
}

bool index_job_wait(struct index_job *j)
{
    graph_wait(j->job.env->ks, &j->waiter);
    cmd_job_park(&j->job);
    return true;
}
