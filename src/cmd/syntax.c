/* Parsing and printing .syntax: see syntax.h. Recursive descent; every word and
 * every bracket makes at most one node. */
#include "cmd/syntax.h"

#include <string.h>

#include "base/mem.h"

struct parser {
    const char *at;
    struct syntax_node *nodes;
    size_t n;
    struct err_ctx *ctx;
};

static const struct {
    const char *word; /* in .def files */
    const char *name; /* to clients */
} types[SYNTAX_TYPE_COUNT] = {
    [SYNTAX_STRING] = {"string", "string"},
    [SYNTAX_INTEGER] = {"int", "integer"},
    [SYNTAX_DOUBLE] = {"double", "double"},
    [SYNTAX_KEY] = {"key", "key"},
    [SYNTAX_PATTERN] = {"pattern", "pattern"},
    [SYNTAX_UNIX_TIME] = {"unix-time", "unix-time"},
};

/* ---- parsing ----------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool is_token_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static void skip_blanks(struct parser *p)
{
    while (*p->at == ' ') {
        p->at++;
    }
}

static enum err complain(struct parser *p, const char *what)
{
    return err_set(p->ctx, ERR_SYNTAX, "%s at '%s'", what, p->at);
}

static struct bytes take(struct parser *p, bool (*accepts)(char c))
{
    const char *from = p->at;

    while (accepts(*p->at)) {
        p->at++;
    }
    return bytes_of(from, (size_t)(p->at - from));
}

static struct syntax_node *new_node(struct parser *p, enum syntax_kind kind)
{
    struct syntax_node *n = &p->nodes[p->n++];

    *n = (struct syntax_node){.kind = kind};
    return n;
}

static enum err parse_sequence(struct parser *p, struct syntax_node **first);

/* What follows a '(' or '[', up to and with the bracket that closes it. One
 * alternative with one member is that member; one with more is a block. */
static enum err parse_alternative(struct parser *p, struct syntax_node **out)
{
    struct syntax_node *first, *block;
    enum err err = parse_sequence(p, &first);

    if (err) {
        return err;
    }
    if (!first) {
        return complain(p, "nothing in a group");
    }
    if (!first->next) {
        *out = first;
        return ERR_OK;
    }
    block = new_node(p, SYNTAX_BLOCK);
    block->child = first;
    if (first->kind == SYNTAX_VALUE && first->token.len && !first->optional) {
        block->token = first->token;
        first->token = BYTES_NONE;
    }
    *out = block;
    return ERR_OK;
}

static enum err parse_group(struct parser *p, char close, struct bytes name,
                            struct syntax_node **out)
{
    struct syntax_node *first = NULL;
    struct syntax_node **link = &first;
    struct syntax_node *group;
    enum err err;

    p->at++;
    for (;;) {
        err = parse_alternative(p, link);
        if (err) {
            return err;
        }
        if (*p->at != '|') {
            break;
        }
        p->at++;
        link = &(*link)->next;
    }
    if (*p->at != close) {
        return complain(p, "an open bracket");
    }
    p->at++;
    if (!first->next) {
        group = first;
    } else {
        group = new_node(p, SYNTAX_CHOICE);
        group->child = first;
    }
    if (name.len) {
        if (group->kind != SYNTAX_CHOICE && group->kind != SYNTAX_BLOCK) {
            return complain(p, "a name for a group of one");
        }
        group->name = name;
    }
    *out = group;
    return ERR_OK;
}

/* "name:type", or "name:" before a group. */
static enum err parse_named(struct parser *p, struct syntax_node **out)
{
    struct bytes name = take(p, is_name_char);
    struct bytes type;
    int i;

    if (*p->at != ':') {
        return complain(p, "a name without a type");
    }
    p->at++;
    if (*p->at == '(' || *p->at == '[') {
        char open = *p->at;
        enum err err = parse_group(p, open == '(' ? ')' : ']', name, out);

        if (!err) {
            (*out)->optional |= open == '[';
        }
        return err;
    }
    type = take(p, is_name_char);
    for (i = 0; i < SYNTAX_TYPE_COUNT; i++) {
        if (bytes_equal(type, bytes_str(types[i].word))) {
            *out = new_node(p, SYNTAX_VALUE);
            (*out)->type = (enum syntax_type)i;
            (*out)->name = name;
            return ERR_OK;
        }
    }
    return complain(p, "an unknown type");
}

