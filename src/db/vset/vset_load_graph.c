/* The links of a set's image: see vset_load_impl.h. */
#include "base/mem.h"
#include "db/search/search_impl.h"
#include "db/vset/vset_load_impl.h"

enum {
    CHECKS_AT_ONCE = 8192,  /* nodes, between two looks at the time */
    CHECKS_UNDER_WAY = 16,  /* such units */
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

    return room <= GRAPH_SLACK ||
           (room - GRAPH_SLACK) / GRAPH_SHARE <= rdb_in_left(r->in);
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
    } else if (hnsw_image_room(hnsw_of(r), r->n_slots) != ERR_OK) {
        return vset_load_fail(r, ERR_NOMEM);
    }
    return vset_load_section(r, &section, r->n_slots);
}

/* ---- checking ---------------------------------------------------------- */

struct check {
    struct crew_unit unit;
    struct hnsw *h;
    struct row_map rows;
    uint32_t node, end;
    const char *broken;
};

static void check_with(struct check *c, struct search_scratch *s)
{
    c->broken = hnsw_image_check(c->h, &c->rows, &c->node, c->end, s->hnsw);
}

static void check_run(struct crew_unit *u, struct worker *w)
{
    check_with(CONTAINER_OF(u, struct check, unit), w->scratch);
}

static bool fail_node(struct reader *r, uint32_t node, const char *broken)
{
    return rdb_fail(r->in, ERR_CORRUPT, "node %u: %s", node, broken);
}

/* Units begin and end in order; the first that finds something is told of. */
static bool check_nodes(struct reader *r)
{
    const struct slots *s = &r->set->elements.slots;
    uint32_t n_units = (uint32_t)(((uint64_t)r->n_slots + CHECKS_AT_ONCE - 1) /
                                  CHECKS_AT_ONCE);
    struct check units[CHECKS_UNDER_WAY], *c;
    uint32_t begun = 0, ended;
    bool fine = true;

    for (ended = 0; ended < n_units && (fine || ended < begun); ended++) {
        for (; fine && begun < n_units && begun < ended + CHECKS_UNDER_WAY;
             begun++) {
            c = &units[begun % CHECKS_UNDER_WAY];
            c->h = hnsw_of(r);
            c->rows = (struct row_map){&s->geometry, s->dir->rows};
            c->node = begun * CHECKS_AT_ONCE;
            c->end = r->n_slots - c->node < CHECKS_AT_ONCE
                         ? r->n_slots
                         : c->node + CHECKS_AT_ONCE;
            c->unit.run = check_run;
            if (r->crew) {
                crew_begin(r->crew, &c->unit);
            } else {
                check_with(c, r->ks->searches->scratch);
            }
        }
        c = &units[ended % CHECKS_UNDER_WAY];
        if (r->crew) {
            crew_wait(&c->unit);
        }
        if (fine && c->broken) {
            fine = fail_node(r, c->node, c->broken);
        }
        rdb_yield(r->in);
        fine = fine && !r->in->err;
    }
    return fine;
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
    if (!check_nodes(r)) {
        return false;
    }
    broken = r->has_chains ? hnsw_image_check_chains(h, &node) : NULL;
    return !broken || fail_node(r, node, broken);
}
