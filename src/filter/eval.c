/* Evaluating a compiled filter against the row of one element.
 *
 * Runs once per candidate of a search, so it touches the row and, for keys
 * that look right and for strings, the text; nothing else. Everything lives on
 * the C stack, whose use filter_compile() bounded (F1).
 *
 * There is no short circuit: an expression with a missing selector is false as
 * a whole, whatever an `or` beside it says. So selectors are looked up first,
 * which also decides most elements of mixed collections before any operator
 * runs. Only the first few distinct ones have room for their values; a later
 * one is looked up where it stands, with the same outcome. */
#include "filter/filter_impl.h"

#include <math.h>

/* ---- values -------------------------------------------------------------- */

/* Reads a payload of this type; `text` is what its offsets count from. */
ALWAYS_INLINE void payload_read(uint8_t type, const uint8_t *payload,
                                const uint8_t *text, struct value *out)
{
    out->type = type;
    switch (type) {
    case VALUE_NUMBER:
        memcpy(&out->num, payload, sizeof(out->num));
        break;
    case VALUE_STRING:
        out->data = text + filter_load_u32(payload);
        out->len = filter_load_u32(payload + 4);
        out->num_is_known = false;
        break;
    case VALUE_DECODED:
        out->type = VALUE_STRING;
        out->data = payload + ROW_PAYLOAD_BYTES;
        out->len = filter_load_u32(payload + 4);
        out->num_is_known = false;
        break;
    case VALUE_TUPLE:
        out->data = payload + ROW_PAYLOAD_BYTES;
        out->len = filter_load_u32(payload + 4);
        break;
    default:
        break;
    }
}

/* Bytes behind a payload. */
ALWAYS_INLINE size_t payload_extra(uint8_t type, const uint8_t *payload)
{
    return type >= VALUE_DECODED ? filter_load_u32(payload + 4) : 0;
}

static struct bytes value_bytes(const struct value *v)
{
    return bytes_of(v->data, v->len);
}

static NO_INLINE double string_number(const struct value *v)
{
    double num;

    if (v->num_is_known) {
        return v->num;
    }
    return filter_parse_number(value_bytes(v), &num) ? num : 0;
}

ALWAYS_INLINE double value_number(const struct value *v)
{
    if (LIKELY(v->type == VALUE_NUMBER)) {
        return v->num;
    }
    return v->type == VALUE_STRING ? string_number(v) : 0;
}

static bool value_is_true(const struct value *v)
{
    switch (v->type) {
    case VALUE_NUMBER:
        return v->num != 0;
    case VALUE_STRING:
        return v->len != 0;
    default:
        return v->type == VALUE_TUPLE;
    }
}

static bool value_equal(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_STRING && b->type == VALUE_STRING) {
        return bytes_equal(value_bytes(a), value_bytes(b));
    }
    if (a->type == VALUE_NULL || b->type == VALUE_NULL) {
        return a->type == b->type;
    }
    return value_number(a) == value_number(b);
}

static bool tuple_has(const struct value *tuple, const struct value *v,
                      const uint8_t *text)
{
    struct value wanted = *v;
    struct value member;

    if (wanted.type == VALUE_STRING && !wanted.num_is_known) {
        wanted.num = string_number(v);
        wanted.num_is_known = true;
    }
    for (size_t at = 0; at < tuple->len;) {
        const uint8_t *p = tuple->data + at;

        payload_read(p[0], p + 1, text, &member);
        if (value_equal(&wanted, &member)) {
            return true;
        }
        at += ROW_MEMBER_BYTES + payload_extra(p[0], p + 1);
    }
    return false;
}

static bool value_in(const struct value *a, const struct value *b,
                     const uint8_t *text)
{
    if (b->type == VALUE_TUPLE) {
        return tuple_has(b, a, text);
    }
    if (a->type == VALUE_STRING && b->type == VALUE_STRING) {
        return a->len == 0 || memmem(b->data, b->len, a->data, a->len);
    }
    return false;
}

