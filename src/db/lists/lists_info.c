/* What a set's lists tell about themselves, and to searches: see lists.h. */
#include <string.h>

#include "db/graph/graph_left.h"
#include "db/lists/lists_impl.h"

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

struct index_watch *lists_watch(const struct vset *v)
{
    return v->lists ? &v->lists->watch : NULL;
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
    } else if (job->made) {
        out->phase = LISTS_TRAINING;
        out->progress = 1;
        out->remaining_s = all;
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

static size_t bytes_of_all(const struct lists *l)
{
    size_t bytes = 0;

    for (; l; l = l->sibling) {
        bytes += region_cost(sizeof(*l), 1) + (l->ivf ? ivf_bytes(l->ivf) : 0) +
                 lists_codes_bytes(l);
    }
    return bytes;
}

size_t lists_bytes(const struct vset *v)
{
    const struct lists_home *h = v->lists;

    return h ? region_cost(sizeof(*h), 1) + slots_blocks_bytes(lists_slots(h)) +
                   (h->left ? graph_left_bytes(h->left) : 0) +
                   bytes_of_all(h->all) + bytes_of_all(h->apart)
             : 0;
}

static size_t outside_bytes_of_all(const struct lists *l)
{
    size_t bytes = 0;

    for (; l; l = l->sibling) {
        bytes += l->ivf ? ivf_centroids_of(l->ivf)->bytes : 0;
    }
    return bytes;
}

size_t lists_outside_bytes(const struct vset *v)
{
    const struct lists_home *h = v->lists;

    return h ? outside_bytes_of_all(h->all) + outside_bytes_of_all(h->apart) +
                   h->parts.cap
             : 0;
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
