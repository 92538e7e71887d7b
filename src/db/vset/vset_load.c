/* Reading a vector set in our own form: see vset_image.h and
 * docs/formats/vectorset.md.
 *
 * Whoever wrote the bytes may have meant harm. Every number is held against
 * what it counts before memory is asked for, memory is asked for as the input
 * proves to be there, and links are checked before anybody follows them. */
#include <lz4.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "db/vset/vset_fine.h"
#include "db/vset/vset_load.h"
#include "persist/crc32c.h"
#include "store/elements_image.h"

enum {
    NAMES_AT_ONCE = 16,
    CHECKS_AT_ONCE = 4096,  /* nodes, between two looks at the time */
    GRAPH_SHARE = 64,       /* memory of links, for each byte of input */
    GRAPH_SLACK = 64 << 20, /* and so much besides */
};

struct reader {
    struct rdb_in *in;
    struct keyspace *ks;
    struct vset *set;
    uint32_t flags;
    struct vset_options options;
    uint64_t seed, node_uid;
    uint32_t n_slots, n_rows, n_live;
    uint32_t graph_m, graph_ef, n_nodes, entry, fresh_from;
    struct hnsw_spread spread;
    struct graph *graph;
    float recall[RECALL_EFS_MAX];
    uint32_t calibrated_at;
    struct buf raw;     /* a block, decompressed */
    struct buf present; /* bitmaps by slot, of a set with a graph */
    struct buf live;
    uint32_t rows_read, named;
    uint32_t trained_len;
    struct buf trained; /* what lists_write_trained() wrote */
    struct buf owners;  /* by group of slots: uint32_t, LISTS_NONE: no list's */
    struct lists_options asked;
};

/* A block as it is looked at. */
struct block {
    uint32_t first, n;
    struct bytes body;
};

/* ---- small things ------------------------------------------------------ */

