/* Building rows: what a JSON text has to be, what is left out, sizes. */
#include <stdio.h>

#include "filter/filter_impl.h"
#include "unit/filter/filter_test.h"

static size_t row_size(const char *json)
{
    struct buf row = BUF_INIT;
    size_t len;

    filter_row_build(bytes_str(json), &row);
    assert_true(filter_row_validate(bytes_str(json), buf_bytes(&row)));
    len = row.len;
    buf_deinit(&row);
    return len;
}

/* True when the first key n is there and usable. */
static bool has_n(const char *json)
{
    return filter_result("(.n or 1) and 1", json) == 1;
}

#define HAS_N(...)                                                             \
    do {                                                                       \
        for (const char *const *t = LIST(__VA_ARGS__); *t; t++) {              \
            if (!has_n(*t)) {                                                  \
                fail_msg("n is missing in %s", *t);                            \
            }                                                                  \
        }                                                                      \
    } while (0)

#define LACKS_N(...)                                                           \
    do {                                                                       \
        for (const char *const *t = LIST(__VA_ARGS__); *t; t++) {              \
            if (has_n(*t)) {                                                   \
                fail_msg("n is found in %s", *t);                              \
            }                                                                  \
        }                                                                      \
    } while (0)

/* Documents whose n must be 7. */
#define N_IS_7(...)                                                            \
    do {                                                                       \
        for (const char *const *t = LIST(__VA_ARGS__); *t; t++) {              \
            if (filter_result(".n == 7", *t) != 1) {                           \
                fail_msg("n is not 7 in %s", *t);                              \
            }                                                                  \
        }                                                                      \
    } while (0)

/* ---- tolerance ----------------------------------------------------------- */

static void blanks_may_stand_between_tokens(void **state)
{
    (void)state;
    N_IS_7("{\"n\":7}", " {\"n\":7}", "\t\n\r\v\f{\"n\":7}", "{ \"n\" : 7 }",
           "{\"a\" : 1 , \"n\":7}", "{\"n\":\v7\f}");
}

static void text_after_the_value_is_not_inspected(void **state)
{
    (void)state;
    N_IS_7("{\"n\":7", "{\"n\":7 ", "{\"n\":7x", "{\"n\":7\"", "{\"n\":7}junk",
           "{\"n\":7]", "{\"n\":7{", "{\"n\":\"7\"x", "{\"n\":7,",
           "{\"n\":7,\"a", "{\"n\":7,,\"a\":1}", "{\"n\":7 \"n\":8}");
    FAILS("{\"n\":8} junk", ".n == 7");
    PASSES("{\"n\":8} junk", ".n == 8");
}

static void only_objects_have_keys(void **state)
{
    (void)state;
    LACKS_N("", " ", "7", "[{\"n\":7}]", "\"n\"", "x{\"n\":7}", "n:7",
            "\"n\":7", "null", "{{\"n\":7}}", "\xef\xbb\xbf{\"n\":7}");
    assert_int_equal(row_size("[{\"n\":7}]"), 0);
}

static void a_text_that_is_no_object_passes_constants(void **state)
{
    (void)state;
    PASSES("[]", "1");
    PASSES("", "1");
    PASSES("junk", "1", "'x'");
}

static void the_first_malformed_byte_ends_the_scan(void **state)
{
    (void)state;
    LACKS_N("{,\"n\":7}", "{\"a\":1,,\"n\":7}", "{\"a\":1;\"n\":7}",
            "{\"a\":1 \"n\":7}", "{\"a\",\"n\":7}", "{\"a\" \"n\":7}",
            "{a:1,\"n\":7}", "{'n':7}", "{\"n\"7}", "{\"n\"::7}",
            "{\"a\":,\"n\":7}", "{\"a\":xyz,\"n\":7}", "{\"a\":1x,\"n\":7}",
            "{\"a\":1 x,\"n\":7}", "{\"a\":\"x\"x,\"n\":7}",
            "{\"a\":truex,\"n\":7}", "{\"a\":tru,\"n\":7}",
            "{\"a\":nulL,\"n\":7}", "{\"a\":NaN,\"n\":7}", "{\"a\":1},\"n\":7}",
            "{\"a\":1}{\"n\":7}", "{} {\"n\":7}", "{\"a\":\"x,\"n\":7}");
}

