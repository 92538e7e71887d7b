/* Reading a vector set in our own form: see vset_image.h and
 * docs/formats/vectorset.md.
 *
 * Whoever wrote the bytes may have meant harm. Every number is held against
 * what it counts before memory is asked for, memory is asked for as the input
 * proves to be there, and links are checked before anybody follows them. */
#include <string.h>

#include "db/vset/vset_fine.h"
#include "db/vset/vset_load_impl.h"
#include "store/elements_image.h"
#include "vec/pq_rows.h"

/* ---- small things ------------------------------------------------------ */

static bool fail_with(struct reader *r, enum err err, const char *words)
{
    uint64_t at = r->at ? r->at : rdb_in_offset(r->in);

    return rdb_fail_at(r->in, at, err, "%s", words);
}

bool vset_load_corrupt(struct reader *r, const char *what)
{
    return fail_with(r, ERR_CORRUPT, what);
}

bool vset_load_fail(struct reader *r, enum err err)
{
    switch (err) {
    case ERR_OK:
        return true;
    case ERR_NOMEM:
        return fail_with(r, err, "out of memory");
    case ERR_EXISTS:
        return vset_load_corrupt(r, "an element's name is there twice");
    default:
        return fail_with(r, err, err_text(err));
    }
}

/* A number of at most `most`. */
static bool get_number(struct reader *r, uint64_t most, const char *what,
                       uint32_t *out)
{
    uint64_t n;

    if (!rdb_get_unsigned(r->in, &n)) {
        return false;
    }
    *out = (uint32_t)n;
    return n <= most ||
           rdb_fail(r->in, ERR_CORRUPT, "%s is out of range", what);
}

/* ---- the header -------------------------------------------------------- */

/* Rows that are codes: of a set that can have them, and that has no graph nor
 * is to have one. */
static bool check_pq(struct reader *r)
{
    const struct vset_options *o = &r->options;

    if (o->type == VEC_BIT || !vec_pq_has_rows(o->metric, o->dim, o->pq_m)) {
        return vset_load_corrupt(r, "a number of parts is out of range");
    }
    return (!(r->flags & (IMAGE_GRAPH | IMAGE_COMING)) &&
            (o->index == VSET_INDEX_IVF || o->index == VSET_INDEX_FLAT)) ||
           vset_load_corrupt(r, "codes have a graph");
}

static bool get_options(struct reader *r)
{
    struct vset_options *o = &r->options;
    uint32_t type, metric, index, m;

    if (!get_number(r, IMAGE_FLAGS_ALL, "a vector set's flags", &r->flags) ||
        !get_number(r, VEC_TYPE_COUNT - 1, "a vector set's type", &type) ||
        !get_number(r, VEC_METRIC_COUNT - 1, "a vector set's metric",
                    &metric) ||
        !get_number(r, VEC_DIM_MAX, "a dimension", &o->dim) ||
        !get_number(r, VEC_DIM_MAX, "an input dimension", &o->input_dim) ||
        !get_number(r, VSET_M_MAX, "M", &o->m) ||
        !get_number(r, VSET_EF_MAX, "EF", &o->ef) ||
        !get_number(r, VSET_INDEX_COUNT - 1, "a vector set's index", &index)) {
        return false;
    }
    if (r->flags & IMAGE_PQ) {
        if (!get_number(r, VEC_PQ_ROW_M_MAX, "a number of parts", &m)) {
            return false;
        }
        o->pq_m = (uint16_t)m;
    }
    o->type = (enum vec_type)type;
    o->metric = (enum vec_metric)metric;
    o->index = (enum vset_index)index;
    o->keep_empty = r->flags & IMAGE_KEEP_EMPTY;
    if (o->dim == 0 || o->m < VSET_M_MIN) {
        return vset_load_corrupt(r, "a dimension or M is out of range");
    }
    if ((o->input_dim && o->input_dim < o->dim) ||
        ((r->flags & IMAGE_MATRIX) && !o->input_dim)) {
        return vset_load_corrupt(r, "an input dimension is out of range");
    }
    if ((r->flags & IMAGE_FINE) &&
        (o->type != VEC_I8 || (r->flags & IMAGE_PQ))) {
        return vset_load_corrupt(r, "only int8 rows have fine parts");
    }
    return !(r->flags & IMAGE_PQ) || check_pq(r);
}

