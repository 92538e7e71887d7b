/* The whole keyspace as bytes, and back: an RDB file, which Redis's tools can
 * walk (docs/formats/rdb.md).
 *
 * Writing reads the keyspace and changes nothing, so a forked child does it on
 * its copy without allocating. Reading adds key after key; what was read before
 * an error stays, for the caller to throw away.
 *
 * thread the keyspace's owner: the loop, a forked child, or who holds the
 * baton. */
#ifndef VECTRA_DB_SNAPSHOT_H
#define VECTRA_DB_SNAPSHOT_H

#include "db/value_file.h"

#define SNAPSHOT_REDIS_VERSION "8.0.6"

/* What is said about a snapshot in its AUX fields. */
struct snapshot_about {
    bool is_aof_base;
    int64_t lsn; /* where the command stream goes on; negative: not said */
};

/* How far a snapshot being written has come; tick, where there is one, is
 * called after every key. */
struct snapshot_progress {
    uint64_t keys;
    void (*tick)(void *arg);
    void *arg;
};

/* Writes all of it, end and checksum included; rdb_out_finish() tells whether
 * it could be. */
void snapshot_write(struct rdb_out *out, const struct keyspace *ks,
                    const struct snapshot_about *about,
                    struct snapshot_progress *progress);

struct snapshot_load {
    /* Wanted. */
    bool skip_unknown; /* types that Vectra does not have: skip, not fail */
    bool keep_expired; /* what has expired is loaded all the same */
    bool replace;      /* a key that is there gives way; else it is an error */
    void (*tick)(void *arg); /* after every key, when not NULL */
    void *arg;
    /* Found. */
    struct snapshot_about about;
    uint64_t keys, expired, skipped, functions;
};

/* Reads up to the end of the snapshot and its checksum; more input may follow.
 *
 * fails  ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NOMEM, ERR_IO, ERR_EXISTS; ctx names
 *        the offset and, in a value, the key. What was read stays. */
enum err snapshot_read(struct rdb_in *in, struct keyspace *ks,
                       struct snapshot_load *load,
                       struct err_ctx *ctx) MUST_USE;

#endif