static void unfinished_values_are_missing(void **state)
{
    (void)state;
    LACKS_N("{\"n", "{\"n\"", "{\"n\":", "{\"n\": ", "{\"n\":\"7",
            "{\"n\":\"7\\", "{\"n\":\"7\\\"", "{\"n\":[7", "{\"n\":[7,",
            "{\"n\":tru", "{\"n\":nul", "{\"n\":fals", "{\"n\":-", "{\"n\":7e",
            "{\"n\":{", "{\"n\":[\"7]}", "{\"n\":[[7]", "{\"n\\\":7");
    HAS_N("{\"n\":\"7\"", "{\"n\":[7]", "{\"n\":true", "{\"n\":null",
          "{\"n\":false", "{\"n\":7e1", "{\"n\":[]");
}

/* A value the scan can step over, well-formed or not. */
static void skipping_a_value_is_lenient(void **state)
{
    (void)state;
    N_IS_7("{\"a\":-,\"n\":7}", "{\"a\":1..2,\"n\":7}", "{\"a\":e5,\"n\":7}",
           "{\"a\":1-2-3e,\"n\":7}", "{\"a\":.,\"n\":7}",
           "{\"a\":[1 2],\"n\":7}", "{\"a\":[,,,],\"n\":7}",
           "{\"a\":[xyz],\"n\":7}", "{\"a\":[}],\"n\":7}",
           "{\"a\":{]},\"n\":7}", "{\"a\":{\"b\":x},\"n\":7}",
           "{\"a\":{\"b\":\"}\"},\"n\":7}", "{\"a\":{\"b\":\"\\\"}\"},\"n\":7}",
           "{\"a\":[\"]\"],\"n\":7}", "{\"a\":[[[[]]]],\"n\":7}",
           "{\"a\":{\"n\":8},\"n\":7}", "{\"a\":{\"b\":[{}],\"n\":9},\"n\":7}",
           "{\"a\":\"x\\\"\",\"n\":7}", "{\"a\":\"\x01\",\"n\":7}");
    LACKS_N("{\"a\":[{]}],\"n\":7}", "{\"a\":{\"b\":[}]},\"n\":7}",
            "{\"a\":[[[[]]],\"n\":7}", "{\"a\":{\"b},\"n\":7}",
            "{\"a\":[\"}],\"n\":7}", "{\"a\":{\"n\":8,\"n\":7}");
}

static void reading_a_value_is_strict(void **state)
{
    (void)state;
    LACKS_N("{\"n\":--7}", "{\"n\":.5}", "{\"n\":e5}", "{\"n\":7.1.1}",
            "{\"n\":7-1}", "{\"n\":+-7}", "{\"n\":1e5.5}", "{\"n\":True}",
            "{\"n\":truex}", "{\"n\":true1}", "{\"n\":true\"}", "{\"n\":null_}",
            "{\"n\":nan}", "{\"n\":Infinity}", "{\"n\":'7'}", "{\"n\":@7}");
    HAS_N("{\"n\":true}", "{\"n\":true ", "{\"n\":true,", "{\"n\":true]",
          "{\"n\":null}");
}

static void objects_are_missing(void **state)
{
    (void)state;
    LACKS_N("{\"n\":{}}", "{\"n\":{\"n\":7}}", "{\"a\":{\"n\":7}}",
            "{\"n\":[{}]}", "{\"n\":[1,{\"a\":1}]}", "{\"n\":[[1,[{}]]]}");
}

/* ---- values -------------------------------------------------------------- */

static void numbers_are_read_generously(void **state)
{
    (void)state;
    N_IS_7("{\"n\":7}", "{\"n\":07}", "{\"n\":+7}", "{\"n\":7.}", "{\"n\":7.0}",
           "{\"n\":70e-1}", "{\"n\":0.7E+1}", "{\"n\":00007}");
    PASSES("{\"n\":-7}", ".n == -7");
    PASSES("{\"n\":-.5}", ".n == -0.5");
    PASSES("{\"n\":1e999}", ".n > 1e300");
    PASSES("{\"n\":-1e999}", ".n < -1e300");
    PASSES("{\"n\":1e-400}", ".n == 0");
    PASSES("{\"n\":0x7}", ".n == 0"); /* 0, and then the scan ends */
    PASSES("{\"n\":0.1}", ".n == 0.1");
    PASSES("{\"n\":9007199254740993}", ".n == 9007199254740992");
    PASSES("{\"n\":true}", ".n == 1");
    PASSES("{\"n\":false}", ".n == 0");
}

