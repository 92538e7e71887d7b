/* What is refused, where the error points, and expressions of hostile size. */
#include "base/mem.h"
#include "unit/filter/filter_test.h"

/* The part of the expression that an error message shows. */
static void expect_near(const char *expr, const char *near)
{
    size_t len = strlen(expr);
    size_t at = 0;

    if (filter_try(bytes_str(expr), B("{}"), &at) != -1) {
        fail_msg("%s is accepted", expr);
    }
    if (at >= len) {
        at = 0;
    }
    if (strcmp(expr + at, near) != 0) {
        fail_msg("%s: near \"%s\", not \"%s\"", expr, expr + at, near);
    }
}

/* The message shows the whole expression. */
static void expect_whole(const char *expr)
{
    expect_near(expr, expr);
}

static void published_errors_are_errors(void **state)
{
    (void)state;
    REFUSED(".n == +5", ".n == 0x5", "- 1 == -1", "-.n == -5", "()", "1 2",
            ".n = 5", ".n in [,5]", ".n in [5 6]", "true in .arr");
    REFUSED("1e-5 < 1", ".a.b", ".a == true", "AND", ".n === 5", ".n <> 5",
            "[.a]", "[true]", "[null]", "[[1]]", "a", "");
}

static void published_positions_are_kept(void **state)
{
    (void)state;
    expect_near(".a === 1", " 1");
    expect_near(".a AND 1", " 1");
    expect_whole("(.a");
    expect_whole("");
}

static void an_unknown_operator_points_behind_its_run(void **state)
{
    (void)state;
    expect_near(".n = 5", " 5");
    expect_near(".n=-3", "3");
    expect_near(".n=>3", "3");
    expect_near(".n=!5", "5");
    expect_near(".t & 1", " 1");
    expect_near("1 foo 2", " 2");
    expect_near("1 foo2", "2");
    expect_near("1 nota 2", " 2");
    expect_near("1 iN [2]", " [2]");
    expect_near("true==.n", ".n");
    expect_near("1 x(1)", "1)");
    expect_near("1 (x)1", "1");
    expect_near("1 ||& 2", " 2");
    expect_near("-e5", "5");
    expect_near(".n == 0x5", "5");
    expect_near("1eabc + 1", "abc + 1");
    expect_whole("andy");
    expect_whole("1 == nul");
    expect_whole("1 == 1abc");
}

static void an_unknown_byte_is_where_the_error_is(void **state)
{
    (void)state;
    expect_near(".n @ 5", "@ 5");
    expect_near(".n$", "$");
    expect_near("1 _ 1", "_ 1");
    expect_near("1 ; 1", "; 1");
    expect_near("1 x_ 1", "_ 1");
    expect_near("1 ] 1", "] 1");
    expect_near("1,2", ",2");
    expect_near("1 \xe9 1", "\xe9 1");
    expect_near("1\xa0== 1", "\xa0== 1");
    expect_whole("#");
}

static void a_malformed_number_points_behind_it(void **state)
{
    (void)state;
    expect_near("1e-5", "-5");
    expect_near("1.2.3 + 1", " + 1");
    expect_near("1 == 1e5e5 ", " ");
    expect_near("1_000", "_000");
    expect_near("1 == [1e-5]", "-5]");
    expect_near("1 == [1e5e5]", "]");
    expect_whole("1e");
    expect_whole("1 == 1.2.3");
}

static void numbers_end_after_255_characters(void **state)
{
    char expr[300];
    size_t at = 0;

    (void)state;
    memset(expr, '1', sizeof(expr));
    assert_int_equal(filter_try(bytes_of(expr, 255), B("{}"), &at), 1);
    assert_int_equal(filter_try(bytes_of(expr, 256), B("{}"), &at), -1);
    assert_int_equal(at, 255);
}

