/* Measuring recall: see recall.h. */
#include "db/search/recall.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"
#include "db/search/search.h"
#include "db/vset/vset_impl.h"

enum {
    CALIBRATION_SAMPLES = 100,
    CALIBRATION_K = 10,
    UNCALIBRATED_EF = 100, /* for a recall of 0.9; more for more */
};

#define UNCALIBRATED_SHARE 0.05 /* of the lists, likewise */
#define FILLED_SHARE       0.9

/* What may be missed of a set's own rows, which lists were made for, so that a
 * query from outside misses what it may. */
#define OWN_ROWS_MISS 0.6

/* Efforts that are measured: EF, or numbers of lists, from a thousandth of all
 * to a quarter: a search that ends early where little is to be expected finds
 * much in few. */
static uint32_t calibration_effort(const struct vset *v, int i)
{
    const struct ivf *lists = lists_of(v);
    uint32_t n;

    if (!lists) {
        return 16u << i;
    }
    n = (uint32_t)(ivf_n_lists(lists) / 4.0 *
                   exp2(4.0 / 3 * (i + 1 - RECALL_EFS_MAX)));
    return n > (uint32_t)i ? n : (uint32_t)i + 1;
}

struct recall {
    struct vset *set;
    struct recall_request request;
    uint32_t sample; /* taken so far */
    uint32_t at;     /* 0: the exact search, then the efforts */
    float *vector;   /* of this sample */
    slot_id slot;
    double *nearest; /* distances of the exact answer */
    size_t n_nearest;
    double sums[RECALL_EFS_MAX];
    time_us exact_us;
    time_us *took; /* by sample, with the first effort */
    recall_done_fn *done;
    void *arg;
    bool stopped;
    uint64_t hold;             /* keeps the set; a new one for each sample */
    struct recall *next, **in; /* keyspace->recalls */
};

/* ---- life -------------------------------------------------------------- */

static void recall_free(struct recall *r)
{
    if (r->in) {
        *r->in = r->next;
        if (r->next) {
            r->next->in = r->in;
        }
    }
    mem_free(r->vector);
    mem_free(r->nearest);
    mem_free(r->took);
    mem_free(r);
}

static struct recall *recall_create(struct vset *v,
                                    const struct recall_request *q,
                                    recall_done_fn *done, void *arg)
{
    struct recall *r = mem_calloc(1, sizeof(*r));

    r->set = v;
    r->request = *q;
    r->done = done;
    r->arg = arg;
    if (r->request.k > vset_count(v)) {
        r->request.k = vset_count(v);
    }
    r->vector = mem_alloc(v->options.dim * sizeof(*r->vector));
    r->nearest = mem_try_alloc((r->request.k + 1) * sizeof(*r->nearest));
    r->took = mem_try_alloc((q->samples + 1) * sizeof(*r->took));
    if (!r->nearest || !r->took) {
        recall_free(r);
        return NULL;
    }
    return r;
}

static int compare_times(const void *a, const void *b)
{
    const time_us *x = a;
    const time_us *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void sum_up(struct recall *r, struct recall_result *out)
{
    uint32_t n = r->sample;
    uint32_t i;

    *out = (struct recall_result){.samples = n};
    if (n == 0) {
        return;
    }
    qsort(r->took, n, sizeof(*r->took), compare_times);
    out->p50 = r->took[n / 2];
    out->p99 = r->took[(uint64_t)n * 99 / 100];
    out->exact = r->exact_us / n;
    for (i = 0; i < r->request.n_efs; i++) {
        out->recall[i] = r->sums[i] / n;
    }
}

/* ---- one search after the other ---------------------------------------- */

static void write_distances(const struct search *s, const void *data,
                            struct buf *out)
{
    size_t n = search_hit_count(s), i;
    struct search_hit hit;

    (void)data;
    for (i = 0; i < n; i++) {
        search_hit_read(s, i, &hit);
        buf_append(out, &hit.distance, sizeof(hit.distance));
    }
}

/* A database that is flushed is exchanged, and its sets are not told. */
static bool is_in_keyspace(const struct vset *v)
{
    const struct keyspace *ks = v->keyspace;
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (ks->dbs[i] == v->db) {
            return true;
        }
    }
    return false;
}

static bool is_over(const struct recall *r)
{
    return r->stopped || !is_in_keyspace(r->set) || vset_count(r->set) < 2 ||
           r->sample == r->request.samples;
}

