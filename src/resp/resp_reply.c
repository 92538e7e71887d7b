/* The reply parser: a loop over tokens with an explicit stack.
 *
 * A token is a type byte and its line, plus the body of a string. It is taken
 * only when all of it is there, so the loop can stop before any token and start
 * again at the same offset; a string's header is then read once more, which
 * costs less than a state for it. */
#include "resp/resp_reply.h"

#include <stdlib.h>

#include "base/mem.h"

enum { NODES_FIRST = 64, DOUBLE_TEXT_MAX = 128 };

/* What next_token() found. */
struct token {
    struct resp_reply node;
    bool is_aggregate; /* node.n values follow */
};

void resp_reply_init(struct resp_reply_parser *p, bool keep, size_t max_text,
                     uint32_t max_nodes)
{
    *p = (struct resp_reply_parser){
        .keep = keep, .max_text = max_text, .max_nodes = max_nodes};
}

void resp_reply_deinit(struct resp_reply_parser *p)
{
    mem_free(p->nodes);
    p->nodes = NULL;
    p->n_nodes = p->cap_nodes = 0;
}

void resp_reply_reset(struct resp_reply_parser *p)
{
    p->at = 0;
    p->line_seen = 0;
    p->depth = 0;
    p->attr_node = 0;
    p->n_nodes = 0;
}

/* ---- the texts of lines ------------------------------------------------- */

