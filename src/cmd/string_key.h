/* Keys that hold strings: what the handlers of the family share. */
#ifndef VECTRA_CMD_STRING_KEY_H
#define VECTRA_CMD_STRING_KEY_H

#include "cmd/cmd.h"
#include "db/string_value.h"

/* The entry of argv[1], for reading.
 *
 * out    false: a reply of WRONGTYPE was given. True with *e NULL: there is no
 *        such key. */
bool string_key_read(struct cmd_ctx *ctx, struct entry **e);

/* The same for a write. */
bool string_key_write(struct cmd_ctx *ctx, struct entry **e);

/* The same for a write that adds the key where there is none, with the integer
 * 0. *added tells; the caller then gives it a value, or deletes it.
 *
 * in     len: how long the value will be, for `maxmemory`.
 * out    false: a reply was given, also when memory is out. */
bool string_key_write_or_add(struct cmd_ctx *ctx, size_t len, struct entry **e,
                             bool *added);

/* Replies the value of an entry as a bulk string. */
void string_key_reply(struct cmd_ctx *ctx, const struct entry *e);

/* Whether `maxmemory` leaves room for a value of that length under a key, whose
 * present value counts as kept until the new one is there. */
bool string_key_has_room(struct cmd_ctx *ctx, struct bytes key, size_t len);

/* Replies the error of a failed operation of string_value.h. */
void string_key_error(struct cmd_ctx *ctx, enum err err);

#endif
