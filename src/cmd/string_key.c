#include "cmd/string_key.h"

#include "base/mem.h"

/* True when there is no entry or it holds a string. */
static bool is_string(struct cmd_ctx *ctx, const struct entry *e)
{
    if (e && UNLIKELY(e->type != VALUE_STRING)) {
        cmd_error_wrongtype(ctx);
        return false;
    }
    return true;
}

bool string_key_read(struct cmd_ctx *ctx, struct entry **e)
{
    *e = keyspace_read(ctx->ks, ctx->client->db, ctx->argv[1]);
    return is_string(ctx, *e);
}

bool string_key_write(struct cmd_ctx *ctx, struct entry **e)
{
    *e = keyspace_write(ctx->ks, ctx->client->db, ctx->argv[1]);
    return is_string(ctx, *e);
}

bool string_key_has_room(struct cmd_ctx *ctx, struct bytes key, size_t len)
{
    int db = ctx->client->db;
    size_t cost;

    if (LIKELY(mem_limit() == 0)) {
        return true;
    }
    cost = mem_good_size(len);
    if (!keyspace_find(ctx->ks, db, key)) {
        cost += keyspace_add_cost(ctx->ks, db, key);
    }
    return mem_has_room(cost);
}

bool string_key_write_or_add(struct cmd_ctx *ctx, size_t len, struct entry **e,
                             bool *added)
{
    if (!string_key_has_room(ctx, ctx->argv[1], len)) {
        cmd_error_oom(ctx);
        return false;
    }
    *e = keyspace_write_or_add(ctx->ks, ctx->client->db, ctx->argv[1], added);
    if (UNLIKELY(!*e)) {
        cmd_error_oom(ctx);
        return false;
    }
    return is_string(ctx, *e);
}

void string_key_reply(struct cmd_ctx *ctx, const struct entry *e)
{
    if (e->encoding == ENC_INT) {
        reply_bulk_int(&ctx->reply, e->value.number);
    } else {
        reply_bulk(&ctx->reply, bytes_of(e->value.text, e->text_len));
    }
}

void string_key_error(struct cmd_ctx *ctx, enum err err)
{
    if (err == ERR_LIMIT) {
        cmd_error(ctx, "ERR string exceeds maximum allowed size "
                       "(proto-max-bulk-len)");
    } else {
        cmd_error_oom(ctx);
    }
}
