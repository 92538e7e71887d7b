/* Searches: see search.h.
 *
 * A search lives in one block: the struct, the prepared query, the heap of the
 * k best. Blocks of ordinary size are kept and used again, so that a steady
 * stream of searches allocates nothing.
 *
 * The answer comes from an exact scan, or from the graph and a scan of what it
 * does not hold yet: see search_graph.c. */
#include "db/search/search.h"

#include <math.h>

#include "base/mem.h"
#include "db/search/search_impl.h"

enum {
    /* A search that is estimated to take less than this runs on the loop: a
     * worker would have to be woken, and the loop after it. */
    CHEAP_NS = 25000,
    LONE_NS = 250000,    /* likewise, of one through a graph and by itself */
    LONE_GAP_NS = 20000, /* since the search before has ended */
    SCAN_BYTES_PER_NS = 16,
    FILTER_NS = 120,      /* per row, roughly */
    TAIL_ALONE = 4 << 20, /* bytes of the tail one worker scans by itself */
    HIT_NS = 100,         /* per row of the answer: sorting and formatting */
    HIT_BYTES = 64,       /* of an answer, roughly */
};

/* ---- its block ---------------------------------------------------------- */

static size_t align_up(size_t n)
{
    return (n + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

/* The query lies behind the struct, the heap behind the query. */
static size_t query_offset(const struct search *s)
{
    uintptr_t end = (uintptr_t)(s + 1);

    return align_up(end) - (uintptr_t)s;
}

/* ---- the set as the scan sees it --------------------------------------- */

static struct vec_run view_run(const void *arg, uint32_t i)
{
    const struct search *s = arg;
    const struct slots_view *v = &s->view;
    slot_id first = row_page_first(v->geometry, i);
    uint32_t n = row_page_count(v->geometry, i);

    if (v->n_slots - first < n) {
        n = v->n_slots - first;
    }
    return (struct vec_run){v->pages[i]->rows, first, n};
}

static const struct attribute *attribute_of(const struct search *s,
                                            slot_id slot)
{
    struct row_place at = row_place(s->view.geometry, slot);
    struct page *p = s->view.pages[at.page];
    struct page_attr *attrs =
        atomic_load_explicit(&p->attrs, memory_order_acquire);
    const struct attribute *a;

    if (!attrs) {
        return NULL;
    }
    a = atomic_load_explicit(&attrs[at.row].of, memory_order_acquire);
    return attribute_at(a, s->view.seq);
}

static bool passes_filter(const struct search *s, slot_id slot)
{
    const struct attribute *a = attribute_of(s, slot);

    return a && filter_match(s->filter, attribute_text(a), attribute_row(a));
}

static bool view_admits(const void *arg, uint32_t slot)
{
    const struct search *s = arg;

    return slot < s->view.n_slots && slots_view_sees(&s->view, slot) &&
           slot != s->exclude && (!s->filter || passes_filter(s, slot));
}

/* The same with a memory: who fails is not even looked at. */
static bool view_admits_again(const void *arg, uint32_t slot)
{
    const struct search *s = arg;
    enum verdict verdict;
    bool passes;

    if (slot >= s->view.n_slots) {
        return false;
    }
    verdict = verdict_of(&s->memo->verdicts, slot);
    if (verdict == VERDICT_FAILS || !slots_view_sees(&s->view, slot) ||
        slot == s->exclude) {
        return false;
    }
    if (verdict == VERDICT_PASSES) {
        return true;
    }
    passes = passes_filter(s, slot);
    if (verdict == VERDICT_UNKNOWN) {
        filter_memo_note(s->memo, slot, passes);
    }
    return passes;
}

static bool past_deadline(struct flat_search *scan)
{
    const struct search *s = CONTAINER_OF(scan, struct search, scan);

    return clock_mono_us() >= s->deadline;
}

/* ---- making one -------------------------------------------------------- */

/* The vector of an element, as exactly as answers are scored. */
static void decode_slot(const struct search *s, slot_id slot, float *out)
{
    const struct vset *v = s->set;

    if (s->fine) {
        struct slots_view view;
        struct vec_fine_row row;

        slots_view_take(&v->elements.slots, &view);
        row = vset_fine_row(&view, slot);
        vec_fine_decode(&v->format, &row, out);
    } else {
        vec_decode(&v->format, vset_row(v, slot), out);
    }
    vec_keep_finite(&v->format, vset_row(v, slot), out);
}

static enum err prepare_query(struct search *s, struct search_request *r,
                              void *memory, void *code_memory)
{
    const struct vec_format *f = vset_format(s->set);
    struct buf *work = &s->set->keyspace->work;
    struct vec_query *query = NULL;
    const void *vector = r->vector;
    enum err err;

    if (r->as_stored) {
        s->scan.query =
            vec_query_from_row(f, vset_row(s->set, r->slot), memory);
        return ERR_OK;
    }
    if (!vector) {
        work->len = 0;
        decode_slot(s, r->slot,
                    (float *)(void *)buf_room(work, f->dim * sizeof(float)));
        vector = work->data;
    }
    err = vec_query_init(f, vector, memory, &query);
    s->scan.query = query;
    s->code_query = query;
    if (s->vector) {
        memcpy(s->vector, vector, f->dim * sizeof(float));
    }
    if (!err && s->fine) {
        s->fine = vec_fine_query_init(f, vector, s->fine);
    }
    if (!err && search_code_query_bytes(s->set)) {
        err = vec_query_init(search_codes_of(s->set), vector, code_memory,
                             &s->code_query);
    }
    return err;
}

enum err search_create(struct vset *v, struct search_request *r,
                       struct search **out)
{
    struct search_pool *p = v->keyspace->searches;
    uint32_t n_live = vset_count(v);
    size_t k = r->k < n_live ? r->k : n_live;
    bool fine = search_wants_fine(v, r, k);
    size_t query_bytes = vec_query_bytes(&v->format);
    size_t code_query_bytes = search_code_query_bytes(v);
    size_t fine_bytes = fine ? vec_fine_query_bytes(&v->format) : 0;
    size_t n_best = fine ? search_fine_candidates(v, k) : k;
    size_t lists_bytes =
        search_may_use_lists(v, r) ? v->format.dim * sizeof(float) : 0;
    size_t n_extra;
    size_t at;
    struct search *s;
    enum err err;

    n_extra = search_graph_hits(v, n_best);
    s = search_block_take(
        p,
        sizeof(*s) + VEC_ALIGN + query_bytes + code_query_bytes + fine_bytes +
            (n_best + 1 + n_extra) * sizeof(uint64_t) + lists_bytes,
        k * sizeof(uint64_t));
    if (!s) {
        filter_destroy(r->filter);
        return mem_limit() ? ERR_LIMIT : ERR_NOMEM;
    }
    at = query_offset(s);
    s->pool = p;
    s->set = v;
    s->filter = r->filter;
    s->exclude = r->exclude;
    s->deadline = r->timeout ? clock_mono_us() + r->timeout : 0;
    s->cancelled = false;
    s->format = r->format;
    s->reply.len = 0;
    memcpy(s->format_data, r->format_data, sizeof(s->format_data));
    s->n_extra = 0;
    s->alone_ns = 0;
    s->cap_extra = n_extra;
    s->k = k;
    /* Behind the other queries; where it is to be made, so far. */
    s->fine = fine
                  ? (void *)((uint8_t *)s + at + query_bytes + code_query_bytes)
                  : NULL;
    s->vector =
        lists_bytes
            ? (void *)((uint8_t *)s + at + query_bytes + code_query_bytes +
                       fine_bytes + (n_best + 1 + n_extra) * sizeof(uint64_t))
            : NULL;
    err =
        prepare_query(s, r, (uint8_t *)s + at, (uint8_t *)s + at + query_bytes);
    if (err) {
        filter_destroy(s->filter);
        search_block_return(p, s);
        return err;
    }
    topk_init(&s->scan.best,
              (uint64_t *)(void *)((uint8_t *)s + at + query_bytes +
                                   code_query_bytes + fine_bytes),
              n_best ? n_best : 1);
    s->scan.limit =
        isinf(r->radius) ? INFINITY : vec_key_limit(&v->format, r->radius);
    if (s->fine) { /* who is within it is seen when scored by fine parts */
        s->fine_limit = s->scan.limit;
        s->scan.limit = INFINITY;
    }
    s->scan.stop = s->deadline ? past_deadline : NULL;
    s->memo = s->filter ? filter_memo_take(v, r->filter_text) : NULL;
    slots_view_take(&v->elements.slots, &s->view);
    s->scan.source = (struct vec_source){
        .n_runs =
            n_live ? row_pages_for(&v->elements.slots.geometry, s->view.n_slots)
                   : 0,
        .row_bytes = v->format.row_bytes,
        .run = view_run,
        .admits = s->memo ? view_admits_again : view_admits,
        .arg = s,
    };
    search_decide(s, r);
    *out = s;
    return ERR_OK;
}

/* ---- running ----------------------------------------------------------- */

/* Nobody else searches, and this one did not wait behind another: handing it
 * over would only cost the time it takes to wake a worker. */
static bool is_alone(const struct search_pool *p)
{
    return p->under_way == 0 &&
           (p->rested || clock_mono_ns() - p->ended_ns > LONE_GAP_NS);
}

/* Nanoseconds, about, that a plan other than PLAN_FLAT takes on one thread. */
static uint64_t takes_ns(const struct search *s)
{
    double pace = s->plan == PLAN_IVF ? lists_pace(s->set)
                  : s->graph.hnsw     ? graph_pace(s->set)
                                      : 1;

    return (uint64_t)((double)s->expected_ns * pace) +
           s->scan.best.cap * HIT_NS;
}

/* Rows that do not pass may make a graph take much longer. */
static bool is_foreseeable(const struct search *s)
{
    return !s->filter || s->plan == PLAN_LISTED;
}

bool search_is_cheap(const struct search *s)
{
    uint64_t rows = s->scan.source.n_runs ? s->view.n_slots : 0;
    uint64_t ns;

    if (s->plan != PLAN_FLAT) {
        ns = takes_ns(s);
        return s->pool->all_inline ||
               (is_foreseeable(s) &&
                (ns < CHEAP_NS || (ns < LONE_NS && is_alone(s->pool))));
    }
    ns = rows * s->scan.source.row_bytes / SCAN_BYTES_PER_NS +
         (s->filter ? rows * FILTER_NS : 0) + s->scan.best.cap * HIT_NS;

    return ns < CHEAP_NS || s->pool->all_inline;
}

/* Has the names of the first hits come, all at once. */
static void fetch_names(const struct search *s)
{
    enum { MOST = 32 };
    size_t n = s->scan.best.n < MOST ? s->scan.best.n : MOST;
    const name_ref *refs[MOST];
    size_t i;

    for (i = 0; i < n; i++) {
        struct row_place at =
            row_place(s->view.geometry, topk_entry_slot(s->scan.best.heap[i]));

        refs[i] = &s->view.pages[at.page]->names[at.row];
        __builtin_prefetch(refs[i]);
    }
    for (i = 0; i < n; i++) {
        name_heap_prefetch(&s->set->elements.names, *refs[i]);
    }
}

/* The answer is complete: sort it and write the reply. */
static void conclude(struct search *s)
{
    if (atomic_load_explicit(&s->scan.stopped, memory_order_relaxed)) {
        s->scan.best.n = 0;
    }
    if (s->fine) {
        search_fine_part(s);
    }
    fetch_names(s);
    topk_sort(&s->scan.best);
    s->format(s, s->format_data, &s->reply);
    search_learn(s);
    s->run_ns = clock_mono_ns() - s->started_ns;
}

static void search_end(struct search *s)
{
    struct search_pool *p = s->pool;

    p->ended_ns = clock_mono_ns();
    p->rested = false;
    if (s->alone_ns && !s->filter && !s->cancelled) {
        if (s->plan == PLAN_HNSW) {
            graph_note_pace(s->set, s->expected_ns, s->alone_ns);
        } else if (s->plan == PLAN_IVF) {
            lists_note_pace(s->set, s->expected_ns, s->alone_ns);
        }
    }
    p->stats.rows_scored += s->scored;
    p->stats.timeouts += !s->cancelled && search_outcome(s) == SEARCH_TIMED_OUT;
    s->done(s, s->arg);
    filter_memo_release(s->memo);
    filter_destroy(s->filter);
    search_block_return(p, s);
}

static void finished_here(struct flat_search *scan, struct worker *w)
{
    struct search *s = CONTAINER_OF(scan, struct search, scan);

    (void)w;
    search_second_part(s, s->pool->scratch);
    conclude(s);
}

void search_run(struct search *s, search_done_fn *done, void *arg)
{
    s->done = done;
    s->arg = arg;
    s->started_ns = clock_mono_ns();
    s->scan.finish = finished_here;
    flat_scan_now(&s->scan, s->pool->scratch->flat);
    s->alone_ns = s->run_ns;
    s->pool->stats.inline_runs++;
    search_end(s);
}

/* Back on the loop thread. */
static void completed(struct completion *c)
{
    struct search *s = CONTAINER_OF(c, struct search, completion);
    struct search_pool *p = s->pool;
    struct vset *v = s->set;
    struct epoch *epoch = v->keyspace->epoch;
    uint64_t ticket = s->ticket;

    if (s->on_loop) {
        p->stats.inline_runs++;
    } else {
        p->stats.worker_runs++;
    }
    p->under_way--;
    if (s->in_ring && --v->n_scanning == 0) {
        search_ring_return(p, v->ring);
        v->ring = NULL;
    }
    search_end(s);
    /* Last: the set may go with it. */
    epoch_leave(epoch, ticket);
}

static void answer(struct search *s, struct worker *w)
{
    search_second_part(s, w->scratch);
    conclude(s);
    s->completion.done = completed;
}

static void finished_on_worker(struct flat_search *scan, struct worker *w)
{
    struct search *s = CONTAINER_OF(scan, struct search, scan);

    answer(s, w);
    pool_complete(s->pool->workers, &s->completion);
}

/* ---- searches that share no pass --------------------------------------- */

static size_t tail_bytes(const struct search *s)
{
    return (size_t)(s->scan.source.n_runs - s->scan.source.first_run) *
           PAGE_BYTES;
}

/* Tail and graph in one go: the tail is short. */
static bool run_alone(struct task *t, struct worker *w)
{
    struct search *s = CONTAINER_OF(t, struct search, task);
    int64_t began_ns = clock_mono_ns();

    s->on_loop = w->scratch == s->pool->scratch;
    flat_scan_runs(&s->scan, ((struct search_scratch *)w->scratch)->flat);
    answer(s, w);
    s->alone_ns = clock_mono_ns() - began_ns;
    pool_complete(s->pool->workers, &s->completion);
    return false;
}

void search_submit(struct search *s, search_done_fn *done, void *arg)
{
    struct search_pool *p = s->pool;
    struct vset *v = s->set;

    if (s->scan.source.n_runs == 0) {
        search_run(s, done, arg);
        return;
    }
    s->done = done;
    s->arg = arg;
    s->started_ns = clock_mono_ns();
    s->ticket = epoch_enter(v->keyspace->epoch);
    s->on_loop = false;
    p->under_way++;
    if (s->plan != PLAN_FLAT && tail_bytes(s) <= TAIL_ALONE) {
        flat_scan_begin(&s->scan);
        s->task =
            (struct task){.step = run_alone,
                          .class = TASK_QUERY,
                          .brief = is_foreseeable(s) && takes_ns(s) < LONE_NS};
        pool_submit(p->workers, &s->task);
        return;
    }
    s->scan.finish = finished_on_worker;
    s->in_ring = true;
    if (v->n_scanning++ == 0) {
        v->ring = search_ring_take(p);
    }
    flat_ring_add(v->ring, &s->scan);
}

void search_cancel(struct search *s)
{
    s->cancelled = true;
    atomic_store_explicit(&s->scan.stopped, true, memory_order_relaxed);
}

bool search_was_cancelled(const struct search *s)
{
    return s->cancelled;
}

size_t search_expects(const struct search *s)
{
    size_t block = s->block_bytes > SEARCH_BLOCK_LARGE ? s->block_bytes : 0;

    return block + s->k * HIT_BYTES;
}

/* ---- the answer -------------------------------------------------------- */

size_t search_hit_count(const struct search *s)
{
    return s->scan.best.n;
}

void search_hit_read(const struct search *s, size_t i, struct search_hit *out)
{
    uint64_t entry = s->scan.best.heap[i];
    slot_id slot = topk_entry_slot(entry);
    float key = topk_entry_key(entry);
    struct row_place at = row_place(s->view.geometry, slot);
    const struct page *p = s->view.pages[at.page];
    const struct attribute *a = attribute_of(s, slot);

    out->name = name_heap_get(&s->set->elements.names, p->names[at.row]);
    out->attribute = a ? attribute_text(a) : BYTES_NONE;
    out->distance = vec_distance(&s->set->format, key);
    out->score = vec_score(&s->set->format, key);
}

enum search_outcome search_outcome(const struct search *s)
{
    return atomic_load_explicit(&s->scan.stopped, memory_order_relaxed)
               ? SEARCH_TIMED_OUT
               : SEARCH_COMPLETE;
}

void search_stats_read(const struct search *s, struct search_stats *out)
{
    static const char *const plans[] = {
        [PLAN_FLAT] = "flat",
        [PLAN_HNSW] = "hnsw",
        [PLAN_TWO_HOP] = "hnsw-two-hop",
        [PLAN_LISTED] = "listed",
        [PLAN_IVF] = "ivf",
    };
    bool graph = s->plan == PLAN_HNSW || s->plan == PLAN_TWO_HOP;

    *out = (struct search_stats){
        .plan = plans[s->plan],
        .scored = s->scored,
        .tail = graph || s->plan == PLAN_IVF ? s->tail_scored : s->scored,
        .exact = !graph && (s->plan != PLAN_IVF || s->all_lists),
        .complete = search_outcome(s) == SEARCH_COMPLETE && !s->cut_short,
    };
}

struct buf *search_reply(struct search *s)
{
    return &s->reply;
}

time_us search_run_us(const struct search *s)
{
    return s->run_ns / 1000;
}
