/* Segments of buckets: see buckets.h. */
#include "db/tail/buckets.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "db/tail/buckets_impl.h"

enum {
    TILE_ROWS = 128,   /* their keys of a batch of centroids fit the L1 */
    CODES_ROWS = 512,  /* of one unit */
    MERGE_BUCKETS = 64 /* of one unit */
};

/* ---- rows ---------------------------------------------------------------- */

size_t buckets_rows_bytes(const struct vec_format *codes, size_t n)
{
    return n * codes->row_bytes + codes->overread;
}

void buckets_read_rows(const struct bucket_formats *f, const uint32_t *list,
                       uint32_t first, uint32_t n, uint8_t *out)
{
    const struct vec_format *codes = f->codes;
    bool same = codes->type == f->stored->type;
    uint8_t *row = NULL;
    float *x = NULL;
    uint32_t i;

    if (!same) {
        row = mem_alloc(f->stored->row_bytes + f->stored->overread);
        x = mem_alloc(codes->dim * sizeof(*x));
    }
    for (i = 0; i < n; i++, out += codes->row_bytes) {
        const uint8_t *at = row_map_at(&f->rows, list ? list[i] : first + i);

        if (same) {
            vec_copy_row(codes, at, out);
            continue;
        }
        vec_copy_row(f->stored, at, row);
        vec_decode_unit(f->stored, row, x);
        if (vec_encode(codes, x, out) != ERR_OK) {
            memset(out, 0, codes->row_bytes); /* it was being written */
        }
    }
    mem_free(row);
    mem_free(x);
}

static void nearest_of_tile(const struct bucket_centroids *c,
                            const uint8_t *rows, uint32_t n, float *keys,
                            uint16_t *out)
{
    float best[TILE_ROWS];
    uint32_t at[TILE_ROWS];
    uint32_t first, i, j;

    for (i = 0; i < n; i++) {
        best[i] = INFINITY;
        at[i] = 0;
    }
    for (first = 0; first < c->n; first += VEC_BATCH_MAX) {
        const struct vec_query *queries[VEC_BATCH_MAX];
        uint32_t n_queries =
            c->n - first < VEC_BATCH_MAX ? c->n - first : VEC_BATCH_MAX;

        for (j = 0; j < n_queries; j++) {
            queries[j] = buckets_query(c, first + j);
        }
        vec_scan_many(queries, n_queries, rows, n, keys, TILE_ROWS);
        for (j = 0; j < n_queries; j++) {
            const float *of = keys + (size_t)j * TILE_ROWS;

            for (i = 0; i < n; i++) {
                bool nearer = of[i] < best[i];

                best[i] = nearer ? of[i] : best[i];
                at[i] = nearer ? first + j : at[i];
            }
        }
    }
    for (i = 0; i < n; i++) {
        out[i] = (uint16_t)at[i];
    }
}

void buckets_nearest(const struct bucket_centroids *c, const uint8_t *rows,
                     uint32_t n, uint16_t *out)
{
    float *keys = mem_alloc(sizeof(float) * TILE_ROWS * VEC_BATCH_MAX);
    uint32_t done;

    for (done = 0; done < n; done += TILE_ROWS) {
        nearest_of_tile(c, rows + (size_t)done * c->codes->row_bytes,
                        n - done < TILE_ROWS ? n - done : TILE_ROWS, keys,
                        out + done);
    }
    mem_free(keys);
}

/* ---- segments ------------------------------------------------------------ */

static size_t segment_bytes(const struct bucket_centroids *c, uint32_t n)
{
    return sizeof(struct bucket_segment) +
           ((size_t)n + c->n + 1) * sizeof(uint32_t);
}

size_t buckets_assign_cost(const struct bucket_centroids *c, uint32_t n)
{
    return segment_bytes(c, n) + buckets_rows_bytes(c->codes, n);
}