static uint64_t product(uint64_t a, uint64_t b)
{
    return a && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

/* Whether the rest of the input can hold that much, compressed at best. */
static bool can_follow(const struct reader *r, uint64_t bytes)
{
    return bytes / BLOCK_GAIN_MAX <= rdb_in_left(r->in);
}

static bool get_counts(struct reader *r)
{
    struct vec_format f;

    if (!rdb_get_unsigned(r->in, &r->seed) ||
        !rdb_get_unsigned(r->in, &r->node_uid) ||
        !get_number(r, SLOTS_MAX, "a number of slots", &r->n_slots) ||
        !get_number(r, r->n_slots, "a number of rows", &r->n_rows) ||
        !get_number(r, r->n_rows, "a number of elements", &r->n_live)) {
        return false;
    }
    if (r->options.pq_m) {
        vec_format_init_pq(&f, r->options.metric, r->options.dim,
                           r->options.pq_m, NULL);
    } else {
        vec_format_init(&f, r->options.type, r->options.metric, r->options.dim);
    }
    if (!can_follow(r, product(r->n_rows, f.row_bytes)) ||
        ((r->flags & IMAGE_MATRIX) &&
         !can_follow(
             r, product(4 * (uint64_t)r->options.dim, r->options.input_dim)))) {
        return vset_load_corrupt(r, "a vector set is longer than what is left");
    }
    if (r->n_live == 0 && !r->options.keep_empty) {
        return vset_load_corrupt(r, "a vector set is empty");
    }
    if (!image_keeps_slots(r->flags)) {
        return r->n_slots == r->n_live ||
               vset_load_corrupt(
                   r, "a vector set without an index has unused slots");
    }
    return r->n_slots <= IMAGE_SPARSE * (uint64_t)r->n_rows + IMAGE_SLACK ||
           vset_load_corrupt(r, "a vector set has too many unused slots");
}

static bool get_recall(struct reader *r)
{
    uint32_t n, bits, i;

    if (!(r->flags & IMAGE_CALIBRATED)) {
        return true;
    }
    if (!get_number(r, UINT32_MAX, "a calibration", &r->calibrated_at) ||
        !get_number(r, RECALL_EFS_MAX, "a calibration", &n)) {
        return false;
    }
    if (n != RECALL_EFS_MAX || !(r->flags & IMAGE_GRAPH)) {
        return vset_load_corrupt(r, "a calibration is out of range");
    }
    for (i = 0; i < n; i++) {
        if (!get_number(r, UINT32_MAX, "a calibration", &bits)) {
            return false;
        }
        memcpy(&r->recall[i], &bits, sizeof(bits));
        if (!(r->recall[i] >= 0 && r->recall[i] <= 1)) {
            return vset_load_corrupt(r, "a calibration is out of range");
        }
    }
    return true;
}

/* Of lists, and of such as were being trained. */
static bool get_lists_header(struct reader *r)
{
    uint64_t words[LISTS_OPTION_WORDS];
    int i;

    if ((r->flags & IMAGE_OWNERS) && !(r->flags & IMAGE_LISTS)) {
        return vset_load_corrupt(r, "there are owners of slots without lists");
    }
    if ((r->flags & IMAGE_GRAPH) && (r->flags & IMAGE_LISTS)) {
        return vset_load_corrupt(r, "a vector set has a graph and lists");
    }
    if (r->flags & IMAGE_LISTS) {
        if (!get_number(r, IMAGE_TRAINED_MAX, "what was trained",
                        &r->trained_len)) {
            return false;
        }
        if (r->trained_len == 0 || !can_follow(r, r->trained_len)) {
            return vset_load_corrupt(r, "what was trained is out of range");
        }
    }
    if (!(r->flags & IMAGE_TRAINING)) {
        return true;
    }
    for (i = 0; i < LISTS_OPTION_WORDS; i++) {
        if (!rdb_get_unsigned(r->in, &words[i])) {
            return false;
        }
    }
    return lists_options_get(words, &r->asked) == ERR_OK ||
           vset_load_corrupt(r, "what lists were asked for is out of range");
}

/* Rows of links are as Redis's may be at most. */
static bool get_shape(struct reader *r)
{
    struct hnsw_shape *s = &r->shape;

    if (!(r->flags & IMAGE_LEVELS)) {
        return true;
    }
    if (!(r->flags & IMAGE_GRAPH)) {
        return vset_load_corrupt(r, "there are levels without a graph");
    }
    return get_number(r, 3 * r->graph_m, "room for links", &s->row_links) &&
           get_number(r, 2 * r->graph_m, "room for links", &s->upper_links) &&
           ((s->row_links >= 2 * r->graph_m && s->upper_links >= r->graph_m) ||
            vset_load_corrupt(r, "there is too little room for links"));
}

static bool get_header(struct reader *r)
{
    if (!get_options(r) || !get_counts(r)) {
        return false;
    }
    if (r->flags & IMAGE_GRAPH) {
        if (!get_number(r, HNSW_M_MAX, "a graph's M", &r->graph_m) ||
            !get_number(r, VSET_EF_MAX, "a graph's EF", &r->graph_ef) ||
            !get_number(r, r->n_rows, "a graph's size", &r->n_nodes) ||
            !get_number(r, UINT32_MAX, "a graph's entry", &r->entry) ||
            !get_number(r, r->n_slots, "a graph's tail", &r->fresh_from)) {
            return false;
        }
        if (r->graph_m < HNSW_M_MIN || r->graph_ef == 0) {
            return vset_load_corrupt(r, "a graph's M or EF is out of range");
        }
        if ((r->flags & IMAGE_SPREAD) &&
            (!rdb_get_unsigned(r->in, &r->spread.sum) ||
             !get_number(r, UINT32_MAX, "a spread", &r->spread.n))) {
            return false;
        }
    }
    return get_shape(r) && get_recall(r) && get_lists_header(r);
}

/* ---- all of it --------------------------------------------------------- */

struct vset *vset_load_begin(struct keyspace *ks, struct database *db,
                             const struct vset_options *o, uint64_t n_rows)
{
    struct vset *v = vset_create(ks, db, o);

    if (v && product(n_rows, v->format.row_bytes) > VSET_PRIVATE_AT) {
        region_make_private(&v->memory);
    }
    return v;
}

void vset_load_abandon(struct vset *v)
{
    v->db->n_vectors += vset_count(v);
    vset_drop(v);
}

static bool holds(const void *arg, slot_id slot)
{
    const struct hnsw *h = arg;

    return h && hnsw_is_linked(h, slot);
}

static bool no_node(const void *arg, slot_id slot)
{
    (void)arg;
    (void)slot;
    return false;
}

/* What was being made of it is made. Without memory for it, the set is only
 * searched more slowly. */
static void go_on(struct reader *r)
{
    struct vset *v = r->set;
    uint64_t build;

    if ((r->flags & IMAGE_TRAINING) &&
        lists_train(v, &r->asked, &build) == ERR_OK) {
        return;
    }
    if (!(r->flags & IMAGE_COMING) || graph_build(v, &build) != ERR_OK) {
        graph_begin_if_due(v);
    }
}

static bool finish(struct reader *r)
{
    struct vset *v = r->set;
    enum err err;

    if (!(r->flags & IMAGE_FINE)) { /* it is older than they are */
        vset_fine_have_none(v);
    }
    if (r->graph) {
        elements_image_finish(&v->elements, holds, graph_image_hnsw(r->graph));
        err = graph_image_install(r->graph, r->fresh_from,
                                  r->flags & IMAGE_WALK_DUE);
        if (err) {
            return vset_load_fail(r, err);
        }
        r->graph = NULL;
        memcpy(v->recall, r->recall, sizeof(v->recall));
        v->calibrated_at = r->calibrated_at;
        v->calibrated_build = v->n_builds;
    } else {
        elements_image_finish(&v->elements, no_node, NULL);
    }
    if ((r->flags & IMAGE_LISTS) && !vset_load_make_lists(r)) {
        return false;
    }
    v->node_uid = r->node_uid;
    v->db->n_vectors += vset_count(v);
    vset_note_unsettled(v); /* pages are ready that nobody asked for */
    go_on(r);
    return true;
}

static bool load_sections(struct reader *r)
{
    return (!(r->flags & IMAGE_MATRIX) || vset_load_matrix(r)) &&
           (!(r->flags & IMAGE_PQ) || vset_load_books(r)) &&
           vset_load_rows(r) && vset_load_names(r) &&
           (!(r->flags & IMAGE_ATTRIBUTES) || vset_load_attributes(r)) &&
           (!(r->flags & IMAGE_LEVELS) || vset_load_levels(r)) &&
           (!(r->flags & IMAGE_GRAPH) || vset_load_links(r)) &&
           (!(r->flags & IMAGE_LISTS) || vset_load_trained(r)) &&
           (!(r->flags & IMAGE_OWNERS) || vset_load_owners(r)) &&
           vset_load_settle(r);
}

static bool is_whole(struct reader *r)
{
    return (r->named == r->n_live ||
            vset_load_corrupt(r, "the number of elements is wrong")) &&
           (!r->graph || vset_load_check_links(r));
}

static struct vset *load_own(struct rdb_in *in, struct keyspace *ks,
                             struct database *db)
{
    struct reader r = {.in = in, .ks = ks};
    bool done;

    if (!get_header(&r)) {
        return NULL;
    }
    r.set = vset_load_begin(ks, db, &r.options, r.n_rows);
    if (!r.set) {
        vset_load_fail(&r, ERR_NOMEM);
        return NULL;
    }
    r.set->seed = r.seed;
    vset_load_share(&r);
    done = load_sections(&r) && is_whole(&r) && finish(&r);
    vset_load_parts_end(&r);
    if (r.graph) {
        graph_image_abandon(r.graph);
    }
    if (!done) {
        vset_load_abandon(r.set);
    }
    buf_deinit(&r.present);
    buf_deinit(&r.live);
    buf_deinit(&r.trained);
    buf_deinit(&r.owners);
    buf_deinit(&r.levels);
    return done ? r.set : NULL;
}

struct vset *vset_load(struct rdb_in *in, enum vset_form form,
                       struct keyspace *ks, struct database *db)
{
    switch (form) {
    case VSET_FORM_OURS:
        return load_own(in, ks, db);
    case VSET_FORM_REDIS:
        return vset_import(in, ks, db);
    case VSET_FORM_NONE:
        break;
    }
    rdb_fail(in, ERR_TYPE, "a module's value that is no vector set");
    return NULL;
}
