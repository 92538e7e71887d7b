/* What expressions mean: operators, conversions, missing values. */
#include <stdio.h>

#include "unit/filter/filter_test.h"

/* The attribute most tests look at. */
static const char attr[] =
    "{\"n\":5,\"s\":\"5\",\"t\":true,\"f\":false,\"z\":null,"
    "\"arr\":[1,\"x\",true,null],\"empty\":\"\",\"none\":[],\"w\":\"word\","
    "\"q\":\"a\\\"b\",\"o\":{\"n\":5},\"n-1\":8,\"a_b\":9,\"5\":55}";

static void published_examples_pass(void **state)
{
    (void)state;
    PASSES(attr, ".n == \"5\"", ".s == 5", ".s > 4", ".t == 1", "!.z",
           ".z == .z", ".z != .n", ".arr", ".arr == 0", "1 in .arr",
           "\"x\" in .arr", ".z in .arr", ".n / 0", ".n+-1==4",
           "2**3**2 == 512", ".n > 4 > 0", ".n in [5,]");
}

static void published_examples_do_not_pass(void **state)
{
    (void)state;
    FAILS(attr, ".t == \"true\"", ".z", ".z == 0", "!.missing",
          ".missing or .n == 5", "\"a\" < \"b\"", ".n in []", ".n not in [5]");
}

static void constants_are_expressions(void **state)
{
    (void)state;
    PASSES("{}", "1", "-1", "\"x\" == \"x\"", "[1]", "[]", "\"0\"", "0.5",
           "1e999 == 1e998", "1E2 == 100", "1. == 1", "05 == 5");
    FAILS("{}", "0", "\"\"", "''", "null", "-0", "0e5");
}

static void operators_bind_as_in_the_table(void **state)
{
    (void)state;
    PASSES(attr, "2+3*4 == 14", "(2+3)*4 == 20", "2*3**2 == 18", "-2**2 == 4",
           "10-4-3 == 3", "16/4/2 == 2", "7%4%2 == 1", "2**3**0 == 2",
           "1 or 0 and 0", "not 1 or 1", "!.n == 0", "(!.n) == 0", "!0 and 1",
           "5 in [5] == 1", "1 < 2 == 1", "2+3*4**2/8-1 == 7", "((1)and(1))",
           "1 and (1)and(0)or(1)", "!5 ** 2 == 0", "2 ** !0 == 2",
           "1 + !0 == 2", "1 == 1 and 2 == 2", "0 and 0 or 1");
    FAILS(attr, "(1 or 0) and 0", "not (1 or 1)", "!(.n == 5)", "not 0 and 0",
          "1 == 5 in [5]", "3 > 2 > 1");
}

static void words_and_signs_may_touch_their_neighbours(void **state)
{
    (void)state;
    PASSES(attr, ".n in[5]", "5in[5]", "not(0)", "1and1", "0or1", "!0",
           ".n==5and 1", ".n==5 or0", ".n>=5", ".n<=5", ".n* -1==-5",
           ".n*-1==-5", "2**-1==0.5", "2** -1 == 0.5", ".t&&1", "0||1",
           "1 &&!0", "1 ==!0", "\t.n\n", "1\v==\f1", "  1  ");
    FAILS(attr, "not5", "not.n", "!.n", ".n==-3", "5 in-5");
}

static void minus_is_a_sign_only_after_an_operator(void **state)
{
    (void)state;
    PASSES(attr, ".n -1 == 4", ".n - 1 == 4", "(.n)-1 == 4", "5-1 == 4",
           "5 -1 -1 == 3", "\"5\"-1 == 4", "[1]-1 == -1", "-2--2 == 0",
           "1--1 == 2", "1 - -1 == 2", "-1-1 == -2", "(-1) == 0-1",
           "-1 in [-1]", ".n-1 == 8", "1-.5 == -54");
    FAILS(attr, ".n-1 == 4");
}

static void selectors_are_top_level_names(void **state)
{
    (void)state;
    PASSES(attr, ".a_b == 9", ".n-1 == 8", ".5 == 55", ".5 < 56");
    PASSES("{\"and\":1,\"1e5\":1,\"-\":1,\"_\":1,\"N\":1}", ".and", ".1e5",
           ".-", "._", ".N", ".and and .and");
    FAILS("{\"and\":1}", ".n", ".AND", ".an", ".andy", ".");
    FAILS("{\"\":1}", ".", "1 == .");
}

static void equality_depends_on_both_types(void **state)
{
    (void)state;
    PASSES(attr, "\"05\" == 5", "\"05\" != \"5\"", ".w == 0", ".w == 'word'",
           ".t == 1", ".f == 0", ".none == 0", "[1] == [2]", ".z == null",
           "null == null", ".empty == 0", "null != 0", "null != \"\"",
           "null != []", ".z != \"null\"", "\"0x10\" == 16", "\" 5\" == 5",
           "\"1e2\" == 100", "\"+5\" == 5", "\"inf\" > 1e300", "\"-inf\" < 0",
           "\"1e999\" > 1e300", ".arr == .none");
    FAILS(attr, "\"5 \" == 5", "\"1_0\" == 10", "\"5x\" == 5", "\"a\" == \"A\"",
          ".z == 0", ".z == .empty", "null == .none", "\"inf\" == \"infinity\"",
          "0/0 == 0/0");
}