static struct bucket_segment *
segment_create(struct region *r, struct bucket_centroids *c, uint32_t n)
{
    size_t bytes = segment_bytes(c, n);
    size_t codes_bytes = buckets_rows_bytes(c->codes, n);
    struct bucket_segment *s = region_alloc(r, bytes, 1);
    uint8_t *codes = region_alloc(r, codes_bytes, CACHE_LINE);

    if (!s || !codes) {
        region_free(r, s, bytes, 1);
        region_free(r, codes, codes_bytes, CACHE_LINE);
        return NULL;
    }
    *s = (struct bucket_segment){.region = r,
                                 .bytes = bytes,
                                 .centroids = c,
                                 .n = n,
                                 .cap = n,
                                 .starts = s->slots + n,
                                 .codes = codes};
    c->uses++;
    return s;
}

void buckets_segment_free(struct bucket_segment *s)
{
    region_free(s->region, s->codes,
                buckets_rows_bytes(s->centroids->codes, s->cap), CACHE_LINE);
    buckets_centroids_release(s->centroids);
    region_free(s->region, s, s->bytes, 1);
}

uint32_t buckets_entries_from(const struct bucket_segment *s, uint32_t bucket,
                              uint32_t from, uint32_t *end)
{
    uint32_t at = s->starts[bucket], to = s->starts[bucket + 1];

    *end = to;
    while (from > s->from && !s->late && at < to) {
        uint32_t middle = at + (to - at) / 2;

        if (s->slots[middle] < from) {
            at = middle + 1;
        } else {
            to = middle;
        }
    }
    return at;
}

/* ---- work ---------------------------------------------------------------- */

enum phase {
    PHASE_NEAREST, /* assigning: the bucket of each row */
    PHASE_SORT,    /* rows by bucket */
    PHASE_CODES,
    PHASE_COUNT, /* merging */
    PHASE_COPY,
    PHASE_DONE,
};

struct bucket_work {
    struct bucket_segment *out;
    enum phase phase;
    /* assigning */
    struct bucket_formats formats;
    uint32_t *list;
    uint16_t *at; /* bucket of each row */
    /* merging */
    uint32_t from;
    uint32_t n_parts;
    struct bucket_segment *const *parts; /* a copy, behind the struct */
};

struct bucket_work *buckets_assign_begin(const struct bucket_assignment *a)
{
    uint32_t n = (uint32_t)(a->to - a->from);
    struct bucket_work *w = mem_try_alloc(sizeof(*w));

    if (!w) {
        return NULL;
    }
    *w = (struct bucket_work){
        .out = segment_create(a->region, a->centroids, n),
        .phase = PHASE_NEAREST,
        .formats = *a->formats,
        .list = a->list ? mem_try_alloc(n * sizeof(*w->list) + 1) : NULL,
        .at = mem_try_alloc(n * sizeof(*w->at) + 1),
    };
    if (!w->out || !w->at || (a->list && !w->list)) {
        buckets_work_abandon(w);
        return NULL;
    }
    w->out->late = a->late;
    w->out->from = a->from;
    w->out->to = a->to;
    if (a->list) {
        memcpy(w->list, a->list, n * sizeof(*w->list));
    }
    return w;
}

static void nearest_unit(struct bucket_work *w, uint32_t unit)
{
    const struct bucket_centroids *c = w->out->centroids;
    uint32_t rows = buckets_unit_rows(c);
    uint32_t first = unit * rows;
    uint32_t n = w->out->n - first < rows ? w->out->n - first : rows;
    uint8_t *copy = mem_alloc(buckets_rows_bytes(c->codes, n));

    buckets_read_rows(&w->formats, w->list ? w->list + first : NULL,
                      (uint32_t)w->out->from + first, n, copy);
    buckets_nearest(c, copy, n, w->at + first);
    mem_free(copy);
}

static void sort_unit(struct bucket_work *w)
{
    struct bucket_segment *s = w->out;
    uint32_t n_buckets = s->centroids->n;
    uint32_t i, sum = 0;

    memset(s->starts, 0, (n_buckets + 1) * sizeof(*s->starts));
    for (i = 0; i < s->n; i++) {
        s->starts[w->at[i]]++;
    }
    for (i = 0; i < n_buckets; i++) {
        uint32_t count = s->starts[i];

        s->starts[i] = sum;
        sum += count;
    }
    for (i = 0; i < s->n; i++) {
        uint32_t slot = w->list ? w->list[i] : (uint32_t)s->from + i;

        s->slots[s->starts[w->at[i]]++] = slot;
    }
    /* Each now says where the next begins. */
    memmove(s->starts + 1, s->starts, n_buckets * sizeof(*s->starts));
    s->starts[0] = 0;
}

