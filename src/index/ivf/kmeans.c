/* k-means over int8 codes.
 *
 * Rows are compared with centroids by the kernels that searches use, sixteen
 * rows at a time. Rounding to codes moves a row by about a hundredth of its
 * length, without a direction of its own, so it does not move a mean. */
#include "index/ivf/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "index/ivf/centroids_impl.h"

enum {
    /* At 128 dimensions, fewer where there are more: */
    CENTRE_ROWS = 4096,
    CENTRE_LEAST = 256,
    TAKE_ROWS = 512, /* of one unit */
    MEANS_LISTS = 8, /* likewise */
    SOME = 16,       /* rows fetched at a time */
    ROUNDS = 10,
    ROWS_LEAST = 32, /* for each list, in all rounds */
    ROUNDS_EVEN = 3, /* the last ones, in which lists are made more equal */
};

#define GAIN_MIN 0.001

/* How much farther a list seems in the next round for each mean length that it
 * is longer in this one, in typical distances of a row from its centroid. More
 * than that, and lists empty and fill in turns. */
#define EVEN_PENALTY 0.02f

/* Lists shorter than that part of the mean are given up for parts of those
 * that are longer than that. Both cost nothing in recall for the rows that are
 * scanned: on 100,000 words in 512 lists the longest is 2.4 means, 5 without.
 */
#define SHORT 0.25
#define LONG  2.0

enum phase { CENTRE, TAKE, SEED, GROUP, ASSIGN, SORT, MEANS, MAKE, DONE };

struct kmeans {
    struct kmeans_options o;
    struct vec_format f;
    enum phase phase;
    uint32_t round;
    uint32_t batch; /* rows of one unit of ASSIGN */
    uint32_t n;     /* rows that take part in this round */
    struct rng rng;
    float *centre;
    uint8_t *rows;   /* codes of the sample */
    uint32_t *list;  /* of each row */
    uint32_t *order; /* rows by list */
    double *sums;    /* of each unit of ASSIGN: distances */
    double mean;     /* of the distances of the last round; 0: there is none */
    bool settled;
    float *add;   /* of each list, to its keys */
    float *means; /* straightened */
    uint8_t *codes;
    void *groups_memory;
    struct ivf_groups groups; /* of the centroids */
    uint32_t *start;          /* in order, of each list and the end */
    uint32_t *seed;           /* a row to begin anew from; NONE */
    struct ivf_centroids *made;
    enum err failed;
};

#define NONE UINT32_MAX

uint32_t kmeans_lists_for(uint64_t n_rows)
{
    double want = 2 * sqrt((double)n_rows);
    uint32_t n = 64;

    while (n < IVF_LISTS_MAX && (double)n * M_SQRT2 < want) {
        n *= 2;
    }
    return n;
}

uint32_t kmeans_sample_for(uint64_t n_rows, uint32_t n_lists)
{
    uint64_t want = 128 * (uint64_t)n_lists;

    return (uint32_t)(n_rows < want ? n_rows : want);
}

/* So many of what has 128 dimensions take as long as so many of these. */
static uint32_t scaled(const struct kmeans *k, uint32_t n, uint32_t least)
{
    const uint32_t fit = (uint32_t)((uint64_t)n * 128 / k->o.dim);

    return fit > n ? n : fit < least ? least : fit;
}

static uint32_t parts(uint32_t n, uint32_t each)
{
    return (n + each - 1) / each;
}

/* ---- memory -------------------------------------------------------------- */

size_t kmeans_bytes(const struct kmeans_options *o)
{
    struct vec_format f;

    vec_format_init(&f, VEC_I8, VEC_L2, o->dim);
    return (size_t)o->n_rows * (f.row_bytes + 2 * sizeof(uint32_t)) +
           (size_t)o->n_lists *
               (f.row_bytes + o->dim * sizeof(float) + 2 * sizeof(uint32_t));
}

