/* The tail of a set's graph: the rows that are not linked yet.
 *
 *   fresh slots:  fresh_from ····· buckets ····· bucketed_to ···· raw ···· end
 *   used slots:   late_from  ····· buckets ····· late_bucketed_to · raw ·
 * late_n
 *
 * A short tail is raw: every search scans it. When it has grown long, as in a
 * burst of writes that builders cannot keep up with, workers assign its rows to
 * buckets (buckets.h) in the order they came, and keep it so that what is raw
 * stays short. Rows are linked in the same order, so segments of the front
 * become superfluous one after the other.
 *
 *  B4  A live slot of the tail lies in the raw part, or in a segment, put there
 *      after its row was written: a slot below the tail's edge that is used
 *      again is listed as late, unless it is listed, raw, already.
 *
 * Places in the list of used slots are counted from the first one there was,
 * since the list is copied and begun anew now and then. */
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"

enum {
    LATE_MIN = 64,
    RAW_BYTES = 384 << 10, /* scanned by every search: 25 us */
    RAW_MIN = 1024,
    RAW_MAX = 16384,
    BUCKETS_FROM = 2,         /* times as much raw is worth training for */
    URGENT_FROM = 8,          /* and to let everything else wait */
    ASSIGN_MAX = 64 * 1024,   /* rows of one job */
    SEGMENT_MAX = 128 * 1024, /* so that memory comes back bit by bit */
    MERGE_MIN = 4,            /* segments at a time */
    MERGE_MAX = 16,
    SEGMENTS_MANY = 24,
    TRAIN_GROWTH = 8, /* times as many rows need other centroids */
};

/* ---- the list of used slots ---------------------------------------------- */

static size_t late_bytes(uint32_t cap)
{
    return sizeof(struct late_list) + cap * sizeof(slot_id);
}

static void late_reclaim(struct retired *r, void *arg)
{
    struct late_list *l = CONTAINER_OF(r, struct late_list, retired);

    (void)arg;
    region_free(l->region, l, late_bytes(l->cap), 1);
}

enum err graph_fit_late(struct graph *g)
{
    struct region *r = &g->set->memory;
    struct late_list *old = g->late, *fresh;
    uint32_t waiting = g->late_n - g->late_from;
    uint32_t cap = LATE_MIN;

    if (old && g->late_n < old->cap) {
        return ERR_OK;
    }
    if (old && !waiting && !g->job && epoch_is_quiet(g->keyspace->epoch)) {
        g->late_base += g->late_from;
        g->late_from = g->late_n = 0;
        return ERR_OK;
    }
    while (cap < 2 * waiting) {
        cap *= 2;
    }
    fresh = region_alloc(r, late_bytes(cap), 1);
    if (!fresh) {
        return ERR_NOMEM;
    }
    fresh->region = r;
    fresh->cap = cap;
    if (old) {
        memcpy(fresh->slots, old->slots + g->late_from,
               waiting * sizeof(slot_id));
        epoch_retire(g->keyspace->epoch, &old->retired, late_reclaim, NULL);
    }
    if (g->job) {
        g->job->late_to -= g->late_from;
    }
    g->late = fresh;
    g->late_base += g->late_from;
    g->late_n = waiting;
    g->late_from = 0;
    return ERR_OK;
}

void graph_note_late(struct graph *g, slot_id slot)
{
    graph_bit_set(g->waiting, slot);
    if (!graph_bit(g->raw, slot)) {
        graph_bit_set(g->raw, slot);
        g->late->slots[g->late_n++] = slot;
    }
}

enum err graph_add_late(struct graph *g, slot_id slot)
{
    enum err err = graph_fit_late(g);

    if (!err) {
        graph_note_late(g, slot);
    }
    return err;
}

/* ---- what is where ------------------------------------------------------- */

static slot_id higher(slot_id a, slot_id b)
{
    return a > b ? a : b;
}

slot_id graph_tail_edge(const struct graph *g)
{
    slot_id edge = higher(g->fresh_from, g->bucketed_to);

    edge = g->job ? higher(edge, g->job->fresh_to) : edge;
    return g->tail_job ? higher(edge, g->tail_job->bucketed_to) : edge;
}

uint32_t graph_bucketed(const struct graph *g)
{
    return graph_raw_from(g) - g->fresh_from + graph_raw_late(g) - g->late_from;
}

uint32_t graph_raw_bound(const struct vec_format *f)
{
    uint32_t rows = RAW_BYTES / f->row_bytes;

    rows = rows < RAW_MIN ? RAW_MIN : rows;
    return rows > RAW_MAX ? RAW_MAX : rows;
}

