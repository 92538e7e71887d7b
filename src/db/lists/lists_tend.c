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
 * All of it is moving rows between lists: a row is in one of them for every
 * search, and an exact search finds it at every moment. When that is not enough
 * any more, all is trained anew. */
#include <string.h>

#include "base/mem.h"
#include "db/lists/lists_impl.h"

enum {
    SPLITS_MAX = 4,  /* of one job */
    MERGES_MAX = 64, /* likewise */
    SPLIT_TIMES = 3,
    SPLIT_ROWS = 512, /* at least, of a list that is split */
    MERGE_SHARE = 5,
    MERGE_MEAN = 32, /* rows of a list, when lists are merged at all */
    AROUND = 8,      /* lists whose rows are looked at after a split */
    AROUND_ROWS = 65536,
    COMPACT_SHARE = 4,
    COMPACT_ROWS = 8192, /* of one job */
    MEANS_ROWS = 1024,   /* of a list, that are split by */
    MEANS_ROUNDS = 8,
    UNIT_ROWS = 256,
    WAITS = 32, /* turns that lists are waited for to be empty */
    AGAIN_MIN_MS = 10 * 1000,
    AGAIN_TIMES = 50, /* of what training took: one trains at most so often */
    AGAIN_ROWS = 4096,
};

/* Rows of the smaller half of a list that is split, in times of what would be
 * merged with others. */
#define SPLIT_LEAST     1.5
#define AGAIN_GROWN     2.5
#define AGAIN_IMBALANCE 2.0
#define AGAIN_WORSE     1.5
#define AGAIN_DRIFT     1.25

struct lists_tending {
    uint32_t n_splits, n_merges;
    uint32_t split[SPLITS_MAX];                   /* lists */
    uint32_t first[SPLITS_MAX], rows[SPLITS_MAX]; /* theirs, of job->slots */
    bool is_split[SPLITS_MAX];
    double least;               /* rows of the smaller half */
    float *means;               /* two for each */
    uint32_t merge[MERGES_MAX]; /* lists, ascending */
    uint32_t *new_of_old, *old_of_new;
    struct ivf_centroids *made;
    uint32_t n_old, n_new;
    int waits;
};

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

struct need {
    uint32_t n_splits, split[SPLITS_MAX];
    uint32_t n_merges, merge[MERGES_MAX];
    bool compact;
};

/* Where a list is noted that could not be split; LISTS_STUCK_MAX: nowhere. */
static uint32_t stuck_at(const struct lists *l, uint32_t list)
{
    uint32_t i = 0;

    while (i < LISTS_STUCK_MAX &&
           (l->stuck[i].rows == 0 || l->stuck[i].list != list)) {
        i++;
    }
    return i;
}

static bool is_stuck(const struct lists *l, uint32_t list, uint32_t rows)
{
    uint32_t i = stuck_at(l, list);

    return i < LISTS_STUCK_MAX && rows <= l->stuck[i].rows;
}

/* Rows that are all alike cannot be told apart: not before there are many more
 * of them. When there are very many such lists the first ones are forgotten. */
static void note_stuck(struct lists *l, uint32_t list, uint32_t rows)
{
    uint32_t i = stuck_at(l, list);

    if (i == LISTS_STUCK_MAX) {
        i = l->next_stuck++ % LISTS_STUCK_MAX;
    }
    l->stuck[i].list = list;
    l->stuck[i].rows = rows + rows / 2;
}

static void look(const struct lists *l, struct need *need)
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
            !is_stuck(l, i, s.n_used) && need->n_splits < SPLITS_MAX &&
            n + need->n_splits < LISTS_NLIST_MAX) {
            need->split[need->n_splits++] = i;
        }
        /* As many as were asked for there are. */
        if (n - need->n_merges > l->options.nlist && mean >= MERGE_MEAN &&
            s.n_used * MERGE_SHARE < mean && need->n_merges < MERGES_MAX) {
            need->merge[need->n_merges++] = i;
        }
    }
}

/* ---- moving ------------------------------------------------------------ */

static void tended(struct lists_job *job)
{
    if (!lists_move_some(job)) {
        lists_job_yield(job);
        return;
    }
    lists_let_go(job);
    lists_job_end(job, !job->out_of_memory);
}