static uint32_t get_u32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static bool bit_at(const uint8_t *bits, uint32_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static bool corrupt(struct reader *r, const char *what)
{
    return rdb_fail(r->in, ERR_CORRUPT, "%s", what);
}

static bool fail(struct reader *r, enum err err)
{
    switch (err) {
    case ERR_OK:
        return true;
    case ERR_NOMEM:
        return rdb_fail(r->in, err, "out of memory");
    case ERR_EXISTS:
        return corrupt(r, "an element's name is there twice");
    default:
        return rdb_fail(r->in, err, "%s", err_text(err));
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

static bool is_live(const struct reader *r, slot_id slot)
{
    return !image_keeps_slots(r->flags) || bit_at(r->live.data, slot);
}

/* ---- the header -------------------------------------------------------- */

static bool get_options(struct reader *r)
{
    struct vset_options *o = &r->options;
    uint32_t type, metric, index;

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
    o->type = (enum vec_type)type;
    o->metric = (enum vec_metric)metric;
    o->index = (enum vset_index)index;
    o->keep_empty = r->flags & IMAGE_KEEP_EMPTY;
    if (o->dim == 0 || o->m < VSET_M_MIN) {
        return corrupt(r, "a dimension or M is out of range");
    }
    if ((o->input_dim && o->input_dim < o->dim) ||
        ((r->flags & IMAGE_MATRIX) && !o->input_dim)) {
        return corrupt(r, "an input dimension is out of range");
    }
    if ((r->flags & IMAGE_FINE) && o->type != VEC_I8) {
        return corrupt(r, "only int8 rows have fine parts");
    }
    return true;
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
    vec_format_init(&f, r->options.type, r->options.metric, r->options.dim);
    if (!can_follow(r, product(r->n_rows, f.row_bytes)) ||
        ((r->flags & IMAGE_MATRIX) &&
         !can_follow(
             r, product(4 * (uint64_t)r->options.dim, r->options.input_dim)))) {
        return corrupt(r, "a vector set is longer than what is left");
    }
    if (r->n_live == 0 && !r->options.keep_empty) {
        return corrupt(r, "a vector set is empty");
    }
    if (!image_keeps_slots(r->flags)) {
        return r->n_slots == r->n_live ||
               corrupt(r, "a vector set without an index has unused slots");
    }
    return r->n_slots <= IMAGE_SPARSE * (uint64_t)r->n_rows + IMAGE_SLACK ||
           corrupt(r, "a vector set has too many unused slots");
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
        return corrupt(r, "a calibration is out of range");
    }
    for (i = 0; i < n; i++) {
        if (!get_number(r, UINT32_MAX, "a calibration", &bits)) {
            return false;
        }
        memcpy(&r->recall[i], &bits, sizeof(bits));
        if (!(r->recall[i] >= 0 && r->recall[i] <= 1)) {
            return corrupt(r, "a calibration is out of range");
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
        return corrupt(r, "there are owners of slots without lists");
    }
    if ((r->flags & IMAGE_GRAPH) && (r->flags & IMAGE_LISTS)) {
        return corrupt(r, "a vector set has a graph and lists");
    }
    if (r->flags & IMAGE_LISTS) {
        if (!get_number(r, IMAGE_TRAINED_MAX, "what was trained",
                        &r->trained_len)) {
            return false;
        }
        if (r->trained_len == 0 || !can_follow(r, r->trained_len)) {
            return corrupt(r, "what was trained is out of range");
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
           corrupt(r, "what lists were asked for is out of range");
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
            return corrupt(r, "a graph's M or EF is out of range");
        }
        if ((r->flags & IMAGE_SPREAD) &&
            (!rdb_get_unsigned(r->in, &r->spread.sum) ||
             !get_number(r, UINT32_MAX, "a spread", &r->spread.n))) {
            return false;
        }
    }
    return get_recall(r) && get_lists_header(r);
}

/* ---- blocks ------------------------------------------------------------ */

static bool decompress(struct reader *r, enum block_kind kind,
                       struct bytes packed, uint32_t raw_len, struct block *b)
{
    uint8_t *raw;

    if (raw_len > BLOCK_RAW_MAX || (block_gain_is_bounded(kind) &&
                                    raw_len / BLOCK_GAIN_MAX > packed.len)) {
        return corrupt(r, "a block of a vector set is too long");
    }
    r->raw.len = 0;
    raw = buf_room(&r->raw, raw_len + 1);
    if (packed.len > BLOCK_RAW_MAX ||
        LZ4_decompress_safe((const char *)packed.data, (char *)raw,
                            (int)packed.len, (int)raw_len) != (int)raw_len) {
        return corrupt(r, "a block of a vector set cannot be decompressed");
    }
    b->body = bytes_of(raw, raw_len);
    return true;
}

/* The next block of a section that has come to `first` of `total`. */
static bool get_block(struct reader *r, enum block_kind kind, uint32_t first,
                      uint64_t total, struct block *b)
{
    struct bytes s, body;
    uint32_t raw_len;

    rdb_yield(r->in);
    if (!rdb_get_blob(r->in, &s)) {
        return false;
    }
    if (s.len < BLOCK_HEAD + BLOCK_TAIL) {
        return corrupt(r, "a block of a vector set is too short");
    }
    body = bytes_of(s.data + BLOCK_HEAD, s.len - BLOCK_HEAD - BLOCK_TAIL);
    if (!SUMS_AGREE(crc32c(0, s.data, s.len - BLOCK_TAIL),
                    get_u32(s.data + s.len - BLOCK_TAIL))) {
        return corrupt(r, "a block of a vector set has the wrong checksum");
    }
    b->first = get_u32(s.data + 4);
    b->n = get_u32(s.data + 8);
    raw_len = get_u32(s.data + 12);
    if (s.data[0] != kind || s.data[2] || s.data[3] || b->first != first ||
        b->n == 0 || b->n > total - first) {
        return corrupt(r, "a block of a vector set is out of place");
    }
    if (s.data[1] == CODING_LZ4) {
        return decompress(r, kind, body, raw_len, b);
    }
    if (s.data[1] != CODING_PLAIN || raw_len != body.len) {
        return corrupt(r, "a block of a vector set has an unknown coding");
    }
    b->body = body;
    return true;
}

static bool take_bits(struct reader *r, struct block *b, const uint8_t **bits)
{
    size_t n = ((size_t)b->n + 7) / 8;

    if (b->body.len < n) {
        return corrupt(r, "a block of a vector set is too short");
    }
    *bits = b->body.data;
    b->body.data += n;
    b->body.len -= n;
    return true;
}

/* ---- the matrix -------------------------------------------------------- */

static bool load_matrix(struct reader *r)
{
    struct vset *v = r->set;
    uint64_t total = (uint64_t)r->options.dim * r->options.input_dim;
    uint64_t first = 0;
    struct block b;
    uint32_t i;

    v->matrix = region_alloc(&v->memory, vset_matrix_bytes(v), 1);
    if (!v->matrix) {
        return fail(r, ERR_NOMEM);
    }
    for (; first < total; first += b.n) {
        if (!get_block(r, BLOCK_MATRIX, (uint32_t)first, total, &b)) {
            return false;
        }
        if (b.body.len != (size_t)b.n * sizeof(float)) {
            return corrupt(r, "a part of a matrix has the wrong length");
        }
        memcpy(v->matrix + first, b.body.data, b.body.len);
        for (i = 0; i < b.n; i++) {
            if (!isfinite(v->matrix[first + i])) {
                return corrupt(r, "a matrix has an entry that is not finite");
            }
        }
    }
    return true;
}

/* ---- rows -------------------------------------------------------------- */

/* Takes the bitmaps of a block of rows: which are there, and which live. */
static bool take_presence(struct reader *r, struct block *b)
{
    const uint8_t *present = NULL, *live = NULL;
    uint32_t i;

    if (!image_keeps_slots(r->flags)) {
        return true;
    }
    if (b->first % 8) {
        return corrupt(r, "a block of a vector set is out of place");
    }
    if (!take_bits(r, b, &present) || !take_bits(r, b, &live)) {
        return false;
    }
    for (i = 0; i < (b->n + 7) / 8; i++) {
        if (live[i] & ~present[i]) {
            return corrupt(r, "an element has no row");
        }
    }
    buf_append(&r->present, present, (b->n + 7) / 8);
    buf_append(&r->live, live, (b->n + 7) / 8);
    return true;
}

static bool load_row_block(struct reader *r, struct block *b)
{
    struct vset *v = r->set;
    uint32_t row_bytes = v->format.row_bytes;
    uint32_t side_bytes =
        r->flags & IMAGE_FINE ? vec_fine_bytes(&v->format) : 0;
    slot_id slot;

    if (!take_presence(r, b) ||
        !fail(r, slots_extend(&v->elements.slots, (uint64_t)b->first + b->n))) {
        return false;
    }
    for (slot = b->first; slot < b->first + b->n; slot++) {
        uint8_t *row = slots_row(&v->elements.slots, slot);

        if (image_keeps_slots(r->flags) && !bit_at(r->present.data, slot)) {
            continue;
        }
        if (b->body.len < row_bytes + side_bytes) {
            return corrupt(r, "a block of rows is too short");
        }
        memcpy(row, b->body.data, row_bytes);
        if (vec_adopt_row(&v->format, row) != ERR_OK) {
            return corrupt(r, "a vector is not one that could be stored");
        }
        memcpy(slots_side(&v->elements.slots, slot), b->body.data + row_bytes,
               side_bytes);
        b->body.data += row_bytes + side_bytes;
        b->body.len -= row_bytes + side_bytes;
        r->rows_read++;
    }
    return b->body.len == 0 || corrupt(r, "a block of rows is too long");
}

static bool load_rows(struct reader *r)
{
    struct block b;
    uint32_t first;

    for (first = 0; first < r->n_slots; first += b.n) {
        if (!get_block(r, BLOCK_ROWS, first, r->n_slots, &b) ||
            !load_row_block(r, &b)) {
            return false;
        }
    }
    return r->rows_read == r->n_rows ||
           corrupt(r, "the number of rows is wrong");
}

/* ---- names and attributes ---------------------------------------------- */

/* A number in 7 bits a byte. */
static bool take_varint(struct bytes *from, uint32_t *out)
{
    uint64_t n = 0;
    int shift = 0;
    uint8_t c;

    do {
        if (from->len == 0 || shift > 28) {
            return false;
        }
        c = *from->data++;
        from->len--;
        n |= (uint64_t)(c & 0x7f) << shift;
        shift += 7;
    } while (c & 0x80);
    *out = (uint32_t)n;
    return n <= UINT32_MAX;
}

static bool take_text(struct reader *r, struct bytes *from, struct bytes *text)
{
    uint32_t len;

    if (!take_varint(from, &len) || len > from->len) {
        return corrupt(r, "a name or attribute is cut short");
    }
    *text = bytes_of(from->data, len);
    from->data += len;
    from->len -= len;
    return true;
}

/* Names that are looked up together, so that memory has time to arrive. */
struct some_names {
    slot_id slots[NAMES_AT_ONCE];
    struct bytes names[NAMES_AT_ONCE];
    uint64_t hashes[NAMES_AT_ONCE];
    size_t n;
};

static bool add_names(struct reader *r, struct some_names *some)
{
    struct elements *e = &r->set->elements;
    size_t i;

    for (i = 0; i < some->n; i++) {
        some->hashes[i] = hash_bytes(some->names[i].data, some->names[i].len);
        table_prefetch_segment(&e->table, some->hashes[i]);
    }
    for (i = 0; i < some->n; i++) {
        table_prefetch(&e->table, some->hashes[i]);
    }
    for (i = 0; i < some->n; i++) {
        enum err err = elements_image_add(e, some->slots[i], some->names[i],
                                          some->hashes[i]);

        if (err) {
            return fail(r, err);
        }
    }
    r->named += (uint32_t)some->n;
    some->n = 0;
    return true;
}

static bool load_name_block(struct reader *r, struct block *b)
{
    struct some_names some = {.n = 0};
    slot_id slot;

    for (slot = b->first; slot < b->first + b->n; slot++) {
        if (!is_live(r, slot)) {
            continue;
        }
        if (!take_text(r, &b->body, &some.names[some.n])) {
            return false;
        }
        some.slots[some.n++] = slot;
        if (some.n == NAMES_AT_ONCE && !add_names(r, &some)) {
            return false;
        }
    }
    return add_names(r, &some) &&
           (b->body.len == 0 || corrupt(r, "a block of names is too long"));
}

enum err vset_load_attribute(struct vset *v, slot_id slot, struct bytes text)
{
    size_t before;
    struct attribute *a;

    if (text.len == 0) {
        return ERR_OK;
    }
    if (text.len > VSET_ATTRIBUTE_MAX) {
        return ERR_LIMIT;
    }
    if (elements_reserve_attr(&v->elements, slot) != ERR_OK) {
        return ERR_NOMEM;
    }
    before = v->memory.bytes;
    a = attribute_create(&v->memory, text, NULL, 0, &v->keyspace->work);
    if (!a) {
        return ERR_NOMEM;
    }
    v->attribute_bytes += v->memory.bytes - before;
    v->n_attributes++;
    elements_set_attr(&v->elements, slot, a);
    return ERR_OK;
}

static bool load_attribute_block(struct reader *r, struct block *b)
{
    struct bytes text;
    slot_id slot;

    for (slot = b->first; slot < b->first + b->n; slot++) {
        if (is_live(r, slot) &&
            (!take_text(r, &b->body, &text) ||
             !fail(r, vset_load_attribute(r->set, slot, text)))) {
            return false;
        }
    }
    return b->body.len == 0 || corrupt(r, "a block of attributes is too long");
}

static bool load_texts(struct reader *r, enum block_kind kind)
{
    struct block b;
    uint32_t first;

    for (first = 0; first < r->n_slots; first += b.n) {
        if (!get_block(r, kind, first, r->n_slots, &b) ||
            !(kind == BLOCK_NAMES ? load_name_block(r, &b)
                                  : load_attribute_block(r, &b))) {
            return false;
        }
    }
    return kind != BLOCK_NAMES || r->named == r->n_live ||
           corrupt(r, "the number of elements is wrong");
}

/* ---- links ------------------------------------------------------------- */

static bool load_link_block(struct reader *r, struct block *b)
{
    struct hnsw *h = graph_image_hnsw(r->graph);
    const uint8_t *linked = NULL, *chained = NULL;
    uint32_t i;

    if (hnsw_image_room(h, b->first + b->n) != ERR_OK) {
        return fail(r, ERR_NOMEM);
    }
    if (!take_bits(r, b, &linked) || !take_bits(r, b, &chained)) {
        return false;
    }
    for (i = 0; i < b->n; i++) {
        const char *broken;

        if (!bit_at(linked, i)) {
            continue;
        }
        if (!bit_at(r->present.data, b->first + i)) {
            return corrupt(r, "a node has no row");
        }
        broken = hnsw_image_get(h, b->first + i, bit_at(chained, i), &b->body);
        if (broken) {
            return corrupt(r, broken);
        }
    }
    return b->body.len == 0 || corrupt(r, "a block of links is too long");
}

/* Room for links may be far more than the links: where it is out of all
 * proportion to the input they are passed over, and the graph is built anew. */
static bool is_in_proportion(const struct reader *r)
{
    uint64_t room =
        product(r->n_slots, hnsw_image_node_bytes(graph_image_hnsw(r->graph)));

    return room <= GRAPH_SLACK ||
           (room - GRAPH_SLACK) / GRAPH_SHARE <= rdb_in_left(r->in);
}

static bool check_links(struct reader *r)
{
    const struct slots *s = &r->set->elements.slots;
    struct hnsw *h = graph_image_hnsw(r->graph);
    struct row_map rows = {&s->geometry, s->dir->rows};
    struct hnsw_image_end end;

    if (hnsw_count(h) != r->n_nodes) {
        return corrupt(r, "the number of nodes is wrong");
    }
    hnsw_image_set_spread(h, r->spread);
    hnsw_image_end_begin(&end, h, r->entry, &rows);
    while (hnsw_image_end_step(&end, CHECKS_AT_ONCE)) {
        rdb_yield(r->in);
    }
    if (end.broken) {
        rdb_fail(r->in, ERR_CORRUPT, "node %u: %s", end.broken_at, end.broken);
    }
    hnsw_image_end_free(&end);
    return !end.broken;
}

static bool load_links(struct reader *r)
{
    struct block b;
    uint32_t first;

    r->graph = graph_image_begin(r->set, r->graph_m, r->graph_ef);
    if (!r->graph) {
        return fail(r, ERR_NOMEM);
    }
    if (!is_in_proportion(r)) {
        graph_image_abandon(r->graph);
        r->graph = NULL;
    }
    for (first = 0; first < r->n_slots; first += b.n) {
        if (!get_block(r, BLOCK_LINKS, first, r->n_slots, &b) ||
            (r->graph && !load_link_block(r, &b))) {
            return false;
        }
    }
    return !r->graph || check_links(r);
}

/* ---- lists ------------------------------------------------------------- */

static bool load_trained(struct reader *r)
{
    struct block b;
    uint32_t first;

    for (first = 0; first < r->trained_len; first += b.n) {
        if (!get_block(r, BLOCK_TRAINED, first, r->trained_len, &b)) {
            return false;
        }
        if (b.body.len != b.n) {
            return corrupt(r, "a part of what was trained has another length");
        }
        buf_append_bytes(&r->trained, b.body);
    }
    return true;
}

static bool load_owners(struct reader *r)
{
    uint32_t total = image_groups(r->n_slots);
    uint32_t first, i, list;
    struct block b;

    for (first = 0; first < total; first += b.n) {
        if (!get_block(r, BLOCK_OWNERS, first, total, &b)) {
            return false;
        }
        for (i = 0; i < b.n; i++) {
            if (!take_varint(&b.body, &list)) {
                return corrupt(r, "a block of owners is too short");
            }
            list--; /* 0: LISTS_NONE */
            buf_append(&r->owners, &list, sizeof(list));
        }
        if (b.body.len) {
            return corrupt(r, "a block of owners is too long");
        }
    }
    return true;
}

static uint32_t owner_at(const struct reader *r, uint32_t group)
{
    uint32_t list;

    memcpy(&list, r->owners.data + (size_t)group * sizeof(list), sizeof(list));
    return list;
}

/* Rows lie in their lists as they did; those of no list are tail. In one go:
 * builders may look at them from then on. */
static bool make_lists(struct reader *r)
{
    uint32_t total = r->owners.len / sizeof(uint32_t);
    struct lists *l;
    uint32_t i;
    enum err err = lists_image_begin(r->set, buf_bytes(&r->trained), &l);

    if (err == ERR_CORRUPT) {
        return corrupt(r, "what was trained cannot have been");
    }
    if (err) {
        return fail(r, err);
    }
    for (i = 0; i < total && !err; i++) {
        if (owner_at(r, i) != LISTS_NONE) {
            err = lists_image_block(l, owner_at(r, i), i);
        }
    }
    if (!err) {
        err = lists_image_install(l);
    }
    if (err) {
        lists_image_abandon(l);
    }
    return err == ERR_CORRUPT ? corrupt(r, "slots belong to no list there is")
                              : fail(r, err);
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
            return fail(r, err);
        }
        r->graph = NULL;
        memcpy(v->recall, r->recall, sizeof(v->recall));
        v->calibrated_at = r->calibrated_at;
        v->calibrated_build = v->n_builds;
    } else {
        elements_image_finish(&v->elements, no_node, NULL);
    }
    if ((r->flags & IMAGE_LISTS) && !make_lists(r)) {
        return false;
    }
    v->node_uid = r->node_uid;
    v->db->n_vectors += vset_count(v);
    go_on(r);
    return true;
}

static bool load_set(struct reader *r)
{
    return (!(r->flags & IMAGE_MATRIX) || load_matrix(r)) && load_rows(r) &&
           load_texts(r, BLOCK_NAMES) &&
           (!(r->flags & IMAGE_ATTRIBUTES) ||
            load_texts(r, BLOCK_ATTRIBUTES)) &&
           (!(r->flags & IMAGE_GRAPH) || load_links(r)) &&
           (!(r->flags & IMAGE_LISTS) || load_trained(r)) &&
           (!(r->flags & IMAGE_OWNERS) || load_owners(r)) && finish(r);
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
        fail(&r, ERR_NOMEM);
        return NULL;
    }
    r.set->seed = r.seed;
    done = load_set(&r);
    if (r.graph) {
        graph_image_abandon(r.graph);
    }
    if (!done) {
        vset_load_abandon(r.set);
    }
    buf_deinit(&r.raw);
    buf_deinit(&r.present);
    buf_deinit(&r.live);
    buf_deinit(&r.trained);
    buf_deinit(&r.owners);
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
