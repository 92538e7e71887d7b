/* RESP3, byte by byte: Debian's hiredis speaks RESP2 only, so the test sends
 * and compares the bytes itself. */
#include "integration/server_fixture.h"

static int fd = -1;

static void send_all(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        assert_true(n > 0);
        bytes += n;
        len -= (size_t)n;
    }
}

/* Reads exactly len bytes. */
static void receive(char *out, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, out, len);

        assert_true(n > 0);
        out += n;
        len -= (size_t)n;
    }
}

/* Sends an inline command and compares what comes back, to the byte. */
static void answers(const char *command, const char *want)
{
    char got[4096];
    size_t len = strlen(want);

    assert_true(len < sizeof(got));
    send_all(command, strlen(command));
    send_all("\r\n", 2);
    receive(got, len);
    got[len] = '\0';
    assert_string_equal(got, want);
}

/* Sends HELLO and reads its reply up to its known end. */
static void hello(int version)
{
    char text[32], got[4096];
    size_t n = 0;

    snprintf(text, sizeof(text), "HELLO %d\r\n", version);
    send_all(text, strlen(text));
    do {
        assert_true(n < sizeof(got) - 1);
        receive(got + n, 1);
        got[++n] = '\0';
    } while (!strstr(got, "args\r\n*0\r\n"));
    assert_int_equal(got[0], version == 3 ? '%' : '*');
    assert_non_null(strstr(got, version == 3 ? "proto\r\n:3" : "proto\r\n:2"));
}

static int setup(void **state)
{
    struct timeval wait = {.tv_sec = WAIT_S};
    redisContext *c = server_connect(&server);

    (void)state;
    is_text(call(c, "FLUSHALL"), "OK");
    redisFree(c);
    c = server_connect(&server);
    fd = dup(c->fd);
    redisFree(c);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    hello(3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(fd);
    return 0;
}

static void test_null_true_and_numbers(void **state)
{
    (void)state;
    answers("GET none", "_\r\n");
    answers("VADD v VALUES 2 1 0 a", "#t\r\n");
    answers("VADD v VALUES 2 1 0 a", "#f\r\n");
    answers("VADD v VALUES 2 0 1 b", "#t\r\n");
    answers("VISMEMBER v a", "#t\r\n");
    answers("VISMEMBER v z", "#f\r\n");
    answers("VCARD v", ":2\r\n");
    answers("VSETATTR v a '{\"n\":1}'", "#t\r\n");
    answers("VGETATTR v b", "_\r\n");
    answers("VREM v b", "#t\r\n");
    answers("VREM v b", "#f\r\n");
    answers("INCRBYFLOAT f 0.5", "$3\r\n0.5\r\n");
    answers("EXISTS v", ":1\r\n");
}

static void test_scores_are_a_map_of_doubles(void **state)
{
    (void)state;
    answers("VADD v VALUES 2 1 0 a", "#t\r\n");
    answers("VADD v VALUES 2 0 1 b SETATTR '{\"n\":1}'", "#t\r\n");
    answers("VSIM v ELE a", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    answers("VSIM v ELE a WITHSCORES",
            "%2\r\n$1\r\na\r\n,1\r\n$1\r\nb\r\n,0.5\r\n");
    answers("VSIM v ELE a WITHATTRIBS",
            "%2\r\n$1\r\na\r\n_\r\n$1\r\nb\r\n$7\r\n{\"n\":1}\r\n");
    answers("VSIM v ELE a WITHSCORES WITHATTRIBS",
            "%2\r\n$1\r\na\r\n*2\r\n,1\r\n_\r\n"
            "$1\r\nb\r\n*2\r\n,0.5\r\n$7\r\n{\"n\":1}\r\n");
    answers("VEMB v b", "*2\r\n,0\r\n,1\r\n");
}

static void test_raw_codes_have_their_bytes(void **state)
{
    char got[64];
    const char want[] = "*4\r\n+int8\r\n$2\r\n\0\x7f\r\n,1\r\n,1\r\n";

    (void)state;
    answers("VADD v VALUES 2 0 1 b", "#t\r\n");
    send_all("VEMB v b RAW\r\n", 14);
    receive(got, sizeof(want) - 1);
    assert_memory_equal(got, want, sizeof(want) - 1);
}

static void test_links_are_an_array_of_maps(void **state)
{
    (void)state;
    answers("VADD v VALUES 2 1 0 a", "#t\r\n");
    answers("VADD v VALUES 2 0 1 b", "#t\r\n");
    answers("VLINKS v a", "*1\r\n*1\r\n$1\r\nb\r\n");
    answers("VLINKS v a WITHSCORES", "*1\r\n%1\r\n$1\r\nb\r\n,0.5\r\n");
    answers("VLINKS v none", "_\r\n");
}

static void test_transactions_and_their_ends(void **state)
{
    (void)state;
    answers("MULTI", "+OK\r\n");
    answers("VADD v VALUES 2 1 0 a", "+QUEUED\r\n");
    answers("VSIM v ELE a WITHSCORES", "+QUEUED\r\n");
    answers("GET none", "+QUEUED\r\n");
    answers("EXEC", "*3\r\n#t\r\n%1\r\n$1\r\na\r\n,1\r\n_\r\n");
    answers("WATCH v", "+OK\r\n");
    answers("VREM v a", "#t\r\n");
    answers("MULTI", "+OK\r\n");
    answers("PING", "+QUEUED\r\n");
    answers("EXEC", "_\r\n");
}

static void test_a_connection_changes_its_protocol(void **state)
{
    (void)state;
    answers("GET none", "_\r\n");
    hello(2);
    answers("GET none", "$-1\r\n");
    answers("VADD v VALUES 2 1 0 a", ":1\r\n");
    answers("VSIM v ELE a WITHSCORES", "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    hello(3);
    answers("VSIM v ELE a WITHSCORES", "%1\r\n$1\r\na\r\n,1\r\n");
    answers("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    answers("RESET", "+RESET\r\n");
    answers("GET none", "$-1\r\n");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_null_true_and_numbers),
        T(test_scores_are_a_map_of_doubles),
        T(test_raw_codes_have_their_bytes),
        T(test_links_are_an_array_of_maps),
        T(test_transactions_and_their_ends),
        T(test_a_connection_changes_its_protocol),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
