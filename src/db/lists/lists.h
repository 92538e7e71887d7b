/* The lists of a vector set, and what keeps them up with the writes.
 *
 * Lists (index/ivf/ivf.h) own whole blocks of 32 consecutive slots
 * (store/slots_blocks.h); all other blocks together are the tail, which every
 * search scores exactly. A write never waits for the lists: a new row comes to
 * lie in the tail. Builder threads find the lists of rows that have gathered
 * there, and the loop moves them, some at a time, each into a free lane of a
 * block of its list. A row that dies in a list is invisible at once; its lane
 * is used again when no search can see it.
 *
 *       add              assigned, moved
 *     ───────▶  TAIL  ───────────────────▶  a lane of a LIST
 *                 ▲                            │ dies
 *                 │   block empty              ▼
 *                 └──────────────────  free lane ──▶ the list's next row
 *
 *  L1  Every row is visible in exactly one slot for every write sequence. That
 *      slot lies in a block of the tail or in one of the lists that a search
 *      of that sequence captured: lists_view and slots_tail, taken in one turn
 *      of the loop, miss nothing.
 *  L2  A row in a list is what the list's centroid was nearest to when it was
 *      moved there, or when the list was split or merged after; scanning all
 *      lists and the tail is an exact search.
 *  L3  At most one job (training, assigning, splitting, a check) of a set's
 *      lists is under way.
 *
 * A set that is to have lists answers from what it has until the centroids are
 * there. Then, in one step, they answer, with nothing in them, and all rows are
 * tail that moves into the lists; what the set had as a graph goes on answering
 * for the tail until they are filled (graph_left.h).
 * Lists that are to replace other lists come to lie beside them: a row is in
 * one of the two or in the tail, and both are searched, until the old ones are
 * empty.
 *
 * Who waits for something uses graph_wait(): news of lists are told there, too.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_LISTS_H
#define VECTRA_DB_LISTS_H

#include "base/buf.h"
#include "base/err.h"
#include "db/graph/graph_left.h"
#include "db/lists/lists_options.h"
#include "db/vset/vset.h"

struct ivf;
struct ivf_codes;
struct keyspace;
struct lists;

#define LISTS_NONE UINT32_MAX

/* Lists a set of so many rows is given that does not say how many. */
uint32_t lists_n_for(uint32_t rows);

/* Rows from which on a set that was made to have lists is given them. */
uint32_t lists_worthwhile_at(const struct vset *v);
uint32_t lists_worthwhile_for(const struct vec_format *f);

/* Begins to train. The set's options say IVF from when the result is there.
 *
 * While a log is replayed others need not have been filled: it is begun when
 * they have.
 *
 * out    *build: its number, for lists_is_built(); 0 when it is put off.
 * fails  ERR_BUSY: a training is under way, or a graph is being built;
 * ERR_RANGE: such lists do not fit the set, see lists_options_fit(); ERR_NOMEM.
 * Nothing has changed then.
 */
enum err lists_train(struct vset *v, const struct lists_options *o,
                     uint64_t *build) MUST_USE;

/* Whether lists answer that are those or later ones and hold all rows there
 * were when they came to answer; never when they were given up for good. */
bool lists_is_built(const struct vset *v, uint64_t build);
bool lists_is_given_up(const struct vset *v, uint64_t build);

/* A training is under way: its result is not there yet. */
bool lists_is_training(const struct vset *v);

/* Another index has been asked for since: nothing is trained any more. */
void lists_forget_asked(struct vset *v);

/* Gives all lists of a set up; every row is tail then. */
void lists_drop_all(struct vset *v);

/* The set itself goes: nothing new is begun; and the sets of a database. */
void lists_detach(struct vset *v);
void lists_detach_all(struct keyspace *ks, const struct database *db);

/* Frees what a set that nobody looks at any more has. thread any. */
void lists_free(struct vset *v);

/* ---- what training results in ------------------------------------------ */

