/* The language of .syntax in the command table, and its tree.
 *
 *     NOQUANT              a word, typed as it stands
 *     key:key              a value: its name and its type
 *     EX seconds:int       a value behind its word
 *     TYPE (A | B)         a group behind its word
 *     [ ... ]              may be left out
 *     ( a | b )            one of these; [ a | b ] one of these or none
 *     x ...                once or more; of a group, word and all
 *     expiry:( ... )       a group with a name of its own
 *
 * A group that begins with a word and goes on with more than one value is a
 * block behind that word: [AUTH username:string password:string]. Types are
 * string, int, double, key, pattern and unix-time. Optional arguments may come
 * in any order after what stands before them; the language does not say so.
 *
 * COMMAND DOCS, HELP and docs/commands.md are written from the tree, and a test
 * holds the table's arities and key positions against it.
 *
 * thread loop only. */
#ifndef VECTRA_CMD_SYNTAX_H
#define VECTRA_CMD_SYNTAX_H

#include "base/buf.h"
#include "base/err.h"
#include "cmd/command.h"

enum syntax_kind { SYNTAX_TOKEN, SYNTAX_VALUE, SYNTAX_CHOICE, SYNTAX_BLOCK };

enum syntax_type {
    SYNTAX_STRING,
    SYNTAX_INTEGER,
    SYNTAX_DOUBLE,
    SYNTAX_KEY,
    SYNTAX_PATTERN,
    SYNTAX_UNIX_TIME,
    SYNTAX_TYPE_COUNT,
};

struct syntax_node {
    enum syntax_kind kind;
    enum syntax_type type; /* of a value */
    bool optional;
    bool repeated;             /* once or more */
    bool token_repeated;       /* its word each time, too */
    struct bytes token;        /* the word before it, or itself; empty: none */
    struct bytes name;         /* of a value; of a group that was given one */
    struct syntax_node *child; /* of a group */
    struct syntax_node *next;
};

/* The most nodes a text can need. */
size_t syntax_bound(const char *text);

/* Parses a text into nodes[0 .. syntax_bound(text)); the tree refers to both.
 *
 * out    *first: NULL when there are no arguments.
 * fails  ERR_SYNTAX with words. */
enum err syntax_parse(const char *text, struct syntax_node *nodes,
                      struct syntax_node **first, struct err_ctx *ctx) MUST_USE;

/* The arguments of a command, the words of its name left out; parsed when first
 * asked for and kept. */
const struct syntax_node *syntax_of(const struct command *c);

/* Words in the shortest sentence, and whether there are no longer ones. */
size_t syntax_min_words(const struct syntax_node *first);
bool syntax_is_exact(const struct syntax_node *first);

/* "pure-token", "integer", "oneof" and so on, as COMMAND DOCS says. */
const char *syntax_type_name(const struct syntax_node *n);

/* Appends a node's name: given, or made of its word or its members. */
void syntax_append_name(const struct syntax_node *n, struct buf *out);

/* Appends the arguments as people write them: <key> [EX <seconds>] (A|B). */
void syntax_print(const struct syntax_node *first, struct buf *out);

#endif
