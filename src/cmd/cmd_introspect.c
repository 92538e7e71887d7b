/* COMMAND, and HELP for every container: the command table as clients see it.
 * COMMAND DOCS is in cmd_command_docs.c. */
#include <string.h>

#include "base/glob.h"
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/syntax.h"

/* ---- COMMAND INFO ------------------------------------------------------ */

static void reply_word(void *arg, const char *word)
{
    reply_status(arg, word);
}

static void reply_category(void *arg, const char *word)
{
    char text[40] = "@";

    strncat(text, word, sizeof(text) - 2);
    reply_status(arg, text);
}

static void reply_key_flags(struct reply *r, uint32_t flags)
{
    reply_set(r, command_each_key_flag(flags, NULL, NULL));
    command_each_key_flag(flags, reply_word, r);
}

static void reply_tips(struct reply *r, const char *tips)
{
    const char *at;
    size_t n = 0;

    for (at = tips; at && *at; at += strspn(at, " ")) {
        at += strcspn(at, " ");
        n++;
    }
    reply_set(r, n);
    for (at = tips; n > 0; n--) {
        size_t len = strcspn(at, " ");

        reply_bulk(r, bytes_of(at, len));
        at += len + strspn(at + len, " ");
    }
}

/* Where to look for the first key, and how the others follow it. */
static void reply_key_range(struct reply *r, const struct cmd_keys *k,
                            const char *notes)
{
    reply_map(r, notes ? 4 : 3);
    if (notes) {
        reply_bulk_str(r, "notes");
        reply_bulk_str(r, notes);
    }
    reply_bulk_str(r, "flags");
    reply_key_flags(r, k->flags);
    reply_bulk_str(r, "begin_search");
    reply_map(r, 2);
    reply_bulk_str(r, "type");
    reply_bulk_str(r, k->keyword ? "keyword" : "index");
    reply_bulk_str(r, "spec");
    if (k->keyword) {
        reply_map(r, 2);
        reply_bulk_str(r, "keyword");
        reply_bulk_str(r, k->keyword);
        reply_bulk_str(r, "startfrom");
    } else {
        reply_map(r, 1);
        reply_bulk_str(r, "index");
    }
    reply_int(r, k->first);
    reply_bulk_str(r, "find_keys");
    reply_map(r, 2);
    reply_bulk_str(r, "type");
    reply_bulk_str(r, "range");
    reply_bulk_str(r, "spec");
    reply_map(r, 3);
    reply_bulk_str(r, "lastkey");
    reply_int(r, k->last < 0 ? k->last : k->last - k->first);
    reply_bulk_str(r, "keystep");
    reply_int(r, k->step);
    reply_bulk_str(r, "limit");
    reply_int(r, 0);
}

static void reply_key_specs(struct reply *r, const struct command *c)
{
    reply_set(r, (size_t)(c->keys.first != 0) + (c->more_keys.first != 0));
    if (c->keys.first != 0) {
        reply_key_range(r, &c->keys, c->key_notes);
    }
    if (c->more_keys.first != 0) {
        reply_key_range(r, &c->more_keys, NULL);
    }
}

static size_t count_subs(const struct command *c)
{
    const struct command *sub = NULL;
    size_t n = 0;

    while ((sub = command_next_sub(c, sub))) {
        n++;
    }
    return n;
}

static void reply_info(struct reply *r, const struct command *c)
{
    const struct command *sub = NULL;

    reply_array(r, 10);
    reply_bulk_str(r, c->name);
    reply_int(r, c->arity);
    reply_set(r, command_each_flag(c, NULL, NULL));
    command_each_flag(c, reply_word, r);
    reply_int(r, c->keys.first);
    reply_int(r, c->more_keys.first && !c->more_keys.keyword ? c->more_keys.last
                                                             : c->keys.last);
    reply_int(r, c->keys.step);
    reply_set(r, command_each_category(c, NULL, NULL));
    command_each_category(c, reply_category, r);
    reply_tips(r, c->tips);
    reply_key_specs(r, c);
    if (!command_is_container(c)) {
        reply_set(r, 0);
        return;
    }
    reply_array(r, count_subs(c));
    while ((sub = command_next_sub(c, sub))) {
        reply_info(r, sub);
    }
}

