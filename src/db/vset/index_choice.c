#include "db/vset/index_choice.h"

#include <stdio.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/vset/vset_impl.h"

/* In times of a bound: how much less brings a set (back) to the graph, and how
 * much more a graph that is there already may take. */
#define BACK   1.5
#define GROWTH 1.1

/* ---- choosing ------------------------------------------------------------ */

static bool has_no_room(const struct index_facts *f)
{
    return (double)f->graph_bytes *
               (f->now == VSET_INDEX_HNSW ? GROWTH : BACK) >
           (double)f->room;
}

static bool wants_lists(const struct index_facts *f, enum index_reason *reason)
{
    bool have = f->now == VSET_INDEX_IVF;
    double more = have ? BACK : 1;

    if (f->count * more < f->lists_at) {
        return false;
    }
    if (f->count * more >= INDEX_HUGE) {
        *reason = INDEX_TOO_MANY;
    } else if (has_no_room(f)) {
        *reason = INDEX_NO_ROOM;
    } else if ((have ? f->churn_most * BACK : f->churn_least) >= INDEX_CHURN) {
        *reason = INDEX_CHANGING;
    } else if (have && f->age_s < INDEX_HOUR) {
        *reason = INDEX_YOUNG;
    } else {
        return false;
    }
    return true;
}

struct index_choice index_choose(const struct index_facts *f)
{
    struct index_choice c = {VSET_INDEX_HNSW, INDEX_LARGE};
    uint32_t least =
        f->now == VSET_INDEX_FLAT ? f->graph_at : f->graph_at * 2 / 3;

    if (f->count < least) {
        return f->came_along
                   ? (struct index_choice){VSET_INDEX_HNSW, INDEX_CAME}
                   : (struct index_choice){VSET_INDEX_FLAT, INDEX_SMALL};
    }
    if (wants_lists(f, &c.reason)) {
        c.index = VSET_INDEX_IVF;
    } else if (has_no_room(f)) {
        c = (struct index_choice){VSET_INDEX_FLAT, INDEX_NO_ROOM};
    }
    return c;
}

/* ---- what is remembered -------------------------------------------------- */

void index_watch_note(struct index_watch *w, uint64_t gone, uint32_t count,
                      uint32_t now_s)
{
    uint32_t passed = now_s - w->hour_s;

    if (!w->has_begun) {
        *w = (struct index_watch){
            .gone = gone, .hour_s = now_s, .since_s = now_s, .has_begun = true};
    } else if (passed >= INDEX_HOUR) {
        uint64_t n = gone > w->gone ? gone - w->gone : 0;

        w->churn[1] = w->churn[0];
        w->churn[0] =
            (float)((double)n / (count ? count : 1) * INDEX_HOUR / passed);
        w->gone = gone;
        w->hour_s = now_s;
    }
}

/* ---- of a set ------------------------------------------------------------ */

static enum vset_index index_of(const struct vset *v)
{
    return lists_of(v) ? VSET_INDEX_IVF
           : v->graph  ? VSET_INDEX_HNSW
                       : VSET_INDEX_FLAT;
}

static struct index_watch *watch_of(const struct vset *v)
{
    return lists_of(v) ? lists_watch(v) : v->graph ? graph_watch(v) : NULL;
}

static uint64_t room(uint64_t besides, uint64_t own)
{
    uint64_t limit = mem_limit();
    uint64_t used = mem_used() + mem_promised() + besides;

    if (limit == 0) {
        return UINT64_MAX;
    }
    return limit + own > used ? limit + own - used : 0;
}

uint64_t index_choice_room(uint64_t besides)
{
    return room(besides, 0);
}

/* As if there were no index. */
static uint64_t room_of(const struct vset *v)
{
    return room(0, graph_bytes(v) + graph_promised(v) + lists_bytes(v) +
                       lists_outside_bytes(v));
}

