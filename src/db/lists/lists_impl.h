/* The inside of a set's lists: shared by lists*.c.
 *
 *   lists.c          life and end
 *   lists_pump.c     what writes tell, what is begun next
 *   lists_job.c      jobs: phases of units, slices of the loop; training
 *   lists_move.c     moving rows: into lists, from list to list
 *   lists_help.c     what the loop does for that, in a burst
 *   lists_tend.c     which lists need it; lists_split.c, lists_merge.c do it
 *   lists_rest.c     what is given back when nobody writes
 *   lists_codes.c    the codes rows have besides
 *   lists_discard.c  the giving up of vectors
 *   lists_image.c    the form that is logged and saved
 *   lists_log.c      how it gets into the log: in parts
 *   lists_info.c     what is known; what searches capture; checking
 *   lists_options.c  what can be asked for */
#ifndef VECTRA_DB_LISTS_IMPL_H
#define VECTRA_DB_LISTS_IMPL_H

#include <stdatomic.h>

#include "base/pool.h"
#include "db/lists/lists.h"
#include "db/vset/index_choice.h"
#include "db/vset/vset_impl.h"
#include "index/ivf/centroids.h"
#include "index/ivf/codes.h"
#include "index/ivf/ivf.h"
#include "index/ivf/kmeans.h"
#include "store/slots_blocks.h"
#include "vec/pq.h"

enum lists_job_kind {
    LISTS_JOB_TRAIN,
    LISTS_JOB_FILL, /* rows go into lists */
    LISTS_JOB_TEND, /* rows go from list to list */
};

/* One of the threads that work on a job. */
struct lists_task {
    struct task task;
    struct lists_job *job;
    struct ivf_scratch *scratch;
    struct row_map rows; /* for finding lists */
    void *work;          /* for making codes: see lists_codes.c */
    void *work_block;
};

/* Work on a set's lists: phases, each of units that the builders share, or a
 * slice of the loop's. Between phases the loop decides. */
struct lists_job {
    struct lists_home *home;
    struct lists *lists; /* that it works for */
    struct lists *into;  /* that it moves rows into; mostly the same */
    enum lists_job_kind kind;
    /* the phase */
    void (*unit)(struct lists_job *job, uint32_t unit, struct lists_task *t);
    void (*next)(struct lists_job *job); /* loop; when it is over */
    uint32_t n_units;
    _Atomic uint32_t next_unit;
    _Atomic uint32_t active; /* tasks that have not ended */
    _Atomic bool cancelled;
    struct completion completion;
    struct completion turn; /* the loop's next, while is_yielding */
    bool is_running;        /* a phase */
    bool is_yielding;
    bool is_waiting;   /* see lists_job_wait() */
    struct pool *pool; /* whose threads work the phase */
    uint64_t hold;
    uint64_t ticket; /* JOB_TRAIN, while has_ticket */
    bool has_ticket;
    /* training */
    struct slots_view view;
    uint32_t *sample;
    uint32_t n_sample, n_picked, n_passed, n_seen;
    struct rng rng;
    struct kmeans *kmeans;
    void (*then)(struct lists_job *job); /* when they have been */
    float *books_sample; /* rows that codebooks are learned from */
    uint32_t n_books_sample;
    int64_t began_ns;
    double residual; /* keys of rows that were moved, summed up */
    /* Moving: see lists_move.c. Slots of `blocks` that become free while the
     * job holds them are not used again before it lets go of them: what it
     * reads does not change, and a live slot holds the row that it read. */
    bool holds;
    uint32_t *blocks; /* ascending */
    uint32_t n_blocks, cap_blocks;
    uint32_t *held; /* of each of them, a bit for each that did */
    struct row_map rows;
    slot_id *slots; /* n of them, whence ... */
    uint32_t *to;   /* ... and the list each goes to */
    float *keys;
    uint8_t *codes; /* of the rows; NULL: lists have none */
    uint32_t n, at, cap;
    uint32_t ready;    /* of them, whose lists are known */
    uint64_t seen_uid; /* of the set, a slice ago */
    uint32_t written;  /* rows since then */
    uint32_t part;     /* the first of those that builders are at ... */
    uint32_t handed;   /* ... and the first behind them */
    uint32_t cursor;   /* of the tail: the next block to look at; when
                        * resting, the next page */
    bool is_fitting;   /* resting: pages are done, names are not */
    uint64_t fit_at;
    uint32_t help_at;          /* likewise, where the loop helps */
    uint32_t cursor_unlinked;  /* of its unlinked blocks: graph_left.h */
    uint32_t old_list, old_at; /* of the lists that are replaced */
    uint32_t end;              /* of the blocks there were when it began */
    uint32_t met;              /* rows */
    uint64_t moved;
    bool out_of_memory;
    struct graph *leaving;      /* JOB_TRAIN: is prepared for it; NULL */
    bool has_asked;             /* whether there is one */
    struct ivf_centroids *made; /* JOB_TRAIN: not installed yet */
    struct lists_log *log;      /* JOB_TRAIN: see lists_log.c */
    struct lists_tending *tending;
    struct lists_job *next_job, *prev_job; /* keyspace->lists_jobs */
    unsigned n_tasks;
    struct lists_task tasks[]; /* n_tasks, and the loop's own */
};

