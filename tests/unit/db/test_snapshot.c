/* Whole snapshots: databases come back as they were, files that Redis 8 wrote
 * are read, what Vectra does not have is named or stepped over, and damage is
 * told with its place. */
#include "unit/cm.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "db/snapshot.h"
#include "db/string_value.h"

enum { N_DBS = 16 };

#define STRINGS_FILE "tests/data/redis-8.0.6-strings.rdb"
#define TYPES_FILE   "tests/data/redis-8.0.6-types.rdb"

struct fixture {
    struct pool *pool;
    struct reaper *reaper;
    struct keyspace *ks;    /* written */
    struct keyspace *other; /* read */
    struct buf file;
};

static void wake(void *arg)
{
    (void)arg;
}

static int setup(void **state)
{
    struct pool_options o = {.n_workers = 1, .wake = wake};
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    log_set_level(LOG_NOTHING);
    assert_int_equal(pool_create(&o, &f->pool), ERR_OK);
    assert_int_equal(reaper_create(&f->reaper), ERR_OK);
    f->ks = keyspace_create(N_DBS, f->pool, f->reaper);
    f->other = keyspace_create(N_DBS, f->pool, f->reaper);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pool_destroy(f->pool);
    keyspace_destroy(f->ks);
    keyspace_destroy(f->other);
    reaper_destroy(f->reaper);
    buf_deinit(&f->file);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const struct snapshot_about *about)
{
    struct snapshot_progress progress = {0};
    struct rdb_out out;

    f->file.len = 0;
    rdb_out_open_mem(&out, &f->file);
    snapshot_write(&out, f->ks, about, &progress);
    assert_int_equal(rdb_out_finish(&out), ERR_OK);
    rdb_out_close(&out);
}

static enum err read_bytes(struct fixture *f, struct bytes data,
                           struct snapshot_load *load, struct err_ctx *ctx)
{
    struct rdb_in in;
    enum err err;

    rdb_in_open_mem(&in, data);
    err = snapshot_read(&in, f->other, load, ctx);
    rdb_in_close(&in);
    keyspace_validate(f->other);
    return err;
}

static enum err read_path(struct fixture *f, const char *path,
                          struct snapshot_load *load, struct err_ctx *ctx)
{
    int fd = open(path, O_RDONLY);
    struct rdb_in in;
    enum err err;

    if (fd < 0) {
        fail_msg("%s: run from the top of the tree", path);
    }
    rdb_in_open(&in, fd, 0, UINT64_MAX);
    err = snapshot_read(&in, f->other, load, ctx);
    rdb_in_close(&in);
    close(fd);
    return err;
}

static void set(struct keyspace *ks, int db, struct bytes key,
                struct bytes value, time_ms expires_at)
{
    bool added;
    struct entry *e = keyspace_write_or_add(ks, db, key, &added);

    assert_non_null(e);
    assert_int_equal(string_set(ks, e, value), ERR_OK);
    assert_int_equal(keyspace_set_expiry(ks, db, e, expires_at), ERR_OK);
}

static void assert_value(struct keyspace *ks, int db, const char *key,
                         struct bytes value, time_ms expires_at)
{
    struct entry *e = keyspace_find(ks, db, bytes_str(key));
    char text[NUM_TEXT_MAX];

    if (!e) {
        fail_msg("no key %s", key);
    }
    assert_true(bytes_equal(string_get(e, text), value));
    assert_true(e->expires_at == expires_at);
}

/* ---- our own ----------------------------------------------------------- */

struct comparing {
    struct keyspace *other;
    int db;
};

static void compare_entry(uint64_t ref, void *arg)
{
    const struct entry *e = (const struct entry *)(uintptr_t)ref;
    const struct comparing *c = arg;
    struct entry *o = keyspace_find(c->other, c->db, entry_key(e));
    char a[NUM_TEXT_MAX], b[NUM_TEXT_MAX];

    assert_non_null(o);
    assert_true(bytes_equal(string_get(e, a), string_get(o, b)));
    assert_int_equal(e->encoding, o->encoding);
    assert_true(e->expires_at == o->expires_at);
}

