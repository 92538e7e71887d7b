/* What a set's graph tells about itself: see graph.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"

const struct hnsw *graph_of(const struct vset *v)
{
    return v->graph->hnsw;
}

enum { PACE_WEIGHT = 16, PACE_MIN = 1, PACE_MAX = 16 };

double graph_pace(const struct vset *v)
{
    return v->graph ? v->graph->pace : PACE_MIN;
}

void graph_note_pace(struct vset *v, int64_t estimated_ns, int64_t took_ns)
{
    double ratio = (double)took_ns / (double)(estimated_ns + 1);

    /* One that was held up says nothing of the others. */
    ratio = ratio < PACE_MIN ? PACE_MIN : ratio < PACE_MAX ? ratio : PACE_MAX;
    if (v->graph) {
        v->graph->pace += (float)((ratio - v->graph->pace) / PACE_WEIGHT);
    }
}

void graph_view_take(const struct vset *v, struct graph_view *out)
{
    const struct graph *g = v->graph;

    *out = (struct graph_view){.hnsw = NULL};
    if (g && hnsw_count(g->hnsw) > 0) {
        out->hnsw = g->hnsw;
        out->start = hnsw_start(g->hnsw);
        out->nodes = hnsw_count(g->hnsw);
        out->dead = g->n_dead + g->n_dying;
        out->fresh_from = g->fresh_from;
        out->raw_from = graph_raw_from(g);
        out->n_late = g->late_n - graph_raw_late(g);
        out->late = out->n_late ? g->late->slots + graph_raw_late(g) : NULL;
        out->buckets = g->buckets;
        out->bucketed = graph_bucketed(g);
    }
}

static int max_level(const struct graph *g)
{
    int level = HNSW_LEVEL_MAX;

    while (level > 0 && g->levels[level] == 0) {
        level--;
    }
    return level;
}

size_t graph_own_bytes(const struct graph *g)
{
    return region_cost(sizeof(*g), 1) + graph_tail_bytes(g) +
           graph_left_own_bytes(g) + graph_held_bytes(g);
}

size_t graph_bytes(const struct vset *v)
{
    const struct graph *g;
    size_t bytes = 0;

    for (g = v->graphs; g; g = g->sibling) {
        bytes += hnsw_bytes(g->hnsw) + graph_own_bytes(g);
    }
    return bytes + graph_apart_bytes(v);
}

size_t graph_promised(const struct vset *v)
{
    const struct graph *g;
    size_t bytes = 0;

    for (g = v->graphs; g; g = g->sibling) {
        bytes += g->promised;
    }
    return bytes;
}

void graph_info_read(const struct vset *v, struct graph_info *out)
{
    static const char *const jobs[] = {[JOB_BATCH] = "batch",
                                       [JOB_SWEEP] = "sweep",
                                       [JOB_WALK] = "walk",
                                       [JOB_CHECK] = "check"};
    const struct graph *g = v->graph;

    *out = (struct graph_info){.job = "none", .bytes = graph_bytes(v)};
    if (g) {
        out->has_graph = true;
        out->build = g->build;
        out->m = hnsw_m(g->hnsw);
        out->ef = g->ef;
        out->nodes = hnsw_count(g->hnsw);
        out->dead = g->n_dead + g->n_dying;
        out->tail = graph_waiting(g);
        out->bucketed = graph_bucketed(g);
        out->max_level = max_level(g);
        out->job = g->job ? jobs[g->job->kind] : "none";
    }
    if (v->coming) {
        out->is_building = true;
        out->built = hnsw_count(v->coming->hnsw);
        out->to_build = graph_waiting(v->coming);
    }
}

void graph_count_all(const struct keyspace *ks, uint64_t *graphs,
                     uint64_t *tail, uint64_t *bucketed)
{
    const struct graph *g;

    *graphs = *tail = *bucketed = 0;
    for (g = ks->graphs; g; g = g->next) {
        if (!g->dropped) {
            *graphs += g == g->set->graph;
            *tail += graph_waiting(g);
            *bucketed += graph_bucketed(g);
        }
    }
}

/* ---- links ------------------------------------------------------------- */

bool graph_has(const struct vset *v, slot_id slot)
{
    return v->graph && hnsw_is_linked(v->graph->hnsw, slot);
}

