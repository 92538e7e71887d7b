/* Building the row of an attribute: a scan of JSON that is strict about the
 * values it keeps and lenient about everything else.
 *
 * Redis reads a JSON text anew for every selector: it skips values until the
 * key comes and then parses one value. What a filter sees therefore depends on
 * two different readings, and both are needed here. Skipping goes over a number
 * as a run of number characters and over an array or object by counting its
 * own kind of bracket outside strings. Parsing wants a well-formed value with
 * no object inside. A value that can be skipped but not parsed becomes
 * VALUE_NONE and the scan goes on; one that cannot be skipped ends the scan.
 *
 * Nothing recurses: nesting is a counter, both for skipping and for parsing,
 * since only arrays nest in a tuple. A malformed array is read twice, once by
 * each, so the whole is linear. */
#include "filter/filter_impl.h"

#include "base/num.h"

struct scan {
    const uint8_t *p;
    const uint8_t *end;
    const uint8_t *text;
    struct buf *out;
};

static uint32_t offset_of(const struct scan *s, const uint8_t *p)
{
    return (uint32_t)(p - s->text);
}

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && filter_is_blank(*s->p)) {
        s->p++;
    }
}

/* Takes c when it is next, blanks before it included. */
static bool take(struct scan *s, uint8_t c)
{
    skip_blanks(s);
    if (s->p < s->end && *s->p == c) {
        s->p++;
        return true;
    }
    return false;
}

/* From behind the opening quote to behind the closing one; *body is what lies
 * between. False when the string does not end. */
static bool scan_string(struct scan *s, struct bytes *body, bool *has_escape)
{
    const uint8_t *start = s->p;
    bool escape = false;

    for (; s->p < s->end && *s->p != '"'; s->p++) {
        if (*s->p == '\\') {
            escape = true;
            if (++s->p == s->end) {
                return false;
            }
        }
    }
    if (s->p == s->end) {
        return false;
    }
    *body = bytes_of(start, (size_t)(s->p - start));
    *has_escape = escape;
    s->p++;
    return true;
}

/* ---- payloads -------------------------------------------------------------
 * Each writes the payload at `at`, an offset into out, and whatever follows at
 * the end of out, and returns the type. */

static enum value_type put_number(struct scan *s, size_t at, double num)
{
    memcpy(s->out->data + at, &num, sizeof(num));
    return VALUE_NUMBER;
}

static enum value_type put_string(struct scan *s, size_t at, struct bytes body,
                                  bool has_escape)
{
    size_t len;

    if (!has_escape) {
        filter_store_pair(s->out->data + at, offset_of(s, body.data),
                          (uint32_t)body.len);
        return VALUE_STRING;
    }
    len = filter_unescape(body, buf_room(s->out, body.len));
    s->out->len += len;
    filter_store_pair(s->out->data + at, 0, (uint32_t)len);
    return VALUE_DECODED;
}

static enum value_type put_nothing(struct scan *s, size_t at,
                                   enum value_type type)
{
    filter_store_pair(s->out->data + at, 0, 0);
    return type;
}

/* ---- scalars ------------------------------------------------------------- */

static bool is_number_byte(uint8_t c)
{
    return filter_is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' ||
           c == 'E';
}

/* JSON sets no limit to digits, so beyond what filter_parse_number() looks at
 * the exact parser decides alone, which wants a value in range. */
static bool read_number(struct bytes text, double *out)
{
    if (text.len > FILTER_NUMBER_MAX) {
        return num_parse_double(text, out);
    }
    return filter_parse_number(text, out);
}

/* A run of number characters; a number when it starts like one and reads as
 * one, leading '+' and zeros included. */
static enum value_type parse_number(struct scan *s, size_t at)
{
    const uint8_t *start = s->p;
    double num;

    while (s->p < s->end && is_number_byte(*s->p)) {
        s->p++;
    }
    if ((filter_is_digit(*start) || *start == '-' || *start == '+') &&
        read_number(bytes_of(start, (size_t)(s->p - start)), &num)) {
        return put_number(s, at, num);
    }
    return put_nothing(s, at, VALUE_NONE);
}

static bool take_word(struct scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0) {
        return false;
    }
    s->p += len;
    return true;
}

static bool word_is_over(const struct scan *s)
{
    return s->p == s->end || filter_is_blank(*s->p) || *s->p == ',' ||
           *s->p == ']' || *s->p == '}';
}

/* false when no such word stands here, which ends the scan. */
static bool parse_word(struct scan *s, size_t at, enum value_type *type)
{
    double num = 0;
    bool is_null = false;

    if (take_word(s, "true", 4)) {
        num = 1;
    } else if (take_word(s, "null", 4)) {
        is_null = true;
    } else if (!take_word(s, "false", 5)) {
        return false;
    }
    if (!word_is_over(s)) {
        *type = put_nothing(s, at, VALUE_NONE);
    } else if (is_null) {
        *type = put_nothing(s, at, VALUE_NULL);
    } else {
        *type = put_number(s, at, num);
    }
    return true;
}

/* ---- arrays and objects -------------------------------------------------- */

/* A number, word or string as a member at the end of out; false when it is
 * malformed. */
