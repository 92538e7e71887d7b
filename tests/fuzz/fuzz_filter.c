/* Fuzzing expressions: the input up to the first NUL byte is compiled and, if
 * it is one, matched against the row of what follows.
 *
 * Checked besides memory: the program's invariants, that an error position is
 * inside the expression or the whole is meant, and that the answer does not
 * depend on where the expression, the text and the row lie. */
#include <stdlib.h>
#include <string.h>

#include "filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A heap block of exactly this size, `shift` bytes off alignment. */
static struct bytes copy_of(struct bytes b, size_t shift, void **block)
{
    uint8_t *p = malloc(b.len + shift + (b.len + shift == 0));

    ASSERT(p);
    if (b.len) {
        memcpy(p + shift, b.data, b.len);
    }
    *block = p;
    return bytes_of(p + shift, b.len);
}

static bool match_at(const struct filter *f, struct bytes json,
                     struct bytes row, size_t shift)
{
    void *json_block;
    void *row_block;
    struct bytes j = copy_of(json, shift, &json_block);
    struct bytes r = copy_of(row, shift, &row_block);
    bool passes = filter_match(f, j, r);

    free(json_block);
    free(row_block);
    return passes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    size_t expr_len = nul ? (size_t)(nul - data) : size;
    struct bytes json = BYTES_NONE;
    struct buf row = BUF_INIT;
    struct filter *f = NULL;
    void *expr_block;
    struct bytes expr = copy_of(bytes_of(data, expr_len), 0, &expr_block);
    size_t at = expr.len + 1;
    enum err err = filter_compile(expr, &f, &at);

    free(expr_block);
    if (err) {
        ASSERT(err == ERR_SYNTAX || err == ERR_LIMIT);
        ASSERT(at <= expr.len && f == NULL);
        return 0;
    }
    ASSERT(filter_validate(f));
    if (nul) {
        json = bytes_of(nul + 1, size - expr_len - 1);
    }
    filter_row_build(json, &row);
    ASSERT(match_at(f, json, buf_bytes(&row), 0) ==
           match_at(f, json, buf_bytes(&row), 1));
    buf_deinit(&row);
    filter_destroy(f);
    return 0;
}
