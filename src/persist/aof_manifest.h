/* The manifest of a log: which files it consists of, in the form Redis 7 and
 * later read and write.
 *
 *     file appendonly.aof.2.base.rdb seq 2 type b
 *     file appendonly.aof.3.incr.aof seq 3 type i startoffset 4711
 *
 * One base at most, then the increments in order of their numbers; files of
 * type h are no longer part of it and may be removed. startoffset is the LSN
 * at which an increment begins. docs/formats/aof.md has the details.
 *
 * thread any; a manifest is a value. */
#ifndef VECTRA_PERSIST_AOF_MANIFEST_H
#define VECTRA_PERSIST_AOF_MANIFEST_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    AOF_NAME_MAX = 255,
    AOF_MANIFEST_MAX = 1 << 20, /* bytes of the file */
};

enum aof_type { AOF_BASE = 'b', AOF_INCR = 'i', AOF_HISTORY = 'h' };

struct aof_entry {
    char name[AOF_NAME_MAX + 1]; /* in the log's directory; no path */
    uint64_t seq;
    enum aof_type type;
    int64_t start_lsn; /* of an increment; -1: not told */
    int64_t end_lsn;
};

/* M1  At most one entry is a base; numbers of increments rise. */
struct aof_manifest {
    struct aof_entry *entries; /* in the order of the file */
    size_t n, cap;
    uint64_t base_seq, incr_seq; /* the highest given so far */
};

void aof_manifest_init(struct aof_manifest *m);
void aof_manifest_deinit(struct aof_manifest *m);
void aof_manifest_copy(struct aof_manifest *to,
                       const struct aof_manifest *from);

/* The base; NULL without one. */
const struct aof_entry *aof_manifest_base(const struct aof_manifest *m);

/* The i-th increment; NULL past the last. */
const struct aof_entry *aof_manifest_incr(const struct aof_manifest *m,
                                          size_t i);
size_t aof_manifest_incr_count(const struct aof_manifest *m);

/* Adds the next increment of a log whose files are called `name`: it becomes
 * NAME.SEQ.incr.aof. */
const struct aof_entry *aof_manifest_add_incr(struct aof_manifest *m,
                                              const char *name, uint64_t lsn);

/* The name the next base is to have: NAME.SEQ.base.rdb or .aof. */
void aof_manifest_next_base(const struct aof_manifest *m, const char *name,
                            bool rdb, char out[AOF_NAME_MAX + 1]);

/* Puts a base of that name, with the next number, in the place of the present
 * one and of all increments but the last `keep`; those become history. */
void aof_manifest_set_base(struct aof_manifest *m, const char *name,
                           size_t keep);

/* Adds an increment of another manifest, whose number is higher. */
void aof_manifest_add(struct aof_manifest *m, const struct aof_entry *e);

/* Adds a file that is no part of the log. */
void aof_manifest_add_history(struct aof_manifest *m, const char *name);

/* Forgets history. */
void aof_manifest_drop_history(struct aof_manifest *m);

/* fails  ERR_CORRUPT with words that name the line; *m is not initialised. */
enum err aof_manifest_parse(struct aof_manifest *m, struct bytes text,
                            struct err_ctx *ctx) MUST_USE;
void aof_manifest_format(const struct aof_manifest *m, struct buf *out);

#endif
