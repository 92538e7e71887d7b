/* Directives, configuration files, includes, CONFIG REWRITE, vectra.conf. */
#include "unit/cm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "server/config.h"

static enum err load(struct config *c, const char *text, struct err_ctx *ctx)
{
    return config_load_text(c, "test.conf", bytes_str(text), true, ctx);
}

static void must_load(struct config *c, const char *text)
{
    struct err_ctx ctx = {""};

    if (load(c, text, &ctx) != ERR_OK) {
        fail_msg("'%s': %s", text, ctx.text);
    }
}

/* A text that is refused with these words. */
static void assert_refused(const char *text, const char *words)
{
    struct err_ctx ctx = {""};
    struct config c;

    config_init(&c);
    assert_int_not_equal(load(&c, text, &ctx), ERR_OK);
    assert_string_equal(ctx.text, words);
    config_deinit(&c);
}

static const char *value_of(const struct config *c, const char *name)
{
    static char text[512];
    struct buf out = BUF_INIT;

    config_print(c, config_find(bytes_str(name)), &out);
    assert_true(out.len < sizeof(text));
    if (out.len) {
        memcpy(text, out.data, out.len);
    }
    text[out.len] = '\0';
    buf_deinit(&out);
    return text;
}

static void assert_value(const char *conf, const char *name, const char *want)
{
    struct config c;

    config_init(&c);
    must_load(&c, conf);
    assert_string_equal(value_of(&c, name), want);
    config_deinit(&c);
}

static void assert_same(const struct config *a, const struct config *b)
{
    const struct config_directive *d;
    size_t i;

    for (i = 0; (d = config_at(i)); i++) {
        if (!config_equal(a, b, d)) {
            fail_msg("%s differs: %s", config_name(d),
                     value_of(a, config_name(d)));
        }
    }
}

/* ---- values ------------------------------------------------------------ */

static void defaults_are_those_of_redis(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(c.port, 6379);
    assert_string_equal(c.bind, "* -::*");
    assert_true(c.protected_mode);
    assert_int_equal(c.databases, 16);
    assert_int_equal(c.loglevel, LOG_NOTICE);
    assert_int_equal(c.maxclients, 10000);
    assert_int_equal(c.maxmemory, 0);
    assert_string_equal(c.requirepass, "");
    assert_int_equal(c.slowlog_log_slower_than, 10000);
    assert_string_equal(
        value_of(&c, "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
    config_deinit(&c);
}

static void every_default_is_read_back_from_its_line(void **state)
{
    const struct config_directive *d;
    struct buf lines = BUF_INIT;
    struct config c, again;
    size_t i;

    (void)state;
    config_init(&c);
    config_init(&again);
    for (i = 0; (d = config_at(i)); i++) {
        config_print_lines(&c, d, &lines);
        assert_ptr_equal(config_find(bytes_str(config_name(d))), d);
    }
    assert_true(i > 30);
    buf_append_byte(&lines, '\0');
    must_load(&again, (char *)lines.data);
    assert_same(&c, &again);
    buf_deinit(&lines);
    config_deinit(&c);
    config_deinit(&again);
}

static void sizes_take_units_of_any_case(void **state)
{
    static const struct {
        const char *text, *bytes;
    } cases[] = {
        {"0", "0"},
        {"17", "17"},
        {"17b", "17"},
        {"1k", "1000"},
        {"1kb", "1024"},
        {"3M", "3000000"},
        {"3Mb", "3145728"},
        {"2g", "2000000000"},
        {"2GB", "2147483648"},
        {"9223372036854775807", "9223372036854775807"},
    };
    char line[128];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(line, sizeof(line), "maxmemory %s", cases[i].text);
        assert_value(line, "maxmemory", cases[i].bytes);
    }
}

static void what_is_no_size_is_refused(void **state)
{
    static const char *const cases[] = {"x",
                                        "1x",
                                        "1kbx",
                                        "-1",
                                        "1.5gb",
                                        "\"\"",
                                        "9223372036854775808",
                                        "9223372036854775807kb",
                                        "1 kb x",
                                        "101%",
                                        "-1%",
                                        "%"};
    char line[128];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;

        config_init(&c);
        snprintf(line, sizeof(line), "maxmemory %s", cases[i]);
        assert_int_not_equal(load(&c, line, NULL), ERR_OK);
        assert_int_equal(c.maxmemory, 0);
        config_deinit(&c);
    }
}

