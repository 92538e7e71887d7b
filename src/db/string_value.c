/* String values: see string_value.h. */
#include "db/string_value.h"

#include <string.h>

#include "base/mem.h"

struct bytes string_get(const struct entry *e, char *text)
{
    if (e->encoding == ENC_INT) {
        return bytes_of(text, num_format_i64(e->value.number, text));
    }
    return bytes_of(e->value.text, e->text_len);
}

size_t string_len(const struct entry *e)
{
    char text[NUM_TEXT_MAX];

    return string_get(e, text).len;
}

enum err string_set(struct keyspace *ks, struct entry *e, struct bytes text)
{
    int64_t number;

    if (text.len <= 20 && num_parse_i64(text, &number)) {
        string_set_int(ks, e, number);
        return ERR_OK;
    }
    return string_set_text(ks, e, text);
}

/* Whether the block of a value is the one that a text of this length would get:
 * at least as large, and not so much larger that memory would be wasted. */
static bool fits(const struct entry *e, size_t len)
{
    size_t room;

    if (e->type != VALUE_STRING || e->encoding == ENC_INT) {
        return false;
    }
    room = mem_size(e->value.text);
    return len <= room && (len > room - room / 4 || room <= 16);
}

enum err string_set_text(struct keyspace *ks, struct entry *e,
                         struct bytes text)
{
    uint8_t *copy;

    if (text.len > UINT32_MAX) {
        return ERR_LIMIT;
    }
    if (fits(e, text.len)) {
        memcpy(e->value.text, text.data, text.len);
    } else {
        copy = mem_try_alloc(text.len);
        if (!copy) {
            return ERR_NOMEM;
        }
        if (text.len) {
            memcpy(copy, text.data, text.len);
        }
        keyspace_drop_value(ks, e);
        e->value.text = copy;
    }
    e->type = VALUE_STRING;
    e->encoding = text.len <= STRING_SHORT_MAX ? ENC_SHORT : ENC_RAW;
    e->text_len = (uint32_t)text.len;
    return ERR_OK;
}

void string_set_int(struct keyspace *ks, struct entry *e, int64_t number)
{
    if (e->type != VALUE_STRING || e->encoding != ENC_INT) {
        keyspace_drop_value(ks, e);
    }
    e->type = VALUE_STRING;
    e->encoding = ENC_INT;
    e->value.number = number;
    e->text_len = 0;
}

bool string_as_int(const struct entry *e, int64_t *out)
{
    if (e->encoding == ENC_INT) {
        *out = e->value.number;
        return true;
    }
    return num_parse_i64(bytes_of(e->value.text, e->text_len), out);
}

enum err string_resize(struct entry *e, size_t len, uint8_t **text)
{
    char digits[NUM_TEXT_MAX];
    struct bytes old = string_get(e, digits);
    uint8_t *block;

    if (len > UINT32_MAX) {
        return ERR_LIMIT;
    }
    if (e->encoding == ENC_INT) {
        block = mem_try_alloc(len > old.len ? len : old.len);
        if (!block) {
            return ERR_NOMEM;
        }
        memcpy(block, old.data, old.len);
    } else {
        block = mem_try_realloc(e->value.text, len);
        if (!block) {
            return ERR_NOMEM;
        }
    }
    if (len > old.len) {
        memset(block + old.len, 0, len - old.len);
    }
    e->value.text = block;
    e->encoding = ENC_RAW;
    e->text_len = (uint32_t)len;
    *text = block;
    return ERR_OK;
}
