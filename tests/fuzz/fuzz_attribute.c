/* Fuzzing attributes: the input is the JSON text.
 *
 * Its row must satisfy its invariants, be bounded by the text, be the same
 * bytes wherever it is built, and hold nothing that makes a fixed set of
 * filters, applied to every key that may stand in the text, read outside. */
#include <stdlib.h>
#include <string.h>

#include "filter/filter_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* %s is a key. Together they reach every operator and conversion. */
static const char *const patterns[] = {
    ".%s",
    ".%s == 'a' or .%s != 5 or .%s == null",
    ".%s + 1 > 2 ** .%s % 7 and .%s * .%s / 3 - 1 <= 4",
    "'a' in .%s or .%s in ['a',5,''] or 5 in .%s or null in .%s",
    ".%s in 'abc' or .%s in .%s or .%s < 1 or .%s >= 2 or !.%s",
};

enum { N_PATTERNS = ARRAY_LEN(patterns), MAX_KEYS = 32 };

static struct filter *compile_for(const char *pattern, struct bytes key)
{
    struct buf expr = BUF_INIT;
    struct filter *f = NULL;
    size_t at;
    enum err err;

    for (const char *p = pattern; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            buf_append_bytes(&expr, key);
            p++;
        } else {
            buf_append_byte(&expr, (uint8_t)*p);
        }
    }
    err = filter_compile(buf_bytes(&expr), &f, &at);
    ASSERT(err == ERR_OK);
    buf_deinit(&expr);
    return f;
}

static void match_all(struct bytes key, struct bytes json, struct bytes row)
{
    for (size_t i = 0; i < N_PATTERNS; i++) {
        struct filter *f = compile_for(patterns[i], key);
        bool first = filter_match(f, json, row);

        ASSERT(filter_match(f, json, row) == first);
        filter_destroy(f);
    }
}

/* Every run of name characters behind a quote may be a key. */
static void match_every_key(struct bytes json, struct bytes row)
{
    int n = 0;

    for (size_t i = 0; i + 1 < json.len && n < MAX_KEYS; i++) {
        size_t end = i + 1;

        if (json.data[i] != '"') {
            continue;
        }
        while (end < json.len && filter_is_name(json.data[end])) {
            end++;
        }
        if (end > i + 1) {
            match_all(bytes_of(json.data + i + 1, end - i - 1), json, row);
            n++;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes json = bytes_of(data, size);
    struct buf first = BUF_INIT;
    struct buf second = BUF_INIT;
    uint8_t *row = NULL;

    filter_row_build(json, &first);
    ASSERT(filter_row_validate(json, buf_bytes(&first)));
    ASSERT(first.len <= size / 2 * 9);

    buf_append_str(&second, "odd");
    filter_row_build(json, &second);
    ASSERT(second.len == first.len + 3);
    ASSERT(first.len == 0 ||
           memcmp(second.data + 3, first.data, first.len) == 0);

    /* exactly as long as the row, so that reading past it is seen */
    row = malloc(first.len + (first.len == 0));
    ASSERT(row);
    if (first.len) {
        memcpy(row, first.data, first.len);
    }
    match_every_key(json, bytes_of(row, first.len));
    free(row);
    buf_deinit(&first);
    buf_deinit(&second);
    return 0;
}
