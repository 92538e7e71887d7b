/* Product quantization: points, codes and queries. */
#include "vec/pq.h"

#include <math.h>

#include "base/rng.h"
#include "vec/kernels_pq.h"

enum {
    RATIO_MIN = PQ_RATIO_ONE / 4,
    PARTS = 64, /* handled at a time where codes wait for a place */
};

bool vec_pq_fits(uint32_t dim, uint32_t m)
{
    return m >= 1 && m <= VEC_PQ_M_MAX && dim % m == 0;
}

size_t vec_pq_bytes(uint32_t dim, uint32_t m)
{
    (void)m;
    return sizeof(struct vec_pq) + sizeof(float) * (size_t)dim * VEC_PQ_POINTS;
}

size_t vec_pq_n_points(const struct vec_pq *pq)
{
    return (size_t)pq->dim * VEC_PQ_POINTS;
}

void vec_pq_init(struct vec_pq *pq, enum vec_metric metric, uint32_t dim,
                 uint32_t m)
{
    ASSERT(vec_pq_fits(dim, m));
    memset(pq, 0, vec_pq_bytes(dim, m));
    pq->metric = metric;
    pq->dim = dim;
    pq->m = m;
    pq->part = dim / m;
    pq->code_bytes = (m + 1) / 2;
    pq->block_bytes = VEC_PQ_LANES / 2 * m;
    if (metric != VEC_L1) {
        pq->ratio_at = pq->block_bytes;
        pq->block_bytes += 2 * VEC_PQ_LANES;
        pq->code_bytes += 2;
    }
    if (metric == VEC_L2) {
        pq->square_at = pq->block_bytes;
        pq->block_bytes += 4 * VEC_PQ_LANES;
        pq->code_bytes += 4;
    }
}

/* ---- learning ------------------------------------------------------------ */

static void set_point(float *points, size_t part, uint32_t k, const float *x)
{
    size_t i;

    for (i = 0; i < part; i++) {
        points[i * VEC_PQ_POINTS + k] = x[i];
    }
}

/* Moves a point to the mean of the components given to it, one component at a
 * time, so that no more memory is needed than a byte for each vector. */
static void move_points(float *points, size_t part, const float *sample,
                        size_t n, size_t dim, const uint8_t *nearest)
{
    uint32_t counts[VEC_PQ_POINTS] = {0};
    size_t c, i, k;

    for (i = 0; i < n; i++) {
        counts[nearest[i]]++;
    }
    for (c = 0; c < part; c++) {
        double sums[VEC_PQ_POINTS] = {0};

        for (i = 0; i < n; i++) {
            sums[nearest[i]] += (double)sample[i * dim + c];
        }
        for (k = 0; k < VEC_PQ_POINTS; k++) {
            if (counts[k]) {
                points[c * VEC_PQ_POINTS + k] = (float)(sums[k] / counts[k]);
            }
        }
    }
}

/* Points that nobody is nearest to begin anew at some vector. */
static void revive(float *points, size_t part, const float *sample, size_t n,
                   size_t dim, const uint8_t *nearest, struct rng *rng)
{
    uint32_t counts[VEC_PQ_POINTS] = {0};
    size_t i;
    uint32_t k;

    for (i = 0; i < n; i++) {
        counts[nearest[i]]++;
    }
    for (k = 0; k < VEC_PQ_POINTS; k++) {
        if (counts[k] == 0) {
            set_point(points, part, k, sample + rng_below(rng, n) * dim);
        }
    }
}

void vec_pq_train(struct vec_pq *pq, uint32_t part, const float *sample,
                  size_t n, uint32_t rounds, uint64_t seed, uint8_t *work)
{
    float *points = pq->points + (size_t)part * pq->part * VEC_PQ_POINTS;
    const float *of_part = sample + (size_t)part * pq->part;
    struct rng rng;
    uint32_t round, k;
    size_t i;

    rng_seed(&rng, seed + part);
    for (k = 0; k < VEC_PQ_POINTS; k++) {
        set_point(points, pq->part, k, of_part + rng_below(&rng, n) * pq->dim);
    }
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < n; i++) {
            vec_in_use->pq->nearest(of_part + i * pq->dim, points, 1, pq->part,
                                    work + i);
        }
        move_points(points, pq->part, of_part, n, pq->dim, work);
        if (round + 1 < rounds) {
            revive(points, pq->part, of_part, n, pq->dim, work, &rng);
        }
    }
}

