/* hiredis' blocking API against a real server: formats, blobs, pipelines,
 * transactions, unix sockets, connections that are lost and made again. */
#include "integration/server_fixture.h"

#include <math.h>

static redisContext *c;

static int setup(void **state)
{
    (void)state;
    c = server_connect(&server);
    is_text(call(c, "FLUSHALL"), "OK");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    redisFree(c);
    return 0;
}

static void test_commands_and_their_reply_types(void **state)
{
    redisReply *r;

    (void)state;
    r = call(c, "PING");
    assert_int_equal(r->type, REDIS_REPLY_STATUS);
    is_text(r, "PONG");
    is_text(call(c, "ECHO %s", "two words"), "two words");
    is_int(call(c, "VADD v VALUES 2 1 0 %s", "a b"), 1);
    is_int(call(c, "VADD v VALUES 2 0 1 c SETATTR %s", "{\"n\": 1}"), 1);
    r = call(c, "VSIM v ELE %s WITHSCORES WITHATTRIBS", "a b");
    assert_int_equal(r->type, REDIS_REPLY_ARRAY);
    assert_int_equal(r->elements, 6);
    assert_string_equal(r->element[0]->str, "a b");
    assert_string_equal(r->element[1]->str, "1");
    assert_int_equal(r->element[2]->type, REDIS_REPLY_NIL);
    assert_string_equal(r->element[3]->str, "c");
    assert_string_equal(r->element[4]->str, "0.5");
    assert_string_equal(r->element[5]->str, "{\"n\": 1}");
    freeReplyObject(r);
    is_nil(call(c, "GET none"));
    is_error(call(c, "VCARD"), "wrong number of arguments");
    is_error(call(c, "VDIM none"), "key does not exist");
    is_text(call(c, "PING"), "PONG");
}

static void test_blobs_of_every_byte_come_back_as_they_were(void **state)
{
    uint8_t bytes[256];
    float vector[3] = {3, 0, 4};
    float other[3] = {0, 1, 0};
    redisReply *r;
    int i;

    (void)state;
    for (i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)(255 - i);
    }
    is_text(call(c, "SET %b %b", bytes, sizeof(bytes), bytes, sizeof(bytes)),
            "OK");
    is_blob(call(c, "GET %b", bytes, sizeof(bytes)), bytes, sizeof(bytes));
    is_int(call(c, "DEL %b", bytes, sizeof(bytes)), 1);
    is_int(call(c, "VADD %b FP32 %b %b NOQUANT SETATTR %b", bytes, (size_t)9,
                vector, sizeof(vector), bytes, sizeof(bytes), bytes,
                sizeof(bytes)),
           1);
    is_int(call(c, "VADD %b FP32 %b %s NOQUANT", bytes, (size_t)9, other,
                sizeof(other), ""),
           1);
    r = call(c, "VSIM %b FP32 %b COUNT 1", bytes, (size_t)9, vector,
             sizeof(vector));
    assert_int_equal(r->elements, 1);
    assert_int_equal(r->element[0]->len, sizeof(bytes));
    assert_memory_equal(r->element[0]->str, bytes, sizeof(bytes));
    freeReplyObject(r);
    is_blob(call(c, "VGETATTR %b %b", bytes, (size_t)9, bytes, sizeof(bytes)),
            bytes, sizeof(bytes));
    r = call(c, "VEMB %b %b RAW", bytes, (size_t)9, bytes, sizeof(bytes));
    assert_int_equal(r->elements, 3);
    assert_string_equal(r->element[0]->str, "f32");
    assert_int_equal(r->element[1]->len, sizeof(vector));
    memcpy(vector, r->element[1]->str, sizeof(vector));
    assert_float_equal(vector[0], 0.6F, 1e-6);
    assert_float_equal(vector[2], 0.8F, 1e-6);
    assert_string_equal(r->element[2]->str, "5");
    freeReplyObject(r);
}

/* ---- pipelines --------------------------------------------------------- */

enum { PIPELINED = 10000, KINDS = 8 };

/* Vector n lies on a circle: no two are alike. */
static void pipelined_vector(int n, float v[2])
{
    v[0] = cosf((float)n * 0.005F);
    v[1] = sinf((float)n * 0.005F);
}

/* Command i of the pipeline works on the vector and number i / KINDS. */
static void append_mixed(int i)
{
    int n = i / KINDS;
    float v[2];

    pipelined_vector(n, v);

    switch (i % KINDS) {
    case 0:
        redisAppendCommand(c, "VADD v FP32 %b e%d NOQUANT", v, sizeof(v), n);
        break;
    case 1:
        redisAppendCommand(c, "INCR n");
        break;
    case 2:
        redisAppendCommand(c, "VSIM v ELE e%d COUNT 1", n);
        break;
    case 3:
        redisAppendCommand(c, "SET k%d %b", n, v, sizeof(v));
        break;
    case 4:
        redisAppendCommand(c, "VCARD v");
        break;
    case 5:
        redisAppendCommand(c, "GET k%d", n);
        break;
    case 6:
        redisAppendCommand(c, "VSIM v ELE nobody%d", n);
        break;
    default:
        redisAppendCommand(c, "VSETATTR v e%d {\"n\":%d}", n, n);
        break;
    }
}

