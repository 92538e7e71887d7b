/* A set's lists: life and end, what writes tell them, what is known. See
 * lists.h, and lists_impl.h for what the other files do. */
#include "db/lists/lists.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/graph/graph_left.h"
#include "db/lists/lists_impl.h"

enum {
    WORTHWHILE_ROWS = 20000,
    LISTS_MIN = 64,
    FILL_WORTHWHILE = 1024, /* rows that have gathered in the tail */
    FILL_ANY = 256,         /* when there is nothing else to do */
};

uint32_t lists_n_for(uint32_t rows)
{
    uint32_t n = kmeans_lists_for(rows);

    return n > LISTS_NLIST_MAX ? LISTS_NLIST_MAX : n;
}

uint32_t lists_worthwhile_for(const struct vec_format *f)
{
    uint32_t graph = graph_worthwhile_for(f);

    return graph > WORTHWHILE_ROWS ? graph : WORTHWHILE_ROWS;
}

uint32_t lists_worthwhile_at(const struct vset *v)
{
    return lists_worthwhile_for(&v->format);
}

/* ---- life and end ------------------------------------------------------ */

static void list_home(struct lists_home *h)
{
    struct keyspace *ks = h->keyspace;

    h->prev = NULL;
    h->next = ks->lists;
    if (h->next) {
        h->next->prev = h;
    }
    ks->lists = h;
}

static void unlist_home(struct lists_home *h)
{
    struct keyspace *ks = h->keyspace;

    if (ks->lists_at == h) {
        ks->lists_at = h->next;
    }
    if (h->prev) {
        h->prev->next = h->next;
    } else {
        ks->lists = h->next;
    }
    if (h->next) {
        h->next->prev = h->prev;
    }
}

struct lists_home *lists_home_of(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        h = region_alloc(&v->memory, sizeof(*h), 1);
        if (!h) {
            return NULL;
        }
        memset(h, 0, sizeof(*h));
        h->set = v;
        h->keyspace = v->keyspace;
        h->pace = 1;
        v->lists = h;
        list_home(h);
    }
    return h;
}

struct lists *lists_make(struct lists_home *h, const struct lists_options *o)
{
    struct lists *l = region_alloc(&h->set->memory, sizeof(*l), 1);

    if (!l) {
        return NULL;
    }
    memset(l, 0, sizeof(*l));
    l->home = h;
    l->options = *o;
    l->build = ++h->set->n_builds;
    l->sibling = h->all;
    h->all = l;
    return l;
}

void lists_destroy(struct lists *l)
{
    struct region *r = &l->home->set->memory;

    if (l->ivf) {
        ivf_destroy(l->ivf);
    }
    lists_free_codes(l);
    region_free(r, l, sizeof(*l), 1);
}

void lists_free(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        return;
    }
    if (h->left) {
        graph_left_free(h->left);
    }
    while (h->all) {
        struct lists *l = h->all;

        h->all = l->sibling;
        lists_destroy(l);
    }
    region_free(&v->memory, h, sizeof(*h), 1);
    v->lists = NULL;
}

static void cancel(struct lists_home *h)
{
    if (h->job) {
        atomic_store_explicit(&h->job->cancelled, true, memory_order_relaxed);
    }
    if (h->discard) {
        lists_discard_cancel(h);
    }
}

static void go(struct lists_home *h)
{
    h->is_going = true;
    unlist_home(h);
    cancel(h);
}

void lists_detach(struct vset *v)
{
    if (v->lists && !v->lists->is_going) {
        go(v->lists);
        graph_tell(v->keyspace);
    }
}

void lists_detach_all(struct keyspace *ks, const struct database *db)
{
    struct lists_home *h = ks->lists;

    while (h) {
        struct lists_home *next = h->next;

        if (h->set->db == db) {
            go(h);
        }
        h = next;
    }
    graph_tell(ks);
}

static void reclaim(struct retired *r, void *arg)
{
    (void)arg;
    lists_destroy(CONTAINER_OF(r, struct lists, retired));
}

/* Nothing works on them any more. */
static void leave(struct lists *l)
{
    struct lists **at = &l->home->all;

    while (*at != l) {
        at = &(*at)->sibling;
    }
    *at = l->sibling;
    epoch_retire(l->home->keyspace->epoch, &l->retired, reclaim, NULL);
}

