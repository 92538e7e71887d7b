/* COMMAND DOCS: what redis-cli makes its hints and its HELP of. */
#include "cmd/args.h"
#include "cmd/syntax.h"

static void field_str(struct reply *r, const char *name, const char *value)
{
    reply_bulk_str(r, name);
    reply_bulk_str(r, value);
}

static void field_bytes(struct reply *r, const char *name, struct bytes value)
{
    reply_bulk_str(r, name);
    reply_bulk(r, value);
}

/* ---- arguments --------------------------------------------------------- */

/* What is being replied. */
struct docs {
    struct reply *r;
    const struct command *command;
    struct buf *work;
    size_t n_keys; /* arguments so far */
};

static void reply_arguments(struct docs *d, const struct syntax_node *first);

static void reply_argument_flags(struct reply *r, const struct syntax_node *n)
{
    reply_bulk_str(r, "flags");
    reply_set(r, (size_t)n->optional + n->repeated + n->token_repeated);
    if (n->optional) {
        reply_status(r, "optional");
    }
    if (n->repeated) {
        reply_status(r, "multiple");
    }
    if (n->token_repeated) {
        reply_status(r, "multiple_token");
    }
}

/* Which of COMMAND INFO's key specifications the next key belongs to. */
static int64_t next_key_spec(struct docs *d)
{
    return d->n_keys++ > 0 && d->command->more_keys.first != 0;
}

static void reply_argument(struct docs *d, const struct syntax_node *n)
{
    struct reply *r = d->r;
    struct buf *work = d->work;
    bool is_group = n->kind == SYNTAX_CHOICE || n->kind == SYNTAX_BLOCK;
    bool is_key = n->kind == SYNTAX_VALUE && n->type == SYNTAX_KEY;
    bool has_flags = n->optional || n->repeated;

    work->len = 0;
    syntax_append_name(n, work);
    reply_map(r, 2 + (size_t)!is_group + is_key + (n->token.len > 0) +
                     has_flags + is_group);
    field_bytes(r, "name", buf_bytes(work));
    field_str(r, "type", syntax_type_name(n));
    if (!is_group) {
        field_bytes(r, "display_text", buf_bytes(work));
    }
    if (is_key) {
        reply_bulk_str(r, "key_spec_index");
        reply_int(r, next_key_spec(d));
    }
    if (n->token.len) {
        field_bytes(r, "token", n->token);
    }
    if (has_flags) {
        reply_argument_flags(r, n);
    }
    if (is_group) {
        reply_bulk_str(r, "arguments");
        reply_arguments(d, n->child);
    }
}

static void reply_arguments(struct docs *d, const struct syntax_node *first)
{
    const struct syntax_node *n;
    size_t count = 0;

    for (n = first; n; n = n->next) {
        count++;
    }
    reply_array(d->r, count);
    for (n = first; n; n = n->next) {
        reply_argument(d, n);
    }
}

/* ---- commands ---------------------------------------------------------- */

static void reply_deprecation(struct reply *r, const struct command *c)
{
    reply_bulk_str(r, "doc_flags");
    reply_set(r, 1);
    reply_status(r, "deprecated");
    field_str(r, "deprecated_since", c->deprecated_since);
    field_str(r, "replaced_by", c->replaced_by);
}

static void reply_docs(struct reply *r, const struct command *c,
                       struct buf *work)
{
    const struct syntax_node *syntax = syntax_of(c);
    const char *module = command_module(c);
    bool is_container = command_is_container(c);
    struct docs d = {r, c, work, 0};
    const struct command *sub = NULL;
    size_t n_subs = 0;

    reply_map(r, 4 + (c->deprecated_since ? 3 : 0) + (module != NULL) +
                     (syntax != NULL) + is_container);
    field_str(r, "summary", c->summary);
    field_str(r, "since", c->since);
    field_str(r, "group", command_group_name(c->group));
    field_str(r, "complexity", c->cost);
    if (module) {
        field_str(r, "module", module);
    }
    if (c->deprecated_since) {
        reply_deprecation(r, c);
    }
    if (syntax) {
        reply_bulk_str(r, "arguments");
        reply_arguments(&d, syntax);
    }
    if (is_container) {
        while ((sub = command_next_sub(c, sub))) {
            n_subs++;
        }
        reply_bulk_str(r, "subcommands");
        reply_map(r, n_subs);
        while ((sub = command_next_sub(c, sub))) {
            reply_bulk_str(r, sub->name);
            reply_docs(r, sub, work);
        }
    }
}

static void docs_of_all(struct cmd_ctx *ctx, struct buf *work)
{
    size_t n = 0;
    int id;

    for (id = 0; id < CMD_ID_COUNT; id++) {
        n += !command_is_subcommand(&command_table[id]);
    }
    reply_map(&ctx->reply, n);
    for (id = 0; id < CMD_ID_COUNT; id++) {
        const struct command *c = &command_table[id];

        if (!command_is_subcommand(c)) {
            reply_bulk_str(&ctx->reply, c->name);
            reply_docs(&ctx->reply, c, work);
        }
    }
}

/* A name that no command has is left out. */
void cmd_command_docs(struct cmd_ctx *ctx)
{
    struct buf work = BUF_INIT;
    size_t n = 0;
    size_t i;

    if (ctx->argc == 2) {
        docs_of_all(ctx, &work);
        buf_deinit(&work);
        return;
    }
    for (i = 2; i < ctx->argc; i++) {
        n += command_by_name(ctx->argv[i]) != NULL;
    }
    reply_map(&ctx->reply, n);
    for (i = 2; i < ctx->argc; i++) {
        const struct command *c = command_by_name(ctx->argv[i]);

        if (c) {
            reply_bulk_str(&ctx->reply, c->name);
            reply_docs(&ctx->reply, c, &work);
        }
    }
    buf_deinit(&work);
}