/* Makes the next search. */
static enum err prepare(struct recall *r, struct search **out)
{
    struct vset *v = r->set;
    struct search_request q = {.slot = SLOT_NONE,
                               .k = r->request.k,
                               .radius = (double)INFINITY,
                               .format = write_distances};

    if (r->at == 0) {
        r->slot = vset_random(v);
        vec_decode(&v->format, vset_row(v, r->slot), r->vector);
        vec_keep_finite(&v->format, vset_row(v, r->slot), r->vector);
    }
    q.vector = r->vector;
    q.exclude = r->slot;
    q.exact = r->at == 0;
    if (r->at && r->request.probes) {
        q.nprobe = r->request.efs[r->at - 1];
        q.about = r->request.about;
    } else if (r->at) {
        q.ef = r->request.efs[r->at - 1];
    }
    return search_create(v, &q, out);
}

/* Takes an answer down and goes on to what comes after it. */
static void note(struct recall *r, struct search *s)
{
    const struct buf *b = search_reply(s);
    size_t n = b->len / sizeof(double);
    size_t found = 0;
    double distance;
    size_t i;

    if (r->at == 0) {
        r->n_nearest = n < r->request.k ? n : r->request.k;
        if (r->n_nearest) { /* an empty buffer may have no memory */
            memcpy(r->nearest, b->data, r->n_nearest * sizeof(double));
        }
        r->exact_us += search_run_us(s);
        r->at = 1;
        return;
    }
    for (i = 0; i < n && r->n_nearest; i++) {
        memcpy(&distance, b->data + i * sizeof(double), sizeof(double));
        found += distance <= r->nearest[r->n_nearest - 1];
    }
    found = found < r->n_nearest ? found : r->n_nearest;
    r->sums[r->at - 1] +=
        r->n_nearest ? (double)found / (double)r->n_nearest : 1;
    if (r->at == 1) {
        r->took[r->sample] = search_run_us(s);
    }
    if (r->at++ == r->request.n_efs) {
        r->at = 0;
        r->sample++;
    }
}

static void go_on(struct recall *r);

static void answered(struct search *s, void *arg)
{
    note(arg, s);
    go_on(arg);
}

static void go_on(struct recall *r)
{
    struct epoch *epoch = r->set->keyspace->epoch;
    uint64_t hold = r->hold;
    struct recall_result result;
    struct search *s;

    if (!is_over(r) && r->at == 0) {
        /* The set is there, so from now on is soon enough. */
        r->hold = epoch_hold(epoch);
        epoch_release(epoch, hold);
        hold = r->hold;
    }
    if (!is_over(r) && prepare(r, &s) == ERR_OK) {
        search_submit(s, answered, r);
        return;
    }
    if (r->done) {
        sum_up(r, &result);
        r->done(&result, r->arg);
    }
    recall_free(r);
    epoch_release(epoch, hold); /* the set may go with it */
}

struct recall *recall_begin(struct vset *v, const struct recall_request *q,
                            recall_done_fn *done, void *arg)
{
    struct keyspace *ks = v->keyspace;
    struct recall *r = recall_create(v, q, done, arg);

    if (!r) {
        return NULL;
    }
    r->hold = epoch_hold(ks->epoch);
    r->next = ks->recalls;
    if (r->next) {
        r->next->in = &r->next;
    }
    r->in = &ks->recalls;
    ks->recalls = r;
    go_on(r);
    return r;
}

void recall_cancel(struct recall *r)
{
    r->done = NULL;
    r->stopped = true;
}

void recall_stop_all(struct keyspace *ks)
{
    struct recall *r;

    for (r = ks->recalls; r; r = r->next) {
        r->stopped = true;
    }
}

static void noted(struct search *s, void *arg)
{
    note(arg, s);
}

enum err recall_run(struct vset *v, const struct recall_request *q,
                    recall_done_fn *done, void *arg)
{
    struct recall *r = recall_create(v, q, done, arg);
    struct recall_result result;
    struct search *s;

    if (!r) {
        return ERR_NOMEM;
    }
    while (!is_over(r) && prepare(r, &s) == ERR_OK) {
        search_run(s, noted, r);
    }
    sum_up(r, &result);
    done(&result, arg);
    recall_free(r);
    return ERR_OK;
}

/* ---- calibration ------------------------------------------------------- */

