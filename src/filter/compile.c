/* Compiling an expression into a postfix program.
 *
 * One pass: tokens are recognised from the left and go straight into
 * Dijkstra's shunting-yard, so there is neither a token list nor a tree, and
 * nothing recurses. Operands are emitted at once, operators wait on a stack of
 * one byte each.
 *
 * The grammar is what that algorithm accepts, and so is Redis's: an operator
 * needs enough operands before it in the emitted order, and one value must
 * remain. `1 2 +` is therefore legal, though nobody should write it. Only a
 * malformed token has a position (filter.h); after a structural mistake the
 * tokens are still read to the end, because a malformed one further right is
 * what the client must be told about.
 *
 * Sizes come from the client: everything that grows with the expression is
 * allocated with mem_try_*. */
#include "filter/filter_impl.h"

#include "base/mem.h"

struct list {
    void *items;
    size_t n;
    size_t cap;
};

struct compiler {
    const uint8_t *text;
    size_t len;
    size_t pos;
    enum err err;       /* the first failure; stops everything */
    bool is_malformed;  /* structurally; found out at the end */
    bool minus_is_sign; /* at the start and after an operator except ')' */
    struct list code;
    struct list consts;
    struct list fields;
    struct list tuples;  /* bytes */
    struct list waiting; /* indexes into operators[] */
    uint8_t *strings;    /* room for len bytes: no literal grows by decoding */
    size_t strings_len;
    uint32_t n_early;
    size_t depth; /* operands on the stack after the code so far */
    size_t max_depth;
};

/* Level 255 marks what is not an operator. '!' and '**' wait for what follows
 * on their own level, the others do not. */
static const struct op_info {
    char text[5];
    uint8_t len;
    uint8_t op;
    uint8_t level;
    uint8_t n_operands;
    bool is_right;
} operators[] = {
    {"(", 1, OP_OPEN, 255, 0, false}, {")", 1, OP_CLOSE, 255, 0, false},
    {"!", 1, OP_NOT, 6, 1, true},     {"not", 3, OP_NOT, 6, 1, true},
    {"**", 2, OP_POW, 5, 2, true},    {"*", 1, OP_MUL, 4, 2, false},
    {"/", 1, OP_DIV, 4, 2, false},    {"%", 1, OP_MOD, 4, 2, false},
    {"+", 1, OP_ADD, 3, 2, false},    {"-", 1, OP_SUB, 3, 2, false},
    {">", 1, OP_GT, 2, 2, false},     {">=", 2, OP_GE, 2, 2, false},
    {"<", 1, OP_LT, 2, 2, false},     {"<=", 2, OP_LE, 2, 2, false},
    {"==", 2, OP_EQ, 2, 2, false},    {"!=", 2, OP_NE, 2, 2, false},
    {"in", 2, OP_IN, 2, 2, false},    {"and", 3, OP_AND, 1, 2, false},
    {"&&", 2, OP_AND, 1, 2, false},   {"or", 2, OP_OR, 0, 2, false},
    {"||", 2, OP_OR, 0, 2, false},    {"null", 4, OP_NULL, 255, 0, false},
};

/* ---- memory -------------------------------------------------------------- */

/* Room for n more items, counted as there; NULL after ERR_NOMEM. */
static void *list_add(struct compiler *c, struct list *list, size_t n,
                      size_t item_bytes)
{
    size_t at = list->n;

    if (list->cap - at < n) {
        size_t cap = list->cap * 2 + n + 8;
        void *items = mem_try_realloc(list->items, cap * item_bytes);

        if (!items) {
            c->err = ERR_NOMEM;
            return NULL;
        }
        list->items = items;
        list->cap = cap;
    }
    list->n += n;
    return (char *)list->items + at * item_bytes;
}

static void fail_at(struct compiler *c, size_t pos)
{
    c->pos = pos;
    c->err = ERR_SYNTAX;
}

/* ---- emitting ------------------------------------------------------------ */

static void emit(struct compiler *c, enum opcode op, size_t arg)
{
    struct instr *instr;

    if (c->is_malformed) {
        return;
    }
    instr = list_add(c, &c->code, 1, sizeof(*instr));
    if (instr) {
        *instr = (struct instr){op, (uint32_t)arg};
    }
}

