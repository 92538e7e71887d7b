/* A growable byte buffer, owned by whoever embeds it.
 *
 * Replies, outgoing sockets and formatted text are built in one. Growth doubles
 * up to 1 MiB and then adds a quarter, so appending is amortised O(1); from
 * 4 MiB on it moves no bytes (base/mem_map.h).
 * Appending aborts on out-of-memory; sizes a client chooses are checked before.
 */
#ifndef VECTRA_BASE_BUF_H
#define VECTRA_BASE_BUF_H

#include <string.h>

#include "base/bytes.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

/* Makes room for `more` bytes past len. */
void buf_grow(struct buf *b, size_t more);

/* Frees the memory; the buffer is empty and usable afterwards. */
void buf_deinit(struct buf *b);

/* Appends printf-formatted text. */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Drops the first n bytes, moving the rest down. */
void buf_consume(struct buf *b, size_t n);

/* Room for n bytes at the end; the caller writes them and adds to len. */
ALWAYS_INLINE uint8_t *buf_room(struct buf *b, size_t n)
{
    if (UNLIKELY(b->cap - b->len < n)) {
        buf_grow(b, n);
    }
    return b->data + b->len;
}

ALWAYS_INLINE void buf_append(struct buf *b, const void *data, size_t n)
{
    if (n) {
        memcpy(buf_room(b, n), data, n);
        b->len += n;
    }
}

ALWAYS_INLINE void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

ALWAYS_INLINE void buf_append_bytes(struct buf *b, struct bytes s)
{
    buf_append(b, s.data, s.len);
}

ALWAYS_INLINE void buf_append_byte(struct buf *b, uint8_t c)
{
    *buf_room(b, 1) = c;
    b->len++;
}

static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_of(b->data, b->len);
}

#endif
