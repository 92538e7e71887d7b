/* Words, patterns, buffers, errors. */
#include "unit/cm.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/split.h"

/* ---- split ------------------------------------------------------------- */

static void check_split(const char *line, size_t n, ...)
{
    char copy[256];
    struct bytes words[16];
    size_t found = 99, i;
    va_list ap;

    snprintf(copy, sizeof(copy), "%s", line);
    assert_int_equal(
        split_words(copy, strlen(line), words, ARRAY_LEN(words), &found),
        ERR_OK);
    assert_int_equal(found, n);
    assert_true(split_words_bound(line, strlen(line)) >= n);
    va_start(ap, n);
    for (i = 0; i < n; i++) {
        const char *want = va_arg(ap, const char *);

        assert_int_equal(words[i].len, strlen(want));
        assert_memory_equal(words[i].data, want, words[i].len);
    }
    va_end(ap);
}

static void words_are_split_at_blanks(void **state)
{
    (void)state;
    check_split("", (size_t)0);
    check_split("   \t ", (size_t)0);
    check_split("set a b", (size_t)3, "set", "a", "b");
    check_split("  set   a\tb \r", (size_t)3, "set", "a", "b");
}

static void quotes_hold_blanks_and_escapes(void **state)
{
    (void)state;
    check_split("set \"a b\" 'c d'", (size_t)3, "set", "a b", "c d");
    check_split("\"\\x41\\n\\\"\\q\" x", (size_t)2, "A\n\"q", "x");
    check_split("'it\\'s \\n'", (size_t)1, "it's \\n");
    check_split("\"\" ''", (size_t)2, "", "");
    check_split("ab\"cd\"", (size_t)1, "abcd");
}

static void unbalanced_quotes_are_errors(void **state)
{
    static const char *const lines[] = {"\"a", "'a", "\"a\"b", "'a'b",
                                        "x \"\\"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(lines); i++) {
        char copy[32];
        struct bytes words[4];
        size_t n;

        snprintf(copy, sizeof(copy), "%s", lines[i]);
        assert_int_equal(split_words(copy, strlen(lines[i]), words, 4, &n),
                         ERR_SYNTAX);
    }
}

static void more_words_than_room_is_an_error(void **state)
{
    char line[] = "a b c";
    struct bytes words[2];
    size_t n;

    (void)state;
    assert_int_equal(split_words(line, 5, words, 2, &n), ERR_LIMIT);
}

/* ---- glob -------------------------------------------------------------- */

static bool matches(const char *pattern, const char *text)
{
    return glob_match(bytes_str(pattern), bytes_str(text), false);
}

static void patterns_match_as_keys_does(void **state)
{
    (void)state;
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("h?llo", "hello"));
    assert_false(matches("h?llo", "hllo"));
    assert_true(matches("h*llo", "heeeello"));
    assert_true(matches("h[ae]llo", "hallo"));
    assert_false(matches("h[ae]llo", "hillo"));
    assert_true(matches("h[^e]llo", "hallo"));
    assert_false(matches("h[^e]llo", "hello"));
    assert_true(matches("h[a-c]llo", "hbllo"));
    assert_true(matches("h[c-a]llo", "hbllo"));
    assert_true(matches("a\\*b", "a*b"));
    assert_false(matches("a\\*b", "axb"));
    assert_true(matches("*a*b*c*", "xxaxxbxxcxx"));
    assert_false(matches("*a*b*c*", "xxaxxcxxbxx"));
    assert_false(matches("a[", "a["));
    assert_true(matches("[]a", "a") == false);
    assert_true(matches("foo*bar", "foobazbar"));
}

static void case_counts_unless_it_does_not(void **state)
{
    (void)state;
    assert_false(glob_match(bytes_str("MAX*"), bytes_str("maxmemory"), false));
    assert_true(glob_match(bytes_str("MAX*"), bytes_str("maxmemory"), true));
    assert_true(glob_match(bytes_str("[A-C]x"), bytes_str("bX"), true));
}

static void a_pattern_full_of_stars_takes_no_exponential_time(void **state)
{
    char pattern[200];
    char text[4000];
    int i;

    (void)state;
    for (i = 0; i < 198; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    pattern[198] = 'b';
    pattern[199] = '\0';
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(matches(pattern, text)); /* or never returns */
}

/* ---- buf --------------------------------------------------------------- */

static void buffers_grow_and_shrink(void **state)
{
    struct buf b = BUF_INIT;
    size_t used = mem_used();
    int i;

    (void)state;
    for (i = 0; i < 1000; i++) {
        buf_append_str(&b, "0123456789");
    }
    assert_int_equal(b.len, 10000);
    buf_consume(&b, 9990);
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.data, "0123456789", 10);
    buf_printf(&b, "%s-%d", "x", 42);
    assert_memory_equal(b.data + 10, "x-42", 4);
    buf_deinit(&b);
    assert_int_equal(mem_used(), used);
}

/* ---- err --------------------------------------------------------------- */

static void each_level_adds_what_it_was_doing(void **state)
{
    struct err_ctx ctx = {""};

    (void)state;
    assert_int_equal(err_set(&ctx, ERR_IO, "cannot open %s", "x"), ERR_IO);
    assert_int_equal(err_wrap(&ctx, ERR_IO, "loading %d", 7), ERR_IO);
    assert_string_equal(ctx.text, "loading 7: cannot open x");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
    assert_string_equal(err_text(ERR_NOMEM), "out of memory");
}

static void long_messages_are_cut_not_overrun(void **state)
{
    struct err_ctx ctx = {""};
    char long_text[500];

    (void)state;
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    err_set(&ctx, ERR_IO, "%s", long_text);
    err_wrap(&ctx, ERR_IO, "%s", long_text);
    assert_int_equal(strlen(ctx.text), sizeof(ctx.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_split_at_blanks),
        cmocka_unit_test(quotes_hold_blanks_and_escapes),
        cmocka_unit_test(unbalanced_quotes_are_errors),
        cmocka_unit_test(more_words_than_room_is_an_error),
        cmocka_unit_test(patterns_match_as_keys_does),
        cmocka_unit_test(case_counts_unless_it_does_not),
        cmocka_unit_test(a_pattern_full_of_stars_takes_no_exponential_time),
        cmocka_unit_test(buffers_grow_and_shrink),
        cmocka_unit_test(each_level_adds_what_it_was_doing),
        cmocka_unit_test(long_messages_are_cut_not_overrun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
