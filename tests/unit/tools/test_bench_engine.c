/* The engine against the sink: every request sent and answered once, whatever
 * the shape of the load and of the replies; and failures told in words. */
#include "unit/cm.h"

#include <signal.h>

#include "base/mem.h"
#include "base/thread.h"
#include "tools/bench/bench_engine.h"
#include "tools/bench/bench_sink.h"

struct server {
    struct bench_sink *sink;
    struct thread *thread;
    _Atomic bool stop;
    struct bench_address address;
};

static void serve(void *arg)
{
    struct server *s = arg;

    bench_sink_serve(s->sink, &s->stop);
}

static void server_start(struct server *s, const char *reply, size_t reply_len,
                         uint64_t limit)
{
    struct err_ctx ctx = {""};

    memset(s, 0, sizeof(*s));
    if (bench_sink_open(NULL, 0, &s->sink, &ctx)) {
        fail_msg("%s", ctx.text);
    }
    bench_sink_answer(s->sink, bytes_of(reply, reply_len), limit);
    s->address = (struct bench_address){.host = "127.0.0.1",
                                        .port = bench_sink_port(s->sink),
                                        .timeout_ms = 30000};
    assert_int_equal(thread_start(&s->thread, "sink", serve, s), ERR_OK);
}

/* Returns how many requests the server answered. */
static uint64_t server_stop(struct server *s)
{
    uint64_t answered;

    atomic_store(&s->stop, true);
    thread_join(s->thread);
    answered = bench_sink_answered(s->sink);
    bench_sink_close(s->sink);
    return answered;
}

static float rows[3][50];
static const struct bench_vectors vectors = {
    .rows = (const uint8_t *)rows, .stride = 200, .n = 3, .dim = 50};
static const struct bench_template_env env = {.key = "k",
                                              .dim = 50,
                                              .batch = 1,
                                              .vectors = &vectors,
                                              .vec_n = 3,
                                              .row_n = 3};

static struct bench_outcome *out;
static struct err_ctx failure;

/* Runs `text` over the given shape; returns the engine's verdict. */
static enum err run(const struct server *s, const char *text, uint64_t n,
                    unsigned connections, unsigned pipeline, unsigned threads,
                    struct bench_job *more)
{
    struct bench_template *t;
    struct bench_job job = more ? *more : (struct bench_job){.seed = 1};
    enum err err;

    assert_int_equal(bench_template_compile(text, &env, &t, &failure), 0);
    job.address = &s->address;
    job.request = t;
    job.n_requests = n;
    job.connections = connections;
    job.pipeline = pipeline;
    job.threads = threads;
    err = bench_engine_run(&job, out, &failure);
    bench_template_destroy(t);
    return err;
}

static void every_request_is_answered_once(void **state)
{
    static const struct {
        uint64_t n;
        unsigned connections, pipeline, threads;
    } shapes[] = {{1, 1, 1, 1},        {1, 5, 7, 2},     {100, 3, 1, 1},
                  {5000, 1, 1000, 1},  {7777, 4, 16, 2}, {7777, 9, 3, 3},
                  {2000, 2, 100000, 2}};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(shapes); i++) {
        struct server s;

        server_start(&s, "+OK\r\n", 5, 0);
        if (run(&s, "VADD {key} FP32 {vec} {name}", shapes[i].n,
                shapes[i].connections, shapes[i].pipeline, shapes[i].threads,
                NULL)) {
            fail_msg("%s", failure.text);
        }
        assert_int_equal(server_stop(&s), shapes[i].n);
        assert_int_equal(out->requests, shapes[i].n);
        assert_int_equal(out->rows, shapes[i].n);
        assert_int_equal(out->hist[BENCH_READS].count, shapes[i].n);
        assert_int_equal(out->errors, 0);
    }
}