void lists_dismiss_left(struct lists_home *h)
{
    if (h->left) {
        graph_left_dismiss(h->left);
        h->left = NULL;
    }
}

void lists_drop(struct lists *l)
{
    struct lists_home *h = l->home;

    if (h->answers == l) {
        lists_dismiss_left(h);
        h->answers = NULL;
    }
    h->coming = h->coming == l ? NULL : h->coming;
    l->dropped = true;
    if (h->job && h->job->lists == l) {
        /* It reads rows, which are held until it ends. */
        cancel(h);
    } else {
        leave(l);
    }
    graph_tell(h->keyspace);
}

void lists_drop_all(struct vset *v)
{
    struct lists_home *h = v->lists;

    if (!h) {
        return;
    }
    h->has_asked = false;
    cancel(h); /* it may work from the one for the other */
    if (h->coming) {
        lists_drop(h->coming);
    }
    if (h->answers) {
        lists_drop(h->answers);
    }
    slots_blocks_end(lists_slots(h));
}

void lists_take_place(struct lists *l)
{
    struct lists_home *h = l->home;

    h->coming = NULL;
    lists_drop(h->answers);
    h->answers = l;
}

void lists_job_ended(struct lists_home *h, struct lists *l, bool go_on)
{
    if (h->is_going) {
        return; /* freed with the set */
    }
    if (l->dropped) {
        leave(l);
    }
    if (go_on) {
        lists_pump(h->set, false);
    }
    if (h->becoming) {
        lists_discard_filled(h);
    }
}

/* ---- training ---------------------------------------------------------- */

static bool is_busy(const struct lists_home *h)
{
    return h->coming || (h->answers && !h->answers->is_filled);
}

static void put_off(struct lists_home *h, const struct lists_options *o)
{
    if (h->coming && !h->coming->ivf) {
        h->coming->options = *o; /* nothing has been made of what it was */
    } else {
        h->has_asked = true;
        h->asked = *o;
    }
}

void lists_forget_asked(struct vset *v)
{
    if (v->lists) {
        v->lists->has_asked = false;
    }
}

enum err lists_train(struct vset *v, const struct lists_options *o,
                     uint64_t *build)
{
    struct lists_home *h;
    struct lists *l;
    char why[192];
    bool busy = v->lists && is_busy(v->lists);

    if (busy && !keyspace_is_replayed(v->keyspace)) {
        return ERR_BUSY;
    }
    if (lists_options_wrong(o) ||
        !lists_options_fit(o, &v->options, vset_count(v), why, sizeof(why))) {
        return ERR_RANGE;
    }
    *build = 0;
    if (busy) {
        put_off(v->lists, o);
        return ERR_OK;
    }
    /* A set that chose lists did so to take less before long. */
    if (!o->by_itself && !mem_has_room(lists_training_bytes(v, o))) {
        return ERR_NOMEM;
    }
    h = v->keyspace->builders ? lists_home_of(v) : NULL;
    l = h ? lists_make(h, o) : NULL;
    if (!l) {
        return ERR_NOMEM;
    }
    h->coming = l;
    *build = l->build;
    lists_pump(v, true);
    return ERR_OK;
}

bool lists_is_built(const struct vset *v, uint64_t build)
{
    const struct lists *l = v->lists ? v->lists->answers : NULL;

    return l && l->build >= build && l->is_filled;
}

bool lists_is_given_up(const struct vset *v, uint64_t build)
{
    const struct lists_home *h = v->lists;

    return !h || h->is_going ||
           (!(h->answers && h->answers->build >= build) &&
            !(h->coming && h->coming->build >= build));
}

bool lists_is_training(const struct vset *v)
{
    return v->lists && is_busy(v->lists);
}

/* A lane is nobody's any more. */
static void release_lane(struct lists_home *h, slot_id slot)
{
    uint32_t block = slot / IVF_BLOCK;
    struct lists *l = lists_owning(h, block);

    if (ivf_lane_release(l->ivf, slot)) {
        lists_block_leave(l, block);
    }
}

/* Told by the slots. */
static void lane_is_free(void *arg, slot_id slot)
{
    release_lane(arg, slot);
}

static void free_centroids(struct ivf_centroids *c)
{
    ivf_centroids_destroy(c);
}

