/* The command table: every row agrees with itself and with the others. */
#include "cmd/command.h"

#include <ctype.h>

#include "unit/cm.h"

#include "base/mem.h"
#include "cmd/command_docs.h"
#include "cmd/syntax.h"

#define EACH_COMMAND(c)                                                        \
    const struct command *c = command_table;                                   \
    c < command_table + CMD_ID_COUNT;                                          \
    c++

static int set_up(void **state)
{
    (void)state;
    command_init();
    return 0;
}

static bool named(const struct command *c, const char *const *names, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (strcmp(c->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* COMMAND is the one container that means something by itself. */
static bool is_no_command(const struct command *c)
{
    return command_is_container(c) && strcmp(c->name, "command") != 0;
}

/* Words of the name: one, or two for a subcommand. */
static size_t name_words(const struct command *c)
{
    return command_is_subcommand(c) ? 2 : 1;
}

static void names_are_unique_and_found_in_any_case(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        char upper[64];
        size_t i;

        for (i = 0; c->name[i]; i++) {
            upper[i] = (char)toupper((unsigned char)c->name[i]);
        }
        /* Another row of that name would be found for one of them. */
        assert_ptr_equal(command_by_name(bytes_str(c->name)), c);
        assert_ptr_equal(command_by_name(bytes_of(upper, i)), c);
    }
}

static void vector_commands_have_upper_case_names_and_others_lower(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        bool module = c->group == CMD_GROUP_MODULE;
        const char *at;

        for (at = c->name; *at; at++) {
            assert_false(module ? islower((unsigned char)*at)
                                : isupper((unsigned char)*at));
        }
    }
}

static void subcommands_stand_behind_their_parents(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        const char *bar = strchr(c->name, '|');
        const struct command *parent;

        if (!bar) {
            continue;
        }
        parent = command_by_name(bytes_of(c->name, (size_t)(bar - c->name)));
        assert_non_null(parent);
        assert_true(parent < c);
        assert_true(command_is_container(parent));
        assert_int_equal(parent->group, c->group);
        assert_null(strchr(bar + 1, '|'));
    }
}

static void subcommands_are_found_through_their_container(void **state)
{
    size_t through_containers = 0, rows = 0;

    (void)state;
    for (EACH_COMMAND(c)) {
        const struct command *sub = NULL;

        rows += command_is_subcommand(c);
        while ((sub = command_next_sub(c, sub))) {
            through_containers++;
        }
    }
    assert_true(rows > 20);
    assert_int_equal(through_containers, rows);
}

static void containers_have_a_help(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        char name[64];

        if (command_is_container(c)) {
            snprintf(name, sizeof(name), "%s|help", c->name);
            assert_non_null(command_by_name(bytes_str(name)));
        }
    }
}

static void every_row_parses(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        struct syntax_node *nodes =
            mem_calloc(syntax_bound(c->syntax), sizeof(*nodes));
        struct syntax_node *first;
        struct err_ctx ctx = {""};

        if (syntax_parse(c->syntax, nodes, &first, &ctx) != ERR_OK) {
            fail_msg("%s: %s", c->name, ctx.text);
        }
        mem_free(nodes);
    }
}

static void arities_agree_with_the_shortest_sentence(void **state)
{
    /* Takes words that it does not look at. */
    static const char *const loose[] = {"quit"};

    (void)state;
    for (EACH_COMMAND(c)) {
        const struct syntax_node *syntax = syntax_of(c);
        int words = (int)(name_words(c) + syntax_min_words(syntax));

        if (command_is_container(c)) {
            assert_null(syntax);
            assert_int_equal(c->arity, is_no_command(c) ? -2 : -1);
            continue;
        }
        if (abs(c->arity) != words) {
            fail_msg("%s: arity %d, shortest sentence %d", c->name, c->arity,
                     words);
        }
        if (!named(c, loose, ARRAY_LEN(loose)) &&
            (c->arity > 0) != syntax_is_exact(syntax)) {
            fail_msg("%s: arity %d, but its sentences %s", c->name, c->arity,
                     syntax_is_exact(syntax) ? "have one length" : "differ");
        }
    }
}