static void long_strings_are_no_numbers(void **state)
{
    char expr[600];
    char digits[300];
    size_t at;

    (void)state;
    memset(digits, '0', sizeof(digits));
    for (size_t len = 250; len < 260; len++) {
        int n;

        digits[len - 1] = '7';
        n = snprintf(expr, sizeof(expr), "\"%.*s\" == 7", (int)len, digits);
        assert_int_equal(filter_try(bytes_of(expr, (size_t)n), B("{}"), &at),
                         len <= 255);
        digits[len - 1] = '0';
    }
}

static void arithmetic_converts_to_numbers(void **state)
{
    (void)state;
    PASSES(attr, ".s + 1 == 6", ".t + .t == 2", ".z + 1 == 1", ".arr * 2 == 0",
           ".w + 1 == 1", "7 % 3 == 1", "5.5 % 2 == 1.5", "-5 % 3 == -2",
           "5 % -3 == 2", "2 ** 0.5 > 1.41", ".n / 2 == 2.5",
           "\"5\" * '2' == 10");
}

static void order_is_between_numbers(void **state)
{
    (void)state;
    PASSES(attr, ".s >= 5", ".z < 1", ".none <= 0", "\"10\" > \"9\"", "1 >= 1",
           "1 <= 1");
    FAILS(attr, "\"b\" > \"a\"", "1 > 1", "1 < 1", "0/0 < 1", "0/0 >= 0");
}

static void division_by_zero_is_true(void **state)
{
    (void)state;
    PASSES(attr, "1/0", "0/0", "-1/0 < 0", "1 % 0", "0/0 != 0/0", "1/0 > 1e300",
           "!(!(0/0))", "\"nan\" * 1", "0/0 and 1");
    FAILS(attr, "!(0/0)", "!(1/0)");
}

static void truth_of_every_type(void **state)
{
    (void)state;
    PASSES(attr, ".n", ".s", ".t", ".arr", ".none", ".w", "!.f", "!.z",
           "!.empty", "\"0\"", "\" \"");
    FAILS(attr, ".f", ".z", ".empty", "!.none", "!.arr", "!\"0\"");
}

static void logic_gives_one_or_zero(void **state)
{
    (void)state;
    PASSES(attr, "(5 and 7) == 1", "(5 or 0) == 1", "!5 == 0", "!0 == 1",
           "(3 > 2) == 1", "(3 < 2) == 0", "(3 in [3]) + 1 == 2", "!!5 == 1",
           "not not 0 == 0", "! ! 1", "!not 1", "!!!0");
}

static void in_looks_into_tuples(void **state)
{
    (void)state;
    PASSES(attr, ".n in [1,5]", "\"5\" in [5]", "5 in ['5']", ".s in ['5']",
           "'x' in .arr", "1 in .arr", "null in .arr", ".t in [1]",
           "[1] in [0]", "'a' in [\"b\", 'a' , ]", "-1 in [ -1 ]", "'' in [0]",
           "0 in ['word']");
    FAILS(attr, ".n in [1,2]", ".n in .none", "5 in []", "'05' in ['5']",
          "null in [0]", "'x' in ['y']", "0/0 in ['nan']", "1 in 1",
          "1 in null", "null in null", "2 in .arr");
    /* true in the tuple counts as 1, and 'y' is 0 which no member is */
    FAILS("{\"a\":[true,\"5\"]}", "'y' in .a");
    PASSES("{\"a\":[[1],\"x\"]}", "0 in .a", "[7] in .a", "'x' in .a");
}

static void in_finds_substrings(void **state)
{
    (void)state;
    PASSES(attr, "'or' in .w", "'' in .w", "'word' in .w", "'' in .empty",
           ".s in '456'", "'\"' in .q", "'w' in 'w'");
    FAILS(attr, "'words' in .w", "'x' in .w", "'x' in .empty", "5 in '5'",
          ".n in .s", "null in .w", "[] in ''", "'5' in 5");
}

static void null_is_a_literal(void **state)
{
    (void)state;
    PASSES(attr, ".z == null", "null == .z", ".n != null", "!null",
           "null in .arr", "null+1 == 1");
    FAILS(attr, "null", ".z != null", ".missing == null", ".n == null",
          ".o == null");
}

