/* The shared pass: see flat_scan.h. */
#include "index/flat/flat_scan.h"

#include "base/mem.h"

enum {
    TILE_ROWS = 256,        /* scored at a time, at most, */
    TILE_BYTES = 256 << 10, /* but not more than the L2 holds for who is next */
    TILE_MASKS = TILE_ROWS / VEC_WITHIN_ROWS,
};

struct flat_scratch {
    float keys[FLAT_ABOARD * TILE_ROWS];
    uint32_t masks[FLAT_ABOARD * TILE_MASKS];
    uint32_t at[TILE_ROWS];
    uint64_t admitted[TILE_ROWS];
};

/* A worker's place at a ring. */
struct ring_task {
    struct task task;
    struct flat_ring *ring;
    _Atomic bool active; /* submitted or running */
    /* Ring lock: by what task the worker of this number takes part. */
    struct ring_task *of_worker;
};

struct flat_ring {
    struct pool *pool;
    struct flat_scratch *(*scratch_of)(struct worker *w);
    _Atomic(struct flat_search *) incoming; /* a stack */
    struct lock lock;
    struct flat_search *aboard[FLAT_ABOARD]; /* lock */
    uint32_t n_aboard;
    uint32_t position;           /* the next run */
    struct flat_search *waiting; /* oldest first */
    struct flat_search **waiting_last;
    unsigned n_tasks;
    struct ring_task tasks[];
};

struct flat_scratch *flat_scratch_create(void)
{
    return mem_alloc(sizeof(struct flat_scratch));
}

void flat_scratch_destroy(struct flat_scratch *s)
{
    mem_free(s);
}

/* ---- scoring a run ----------------------------------------------------- */

static float limit_read(const struct flat_search *s)
{
    return topk_bits_key(
        atomic_load_explicit(&s->limit_bits, memory_order_relaxed));
}

static void limit_write(struct flat_search *s)
{
    float limit = topk_limit(&s->best);

    if (limit > s->limit) {
        limit = s->limit;
    }
    atomic_store_explicit(&s->limit_bits, topk_key_bits(limit),
                          memory_order_relaxed);
}

/* Merges the rows of a tile that scored well enough, scratch->at of keys. The
 * costly question whether a row may be in the answer is asked before the lock
 * that `shared` searches need. */
static void merge(struct flat_search *s, uint32_t first_slot, const float *keys,
                  size_t n, struct flat_scratch *scratch, bool shared)
{
    size_t n_admitted = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        uint32_t slot = first_slot + scratch->at[i];
        uint64_t entry = topk_entry(keys[scratch->at[i]], slot);

        /* Over the limit can only be a NaN that vec_select() let through. */
        if (topk_entry_key(entry) <= s->limit &&
            s->source.admits(s->source.arg, slot)) {
            scratch->admitted[n_admitted++] = entry;
        }
    }
    if (!n_admitted) {
        return;
    }
    if (shared) {
        lock_acquire(&s->lock);
    }
    for (i = 0; i < n_admitted; i++) {
        if (topk_wants(&s->best, scratch->admitted[i])) {
            topk_push(&s->best, scratch->admitted[i]);
        }
    }
    limit_write(s);
    if (shared) {
        lock_release(&s->lock);
    }
}

/* Rows of run scored at a time: whole masks. */
static uint32_t tile_rows(size_t row_bytes)
{
    size_t n = TILE_BYTES / row_bytes & ~(size_t)(VEC_WITHIN_ROWS - 1);

    return n < VEC_WITHIN_ROWS ? VEC_WITHIN_ROWS
           : n > TILE_ROWS     ? TILE_ROWS
                               : (uint32_t)n;
}

static void score_for_one(struct flat_search *s, const struct vec_run *run,
                          struct flat_scratch *scratch, bool shared)
{
    const size_t row_bytes = s->source.row_bytes;
    uint32_t done;

    for (done = 0; done < run->n; done += TILE_ROWS) {
        uint32_t n = run->n - done < TILE_ROWS ? run->n - done : TILE_ROWS;
        size_t hits;

        vec_scan(s->query, run->rows + done * row_bytes, n, scratch->keys);
        hits = vec_select(scratch->keys, n, limit_read(s), scratch->at);
        if (hits) {
            merge(s, run->first_slot + done, scratch->keys, hits, scratch,
                  shared);
        }
    }
}

/* Nearly always there is none. */
static bool any_near(const uint32_t *masks)
{
    uint32_t any = 0;
    int i;

    for (i = 0; i < TILE_MASKS; i++) {
        any |= masks[i];
    }
    return any != 0;
}

/* Which rows of a tile the masks of a search name. */
static size_t unfold(const uint32_t *masks, uint32_t *at)
{
    size_t hits = 0;
    uint32_t i;

    for (i = 0; i < TILE_MASKS; i++) {
        uint32_t mask = masks[i];

        for (; mask; mask &= mask - 1) {
            at[hits++] = i * VEC_WITHIN_ROWS + (uint32_t)__builtin_ctz(mask);
        }
    }
    return hits;
}