/* A word, with what it stands before. */
static enum err parse_token(struct parser *p, struct syntax_node **out)
{
    struct bytes token = take(p, is_token_char);
    enum err err;

    skip_blanks(p);
    if (*p->at == '(') {
        err = parse_group(p, ')', BYTES_NONE, out);
    } else if (is_name_char(*p->at)) {
        err = parse_named(p, out);
    } else {
        *out = new_node(p, SYNTAX_TOKEN);
        err = ERR_OK;
    }
    if (!err && (*out)->token.len) {
        return complain(p, "two words before one argument");
    }
    if (!err) {
        (*out)->token = token;
    }
    return err;
}

static enum err parse_item(struct parser *p, struct syntax_node **out)
{
    bool group = *p->at == '(' || *p->at == '[';
    bool optional = *p->at == '[';
    enum err err;

    if (group) {
        err = parse_group(p, optional ? ']' : ')', BYTES_NONE, out);
        if (!err) {
            (*out)->optional |= optional;
        }
    } else if (*p->at >= 'a' && *p->at <= 'z') {
        err = parse_named(p, out);
    } else if (is_token_char(*p->at)) {
        err = parse_token(p, out);
    } else {
        err = complain(p, "neither a word, a value nor a group");
    }
    if (err) {
        return err;
    }
    skip_blanks(p);
    if (p->at[0] == '.' && p->at[1] == '.' && p->at[2] == '.') {
        p->at += 3;
        (*out)->repeated = true;
        (*out)->token_repeated = group && (*out)->token.len > 0;
        skip_blanks(p);
    }
    /* Else what follows could be more than syntax_bound() counts. */
    return p->at[-1] == ' ' || !*p->at || strchr("|)]", *p->at)
               ? ERR_OK
               : complain(p, "no blank between arguments");
}

static enum err parse_sequence(struct parser *p, struct syntax_node **first)
{
    struct syntax_node **link = first;

    *first = NULL;
    skip_blanks(p);
    while (*p->at && *p->at != '|' && *p->at != ')' && *p->at != ']') {
        enum err err = parse_item(p, link);

        if (err) {
            return err;
        }
        link = &(*link)->next;
    }
    return ERR_OK;
}

size_t syntax_bound(const char *text)
{
    size_t n = 1;

    /* A node begins at a blank, a bracket or a bar, or at the start. A block
     * and a choice need a bracket of their own. */
    for (; *text; text++) {
        n += *text == ' ' || *text == '|';
        n += *text == '(' || *text == '[' ? 2 : 0;
    }
    return n;
}

enum err syntax_parse(const char *text, struct syntax_node *nodes,
                      struct syntax_node **first, struct err_ctx *ctx)
{
    struct parser p = {.at = text, .nodes = nodes, .ctx = ctx};
    enum err err = parse_sequence(&p, first);

    if (!err && *p.at) {
        err = complain(&p, "nothing open");
    }
    DASSERT(p.n <= syntax_bound(text));
    return err;
}

const struct syntax_node *syntax_of(const struct command *c)
{
    static struct {
        struct syntax_node *first;
        bool parsed;
    } kept[CMD_ID_COUNT];
    enum cmd_id id = command_id(c);

    if (!kept[id].parsed) {
        struct syntax_node *nodes =
            mem_calloc(syntax_bound(c->syntax), sizeof(*nodes));
        struct err_ctx ctx = {""};

        /* tests/unit/cmd/test_command.c parses every row. */
        ASSERT(syntax_parse(c->syntax, nodes, &kept[id].first, &ctx) == ERR_OK);
        kept[id].parsed = true;
        if (!kept[id].first) {
            mem_free(nodes);
        }
    }
    return kept[id].first;
}

/* ---- what the tree says ------------------------------------------------ */

/* Words of one node when it is given once. */
static size_t node_min_words(const struct syntax_node *n)
{
    const struct syntax_node *c;
    size_t least = SIZE_MAX;

    switch (n->kind) {
    case SYNTAX_TOKEN:
        return 1;
    case SYNTAX_VALUE:
        return 1 + (n->token.len > 0);
    case SYNTAX_BLOCK:
        return syntax_min_words(n->child) + (n->token.len > 0);
    case SYNTAX_CHOICE:
        for (c = n->child; c; c = c->next) {
            size_t words = node_min_words(c);

            least = words < least ? words : least;
        }
        return least + (n->token.len > 0);
    }
    return 0;
}