static void an_error_inside_a_tuple_is_where_the_member_starts(void **state)
{
    (void)state;
    expect_near("1 == [1,x]", "x]");
    expect_near("[1 2]", "2]");
    expect_near("[1,,2]", ",2]");
    expect_near("[,]", ",]");
    expect_near("[[1]]", "[1]]");
    expect_near("[.n]", ".n]");
    expect_near("[1,+1]", "+1]");
    expect_near("[1,-]", "]");
    expect_near("[- 1]", " 1]");
    expect_near("[1,'a'x]", "x]");
    expect_near("['a',null]", "null]");
}

static void what_does_not_end_is_shown_whole(void **state)
{
    (void)state;
    expect_whole("1 == \"abc");
    expect_whole("1 == 'abc\"");
    expect_whole("1 == \"abc\\");
    expect_whole("1 == \"abc\\\"");
    expect_whole("1 == [1, 2");
    expect_whole("1 == [1,");
    expect_whole("1 == [");
    expect_whole("1 == [1, 'a");
}

static void a_dot_without_a_name_is_where_the_error_is(void **state)
{
    (void)state;
    expect_near("1 == . ", ". ");
    expect_near("( . )", ". )");
    expect_whole(".+1");
    expect_whole("..a");
}

static void structural_mistakes_are_shown_whole(void **state)
{
    static const char *const exprs[] = {
        "2***3",  "(",      ")",       "((1)",    "(1))",      ")(",
        "()",     "1 2",    "1 \"a\"", ".a.b",    ".n[1]",     ".n(1)",
        "1 ==",   "== 1",   "1 and",   "and 1",   "1 or or 1", "!",
        "not",    "1 !2",   "in",      "1 in",    "-.n",       "- 2",
        "--2",    "-(5)",   ".n==- 3", "1+ +2",   ".n < > 5",  ".n <> 5",
        "(+)1 2", "1(+)2",  "(!)1",    "1 2 + 3", "null5",     "nullnull",
        "  ",     ") == 1", "1 -",     ".n !5",   "1 notin",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
        expect_whole(exprs[i]);
    }
}

static void a_malformed_token_wins_over_an_earlier_mistake(void **state)
{
    (void)state;
    expect_near(") @ 1", "@ 1");
    expect_near("1 2 3 [x]", "x]");
    expect_near("(1)+() = 2", " 2");
}

static void a_nul_byte_is_no_blank(void **state)
{
    size_t at = 0;

    (void)state;
    assert_int_equal(filter_try(B("1 \0"), B("{}"), &at), -1);
    assert_int_equal(at, 2);
    assert_int_equal(filter_try(B("1 x\0"), B("{}"), &at), -1);
    assert_int_equal(at, 3);
}

/* ---- size ---------------------------------------------------------------- */

/* The pattern n times, with something before and behind. */
static int try_repeated(const char *before, const char *pattern, size_t n,
                        const char *behind, size_t *at)
{
    struct buf expr = BUF_INIT;
    int result;

    buf_append_str(&expr, before);
    for (size_t i = 0; i < n; i++) {
        buf_append_str(&expr, pattern);
    }
    buf_append_str(&expr, behind);
    result = filter_try(buf_bytes(&expr), B("{\"a\":1,\"b\":2}"), at);
    buf_deinit(&expr);
    return result;
}

static void operands_waiting_are_limited_to_256(void **state)
{
    size_t at = 99;

    (void)state;
    /* a right-associative chain holds every operand */
    assert_int_equal(try_repeated("", "1**", 255, "1", &at), 1);
    assert_int_equal(try_repeated("", "1**", 256, "1", &at), -2);
    assert_int_equal(at, 0);
    assert_int_equal(try_repeated("", "1+(", 256, "1", &at), -1);
    /* parentheses and prefix operators alone hold none */
    assert_int_equal(try_repeated("", "(!", 1000, "1", &at), -1);
    assert_int_equal(try_repeated("", "!", 1000, "1", &at), 1);
}

