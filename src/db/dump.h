/* Values on their own, as DUMP gives them and RESTORE takes them: the type
 * byte, the value as in a snapshot, the RDB version in two bytes and the CRC-64
 * of all that in eight, little-endian. What Redis dumped can be restored here,
 * and strings dumped here in Redis.
 *
 * thread loop, or who holds the baton. */
#ifndef VECTRA_DB_DUMP_H
#define VECTRA_DB_DUMP_H

#include "db/value_file.h"

/* Appends an entry's value.
 *
 * fails  ERR_NOMEM: it cannot be written down. */
enum err dump_write(const struct entry *e, struct buf *out) MUST_USE;

/* The same, of a long value in parts: go_on() is called between two of them,
 * and when it says no the entry is not looked at any more.
 *
 * fails  ERR_TIMEOUT then. */
enum err dump_write_while(const struct entry *e, struct buf *out,
                          bool (*go_on)(void *arg), void *arg) MUST_USE;

/* Whether a payload ends as it should. It is summed up in parts: true when
 * there is more to do, else *intact tells.
 *
 * in     zeros but for the payload. */
struct dump_check {
    struct bytes payload;
    size_t at;
    uint64_t sum;
    bool intact;
};
bool dump_check_step(struct dump_check *c, size_t most);

/* Reads an intact payload. stop() is called now and then: true ends it.
 *
 * owns   caller, see value_load().
 * fails  with words. */
struct dump_reader {
    struct bytes payload;
    bool (*stop)(void *arg);
    void *stop_arg;
};
enum err dump_read(const struct dump_reader *r, struct keyspace *ks,
                   struct database *d, struct value *out,
                   struct err_ctx *why) MUST_USE;

#endif