static void random_databases_come_back(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = 123456789012};
    struct snapshot_load load = {0};
    uint8_t noise[300];
    struct rng rng;
    int i;

    cm_seed(&rng);
    for (i = 0; i < 5000; i++) {
        size_t klen = rng_below(&rng, 40), vlen = rng_below(&rng, 300), k;

        for (k = 0; k < sizeof(noise); k++) {
            noise[k] = (uint8_t)rng_next(&rng);
        }
        set(f->ks, (int)rng_below(&rng, N_DBS), bytes_of(noise, klen),
            bytes_of(noise, vlen),
            i % 3 ? NO_EXPIRY
                  : f->ks->now + 100000 + (time_ms)rng_below(&rng, 1 << 30));
    }
    set(f->ks, 7, bytes_str("n"), bytes_str("-42"), NO_EXPIRY);
    write_file(f, &about);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &load, NULL), ERR_OK);
    for (i = 0; i < N_DBS; i++) {
        struct comparing c = {f->other, i};

        assert_int_equal(keyspace_count(f->ks, i), keyspace_count(f->other, i));
        table_each(&f->ks->dbs[i]->entries, compare_entry, &c);
    }
    assert_true(load.about.lsn == about.lsn);
    assert_false(load.about.is_aof_base);
}

static void an_empty_keyspace_is_a_snapshot_too(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = -1, .is_aof_base = true};
    struct snapshot_load load = {0};

    write_file(f, &about);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &load, NULL), ERR_OK);
    assert_int_equal(load.keys, 0);
    assert_true(load.about.lsn == -1);
    assert_true(load.about.is_aof_base);
}

static void every_cut_and_every_bent_byte_is_refused(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = -1};
    struct snapshot_load load = {0};
    struct err_ctx ctx;
    size_t i;

    set(f->ks, 0, bytes_str("key"), bytes_str("value"), f->ks->now + 1000000);
    set(f->ks, 3, bytes_str("num"), bytes_str("77"), NO_EXPIRY);
    write_file(f, &about);
    for (i = 0; i < f->file.len; i++) {
        ctx.text[0] = '\0';
        assert_int_equal(read_bytes(f, bytes_of(f->file.data, i), &load, &ctx),
                         ERR_CORRUPT);
        assert_non_null(strstr(ctx.text, "offset "));
        keyspace_flush(f->other, -1);
    }
    for (i = 0; i < f->file.len - 8; i++) {
        f->file.data[i] ^= 0x10;
        assert_int_not_equal(read_bytes(f, buf_bytes(&f->file), &load, &ctx),
                             ERR_OK);
        f->file.data[i] ^= 0x10;
        keyspace_flush(f->other, -1);
    }
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &load, &ctx), ERR_OK);
}

static void expired_keys_are_dropped_unless_kept(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = -1};
    struct snapshot_load drop = {0}, keep = {.keep_expired = true};
    time_ms now = f->ks->now;

    set(f->ks, 0, bytes_str("old"), bytes_str("v"), now + 1);
    set(f->ks, 0, bytes_str("young"), bytes_str("v"), now + 1000000);
    write_file(f, &about);
    keyspace_set_time(f->other, now + 100, 0);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &drop, NULL), ERR_OK);
    assert_int_equal(keyspace_count(f->other, 0), 1);
    assert_int_equal(drop.expired, 1);
    keyspace_flush(f->other, -1);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &keep, NULL), ERR_OK);
    assert_int_equal(keyspace_count(f->other, 0), 2);
    assert_int_equal(keep.expired, 0);
}

static void a_key_that_is_there_is_an_error_or_gives_way(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = -1};
    struct snapshot_load strict = {0}, merge = {.replace = true};
    struct err_ctx ctx = {""};

    set(f->ks, 0, bytes_str("k"), bytes_str("new"), NO_EXPIRY);
    set(f->other, 0, bytes_str("k"), bytes_str("old"), f->ks->now + 1000000);
    write_file(f, &about);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &strict, &ctx),
                     ERR_EXISTS);
    assert_non_null(strstr(ctx.text, "key 'k' in database 0"));
    assert_value(f->other, 0, "k", bytes_str("old"), f->ks->now + 1000000);
    assert_int_equal(read_bytes(f, buf_bytes(&f->file), &merge, &ctx), ERR_OK);
    assert_value(f->other, 0, "k", bytes_str("new"), NO_EXPIRY);
}

