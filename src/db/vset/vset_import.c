/* Reading a vector set in the form Redis 8 writes: see vset_image.h and
 * docs/formats/vectorset.md.
 *
 * Vectors come as they are stored, so codes, norms and ranges are taken over to
 * the bit. The graph is checked as Redis checks it, link by link, and then made
 * ours (vset_import_graph.c).
 *
 * Whether every link has its counterpart is told as Redis tells it: each end
 * puts a number drawn from both into a sum by exclusive or, which is zero in
 * the end if all came in pairs. The numbers are 128 bits wide and nobody can
 * foresee them. */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "db/vset/vset_fine.h"
#include "db/vset/vset_load.h"
#include "store/elements_image.h"

enum {
    FLAG_PROJECTION = 1,
    FLAG_ATTRIBUTES = 2,
    LEVEL_MAX = 16,
    NODE_VERSION_MAX = 1,
    M_DEFAULT = 16,
    GAIN_MAX = 128, /* Redis's compression gains less than 88 times */
    FLOATS_AT_ONCE = 256,
    SORT_SHORT = 64,
};

struct importer {
    struct rdb_in *in;
    struct vset *set;
    struct vset_options options;
    uint32_t flags;
    uint32_t n;
    uint64_t *ids; /* of the nodes, n of them */
    uint64_t max_id;
    uint64_t key[2], sum[2]; /* of pairs of links */
    uint64_t *links;         /* of one node and level */
    struct redis_links kept; /* of all */
};

static bool corrupt(struct importer *m, const char *what)
{
    return rdb_fail(m->in, ERR_CORRUPT, "%s", what);
}

/* ---- the header -------------------------------------------------------- */

static bool get_options(struct importer *m)
{
    struct vset_options *o = &m->options;
    uint64_t dim, n, config, flags, input_dim = 0;

    if (!rdb_get_unsigned(m->in, &dim) || !rdb_get_unsigned(m->in, &n) ||
        !rdb_get_unsigned(m->in, &config) || !rdb_get_unsigned(m->in, &flags)) {
        return false;
    }
    o->m = config >> 8 & 0xffff ? config >> 8 & 0xffff : M_DEFAULT;
    m->flags = (uint32_t)flags;
    if (dim == 0 || dim > VEC_DIM_MAX) {
        return corrupt(m, "a dimension is out of range");
    }
    if (n == 0) {
        return corrupt(m, "a vector set is empty");
    }
    if ((config & 0xff) > 2) {
        return corrupt(m, "a vector set's quantization is unknown");
    }
    if (o->m < VSET_M_MIN || o->m > VSET_M_MAX) {
        return corrupt(m, "M is out of range");
    }
    if (m->flags & FLAG_PROJECTION) {
        if (!rdb_get_unsigned(m->in, &input_dim)) {
            return false;
        }
        if (input_dim < dim || input_dim > VEC_DIM_MAX) {
            return corrupt(m, "an input dimension is out of range");
        }
    }
    if (n > SLOTS_MAX) {
        return corrupt(m, "a vector set is longer than what is left");
    }
    /* f32, int8, bin have the same numbers. */
    o->type = (enum vec_type)(config & 0xff);
    o->metric = VEC_COSINE;
    o->dim = (uint32_t)dim;
    o->input_dim = (uint32_t)input_dim;
    m->n = (uint32_t)n;
    return true;
}

/* Whether a matrix is the one that REDUCE makes. */
static bool is_usual(const struct importer *m, const uint8_t *matrix, size_t n)
{
    float usual[FLOATS_AT_ONCE];
    size_t first, part;

    for (first = 0; first < n; first += part) {
        part = n - first < FLOATS_AT_ONCE ? n - first : FLOATS_AT_ONCE;
        vec_project_matrix(m->options.input_dim, first, part, usual);
        if (memcmp(matrix + 4 * first, usual, 4 * part) != 0) {
            return false;
        }
    }
    return true;
}

static bool get_matrix(struct importer *m)
{
    size_t n = (size_t)m->options.dim * m->options.input_dim;
    struct vset *v = m->set;
    struct bytes s;
    size_t i;

    if (!rdb_get_blob(m->in, &s)) {
        return false;
    }
    if (s.len != n * sizeof(float)) {
        return corrupt(m, "a matrix has the wrong length");
    }
    if (is_usual(m, s.data, n)) {
        return true;
    }
    v->matrix = region_alloc(&v->memory, vset_matrix_bytes(v), 1);
    if (!v->matrix) {
        return rdb_fail(m->in, ERR_NOMEM, "out of memory");
    }
    memcpy(v->matrix, s.data, s.len);
    for (i = 0; i < n; i++) {
        if (!isfinite(v->matrix[i])) {
            return corrupt(m, "a matrix has an entry that is not finite");
        }
    }
    return true;
}

