/* Writing a vector set: see vset_image.h and docs/formats/vectorset.md.
 *
 * A copy of the process may be doing this, so nothing is allocated but what
 * rdb_out_room() maps: a block is put together in one buffer, compressed into
 * another if that is worth while, and handed on. */
#include <errno.h>
#include <lz4.h>
#include <string.h>

#include "db/vset/vset_image_impl.h"
#include "persist/crc32c.h"
#include "vec/pq.h"

enum {
    PATIENCE = 8,          /* blocks not tried after one that gained nothing */
    SLOTS_AT_ONCE = 16384, /* looked at between two looks at the time */
};

struct scratch {
    uint8_t raw[BLOCK_RAW_MAX];
    uint8_t packed[BLOCK_RAW_MAX];
    uint64_t lz4[LZ4_STREAM_MINSIZE / sizeof(uint64_t) + 1];
};

struct writer {
    struct rdb_out *out;
    const struct vset *set;
    struct scratch *s;
    uint32_t flags;
    uint32_t n_slots, n_rows; /* as written */
    uint8_t *trained;         /* what lists_write_trained() wrote */
    size_t trained_len;
    size_t len; /* in s->raw */
    int not_tried[BLOCK_KIND_COUNT];
};

enum vset_form vset_form_of(uint64_t module_id)
{
    if (module_id == rdb_module_id(VSET_IMAGE_NAME, VSET_IMAGE_VERSION)) {
        return VSET_FORM_OURS;
    }
    return module_id == rdb_module_id(VSET_REDIS_NAME, VSET_REDIS_VERSION)
               ? VSET_FORM_REDIS
               : VSET_FORM_NONE;
}

/* ---- blocks ------------------------------------------------------------ */

static void put_u32(uint8_t *to, uint32_t n)
{
    to[0] = (uint8_t)n;
    to[1] = (uint8_t)(n >> 8);
    to[2] = (uint8_t)(n >> 16);
    to[3] = (uint8_t)(n >> 24);
}

static size_t put_varint(uint8_t *to, uint32_t n)
{
    size_t len = 0;

    for (; n >= 0x80; n >>= 7) {
        to[len++] = (uint8_t)(n | 0x80);
    }
    to[len++] = (uint8_t)n;
    return len;
}

static void make_head(uint8_t *head, enum block_kind kind,
                      enum block_coding coding, uint32_t first, uint32_t n,
                      size_t raw_len)
{
    memset(head, 0, BLOCK_HEAD);
    head[0] = (uint8_t)kind;
    head[1] = (uint8_t)coding;
    put_u32(head + 4, first);
    put_u32(head + 8, n);
    put_u32(head + 12, (uint32_t)raw_len);
}

/* Compresses what is in s->raw into s->packed; 0 when it is not worth it. */
static size_t compress(struct writer *w, enum block_kind kind)
{
    bool bounded = block_gain_is_bounded(kind);
    int most = (int)(w->len - w->len / 10);
    int n = 0;

    if (!w->out->compress || most < 64) {
        return 0;
    }
    if (w->not_tried[kind] > 0) {
        w->not_tried[kind]--;
        return 0;
    }
    n = LZ4_compress_fast_extState(w->s->lz4, (const char *)w->s->raw,
                                   (char *)w->s->packed, (int)w->len, most, 1);
    if (n <= 0) {
        w->not_tried[kind] = PATIENCE;
        return 0;
    }
    if (bounded && (size_t)n * BLOCK_GAIN_MAX < w->len) {
        return 0;
    }
    return (size_t)n;
}

static void put_pieces(struct rdb_out *out, const uint8_t *head,
                       struct bytes first, struct bytes second)
{
    uint32_t crc = crc32c(0, head, BLOCK_HEAD);
    uint8_t tail[BLOCK_TAIL];

    crc = crc32c(crc, first.data, first.len);
    crc = crc32c(crc, second.data, second.len);
    put_u32(tail, crc);
    rdb_put_blob_begin(out, BLOCK_HEAD + first.len + second.len + BLOCK_TAIL);
    rdb_put_raw(out, head, BLOCK_HEAD);
    rdb_put_raw(out, first.data, first.len);
    if (second.len) {
        rdb_put_raw(out, second.data, second.len);
    }
    rdb_put_raw(out, tail, sizeof(tail));
}

