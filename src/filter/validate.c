/* Checking the invariants of rows and programs, for tests, fuzzers and
 * whoever suspects memory. Nothing here trusts what it looks at. */
#include "filter/filter_impl.h"

static bool range_is_inside(uint32_t offset, uint32_t len, size_t whole)
{
    return offset <= whole && len <= whole - offset;
}

/* A payload at p and what follows it do not pass `end`; *size covers both. */
static bool payload_is_valid(uint8_t type, const uint8_t *p, const uint8_t *end,
                             struct bytes text, size_t *size)
{
    uint32_t first;
    uint32_t second;

    if ((size_t)(end - p) < ROW_PAYLOAD_BYTES) {
        return false;
    }
    first = filter_load_u32(p);
    second = filter_load_u32(p + 4);
    *size = ROW_PAYLOAD_BYTES;
    switch (type) {
    case VALUE_NONE:
    case VALUE_NULL:
        return first == 0 && second == 0;
    case VALUE_NUMBER:
        return true;
    case VALUE_STRING:
        return range_is_inside(first, second, text.len);
    case VALUE_DECODED:
    case VALUE_TUPLE:
        *size += second;
        return first == 0 && *size <= (size_t)(end - p);
    default:
        return false;
    }
}

static bool members_are_valid(const uint8_t *p, const uint8_t *end,
                              struct bytes text)
{
    size_t size;

    while (p < end) {
        uint8_t type = *p++;

        if (type == VALUE_NONE ||
            !payload_is_valid(type, p, end, text, &size) ||
            (type == VALUE_TUPLE && size > ROW_PAYLOAD_BYTES)) {
            return false;
        }
        p += size;
    }
    return true;
}

/* R1, and that the hash is the key's. */
static bool key_is_valid(uint32_t tag, uint32_t offset, struct bytes text)
{
    uint32_t hash = FILTER_HASH_START;
    size_t i = offset;

    while (i < text.len && filter_is_name(text.data[i])) {
        hash = filter_hash_step(hash, text.data[i++]);
    }
    return i > offset && i < text.len && text.data[i] == '"' &&
           ((hash ^ tag) >> 8) == 0;
}

bool filter_row_validate(struct bytes json, struct bytes row)
{
    const uint8_t *p = row.data;
    const uint8_t *end;
    size_t size;

    if (row.len == 0) {
        return true;
    }
    end = p + row.len;
    while (p < end) {
        uint32_t tag;

        if ((size_t)(end - p) < ROW_FIELD_BYTES) {
            return false;
        }
        tag = filter_load_u32(p);
        if (!key_is_valid(tag, filter_load_u32(p + 4), json)) {
            return false;
        }
        p += 8;
        if (!payload_is_valid((uint8_t)tag, p, end, json, &size)) {
            return false;
        }
        if ((uint8_t)tag == VALUE_TUPLE &&
            !members_are_valid(p + ROW_PAYLOAD_BYTES, p + size, json)) {
            return false;
        }
        p += size;
    }
    return true;
}

/* Operands an instruction takes; all leave one value. */
static size_t operands_of(uint32_t op)
{
    if (op <= OP_FAR_FIELD) {
        return 0;
    }
    return op == OP_NOT ? 1 : 2;
}

static bool const_is_valid(const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
    case VALUE_NUMBER:
        return true;
    case VALUE_STRING:
        return v->num_is_known;
    case VALUE_TUPLE:
        return v->len == 0 ||
               members_are_valid(v->data, v->data + v->len, BYTES_NONE);
    default:
        return false;
    }
}

bool filter_validate(const struct filter *f)
{
    size_t depth = 0;

    for (size_t i = 0; i < f->n_code; i++) {
        const struct instr *in = &f->code[i];

        if (in->op >= OP_OPEN || depth < operands_of(in->op) ||
            (in->op == OP_CONST && !const_is_valid(&f->consts[in->arg])) ||
            (in->op == OP_FIELD && in->arg >= f->n_early)) {
            return false;
        }
        depth = depth - operands_of(in->op) + 1;
        if (depth > FILTER_DEPTH_MAX) {
            return false;
        }
    }
    return depth == 1;
}