/* What a graph of all elements takes: never less than the one there is does,
 * for that counts where room is short, whatever was estimated. */
static uint64_t graph_takes(const struct vset *v)
{
    uint64_t takes = graph_bytes_for(&v->format, v->options.m, vset_count(v));
    uint64_t has = v->graph ? graph_bytes(v) + graph_promised(v) : 0;

    return has > takes ? has : takes;
}

static void facts_of(const struct vset *v, struct index_facts *f)
{
    const struct index_watch *w = watch_of(v);

    *f = (struct index_facts){
        .now = index_of(v),
        .came_along = graph_came_along(v),
        .count = vset_count(v),
        .graph_at = graph_worthwhile_at(v),
        .lists_at = lists_worthwhile_at(v),
        .graph_bytes = graph_takes(v),
        .room = room_of(v),
    };
    if (w && w->has_begun) {
        bool later = w->churn[0] > w->churn[1];

        f->churn_least = w->churn[later];
        f->churn_most = w->churn[!later];
        f->age_s = v->keyspace->clock_s - w->since_s;
    }
}

static void have(struct vset *v, enum vset_index index)
{
    static const struct lists_options chosen = {.by_itself = true};
    uint64_t build;

    switch (index) {
    case VSET_INDEX_HNSW:
        /* Being unable to only means that things stay as they are. */
        (void)!(lists_of(v) ? graph_build(v, &build) : graph_begin(v));
        break;
    case VSET_INDEX_IVF:
        (void)!lists_train(v, &chosen, &build);
        break;
    default:
        graph_drop_all(v);
        lists_drop_all(v);
    }
}

void index_choice_review(struct vset *v, bool soon)
{
    struct index_watch *w = watch_of(v);
    uint32_t now_s = v->keyspace->clock_s;
    struct index_facts f;
    struct index_choice c;

    if (v->options.index != VSET_INDEX_AUTO || !v->keyspace->builders ||
        v->coming || lists_is_training(v)) {
        return;
    }
    if (w) {
        index_watch_note(w, v->node_uid - vset_count(v), vset_count(v), now_s);
        if (!soon && now_s - w->reviewed_s < INDEX_REVIEW_EVERY) {
            return;
        }
        w->reviewed_s = now_s;
    }
    facts_of(v, &f);
    c = index_choose(&f);
    if (c.index != f.now) {
        have(v, c.index);
    }
}

/* ---- words --------------------------------------------------------------- */

void index_choice_why(const struct vset *v, char *text, size_t size)
{
    struct index_facts f;

    if (v->options.index != VSET_INDEX_AUTO) {
        snprintf(text, size, "it was asked for");
        return;
    }
    facts_of(v, &f);
    switch (index_choose(&f).reason) {
    case INDEX_SMALL:
        snprintf(text, size,
                 "%u elements are scanned faster than a graph is searched; "
                 "from %u on there is one",
                 f.count, f.graph_at);
        break;
    case INDEX_CAME:
        snprintf(text, size, "the set came with its graph");
        break;
    case INDEX_LARGE:
        snprintf(text, size,
                 "%u elements are too many to scan, and there is room for a "
                 "graph of %llu bytes",
                 f.count, (unsigned long long)f.graph_bytes);
        break;
    case INDEX_NO_ROOM:
        snprintf(text, size,
                 "a graph takes %llu bytes, and maxmemory leaves %llu",
                 (unsigned long long)f.graph_bytes, (unsigned long long)f.room);
        break;
    case INDEX_TOO_MANY:
        snprintf(text, size, "%u elements are too many for a graph", f.count);
        break;
    case INDEX_CHANGING:
        snprintf(text, size,
                 "%.0f %% of the elements were replaced or removed in an hour",
                 100 *
                     (f.now == VSET_INDEX_IVF ? f.churn_most : f.churn_least));
        break;
    case INDEX_YOUNG:
        snprintf(text, size, "lists were chosen less than an hour ago");
        break;
    }
}
