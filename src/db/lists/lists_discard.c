/* A set gives up its vectors: VTRAIN IVF PQ m DISCARD.
 *
 * What is left of a vector is its code (vec/pq_rows.h): rows of another format.
 * So another set is made beside the one there is, with the same elements; when
 * all are there and lie in their lists, it takes the place of the first, which
 * is dropped. Until then the first answers, and every write to it is made to
 * the second, too.
 *
 * Builders encode some rows at a time, under a ticket: a slot that is live both
 * before and after holds the row that was encoded. The loop adds them, unless
 * an element of that name is there already: then it was written meanwhile, and
 * is newer.
 *
 * A code is made of the row as it was stored, not of the vector as it was
 * given, also for what is written meanwhile; so it makes no difference when
 * the log has it happen, which is where the second set takes its place. */
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"
#include "vec/pq_rows.h"

enum {
    BATCH = 4096, /* rows that are encoded at a time */
    UNIT = 64,
    LOOK = 16,             /* rows between two looks at the clock */
    PASSED_MOST = 1 << 17, /* slots that are looked at in one go */
    SLICE_NS = 500000,
};

struct lists_discard {
    /* Where the new set counts until it takes the place of the old one: nobody
     * sees that. */
    struct database db;
    struct vset *to;
    struct vset *from;
    struct lists_job *job; /* NULL: all is done at once */
    bool waits;            /* the job, for the lists to be filled or at rest */
    bool at_rest;          /* they are kept so */
    bool failed;           /* a write could not be made to the new set */
    float *x;              /* a vector of the loop's */
    uint8_t *row;          /* and its code */
    slot_id at;            /* of the old set, the next to be looked at */
    slot_id *slots;        /* a batch: n of them, the first `added` done */
    uint8_t *rows;
    uint32_t n, added;
};

/* ---- beginning and end ------------------------------------------------- */

static void discard_free(struct lists_discard *d)
{
    if (d->to) {
        if (d->to->lists) {
            d->to->lists->becoming = NULL;
        }
        vset_drop(d->to);
    }
    mem_free(d->x);
    mem_free(d->row);
    mem_free(d->slots);
    mem_free(d->rows);
    mem_free(d);
}

static struct vset *create_set(struct lists_discard *d,
                               const struct lists_result *r)
{
    const struct vset *v = d->from;
    struct vset_options o = v->options;
    struct vset *to;

    o.index = VSET_INDEX_IVF;
    o.pq_m = (uint16_t)r->options.pq_m;
    to = vset_create_pq(v->keyspace, &d->db, &o, r->pq);
    if (!to) {
        return NULL;
    }
    to->seed = v->seed;
    to->n_builds = r->build ? r->build - 1 : v->n_builds;
    to->n_frozen = 1;
    if ((uint64_t)vset_count(v) * to->format.row_bytes > VSET_PRIVATE_AT) {
        region_make_private(&to->memory);
    }
    return to;
}

static enum err copy_matrix(struct lists_discard *d)
{
    const struct vset *v = d->from;

    if (!v->matrix) {
        return ERR_OK;
    }
    d->to->matrix = region_alloc(&d->to->memory, vset_matrix_bytes(v), 1);
    if (!d->to->matrix) {
        return ERR_NOMEM;
    }
    memcpy(d->to->matrix, v->matrix, vset_matrix_bytes(v));
    return ERR_OK;
}

/* The last thing that may fail: it takes over the centroids. */
static enum err create_lists(struct lists_discard *d,
                             const struct lists_result *r)
{
    struct lists_home *h = lists_home_of(d->to);
    struct lists *l = h ? lists_make(h, &r->options) : NULL;
    enum err err;

    if (!l) {
        return ERR_NOMEM;
    }
    l->trained_rows = r->trained_rows;
    l->trained_at = r->trained_at;
    l->train_s = r->train_s;
    err = lists_install(l, r->centroids, NULL);
    if (err) {
        lists_drop(l);
        return err;
    }
    l->goal = vset_count(d->from);
    h->becoming = d;
    return ERR_OK;
}

