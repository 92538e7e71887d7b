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
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/search/search_impl.h"

enum {
    TRIES = 3,       /* with more effort each, before everything is scanned */
    ASKS_MARGIN = 4, /* times what was expected: the filter's rows are elsewhere
                      */
};

size_t search_graph_hits(const struct vset *v, size_t k)
{
    if (lists_left(v)) {
        return k + (k / 2 > 16 ? k / 2 : 16);
    }
    if (!v->graph) {
        return 0;
    }
    /* Codes order rows nearly right: half as many again are asked about. */
    return hnsw_has_codes(graph_of(v)) ? k + (k / 2 > 16 ? k / 2 : 16) : k;
}

const struct vec_format *search_codes_of(const struct vset *v)
{
    const struct hnsw *h = lists_left(v);

    h = h || !v->graph ? h : graph_of(v);
    return h && hnsw_has_codes(h) ? hnsw_format(h) : NULL;
}

size_t search_code_query_bytes(const struct vset *v)
{
    const struct vec_format *codes = search_codes_of(v);

    return codes ? vec_query_bytes(codes) : 0;
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

static void score(struct search *s, struct search_scratch *scratch,
                  const slot_id *slots, uint32_t n, bool once)
{
    uint32_t i;

    scratch_fit(scratch, n);
    for (i = 0; i < n; i++) {
        scratch->rows[i] = row_map_at(&s->view.rows, slots[i]);
    }
    vec_gather(s->scan.query, scratch->rows, n, scratch->keys);
    for (i = 0; i < n; i++) {
        uint64_t entry = topk_entry(scratch->keys[i], slots[i]);

        if (scratch->keys[i] <= s->scan.limit &&
            topk_wants(&s->scan.best, entry) &&
            (!once || hnsw_meet(scratch->hnsw, slots[i])) &&
            s->scan.source.admits(s, slots[i])) {
            topk_push(&s->scan.best, entry);
        }
    }
    s->scored += n;
}

void search_score(struct search *s, struct search_scratch *scratch,
                  const slot_id *slots, uint32_t n)
{
    score(s, scratch, slots, n, false);
}

void search_score_once(struct search *s, struct search_scratch *scratch,
                       const slot_id *slots, uint32_t n)
{
    score(s, scratch, slots, n, true);
}

uint64_t *search_extra(struct search *s)
{
    return s->scan.best.heap + s->scan.best.cap;
}

/* The graph's best, scored by the rows as stored; `again` also when it has
 * compared rows itself. */
static void take_found(struct search *s, const struct hnsw_search *h,
                       struct search_scratch *scratch, bool again)
{
    uint64_t *extra = search_extra(s);
    size_t n = h->n_found < s->cap_extra ? h->n_found : s->cap_extra;
    size_t i;

    s->n_extra = 0;
    if (s->code_query == s->scan.query && !again) {
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

bool search_should_stop(const void *arg)
{
    struct search *s = (struct search *)(uintptr_t)arg;

    if (s->scan.stop && s->scan.stop(&s->scan)) {
        atomic_store_explicit(&s->scan.stopped, true, memory_order_relaxed);
    }
    return atomic_load_explicit(&s->scan.stopped, memory_order_relaxed);
}

static void begin_graph(const struct search *s, struct hnsw_search *h)
{
    *h = (struct hnsw_search){
        .query = s->code_query,
        .rows = s->view.rows,
        .n_slots = s->view.n_slots,
        .start = s->graph.start,
        .stop = search_should_stop,
        .admits = s->scan.source.admits,
        .arg = s,
        .want = s->cap_extra,
        .ef = search_hnsw_ef(s),
        /* A pool that is made long for a filter's sake is long enough. */
        .k = s->filter ? 0 : search_graph_k(s),
    };
    if (s->plan == PLAN_TWO_HOP) {
        h->ef = s->ef;
        h->k = search_graph_k(s);
        h->two_hop = &s->memo->verdicts;
        h->seeds = s->seeds;
        h->n_seeds = s->n_seeds;
        h->asks_most =
            (uint32_t)(search_two_hop_asks(s->ef, s->share) * ASKS_MARGIN);
    }
}

/* The next thing to try when too few were found; false: scan. */
static bool try_harder(struct search *s, struct hnsw_search *h, int tries)
{
    int64_t all = search_plan_ns(s, PLAN_FLAT, 0);

    if (h->two_hop || h->exhausted || tries == TRIES) {
        return false; /* links do not lead everywhere just now */
    }
    if (s->filter && h->n_found) {
        s->share = (double)h->n_found / (double)h->met;
    }
    h->ef = h->ef < s->ef_most / 4 ? h->ef * 4 : s->ef_most;
    if (s->memo && search_plan_ns(s, PLAN_TWO_HOP, s->ef) <
                       search_plan_ns(s, PLAN_HNSW, h->ef)) {
        s->plan = PLAN_TWO_HOP;
        begin_graph(s, h);
    }
    return search_plan_ns(s, s->plan, h->ef) < all &&
           search_plan_ns(s, s->plan, h->ef) <
               search_plan_ns(s, PLAN_LISTED, 0);
}

/* False when the graph did not give as many as there ought to be. */
static bool search_graph(struct search *s, struct search_scratch *scratch)
{
    struct hnsw_search h;
    int tries;

    begin_graph(s, &h);
    for (tries = 0;; tries++) {
        bool enough, all, bounded;

        hnsw_search(s->graph.hnsw, &h, scratch->hnsw);
        s->scored += h.scored;
        if (search_should_stop(s)) {
            return true;
        }
        /* A pool of passing nodes that was not filled missed some: there are
         * more, or it had not been chosen. */
        enough = h.n_found >= s->k && !h.gave_up && !(h.two_hop && h.exhausted);
        all = h.exhausted && h.met >= s->graph.nodes;
        bounded = h.ef >= s->ef_most && s->ef_most < SEARCH_EF_MAX;
        if (enough || all || bounded) {
            s->cut_short = !enough && !all;
            take_found(s, &h, scratch, false);
            return true;
        }
        if (!try_harder(s, &h, tries)) {
            return false;
        }
    }
}

static void scan_everything(struct search *s, struct search_scratch *scratch)
{
    bool listed = s->memo && search_plan_ns(s, PLAN_LISTED, 0) <
                                 search_plan_ns(s, PLAN_FLAT, 0);

    s->plan = listed ? PLAN_LISTED : PLAN_FLAT;
    s->cut_short = false;
    s->n_extra = 0;
    s->scan.best.n = 0;
    if (listed) {
        search_list(s, scratch);
        return;
    }
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

    if (n == 0) { /* nearly always: there is no tail */
        for (i = 0; i < s->n_extra; i++) {
            uint64_t entry = search_extra(s)[i];

            if (topk_wants(&s->scan.best, entry)) {
                topk_push(&s->scan.best, entry);
            }
        }
        return;
    }
    memmove(heap + n, search_extra(s), s->n_extra * sizeof(*heap));
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

/* There may be more in buckets that were not looked at. */
static bool is_short(const struct search *s)
{
    return s->graph.buckets && s->scan.best.n < s->k && isinf(s->scan.limit) &&
           s->ef_most == SEARCH_EF_MAX && !search_should_stop(s);
}

/* Nodes whose rows have gone count as what they were: see graph_left.h. */
void search_left(struct search *s, struct search_scratch *scratch)
{
    const struct graph_left_view *left = &s->lists.left;
    struct hnsw_search h = {
        .query = s->code_query,
        .rows = left->rows,
        .n_slots = left->n_slots,
        .start = left->start,
        .stop = search_should_stop,
        .admits = s->scan.source.admits,
        .arg = s,
        .want = s->cap_extra,
        .ef = s->ef,
        .k = s->filter ? 0 : s->scan.best.cap,
    };

    hnsw_search(left->hnsw, &h, scratch->hnsw);
    s->scored += h.scored;
    take_found(s, &h, scratch, true);
    merge(s);
}

void search_all(struct search *s, struct search_scratch *scratch)
{
    scan_everything(s, scratch);
}

void search_second_part(struct search *s, struct search_scratch *scratch)
{
    if (s->plan == PLAN_FLAT ||
        atomic_load_explicit(&s->scan.stopped, memory_order_relaxed)) {
        return;
    }
    if (s->plan == PLAN_LISTED) {
        search_list(s, scratch);
        return;
    }
    if (s->plan == PLAN_IVF) {
        search_in_lists(s, scratch);
        return;
    }
    search_tail(s, scratch);
    if (!search_graph(s, scratch)) {
        scan_everything(s, scratch);
        return;
    }
    merge(s);
    if (is_short(s)) {
        scan_everything(s, scratch);
    }
}