/* The argument that stands at a position of argv, in the shortest sentence;
 * NULL when a choice or a word stands there. */
static const struct syntax_node *argument_at(const struct command *c,
                                             size_t position)
{
    const struct syntax_node *n = syntax_of(c);
    size_t at = name_words(c);

    for (; n; n = n->next) {
        const struct syntax_node *one = n;

        if (one->kind == SYNTAX_BLOCK) {
            one = one->child;
        }
        if (at == position) {
            return one;
        }
        at++;
    }
    return NULL;
}

static size_t count_key_arguments(const struct syntax_node *n)
{
    size_t keys = 0;

    for (; n; n = n->next) {
        keys += n->kind == SYNTAX_VALUE && n->type == SYNTAX_KEY;
        keys += count_key_arguments(n->child);
    }
    return keys;
}

static void key_positions_name_arguments_of_type_key(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        const struct syntax_node *argument;

        if (c->keys.first == 0) {
            if (count_key_arguments(syntax_of(c))) {
                fail_msg("%s has a key but no key position", c->name);
            }
            continue;
        }
        argument = argument_at(c, (size_t)c->keys.first);
        if (!argument || argument->kind != SYNTAX_VALUE ||
            argument->type != SYNTAX_KEY) {
            fail_msg("%s: no key at %d", c->name, c->keys.first);
        }
        assert_true(c->keys.step > 0);
        assert_true(c->keys.last < 0 || c->keys.last >= c->keys.first);
        assert_true(c->keys.flags &
                    (CMD_KEY_RO | CMD_KEY_RW | CMD_KEY_OW | CMD_KEY_RM));
        if (c->keys.last > c->keys.first) {
            argument = argument_at(c, (size_t)c->keys.last);
            assert_non_null(argument);
            assert_int_equal(argument->type, SYNTAX_KEY);
        } else if (c->keys.last < 0) {
            argument = syntax_of(c);
            assert_true(argument->repeated);
        }
    }
}

static void writes_have_keys_or_are_about_whole_databases(void **state)
{
    static const char *const whole[] = {"flushall", "flushdb", "swapdb"};

    (void)state;
    for (EACH_COMMAND(c)) {
        if ((c->flags & CMD_WRITE) && c->keys.first == 0 &&
            !named(c, whole, ARRAY_LEN(whole))) {
            fail_msg("%s writes, but to which key?", c->name);
        }
        if (c->flags & CMD_READONLY) {
            assert_false(c->flags & CMD_WRITE);
            assert_false(c->keys.flags & (CMD_KEY_RW | CMD_KEY_OW | CMD_KEY_RM |
                                          CMD_KEY_INSERT | CMD_KEY_DELETE));
        }
        assert_true(!(c->flags & CMD_DENYOOM) || (c->flags & CMD_WRITE));
    }
}

static void every_row_says_what_it_is(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        assert_non_null(c->handler);
        assert_true(c->summary && strlen(c->summary) > 5);
        assert_int_equal(c->summary[strlen(c->summary) - 1], '.');
        assert_true(isupper((unsigned char)c->summary[0]));
        assert_true(c->since && strchr(c->since, '.'));
        assert_true(c->cost && c->cost[0]);
        assert_non_null(c->syntax);
        assert_non_null(c->returns);
        assert_true(command_is_container(c) || c->returns[0]);
        assert_true(c->group < CMD_GROUP_COUNT);
    }
}

static void what_runs_before_authentication_is_known(void **state)
{
    static const char *const open[] = {"auth", "hello", "quit", "reset"};

    (void)state;
    for (EACH_COMMAND(c)) {
        assert_int_equal((c->flags & CMD_NO_AUTH) != 0,
                         named(c, open, ARRAY_LEN(open)));
    }
}