static void free_sample(struct kmeans *k)
{
    mem_free(k->rows);
    mem_free(k->list);
    mem_free(k->order);
    k->rows = NULL;
    k->list = k->order = NULL;
}

void kmeans_abandon(struct kmeans *k)
{
    if (!k) {
        return;
    }
    free_sample(k);
    mem_free(k->centre);
    mem_free(k->sums);
    mem_free(k->means);
    mem_free(k->codes);
    mem_free(k->groups_memory);
    mem_free(k->start);
    mem_free(k->seed);
    mem_free(k->add);
    ivf_centroids_destroy(k->made);
    mem_free(k);
}

struct kmeans *kmeans_begin(const struct kmeans_options *o)
{
    struct kmeans *k = mem_try_alloc(sizeof(*k));
    const size_t n = o->n_rows, lists = o->n_lists;

    ASSERT(lists > 0 && lists <= IVF_LISTS_MAX && n >= lists);
    if (!k) {
        return NULL;
    }
    memset(k, 0, sizeof(*k));
    k->o = *o;
    k->o.rounds = o->rounds ? o->rounds : ROUNDS;
    vec_format_init(&k->f, VEC_I8, VEC_L2, o->dim);
    k->batch = ivf_batch_size(o->dim);
    rng_seed(&k->rng, o->seed);
    k->phase = CENTRE;
    k->centre = mem_try_alloc(o->dim * sizeof(float));
    k->rows = mem_try_alloc(n * k->f.row_bytes + k->f.overread);
    k->list = mem_try_alloc(n * sizeof(*k->list));
    k->order = mem_try_alloc(n * sizeof(*k->order));
    k->sums = mem_try_alloc(parts(o->n_rows, k->batch) * sizeof(*k->sums));
    k->means = mem_try_alloc(lists * o->dim * sizeof(float));
    k->codes = mem_try_alloc(lists * k->f.row_bytes + k->f.overread);
    k->groups_memory =
        mem_try_alloc(ivf_groups_bytes(o->dim, o->n_lists) + VEC_ALIGN);
    k->start = mem_try_alloc((lists + 1) * sizeof(*k->start));
    k->add = mem_try_alloc(lists * sizeof(*k->add));
    k->seed = mem_try_alloc(lists * sizeof(*k->seed));
    if (!k->centre || !k->rows || !k->list || !k->order || !k->sums ||
        !k->means || !k->codes || !k->groups_memory || !k->start || !k->seed ||
        !k->add) {
        kmeans_abandon(k);
        return NULL;
    }
    ivf_groups_init(&k->groups, o->dim, o->n_lists, k->groups_memory);
    memset(k->rows + n * k->f.row_bytes, 0, k->f.overread);
    memset(k->codes + lists * k->f.row_bytes, 0, k->f.overread);
    return k;
}

/* ---- the sample ---------------------------------------------------------- */

static void do_centre(struct kmeans *k, struct ivf_scratch *s)
{
    const uint32_t dim = k->o.dim;
    const uint32_t most = scaled(k, CENTRE_ROWS, CENTRE_LEAST);
    const uint32_t n = k->o.n_rows < most ? k->o.n_rows : most;
    double *sums = ivf_scratch_room(s, dim * (sizeof(*sums) + sizeof(float)));
    float *x = (float *)(void *)(sums + dim);
    uint32_t i, j;

    memset(sums, 0, dim * sizeof(*sums));
    for (i = 0; i < n; i++) {
        k->o.fetch(k->o.arg, i, 1, x);
        ivf_straighten(k->o.metric, x, dim, x);
        for (j = 0; j < dim; j++) {
            sums[j] += (double)x[j];
        }
    }
    for (j = 0; j < dim; j++) {
        k->centre[j] = (float)(sums[j] / n);
    }
}

