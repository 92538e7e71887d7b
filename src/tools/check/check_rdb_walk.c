/* Walking an RDB file: see check_rdb_walk.h. */
#include "tools/check/check_rdb_walk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "persist/crc32c.h"
#include "persist/rdb_skip.h"

/* Of a block in our vector sets; docs/formats/vectorset.md. */
enum {
    BLOCK_HEAD = 16,
    BLOCK_TAIL = 4,
    BLOCK_KINDS = 10, /* and one more */
    OUR_DIM = 3,      /* which unsigned fields these are */
    OUR_ELEMENTS = 12,
    REDIS_DIM = 0,
    REDIS_ELEMENTS = 1,
};

struct walk {
    struct rdb_in *in;
    struct check_rdb *c;
    struct check_key key;
    struct buf name; /* the key's: a view lasts for one call only */
    uint64_t idle;
};

/* ---- vector sets ------------------------------------------------------- */

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static bool check_block(struct walk *w, struct bytes b, uint64_t offset)
{
    w->c->blocks++;
    if (b.len < BLOCK_HEAD + BLOCK_TAIL) {
        return rdb_fail(w->in, ERR_CORRUPT,
                        "a block of %zu bytes at %llu is too short", b.len,
                        (unsigned long long)offset);
    }
    if (crc32c(0, b.data, b.len - BLOCK_TAIL) !=
        u32_at(b.data + b.len - BLOCK_TAIL)) {
        return rdb_fail(w->in, ERR_CORRUPT,
                        "the block at %llu does not agree with its CRC32C",
                        (unsigned long long)offset);
    }
    if (b.data[0] == 0 || b.data[0] >= BLOCK_KINDS || b.data[1] > 1) {
        return rdb_fail(w->in, ERR_CORRUPT,
                        "the block at %llu is of unknown kind %u",
                        (unsigned long long)offset, b.data[0]);
    }
    return true;
}

static bool skip_field(struct walk *w, uint64_t opcode, bool ours)
{
    uint64_t offset = rdb_in_offset(w->in), number;
    struct bytes s;

    switch (opcode) {
    case RDB_FIELD_SIGNED:
        return rdb_get_len(w->in, &number);
    case RDB_FIELD_FLOAT:
        return rdb_skip(w->in, 4);
    case RDB_FIELD_DOUBLE:
        return rdb_skip(w->in, 8);
    case RDB_FIELD_STRING:
        if (!ours) {
            return rdb_skip_string(w->in);
        }
        return rdb_get_string(w->in, &s) && check_block(w, s, offset);
    default:
        return rdb_fail(w->in, ERR_CORRUPT, "%llu is no field of a module",
                        (unsigned long long)opcode);
    }
}

/* Fields up to the end; the numbers of a vector set are noted. */
static bool walk_vset(struct walk *w, bool ours)
{
    uint64_t opcode, number, n_numbers = 0;

    w->key.is_vset = true;
    for (;;) {
        if (!rdb_get_len(w->in, &opcode)) {
            return false;
        }
        if (opcode == RDB_FIELD_END) {
            return true;
        }
        if (opcode != RDB_FIELD_UNSIGNED) {
            if (!skip_field(w, opcode, ours)) {
                return false;
            }
            continue;
        }
        if (!rdb_get_len(w->in, &number)) {
            return false;
        }
        if (n_numbers == (ours ? OUR_DIM : REDIS_DIM)) {
            w->key.dim = number;
        } else if (n_numbers == (ours ? OUR_ELEMENTS : REDIS_ELEMENTS)) {
            w->key.elements = number;
        }
        n_numbers++;
    }
}

static bool walk_module(struct walk *w, char name[10])
{
    uint64_t id;

    if (!rdb_get_module(w->in, &id)) {
        return false;
    }
    rdb_module_name(id, name);
    if (id == rdb_module_id("vectra-vs", 1)) {
        return walk_vset(w, true);
    }
    if (id == rdb_module_id("vectorset", 0)) {
        return walk_vset(w, false);
    }
    return rdb_skip_module(w->in);
}

/* ---- keys -------------------------------------------------------------- */

/* The entry of a type; the last one stands for all that find no room. */
static struct check_type *type_entry(struct check_rdb *c, const char *name)
{
    size_t i;

    for (i = 0; i < c->n_types; i++) {
        if (strcmp(c->types[i].name, name) == 0) {
            return &c->types[i];
        }
    }
    if (c->n_types == CHECK_TYPES_MAX) {
        return &c->types[CHECK_TYPES_MAX - 1];
    }
    snprintf(c->types[c->n_types].name, sizeof(c->types[0].name), "%s",
             c->n_types == CHECK_TYPES_MAX - 1 ? "others" : name);
    return &c->types[c->n_types++];
}

static void tally(struct check_rdb *c, const struct check_key *key)
{
    struct check_type *t = type_entry(c, key->type);

    t->keys++;
    t->bytes += key->bytes;
    t->elements += key->elements;
    t->expiring += key->expires_ms >= 0;
    c->keys++;
    c->expiring += key->expires_ms >= 0;
}

