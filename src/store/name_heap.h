/* Element names: short byte strings, stored by the million.
 *
 * A name is a length byte (three more for names of 255 bytes and over) and its
 * bytes, in units of four, inside chunks that never move; a reference is the
 * unit's number, 4 bytes. Freed names are kept in lists by size and used again,
 * so a set whose names come and go stays the size it had. A name too long for
 * that gets a block of its own, and the heap holds a pointer to it.
 *
 * Chunks start at 64 bytes and double to 256 KiB, so a set of ten names stays
 * small.
 *
 *  H1  A reference is valid until name_heap_free(); names do not move.
 *
 * thread the loop writes; any reads a name whose reference it got from a slot
 * it sees. */
#ifndef VECTRA_STORE_NAME_HEAP_H
#define VECTRA_STORE_NAME_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/epoch.h"
#include "base/err.h"
#include "base/region.h"

typedef uint32_t name_ref;

enum {
    NAME_UNIT = 4,
    NAME_CLASSES = 64,     /* sizes in units that are recycled */
    NAME_FIRST_UNITS = 16, /* of the first chunk */
    NAME_CHUNK_UNITS = 65536,
};

struct name_chunks {
    struct retired retired;
    struct region *region;
    uint32_t cap;
    uint8_t *chunks[];
};

struct name_heap {
    struct region *region;
    struct epoch *epoch;
    _Atomic(struct name_chunks *) dir;
    uint32_t n_chunks;
    uint32_t used_units; /* of all chunks before the end, waste included */
    name_ref *free;      /* heads by class, NULL until a name was freed */
};

void name_heap_init(struct name_heap *h, struct region *region,
                    struct epoch *epoch);

/* Frees the chunks. Long names must have been freed one by one. */
void name_heap_deinit(struct name_heap *h);

/* fails  ERR_NOMEM; ERR_LIMIT when 16 GiB of names are there. */
enum err name_heap_add(struct name_heap *h, struct bytes name,
                       name_ref *ref) MUST_USE;
void name_heap_free(struct name_heap *h, name_ref ref);

/* Whether a name has a block of its own: see name_heap_deinit(). */
bool name_heap_is_long(const struct name_heap *h, name_ref ref);

/* Bytes the next name_heap_add() of that length may allocate. */
size_t name_heap_add_cost(const struct name_heap *h, size_t len);

/* Memory that n names of that length take. */
size_t name_heap_bytes_for(size_t n, size_t len);

struct bytes name_heap_get(const struct name_heap *h, name_ref ref);

/* Brings a name towards the cache; any ref will do. */
void name_heap_prefetch(const struct name_heap *h, name_ref ref);

#endif