enum { LISTS_STUCK_MAX = 16 };

/* Lists, of which a set has mostly one lot. */
struct lists {
    struct lists_home *home;
    struct ivf *ivf;         /* NULL: in training */
    struct ivf_codes *codes; /* NULL: rows are scanned */
    struct vec_pq *pq;       /* NULL: codes are no products */
    struct lists_options options;
    uint32_t build;
    bool is_filled;  /* all rows there were have been moved */
    bool is_foreign; /* the result of somebody else's training */
    uint32_t trained_rows;
    time_ms trained_at;
    double train_s;
    double residual;     /* mean key of rows as trained */
    uint64_t n_residual; /* while it is filled `residual` is a sum of so many */
    double of_late;      /* of rows that came after; decays */
    uint64_t n_late;     /* how many */
    /* Lists whose rows are all alike, and so many rows as they are to have more
     * than before they are split again. */
    struct {
        uint32_t list, rows; /* rows 0: none */
    } stuck[LISTS_STUCK_MAX];
    uint32_t next_stuck; /* that is noted over */
    double imbalance;    /* when it was filled */
    uint32_t goal;       /* rows to be moved in, about */
    uint64_t moved;      /* rows that were */
    int64_t filling_since_ns;
    bool dropped;
    struct lists *sibling; /* home->all, home->apart */
    struct retired retired;
};

struct lists_discard; /* lists_discard.c */
struct lists_log;     /* lists_log.c */

struct lists_home {
    struct vset *set;
    struct lists_discard *discard;  /* the set gives up its vectors */
    struct lists_discard *becoming; /* it is what another one becomes */
    struct keyspace *keyspace;
    struct lists *answers; /* NULL: none */
    struct lists *coming;  /* in training, or filled beside what answers */
    struct graph *left;    /* answers for rows that have not been moved yet */
    struct lists *all;     /* these, and dropped ones a job still works for */
    struct lists *apart;   /* that are being freed */
    struct lists_job *job;
    bool is_going;
    uint32_t fills;      /* jobs that filled, since one that did not */
    uint64_t pumped_uid; /* of the set, when all were pumped last */
    bool in_burst;       /* much had been written since the time before */
    uint32_t long_tail;  /* rows of one that is too long */
    uint32_t tail_left;  /* rows of the tail that could not be moved */
    write_seq tended_at; /* when nothing was to be tended */
    /* The set when it was looked at, and when it rested: see lists_rest.c. */
    uint64_t looked_uid, rested_uid;
    uint32_t looked_count, rested_count;
    uint64_t trainings, splits, merges;
    double pace;
    struct index_watch watch;
    /* Lists that were asked for, in a log, while others were not filled. */
    bool has_asked;
    struct lists_options asked;
    struct buf parts; /* of what was trained elsewhere: lists_log.c */
    int64_t parts_ns; /* the last of them came then */
    struct lists_home *next, *prev; /* keyspace->lists */
};

