/* 64-bit hashing of byte strings (XXH3), seeded per process so that nobody can
 * prepare colliding keys or element names. Use the bits as base/table.h says.
 */
#ifndef VECTRA_BASE_HASH_H
#define VECTRA_BASE_HASH_H

#include "base/bytes.h"

/* Sets the seed; once, before the first table is filled. */
void hash_set_seed(uint64_t seed);

uint64_t hash_bytes(const void *data, size_t len);

#endif