/* Writes the block that has been put together. */
static void flush(struct writer *w, enum block_kind kind, uint32_t first,
                  uint32_t n)
{
    size_t packed = compress(w, kind);
    uint8_t head[BLOCK_HEAD];
    struct bytes body = bytes_of(w->s->raw, w->len);

    make_head(head, kind, packed ? CODING_LZ4 : CODING_PLAIN, first, n, w->len);
    if (packed) {
        body = bytes_of(w->s->packed, packed);
    }
    put_pieces(w->out, head, body, BYTES_NONE);
    w->len = 0;
    rdb_out_go_on(w->out);
}

static void stage(struct writer *w, const void *data, size_t len)
{
    if (len) {
        memcpy(w->s->raw + w->len, data, len);
        w->len += len;
    }
}

static void set_bit(uint8_t *bits, uint32_t i)
{
    bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* ---- which slots are written ------------------------------------------- */

static bool keeps_slots(const struct writer *w)
{
    return image_keeps_slots(w->flags);
}

static bool is_linked(const struct writer *w, slot_id slot)
{
    return (w->flags & IMAGE_GRAPH) && hnsw_is_linked(graph_of(w->set), slot);
}

static bool is_live(const struct writer *w, slot_id slot)
{
    return slots_is_live(&w->set->elements.slots, slot);
}

static bool has_row(const struct writer *w, slot_id slot)
{
    return is_live(w, slot) || is_linked(w, slot);
}

/* Decides whether slots keep their numbers, which a graph and lists need. */
static bool choose_slots(struct writer *w)
{
    const struct slots *s = &w->set->elements.slots;
    const struct hnsw *h = w->set->graph ? graph_of(w->set) : NULL;
    slot_id slot;

    if (h && hnsw_count(h) > 0) {
        w->flags = IMAGE_GRAPH; /* and no lists, as a rule */
    } else if (w->flags & IMAGE_LISTS) {
        w->flags |= IMAGE_OWNERS;
    }
    if (keeps_slots(w)) {
        for (slot = 0; slot < s->n_slots; slot++) {
            w->n_rows += has_row(w, slot);
            if (slot % SLOTS_AT_ONCE == 0 && !rdb_out_go_on(w->out)) {
                return false;
            }
        }
        if (s->n_slots > IMAGE_SPARSE * (uint64_t)w->n_rows + IMAGE_SLACK) {
            w->flags &= ~(uint32_t)(IMAGE_GRAPH | IMAGE_OWNERS);
        }
    }
    if (!keeps_slots(w)) {
        w->n_rows = s->n_live;
    }
    w->n_slots = keeps_slots(w) ? s->n_slots : w->n_rows;
    return true;
}

/* Slots that are written, in order; a set that does not keep its numbers gets
 * new ones, without gaps. */
struct cursor {
    slot_id slot;   /* of the set */
    uint32_t write; /* as written */
};

/* Whether the cursor's slot counts, after which it goes on. */
static bool counts(const struct writer *w, struct cursor *c, slot_id *slot)
{
    *slot = c->slot++;
    if (!keeps_slots(w) && !is_live(w, *slot)) {
        return false;
    }
    c->write++;
    return true;
}

/* ---- rows -------------------------------------------------------------- */

static void put_rows(struct writer *w)
{
    const struct vset *v = w->set;
    uint32_t row_bytes = v->format.row_bytes;
    uint32_t side_bytes = v->elements.slots.geometry.side_bytes;
    uint32_t room = BLOCK_FILL / (row_bytes + side_bytes);
    struct cursor c = {0, 0};

    room = room > BLOCK_SLOTS_MAX ? BLOCK_SLOTS_MAX : room;
    room = room < 8 ? 8 : room / 8 * 8; /* bitmaps are joined by the reader */
    while (c.write < w->n_slots && !rdb_out_failed(w->out)) {
        uint32_t first = c.write;
        uint32_t n = w->n_slots - first < room ? w->n_slots - first : room;
        size_t bits = keeps_slots(w) ? (n + 7) / 8 : 0;
        uint8_t *present = w->s->raw, *live = present + bits;

        memset(present, 0, 2 * bits);
        w->len = 2 * bits;
        while (c.write < first + n) {
            slot_id slot;

            if (!counts(w, &c, &slot) || !has_row(w, slot)) {
                continue;
            }
            if (bits) {
                set_bit(present, slot - first);
                if (is_live(w, slot)) {
                    set_bit(live, slot - first);
                }
            }
            stage(w, slots_row(&v->elements.slots, slot), row_bytes);
            stage(w, slots_side(&v->elements.slots, slot), side_bytes);
        }
        flush(w, BLOCK_ROWS, first, n);
    }
}

/* ---- names and attributes ---------------------------------------------- */

/* One that is too long to be put together with others. */
static void put_long(struct writer *w, enum block_kind kind, uint32_t at,
                     struct bytes text)
{
    uint8_t head[BLOCK_HEAD], len[VARINT_MAX];
    size_t n = put_varint(len, (uint32_t)text.len);

    make_head(head, kind, CODING_PLAIN, at, 1, n + text.len);
    put_pieces(w->out, head, bytes_of(len, n), text);
}

static struct bytes text_of(const struct writer *w, enum block_kind kind,
                            slot_id slot)
{
    return kind == BLOCK_NAMES ? vset_name(w->set, slot)
                               : vset_attribute(w->set, slot);
}

static void put_texts(struct writer *w, enum block_kind kind)
{
    struct cursor c = {0, 0};
    uint32_t first = 0;
    uint8_t len[VARINT_MAX];

    while (c.write < w->n_slots && !rdb_out_failed(w->out)) {
        uint32_t at = c.write;
        struct bytes text;
        slot_id slot;

        if (!counts(w, &c, &slot) || !is_live(w, slot)) {
            continue;
        }
        text = text_of(w, kind, slot);
        if (at > first && (w->len + text.len > BLOCK_FILL)) {
            flush(w, kind, first, at - first);
            first = at;
        }
        if (rdb_out_failed(w->out)) {
            return;
        }
        if (text.len > BLOCK_FILL) {
            put_long(w, kind, at, text);
            first = at + 1;
            continue;
        }
        stage(w, len, put_varint(len, (uint32_t)text.len));
        stage(w, text.data, text.len);
    }
    if (first < w->n_slots && !rdb_out_failed(w->out)) {
        flush(w, kind, first, w->n_slots - first);
    }
}

static void put_names(struct writer *w)
{
    put_texts(w, BLOCK_NAMES);
}

static void put_attributes(struct writer *w)
{
    put_texts(w, BLOCK_ATTRIBUTES);
}

/* ---- links ------------------------------------------------------------- */

static void put_links(struct writer *w)
{
    const struct hnsw *h = graph_of(w->set);
    size_t most = hnsw_image_node_max(h);
    uint32_t room =
        (uint32_t)((BLOCK_RAW_MAX - 2 * BLOCK_SLOTS_MAX / 8) / most);
    uint32_t first, i;

    for (first = 0; first < w->n_slots && !rdb_out_failed(w->out);
         first += room) {
        uint32_t n = w->n_slots - first;
        uint8_t *linked = w->s->raw, *chained;
        size_t bits;

        n = n < room ? n : room;
        bits = (n + 7) / 8;
        chained = linked + bits;
        memset(linked, 0, 2 * bits);
        w->len = 2 * bits;
        for (i = 0; i < n; i++) {
            if (hnsw_is_linked(h, first + i)) {
                set_bit(linked, i);
                if (hnsw_image_chained(h, first + i)) {
                    set_bit(chained, i);
                }
                w->len += hnsw_image_put(h, first + i, w->s->raw + w->len);
            }
        }
        flush(w, BLOCK_LINKS, first, n);
    }
}

/* Of all slots, whatever they hold: numbers keep their levels. */
static void put_levels(struct writer *w)
{
    const struct hnsw *h = graph_of(w->set);
    uint32_t first = 0, i;

    while (first < w->n_slots && !rdb_out_failed(w->out)) {
        uint32_t n = w->n_slots - first;

        n = n < BLOCK_SLOTS_MAX ? n : BLOCK_SLOTS_MAX;
        for (i = 0; i < n; i++) {
            w->s->raw[w->len++] = (uint8_t)hnsw_level(h, first + i);
        }
        flush(w, BLOCK_LEVELS, first, n);
        first += n;
    }
}

/* ---- lists ------------------------------------------------------------- */

static void put_trained(struct writer *w)
{
    size_t first = 0;

    while (first < w->trained_len && !rdb_out_failed(w->out)) {
        size_t part = w->trained_len - first;

        part = part < BLOCK_FILL ? part : BLOCK_FILL;
        stage(w, w->trained + first, part);
        flush(w, BLOCK_TRAINED, (uint32_t)first, (uint32_t)part);
        first += part;
    }
}

/* For each group of slots the list it belongs to, and one more; 0 for none. */
static void put_owners(struct writer *w)
{
    uint32_t total = image_groups(w->n_slots);
    uint32_t first = 0, i;

    while (first < total && !rdb_out_failed(w->out)) {
        uint32_t n = total - first;

        n = n < BLOCK_SLOTS_MAX ? n : BLOCK_SLOTS_MAX;
        for (i = 0; i < n; i++) {
            /* LISTS_NONE and one more is 0 */
            w->len += put_varint(w->s->raw + w->len,
                                 lists_owner_of_block(w->set, first + i) + 1);
        }
        flush(w, BLOCK_OWNERS, first, n);
        first += n;
    }
}

/* ---- all of it --------------------------------------------------------- */

static void put_floats(struct writer *w, enum block_kind kind,
                       const float *floats, size_t n)
{
    size_t first = 0;

    while (first < n && !rdb_out_failed(w->out)) {
        size_t part = BLOCK_FILL / sizeof(float);

        part = n - first < part ? n - first : part;
        stage(w, floats + first, part * sizeof(float));
        flush(w, kind, (uint32_t)first, (uint32_t)part);
        first += part;
    }
}

static void put_matrix(struct writer *w)
{
    put_floats(w, BLOCK_MATRIX, w->set->matrix,
               vset_matrix_bytes(w->set) / sizeof(float));
}

static void put_books(struct writer *w)
{
    const struct vec_pq *pq = vset_pq(w->set);

    put_floats(w, BLOCK_BOOKS, pq->points, vec_pq_n_points(pq));
}

static uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static bool is_calibrated(const struct writer *w)
{
    struct graph_info g;

    if (!(w->flags & IMAGE_GRAPH) || !w->set->calibrated_at) {
        return false;
    }
    graph_info_read(w->set, &g);
    return w->set->calibrated_build == g.build;
}

static void choose_flags(struct writer *w)
{
    const struct vset *v = w->set;

    w->flags |= v->options.keep_empty ? IMAGE_KEEP_EMPTY : 0;
    w->flags |= v->n_attributes ? IMAGE_ATTRIBUTES : 0;
    w->flags |= v->coming ? IMAGE_COMING : 0;
    w->flags |= v->matrix ? IMAGE_MATRIX : 0;
    w->flags |= v->options.pq_m ? IMAGE_PQ : 0;
    w->flags |= v->elements.slots.geometry.side_bytes ? IMAGE_FINE : 0;
    w->flags |= is_calibrated(w) ? IMAGE_CALIBRATED : 0;
    if (w->flags & IMAGE_GRAPH) {
        w->flags |= IMAGE_SPREAD;
        w->flags |= hnsw_has_levels(graph_of(v)) ? IMAGE_LEVELS : 0;
        w->flags |= graph_walk_is_due(v) ? IMAGE_WALK_DUE : 0;
    }
}

static void put_lists_header(struct writer *w,
                             const struct lists_options *asked)
{
    uint64_t words[LISTS_OPTION_WORDS];
    int i;

    if (w->flags & IMAGE_LISTS) {
        rdb_put_unsigned(w->out, w->trained_len);
    }
    if (w->flags & IMAGE_TRAINING) {
        lists_options_put(asked, words);
        for (i = 0; i < LISTS_OPTION_WORDS; i++) {
            rdb_put_unsigned(w->out, words[i]);
        }
    }
}

static void put_header(struct writer *w)
{
    const struct vset *v = w->set;
    uint32_t flags = w->flags;
    const struct vset_options *o = &v->options;
    int i;

    rdb_put_unsigned(w->out, flags);
    rdb_put_unsigned(w->out, o->type);
    rdb_put_unsigned(w->out, o->metric);
    rdb_put_unsigned(w->out, o->dim);
    rdb_put_unsigned(w->out, o->input_dim);
    rdb_put_unsigned(w->out, o->m);
    rdb_put_unsigned(w->out, o->ef);
    rdb_put_unsigned(w->out, o->index);
    if (flags & IMAGE_PQ) {
        rdb_put_unsigned(w->out, o->pq_m);
    }
    rdb_put_unsigned(w->out, v->seed);
    rdb_put_unsigned(w->out, v->node_uid);
    rdb_put_unsigned(w->out, w->n_slots);
    rdb_put_unsigned(w->out, w->n_rows);
    rdb_put_unsigned(w->out, v->elements.slots.n_live);
    if (flags & IMAGE_GRAPH) {
        struct hnsw_spread spread = hnsw_image_spread(graph_of(v));

        rdb_put_unsigned(w->out, hnsw_m(graph_of(v)));
        rdb_put_unsigned(w->out, graph_ef(v));
        rdb_put_unsigned(w->out, hnsw_count(graph_of(v)));
        rdb_put_unsigned(w->out, hnsw_image_entry(graph_of(v)));
        rdb_put_unsigned(w->out, graph_fresh_from(v));
        rdb_put_unsigned(w->out, spread.sum);
        rdb_put_unsigned(w->out, spread.n);
    }
    if (flags & IMAGE_LEVELS) {
        struct hnsw_shape shape = hnsw_image_shape(graph_of(v));

        rdb_put_unsigned(w->out, shape.row_links);
        rdb_put_unsigned(w->out, shape.upper_links);
    }
    if (flags & IMAGE_CALIBRATED) {
        rdb_put_unsigned(w->out, v->calibrated_at);
        rdb_put_unsigned(w->out, RECALL_EFS_MAX);
        for (i = 0; i < RECALL_EFS_MAX; i++) {
            rdb_put_unsigned(w->out, float_bits(v->recall[i]));
        }
    }
}

/* Each part looks at the set only as long as it is to go on. */
static void put_parts(struct writer *w)
{
    static const struct {
        uint32_t flag; /* 0: always there */
        void (*put)(struct writer *w);
    } parts[] = {
        {IMAGE_MATRIX, put_matrix},
        {IMAGE_PQ, put_books},
        {0, put_rows},
        {0, put_names},
        {IMAGE_ATTRIBUTES, put_attributes},
        {IMAGE_LEVELS, put_levels},
        {IMAGE_GRAPH, put_links},
        {IMAGE_LISTS, put_trained},
        {IMAGE_OWNERS, put_owners},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(parts); i++) {
        if (rdb_out_failed(w->out)) {
            return;
        }
        if (!parts[i].flag || (w->flags & parts[i].flag)) {
            parts[i].put(w);
        }
    }
}

/* Room to work in, and what was trained, if the set has lists. */
static bool make_room(struct writer *w)
{
    size_t trained = lists_trained_size(w->set);
    uint8_t *room;

    if (trained > IMAGE_TRAINED_MAX) {
        trained = 0;
    }
    room = rdb_out_room(w->out, sizeof(*w->s) + trained);
    if (!room) {
        w->out->error = ENOMEM;
        return false;
    }
    w->s = (void *)room;
    if (trained) {
        w->trained = room + sizeof(*w->s);
        w->trained_len = trained;
        lists_trained_put(w->set, w->trained);
        w->flags |= IMAGE_LISTS;
    }
    return true;
}

void vset_save(struct rdb_out *out, const struct vset *v)
{
    struct writer w = {.out = out, .set = v};
    struct lists_options asked;

    if (!make_room(&w)) {
        return;
    }
    if (!choose_slots(&w)) {
        return;
    }
    choose_flags(&w);
    w.flags |= lists_is_asked(v, &asked) ? IMAGE_TRAINING : 0;
    rdb_put_module(out, rdb_module_id(VSET_IMAGE_NAME, VSET_IMAGE_VERSION));
    put_header(&w);
    put_lists_header(&w, &asked);
    put_parts(&w);
    rdb_put_module_end(out);
}