/* ---- lists.c ----------------------------------------------------------- */

/* The set's, made if need be. fails  NULL when memory is out. */
struct lists_home *lists_home_of(struct vset *v);

/* Lists that nobody knows of yet; and their end. */
struct lists *lists_make(struct lists_home *h, const struct lists_options *o);
void lists_destroy(struct lists *l);

/* Frees some of those that have been given up. */
void lists_take_apart(struct lists_home *h);

/* Lets trained lists answer, or be filled beside those that do. `leaving`: the
 * set's graph when it has been prepared to go on answering meanwhile, or NULL.
 * fails  ERR_NOMEM. */
enum err lists_install(struct lists *l, struct ivf_centroids *c,
                       struct graph *leaving) MUST_USE;

/* The graph is not needed any more; NULL is ignored. */
void lists_dismiss_left(struct lists_home *h);

void lists_drop(struct lists *l);

/* Lists that have been filled beside others, which are empty now, answer. */
void lists_take_place(struct lists *l);

/* A job has ended. */
void lists_job_ended(struct lists_home *h, struct lists *l, bool go_on);

/* The lists that rows go to. */
static inline struct lists *lists_target(const struct lists_home *h)
{
    return h->coming && h->coming->ivf ? h->coming : h->answers;
}

static inline struct slots *lists_slots(const struct lists_home *h)
{
    return &h->set->elements.slots;
}

/* ---- lists_pump.c ------------------------------------------------------ */

/* The lists of a set whose block that is; NULL. */
struct lists *lists_owning(const struct lists_home *h, uint32_t block);

/* ---- lists_job.c ------------------------------------------------------- */

/* fails  NULL when memory is out. */
struct lists_job *lists_job_create(struct lists *l, enum lists_job_kind kind);

/* Runs units on at most `most` builders, then job->next. */
void lists_job_phase(struct lists_job *job, uint32_t n_units, unsigned most);

/* Comes back to job->next in the loop's next turn; a phase may be under way,
 * whose end does so, too. */
void lists_job_yield(struct lists_job *job);

/* Comes back to job->next when something has happened that it may wait for, and
 * some times a second: see lists_wake(). */
void lists_job_wait(struct lists_job *job);

/* The last thing: the set may go with it. */
void lists_job_end(struct lists_job *job, bool go_on);

bool lists_job_is_cancelled(const struct lists_job *job);

/* The ticket of a training, which a job takes only one at a time. */
void lists_job_take_ticket(struct lists_job *job);
void lists_job_give_ticket_back(struct lists_job *job);

/* Not for want of memory, or the set has become empty. */
void lists_job_give_up(struct lists_job *job);

/* Decodes rows of the sample. arg: the job. thread any. */
void lists_fetch(const void *arg, uint32_t first, uint32_t n, float *out);

/* Begins to train. fails  ERR_NOMEM. */
enum err lists_begin_training(struct lists *l) MUST_USE;

/* What a training takes while it goes on. */
size_t lists_training_bytes(const struct vset *v,
                            const struct lists_options *o);

/* ---- lists_move.c ------------------------------------------------------ */

/* Begins to move what can be moved into lists; false when there is nothing, or
 * no memory. */
bool lists_begin_filling(struct lists_home *h);

/* Rows come faster than builders, whom everybody else goes before, find lists
 * for them, and every search scans them: home->long_tail is what a set's is. */
uint32_t lists_long_tail(const struct vset *v);
bool lists_tail_is_long(const struct lists_home *h);

/* The next block of the tail that has rows, or the end. Which blocks are meant:
 * see graph_left.h. */