static void numbers_may_have_any_number_of_digits(void **state)
{
    char json[2000];

    (void)state;
    snprintf(json, sizeof(json), "{\"n\":%01000d,\"m\":1}", 7);
    PASSES(json, ".n == 7", ".m");
    snprintf(json, sizeof(json), "{\"n\":[%01000d],\"m\":1}", 7);
    PASSES(json, "7 in .n", ".m");
}

static void escapes_are_decoded_without_unicode(void **state)
{
    (void)state;
    PASSES("{\"n\":\"a\\\"b\"}", ".n == 'a\"b'");
    PASSES("{\"n\":\"\\\\\\n\\r\\t\"}", ".n == '\\\\\n\r\t'");
    PASSES("{\"n\":\"\\u0041\"}", ".n == 'u0041'");
    PASSES("{\"n\":\"\\/\\b\\f\\x\"}", ".n == '/bfx'");
    PASSES("{\"n\":[\"\\\"\",\"b\"],\"m\":1}", "'\"' in .n", "'b' in .n", ".m");
    PASSES("{\"n\":\"\xc3\xa9\"}", ".n == '\xc3\xa9'");
}

static void the_first_of_equal_keys_wins(void **state)
{
    (void)state;
    PASSES("{\"n\":8,\"n\":7}", ".n == 8");
    LACKS_N("{\"n\":{},\"n\":7}", "{\"n\":[{}],\"n\":7}", "{\"n\":1e,\"n\":7}",
            "{\"n\":x,\"n\":7}");
}

static void keys_compare_as_raw_bytes(void **state)
{
    (void)state;
    N_IS_7("{\"\\u006e\":8,\"n\":7}", "{\"\\n\":8,\"n\":7}",
           "{\"\\\"\":8,\"n\":7}", "{\"N\":8,\"n\":7}", "{\"n \":8,\"n\":7}",
           "{\"\":8,\"n\":7}", "{\"nn\":8,\"n\":7}",
           "{\"\xc3\xa9\":8,\"n\":7}");
    LACKS_N("{\"N\":7}", "{\"n \":7}", "{\"\\u006e\":7}", "{\"nn\":7}");
}

static void arrays_are_strict_and_may_nest(void **state)
{
    (void)state;
    HAS_N("{\"n\":[]}", "{\"n\":[ ]}", "{\"n\":[[]]}", "{\"n\":[[],[[],1]]}",
          "{\"n\":[ 1 ,\t2 ]}", "{\"n\":[+1,-.5]}", "{\"n\":[true,null]}",
          "{\"n\":[\"]\"]}", "{\"n\":[1]x");
    LACKS_N("{\"n\":[,]}", "{\"n\":[1,]}", "{\"n\":[,1]}", "{\"n\":[1 2]}",
            "{\"n\":[1,,2]}", "{\"n\":[[],]}", "{\"n\":[[1 2]]}",
            "{\"n\":[.5]}", "{\"n\":[1e]}", "{\"n\":[tru]}", "{\"n\":[truex]}",
            "{\"n\":[true x]}", "{\"n\":[true\"a\"]}", "{\"n\":[1}",
            "{\"n\":[[]1]}", "{\"n\":[[1][2]]}", "{\"n\":[x]}");
    PASSES("{\"n\":[[1,5,\"x\"],\"y\",[]]}", "'y' in .n", "0 in .n",
           "!(5 in .n)");
}

static void nul_bytes_are_no_blanks_but_may_stand_in_strings(void **state)
{
    size_t at;

    (void)state;
    assert_int_equal(filter_try(B(".n"), B("\0{\"n\":7}"), &at), 0);
    assert_int_equal(filter_try(B(".n"), B("{\"n\":\0007}"), &at), 0);
    assert_int_equal(filter_try(B(".n"), B("{\"a\":\"\0\",\"n\":7}"), &at), 1);
}

/* ---- the bytes ----------------------------------------------------------- */

