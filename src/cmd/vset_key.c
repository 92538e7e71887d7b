#include "cmd/vset_key.h"

#include "base/mem.h"

bool vset_key_read(struct cmd_ctx *ctx, struct vset **v)
{
    struct entry *e = keyspace_read(ctx->ks, ctx->client->db, ctx->argv[1]);

    *v = NULL;
    if (!e) {
        return true;
    }
    if (e->type != VALUE_VSET) {
        cmd_error_wrongtype(ctx);
        return false;
    }
    *v = e->value.vset;
    return true;
}

bool vset_key_write(struct cmd_ctx *ctx, struct entry **e)
{
    *e = keyspace_write(ctx->ks, ctx->client->db, ctx->argv[1]);
    if (*e && (*e)->type != VALUE_VSET) {
        cmd_error_wrongtype(ctx);
        keyspace_touched(ctx->ks, ctx->client->db, ctx->argv[1]);
        return false;
    }
    return true;
}

void vset_key_error(struct cmd_ctx *ctx, enum err err)
{
    switch (err) {
    case ERR_NOT_FINITE:
    case ERR_RANGE:
    case ERR_CORRUPT:
        cmd_error(ctx, "ERR invalid vector specification");
        break;
    default: /* no memory, or none allowed */
        cmd_error_oom(ctx);
        break;
    }
}

struct entry *vset_key_create(struct keyspace *ks, int db, struct bytes key,
                              const struct vset_options *o)
{
    struct entry *e;
    struct vset *v;

    if (mem_limit() &&
        !mem_has_room(keyspace_add_cost(ks, db, key) + vset_create_cost())) {
        return NULL;
    }
    e = keyspace_add(ks, db, key);
    if (!e) {
        return NULL;
    }
    v = vset_create(ks, ks->dbs[db], o);
    if (!v) {
        keyspace_delete(ks, db, e);
        return NULL;
    }
    e->type = VALUE_VSET;
    e->encoding = ENC_VECTOR;
    e->value.vset = v;
    vset_set_entry(v, e);
    return e;
}

void vset_key_drop_if_empty(struct keyspace *ks, int db, struct entry *e)
{
    const struct vset *v = e->value.vset;

    if (vset_count(v) == 0 && !vset_options(v)->keep_empty) {
        keyspace_delete(ks, db, e);
    }
}