static void do_take(struct kmeans *k, uint32_t unit, struct ivf_scratch *s)
{
    const uint32_t dim = k->o.dim;
    float *x = ivf_scratch_room(s, (SOME + 1) * (size_t)dim * sizeof(*x));
    const uint32_t size = scaled(k, TAKE_ROWS, SOME);
    uint32_t i = unit * size, j, n;
    const uint32_t end = k->o.n_rows - i < size ? k->o.n_rows : i + size;

    for (; i < end; i += n) {
        n = end - i < SOME ? end - i : (uint32_t)SOME;
        k->o.fetch(k->o.arg, i, n, x);
        for (j = 0; j < n; j++) {
            float *one = x + (size_t)j * dim;

            ivf_straighten(k->o.metric, one, dim, one);
            ivf_encode(&k->f, one, k->centre, x + (size_t)SOME * dim,
                       k->rows + (size_t)(i + j) * k->f.row_bytes);
        }
    }
}

/* A row as it was before it was coded, about. */
static void decode(const struct kmeans *k, uint32_t row, float *out)
{
    uint32_t i;

    vec_decode_unit(&k->f, k->rows + (size_t)row * k->f.row_bytes, out);
    for (i = 0; i < k->o.dim; i++) {
        out[i] += k->centre[i];
    }
}

static void set_mean(struct kmeans *k, uint32_t list, float *x, float *room)
{
    float *mean = k->means + (size_t)list * k->o.dim;

    ivf_straighten(k->o.metric, x, k->o.dim, mean);
    ivf_encode(&k->f, mean, k->centre, room,
               k->codes + (size_t)list * k->f.row_bytes);
}

/* Begins with rows drawn at random, none twice. */
static void do_seed(struct kmeans *k, struct ivf_scratch *s)
{
    float *x = ivf_scratch_room(s, 2 * (size_t)k->o.dim * sizeof(*x));
    uint32_t i;

    for (i = 0; i < k->o.n_rows; i++) {
        k->order[i] = i;
    }
    for (i = 0; i < k->o.n_lists; i++) {
        uint32_t j = i + (uint32_t)rng_below(&k->rng, k->o.n_rows - i);
        uint32_t row = k->order[j];

        k->order[j] = k->order[i];
        k->order[i] = row;
        decode(k, row, x);
        set_mean(k, i, x, x + k->o.dim);
    }
}

/* ---- rounds -------------------------------------------------------------- */

/* Where a round stands: early ones make do with fewer rows. */
enum stage { QUARTER, HALF, ALL, EVEN, STAGES };

static uint32_t first_round(const struct kmeans *k, enum stage stage)
{
    const uint32_t even = k->o.rounds / 3;

    switch (stage) {
    case QUARTER:
        return 0;
    case HALF:
        return k->o.rounds * 4 / 10;
    case ALL:
        return k->o.rounds * 6 / 10;
    case EVEN:
        return k->o.rounds -
               (even < ROUNDS_EVEN ? even : (uint32_t)ROUNDS_EVEN);
    case STAGES:
        break;
    }
    return k->o.rounds;
}

static enum stage stage_of(const struct kmeans *k)
{
    enum stage stage = EVEN;

    while (stage > QUARTER && k->round < first_round(k, stage)) {
        stage--;
    }
    return stage;
}

static uint32_t rows_of_round(const struct kmeans *k)
{
    const enum stage stage = stage_of(k);
    const uint64_t least = (uint64_t)ROWS_LEAST * k->o.n_lists;
    uint32_t n = k->o.n_rows / (stage == QUARTER ? 4 : stage == HALF ? 2 : 1);

    if (n < least) {
        n = least < k->o.n_rows ? (uint32_t)least : k->o.n_rows;
    }
    return n;
}

static void do_group(struct kmeans *k, struct ivf_scratch *s)
{
    enum err err =
        ivf_groups_make(&k->groups, &k->f, k->codes,
                        stage_of(k) == EVEN ? k->add : NULL, k->round == 0, s);

    k->failed = k->failed ? k->failed : err;
    k->n = rows_of_round(k);
}

