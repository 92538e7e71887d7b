/* Searches that a graph answers.
 *
 * The answer is put together from three parts, as they were at dispatch: the
 * slots past `fresh_from`, which are scanned; the used slots that wait to be
 * linked, scored one by one; and the graph. A row may turn up in two of them,
 * when it was linked meanwhile, and is then the same entry twice: keys are
 * equal to the bit whichever way a row was scored.
 *
 * Where the graph compares codes of its own, its best are scored once more by
 * the rows as stored. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/search_impl.h"

enum {
    EF_DEFAULT = 100,
    /* What costs are estimated by: measured on glove-100 and on 768 dimensions,
     * good to a factor of two. */
    SCORED_PER_EF = 18,
    SCORE_NS = 8, /* and one per so many bytes: */
    SCORE_BYTES_PER_NS = 16,
    POOL_MOVES = 8, /* and of all pairs of the pool one in so many */
    SCAN_BYTES_PER_NS = 16,
    SAMPLES = 64, /* rows asked for how many pass a filter */
    FILTER_NS = 120,
    LATE_ROWS = 64, /* scored at a time */
    TRIES = 3,      /* with more effort each, before everything is scanned */
    EF_MAX = 1 << 20,
};

/* ---- the plan ---------------------------------------------------------- */

size_t search_graph_hits(const struct vset *v, size_t k)
{
    if (!v->graph) {
        return 0;
    }
    /* Codes order rows nearly right: half as many again are asked about. */
    return hnsw_has_codes(graph_of(v)) ? k + (k / 2 > 16 ? k / 2 : 16) : k;
}

size_t search_code_query_bytes(const struct vset *v)
{
    return v->graph && hnsw_has_codes(graph_of(v))
               ? vec_query_bytes(hnsw_format(graph_of(v)))
               : 0;
}

static uint64_t scan_ns(const struct search *s, uint64_t rows)
{
    return rows * s->scan.source.row_bytes / SCAN_BYTES_PER_NS;
}

static uint64_t tail_rows(const struct search *s)
{
    return s->view.n_slots - s->graph.fresh_from + s->graph.n_late;
}

static uint64_t graph_ns(const struct search *s, uint64_t ef)
{
    uint64_t row = hnsw_format(s->graph.hnsw)->row_bytes;

    return ef * SCORED_PER_EF * (SCORE_NS + row / SCORE_BYTES_PER_NS) +
           ef * ef / POOL_MOVES + (s->filter ? ef * FILTER_NS : 0);
}

uint64_t search_graph_ns(const struct search *s)
{
    return graph_ns(s, s->ef) + scan_ns(s, tail_rows(s));
}

/* The share of rows that pass the filter, from a sample; never 0. */
static double passing_share(const struct search *s)
{
    struct rng *rng = &s->set->keyspace->rng;
    int passed = 0, seen = 0, i;

    for (i = 0; i < SAMPLES; i++) {
        slot_id slot = (slot_id)rng_below(rng, s->view.n_slots);

        if (slots_view_sees(&s->view, slot)) {
            seen++;
            passed += s->scan.source.admits(s, slot);
        }
    }
    return passed ? (double)passed / seen : 0.5 / SAMPLES;
}

static uint32_t effort(const struct search *s, const struct search_request *r)
{
    double ef = r->ef ? r->ef : EF_DEFAULT;

    if (r->recall > 0) {
        ef = recall_effort(s->set, r->recall, s->scan.best.cap);
        if (ef <= 0) {
            return 0;
        }
    }

    ef = ef < (double)s->scan.best.cap ? (double)s->scan.best.cap : ef;
    if (s->filter) {
        ef /= passing_share(s);
    }
    return ef < (double)s->ef_most ? (uint32_t)ef : s->ef_most;
}