enum err lists_install(struct lists *l, struct ivf_centroids *c,
                       struct graph *leaving)
{
    struct lists_home *h = l->home;
    struct vset *v = h->set;
    struct ivf_options o = {.n_lists = c->n,
                            .centroids = c,
                            .free_centroids = free_centroids,
                            .region = &v->memory,
                            .epoch = h->keyspace->epoch};

    if (slots_blocks_begin(lists_slots(h), lane_is_free, h) != ERR_OK) {
        return ERR_NOMEM;
    }
    l->ivf = lists_make_codes(l) == ERR_OK ? ivf_create(&o) : NULL;
    if (!l->ivf) {
        if (!h->answers) {
            slots_blocks_end(lists_slots(h));
        }
        return ERR_NOMEM;
    }
    l->goal = vset_count(v);
    l->filling_since_ns = clock_mono_ns();
    h->trainings++;
    h->tail_left = 0;
    if (!l->options.by_itself) {
        v->options.index = VSET_INDEX_IVF;
    }
    if (!h->answers) {
        h->answers = l;
        h->coming = NULL;
        if (leaving && graph_left_leave(leaving)) {
            h->left = leaving;
        } else if (leaving) {
            graph_left_abandon(leaving);
        }
        graph_drop_all(v);
    } else if (leaving) {
        graph_left_abandon(leaving);
    }
    graph_tell(h->keyspace);
    return ERR_OK;
}

/* ---- writes ------------------------------------------------------------ */

struct lists *lists_owning(const struct lists_home *h, uint32_t block)
{
    slot_id first = block * IVF_BLOCK;

    if (h->answers && ivf_list_of(h->answers->ivf, first) != IVF_NONE) {
        return h->answers;
    }
    if (h->coming && h->coming->ivf &&
        ivf_list_of(h->coming->ivf, first) != IVF_NONE) {
        return h->coming;
    }
    return NULL;
}

enum err lists_prepare(struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
    return ERR_OK;
}

static bool has_gathered(struct lists_home *h, uint32_t n)
{
    uint32_t there = slots_tail_count(lists_slots(h));

    if (there < h->tail_left) {
        h->tail_left = there; /* some were dead and have gone */
    }
    return there - h->tail_left >= n;
}

void lists_note_put(struct vset *v, slot_id slot)
{
    struct lists_home *h = v->lists;

    if (UNLIKELY(h && h->left)) {
        graph_left_note_put(h->left, slot);
    }
    if (LIKELY(!h)) {
        if (UNLIKELY(v->options.index == VSET_INDEX_IVF)) {
            lists_pump(v, false);
        }
    } else if (!h->job && (!h->answers || has_gathered(h, FILL_WORTHWHILE))) {
        lists_pump(v, false);
    } else if (UNLIKELY(h->discard)) {
        lists_discard_note_put(h, slot);
    }
}

void lists_note_attribute(struct vset *v, slot_id slot)
{
    if (UNLIKELY(v->lists && v->lists->discard)) {
        lists_discard_note_attribute(v->lists, slot);
    }
}

void lists_note_gone(struct vset *v, slot_id slot)
{
    struct lists *l =
        v->lists ? lists_owning(v->lists, slot / IVF_BLOCK) : NULL;

    if (l) {
        ivf_lane_died(l->ivf, slot);
    }
    if (UNLIKELY(v->lists && v->lists->discard)) {
        lists_discard_note_gone(v->lists, slot);
    }
}

static bool is_among(const uint32_t *blocks, uint32_t n, uint32_t block)
{
    uint32_t from = 0;

    while (from < n) {
        uint32_t mid = from + (n - from) / 2;

        if (blocks[mid] == block) {
            return true;
        }
        if (blocks[mid] < block) {
            from = mid + 1;
        } else {
            n = mid;
        }
    }
    return false;
}

bool lists_holds(struct vset *v, slot_id slot)
{
    struct lists_job *job = v->lists ? v->lists->job : NULL;

    if (!job || !job->holds ||
        !is_among(job->blocks, job->n_blocks, slot / IVF_BLOCK)) {
        return false;
    }
    job->held[job->n_held++] = slot;
    return true;
}

bool lists_is_holding(const struct vset *v, slot_id slot)
{
    const struct lists_job *job = v->lists ? v->lists->job : NULL;
    uint32_t i;

    if (!job || !job->holds ||
        !is_among(job->blocks, job->n_blocks, slot / IVF_BLOCK)) {
        return false;
    }
    for (i = 0; i < job->n_held; i++) {
        if (job->held[i] == slot) {
            return true;
        }
    }
    return false;
}

