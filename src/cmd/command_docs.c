/* See command_docs.h. `make lint` fails when the file in docs/ is not what this
 * writes. */
#include "cmd/command_docs.h"

#include <limits.h>

#include "cmd/syntax.h"

enum { LINE_MAX_LEN = 76 };

static const char *const group_titles[CMD_GROUP_COUNT] = {
    [CMD_GROUP_CONNECTION] = "Connection",
    [CMD_GROUP_GENERIC] = "Keys",
    [CMD_GROUP_SERVER] = "Server",
    [CMD_GROUP_STRING] = "Strings",
    [CMD_GROUP_TRANSACTIONS] = "Transactions",
    [CMD_GROUP_MODULE] = "Vector sets",
};

/* The name as people write it: "CLIENT KILL". */
static void write_title(const struct command *c, struct buf *out)
{
    const char *at;

    for (at = c->name; *at; at++) {
        char ch = *at;

        ch = ch == '|' ? ' ' : ch;
        buf_append_byte(out, (uint8_t)(ch >= 'a' && ch <= 'z' ? ch - 32 : ch));
    }
}

/* Where to break a line that may have `most` bytes: at the last of the blanks
 * that lie in the fewest brackets, but not behind a word, which belongs to what
 * follows it, and not so early that the line is mostly empty. */
static size_t break_at(const char *at, size_t most)
{
    int depth = 0, least = INT_MAX;
    size_t best = 0;
    size_t i;

    for (i = 0; i <= most; i++) {
        depth += at[i] == '[' || at[i] == '(';
        depth -= at[i] == ']' || at[i] == ')';
        if (at[i] == ' ' && at[i + 1] != '|' && i > most / 3 &&
            depth <= least && !(at[i - 1] >= 'A' && at[i - 1] <= 'Z')) {
            best = i;
            least = depth;
        }
    }
    return best ? best : strcspn(at, " ");
}

/* How a command is written, as code in lines of a bearable length. */
static void write_wrapped(const struct buf *text, struct buf *out)
{
    const char *at = (const char *)text->data;
    const char *end = at + text->len;
    const char *indent = "    ";

    while (at < end) {
        size_t most = LINE_MAX_LEN - strlen(indent);
        size_t len = (size_t)(end - at);

        len = len > most ? break_at(at, most) : len;
        buf_append_str(out, indent);
        buf_append(out, at, len);
        buf_append_byte(out, '\n');
        at += len;
        at += at < end && *at == ' ';
        indent = "        ";
    }
}

struct words {
    struct buf *out;
    const char *prefix;
    bool any;
};

static void write_word(void *arg, const char *word)
{
    struct words *w = arg;

    buf_append_str(w->out, w->any ? ", " : "");
    buf_append_str(w->out, w->prefix);
    buf_append_str(w->out, word);
    w->any = true;
}

static void write_facts(const struct command *c, struct buf *out)
{
    struct words flags = {.out = out, .prefix = ""};
    struct words categories = {.out = out, .prefix = "@"};

    if (c->returns[0]) {
        buf_printf(out, "- Returns: %s.\n", c->returns);
    }
    buf_printf(out, "- Cost: %s%s\n", c->cost,
               c->cost[strlen(c->cost) - 1] == '.' ? "" : ".");
    buf_printf(out, "- Since: %s\n", c->since);
    if (c->deprecated_since) {
        buf_printf(out, "- Deprecated: since %s, in favor of %s.\n",
                   c->deprecated_since, c->replaced_by);
    }
    if (command_each_flag(c, NULL, NULL)) {
        buf_append_str(out, "- Flags: ");
        command_each_flag(c, write_word, &flags);
        buf_append_byte(out, '\n');
    }
    buf_append_str(out, "- Categories: ");
    command_each_category(c, write_word, &categories);
    buf_append_byte(out, '\n');
}

static void write_command(const struct command *c, struct buf *out)
{
    struct buf usage = BUF_INIT;
    const struct syntax_node *syntax = syntax_of(c);

    buf_append_str(out, "\n### ");
    write_title(c, out);
    buf_append_str(out, "\n\n");
    write_title(c, &usage);
    if (syntax) {
        buf_append_byte(&usage, ' ');
        syntax_print(syntax, &usage);
    }
    buf_append_byte(&usage, '\0'); /* for strcspn() */
    usage.len--;
    write_wrapped(&usage, out);
    buf_printf(out, "\n%s\n\n", c->summary);
    write_facts(c, out);
    buf_deinit(&usage);
}

static void write_group(enum cmd_group group, struct buf *out)
{
    int id;

    buf_printf(out, "\n## %s\n", group_titles[group]);
    for (id = 0; id < CMD_ID_COUNT; id++) {
        const struct command *c = &command_table[id];

        /* A container that needs a subcommand has nothing to say. */
        if (c->group == group && !(command_is_container(c) && c->arity == -2)) {
            write_command(c, out);
        }
    }
}

void command_docs_write(struct buf *out)
{
    int group;

    command_init();
    buf_append_str(
        out,
        "# Commands\n\n"
        "Written from the command table (`src/cmd/commands/`) by\n"
        "`vectra-server --dump commands`; to change it, change the table.\n\n"
        "`<name>` stands for a value, `[...]` may be left out, `(a|b)` is one\n"
        "of these. Options may come in any order behind what stands before\n"
        "them. Versions in *Since* are Redis's for commands that Redis has,\n"
        "Vectra's (0.x) for those it has not.\n");
    for (group = 0; group < CMD_GROUP_COUNT; group++) {
        write_group((enum cmd_group)group, out);
    }
}
