/* Blocks of a set's image: read, decompressed, decoded by workers, taken in
 * order. See vset_load_impl.h.
 *
 * A part's place in the ring says when it is taken: blocks are read as long as
 * there is room for another part; then the oldest one is waited for. */
#include <lz4.h>

#include "base/mem.h"
#include "db/vset/vset_load_impl.h"
#include "persist/crc32c.h"

enum {
    PARTS_MORE = 2, /* than there are workers: read, or waiting to be taken */
    PART_MIN = 64 << 10,
    /* About a huge page of rows or links: two workers that write to the same
     * one first would both have it cleared. */
    PART_FILL = 2 << 20,
    PART_SHARE = 20, /* of a set's rows all parts are one in so many */
    STORED_MAX = BLOCK_HEAD + BLOCK_RAW_MAX + BLOCK_TAIL, /* in a part */
};

static uint32_t get_u32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

const uint8_t *vset_load_bits(struct block *b, size_t n)
{
    const uint8_t *bits = b->body.data;

    if (b->body.len < (n + 7) / 8) {
        return NULL;
    }
    b->body.data += (n + 7) / 8;
    b->body.len -= (n + 7) / 8;
    return bits;
}

bool vset_load_varint(struct bytes *from, uint32_t *out)
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

/* ---- one block --------------------------------------------------------- */

static struct bytes content(struct bytes stored)
{
    return bytes_of(stored.data + BLOCK_HEAD,
                    stored.len - BLOCK_HEAD - BLOCK_TAIL);
}

static bool sum_is_right(struct bytes stored)
{
    return SUMS_AGREE(crc32c(0, stored.data, stored.len - BLOCK_TAIL),
                      get_u32(stored.data + stored.len - BLOCK_TAIL));
}

static const char *check_coding(enum block_kind kind, struct bytes stored)
{
    size_t len = content(stored).len;
    uint32_t raw_len = get_u32(stored.data + 12);

    if (stored.data[1] == CODING_LZ4) {
        return len > BLOCK_RAW_MAX || raw_len > BLOCK_RAW_MAX ||
                       (block_gain_is_bounded(kind) &&
                        raw_len / BLOCK_GAIN_MAX > len)
                   ? "a block of a vector set is too long"
                   : NULL;
    }
    return stored.data[1] != CODING_PLAIN || raw_len != len
               ? "a block of a vector set has an unknown coding"
               : NULL;
}

/* Looks at the head of a block of a section that has come to `first` of
 * `total`. Its sum is not checked yet, only where it would explain. */
static bool look_at_head(struct reader *r, enum block_kind kind,
                         struct bytes stored, uint64_t first, uint64_t total,
                         struct block *b)
{
    const uint8_t *head = stored.data;
    const char *broken;

    if (stored.len < BLOCK_HEAD + BLOCK_TAIL) {
        return vset_load_corrupt(r, "a block of a vector set is too short");
    }
    *b = (struct block){.first = get_u32(head + 4), .n = get_u32(head + 8)};
    b->end = rdb_in_offset(r->in);
    broken = head[0] != kind || head[2] || head[3] || b->first != first ||
                     b->n == 0 || b->n > total - first
                 ? "a block of a vector set is out of place"
                 : check_coding(kind, stored);
    if (broken && !sum_is_right(stored)) {
        broken = "a block of a vector set has the wrong checksum";
    }
    return !broken || vset_load_corrupt(r, broken);
}

/* Of decompressed blocks, `raw` is where this one's content goes. */
static const char *open_block(struct block *b, uint8_t **raw)
{
    uint32_t raw_len = get_u32(b->stored.data + 12);
    struct bytes packed = content(b->stored);

    if (!sum_is_right(b->stored)) {
        return "a block of a vector set has the wrong checksum";
    }
    b->body = packed;
    if (b->stored.data[1] == CODING_PLAIN) {
        return NULL;
    }
    if (LZ4_decompress_safe((const char *)packed.data, (char *)*raw,
                            (int)packed.len, (int)raw_len) != (int)raw_len) {
        return "a block of a vector set cannot be decompressed";
    }
    b->body = bytes_of(*raw, raw_len);
    *raw += raw_len;
    return NULL;
}

/* ---- parts ------------------------------------------------------------- */

static void part_begin(struct part *p, const struct reader *r,
                       const struct section *s)
{
    p->reader = r;
    p->section = s;
    p->n = p->n_decoded = 0;
    p->bytes = p->raw_bytes = 0;
    p->stored.len = p->hashes.len = 0;
    p->fault = NULL;
}

static void part_end(struct part *p)
{
    buf_deinit(&p->stored);
    buf_deinit(&p->raw);
    buf_deinit(&p->hashes);
}

static void part_add(struct part *p, const struct block *b, struct bytes stored)
{
    uint32_t raw_len = get_u32(stored.data + 12);

    if (stored.data[1] == CODING_LZ4) {
        p->raw_bytes += (size_t)raw_len + 1;
        p->bytes += raw_len;
    }
    if (p->section->kind == BLOCK_NAMES) {
        p->bytes += b->n * sizeof(uint64_t); /* hashes */
    }
    p->bytes += stored.len;
    p->blocks[p->n++] = *b;
}

static void part_decode(struct part *p)
{
    uint8_t *raw = p->raw_bytes ? buf_room(&p->raw, p->raw_bytes) : NULL;
    const struct section *s = p->section;

    for (; p->n_decoded < p->n; p->n_decoded++) {
        struct block *b = &p->blocks[p->n_decoded];

        if (!b->stored.data) {
            b->stored.data = p->stored.data + b->at;
        }
        p->fault = open_block(b, &raw);
        if (!p->fault && s->decode) {
            p->fault = s->decode(p->reader, p, b);
        }
        if (p->fault) {
            return;
        }
    }
}