static void do_assign(struct kmeans *k, uint32_t unit, struct ivf_scratch *s)
{
    const size_t query_bytes = vec_near_query_bytes(k->o.dim);
    uint8_t *memory = ivf_scratch_room(s, k->batch * query_bytes);
    const uint32_t first = unit * k->batch;
    const uint32_t n = k->n - first < k->batch ? k->n - first : k->batch;
    double sum = 0;
    uint32_t i, lane;

    for (i = 0; i < n; i++) {
        struct vec_near_vector v =
            ivf_vector(&k->f, k->rows + (size_t)(first + i) * k->f.row_bytes);

        s->queries[i] =
            (struct vec_near_query *)(void *)(memory + i * query_bytes);
        vec_near_query_init(s->queries[i], k->o.dim, &v);
    }
    s->n = n;
    ivf_batch_scan(&k->groups, s);
    for (i = 0; i < n; i++) {
        const struct vec_near_query *q = s->queries[i];
        float key = INFINITY;

        for (lane = 0; lane < VEC_NEAR_LANES; lane++) {
            key = q->keys[lane] < key ? q->keys[lane] : key;
        }
        key += q->square;
        k->list[first + i] = k->groups.ids[ivf_nearest_of(q)];
        sum += (double)(key > 0 && key < INFINITY ? key : 0);
    }
    k->sums[unit] = sum;
}

static uint32_t length(const struct kmeans *k, uint32_t list)
{
    return k->start[list + 1] - k->start[list];
}

/* A row of a long list: the longest of some drawn at random, rows of which are
 * many. */
static uint32_t draw_row(struct kmeans *k)
{
    enum { DRAWS = 16 };
    uint32_t j, best = 0, most = 0;

    for (j = 0; j < DRAWS; j++) {
        uint32_t row = (uint32_t)rng_below(&k->rng, k->n);

        if (length(k, k->list[row]) > most) {
            most = length(k, k->list[row]);
            best = row;
        }
    }
    return best;
}

/* Empty lists begin anew with a row of a long one; so do short ones as long as
 * there are rounds to come in which they can find their place. */
static void reseed(struct kmeans *k)
{
    const double mean = (double)k->n / k->o.n_lists;
    uint32_t i;

    for (i = 0; i < k->o.n_lists; i++) {
        uint32_t row;

        k->seed[i] = NONE;
        if (length(k, i) >= (stage_of(k) < ALL ? SHORT * mean : 1)) {
            continue;
        }
        row = draw_row(k);
        if (length(k, i) == 0 || length(k, k->list[row]) > LONG * mean) {
            k->seed[i] = row;
        }
    }
}

/* What is added to keys in the next round, so that long lists lose rows. */
static void set_add(struct kmeans *k)
{
    const float mean = (float)k->n / (float)k->o.n_lists;
    uint32_t i;

    for (i = 0; i < k->o.n_lists; i++) {
        const float longer = (float)length(k, i) / mean - 1;

        if (stage_of(k) < EVEN) {
            k->add[i] = 0;
        }
        k->add[i] += EVEN_PENALTY * (float)k->mean * (longer < 1 ? longer : 1);
    }
}

static void do_sort(struct kmeans *k)
{
    const uint32_t n_units = parts(k->n, k->batch);
    double mean = 0;
    uint32_t i;

    for (i = 0; i < n_units; i++) {
        mean += k->sums[i];
    }
    mean /= k->n;
    k->settled = stage_of(k) < EVEN && k->mean - mean < k->mean * GAIN_MIN &&
                 k->round > 0;
    k->mean = stage_of(k) < EVEN ? mean : k->mean;
    memset(k->start, 0, (k->o.n_lists + 1) * sizeof(*k->start));
    for (i = 0; i < k->n; i++) {
        k->start[k->list[i] + 1]++;
    }
    for (i = 0; i < k->o.n_lists; i++) {
        k->start[i + 1] += k->start[i];
    }
    /* start[] of each list runs up to the next one's and is put back. */
    for (i = 0; i < k->n; i++) {
        k->order[k->start[k->list[i]]++] = i;
    }
    for (i = k->o.n_lists; i > 0; i--) {
        k->start[i] = k->start[i - 1];
    }
    k->start[0] = 0;
    reseed(k);
    set_add(k);
}