/* ---- codes --------------------------------------------------------------- */

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* dot(x, x^) of parts `from` and the n - 1 next ones. */
static double dot_with_points(const struct vec_pq *pq, const float *x,
                              const uint8_t *codes, size_t from, size_t n)
{
    double sum = 0;
    size_t j, i;

    for (j = from; j < from + n; j++) {
        const float *p =
            pq->points + j * pq->part * VEC_PQ_POINTS + codes[j - from];

        for (i = 0; i < pq->part; i++) {
            sum += (double)x[j * pq->part + i] * (double)p[i * VEC_PQ_POINTS];
        }
    }
    return sum;
}

/* |x|^2 / dot(x, x^), in steps of 2^-14: 1 where the code says nothing of where
 * the vector points. */
static uint16_t ratio_of(double square, double with_points)
{
    double ratio = square / with_points * PQ_RATIO_ONE;

    if (!(ratio >= RATIO_MIN && ratio < UINT16_MAX)) {
        return PQ_RATIO_ONE;
    }
    return (uint16_t)(ratio + 0.5);
}

void vec_pq_encode(const struct vec_pq *pq, const float *x, uint8_t *code)
{
    const double square = dot(x, x, pq->dim);
    double with_points = 0;
    uint8_t codes[PARTS];
    uint8_t *behind = code + (pq->m + 1) / 2;
    size_t j, k, n;

    for (j = 0; j < pq->m; j += n) {
        n = pq->m - j < PARTS ? pq->m - j : PARTS;
        vec_in_use->pq->nearest(x + j * pq->part,
                                pq->points + j * pq->part * VEC_PQ_POINTS, n,
                                pq->part, codes);
        for (k = 0; k < n; k += 2) {
            code[(j + k) / 2] =
                (uint8_t)(codes[k] | (k + 1 < n ? codes[k + 1] << 4 : 0));
        }
        with_points += dot_with_points(pq, x, codes, j, n);
    }
    if (pq->ratio_at) {
        uint16_t ratio = ratio_of(square, with_points);

        memcpy(behind, &ratio, sizeof(ratio));
    }
    if (pq->square_at) {
        float value = (float)square;

        memcpy(behind + 2, &value, sizeof(value));
    }
}

static uint32_t code_of(const uint8_t *code, size_t part)
{
    return code[part / 2] >> (4 * (part % 2)) & 15;
}

void vec_pq_decode(const struct vec_pq *pq, const uint8_t *code, float *out)
{
    double square, wanted;
    float times;
    size_t j, i;

    for (j = 0; j < pq->m; j++) {
        const float *p =
            pq->points + j * pq->part * VEC_PQ_POINTS + code_of(code, j);

        for (i = 0; i < pq->part; i++) {
            out[j * pq->part + i] = p[i * VEC_PQ_POINTS];
        }
    }
    square = dot(out, out, pq->dim);
    wanted = square;
    if (pq->metric == VEC_COSINE) {
        wanted = 1;
    } else if (pq->square_at) {
        wanted = (double)vec_load_f32(code + (pq->m + 1) / 2 + 2);
    }
    if (square > 0 && wanted != square) {
        times = (float)sqrt(wanted / square);
        for (i = 0; i < pq->dim; i++) {
            out[i] *= times;
        }
    }
}

void vec_pq_put(const struct vec_pq *pq, uint8_t *block, uint32_t lane,
                const uint8_t *code)
{
    const uint8_t *behind = code + (pq->m + 1) / 2;
    const uint32_t half = VEC_PQ_LANES / 2;
    uint8_t *at = block + lane % half;
    size_t j;

    for (j = 0; j < pq->m; j++, at += half) {
        uint32_t c = code_of(code, j);

        *at = (uint8_t)(lane < half ? (*at & 0xf0) | c : (*at & 0x0f) | c << 4);
    }
    if (pq->ratio_at) {
        memcpy(block + pq->ratio_at + (size_t)2 * lane, behind, 2);
    }
    if (pq->square_at) {
        memcpy(block + pq->square_at + (size_t)4 * lane, behind + 2, 4);
    }
}

