/* Values as bytes: the one form in which snapshots, DUMP, RESTORE and COPY
 * carry them, that of the RDB container (persist/rdb_write.h).
 *
 *     value_save(): the entry's value, behind its type byte and, in a file, its
 *                   key, which are the caller's to write.
 *     value_load(): a value of its own, which no entry has yet, so that a value
 *                   that turns out to be damaged has changed nothing.
 *
 * thread loop, or who holds the baton; value_save() a forked child, too. */
#ifndef VECTRA_DB_VALUE_FILE_H
#define VECTRA_DB_VALUE_FILE_H

#include "db/keyspace.h"
#include "persist/rdb_read.h"
#include "persist/rdb_write.h"

/* A value that belongs to no entry. */
struct value {
    union {
        int64_t number;
        uint8_t *text;
        struct vset *vset;
    } as;
    uint32_t text_len;
    uint8_t type;     /* enum value_type */
    uint8_t encoding; /* enum value_encoding */
};

/* The type byte of an entry's value, of enum rdb_type. */
uint8_t value_file_type(const struct entry *e);

/* Writes the value.
 *
 * cost   no allocation and no lock; the entry may be as large as it likes. */
void value_save(struct rdb_out *out, const struct entry *e);

/* Reads a value whose type byte was read. A vector set counts in database d
 * from then on.
 *
 * owns   caller: value_adopt() or value_discard().
 * fails  ERR_UNSUPPORTED for a type that Vectra does not have, with nothing
 *        read but, of a module's value, the module id, which *module_id then
 *        tells (else 0); in->err for everything else. */
enum err value_load(struct rdb_in *in, uint8_t file_type, struct keyspace *ks,
                    struct database *d, struct value *out,
                    uint64_t *module_id) MUST_USE;

/* Gives a value to an entry, whose own is dropped. */
void value_adopt(struct keyspace *ks, struct entry *e, struct value *v);
void value_discard(struct keyspace *ks, struct value *v);

#endif
