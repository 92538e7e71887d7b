/* A borrowed run of bytes: a view into somebody else's memory, valid as long
 * as that memory is. Command arguments, element names and blobs travel as
 * views so that nothing is copied before it is stored. */
#ifndef VECTRA_BASE_BYTES_H
#define VECTRA_BASE_BYTES_H

#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

struct bytes {
    const uint8_t *data;
    size_t len;
};

#define BYTES_NONE ((struct bytes){NULL, 0})

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, len};
}

static inline struct bytes bytes_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Bytewise order; a prefix sorts before what it is a prefix of. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;

    if (c) {
        return c;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline uint8_t bytes_fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Equality with a C string, ASCII letters compared without case. */
static inline bool bytes_equal_fold(struct bytes b, const char *word)
{
    size_t i;

    for (i = 0; i < b.len; i++) {
        if (word[i] == '\0' ||
            bytes_fold(b.data[i]) != bytes_fold((uint8_t)word[i])) {
            return false;
        }
    }
    return word[i] == '\0';
}

#endif
