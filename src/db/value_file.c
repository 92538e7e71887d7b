/* Values as bytes: see value_file.h. */
#include "db/value_file.h"

#include "base/mem.h"
#include "db/string_value.h"
#include "db/vset/vset_image.h"

uint8_t value_file_type(const struct entry *e)
{
    return e->type == VALUE_VSET ? RDB_MODULE : RDB_STRING;
}

void value_save(struct rdb_out *out, const struct entry *e)
{
    switch ((enum value_type)e->type) {
    case VALUE_STRING:
        if (e->encoding == ENC_INT) {
            rdb_put_int(out, e->value.number);
        } else {
            rdb_put_string(out, bytes_of(e->value.text, e->text_len));
        }
        break;
    case VALUE_VSET:
        vset_save(out, e->value.vset);
        break;
    case VALUE_TYPE_COUNT:
        break;
    }
}

/* ---- loading ----------------------------------------------------------- */

static enum err load_string(struct rdb_in *in, struct value *out)
{
    struct bytes s;
    int64_t number;

    if (!rdb_get_string(in, &s)) {
        return in->err;
    }
    if (s.len > UINT32_MAX) {
        rdb_fail(in, ERR_LIMIT, "a string of %zu bytes", s.len);
        return in->err;
    }
    if (s.len <= 20 && num_parse_i64(s, &number)) {
        *out = (struct value){.as.number = number, .encoding = ENC_INT};
        return ERR_OK;
    }
    *out = (struct value){
        .text_len = (uint32_t)s.len,
        .encoding = s.len <= STRING_SHORT_MAX ? ENC_SHORT : ENC_RAW,
    };
    out->as.text = mem_try_alloc(s.len);
    if (!out->as.text) {
        rdb_fail(in, ERR_NOMEM, "no memory for a string of %zu bytes", s.len);
        return in->err;
    }
    if (s.len) {
        memcpy(out->as.text, s.data, s.len);
    }
    return ERR_OK;
}

static enum err load_module(struct rdb_in *in, struct keyspace *ks,
                            struct database *d, struct value *out,
                            uint64_t *module_id)
{
    enum vset_form form;
    struct vset *set;
    uint64_t id;

    if (!rdb_get_module(in, &id)) {
        return in->err;
    }
    form = vset_form_of(id);
    if (form == VSET_FORM_NONE) {
        *module_id = id;
        return ERR_UNSUPPORTED;
    }
    set = vset_load(in, form, ks, d);
    if (!set) {
        return in->err;
    }
    if (!rdb_get_module_end(in)) {
        vset_drop(set);
        return in->err;
    }
    *out = (struct value){
        .as.vset = set, .type = VALUE_VSET, .encoding = ENC_VECTOR};
    return ERR_OK;
}

enum err value_load(struct rdb_in *in, uint8_t file_type, struct keyspace *ks,
                    struct database *d, struct value *out, uint64_t *module_id)
{
    *module_id = 0;
    switch (file_type) {
    case RDB_STRING:
        return load_string(in, out);
    case RDB_MODULE:
        return load_module(in, ks, d, out, module_id);
    default:
        return ERR_UNSUPPORTED;
    }
}

/* ---- having ------------------------------------------------------------ */

void value_adopt(struct keyspace *ks, struct entry *e, struct value *v)
{
    keyspace_drop_value(ks, e);
    e->type = v->type;
    e->encoding = v->encoding;
    e->text_len = v->text_len;
    if (v->type == VALUE_VSET) {
        e->value.vset = v->as.vset;
        vset_set_entry(e->value.vset, e);
    } else if (v->encoding == ENC_INT) {
        e->value.number = v->as.number;
    } else {
        e->value.text = v->as.text;
    }
}

void value_discard(struct keyspace *ks, struct value *v)
{
    struct entry e = {.type = VALUE_STRING, .encoding = ENC_INT};

    value_adopt(ks, &e, v);
    keyspace_drop_value(ks, &e);
}