static void maxmemory_may_be_a_share_of_the_machine(void **state)
{
    int64_t all =
        (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    struct config c;

    (void)state;
    config_init(&c);
    must_load(&c, "maxmemory 50%");
    assert_true(c.maxmemory > all / 2 - (1 << 20) && c.maxmemory <= all / 2);
    config_deinit(&c);
    assert_refused("proto-max-bulk-len 50%",
                   "test.conf line 1: proto-max-bulk-len: argument must be a "
                   "memory value");
}

static void numbers_are_held_to_their_limits(void **state)
{
    (void)state;
    assert_value("port 65535", "port", "65535");
    assert_refused("port 65536", "test.conf line 1: port: argument must be "
                                 "between 0 and 65535 inclusive");
    assert_refused("port x", "test.conf line 1: port: argument couldn't be "
                             "parsed into an integer");
    assert_refused("databases 0", "test.conf line 1: databases: argument must "
                                  "be between 1 and 1024 inclusive");
    assert_refused("unixsocketperm 789",
                   "test.conf line 1: unixsocketperm: argument couldn't be "
                   "parsed as an octal number");
    assert_refused("unixsocketperm 1000",
                   "test.conf line 1: unixsocketperm: argument must be between "
                   "0 and 777 inclusive");
    assert_value("unixsocketperm 770", "unixsocketperm", "770");
    assert_value("hz 0", "hz", "1");
    assert_value("hz 100000", "hz", "500");
}

static void words_are_taken_from_their_lists(void **state)
{
    (void)state;
    assert_value("LogLevel VERBOSE", "loglevel", "verbose");
    assert_refused("loglevel loud",
                   "test.conf line 1: loglevel: argument(s) must be one of the "
                   "following: debug, verbose, notice, warning, nothing");
    assert_value("protected-mode NO", "protected-mode", "no");
    assert_refused("protected-mode 0",
                   "test.conf line 1: protected-mode: argument must be 'yes' "
                   "or 'no'");
    assert_refused("maxmemory-policy allkeys-lru",
                   "test.conf line 1: maxmemory-policy: argument(s) must be "
                   "one of the following: noeviction");
}

static void bind_takes_words_up_to_sixteen(void **state)
{
    (void)state;
    assert_value("bind 127.0.0.1   -::1", "bind", "127.0.0.1 -::1");
    assert_value("bind \"\"", "bind", "");
    assert_value("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "bind",
                 "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
    assert_refused("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
                   "test.conf line 1: bind: Too many bind addresses "
                   "specified.");
}

static void output_limits_change_the_classes_named_only(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    must_load(&c, "client-output-buffer-limit slave 1mb 1kb 9\n"
                  "client-output-buffer-limit pubsub 0 0 0");
    assert_int_equal(c.output_limit[CONN_NORMAL].hard_bytes, 0);
    assert_int_equal(c.output_limit[CONN_REPLICA].hard_bytes, 1 << 20);
    assert_int_equal(c.output_limit[CONN_REPLICA].soft_bytes, 1024);
    assert_int_equal(c.output_limit[CONN_REPLICA].soft_seconds, 9);
    assert_int_equal(c.output_limit[CONN_PUBSUB].hard_bytes, 0);
    config_deinit(&c);
    assert_refused("client-output-buffer-limit pubsub 1 2",
                   "test.conf line 1: client-output-buffer-limit: Wrong number "
                   "of arguments in buffer limit configuration.");
    assert_refused("client-output-buffer-limit other 1 2 3",
                   "test.conf line 1: client-output-buffer-limit: Invalid "
                   "client class specified in buffer limit configuration.");
    assert_refused("client-output-buffer-limit pubsub 1 2 -3",
                   "test.conf line 1: client-output-buffer-limit: Error in "
                   "hard, soft or soft_seconds setting in buffer limit "
                   "configuration.");
}

static void what_does_not_exist_takes_only_the_value_that_says_so(void **state)
{
    (void)state;
    assert_refused("appenddirname a/b",
                   "test.conf line 1: appenddirname: appenddirname can't be a "
                   "path, just a name");
    assert_refused("appendfilename \"\"",
                   "test.conf line 1: appendfilename: appendfilename can't be "
                   "a path, just a name");
    assert_refused("appendonly maybe", "test.conf line 1: appendonly: argument "
                                       "must be 'yes' or 'no'");
}

static void save_points_add_up_line_by_line(void **state)
{
    (void)state;
    assert_value("", "save", "3600 1 300 100 60 10000");
    assert_value("save 900 1", "save", "900 1");
    assert_value("save 900 1 60 5\nsave 1 0", "save", "900 1 60 5 1 0");
    assert_value("save 900 1\nsave \"\"\n", "save", "");
    assert_value("save ''\nsave 7 8", "save", "7 8");
    assert_refused("save 900", "test.conf line 1: save: Invalid save "
                               "parameters");
    assert_refused("save 0 1", "test.conf line 1: save: Invalid save "
                               "parameters");
    assert_refused("save 1 -1", "test.conf line 1: save: Invalid save "
                                "parameters");
    assert_refused("save 1 x", "test.conf line 1: save: Invalid save "
                               "parameters");
}

static void a_file_name_is_no_path(void **state)
{
    (void)state;
    assert_value("dbfilename x.rdb", "dbfilename", "x.rdb");
    assert_refused("dbfilename a/b", "test.conf line 1: dbfilename: dbfilename "
                                     "can't be a path, just a name");
    assert_refused("dbfilename ''", "test.conf line 1: dbfilename: dbfilename "
                                    "can't be a path, just a name");
}

static void texts_of_any_bytes_survive_their_line(void **state)
{
    static const char *const texts[] = {
        "plain",       "two words", "\"quoted\"",   "it's",
        "back\\slash", "#hash",     "tab\tnl\nend", "\x01\x7f\xff\xc3\xa9",
        " ",           "x\"",       "\\n"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf line = BUF_INIT;
        struct config c, again;
        const struct config_directive *d =
            config_find(bytes_str("requirepass"));

        config_init(&c);
        config_init(&again);
        assert_int_equal(config_parse_set(&c, d, bytes_str(texts[i]), NULL),
                         ERR_OK);
        config_print_lines(&c, d, &line);
        buf_append_byte(&line, '\0');
        must_load(&again, (char *)line.data);
        assert_string_equal(again.requirepass, texts[i]);
        buf_deinit(&line);
        config_deinit(&c);
        config_deinit(&again);
    }
}

static void a_text_with_a_zero_byte_is_refused(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(config_parse_set(&c, config_find(bytes_str("requirepass")),
                                      bytes_of("a\0b", 3), NULL),
                     ERR_SYNTAX);
    assert_string_equal(c.requirepass, "");
    config_deinit(&c);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    struct config c, before;
    struct bytes bad = bytes_str("bad value, too long, and all wrong ");
    const struct config_directive *d;
    size_t i, refused = 0;

    (void)state;
    config_init(&c);
    must_load(&c, "port 1\nmaxmemory 1mb\nbind 127.0.0.1\nloglevel debug");
    config_copy(&before, &c);
    for (i = 0; (d = config_at(i)); i++) {
        refused += config_parse_set(&c, d, bad, NULL) != ERR_OK;
        if (strcmp(config_name(d), "bind") == 0) {
            must_load(&c, "bind 127.0.0.1"); /* takes any words */
        }
    }
    assert_true(refused > 20);
    must_load(&c, "unixsocket \"\"\npidfile \"\"\nlogfile \"\"\ndir ./\n"
                  "dbfilename dump.rdb\n"
                  "requirepass \"\"\nappendfilename appendonly.aof\n"
                  "appenddirname appendonlydir");
    assert_same(&c, &before);
    config_deinit(&before);
    config_deinit(&c);
}

static void a_copy_is_independent(void **state)
{
    struct config a, b;

    (void)state;
    config_init(&a);
    must_load(&a, "requirepass one\nbind 10.0.0.1");
    config_copy(&b, &a);
    must_load(&a, "requirepass two\nbind 10.0.0.2");
    assert_string_equal(b.requirepass, "one");
    assert_string_equal(b.bind, "10.0.0.1");
    config_deinit(&a);
    assert_string_equal(b.requirepass, "one");
    config_deinit(&b);
}

/* ---- files ------------------------------------------------------------- */

static void comments_blanks_and_line_ends_do_not_matter(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    must_load(&c, "# port 1\n\n   \t\n  port   7000  \r\n\t# more\r\n"
                  "requirepass 'a b'\nrequirepass \"c\\x20d\"");
    assert_int_equal(c.port, 7000);
    assert_string_equal(c.requirepass, "c d");
    config_deinit(&c);
}

static void the_last_of_two_lines_counts(void **state)
{
    (void)state;
    assert_value("port 1\nPORT 2", "port", "2");
}

static void an_unknown_directive_is_named_with_its_line(void **state)
{
    (void)state;
    assert_refused(
        "port 1\n\nhash-max-listpack-entries 1\nother 1",
        "test.conf line 3: 'hash-max-listpack-entries' is not a directive that "
        "Vectra has");
}

static void the_number_of_values_is_checked(void **state)
{
    (void)state;
    assert_refused("port", "test.conf line 1: port: wrong number of arguments");
    assert_refused("port 1 2",
                   "test.conf line 1: port: wrong number of arguments");
    assert_refused("bind", "test.conf line 1: bind: wrong number of arguments");
    assert_refused("include",
                   "test.conf line 1: include: wrong number of arguments");
    assert_refused("requirepass \"a",
                   "test.conf line 1: Unbalanced quotes in configuration line");
}

static void a_password_is_not_repeated_in_an_error(void **state)
{
    struct err_ctx ctx = {""};
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_not_equal(load(&c, "requirepass s3cret extra", &ctx), ERR_OK);
    assert_null(strstr(ctx.text, "s3cret"));
    assert_int_not_equal(load(&c, "requirepass \"s3cret", &ctx), ERR_OK);
    assert_null(strstr(ctx.text, "s3cret"));
    config_deinit(&c);
}

/* ---- includes ---------------------------------------------------------- */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/vectra-test-config-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(file_replace(path_of(name), bytes_str(text), NULL),
                     ERR_OK);
}

static void an_include_is_read_where_it_stands(void **state)
{
    char text[512];
    struct config c;

    (void)state;
    put("inc.conf", "port 2\ntimeout 2\n");
    snprintf(text, sizeof(text), "port 1\ninclude %s\ntimeout 3",
             path_of("inc.conf"));
    config_init(&c);
    must_load(&c, text);
    assert_int_equal(c.port, 2);
    assert_int_equal(c.timeout, 3);
    config_deinit(&c);
}

static void a_pattern_includes_all_that_match_or_none(void **state)
{
    char text[512];
    struct config c;

    (void)state;
    put("a.part", "port 21\n");
    put("b.part", "timeout 22\n");
    snprintf(text, sizeof(text), "include %s", path_of("*.part"));
    config_init(&c);
    must_load(&c, text);
    assert_int_equal(c.port, 21);
    assert_int_equal(c.timeout, 22);
    snprintf(text, sizeof(text), "include %s", path_of("*.nothing"));
    must_load(&c, text);
    config_deinit(&c);
}

static void a_missing_include_is_an_error(void **state)
{
    char text[512], words[512];

    (void)state;
    snprintf(text, sizeof(text), "include %s", path_of("none.conf"));
    snprintf(words, sizeof(words),
             "test.conf line 1: opening %s: No such file or directory",
             path_of("none.conf"));
    assert_refused(text, words);
}

static void an_error_in_an_include_names_both_files(void **state)
{
    char text[512], words[512];

    (void)state;
    put("bad.conf", "\nport x\n");
    snprintf(text, sizeof(text), "include %s", path_of("bad.conf"));
    snprintf(words, sizeof(words),
             "test.conf line 1: %s line 2: port: argument couldn't be parsed "
             "into an integer",
             path_of("bad.conf"));
    assert_refused(text, words);
}

static void files_that_include_each_other_are_refused(void **state)
{
    char text[512];
    struct config c;

    (void)state;
    snprintf(text, sizeof(text), "include %s\n", path_of("loop.conf"));
    put("loop.conf", text);
    config_init(&c);
    assert_int_equal(config_load_file(&c, path_of("loop.conf"), NULL),
                     ERR_LIMIT);
    config_deinit(&c);
}

/* ---- CONFIG REWRITE ---------------------------------------------------- */

/* What rewriting `old` gives after it was loaded and then `changes` was. */
static void assert_rewritten(const char *old, const char *changes,
                             const char *want)
{
    struct err_ctx ctx = {""};
    struct buf out = BUF_INIT;
    struct config c;

    config_init(&c);
    must_load(&c, old);
    must_load(&c, changes);
    if (config_rewrite_text(&c, bytes_str(old), true, &out, &ctx) != ERR_OK) {
        fail_msg("%s", ctx.text);
    }
    buf_append_byte(&out, '\0');
    assert_string_equal((char *)out.data, want);
    buf_deinit(&out);
    config_deinit(&c);
}

static void rewriting_nothing_changes_nothing(void **state)
{
    static const char text[] =
        "# mine\n\n  maxmemory   1048576  \r\nbind   127.0.0.1\nsave ''\n";

    (void)state;
    assert_rewritten(text, "", text);
}

static void a_changed_value_is_replaced_in_its_place(void **state)
{
    (void)state;
    assert_rewritten("# a\nport 1\n# b\nmaxmemory 1kb\n# c\n",
                     "port 2\nmaxmemory 3mb",
                     "# a\nport 2\n# b\nmaxmemory 3mb\n# c\n");
}

static void a_value_back_at_its_default_is_still_written(void **state)
{
    (void)state;
    assert_rewritten("port 1\n", "port 6379", "port 6379\n");
}

static void several_lines_of_a_directive_become_one(void **state)
{
    (void)state;
    assert_rewritten("port 1\ntimeout 7\nport 2\n", "port 3",
                     "port 3\ntimeout 7\n");
    assert_rewritten("port 1\ntimeout 7\nport 2\n", "",
                     "port 1\ntimeout 7\nport 2\n");
}

static void new_values_are_appended_under_a_heading(void **state)
{
    (void)state;
    assert_rewritten("port 1", "timeout 9\nrequirepass 'a b'",
                     "port 1\n\n# Generated by CONFIG REWRITE\ntimeout 9\n"
                     "requirepass \"a b\"\n");
    assert_rewritten("port 1\n# Generated by CONFIG REWRITE\nhz 5\n",
                     "timeout 9",
                     "port 1\n# Generated by CONFIG REWRITE\nhz 5\n"
                     "timeout 9\n");
    assert_rewritten("", "timeout 9",
                     "# Generated by CONFIG REWRITE\ntimeout 9\n");
}

static void output_limits_are_rewritten_by_class(void **state)
{
    (void)state;
    assert_rewritten("client-output-buffer-limit pubsub 1 2 3\nport 1\n",
                     "client-output-buffer-limit normal 1kb 1 1",
                     "client-output-buffer-limit normal 1kb 1 1\n"
                     "client-output-buffer-limit replica 256mb 64mb 60\n"
                     "client-output-buffer-limit pubsub 1 2 3\nport 1\n");
}

static void what_an_include_would_undo_is_appended(void **state)
{
    char old[512], want[512];

    (void)state;
    put("over.conf", "port 2\n");
    snprintf(old, sizeof(old), "port 1\ninclude %s\n", path_of("over.conf"));
    snprintf(want, sizeof(want),
             "port 1\ninclude %s\n\n# Generated by CONFIG REWRITE\nport 1\n",
             path_of("over.conf"));
    assert_rewritten(old, "port 1", want);
    snprintf(want, sizeof(want), "port 2\ninclude %s\n", path_of("over.conf"));
    assert_rewritten(old, "port 2", want);
}

static void the_file_is_replaced_and_without_one_it_is_an_error(void **state)
{
    struct err_ctx ctx = {""};
    struct buf text = BUF_INIT;
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(config_rewrite_file(&c, &ctx), ERR_UNSUPPORTED);
    assert_string_equal(ctx.text,
                        "The server is running without a config file");
    put("real.conf", "# keep\nport 1\n");
    mem_free(c.file);
    c.file = mem_strndup(path_of("real.conf"), strlen(path_of("real.conf")));
    must_load(&c, "port 5");
    assert_int_equal(config_rewrite_file(&c, &ctx), ERR_OK);
    assert_int_equal(file_read(c.file, 100, &text, NULL), ERR_OK);
    buf_append_byte(&text, '\0');
    assert_string_equal((char *)text.data, "# keep\nport 5\n");
    buf_deinit(&text);
    config_deinit(&c);
}

/* Sets some directives at random, by lines of `text`. */
static void random_lines(struct rng *rng, struct buf *text)
{
    static const char *const lines[] = {
        "port 1",
        "port 99",
        "timeout 5",
        "bind 1.1.1.1",
        "bind \"\"",
        "bind a b",
        "maxmemory 1gb",
        "maxmemory 5",
        "# comment",
        "",
        "loglevel debug",
        "loglevel notice",
        "requirepass x",
        "requirepass ''",
        "hz 50",
        "hz 900",
        "unixsocket 'a '",
        "slowlog-max-len 0",
        "  timeout 0  ",
        "maxmemory 0",
        "# Generated by CONFIG REWRITE",
        "client-output-buffer-limit normal 1 1 1",
        "client-output-buffer-limit pubsub 0 0 0 replica 1kb 1k 1",
        "lazyfree-lazy-expire no",
        "vector-simd scalar"};
    uint64_t n = rng_below(rng, 12);

    while (n-- > 0) {
        buf_append_str(text, lines[rng_below(rng, ARRAY_LEN(lines))]);
        buf_append_str(text, rng_below(rng, 5) ? "\n" : "\r\n");
    }
    buf_append_byte(text, '\0');
}

static void what_was_rewritten_is_what_is_loaded(void **state)
{
    struct rng rng;
    int i;

    (void)state;
    cm_seed(&rng);
    for (i = 0; i < 2000; i++) {
        struct buf old = BUF_INIT, change = BUF_INIT;
        struct buf new = BUF_INIT, again = BUF_INIT;
        struct config c, found;

        random_lines(&rng, &old);
        random_lines(&rng, &change);
        config_init(&c);
        config_init(&found);
        must_load(&c, (char *)old.data);
        must_load(&c, (char *)change.data);
        old.len--;
        assert_int_equal(
            config_rewrite_text(&c, buf_bytes(&old), false, &new, NULL),
            ERR_OK);
        assert_int_equal(
            config_load_text(&found, "x", buf_bytes(&new), false, NULL),
            ERR_OK);
        assert_same(&c, &found);
        assert_int_equal(
            config_rewrite_text(&c, buf_bytes(&new), false, &again, NULL),
            ERR_OK);
        assert_true(bytes_equal(buf_bytes(&new), buf_bytes(&again)));
        config_deinit(&c);
        config_deinit(&found);
        buf_deinit(&old);
        buf_deinit(&change);
        buf_deinit(&new);
        buf_deinit(&again);
    }
}

/* ---- vectra.conf ------------------------------------------------------- */

static void the_dump_is_a_configuration_of_all_defaults_but_two(void **state)
{
    struct buf text = BUF_INIT;
    struct config c, defaults;
    const struct config_directive *d;
    size_t i;

    (void)state;
    config_dump(&text);
    config_init(&c);
    config_init(&defaults);
    assert_int_equal(
        config_load_text(&c, "dump", buf_bytes(&text), false, NULL), ERR_OK);
    assert_string_equal(c.bind, "127.0.0.1 -::1");
    assert_true(c.appendonly); /* the two that are shipped otherwise */
    must_load(&c, "bind * -::*\nappendonly no");
    assert_same(&c, &defaults);
    buf_append_byte(&text, '\0');
    for (i = 0; (d = config_at(i)); i++) {
        char line[80];

        snprintf(line, sizeof(line), "\n%s ", config_name(d));
        if (!strstr((char *)text.data, line)) {
            snprintf(line, sizeof(line), "\n# %s ", config_name(d));
            assert_non_null(strstr((char *)text.data, line));
        }
    }
    buf_deinit(&text);
    config_deinit(&c);
    config_deinit(&defaults);
}

static void no_line_of_the_dump_is_longer_than_a_terminal(void **state)
{
    struct buf text = BUF_INIT;
    size_t i, column = 0;

    (void)state;
    config_dump(&text);
    for (i = 0; i < text.len; i++) {
        column = text.data[i] == '\n' ? 0 : column + 1;
        assert_true(column <= 80);
    }
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_redis),
        cmocka_unit_test(every_default_is_read_back_from_its_line),
        cmocka_unit_test(sizes_take_units_of_any_case),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(maxmemory_may_be_a_share_of_the_machine),
        cmocka_unit_test(numbers_are_held_to_their_limits),
        cmocka_unit_test(words_are_taken_from_their_lists),
        cmocka_unit_test(bind_takes_words_up_to_sixteen),
        cmocka_unit_test(output_limits_change_the_classes_named_only),
        cmocka_unit_test(what_does_not_exist_takes_only_the_value_that_says_so),
        cmocka_unit_test(save_points_add_up_line_by_line),
        cmocka_unit_test(a_file_name_is_no_path),
        cmocka_unit_test(texts_of_any_bytes_survive_their_line),
        cmocka_unit_test(a_text_with_a_zero_byte_is_refused),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(a_copy_is_independent),
        cmocka_unit_test(comments_blanks_and_line_ends_do_not_matter),
        cmocka_unit_test(the_last_of_two_lines_counts),
        cmocka_unit_test(an_unknown_directive_is_named_with_its_line),
        cmocka_unit_test(the_number_of_values_is_checked),
        cmocka_unit_test(a_password_is_not_repeated_in_an_error),
        cmocka_unit_test(an_include_is_read_where_it_stands),
        cmocka_unit_test(a_pattern_includes_all_that_match_or_none),
        cmocka_unit_test(a_missing_include_is_an_error),
        cmocka_unit_test(an_error_in_an_include_names_both_files),
        cmocka_unit_test(files_that_include_each_other_are_refused),
        cmocka_unit_test(rewriting_nothing_changes_nothing),
        cmocka_unit_test(a_changed_value_is_replaced_in_its_place),
        cmocka_unit_test(a_value_back_at_its_default_is_still_written),
        cmocka_unit_test(several_lines_of_a_directive_become_one),
        cmocka_unit_test(new_values_are_appended_under_a_heading),
        cmocka_unit_test(output_limits_are_rewritten_by_class),
        cmocka_unit_test(what_an_include_would_undo_is_appended),
        cmocka_unit_test(the_file_is_replaced_and_without_one_it_is_an_error),
        cmocka_unit_test(what_was_rewritten_is_what_is_loaded),
        cmocka_unit_test(the_dump_is_a_configuration_of_all_defaults_but_two),
        cmocka_unit_test(no_line_of_the_dump_is_longer_than_a_terminal),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
