/* Reading replies: the client's side of RESP2 and RESP3.
 *
 * A parser looks at one reply at a time in the caller's byte buffer. Fed a
 * prefix it remembers how far it understood, as an offset, so the buffer may
 * grow and move between calls and no byte is looked at twice. It either only
 * finds where the reply ends (what a load generator needs of most replies) or
 * also keeps a tree.
 *
 * The tree is an array in the order of the wire, without pointers: a node says
 * how many values follow as its children and how many nodes its subtree spans,
 * so the next sibling is `node + node->span`. Texts are offsets into the
 * reply's bytes. The children of a map are key, value, key, value ...
 *
 * An attribute (RESP3's `|`) is no value: it precedes the value it describes
 * and resp_reply_first() and resp_reply_next() step over it. Streamed strings
 * and aggregates (`$?`, `*?`) are refused: no server of this family sends them.
 *
 * What arrives is bounded: nesting by RESP_REPLY_DEPTH_MAX, lines by
 * RESP_REPLY_LINE_MAX, strings and nodes by the limits given. */
#ifndef VECTRA_RESP_RESP_REPLY_H
#define VECTRA_RESP_RESP_REPLY_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    RESP_REPLY_DEPTH_MAX = 32,
    RESP_REPLY_LINE_MAX = 64 * 1024,
};

/* The values are the type bytes of the wire. */
enum resp_reply_type {
    RESP_REPLY_STRING = '+',
    RESP_REPLY_ERROR = '-', /* also RESP3's bulk error, wire '!' */
    RESP_REPLY_INTEGER = ':',
    RESP_REPLY_BULK = '$',
    RESP_REPLY_ARRAY = '*',
    RESP_REPLY_NULL = '_', /* also RESP2's, wire '$' or '*' */
    RESP_REPLY_BOOL = '#',
    RESP_REPLY_DOUBLE = ',',
    RESP_REPLY_BIG_NUMBER = '(',
    RESP_REPLY_VERBATIM = '=', /* text without the "txt:" */
    RESP_REPLY_MAP = '%',
    RESP_REPLY_SET = '~',
    RESP_REPLY_PUSH = '>',
    RESP_REPLY_ATTRIBUTE = '|',
};

struct resp_reply {
    uint8_t type;       /* enum resp_reply_type */
    uint8_t wire;       /* the type byte that was sent */
    uint32_t span;      /* nodes of this subtree, itself included */
    uint32_t n;         /* children; twice the pairs of a map or attribute */
    uint32_t attr_back; /* this many nodes back lies its attribute; 0: none */
    size_t text_at;     /* of strings, errors, numbers: offset in the reply */
    size_t text_len;
    union {
        int64_t integer; /* INTEGER; BOOL: 0 or 1 */
        double real;     /* DOUBLE */
    };
};

/* Between calls:
 *
 *  R1  Bytes before `at` are understood; `at` stands at the start of a token.
 *  R2  open[0..depth) are the aggregates around `at`, outermost first, each
 *      with at least one value still to come.
 *  R3  With `keep`, nodes[0..n_nodes) are the tokens before `at` in order, and
 *      the span of every closed aggregate is set. */
struct resp_reply_parser {
    size_t at;
    size_t line_seen; /* no line end lies between `at` and here */
    uint32_t depth;
    struct {
        uint64_t left;
        uint32_t node;
        bool is_attribute;
    } open[RESP_REPLY_DEPTH_MAX];

    bool keep;
    size_t max_text;
    uint32_t max_nodes;
    uint32_t attr_node; /* + 1: the attribute waiting for its value; 0: none */
    struct resp_reply *nodes;
    uint32_t n_nodes;
    uint32_t cap_nodes;
};

/* A parser that keeps trees, or one that only finds the ends of replies.
 *
 * in     max_text: longest string; max_nodes: most values in one reply (of
 *        either kind of parser; a declared count above it is refused too). */
void resp_reply_init(struct resp_reply_parser *p, bool keep, size_t max_text,
                     uint32_t max_nodes);
void resp_reply_deinit(struct resp_reply_parser *p);

/* Makes the parser ready for the next reply; the tree is gone. */
void resp_reply_reset(struct resp_reply_parser *p);

/* Goes on with the reply that starts at data.
 *
 * in     data: the reply's bytes from its first one on, as many as there are.
 * out    *len: bytes of the reply once it is complete, 0 while it is not. The
 *        caller then drops so many bytes and calls resp_reply_reset().
 * fails  ERR_SYNTAX for bytes that are no reply, ERR_LIMIT for one beyond the
 *        bounds; the connection cannot be used further. */
enum err resp_reply_parse(struct resp_reply_parser *p, const uint8_t *data,
                          size_t n, size_t *len) MUST_USE;

/* The value of a complete reply; only of a parser that keeps. */
const struct resp_reply *resp_reply_root(const struct resp_reply_parser *p);

/* The first child (node->n must not be 0), and the sibling after a node that
 * is not the last. */
const struct resp_reply *resp_reply_first(const struct resp_reply *node);
const struct resp_reply *resp_reply_next(const struct resp_reply *node);

/* The attribute sent with a value, or NULL. */
const struct resp_reply *resp_reply_attribute(const struct resp_reply *node);

/* The text of a node; data is where the reply starts now. */
static inline struct bytes resp_reply_text(const struct resp_reply *node,
                                           const uint8_t *data)
{
    return bytes_of(data + node->text_at, node->text_len);
}

#endif
