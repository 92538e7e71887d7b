/* The command line, and the built-in commands it leads to. */
#include "unit/cm.h"

#include "base/split.h"
#include "tools/bench/bench_commands.h"

/* Parses a line as a shell would split it. The options point into `line`,
 * which stays until the next call. */
static enum err parse(const char *text, struct bench_options *o,
                      struct err_ctx *ctx)
{
    static char line[512];
    static char words[32][128];
    char *argv[33] = {words[0]};
    struct bytes found[32];
    size_t n, i;

    snprintf(line, sizeof(line), "vectra-benchmark %s", text);
    assert_int_equal(split_words(line, strlen(line), found, 32, &n), 0);
    for (i = 0; i < n; i++) {
        snprintf(words[i], sizeof(words[i]), "%.*s", (int)found[i].len,
                 (const char *)found[i].data);
        argv[i] = words[i];
    }
    return bench_options_parse((int)n, argv, o, ctx);
}

static void assert_refused(const char *text, const char *words)
{
    struct bench_options o;
    struct err_ctx ctx = {""};

    assert_int_equal(parse(text, &o, &ctx), ERR_SYNTAX);
    if (!strstr(ctx.text, words)) {
        fail_msg("'%s' does not say '%s'", ctx.text, words);
    }
}

static void defaults_hold_where_nothing_is_said(void **state)
{
    struct bench_options o;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(parse("--mode ping", &o, &ctx), 0);
    assert_string_equal(o.host, "127.0.0.1");
    assert_int_equal(o.port, 6379);
    assert_int_equal(o.connections, 8);
    assert_int_equal(o.pipeline, 1);
    assert_int_equal(o.k, 10);
    assert_int_equal(o.n_ef, 1);
    assert_int_equal(o.ef_list[0], 0);
    assert_int_equal(o.decimals, -1);
    assert_true(o.check_recall < 0);
}

static void both_forms_of_options_are_read(void **state)
{
    struct bench_options o;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(parse("-p 7000 -h box -c 4 -P 16 --threads=2 -3 "
                           "--random=10,4 --metric l2 --ef 5,10 "
                           "--duration 1.5 --check-recall 0.9",
                           &o, &ctx),
                     0);
    assert_int_equal(o.port, 7000);
    assert_string_equal(o.host, "box");
    assert_int_equal(o.connections, 4);
    assert_int_equal(o.pipeline, 16);
    assert_int_equal(o.threads, 2);
    assert_true(o.resp3);
    assert_string_equal(o.random, "10,4");
    assert_int_equal(o.metric, VEC_L2);
    assert_int_equal(o.n_ef, 2);
    assert_int_equal(o.ef_list[1], 10);
    assert_true(o.duration_s == 1.5);
    assert_true(o.check_recall == 0.9);
}

static void a_command_alone_means_raw(void **state)
{
    struct bench_options o;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(parse("--command PING", &o, &ctx), 0);
    assert_int_equal(o.mode, BENCH_MODE_RAW);
    assert_int_equal(parse("--random 5,5", &o, &ctx), 0);
    assert_int_equal(o.mode, BENCH_MODE_LOAD);
}

static void more_threads_than_connections_are_cut(void **state)
{
    struct bench_options o;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(parse("--mode ping -c 2 --threads 8", &o, &ctx), 0);
    assert_int_equal(o.threads, 2);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    assert_refused("--foo", "'--foo'");
    assert_refused("-x", "'-x'");
    assert_refused("stray", "'stray'");
    assert_refused("--", "'--'");
    assert_refused("--json=1", "--json=1");
    assert_refused("--mode ping -p", "-p needs a value");
    assert_refused("--mode ping -p 70000", "--port");
    assert_refused("--mode ping -p 1x", "--port");
    assert_refused("--mode ping -c 0", "--connections");
    assert_refused("--mode ping -n 1.5", "--requests");
    assert_refused("--mode fly", "load|search|mixed|ping|raw");
    assert_refused("--mode pin", "'pin'");
    assert_refused("--mode ping --ef 5,", "--ef");
    assert_refused("--mode ping --ef 0", "--ef");
    assert_refused("--mode ping --duration nan", "--duration");
}

