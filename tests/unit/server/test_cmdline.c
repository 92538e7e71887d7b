/* The command line of vectra-server. */
#include "unit/cm.h"

#include "server/cmdline.h"

static struct cmdline line;
static struct err_ctx ctx;

/* Parses words up to NULL behind the program's name. */
static enum err parse(const char *first, ...)
{
    static char *argv[16];
    int argc = 0;
    va_list ap;
    const char *word;

    argv[argc++] = (char *)(uintptr_t) "vectra-server";
    va_start(ap, first);
    for (word = first; word; word = va_arg(ap, const char *)) {
        argv[argc++] = (char *)(uintptr_t)word;
    }
    va_end(ap);
    ctx.text[0] = '\0';
    return cmdline_parse(argc, argv, &line, &ctx);
}

static void without_words_the_defaults_run(void **state)
{
    (void)state;
    assert_int_equal(parse(NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_RUN);
    assert_null(line.file);
    assert_false(line.from_stdin);
    assert_int_equal(line.n_options, 0);
}

static void the_first_word_may_be_a_file(void **state)
{
    (void)state;
    assert_int_equal(parse("a.conf", "--port", "1", NULL), ERR_OK);
    assert_string_equal(line.file, "a.conf");
    assert_int_equal(line.n_options, 2);
    assert_int_equal(parse("a.conf", "b.conf", NULL), ERR_SYNTAX);
    assert_string_equal(ctx.text, "what is 'b.conf'? See --help.");
}

static void a_dash_reads_standard_input(void **state)
{
    (void)state;
    assert_int_equal(parse("-", NULL), ERR_OK);
    assert_true(line.from_stdin);
    assert_null(line.file);
    assert_int_equal(parse("a.conf", "-", NULL), ERR_OK);
    assert_true(line.from_stdin);
    assert_int_equal(parse("--port", "1", "-", NULL), ERR_OK);
    assert_true(line.from_stdin);
    assert_int_equal(line.n_options, 2);
}

static void words_that_need_no_server_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(parse("--version", NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_VERSION);
    assert_int_equal(parse("-v", NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_VERSION);
    assert_int_equal(parse("--help", NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_HELP);
    assert_int_equal(parse("-h", NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_HELP);
    assert_int_equal(parse("--dump", "config", NULL), ERR_OK);
    assert_int_equal(line.action, CMDLINE_DUMP);
    assert_string_equal(line.dump, "config");
    assert_int_equal(parse("--dump", NULL), ERR_SYNTAX);
}

static void options_take_the_words_up_to_the_next_option(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(parse("--bind", "127.0.0.1", "-::1", "--PORT", "0",
                           "--requirepass", "", "--save", "", NULL),
                     ERR_OK);
    config_init(&c);
    assert_int_equal(cmdline_load(&line, &c, &ctx), ERR_OK);
    assert_string_equal(c.bind, "127.0.0.1 -::1");
    assert_int_equal(c.port, 0);
    config_deinit(&c);
}

static void errors_of_options_say_where_they_are(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(parse("--port", NULL), ERR_OK);
    assert_int_not_equal(cmdline_load(&line, &c, &ctx), ERR_OK);
    assert_string_equal(ctx.text,
                        "command line: port: wrong number of arguments");
    assert_int_equal(parse("--nonsense", "1", NULL), ERR_OK);
    assert_int_not_equal(cmdline_load(&line, &c, &ctx), ERR_OK);
    assert_string_equal(ctx.text, "command line: 'nonsense' is not a directive "
                                  "that Vectra has");
    assert_int_equal(parse("/no/such.conf", NULL), ERR_OK);
    assert_int_not_equal(cmdline_load(&line, &c, &ctx), ERR_OK);
    assert_string_equal(ctx.text,
                        "opening /no/such.conf: No such file or directory");
    config_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_words_the_defaults_run),
        cmocka_unit_test(the_first_word_may_be_a_file),
        cmocka_unit_test(a_dash_reads_standard_input),
        cmocka_unit_test(words_that_need_no_server_are_told_apart),
        cmocka_unit_test(options_take_the_words_up_to_the_next_option),
        cmocka_unit_test(errors_of_options_say_where_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