struct bucket_work *buckets_merge_begin(struct bucket_segment *const *segments,
                                        uint32_t n, uint32_t from)
{
    struct bucket_segment *first = segments[0], *last = segments[n - 1];
    struct bucket_work *w =
        mem_try_alloc(sizeof(*w) + n * sizeof(struct bucket_segment *));
    uint32_t rows = 0, i;

    if (!w) {
        return NULL;
    }
    for (i = 0; i < n; i++) {
        rows += segments[i]->n;
    }
    memcpy(w + 1, segments, n * sizeof(struct bucket_segment *));
    *w = (struct bucket_work){
        .out = segment_create(first->region, first->centroids, rows),
        .phase = PHASE_COUNT,
        .from = first->late ? 0 : from,
        .n_parts = n,
        .parts = (struct bucket_segment *const *)(void *)(w + 1),
    };
    if (!w->out) {
        buckets_work_abandon(w);
        return NULL;
    }
    w->out->late = first->late;
    w->out->from = first->from;
    w->out->to = last->to;
    return w;
}

static void count_unit(struct bucket_work *w)
{
    struct bucket_segment *s = w->out;
    uint32_t sum = 0, i, j, end;

    for (i = 0; i < s->centroids->n; i++) {
        s->starts[i] = sum;
        for (j = 0; j < w->n_parts; j++) {
            sum -= buckets_entries_from(w->parts[j], i, w->from, &end);
            sum += end;
        }
    }
    s->starts[i] = sum;
}

static void copy_unit(struct bucket_work *w, uint32_t unit)
{
    struct bucket_segment *s = w->out;
    size_t row_bytes = s->centroids->codes->row_bytes;
    uint32_t bucket = unit * MERGE_BUCKETS;
    uint32_t last = bucket + MERGE_BUCKETS;
    uint32_t to, end, j;

    for (; bucket < last && bucket < s->centroids->n; bucket++) {
        to = s->starts[bucket];
        for (j = 0; j < w->n_parts; j++) {
            const struct bucket_segment *part = w->parts[j];
            uint32_t at = buckets_entries_from(part, bucket, w->from, &end);

            memcpy(s->slots + to, part->slots + at,
                   (end - at) * sizeof(*s->slots));
            memcpy(s->codes + to * row_bytes, part->codes + at * row_bytes,
                   (end - at) * row_bytes);
            to += end - at;
        }
    }
}

static void codes_unit(struct bucket_work *w, uint32_t unit)
{
    struct bucket_segment *s = w->out;
    uint32_t first = unit * CODES_ROWS;
    uint32_t n = s->n - first < CODES_ROWS ? s->n - first : CODES_ROWS;

    buckets_read_rows(&w->formats, s->slots + first, 0, n,
                      s->codes +
                          (size_t)first * s->centroids->codes->row_bytes);
}

uint32_t buckets_work_units(const struct bucket_work *w)
{
    uint32_t rows;

    switch (w->phase) {
    case PHASE_NEAREST:
        rows = buckets_unit_rows(w->out->centroids);
        return (w->out->n + rows - 1) / rows;
    case PHASE_CODES:
        return (w->out->n + CODES_ROWS - 1) / CODES_ROWS;
    case PHASE_SORT:
    case PHASE_COUNT:
        return 1;
    case PHASE_COPY:
        return (w->out->centroids->n + MERGE_BUCKETS - 1) / MERGE_BUCKETS;
    case PHASE_DONE:
        break;
    }
    return 0;
}

void buckets_work_unit(struct bucket_work *w, uint32_t unit)
{
    switch (w->phase) {
    case PHASE_NEAREST:
        nearest_unit(w, unit);
        break;
    case PHASE_SORT:
        sort_unit(w);
        break;
    case PHASE_CODES:
        codes_unit(w, unit);
        break;
    case PHASE_COUNT:
        count_unit(w);
        break;
    case PHASE_COPY:
        copy_unit(w, unit);
        break;
    case PHASE_DONE:
        break;
    }
}

