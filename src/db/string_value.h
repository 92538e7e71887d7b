/* String values: integers kept as integers, everything else as bytes.
 *
 * thread loop only. */
#ifndef VECTRA_DB_STRING_VALUE_H
#define VECTRA_DB_STRING_VALUE_H

#include "base/num.h"
#include "db/keyspace.h"

enum {
    STRING_SHORT_MAX = 44,     /* longer ones are "raw" to clients */
    STRING_LEN_MAX = 512 << 20 /* what APPEND and SETRANGE may make */
};

/* The bytes of a value; an integer is written into `text`, of NUM_TEXT_MAX. */
struct bytes string_get(const struct entry *e, char *text);
size_t string_len(const struct entry *e);

/* Replaces the value of an entry, whatever it was. Text that is an integer is
 * kept as one.
 *
 * fails  ERR_NOMEM, the entry unchanged. */
enum err string_set(struct keyspace *ks, struct entry *e,
                    struct bytes text) MUST_USE;

/* The same, but an integer too is kept as the text it came as. */
enum err string_set_text(struct keyspace *ks, struct entry *e,
                         struct bytes text) MUST_USE;
void string_set_int(struct keyspace *ks, struct entry *e, int64_t number);

/* The value as an integer; false when it is not one. */
bool string_as_int(const struct entry *e, int64_t *out);

/* Makes the value `len` bytes of text that may be written through *text, those
 * past its old length zero. The encoding becomes raw.
 *
 * fails  ERR_NOMEM, the entry unchanged. */
enum err string_resize(struct entry *e, size_t len, uint8_t **text) MUST_USE;

#endif
