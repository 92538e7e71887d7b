/* Which centroids are near.
 *
 * Vectors are made queries sixteen at a time and meet the codes of all
 * centroids tile by tile, so that a tile's keys are looked at while they are in
 * the first cache. Looking begins with the least key of a tile, which costs a
 * quarter of an instruction per key; only a tile that has something near is
 * looked at more closely. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "index/ivf/centroids_impl.h"
#include "index/topk.h"

enum { LANES = 8, AHEAD = 16 };

/* How far codes may be off, in standard deviations of their rounding. */
#define SURE 2.5f

/* ---- scratch ------------------------------------------------------------- */

struct ivf_scratch *ivf_scratch_create(void)
{
    struct ivf_scratch *s = mem_alloc(sizeof(*s));

    s->memory = NULL;
    s->size = 0;
    return s;
}

void ivf_scratch_destroy(struct ivf_scratch *s)
{
    if (s) {
        mem_free(s->memory);
        mem_free(s);
    }
}

void *ivf_scratch_room(struct ivf_scratch *s, size_t size)
{
    if (s->size < size) {
        size += size / 4;
        mem_free(s->memory);
        s->memory = mem_calloc_aligned(size, VEC_ALIGN);
        s->size = size;
    }
    return s->memory;
}

/* ---- the nearest of many codes ------------------------------------------- */

void ivf_close_init(struct ivf_close *c, float slack)
{
    c->least = INFINITY;
    c->slack = slack;
    c->n = 0;
}

static void prune(struct ivf_close *c)
{
    const float limit = c->least + c->slack;
    uint32_t i, n = 0;

    for (i = 0; i < c->n; i++) {
        if (c->keys[i] <= limit) {
            c->keys[n] = c->keys[i];
            c->at[n++] = c->at[i];
        }
    }
    c->n = n;
}

uint32_t ivf_close_first(const struct ivf_close *c)
{
    uint32_t i;

    for (i = 0; i < c->n; i++) {
        if (c->keys[i] <= c->least) {
            return c->at[i];
        }
    }
    return 0; /* every key was infinite */
}

static float least_of(const float *keys, uint32_t n)
{
    float lanes[LANES], least = INFINITY;
    uint32_t i, j;

    for (j = 0; j < LANES; j++) {
        lanes[j] = INFINITY;
    }
    for (i = 0; i + LANES <= n; i += LANES) {
        for (j = 0; j < LANES; j++) {
            lanes[j] = keys[i + j] < lanes[j] ? keys[i + j] : lanes[j];
        }
    }
    for (; i < n; i++) {
        least = keys[i] < least ? keys[i] : least;
    }
    for (j = 0; j < LANES; j++) {
        least = lanes[j] < least ? lanes[j] : least;
    }
    return least;
}

static void note_close(struct ivf_close *c, const float *keys, uint32_t first,
                       uint32_t n, uint32_t *at)
{
    float least = least_of(keys, n);
    size_t i, found;

    if (least > c->least + c->slack || least == INFINITY) {
        return;
    }
    c->least = least < c->least ? least : c->least;
    found = vec_select(keys, n, c->least + c->slack, at);
    for (i = 0; i < found; i++) {
        if (c->n == IVF_CLOSE_MAX) {
            prune(c);
        }
        /* With so many as close as that, the least at least gets in. */
        if (c->n == IVF_CLOSE_MAX && keys[at[i]] <= c->least) {
            c->n--;
        }
        if (c->n < IVF_CLOSE_MAX) {
            c->keys[c->n] = keys[at[i]];
            c->at[c->n++] = first + at[i];
        }
    }
}

void ivf_scan_close(const struct vec_query *const *q, size_t nq,
                    const struct vec_format *f, const uint8_t *codes,
                    uint32_t first, uint32_t n, const float *bias,
                    struct ivf_close *close, struct ivf_scratch *s)
{
    const size_t stride = f->row_bytes;
    uint32_t i, j, tile;
    size_t k;

    for (i = 0; i < n; i += tile) {
        tile = n - i < IVF_TILE ? n - i : IVF_TILE;
        vec_scan_many(q, nq, codes + i * stride, tile, s->keys, IVF_TILE);
        for (k = 0; k < nq; k++) {
            float *keys = s->keys + k * IVF_TILE;

            for (j = 0; bias && j < tile; j++) {
                keys[j] += bias[i + j];
            }
            note_close(&close[k], keys, first + i, tile, s->at);
        }
    }
}