int graph_level(const struct vset *v, slot_id slot)
{
    return v->graph ? hnsw_level(v->graph->hnsw, slot) : 0;
}

static int compare_slots(const void *a, const void *b)
{
    const slot_id *x = a;
    const slot_id *y = b;

    return *x < *y ? -1 : *x > *y;
}

size_t graph_links(const struct vset *v, slot_id slot, int level, slot_id *out,
                   size_t room)
{
    const struct slots *s = &v->elements.slots;
    size_t n, kept = 0, i;

    if (!graph_has(v, slot)) {
        return 0;
    }
    n = hnsw_links(v->graph->hnsw, slot, level, out, room);
    /* Of a row that is being written the old links and the new are there. */
    qsort(out, n, sizeof(*out), compare_slots);
    for (i = 0; i < n; i++) {
        if (slots_is_live(s, out[i]) && (!kept || out[kept - 1] != out[i])) {
            out[kept++] = out[i];
        }
    }
    return kept;
}

void graph_link_scores(const struct vset *v, slot_id slot, const slot_id *links,
                       size_t n, double *scores)
{
    const struct vec_format *f = &v->format;
    uint8_t *memory = mem_alloc(vec_query_bytes(f) + VEC_ALIGN);
    uintptr_t at = ((uintptr_t)memory + VEC_ALIGN - 1) & ~(VEC_ALIGN - 1);
    const struct vec_query *q =
        vec_query_from_row(f, vset_row(v, slot), (void *)at);
    size_t i;

    for (i = 0; i < n; i++) {
        const uint8_t *row = vset_row(v, links[i]);
        float key;

        vec_gather(q, &row, 1, &key);
        scores[i] = vec_score(f, key);
    }
    mem_free(memory);
}

/* ---- checking ---------------------------------------------------------- */

void graph_ask_check(struct vset *v, struct graph_check *out)
{
    struct graph *g = v->graph;

    *out = (struct graph_check){.build = 0};
    if (g) {
        *out = (struct graph_check){g->build, ++g->checks_asked};
        graph_pump(v, true);
    }
}

bool graph_was_checked(const struct vset *v, const struct graph_check *check,
                       const char **broken)
{
    const struct graph *g = v->graph;

    *broken = NULL;
    if (!g || g->build != check->build) {
        return true;
    }
    *broken = g->broken;
    return (int32_t)(g->checks_made - check->number) >= 0;
}

static const char *check_slot(const struct graph *g, slot_id slot)
{
    bool has_room = slot / 64 < g->held_words;
    bool held = has_room && graph_bit(g->held, slot);
    bool dead = (has_room && graph_bit(g->dying, slot)) ||
                (slot / 64 < g->dead_words && graph_bit(g->dead, slot));

    if (slots_is_live(&g->set->elements.slots, slot)) {
        if (dead) {
            return "B2: a live slot is to be swept";
        }
        return held || slot >= g->fresh_from ||
                       (has_room && graph_bit(g->waiting, slot))
                   ? NULL
                   : "B1: a live slot is in neither body nor tail";
    }
    if (dead && !held) {
        return "B2: a slot is to be swept that is not held";
    }
    return hnsw_is_linked(g->hnsw, slot) && !held
               ? "B2: a slot in the body is not held"
               : NULL;
}

/* How many live elements there are of each level. */
static const char *check_levels(const struct graph *g)
{
    uint64_t sum = 0;
    int level;

    for (level = 0; level <= HNSW_LEVEL_MAX; level++) {
        sum += g->levels[level];
    }
    /* Slots behind are counted bit by bit. */
    if (g->counted_to < g->set->elements.slots.n_slots) {
        return NULL;
    }
    return sum == vset_count(g->set) ? NULL
                                     : "levels do not add up to the elements";
}

const char *graph_check_slots(const struct vset *v, slot_id first, uint32_t n)
{
    const struct graph *g = v->graph;
    const char *broken = g ? check_levels(g) : NULL;
    slot_id end = v->elements.slots.n_slots;

    for (; g && !broken && n > 0 && first < end; first++, n--) {
        broken = check_slot(g, first);
    }
    return broken;
}

struct index_watch *graph_watch(const struct vset *v)
{
    return v->graph ? &v->graph->watch : NULL;
}
