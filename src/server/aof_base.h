/* A base as commands: what aof-use-rdb-preamble no writes.
 *
 * thread a forked child's; no allocation, no lock. */
#ifndef VECTRA_SERVER_AOF_BASE_H
#define VECTRA_SERVER_AOF_BASE_H

#include "db/keyspace.h"
#include "persist/rdb_write.h"

/* Writes all of the keyspace. counter is another one, onto /dev/null, with a
 * checksum, for working out lengths beforehand. */
void aof_base_write(struct rdb_out *out, struct rdb_out *counter,
                    const struct keyspace *ks);

#endif
