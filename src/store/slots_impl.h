/* The inside of slots: shared by slots*.c and elements*.c. */
#ifndef VECTRA_STORE_SLOTS_IMPL_H
#define VECTRA_STORE_SLOTS_IMPL_H

#include "store/slots_blocks.h"

/* ---- slots.c ------------------------------------------------------------- */

/* Pages for slots below n. fails  ERR_NOMEM. */
enum err slots_fit_pages(struct slots *s, uint64_t n) MUST_USE;

/* ---- slots_blocks.c: what slots.c tells it, when blocks are kept --------- */

/* Room for what is kept of slots below n. fails  ERR_NOMEM. */
enum err slots_blocks_fit(struct slots *s, uint64_t n) MUST_USE;
size_t slots_blocks_fit_cost(const struct slots *s, uint64_t n);

/* A slot is taken; and it is neither that nor live nor in limbo any more. */
void slots_blocks_note_seen(struct slots *s, slot_id slot);
void slots_blocks_note_unseen(struct slots *s, slot_id slot);

/* A slot is free; many are. */
void slots_blocks_note_free(struct slots *s, slot_id slot);
void slots_blocks_note_bunch(struct slots *s, const struct slot_bunch *b);

/* A free slot of a general block, SLOT_NONE when there is none. */
slot_id slots_blocks_take_used(struct slots *s);
bool slots_blocks_have_free(const struct slots *s);

/* What counts again when the next is taken: a page that sleeps. */
size_t slots_blocks_take_cost(const struct slots *s);

void slots_blocks_free(struct slots *s);
void slots_blocks_validate(const struct slots *s);

/* ---- elements.c ---------------------------------------------------------- */

/* Reserves what moving a live row into a free lane needs and takes the lane;
 * slots_publish() and slots_kill() end it.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err slots_take_lane(struct slots *s, slot_id from, slot_id lane) MUST_USE;

#endif
