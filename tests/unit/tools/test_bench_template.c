/* Command templates: what bytes a request becomes. */
#include "unit/cm.h"

#include "base/mem.h"
#include "tools/bench/bench_template.h"

/* Five rows of two floats; names and attributes for them. */
static float matrix[5][2] = {
    {0.5F, 1}, {2, -3}, {0.25F, 0}, {7, 8}, {-0.1F, 1e6F}};
static const struct bench_vectors vectors = {
    .rows = (const uint8_t *)matrix, .stride = 8, .n = 5, .dim = 2};

static uint64_t name_starts[] = {0, 2, 5, 9, 14, 15};
static const struct bench_lines names = {
    .file = {(const uint8_t *)"a\nbb\nccc\ndddd\n\n", 15},
    .starts = name_starts,
    .n = 5};

static struct bench_template_env plain_env(void)
{
    return (struct bench_template_env){.key = "k",
                                       .k = 10,
                                       .ef = 50,
                                       .dim = 2,
                                       .batch = 1,
                                       .seed = 1,
                                       .vectors = &vectors,
                                       .vec_n = 5,
                                       .decimals = -1,
                                       .row_n = 5};
}

/* Renders request `index` and compares; `want` may hold NULs. */
static void assert_request(const char *text,
                           const struct bench_template_env *env, uint64_t index,
                           const char *want, size_t want_len)
{
    struct bench_template *t;
    struct buf out = BUF_INIT, scratch = BUF_INIT;
    struct err_ctx ctx = {""};

    if (bench_template_compile(text, env, &t, &ctx)) {
        fail_msg("%s", ctx.text);
    }
    bench_template_render(t, index, &out, &scratch);
    if (out.len != want_len || memcmp(out.data, want, want_len) != 0) {
        fail_msg("got '%.*s', wanted '%s'", (int)out.len, (char *)out.data,
                 want);
    }
    bench_template_destroy(t);
    buf_deinit(&out);
    buf_deinit(&scratch);
}

#define ASSERT_REQUEST(text, env, index, want)                                 \
    assert_request(text, env, index, want, sizeof(want) - 1)

static void assert_refused(const char *text,
                           const struct bench_template_env *env, enum err want,
                           const char *word)
{
    struct bench_template *t;
    struct err_ctx ctx = {""};

    assert_int_equal(bench_template_compile(text, env, &t, &ctx), want);
    if (!strstr(ctx.text, word)) {
        fail_msg("'%s' does not say '%s'", ctx.text, word);
    }
}

static void words_become_arguments(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    ASSERT_REQUEST("PING", &e, 0, "*1\r\n$4\r\nPING\r\n");
    ASSERT_REQUEST("SET a \"x y\\n\" ''", &e, 0,
                   "*4\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\nx y\n\r\n$0\r\n\r\n");
}

static void constants_are_filled_in(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    ASSERT_REQUEST("X {key} {k} p{ef}q{dim}", &e, 3,
                   "*4\r\n$1\r\nX\r\n$1\r\nk\r\n$2\r\n10\r\n$5\r\np50q2\r\n");
}

static void an_unknown_placeholder_is_text(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    ASSERT_REQUEST("X '{\"a\":1}' {foo} {rand:0} {", &e, 0,
                   "*5\r\n$1\r\nX\r\n$7\r\n{\"a\":1}\r\n$5\r\n{foo}\r\n"
                   "$8\r\n{rand:0}\r\n$1\r\n{\r\n");
}

static void rows_follow_the_number_of_the_request(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    ASSERT_REQUEST("V {vec} {name}", &e, 1,
                   "*3\r\n$1\r\nV\r\n$8\r\n\0\0\0\x40\0\0\x40\xc0\r\n"
                   "$1\r\n1\r\n");
    /* The seventh request is the second row again. */
    ASSERT_REQUEST("V {vec} {name}", &e, 6,
                   "*3\r\n$1\r\nV\r\n$8\r\n\0\0\0\x40\0\0\x40\xc0\r\n"
                   "$1\r\n1\r\n");
}

