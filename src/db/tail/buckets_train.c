/* Centroids of buckets: k-means over a sample, a few rounds of it.
 *
 * Buckets live for as long as a burst takes to be linked, so a better order of
 * the rows is not worth more time: see docs/BENCHMARKS.md. Where a set is
 * compared by inner product rows are assigned by direction, or a few long
 * centroids would win them all. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "db/tail/buckets_impl.h"

enum {
    ROUNDS = 3,
    COPY_ROWS = 256, /* of one unit */
    UNIT_CENTROIDS = 32,
    ASSIGN_NS = 12000, /* that a row may take */
    UNIT_NS = 250000,
    COUNT_MIN = 16,
    ROWS_MIN = 16, /* of a bucket */
};

enum phase { PHASE_COPY, PHASE_SEED, PHASE_ASSIGN, PHASE_UPDATE, PHASE_DONE };

struct bucket_training {
    struct bucket_formats formats;
    struct bucket_centroids *centroids;
    enum phase phase;
    int round;
    uint32_t n_slots;
    uint64_t seed;
    uint32_t n;    /* rows of the sample */
    uint8_t *rows; /* of formats.codes */
    uint16_t *at;  /* their centroids */
};

/* Comparing a row of codes with another takes about so long. */
static double key_ns(const struct vec_format *codes)
{
    return 1 + (double)codes->row_bytes / 100;
}

/* Centroids for so many rows: fewer, of more, where a row takes longer. What
 * training takes grows with the square of their number. */
static uint32_t count_for(const struct vec_format *codes, uint32_t rows)
{
    uint32_t n = BUCKETS_MAX;

    while (n > COUNT_MIN &&
           (n * key_ns(codes) > ASSIGN_NS || n > rows / ROWS_MIN)) {
        n /= 2;
    }
    return n;
}

uint32_t buckets_unit_rows(const struct bucket_centroids *c)
{
    double rows = UNIT_NS / (c->n * key_ns(c->codes));

    return rows < 16 ? 16 : rows > 1024 ? 1024 : (uint32_t)rows;
}

/* ---- centroids ----------------------------------------------------------- */

static struct bucket_centroids *create(const struct vec_format *codes,
                                       struct region *region, uint32_t n)
{
    size_t query_bytes = vec_query_bytes(codes);
    size_t head = (sizeof(struct bucket_centroids) + VEC_ALIGN - 1) &
                  ~(size_t)(VEC_ALIGN - 1);
    size_t bytes = head + n * query_bytes + buckets_rows_bytes(codes, n);
    struct bucket_centroids *c = region_alloc(region, bytes, VEC_ALIGN);

    if (!c) {
        return NULL;
    }
    memset(c, 0, bytes);
    *c = (struct bucket_centroids){
        .region = region,
        .bytes = bytes,
        .codes = codes,
        .uses = 1,
        .n = n,
        .query_bytes = query_bytes,
        .queries = (uint8_t *)c + head,
        .rows = (uint8_t *)c + head + n * query_bytes,
    };
    return c;
}

void buckets_centroids_release(struct bucket_centroids *c)
{
    if (--c->uses == 0) {
        region_free(c->region, c, c->bytes, VEC_ALIGN);
    }
}

/* Puts a centroid where x says; x is changed. False when it is nowhere. */
static bool place(struct bucket_centroids *c, uint32_t i, float *x)
{
    const struct vec_format *f = c->codes;
    uint8_t *row = c->rows + (size_t)i * f->row_bytes;
    struct vec_query *q;
    double sum = 0;
    uint32_t j;

    if (vec_check(f, x) != ERR_OK || vec_encode(f, x, row) != ERR_OK) {
        return false;
    }
    for (j = 0; f->metric == VEC_IP && j < f->dim; j++) {
        sum += (double)x[j] * (double)x[j];
    }
    for (j = 0; sum > 0 && j < f->dim; j++) {
        x[j] = (float)((double)x[j] / sqrt(sum));
    }
    return vec_query_init(f, x, c->queries + i * c->query_bytes, &q) == ERR_OK;
}

/* ---- phases -------------------------------------------------------------- */

struct bucket_training *buckets_training_begin(const struct bucket_formats *f,
                                               struct region *region,
                                               uint32_t n_slots,
                                               uint32_t n_rows, uint64_t seed)
{
    uint32_t count = count_for(f->codes, n_rows);
    uint64_t most = BUCKET_SAMPLE_BYTES / f->codes->row_bytes;
    uint64_t n = (uint64_t)count * BUCKET_SAMPLE_ROWS;
    struct bucket_training *t = mem_try_alloc(sizeof(*t));

    if (!t) {
        return NULL;
    }
    n = n < most ? n : most;
    n = n < n_slots ? n : n_slots;
    *t = (struct bucket_training){
        .formats = *f,
        .centroids = create(f->codes, region, count),
        .n_slots = n_slots,
        .seed = seed,
        .n = (uint32_t)n,
        .rows = mem_try_alloc(buckets_rows_bytes(f->codes, n)),
        .at = mem_try_alloc(n * sizeof(*t->at) + 1),
    };
    if (!t->centroids || !t->rows || !t->at || n == 0) {
        buckets_training_abandon(t);
        return NULL;
    }
    return t;
}

