/* Where writes come faster than others find lists for them, the loop helps.
 *
 * Every search scans the tail, so that must not grow with the number of those
 * who write, nor while something else is done for the lists than filling them:
 * a training takes seconds. */
#include "db/lists/lists_impl.h"

enum {
    TIMES = 2,  /* as much as workers are called for: see LONG_BYTES */
    LOOKS = 64, /* at blocks, for some rows */
};

/* Where writes come faster than others find lists for them, whoever has how
 * much of the machine, the loop helps: it does as much as it writes. */
static bool needs_help(const struct lists_home *h)
{
    return slots_tail_count(lists_slots(h)) / TIMES > h->long_tail &&
           lists_tail_is_long(h);
}

/* The next block of the tail, round and round. Rows of a batch may be met, too,
 * and are then left out of it. */
static uint32_t next_to_help(struct lists_job *job)
{
    uint32_t end = lists_slots(job->home)->n_slots / IVF_BLOCK;
    uint32_t block =
        lists_next_of_tail(job->home, job->help_at, end, LISTS_ALL);

    if (block == end) {
        block =
            lists_next_of_tail(job->home, SLOTS_BLOCK_FIRST, end, LISTS_ALL);
    }
    job->help_at = block + 1;
    return block < end ? block : IVF_NONE;
}

/* The next rows of the tail, a block's or two, as the last of job->slots; how
 * many. Blocks of which only searches see rows are soon tail no more, and there
 * may be nothing else. */
static uint32_t take_to_help(struct lists_job *job)
{
    struct slots *s = lists_slots(job->home);
    uint32_t n = 0, looked, block, live, begun = IVF_NONE;

    for (looked = 0; looked < LOOKS && n + IVF_BLOCK <= LISTS_HELP_ROWS;
         looked++) {
        block = next_to_help(job);
        if (block == IVF_NONE || block == begun) {
            break;
        }
        begun = looked == 0 ? block : begun;
        for (live = slots_block_live(s, block); live; live &= live - 1) {
            job->slots[job->cap + n++] =
                block * IVF_BLOCK + (slot_id)__builtin_ctz(live);
        }
        slots_block_drain(s, block);
    }
    return n;
}

bool lists_lend_hand(struct lists_job *job)
{
    struct lists_task *own = &job->tasks[job->n_tasks];
    struct lists_slice slice = lists_slice_begin(job);
    uint32_t done = 0, n, at;

    while (needs_help(job->home) && !job->out_of_memory) {
        if (lists_slice_is_over(&slice, done)) {
            return true;
        }
        n = take_to_help(job);
        if (n == 0) {
            return false;
        }
        own->rows = lists_rows_now(job);
        own->scratch = own->scratch ? own->scratch : ivf_scratch_create();
        lists_assign(job, job->cap, n, own);
        for (at = job->cap; at < job->cap + n && !job->out_of_memory;) {
            job->out_of_memory = !lists_move_chunk(job, &at, job->cap + n);
        }
        done += n;
    }
    return false;
}

/* Lists that others are trained in the place of. Not where vectors are given
 * up: a row that is on its way must stay in its slot. */
static bool may_help_training(const struct lists_home *h)
{
    return h->job && h->job->kind == LISTS_JOB_TRAIN && h->answers &&
           !h->is_going && !h->discard && !h->set->n_frozen && !h->left &&
           !lists_job_is_cancelled(h->job);
}

void lists_note_written(struct lists_home *h)
{
    if (h->job->kind == LISTS_JOB_FILL) {
        if (!h->job->is_yielding && needs_help(h)) {
            lists_job_yield(h->job);
        }
    } else if (needs_help(h) && may_help_training(h)) {
        h->keyspace->lists_want_help = true;
    }
}

static bool help_training(struct lists_home *h)
{
    struct lists_job *job = h->job;

    if (!may_help_training(h) || !needs_help(h)) {
        return false;
    }
    job->into = h->answers;
    if (!job->slots && lists_job_fit(job, 0, 1) != ERR_OK) {
        return false; /* there may be more by and by */
    }
    lists_note_turn(job);
    return lists_lend_hand(job);
}

bool lists_turn(struct keyspace *ks)
{
    struct lists_home *h;

    if (LIKELY(!ks->lists_want_help)) {
        return false;
    }
    ks->lists_want_help = false;
    for (h = ks->lists; h; h = h->next) {
        ks->lists_want_help |= help_training(h);
    }
    return ks->lists_want_help;
}
