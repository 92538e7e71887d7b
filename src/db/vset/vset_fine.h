/* The fine parts of a Q8 set's rows, and what they are good for.
 *
 * A set of VSET_FINE_FROM elements and more scores the best of each search once
 * more by the fine parts (vec/fine.h); below that it answers to the last digit
 * as Redis does. Rows have fine parts from the first one on, but for those that
 * come from Redis, of which only the codes are known.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_VSET_FINE_H
#define VECTRA_DB_VSET_FINE_H

#include "db/vset/vset.h"
#include "vec/fine.h"

enum { VSET_FINE_FROM = 1024 };

/* Says of all rows there are that only their codes are known. */
void vset_fine_have_none(struct vset *v);

/* Whether searches of it are to be finished by fine parts. */
bool vset_has_fine(const struct vset *v);

/* The row in a slot as vec/fine.h wants it. thread any, through a view. */
struct vec_fine_row vset_fine_row(const struct slots_view *view, slot_id slot);

#endif
