/* Which elements of a set pass a filter, as far as searches have asked.
 *
 * Filters come again: the same few expressions with every search. So what a
 * search learns about an element's attribute stays with the set, two bits per
 * slot and expression, for the last few expressions. A search asks no filter
 * twice, later ones ask less and less, and when nearly all is known a rare
 * filter's elements are simply listed.
 *
 * What is remembered is about the attribute alone, not about whether an element
 * is there or visible: ask that as well.
 *
 *  M1  Bits are only ever set while a search may look. An attribute that
 * changes while searches are under way gets both bits, which means "ask": an
 * older search that notes what it saw changes nothing any more. M2  A slot that
 * is used again was invisible to every search under way, so none of them asks
 * for it, and its bits may be cleared.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_FILTER_MEMO_H
#define VECTRA_DB_FILTER_MEMO_H

#include "base/bytes.h"
#include "db/vset/vset.h"
#include "index/verdicts.h"

enum { MEMO_SEEDS = 32 };

struct filter_memo {
    struct filter_memo *next; /* of the set's, the last used first */
    uint32_t refs;
    uint32_t uses;
    slot_id asked_to; /* searches were told to ask about those below */
    uint32_t n_changed;
    /* Of a sample of the set. */
    uint32_t sampled, sample_passed;
    slot_id seeds[MEMO_SEEDS]; /* some that passed */
    uint32_t n_seeds;
    _Atomic uint32_t n_known, n_passing; /* about */
    struct verdicts verdicts;
    size_t text_len;
    char text[]; /* behind it the words of the verdicts */
};

/* The memo of an expression, for a search: owns a reference. NULL when the set
 * is small, or memory wanting. */
struct filter_memo *filter_memo_take(struct vset *v, struct bytes text);
void filter_memo_release(struct filter_memo *m);

/* An element's attribute changes. Before the next search. */
void filter_memos_note_change(struct vset *v, slot_id slot);

/* A slot is filled. */
void filter_memos_note_slot(struct vset *v, slot_id slot);

/* An element moves as it is: what is known of it goes with it. */
void filter_memos_note_move(struct vset *v, slot_id from, slot_id to);

/* thread any, when no search of the set is left. */
void filter_memos_free(struct vset *v);

/* ---- thread any ---------------------------------------------------------- */

/* Notes what a filter said. */
void filter_memo_note(struct filter_memo *m, slot_id slot, bool passes);

#endif
