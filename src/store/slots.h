/* The slots of a set: handing them out, publishing, retiring, using again.
 *
 *              take            publish            kill
 *     FREE ──────────▶ TAKEN ──────────▶ LIVE ──────────▶ LIMBO
 *      ▲                 │ put_back                         │ no search under
 *      └─────────────────┴──────────────────────────────────┘ way can see it
 *
 * TAKEN   one at a time, filled by the loop; nobody looks at it.
 * LIMBO   dead, but searches dispatched before its death still see it: its row,
 *         name and attribute stay. Slots leave limbo in the order of death.
 *
 *  S1  n_slots only grows; slots at or past it have never been live.
 *  S2  n_live is the number of live bits.
 *  S3  Every slot below n_slots is live, in limbo, taken, on the free list, in
 *      a bunch of free ones, or held (n_held of them); when blocks are kept,
 *      free in one of them (slots_blocks.h, which has the lists then).
 *
 * thread loop, except what page.h says about views. */
#ifndef VECTRA_STORE_SLOTS_H
#define VECTRA_STORE_SLOTS_H

#include "store/page.h"

#define SLOTS_MAX (UINT32_MAX - 1)

/* Pages a large set has ready, so that the system's work of finding memory is
 * done elsewhere; at most one in SLOTS_AHEAD_SHARE of those in use, and none
 * where none was needed while it was settled SLOTS_AHEAD_KEPT times. */
enum { SLOTS_AHEAD_MAX = 2, SLOTS_AHEAD_SHARE = 32, SLOTS_AHEAD_KEPT = 20 };

/* Bytes of a row, of what lies beside it, and that may be read behind. */
struct row_layout {
    uint32_t row_bytes;
    uint32_t side_bytes;
    uint32_t overread;
};

/* Called when a slot leaves limbo: its name and attribute may be freed. True
 * when the slot is not to be used again before slots_free(): an index still
 * leads to its row. */
struct slots_ops {
    bool (*released)(void *arg, slot_id slot, uint32_t kept);
    /* Memory that will be written to before long; may be NULL. */
    void (*expect)(void *arg, void *memory, size_t bytes);
    void *arg;
};

/* What of a dead slot lives on in another one. */
enum slot_kept { SLOT_KEPT_NAME = 1, SLOT_KEPT_ATTR = 2 };

struct limbo_entry {
    write_seq died;
    slot_id slot;
    uint32_t kept;
};

/* Slots that become free together: handing them over costs no more than one
 * does. */
struct slot_bunch {
    struct retired retired; /* the maker's until slots_free_bunch() */
    struct slots *slots;
    struct slot_bunch *next;
    uint32_t n;    /* bits that are set */
    uint32_t word; /* none are in the words before */
    uint32_t n_words;
    uint64_t bits[]; /* by slot */
};

struct page_dir {
    struct retired retired;
    struct region *region;
    uint32_t cap;
    const uint8_t **rows; /* of each page, for those who need no more */
    struct page *pages[]; /* cap, then as many entries of `rows` */
};

struct slots {
    struct row_geometry geometry;
    struct region *region;
    struct epoch *epoch;
    struct page_dir *dir;
    struct page_room ahead[SLOTS_AHEAD_MAX]; /* big pages, not in use yet */
    uint8_t n_ahead;
    uint8_t n_settled; /* times, since the last page was added */
    bool taken_fresh;  /* it has never been below any view's n_slots */
    uint32_t n_pages;
    slot_id n_slots;
    uint32_t n_live;
    uint32_t n_free;
    uint32_t n_held;            /* released, but an index still leads there */
    slot_id free_head;          /* SLOT_NONE: none */
    uint32_t n_bunched;         /* free ones besides */
    struct slot_bunch *bunches; /* that hold them */
    struct limbo_entry *limbo;  /* a ring; limbo_cap is a power of two */
    uint32_t limbo_head, limbo_len, limbo_cap;
    slot_id taken;               /* SLOT_NONE: none */
    struct page *stamped;        /* pages with stamps */
    struct slots_blocks *blocks; /* see slots_blocks.h; NULL: not kept */
    struct slots_ops ops;
};

/* region and epoch outlive it. */
void slots_init(struct slots *s, const struct row_layout *layout,
                struct region *region, struct epoch *epoch,
                const struct slots_ops *ops);

/* Memory that n slots take: all of it, and in *ahead what of it is ready before
 * its time in a set that is told what it expects. */