static void every_debug_command_may_be_refused(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        assert_int_equal((c->flags & CMD_DEBUG) != 0,
                         strncmp(c->name, "debug", 5) == 0);
    }
}

static void categories_follow_from_flags(void **state)
{
    (void)state;
    for (EACH_COMMAND(c)) {
        uint32_t categories = command_categories(c);

        assert_true(!(categories & ACL_FAST) != !(categories & ACL_SLOW));
        assert_true(!(c->flags & CMD_WRITE) || (categories & ACL_WRITE));
        assert_true(!(c->flags & CMD_ADMIN) || (categories & ACL_DANGEROUS));
    }
}

static size_t keys_of(const char *name, size_t argc, struct cmd_key *out)
{
    memset(out, 0, 8 * sizeof(*out));
    return command_keys(command_by_name(bytes_str(name)), NULL, argc, out, 8);
}

static void keys_are_found_by_position(void **state)
{
    struct cmd_key keys[8];

    (void)state;
    assert_int_equal(keys_of("mset", 5, keys), 2);
    assert_int_equal(keys[0].at, 1);
    assert_int_equal(keys[1].at, 3);
    assert_int_equal(
        command_keys(command_by_name(bytes_str("mset")), NULL, 5, keys, 1), 2);
    assert_int_equal(keys_of("ping", 2, keys), 0);
    assert_int_equal(keys_of("memory|usage", 3, keys), 1);
    assert_int_equal(keys[0].at, 2);
}

static void keys_of_one_command_may_be_used_in_two_ways(void **state)
{
    struct cmd_key keys[8];

    (void)state;
    assert_int_equal(keys_of("rename", 3, keys), 2);
    assert_int_equal(keys[0].at, 1);
    assert_true(keys[0].flags & CMD_KEY_DELETE);
    assert_int_equal(keys[1].at, 2);
    assert_int_equal(keys[1].flags, CMD_KEY_OW | CMD_KEY_UPDATE);
}

static size_t count_text(const struct buf *in, const char *what)
{
    const char *at = (const char *)in->data;
    size_t n = 0;

    while ((at = strstr(at, what))) {
        n++;
        at++;
    }
    return n;
}

static void the_document_has_a_section_for_every_command(void **state)
{
    size_t want = 0;
    struct buf out = BUF_INIT;

    (void)state;
    command_docs_write(&out);
    buf_append_byte(&out, '\0');
    for (EACH_COMMAND(c)) {
        want += !is_no_command(c);
    }
    assert_int_equal(count_text(&out, "\n### "), want);
    assert_int_equal(count_text(&out, "\n## "), CMD_GROUP_COUNT);
    assert_int_equal(count_text(&out, "\n### VADD\n\n    VADD <key> "), 1);
    assert_int_equal(count_text(&out, "\n### CLIENT SETNAME\n"), 1);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique_and_found_in_any_case),
        cmocka_unit_test(
            vector_commands_have_upper_case_names_and_others_lower),
        cmocka_unit_test(subcommands_stand_behind_their_parents),
        cmocka_unit_test(subcommands_are_found_through_their_container),
        cmocka_unit_test(containers_have_a_help),
        cmocka_unit_test(every_row_parses),
        cmocka_unit_test(arities_agree_with_the_shortest_sentence),
        cmocka_unit_test(key_positions_name_arguments_of_type_key),
        cmocka_unit_test(writes_have_keys_or_are_about_whole_databases),
        cmocka_unit_test(every_row_says_what_it_is),
        cmocka_unit_test(what_runs_before_authentication_is_known),
        cmocka_unit_test(every_debug_command_may_be_refused),
        cmocka_unit_test(categories_follow_from_flags),
        cmocka_unit_test(keys_are_found_by_position),
        cmocka_unit_test(keys_of_one_command_may_be_used_in_two_ways),
        cmocka_unit_test(the_document_has_a_section_for_every_command),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
