/* Digests of values and databases, as DEBUG DIGEST and DIGEST-VALUE give them:
 * equal with Redis's, byte for byte, for equal data.
 *
 * Two operations build everything from SHA-1 (Redis's names for them are xor
 * and mix):
 *
 *     X(d, b) = d xor SHA1(b)         in any order
 *     M(d, b) = SHA1(d xor SHA1(b))   in this order
 *
 * A vector set is X over its elements and one of its size and dimension, so the
 * order in which elements lie does not count; neither do their links or ids.
 *
 * thread loop only. */
#ifndef VECTRA_DB_VALUE_DIGEST_H
#define VECTRA_DB_VALUE_DIGEST_H

#include "base/digest.h"
#include "db/keyspace.h"
#include "store/slots.h"

struct value_digest {
    uint8_t bytes[DIGEST_SHA1];
};

void value_digest_clear(struct value_digest *d);
bool value_digest_is_clear(const struct value_digest *d);
void value_digest_xor(struct value_digest *d, struct bytes b);
void value_digest_mix(struct value_digest *d, struct bytes b);
void value_digest_mix_u32(struct value_digest *d, uint32_t n); /* big-endian */

/* The digest of one entry, in steps, since a set may have many elements. The
 * set is taken as it is when begun, whatever is written meanwhile: the digest
 * holds an epoch ticket like a search does.
 *
 *     value_digest_begin(&w, ks, e, &d);
 *     while (!value_digest_step(&w, 64)) { ... }
 *
 * after which d is continued by the entry's value, type and expiry. */
struct value_digest_walk {
    struct value_digest *digest; /* the caller's */
    const struct vset *set;      /* NULL: nothing left to walk */
    struct epoch *epoch;
    uint64_t ticket;
    struct slots_view view;
    slot_id at;
    bool has_expiry;
    struct value_digest sum;
};

/* in     a walk that has ended or was never begun (zeroed). The entry is not
 *        looked at again. */
void value_digest_begin(struct value_digest_walk *w, struct keyspace *ks,
                        const struct entry *e, struct value_digest *d);

/* Digests up to `want` slots; true when all is done. */
bool value_digest_step(struct value_digest_walk *w, uint32_t want);

/* Ends a walk early. */
void value_digest_cancel(struct value_digest_walk *w);

#endif
