/* The language of .syntax: what is understood, what is refused, and what is
 * printed of it. */
#include "cmd/syntax.h"

#include "unit/cm.h"

enum { NODES = 256 };

struct parsed {
    struct syntax_node nodes[NODES];
    struct syntax_node *first;
    struct err_ctx ctx;
};

static struct parsed parsed;

static const struct syntax_node *parse(const char *text)
{
    assert_true(syntax_bound(text) <= NODES);
    parsed.ctx.text[0] = '\0';
    assert_int_equal(
        syntax_parse(text, parsed.nodes, &parsed.first, &parsed.ctx), ERR_OK);
    return parsed.first;
}

static void assert_refused(const char *text, const char *words)
{
    parsed.ctx.text[0] = '\0';
    assert_int_equal(
        syntax_parse(text, parsed.nodes, &parsed.first, &parsed.ctx),
        ERR_SYNTAX);
    assert_non_null(strstr(parsed.ctx.text, words));
}

static void assert_bytes(struct bytes got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void assert_printed(const char *text, const char *want)
{
    struct buf out = BUF_INIT;

    syntax_print(parse(text), &out);
    buf_append_byte(&out, '\0');
    assert_string_equal((char *)out.data, want);
    buf_deinit(&out);
}

static void assert_name(const struct syntax_node *n, const char *want)
{
    struct buf out = BUF_INIT;

    syntax_append_name(n, &out);
    assert_bytes(buf_bytes(&out), want);
    buf_deinit(&out);
}

/* ---- trees ------------------------------------------------------------- */

static void an_empty_text_has_no_arguments(void **state)
{
    (void)state;
    assert_null(parse(""));
    assert_null(parse("   "));
}

static void a_value_has_a_name_and_a_type(void **state)
{
    const struct syntax_node *n = parse("unix-time-seconds:unix-time");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_VALUE);
    assert_int_equal(n->type, SYNTAX_UNIX_TIME);
    assert_bytes(n->name, "unix-time-seconds");
    assert_int_equal(n->token.len, 0);
    assert_string_equal(syntax_type_name(n), "unix-time");
    assert_null(n->next);
}

static void every_type_word_is_known(void **state)
{
    static const char *const words[][2] = {
        {"a:string", "string"},   {"a:int", "integer"},
        {"a:double", "double"},   {"a:key", "key"},
        {"a:pattern", "pattern"}, {"a:unix-time", "unix-time"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(words); i++) {
        assert_string_equal(syntax_type_name(parse(words[i][0])), words[i][1]);
    }
}

static void a_word_belongs_to_the_value_behind_it(void **state)
{
    const struct syntax_node *n = parse("key:key FP32 blob:string name:string");

    (void)state;
    n = n->next;
    assert_int_equal(n->kind, SYNTAX_VALUE);
    assert_bytes(n->token, "FP32");
    assert_bytes(n->name, "blob");
    assert_int_equal(n->next->token.len, 0);
    assert_bytes(n->next->name, "name");
}

static void a_word_before_an_optional_argument_stands_alone(void **state)
{
    const struct syntax_node *n = parse("LEN [IDX]");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_TOKEN);
    assert_false(n->optional);
    assert_bytes(n->token, "LEN");
    assert_true(n->next->optional);
    assert_bytes(n->next->token, "IDX");
}

static void an_optional_word_with_a_value_is_one_argument(void **state)
{
    const struct syntax_node *n = parse("[EX seconds:int]");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_VALUE);
    assert_true(n->optional);
    assert_bytes(n->token, "EX");
    assert_null(n->next);
}

static void alternatives_make_a_choice(void **state)
{
    const struct syntax_node *n = parse("[NX | XX | EX seconds:int]");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_CHOICE);
    assert_string_equal(syntax_type_name(n), "oneof");
    assert_true(n->optional);
    assert_false(n->child->optional);
    assert_bytes(n->child->next->token, "XX");
    assert_bytes(n->child->next->next->name, "seconds");
    assert_null(n->child->next->next->next);
}

static void a_word_before_a_choice_is_the_choices(void **state)
{
    const struct syntax_node *n = parse("[METRIC (COSINE | L2)]");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_CHOICE);
    assert_true(n->optional);
    assert_bytes(n->token, "METRIC");
    assert_name(n, "metric");
}

