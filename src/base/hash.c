#include "base/hash.h"

/* The header's inline form: the names hashed here are short, and a call into
 * the shared library costs as much as the hash. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed;

void hash_set_seed(uint64_t value)
{
    seed = value;
}

uint64_t hash_bytes(const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