static void memory_that_is_out_is_told(void **state)
{
    struct fixture *f = *state;
    struct snapshot_about about = {.lsn = -1};
    struct snapshot_load load = {0};
    enum err err = ERR_NOMEM;
    uint64_t n;

    set(f->ks, 0, bytes_str("k"), bytes_str("a value"), f->ks->now + 1000000);
    write_file(f, &about);
    for (n = 1; err == ERR_NOMEM && n < 100; n++) {
        mem_fail_after(n);
        err = read_bytes(f, buf_bytes(&f->file), &load, NULL);
        mem_fail_after(0);
    }
    assert_int_equal(err, ERR_OK);
    assert_true(n > 3);
    assert_int_equal(keyspace_count(f->other, 0), 1);
}

/* ---- Redis's ----------------------------------------------------------- */

static void assert_strings(struct fixture *f)
{
    struct buf b = BUF_INIT;
    int i;

    assert_value(f->other, 0, "plain", bytes_str("hello"), NO_EXPIRY);
    assert_value(f->other, 0, "int8", bytes_str("-5"), NO_EXPIRY);
    assert_value(f->other, 0, "int16", bytes_str("30000"), NO_EXPIRY);
    assert_value(f->other, 0, "int32", bytes_str("-2000000000"), NO_EXPIRY);
    assert_value(f->other, 0, "int64", bytes_str("9000000000"), NO_EXPIRY);
    assert_value(f->other, 0, "lead", bytes_str("007"), NO_EXPIRY);
    assert_value(f->other, 0, "empty", BYTES_NONE, NO_EXPIRY);
    assert_value(f->other, 0, "far", bytes_str("v"), 4102444800123);
    assert_value(f->other, 3, "three", bytes_str("3"), NO_EXPIRY);
    assert_value(f->other, 3, "ttl", bytes_str("12345678901234"),
                 4102444800000);
    for (i = 0; i < 200; i++) {
        buf_append_str(&b, "abc");
    }
    assert_value(f->other, 0, "lzf", buf_bytes(&b), NO_EXPIRY);
    b.len = 0;
    memset(buf_room(&b, 70001), 0, 70001);
    b.len = 70001;
    b.data[70000] = 'x';
    assert_value(f->other, 0, "big", buf_bytes(&b), NO_EXPIRY);
    assert_int_equal(keyspace_count(f->other, 15), 1);
    buf_deinit(&b);
}

static void a_file_of_Redis_8_is_read(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load load = {0};
    struct err_ctx ctx = {""};

    assert_int_equal(read_path(f, STRINGS_FILE, &load, &ctx), ERR_OK);
    assert_strings(f);
    assert_false(load.about.is_aof_base);
}

static void types_that_are_not_here_are_named(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load load = {0};
    struct err_ctx ctx = {""};

    assert_int_equal(read_path(f, TYPES_FILE, &load, &ctx), ERR_UNSUPPORTED);
    assert_non_null(strstr(ctx.text, "which Vectra does not have"));
    assert_non_null(strstr(ctx.text, "key '"));
    assert_non_null(strstr(ctx.text, "in database 0"));
}

static void types_that_are_not_here_are_skipped_when_told_so(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load load = {.skip_unknown = true};
    struct err_ctx ctx = {""};

    if (read_path(f, TYPES_FILE, &load, &ctx) != ERR_OK) {
        fail_msg("%s", ctx.text);
    }
    assert_strings(f);
    assert_int_equal(load.functions, 1);
    assert_in_range(load.skipped, 16, 17);
}