static void emit_push(struct compiler *c, enum opcode op, size_t arg)
{
    emit(c, op, arg);
    c->depth++;
    if (c->depth > c->max_depth) {
        c->max_depth = c->depth;
    }
    c->minus_is_sign = false;
}

static void emit_const(struct compiler *c, struct value value)
{
    struct value *item;

    if (c->is_malformed) {
        c->minus_is_sign = false;
        return;
    }
    item = list_add(c, &c->consts, 1, sizeof(*item));
    if (item) {
        *item = value;
        emit_push(c, OP_CONST, c->consts.n - 1);
    }
}

static void emit_operator(struct compiler *c, const struct op_info *o)
{
    if (c->depth < o->n_operands) {
        c->is_malformed = true; /* an operand is missing */
        return;
    }
    c->depth -= o->n_operands - 1u;
    emit(c, o->op, 0);
}

/* ---- operators ----------------------------------------------------------- */

static const struct op_info *top_waiting(const struct compiler *c)
{
    const uint8_t *waiting = c->waiting.items;

    return c->waiting.n ? &operators[waiting[c->waiting.n - 1]] : NULL;
}

static void wait_operator(struct compiler *c, const struct op_info *o)
{
    uint8_t *item = list_add(c, &c->waiting, 1, 1);

    if (item) {
        *item = (uint8_t)(o - operators);
    }
}

static void take_operator(struct compiler *c, const struct op_info *o)
{
    const struct op_info *top = top_waiting(c);

    while (
        top && top->op != OP_OPEN &&
        (top->level > o->level || (top->level == o->level && !o->is_right))) {
        c->waiting.n--;
        emit_operator(c, top);
        top = top_waiting(c);
    }
    wait_operator(c, o);
}

static void take_close(struct compiler *c)
{
    const struct op_info *top = top_waiting(c);

    while (top && top->op != OP_OPEN) {
        c->waiting.n--;
        emit_operator(c, top);
        top = top_waiting(c);
    }
    if (top) {
        c->waiting.n--;
    } else {
        c->is_malformed = true; /* nothing to close */
    }
}

static void take_end(struct compiler *c)
{
    const struct op_info *top;

    while ((top = top_waiting(c)) && !c->is_malformed) {
        if (top->op == OP_OPEN) {
            c->is_malformed = true; /* never closed */
        } else {
            c->waiting.n--;
            emit_operator(c, top);
        }
    }
    if (c->err) {
        return;
    }
    if (c->is_malformed || c->depth != 1) {
        fail_at(c, 0);
    } else if (c->max_depth > FILTER_DEPTH_MAX) {
        c->err = ERR_LIMIT;
    }
}

/* ---- tokens -------------------------------------------------------------- */

static void skip_blanks(struct compiler *c)
{
    while (c->pos < c->len && filter_is_blank(c->text[c->pos])) {
        c->pos++;
    }
}

static bool is_number_byte(uint8_t c)
{
    return filter_is_digit(c) || c == '.' || c == 'e' || c == 'E';
}

/* Digits, dots and e's, after a '-' or not; no sign follows an e. */
static bool lex_number(struct compiler *c, double *out)
{
    size_t start = c->pos;
    bool ok;

    c->pos++; /* a digit or the minus sign */
    while (c->pos < c->len && c->pos - start < FILTER_NUMBER_MAX &&
           is_number_byte(c->text[c->pos])) {
        c->pos++;
    }
    ok = filter_parse_number(bytes_of(c->text + start, c->pos - start), out);
    if (ok && c->pos < c->len && is_number_byte(c->text[c->pos])) {
        ok = false; /* longer than numbers may be */
    }
    if (!ok) {
        fail_at(c, c->pos);
    }
    return ok;
}

/* The body of a quoted literal; either quote ends at its own kind only. */
static bool lex_quoted(struct compiler *c, struct bytes *body)
{
    uint8_t quote = c->text[c->pos++];
    size_t start = c->pos;

    while (c->pos < c->len && c->text[c->pos] != quote) {
        c->pos += c->text[c->pos] == '\\' ? 2 : 1;
    }
    if (c->pos >= c->len) {
        fail_at(c, c->len);
        return false;
    }
    *body = bytes_of(c->text + start, c->pos - start);
    c->pos++;
    return true;
}