/* Rows of a list; true when all of them are there. */
static bool take_list(struct lists_job *job, uint32_t list)
{
    uint32_t at = 0, block;

    while ((block = ivf_next_block(job->lists->ivf, list, &at)) != IVF_NONE) {
        if (!lists_job_take(job, block)) {
            return false;
        }
    }
    return true;
}

static uint32_t rows_of(const struct lists *l, uint32_t list)
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
    job->next = tended;
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

/* Rows that are where they belong stay there. */
static void leave_out_those_in_place(struct lists_job *job)
{
    uint32_t i;

    for (i = 0; i < job->n; i++) {
        if (job->to[i] == ivf_list_of(job->lists->ivf, job->slots[i])) {
            job->to[i] = IVF_NONE;
        }
    }
}

static void begin_placing(struct lists_job *job,
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

static struct lists_job *begin_job(struct lists *l, uint32_t rows)
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

/* ---- splitting --------------------------------------------------------- */

static double square_of_distance(const float *a, const float *b, uint32_t dim)
{
    double sum = 0;
    uint32_t i;

    for (i = 0; i < dim; i++) {
        double d = (double)a[i] - (double)b[i];

        sum += d * d;
    }
    return sum;
}

/* Rows of a list, evenly, as lists compare them. */
static uint32_t read_rows(const struct lists_job *job, uint32_t split, float *x)
{
    const struct vset *v = job->home->set;
    const struct lists_tending *td = job->tending;
    uint32_t all = td->rows[split];
    uint32_t n = all < MEANS_ROWS ? all : MEANS_ROWS;
    uint32_t dim = v->format.dim, i;

    for (i = 0; i < n; i++) {
        slot_id slot =
            job->slots[td->first[split] + (uint32_t)((uint64_t)i * all / n)];

        vec_decode_unit(&v->format, row_map_at(&job->rows, slot),
                        x + (size_t)i * dim);
        ivf_straighten(v->format.metric, x + (size_t)i * dim, dim,
                       x + (size_t)i * dim);
    }
    return n;
}

/* The row farthest from a point. */
static uint32_t farthest(const float *x, uint32_t n, uint32_t dim,
                         const float *from)
{
    uint32_t best = 0, i;
    double most = -1;

    for (i = 0; i < n; i++) {
        double d = square_of_distance(x + (size_t)i * dim, from, dim);

        if (d > most) {
            most = d;
            best = i;
        }
    }
    return best;
}

/* One round of 2-means; returns how many rows are nearer to the one that has
 * fewer, and leaves the means as they are when that is none. */
static uint32_t improve(const float *x, uint32_t n, uint32_t dim, float *means)
{
    double *sums = mem_alloc(2 * (size_t)dim * sizeof(*sums));
    uint32_t count[2] = {0, 0};
    uint32_t i, j;

    memset(sums, 0, 2 * (size_t)dim * sizeof(*sums));
    for (i = 0; i < n; i++) {
        const float *row = x + (size_t)i * dim;
        int side = square_of_distance(row, means + dim, dim) <
                   square_of_distance(row, means, dim);

        count[side]++;
        for (j = 0; j < dim; j++) {
            sums[side * dim + j] += (double)row[j];
        }
    }
    for (j = 0; count[0] && count[1] && j < 2 * dim; j++) {
        means[j] = (float)(sums[j] / count[j / dim]);
    }
    mem_free(sums);
    return count[0] < count[1] ? count[0] : count[1];
}

/* Two means from two rows; returns the share of the rows that are nearer to the
 * one that has fewer. */
static double find_means(const float *x, uint32_t n, uint32_t dim,
                         const float *one, const float *other, float *means)
{
    uint32_t fewer = 0;
    int round;

    memcpy(means, one, dim * sizeof(*means));
    memcpy(means + dim, other, dim * sizeof(*means));
    for (round = 0; round < MEANS_ROUNDS && (round == 0 || fewer > 0);
         round++) {
        fewer = improve(x, n, dim, means);
    }
    return (double)fewer / n;
}

/* Two rows that are far from each other begin; when they are strangers to all
 * others, any two. What little would be split off otherwise, beside rows that
 * are all alike, would be merged with other lists, and so on for ever. */
static void unit_of_means(struct lists_job *job, uint32_t unit,
                          struct lists_task *t)
{
    struct lists_tending *td = job->tending;
    uint32_t dim = job->home->set->format.dim;
    float *x = mem_alloc((size_t)MEANS_ROWS * dim * sizeof(*x));
    float *means = td->means + 2 * (size_t)unit * dim;
    uint32_t n = read_rows(job, unit, x);
    double least = td->least / td->rows[unit];
    const float *far = x + (size_t)farthest(x, n, dim, x) * dim;
    const float *from_far = x + (size_t)farthest(x, n, dim, far) * dim;

    (void)t;
    td->is_split[unit] =
        n > 1 &&
        (find_means(x, n, dim, far, from_far, means) > least ||
         find_means(x, n, dim, x + (size_t)(n / 3) * dim,
                    x + (size_t)(2 * (uint64_t)n / 3) * dim, means) > least);
    mem_free(x);
}

/* The centroids with two in the place of each that is split. */
static void unit_of_make_split(struct lists_job *job, uint32_t unit,
                               struct lists_task *t)
{
    const struct ivf_centroids *c = ivf_centroids_of(job->lists->ivf);
    struct lists_tending *td = job->tending;
    size_t row = c->dim * sizeof(float);
    uint32_t n = c->n, i;
    float *rows = mem_try_alloc((c->n + SPLITS_MAX) * row);

    (void)unit;
    (void)t;
    if (!rows) {
        return;
    }
    memcpy(rows, c->rows, c->n * row);
    for (i = 0; i < td->n_splits; i++) {
        const float *means = td->means + 2 * (size_t)i * c->dim;

        if (td->is_split[i]) {
            memcpy(rows + (size_t)td->split[i] * c->dim, means, row);
            memcpy(rows + (size_t)n++ * c->dim, means + c->dim, row);
        }
    }
    td->n_new = n;
    if (n == c->n || ivf_centroids_create(c->metric, c->dim, n, rows, c->centre,
                                          &td->made) != ERR_OK) {
        td->made = NULL;
    }
    mem_free(rows);
}

static uint32_t *same_numbers(uint32_t n)
{
    uint32_t *numbers = mem_try_alloc(n * sizeof(*numbers));
    uint32_t i;

    for (i = 0; numbers && i < n; i++) {
        numbers[i] = i;
    }
    return numbers;
}

static void split_placed(struct lists_job *job)
{
    struct lists_tending *td = job->tending;
    struct lists *l = job->lists;

    td->new_of_old = same_numbers(td->n_old);
    if (!td->new_of_old ||
        ivf_relist(l->ivf, td->made, td->n_new, td->new_of_old) != ERR_OK) {
        lists_job_end(job, false);
        return;
    }
    td->made = NULL;
    job->home->splits += td->n_new - td->n_old;
    leave_out_those_in_place(job);
    job->next = tended;
    tended(job);
}

static void split_made(struct lists_job *job)
{
    struct lists_tending *td = job->tending;
    uint32_t i;

    for (i = 0; i < td->n_splits; i++) {
        if (!td->is_split[i]) {
            note_stuck(job->lists, td->split[i], td->rows[i]);
        }
    }
    if (td->n_new == td->n_old) {
        lists_let_go(job);
        lists_job_end(job, true);
        return;
    }
    begin_placing(job, split_placed);
}

static void means_found(struct lists_job *job)
{
    job->unit = unit_of_make_split;
    job->next = split_made;
    lists_job_phase(job, 1, 1);
}

/* Rows of the lists around one that is split, which are not there already. */
static void take_around(struct lists_job *job, uint32_t list)
{
    const struct ivf_centroids *c = ivf_centroids_of(job->lists->ivf);
    const struct lists_tending *td = job->tending;
    struct ivf_near near[AROUND + 1];
    uint32_t n = ivf_probe(c, c->rows + (size_t)list * c->dim, AROUND + 1, near,
                           job->tasks[0].scratch);
    uint32_t i, j;

    for (i = 0; i < n; i++) {
        bool is_there = false;

        for (j = 0; j < td->n_splits; j++) {
            is_there |= td->split[j] == near[i].list;
        }
        for (j = 0; j < td->n_merges; j++) {
            is_there |= td->merge[j] == near[i].list;
        }
        if (!is_there && job->tending->n_merges < MERGES_MAX) {
            /* `merge` says which have been taken: nothing is merged here. */
            job->tending->merge[job->tending->n_merges++] = near[i].list;
            (void)take_list(job, near[i].list);
        }
    }
}

static bool begin_splitting(struct lists *l, const struct need *need)
{
    uint32_t rows = AROUND_ROWS, i;
    struct lists_job *job;
    struct lists_tending *td;

    for (i = 0; i < need->n_splits; i++) {
        rows += rows_of(l, need->split[i]);
    }
    job = begin_job(l, rows);
    if (!job) {
        return false;
    }
    td = job->tending;
    td->n_splits = need->n_splits;
    td->least = SPLIT_LEAST * (double)ivf_n_used(l->ivf) / ivf_n_lists(l->ivf) /
                MERGE_SHARE;
    memcpy(td->split, need->split, sizeof(td->split));
    td->means = mem_try_alloc(
        2 * SPLITS_MAX * (size_t)l->home->set->format.dim * sizeof(*td->means));
    if (!td->means) {
        lists_job_end(job, false);
        return true;
    }
    for (i = 0; i < td->n_splits; i++) {
        td->first[i] = job->n;
        (void)take_list(job, td->split[i]);
        td->rows[i] = job->n - td->first[i];
    }
    for (i = 0; i < td->n_splits; i++) {
        take_around(job, td->split[i]);
    }
    lists_job_hold(job);
    job->unit = unit_of_means;
    job->next = means_found;
    lists_job_phase(job, td->n_splits, UINT32_MAX);
    return true;
}

/* ---- merging ----------------------------------------------------------- */

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

/* They stay what they are, or what was merged back would be split off again. */
static void renumber_stuck(struct lists *l, const uint32_t *new_of_old)
{
    uint32_t i;

    for (i = 0; i < LISTS_STUCK_MAX; i++) {
        uint32_t list = l->stuck[i].rows ? new_of_old[l->stuck[i].list] : 0;

        l->stuck[i].list = list;
        l->stuck[i].rows = list == IVF_NONE ? 0 : l->stuck[i].rows;
    }
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

/* Blocks that searches look at are waited for, for a while; else it is tried
 * again some other time. */
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
        if (job->out_of_memory || td->waits++ == WAITS) {
            lists_job_end(job, false);
        } else {
            lists_job_wait(job);
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
    renumber_stuck(job->lists, td->new_of_old);
    lists_job_end(job, true);
}

static void merge_placed(struct lists_job *job)
{
    job->next = merged;
    merged(job);
}

static void merge_made(struct lists_job *job)
{
    begin_placing(job, merge_placed);
}

static bool begin_merging(struct lists *l, const struct need *need)
{
    uint32_t rows = 0, n = need->n_merges, i;
    struct lists_job *job;
    struct lists_tending *td;

    n = n < ivf_n_lists(l->ivf) ? n : ivf_n_lists(l->ivf) - 1;
    for (i = 0; i < n; i++) {
        rows += rows_of(l, need->merge[i]);
    }
    job = n ? begin_job(l, rows) : NULL;
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
        (void)take_list(job, td->merge[i]);
    }
    lists_job_hold(job);
    job->unit = unit_of_make_merged;
    job->next = merge_made;
    lists_job_phase(job, 1, 1);
    return true;
}

/* ---- what is due ------------------------------------------------------- */

bool lists_begin_tending(struct lists_home *h)
{
    struct lists *l = h->answers;
    struct need need;

    if (h->tended_at == epoch_now(h->keyspace->epoch)) {
        return lists_begin_resting(h); /* nothing has changed */
    }
    look(l, &need);
    if (need.n_splits) {
        return begin_splitting(l, &need);
    }
    if (need.compact) {
        return begin_compacting(l);
    }
    if (need.n_merges) {
        return begin_merging(l, &need);
    }
    h->tended_at = epoch_now(h->keyspace->epoch);
    return lists_begin_resting(h);
}
