/* Replies, byte by byte, in both protocols. */
#include "unit/cm.h"

#include <math.h>

#include "resp/resp_write.h"

/* Runs a statement with `r` of each protocol and compares the bytes. */
#define CHECK(statement, resp2, resp3)                                         \
    do {                                                                       \
        const char *const want[2] = {resp2, resp3};                            \
        int p;                                                                 \
        for (p = 0; p < 2; p++) {                                              \
            struct buf out = BUF_INIT;                                         \
            struct reply reply = {&out, p + 2};                                \
            struct reply *r = &reply;                                          \
            statement;                                                         \
            assert_int_equal(out.len, strlen(want[p]));                        \
            assert_memory_equal(out.data, want[p], out.len);                   \
            buf_deinit(&out);                                                  \
        }                                                                      \
    } while (0)

static void simple_replies_are_the_same_in_both(void **state)
{
    (void)state;
    CHECK(reply_status(r, "OK"), "+OK\r\n", "+OK\r\n");
    CHECK(reply_int(r, 0), ":0\r\n", ":0\r\n");
    CHECK(reply_int(r, -12), ":-12\r\n", ":-12\r\n");
    CHECK(reply_int(r, INT64_MIN), ":-9223372036854775808\r\n",
          ":-9223372036854775808\r\n");
    CHECK(reply_bulk_str(r, ""), "$0\r\n\r\n", "$0\r\n\r\n");
    CHECK(reply_bulk_int(r, 1234567), "$7\r\n1234567\r\n", "$7\r\n1234567\r\n");
    CHECK(reply_array(r, 12), "*12\r\n", "*12\r\n");
}

static void types_of_resp3_fall_back_in_resp2(void **state)
{
    (void)state;
    CHECK(reply_null(r), "$-1\r\n", "_\r\n");
    CHECK(reply_null_array(r), "*-1\r\n", "_\r\n");
    CHECK(reply_bool(r, true), ":1\r\n", "#t\r\n");
    CHECK(reply_bool(r, false), ":0\r\n", "#f\r\n");
    CHECK(reply_map(r, 3), "*6\r\n", "%3\r\n");
    CHECK(reply_set(r, 3), "*3\r\n", "~3\r\n");
    CHECK(reply_double(r, 0.5), "$3\r\n0.5\r\n", ",0.5\r\n");
    CHECK(reply_double(r, -1), "$2\r\n-1\r\n", ",-1\r\n");
    CHECK(reply_double(r, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    CHECK(reply_double(r, (double)0.9921259284f),
          "$17\r\n0.992125928401947\r\n", ",0.992125928401947\r\n");
    CHECK(reply_verbatim(r, bytes_str("hello")), "$5\r\nhello\r\n",
          "=9\r\ntxt:hello\r\n");
}

static void errors_cannot_break_the_line(void **state)
{
    (void)state;
    CHECK(reply_error(r, "ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n");
    CHECK(reply_error(r, "ERR a\n b\r\n\n"), "-ERR a  b\r\n", "-ERR a  b\r\n");
    CHECK(reply_error_fmt(r, "ERR %s %d", "x", 7), "-ERR x 7\r\n",
          "-ERR x 7\r\n");
}

static void bulk_strings_hold_any_byte(void **state)
{
    struct buf out = BUF_INIT;
    struct reply r = {&out, 2};

    (void)state;
    reply_bulk(&r, bytes_of("a\0\r\n", 4));
    assert_int_equal(out.len, 10);
    assert_memory_equal(out.data, "$4\r\na\0\r\n\r\n", 10);
    buf_deinit(&out);
}

static void long_errors_are_whole(void **state)
{
    struct buf out = BUF_INIT;
    struct reply r = {&out, 2};
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    reply_error_fmt(&r, "ERR %s", text);
    assert_int_equal(out.len, 1 + 4 + sizeof(text) - 1 + 2);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_replies_are_the_same_in_both),
        cmocka_unit_test(types_of_resp3_fall_back_in_resp2),
        cmocka_unit_test(errors_cannot_break_the_line),
        cmocka_unit_test(bulk_strings_hold_any_byte),
        cmocka_unit_test(long_errors_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