size_t graph_tail_bytes(const struct graph *g)
{
    return (g->late ? region_cost(late_bytes(g->late->cap), 1) : 0) +
           (g->buckets ? buckets_dir_bytes(g->buckets) : 0) +
           (g->centroids ? region_cost(g->centroids->bytes, VEC_ALIGN) : 0);
}

void graph_tail_free(struct graph *g)
{
    if (g->late) {
        region_free(&g->set->memory, g->late, late_bytes(g->late->cap), 1);
    }
    if (g->buckets) {
        buckets_dir_free(g->buckets);
    }
    if (g->centroids) {
        buckets_centroids_release(g->centroids);
    }
}

/* ---- segments come and go ------------------------------------------------ */

/* Some of its rows are not linked yet. */
static bool is_wanted(const void *arg, const struct bucket_segment *s)
{
    const struct graph *g = arg;

    return s->to > (s->late ? g->late_base + g->late_from : g->fresh_from);
}

struct merging {
    const struct graph *g;
    const struct bucket_segment *into;
};

static bool is_apart(const void *arg, const struct bucket_segment *s)
{
    const struct merging *m = arg;

    return is_wanted(m->g, s) &&
           !(s->late == m->into->late && s->from >= m->into->from &&
             s->to <= m->into->to);
}

void graph_tail_shrink(struct graph *g)
{
    uint32_t i, unwanted = 0;

    for (i = 0; g->buckets && i < g->buckets->n; i++) {
        unwanted += !is_wanted(g, g->buckets->segments[i]);
    }
    /* Without memory for it they stay a while longer. */
    if (unwanted) {
        (void)!buckets_dir_change(g->buckets, &g->set->memory,
                                  g->keyspace->epoch, is_wanted, g, NULL,
                                  &g->buckets);
    }
}

/* Lets searches find what is in a segment, which then takes the place of those
 * it was made of. */
static bool list_segment(struct graph *g, struct bucket_segment *s)
{
    struct merging m = {g, s};

    if (!is_wanted(g, s)) {
        buckets_segment_free(s);
        return true;
    }
    if (buckets_dir_change(g->buckets, &g->set->memory, g->keyspace->epoch,
                           is_apart, &m, s, &g->buckets) != ERR_OK) {
        buckets_segment_free(s);
        return false;
    }
    return true;
}

/* ---- jobs ---------------------------------------------------------------- */

static struct bucket_formats formats_of(const struct graph_job *job)
{
    return (struct bucket_formats){.stored = &job->g->set->format,
                                   .codes = &job->g->codes,
                                   .rows = job->rows};
}

static void trained(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);
    struct graph *g = job->g;

    if (graph_job_is_cancelled(job)) {
        graph_abandon_job(job);
        return;
    }
    buckets_training_next(job->training);
    if (buckets_training_units(job->training) > 0) {
        graph_run_phase(job, buckets_training_units(job->training));
        return;
    }
    if (g->centroids) {
        buckets_centroids_release(g->centroids);
    }
    g->centroids = buckets_training_end(job->training);
    g->trained_at = graph_waiting(g);
    graph_job_end(job, true);
}

static void begin_training(struct graph *g)
{
    struct graph_job *job =
        graph_job_create(g, JOB_TRAIN, &g->tail_job, trained);
    struct bucket_formats f;

    if (!job) {
        return;
    }
    f = formats_of(job);
    job->training = buckets_training_begin(&f, &g->set->memory,
                                           g->set->elements.slots.n_slots,
                                           graph_waiting(g), g->set->seed);
    if (!job->training) {
        graph_job_end(job, false);
        return;
    }
    graph_run_phase(job, buckets_training_units(job->training));
}

static void worked(struct completion *c)
{
    struct graph_job *job = CONTAINER_OF(c, struct graph_job, completion);
    struct graph *g = job->g;
    slot_id to = job->bucketed_to;
    uint64_t late_to = job->late_bucketed_to;
    bool listed;

    if (graph_job_is_cancelled(job)) {
        graph_abandon_job(job);
        return;
    }
    buckets_work_next(job->work);
    if (buckets_work_units(job->work) > 0) {
        graph_run_phase(job, buckets_work_units(job->work));
        return;
    }
    listed = list_segment(g, buckets_work_end(job->work));
    if (listed) {
        g->bucketed_to = higher(g->bucketed_to, to);
        g->late_bucketed_to =
            late_to > g->late_bucketed_to ? late_to : g->late_bucketed_to;
    }
    graph_job_end(job, listed);
}

