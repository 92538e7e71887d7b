/* Copying rows that may be written meanwhile: see vec.h. */
#include "vec/vec.h"

typedef uint64_t quad __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t word __attribute__((may_alias));

void vec_copy_row(const struct vec_format *f, const uint8_t *row, uint8_t *out)
{
    uint32_t at = 0;

    /* Volatile, or the compiler makes a call of it, and what is called is
     * checked for races. */
    for (; at + sizeof(quad) <= f->row_bytes; at += sizeof(quad)) {
        *(quad *)(void *)(out + at) =
            *(const volatile quad *)(const void *)(row + at);
    }
    for (; at < f->row_bytes; at += sizeof(word)) {
        *(word *)(void *)(out + at) =
            *(const volatile word *)(const void *)(row + at);
    }
}