static void calibrated(const struct recall_result *result, void *arg)
{
    struct vset *v = arg;
    int i;

    v->is_calibrating = false;
    if (result->samples < CALIBRATION_SAMPLES) {
        return;
    }
    for (i = 0; i < RECALL_EFS_MAX; i++) {
        float before = i ? v->recall[i - 1] : 0;
        float now = (float)result->recall[i];

        /* More effort finds no less but for chance. */
        v->recall[i] = now > before ? now : before;
    }
    v->calibrated_at = vset_count(v);
}

/* What answers, by number; 0: nothing but scans. */
static uint32_t body_build(const struct vset *v)
{
    struct graph_info g;

    if (lists_of(v)) {
        return v->lists->answers->build;
    }
    graph_info_read(v, &g);
    return g.has_graph ? g.build : 0;
}

/* Rows that are in no list are found at any effort: nothing is learned while
 * there are many. */
static bool is_filled(const struct vset *v)
{
    struct lists_view view;

    lists_view_take(v, &view);
    return !view.ivf || (double)view.n_listed >= FILLED_SHARE * vset_count(v);
}

static bool is_stale(const struct vset *v, uint32_t build)
{
    return build && vset_count(v) > CALIBRATION_K && is_filled(v) &&
           (v->calibrated_build != build ||
            vset_count(v) > v->calibrated_at + v->calibrated_at / 2);
}

static void calibrate(struct vset *v)
{
    struct recall_request q = {.samples = CALIBRATION_SAMPLES,
                               .k = CALIBRATION_K,
                               .n_efs = RECALL_EFS_MAX,
                               .probes = lists_of(v) != NULL,
                               .about = true};
    uint32_t build = body_build(v);
    int i;

    if (v->is_calibrating || !build) {
        return;
    }
    if (v->calibrated_build != build) {
        v->calibrated_at = 0; /* of another body */
    }
    if (!is_stale(v, build)) {
        return;
    }
    for (i = 0; i < RECALL_EFS_MAX; i++) {
        q.efs[i] = calibration_effort(v, i);
    }
    v->calibrated_build = build;
    v->is_calibrating = true;
    if (!recall_begin(v, &q, calibrated, v)) {
        v->is_calibrating = false;
    }
}

/* The effort that reached a recall, between two that were measured; recall
 * grows less and less with effort, so a straight line is on the safe side. */
static double effort_measured(const struct vset *v, double recall)
{
    double from, to, share, low, high;
    int i = 0;

    if (lists_of(v)) {
        recall = 1 - (1 - recall) * OWN_ROWS_MISS;
    }
    while (i < RECALL_EFS_MAX && (double)v->recall[i] < recall) {
        i++;
    }
    if (i == 0 || i == RECALL_EFS_MAX) {
        return i ? 0 : calibration_effort(v, 0);
    }
    low = calibration_effort(v, i - 1);
    high = calibration_effort(v, i);
    if (v->recall[i] >= 1) {
        return high; /* by a scan perhaps, that all at once */
    }
    from = (double)v->recall[i - 1];
    to = (double)v->recall[i];
    share = (recall - from) / (to - from);
    return low + share * (high - low);
}

/* Before anything has been measured. */
static double effort_unmeasured(const struct vset *v, double recall)
{
    double most = lists_of(v) ? ivf_n_lists(lists_of(v)) * UNCALIBRATED_SHARE
                              : UNCALIBRATED_EF;

    return recall <= 0.9 ? most : most * 0.1 / (1 - recall);
}

/* A longer answer takes more effort for the same share of it; among lists, of
 * which each holds many rows, less so. */
static double effort_for(const struct vset *v, double effort, double k)
{
    double more = k > CALIBRATION_K ? k - CALIBRATION_K : 0;

    if (lists_of(v)) {
        return k > CALIBRATION_K ? effort * cbrt(k / CALIBRATION_K) : effort;
    }
    return fmax(effort + more, effort * sqrt(k / CALIBRATION_K));
}

uint32_t recall_effort(struct vset *v, double recall, size_t k)
{
    double ef;

    calibrate(v);
    if (recall >= 1) {
        return 0;
    }
    ef = v->calibrated_at ? effort_measured(v, recall)
                          : effort_unmeasured(v, recall);
    if (ef <= 0 || ef > 1 << 20) {
        return 0;
    }
    ef = effort_for(v, ef, (double)k);
    return ef < 1 << 20 ? (uint32_t)ceil(ef) : 0;
}

uint32_t recall_calibrated_at(const struct vset *v)
{
    return v->calibrated_at;
}
