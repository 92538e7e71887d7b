/* Values on their own: see dump.h. */
#include "db/dump.h"

#include "persist/crc64.h"

enum { FOOTER = 10, VERSION_BYTES = 2 };

enum err dump_write(const struct entry *e, struct buf *out)
{
    return dump_write_while(e, out, NULL, NULL);
}

enum err dump_write_while(const struct entry *e, struct buf *out,
                          bool (*go_on)(void *arg), void *arg)
{
    size_t start = out->len;
    struct rdb_out o;
    enum err err;
    bool stopped;

    rdb_out_open_mem(&o, out);
    o.go_on = go_on;
    o.go_on_arg = arg;
    rdb_put_u8(&o, value_file_type(e));
    value_save(&o, e);
    rdb_put_u16(&o, RDB_VERSION);
    rdb_put_u64(&o, rdb_out_crc(&o));
    err = rdb_out_finish(&o);
    stopped = o.error == ECANCELED;
    rdb_out_close(&o);
    if (err) {
        out->len = start;
        return stopped ? ERR_TIMEOUT : ERR_NOMEM;
    }
    return ERR_OK;
}

static uint64_t little_endian(const uint8_t *from, int n)
{
    uint64_t value = 0;

    while (n-- > 0) {
        value = value << 8 | from[n];
    }
    return value;
}

bool dump_check_step(struct dump_check *c, size_t most)
{
    const uint8_t *footer;
    size_t summed, n;

    if (c->payload.len < FOOTER) {
        return false;
    }
    footer = c->payload.data + c->payload.len - FOOTER;
    if (little_endian(footer, VERSION_BYTES) > RDB_VERSION) {
        return false;
    }
    summed = c->payload.len - FOOTER + VERSION_BYTES;
    n = summed - c->at < most ? summed - c->at : most;
    c->sum = crc64(c->sum, c->payload.data + c->at, n);
    c->at += n;
    c->intact =
        c->at == summed &&
        c->sum == little_endian(footer + VERSION_BYTES, FOOTER - VERSION_BYTES);
    return c->at < summed;
}

/* A reader at work. */
struct reading {
    const struct dump_reader *r;
    struct rdb_in in;
};

static void look_up(void *arg)
{
    struct reading *g = arg;

    if (g->r->stop(g->r->stop_arg)) {
        rdb_fail(&g->in, ERR_TIMEOUT, "nobody waits for it");
    }
}

enum err dump_read(const struct dump_reader *r, struct keyspace *ks,
                   struct database *d, struct value *out, struct err_ctx *why)
{
    struct reading g = {.r = r};
    struct rdb_in *in = &g.in;
    uint64_t module_id;
    enum err err = ERR_CORRUPT;
    uint8_t type;

    rdb_in_open_mem(in, bytes_of(r->payload.data, r->payload.len - FOOTER));
    in->checksum = false; /* it has been */
    in->yield = look_up;
    in->yield_arg = &g;
    if (rdb_get_u8(in, &type)) {
        err = value_load(in, type, ks, d, out, &module_id);
        if (err == ERR_UNSUPPORTED) {
            err_set(why, err, "a value of a type that is not known");
        } else if (!err && rdb_in_left(in) > 0) {
            rdb_fail(in, ERR_CORRUPT, "there is more behind the value");
            value_discard(ks, out);
            err = ERR_CORRUPT;
        }
    }
    if (in->err) {
        *why = in->why;
    }
    rdb_in_close(in);
    return err;
}
