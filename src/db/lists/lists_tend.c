/* Keeping lists in shape: what is done when rows have come and gone.
 *
 * - compact: a list more than a quarter of whose lanes are free: the rows of
 *   its emptiest block go to other blocks of it;
 * - split: a list with more than three times the rows of the mean: its rows
 *   make two (2-means), and they, and those of the lists around, go where they
 *   are nearest now (the rule of SPFresh, Xu et al., 2023);
 * - merge: a list with less than a fifth of them: its rows go to the lists that
 *   are next nearest, and it is gone.
 *
 * Which is due is decided here, lists_split.c and lists_merge.c do it. All of
 * it is moving rows between lists: a row is in one of them for every search,
 * and an exact search finds it at every moment. When that is not enough any
 * more, all is trained anew. */
#include <string.h>

#include "base/mem.h"
#include "db/lists/lists_tend_impl.h"

enum {
    SPLIT_TIMES = 3,
    SPLIT_ROWS = 512, /* at least, of a list that is split */
    MERGE_MEAN = 32,  /* rows of a list, when lists are merged at all */
    COMPACT_SHARE = 4,
    COMPACT_ROWS = 8192, /* of one job */
    UNIT_ROWS = 256,
    AGAIN_MIN_MS = 10 * 1000,
    AGAIN_TIMES = 50, /* of what training took: one trains at most so often */
    AGAIN_ROWS = 4096,
};

#define AGAIN_GROWN     2.5
#define AGAIN_IN_BURST  6.0
#define AGAIN_IMBALANCE 2.0
#define AGAIN_WORSE     1.5
#define AGAIN_DRIFT     1.25

void lists_tending_free(struct lists_tending *t)
{
    if (t->made) {
        ivf_centroids_destroy(t->made);
    }
    mem_free(t->means);
    mem_free(t->new_of_old);
    mem_free(t->old_of_new);
    mem_free(t);
}

/* ---- training anew ----------------------------------------------------- */

bool lists_want_training(const struct lists *l)
{
    uint64_t n = ivf_n_used(l->ivf);
    time_ms since = l->home->keyspace->now - l->trained_at;
    double pause = l->train_s * 1000 * AGAIN_TIMES;

    if (n < AGAIN_ROWS || since < AGAIN_MIN_MS || (double)since < pause) {
        return false;
    }
    /* Nothing goes into lists while others are trained. */
    if (l->home->in_burst &&
        (double)n < AGAIN_IN_BURST * (double)l->trained_rows) {
        return false;
    }
    if ((double)n >= AGAIN_GROWN * (double)l->trained_rows) {
        return true;
    }
    if (l->residual > 0 && l->n_late * 20 >= n &&
        l->of_late > AGAIN_DRIFT * l->residual) {
        return true;
    }
    return ivf_imbalance(l->ivf) > AGAIN_IMBALANCE &&
           ivf_imbalance(l->ivf) > AGAIN_WORSE * l->imbalance;
}

/* ---- what is needed ---------------------------------------------------- */

static bool is_to_be_compacted(const struct ivf_list_stats *s)
{
    uint64_t lanes = (uint64_t)s->n_blocks * IVF_BLOCK;
    uint64_t free_lanes = lanes - s->n_used - s->n_dead;

    /* While many are dead that searches look at, nothing would be gained. */
    return s->n_blocks > 1 && free_lanes > IVF_BLOCK &&
           free_lanes * COMPACT_SHARE > lanes && s->n_dead * 8 <= s->n_used;
}

static void look(const struct lists *l, struct lists_need *need)
{
    uint32_t n = ivf_n_lists(l->ivf);
    double mean = (double)ivf_n_used(l->ivf) / n;
    uint32_t i;

    memset(need, 0, sizeof(*need));
    for (i = 0; i < n; i++) {
        struct ivf_list_stats s;

        ivf_list_stats(l->ivf, i, &s);
        need->compact |= is_to_be_compacted(&s);
        if (s.n_used > SPLIT_ROWS && s.n_used > SPLIT_TIMES * mean &&
            !lists_is_stuck(l, i, s.n_used) &&
            need->n_splits < TEND_SPLITS_MAX &&
            n + need->n_splits < LISTS_NLIST_MAX) {
            need->split[need->n_splits++] = i;
        }
        /* As many as were asked for there are. */
        if (n - need->n_merges > l->options.nlist && mean >= MERGE_MEAN &&
            s.n_used * TEND_MERGE_SHARE < mean &&
            need->n_merges < TEND_MERGES_MAX) {
            need->merge[need->n_merges++] = i;
        }
    }
}

/* ---- moving ------------------------------------------------------------ */

