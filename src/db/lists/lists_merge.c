/* Lists that are nearly empty are merged with those that are next nearest: see
 * lists_tend.c. Their rows go first, then the lists, when no search looks at
 * their blocks any more. */
#include <string.h>

#include "base/mem.h"
#include "db/lists/lists_tend_impl.h"

enum { EMPTY_MS = 2000 }; /* that lists are waited for to be empty */

/* The centroids without those of the lists that go. */
static void unit_of_make_merged(struct lists_job *job, uint32_t unit,
                                struct lists_task *t)
{
    const struct ivf_centroids *c = ivf_centroids_of(job->lists->ivf);
    struct lists_tending *td = job->tending;
    size_t row = c->dim * sizeof(float);
    float *rows = mem_try_alloc(c->n * row);
    uint32_t gone = 0, i;

    (void)unit;
    (void)t;
    for (i = 0; rows && i < c->n; i++) {
        td->new_of_old[i] = i - gone;
        if (gone < td->n_merges && td->merge[gone] == i) {
            td->new_of_old[i] = IVF_NONE;
            gone++;
            continue;
        }
        td->old_of_new[i - gone] = i;
        memcpy(rows + (size_t)(i - gone) * c->dim, c->rows + (size_t)i * c->dim,
               row);
    }
    td->n_new = c->n - td->n_merges;
    if (rows && ivf_centroids_create(c->metric, c->dim, td->n_new, rows,
                                     c->centre, &td->made) != ERR_OK) {
        td->made = NULL;
    }
    mem_free(rows);
}

static bool are_empty(const struct lists_job *job)
{
    const struct lists_tending *td = job->tending;
    struct ivf_list_stats s;
    uint32_t i;

    for (i = 0; i < td->n_merges; i++) {
        ivf_list_stats(job->lists->ivf, td->merge[i], &s);
        if (s.n_blocks) {
            return false;
        }
    }
    return true;
}

/* Blocks that searches look at are waited for, for a while, unless the set is
 * to be at rest; else it is tried again some other time. */
static bool may_wait(struct lists_job *job)
{
    struct lists_tending *td = job->tending;
    int64_t now = clock_mono_ns();

    td->emptied_ns = td->emptied_ns ? td->emptied_ns : now;
    return !job->out_of_memory && !job->home->set->n_frozen &&
           now - td->emptied_ns < (int64_t)EMPTY_MS * 1000000;
}

static void merged(struct lists_job *job)
{
    struct lists_tending *td = job->tending;

    if (!lists_move_some(job)) {
        lists_job_yield(job);
        return;
    }
    if (job->holds) {
        lists_let_go(job);
    }
    if (!are_empty(job)) {
        if (may_wait(job)) {
            lists_job_wait(job);
        } else {
            lists_job_end(job, false);
        }
        return;
    }
    if (ivf_relist(job->lists->ivf, td->made, td->n_new, td->new_of_old) !=
        ERR_OK) {
        lists_job_end(job, false);
        return;
    }
    td->made = NULL;
    job->home->merges += td->n_merges;
    lists_renumber_stuck(job->lists, td->new_of_old);
    lists_job_end(job, true);
}

static void merge_placed(struct lists_job *job)
{
    job->next = merged;
    merged(job);
}

static void merge_made(struct lists_job *job)
{
    lists_begin_placing(job, merge_placed);
}

bool lists_begin_merging(struct lists *l, const struct lists_need *need)
{
    uint32_t rows = 0, n = need->n_merges, i;
    struct lists_job *job;
    struct lists_tending *td;

    n = n < ivf_n_lists(l->ivf) ? n : ivf_n_lists(l->ivf) - 1;
    for (i = 0; i < n; i++) {
        rows += lists_rows_of(l, need->merge[i]);
    }
    job = n ? lists_begin_tend_job(l, rows) : NULL;
    if (!job) {
        return false;
    }
    td = job->tending;
    td->n_merges = n;
    memcpy(td->merge, need->merge, sizeof(td->merge));
    td->new_of_old = mem_try_alloc(td->n_old * sizeof(*td->new_of_old));
    td->old_of_new = mem_try_alloc(td->n_old * sizeof(*td->old_of_new));
    if (!td->new_of_old || !td->old_of_new) {
        lists_job_end(job, false);
        return true;
    }
    for (i = 0; i < n; i++) {
        (void)lists_take_list(job, td->merge[i]);
    }
    lists_job_hold(job);
    job->unit = unit_of_make_merged;
    job->next = merge_made;
    lists_job_phase(job, 1, 1);
    return true;
}
