/* The matrix, rows, names and attributes of a set's image: see
 * vset_load_impl.h. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "db/vset/vset_fine.h"
#include "db/vset/vset_load_impl.h"
#include "store/elements_image.h"
#include "vec/pq.h"

enum {
    NAMES_AT_ONCE = 16,
    NAMES_BETWEEN = 4096, /* two looks at the time; a multiple of that */
};

/* ---- the matrix, codebooks --------------------------------------------- */

static const char *decode_floats(float *to, const struct block *b)
{
    uint32_t i;

    if (b->body.len != (size_t)b->n * sizeof(float)) {
        return "a part of a matrix has the wrong length";
    }
    memcpy(to, b->body.data, b->body.len);
    for (i = 0; i < b->n; i++) {
        if (!isfinite(to[i])) {
            return "a matrix has an entry that is not finite";
        }
    }
    return NULL;
}

static const char *decode_matrix(const struct reader *r, struct part *p,
                                 struct block *b)
{
    (void)p;
    return decode_floats(r->set->matrix + b->first, b);
}

static const char *decode_books(const struct reader *r, struct part *p,
                                struct block *b)
{
    (void)p;
    return decode_floats(vset_pq(r->set)->points + b->first, b);
}

bool vset_load_books(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_BOOKS,
                                           .decode = decode_books};

    return vset_load_section(r, &section, vec_pq_n_points(vset_pq(r->set)));
}

bool vset_load_matrix(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_MATRIX,
                                           .decode = decode_matrix};
    struct vset *v = r->set;

    v->matrix = region_alloc(&v->memory, vset_matrix_bytes(v), 1);
    if (!v->matrix) {
        return vset_load_fail(r, ERR_NOMEM);
    }
    return vset_load_section(r, &section,
                             (uint64_t)r->options.dim * r->options.input_dim);
}

/* ---- rows -------------------------------------------------------------- */

/* Makes room for rows that may be there. */
static bool expect_rows(struct reader *r, const struct block *b,
                        uint32_t raw_len)
{
    if (image_keeps_slots(r->flags)) {
        if (b->first % 8) {
            return vset_load_corrupt(r,
                                     "a block of a vector set is out of place");
        }
        if (raw_len / 2 < (b->n + 7) / 8) {
            return vset_load_corrupt(r, "a block of a vector set is too short");
        }
    }
    return vset_load_fail(
        r, slots_extend(&r->set->elements.slots, (uint64_t)b->first + b->n));
}

/* Takes the bitmaps of a block of rows: which are there, and which live. */
static const char *take_presence(struct block *b)
{
    uint32_t i;

    b->present = vset_load_bits(b, b->n);
    b->live = vset_load_bits(b, b->n);
    if (!b->present || !b->live) {
        return "a block of a vector set is too short";
    }
    for (i = 0; i < (b->n + 7) / 8; i++) {
        if (b->live[i] & ~b->present[i]) {
            return "an element has no row";
        }
    }
    return NULL;
}

static const char *decode_rows(const struct reader *r, struct part *p,
                               struct block *b)
{
    const struct vset *v = r->set;
    const struct slots *slots = &v->elements.slots;
    uint32_t row_bytes = v->format.row_bytes;
    uint32_t side_bytes =
        r->flags & IMAGE_FINE ? vec_fine_bytes(&v->format) : 0;
    const char *broken = image_keeps_slots(r->flags) ? take_presence(b) : NULL;
    uint32_t i;

    (void)p;
    for (i = 0; i < b->n && !broken; i++) {
        uint8_t *row;

        if (b->present && !bit_at(b->present, i)) {
            continue;
        }
        if (b->body.len < row_bytes + side_bytes) {
            return "a block of rows is too short";
        }
        row = slots_row(slots, b->first + i);
        memcpy(row, b->body.data, row_bytes);
        if (vec_adopt_row(&v->format, row) != ERR_OK) {
            return "a vector is not one that could be stored";
        }
        memcpy(slots_side(slots, b->first + i), b->body.data + row_bytes,
               side_bytes);
        b->body.data += row_bytes + side_bytes;
        b->body.len -= row_bytes + side_bytes;
        b->rows++;
    }
    if (!broken && b->body.len) {
        broken = "a block of rows is too long";
    }
    return broken;
}