static void a_word_before_many_values_is_their_blocks(void **state)
{
    const struct syntax_node *n =
        parse("(ELE name:string | VALUES num:int value:double ...)");
    const struct syntax_node *block = n->child->next;

    (void)state;
    assert_int_equal(block->kind, SYNTAX_BLOCK);
    assert_bytes(block->token, "VALUES");
    assert_name(block, "values");
    assert_int_equal(block->child->token.len, 0);
    assert_false(block->child->repeated);
    assert_true(block->child->next->repeated);
    assert_false(block->child->next->token_repeated);
}

static void repeating_a_group_repeats_its_word(void **state)
{
    const struct syntax_node *n = parse("(ID id:int) ...");

    (void)state;
    assert_true(n->repeated);
    assert_true(n->token_repeated);
    n = parse("[ID id:int ...]");
    assert_true(n->repeated);
    assert_false(n->token_repeated);
    n = parse("(key:key value:string) ...");
    assert_int_equal(n->kind, SYNTAX_BLOCK);
    assert_true(n->repeated);
    assert_false(n->token_repeated);
}

static void groups_nest(void **state)
{
    const struct syntax_node *n =
        parse("[a:int [AUTH u:string p:string] [SETNAME n:string]]");

    (void)state;
    assert_int_equal(n->kind, SYNTAX_BLOCK);
    assert_true(n->optional);
    n = n->child->next;
    assert_int_equal(n->kind, SYNTAX_BLOCK);
    assert_bytes(n->token, "AUTH");
    assert_true(n->optional);
    assert_bytes(n->next->token, "SETNAME");
}

static void groups_are_named_or_take_a_name(void **state)
{
    (void)state;
    assert_name(parse("filter:(A | B)"), "filter");
    assert_name(parse("filter:[A | B]"), "filter");
    assert_true(parse("filter:[A | B]")->optional);
    assert_name(parse("(NX | EX seconds:int | plain:string)"),
                "nx-or-ex-or-plain");
    assert_name(parse("(key:key value:string) ..."), "key-value");
    assert_name(parse("CAS"), "cas");
}

/* ---- refusals ---------------------------------------------------------- */

static void unknown_types_are_refused(void **state)
{
    (void)state;
    assert_refused("key:kye", "unknown type");
    assert_refused("key:", "unknown type");
}

static void names_need_types(void **state)
{
    (void)state;
    assert_refused("key", "without a type");
    assert_refused("EX seconds", "without a type");
}

static void brackets_must_match(void **state)
{
    (void)state;
    assert_refused("(A | B", "open bracket");
    assert_refused("(A | B]", "open bracket");
    assert_refused("[A", "open bracket");
    assert_refused("A)", "nothing open");
    assert_refused("A | B", "nothing open");
}

static void groups_must_hold_something(void **state)
{
    (void)state;
    assert_refused("()", "nothing in a group");
    assert_refused("[A |]", "nothing in a group");
    assert_refused("[]", "nothing in a group");
}

static void arguments_need_blanks_between(void **state)
{
    (void)state;
    assert_refused("a:intB", "no blank");
    assert_refused("(A)(B)", "no blank");
}

static void other_characters_are_refused(void **state)
{
    (void)state;
    assert_refused("key:key =", "neither");
    assert_refused("... a:int", "neither");
    assert_refused("a:int\tb:int", "no blank");
}

static void one_argument_has_one_word_and_one_name(void **state)
{
    (void)state;
    assert_refused("A (B c:int)", "two words");
    assert_refused("name:(a:int)", "group of one");
}

/* Texts of random characters of the language: refused or understood, never
 * more nodes than bound, and what is understood prints and counts. */