static void part_run(struct crew_unit *u, struct worker *w)
{
    (void)w;
    part_decode(CONTAINER_OF(u, struct part, unit));
}

static bool part_take(struct reader *r, struct part *p)
{
    bool fine = true;
    uint32_t i;

    for (i = 0; i < p->n_decoded && fine; i++) {
        r->at = p->blocks[i].end;
        fine = !p->section->take || p->section->take(r, p, &p->blocks[i]);
    }
    if (fine && p->fault) {
        r->at = p->blocks[i].end;
        fine = vset_load_corrupt(r, p->fault);
    }
    r->at = 0;
    r->is_broken |= !fine;
    return fine;
}

/* The oldest part under way, when it has been decoded. */
static struct part *oldest_part(struct reader *r)
{
    struct part *p = r->parts[r->first_part];

    crew_wait(&p->unit);
    r->first_part = (r->first_part + 1) % PARTS_MAX;
    r->n_parts--;
    return p;
}

static void part_recycle(struct reader *r, struct part *p)
{
    if (r->spare) {
        part_end(p);
        mem_free(p);
    } else {
        r->spare = p;
    }
}

static bool take_oldest(struct reader *r)
{
    struct part *p = oldest_part(r);
    bool fine = part_take(r, p);

    part_recycle(r, p);
    return fine;
}

static void dispatch(struct reader *r)
{
    struct part *p = r->filling;

    r->filling = NULL;
    if (!p) {
        return;
    }
    r->parts[(r->first_part + r->n_parts++) % PARTS_MAX] = p;
    p->unit.run = part_run;
    crew_begin(r->crew, &p->unit);
}

bool vset_load_settle(struct reader *r)
{
    bool fine = true;

    dispatch(r);
    while (fine && r->n_parts > 0) {
        fine = take_oldest(r);
    }
    return fine;
}

/* When something further on was corrupt, what comes before may be, too, and is
 * what is said then. */
void vset_load_parts_end(struct reader *r)
{
    dispatch(r);
    while (r->n_parts > 0) {
        struct part *p = oldest_part(r);

        if (r->in->err == ERR_CORRUPT && !r->is_broken) {
            part_take(r, p);
        }
        part_recycle(r, p);
    }
    if (r->spare) {
        part_end(r->spare);
        mem_free(r->spare);
        r->spare = NULL;
    }
    part_end(&r->now);
}

/* A part for a block of that section. */
static bool part_to_fill(struct reader *r, const struct section *s)
{
    if (r->filling) {
        return true;
    }
    while (r->n_parts >= r->most_parts) {
        if (!take_oldest(r)) {
            return false;
        }
    }
    r->filling = r->spare ? r->spare : mem_calloc(1, sizeof(*r->filling));
    r->spare = NULL;
    part_begin(r->filling, r, s);
    return true;
}

struct pool *vset_load_crew(const struct vset *v, uint64_t n_rows)
{
    return n_rows * v->format.row_bytes >= v->keyspace->shared_loads_from
               ? v->keyspace->pool
               : NULL;
}

void vset_load_share(struct reader *r)
{
    uint64_t bytes = (uint64_t)r->n_rows * r->set->format.row_bytes;
    uint64_t share;

    r->crew = vset_load_crew(r->set, r->n_rows);
    if (!r->crew) {
        return;
    }
    r->most_parts = pool_size(r->crew) + PARTS_MORE;
    if (r->most_parts > PARTS_MAX) {
        r->most_parts = PARTS_MAX;
    }
    share = bytes / PART_SHARE / r->most_parts;
    r->part_bytes = share > PART_FILL  ? PART_FILL
                    : share < PART_MIN ? PART_MIN
                                       : (size_t)share;
}

/* ---- sections ---------------------------------------------------------- */

/* Here and now. */
static bool do_at_once(struct reader *r, const struct section *s,
                       struct block *b, struct bytes stored)
{
    struct part *p = &r->now;

    part_begin(p, r, s);
    b->stored = stored;
    part_add(p, b, stored);
    part_decode(p);
    return part_take(r, p);
}

static bool add_to_part(struct reader *r, struct block *b, struct bytes stored,
                        enum rdb_place place)
{
    struct part *p = r->filling;

    b->stored = stored;
    if (place == RDB_APPENDED) {
        b->stored.data = NULL;
        b->at = p->stored.len - stored.len;
    }
    part_add(p, b, stored);
    if (p->n == PART_BLOCKS || p->bytes >= r->part_bytes) {
        dispatch(r);
    }
    return true;
}

static bool next_block(struct reader *r, const struct section *s,
                       uint64_t first, uint64_t total, uint32_t *n)
{
    enum rdb_place place = RDB_PASSING;
    struct bytes stored;
    struct block b;

    rdb_yield(r->in);
    if (r->crew ? !part_to_fill(r, s) ||
                      !rdb_get_blob_to(r->in, STORED_MAX, &r->filling->stored,
                                       &stored, &place)
                : !rdb_get_blob(r->in, &stored)) {
        return false;
    }
    if (!look_at_head(r, s->kind, stored, first, total, &b) ||
        (s->expect && !s->expect(r, &b, get_u32(stored.data + 12)))) {
        return false;
    }
    *n = b.n;
    if (place != RDB_PASSING) {
        return add_to_part(r, &b, stored, place);
    }
    return (!r->crew || vset_load_settle(r)) && do_at_once(r, s, &b, stored);
}

bool vset_load_section(struct reader *r, const struct section *s,
                       uint64_t total)
{
    uint64_t first;
    uint32_t n;

    for (first = 0; first < total; first += n) {
        if (!next_block(r, s, first, total, &n)) {
            return false;
        }
    }
    dispatch(r);
    return true;
}