/* ---- what to do next --------------------------------------------------- */

/* A set that was made to have lists is large enough by now. */
static void begin_if_due(struct vset *v)
{
    static const struct lists_options as_usual;
    uint64_t build;

    if (v->options.index != VSET_INDEX_IVF || !v->keyspace->builders ||
        vset_count(v) < lists_worthwhile_at(v)) {
        return;
    }
    if (keyspace_is_replayed(v->keyspace)) {
        (void)lists_home_of(v); /* so that lists_pump_all() comes here again */
        return;
    }
    /* Without memory for it the set is scanned a while longer. */
    (void)!lists_train(v, &as_usual, &build);
}

static void train_again(struct lists_home *h)
{
    struct lists_options o = h->answers->options;
    uint64_t build;

    (void)!lists_train(h->set, &o, &build);
}

static bool begin_asked(struct lists_home *h)
{
    struct lists_options o = h->asked;
    uint64_t build;

    if (!h->has_asked || is_busy(h) || keyspace_is_replayed(h->keyspace)) {
        return false;
    }
    h->has_asked = false;
    return lists_train(h->set, &o, &build) == ERR_OK;
}

static bool begin_filling_if_due(struct lists_home *h, bool any)
{
    h->filled_last = has_gathered(h, any ? FILL_ANY : FILL_WORTHWHILE) &&
                     lists_begin_filling(h);
    return h->filled_last;
}

static bool begin_tending(struct lists_home *h)
{
    if (!lists_want_training(h->answers)) {
        return lists_begin_tending(h);
    }
    if (!keyspace_is_replayed(h->keyspace)) {
        train_again(h);
    }
    return h->job;
}

bool lists_is_busy(const struct vset *v)
{
    const struct lists_job *job = v->lists ? v->lists->job : NULL;

    return job && job->kind != LISTS_JOB_TRAIN;
}

void lists_pump(struct vset *v, bool any)
{
    struct lists_home *h = v->lists;
    const struct lists *l;

    if (v->n_frozen ||
        (h && (h->job || h->is_going || !h->keyspace->builders))) {
        return;
    }
    if (h && begin_asked(h)) {
        return;
    }
    if (!h || (!h->answers && !h->coming)) {
        begin_if_due(v);
        return;
    }
    if (h->coming && !h->coming->ivf) {
        if (keyspace_is_replayed(h->keyspace)) {
            return; /* the result comes, or it is time for it in the end */
        }
        if (lists_begin_training(h->coming) != ERR_OK && !any) {
            lists_drop(h->coming);
        }
        return;
    }
    l = lists_target(h);
    if (!l->is_filled) {
        (void)lists_begin_filling(h);
    } else if (h->filled_last) {
        h->filled_last = false;
        if (!begin_tending(h)) {
            (void)begin_filling_if_due(h, any);
        }
    } else if (!begin_filling_if_due(h, any)) {
        (void)begin_tending(h);
    }
}

void lists_pump_all(struct keyspace *ks)
{
    struct lists_home *h = ks->lists;

    for (; h; h = ks->lists_at) {
        ks->lists_at = h->next;
        if (h->answers && !h->is_going) {
            index_choice_review(h->set,
                                vset_count(h->set) < graph_given_up_at(h->set));
        }
        if (h->becoming) {
            lists_discard_settle(h);
        }
        lists_pump(h->set, true);
    }
}

struct index_watch *lists_watch(const struct vset *v)
{
    return v->lists ? &v->lists->watch : NULL;
}

/* ---- searches ---------------------------------------------------------- */

void lists_view_take(const struct vset *v, struct lists_view *out)
{
    const struct lists_home *h = v->lists;

    memset(out, 0, sizeof(*out));
    if (!h || !h->answers) {
        return;
    }
    out->ivf = h->answers->ivf;
    out->codes = h->answers->codes;
    out->n_probe = h->answers->options.nprobe;
    out->n_listed = (uint32_t)ivf_n_used(out->ivf);
    if (h->left) {
        graph_left_view_take(h->left, &out->left);
    }
    if (h->coming && h->coming->ivf) {
        out->coming = h->coming->ivf;
        out->coming_codes = h->coming->codes;
        out->n_listed += (uint32_t)ivf_n_used(out->coming);
    }
}