static void random_texts_do_no_harm(void **state)
{
    static const char *const bits[] = {
        " ",   "a:int", "KEY",   "[", "]",   "(",   ")",  "|",
        "...", "n:",    "b:key", "x", "EX ", " | ", "] ", ") ",
    };
    struct rng rng;
    int round, understood = 0;

    (void)state;
    cm_seed(&rng);
    for (round = 0; round < 200000; round++) {
        char text[128] = "";
        uint64_t n = rng_below(&rng, 12);

        while (n-- > 0) {
            strcat(text, bits[rng_below(&rng, ARRAY_LEN(bits))]);
        }
        assert_true(syntax_bound(text) <= NODES);
        /* A node past the bound would be seen by the next line. */
        memset(&parsed.nodes[syntax_bound(text)], 0x5a,
               sizeof(parsed.nodes[0]));
        if (syntax_parse(text, parsed.nodes, &parsed.first, &parsed.ctx) ==
            ERR_OK) {
            struct buf out = BUF_INIT;

            syntax_print(parsed.first, &out);
            syntax_is_exact(parsed.first);
            assert_true(syntax_min_words(parsed.first) <= strlen(text));
            buf_deinit(&out);
            understood++;
        }
        assert_int_equal(((uint8_t *)&parsed.nodes[syntax_bound(text)])[0],
                         0x5a);
    }
    assert_true(understood > 1000);
}

/* ---- what is counted and printed --------------------------------------- */

static void assert_words(const char *text, size_t least, bool exact)
{
    assert_int_equal(syntax_min_words(parse(text)), least);
    assert_int_equal(syntax_is_exact(parse(text)), exact);
}

static void the_shortest_sentence_is_counted(void **state)
{
    (void)state;
    assert_words("", 0, true);
    assert_words("key:key value:string", 2, true);
    assert_words("key:key ...", 1, false);
    assert_words("[a:int]", 0, false);
    assert_words("(key:key value:string) ...", 2, false);
    assert_words("(A | B c:int)", 1, false);
    assert_words("(A b:int | C d:int)", 2, true);
    assert_words("TYPE (A | B)", 2, true);
    assert_words("(ELE name:string | VALUES num:int value:double ...)", 2,
                 false);
    assert_words("(VALUES num:int value:double ...)", 3, false);
}

static void arguments_print_as_people_write_them(void **state)
{
    (void)state;
    assert_printed("", "");
    assert_printed("key:key [NX | XX] [EX seconds:int]",
                   "<key> [NX|XX] [EX <seconds>]");
    assert_printed("key:key ...", "<key> [<key> ...]");
    assert_printed("[name:string ...]", "[<name> [<name> ...]]");
    assert_printed("(key:key value:string) ...",
                   "<key> <value> [<key> <value> ...]");
    assert_printed("(ID id:int) ...", "ID <id> [ID <id> ...]");
    assert_printed("[ID id:int ...]", "[ID <id> [<id> ...]]");
    assert_printed("(FP32 blob:string | CAS)", "(FP32 <blob> | CAS)");
    assert_printed("[TYPE (A | B)]", "[TYPE (A|B)]");
    assert_printed("(A a:int | B b:int) ...", "(A <a> | B <b>) [...]");
    assert_printed("[a:int [AUTH u:string p:string]]", "[<a> [AUTH <u> <p>]]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_text_has_no_arguments),
        cmocka_unit_test(a_value_has_a_name_and_a_type),
        cmocka_unit_test(every_type_word_is_known),
        cmocka_unit_test(a_word_belongs_to_the_value_behind_it),
        cmocka_unit_test(a_word_before_an_optional_argument_stands_alone),
        cmocka_unit_test(an_optional_word_with_a_value_is_one_argument),
        cmocka_unit_test(alternatives_make_a_choice),
        cmocka_unit_test(a_word_before_a_choice_is_the_choices),
        cmocka_unit_test(a_word_before_many_values_is_their_blocks),
        cmocka_unit_test(repeating_a_group_repeats_its_word),
        cmocka_unit_test(groups_nest),
        cmocka_unit_test(groups_are_named_or_take_a_name),
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(names_need_types),
        cmocka_unit_test(brackets_must_match),
        cmocka_unit_test(groups_must_hold_something),
        cmocka_unit_test(arguments_need_blanks_between),
        cmocka_unit_test(other_characters_are_refused),
        cmocka_unit_test(one_argument_has_one_word_and_one_name),
        cmocka_unit_test(random_texts_do_no_harm),
        cmocka_unit_test(the_shortest_sentence_is_counted),
        cmocka_unit_test(arguments_print_as_people_write_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
