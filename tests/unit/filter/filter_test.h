/* What the tests of filters share: an expression against an attribute in one
 * call, every row and program checked on the way. */
#ifndef VECTRA_TESTS_UNIT_FILTER_TEST_H
#define VECTRA_TESTS_UNIT_FILTER_TEST_H

#include "unit/cm.h"

#include "filter/filter.h"

/* Bytes of a literal, NUL bytes inside it included. */
#define B(literal) bytes_of(literal, sizeof(literal) - 1)

/* A copy of exactly the given bytes, so that reading past them is seen. */
static inline struct bytes bytes_copy(struct bytes b)
{
    uint8_t *copy = malloc(b.len ? b.len : 1);

    assert_non_null(copy);
    if (b.len) {
        memcpy(copy, b.data, b.len);
    }
    return bytes_of(copy, b.len);
}

static inline void bytes_free(struct bytes b)
{
    free((void *)(uintptr_t)b.data);
}

/* 1 or 0: passes or not. -1: refused as a syntax error at *at, -2: any other
 * error. */
static inline int filter_try(struct bytes expr, struct bytes json, size_t *at)
{
    struct bytes e = bytes_copy(expr);
    struct bytes j = bytes_copy(json);
    struct buf built = BUF_INIT;
    struct filter *f = NULL;
    enum err err;
    int result = -2;

    err = filter_compile(e, &f, at);
    bytes_free(e); /* a filter keeps nothing of the text */
    if (err) {
        result = err == ERR_SYNTAX ? -1 : -2;
    } else {
        struct bytes row;

        assert_true(filter_validate(f));
        filter_row_build(j, &built);
        row = bytes_copy(buf_bytes(&built));
        assert_true(filter_row_validate(j, row));
        result = filter_match(f, j, row);
        bytes_free(row);
    }
    bytes_free(j);
    buf_deinit(&built);
    filter_destroy(f);
    return result;
}

static inline int filter_result(const char *expr, const char *json)
{
    size_t at;

    return filter_try(bytes_str(expr), bytes_str(json), &at);
}

/* A table of expressions with the same outcome for one attribute. */
static inline void expect_all(int wanted, const char *json,
                              const char *const *exprs)
{
    for (; *exprs; exprs++) {
        int got = filter_result(*exprs, json);

        if (got != wanted) {
            fail_msg("%s on %s: %d, not %d", *exprs, json, got, wanted);
        }
    }
}

#define LIST(...)         ((const char *const[]){__VA_ARGS__, NULL})
#define PASSES(json, ...) expect_all(1, json, LIST(__VA_ARGS__))
#define FAILS(json, ...)  expect_all(0, json, LIST(__VA_ARGS__))
#define REFUSED(...)      expect_all(-1, "{}", LIST(__VA_ARGS__))

#endif
