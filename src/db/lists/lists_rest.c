/* What lists of a set give back when nobody writes to it.
 *
 * While lists are filled, blocks are opened for all of them before many have
 * been emptied, and what is emptied in the end waits for rows to come; so does
 * room in the table of names, half of which is empty after its segments were
 * split, and so do the pages that are ready. All that is had again when rows
 * come: it costs them what it would have cost at first. So it is given back
 * only once a set has not been written to from one look to the next, and not
 * again before it has changed by a good part. */
#include "db/lists/lists_impl.h"

enum {
    SLICE_NS = 300 * 1000, /* of the loop's time */
    AGAIN_SHARE = 16,      /* of the elements, which have been written since */
};

static bool more_to_give(struct lists_job *job)
{
    struct elements *e = &job->home->set->elements;

    if (!job->is_fitting) {
        job->is_fitting = !slots_blocks_rest(&e->slots, &job->cursor);
        return true;
    }
    elements_fit(e, &job->fit_at);
    return job->fit_at != 0;
}

static void rest(struct lists_job *job)
{
    int64_t end = clock_mono_ns() + SLICE_NS;

    while (!job->home->set->n_frozen && !lists_job_is_cancelled(job)) {
        if (!more_to_give(job)) {
            break;
        }
        if (clock_mono_ns() > end) {
            lists_job_yield(job);
            return;
        }
    }
    lists_job_end(job, false);
}

static bool is_written_to(struct lists_home *h)
{
    const struct vset *v = h->set;
    bool yes = v->node_uid != h->looked_uid || vset_count(v) != h->looked_count;

    h->looked_uid = v->node_uid;
    h->looked_count = vset_count(v);
    return yes;
}

static bool is_another(const struct lists_home *h)
{
    const struct vset *v = h->set;
    uint64_t least = vset_count(v) / AGAIN_SHARE;
    uint32_t n = vset_count(v);
    uint32_t by =
        n > h->rested_count ? n - h->rested_count : h->rested_count - n;

    return !h->rested_uid || by > least || v->node_uid - h->rested_uid > least;
}

bool lists_begin_resting(struct lists_home *h)
{
    struct lists_job *job;

    if (is_written_to(h) || !is_another(h)) {
        return false;
    }
    job = lists_job_create(h->answers, LISTS_JOB_TEND);
    if (!job) {
        return false;
    }
    h->rested_uid = h->set->node_uid;
    h->rested_count = vset_count(h->set);
    slots_trim(lists_slots(h));
    job->next = rest;
    lists_job_yield(job);
    return true;
}
