/* The rows that no body holds yet, as a search finds them: those that are raw
 * are all scored, of the others (see buckets.h) the buckets nearest to the
 * query.
 *
 * A row may be listed twice, in two segments or in one and as raw: a slot that
 * was used again before it was linked. It takes one place in the heap. */
#include <math.h>

#include "base/mem.h"
#include "db/search/search_impl.h"
#include "db/tail/buckets.h"

enum {
    AT_A_TIME = 256, /* rows scored */
    SCAN_BYTES_PER_NS = 16,
    CENTROID_BYTES_PER_NS = 32,
    PROBES_MIN = 8,
    EF_TYPICAL = 100,
    PROBES_TYPICAL = 72, /* of BUCKETS_MAX, with that */
    AHEAD = 16,          /* pieces of buckets that are fetched */
    FETCH_BYTES = 1024,  /* of each at most: the processor sees the rest */
    ROWS_TYPICAL = 500,  /* but that many rows of few, with that */
};

/* Buckets of n that are looked at: more with more effort, about as recall in a
 * graph grows with it, and so many that a filter leaves as much. */
static uint32_t probes_of(const struct search *s, uint32_t n)
{
    double typical = (double)PROBES_TYPICAL / BUCKETS_MAX;
    double of_few = (double)ROWS_TYPICAL / (s->graph.bucketed + 1);
    double share = (of_few > typical ? of_few : typical) * s->ef / EF_TYPICAL;
    double probes;

    if (s->filter) {
        share /= s->share;
    }
    probes = share * n;
    probes = probes < PROBES_MIN ? PROBES_MIN : probes;
    return probes < n ? (uint32_t)probes : n;
}

slot_id search_raw_from(const struct search *s)
{
    return s->graph.raw_from < s->view.n_slots ? s->graph.raw_from
                                               : s->view.n_slots;
}

double search_tail_ns(const struct search *s)
{
    double row_bytes = s->scan.source.row_bytes;
    double raw = (double)(s->view.n_slots - search_raw_from(s));
    double ns = (raw + s->graph.n_late) * row_bytes / SCAN_BYTES_PER_NS;
    const struct bucket_dir *d = s->graph.buckets;

    if (d) {
        double n = d->segments[0]->centroids->n;

        ns += n * row_bytes / CENTROID_BYTES_PER_NS +
              probes_of(s, (uint32_t)n) / n * s->graph.bucketed * row_bytes /
                  SCAN_BYTES_PER_NS;
    }
    return ns;
}

/* Slots from here on have been scanned. */
static slot_id scanned_from(const struct search *s)
{
    const struct vec_source *source = &s->scan.source;

    return source->first_run < source->n_runs
               ? row_page_first(s->view.geometry, source->first_run)
               : s->view.n_slots;
}

/* Used slots that are raw. Each takes one place in the heap, also one that is
 * listed twice or lies in a page that was scanned. */
static void score_late(struct search *s, struct search_scratch *scratch,
                       slot_id end)
{
    slot_id slots[AT_A_TIME];
    uint32_t n = 0, i;

    for (i = 0; i < s->graph.n_late; i++) {
        if (s->graph.late[i] < end) {
            slots[n++] = s->graph.late[i];
        }
        if (n == AT_A_TIME || (n && i + 1 == s->graph.n_late)) {
            search_score_once(s, scratch, slots, n);
            s->tail_scored += n;
            n = 0;
        }
    }
}

/* What is found by codes is scored by its row at once: an entry may be out of
 * date (T1). Where codes are not the rows themselves, keys by codes are held
 * against those of some more rows than are wanted. */
struct finding {
    struct search *search;
    struct hnsw_scratch *scratch;
    slot_id end; /* slots from here on are not wanted */
    bool by_codes;
    struct topk near; /* then */
};

static float limit_of(const struct finding *f)
{
    const struct search *s = f->search;

    return f->by_codes ? topk_limit(&f->near)
                       : fminf(s->scan.limit, topk_limit(&s->scan.best));
}

/* A row that may be near: whether it is, and what that says of others. */
static void consider(struct finding *f, slot_id slot, float by_code, float key)
{
    struct search *s = f->search;
    uint64_t entry = topk_entry(key, slot);
    uint64_t near = topk_entry(fmaxf(by_code, key), slot);
    bool wanted = key <= s->scan.limit && topk_wants(&s->scan.best, entry);
    bool tells = f->by_codes && topk_wants(&f->near, near);

    if ((wanted || tells) && hnsw_meet(f->scratch, slot) &&
        s->scan.source.admits(s, slot)) {
        if (wanted) {
            topk_push(&s->scan.best, entry);
        }
        if (tells) {
            topk_push(&f->near, near);
        }
    }
}

static void find_among(struct finding *f, const uint8_t *codes,
                       const slot_id *slots, uint32_t n)
{
    struct search *s = f->search;
    const uint8_t *rows[AT_A_TIME];
    float by_code[AT_A_TIME], keys[AT_A_TIME];
    uint32_t at[AT_A_TIME];
    size_t hits, kept = 0, i;

    vec_scan(s->code_query, codes, n, by_code);
    hits = vec_select(by_code, n, limit_of(f), at);
    for (i = 0; i < hits; i++) {
        if (slots[at[i]] < f->end) {
            rows[kept] = row_map_at(&s->view.rows, slots[at[i]]);
            at[kept++] = at[i];
        }
    }
    vec_gather(s->scan.query, rows, kept, keys);
    for (i = 0; i < kept; i++) {
        consider(f, slots[at[i]], by_code[at[i]], keys[i]);
    }
}

