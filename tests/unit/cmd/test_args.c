/* Arguments as numbers and as times, and the errors of those that are none. */
#include "unit/cm.h"

#include <math.h>

#include "cmd/args.h"
#include "cmd/expire_arg.h"

#define NOW ((time_ms)1700000000000)

static struct cmd_env env;
static struct keyspace ks;
static struct buf out;

static struct cmd_ctx context(const struct bytes *argument)
{
    out.len = 0;
    ks.now = NOW;
    return (struct cmd_ctx){.env = &env,
                            .ks = &ks,
                            .command = &command_table[CMD_ID_SET],
                            .argv = argument,
                            .argc = 1,
                            .reply = {&out, 2}};
}

static void is_replied(const char *text)
{
    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.data, text, out.len);
}

static int tear_down(void **state)
{
    (void)state;
    buf_deinit(&out);
    return 0;
}

#define NO_INTEGER "-ERR value is not an integer or out of range\r\n"

static void integers_are_written_in_one_way_only(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-1", -1},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "01",
                                      "-0",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "one",
                                      "-",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    int64_t v;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(good); i++) {
        struct bytes argument = bytes_str(good[i].text);
        struct cmd_ctx ctx = context(&argument);

        assert_true(arg_int(&ctx, 0, &v));
        assert_true(v == good[i].value);
        assert_int_equal(out.len, 0);
    }
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        struct bytes argument = bytes_str(bad[i]);
        struct cmd_ctx ctx = context(&argument);

        v = 77;
        if (arg_int(&ctx, 0, &v)) {
            fail_msg("'%s' is taken for %lld", bad[i], (long long)v);
        }
        assert_int_equal(v, 77);
        assert_true(ctx.failed);
        is_replied(NO_INTEGER);
    }
}

static void a_range_holds_its_ends(void **state)
{
    struct bytes arguments[] = {bytes_str("3"), bytes_str("5"), bytes_str("2"),
                                bytes_str("6")};
    int64_t v;
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct cmd_ctx ctx = context(&arguments[i]);

        assert_int_equal(arg_int_in(&ctx, 0, 3, 5, "ERR no", &v), i < 2);
        is_replied(i < 2 ? "" : "-ERR no\r\n");
    }
}

static void a_number_must_be_over_the_floor(void **state)
{
    struct bytes good[] = {bytes_str("0.001"), bytes_str("1e9"),
                           bytes_str("inf")};
    struct bytes bad[] = {bytes_str("0"),   bytes_str("-1"), bytes_str("nan"),
                          bytes_str("abc"), bytes_str(""),   bytes_str("1x")};
    double x;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(good); i++) {
        struct cmd_ctx ctx = context(&good[i]);

        assert_true(arg_double_over(&ctx, 0, 0, "ERR no", &x));
        assert_true(x > 0);
    }
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        struct cmd_ctx ctx = context(&bad[i]);

        assert_false(arg_double_over(&ctx, 0, 0, "ERR no", &x));
        is_replied("-ERR no\r\n");
    }
}

static bool expire(const char *text, unsigned unit, bool positive,
                   time_ms *result)
{
    struct bytes argument = bytes_str(text);
    struct cmd_ctx ctx = context(&argument);

    return positive ? expire_arg_positive_time(&ctx, 0, unit, result)
                    : expire_arg_time(&ctx, 0, unit, result);
}

static void times_are_milliseconds_of_the_wall_clock(void **state)
{
    time_ms t;

    (void)state;
    assert_true(expire("10", EXPIRE_SECONDS, true, &t));
    assert_true(t == NOW + 10000);
    assert_true(expire("10", 0, true, &t));
    assert_true(t == NOW + 10);
    assert_true(expire("10", EXPIRE_SECONDS | EXPIRE_ABSOLUTE, true, &t));
    assert_true(t == 10000);
    assert_true(expire("10", EXPIRE_ABSOLUTE, true, &t));
    assert_true(t == 10);
    assert_true(expire("-10", EXPIRE_SECONDS, false, &t));
    assert_true(t == NOW - 10000);
    assert_true(expire("0", 0, false, &t));
    assert_true(t == NOW);
}

#define BAD_TIME "-ERR invalid expire time in 'set' command\r\n"

static void times_that_no_clock_shows_are_refused(void **state)
{
    time_ms t = 5;

    (void)state;
    assert_false(expire("0", EXPIRE_SECONDS, true, &t));
    is_replied(BAD_TIME);
    assert_false(expire("-1", 0, true, &t));
    is_replied(BAD_TIME);
    assert_false(expire("9223372036854775", EXPIRE_SECONDS, true, &t));
    is_replied(BAD_TIME);
    assert_false(
        expire("9223372036854776", EXPIRE_SECONDS | EXPIRE_ABSOLUTE, true, &t));
    is_replied(BAD_TIME);
    assert_false(expire("9223372036854775807", 0, false, &t));
    is_replied(BAD_TIME);
    assert_false(expire("ten", 0, true, &t));
    is_replied(NO_INTEGER);
    assert_int_equal(t, 5);
    assert_true(
        expire("9223372036854775", EXPIRE_SECONDS | EXPIRE_ABSOLUTE, true, &t));
    assert_true(t == 9223372036854775000);
}

static void errors_are_counted_by_their_first_word(void **state)
{
    struct bytes argument = bytes_str("x");
    struct cmd_ctx ctx = context(&argument);
    uint64_t before = env.total_errors;

    (void)state;
    cmd_error(&ctx, "WRONGTYPE one");
    cmd_error(&ctx, "WRONGTYPE two");
    cmd_error_fmt(&ctx, "ERR %s\r\nthree", "a\nb");
    assert_int_equal(env.total_errors, before + 3);
    is_replied("-WRONGTYPE one\r\n-WRONGTYPE two\r\n-ERR a b  three\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_written_in_one_way_only),
        cmocka_unit_test(a_range_holds_its_ends),
        cmocka_unit_test(a_number_must_be_over_the_floor),
        cmocka_unit_test(times_are_milliseconds_of_the_wall_clock),
        cmocka_unit_test(times_that_no_clock_shows_are_refused),
        cmocka_unit_test(errors_are_counted_by_their_first_word),
    };

    return cmocka_run_group_tests(tests, NULL, tear_down);
}
