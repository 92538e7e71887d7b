/* The keyspace as a file: see snapshot.h. */
#include "db/snapshot.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "persist/rdb_skip.h"

enum {
    KEY_MAX = 512 << 20, /* bytes; as long as a client's argument can be */
    KEY_SHOWN_MAX = 64,  /* bytes of a key in an error */
};

/* ---- writing ----------------------------------------------------------- */

struct writing {
    struct rdb_out *out;
    struct snapshot_progress *progress;
};

static void put_entry(uint64_t ref, void *arg)
{
    const struct entry *e = (const struct entry *)(uintptr_t)ref;
    const struct writing *w = arg;
    struct rdb_out *out = w->out;

    if (rdb_out_failed(out)) {
        return;
    }
    if (e->expires_at != NO_EXPIRY) {
        rdb_put_u8(out, RDB_OP_EXPIRE_MS);
        rdb_put_u64(out, (uint64_t)e->expires_at);
    }
    rdb_put_u8(out, value_file_type(e));
    rdb_put_string(out, entry_key(e));
    value_save(out, e);
    w->progress->keys++;
    if (w->progress->tick) {
        w->progress->tick(w->progress->arg);
    }
}

static void put_about(struct rdb_out *out, const struct snapshot_about *about)
{
    rdb_put_magic(out);
    rdb_put_aux(out, "redis-ver", bytes_str(SNAPSHOT_REDIS_VERSION));
    rdb_put_aux_int(out, "redis-bits", 8 * (int64_t)sizeof(void *));
    rdb_put_aux_int(out, "ctime", clock_wall_us() / 1000000);
    rdb_put_aux_int(out, "used-mem", (int64_t)mem_used());
    if (about->lsn >= 0) {
        rdb_put_aux_int(out, "vectra-lsn", about->lsn);
    }
    rdb_put_aux_int(out, "aof-base", about->is_aof_base);
}

void snapshot_write(struct rdb_out *out, const struct keyspace *ks,
                    const struct snapshot_about *about,
                    struct snapshot_progress *progress)
{
    struct writing w = {out, progress};
    int i;

    put_about(out, about);
    for (i = 0; i < ks->n_dbs; i++) {
        const struct database *d = ks->dbs[i];

        if (d->entries.count == 0) {
            continue;
        }
        rdb_put_u8(out, RDB_OP_SELECTDB);
        rdb_put_len(out, (uint64_t)i);
        rdb_put_u8(out, RDB_OP_RESIZEDB);
        rdb_put_len(out, d->entries.count);
        rdb_put_len(out, d->volatiles.count);
        table_each(&d->entries, put_entry, &w);
    }
    rdb_put_eof(out);
}

/* ---- reading ----------------------------------------------------------- */

/* A file being read. What stands before a value holds for that one only. */
struct reading {
    struct rdb_in *in;
    struct keyspace *ks;
    struct snapshot_load *load;
    int version;
    int db;
    time_ms expires_at;
    struct buf key; /* of the value that is read */
};

/* The key as an error shows it: cut, and without what is not printable. */
static const char *shown_key(const struct reading *r, char *text)
{
    size_t n = r->key.len < KEY_SHOWN_MAX ? r->key.len : KEY_SHOWN_MAX;
    size_t i;

    for (i = 0; i < n; i++) {
        uint8_t c = r->key.data[i];

        text[i] = c >= ' ' && c < 0x7f ? (char)c : '?';
    }
    text[n] = '\0';
    return text;
}

/* Words about a value: whose it is. words: NULL when there are some already. */
static bool fail_value(struct reading *r, enum err err, const char *words)
{
    struct err_ctx was = r->in->why;
    char key[KEY_SHOWN_MAX + 1];

    if (!words && r->in->err) {
        err_set(&r->in->why, r->in->err, "key '%s' in database %d: %s",
                shown_key(r, key), r->db, was.text);
        return false;
    }
    return rdb_fail(r->in, err, "key '%s' in database %d: %s",
                    shown_key(r, key), r->db, words);
}

/* A value of a type that Vectra does not have. */
static bool pass_over(struct reading *r, uint8_t type, uint64_t module_id)
{
    const char *name = rdb_type_name(type);
    char module[10] = "", key[KEY_SHOWN_MAX + 1], what[64], words[160];

    if (!name) {
        snprintf(words, sizeof(words), "there is no type %u of values", type);
        return fail_value(r, ERR_CORRUPT, words);
    }
    if (type == RDB_MODULE) {
        rdb_module_name(module_id, module);
    }
    snprintf(what, sizeof(what), "%s%s%s", name, *module ? " of " : "", module);
    if (!r->load->skip_unknown) {
        snprintf(words, sizeof(words),
                 "a %s, which Vectra does not have; rdb-skip-unknown-types yes "
                 "leaves such keys out",
                 what);
        return fail_value(r, ERR_UNSUPPORTED, words);
    }
    r->load->skipped++;
    LOG_WARN(DB, "a key was left out: Vectra does not have its type",
             "key='%s' db=%d type=\"%s\"", shown_key(r, key), r->db, what);
    return rdb_skip_value(r->in, type) || fail_value(r, ERR_CORRUPT, NULL);
}

/* Gives a value that was read its place. */
static bool place(struct reading *r, struct value *v)
{
    struct bytes key = buf_bytes(&r->key);
    struct entry *e = NULL;

    if (r->load->replace) {
        e = keyspace_find(r->ks, r->db, key);
        if (e) {
            keyspace_delete(r->ks, r->db, e);
        }
    } else if (keyspace_has(r->ks, r->db, key)) {
        value_discard(r->ks, v);
        return fail_value(r, ERR_EXISTS, "the key is there already");
    }
    e = keyspace_add(r->ks, r->db, key);
    if (!e || keyspace_set_expiry(r->ks, r->db, e, r->expires_at) != ERR_OK) {
        if (e) {
            keyspace_delete(r->ks, r->db, e);
        }
        value_discard(r->ks, v);
        return fail_value(r, ERR_NOMEM, "no memory for it");
    }
    value_adopt(r->ks, e, v);
    r->load->keys++;
    if (r->load->tick) {
        r->load->tick(r->load->arg);
    }
    return true;
}