static void a_range_of_rows_starts_at_its_first(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    e.vec_first = e.row_first = 3;
    e.vec_n = e.row_n = 2;
    e.names = &names;
    ASSERT_REQUEST("V {name}", &e, 0, "*2\r\n$1\r\nV\r\n$4\r\ndddd\r\n");
    ASSERT_REQUEST("V {name}", &e, 1, "*2\r\n$1\r\nV\r\n$0\r\n\r\n");
    ASSERT_REQUEST("V {name}", &e, 2, "*2\r\n$1\r\nV\r\n$4\r\ndddd\r\n");
}

static void names_go_their_own_round_beside_fewer_queries(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    e.vec_n = 2;
    ASSERT_REQUEST("V {values} {name}", &e, 4,
                   "*5\r\n$1\r\nV\r\n$1\r\n2\r\n$3\r\n0.5\r\n$1\r\n1\r\n"
                   "$1\r\n4\r\n");
}

static void names_come_from_their_file(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    e.names = &names;
    e.attrs = &names;
    e.query_names = &names;
    ASSERT_REQUEST("V pre:{name}:{attr} {query-name}", &e, 2,
                   "*3\r\n$1\r\nV\r\n$11\r\npre:ccc:ccc\r\n$3\r\nccc\r\n");
}

static void values_are_many_arguments(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    ASSERT_REQUEST("V {values} e", &e, 4,
                   "*5\r\n$1\r\nV\r\n$1\r\n2\r\n$4\r\n-0.1\r\n$7\r\n1000000"
                   "\r\n$1\r\ne\r\n");
    e.decimals = 2;
    ASSERT_REQUEST("V {values} e", &e, 1,
                   "*5\r\n$1\r\nV\r\n$1\r\n2\r\n$4\r\n2.00\r\n$5\r\n-3.00\r\n"
                   "$1\r\ne\r\n");
}

static void values_made_before_are_the_same(void **state)
{
    struct bench_template_env e = plain_env();
    struct bench_values *values;

    (void)state;
    assert_int_equal(
        bench_values_create(&vectors, 0, 5, -1, 2, 1 << 20, &values), ERR_OK);
    e.values = values;
    ASSERT_REQUEST("V {values} e", &e, 4,
                   "*5\r\n$1\r\nV\r\n$1\r\n2\r\n$4\r\n-0.1\r\n$7\r\n1000000"
                   "\r\n$1\r\ne\r\n");
    bench_values_destroy(values);
}

static void batches_carry_rows_and_the_last_one_fewer(void **state)
{
    struct bench_template_env e = plain_env();
    struct bench_template *t;
    struct err_ctx ctx;

    (void)state;
    e.batch = 3;
    ASSERT_REQUEST("M {n} {vecs} {names}", &e, 0,
                   "*6\r\n$1\r\nM\r\n$1\r\n3\r\n"
                   "$24\r\n\0\0\0\x3f\0\0\x80\x3f\0\0\0\x40\0\0\x40\xc0"
                   "\0\0\x80\x3e\0\0\0\0\r\n"
                   "$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    ASSERT_REQUEST("M {n} {names}", &e, 1,
                   "*4\r\n$1\r\nM\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n");
    ASSERT_REQUEST("M {n} {names}", &e, 2,
                   "*5\r\n$1\r\nM\r\n$1\r\n3\r\n"
                   "$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_int_equal(bench_template_compile("M {n} {vecs}", &e, &t, &ctx), 0);
    assert_int_equal(bench_template_pass(t), 2);
    assert_int_equal(bench_template_rows(t, 0), 3);
    assert_int_equal(bench_template_rows(t, 3), 2);
    assert_int_equal(bench_template_first(t, 3), 3);
    bench_template_destroy(t);
}

static void random_numbers_are_below_and_repeat_by_seed(void **state)
{
    struct bench_template_env e = plain_env();
    struct bench_template *t;
    struct buf a = BUF_INIT, b = BUF_INIT, scratch = BUF_INIT;
    struct err_ctx ctx;
    unsigned seen[10] = {0};
    uint64_t i;

    (void)state;
    assert_int_equal(bench_template_compile("{rand:10}", &e, &t, &ctx), 0);
    for (i = 0; i < 1000; i++) {
        a.len = b.len = 0;
        bench_template_render(t, i, &a, &scratch);
        bench_template_render(t, i, &b, &scratch);
        assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
        assert_int_equal(a.len, 11); /* *1 $1 and one digit */
        seen[a.data[8] - '0']++;
    }
    for (i = 0; i < 10; i++) {
        assert_in_range(seen[i], 50, 150);
    }
    bench_template_destroy(t);
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&scratch);
}