/* What Redis 8 no longer writes, byte by byte. */
static void old_types_are_skipped_too(void **state)
{
    static const uint8_t file[] =
        "REDIS0009"
        "\xf8\x05"                   /* idle */
        "\xf9\x07"                   /* freq */
        "\xf4\x01\x02\x03"           /* slot info */
        "\x01\x01l\x02\xc0\x01\x01x" /* list */
        "\x03\x01z\x02\x01m\x03"     /* sorted set with textual scores */
        "1.5\x01n\xfe"
        "\x04\x01h\x01\x01"
        "f\x01v"
        "\x09\x01p\x01\xff"                                /* zipmap */
        "\x0a\x01q\x01\xff"                                /* ziplist */
        "\x0e\x01r\x01\x01\xff"                            /* quicklist */
        "\xf7\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x02\x02" /* module aux */
        "\x01\x05\x03"
        "abcd\x04"
        "abcdefgh\x05\x01s\x00"
        "\x07\x01m\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x07\x02\x09\x00"
        "\xfd\x00\x00\x00\x01\x00\x03old\x01v" /* expired in 1970 */
        "\x00\x04kept\x01v"
        "\xff\0\0\0\0\0\0\0\0";
    struct fixture *f = *state;
    struct snapshot_load load = {.skip_unknown = true};
    struct err_ctx ctx = {""};

    if (read_bytes(f, bytes_of(file, sizeof(file) - 1), &load, &ctx)) {
        fail_msg("%s", ctx.text);
    }
    assert_int_equal(load.skipped, 7);
    assert_int_equal(load.expired, 1);
    assert_value(f->other, 0, "kept", bytes_str("v"), NO_EXPIRY);
}

static void a_module_is_named(void **state)
{
    static const uint8_t file[] =
        "REDIS0012"
        "\x07\x02\x01k\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x07\x00";
    struct fixture *f = *state;
    struct snapshot_load load = {0};
    struct err_ctx ctx = {""};

    assert_int_equal(
        read_bytes(f, bytes_of(file, sizeof(file) - 1), &load, &ctx),
        ERR_UNSUPPORTED);
    assert_non_null(strstr(ctx.text, "key '?k' in database 0: a module value "
                                     "of vectorset, which"));
}

static void what_is_no_snapshot_is_told(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } cases[] = {
        {"", 0, "offset 0: the input ends"},
        {"#!/bin/sh\nexit", 14, "no RDB file"},
        {"REDIS0099\xff", 10, "version 0099"},
        {"REDIS0012\x63\x01k", 12, "there is no type 99"},
        {"REDIS0012\x06\x01k\x01", 13, "pre-release"},
        {"REDIS0012\xfe\x10", 11, "`databases` is 16"},
        {"REDIS0012\xf6", 10, "opcode 246"},
        {"REDIS0012\xff\x01\0\0\0\0\0\0\0", 18, "checksum"},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct snapshot_load load = {.skip_unknown = true};
        struct err_ctx ctx = {""};

        assert_int_not_equal(
            read_bytes(f, bytes_of(cases[i].bytes, cases[i].len), &load, &ctx),
            ERR_OK);
        if (!strstr(ctx.text, cases[i].words)) {
            fail_msg("%s", ctx.text);
        }
    }
}

static void random_damage_never_harms(void **state)
{
    struct fixture *f = *state;
    struct buf file = BUF_INIT;
    struct rng rng;
    int fd = open(TYPES_FILE, O_RDONLY);
    int i;

    cm_seed(&rng);
    assert_true(fd >= 0);
    file.len = (size_t)read(fd, buf_room(&file, 1 << 20), 1 << 20);
    close(fd);
    for (i = 0; i < 2000; i++) {
        struct snapshot_load load = {.skip_unknown = true};
        struct buf bent = BUF_INIT;
        int n;

        buf_append_bytes(&bent, buf_bytes(&file));
        for (n = (int)rng_below(&rng, 4) + 1; n > 0; n--) {
            bent.data[rng_below(&rng, i % 2 ? bent.len : 2000)] =
                (uint8_t)rng_next(&rng);
        }
        assert_int_not_equal(
            read_bytes(f, buf_bytes(&bent), &load, NULL) == ERR_OK &&
                !bytes_equal(buf_bytes(&bent), buf_bytes(&file)),
            1);
        keyspace_flush(f->other, -1);
        buf_deinit(&bent);
    }
    buf_deinit(&file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_databases_come_back),
        TEST(an_empty_keyspace_is_a_snapshot_too),
        TEST(every_cut_and_every_bent_byte_is_refused),
        TEST(expired_keys_are_dropped_unless_kept),
        TEST(a_key_that_is_there_is_an_error_or_gives_way),
        TEST(memory_that_is_out_is_told),
        TEST(a_file_of_Redis_8_is_read),
        TEST(types_that_are_not_here_are_named),
        TEST(types_that_are_not_here_are_skipped_when_told_so),
        TEST(old_types_are_skipped_too),
        TEST(a_module_is_named),
        TEST(what_is_no_snapshot_is_told),
        TEST(random_damage_never_harms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
