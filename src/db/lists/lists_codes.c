/* The codes that rows in lists have besides: see index/ivf/codes.h.
 *
 * Products are learned before the lists are, from some of the same sample. A
 * code depends on the row alone: it goes where the row goes. */
#include <string.h>

#include "base/mem.h"
#include "db/lists/lists_impl.h"

enum {
    BOOKS_ROWS = 16384,     /* that products are learned from, at most */
    BOOKS_BYTES = 64 << 20, /* or as many as that holds */
    BOOKS_ROWS_MIN = 2048,
    BOOKS_ROUNDS = 12,
    FETCH_ROWS = 256,
};

static enum ivf_codes_kind kind_of(const struct lists *l)
{
    const struct vec_format *f = &l->home->set->format;

    if (f->type == VEC_PQ) {
        return IVF_CODES_NONE; /* rows are codes already */
    }
    switch (l->options.codes) {
    case LISTS_CODES_PQ:
        return IVF_CODES_PQ4;
    case LISTS_CODES_I8:
        return ivf_codes_suits(IVF_CODES_I8, f) ? IVF_CODES_I8 : IVF_CODES_NONE;
    default:
        return ivf_codes_kind_for(f);
    }
}

static size_t pq_bytes(const struct lists *l)
{
    return vec_pq_bytes(l->home->set->format.dim, l->options.pq_m);
}

enum err lists_make_pq(struct lists *l)
{
    const struct vec_format *f = &l->home->set->format;

    if (kind_of(l) != IVF_CODES_PQ4 || l->pq) {
        return ERR_OK;
    }
    l->pq = region_alloc(&l->home->set->memory, pq_bytes(l), 1);
    if (!l->pq) {
        return ERR_NOMEM;
    }
    vec_pq_init(l->pq, f->metric, f->dim, l->options.pq_m);
    return ERR_OK;
}

enum err lists_make_codes(struct lists *l)
{
    struct vset *v = l->home->set;
    struct ivf_codes_options o = {.kind = kind_of(l),
                                  .stored = &v->format,
                                  .pq = l->pq,
                                  .region = &v->memory,
                                  .epoch = v->keyspace->epoch};

    if (o.kind == IVF_CODES_NONE || l->codes) {
        return ERR_OK;
    }
    l->codes = ivf_codes_create(&o);
    return l->codes ? ERR_OK : ERR_NOMEM;
}

void lists_free_codes(struct lists *l)
{
    if (l->codes) {
        ivf_codes_destroy(l->codes);
    }
    if (l->pq) {
        region_free(&l->home->set->memory, l->pq, pq_bytes(l), 1);
    }
}

size_t lists_codes_bytes(const struct lists *l)
{
    return (l->codes ? ivf_codes_bytes(l->codes) : 0) +
           (l->pq ? region_cost(pq_bytes(l), 1) : 0);
}

/* ---- blocks ------------------------------------------------------------ */

enum err lists_block_add(struct lists *l, uint32_t list, uint32_t block)
{
    enum err err = l->codes ? ivf_codes_hold(l->codes, block) : ERR_OK;

    if (err) {
        return err;
    }
    err = ivf_block_add(l->ivf, list, block);
    if (err && l->codes) {
        ivf_codes_let_go(l->codes, block);
    }
    return err;
}

void lists_block_leave(struct lists *l, uint32_t block)
{
    ivf_block_leave(l->ivf, block);
    if (l->codes) {
        ivf_codes_let_go(l->codes, block);
    }
    slots_block_give(lists_slots(l->home), block);
}

/* ---- making codes ------------------------------------------------------ */

/* Aligned memory for it, at *block, to be freed. */
static void *work_for(const struct ivf_codes *c, void **block)
{
    size_t bytes = ivf_codes_work_bytes(c) + VEC_ALIGN;

    *block = mem_try_alloc(bytes);
    return *block ? (void *)(((uintptr_t)*block + VEC_ALIGN - 1) &
                             ~(uintptr_t)(VEC_ALIGN - 1))
                  : NULL;
}