static void index_is_the_number_of_the_request(void **state)
{
    struct bench_template_env e = {.key = "k", .batch = 1};

    (void)state;
    ASSERT_REQUEST("GET set:{index}", &e, 1234567,
                   "*2\r\n$3\r\nGET\r\n$11\r\nset:1234567\r\n");
}

static void words_that_ask_for_more_are_counted(void **state)
{
    struct bench_template_env e = plain_env();
    struct bench_template *t;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(
        bench_template_compile("VSIM {key} FP32 {vec} withscores WITHATTRIBS",
                               &e, &t, &ctx),
        0);
    assert_int_equal(bench_template_extras(t), 2);
    assert_true(bench_template_uses_vectors(t));
    assert_false(bench_template_uses_values(t));
    bench_template_destroy(t);
}

static void what_the_run_has_not_got_is_refused(void **state)
{
    struct bench_template_env e = {.key = "k", .batch = 1};

    (void)state;
    assert_refused("V {vec}", &e, ERR_NOT_FOUND, "{vec} needs vectors");
    assert_refused("V {values}", &e, ERR_NOT_FOUND, "{values}");
    assert_refused("V {name}", &e, ERR_NOT_FOUND, "{name}");
    assert_refused("V x{name}", &e, ERR_NOT_FOUND, "{name}");
    assert_refused("V {ef}", &e, ERR_NOT_FOUND, "--ef");
    e = plain_env();
    assert_refused("V {attr}", &e, ERR_NOT_FOUND, "attrs.jsonl");
    assert_refused("V {query-name}", &e, ERR_NOT_FOUND, "queries.txt");
}

static void malformed_templates_are_refused(void **state)
{
    struct bench_template_env e = plain_env();

    (void)state;
    assert_refused("", &e, ERR_SYNTAX, "no words");
    assert_refused("SET \"a", &e, ERR_SYNTAX, "quotes");
    assert_refused("SET x{vec}", &e, ERR_SYNTAX, "word of its own");
    assert_refused("SET {names}s", &e, ERR_SYNTAX, "word of its own");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_arguments),
        cmocka_unit_test(constants_are_filled_in),
        cmocka_unit_test(an_unknown_placeholder_is_text),
        cmocka_unit_test(rows_follow_the_number_of_the_request),
        cmocka_unit_test(a_range_of_rows_starts_at_its_first),
        cmocka_unit_test(names_go_their_own_round_beside_fewer_queries),
        cmocka_unit_test(names_come_from_their_file),
        cmocka_unit_test(values_are_many_arguments),
        cmocka_unit_test(values_made_before_are_the_same),
        cmocka_unit_test(batches_carry_rows_and_the_last_one_fewer),
        cmocka_unit_test(random_numbers_are_below_and_repeat_by_seed),
        cmocka_unit_test(index_is_the_number_of_the_request),
        cmocka_unit_test(words_that_ask_for_more_are_counted),
        cmocka_unit_test(what_the_run_has_not_got_is_refused),
        cmocka_unit_test(malformed_templates_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
