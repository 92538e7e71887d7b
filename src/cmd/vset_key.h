/* Keys that hold vector sets: what the handlers of the family share. */
#ifndef VECTRA_CMD_VSET_KEY_H
#define VECTRA_CMD_VSET_KEY_H

#include "cmd/cmd.h"
#include "db/vset/vset.h"

/* The set of a key, for reading.
 *
 * out    false: a reply of WRONGTYPE was given. True with *v NULL: there is no
 *        such key. */
bool vset_key_read(struct cmd_ctx *ctx, struct vset **v);

/* The same for a write; *e is the entry, NULL when there is none. */
bool vset_key_write(struct cmd_ctx *ctx, struct entry **e);

/* A new entry with an empty set; NULL when memory is out or none is allowed. */
struct entry *vset_key_create(struct keyspace *ks, int db, struct bytes key,
                              const struct vset_options *o);

/* Deletes the key of a set that has become empty, unless it was made to stay.
 */
void vset_key_drop_if_empty(struct keyspace *ks, int db, struct entry *e);

/* Replies the error of a failed vset operation. */
void vset_key_error(struct cmd_ctx *ctx, enum err err);

#endif