/* What of a segment is in a bucket: a few rows here, a few there. */
struct piece {
    const struct bucket_segment *segment;
    uint32_t at, end;
};

static void find(struct finding *f, const struct piece *p)
{
    struct search *s = f->search;
    const struct bucket_segment *segment = p->segment;
    size_t row_bytes = segment->centroids->codes->row_bytes;
    uint32_t at = p->at;

    s->scored += p->end - at;
    s->tail_scored += p->end - at;
    while (at < p->end) {
        uint32_t n = p->end - at < AT_A_TIME ? p->end - at : AT_A_TIME;

        find_among(f, segment->codes + at * row_bytes, segment->slots + at, n);
        at += n;
    }
}

/* Has the beginning of it on its way from memory. */
static void fetch(const struct piece *p)
{
    size_t row_bytes = p->segment->centroids->codes->row_bytes;
    const uint8_t *codes = p->segment->codes + p->at * row_bytes;
    size_t bytes = (p->end - p->at) * row_bytes, i;

    for (i = 0; i < bytes && i < FETCH_BYTES; i += CACHE_LINE) {
        __builtin_prefetch(codes + i);
    }
    __builtin_prefetch(p->segment->slots + p->at);
}

/* The buckets whose centroids are nearest, nearest first. */
static uint32_t nearest(const struct search *s,
                        const struct bucket_centroids *c, uint32_t *out)
{
    float keys[BUCKETS_MAX];
    uint64_t heap[BUCKETS_MAX];
    struct topk best;
    uint32_t i;

    topk_init(&best, heap, probes_of(s, c->n));
    vec_scan(s->code_query, c->rows, c->n, keys);
    for (i = 0; i < c->n; i++) {
        uint64_t entry = topk_entry(keys[i], i);

        if (topk_wants(&best, entry)) {
            topk_push(&best, entry);
        }
    }
    topk_sort(&best);
    for (i = 0; i < best.n; i++) {
        out[i] = topk_entry_slot(best.heap[i]);
    }
    return (uint32_t)best.n;
}

static bool comes_first(const struct bucket_dir *d, uint32_t i)
{
    uint32_t j;

    for (j = 0; j < i; j++) {
        if (d->segments[j]->centroids == d->segments[i]->centroids) {
            return false;
        }
    }
    return true;
}

/* Pieces that are on their way from memory, in order. */
struct fetched {
    struct piece pieces[AHEAD];
    uint32_t n, done;
};

static void add(struct finding *f, struct fetched *q, const struct piece *p)
{
    if (q->n - q->done == AHEAD) {
        find(f, &q->pieces[q->done++ % AHEAD]);
    }
    q->pieces[q->n++ % AHEAD] = *p;
    fetch(p);
}

/* In all segments with the centroids of the first-th. */
static void probe(struct finding *f, uint32_t first)
{
    const struct search *s = f->search;
    const struct bucket_dir *d = s->graph.buckets;
    const struct bucket_centroids *c = d->segments[first]->centroids;
    uint32_t buckets[BUCKETS_MAX];
    uint32_t n = nearest(s, c, buckets), at, i;
    struct fetched q = {.n = 0};

    for (at = 0; at < n && !search_should_stop(s); at++) {
        for (i = first; i < d->n; i++) {
            struct piece p = {.segment = d->segments[i]};

            if (p.segment->centroids != c) {
                continue;
            }
            p.at = buckets_entries_from(p.segment, buckets[at],
                                        s->graph.fresh_from, &p.end);
            if (p.at < p.end) {
                add(f, &q, &p);
            }
        }
    }
    while (q.done < q.n) {
        find(f, &q.pieces[q.done++ % AHEAD]);
    }
}

/* The memory for what the graph will find serves until then. */
static void begin_near(struct finding *f)
{
    struct search *s = f->search;
    size_t i;

    topk_init(&f->near, search_extra(s), s->cap_extra);
    for (i = 0; i < s->scan.best.n; i++) {
        if (topk_wants(&f->near, s->scan.best.heap[i])) {
            topk_push(&f->near, s->scan.best.heap[i]);
        }
    }
}

void search_tail(struct search *s, struct search_scratch *scratch)
{
    const struct bucket_dir *d = s->graph.buckets;
    struct finding f = {.search = s,
                        .scratch = scratch->hnsw,
                        .end = scanned_from(s),
                        .by_codes = s->code_query != s->scan.query};
    uint32_t i;

    s->tail_scored += s->view.n_slots - search_raw_from(s);
    s->scored += s->view.n_slots - search_raw_from(s);
    if (s->graph.n_late == 0 && !d) {
        return;
    }
    hnsw_meet_begin(scratch->hnsw, f.end);
    score_late(s, scratch, f.end);
    begin_near(&f);
    for (i = 0; d && i < d->n; i++) {
        if (comes_first(d, i)) {
            probe(&f, i);
        }
    }
}
