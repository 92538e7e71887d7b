/* The inside of an input: shared by rdb_in.c and rdb_read.c. */
#ifndef VECTRA_PERSIST_RDB_IN_IMPL_H
#define VECTRA_PERSIST_RDB_IN_IMPL_H

#include "persist/rdb_read.h"

enum { RDB_IN_BUFFER = 256 * 1024 }; /* longer things are read past it */

/* Always false. */
bool rdb_in_fail_truncated(struct rdb_in *in);

/* Has at least n bytes lie ready, n at most RDB_IN_BUFFER. */
bool rdb_in_refill(struct rdb_in *in, size_t n);
ALWAYS_INLINE bool rdb_in_ready(struct rdb_in *in, size_t n)
{
    return LIKELY(in->len - in->pos >= n && !in->err) || rdb_in_refill(in, n);
}

/* A little-endian number of n bytes. */
bool rdb_in_get_le(struct rdb_in *in, int n, uint64_t *value);

/* in->scratch: room for so much; what is large is not kept. */
bool rdb_in_grow_scratch(struct rdb_in *in, uint64_t cap);
void rdb_in_drop_scratch(struct rdb_in *in);

#endif
