/* A list that has grown out of proportion is split: see lists_tend.c.
 *
 * Two means of its rows take its place; its rows, and those of the lists
 * around, go where they are nearest then. */
#include <string.h>

#include "base/mem.h"
#include "db/lists/lists_tend_impl.h"

enum {
    AROUND = 8, /* lists whose rows are looked at after a split */
    AROUND_ROWS = 65536,
    MEANS_ROWS = 1024, /* of a list, that are split by */
    MEANS_ROUNDS = 8,
};

/* Rows of the smaller half of a list that is split, in times of what would be
 * merged with others. */
#define SPLIT_LEAST 1.5

/* ---- lists that cannot be ------------------------------------------------ */

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

bool lists_is_stuck(const struct lists *l, uint32_t list, uint32_t rows)
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

/* Lists that cannot be split stay so, or what was merged back would be split
 * off again. */
void lists_renumber_stuck(struct lists *l, const uint32_t *new_of_old)
{
    uint32_t i;

    for (i = 0; i < LISTS_STUCK_MAX; i++) {
        uint32_t list = l->stuck[i].rows ? new_of_old[l->stuck[i].list] : 0;

        l->stuck[i].list = list;
        l->stuck[i].rows = list == IVF_NONE ? 0 : l->stuck[i].rows;
    }
}

/* ---- two means ----------------------------------------------------------- */

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

/* ---- splitting ----------------------------------------------------------- */

/* The centroids with two in the place of each that is split. */
static void unit_of_make_split(struct lists_job *job, uint32_t unit,
                               struct lists_task *t)
{
    const struct ivf_centroids *c = ivf_centroids_of(job->lists->ivf);
    struct lists_tending *td = job->tending;
    size_t row = c->dim * sizeof(float);
    uint32_t n = c->n, i;
    float *rows = mem_try_alloc((c->n + TEND_SPLITS_MAX) * row);

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
    job->next = lists_tended;
    lists_tended(job);
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
    lists_begin_placing(job, split_placed);
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
        if (!is_there && job->tending->n_merges < TEND_MERGES_MAX) {
            /* `merge` says which have been taken: nothing is merged here. */
            job->tending->merge[job->tending->n_merges++] = near[i].list;
            (void)lists_take_list(job, near[i].list);
        }
    }
}

bool lists_begin_splitting(struct lists *l, const struct lists_need *need)
{
    uint32_t rows = AROUND_ROWS, i;
    struct lists_job *job;
    struct lists_tending *td;

    for (i = 0; i < need->n_splits; i++) {
        rows += lists_rows_of(l, need->split[i]);
    }
    job = lists_begin_tend_job(l, rows);
    if (!job) {
        return false;
    }
    td = job->tending;
    td->n_splits = need->n_splits;
    td->least = SPLIT_LEAST * (double)ivf_n_used(l->ivf) / ivf_n_lists(l->ivf) /
                TEND_MERGE_SHARE;
    memcpy(td->split, need->split, sizeof(td->split));
    td->means =
        mem_try_alloc(2 * TEND_SPLITS_MAX * (size_t)l->home->set->format.dim *
                      sizeof(*td->means));
    if (!td->means) {
        lists_job_end(job, false);
        return true;
    }
    for (i = 0; i < td->n_splits; i++) {
        td->first[i] = job->n;
        (void)lists_take_list(job, td->split[i]);
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