static void replies_of_any_shape_are_told_apart(void **state)
{
    static const char *const replies[] = {
        ":1\r\n", "#t\r\n", "_\r\n", "$3\r\na\r\n\r\n",
        "*2\r\n$1\r\nx\r\n%1\r\n+a\r\n,0.5\r\n", "|1\r\n+a\r\n:1\r\n:2\r\n",
        /* A push is no answer. */
        ">2\r\n+message\r\n+x\r\n+OK\r\n",
        "+a status that is longer than what the short path looks at\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(replies); i++) {
        struct server s;

        server_start(&s, replies[i], strlen(replies[i]), 0);
        if (run(&s, "PING", 20000, 3, 64, 1, NULL)) {
            fail_msg("%s", failure.text);
        }
        assert_int_equal(server_stop(&s), 20000);
        assert_int_equal(out->requests, 20000);
        assert_int_equal(out->errors, 0);
    }
}

static void errors_are_counted_and_the_first_is_kept(void **state)
{
    static const char *const replies[] = {"-ERR no \x01 such thing\r\n",
                                          "!19\r\nERR no \x01 such thing"
                                          "\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(replies); i++) {
        struct server s;

        server_start(&s, replies[i], strlen(replies[i]), 0);
        assert_int_equal(run(&s, "PING", 500, 2, 8, 2, NULL), ERR_OK);
        server_stop(&s);
        assert_int_equal(out->requests, 500);
        assert_int_equal(out->errors, 500);
        assert_string_equal(out->first_error, "ERR no ? such thing");
    }
}

/* What on_reply saw, by request. */
enum { CAPTURED = 50 };
static _Atomic unsigned seen[CAPTURED];

static void on_reply(void *arg, uint64_t index, const struct resp_reply *reply,
                     const uint8_t *data)
{
    struct bytes text = resp_reply_text(resp_reply_first(reply), data);

    assert_ptr_equal(arg, seen);
    assert_true(index < CAPTURED);
    assert_int_equal(reply->n, 2);
    assert_true(bytes_equal(text, bytes_str("x")));
    atomic_fetch_add(&seen[index], 1);
}

