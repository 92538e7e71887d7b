/* Pages: where the rows of a set lie, and which of them a reader sees.
 *
 * A slot is a row number. Slots are grouped into pages that never move: small
 * ones at first (8 rows, then half-octaves, so that a set of ten costs ten),
 * and from `small_rows` on pages of one size, about PAGE_BYTES, which pack into
 * huge pages and are the unit of a scan. The codes of a page are one run of
 * memory; names, attributes and liveness are separate from them, because a scan
 * streams codes and looks at the rest only for the few rows that score well.
 *
 * Visibility. A search runs at a write sequence S and sees the rows born at or
 * before S that had not died by then. When nothing is under way, a row is
 * simply live or not: one bit. Only while a search is under way that must not
 * see a change does the page carry stamps, for the rows changed meanwhile; they
 * are dropped when no such search is left.
 *
 *  P1  The bytes of a row are constant while the slot is live or may still be
 *      seen by a search under way.
 *  P2  A page with stamps: visible means born <= S < died. Without: the live
 *      bit is set. Rows at or past the view's n_slots are not looked at.
 *  P3  A slot is used again only when no search under way was dispatched before
 *      its row died, so a search that sees the new stamps rejects it.
 *  P4  The writer stores `born` before `died`, both before the live bit; a
 *      reader loads the live bit, then the stamps pointer, then died, then
 * born.
 *
 * A scan may read the bytes of a row while it is written anew (P3): it computes
 * a score of no meaning and then rejects the row by P2.
 *
 * thread the loop writes; any reads through a view. */
#ifndef VECTRA_STORE_PAGE_H
#define VECTRA_STORE_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/epoch.h"
#include "base/err.h"
#include "base/region.h"
#include "vec/row_map.h"

typedef uint32_t slot_id;

#define SLOT_NONE UINT32_MAX

enum {
    PAGE_BYTES = 512 * 1024,
    PAGE_UNIT_ROWS = 32,    /* rows that lie together, see slots_blocks.h */
    PAGE_SIDE_OVERREAD = 8, /* bytes behind the side parts that may be read */
};

#define NEVER UINT64_MAX

/* born and died of a row, write sequences. */
struct page_stamp {
    _Atomic write_seq born;
    _Atomic write_seq died;
};

struct page_stamps {
    struct retired retired;
    struct region *region;
    struct page *next; /* pages that carry stamps, see slots.c */
    write_seq last;    /* the newest stamp */
    uint32_t n;
    struct page_stamp rows[];
};

/* The attribute of a row: the owner's, opaque here. */
struct page_attr {
    _Atomic(void *) of;
};

struct page {
    uint8_t *rows;   /* codes, row_bytes apart */
    uint8_t *side;   /* what else there is of rows, side_bytes apart: read for
                      * the few that score well; as constant as a row (P1) */
    uint32_t *names; /* name reference; the next free slot's id when
                      * the slot is free */
    _Atomic(struct page_attr *) attrs; /* NULL until a row has an attribute */
    _Atomic(struct page_stamps *) stamps; /* NULL when settled */
    _Atomic uint64_t live[];
};

/* Pages of PAGE_BYTES or a few times as much, whatever a multiple of
 * PAGE_UNIT_ROWS rows fills best; each row has side_bytes besides. */
void page_geometry_init(struct row_geometry *g, uint32_t row_bytes,
                        uint32_t side_bytes, uint32_t overread);

/* Memory for a page. */
struct page_room {
    struct page *page;
    uint8_t *rows;
};

/* Finds the memory, and touches none of it.
 *
 * fails  ERR_NOMEM. */
enum err page_room_alloc(const struct row_geometry *g, uint32_t page,
                         struct region *region,
                         struct page_room *room) MUST_USE;
void page_room_free(const struct row_geometry *g, uint32_t page,
                    struct page_room *room, struct region *region);

/* Bytes that page_begin() writes to, from room->page on. */
size_t page_room_head_bytes(const struct row_geometry *g, uint32_t page);

/* Makes an empty page of it. */
struct page *page_begin(const struct row_geometry *g, uint32_t page,
                        const struct page_room *room);
void page_free(const struct row_geometry *g, uint32_t page, struct page *p,
               struct region *region);
size_t page_cost(const struct row_geometry *g, uint32_t page);

static inline bool page_is_live(const struct page *p, uint32_t row)
{
    uint64_t word =
        atomic_load_explicit(&p->live[row / 64], memory_order_acquire);

    return word >> (row % 64) & 1;
}

/* P2, by the order of P4. */
static inline bool page_sees(const struct page *p, uint32_t row, write_seq seq)
{
    bool live = page_is_live(p, row);
    const struct page_stamps *stamps =
        atomic_load_explicit(&p->stamps, memory_order_acquire);
    write_seq died, born;

    if (LIKELY(!stamps)) {
        return live;
    }
    died = atomic_load_explicit(&stamps->rows[row].died, memory_order_acquire);
    born = atomic_load_explicit(&stamps->rows[row].born, memory_order_acquire);
    return born <= seq && seq < died;
}

#endif