void vec_pq_get(const struct vec_pq *pq, const uint8_t *block, uint32_t lane,
                uint8_t *code)
{
    uint8_t *behind = code + (pq->m + 1) / 2;
    const uint32_t half = VEC_PQ_LANES / 2;
    const uint8_t *at = block + lane % half;
    size_t j;

    memset(code, 0, (pq->m + 1) / 2);
    for (j = 0; j < pq->m; j++, at += half) {
        uint32_t c = lane < half ? *at & 15 : *at >> 4;

        code[j / 2] = (uint8_t)(code[j / 2] | c << (4 * (j % 2)));
    }
    if (pq->ratio_at) {
        memcpy(behind, block + pq->ratio_at + (size_t)2 * lane, 2);
    }
    if (pq->square_at) {
        memcpy(behind + 2, block + pq->square_at + (size_t)4 * lane, 4);
    }
}

/* ---- queries ------------------------------------------------------------- */

static size_t padded(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

static uint32_t groups_of(const struct vec_pq *pq)
{
    return (pq->m + 15) / 16;
}

size_t vec_pq_query_bytes(const struct vec_pq *pq)
{
    return padded(sizeof(struct vec_pq_query)) +
           (size_t)groups_of(pq) * 16 * VEC_PQ_POINTS +
           padded(sizeof(float) * VEC_PQ_POINTS * pq->m);
}

/* The least entry of each table goes into *base, the rest is rounded to steps
 * of which the widest table has as many as fit. */
static void round_tables(struct vec_pq_query *q, const float *tables)
{
    const uint32_t m = q->pq->m;
    const uint32_t room = UINT16_MAX / m;
    const float most = room < PQ_ENTRY_MAX ? (float)room : (float)PQ_ENTRY_MAX;
    float widest = 0;
    double base = 0;
    float per;
    size_t j, k;

    for (j = 0; j < m; j++) {
        const float *t = tables + j * VEC_PQ_POINTS;
        float least = t[0];
        float greatest = t[0];

        for (k = 1; k < VEC_PQ_POINTS; k++) {
            least = t[k] < least ? t[k] : least;
            greatest = t[k] > greatest ? t[k] : greatest;
        }
        base += (double)least;
        widest = greatest - least > widest ? greatest - least : widest;
    }
    q->base = (float)base;
    q->step = widest / most;
    per = widest > 0 && q->step > 0 ? most / widest : 0;
    for (j = 0; j < m; j++) {
        const float *t = tables + j * VEC_PQ_POINTS;
        uint8_t *to = q->tables + j * VEC_PQ_POINTS;
        float least = t[0];

        for (k = 1; k < VEC_PQ_POINTS; k++) {
            least = t[k] < least ? t[k] : least;
        }
        for (k = 0; k < VEC_PQ_POINTS; k++) {
            float entry = (t[k] - least) * per + 0.5f;

            to[k] = (uint8_t)(entry < most ? entry : most);
        }
    }
    memset(q->tables + (size_t)m * VEC_PQ_POINTS, 0,
           ((size_t)q->groups * 16 - m) * VEC_PQ_POINTS);
}

struct vec_pq_query *vec_pq_query_init(const struct vec_pq *pq, const float *x,
                                       void *memory)
{
    const enum vec_op op = pq->metric == VEC_L1 ? VEC_OP_L1 : VEC_OP_DOT;
    const float times = pq->metric == VEC_L1   ? 1.0f
                        : pq->metric == VEC_L2 ? -2.0f
                                               : -1.0f;
    struct vec_pq_query *q = memory;
    float *tables;
    size_t i;

    ASSERT((uintptr_t)memory % VEC_ALIGN == 0);
    q->pq = pq;
    q->groups = groups_of(pq);
    tables =
        (float *)(void *)(q->tables + (size_t)q->groups * 16 * VEC_PQ_POINTS);
    vec_in_use->pq->table(op, x, pq->points, pq->m, pq->part, tables);
    for (i = 0; times != 1.0f && i < (size_t)pq->m * VEC_PQ_POINTS; i++) {
        tables[i] *= times;
    }
    round_tables(q, tables);
    q->add = pq->metric == VEC_COSINE ? 1.0f
             : pq->metric == VEC_L2   ? (float)dot(x, x, pq->dim)
                                      : 0.0f;
    if (pq->ratio_at) {
        q->step /= PQ_RATIO_ONE;
        q->base /= PQ_RATIO_ONE;
    }
    return q;
}

void vec_pq_scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys)
{
    vec_in_use->pq->scan(q, blocks, n, limit, below, keys);
}