/* ---- the row ------------------------------------------------------------- */

/* The key at `offset` is this name (R1). */
static bool key_equals(struct bytes text, uint32_t offset, struct bytes name)
{
    return text.len - offset > name.len &&
           memcmp(text.data + offset, name.data, name.len) == 0 &&
           text.data[offset + name.len] == '"';
}

/* False when the key is missing or its value cannot be used (R2). */
static bool row_find(struct bytes row, struct bytes text,
                     const struct field *field, struct value *out)
{
    for (size_t at = 0; at < row.len;) {
        const uint8_t *p = row.data + at;
        uint32_t tag = filter_load_u32(p);
        uint8_t type = (uint8_t)tag;

        if (((tag ^ field->hash) >> 8) == 0 &&
            key_equals(text, filter_load_u32(p + 4), field->name)) {
            payload_read(type, p + 8, text.data, out);
            return type != VALUE_NONE;
        }
        at += ROW_FIELD_BYTES + payload_extra(type, p + 8);
    }
    return false;
}

/* ---- the program --------------------------------------------------------- */

/* Operators whose operands are both numbers. */
ALWAYS_INLINE double operate(uint32_t op, double a, double b)
{
    switch (op) {
    case OP_POW:
        return pow(a, b);
    case OP_MUL:
        return a * b;
    case OP_DIV:
        return a / b;
    case OP_MOD:
        return fmod(a, b);
    case OP_ADD:
        return a + b;
    case OP_SUB:
        return a - b;
    case OP_GT:
        return a > b;
    case OP_GE:
        return a >= b;
    case OP_LT:
        return a < b;
    default:
        return a <= b;
    }
}

/* Operators that look at types. */
ALWAYS_INLINE bool decide(uint32_t op, const struct value *a,
                          const struct value *b, const uint8_t *text)
{
    switch (op) {
    case OP_EQ:
        return value_equal(a, b);
    case OP_NE:
        return !value_equal(a, b);
    case OP_IN:
        return value_in(a, b, text);
    case OP_AND:
        return value_is_true(a) && value_is_true(b);
    default:
        return value_is_true(a) || value_is_true(b);
    }
}

static void set_number(struct value *v, double num)
{
    v->type = VALUE_NUMBER;
    v->num = num;
}

/* Runs the code on `stack`; false when a far field is missing. */
static bool run(const struct filter *f, const struct value *early,
                struct bytes json, struct bytes row, struct value *stack)
{
    const struct instr *end = f->code + f->n_code;
    struct value *top = stack - 1;

    for (const struct instr *i = f->code; i < end; i++) {
        switch (i->op) {
        case OP_CONST:
            *++top = f->consts[i->arg];
            break;
        case OP_FIELD:
            *++top = early[i->arg];
            break;
        case OP_FAR_FIELD:
            if (!row_find(row, json, &f->fields[i->arg], ++top)) {
                return false;
            }
            break;
        case OP_NOT:
            set_number(top, !value_is_true(top));
            break;
        case OP_POW:
        case OP_MUL:
        case OP_DIV:
        case OP_MOD:
        case OP_ADD:
        case OP_SUB:
        case OP_GT:
        case OP_GE:
        case OP_LT:
        case OP_LE:
            top--;
            set_number(
                top, operate(i->op, value_number(top), value_number(top + 1)));
            break;
        default:
            top--;
            set_number(top, decide(i->op, top, top + 1, json.data));
            break;
        }
    }
    return value_is_true(top);
}

bool filter_match(const struct filter *f, struct bytes json, struct bytes row)
{
    struct value early[FILTER_EARLY_FIELDS];
    struct value stack[FILTER_DEPTH_MAX];

    for (uint32_t i = 0; i < f->n_early; i++) {
        if (!row_find(row, json, &f->fields[i], &early[i])) {
            return false;
        }
    }
    return run(f, early, json, row, stack);
}