/* When the result of a training has come to answer, whether it was asked for or
 * the set saw the need, keyspace_trained() is called with what
 * lists_write_trained() gives; where that is much, with the end of it, and
 * keyspace_trained_part() with what precedes that, some each turn.
 *
 * Options, centroids, codebooks: all that is needed to have the same lists.
 * Appends to *out; false when the set has none. */
bool lists_write_trained(const struct vset *v, struct buf *out);

/* The same for a child, which allocates nothing: how long it is, 0 without
 * lists; and into as much memory. */
size_t lists_trained_size(const struct vset *v);
void lists_trained_put(const struct vset *v, uint8_t *out);

/* What lists were asked for that are being trained and not there yet. */
bool lists_is_asked(const struct vset *v, struct lists_options *out);

/* Installs such a result, as if it had just been trained, in the place of what
 * the set has or is training. The listener is not told. When vectors are to be
 * given up for it, that is done here and now: the key's value is another set
 * then, and *build 0.
 *
 * fails  ERR_CORRUPT, ERR_NOMEM, ERR_LIMIT, ERR_BUSY; nothing changed. */
enum err lists_install_trained(struct vset *v, struct bytes trained,
                               uint64_t *build) MUST_USE;

/* Such a result in parts, of which the set keeps what there is: bytes from
 * `from` on, 0 for the first. lists_parts_end() gives out all of them and the
 * end.
 *
 * owns   caller, *whole.
 * fails  ERR_CORRUPT: there are not just so many before, and none any more;
 * ERR_NOMEM. */
enum err lists_take_part(struct vset *v, uint64_t from,
                         struct bytes part) MUST_USE;
enum err lists_parts_end(struct vset *v, uint64_t from, struct bytes rest,
                         struct buf *whole) MUST_USE;

/* ---- writes ------------------------------------------------------------ */

/* Makes sure that noting a slot cannot fail. fails  ERR_NOMEM. */
enum err lists_prepare(struct vset *v, slot_id slot) MUST_USE;

/* An element came to live in a slot, or lives there no more. */
void lists_note_put(struct vset *v, slot_id slot);
void lists_note_gone(struct vset *v, slot_id slot);

/* The attribute of an element in a slot has changed. */
void lists_note_attribute(struct vset *v, slot_id slot);

/* A slot is dead for everybody; true when it is to be held: it is a lane of a
 * list's block, or a row that is being assigned. */
bool lists_holds(struct vset *v, slot_id slot);

/* Whether lists_holds() said so and the slot has not been let go since. */
bool lists_is_holding(const struct vset *v, slot_id slot);

/* Begins what there is to do, if it is worth while by now; `any`: also if it is
 * little. */
void lists_pump(struct vset *v, bool any);

/* Something has happened that a job may be waiting for: the set has thawed,
 * work on its graph has ended, a list has lost a block. */
void lists_wake(const struct vset *v);

/* Whether a job that changes something is under way: not a training, whose
 * result waits for the set to thaw. */
bool lists_is_busy(const struct vset *v);

/* To be called once a turn: true when there is more to be done in the next. */
bool lists_turn(struct keyspace *ks);

/* Pumps the lists of every set; some times a second. */
void lists_pump_all(struct keyspace *ks);

/* ---- searches ---------------------------------------------------------- */

/* What a search captures with its view; valid while its ticket is open. */
struct lists_view {
    const struct ivf *ivf;         /* NULL: everything is tail */
    const struct ivf *coming;      /* to be searched as well; mostly NULL */
    const struct ivf_codes *codes; /* of the rows in them; NULL: none */
    const struct ivf_codes *coming_codes; /* of the others */
    uint32_t n_probe;                     /* of the options; 0: to be chosen */
    uint32_t n_listed;                    /* live rows in both */
    struct graph_left_view left; /* answers for rows of the tail, too */
};

void lists_view_take(const struct vset *v, struct lists_view *out);

/* The graph there was before, while it answers for rows that are in no list
 * yet; NULL without. */
const struct hnsw *lists_left(const struct vset *v);

/* The lists that answer; NULL without. */
const struct ivf *lists_of(const struct vset *v);