void lists_encode(struct lists_job *job, uint32_t first, uint32_t n,
                  struct lists_task *t)
{
    const struct ivf_codes *c = job->into->codes;
    uint32_t i;

    if (!c) {
        return;
    }
    if (!t->work) {
        t->work = work_for(c, &t->work_block);
        ASSERT(t->work);
    }
    for (i = first; i < first + n; i++) {
        ivf_codes_encode(c, row_map_at(&t->rows, job->slots[i]), t->work,
                         job->codes + (size_t)i * ivf_codes_code_bytes(c));
    }
}

void lists_put_code(const struct lists_job *job, uint32_t at, slot_id lane)
{
    struct ivf_codes *c = job->into->codes;
    uint8_t *code;

    if (!c) {
        return;
    }
    code = job->codes + (size_t)at * ivf_codes_code_bytes(c);
    if (job->kind == LISTS_JOB_TEND) { /* the row has one already */
        ivf_codes_get(c, job->slots[at], code);
    }
    ivf_codes_put(c, lane, code);
}

enum err lists_encode_block(struct lists *l, uint32_t block, uint32_t lanes)
{
    const struct slots *s = lists_slots(l->home);
    void *memory, *work;
    uint8_t *code;

    if (!l->codes) {
        return ERR_OK;
    }
    work = work_for(l->codes, &memory);
    code = mem_try_alloc(ivf_codes_code_bytes(l->codes));
    for (; work && code && lanes; lanes &= lanes - 1) {
        slot_id slot = block * IVF_BLOCK + (slot_id)__builtin_ctz(lanes);

        ivf_codes_encode(l->codes, slots_row(s, slot), work, code);
        ivf_codes_put(l->codes, slot, code);
    }
    mem_free(memory);
    mem_free(code);
    return work && code ? ERR_OK : ERR_NOMEM;
}

/* ---- learning products ------------------------------------------------- */

static void unit_of_fetch(struct lists_job *job, uint32_t unit,
                          struct lists_task *t)
{
    uint32_t first = unit * FETCH_ROWS;
    uint32_t n = job->n_books_sample - first;

    (void)t;
    lists_fetch(job, first, n < FETCH_ROWS ? n : FETCH_ROWS,
                job->books_sample + (size_t)first * job->home->set->format.dim);
}

static void unit_of_learn(struct lists_job *job, uint32_t unit,
                          struct lists_task *t)
{
    const struct lists_options *o = &job->lists->options;
    uint8_t *work = mem_alloc(job->n_books_sample);

    (void)t;
    vec_pq_train(job->lists->pq, unit, job->books_sample, job->n_books_sample,
                 BOOKS_ROUNDS, o->seed ? o->seed : job->home->set->seed, work);
    mem_free(work);
}

static void learned(struct lists_job *job)
{
    mem_free(job->books_sample);
    job->books_sample = NULL;
    job->then(job);
}

static void fetched(struct lists_job *job)
{
    job->unit = unit_of_learn;
    job->next = learned;
    lists_job_phase(job, job->lists->pq->m, UINT32_MAX);
}

void lists_learn_codes(struct lists_job *job,
                       void (*then)(struct lists_job *job))
{
    size_t row = (size_t)job->home->set->format.dim * sizeof(float);
    uint32_t n = BOOKS_ROWS;

    job->then = then;
    if (!job->lists->pq || job->n_picked == 0) {
        then(job);
        return;
    }
    if (n * row > BOOKS_BYTES) {
        n = (uint32_t)(BOOKS_BYTES / row);
        n = n < BOOKS_ROWS_MIN ? BOOKS_ROWS_MIN : n;
    }
    job->n_books_sample = n < job->n_picked ? n : job->n_picked;
    job->books_sample = mem_try_alloc(job->n_books_sample * row);
    if (!job->books_sample) {
        lists_drop(job->lists);
        lists_job_end(job, false);
        return;
    }
    job->unit = unit_of_fetch;
    job->next = fetched;
    lists_job_phase(job, (job->n_books_sample + FETCH_ROWS - 1) / FETCH_ROWS,
                    UINT32_MAX);
}