static void long_expressions_are_fine(void **state)
{
    size_t at;

    (void)state;
    assert_int_equal(try_repeated("0", "+1", 200000, " == 200000", &at), 1);
    assert_int_equal(try_repeated("0", "+.a+.b", 100000, " == 3e5", &at), 1);
    assert_int_equal(try_repeated("7 in [", "1,", 300000, "7]", &at), 1);
    assert_int_equal(try_repeated("8 in [", "'1',", 200000, "7]", &at), 0);
    assert_int_equal(try_repeated("1 == '", "\\'", 200000, "'", &at), 0);
}

static void hostile_expressions_neither_crash_nor_linger(void **state)
{
    size_t at;
    const size_t n = 1 << 20;

    (void)state;
    assert_int_equal(try_repeated("", "(", n, "", &at), -1);
    assert_int_equal(try_repeated("", "((", n / 2, "1", &at), -1);
    assert_int_equal(try_repeated("", ")", n, "", &at), -1);
    assert_int_equal(try_repeated("", "!", n, "", &at), -1);
    assert_int_equal(try_repeated("", "1**", n / 2, "1", &at), -2);
    assert_int_equal(try_repeated("", "1 ", n / 2, "", &at), -1);
    assert_int_equal(try_repeated("", "[", n, "", &at), -1);
    assert_int_equal(try_repeated("", "\\", n, "", &at), -1);
    assert_int_equal(try_repeated("'", "\\", n, "", &at), -1);
    assert_int_equal(try_repeated("", "a", n, "", &at), -1);
    assert_int_equal(try_repeated("", " ", n, "", &at), -1);
    assert_int_equal(try_repeated("", "9", n, "", &at), -1);
    assert_int_equal(try_repeated(".", "a", n, "", &at), 0);
}

static void many_distinct_selectors_compile_in_linear_time(void **state)
{
    struct buf expr = BUF_INIT;
    size_t at;

    (void)state;
    buf_append_str(&expr, "1");
    for (int i = 0; i < 100000; i++) {
        buf_printf(&expr, "+.k%d", i);
    }
    assert_int_equal(filter_try(buf_bytes(&expr), B("{\"k0\":1}"), &at), 0);
    buf_deinit(&expr);
}

static void every_failed_allocation_is_reported(void **state)
{
    struct bytes expr = B("(.a + 1 == 2 and .b in [1,2,'x']) or !'y' in .c");
    struct filter *f = NULL;
    enum err err = ERR_NOMEM;
    size_t at = 7;
    uint64_t n = 1;

    (void)state;
    for (; err == ERR_NOMEM; n++) {
        f = NULL;
        mem_fail_after(n);
        err = filter_compile(expr, &f, &at);
        mem_fail_after(0);
        if (err) {
            assert_int_equal(err, ERR_NOMEM);
            assert_null(f);
            assert_int_equal(at, 0);
        }
    }
    assert_int_equal(err, ERR_OK);
    assert_true(n > 6); /* strings, code, consts, fields, tuples, itself */
    filter_destroy(f);
    filter_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_errors_are_errors),
        cmocka_unit_test(published_positions_are_kept),
        cmocka_unit_test(an_unknown_operator_points_behind_its_run),
        cmocka_unit_test(an_unknown_byte_is_where_the_error_is),
        cmocka_unit_test(a_malformed_number_points_behind_it),
        cmocka_unit_test(numbers_end_after_255_characters),
        cmocka_unit_test(an_error_inside_a_tuple_is_where_the_member_starts),
        cmocka_unit_test(what_does_not_end_is_shown_whole),
        cmocka_unit_test(a_dot_without_a_name_is_where_the_error_is),
        cmocka_unit_test(structural_mistakes_are_shown_whole),
        cmocka_unit_test(a_malformed_token_wins_over_an_earlier_mistake),
        cmocka_unit_test(a_nul_byte_is_no_blank),
        cmocka_unit_test(operands_waiting_are_limited_to_256),
        cmocka_unit_test(long_expressions_are_fine),
        cmocka_unit_test(hostile_expressions_neither_crash_nor_linger),
        cmocka_unit_test(many_distinct_selectors_compile_in_linear_time),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
