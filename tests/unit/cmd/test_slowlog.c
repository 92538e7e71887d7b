/* The slow log's ring, and how commands are cut to fit it. */
#include "unit/cm.h"

#include "base/macros.h"
#include "base/mem.h"
#include "cmd/slowlog.h"

static void note(struct slowlog *s, const char *word, size_t max_len)
{
    struct bytes argv[] = {bytes_str("PING"), bytes_str(word)};
    struct slowlog_preview p;

    slowlog_preview_make(&p, argv, 2, 0, 7);
    slowlog_add(s, &p, "1.2.3.4:5", "name", 100, 42, max_len);
}

static void is_word(const struct slowlog *s, size_t i, const char *word)
{
    assert_true(bytes_equal(slowlog_get(s, i)->argv[1], bytes_str(word)));
}

static void entries_come_newest_first_with_what_is_known(void **state)
{
    struct slowlog s = {0};
    const struct slowlog_entry *e;

    (void)state;
    note(&s, "one", 10);
    note(&s, "two", 10);
    assert_int_equal(s.len, 2);
    is_word(&s, 0, "two");
    is_word(&s, 1, "one");
    e = slowlog_get(&s, 0);
    assert_int_equal(e->id, 1);
    assert_int_equal(e->at_s, 100);
    assert_int_equal(e->took_us, 42);
    assert_int_equal(e->argc, 2);
    assert_string_equal(e->addr, "1.2.3.4:5");
    assert_string_equal(e->client_name, "name");
    slowlog_deinit(&s);
}

static void the_oldest_goes_when_it_is_full(void **state)
{
    struct slowlog s = {0};
    char word[16];
    int i;

    (void)state;
    for (i = 0; i < 100; i++) {
        snprintf(word, sizeof(word), "w%d", i);
        note(&s, word, 7);
        assert_true(s.len <= 7);
    }
    assert_int_equal(s.len, 7);
    for (i = 0; i < 7; i++) {
        snprintf(word, sizeof(word), "w%d", 99 - i);
        is_word(&s, (size_t)i, word);
    }
    slowlog_deinit(&s);
}

static void a_new_limit_holds_from_the_next_entry_on(void **state)
{
    struct slowlog s = {0};
    int i;

    (void)state;
    for (i = 0; i < 200; i++) {
        note(&s, "x", 150);
    }
    assert_int_equal(s.len, 150);
    note(&s, "three left", 3);
    assert_int_equal(s.len, 3);
    is_word(&s, 0, "three left");
    is_word(&s, 2, "x");
    for (i = 0; i < 50; i++) {
        note(&s, "y", 40);
    }
    assert_int_equal(s.len, 40);
    assert_int_equal(slowlog_get(&s, 0)->id, 250);
    assert_int_equal(slowlog_get(&s, 39)->id, 211);
    note(&s, "none", 0);
    assert_int_equal(s.len, 0);
    note(&s, "again", 5);
    is_word(&s, 0, "again");
    slowlog_deinit(&s);
}

/* The ring was made as long as the limit, and the server ended over it. */
static void the_limit_may_be_any_number(void **state)
{
    struct slowlog s = {0};
    size_t before = mem_used();

    (void)state;
    note(&s, "x", INT64_MAX);
    assert_int_equal(s.len, 1);
    assert_true(mem_used() - before < 100000);
    slowlog_deinit(&s);
}

static void clearing_keeps_the_count_of_ids(void **state)
{
    struct slowlog s = {0};

    (void)state;
    slowlog_clear(&s);
    note(&s, "a", 5);
    slowlog_clear(&s);
    assert_int_equal(s.len, 0);
    note(&s, "b", 5);
    assert_int_equal(slowlog_get(&s, 0)->id, 1);
    slowlog_deinit(&s);
}

/* ---- previews ---------------------------------------------------------- */

static struct bytes preview_at(const struct slowlog_preview *p, size_t i)
{
    size_t at = 0;
    size_t j;

    for (j = 0; j < i; j++) {
        at += p->len[j];
    }
    return bytes_of(p->bytes + at, p->len[i]);
}

static void long_arguments_are_cut(void **state)
{
    char text[500];
    struct bytes argv[] = {bytes_str("SET"), bytes_of(text, 128),
                           bytes_of(text, 129), BYTES_NONE};
    struct slowlog_preview p;
    struct bytes cut;

    (void)state;
    memset(text, 'x', sizeof(text));
    slowlog_preview_make(&p, argv, 4, 0, 7);
    assert_int_equal(p.n, 4);
    assert_int_equal(preview_at(&p, 1).len, 128);
    cut = preview_at(&p, 2);
    assert_int_equal(cut.len, 128 + strlen("... (1 more bytes)"));
    assert_memory_equal(cut.data + 128, "... (1 more bytes)", 18);
    assert_int_equal(preview_at(&p, 3).len, 0);
}

static void many_arguments_are_counted(void **state)
{
    struct bytes argv[40];
    struct slowlog_preview p;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = bytes_str("a");
    }
    slowlog_preview_make(&p, argv, 32, 0, 7);
    assert_int_equal(p.n, 32);
    assert_int_equal(preview_at(&p, 31).len, 1);
    slowlog_preview_make(&p, argv, 40, 0, 7);
    assert_int_equal(p.n, 32);
    assert_true(
        bytes_equal(preview_at(&p, 31), bytes_str("... (9 more arguments)")));
}

static void what_does_not_fit_is_left_out(void **state)
{
    char text[2000];
    struct bytes argv[20];
    struct slowlog_preview p;
    size_t total = 0;
    size_t i;

    (void)state;
    memset(text, 'x', sizeof(text));
    for (i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = bytes_of(text, sizeof(text));
    }
    slowlog_preview_make(&p, argv, ARRAY_LEN(argv), 0, 7);
    for (i = 0; i < p.n; i++) {
        total += p.len[i];
    }
    assert_int_equal(total, SLOWLOG_PREVIEW_BYTES);
}

static void hidden_arguments_are_not_shown(void **state)
{
    struct bytes argv[40];
    struct slowlog_preview p;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = bytes_str("secret");
    }
    slowlog_preview_make(&p, argv, 3,
                         slowlog_hidden_bit(1) | slowlog_hidden_bit(2), 7);
    assert_true(bytes_equal(preview_at(&p, 0), bytes_str("secret")));
    assert_true(bytes_equal(preview_at(&p, 1), bytes_str(SLOWLOG_HIDDEN)));
    assert_true(bytes_equal(preview_at(&p, 2), bytes_str(SLOWLOG_HIDDEN)));
    /* The last bit stands for all that are further on. */
    assert_int_equal(slowlog_hidden_bit(31), slowlog_hidden_bit(39));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_newest_first_with_what_is_known),
        cmocka_unit_test(the_oldest_goes_when_it_is_full),
        cmocka_unit_test(a_new_limit_holds_from_the_next_entry_on),
        cmocka_unit_test(the_limit_may_be_any_number),
        cmocka_unit_test(clearing_keeps_the_count_of_ids),
        cmocka_unit_test(long_arguments_are_cut),
        cmocka_unit_test(many_arguments_are_counted),
        cmocka_unit_test(what_does_not_fit_is_left_out),
        cmocka_unit_test(hidden_arguments_are_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