static void options_that_exclude_each_other_are_refused(void **state)
{
    (void)state;
    assert_refused("", "--data or --random");
    assert_refused("--data x --random 1,1", "either");
    assert_refused("--mode raw", "--command");
    assert_refused("--mode ping -n 5 --duration 1", "either");
    assert_refused("--random 5,5 --peer redis8 --metric l2", "redis8");
    assert_refused("--random 5,5 --peer redis8 --batch 5", "redis8");
    assert_refused("--random 5,5 --batch 5 --values", "--batch");
    assert_refused("--random 5,5 --mode mixed --command x", "mixed");
}

static void assert_commands(const char *line, const char *request,
                            const char *write, const char *create)
{
    struct bench_options o;
    struct bench_commands c;
    struct err_ctx ctx = {""};

    if (parse(line, &o, &ctx)) {
        fail_msg("%s", ctx.text);
    }
    bench_commands_init(&o, o.ef_list[0] != 0, &c);
    assert_string_equal(c.request, request);
    assert_string_equal(c.write ? c.write : "-", write);
    assert_string_equal(c.create ? c.create : "-", create);
    bench_commands_deinit(&c);
}

static void each_mode_has_its_command(void **state)
{
    (void)state;
    assert_commands("--random 5,5", "VADD {key} FP32 {vec} {name}", "-", "-");
    assert_commands("--random 5,5 --values --quant noquant --attrs",
                    "VADD {key} VALUES {values} {name} NOQUANT SETATTR {attr}",
                    "-", "-");
    assert_commands("--random 5,5 --batch 7 --quant bin --attrs",
                    "VMADD {key} {n} FP32 {vecs} {names} BIN ATTRS {attrs}",
                    "-", "-");
    assert_commands("--random 5,5 --metric l2 --quant q8 --index IVF",
                    "VADD {key} FP32 {vec} {name} Q8", "-",
                    "VCREATE {key} DIM {dim} METRIC l2 Q8 INDEX IVF");
    assert_commands("--random 5,5 --quant fp16", "VADD {key} FP32 {vec} {name}",
                    "-", "VCREATE {key} DIM {dim} METRIC cosine FP16");
    assert_commands("--random 5,5 --mode search --ef 50",
                    "VSEARCH {key} FP32 {vec} K {k} EF {ef}", "-", "-");
    assert_commands("--random 5,5 --mode search --exact --batch 4",
                    "VMSEARCH {key} {n} FP32 {vecs} K {k} EXACT", "-", "-");
    assert_commands("--random 5,5 --mode search --peer redis8 --exact "
                    "--append WITHSCORES",
                    "VSIM {key} FP32 {vec} COUNT {k} TRUTH WITHSCORES", "-",
                    "-");
    assert_commands("--random 5,5 --mode search --filter '.a == \"x\"'",
                    "VSEARCH {key} FP32 {vec} K {k} FILTER "
                    "\".a == \\\"x\\\"\"",
                    "-", "-");
    assert_commands("--random 5,5 --mode mixed --metric l1",
                    "VSEARCH {key} FP32 {vec} K {k}",
                    "VADD {key} FP32 {vec} {name}", "-");
    assert_commands("--mode ping", "PING", "-", "-");
}

/* Every option of the table is shown. */
static void the_help_names_every_option(void **state)
{
    static const char *const some[] = {
        "-h, --host HOST",       "--check-recall R",           "-3 ",
        "--random N,DIM[,KIND]", "load|search|mixed|ping|raw", "{values}"};
    char *text = NULL;
    size_t len, i;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    bench_options_help(f);
    fclose(f);
    for (i = 0; i < ARRAY_LEN(some); i++) {
        if (!strstr(text, some[i])) {
            fail_msg("the help does not show '%s'", some[i]);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_where_nothing_is_said),
        cmocka_unit_test(both_forms_of_options_are_read),
        cmocka_unit_test(a_command_alone_means_raw),
        cmocka_unit_test(more_threads_than_connections_are_cut),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(options_that_exclude_each_other_are_refused),
        cmocka_unit_test(each_mode_has_its_command),
        cmocka_unit_test(the_help_names_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
