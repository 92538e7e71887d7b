/* Moving rows into lists.
 *
 * A batch of blocks of the tail (or, when lists replace others, of those) is
 * taken out of use, builders find the list of each live row in it, a part at a
 * time, and the loop moves the rows, a slice of its time at a time. A row that
 * dies meanwhile is left out: its slot is not used again before the batch is
 * done. What could not be moved stays where it is, and is tail as before. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"

enum {
    BATCH_ROWS = 16384,
    PART_ROWS = 4096, /* of a batch: builders find lists of one while the loop
                       * moves rows of the one before */
    BATCH_BLOCKS = 512,
    UNIT_ROWS = 128,
    LONG_BYTES = 1 << 20, /* of a tail: workers find lists */
    LONG_ROWS = 1024,
    CHUNK = 32,                 /* rows moved at a time */
    SLICE_NS = 200 * 1000,      /* of the loop's time, a turn; ... */
    SLICE_MOST_NS = 800 * 1000, /* ... when more has been written in it */
    OF_LATE_ROWS = 4096, /* the weight of one is 1 in so many, at least */
};

/* ---- batches ----------------------------------------------------------- */

enum err lists_job_fit(struct lists_job *job, uint32_t rows, uint32_t blocks)
{
    size_t all = (size_t)rows + LISTS_HELP_ROWS;

    job->slots = mem_try_alloc(all * sizeof(*job->slots));
    job->to = mem_try_alloc(all * sizeof(*job->to));
    job->keys = mem_try_alloc(all * sizeof(*job->keys));
    job->blocks = mem_try_alloc(blocks * sizeof(*job->blocks));
    if (job->into->codes) {
        job->codes =
            mem_try_alloc(all * ivf_codes_code_bytes(job->into->codes));
    }
    job->held = mem_try_alloc(blocks * sizeof(*job->held));
    if (!job->slots || !job->to || !job->keys || !job->blocks || !job->held ||
        (job->into->codes && !job->codes)) {
        return ERR_NOMEM;
    }
    job->cap = rows;
    job->cap_blocks = blocks;
    return ERR_OK;
}

bool lists_job_take(struct lists_job *job, uint32_t block)
{
    const struct slots *s = lists_slots(job->home);
    uint32_t before = job->n, live;

    if (job->n + IVF_BLOCK > job->cap || job->n_blocks == job->cap_blocks) {
        return false;
    }
    for (live = slots_block_live(s, block); live; live &= live - 1) {
        job->slots[job->n++] = block * IVF_BLOCK + (slot_id)__builtin_ctz(live);
    }
    if (job->n > before) {
        job->blocks[job->n_blocks++] = block;
    }
    return true;
}

