#include "server/aof_base.h"

#include <string.h>

#include "base/num.h"
#include "db/string_value.h"
#include "db/value_file.h"

struct base_writer {
    struct rdb_out *out;
    struct rdb_out *counter; /* goes nowhere: tells how long a payload is */
};

static void put_number(struct rdb_out *out, char type, uint64_t n)
{
    char text[NUM_TEXT_MAX + 3];
    size_t len = 1;

    text[0] = type;
    len += num_format_u64(n, text + 1);
    text[len++] = '\r';
    text[len++] = '\n';
    rdb_put_raw(out, text, len);
}

static void put_arg(struct rdb_out *out, struct bytes arg)
{
    put_number(out, '$', arg.len);
    rdb_put_raw(out, arg.data, arg.len);
    rdb_put_raw(out, "\r\n", 2);
}

static void put_word(struct rdb_out *out, const char *word)
{
    put_arg(out, bytes_str(word));
}

static void put_int_arg(struct rdb_out *out, int64_t n)
{
    char text[NUM_TEXT_MAX];

    put_arg(out, bytes_of(text, num_format_i64(n, text)));
}

static void put_string(const struct base_writer *w, const struct entry *e)
{
    char digits[NUM_TEXT_MAX];
    bool expires = e->expires_at != NO_EXPIRY;

    put_number(w->out, '*', expires ? 5 : 3);
    put_word(w->out, "SET");
    put_arg(w->out, entry_key(e));
    put_arg(w->out, string_get(e, digits));
    if (expires) {
        put_word(w->out, "PXAT");
        put_int_arg(w->out, e->expires_at);
    }
}

/* What is between the payload's length and its sum. */
static void put_payload(struct rdb_out *out, const struct entry *e)
{
    rdb_put_u8(out, value_file_type(e));
    value_save(out, e);
    rdb_put_u16(out, RDB_VERSION);
}

/* A vector set goes as RESTORE: the codes it keeps are not those that its
 * vectors, decoded and added again, would get, to the last bit. Its links come
 * along, so nothing is to be built again. The payload is made twice, since its
 * length and sum stand where they cannot be filled in later. */
static void put_set(const struct base_writer *w, const struct entry *e)
{
    struct rdb_out *c = w->counter;
    uint64_t before = rdb_out_offset(c);
    uint64_t crc;

    c->crc = 0;
    put_payload(c, e);
    crc = rdb_out_crc(c);
    put_number(w->out, '*', 4);
    put_word(w->out, "RESTORE");
    put_arg(w->out, entry_key(e));
    put_word(w->out, "0");
    put_number(w->out, '$', rdb_out_offset(c) - before + sizeof(crc));
    put_payload(w->out, e);
    rdb_put_u64(w->out, crc);
    rdb_put_raw(w->out, "\r\n", 2);
    if (e->expires_at != NO_EXPIRY) {
        put_number(w->out, '*', 3);
        put_word(w->out, "PEXPIREAT");
        put_arg(w->out, entry_key(e));
        put_int_arg(w->out, e->expires_at);
    }
}

static void put_entry(uint64_t ref, void *arg)
{
    const struct entry *e = (const struct entry *)(uintptr_t)ref;
    const struct base_writer *w = arg;

    if (e->type == VALUE_VSET) {
        put_set(w, e);
    } else {
        put_string(w, e);
    }
}

void aof_base_write(struct rdb_out *out, struct rdb_out *counter,
                    const struct keyspace *ks)
{
    struct base_writer w = {out, counter};
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (ks->dbs[i]->entries.count == 0) {
            continue;
        }
        put_number(out, '*', 2);
        put_word(out, "SELECT");
        put_int_arg(out, i);
        table_each(&ks->dbs[i]->entries, put_entry, &w);
    }
}