enum lists_which { LISTS_ALL, LISTS_LINKED, LISTS_UNLINKED };
uint32_t lists_next_of_tail(const struct lists_home *h, uint32_t block,
                            uint32_t end, enum lists_which which);

/* Slots that there are. */
struct row_map lists_rows_now(const struct lists_job *job);

/* Finds the lists of n of job->slots from `first` on. thread any. */
void lists_assign(struct lists_job *job, uint32_t first, uint32_t n,
                  struct lists_task *t);

/* Moves the next rows up to `end` that are still there; false when memory is
 * out. */
bool lists_move_chunk(struct lists_job *job, uint32_t *at, uint32_t end);

/* How much the loop is to do in a turn: so many rows, but not for longer than.
 * What a turn has written is to go into lists in the next, or the tail would
 * grow with the number of those who write. */
struct lists_slice {
    int64_t end, last;
    uint32_t due;
};
/* Counts what the turn before has written. */
void lists_note_turn(struct lists_job *job);
struct lists_slice lists_slice_begin(struct lists_job *job);
bool lists_slice_is_over(const struct lists_slice *s, uint32_t done);

/* ---- lists_help.c ------------------------------------------------------ */

/* Places of job->slots that are for helping, behind the others. */
enum { LISTS_HELP_ROWS = 64 };

/* A row has been written while a job is under way. */
void lists_note_written(struct lists_home *h);

/* Finds lists for rows of the tail and moves them, if that is too long; true
 * when there is more to help with. */
bool lists_lend_hand(struct lists_job *job);

/* So many bytes of rows, or more, since all were pumped: a burst. */
enum { LISTS_BURST_BYTES = 1 << 20 };

/* Moves job->slots from job->at on for a while; true when all have been. */
bool lists_move_some(struct lists_job *job);

/* Room for a batch of so many rows and blocks. fails  ERR_NOMEM. */
enum err lists_job_fit(struct lists_job *job, uint32_t rows,
                       uint32_t blocks) MUST_USE;

/* Takes a lane of a list, with another block for it if need be; IVF_NONE when
 * memory is out. */
slot_id lists_take_lane(struct lists *l, uint32_t list);

/* Adds a block to what the job holds, and its live rows to `slots`; false when
 * there is no room. */
bool lists_job_take(struct lists_job *job, uint32_t block);

/* Holds the blocks taken; rows may be read and moved. */
void lists_job_hold(struct lists_job *job);

/* What was held and is dead is nobody's any more. */
void lists_let_go(struct lists_job *job);

/* ---- lists_codes.c ----------------------------------------------------- */

/* The products that are to be learned; points are 0. Does nothing for lists
 * without. fails  ERR_NOMEM. */
enum err lists_make_pq(struct lists *l) MUST_USE;

/* Makes the column, of which products are there. fails  ERR_NOMEM. */
enum err lists_make_codes(struct lists *l) MUST_USE;
void lists_free_codes(struct lists *l);
size_t lists_codes_bytes(const struct lists *l);

/* Gives a list a block, and takes it away. fails  ERR_NOMEM. */
enum err lists_block_add(struct lists *l, uint32_t list,
                         uint32_t block) MUST_USE;
void lists_block_leave(struct lists *l, uint32_t block);

/* Codes of a batch: n of job->slots from `first` on. thread any. */
void lists_encode(struct lists_job *job, uint32_t first, uint32_t n,
                  struct lists_task *t);

/* Writes that of a row where it is to lie. */
void lists_put_code(const struct lists_job *job, uint32_t at, slot_id lane);

/* Codes of the rows that lie in a block. fails  ERR_NOMEM. */
enum err lists_encode_block(struct lists *l, uint32_t block,
                            uint32_t lanes) MUST_USE;

/* Learns codebooks, when that is wanted, then calls `then`. */
void lists_learn_codes(struct lists_job *job,
                       void (*then)(struct lists_job *job));

