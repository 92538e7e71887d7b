/* SHA-1 (DEBUG DIGEST) and SHA-256 (passwords), from OpenSSL. */
#ifndef VECTRA_BASE_DIGEST_H
#define VECTRA_BASE_DIGEST_H

#include <stdbool.h>

#include "base/bytes.h"

enum { DIGEST_SHA1 = 20, DIGEST_SHA256 = 32 };

void digest_sha1(struct bytes data, uint8_t out[DIGEST_SHA1]);
void digest_sha256(struct bytes data, uint8_t out[DIGEST_SHA256]);

/* Comparison in a time that does not depend on where they differ. */
bool digest_equal(const void *a, const void *b, size_t len);

#endif