void lists_let_go(struct lists_job *job)
{
    struct slots *s = lists_slots(job->home);
    uint32_t bits, i;

    if (!job->holds) {
        return;
    }
    job->holds = false;
    for (i = 0; i < job->n_blocks; i++) {
        for (bits = job->held[i]; bits; bits &= bits - 1) {
            slot_id slot =
                job->blocks[i] * IVF_BLOCK + (slot_id)__builtin_ctz(bits);

            if (!graph_is_holding(job->home->set, slot)) {
                slots_free(s, slot);
            }
        }
    }
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

struct row_map lists_rows_now(const struct lists_job *job)
{
    const struct slots *s = lists_slots(job->home);

    return (struct row_map){&s->geometry, s->dir->rows};
}

void lists_job_hold(struct lists_job *job)
{
    qsort(job->blocks, job->n_blocks, sizeof(*job->blocks), compare);
    job->rows = lists_rows_now(job);
    memset(job->held, 0, job->n_blocks * sizeof(*job->held));
    job->holds = true;
    job->at = 0;
    job->ready = job->n;
}

static uint64_t words_meant(const struct lists_home *h, uint32_t at,
                            enum lists_which which)
{
    uint64_t unlinked =
        which == LISTS_ALL ? UINT64_MAX : graph_left_unlinked_of(h->left, at);

    return which == LISTS_LINKED ? ~unlinked : unlinked;
}

uint32_t lists_next_of_tail(const struct lists_home *h, uint32_t block,
                            uint32_t end, enum lists_which which)
{
    const struct slots_tail *t = lists_slots(h)->blocks->tail;

    while (block < end) {
        uint64_t word =
            atomic_load_explicit(&t->words[block / 64], memory_order_relaxed) &
            words_meant(h, block / 64, which) & (UINT64_MAX << (block % 64));

        if (word) {
            block = block / 64 * 64 + (uint32_t)__builtin_ctzll(word);
            return block < end ? block : end;
        }
        block = (block / 64 + 1) * 64;
    }
    return end;
}

static void take_blocks(struct lists_job *job, uint32_t *cursor,
                        enum lists_which which)
{
    struct slots *s = lists_slots(job->home);
    uint32_t block;

    if (*cursor < SLOTS_BLOCK_FIRST) {
        *cursor = SLOTS_BLOCK_FIRST;
    }
    for (;;) {
        block = lists_next_of_tail(job->home, *cursor, job->end, which);
        if (block == job->end || !lists_job_take(job, block)) {
            *cursor = block;
            return;
        }
        slots_block_drain(s, block);
        *cursor = block + 1;
    }
}

/* Lists are being filled out of others, which have rows that wait. */
static bool has_old(const struct lists_job *job)
{
    const struct lists *old = job->home->answers;

    return old && old != job->lists && job->old_list < ivf_n_lists(old->ivf);
}

/* Lists are being filled out of others, which takes a while: what is written
 * meanwhile is not left until the end, but has half of each batch. */
static void take_of_new(struct lists_job *job)
{
    uint32_t cap = job->cap;

    job->end = lists_slots(job->home)->n_slots / IVF_BLOCK;
    job->cursor = 0;
    job->cap = cap / 2; /* of rows */
    take_blocks(job, &job->cursor, LISTS_ALL);
    job->cap = cap;
}

/* Rows that every search scans go first. */
static void take_of_tail(struct lists_job *job)
{
    if (has_old(job) && lists_tail_is_long(job->home)) {
        take_of_new(job);
    } else if (job->home->left) {
        take_blocks(job, &job->cursor_unlinked, LISTS_UNLINKED);
        take_blocks(job, &job->cursor, LISTS_LINKED);
    } else {
        take_blocks(job, &job->cursor, LISTS_ALL);
    }
}

/* Rows of the lists that are to be replaced. */
static void take_of_old(struct lists_job *job)
{
    const struct lists *old = job->home->answers;

    if (old == job->lists || !old) {
        return;
    }
    for (; job->old_list < ivf_n_lists(old->ivf); job->old_list++) {
        uint32_t before = job->old_at;
        uint32_t block = ivf_next_block(old->ivf, job->old_list, &job->old_at);

        while (block != IVF_NONE) {
            if (!lists_job_take(job, block)) {
                job->old_at = before;
                return;
            }
            before = job->old_at;
            block = ivf_next_block(old->ivf, job->old_list, &job->old_at);
        }
        job->old_at = 0;
    }
}

/* ---- finding lists ----------------------------------------------------- */

void lists_assign(struct lists_job *job, uint32_t first, uint32_t n,
                  struct lists_task *t)
{
    const uint8_t *rows[UNIT_ROWS];
    uint32_t i;

    for (i = 0; i < n; i++) {
        rows[i] = row_map_at(&t->rows, job->slots[first + i]);
    }
    ivf_assign_rows(ivf_centroids_of(job->into->ivf), &job->home->set->format,
                    rows, n, job->to + first, job->keys + first, t->scratch);
    lists_encode(job, first, n, t);
}

static void unit_of_assign(struct lists_job *job, uint32_t unit,
                           struct lists_task *t)
{
    uint32_t first = job->part + unit * UNIT_ROWS;
    uint32_t left = job->handed - first;

    t->rows = job->rows;
    lists_assign(job, first, left < UNIT_ROWS ? left : UNIT_ROWS, t);
}

/* ---- moving ------------------------------------------------------------ */

slot_id lists_take_lane(struct lists *l, uint32_t list)
{
    struct slots *s = lists_slots(l->home);
    slot_id lane = ivf_lane_take(l->ivf, list);
    uint32_t block;

    if (lane != IVF_NONE) {
        return lane;
    }
    if (slots_block_own(s, &block) != ERR_OK) {
        return IVF_NONE;
    }
    if (lists_block_add(l, list, block) != ERR_OK) {
        slots_block_give(s, block);
        return IVF_NONE;
    }
    return ivf_lane_take(l->ivf, list);
}

/* Moves rows that have got their lanes; true when all have been. */
static bool move_chunk(struct lists_job *job, const struct vset_move *moves,
                       uint32_t n)
{
    struct vset *v = job->home->set;
    size_t moved = vset_move(v, moves, n);
    size_t i;

    for (i = 0; i < moved; i++) {
        lists_note_gone(v, moves[i].from);
    }
    for (i = moved; i < n; i++) {
        ivf_lane_put_back(job->into->ivf, moves[i].to);
    }
    job->moved += moved;
    job->into->moved += moved;
    return moved == n;
}

bool lists_move_chunk(struct lists_job *job, uint32_t *at, uint32_t end)
{
    const struct slots *s = lists_slots(job->home);
    struct vset_move moves[CHUNK] = {{0, 0}};
    uint32_t n = 0;
    bool has_room = true;

    while (*at < end && n < CHUNK && has_room) {
        slot_id slot = job->slots[*at];
        uint32_t list = job->to[*at];

        if (list != IVF_NONE && slots_is_live(s, slot)) {
            moves[n].from = slot;
            moves[n].to = lists_take_lane(job->into, list);
            has_room = moves[n].to != IVF_NONE;
            if (has_room) {
                lists_put_code(job, *at, moves[n++].to);
            }
            if (job->kind == LISTS_JOB_FILL) {
                job->residual += (double)job->keys[*at];
            }
        }
        *at += has_room;
    }
    return (n == 0 || move_chunk(job, moves, n)) && has_room;
}

void lists_note_turn(struct lists_job *job)
{
    uint64_t uid = job->home->set->node_uid;
    uint64_t n = uid - job->seen_uid;

    job->written = job->seen_uid && n < UINT32_MAX / 2 ? (uint32_t)n : 0;
    job->seen_uid = uid;
}

struct lists_slice lists_slice_begin(struct lists_job *job)
{
    int64_t now = clock_mono_ns();

    return (struct lists_slice){now + SLICE_NS, now + SLICE_MOST_NS,
                                job->written + job->written / 2};
}

bool lists_slice_is_over(const struct lists_slice *s, uint32_t done)
{
    int64_t now = clock_mono_ns();

    return now > s->end && (done >= s->due || now > s->last);
}

bool lists_move_some(struct lists_job *job)
{
    uint32_t from = job->at;
    struct lists_slice slice;

    lists_note_turn(job);
    slice = lists_slice_begin(job);
    while (job->at < job->ready && !job->out_of_memory) {
        job->out_of_memory = !lists_move_chunk(job, &job->at, job->ready);
        if (lists_slice_is_over(&slice, job->at - from)) {
            break;
        }
    }
    return job->at == job->ready || job->out_of_memory;
}

/* ---- filling ----------------------------------------------------------- */

/* How near rows are to their centroids: at first all of them, then those that
 * came of late. */
static void note_residual(struct lists_job *job)
{
    struct lists *l = job->lists;
    double mean = job->moved ? job->residual / (double)job->moved : 0;
    double weight = (double)job->moved / OF_LATE_ROWS;

    if (!job->moved) {
        return;
    }
    if (!l->is_filled) {
        l->residual += job->residual;
        l->n_residual += job->moved;
        return;
    }
    l->n_late += job->moved;
    weight = weight < 1 ? weight : 1;
    l->of_late =
        l->of_late > 0 ? l->of_late + (mean - l->of_late) * weight : mean;
}

static bool old_are_empty(const struct lists_home *h)
{
    struct ivf_stats s;

    if (!h->coming) {
        return true;
    }
    ivf_stats(h->answers->ivf, &s);
    return s.n_blocks == 0;
}

/* Nothing is left to be moved. Of lists that are replaced, blocks may remain
 * that searches under way look at. */
static void filled(struct lists_job *job)
{
    struct lists *l = job->lists;
    struct lists_home *h = l->home;
    bool go_on = true;

    note_residual(job);
    if (!l->is_filled && old_are_empty(h)) {
        l->is_filled = true;
        lists_dismiss_left(h);
        l->residual = l->n_residual ? l->residual / (double)l->n_residual : 0;
        l->imbalance = ivf_imbalance(l->ivf);
        if (h->coming == l) {
            lists_take_place(l);
        }
    } else if (!l->is_filled) {
        go_on = false;
    }
    lists_job_end(job, go_on);
}

static bool begin_batch(struct lists_job *job);

uint32_t lists_long_tail(const struct vset *v)
{
    uint32_t rows = LONG_BYTES / v->format.row_bytes;

    return rows < LONG_ROWS ? LONG_ROWS : rows;
}

bool lists_tail_is_long(const struct lists_home *h)
{
    return h->answers && (h->answers->is_filled || h->coming) &&
           slots_tail_count(lists_slots(h)) > h->long_tail;
}

static void hand_part(struct lists_job *job)
{
    uint32_t left = job->n - job->handed;
    uint32_t n = left < PART_ROWS ? left : PART_ROWS;

    job->part = job->handed;
    job->handed += n;
    lists_job_phase(job, (n + UNIT_ROWS - 1) / UNIT_ROWS, UINT32_MAX);
}

/* A part is in the builders' hands while the loop moves the one before: some of
 * it each turn. */
static void next_of_fill(struct lists_job *job)
{
    bool more;

    if (!job->is_running) {
        job->ready = job->handed;
        if (job->handed < job->n && !job->out_of_memory) {
            hand_part(job);
        }
    }
    if (job->is_yielding) {
        return;
    }
    more = !lists_move_some(job);
    if ((lists_lend_hand(job) && job->is_running) || more) {
        lists_job_yield(job);
    }
    if (job->is_running || job->is_yielding) {
        return;
    }
    lists_let_go(job);
    if (job->out_of_memory) {
        lists_dismiss_left(job->home);
    }
    if (job->out_of_memory || job->home->set->n_frozen) {
        note_residual(job);
        lists_job_end(job, false);
    } else if (!begin_batch(job)) {
        filled(job);
    }
}

/* Rows that come meanwhile are left for the next job, or whoever writes all the
 * time would keep this one from ending, and what waits for that. When it has
 * met none, what is left is dead, but seen by searches, or lies where nothing
 * is moved from. */
static bool take_more(struct lists_job *job)
{
    struct lists_home *h = job->home;

    job->n = job->n_blocks = 0;
    take_of_tail(job);
    take_of_old(job);
    job->met += job->n;
    if (job->n == 0) {
        h->tail_left = job->met ? 0 : slots_tail_count(lists_slots(h));
    }
    return job->n > 0;
}

/* False when there are no more rows. */
static bool begin_batch(struct lists_job *job)
{
    if (job->home->left) {
        graph_left_count(job->home->left);
    }
    if (!take_more(job)) {
        return false;
    }
    lists_job_hold(job);
    job->unit = unit_of_assign;
    job->next = next_of_fill;
    job->ready = job->handed = 0;
    hand_part(job);
    return true;
}

bool lists_begin_filling(struct lists_home *h)
{
    struct lists_job *job = lists_job_create(lists_target(h), LISTS_JOB_FILL);

    if (!job) {
        return false;
    }
    if (lists_job_fit(job, BATCH_ROWS, BATCH_BLOCKS) != ERR_OK) {
        lists_job_end(job, false);
        return true;
    }
    /* The last block is left alone until it is full: new rows come there. */
    job->end = lists_slots(h)->n_slots / IVF_BLOCK;
    if (!begin_batch(job)) {
        filled(job);
    }
    return true;
}
