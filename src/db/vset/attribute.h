/* An element's attribute: the JSON text as it was given, with the typed row
 * that filters read (filter/filter.h) beside it.
 *
 * An attribute is replaced, never changed. While searches are under way the new
 * one remembers the old and the sequence at which it took over, so that a
 * search reads the attribute as it was when the search was dispatched.
 *
 * thread the loop makes and frees; any reads. */
#ifndef VECTRA_DB_ATTRIBUTE_H
#define VECTRA_DB_ATTRIBUTE_H

#include "base/buf.h"
#include "base/epoch.h"
#include "base/region.h"

struct attribute;

/* older: the attribute this one replaces while searches are under way, at
 * sequence `born`; NULL and 0 otherwise. An empty text stands for "none" and
 * makes sense only with an older one. `work` is a buffer to build in.
 *
 * fails  NULL when memory is out. */
struct attribute *attribute_create(struct region *region, struct bytes json,
                                   const struct attribute *older,
                                   write_seq born, struct buf *work);
void attribute_free(struct region *region, struct attribute *a);

/* Bytes attribute_create() will about take. */
size_t attribute_cost(struct bytes json);

/* The attribute as of a sequence; NULL when there was none. */
const struct attribute *attribute_at(const struct attribute *a, write_seq seq);

struct bytes attribute_text(const struct attribute *a);
struct bytes attribute_row(const struct attribute *a);

#endif