/* Assigns raw rows, of the part where there are more. */
static void begin_assigning(struct graph *g)
{
    struct graph_job *job =
        graph_job_create(g, JOB_ASSIGN, &g->tail_job, worked);
    uint32_t late = graph_raw_late(g), i;
    slot_id first = graph_raw_from(g), end = g->set->elements.slots.n_slots;
    struct bucket_formats f;
    struct bucket_assignment a = {.centroids = g->centroids,
                                  .region = &g->set->memory,
                                  .late = g->late_n - late > end - first};

    if (!job) {
        return;
    }
    f = formats_of(job);
    a.formats = &f;
    a.from = a.late ? g->late_base + late : first;
    a.to = a.late ? g->late_base + g->late_n : end;
    a.to = a.to - a.from < ASSIGN_MAX ? a.to : a.from + ASSIGN_MAX;
    a.list = a.late ? g->late->slots + late : NULL;
    job->work = buckets_assign_begin(&a);
    if (!job->work) {
        graph_job_end(job, false);
        return;
    }
    /* From now on they are listed anew when they are used again: B4. */
    for (i = 0; a.late && i < a.to - a.from; i++) {
        graph_bit_clear(g->raw, a.list[i]);
    }
    if (a.late) {
        job->late_bucketed_to = a.to;
    } else {
        job->bucketed_to = (slot_id)a.to;
    }
    graph_run_phase(job, buckets_work_units(job->work));
}

/* Of segments that end at `last`, how many are to become one: so that there are
 * few of about one size. */
static uint32_t to_merge(const struct bucket_dir *d, uint32_t last)
{
    const struct bucket_segment *s = d->segments[last];
    uint64_t sum = s->n;
    uint32_t n = 1;

    for (; n <= last && n < MERGE_MAX; n++) {
        const struct bucket_segment *before = d->segments[last - n];

        if (before->late != s->late || before->centroids != s->centroids ||
            (n >= MERGE_MIN && before->n > sum) ||
            sum + before->n > SEGMENT_MAX || before->n > 2 * sum) {
            break;
        }
        sum += before->n;
    }
    return n >= MERGE_MIN ? n : 0;
}

static bool begin_merging(struct graph *g)
{
    struct bucket_dir *d = g->buckets;
    struct graph_job *job;
    uint32_t i, n = 0;

    for (i = d ? d->n : 0; i > 0 && !n; i--) {
        bool is_last =
            i == d->n || d->segments[i]->late != d->segments[i - 1]->late ||
            d->segments[i]->centroids != d->segments[i - 1]->centroids;

        n = is_last ? to_merge(d, i - 1) : 0;
    }
    if (!n) {
        return false;
    }
    job = graph_job_create(g, JOB_MERGE, &g->tail_job, worked);
    if (!job) {
        return true;
    }
    job->work = buckets_merge_begin(d->segments + i + 1 - n, n, g->fresh_from);
    if (!job->work) {
        graph_job_end(job, false);
        return true;
    }
    graph_run_phase(job, buckets_work_units(job->work));
    return true;
}

/* Each costs a search a little for every bucket. */
static bool has_many(const struct graph *g)
{
    return g->buckets && g->buckets->n >= SEGMENTS_MANY;
}

/* Searches that scan more are the lesser evil where memory is short. */
static bool has_room(const struct graph *g, uint32_t rows)
{
    return mem_has_room(buckets_assign_cost(
        g->centroids, rows < ASSIGN_MAX ? rows : ASSIGN_MAX));
}

bool graph_tail_is_urgent(const struct graph *g)
{
    return g->tail_job && graph_raw_rows(g) >= g->raw_bound * URGENT_FROM;
}

void graph_tail_pump(struct graph *g)
{
    uint32_t bound = g->raw_bound;
    uint32_t raw = graph_raw_rows(g);

    if (g->tail_job || g->is_going || g->dropped || g->left ||
        g != g->set->graph || !g->keyspace->builders) {
        return;
    }
    if (raw >= bound * BUCKETS_FROM && !g->centroids) {
        begin_training(g);
    } else if (g->centroids &&
               graph_waiting(g) / TRAIN_GROWTH > g->trained_at) {
        begin_training(g);
    } else if (has_many(g) && begin_merging(g)) {
        return;
    } else if (g->centroids && raw >= bound / 2 && has_room(g, raw)) {
        begin_assigning(g);
    } else if (!begin_merging(g) && !g->buckets && g->centroids &&
               graph_waiting(g) == 0) {
        buckets_centroids_release(g->centroids);
        g->centroids = NULL;
    }
}