void buckets_work_next(struct bucket_work *w)
{
    static const enum phase next[] = {
        [PHASE_NEAREST] = PHASE_SORT, [PHASE_SORT] = PHASE_CODES,
        [PHASE_CODES] = PHASE_DONE,   [PHASE_COUNT] = PHASE_COPY,
        [PHASE_COPY] = PHASE_DONE,    [PHASE_DONE] = PHASE_DONE,
    };

    w->phase = next[w->phase];
}

struct bucket_segment *buckets_work_end(struct bucket_work *w)
{
    struct bucket_segment *s = w->out;

    s->n = s->starts[s->centroids->n];
    w->out = NULL;
    buckets_work_abandon(w);
    return s;
}

void buckets_work_abandon(struct bucket_work *w)
{
    if (w->out) {
        buckets_segment_free(w->out);
    }
    mem_free(w->list);
    mem_free(w->at);
    mem_free(w);
}

/* ---- directories --------------------------------------------------------- */

static size_t dir_bytes(uint32_t n)
{
    return sizeof(struct bucket_dir) + n * sizeof(struct bucket_segment *);
}

static void dir_reclaim(struct retired *r, void *arg)
{
    struct bucket_dir *d = CONTAINER_OF(r, struct bucket_dir, retired);

    (void)arg;
    region_free(d->region, d, dir_bytes(d->n), 1);
}

static void segment_reclaim(struct retired *r, void *arg)
{
    (void)arg;
    buckets_segment_free(CONTAINER_OF(r, struct bucket_segment, retired));
}

static bool comes_before(const struct bucket_segment *a,
                         const struct bucket_segment *b)
{
    return a->late != b->late ? !a->late : a->from < b->from;
}

/* What is kept, and what is new, in order. */
static void fill(struct bucket_dir *d, const struct bucket_dir *old,
                 bool (*keep)(const void *arg, const struct bucket_segment *s),
                 const void *arg, struct bucket_segment *added)
{
    uint32_t i, n = 0;

    for (i = 0; old && i < old->n; i++) {
        struct bucket_segment *s = old->segments[i];

        if (keep(arg, s)) {
            if (added && comes_before(added, s)) {
                d->segments[n++] = added;
                added = NULL;
            }
            d->segments[n++] = s;
        }
    }
    if (added) {
        d->segments[n] = added;
    }
}

enum err buckets_dir_change(
    struct bucket_dir *old, struct region *region, struct epoch *epoch,
    bool (*keep)(const void *arg, const struct bucket_segment *s),
    const void *arg, struct bucket_segment *added, struct bucket_dir **out)
{
    struct bucket_dir *d = NULL;
    uint32_t n = added != NULL, i;

    for (i = 0; old && i < old->n; i++) {
        n += keep(arg, old->segments[i]);
    }
    if (n) {
        d = region_alloc(region, dir_bytes(n), 1);
        if (!d) {
            return ERR_NOMEM;
        }
        d->region = region;
        d->n = n;
        fill(d, old, keep, arg, added);
    }
    *out = d;
    for (i = 0; old && i < old->n; i++) {
        if (!keep(arg, old->segments[i])) {
            epoch_retire(epoch, &old->segments[i]->retired, segment_reclaim,
                         NULL);
        }
    }
    if (old) {
        epoch_retire(epoch, &old->retired, dir_reclaim, NULL);
    }
    return ERR_OK;
}

void buckets_dir_free(struct bucket_dir *d)
{
    uint32_t i;

    for (i = 0; i < d->n; i++) {
        buckets_segment_free(d->segments[i]);
    }
    region_free(d->region, d, dir_bytes(d->n), 1);
}

size_t buckets_dir_bytes(const struct bucket_dir *d)
{
    size_t bytes = region_cost(dir_bytes(d->n), 1);
    uint32_t i;

    for (i = 0; i < d->n; i++) {
        const struct bucket_segment *s = d->segments[i];

        bytes += region_cost(s->bytes, 1) +
                 region_cost(buckets_rows_bytes(s->centroids->codes, s->cap),
                             CACHE_LINE);
    }
    return bytes;
}