/* What is remembered of a set with lists, for choosing its index. */
struct index_watch;
struct index_watch *lists_watch(const struct vset *v);

/* See graph_pace(). */
double lists_pace(const struct vset *v);
void lists_note_pace(struct vset *v, int64_t estimated_ns, int64_t took_ns);

/* ---- what is known ------------------------------------------------------ */

enum lists_phase {
    LISTS_IDLE,     /* nothing to do */
    LISTS_SAMPLING, /* rows are chosen */
    LISTS_TRAINING, /* centroids are computed */
    LISTS_CODING,   /* codebooks are */
    LISTS_FILLING,  /* rows move into lists */
    LISTS_TENDING,  /* lists are split, merged or compacted */
    LISTS_ENCODING, /* vectors become codes */
};

/* "idle", "sampling" ... */
const char *lists_phase_name(enum lists_phase phase);

struct lists_info {
    bool has_lists;               /* that answer */
    bool is_coming;               /* others are being trained or filled */
    uint64_t build;               /* of those that answer */
    struct lists_options options; /* as chosen */
    uint32_t listed;              /* live rows in lists */
    uint32_t tail;                /* live rows in none */
    uint32_t dead;                /* lanes that are dead or free */
    uint32_t blocks;              /* of all lists */
    uint32_t largest, smallest;   /* list, rows */
    double mean;
    double imbalance; /* n_lists * sum(size^2) / n^2: 1 when all are alike */
    double drift;     /* mean distance of the rows of late to their centroids,
                       * in times of what it was in training; 0: not known */
    enum lists_phase phase;
    double progress;    /* of the phase, 0 to 1 */
    double remaining_s; /* till all phases are done, estimated; -1: not known */
    time_ms trained_at; /* wall clock; 0: never */
    uint32_t trained_rows; /* the set had then */
    double train_s;        /* it took */
    uint64_t trainings, splits, merges;
    size_t bytes; /* of all lists, rows not counted */
};
void lists_info_read(const struct vset *v, struct lists_info *out);

/* Memory of a set's lists, rows not counted: of the set's region, and other. */
size_t lists_bytes(const struct vset *v);
size_t lists_outside_bytes(const struct vset *v);

/* Sets with lists, trainings under way, rows that wait in the tails of sets
 * with lists. */
void lists_count_all(const struct keyspace *ks, uint64_t *lists,
                     uint64_t *trainings, uint64_t *tail);

/* The list a slot lies in, LISTS_NONE. */
uint32_t lists_list_of(const struct vset *v, slot_id slot);

/* ---- checking ------------------------------------------------------------ */

/* Checks what must hold of the slots from `first` on, at most n of them, and
 * with first = 0 of the lists themselves. NULL, or what is broken. */
const char *lists_check_slots(const struct vset *v, slot_id first, uint32_t n);

/* ---- files ------------------------------------------------------------- */

/* Which list owns a block, for saving: LISTS_NONE for blocks of the tail, of
 * lists that do not answer yet, or of nobody. A child may ask; see graph.h,
 * "forking". */
uint32_t lists_owner_of_block(const struct vset *v, uint32_t block);

/* Lists that are read from a file, for a set whose slots are there and live or
 * dead as they will be; nobody knows of them until they are installed.
 *
 *   begin     what lists_write_trained() wrote
 *   block     a block is owned by a list; its slots that are not live are free
 *   install   they answer; or abandon
 *
 * fails  ERR_CORRUPT, ERR_NOMEM; abandon them then. */
enum err lists_image_begin(struct vset *v, struct bytes trained,
                           struct lists **out) MUST_USE;
enum err lists_image_block(struct lists *l, uint32_t list,
                           uint32_t block) MUST_USE;
enum err lists_image_install(struct lists *l) MUST_USE;
void lists_image_abandon(struct lists *l);

/* ---- the end ------------------------------------------------------------- */

/* Stops all work; to be called before the builders end. lists_end_jobs() when
 * they have ended. */
void lists_cancel_all(struct keyspace *ks);
void lists_end_jobs(struct keyspace *ks);

#endif