void search_plan(struct search *s, const struct search_request *r)
{
    uint64_t rows = s->scan.source.n_runs ? s->view.n_slots : 0;

    s->uses_graph = false;
    s->cut_short = false;
    s->in_ring = false;
    s->scored = rows;
    if (r->exact || r->as_stored || !rows) {
        return;
    }
    graph_view_take(s->set, &s->graph);
    if (!s->graph.hnsw) {
        return;
    }
    s->ef_most = EF_MAX;
    if (s->filter && r->filter_ef && r->filter_ef < EF_MAX) {
        s->ef_most = (uint32_t)r->filter_ef;
    }
    s->ef = effort(s, r);
    if (!s->ef) {
        return;
    }
    if (graph_ns(s, s->ef) + scan_ns(s, tail_rows(s)) >= scan_ns(s, rows)) {
        return;
    }
    s->uses_graph = true;
    s->scored = 0;
    /* The runs that hold the tail. */
    s->scan.source.first_run =
        s->graph.fresh_from < s->view.n_slots
            ? row_place(s->view.geometry, s->graph.fresh_from).page
            : s->scan.source.n_runs;
}

/* ---- the parts --------------------------------------------------------- */

static void scratch_fit(struct search_scratch *scratch, size_t n)
{
    if (scratch->cap < n) {
        scratch->cap = n + n / 2;
        scratch->rows =
            mem_realloc(scratch->rows, scratch->cap * sizeof(*scratch->rows));
        scratch->keys =
            mem_realloc(scratch->keys, scratch->cap * sizeof(*scratch->keys));
    }
}

/* Slots from here on have been scanned. */
static slot_id scanned_from(const struct search *s)
{
    const struct vec_source *source = &s->scan.source;

    return source->first_run < source->n_runs
               ? row_page_first(s->view.geometry, source->first_run)
               : s->view.n_slots;
}

static void score_some(struct search *s, struct search_scratch *scratch,
                       const slot_id *slots, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        scratch->rows[i] = row_map_at(&s->view.rows, slots[i]);
    }
    vec_gather(s->scan.query, scratch->rows, n, scratch->keys);
    for (i = 0; i < n; i++) {
        uint64_t entry = topk_entry(scratch->keys[i], slots[i]);

        if (scratch->keys[i] <= s->scan.limit &&
            topk_wants(&s->scan.best, entry) &&
            s->scan.source.admits(s, slots[i])) {
            topk_push(&s->scan.best, entry);
        }
    }
    s->scored += n;
}

/* Used slots that are not linked again yet. Each takes one place in the heap,
 * also one that is listed twice or lies in a page that was scanned. */
static void score_late(struct search *s, struct search_scratch *scratch)
{
    slot_id end = scanned_from(s);
    slot_id slots[LATE_ROWS];
    uint32_t n = 0, i;

    if (s->graph.n_late == 0) {
        return;
    }
    scratch_fit(scratch, LATE_ROWS);
    hnsw_meet_begin(scratch->hnsw, end);
    for (i = 0; i < s->graph.n_late; i++) {
        slot_id slot = s->graph.late[i];

        if (slot < end && hnsw_meet(scratch->hnsw, slot)) {
            slots[n++] = slot;
        }
        if (n == LATE_ROWS || (n && i + 1 == s->graph.n_late)) {
            score_some(s, scratch, slots, n);
            n = 0;
        }
    }
}

static uint64_t *extra_of(struct search *s)
{
    return s->scan.best.heap + s->scan.best.cap;
}

/* The graph's best, scored by the rows as stored. */
static void take_found(struct search *s, const struct hnsw_search *h,
                       struct search_scratch *scratch)
{
    uint64_t *extra = extra_of(s);
    size_t n = h->n_found < s->cap_extra ? h->n_found : s->cap_extra;
    size_t i;

