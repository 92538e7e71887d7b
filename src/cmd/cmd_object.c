/* OBJECT: what is known about a value besides what it is. */
#include <limits.h>

#include "cmd/args.h"

/* The entry of argv[2]; NULL: null was replied, there is no such key. */
static const struct entry *find(struct cmd_ctx *ctx)
{
    const struct entry *e =
        keyspace_peek(ctx->ks, ctx->client->db, ctx->argv[2]);

    if (!e) {
        reply_null(&ctx->reply);
    }
    return e;
}

void cmd_object_encoding(struct cmd_ctx *ctx)
{
    static const char *const names[] = {[ENC_INT] = "int",
                                        [ENC_SHORT] = "embstr",
                                        [ENC_RAW] = "raw",
                                        [ENC_VECTOR] = "raw"};
    const struct entry *e = find(ctx);

    if (e) {
        reply_bulk_str(&ctx->reply, names[e->encoding]);
    }
}

void cmd_object_freq(struct cmd_ctx *ctx)
{
    if (find(ctx)) {
        cmd_error(ctx, "ERR An LFU maxmemory policy is not selected, access "
                       "frequency not tracked. Please note that when switching "
                       "between policies at runtime LRU and LFU data will take "
                       "some time to adjust.");
    }
}

void cmd_object_idletime(struct cmd_ctx *ctx)
{
    const struct entry *e = find(ctx);

    if (e) {
        /* Both wrap around after 136 years. */
        reply_int(&ctx->reply, (uint32_t)(ctx->ks->clock_s - e->accessed_s));
    }
}

/* Redis keeps one object for each of the integers below this and answers
 * INT_MAX for it; here nothing is shared, but clients see the same. */
enum { SHARED_INTEGERS = 10000 };

void cmd_object_refcount(struct cmd_ctx *ctx)
{
    const struct entry *e = find(ctx);

    if (e) {
        bool shared = e->encoding == ENC_INT && e->value.number >= 0 &&
                      e->value.number < SHARED_INTEGERS;

        reply_int(&ctx->reply, shared ? INT_MAX : 1);
    }
}
