/* Reading vector sets: shared by vset_load.c and vset_import.c. */
#ifndef VECTRA_DB_VSET_LOAD_H
#define VECTRA_DB_VSET_LOAD_H

#include "db/vset/vset_image_impl.h"

/* A set to be filled that is to have so many rows; it counts in the database,
 * its elements not yet. fails  NULL. */
struct vset *vset_load_begin(struct keyspace *ks, struct database *db,
                             const struct vset_options *o, uint64_t n_rows);

/* It comes to nothing. */
void vset_load_abandon(struct vset *v);

/* Gives an element that has none an attribute, if the text is not empty.
 *
 * fails  ERR_NOMEM, ERR_LIMIT. */
enum err vset_load_attribute(struct vset *v, slot_id slot,
                             struct bytes text) MUST_USE;

/* Reads a set in Redis's form. fails  NULL, the words in->why. */
struct vset *vset_import(struct rdb_in *in, struct keyspace *ks,
                         struct database *db) MUST_USE;

#endif
