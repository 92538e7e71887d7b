/* Which centroids are near.
 *
 * Rows are made queries some hundred at a time. Each group's blocks then meet,
 * while they are in the first cache, all of those that want the group. What
 * queries have kept in the end are the nearest of sixteenths of the centroids:
 * those that codes cannot tell from the least are compared in float32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "index/ivf/centroids_impl.h"
#include "index/topk.h"

enum {
    AHEAD = 16,
    BATCH_BYTES = 128 * 1024,
    BATCH_MIN = 64,
    VISITS = 12,     /* groups whose members a vector meets */
    PROBE_SPARE = 6, /* lists scored for each one probed, */
    PROBE_LEAST = 256,
    L1_SPARE = 2, /* lists compared by L1 for each one probed */
};

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

/* ---- batches ------------------------------------------------------------- */

uint32_t ivf_batch_size(uint32_t dim)
{
    const size_t n = BATCH_BYTES / vec_near_query_bytes(dim);

    if (n < BATCH_MIN) {
        return BATCH_MIN;
    }
    return n < IVF_BATCH_MAX ? (uint32_t)n & ~(VEC_BATCH_MAX - 1u)
                             : (uint32_t)IVF_BATCH_MAX;
}

uint32_t ivf_nearest_of(const struct vec_near_query *q)
{
    uint32_t i, best = 0;

    for (i = 1; i < VEC_NEAR_LANES; i++) {
        if (q->keys[i] < q->keys[best] ||
            (q->keys[i] == q->keys[best] && q->at[i] < q->at[best])) {
            best = i;
        }
    }
    return q->at[best];
}

/* Chooses groups for up to sixteen of the vectors. */
static void choose(const struct ivf_groups *g, uint32_t first, uint32_t nq,
                   struct ivf_scratch *s)
{
    const uint32_t n_blocks = (g->n + VEC_NEAR_LANES - 1) / VEC_NEAR_LANES;
    uint32_t chosen[VISITS], n, i, j;

    vec_near_keys(s->queries + first, nq, g->dim, g->heads, n_blocks, s->keys,
                  IVF_GROUPS_MAX);
    for (i = 0; i < nq; i++) {
        n = ivf_groups_choose(g, s->keys + i * IVF_GROUPS_MAX, VISITS, chosen);
        for (j = 0; j < n; j++) {
            s->wanted[chosen[j]][(first + i) / 64] |= (uint64_t)1
                                                      << ((first + i) % 64);
        }
    }
}

/* One group for all who want it. */
static void scan_group(const struct ivf_groups *g, uint32_t group,
                       struct ivf_scratch *s)
{
    struct vec_near_query *queries[IVF_BATCH_MAX];
    const uint32_t from = g->start[group];
    size_t nq = 0;
    uint32_t word;

    for (word = 0; word < IVF_BATCH_MAX / 64; word++) {
        uint64_t left = s->wanted[group][word];

        for (; left; left &= left - 1) {
            queries[nq++] =
                s->queries[word * 64 + (uint32_t)__builtin_ctzll(left)];
        }
    }
    vec_near_scan(queries, nq, g->dim,
                  g->blocks + from * vec_near_block_bytes(g->dim),
                  g->start[group + 1] - from, from * VEC_NEAR_LANES);
}

void ivf_batch_scan(const struct ivf_groups *g, struct ivf_scratch *s)
{
    const uint32_t n = s->n;
    uint32_t i;

    if (g->n == 1) {
        vec_near_scan(s->queries, n, g->dim, g->blocks, g->start[1], 0);
        return;
    }
    memset(s->wanted, 0, g->n * sizeof(s->wanted[0]));
    for (i = 0; i < n; i += VEC_BATCH_MAX) {
        choose(g, i, n - i < VEC_BATCH_MAX ? n - i : (uint32_t)VEC_BATCH_MAX,
               s);
    }
    for (i = 0; i < g->n; i++) {
        scan_group(g, i, s);
    }
}

/* ---- vectors as queries -------------------------------------------------- */

/* Memory of a scratch while vectors are asked about. */
struct asking {
    float *straight; /* [size][dim], padded */
    size_t straight_step;
    float *room;     /* dim */
    uint8_t *memory; /* of the queries */
    size_t query_bytes;
    uint8_t *code;
    void *more; /* `extra` bytes for whoever asks */
};