size_t slots_bytes_for(const struct row_layout *layout, uint32_t n,
                       size_t *ahead);

/* Frees all memory at once; nobody may look any more. ops->released is not
 * called. thread any, when the owner has been unlinked. */
void slots_deinit(struct slots *s);

/* Has the directory of pages stay where it is until there are more than n.
 *
 * fails  ERR_NOMEM. */
enum err slots_fit_directory(struct slots *s, uint32_t n) MUST_USE;

/* Adds slots up to n that are dead and in nobody's book yet: see
 * store/elements_image.h.
 *
 * fails  ERR_NOMEM; ERR_LIMIT past SLOTS_MAX. */
enum err slots_extend(struct slots *s, uint64_t n) MUST_USE;

/* Bytes that the next slots_take() may allocate. */
size_t slots_take_cost(const struct slots *s);

/* Takes a slot to fill.
 *
 * fails  ERR_NOMEM; ERR_LIMIT at SLOTS_MAX. */
enum err slots_take(struct slots *s, slot_id *slot) MUST_USE;

/* The next n slots to be taken will be written to: has their memory brought
 * near, if they are fresh. */
void slots_expect(const struct slots *s, uint32_t n);

/* Frees the pages that are ready for what may come. */
void slots_trim(struct slots *s);

/* Gives the taken slot back unused, before any view is taken. */
void slots_put_back(struct slots *s);

/* Reserves the memory that publishing the taken slot or killing this live one
 * needs while searches are under way; neither can fail afterwards.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err slots_prepare(struct slots *s, slot_id slot) MUST_USE;

/* Makes the taken slot, prepared before, live at a write sequence. */
void slots_publish(struct slots *s, write_seq seq);

/* Ends a live slot, prepared before, at a write sequence; `kept` says what must
 * not be released with it (enum slot_kept). */
void slots_kill(struct slots *s, slot_id slot, write_seq seq, uint32_t kept);

/* Puts a slot that was held on the free list. */
void slots_free(struct slots *s, slot_id slot);

/* The same for many: the caller fills in the bits and n.
 *
 * fails  NULL when memory is out. */
struct slot_bunch *slots_bunch_create(struct slots *s, uint32_t n_words);
void slots_bunch_discard(struct slot_bunch *b);
void slots_free_bunch(struct slot_bunch *b);

/* Releases what no search can see any more, drops settled stamps, and in the
 * end what was ready for more to come. True when nothing is left to settle. */
bool slots_settle(struct slots *s);

/* Checks S2, S3 and P2; aborts on a violation. */
void slots_validate(const struct slots *s);

ALWAYS_INLINE struct page *slots_page(const struct slots *s, slot_id slot,
                                      uint32_t *row)
{
    struct row_place at = row_place(&s->geometry, slot);

    *row = at.row;
    return s->dir->pages[at.page];
}

ALWAYS_INLINE uint8_t *slots_row(const struct slots *s, slot_id slot)
{
    uint32_t row;
    struct page *p = slots_page(s, slot, &row);

    return p->rows + (size_t)row * s->geometry.row_bytes;
}

static inline bool slots_is_live(const struct slots *s, slot_id slot)
{
    uint32_t row;
    struct page *p;

    if (slot >= s->n_slots) {
        return false;
    }
    p = slots_page(s, slot, &row);
    return page_is_live(p, row);
}

static inline uint8_t *slots_side(const struct slots *s, slot_id slot)
{
    uint32_t row;
    struct page *p = slots_page(s, slot, &row);

    return p->side + (size_t)row * s->geometry.side_bytes;
}

/* ---- views ------------------------------------------------------------- */

/* What a search captures when it is dispatched; valid while its epoch ticket is
 * open. */
struct slots_view {
    const struct row_geometry *geometry;
    struct page *const *pages;
    struct row_map rows;
    uint32_t n_pages; /* that hold slots below n_slots */
    slot_id n_slots;
    uint32_t n_live;
    write_seq seq;
    const struct slots_tail *tail; /* see slots_tail_next() */
};

/* At the current sequence. */
void slots_view_take(const struct slots *s, struct slots_view *v);

static inline bool slots_view_sees(const struct slots_view *v, slot_id slot)
{
    struct row_place at = row_place(v->geometry, slot);

    return page_sees(v->pages[at.page], at.row, v->seq);
}

#endif
