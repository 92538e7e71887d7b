/* Elements that come from a file, with the slots they had.
 *
 *     elements_image_expect()    so many there will be
 *     slots_extend()             some slots, dead
 *     (the caller fills in rows)
 *     elements_image_add()       one of them gets a name and lives
 *     elements_image_finish()    those that are left over become free
 *
 * Nobody looks at the elements meanwhile; they may be freed at any point.
 *
 * thread loop. */
#ifndef VECTRA_STORE_ELEMENTS_IMAGE_H
#define VECTRA_STORE_ELEMENTS_IMAGE_H

#include "store/elements.h"

/* So many are to be added to elements that have none; at first, or never.
 *
 * fails  ERR_NOMEM. */
enum err elements_image_expect(struct elements *e, uint32_t n) MUST_USE;

/* Gives a dead slot a name and makes it live.
 *
 * fails  ERR_EXISTS: the name is there; ERR_NOMEM, ERR_LIMIT. */
enum err elements_image_add(struct elements *e, slot_id slot, struct bytes name,
                            uint64_t hash) MUST_USE;

/* Slots that are neither live nor held by an index go on the free list, the
 * lowest first; holds() is asked about each dead one. */
void elements_image_finish(struct elements *e,
                           bool (*holds)(const void *arg, slot_id slot),
                           const void *arg);

#endif
