/* The links of a set's image: see vset_load_impl.h. */
#include "base/mem.h"
#include "db/search/search_impl.h"
#include "db/vset/vset_load_impl.h"

enum {
    CHECKS_AT_ONCE = 8192, /* nodes, between two looks at the time */
    UNITS_UNDER_WAY = 16,
    GRAPH_SHARE = 64,       /* memory of links, for each byte of input */
    GRAPH_SLACK = 64 << 20, /* and so much besides */
};

static struct hnsw *hnsw_of(const struct reader *r)
{
    return graph_image_hnsw(r->graph);
}

/* ---- reading ----------------------------------------------------------- */

static const char *decode_links(const struct reader *r, struct part *p,
                                struct block *b)
{
    const uint8_t *linked, *chained;
    uint32_t i;

    (void)p;
    if (!r->graph) {
        return NULL;
    }
    linked = vset_load_bits(b, b->n);
    chained = vset_load_bits(b, b->n);
    if (!linked || !chained) {
        return "a block of a vector set is too short";
    }
    for (i = 0; i < b->n; i++) {
        const char *broken;

        if (!bit_at(linked, i)) {
            continue;
        }
        if (!bit_at(r->present.data, b->first + i)) {
            return "a node has no row";
        }
        broken = hnsw_image_get(hnsw_of(r), b->first + i, bit_at(chained, i),
                                &b->body, &b->nodes);
        if (broken) {
            return broken;
        }
    }
    return b->body.len ? "a block of links is too long" : NULL;
}

static bool take_links(struct reader *r, struct part *p, struct block *b)
{
    (void)p;
    if (r->graph) {
        hnsw_image_add(hnsw_of(r), &b->nodes);
        r->has_chains |= b->nodes.has_chains;
    }
    return true;
}

/* Room for links may be far more than the links: where it is out of all
 * proportion to the input they are passed over, and the graph is built anew. */
static bool is_in_proportion(const struct reader *r)
{
    uint128 room = (uint128)r->n_slots * hnsw_image_node_bytes(hnsw_of(r));

    if (r->flags & IMAGE_LEVELS) {
        room = hnsw_image_shape_bytes(hnsw_of(r), &r->shape, r->levels.data,
                                      r->n_slots);
    }
    return room <= GRAPH_SLACK ||
           (room - GRAPH_SLACK) / GRAPH_SHARE <= rdb_in_left(r->in);
}

static bool take_levels(struct reader *r, struct part *p, struct block *b)
{
    uint32_t i;

    (void)p;
    if (b->body.len != b->n) {
        return vset_load_corrupt(r, "a block of levels has another length");
    }
    for (i = 0; i < b->n; i++) {
        if (b->body.data[i] > HNSW_LEVEL_MAX) {
            return vset_load_corrupt(r, "a level is out of range");
        }
    }
    buf_append_bytes(&r->levels, b->body);
    return true;
}

bool vset_load_levels(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_LEVELS,
                                           .take = take_levels};

    return vset_load_section(r, &section, r->n_slots) && vset_load_settle(r);
}

static enum err make_room(struct reader *r)
{
    if (!(r->flags & IMAGE_LEVELS)) {
        return hnsw_image_room(hnsw_of(r), r->n_slots);
    }
    return hnsw_image_room_as(hnsw_of(r), &r->shape, r->levels.data,
                              r->n_slots);
}

/* There are as many rows as was said, so room for them is made at once. */
bool vset_load_links(struct reader *r)
{
    static const struct section section = {
        .kind = BLOCK_LINKS, .decode = decode_links, .take = take_links};

    r->graph = graph_image_begin(r->set, r->graph_m, r->graph_ef);
    if (!r->graph) {
        return vset_load_fail(r, ERR_NOMEM);
    }
    if (!is_in_proportion(r)) {
        graph_image_abandon(r->graph);
        r->graph = NULL;
    } else if (make_room(r) != ERR_OK) {
        return vset_load_fail(r, ERR_NOMEM);
    }
    return vset_load_section(r, &section, r->n_slots);
}