static void a_typical_row_takes_16_bytes_per_key(void **state)
{
    const char *json =
        "{\"len\":5,\"rank\":123,\"initial\":\"a\",\"vowels\":2}";

    (void)state;
    assert_int_equal(row_size(json), 64);
    PASSES(json, ".len > 3 and .initial == \"a\"", ".rank == 123",
           ".vowels in [1,2]");
}

static void keys_no_selector_can_name_take_no_room(void **state)
{
    (void)state;
    assert_int_equal(row_size("{\"a b\":[1,2],\"\":5,\"\\n\":\"\\n\"}"), 0);
    assert_int_equal(row_size("{\"a b\":[1,2],\"a\":5}"), 16);
}

static void a_row_takes_at_most_four_and_a_half_times_the_text(void **state)
{
    static const char *const patterns[] = {
        "\"a\":1,",
        "\"a\":{},",
        "\"a\":[],",
        "\"a\":\"\\n\",",
        "\"a\":[1,1,1,1,1,1,1,1,1],",
        "\"a\":[[],[],[],[]],",
        "\"a\":[\"\",\"\",\"\"],",
        "\"a\":[\"\\n\",\"\\n\"],",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct buf json = BUF_INIT;
        struct buf row = BUF_INIT;

        buf_append_byte(&json, '{');
        for (int n = 0; n < 1000; n++) {
            buf_append_str(&json, patterns[i]);
        }
        filter_row_build(buf_bytes(&json), &row);
        assert_in_range(row.len, 16000, json.len / 2 * 9);
        assert_true(filter_row_validate(buf_bytes(&json), buf_bytes(&row)));
        buf_deinit(&json);
        buf_deinit(&row);
    }
}

/* The same row at every alignment, appended to what is there. */
static void rows_work_anywhere(void **state)
{
    struct bytes json =
        B("{\"n\":7,\"s\":\"x\",\"q\":\"\\\"\",\"a\":[1,\"\\n\"],"
          "\"z\":null}");
    struct bytes expr = B(".n == 7 and .s == 'x' and .q == '\"' and "
                          "'\n' in .a and 1 in .a and .z == null");
    struct buf out = BUF_INIT;
    struct filter *f = NULL;
    size_t at;
    size_t first = 0;

    (void)state;
    assert_int_equal(filter_compile(expr, &f, &at), ERR_OK);
    for (size_t start = 0; start < 16; start++) {
        struct bytes row;

        out.len = 0;
        buf_append(&out, "0123456789abcdef", start);
        filter_row_build(json, &out);
        row = bytes_of(out.data + start, out.len - start);
        if (start == 0) {
            first = row.len;
        }
        assert_int_equal(row.len, first);
        assert_memory_equal(out.data, "0123456789abcdef", start);
        assert_true(filter_match(f, json, row));
    }
    filter_destroy(f);
    buf_deinit(&out);
}

/* Selectors that differ from a key in length or beyond its end. */
static void a_key_at_the_end_of_the_text_is_compared_inside_it(void **state)
{
    (void)state;
    FAILS("{\"key\":1", ".ke", ".keyy", ".keyyyyyyyyyyyyyyyyyyyyyyyy");
    PASSES("{\"key\":1", ".key");
}

static void validate_sees_broken_rows(void **state)
{
    struct bytes json =
        B("{\"n\":7,\"s\":\"x\",\"q\":\"\\\"\",\"a\":[1,\"y\"]}");
    struct buf row = BUF_INIT;

    (void)state;
    filter_row_build(json, &row);
    assert_int_equal(row.len, 4 * 16 + 1 + 2 * 9);
    assert_true(filter_row_validate(json, buf_bytes(&row)));
    for (size_t cut = 1; cut < row.len; cut++) {
        bool between = cut == 16 || cut == 32 || cut == 49;

        assert_int_equal(filter_row_validate(json, bytes_of(row.data, cut)),
                         between);
    }
    for (size_t i = 0; i < row.len; i++) {
        bool is_number = (i >= 8 && i < 16) || (i >= 66 && i < 74);
        bool is_decoded = i == 48;

        row.data[i] ^= 0x80;
        assert_int_equal(filter_row_validate(json, buf_bytes(&row)),
                         is_number || is_decoded);
        row.data[i] ^= 0x80;
    }
    buf_deinit(&row);
}

/* ---- hostile texts ------------------------------------------------------- */