static void score_for_many(struct flat_search *const *batch, size_t n_batch,
                           const struct vec_run *run,
                           struct flat_scratch *scratch)
{
    const struct vec_query *queries[FLAT_ABOARD];
    const struct vec_within out = {scratch->keys, TILE_ROWS, scratch->masks,
                                   TILE_MASKS};
    size_t row_bytes = batch[0]->source.row_bytes;
    uint32_t tile = tile_rows(row_bytes);
    float limits[FLAT_ABOARD];
    uint32_t done;
    size_t i;

    for (i = 0; i < n_batch; i++) {
        queries[i] = batch[i]->query;
    }
    for (done = 0; done < run->n; done += tile) {
        uint32_t n = run->n - done < tile ? run->n - done : tile;

        for (i = 0; i < n_batch; i++) {
            limits[i] = limit_read(batch[i]);
        }
        if (n < TILE_ROWS) { /* no masks are written where no rows are */
            memset(scratch->masks, 0, sizeof(scratch->masks));
        }
        vec_scan_within(queries, n_batch, limits, run->rows + done * row_bytes,
                        n, &out);
        for (i = 0; i < n_batch; i++) {
            const uint32_t *masks = scratch->masks + i * TILE_MASKS;

            if (any_near(masks)) {
                merge(batch[i], run->first_slot + done,
                      scratch->keys + i * TILE_ROWS, unfold(masks, scratch->at),
                      scratch, true);
            }
        }
    }
}

static bool should_stop(struct flat_search *s)
{
    if (atomic_load_explicit(&s->stopped, memory_order_relaxed)) {
        return true;
    }
    if (s->stop && s->stop(s)) {
        atomic_store_explicit(&s->stopped, true, memory_order_relaxed);
        return true;
    }
    return false;
}

static uint32_t run_count(const struct flat_search *s)
{
    return s->source.n_runs - s->source.first_run;
}

void flat_scan_begin(struct flat_search *s)
{
    s->next = NULL;
    s->handed = 0;
    atomic_init(&s->left, run_count(s));
    atomic_init(&s->stopped, false);
    limit_write(s);
}

void flat_scan_runs(struct flat_search *s, struct flat_scratch *scratch)
{
    uint32_t i;

    for (i = s->source.first_run; i < s->source.n_runs && !should_stop(s);
         i++) {
        struct vec_run run = s->source.run(s->source.arg, i);

        score_for_one(s, &run, scratch, false);
    }
}

void flat_scan_now(struct flat_search *s, struct flat_scratch *scratch)
{
    flat_scan_begin(s);
    flat_scan_runs(s, scratch);
    s->finish(s, NULL);
}

/* ---- the ring ---------------------------------------------------------- */

/* Takes what has arrived, oldest first, behind those already waiting. */
static void take_incoming(struct flat_ring *r)
{
    struct flat_search *s =
        atomic_exchange_explicit(&r->incoming, NULL, memory_order_acquire);
    struct flat_search *ordered = NULL;

    while (s) {
        struct flat_search *next = s->next;

        s->next = ordered;
        ordered = s;
        s = next;
    }
    *r->waiting_last = ordered;
    while (*r->waiting_last) {
        r->waiting_last = &(*r->waiting_last)->next;
    }
}

static void board(struct flat_ring *r)
{
    if (r->n_aboard == 0) {
        r->position = 0;
    }
    while (r->waiting && r->n_aboard < FLAT_ABOARD) {
        struct flat_search *s = r->waiting;

        r->waiting = s->next;
        if (!r->waiting) {
            r->waiting_last = &r->waiting;
        }
        r->aboard[r->n_aboard++] = s;
    }
}

/* The next run that somebody aboard wants; false when nobody is aboard. */
static bool find_run(struct flat_ring *r)
{
    uint32_t longest = 0, first = UINT32_MAX;
    uint32_t i;

    for (i = 0; i < r->n_aboard; i++) {
        const struct vec_source *s = &r->aboard[i]->source;

        longest = s->n_runs > longest ? s->n_runs : longest;
        first = s->first_run < first ? s->first_run : first;
    }
    if (r->position >= longest || r->position < first) {
        r->position = first;
    }
    return longest > 0;
}

/* Takes the next run and the searches it is for; false when there is none. */
static bool take_run(struct flat_ring *r, uint32_t *run,
                     struct flat_search **batch, size_t *n_batch)
{
    uint32_t i, kept;
    size_t n = 0;

    take_incoming(r);
    board(r);
    while (n == 0) {
        if (!find_run(r)) {
            return false;
        }
        *run = r->position++;
        for (i = kept = 0; i < r->n_aboard; i++) {
            struct flat_search *s = r->aboard[i];

            if (*run >= s->source.first_run && *run < s->source.n_runs) {
                batch[n++] = s;
                s->handed++;
            }
            if (s->handed < run_count(s)) {
                r->aboard[kept++] = s;
            }
        }
        r->n_aboard = kept;
    }
    *n_batch = n;
    return true;
}