static void lex_string(struct compiler *c)
{
    struct value value = {.type = VALUE_STRING, .num_is_known = true};
    struct bytes body;

    if (!lex_quoted(c, &body)) {
        return;
    }
    value.data = c->strings + c->strings_len;
    value.len = (uint32_t)filter_unescape(body, c->strings + c->strings_len);
    c->strings_len += value.len;
    if (!filter_parse_number(bytes_of(value.data, value.len), &value.num)) {
        value.num = 0;
    }
    emit_const(c, value);
}

/* One literal inside [ ], appended to tuples in the layout of row members. */
static void lex_member(struct compiler *c)
{
    uint8_t first = c->text[c->pos];
    struct bytes body = BYTES_NONE;
    double num = 0;
    uint8_t *member;
    bool is_string = first == '"' || first == '\'';

    if (is_string) {
        if (!lex_quoted(c, &body)) {
            return;
        }
    } else if (!filter_is_digit(first) && first != '-') {
        fail_at(c, c->pos);
        return;
    } else if (!lex_number(c, &num)) {
        return;
    }
    member = list_add(c, &c->tuples, ROW_MEMBER_BYTES + body.len, 1);
    if (!member) {
        return;
    }
    if (is_string) {
        size_t len = filter_unescape(body, member + ROW_MEMBER_BYTES);

        c->tuples.n -= body.len - len;
        member[0] = VALUE_DECODED;
        filter_store_pair(member + 1, 0, (uint32_t)len);
    } else {
        member[0] = VALUE_NUMBER;
        memcpy(member + 1, &num, sizeof(num));
    }
}

/* Literals between [ and ], a comma after the last allowed. Where its members
 * lie is filled in when tuples[] has stopped moving. */
static void lex_tuple(struct compiler *c)
{
    size_t start = c->tuples.n;
    bool may_follow = true;

    c->pos++;
    for (;;) {
        skip_blanks(c);
        if (c->pos >= c->len) {
            fail_at(c, c->len);
            return;
        }
        if (c->text[c->pos] == ']') {
            break;
        }
        if (!may_follow) {
            fail_at(c, c->pos);
            return;
        }
        lex_member(c);
        if (c->err) {
            return;
        }
        skip_blanks(c);
        may_follow = c->pos < c->len && c->text[c->pos] == ',';
        c->pos += may_follow;
    }
    c->pos++;
    emit_const(c, (struct value){.type = VALUE_TUPLE,
                                 .len = (uint32_t)(c->tuples.n - start)});
}

/* The index of a field with this name; the first few are shared by all their
 * mentions. A linear search of those few keeps compiling linear. */
static void emit_field(struct compiler *c, struct bytes name)
{
    uint32_t hash = FILTER_HASH_START;
    struct field *field = c->fields.items;

    for (size_t i = 0; i < name.len; i++) {
        hash = filter_hash_step(hash, name.data[i]);
    }
    for (uint32_t i = 0; i < c->n_early; i++) {
        if (field[i].hash == hash && bytes_equal(field[i].name, name)) {
            emit_push(c, OP_FIELD, i);
            return;
        }
    }
    field = list_add(c, &c->fields, 1, sizeof(*field));
    if (!field) {
        return;
    }
    if (name.len) {
        memcpy(c->strings + c->strings_len, name.data, name.len);
    }
    name.data = c->strings + c->strings_len;
    c->strings_len += name.len;
    *field = (struct field){name, hash};
    if (c->n_early < FILTER_EARLY_FIELDS) {
        c->n_early++;
        emit_push(c, OP_FIELD, c->fields.n - 1);
    } else {
        emit_push(c, OP_FAR_FIELD, c->fields.n - 1);
    }
}

/* A dot without a name is a mistake, except as the very last byte, where it
 * names the key that no row has. */
static void lex_selector(struct compiler *c)
{
    size_t start = c->pos + 1;
    size_t end = start;

    while (end < c->len && filter_is_name(c->text[end])) {
        end++;
    }
    if (end == start && end < c->len) {
        fail_at(c, c->pos);
        return;
    }
    c->pos = end;
    emit_field(c, bytes_of(c->text + start, end - start));
}

