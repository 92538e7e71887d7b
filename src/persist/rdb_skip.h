/* Stepping over what Vectra does not have: every type of value and every
 * opcode of RDB versions 1 to 12, without understanding more of it than where
 * it ends.
 *
 * thread one at a time. */
#ifndef VECTRA_PERSIST_RDB_SKIP_H
#define VECTRA_PERSIST_RDB_SKIP_H

#include "persist/rdb_read.h"

/* "list (quicklist)" and the like; NULL when there is no such type. */
const char *rdb_type_name(uint8_t type);

/* Steps over a value whose type byte, and of a module's value the id, was read.
 *
 * fails  ERR_UNSUPPORTED for types that cannot be stepped over, which no
 *        release of Redis wrote. */
bool rdb_skip_value(struct rdb_in *in, uint8_t type) MUST_USE;

/* Steps over the fields of a module's value or aux record, end included. */
bool rdb_skip_module(struct rdb_in *in) MUST_USE;

/* Steps over what follows one of the opcodes 244 to 249, which are about things
 * Vectra does not have. */
bool rdb_skip_opcode(struct rdb_in *in, uint8_t opcode) MUST_USE;

#endif