static size_t count_commands(void)
{
    size_t n = 0;
    int id;

    for (id = 0; id < CMD_ID_COUNT; id++) {
        n += !command_is_subcommand(&command_table[id]);
    }
    return n;
}

void cmd_command(struct cmd_ctx *ctx)
{
    int id;

    reply_array(&ctx->reply, count_commands());
    for (id = 0; id < CMD_ID_COUNT; id++) {
        if (!command_is_subcommand(&command_table[id])) {
            reply_info(&ctx->reply, &command_table[id]);
        }
    }
}

void cmd_command_info(struct cmd_ctx *ctx)
{
    size_t i;

    if (ctx->argc == 2) {
        cmd_command(ctx);
        return;
    }
    reply_array(&ctx->reply, ctx->argc - 2);
    for (i = 2; i < ctx->argc; i++) {
        const struct command *c = command_by_name(ctx->argv[i]);

        if (c) {
            reply_info(&ctx->reply, c);
        } else {
            reply_null(&ctx->reply);
        }
    }
}

void cmd_command_count(struct cmd_ctx *ctx)
{
    reply_int(&ctx->reply, (int64_t)count_commands());
}

/* ---- COMMAND LIST ------------------------------------------------------ */

enum list_filter { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN };

struct category_search {
    struct bytes name;
    bool found;
};

static void match_category(void *arg, const char *word)
{
    struct category_search *s = arg;

    s->found |= bytes_equal_fold(s->name, word);
}

static bool is_listed(const struct command *c, enum list_filter filter,
                      struct bytes by)
{
    struct category_search category = {.name = by};

    switch (filter) {
    case LIST_ALL:
        return true;
    case LIST_MODULE:
        return command_module(c) && bytes_equal_fold(by, command_module(c));
    case LIST_CATEGORY:
        command_each_category(c, match_category, &category);
        return category.found;
    case LIST_PATTERN:
        return glob_match(by, bytes_str(c->name), true);
    }
    return false;
}

static bool list_filter(struct cmd_ctx *ctx, enum list_filter *filter)
{
    *filter = LIST_ALL;
    if (ctx->argc == 2) {
        return true;
    }
    if (ctx->argc != 5 || !arg_is(ctx, 2, "FILTERBY")) {
        return false;
    }
    *filter = arg_is(ctx, 3, "MODULE")    ? LIST_MODULE
              : arg_is(ctx, 3, "ACLCAT")  ? LIST_CATEGORY
              : arg_is(ctx, 3, "PATTERN") ? LIST_PATTERN
                                          : LIST_ALL;
    return *filter != LIST_ALL;
}

void cmd_command_list(struct cmd_ctx *ctx)
{
    struct bytes by = ctx->argc == 5 ? ctx->argv[4] : BYTES_NONE;
    enum list_filter filter;
    size_t n = 0;
    int id;

    if (!list_filter(ctx, &filter)) {
        cmd_error_syntax(ctx);
        return;
    }
    for (id = 0; id < CMD_ID_COUNT; id++) {
        n += is_listed(&command_table[id], filter, by);
    }
    reply_array(&ctx->reply, n);
    for (id = 0; id < CMD_ID_COUNT; id++) {
        if (is_listed(&command_table[id], filter, by)) {
            reply_bulk_str(&ctx->reply, command_table[id].name);
        }
    }
}

/* ---- COMMAND GETKEYS --------------------------------------------------- */