/* ---- lists_image.c, lists_log.c ---------------------------------------- */

/* What lists are made of. */
struct lists_result {
    struct lists_options options;
    uint32_t build;
    uint32_t trained_rows;
    time_ms trained_at;
    double train_s;
    const struct vec_pq *pq;
    struct ivf_centroids *centroids;
};

/* What is logged and saved of it, where it lies: see lists_image.c. */
enum { LISTS_FORM_HEAD = 128, LISTS_FORM_PARTS = 4 };
struct lists_form {
    uint8_t head[LISTS_FORM_HEAD + IVF_CENTROIDS_HEAD];
    uint8_t books[8];
    struct bytes parts[LISTS_FORM_PARTS];
    size_t size; /* of all of it */
};

/* Keeps pointers into centroids and r->pq. */
void lists_form_make(struct lists_form *f, const struct lists_result *r,
                     const struct ivf_centroids *c, double residual);

/* The same of the lists that rows of a set go to; false without. */
bool lists_form_of(const struct vset *v, struct lists_form *f);

/* n bytes from `from` on. */
void lists_form_copy(const struct lists_form *f, size_t from, size_t n,
                     uint8_t *out);

/* Begins to tell the log what has been trained: the caller makes the form. */
struct lists_form *lists_log_begin(struct lists_job *job);
void lists_log_free(struct lists_job *job);

/* Tells some of it, and comes back to job->next; true when only the end is left
 * to be told, or nobody wants to know, so that the job goes on at once. To be
 * asked again right before lists_log_end(): a log that begins anew knows
 * nothing of what came before. */
bool lists_log_some(struct lists_job *job);

/* It has come to answer: what is the value of the job's key has it. */
void lists_log_end(struct lists_job *job, const struct vset *v);

/* Parts that nobody has gone on with are forgotten. */
void lists_parts_settle(struct lists_home *h);
void lists_parts_forget(struct lists_home *h);

/* ---- lists_discard.c --------------------------------------------------- */

/* Whether what was asked for means that vectors are to be given up. */
static inline bool lists_discards(const struct lists_options *o,
                                  const struct vset *v)
{
    return o->discard && !v->options.pq_m;
}

/* A training has ended that is to: the job goes on until the new set is there.
 * Centroids are taken over, whatever comes of it. fails  ERR_NOMEM. */
enum err lists_discard_begin(struct lists_job *job,
                             const struct lists_result *r) MUST_USE;

/* All of it at once; the set of before is dropped. Centroids as above.
 *
 * fails  ERR_NOMEM, ERR_LIMIT; nothing changed. */
enum err lists_discard_now(struct vset *v,
                           const struct lists_result *r) MUST_USE;

/* Writes while it goes on. */
void lists_discard_note_put(struct lists_home *h, slot_id slot);
void lists_discard_note_gone(struct lists_home *h, slot_id slot);
void lists_discard_note_attribute(struct lists_home *h, slot_id slot);

/* What a set becomes has got all its rows into lists. */
void lists_discard_filled(struct lists_home *of);

/* It is not to be: the job that works for it ends; it has ended. */
void lists_discard_cancel(struct lists_home *h);
void lists_discard_abandon(struct lists_home *h);

/* Some times a second. */
void lists_discard_settle(struct lists_home *of);

/* How far it is, and what it does. */
double lists_discard_progress(const struct lists_home *h, bool *filling);

/* ---- lists_tend.c ------------------------------------------------------ */

struct lists_tending;
void lists_tending_free(struct lists_tending *t);

/* Begins what keeps lists in shape, if there is any need. */
bool lists_begin_tending(struct lists_home *h);

/* Whether they should be trained anew. */
bool lists_want_training(const struct lists *l);

/* ---- lists_rest.c ------------------------------------------------------ */

/* Begins to give memory back, when there is nothing else to do. */
bool lists_begin_resting(struct lists_home *h);

#endif