static uint32_t divided(uint32_t n, uint32_t by)
{
    return (n + by - 1) / by;
}

uint32_t buckets_training_units(const struct bucket_training *t)
{
    switch (t->phase) {
    case PHASE_COPY:
        return divided(t->n, COPY_ROWS);
    case PHASE_SEED:
    case PHASE_UPDATE:
        return divided(t->centroids->n, UNIT_CENTROIDS);
    case PHASE_ASSIGN:
        return divided(t->n, buckets_unit_rows(t->centroids));
    case PHASE_DONE:
        break;
    }
    return 0;
}

/* Slots all over the set; the same each time. */
static void copy_some(struct bucket_training *t, uint32_t from, uint32_t to)
{
    size_t row_bytes = t->formats.codes->row_bytes;
    uint32_t slots[COPY_ROWS];
    uint32_t i;

    for (i = from; i < to; i++) {
        slots[i - from] = (uint32_t)((uint64_t)i * t->n_slots / t->n);
    }
    buckets_read_rows(&t->formats, slots, 0, to - from,
                      t->rows + from * row_bytes);
}

static const uint8_t *sample_row(const struct bucket_training *t, uint32_t i)
{
    return t->rows + (size_t)i * t->formats.codes->row_bytes;
}

static void seed_some(struct bucket_training *t, uint32_t from, uint32_t to,
                      float *x)
{
    const struct vec_format *f = t->formats.codes;

    for (; from < to; from++) {
        uint64_t i = (uint64_t)from * t->n / t->centroids->n;

        vec_decode_unit(f, sample_row(t, (uint32_t)i), x);
        if (!place(t->centroids, from, x)) {
            memset(x, 0, f->dim * sizeof(*x));
            (void)place(t->centroids, from, x);
        }
    }
}

/* Centroids from..to become the means of their rows; one that has none stays
 * where it is. */
static void update_some(struct bucket_training *t, uint32_t from, uint32_t to,
                        float *x)
{
    const struct vec_format *f = t->formats.codes;
    float *sums = mem_calloc(to - from, f->dim * sizeof(*sums));
    uint32_t counts[UNIT_CENTROIDS] = {0};
    uint32_t i, j;

    for (i = 0; i < t->n; i++) {
        uint32_t c = t->at[i] - from;

        if (c >= to - from) {
            continue;
        }
        vec_decode_unit(f, sample_row(t, i), x);
        if (vec_check(f, x) != ERR_OK) {
            continue; /* it was being written */
        }
        counts[c]++;
        for (j = 0; j < f->dim; j++) {
            sums[c * f->dim + j] += x[j];
        }
    }
    for (i = from; i < to; i++) {
        float *sum = sums + (i - from) * (size_t)f->dim;

        for (j = 0; j < f->dim && counts[i - from]; j++) {
            sum[j] /= (float)counts[i - from];
        }
        if (counts[i - from]) {
            (void)place(t->centroids, i, sum);
        }
    }
    mem_free(sums);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void buckets_training_unit(struct bucket_training *t, uint32_t unit)
{
    struct bucket_centroids *c = t->centroids;
    uint32_t rows = buckets_unit_rows(c);
    float *x;

    if (t->phase == PHASE_COPY) {
        copy_some(t, unit * COPY_ROWS, least((unit + 1) * COPY_ROWS, t->n));
        return;
    }
    if (t->phase == PHASE_ASSIGN) {
        buckets_nearest(c, sample_row(t, unit * rows),
                        least(rows, t->n - unit * rows), t->at + unit * rows);
        return;
    }
    x = mem_alloc(t->formats.codes->dim * sizeof(*x));
    (t->phase == PHASE_SEED ? seed_some : update_some)(
        t, unit * UNIT_CENTROIDS, least((unit + 1) * UNIT_CENTROIDS, c->n), x);
    mem_free(x);
}

void buckets_training_next(struct bucket_training *t)
{
    switch (t->phase) {
    case PHASE_COPY:
        t->phase = PHASE_SEED;
        break;
    case PHASE_SEED:
        t->phase = PHASE_ASSIGN;
        break;
    case PHASE_ASSIGN:
        t->phase = PHASE_UPDATE;
        break;
    case PHASE_UPDATE:
        t->phase = ++t->round < ROUNDS ? PHASE_ASSIGN : PHASE_DONE;
        break;
    case PHASE_DONE:
        break;
    }
}

struct bucket_centroids *buckets_training_end(struct bucket_training *t)
{
    struct bucket_centroids *c = t->centroids;

    t->centroids = NULL;
    buckets_training_abandon(t);
    return c;
}

void buckets_training_abandon(struct bucket_training *t)
{
    if (t->centroids) {
        buckets_centroids_release(t->centroids);
    }
    mem_free(t->rows);
    mem_free(t->at);
    mem_free(t);
}