    s->n_extra = 0;
    if (s->code_query == s->scan.query) {
        for (i = 0; i < n; i++) {
            if (topk_entry_key(h->found[i]) <= s->scan.limit) {
                extra[s->n_extra++] = h->found[i];
            }
        }
        return;
    }
    scratch_fit(scratch, n);
    for (i = 0; i < n; i++) {
        scratch->rows[i] =
            row_map_at(&s->view.rows, topk_entry_slot(h->found[i]));
    }
    vec_gather(s->scan.query, scratch->rows, n, scratch->keys);
    s->scored += n;
    for (i = 0; i < n; i++) {
        if (scratch->keys[i] <= s->scan.limit) {
            extra[s->n_extra++] =
                topk_entry(scratch->keys[i], topk_entry_slot(h->found[i]));
        }
    }
}

static bool should_stop(const void *arg)
{
    struct search *s = (struct search *)(uintptr_t)arg;

    if (s->scan.stop && s->scan.stop(&s->scan)) {
        atomic_store_explicit(&s->scan.stopped, true, memory_order_relaxed);
    }
    return atomic_load_explicit(&s->scan.stopped, memory_order_relaxed);
}

/* Searches with more and more effort until there are as many as asked for;
 * false when that did not help. */
static bool search_graph(struct search *s, struct search_scratch *scratch)
{
    struct hnsw_search h = {
        .query = s->code_query,
        .rows = s->view.rows,
        .n_slots = s->view.n_slots,
        .start = s->graph.start,
        .ef = s->ef,
        .stop = should_stop,
        .admits = s->scan.source.admits,
        .arg = s,
    };
    int tries;

    for (tries = 0;; tries++) {
        hnsw_search(s->graph.hnsw, &h, scratch->hnsw);
        s->scored += h.scored;
        if (should_stop(s)) {
            return true;
        }
        s->cut_short =
            h.n_found < s->scan.best.cap && !h.exhausted && s->ef_most < EF_MAX;
        if (h.n_found >= s->scan.best.cap ||
            (h.exhausted && h.met >= s->graph.nodes) ||
            (h.ef >= s->ef_most && s->ef_most < EF_MAX)) {
            take_found(s, &h, scratch);
            return true;
        }
        if (h.exhausted) {
            return false; /* links do not lead everywhere just now */
        }
        h.ef = h.ef < s->ef_most / 4 ? h.ef * 4 : s->ef_most;
        if (tries == TRIES || graph_ns(s, h.ef) > scan_ns(s, s->view.n_slots)) {
            return false;
        }
    }
}

static void scan_everything(struct search *s, struct search_scratch *scratch)
{
    s->uses_graph = false;
    s->cut_short = false;
    s->n_extra = 0;
    s->scan.best.n = 0;
    s->scan.source.first_run = 0;
    s->scored += s->view.n_slots;
    flat_scan_runs(&s->scan, scratch->flat);
}

static int compare_entries(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The k best of tail and graph, each once, as a heap again. */
static void merge(struct search *s)
{
    uint64_t *heap = s->scan.best.heap;
    size_t n = s->scan.best.n;
    size_t kept = 0, i;

    memmove(heap + n, extra_of(s), s->n_extra * sizeof(*heap));
    n += s->n_extra;
    qsort(heap, n, sizeof(*heap), compare_entries);
    for (i = 0; i < n && kept < s->scan.best.cap; i++) {
        if (kept == 0 || heap[i] != heap[kept - 1]) {
            heap[kept++] = heap[i];
        }
    }
    /* Ascending is the wrong way round for a heap with the worst on top. */
    for (i = 0; i < kept / 2; i++) {
        uint64_t swap = heap[i];

        heap[i] = heap[kept - 1 - i];
        heap[kept - 1 - i] = swap;
    }
    s->scan.best.n = kept;
}

void search_graph_part(struct search *s, struct search_scratch *scratch)
{
    if (atomic_load_explicit(&s->scan.stopped, memory_order_relaxed)) {
        return;
    }
    s->scored += s->view.n_slots - s->graph.fresh_from;
    score_late(s, scratch);
    if (search_graph(s, scratch)) {
        merge(s);
    } else {
        scan_everything(s, scratch);
    }
}