static size_t aligned(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

static void asking_init(struct asking *a, const struct ivf_centroids *c,
                        size_t size, size_t extra, struct ivf_scratch *s)
{
    const size_t vector = aligned(c->dim * sizeof(float));
    const size_t code = aligned(c->coded.row_bytes);
    uint8_t *at;

    a->query_bytes = aligned(vec_near_query_bytes(c->dim));
    at = ivf_scratch_room(s, (size + 1) * vector + code +
                                 size * a->query_bytes + extra);
    a->memory = at;
    at += size * a->query_bytes;
    a->code = at;
    at += code;
    a->straight = (float *)(void *)at;
    a->straight_step = vector / sizeof(float);
    at += size * vector;
    a->room = (float *)(void *)at;
    a->more = at + vector;
}

static float *straight_at(const struct asking *a, size_t i)
{
    return a->straight + i * a->straight_step;
}

/* Makes vector i of the straightened ones a query; says how far keys of it may
 * be off. */
static float ask(struct asking *a, const struct ivf_centroids *c, size_t i,
                 struct ivf_scratch *s)
{
    struct vec_near_query *q =
        (struct vec_near_query *)(void *)(a->memory + i * a->query_bytes);
    struct vec_near_vector v;

    ivf_encode(&c->coded, straight_at(a, i), c->centre, a->room, a->code);
    v = ivf_vector(&c->coded, a->code);
    vec_near_query_init(q, c->dim, &v);
    s->queries[i] = q;
    return SURE * 2 / sqrtf(12.0f) *
           hypotf(sqrtf(q->square) * c->grain, c->reach * v.grain);
}

/* ---- rows ---------------------------------------------------------------- */

/* Of those that are close by their codes, the nearest: all lanes are asked
 * where codes measure something else. */
static uint32_t decide(const struct ivf_centroids *c,
                       const struct vec_near_query *q, float slack,
                       const float *x, float *key)
{
    uint32_t i, n = 0, best = c->groups.ids[ivf_nearest_of(q)];
    float limit = INFINITY, least = INFINITY;

    for (i = 0; i < VEC_NEAR_LANES; i++) {
        limit = q->keys[i] + slack < limit ? q->keys[i] + slack : limit;
    }
    for (i = 0; i < VEC_NEAR_LANES; i++) {
        n += q->keys[i] <= limit;
    }
    for (i = 0; i < VEC_NEAR_LANES && (n > 1 || key); i++) {
        const uint32_t list = c->groups.ids[q->at[i]];
        float d;

        if (q->keys[i] > limit || q->keys[i] == INFINITY) {
            continue;
        }
        d = ivf_distance(c->metric, x, c->rows + (size_t)list * c->dim, c->dim);
        if (d < least || (d == least && list < best)) {
            least = d;
            best = list;
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
    float slack[IVF_BATCH_MAX];
    size_t i;

    for (i = 0; i < n; i++) {
        slack[i] = ask(a, c, i, s);
        slack[i] = c->metric == VEC_L1 ? INFINITY : slack[i];
    }
    s->n = (uint32_t)n;
    ivf_batch_scan(&c->groups, s);
    for (i = 0; i < n; i++) {
        lists[i] = decide(c, s->queries[i], slack[i], straight_at(a, i),
                          keys ? keys + i : NULL);
    }
}

void ivf_assign(const struct ivf_centroids *c, const float *x, size_t n,
                uint32_t *lists, float *keys, struct ivf_scratch *s)
{
    const size_t size = ivf_batch_size(c->dim);
    struct asking a;
    size_t i, j, some;

    asking_init(&a, c, size < n ? size : n, 0, s);
    for (i = 0; i < n; i += some) {
        some = n - i < size ? n - i : size;
        for (j = 0; j < some; j++) {
            ivf_straighten(c->metric, x + (i + j) * c->dim, c->dim,
                           straight_at(&a, j));
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
    const size_t size = ivf_batch_size(c->dim);
    struct asking a;
    size_t i, j, some;

    asking_init(&a, c, size < n ? size : n, 0, s);
    for (i = 0; i < n; i += some) {
        some = n - i < size ? n - i : size;
        for (j = 0; j < some; j++) {
            float *x = straight_at(&a, j);

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

/* Lists that have been scored: their keys, by blocks. */
struct scored {
    float *keys;
    uint32_t *blocks; /* which they are; NULL: as they lie */
    uint32_t n_blocks;
};

/* The n least of them, in order. */
static void take_least(const struct ivf_groups *g, const struct scored *scored,
                       uint32_t n, uint64_t *heap)
{
    enum { TILE = 16 * VEC_NEAR_LANES };
    const uint32_t n_keys = scored->n_blocks * VEC_NEAR_LANES;
    struct topk top;
    uint32_t at[TILE], i, tile;
    size_t j, found;

    topk_init(&top, heap, n);
    for (i = 0; i < n_keys; i += tile) {
        tile = n_keys - i < TILE ? n_keys - i : (uint32_t)TILE;
        found = vec_select(scored->keys + i, tile, topk_limit(&top), at);
        for (j = 0; j < found; j++) {
            const uint32_t k = i + at[j];
            const uint32_t block = k / VEC_NEAR_LANES;
            const uint32_t list =
                g->ids[(scored->blocks ? scored->blocks[block] : block) *
                           VEC_NEAR_LANES +
                       k % VEC_NEAR_LANES];
            const uint64_t entry = topk_entry(scored->keys[k], list);

            if (list != IVF_LIST_NONE && topk_wants(&top, entry)) {
                topk_push(&top, entry);
            }
        }
    }
    topk_sort(&top);
}

/* Lists of a group: all places but those its last block leaves over. */
static uint32_t lists_of_group(const struct ivf_groups *g, uint32_t group)
{
    const uint32_t end = g->start[group + 1] * VEC_NEAR_LANES;
    uint32_t over = 0;

    while (g->ids[end - 1 - over] == IVF_LIST_NONE) {
        over++;
    }
    return end - over - g->start[group] * VEC_NEAR_LANES;
}

/* Scores the members of the groups nearest to a query, whose heads have these
 * keys, until there are enough. */
static void score_groups(const struct ivf_groups *g, struct vec_near_query *q,
                         const float *head_keys, uint32_t want,
                         struct scored *scored)
{
    const size_t bytes = vec_near_block_bytes(g->dim);
    uint32_t chosen[IVF_GROUPS_MAX], n, i, j, n_lists = 0;

    scored->n_blocks = 0;
    n = ivf_groups_choose(g, head_keys, g->n, chosen);
    for (i = 0; i < n && (i < VISITS || n_lists < want); i++) {
        const uint32_t from = g->start[chosen[i]];
        const uint32_t size = g->start[chosen[i] + 1] - from;

        vec_near_keys(&q, 1, g->dim, g->blocks + from * bytes, size,
                      scored->keys + scored->n_blocks * VEC_NEAR_LANES, 0);
        for (j = 0; j < size; j++) {
            scored->blocks[scored->n_blocks++] = from + j;
        }
        n_lists += lists_of_group(g, chosen[i]);
    }
}

static int compare_entries(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* L1 sets: what codes found nearest by L2, in its true order. */
static void order_by_l1(const struct ivf_centroids *c, const float *x,
                        uint64_t *heap, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        const uint32_t list = topk_entry_slot(heap[i]);

        heap[i] = topk_entry(
            ivf_distance(c->metric, x, c->rows + (size_t)list * c->dim, c->dim),
            list);
    }
    qsort(heap, n, sizeof(*heap), compare_entries);
}

uint32_t ivf_probe_many(const struct ivf_centroids *c,
                        const float *const *queries, size_t nq,
                        uint32_t n_probe, struct ivf_near *out,
                        struct ivf_scratch *s)
{
    const struct ivf_groups *g = &c->groups;
    const uint32_t n = n_probe < c->n ? n_probe : c->n;
    const bool by_l1 = c->metric == VEC_L1;
    const uint32_t most = by_l1 && n < c->n / L1_SPARE ? n * L1_SPARE
                          : by_l1                      ? c->n
                                                       : n;
    const uint64_t want = (uint64_t)most * PROBE_SPARE;
    const bool all = g->n == 1 || want + PROBE_LEAST >= c->n;
    const size_t n_blocks = g->start[g->n];
    const size_t stride = n_blocks * VEC_NEAR_LANES;
    struct scored scored;
    struct asking a;
    uint64_t *heap;
    uint32_t i;
    size_t j;

    if (n == 0 || nq == 0) {
        return 0;
    }
    asking_init(&a, c, nq,
                (all ? nq : 1) * stride * sizeof(float) +
                    (most + 1) * sizeof(uint64_t) + n_blocks * sizeof(uint32_t),
                s);
    heap = a.more;
    scored.keys = (float *)(void *)(heap + most + 1);
    scored.blocks = all ? NULL : (uint32_t *)(void *)(scored.keys + stride);
    scored.n_blocks = (uint32_t)n_blocks;
    for (j = 0; j < nq; j++) {
        ivf_straighten(c->metric, queries[j], c->dim, straight_at(&a, j));
        ask(&a, c, j, s);
    }
    if (all) {
        vec_near_keys(s->queries, nq, g->dim, g->blocks, n_blocks, scored.keys,
                      stride);
    } else {
        vec_near_keys(s->queries, nq, g->dim, g->heads,
                      (g->n + VEC_NEAR_LANES - 1) / VEC_NEAR_LANES, s->keys,
                      IVF_GROUPS_MAX);
    }
    for (j = 0; j < nq; j++) {
        struct ivf_near *answer = out + j * n_probe;
        const float square = by_l1 ? 0 : s->queries[j]->square;

        if (!all) {
            score_groups(g, s->queries[j], s->keys + j * IVF_GROUPS_MAX,
                         (uint32_t)want, &scored);
        }
        take_least(g, &scored, most, heap);
        if (by_l1) {
            order_by_l1(c, straight_at(&a, j), heap, most);
        }
        for (i = 0; i < n; i++) {
            answer[i].list = topk_entry_slot(heap[i]);
            answer[i].key = topk_entry_key(heap[i]) + square;
        }
        if (all) {
            scored.keys += stride;
        }
    }
    return n;
}

uint32_t ivf_probe(const struct ivf_centroids *c, const float *query,
                   uint32_t n_probe, struct ivf_near *out,
                   struct ivf_scratch *s)
{
    return ivf_probe_many(c, &query, 1, n_probe, out, s);
}