/* Optional sign and digits, nothing else, within int64. */
static bool parse_integer(struct bytes s, int64_t *out)
{
    bool minus = s.len && s.data[0] == '-';
    size_t i = s.len && (minus || s.data[0] == '+') ? 1 : 0;
    uint64_t limit = (uint64_t)INT64_MAX + minus;
    uint64_t v = 0;

    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        unsigned digit = (unsigned)s.data[i] - '0';

        if (digit > 9 || v > (limit - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool is_big_number(struct bytes s)
{
    size_t i = s.len && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;

    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }
    }
    return true;
}

/* Unlike base/num.h, a reader of replies takes NaN and denormals. */
static bool parse_double(struct bytes s, double *out)
{
    char text[DOUBLE_TEXT_MAX];
    char *end;
    size_t i;

    if (s.len == 0 || s.len >= sizeof(text)) {
        return false;
    }
    for (i = 0; i < s.len; i++) {
        if (!memchr("0123456789+-.eEinfaINFA", s.data[i], 23)) {
            return false;
        }
        text[i] = (char)s.data[i];
    }
    text[i] = '\0';
    *out = strtod(text, &end);
    return end == text + s.len;
}

/* ---- tokens ------------------------------------------------------------- */

/* The line at p->at without its type byte and end.
 * out    *end: offset after the line, 0 when it is not complete. */
static enum err find_line(struct resp_reply_parser *p, const uint8_t *data,
                          size_t n, struct bytes *line, size_t *end)
{
    size_t from = p->line_seen > p->at ? p->line_seen : p->at + 1;
    const uint8_t *nl = from < n ? memchr(data + from, '\n', n - from) : NULL;
    size_t stop = nl ? (size_t)(nl - data) : n;

    *end = 0;
    if (stop > p->at && stop - p->at > RESP_REPLY_LINE_MAX) {
        return ERR_LIMIT;
    }
    if (!nl) {
        p->line_seen = n;
        return ERR_OK;
    }
    if (stop < p->at + 2 || data[stop - 1] != '\r') {
        return ERR_SYNTAX;
    }
    *line = bytes_of(data + p->at + 1, stop - p->at - 2);
    *end = stop + 1;
    return ERR_OK;
}

/* The rest of a string token, whose header ends at `start`. Leaves *end 0 when
 * the body is not complete. */
static enum err take_string(struct resp_reply_parser *p,
                            struct resp_reply *node, struct bytes line,
                            const uint8_t *data, size_t n, size_t start,
                            size_t *end)
{
    int64_t len;

    *end = 0;
    if (!parse_integer(line, &len) || len < -1) {
        return ERR_SYNTAX;
    }
    if (len == -1) {
        if (node->wire != '$') {
            return ERR_SYNTAX;
        }
        node->type = RESP_REPLY_NULL;
        *end = start;
        return ERR_OK;
    }
    if ((uint64_t)len > p->max_text) {
        return ERR_LIMIT;
    }
    if (n - start < (size_t)len + 2) {
        return ERR_OK;
    }
    if (data[start + (size_t)len] != '\r' ||
        data[start + (size_t)len + 1] != '\n') {
        return ERR_SYNTAX;
    }
    node->text_at = start;
    node->text_len = (size_t)len;
    if (node->wire == '=') {
        if (len < 4 || data[start + 3] != ':') {
            return ERR_SYNTAX;
        }
        node->text_at += 4;
        node->text_len -= 4;
    }
    *end = start + (size_t)len + 2;
    return ERR_OK;
}

static enum err take_aggregate(const struct resp_reply_parser *p,
                               struct token *t, struct bytes line)
{
    bool in_pairs = t->node.wire == '%' || t->node.wire == '|';
    int64_t n;

    if (!parse_integer(line, &n) || n < -1) {
        return ERR_SYNTAX;
    }
    if (n == -1) {
        if (t->node.wire != '*') {
            return ERR_SYNTAX;
        }
        t->node.type = RESP_REPLY_NULL;
        return ERR_OK;
    }
    if (n > p->max_nodes / (in_pairs ? 2 : 1)) {
        return ERR_LIMIT;
    }
    t->node.n = (uint32_t)(in_pairs ? 2 * n : n);
    t->is_aggregate = true;
    return ERR_OK;
}

/* Reads the token at p->at.
 * out    *end: offset after it, 0 when it is not complete. */
static enum err next_token(struct resp_reply_parser *p, const uint8_t *data,
                           size_t n, struct token *t, size_t *end)
{
    struct resp_reply *node = &t->node;
    struct bytes line;
    enum err err;
    bool ok = true;

    err = find_line(p, data, n, &line, end);
    if (err || *end == 0) {
        return err;
    }
    *t = (struct token){.node = {.type = data[p->at],
                                 .wire = data[p->at],
                                 .span = 1,
                                 .text_at = p->at + 1,
                                 .text_len = line.len}};
    switch (node->wire) {
    case '+':
    case '-':
        break;
    case ':':
        ok = parse_integer(line, &node->integer);
        break;
    case '(':
        ok = is_big_number(line);
        break;
    case ',':
        ok = parse_double(line, &node->real);
        break;
    case '#':
        ok = line.len == 1 && (line.data[0] == 't' || line.data[0] == 'f');
        node->integer = ok && line.data[0] == 't';
        break;
    case '_':
        ok = line.len == 0;
        break;
    case '!':
        node->type = RESP_REPLY_ERROR;
        FALLTHROUGH;
    case '$':
    case '=':
        return take_string(p, node, line, data, n, *end, end);
    case '*':
    case '%':
    case '~':
    case '>':
    case '|':
        return take_aggregate(p, t, line);
    default:
        ok = false;
    }
    return ok ? ERR_OK : ERR_SYNTAX;
}

/* ---- the tree ----------------------------------------------------------- */

/* Counts the node and, if trees are kept, stores it. */
static enum err add_node(struct resp_reply_parser *p,
                         const struct resp_reply *node)
{
    if (p->n_nodes == p->max_nodes) {
        return ERR_LIMIT;
    }
    if (p->keep) {
        if (p->n_nodes == p->cap_nodes) {
            uint32_t cap = p->cap_nodes ? 2 * p->cap_nodes : NODES_FIRST;
            struct resp_reply *grown =
                mem_try_realloc(p->nodes, cap * sizeof(*grown));

            if (!grown) {
                return ERR_NOMEM;
            }
            p->nodes = grown;
            p->cap_nodes = cap;
        }
        p->nodes[p->n_nodes] = *node;
    }
    p->n_nodes++;
    return ERR_OK;
}

/* A value is complete: closes the aggregates it was the last of. Returns true
 * when that was the whole reply. */
static bool value_done(struct resp_reply_parser *p)
{
    while (p->depth) {
        uint32_t top = p->depth - 1;

        if (--p->open[top].left) {
            return false;
        }
        p->depth = top;
        if (p->keep) {
            p->nodes[p->open[top].node].span = p->n_nodes - p->open[top].node;
        }
        if (p->open[top].is_attribute) {
            p->attr_node = p->open[top].node + 1;
            return false;
        }
    }
    return true;
}

/* Takes a token into the tree. *done: it completed the reply. */
static enum err accept_token(struct resp_reply_parser *p, struct token *t,
                             bool *done)
{
    bool is_attribute = t->node.wire == '|';
    uint32_t index = p->n_nodes;
    enum err err;

    if (!is_attribute && p->attr_node) {
        t->node.attr_back = index - (p->attr_node - 1);
    }
    p->attr_node = 0;
    err = add_node(p, &t->node);
    if (err) {
        return err;
    }
    if (t->is_aggregate && t->node.n) {
        if (p->depth == RESP_REPLY_DEPTH_MAX) {
            return ERR_LIMIT;
        }
        p->open[p->depth].left = t->node.n;
        p->open[p->depth].node = index;
        p->open[p->depth].is_attribute = is_attribute;
        p->depth++;
        return ERR_OK;
    }
    if (!is_attribute) {
        *done = value_done(p);
    }
    return ERR_OK;
}

enum err resp_reply_parse(struct resp_reply_parser *p, const uint8_t *data,
                          size_t n, size_t *len)
{
    bool done = false;

    *len = 0;
    while (!done && p->at < n) {
        struct token t;
        size_t end;
        enum err err = next_token(p, data, n, &t, &end);

        if (!err && end == 0) {
            return ERR_OK;
        }
        if (!err) {
            err = accept_token(p, &t, &done);
        }
        if (err) {
            return err;
        }
        p->at = end;
    }
    if (done) {
        *len = p->at;
    }
    return ERR_OK;
}

/* ---- walking ------------------------------------------------------------ */

static const struct resp_reply *skip_attributes(const struct resp_reply *node)
{
    while (node->type == RESP_REPLY_ATTRIBUTE) {
        node += node->span;
    }
    return node;
}

const struct resp_reply *resp_reply_root(const struct resp_reply_parser *p)
{
    ASSERT(p->keep && p->n_nodes);
    return skip_attributes(p->nodes);
}

const struct resp_reply *resp_reply_first(const struct resp_reply *node)
{
    ASSERT(node->n);
    return skip_attributes(node + 1);
}

const struct resp_reply *resp_reply_next(const struct resp_reply *node)
{
    return skip_attributes(node + node->span);
}

const struct resp_reply *resp_reply_attribute(const struct resp_reply *node)
{
    return node->attr_back ? node - node->attr_back : NULL;
}