static bool is_word_byte(uint8_t c)
{
    return filter_is_letter(c) || (c && strchr("!<>=&|+-*/%()", c));
}

/* The longest operator that stands here. When there is none, the position is
 * behind the whole run of characters operators are made of. */
static void lex_operator(struct compiler *c)
{
    const uint8_t *p = c->text + c->pos;
    const struct op_info *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        const struct op_info *o = &operators[i];

        if (o->len <= c->len - c->pos && memcmp(p, o->text, o->len) == 0 &&
            (!best || o->len > best->len)) {
            best = o;
        }
    }
    if (!best) {
        while (c->pos < c->len && is_word_byte(c->text[c->pos])) {
            c->pos++;
        }
        fail_at(c, c->pos);
        return;
    }
    c->pos += best->len;
    c->minus_is_sign = best->op != OP_CLOSE;
    if (best->op == OP_NULL) {
        emit_const(c, (struct value){.type = VALUE_NULL});
    } else if (best->op == OP_OPEN) {
        wait_operator(c, best);
    } else if (best->op == OP_CLOSE) {
        take_close(c);
    } else {
        take_operator(c, best);
    }
}

static void lex_token(struct compiler *c)
{
    uint8_t first = c->text[c->pos];
    double num;

    if (filter_is_digit(first) ||
        (first == '-' && c->minus_is_sign && c->pos + 1 < c->len &&
         filter_is_digit(c->text[c->pos + 1]))) {
        if (lex_number(c, &num)) {
            emit_const(c, (struct value){.type = VALUE_NUMBER, .num = num});
        }
    } else if (first == '"' || first == '\'') {
        lex_string(c);
    } else if (first == '[') {
        lex_tuple(c);
    } else if (first == '.') {
        lex_selector(c);
    } else {
        lex_operator(c);
    }
}

/* ---- the whole ----------------------------------------------------------- */

static void compile(struct compiler *c)
{
    skip_blanks(c);
    while (c->pos < c->len) {
        lex_token(c);
        if (c->err) {
            return;
        }
        skip_blanks(c);
    }
    take_end(c);
}

static struct filter *filter_of(const struct compiler *c)
{
    struct filter *f = mem_try_alloc(sizeof(*f));
    const uint8_t *members = c->tuples.items;

    if (!f) {
        return NULL;
    }
    *f = (struct filter){
        .code = c->code.items,
        .consts = c->consts.items,
        .fields = c->fields.items,
        .strings = c->strings,
        .tuples = c->tuples.items,
        .n_code = c->code.n,
        .n_early = c->n_early,
    };
    for (size_t i = 0; i < c->consts.n; i++) {
        if (f->consts[i].type == VALUE_TUPLE && f->consts[i].len) {
            f->consts[i].data = members;
            members += f->consts[i].len;
        }
    }
    return f;
}

enum err filter_compile(struct bytes expr, struct filter **out, size_t *at)
{
    struct compiler c = {
        .text = expr.data, .len = expr.len, .minus_is_sign = true};
    struct filter *f;

    if (expr.len > FILTER_TEXT_MAX) {
        c.err = ERR_LIMIT;
        goto fail;
    }
    c.strings = mem_try_alloc(expr.len + 1);
    if (!c.strings) {
        c.err = ERR_NOMEM;
        goto fail;
    }
    compile(&c);
    if (c.err) {
        goto fail;
    }
    f = filter_of(&c);
    if (!f) {
        c.err = ERR_NOMEM;
        goto fail;
    }
    mem_free(c.waiting.items);
    *out = f;
    return ERR_OK;

fail:
    *at = c.err == ERR_SYNTAX ? c.pos : 0;
    mem_free(c.code.items);
    mem_free(c.consts.items);
    mem_free(c.fields.items);
    mem_free(c.tuples.items);
    mem_free(c.waiting.items);
    mem_free(c.strings);
    return c.err;
}

void filter_destroy(struct filter *f)
{
    if (!f) {
        return;
    }
    mem_free(f->code);
    mem_free(f->consts);
    mem_free(f->fields);
    mem_free(f->strings);
    mem_free(f->tuples);
    mem_free(f);
}