static void escapes_in_literals_are_decoded(void **state)
{
    (void)state;
    PASSES(attr, ".q == \"a\\\"b\"", ".q == 'a\"b'", ".q in ['a\\\"b']",
           "'\\'' == \"'\"", "\"\\\\\" in 'a\\\\b'", "'\\x' == 'x'",
           "['\\''] == 0", "\"'\" in ['\\'']");
    PASSES("{\"a\":\"x\\ny\\tz\\r\"}", ".a == \"x\\ny\\tz\\r\"",
           ".a in [\"x\\ny\\tz\\r\"]", "'\\n' in .a", ".a == 'x\ny\tz\r'");
    PASSES("{\"a\":\"\\u0041\\/\\b\"}", ".a == 'u0041/b'",
           ".a == '\\u0041\\/\\b'");
    PASSES("{\"a\":[\"x\\\\y\",\"\\\"\"]}", "'x\\\\y' in .a", "'\"' in .a");
    PASSES("{\"a\":\"\\\\\"}", ".a == '\\\\'", "!(.a == '')");
}

static void quotes_end_at_their_own_kind(void **state)
{
    (void)state;
    PASSES("{\"a\":\"it's\"}", ".a == \"it's\"", ".a == 'it\\'s'",
           "'\"' == '\\\"'");
}

static void nul_bytes_in_strings_count(void **state)
{
    size_t at;

    (void)state;
    assert_int_equal(filter_try(B(".a == 'x\0y'"), B("{\"a\":\"x\0y\"}"), &at),
                     1);
    assert_int_equal(filter_try(B(".a == 'x\0z'"), B("{\"a\":\"x\0y\"}"), &at),
                     0);
    assert_int_equal(filter_try(B("'\0y' in .a"), B("{\"a\":\"x\0y\"}"), &at),
                     1);
    assert_int_equal(filter_try(B("'5\0' == 5"), B("{}"), &at), 0);
}

static void missing_anywhere_is_false_as_a_whole(void **state)
{
    (void)state;
    FAILS(attr, ".missing", "!.missing", "not .missing", ".missing or 1",
          "1 or .missing", ".missing == .missing", ".missing != 5",
          "0 * .missing == 0", ".o", "!.o", ".o == .o", "1 or .o",
          ".n in [5] or .missing");
}

/* Only the first 16 distinct selectors are looked up ahead. */
static void many_selectors_behave_like_few(void **state)
{
    struct buf expr = BUF_INIT;
    struct buf json = BUF_INIT;
    size_t at;

    (void)state;
    buf_append_str(&expr, "0");
    buf_append_str(&json, "{\"x\":0");
    for (int i = 0; i < 60; i++) {
        buf_printf(&expr, "+.k%d+.k%d", i, i / 2);
        buf_printf(&json, ",\"k%d\":%d", i, i);
    }
    buf_append_str(&json, "}");
    buf_append_str(&expr, " == 2640"); /* 1770 and twice 0 + .. + 29 */
    assert_int_equal(filter_try(buf_bytes(&expr), buf_bytes(&json), &at), 1);
    json.len -= 9; /* k59 is gone */
    assert_int_equal(filter_try(buf_bytes(&expr), buf_bytes(&json), &at), 0);
    buf_append_str(&expr, " or 1");
    assert_int_equal(filter_try(buf_bytes(&expr), buf_bytes(&json), &at), 0);
    buf_deinit(&expr);
    buf_deinit(&json);
}

/* The grammar is the shunting-yard's, as in Redis. */
static void operators_may_stand_behind_their_operands(void **state)
{
    (void)state;
    PASSES(attr, "1 2 +", "+ 1 2", "(1 2) +", "1 (+ 2)", "()1", "1()", "0 !",
           "== 5 .n", "1 + ()2 == 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples_pass),
        cmocka_unit_test(published_examples_do_not_pass),
        cmocka_unit_test(constants_are_expressions),
        cmocka_unit_test(operators_bind_as_in_the_table),
        cmocka_unit_test(words_and_signs_may_touch_their_neighbours),
        cmocka_unit_test(minus_is_a_sign_only_after_an_operator),
        cmocka_unit_test(selectors_are_top_level_names),
        cmocka_unit_test(equality_depends_on_both_types),
        cmocka_unit_test(long_strings_are_no_numbers),
        cmocka_unit_test(arithmetic_converts_to_numbers),
        cmocka_unit_test(order_is_between_numbers),
        cmocka_unit_test(division_by_zero_is_true),
        cmocka_unit_test(truth_of_every_type),
        cmocka_unit_test(logic_gives_one_or_zero),
        cmocka_unit_test(in_looks_into_tuples),
        cmocka_unit_test(in_finds_substrings),
        cmocka_unit_test(null_is_a_literal),
        cmocka_unit_test(escapes_in_literals_are_decoded),
        cmocka_unit_test(quotes_end_at_their_own_kind),
        cmocka_unit_test(nul_bytes_in_strings_count),
        cmocka_unit_test(missing_anywhere_is_false_as_a_whole),
        cmocka_unit_test(many_selectors_behave_like_few),
        cmocka_unit_test(operators_may_stand_behind_their_operands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