/* ---- vectors as queries -------------------------------------------------- */

/* Up to sixteen of them, in the memory of a scratch. */
struct asking {
    struct vec_query *queries[VEC_BATCH_MAX];
    float *straight; /* [VEC_BATCH_MAX][dim] */
    float *room;     /* dim */
    uint8_t *codes;  /* [VEC_BATCH_MAX] */
    uint8_t *memory; /* of the queries */
    size_t query_bytes;
    void *more; /* `extra` bytes for whoever asks */
};

static size_t aligned(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

static void asking_init(struct asking *a, const struct ivf_centroids *c,
                        size_t extra, struct ivf_scratch *s)
{
    const size_t vector = aligned(c->dim * sizeof(float));
    const size_t row = aligned(c->coded.row_bytes);
    uint8_t *at;

    a->query_bytes = aligned(vec_query_bytes(&c->coded));
    at =
        ivf_scratch_room(s, (VEC_BATCH_MAX + 1) * vector +
                                VEC_BATCH_MAX * (row + a->query_bytes) + extra);
    a->memory = at;
    at += VEC_BATCH_MAX * a->query_bytes;
    a->codes = at;
    at += VEC_BATCH_MAX * row;
    a->straight = (float *)(void *)at;
    at += VEC_BATCH_MAX * vector;
    a->room = (float *)(void *)at;
    a->more = at + vector;
}

static float *straight_at(const struct asking *a, const struct ivf_centroids *c,
                          size_t i)
{
    return a->straight + i * (aligned(c->dim * sizeof(float)) / sizeof(float));
}

/* Makes vector i of the straightened ones a query; says how far keys of it may
 * be off. */
static float ask(struct asking *a, const struct ivf_centroids *c, size_t i)
{
    uint8_t *row = a->codes + i * aligned(c->coded.row_bytes);
    float norm, grain;

    ivf_encode(&c->coded, straight_at(a, c, i), c->centre, a->room, row);
    a->queries[i] =
        vec_query_from_row(&c->coded, row, a->memory + i * a->query_bytes);
    norm = vec_norm(&c->coded, row);
    grain = vec_range(&c->coded, row) / 127;
    if (c->metric == VEC_L1) {
        return SURE * sqrtf((float)c->dim / 12) * hypotf(grain, c->grain);
    }
    return SURE * 2 / sqrtf(12.0f) * hypotf(norm * c->grain, c->reach * grain);
}

/* ---- rows ---------------------------------------------------------------- */

/* Of those that are close by their codes, the nearest. */
static uint32_t decide(const struct ivf_centroids *c,
                       const struct ivf_close *close, const float *x,
                       float *key)
{
    uint32_t i, best = 0;
    float least = INFINITY;

    if (close->n == 1 && !key) {
        return close->at[0];
    }
    for (i = 0; i < close->n; i++) {
        float d;

        if (close->keys[i] > close->least + close->slack) {
            continue;
        }
        d = ivf_distance(c->metric, x, c->rows + (size_t)close->at[i] * c->dim,
                         c->dim);
        if (d < least || (d == least && close->at[i] < best)) {
            least = d;
            best = close->at[i];
        }
    }
    if (key) {
        *key = least;
    }
    return best;
}

/* The first n straightened vectors. */
static void assign_some(struct asking *a, const struct ivf_centroids *c,
                        size_t n, uint32_t *lists, float *keys,
                        struct ivf_scratch *s)
{
    struct ivf_close close[VEC_BATCH_MAX];
    size_t i;

    for (i = 0; i < n; i++) {
        ivf_close_init(&close[i], ask(a, c, i));
    }
    ivf_scan_close((const struct vec_query *const *)a->queries, n, &c->coded,
                   c->codes, 0, c->n, NULL, close, s);
    for (i = 0; i < n; i++) {
        lists[i] =
            decide(c, &close[i], straight_at(a, c, i), keys ? keys + i : NULL);
    }
}

void ivf_assign(const struct ivf_centroids *c, const float *x, size_t n,
                uint32_t *lists, float *keys, struct ivf_scratch *s)
{
    struct asking a;
    size_t i, j, some;

    asking_init(&a, c, 0, s);
    for (i = 0; i < n; i += some) {
        some = n - i < VEC_BATCH_MAX ? n - i : VEC_BATCH_MAX;
        for (j = 0; j < some; j++) {
            ivf_straighten(c->metric, x + (i + j) * c->dim, c->dim,
                           straight_at(&a, c, j));
        }
        assign_some(&a, c, some, lists + i, keys ? keys + i : NULL, s);
    }
}

static void fetch(const struct vec_format *f, const uint8_t *row)
{
    uint32_t i;

    for (i = 0; i < f->row_bytes; i += CACHE_LINE) {
        __builtin_prefetch(row + i);
    }
}

void ivf_assign_rows(const struct ivf_centroids *c,
                     const struct vec_format *stored,
                     const uint8_t *const *rows, size_t n, uint32_t *lists,
                     float *keys, struct ivf_scratch *s)
{
    struct asking a;
    size_t i, j, some;

    asking_init(&a, c, 0, s);
    for (i = 0; i < n; i += some) {
        some = n - i < VEC_BATCH_MAX ? n - i : VEC_BATCH_MAX;
        for (j = 0; j < some; j++) {
            float *x = straight_at(&a, c, j);

            if (i + j + AHEAD < n) {
                fetch(stored, rows[i + j + AHEAD]);
            }
            vec_decode_unit(stored, rows[i + j], x);
            ivf_straighten(c->metric, x, c->dim, x);
        }
        assign_some(&a, c, some, lists + i, keys ? keys + i : NULL, s);
    }
}

float ivf_key(const struct ivf_centroids *c, uint32_t list, const float *x)
{
    float *straight = mem_alloc(c->dim * sizeof(*straight));
    float key;

    ivf_straighten(c->metric, x, c->dim, straight);
    key = ivf_distance(c->metric, straight, c->rows + (size_t)list * c->dim,
                       c->dim);
    mem_free(straight);
    return key;
}

/* ---- queries ------------------------------------------------------------- */

static void nearest(const float *keys, uint32_t n, uint32_t n_probe,
                    uint64_t *heap, struct ivf_near *out, uint32_t *at)
{
    struct topk top;
    uint32_t i, tile;
    size_t j, found;

    topk_init(&top, heap, n_probe);
    for (i = 0; i < n; i += tile) {
        tile = n - i < IVF_TILE ? n - i : IVF_TILE;
        found = vec_select(keys + i, tile, topk_limit(&top), at);
        for (j = 0; j < found; j++) {
            uint64_t entry = topk_entry(keys[i + at[j]], i + at[j]);

            if (topk_wants(&top, entry)) {
                topk_push(&top, entry);
            }
        }
    }
    topk_sort(&top);
    for (i = 0; i < n_probe; i++) {
        out[i].list = topk_entry_slot(heap[i]);
        out[i].key = topk_entry_key(heap[i]);
    }
}

uint32_t ivf_probe_many(const struct ivf_centroids *c,
                        const float *const *queries, size_t nq,
                        uint32_t n_probe, struct ivf_near *out,
                        struct ivf_scratch *s)
{
    const size_t stride = aligned(c->n * sizeof(float)) / sizeof(float);
    const uint32_t n = n_probe < c->n ? n_probe : c->n;
    struct asking a;
    uint64_t *heap;
    float *keys;
    size_t j;

    asking_init(&a, c, nq * stride * sizeof(float) + (n + 1) * sizeof(uint64_t),
                s);
    keys = a.more;
    heap = (uint64_t *)(void *)(keys + nq * stride);
    for (j = 0; j < nq; j++) {
        ivf_straighten(c->metric, queries[j], c->dim, straight_at(&a, c, j));
        ask(&a, c, j);
    }
    vec_scan_many((const struct vec_query *const *)a.queries, nq, c->codes,
                  c->n, keys, stride);
    for (j = 0; j < nq && n > 0; j++) {
        nearest(keys + j * stride, c->n, n, heap, out + j * n_probe, s->at);
    }
    return n;
}

uint32_t ivf_probe(const struct ivf_centroids *c, const float *query,
                   uint32_t n_probe, struct ivf_near *out,
                   struct ivf_scratch *s)
{
    return ivf_probe_many(c, &query, 1, n_probe, out, s);
}