const struct hnsw *lists_left(const struct vset *v)
{
    return v->lists && v->lists->left ? graph_left_hnsw(v->lists->left) : NULL;
}

const struct ivf *lists_of(const struct vset *v)
{
    return v->lists && v->lists->answers ? v->lists->answers->ivf : NULL;
}

double lists_pace(const struct vset *v)
{
    return v->lists ? v->lists->pace : 1;
}

void lists_note_pace(struct vset *v, int64_t estimated_ns, int64_t took_ns)
{
    struct lists_home *h = v->lists;

    if (h && estimated_ns > 0) {
        double times = (double)took_ns / (double)estimated_ns;

        times = times < 0.1 ? 0.1 : times > 10 ? 10 : times;
        h->pace += (times - h->pace) / 16;
    }
}

/* ---- what is known ----------------------------------------------------- */

const char *lists_phase_name(enum lists_phase phase)
{
    static const char *const names[] = {"idle",    "sampling", "training",
                                        "coding",  "filling",  "tending",
                                        "encoding"};

    return names[phase];
}

/* Rows a second that fill lists, about, until it is known. */
#define FILL_PACE 400000.0

static void progress_of_filling(const struct lists *l, struct lists_info *out)
{
    double took = (double)(clock_mono_ns() - l->filling_since_ns) / 1e9;
    double goal = l->goal ? l->goal : 1;
    double moved = (double)l->moved < goal ? (double)l->moved : goal;

    out->phase = LISTS_FILLING;
    out->progress = moved / goal;
    out->remaining_s = moved > 1000 ? took * (goal - moved) / moved
                                    : (goal - moved) / FILL_PACE;
}

static void progress_of_training(const struct lists_job *job,
                                 struct lists_info *out)
{
    double took = (double)(clock_mono_ns() - job->began_ns) / 1e9;
    double all = vset_count(job->home->set) / FILL_PACE;

    out->phase = LISTS_SAMPLING;
    out->remaining_s = -1;
    if (job->kmeans) {
        out->phase = LISTS_TRAINING;
        out->progress = kmeans_progress(job->kmeans);
        if (out->progress > 0.02) {
            out->remaining_s = took * (1 - out->progress) / out->progress + all;
        }
    }
}

static void progress_of_discard(const struct lists_home *h,
                                struct lists_info *out)
{
    double all = vset_count(h->set) / FILL_PACE;
    bool filling;

    out->progress = lists_discard_progress(h, &filling);
    out->phase = filling ? LISTS_FILLING : LISTS_ENCODING;
    out->remaining_s = all * ((filling ? 1 : 2) - out->progress);
}

static void read_progress(const struct lists_home *h, struct lists_info *out)
{
    const struct lists *l = lists_target(h);

    if (h->discard) {
        progress_of_discard(h, out);
    } else if (h->coming && !h->coming->ivf) {
        out->phase = LISTS_SAMPLING;
        if (h->job && h->job->kind == LISTS_JOB_TRAIN) {
            progress_of_training(h->job, out);
        }
    } else if (l && !l->is_filled) {
        progress_of_filling(l, out);
    } else if (h->job) {
        out->phase =
            h->job->kind == LISTS_JOB_FILL ? LISTS_FILLING : LISTS_TENDING;
    }
}

static void read_lists(const struct lists *l, struct lists_info *out)
{
    struct ivf_stats s;

    ivf_stats(l->ivf, &s);
    out->build = l->build;
    out->options = l->options;
    out->options.nlist = s.n_lists;
    out->listed = (uint32_t)s.n_used;
    out->blocks = s.n_blocks;
    out->dead = (uint32_t)((uint64_t)s.n_blocks * IVF_BLOCK - s.n_used);
    out->largest = s.max;
    out->smallest = s.min;
    out->mean = (double)s.n_used / s.n_lists;
    out->imbalance = s.imbalance;
    out->drift =
        l->residual > 0 && l->of_late > 0 ? l->of_late / l->residual : 0;
    out->trained_at = l->trained_at;
    out->trained_rows = l->trained_rows;
    out->train_s = l->train_s;
}