size_t syntax_min_words(const struct syntax_node *first)
{
    size_t words = 0;

    for (; first; first = first->next) {
        words += first->optional ? 0 : node_min_words(first);
    }
    return words;
}

static bool node_is_exact(const struct syntax_node *n)
{
    const struct syntax_node *c;

    if (n->optional || n->repeated) {
        return false;
    }
    if (n->kind == SYNTAX_BLOCK) {
        return syntax_is_exact(n->child);
    }
    for (c = n->child; c; c = c->next) {
        if (!node_is_exact(c) ||
            node_min_words(c) != node_min_words(n->child)) {
            return false;
        }
    }
    return true;
}

bool syntax_is_exact(const struct syntax_node *first)
{
    for (; first; first = first->next) {
        if (!node_is_exact(first)) {
            return false;
        }
    }
    return true;
}

const char *syntax_type_name(const struct syntax_node *n)
{
    switch (n->kind) {
    case SYNTAX_TOKEN:
        return "pure-token";
    case SYNTAX_VALUE:
        return types[n->type].name;
    case SYNTAX_CHOICE:
        return "oneof";
    case SYNTAX_BLOCK:
        return "block";
    }
    return "";
}

static void append_folded(struct buf *out, struct bytes word)
{
    size_t i;

    for (i = 0; i < word.len; i++) {
        buf_append_byte(out, bytes_fold(word.data[i]));
    }
}

void syntax_append_name(const struct syntax_node *n, struct buf *out)
{
    const struct syntax_node *c;

    if (n->name.len) {
        buf_append_bytes(out, n->name);
        return;
    }
    if (n->token.len) {
        append_folded(out, n->token);
        return;
    }
    for (c = n->child; c; c = c->next) {
        /* Words tell alternatives apart better than names do. */
        if (n->kind == SYNTAX_CHOICE && c->token.len) {
            append_folded(out, c->token);
        } else {
            syntax_append_name(c, out);
        }
        if (c->next) {
            buf_append_str(out, n->kind == SYNTAX_CHOICE ? "-or-" : "-");
        }
    }
}

/* ---- printing ---------------------------------------------------------- */

static void print_node(const struct syntax_node *n, struct buf *out);

/* Whether an alternative has blanks in it, so that bars need some too. */
static bool has_blanks(const struct syntax_node *n)
{
    return n->kind == SYNTAX_BLOCK || n->repeated ||
           (n->kind != SYNTAX_TOKEN && n->token.len);
}

/* The members of a group, without brackets. */
static void print_members(const struct syntax_node *n, struct buf *out)
{
    const char *between = " ";
    const struct syntax_node *c;

    if (n->kind == SYNTAX_CHOICE) {
        between = "|";
        for (c = n->child; c; c = c->next) {
            between = has_blanks(c) ? " | " : between;
        }
    }
    for (c = n->child; c; c = c->next) {
        print_node(c, out);
        if (c->next) {
            buf_append_str(out, between);
        }
    }
}

/* A node given once. A choice has brackets unless it is all that stands between
 * those of an optional argument. */
static void print_once(const struct syntax_node *n, bool with_token,
                       struct buf *out)
{
    bool bare = n->optional && !n->token.len && !n->repeated;

    if (with_token && n->token.len) {
        buf_append_bytes(out, n->token);
        buf_append_str(out, n->kind == SYNTAX_TOKEN ? "" : " ");
    }
    if (n->kind == SYNTAX_VALUE) {
        buf_append_byte(out, '<');
        buf_append_bytes(out, n->name);
        buf_append_byte(out, '>');
    } else if (n->kind == SYNTAX_CHOICE && !bare) {
        buf_append_byte(out, '(');
        print_members(n, out);
        buf_append_byte(out, ')');
    } else {
        print_members(n, out);
    }
}

static void print_node(const struct syntax_node *n, struct buf *out)
{
    if (n->optional) {
        buf_append_byte(out, '[');
    }
    print_once(n, true, out);
    if (n->repeated && n->kind == SYNTAX_CHOICE) {
        buf_append_str(out, " [...]"); /* too long to say twice */
    } else if (n->repeated) {
        buf_append_str(out, " [");
        print_once(n, n->token_repeated, out);
        buf_append_str(out, " ...]");
    }
    if (n->optional) {
        buf_append_byte(out, ']');
    }
}

void syntax_print(const struct syntax_node *first, struct buf *out)
{
    for (; first; first = first->next) {
        print_node(first, out);
        if (first->next) {
            buf_append_byte(out, ' ');
        }
    }
}