static bool parse_member(struct scan *s)
{
    size_t at = s->out->len;
    enum value_type type;
    struct bytes body;
    bool has_escape;

    (void)buf_room(s->out, ROW_MEMBER_BYTES);
    s->out->len += ROW_MEMBER_BYTES;
    if (*s->p == '"') {
        s->p++;
        if (!scan_string(s, &body, &has_escape)) {
            return false;
        }
        type = put_string(s, at + 1, body, has_escape);
    } else if (is_number_byte(*s->p)) {
        type = parse_number(s, at + 1);
    } else if (!parse_word(s, at + 1, &type)) {
        return false;
    }
    s->out->data[at] = type;
    return type != VALUE_NONE;
}

static void append_inner_tuple(struct scan *s)
{
    uint8_t *member = buf_room(s->out, ROW_MEMBER_BYTES);

    member[0] = VALUE_TUPLE;
    filter_store_pair(member + 1, 0, 0);
    s->out->len += ROW_MEMBER_BYTES;
}

/* From behind the '[' to behind its ']', appending members. Members of inner
 * arrays are checked and dropped. */
static bool parse_members(struct scan *s)
{
    size_t depth = 1;
    bool needs_value = false; /* after a comma */
    bool has_value = false;   /* a member has just ended */

    while (depth) {
        size_t len = s->out->len;

        skip_blanks(s);
        if (s->p == s->end) {
            return false;
        }
        if (*s->p == ']') {
            if (needs_value) {
                return false;
            }
            s->p++;
            depth--;
            has_value = true;
        } else if (has_value) {
            if (*s->p != ',') {
                return false;
            }
            s->p++;
            needs_value = true;
            has_value = false;
        } else if (*s->p == '[') {
            s->p++;
            if (depth++ == 1) {
                append_inner_tuple(s);
            }
            needs_value = false;
        } else {
            if (!parse_member(s)) {
                return false;
            }
            if (depth > 1) {
                s->out->len = len;
            }
            has_value = true;
            needs_value = false;
        }
    }
    return true;
}

/* From the opening bracket to behind the one that brings the count of this
 * kind to zero; strings are stepped over, other brackets mean nothing. */
static bool skip_container(struct scan *s)
{
    uint8_t open = *s->p;
    uint8_t close = open == '[' ? ']' : '}';
    size_t depth = 0;

    while (s->p < s->end) {
        uint8_t c = *s->p++;

        if (c == '"') {
            struct bytes body;
            bool has_escape;

            if (!scan_string(s, &body, &has_escape)) {
                return false;
            }
        } else if (c == open) {
            depth++;
        } else if (c == close && --depth == 0) {
            return true;
        }
    }
    return false;
}

static bool parse_array(struct scan *s, size_t at, enum value_type *type)
{
    const uint8_t *start = s->p;
    size_t len = s->out->len;

    s->p++;
    if (parse_members(s)) {
        filter_store_pair(s->out->data + at, 0, (uint32_t)(s->out->len - len));
        *type = VALUE_TUPLE;
        return true;
    }
    s->out->len = len;
    s->p = start;
    *type = put_nothing(s, at, VALUE_NONE);
    return skip_container(s);
}

/* ---- fields -------------------------------------------------------------- */

/* Parses the value at s->p into the payload at `at`. False when the scan
 * cannot go on behind it; *type is VALUE_NONE then. */
static bool parse_value(struct scan *s, size_t at, enum value_type *type)
{
    struct bytes body;
    bool has_escape;

    *type = VALUE_NONE;
    if (s->p == s->end) {
        return false;
    }
    switch (*s->p) {
    case '"':
        s->p++;
        if (!scan_string(s, &body, &has_escape)) {
            return false;
        }
        *type = put_string(s, at, body, has_escape);
        return true;
    case '[':
        return parse_array(s, at, type);
    case '{':
        *type = put_nothing(s, at, VALUE_NONE);
        return skip_container(s);
    default:
        if (is_number_byte(*s->p)) {
            *type = parse_number(s, at);
            return true;
        }
        return parse_word(s, at, type);
    }
}

/* A key that a selector can name (R1), and its hash. */
static bool key_is_name(struct bytes key, uint32_t *hash)
{
    uint32_t h = FILTER_HASH_START;

    for (size_t i = 0; i < key.len; i++) {
        if (!filter_is_name(key.data[i])) {
            return false;
        }
        h = filter_hash_step(h, key.data[i]);
    }
    *hash = h;
    return key.len > 0;
}

/* One `"key": value`; false when the scan ends here. A value that cannot even
 * be skipped leaves no field: no later one can have its key. */
static bool scan_field(struct scan *s)
{
    size_t at = s->out->len;
    enum value_type type;
    struct bytes key;
    bool has_escape;
    uint32_t hash = 0;
    bool goes_on;

    if (!take(s, '"') || !scan_string(s, &key, &has_escape) || !take(s, ':')) {
        return false;
    }
    skip_blanks(s);
    (void)buf_room(s->out, ROW_FIELD_BYTES);
    s->out->len += ROW_FIELD_BYTES;
    goes_on = parse_value(s, at + 8, &type);
    if (!goes_on || !key_is_name(key, &hash)) {
        s->out->len = at;
    } else {
        filter_store_pair(s->out->data + at,
                          (hash & ~(uint32_t)0xff) | (uint32_t)type,
                          offset_of(s, key.data));
    }
    return goes_on;
}

void filter_row_build(struct bytes json, struct buf *out)
{
    struct scan s = {json.data, json.data, json.data, out};

    if (json.len == 0) {
        return; /* data may be NULL, to which nothing may be added */
    }
    s.end += json.len < FILTER_TEXT_MAX ? json.len : FILTER_TEXT_MAX;
    if (!take(&s, '{')) {
        return;
    }
    while (scan_field(&s) && take(&s, ',')) {
    }
}