static void the_first_replies_are_handed_over_once_each(void **state)
{
    const char *reply = "*2\r\n$1\r\nx\r\n:5\r\n";
    struct bench_job job = {
        .seed = 1, .capture_n = CAPTURED, .on_reply = on_reply, .arg = seen};
    struct server s;
    int i;

    (void)state;
    server_start(&s, reply, strlen(reply), 0);
    assert_int_equal(run(&s, "PING", 5000, 7, 13, 3, &job), ERR_OK);
    server_stop(&s);
    assert_int_equal(out->requests, 5000);
    for (i = 0; i < CAPTURED; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
}

static void a_mixed_run_has_about_its_share_of_writes(void **state)
{
    struct bench_template *write;
    struct bench_job job = {.seed = 1, .write_percent = 20};
    struct server s;

    (void)state;
    assert_int_equal(bench_template_compile("SET a b", &env, &write, &failure),
                     0);
    job.write = write;
    server_start(&s, ":1\r\n", 4, 0);
    assert_int_equal(run(&s, "PING", 10000, 4, 16, 2, &job), ERR_OK);
    server_stop(&s);
    assert_in_range(out->hist[BENCH_WRITES].count, 1800, 2200);
    assert_int_equal(
        out->hist[BENCH_WRITES].count + out->hist[BENCH_READS].count, 10000);
    bench_template_destroy(write);
}

static void a_stopped_run_tells_what_it_did(void **state)
{
    static _Atomic bool stop;
    struct bench_job job = {.seed = 1, .stop = &stop};
    struct server s;

    (void)state;
    atomic_store(&stop, true);
    server_start(&s, "+OK\r\n", 5, 0);
    assert_int_equal(run(&s, "PING", 1u << 30, 1, 4, 1, &job), ERR_OK);
    server_stop(&s);
    assert_true(out->interrupted);
    assert_true(out->requests < 1u << 30);
}

static void a_run_ends_after_its_duration(void **state)
{
    struct bench_job job = {.seed = 1, .duration_ns = 20000000};
    struct server s;

    (void)state;
    server_start(&s, "+OK\r\n", 5, 0);
    assert_int_equal(run(&s, "PING", 0, 2, 16, 1, &job), ERR_OK);
    assert_int_equal(server_stop(&s), out->requests);
    assert_true(out->requests > 0);
}

static void malformed_replies_end_the_run(void **state)
{
    static const char *const replies[] = {
        "hello\r\n", ":x\r\n", "$5\r\nabc\r\n+OK\r\n", "+OK\r\n+OK\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(replies); i++) {
        struct server s;

        server_start(&s, replies[i], strlen(replies[i]), 0);
        assert_int_equal(run(&s, "PING", 1000, 1, 1, 1, NULL), ERR_CORRUPT);
        assert_non_null(strstr(failure.text, "malformed reply"));
        assert_non_null(strstr(failure.text, "127.0.0.1:"));
        server_stop(&s);
    }
}

static void a_closed_connection_ends_the_run(void **state)
{
    struct server s;

    (void)state;
    server_start(&s, "+OK\r\n", 5, 100);
    assert_int_equal(run(&s, "PING", 1000, 1, 10, 1, NULL), ERR_IO);
    server_stop(&s);
    /* Depending on when it is noticed: on reading or on sending. */
    assert_true(strstr(failure.text, "closed") ||
                strstr(failure.text, "reset") || strstr(failure.text, "pipe"));
    assert_true(out->requests <= 100);
}

static void silence_ends_the_run(void **state)
{
    struct server s;

    (void)state;
    server_start(&s, "", 0, 0);
    s.address.timeout_ms = 100;
    assert_int_equal(run(&s, "PING", 10, 2, 3, 1, NULL), ERR_TIMEOUT);
    assert_non_null(strstr(failure.text, "no reply"));
    server_stop(&s);
}

static void nobody_listening_is_told(void **state)
{
    struct server s;

    (void)state;
    server_start(&s, "", 0, 0);
    server_stop(&s); /* the port is free again */
    assert_int_equal(run(&s, "PING", 10, 2, 3, 1, NULL), ERR_IO);
    assert_non_null(strstr(failure.text, "refused"));
}

static void a_server_that_refuses_to_be_introduced_is_told(void **state)
{
    struct server s;

    (void)state;
    server_start(&s, "-NOAUTH go away\r\n", 17, 0);
    s.address.password = "x";
    assert_int_equal(run(&s, "PING", 10, 2, 3, 1, NULL), ERR_UNSUPPORTED);
    assert_non_null(strstr(failure.text, "AUTH: NOAUTH go away"));
    server_stop(&s);
}

static int make_outcome(void **state)
{
    (void)state;
    out = mem_calloc(1, sizeof(*out));
    return 0;
}

static int free_outcome(void **state)
{
    (void)state;
    mem_free(out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_answered_once),
        cmocka_unit_test(replies_of_any_shape_are_told_apart),
        cmocka_unit_test(errors_are_counted_and_the_first_is_kept),
        cmocka_unit_test(the_first_replies_are_handed_over_once_each),
        cmocka_unit_test(a_mixed_run_has_about_its_share_of_writes),
        cmocka_unit_test(a_stopped_run_tells_what_it_did),
        cmocka_unit_test(a_run_ends_after_its_duration),
        cmocka_unit_test(malformed_replies_end_the_run),
        cmocka_unit_test(a_closed_connection_ends_the_run),
        cmocka_unit_test(silence_ends_the_run),
        cmocka_unit_test(nobody_listening_is_told),
        cmocka_unit_test(a_server_that_refuses_to_be_introduced_is_told),
    };

    return cmocka_run_group_tests(tests, make_outcome, free_outcome);
}