void lists_tended(struct lists_job *job)
{
    if (!lists_move_some(job)) {
        lists_job_yield(job);
        return;
    }
    lists_let_go(job);
    lists_job_end(job, !job->out_of_memory);
}

bool lists_take_list(struct lists_job *job, uint32_t list)
{
    uint32_t at = 0, block;

    while ((block = ivf_next_block(job->lists->ivf, list, &at)) != IVF_NONE) {
        if (!lists_job_take(job, block)) {
            return false;
        }
    }
    return true;
}

uint32_t lists_rows_of(const struct lists *l, uint32_t list)
{
    struct ivf_list_stats s;

    ivf_list_stats(l->ivf, list, &s);
    return s.n_blocks * IVF_BLOCK;
}

/* ---- compacting -------------------------------------------------------- */

/* Blocks that are closed and cannot be emptied for want of memory are few and
 * do no harm: their lanes are not used again until they are empty. */
static bool begin_compacting(struct lists *l)
{
    struct lists_job *job = lists_job_create(l, LISTS_JOB_TEND);
    uint32_t n = ivf_n_lists(l->ivf);
    uint32_t i;

    if (!job) {
        return false;
    }
    if (lists_job_fit(job, COMPACT_ROWS, COMPACT_ROWS / 8) != ERR_OK) {
        lists_job_end(job, false);
        return true;
    }
    for (i = 0; i < n; i++) {
        struct ivf_list_stats s;
        uint32_t before = job->n, block;

        ivf_list_stats(l->ivf, i, &s);
        if (!is_to_be_compacted(&s)) {
            continue;
        }
        block = ivf_sparsest_block(l->ivf, i);
        if (block == IVF_NONE || !lists_job_take(job, block)) {
            break;
        }
        ivf_block_close(l->ivf, block);
        for (; before < job->n; before++) {
            job->to[before] = i;
        }
    }
    lists_job_hold(job);
    job->next = lists_tended;
    lists_job_yield(job);
    return true;
}

/* ---- new centroids ----------------------------------------------------- */

/* Where all rows of the job belong by the centroids that were made. */
static void unit_of_place(struct lists_job *job, uint32_t unit,
                          struct lists_task *t)
{
    const struct lists_tending *td = job->tending;
    const uint8_t *rows[UNIT_ROWS];
    uint32_t first = unit * UNIT_ROWS;
    uint32_t n = job->n - first < UNIT_ROWS ? job->n - first : UNIT_ROWS;
    uint32_t i;

    for (i = 0; i < n; i++) {
        rows[i] = row_map_at(&job->rows, job->slots[first + i]);
    }
    ivf_assign_rows(td->made, &job->home->set->format, rows, n, job->to + first,
                    job->keys + first, t->scratch);
    for (i = first; td->old_of_new && i < first + n; i++) {
        job->to[i] = td->old_of_new[job->to[i]];
    }
}

void lists_begin_placing(struct lists_job *job,
                         void (*placed)(struct lists_job *job))
{
    if (!job->tending->made) {
        lists_job_end(job, false); /* no memory */
        return;
    }
    job->unit = unit_of_place;
    job->next = placed;
    lists_job_phase(job, (job->n + UNIT_ROWS - 1) / UNIT_ROWS, UINT32_MAX);
}

struct lists_job *lists_begin_tend_job(struct lists *l, uint32_t rows)
{
    struct lists_job *job = lists_job_create(l, LISTS_JOB_TEND);

    if (!job) {
        return NULL;
    }
    job->tending = mem_try_alloc(sizeof(*job->tending));
    if (job->tending) {
        memset(job->tending, 0, sizeof(*job->tending));
        job->tending->n_old = ivf_n_lists(l->ivf);
    }
    if (!job->tending ||
        lists_job_fit(job, rows + IVF_BLOCK, rows / 4 + 64) != ERR_OK) {
        lists_job_end(job, false);
        return NULL;
    }
    return job;
}

/* ---- what is due ------------------------------------------------------- */

bool lists_begin_tending(struct lists_home *h)
{
    struct lists *l = h->answers;
    struct lists_need need;

    if (h->tended_at == epoch_now(h->keyspace->epoch)) {
        return lists_begin_resting(h); /* nothing has changed */
    }
    look(l, &need);
    if (need.n_splits) {
        return lists_begin_splitting(l, &need);
    }
    if (need.compact) {
        return begin_compacting(l);
    }
    if (need.n_merges) {
        return lists_begin_merging(l, &need);
    }
    h->tended_at = epoch_now(h->keyspace->epoch);
    return lists_begin_resting(h);
}