static bool take_rows(struct reader *r, struct part *p, struct block *b)
{
    (void)p;
    if (b->present) {
        buf_append(&r->present, b->present, (b->n + 7) / 8);
        buf_append(&r->live, b->live, (b->n + 7) / 8);
    }
    r->rows_read += b->rows;
    return true;
}

bool vset_load_rows(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_ROWS,
                                           .expect = expect_rows,
                                           .decode = decode_rows,
                                           .take = take_rows};

    /* Where pages are is written down where it is; workers look there. */
    return vset_load_fail(
               r, slots_fit_directory(&r->set->elements.slots, r->n_slots)) &&
           vset_load_section(r, &section, r->n_slots) && vset_load_settle(r) &&
           (r->rows_read == r->n_rows ||
            vset_load_corrupt(r, "the number of rows is wrong"));
}

/* ---- names and attributes ---------------------------------------------- */

static bool is_live(const struct reader *r, slot_id slot)
{
    return !image_keeps_slots(r->flags) || bit_at(r->live.data, slot);
}

static bool take_text(struct bytes *from, struct bytes *text)
{
    uint32_t len;

    if (!vset_load_varint(from, &len) || len > from->len) {
        return false;
    }
    *text = bytes_of(from->data, len);
    from->data += len;
    from->len -= len;
    return true;
}

static const char *decode_names(const struct reader *r, struct part *p,
                                struct block *b)
{
    struct bytes body = b->body, name;
    uint32_t i;

    b->hashes_at = p->hashes.len;
    for (i = 0; i < b->n; i++) {
        uint64_t hash;

        if (!is_live(r, b->first + i)) {
            continue;
        }
        if (!take_text(&body, &name)) {
            return "a name or attribute is cut short";
        }
        hash = hash_bytes(name.data, name.len);
        buf_append(&p->hashes, &hash, sizeof(hash));
    }
    return body.len ? "a block of names is too long" : NULL;
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
        table_prefetch_segment(&e->table, some->hashes[i]);
    }
    for (i = 0; i < some->n; i++) {
        table_prefetch(&e->table, some->hashes[i]);
    }
    for (i = 0; i < some->n; i++) {
        enum err err = elements_image_add(e, some->slots[i], some->names[i],
                                          some->hashes[i]);

        if (err) {
            return vset_load_fail(r, err);
        }
    }
    r->named += (uint32_t)some->n;
    some->n = 0;
    if (r->named % NAMES_BETWEEN == 0) {
        rdb_yield(r->in);
    }
    return true;
}

static bool take_names(struct reader *r, struct part *p, struct block *b)
{
    size_t hash_at = b->hashes_at; /* of no bytes where nobody lives */
    struct some_names some = {.n = 0};
    uint32_t i;

    for (i = 0; i < b->n; i++) {
        if (!is_live(r, b->first + i) ||
            !take_text(&b->body, &some.names[some.n])) {
            continue;
        }
        memcpy(&some.hashes[some.n], p->hashes.data + hash_at,
               sizeof(uint64_t));
        hash_at += sizeof(uint64_t);
        some.slots[some.n++] = b->first + i;
        if (some.n == NAMES_AT_ONCE && !add_names(r, &some)) {
            return false;
        }
    }
    return add_names(r, &some);
}

bool vset_load_names(struct reader *r)
{
    static const struct section section = {
        .kind = BLOCK_NAMES, .decode = decode_names, .take = take_names};

    return vset_load_fail(
               r, elements_image_expect(&r->set->elements, r->n_live)) &&
           vset_load_section(r, &section, r->n_slots);
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

static bool take_attributes(struct reader *r, struct part *p, struct block *b)
{
    struct bytes text;
    uint32_t i;

    (void)p;
    for (i = 0; i < b->n; i++) {
        if (!is_live(r, b->first + i)) {
            continue;
        }
        if (!take_text(&b->body, &text)) {
            return vset_load_corrupt(r, "a name or attribute is cut short");
        }
        if (!vset_load_fail(r,
                            vset_load_attribute(r->set, b->first + i, text))) {
            return false;
        }
    }
    return b->body.len == 0 ||
           vset_load_corrupt(r, "a block of attributes is too long");
}

bool vset_load_attributes(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_ATTRIBUTES,
                                           .take = take_attributes};

    return vset_load_section(r, &section, r->n_slots);
}