static void check_mixed(int i, redisReply *r)
{
    int n = i / KINDS;
    float v[2];
    char name[16];

    pipelined_vector(n, v);
    switch (i % KINDS) {
    case 1:
    case 4:
        is_int(r, n + 1);
        break;
    case 2:
        snprintf(name, sizeof(name), "e%d", n);
        assert_int_equal(r->elements, 1);
        assert_string_equal(r->element[0]->str, name);
        freeReplyObject(r);
        break;
    case 3:
        is_text(r, "OK");
        break;
    case 5:
        is_blob(r, v, sizeof(v));
        break;
    case 6:
        is_error(r, "element not found in set");
        break;
    default:
        is_int(r, 1);
        break;
    }
}

static void test_a_pipeline_of_ten_thousand_mixed_commands(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < PIPELINED; i++) {
        append_mixed(i);
    }
    for (i = 0; i < PIPELINED; i++) {
        check_mixed(i, next_reply(c));
    }
    is_int(call(c, "VCARD v"), PIPELINED / KINDS);
}

/* ---- transactions ------------------------------------------------------ */

static void test_a_transaction_sees_its_own_writes(void **state)
{
    redisContext *other = server_connect(&server);
    redisReply *r;

    (void)state;
    is_text(call(c, "MULTI"), "OK");
    is_text(call(c, "VADD v VALUES 2 1 0 a"), "QUEUED");
    is_text(call(c, "VSIM v ELE a"), "QUEUED");
    is_text(call(c, "VADD v VALUES 2 0 1 b"), "QUEUED");
    is_text(call(c, "VSIM v ELE a"), "QUEUED");
    is_text(call(c, "VCARD v"), "QUEUED");
    is_int(call(other, "EXISTS v"), 0);
    r = call(c, "EXEC");
    assert_int_equal(r->elements, 5);
    assert_int_equal(r->element[1]->elements, 1);
    assert_int_equal(r->element[3]->elements, 2);
    assert_int_equal(r->element[4]->integer, 2);
    freeReplyObject(r);
    is_int(call(other, "VCARD v"), 2);
    redisFree(other);
}

static void test_a_transaction_fails_when_a_watched_set_changed(void **state)
{
    redisContext *other = server_connect(&server);
    redisReply *r;

    (void)state;
    is_int(call(c, "VADD v VALUES 2 1 0 a"), 1);
    is_text(call(c, "WATCH v"), "OK");
    is_int(call(other, "VSETATTR v a {\"n\":1}"), 1);
    is_text(call(c, "MULTI"), "OK");
    is_text(call(c, "VREM v a"), "QUEUED");
    is_nil(call(c, "EXEC"));
    is_int(call(c, "VCARD v"), 1);
    is_text(call(c, "MULTI"), "OK");
    is_error(call(c, "VADD v"), "wrong number of arguments");
    is_text(call(c, "VREM v a"), "QUEUED");
    is_error(call(c, "EXEC"), "EXECABORT");
    r = call(c, "VSIM v ELE a");
    assert_int_equal(r->elements, 1);
    freeReplyObject(r);
    redisFree(other);
}

/* ---- connections ------------------------------------------------------- */

static void test_a_unix_socket_serves_the_same_data(void **state)
{
    redisContext *u = redisConnectUnix(server.unix_path);
    redisReply *r;

    (void)state;
    assert_int_equal(u->err, 0);
    is_int(call(c, "VADD v VALUES 2 1 0 a"), 1);
    is_int(call(u, "VCARD v"), 1);
    r = call(u, "CLIENT INFO");
    assert_non_null(strstr(r->str, server.unix_path));
    freeReplyObject(r);
    redisFree(u);
}

static void test_a_killed_connection_can_be_made_again(void **state)
{
    redisContext *other = server_connect(&server);
    redisReply *r = call(c, "CLIENT ID");

    (void)state;
    is_int(call(other, "CLIENT KILL ID %lld", r->integer), 1);
    freeReplyObject(r);
    r = redisCommand(c, "PING");
    assert_null(r);
    assert_int_equal(c->err, REDIS_ERR_EOF);
    assert_int_equal(redisReconnect(c), REDIS_OK);
    is_text(call(c, "PING"), "PONG");
    redisFree(other);
}

static void test_clients_come_back_after_a_restart(void **state)
{
    struct timeval wait = {.tv_sec = WAIT_S};

    (void)state;
    is_int(call(c, "INCR n"), 1);
    server_end_process(&server);
    assert_null(redisCommand(c, "INCR n"));
    assert_int_not_equal(redisReconnect(c), REDIS_OK); /* nobody listens */
    assert_true(server_launch(&server, NULL));
    assert_int_equal(redisReconnect(c), REDIS_OK);
    assert_int_equal(redisSetTimeout(c, wait), REDIS_OK);
    is_text(call(c, "PING"), "PONG");
}

static void test_a_protocol_error_closes_the_connection(void **state)
{
    redisContext *bad = server_connect(&server);

    (void)state;
    assert_int_equal(redisAppendFormattedCommand(bad, "*1\r\n$x\r\n", 8),
                     REDIS_OK);
    is_error(next_reply(bad), "Protocol error: invalid bulk length");
    assert_null(redisCommand(bad, "PING"));
    redisFree(bad);
    is_text(call(c, "PING"), "PONG");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_commands_and_their_reply_types),
        T(test_blobs_of_every_byte_come_back_as_they_were),
        T(test_a_pipeline_of_ten_thousand_mixed_commands),
        T(test_a_transaction_sees_its_own_writes),
        T(test_a_transaction_fails_when_a_watched_set_changed),
        T(test_a_unix_socket_serves_the_same_data),
        T(test_a_killed_connection_can_be_made_again),
        T(test_clients_come_back_after_a_restart),
        T(test_a_protocol_error_closes_the_connection),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
