/* The rows that no body holds yet, as a search finds them: those that are raw
 * are all scored, of the others (see buckets.h) the buckets nearest to the
 * query.
 *
 * A row may be listed twice, in two segments or in one and as raw: a slot that
 * was used again before it was linked. It takes one place in the heap. */
#include <math.h>

#include "base/mem.h"
#include "db/buckets.h"
#include "db/search_impl.h"

enum {
    AT_A_TIME = 256, /* rows scored */
    GATHER_NS = 6,   /* a row here and there, and one per so many bytes: */
    GATHER_BYTES_PER_NS = 24,
    SCAN_BYTES_PER_NS = 16,
    CENTROID_BYTES_PER_NS = 32,
    PROBES_MIN = 8,
    EF_TYPICAL = 100,
    PROBES_TYPICAL = 96, /* of BUCKETS_MAX, with that */
};

/* Buckets of n that are looked at: more with more effort, about as recall in a
 * graph grows with it, and so many that a filter leaves as much. */
static uint32_t probes_of(const struct search *s, uint32_t n)
{
    double share =
        (double)PROBES_TYPICAL / BUCKETS_MAX * sqrt((double)s->ef / EF_TYPICAL);
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
              probes_of(s, (uint32_t)n) / n * s->graph.bucketed *
                  (GATHER_NS + row_bytes / GATHER_BYTES_PER_NS);
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

/* Rows that are gathered until there are enough to score at a time. */
struct gathering {
    struct search *search;
    struct search_scratch *scratch;
    slot_id end; /* slots from here on are not wanted */
    uint32_t n;
    slot_id slots[AT_A_TIME];
};

static void score_gathered(struct gathering *g)
{
    search_score_once(g->search, g->scratch, g->slots, g->n);
    g->search->tail_scored += g->n;
    g->n = 0;
}

static void gather(struct gathering *g, const slot_id *slots, uint32_t n,
                   slot_id from)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        if (slots[i] >= from && slots[i] < g->end) {
            g->slots[g->n++] = slots[i];
        }
        if (g->n == AT_A_TIME) {
            score_gathered(g);
        }
    }
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

/* Of all segments with the centroids of the i-th. */
static void probe(struct gathering *g, uint32_t i)
{
    const struct search *s = g->search;
    const struct bucket_dir *d = s->graph.buckets;
    const struct bucket_centroids *c = d->segments[i]->centroids;
    uint32_t buckets[BUCKETS_MAX];
    uint32_t n = nearest(s, c, buckets), at, j;

    for (at = 0; at < n && !search_should_stop(s); at++) {
        for (j = i; j < d->n; j++) {
            const struct bucket_segment *segment = d->segments[j];
            const uint32_t *starts = segment->starts + buckets[at];

            if (segment->centroids == c) {
                gather(g, segment->slots + starts[0], starts[1] - starts[0],
                       segment->late ? 0 : s->graph.fresh_from);
            }
        }
    }
}

void search_tail(struct search *s, struct search_scratch *scratch)
{
    const struct bucket_dir *d = s->graph.buckets;
    struct gathering g;
    uint32_t i;

    s->tail_scored += s->view.n_slots - search_raw_from(s);
    s->scored += s->view.n_slots - search_raw_from(s);
    if (s->graph.n_late == 0 && !d) {
        return;
    }
    g.search = s;
    g.scratch = scratch;
    g.end = scanned_from(s);
    g.n = 0;
    hnsw_meet_begin(scratch->hnsw, g.end);
    gather(&g, s->graph.late, s->graph.n_late, 0);
    for (i = 0; d && i < d->n; i++) {
        if (comes_first(d, i)) {
            probe(&g, i);
        }
    }
    score_gathered(&g);
}