static bool walk_value(struct walk *w, uint8_t type, char module[10])
{
    switch (type) {
    case RDB_STRING:
        w->key.type = "string";
        return rdb_skip_string(w->in);
    case RDB_MODULE:
        w->key.type = module;
        return walk_module(w, module);
    default:
        w->key.type = rdb_type_name(type);
        if (!w->key.type) {
            return rdb_fail(w->in, ERR_CORRUPT, "%u is no type of a value",
                            type);
        }
        return rdb_skip_value(w->in, type);
    }
}

static bool walk_key(struct walk *w, uint8_t type, uint64_t offset)
{
    char module[10] = "";
    struct bytes name;

    w->name.len = 0;
    if (!rdb_get_string(w->in, &name)) {
        return false;
    }
    buf_append_bytes(&w->name, name);
    w->key.name = buf_bytes(&w->name);
    w->key.offset = offset;
    w->key.elements = w->key.dim = 0;
    w->key.is_vset = false;
    if (!walk_value(w, type, module)) {
        return false;
    }
    w->key.bytes = rdb_in_offset(w->in) - offset;
    tally(w->c, &w->key);
    if (w->c->on_key) {
        w->c->on_key(w->c->arg, &w->key);
    }
    w->key.expires_ms = -1;
    w->name.len = 0;
    return true;
}

/* ---- the file ---------------------------------------------------------- */

static bool walk_aux(struct walk *w)
{
    struct buf name = BUF_INIT;
    struct bytes s;
    bool ok = false;

    if (rdb_get_string(w->in, &s)) {
        buf_append_bytes(&name, s);
        ok = rdb_get_string(w->in, &s);
        if (ok && w->c->on_aux) {
            w->c->on_aux(w->c->arg, buf_bytes(&name), s);
        }
    }
    buf_deinit(&name);
    return ok;
}

static bool walk_expiry(struct walk *w, uint8_t opcode)
{
    uint64_t ms;
    uint32_t s;

    if (opcode == RDB_OP_EXPIRE_MS) {
        if (!rdb_get_u64(w->in, &ms)) {
            return false;
        }
        w->key.expires_ms = (int64_t)ms;
        return true;
    }
    if (!rdb_get_u32(w->in, &s)) {
        return false;
    }
    w->key.expires_ms = (int64_t)s * 1000;
    return true;
}

/* One opcode, or a key; *end at the end. */
static bool walk_one(struct walk *w, bool *end)
{
    uint64_t offset = rdb_in_offset(w->in), a, b;
    uint8_t opcode;

    if (!rdb_get_u8(w->in, &opcode)) {
        return false;
    }
    switch (opcode) {
    case RDB_OP_EOF:
        *end = true;
        return true;
    case RDB_OP_SELECTDB:
        w->c->databases++;
        return rdb_get_len(w->in, &w->key.db);
    case RDB_OP_RESIZEDB:
        return rdb_get_len(w->in, &a) && rdb_get_len(w->in, &b);
    case RDB_OP_AUX:
        return walk_aux(w);
    case RDB_OP_EXPIRE_MS:
    case RDB_OP_EXPIRE_S:
        return walk_expiry(w, opcode);
    case RDB_OP_FUNCTION2:
    case RDB_OP_FUNCTION_PRE_GA:
        w->c->functions++;
        return rdb_skip_opcode(w->in, opcode);
    case RDB_OP_SLOT_INFO:
    case RDB_OP_MODULE_AUX:
    case RDB_OP_IDLE:
    case RDB_OP_FREQ:
        return rdb_skip_opcode(w->in, opcode);
    default:
        return walk_key(w, opcode, offset);
    }
}

static bool check_sum(struct walk *w)
{
    uint64_t crc = rdb_in_crc(w->in), stored = 0;

    w->c->sum = CHECK_SUM_NONE;
    if (w->c->version < 5) {
        return true;
    }
    if (!rdb_get_u64(w->in, &stored)) {
        return false;
    }
    if (stored == 0) {
        return true;
    }
    w->c->sum = CHECK_SUM_OK;
    return stored == crc ||
           rdb_fail(w->in, ERR_CORRUPT,
                    "the checksum is %016llx, the file says %016llx",
                    (unsigned long long)crc, (unsigned long long)stored);
}

enum err check_rdb_walk(struct rdb_in *in, struct check_rdb *c,
                        struct err_ctx *ctx)
{
    struct walk w = {.in = in, .c = c, .name = BUF_INIT};
    bool end = false;

    w.key.expires_ms = -1;
    if (rdb_get_magic(in, &c->version)) {
        while (!end && walk_one(&w, &end)) {
        }
        if (end) {
            (void)check_sum(&w);
        }
    }
    c->bytes = rdb_in_offset(in);
    if (in->err) {
        err_set(ctx, in->err, "%s", in->why.text);
        if (w.name.len) {
            err_wrap(ctx, in->err, "key '%.*s' of database %llu",
                     (int)(w.name.len > 100 ? 100 : w.name.len),
                     (const char *)w.name.data, (unsigned long long)w.key.db);
        }
    }
    buf_deinit(&w.name);
    return in->err;
}