/* ---- nodes ------------------------------------------------------------- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void note_link(struct importer *m, uint64_t from, uint64_t to,
                      uint32_t level)
{
    uint64_t low = from < to ? from : to;
    uint64_t high = from < to ? to : from;
    int i;

    for (i = 0; i < 2; i++) {
        uint64_t h = mix(low + m->key[i]);

        h = mix((h ^ high) + m->key[!i]);
        m->sum[i] ^= mix(h + level);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void sort_ids(uint64_t *ids, size_t n)
{
    size_t i, j;

    if (n > SORT_SHORT) {
        qsort(ids, n, sizeof(*ids), compare_ids);
        return;
    }
    for (i = 1; i < n; i++) {
        uint64_t id = ids[i];

        for (j = i; j > 0 && ids[j - 1] > id; j--) {
            ids[j] = ids[j - 1];
        }
        ids[j] = id;
    }
}

/* Sorts them, too; a node's. */
static bool are_unique(uint64_t *ids, size_t n)
{
    size_t i;

    sort_ids(ids, n);
    for (i = 1; i < n; i++) {
        if (ids[i] == ids[i - 1]) {
            return false;
        }
    }
    return true;
}

/* Parameters of a node, of which `left` are to come. */
struct parameters {
    struct importer *m;
    uint64_t left;
};

static bool next(struct parameters *p, uint64_t *value)
{
    if (p->left == 0) {
        return corrupt(p->m, "a node has too few parameters");
    }
    p->left--;
    return rdb_get_unsigned(p->m->in, value);
}

static bool get_level(struct parameters *p, uint64_t id, uint32_t level,
                      uint32_t version)
{
    struct importer *m = p->m;
    uint64_t most = level ? 2 * m->options.m : 3 * m->options.m;
    uint64_t n, cap, worst;
    uint32_t i;

    if (!next(p, &n) || !next(p, &cap)) {
        return false;
    }
    if (n > cap || cap > most) {
        return corrupt(m, "a node has more links than its graph allows");
    }
    for (i = 0; i < n; i++) {
        if (!next(p, &m->links[i])) {
            return false;
        }
        if (m->links[i] == id) {
            return corrupt(m, "a node links to itself");
        }
        note_link(m, id, m->links[i], level);
    }
    if (!are_unique(m->links, n)) {
        return corrupt(m, "a node links to another twice");
    }
    vset_links_row(&m->kept, level, m->links, (uint32_t)n);
    if (version == 0) {
        return true;
    }
    if (!next(p, &worst)) {
        return false;
    }
    return n == 0 || (uint32_t)worst < n ||
           corrupt(m, "a node's worst link is none");
}

static bool get_node(struct importer *m, slot_id slot, uint64_t *id,
                     uint64_t *factors)
{
    struct parameters p = {.m = m};
    uint64_t head;
    uint32_t level, i;

    if (!rdb_get_unsigned(m->in, &p.left) || !next(&p, id) ||
        !next(&p, &head)) {
        return false;
    }
    level = head & 0xff;
    if (*id == 0) {
        return corrupt(m, "a node has no id");
    }
    if (level > LEVEL_MAX || head >> 24 > NODE_VERSION_MAX) {
        return corrupt(m, "a node's level or version is out of range");
    }
    vset_links_node(&m->kept, slot, level);
    for (i = 0; i <= level; i++) {
        if (!get_level(&p, *id, i, (uint32_t)(head >> 24))) {
            return false;
        }
    }
    if (!next(&p, factors)) {
        return false;
    }
    while (p.left > 0) {
        if (!next(&p, &head)) {
            return false;
        }
    }
    return true;
}

/* ---- elements ---------------------------------------------------------- */

/* Code and factors make a row. */
static bool set_factors(struct importer *m, uint8_t *row, uint64_t factors)
{
    const struct vec_format *f = &m->set->format;
    uint32_t norm = (uint32_t)factors, range = (uint32_t)(factors >> 32);

    memcpy(row + f->factor_at, &norm, sizeof(norm));
    if (f->type == VEC_I8) {
        memcpy(row + f->factor_at + 4, &range, sizeof(range));
    }
    return vec_adopt_row(f, row) == ERR_OK ||
           corrupt(m, "a vector is not one that could be stored");
}

static bool take_name(struct importer *m, slot_id slot)
{
    struct bytes s;
    enum err err;

    if (!rdb_get_blob(m->in, &s)) {
        return false;
    }
    err = elements_image_add(&m->set->elements, slot, s,
                             hash_bytes(s.data, s.len));
    if (err == ERR_EXISTS) {
        return corrupt(m, "an element's name is there twice");
    }
    return !err || rdb_fail(m->in, err, "%s", err_text(err));
}

static bool take_attribute(struct importer *m, slot_id slot)
{
    struct bytes s;
    enum err err;

    if (!(m->flags & FLAG_ATTRIBUTES)) {
        return true;
    }
    if (!rdb_get_blob(m->in, &s)) {
        return false;
    }
    err = vset_load_attribute(m->set, slot, s);
    return !err || rdb_fail(m->in, err, "%s", err_text(err));
}

