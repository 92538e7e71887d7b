/* Walks an RDB file from its first byte to its last and checks what can be
 * checked without making values: lengths, encodings, the CRC-64, and in our
 * vector sets the CRC32C of each block. Files of Redis are walked as well, with
 * types that Vectra does not have.
 *
 * thread any. */
#ifndef VECTRA_TOOLS_CHECK_RDB_WALK_H
#define VECTRA_TOOLS_CHECK_RDB_WALK_H

#include "persist/rdb_read.h"

enum { CHECK_TYPES_MAX = 32 };

struct check_key {
    uint64_t db;
    struct bytes name;
    const char *type;   /* "string", a module's name, or Redis's words */
    uint64_t offset;    /* of the value's type byte */
    uint64_t bytes;     /* from there to the value's end */
    int64_t expires_ms; /* since 1970; -1: never */
    bool is_vset;
    uint64_t elements, dim; /* of a vector set */
};

struct check_type {
    char name[48];
    uint64_t keys, bytes, expiring, elements;
};

enum check_sum { CHECK_SUM_OK, CHECK_SUM_NONE };

struct check_rdb {
    /* Set by the caller, or NULL. */
    void (*on_aux)(void *arg, struct bytes name, struct bytes value);
    void (*on_key)(void *arg, const struct check_key *key);
    void *arg;

    /* Found. */
    int version;
    uint64_t bytes; /* read */
    uint64_t keys, expiring, blocks, functions;
    uint64_t databases; /* that were selected */
    struct check_type types[CHECK_TYPES_MAX];
    size_t n_types;
    enum check_sum sum;
};

/* Reads up to the checksum. More may follow: rdb_in_left() tells.
 *
 * fails  with words that begin with the offset and name the key. */
enum err check_rdb_walk(struct rdb_in *in, struct check_rdb *c,
                        struct err_ctx *ctx) MUST_USE;

#endif