/* fails  NULL when memory is out. */
static struct lists_discard *discard_create(struct vset *v,
                                            const struct lists_result *r)
{
    struct lists_discard *d = mem_try_alloc(sizeof(*d));

    if (!d) {
        ivf_centroids_destroy(r->centroids);
        return NULL;
    }
    memset(d, 0, sizeof(*d));
    d->from = v;
    d->db.keyspace = v->keyspace;
    d->to = create_set(d, r);
    d->x = mem_try_alloc(v->format.dim * sizeof(float));
    d->row = d->to ? mem_try_alloc(d->to->format.row_bytes) : NULL;
    d->slots = mem_try_alloc(BATCH * sizeof(*d->slots));
    d->rows =
        d->to ? mem_try_alloc(BATCH * (size_t)d->to->format.row_bytes) : NULL;
    if (!d->to || !d->x || !d->row || !d->slots || !d->rows ||
        copy_matrix(d) != ERR_OK || create_lists(d, r) != ERR_OK) {
        ivf_centroids_destroy(r->centroids);
        discard_free(d);
        return NULL;
    }
    return d;
}

void lists_discard_abandon(struct lists_home *h)
{
    struct lists_discard *d = h->discard;

    h->discard = NULL;
    discard_free(d);
}

/* From now on the new set, which the caller thaws, is the key's value. */
static void put_in_place(struct lists_discard *d)
{
    struct vset *to = d->to;

    d->to = NULL;
    to->lists->becoming = NULL;
    vset_take_place(to, d->from);
    discard_free(d);
}

/* ---- elements ---------------------------------------------------------- */

static void encode(const struct lists_discard *d, const uint8_t *row, float *x,
                   uint8_t *out)
{
    const struct vec_format *f = &d->from->format;

    vec_decode_unit(f, row, x);
    vec_pq_row_put(&d->to->format, x, vec_norm(f, row), out);
}

/* The element of a slot, with a row that has been made of it. */
static enum err add(struct lists_discard *d, slot_id slot, const uint8_t *row)
{
    const struct vset *v = d->from;
    struct vset_element e = {.name = vset_name(v, slot),
                             .row = row,
                             .fine = row, /* there is none */
                             .attribute = vset_attribute(v, slot),
                             .has_attribute = true};
    bool added;

    return vset_add(d->to, &e, &added);
}

static void note(struct lists_discard *d, enum err err)
{
    d->failed = d->failed || err;
}

void lists_discard_note_put(struct lists_home *h, slot_id slot)
{
    struct lists_discard *d = h->discard;

    if (!d->failed) {
        encode(d, vset_row(d->from, slot), d->x, d->row);
        note(d, add(d, slot, d->row));
    }
}

void lists_discard_note_gone(struct lists_home *h, slot_id slot)
{
    struct lists_discard *d = h->discard;
    bool removed;

    if (!d->failed) {
        note(d, vset_remove(d->to, vset_name(d->from, slot), &removed));
    }
}

void lists_discard_note_attribute(struct lists_home *h, slot_id slot)
{
    struct lists_discard *d = h->discard;
    slot_id at;

    if (!d->failed) {
        at = vset_find(d->to, vset_name(d->from, slot));
        if (at != SLOT_NONE) { /* else it comes along with its element */
            note(d,
                 vset_set_attribute(d->to, at, vset_attribute(d->from, slot)));
        }
    }
}

/* The next rows of the old set. */
static void pick(struct lists_discard *d)
{
    const struct slots *s = &d->from->elements.slots;
    slot_id end = s->n_slots;

    if (end - d->at > PASSED_MOST) {
        end = d->at + PASSED_MOST;
    }
    d->n = d->added = 0;
    for (; d->at < end && d->n < BATCH; d->at++) {
        if (slots_is_live(s, d->at)) {
            d->slots[d->n++] = d->at;
        }
    }
}

/* Adds one of the batch, unless it has changed since. */
static enum err add_next(struct lists_discard *d)
{
    const struct vset *v = d->from;
    uint32_t i = d->added++;
    slot_id slot = d->slots[i];

    if (!slots_is_live(&v->elements.slots, slot) ||
        vset_find(d->to, vset_name(v, slot)) != SLOT_NONE) {
        return ERR_OK;
    }
    return add(d, slot, d->rows + (size_t)i * d->to->format.row_bytes);
}

/* ---- all at once ------------------------------------------------------- */

enum err lists_discard_now(struct vset *v, const struct lists_result *r)
{
    struct lists_discard *d = discard_create(v, r);
    enum err err = ERR_OK;
    struct vset *to;

    if (!d) {
        return ERR_NOMEM;
    }
    while (d->at < v->elements.slots.n_slots && !err) {
        uint32_t i;

        pick(d);
        for (i = 0; i < d->n; i++) {
            encode(d, vset_row(v, d->slots[i]), d->x,
                   d->rows + (size_t)i * d->to->format.row_bytes);
        }
        while (d->added < d->n && !err) {
            err = add_next(d);
        }
    }
    if (err) {
        discard_free(d);
        return err;
    }
    to = d->to;
    put_in_place(d);
    vset_thaw(to);
    lists_pump(to, true);
    return ERR_OK;
}