static bool is_overdue(const struct reading *r)
{
    return !r->load->keep_expired && r->expires_at != NO_EXPIRY &&
           r->expires_at < r->ks->now;
}

/* A value that nobody would ever see. */
static bool skip_overdue(struct reading *r, uint8_t type)
{
    uint64_t module_id;

    r->load->expired++;
    r->expires_at = NO_EXPIRY;
    if ((type != RDB_MODULE || rdb_get_module(r->in, &module_id)) &&
        rdb_skip_value(r->in, type)) {
        return true;
    }
    return fail_value(r, ERR_CORRUPT, NULL);
}

static bool read_key(struct reading *r)
{
    struct bytes key;

    if (!rdb_get_string(r->in, &key)) {
        return false;
    }
    if (key.len > KEY_MAX) {
        return rdb_fail(r->in, ERR_LIMIT, "a key of %zu bytes", key.len);
    }
    r->key.len = 0;
    buf_append_bytes(&r->key, key);
    return true;
}

static bool read_value(struct reading *r, uint8_t type)
{
    struct value v;
    uint64_t module_id;
    enum err err;

    if (!read_key(r)) {
        return false;
    }
    if (is_overdue(r)) {
        return skip_overdue(r, type);
    }
    err = value_load(r->in, type, r->ks, r->ks->dbs[r->db], &v, &module_id);
    if (err == ERR_UNSUPPORTED && !r->in->err) {
        r->expires_at = NO_EXPIRY;
        return pass_over(r, type, module_id);
    }
    if (err) {
        return fail_value(r, err, r->in->err ? NULL : err_text(err));
    }
    if (!place(r, &v)) {
        return false;
    }
    r->expires_at = NO_EXPIRY;
    return true;
}

static bool read_aux(struct reading *r)
{
    struct snapshot_about *about = &r->load->about;
    struct bytes s;
    int64_t number;
    bool lsn, base;

    if (!rdb_get_string(r->in, &s)) {
        return false;
    }
    lsn = bytes_equal(s, bytes_str("vectra-lsn"));
    base = bytes_equal(s, bytes_str("aof-base"));
    if (!rdb_get_string(r->in, &s)) {
        return false;
    }
    if ((lsn || base) && num_parse_i64(s, &number)) {
        about->lsn = lsn ? number : about->lsn;
        about->is_aof_base = base ? number != 0 : about->is_aof_base;
    }
    return true;
}

static bool read_select(struct reading *r)
{
    uint64_t db;

    if (!rdb_get_len(r->in, &db)) {
        return false;
    }
    if (db >= (uint64_t)r->ks->n_dbs) {
        return rdb_fail(r->in, ERR_RANGE,
                        "database %llu, but `databases` is %d",
                        (unsigned long long)db, r->ks->n_dbs);
    }
    r->db = (int)db;
    return true;
}

static bool read_resize(struct reading *r)
{
    uint64_t n;

    return rdb_get_len(r->in, &n) && rdb_get_len(r->in, &n);
}

static bool read_expiry(struct reading *r, uint8_t opcode)
{
    uint64_t ms;
    uint32_t s;

    if (opcode == RDB_OP_EXPIRE_MS) {
        if (!rdb_get_u64(r->in, &ms)) {
            return false;
        }
        r->expires_at = (time_ms)ms;
    } else {
        if (!rdb_get_u32(r->in, &s)) {
            return false;
        }
        r->expires_at = (time_ms)(int32_t)s * 1000;
    }
    /* -1 means none here; what lies before 1970 has expired like 1970. */
    r->expires_at = r->expires_at < 0 ? 0 : r->expires_at;
    return true;
}

/* One record; *end after the last. */
static bool read_record(struct reading *r, bool *end)
{
    uint8_t opcode;

    if (!rdb_get_u8(r->in, &opcode)) {
        return false;
    }
    switch (opcode) {
    case RDB_OP_EOF:
        *end = true;
        return rdb_check_eof(r->in, r->version);
    case RDB_OP_SELECTDB:
        return read_select(r);
    case RDB_OP_RESIZEDB:
        return read_resize(r);
    case RDB_OP_EXPIRE_MS:
    case RDB_OP_EXPIRE_S:
        return read_expiry(r, opcode);
    case RDB_OP_AUX:
        return read_aux(r);
    case RDB_OP_FUNCTION2:
        r->load->functions++;
        FALLTHROUGH;
    case RDB_OP_SLOT_INFO:
    case RDB_OP_FUNCTION_PRE_GA:
    case RDB_OP_MODULE_AUX:
    case RDB_OP_IDLE:
    case RDB_OP_FREQ:
        return rdb_skip_opcode(r->in, opcode);
    default:
        return read_value(r, opcode);
    }
}

enum err snapshot_read(struct rdb_in *in, struct keyspace *ks,
                       struct snapshot_load *load, struct err_ctx *ctx)
{
    struct reading r = {
        .in = in, .ks = ks, .load = load, .expires_at = NO_EXPIRY};
    bool end = false;

    load->about = (struct snapshot_about){.lsn = -1};
    if (rdb_get_magic(in, &r.version)) {
        while (!end && read_record(&r, &end)) {
        }
    }
    buf_deinit(&r.key);
    return in->err ? err_set(ctx, in->err, "%s", in->why.text) : ERR_OK;
}
