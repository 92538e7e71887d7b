/* Growth, release and formatting of struct buf. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/mem_map.h"

enum {
    BUF_MIN = 64,
    BUF_DOUBLING_MAX = 1 << 20,
    BUF_MAPPED = 4 << 20, /* from here on growing copies nothing */
};

static void resize(struct buf *b, size_t cap)
{
    void *p;

    if (cap < BUF_MAPPED) {
        b->data = mem_realloc(b->data, cap);
        b->cap = cap;
        return;
    }
    cap = mem_map_size(cap);
    if (b->cap >= BUF_MAPPED) {
        p = mem_map_resize(b->data, b->cap, cap);
    } else {
        p = mem_map_resize(NULL, 0, cap);
        if (b->len) {
            memcpy(p, b->data, b->len);
        }
        mem_free(b->data);
    }
    b->data = p;
    b->cap = cap;
}

void buf_grow(struct buf *b, size_t more)
{
    size_t need = b->len + more;
    size_t cap = b->cap ? b->cap : BUF_MIN;

    ASSERT(need >= b->len);
    while (cap < need) {
        cap += cap < BUF_DOUBLING_MAX ? cap : cap / 4;
    }
    resize(b, cap);
}

void buf_deinit(struct buf *b)
{
    if (b->cap >= BUF_MAPPED) {
        mem_map_free(b->data, b->cap);
    } else {
        mem_free(b->data);
    }
    *b = BUF_INIT;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    ASSERT(n >= 0);
    vsnprintf((char *)buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->len);
    b->len -= n;
    if (b->len) {
        memmove(b->data, b->data + n, b->len);
    }
}