/* SET alone has keys of variable use: it reads the old value when asked to. */
static uint32_t key_flags(const struct cmd_key *key, const struct bytes *argv,
                          size_t argc)
{
    size_t i;

    if (!(key->flags & CMD_KEY_VARIABLE)) {
        return key->flags;
    }
    for (i = 3; i < argc; i++) {
        if (bytes_equal_fold(argv[i], "GET")) {
            return key->flags & ~(uint32_t)CMD_KEY_VARIABLE;
        }
    }
    return CMD_KEY_OW | CMD_KEY_UPDATE;
}

static void getkeys(struct cmd_ctx *ctx, bool with_flags)
{
    const struct bytes *argv = ctx->argv + 2;
    size_t argc = ctx->argc - 2;
    const struct command *parent;
    const struct command *c = command_lookup(argv, argc, &parent);
    struct cmd_key *keys;
    size_t n, i;

    if (!c) {
        cmd_error(ctx, "ERR Invalid command specified");
        return;
    }
    if (c->keys.first == 0) {
        cmd_error(ctx, "ERR The command has no key arguments");
        return;
    }
    if (!command_arity_ok(c, argc)) {
        cmd_error(ctx, "ERR Invalid number of arguments specified for command");
        return;
    }
    keys = mem_calloc(argc, sizeof(*keys));
    n = command_keys(c, argv, argc, keys, argc);
    if (n == 0 && c->find_keys) {
        mem_free(keys);
        cmd_error(ctx, "ERR Invalid arguments specified for command");
        return;
    }
    reply_array(&ctx->reply, n);
    for (i = 0; i < n; i++) {
        if (with_flags) {
            reply_array(&ctx->reply, 2);
        }
        reply_bulk(&ctx->reply, argv[keys[i].at]);
        if (with_flags) {
            reply_key_flags(&ctx->reply, key_flags(&keys[i], argv, argc));
        }
    }
    mem_free(keys);
}

void cmd_command_getkeys(struct cmd_ctx *ctx)
{
    getkeys(ctx, false);
}

void cmd_command_getkeysandflags(struct cmd_ctx *ctx)
{
    getkeys(ctx, true);
}

/* ---- containers -------------------------------------------------------- */

/* A container by itself is no command; with its subcommand left out, too few
 * words. Handlers of subcommands are called instead where there is one. */
void cmd_container(struct cmd_ctx *ctx)
{
    cmd_error_arity(ctx);
}

static void upper(struct buf *out, const char *word, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        char c = word[i];

        buf_append_byte(out, (uint8_t)(c >= 'a' && c <= 'z' ? c - 32 : c));
    }
}

static void reply_text(struct reply *r, struct buf *text)
{
    buf_append_byte(text, '\0');
    reply_status(r, (const char *)text->data);
    text->len = 0;
}

/* One subcommand: how it is written, then what it does. */
static void help_lines(struct reply *r, const struct command *sub,
                       size_t parent_len, struct buf *text)
{
    const struct syntax_node *syntax = syntax_of(sub);
    const char *name = sub->name + parent_len + 1;

    upper(text, name, strlen(name));
    if (syntax) {
        buf_append_byte(text, ' ');
        syntax_print(syntax, text);
    }
    reply_text(r, text);
    buf_append_str(text, "    ");
    buf_append_str(text, sub->summary);
    reply_text(r, text);
}

/* HELP of the container that the command belongs to; HELP itself comes last,
 * as clients' users expect. */
void cmd_help(struct cmd_ctx *ctx)
{
    size_t parent_len = strcspn(ctx->command->name, "|");
    const struct command *parent =
        command_by_name(bytes_of(ctx->command->name, parent_len));
    const struct command *sub = NULL;
    struct buf text = BUF_INIT;

    reply_array(&ctx->reply, 1 + 2 * count_subs(parent));
    upper(&text, parent->name, parent_len);
    buf_append_str(&text,
                   " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    reply_text(&ctx->reply, &text);
    while ((sub = command_next_sub(parent, sub))) {
        if (sub != ctx->command) {
            help_lines(&ctx->reply, sub, parent_len, &text);
        }
    }
    help_lines(&ctx->reply, ctx->command, parent_len, &text);
    buf_deinit(&text);
}