/* Views taken at different times end at different slots; the run is scored as
 * far as the longest goes, and admits() knows its own. */
static struct vec_run longest_run(struct flat_search *const *batch, size_t n,
                                  uint32_t index)
{
    struct vec_run longest = {NULL, 0, 0};
    size_t i;

    for (i = 0; i < n; i++) {
        const struct vec_source *s = &batch[i]->source;

        if (index + 1 < s->n_runs) { /* not its last: none is longer */
            return s->run(s->arg, index);
        }
    }
    for (i = 0; i < n; i++) {
        const struct vec_source *s = &batch[i]->source;
        struct vec_run run = s->run(s->arg, index);

        longest = run.n > longest.n ? run : longest;
    }
    return longest;
}

/* One run for all who need it. Finished searches are handed over last, since
 * finish() may end their life. */
static void work_run(struct flat_ring *r, struct worker *w, uint32_t index,
                     struct flat_search **batch, size_t n_batch)
{
    struct flat_search *going[FLAT_ABOARD];
    size_t n_going = 0;
    size_t i;

    for (i = 0; i < n_batch; i++) {
        if (!should_stop(batch[i])) {
            going[n_going++] = batch[i];
        }
    }
    if (n_going) {
        struct vec_run run = longest_run(going, n_going, index);

        if (n_going == 1) {
            score_for_one(going[0], &run, r->scratch_of(w), true);
        } else {
            score_for_many(going, n_going, &run, r->scratch_of(w));
        }
    }
    for (i = 0; i < n_batch; i++) {
        /* F2 */
        if (atomic_fetch_sub_explicit(&batch[i]->left, 1,
                                      memory_order_acq_rel) == 1) {
            batch[i]->finish(batch[i], w);
        }
    }
}

static bool ring_step(struct task *t, struct worker *w)
{
    struct ring_task *rt = CONTAINER_OF(t, struct ring_task, task);
    struct flat_ring *r = rt->ring;
    struct ring_task **mine = &r->tasks[w->index].of_worker;
    struct flat_search *batch[FLAT_ABOARD];
    size_t n_batch = 0;
    uint32_t run = 0;
    bool found = false, twice;

    lock_acquire(&r->lock);
    twice = *mine && *mine != rt;
    if (!twice) {
        found = take_run(r, &run, batch, &n_batch);
        *mine = found ? rt : NULL;
    }
    lock_release(&r->lock);
    if (twice) {
        /* A worker that was the first to wake may have taken the tasks of
         * others, who would sleep for as long as searches keep coming. The next
         * search submits this one again. */
        atomic_store(&rt->active, false);
        return false;
    }
    if (found) {
        work_run(r, w, run, batch, n_batch);
        return true;
    }
    /* Nothing to do. A search added after the look above finds this task
     * active and does not submit it again, so look once more after saying that
     * it is not. */
    atomic_store(&rt->active, false);
    if (atomic_load(&r->incoming) && !atomic_exchange(&rt->active, true)) {
        return true;
    }
    return false;
}

struct flat_ring *
flat_ring_create(struct pool *pool,
                 struct flat_scratch *(*scratch_of)(struct worker *w))
{
    unsigned n = pool_size(pool);
    struct flat_ring *r =
        mem_calloc(1, sizeof(*r) + n * sizeof(struct ring_task));
    unsigned i;

    r->pool = pool;
    r->scratch_of = scratch_of;
    r->waiting_last = &r->waiting;
    r->n_tasks = n;
    lock_init(&r->lock, LOCK_SCAN);
    for (i = 0; i < n; i++) {
        r->tasks[i].task =
            (struct task){.step = ring_step, .class = TASK_QUERY};
        r->tasks[i].ring = r;
    }
    return r;
}

void flat_ring_destroy(struct flat_ring *r)
{
    ASSERT(flat_ring_is_parked(r));
    lock_deinit(&r->lock);
    mem_free(r);
}

void flat_ring_add(struct flat_ring *r, struct flat_search *s)
{
    struct flat_search *top;
    unsigned want = run_count(s);
    unsigned i;

    flat_scan_begin(s);
    lock_init(&s->lock, LOCK_QUERY);
    top = atomic_load_explicit(&r->incoming, memory_order_relaxed);
    do {
        s->next = top;
    } while (!atomic_compare_exchange_weak(&r->incoming, &top, s));
    for (i = 0; i < r->n_tasks && i < want; i++) {
        if (!atomic_exchange(&r->tasks[i].active, true)) {
            pool_submit(r->pool, &r->tasks[i].task);
        }
    }
}

bool flat_ring_is_parked(const struct flat_ring *r)
{
    unsigned i;

    for (i = 0; i < r->n_tasks; i++) {
        if (atomic_load(&r->tasks[i].active)) {
            return false;
        }
    }
    return !atomic_load(&r->incoming);
}
