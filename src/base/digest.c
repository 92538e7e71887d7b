#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

void digest_sha1(struct bytes data, uint8_t out[DIGEST_SHA1])
{
    SHA1(data.data, data.len, out);
}

void digest_sha256(struct bytes data, uint8_t out[DIGEST_SHA256])
{
    SHA256(data.data, data.len, out);
}

bool digest_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