/* ---- checking ---------------------------------------------------------- */

struct slot_unit {
    struct crew_unit unit;
    const struct slot_work *work;
    uint32_t slot, end;
    const char *broken;
};

static void unit_with(struct slot_unit *u, struct search_scratch *s)
{
    u->broken = u->work->run(u->work->arg, &u->slot, u->end, s);
}

static void unit_run(struct crew_unit *unit, struct worker *w)
{
    unit_with(CONTAINER_OF(unit, struct slot_unit, unit), w->scratch);
}

static void unit_begin(struct slot_unit *u, const struct slot_work *w,
                       uint32_t number, struct keyspace *ks)
{
    u->work = w;
    u->slot = number * w->at_once;
    u->end =
        w->n_slots - u->slot < w->at_once ? w->n_slots : u->slot + w->at_once;
    u->unit.run = unit_run;
    if (w->crew) {
        crew_begin(w->crew, &u->unit);
    } else {
        unit_with(u, ks->searches->scratch);
    }
}

/* Units begin and end in order; the first that finds something is told of. */
const char *vset_load_each(const struct slot_work *w, struct rdb_in *in,
                           struct keyspace *ks, uint32_t *slot)
{
    uint32_t n_units =
        (uint32_t)(((uint64_t)w->n_slots + w->at_once - 1) / w->at_once);
    struct slot_unit units[UNITS_UNDER_WAY], *u;
    const char *broken = NULL;
    uint32_t begun = 0, ended;
    bool fine = true;

    for (ended = 0; ended < n_units && (fine || ended < begun); ended++) {
        for (; fine && begun < n_units && begun < ended + UNITS_UNDER_WAY;
             begun++) {
            unit_begin(&units[begun % UNITS_UNDER_WAY], w, begun, ks);
        }
        u = &units[ended % UNITS_UNDER_WAY];
        if (w->crew) {
            crew_wait(&u->unit);
        }
        if (!broken && u->broken) {
            broken = u->broken;
            *slot = u->slot;
        }
        rdb_yield(in);
        fine = !broken && !in->err;
    }
    return broken;
}

struct check {
    struct hnsw *h;
    struct row_map rows;
};

static const char *check_some(void *arg, uint32_t *slot, uint32_t end,
                              struct search_scratch *s)
{
    const struct check *c = arg;

    return hnsw_image_check(c->h, &c->rows, slot, end, s->hnsw);
}

const char *vset_load_check_nodes(struct vset *v, struct hnsw *h,
                                  struct pool *crew, struct rdb_in *in,
                                  uint32_t *slot)
{
    const struct slots *s = &v->elements.slots;
    struct check c = {h, {&s->geometry, s->dir->rows}};
    struct slot_work w = {check_some, &c, s->n_slots, CHECKS_AT_ONCE, crew};

    return vset_load_each(&w, in, v->keyspace, slot);
}

static bool fail_node(struct reader *r, uint32_t node, const char *broken)
{
    return rdb_fail(r->in, ERR_CORRUPT, "node %u: %s", node, broken);
}

bool vset_load_check_links(struct reader *r)
{
    struct hnsw *h = hnsw_of(r);
    const char *broken;
    uint32_t node = 0;

    if (hnsw_count(h) != r->n_nodes) {
        return vset_load_corrupt(r, "the number of nodes is wrong");
    }
    hnsw_image_set_spread(h, r->spread);
    broken = hnsw_image_enter(h, r->entry);
    if (broken) {
        return fail_node(r, r->entry, broken);
    }
    broken = vset_load_check_nodes(r->set, h, r->crew, r->in, &node);
    if (broken) {
        return fail_node(r, node, broken);
    }
    if (r->in->err) {
        return false;
    }
    broken = r->has_chains ? hnsw_image_check_chains(h, &node) : NULL;
    return !broken || fail_node(r, node, broken);
}