void lists_info_read(const struct vset *v, struct lists_info *out)
{
    const struct lists_home *h = v->lists;

    memset(out, 0, sizeof(*out));
    out->tail = vset_count(v);
    if (!h) {
        return;
    }
    out->has_lists = h->answers;
    out->is_coming = h->coming;
    if (h->answers) {
        read_lists(h->answers, out);
        if (h->coming && h->coming->ivf) {
            out->listed += (uint32_t)ivf_n_used(h->coming->ivf);
        }
        out->tail -= out->listed;
    }
    read_progress(h, out);
    out->trainings = h->trainings;
    out->splits = h->splits;
    out->merges = h->merges;
    out->bytes = lists_bytes(v) + lists_outside_bytes(v);
}

size_t lists_bytes(const struct vset *v)
{
    const struct lists_home *h = v->lists;
    const struct lists *l;
    size_t bytes;

    if (!h) {
        return 0;
    }
    bytes = region_cost(sizeof(*h), 1) + slots_blocks_bytes(lists_slots(h));
    bytes += h->left ? graph_left_bytes(h->left) : 0;
    for (l = h->all; l; l = l->sibling) {
        bytes += region_cost(sizeof(*l), 1) + (l->ivf ? ivf_bytes(l->ivf) : 0) +
                 lists_codes_bytes(l);
    }
    return bytes;
}

size_t lists_outside_bytes(const struct vset *v)
{
    const struct lists *l = v->lists ? v->lists->all : NULL;
    size_t bytes = 0;

    for (; l; l = l->sibling) {
        bytes += l->ivf ? ivf_centroids_of(l->ivf)->bytes : 0;
    }
    return bytes;
}

void lists_count_all(const struct keyspace *ks, uint64_t *lists,
                     uint64_t *trainings, uint64_t *tail)
{
    const struct lists_home *h;

    *lists = *trainings = *tail = 0;
    for (h = ks->lists; h; h = h->next) {
        if (h->becoming) {
            continue;
        }
        *lists += h->answers != NULL;
        *trainings += h->coming && !h->coming->ivf;
        if (h->answers) {
            struct lists_view view;

            lists_view_take(h->set, &view);
            *tail += vset_count(h->set) - view.n_listed;
        }
    }
}

uint32_t lists_list_of(const struct vset *v, slot_id slot)
{
    const struct ivf *ivf = lists_of(v);

    return ivf ? ivf_list_of(ivf, slot) : LISTS_NONE;
}

uint32_t lists_owner_of_block(const struct vset *v, uint32_t block)
{
    const struct lists *l = v->lists ? lists_target(v->lists) : NULL;

    return l ? ivf_list_of(l->ivf, block * IVF_BLOCK) : LISTS_NONE;
}

/* ---- checking ---------------------------------------------------------- */

static const char *check_block(const struct lists_home *h, uint32_t block)
{
    const struct slots *s = lists_slots(h);
    const struct lists *l = lists_owning(h, block);
    uint32_t lanes = l ? ivf_block_lanes(l->ivf, block) : 0;
    uint32_t i;

    if ((slots_block_kind(s, block) == BLOCK_OWNED) != (l != NULL)) {
        return "L1: a block is owned and in no list, or the other way round";
    }
    if (l && (slots_block_free(s, block) & lanes)) {
        return "L1: a lane is in use whose slot is free";
    }
    for (i = 0; l && i < IVF_BLOCK; i++) {
        if (slots_is_live(s, block * IVF_BLOCK + i) && !(lanes >> i & 1)) {
            return "L1: a row in a list has no lane";
        }
    }
    return NULL;
}

const char *lists_check_slots(const struct vset *v, slot_id first, uint32_t n)
{
    const struct lists_home *h = v->lists;
    uint32_t block = first / IVF_BLOCK;
    uint64_t end;
    const char *broken = NULL;

    if (!h) {
        return NULL;
    }
    if (!h->answers) {
        return v->elements.slots.blocks
                   ? "L1: blocks are kept and there are no lists"
                   : NULL;
    }
    end = (uint64_t)first + n;
    if (end > v->elements.slots.n_slots) {
        end = v->elements.slots.n_slots;
    }
    for (; !broken && (uint64_t)block * IVF_BLOCK < end; block++) {
        broken = check_block(h, block);
    }
    return broken;
}

/* ---- the end ----------------------------------------------------------- */

void lists_cancel_all(struct keyspace *ks)
{
    struct lists_home *h;

    for (h = ks->lists; h; h = h->next) {
        cancel(h);
    }
}

void lists_end_jobs(struct keyspace *ks)
{
    lists_cancel_all(ks);
    while (ks->lists_jobs) {
        lists_job_end(ks->lists_jobs, false);
    }
}