static bool get_element(struct importer *m, slot_id slot)
{
    struct vset *v = m->set;
    uint8_t *row = slots_row(&v->elements.slots, slot);
    uint64_t factors, *id = &m->ids[slot];
    struct bytes s;

    if (!take_name(m, slot) || !take_attribute(m, slot) ||
        !rdb_get_blob(m->in, &s)) {
        return false;
    }
    if (s.len != v->format.code_bytes) {
        return corrupt(m, "a vector has the wrong length");
    }
    memcpy(row, s.data, s.len);
    if (!get_node(m, slot, id, &factors)) {
        return false;
    }
    m->max_id = *id > m->max_id ? *id : m->max_id;
    return set_factors(m, row, factors);
}

/* Whether they go up, or all down, with the slots; nearly always. */
static bool ids_are_in_order(struct importer *m)
{
    bool up = m->n < 2 || m->ids[1] > m->ids[0];
    uint32_t i = 1;

    while (i < m->n && m->ids[i] != m->ids[i - 1] &&
           (m->ids[i] > m->ids[i - 1]) == up) {
        vset_import_pause(m->in, i);
        i++;
    }
    return i >= m->n;
}

static bool ids_are_unique(struct importer *m)
{
    uint64_t *ids;
    uint32_t i = 1;

    if (ids_are_in_order(m)) {
        return true;
    }
    ids = mem_try_alloc(m->n * sizeof(*ids));
    if (!ids) {
        return rdb_fail(m->in, ERR_NOMEM, "out of memory");
    }
    memcpy(ids, m->ids, m->n * sizeof(*ids));
    if (!vset_import_sort(&ids, m->n, 0, m->in)) {
        mem_free(ids);
        return rdb_fail(m->in, ERR_NOMEM, "out of memory");
    }
    while (i < m->n && ids[i] != ids[i - 1]) {
        vset_import_pause(m->in, i);
        i++;
    }
    mem_free(ids);
    return i >= m->n || corrupt(m, "two nodes have the same id");
}

/* The newest comes first, and gets the last slot. */
static bool get_elements(struct importer *m)
{
    uint32_t i;

    for (i = m->n; i > 0; i--) {
        if (i % 64 == 0) {
            rdb_yield(m->in);
        }
        if (!get_element(m, i - 1)) {
            return false;
        }
    }
    if (m->sum[0] | m->sum[1]) {
        return corrupt(m, "a link leads to no node, or is not reciprocal");
    }
    return ids_are_unique(m);
}

static bool no_node(const void *arg, slot_id slot)
{
    (void)arg;
    (void)slot;
    return false;
}

/* Memory for all of it, which must be in proportion to what is left. */
static bool make_room(struct importer *m)
{
    uint64_t bytes = (uint64_t)m->n * m->set->format.row_bytes;
    enum err err;

    if (bytes / GAIN_MAX > rdb_in_left(m->in)) {
        return corrupt(m, "a vector set is longer than what is left");
    }
    m->ids = mem_try_alloc(m->n * sizeof(*m->ids));
    m->links = mem_try_alloc(3 * m->options.m * sizeof(*m->links));
    if (!m->ids || !m->links ||
        vset_links_begin(&m->kept, m->n, m->options.m) != ERR_OK) {
        return rdb_fail(m->in, ERR_NOMEM, "out of memory");
    }
    err = slots_extend(&m->set->elements.slots, m->n);
    return !err || rdb_fail(m->in, err, "%s", err_text(err));
}

static bool import_set(struct importer *m)
{
    struct vset *v = m->set;

    if (((m->flags & FLAG_PROJECTION) && !get_matrix(m)) || !make_room(m) ||
        !get_elements(m)) {
        return false;
    }
    elements_image_finish(&v->elements, no_node, NULL);
    vset_fine_have_none(v);
    v->node_uid = m->max_id;
    vset_links_install(&m->kept, v, m->ids, m->in);
    if (m->in->err) {
        return false;
    }
    v->db->n_vectors += vset_count(v);
    graph_begin_if_due(v);
    return true;
}

struct vset *vset_import(struct rdb_in *in, struct keyspace *ks,
                         struct database *db)
{
    struct importer m = {.in = in};
    bool done;

    if (!get_options(&m)) {
        return NULL;
    }
    rng_system(m.key, sizeof(m.key));
    m.set = vset_load_begin(ks, db, &m.options, m.n);
    if (!m.set) {
        rdb_fail(in, ERR_NOMEM, "out of memory");
        return NULL;
    }
    done = import_set(&m);
    if (!done) {
        vset_load_abandon(m.set);
    }
    mem_free(m.ids);
    mem_free(m.links);
    vset_links_end(&m.kept);
    return done ? m.set : NULL;
}
