/* What writes tell a set's lists, and what is begun for them next.
 *
 * A write notes its slot, and that is all it waits for. When enough has
 * gathered, or when there is time, one job is begun: what was asked for comes
 * first, then rows that wait in the tail and lists that have got out of shape,
 * in turns. */
#include "db/graph/graph.h"
#include "db/graph/graph_left.h"
#include "db/lists/lists_impl.h"

enum {
    FILL_WORTHWHILE = 1024, /* rows that have gathered in the tail */
    FILL_ANY = 256,         /* when there is nothing else to do */
    FILLS_MOST = 16,        /* in a row, in a burst, before lists are tended */
};

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
    } else {
        if (UNLIKELY(h->job)) {
            lists_note_written(h);
        }
        if (UNLIKELY(h->discard)) {
            lists_discard_note_put(h, slot);
        }
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

/* The place of a slot's block among those a job holds, IVF_NONE. */
static uint32_t place_held(const struct lists_job *job, slot_id slot)
{
    uint32_t block = slot / IVF_BLOCK;
    uint32_t from = 0, n = job && job->holds ? job->n_blocks : 0;

    while (from < n) {
        uint32_t mid = from + (n - from) / 2;

        if (job->blocks[mid] == block) {
            return mid;
        }
        if (job->blocks[mid] < block) {
            from = mid + 1;
        } else {
            n = mid;
        }
    }
    return IVF_NONE;
}

bool lists_holds(struct vset *v, slot_id slot)
{
    struct lists_job *job = v->lists ? v->lists->job : NULL;
    uint32_t at = place_held(job, slot);

    if (at == IVF_NONE) {
        return false;
    }
    job->held[at] |= (uint32_t)1 << (slot % IVF_BLOCK);
    return true;
}

bool lists_is_holding(const struct vset *v, slot_id slot)
{
    const struct lists_job *job = v->lists ? v->lists->job : NULL;
    uint32_t at = place_held(job, slot);

    return at != IVF_NONE && (job->held[at] >> (slot % IVF_BLOCK) & 1);
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

    if (!h->has_asked || lists_is_training(h->set) ||
        keyspace_is_replayed(h->keyspace)) {
        return false;
    }
    h->has_asked = false;
    return lists_train(h->set, &o, &build) == ERR_OK;
}

static bool begin_filling_if_due(struct lists_home *h, bool any)
{
    h->fills++;
    if (has_gathered(h, any ? FILL_ANY : FILL_WORTHWHILE) &&
        lists_begin_filling(h)) {
        return true;
    }
    h->fills = 0;
    return false;
}

/* Lists are tended when they have been filled, but in a burst that can wait. */
static bool is_time_to_tend(const struct lists_home *h)
{
    bool waits = h->in_burst || lists_tail_is_long(h);

    return h->fills > (waits ? FILLS_MOST : 0);
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

    if (v->n_frozen) {
        return;
    }
    lists_wake(v);
    if (h && (h->job || h->is_going || !h->keyspace->builders)) {
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
    } else if (is_time_to_tend(h)) {
        h->fills = 0;
        if (!begin_tending(h)) {
            (void)begin_filling_if_due(h, any);
        }
    } else if (!begin_filling_if_due(h, any)) {
        (void)begin_tending(h);
    }
}

static void note_burst(struct lists_home *h)
{
    const struct vset *v = h->set;
    uint64_t n = v->node_uid - h->pumped_uid;

    h->in_burst = h->pumped_uid && n > LISTS_BURST_BYTES / v->format.row_bytes;
    h->pumped_uid = v->node_uid;
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
        note_burst(h);
        lists_parts_settle(h);
        lists_take_apart(h);
        if (h->becoming) {
            lists_discard_settle(h);
        }
        lists_pump(h->set, true);
    }
}