static void do_means(struct kmeans *k, uint32_t unit, struct ivf_scratch *s)
{
    const uint32_t dim = k->o.dim;
    float *x = ivf_scratch_room(s, 2 * (size_t)dim * sizeof(*x));
    const uint32_t size = scaled(k, MEANS_LISTS, 1);
    uint32_t list = unit * size, i, j;
    const uint32_t end =
        k->o.n_lists - list < size ? k->o.n_lists : list + size;

    for (; list < end; list++) {
        const uint32_t from = k->start[list], to = k->start[list + 1];

        if (k->seed[list] != NONE) {
            decode(k, k->seed[list], x);
        } else {
            memset(x, 0, dim * sizeof(*x));
            for (i = from; i < to; i++) {
                ivf_add_code(&k->f,
                             k->rows + (size_t)k->order[i] * k->f.row_bytes, x);
            }
            for (j = 0; j < dim; j++) {
                x[j] = x[j] / (float)(to - from) + k->centre[j];
            }
        }
        set_mean(k, list, x, x + dim);
    }
}

/* ---- phases -------------------------------------------------------------- */

static void do_make(struct kmeans *k)
{
    free_sample(k);
    k->failed = ivf_centroids_create(k->o.metric, k->o.dim, k->o.n_lists,
                                     k->means, k->centre, &k->made);
}

uint32_t kmeans_units(const struct kmeans *k)
{
    switch (k->phase) {
    case TAKE:
        return parts(k->o.n_rows, scaled(k, TAKE_ROWS, SOME));
    case ASSIGN:
        return parts(k->n, k->batch);
    case MEANS:
        return parts(k->o.n_lists, scaled(k, MEANS_LISTS, 1));
    case CENTRE:
    case SEED:
    case GROUP:
    case SORT:
    case MAKE:
        return 1;
    case DONE:
        break;
    }
    return 0;
}

void kmeans_unit(struct kmeans *k, uint32_t unit, struct ivf_scratch *s)
{
    switch (k->phase) {
    case CENTRE:
        do_centre(k, s);
        break;
    case TAKE:
        do_take(k, unit, s);
        break;
    case SEED:
        do_seed(k, s);
        break;
    case GROUP:
        do_group(k, s);
        break;
    case ASSIGN:
        do_assign(k, unit, s);
        break;
    case SORT:
        do_sort(k);
        break;
    case MEANS:
        do_means(k, unit, s);
        break;
    case MAKE:
        do_make(k);
        break;
    case DONE:
        break;
    }
}

void kmeans_next(struct kmeans *k)
{
    switch (k->phase) {
    case MEANS:
        k->round = k->settled ? first_round(k, stage_of(k) + 1) : k->round + 1;
        k->phase = k->round < k->o.rounds ? GROUP : MAKE;
        break;
    case CENTRE:
    case TAKE:
    case SEED:
    case GROUP:
    case ASSIGN:
    case SORT:
    case MAKE:
    case DONE:
        k->phase += k->phase != DONE;
        break;
    }
}

bool kmeans_has_read(const struct kmeans *k)
{
    return k->phase > TAKE;
}

double kmeans_progress(const struct kmeans *k)
{
    if (k->phase >= MAKE) {
        return 1;
    }
    return ((double)k->round + (k->phase >= ASSIGN)) / (k->o.rounds + 1);
}

enum err kmeans_end(struct kmeans *k, struct ivf_centroids **out)
{
    enum err err = k->failed;

    ASSERT(k->phase == DONE);
    if (!err) {
        *out = k->made;
        k->made = NULL;
    }
    kmeans_abandon(k);
    return err;
}