/* ---- slice by slice ---------------------------------------------------- */

/* What the log is told does not change any more; false: the job waits. */
static bool rests(struct lists_job *job)
{
    struct lists_discard *d = job->home->discard;

    if (!d->at_rest) {
        d->at_rest = true;
        vset_freeze(d->to);
    }
    if (lists_is_busy(d->to)) {
        d->waits = true;
        return false;
    }
    if (!job->log) {
        ASSERT(lists_form_of(d->to, lists_log_begin(job)));
    }
    return true;
}

static void take_place(struct lists_job *job)
{
    struct lists_home *h = job->home;
    struct lists_discard *d = h->discard;
    struct vset *to = d->to;

    if (d->failed) {
        lists_job_give_up(job);
    } else if (h->set->n_frozen || !h->set->entry) {
        lists_job_wait(job); /* it is being written down, or read */
    } else if (rests(job) && lists_log_some(job)) {
        h->discard = NULL;
        put_in_place(d);
        lists_log_end(job, to);
        vset_thaw(to);
        lists_job_end(job, false);
    }
}

/* Everybody is there: rows move into lists. The job waits for that. */
static void fill(struct lists_job *job)
{
    struct lists_discard *d = job->home->discard;

    job->next = take_place;
    d->waits = true;
    vset_thaw(d->to);
    lists_pump(d->to, true);
    lists_discard_filled(d->to->lists);
}

void lists_discard_filled(struct lists_home *of)
{
    struct lists_discard *d = of->becoming;
    const struct lists *l = of->answers;

    if (d->waits && l->is_filled) {
        d->waits = false;
        lists_job_yield(d->job);
    }
}

void lists_discard_cancel(struct lists_home *h)
{
    struct lists_discard *d = h->discard;

    if (d->waits) {
        d->waits = false;
        lists_job_yield(d->job);
    }
}

void lists_discard_settle(struct lists_home *of)
{
    vset_settle_all(&of->becoming->db);
}

static void unit_of_encode(struct lists_job *job, uint32_t unit,
                           struct lists_task *t)
{
    struct lists_discard *d = job->home->discard;
    uint32_t first = unit * UNIT;
    uint32_t i;

    if (!t->work_block) {
        t->work_block = mem_alloc(d->to->format.dim * sizeof(float));
    }
    for (i = first; i < first + UNIT && i < d->n; i++) {
        encode(d, row_map_at(&job->view.rows, d->slots[i]), t->work_block,
               d->rows + (size_t)i * d->to->format.row_bytes);
    }
}

static void begin_batch(struct lists_job *job);

static void next_of_adding(struct lists_job *job)
{
    struct lists_discard *d = job->home->discard;
    int64_t end = clock_mono_ns() + SLICE_NS;

    vset_settle_all(&d->db);
    while (d->added < d->n && !d->failed) {
        note(d, add_next(d));
        if (d->added % LOOK == 0 && clock_mono_ns() > end) {
            break;
        }
    }
    if (d->failed) {
        lists_job_give_up(job);
    } else if (d->added < d->n) {
        lists_job_yield(job);
    } else {
        lists_job_give_ticket_back(job);
        begin_batch(job);
    }
}

static void begin_batch(struct lists_job *job)
{
    struct lists_discard *d = job->home->discard;

    if (d->at >= d->from->elements.slots.n_slots) {
        fill(job);
        return;
    }
    lists_job_take_ticket(job);
    pick(d);
    job->unit = unit_of_encode;
    job->next = next_of_adding;
    lists_job_phase(job, (d->n + UNIT - 1) / UNIT, UINT32_MAX);
}

enum err lists_discard_begin(struct lists_job *job,
                             const struct lists_result *r)
{
    struct lists_home *h = job->home;
    struct lists_discard *d = discard_create(h->set, r);

    if (!d) {
        return ERR_NOMEM;
    }
    d->job = job;
    h->discard = d;
    lists_job_give_ticket_back(job);
    begin_batch(job);
    return ERR_OK;
}

double lists_discard_progress(const struct lists_home *h, bool *filling)
{
    const struct lists_discard *d = h->discard;
    const struct lists *l = d->to->lists->answers;
    double n = d->from->elements.slots.n_slots;

    *filling = d->waits;
    if (d->waits) {
        n = l->goal ? l->goal : 1;
        return (double)l->moved < n ? (double)l->moved / n : 1;
    }
    return n > 0 ? d->at / n : 1;
}