static void try_deep(const char *before, char c, size_t n, const char *behind,
                     const char *expr, int wanted)
{
    struct buf json = BUF_INIT;
    size_t at;

    buf_append_str(&json, before);
    memset(buf_room(&json, n), c, n);
    json.len += n;
    buf_append_str(&json, behind);
    assert_int_equal(filter_try(bytes_str(expr), buf_bytes(&json), &at),
                     wanted);
    buf_deinit(&json);
}

static void ten_megabytes_of_nesting_neither_crash_nor_linger(void **state)
{
    const size_t n = 10 << 20;

    (void)state;
    try_deep("", '[', n, "", "1", 1);
    try_deep("{\"m\":1,\"n\":", '[', n, "", ".m", 1);
    try_deep("{\"m\":1,\"n\":", '[', n, "", ".n", 0);
    try_deep("{\"m\":1,\"n\":", '{', n, "", ".m", 1);
    try_deep("{\"m\":1,\"n\":[", ']', n, "", ".n", 1);
    try_deep("{\"n\":\"", '\\', n, "\"}", ".n == ''", 0);
    try_deep("", '{', n, "", "1", 1);
    try_deep("{\"n\":", '9', n, "}", ".n or 1", 0);
    try_deep("", ' ', n, "{\"n\":1}", ".n", 1);
}

static void nested_arrays_that_close_are_a_tuple(void **state)
{
    struct buf json = BUF_INIT;
    const size_t n = 1 << 20;
    size_t at;

    (void)state;
    buf_append_str(&json, "{\"n\":");
    memset(buf_room(&json, n), '[', n);
    json.len += n;
    memset(buf_room(&json, n), ']', n);
    json.len += n;
    buf_append_str(&json, ",\"m\":5}");
    assert_int_equal(
        filter_try(B("0 in .n and .m == 5"), buf_bytes(&json), &at), 1);
    buf_deinit(&json);
}

/* Every malformed array is read twice but no more. */
static void many_malformed_arrays_take_linear_time(void **state)
{
    struct buf json = BUF_INIT;
    size_t at;

    (void)state;
    buf_append_str(&json, "{");
    for (int i = 0; i < 100000; i++) {
        buf_append_str(&json, "\"a\":[[1,[2 3]]],");
    }
    buf_append_str(&json, "\"n\":7}");
    assert_int_equal(filter_try(B(".n == 7"), buf_bytes(&json), &at), 1);
    assert_int_equal(filter_try(B(".a or 1"), buf_bytes(&json), &at), 0);
    buf_deinit(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_may_stand_between_tokens),
        cmocka_unit_test(text_after_the_value_is_not_inspected),
        cmocka_unit_test(only_objects_have_keys),
        cmocka_unit_test(a_text_that_is_no_object_passes_constants),
        cmocka_unit_test(the_first_malformed_byte_ends_the_scan),
        cmocka_unit_test(unfinished_values_are_missing),
        cmocka_unit_test(skipping_a_value_is_lenient),
        cmocka_unit_test(reading_a_value_is_strict),
        cmocka_unit_test(objects_are_missing),
        cmocka_unit_test(numbers_are_read_generously),
        cmocka_unit_test(numbers_may_have_any_number_of_digits),
        cmocka_unit_test(escapes_are_decoded_without_unicode),
        cmocka_unit_test(the_first_of_equal_keys_wins),
        cmocka_unit_test(keys_compare_as_raw_bytes),
        cmocka_unit_test(arrays_are_strict_and_may_nest),
        cmocka_unit_test(nul_bytes_are_no_blanks_but_may_stand_in_strings),
        cmocka_unit_test(a_typical_row_takes_16_bytes_per_key),
        cmocka_unit_test(keys_no_selector_can_name_take_no_room),
        cmocka_unit_test(a_row_takes_at_most_four_and_a_half_times_the_text),
        cmocka_unit_test(rows_work_anywhere),
        cmocka_unit_test(a_key_at_the_end_of_the_text_is_compared_inside_it),
        cmocka_unit_test(validate_sees_broken_rows),
        cmocka_unit_test(ten_megabytes_of_nesting_neither_crash_nor_linger),
        cmocka_unit_test(nested_arrays_that_close_are_a_tuple),
        cmocka_unit_test(many_malformed_arrays_take_linear_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
