/* The log's files: manifests, batches written and read, and what damage and
 * torn tails of every kind come to. */
#include "unit/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "persist/aof_manifest.h"
#include "persist/aof_read.h"
#include "persist/aof_write.h"

static char dir[64];
static char path[80];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/vectra-aof-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

/* ---- manifests --------------------------------------------------------- */

static enum err parse(struct aof_manifest *m, const char *text)
{
    struct err_ctx ctx = {""};
    enum err err = aof_manifest_parse(m, bytes_str(text), &ctx);

    assert_true(!err || strlen(ctx.text) > 0);
    return err;
}

static void manifests_are_read_and_written(void **state)
{
    static const char text[] =
        "file appendonly.aof.2.base.rdb seq 2 type b\n"
        "file appendonly.aof.1.base.rdb seq 1 type h\n"
        "file appendonly.aof.3.incr.aof seq 3 type i startoffset 11 endoffset "
        "12\n"
        "file \"my \\\"log\\\".4.incr.aof\" seq 4 type i startoffset 12\n";
    struct aof_manifest m, copy;
    struct buf out = BUF_INIT;

    (void)state;
    assert_int_equal(parse(&m, text), ERR_OK);
    assert_string_equal(aof_manifest_base(&m)->name,
                        "appendonly.aof.2.base.rdb");
    assert_int_equal(aof_manifest_incr_count(&m), 2);
    assert_string_equal(aof_manifest_incr(&m, 1)->name,
                        "my \"log\".4.incr.aof");
    assert_int_equal(aof_manifest_incr(&m, 0)->end_lsn, 12);
    assert_null(aof_manifest_incr(&m, 2));
    aof_manifest_format(&m, &out);
    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.data, text, out.len);
    aof_manifest_copy(&copy, &m);
    aof_manifest_deinit(&m);
    assert_int_equal(copy.incr_seq, 4);
    aof_manifest_deinit(&copy);
    buf_deinit(&out);
}

static void a_rewrite_makes_history(void **state)
{
    static const char after[] =
        "file a.1.base.rdb seq 1 type b\n"
        "file a.1.incr.aof seq 1 type h\n"
        "file a.2.incr.aof seq 2 type i startoffset 50\n";
    char name[AOF_NAME_MAX + 1];
    struct aof_manifest m;
    struct buf out = BUF_INIT;

    (void)state;
    aof_manifest_init(&m);
    assert_string_equal(aof_manifest_add_incr(&m, "a", 0)->name,
                        "a.1.incr.aof");
    aof_manifest_add_incr(&m, "a", 50);
    aof_manifest_next_base(&m, "a", true, name);
    assert_string_equal(name, "a.1.base.rdb");
    aof_manifest_set_base(&m, name, 1);
    aof_manifest_format(&m, &out);
    assert_int_equal(out.len, strlen(after));
    assert_memory_equal(out.data, after, out.len);
    aof_manifest_drop_history(&m);
    assert_int_equal(m.n, 2);
    aof_manifest_next_base(&m, "a", false, name);
    assert_string_equal(name, "a.2.base.aof");
    aof_manifest_deinit(&m);
    buf_deinit(&out);
}

static void bad_manifests_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "# only a comment\n",
        "file a seq 1 type b",
        "file a seq 1\n",
        "file a seq 1 type x\n",
        "file a seq 0 type b\n",
        "file a seq -1 type b\n",
        "file a seq 99999999999999999999 type b\n",
        "file ../a seq 1 type b\n",
        "file /etc/passwd seq 1 type b\n",
        "file .. seq 1 type b\n",
        "file \"\" seq 1 type b\n",
        "file \"a\\x00\" seq 1 type b\n",
        "file \"a seq 1 type b\n",
        "file a seq 1 type b extra\n",
        "file a seq 1 type b\nfile b seq 2 type b\n",
        "file a seq 2 type i\nfile b seq 1 type i\n",
        "file a seq 2 type i\nfile b seq 2 type i\n",
    };
    struct aof_manifest m;
    char longer[2048];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(parse(&m, texts[i]), ERR_CORRUPT);
    }
    memset(longer, 'a', sizeof(longer));
    memcpy(longer, "file ", 5);
    strcpy(longer + 1500, " seq 1 type b\n");
    assert_int_equal(parse(&m, longer), ERR_CORRUPT);
    strcpy(longer + 400, " seq 1 type b\n");
    assert_int_equal(parse(&m, longer), ERR_CORRUPT);
}

/* ---- batches ----------------------------------------------------------- */

static const char set_a[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
static const char set_note[] =
    "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$7\r\n\r\n#LSN:\r\n";
static const char ping[] = "*1\r\n$4\r\nPING\r\n";

static void put(struct aof_file *f, const char *stream, uint64_t synced,
                int64_t ts)
{
    struct aof_batch b = {.stream = bytes_str(stream),
                          .end = f->lsn + strlen(stream),
                          .synced = synced,
                          .unix_s = ts};
    struct err_ctx ctx = {""};
    int error;

    assert_int_equal(aof_file_append(f, &b, &error, &ctx), ERR_OK);
}

/* A log of four batches; ends[i] is where the i-th ends. */
static void write_log(uint64_t ends[5], uint64_t synced_at_end)
{
    struct aof_file f;
    struct err_ctx ctx = {""};

    assert_int_equal(aof_file_create(&f, path, &ctx), ERR_OK);
    ends[0] = f.size;
    f.lsn = 1000;
    put(&f, set_a, 0, 0);
    ends[1] = f.size;
    put(&f, set_note, 0, 1234567);
    ends[2] = f.size;
    put(&f, "", 0, 1234567);
    ends[3] = f.size;
    put(&f, ping, synced_at_end, 1234568);
    ends[4] = f.size;
    aof_file_close(&f);
}

/* Reads the file: how many commands it gave, and how it ended. */
static enum aof_read_result read_log(size_t *n_commands, uint64_t *good,
                                     bool with_lsn)
{
    struct aof_reader r;
    struct aof_unit unit;
    struct err_ctx ctx = {""};
    enum aof_read_result result;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(aof_reader_open(&r, fd, 0, &ctx), ERR_OK);
    r.has_lsn = with_lsn;
    r.lsn = with_lsn ? 1000 : 0;
    *n_commands = 0;
    while ((result = aof_reader_next(&r, &unit, &ctx)) == AOF_READ_UNIT) {
        struct bytes *argv;
        uint64_t offset;
        size_t argc;

        while (aof_next_command(&r, &unit, &argv, &argc, &offset)) {
            assert_true(argc > 0 && argv[0].len > 0);
            assert_true(offset < r.good);
            (*n_commands)++;
        }
    }
    assert_true(result == AOF_READ_END || strlen(ctx.text) > 0);
    *good = r.good;
    aof_reader_close(&r);
    close(fd);
    return result;
}

static void what_is_written_is_read(void **state)
{
    uint64_t ends[5], good;
    size_t n;

    (void)state;
    write_log(ends, 0);
    assert_int_equal(read_log(&n, &good, true), AOF_READ_END);
    assert_int_equal(n, 3);
    assert_int_equal(good, ends[4]);
    assert_int_equal(read_log(&n, &good, false), AOF_READ_END);
}

static void a_log_may_end_at_any_byte(void **state)
{
    uint64_t ends[5], good, cut;

    (void)state;
    write_log(ends, 1000 + strlen(set_a));
    for (cut = ends[4]; cut-- > ends[0];) {
        enum aof_read_result expected = AOF_READ_TORN;
        uint64_t last = 0;
        size_t n, i;

        assert_int_equal(truncate(path, (off_t)cut), 0);
        for (i = 0; i < 5; i++) {
            last = ends[i] <= cut ? ends[i] : last;
            expected = ends[i] == cut ? AOF_READ_END : expected;
        }
        assert_int_equal(read_log(&n, &good, true), expected);
        assert_int_equal(good, last);
    }
}

/* A changed byte is a tail, unless a later batch knows it was on disk. */
static void a_changed_byte_is_noticed(void **state)
{
    uint64_t ends[5], good, at;
    uint64_t synced = 1000 + strlen(set_a);
    size_t n_last;
    int round;

    (void)state;
    for (round = 0; round < 2; round++) {
        write_log(ends, round ? synced : 0);
        for (at = ends[0]; at < ends[4]; at++) {
            int fd = open(path, O_RDWR | O_CLOEXEC);
            enum aof_read_result result;
            uint8_t was, now;
            size_t n;

            assert_int_equal(pread(fd, &was, 1, (off_t)at), 1);
            now = was ^ 0x41;
            assert_int_equal(pwrite(fd, &now, 1, (off_t)at), 1);
            result = read_log(&n, &good, true);
            if (round == 0 || at >= ends[1]) {
                assert_int_equal(result, AOF_READ_TORN);
            } else {
                assert_int_equal(result, AOF_READ_DAMAGED);
            }
            assert_true(good <= at);
            assert_int_equal(pwrite(fd, &was, 1, (off_t)at), 1);
            close(fd);
        }
        assert_int_equal(read_log(&n_last, &good, true), AOF_READ_END);
    }
}

static void a_gap_in_the_stream_is_damage(void **state)
{
    struct aof_file f;
    struct err_ctx ctx = {""};
    uint64_t good;
    size_t n;

    (void)state;
    assert_int_equal(aof_file_create(&f, path, &ctx), ERR_OK);
    f.lsn = 1000;
    put(&f, set_a, 0, 0);
    f.lsn += 10;
    put(&f, set_a, 0, 0);
    put(&f, set_a, 1500, 0);
    aof_file_close(&f);
    assert_int_equal(read_log(&n, &good, true), AOF_READ_DAMAGED);
    assert_int_equal(n, 1);
}

static void a_log_goes_on_where_it_was_good(void **state)
{
    struct aof_file f;
    struct err_ctx ctx = {""};
    uint64_t ends[5], good;
    size_t n;

    (void)state;
    write_log(ends, 0);
    assert_int_equal(aof_file_open(&f, path, ends[2],
                                   1000 + strlen(set_a) + strlen(set_note),
                                   &ctx),
                     ERR_OK);
    put(&f, ping, AOF_NOT_SYNCED, 0);
    put(&f, ping, AOF_NOT_SYNCED, 0);
    aof_file_close(&f);
    assert_int_equal(read_log(&n, &good, true), AOF_READ_END);
    assert_int_equal(n, 4);
}

/* ---- files of others --------------------------------------------------- */

static void write_text(const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void logs_of_redis_are_read_command_by_command(void **state)
{
    char text[512];
    uint64_t good;
    size_t n, len, cut;

    (void)state;
    len = (size_t)snprintf(text, sizeof(text), "%s#TS:1628217470\r\n%s%s", ping,
                           set_note, set_a);
    write_text(text, len);
    assert_int_equal(read_log(&n, &good, false), AOF_READ_END);
    assert_int_equal(n, 3);
    for (cut = len - 1; cut > len - strlen(set_a); cut--) {
        write_text(text, cut);
        assert_int_equal(read_log(&n, &good, false), AOF_READ_TORN);
        assert_int_equal(n, 2);
        assert_int_equal(good, len - strlen(set_a));
    }
    memset(text + len, 0, 100);
    write_text(text, len + 100);
    assert_int_equal(read_log(&n, &good, false), AOF_READ_TORN);
    assert_int_equal(good, len);
    text[len + 99] = 'x';
    write_text(text, len + 100);
    assert_int_equal(read_log(&n, &good, false), AOF_READ_DAMAGED);
    write_text("", 0);
    assert_int_equal(read_log(&n, &good, false), AOF_READ_END);
}

static void hostile_lengths_take_no_memory(void **state)
{
    static const char *const texts[] = {
        "*999999999999999\r\n$1\r\na\r\n",
        "*2\r\n$9999999999999999\r\na\r\n",
        "*2\r\n$99999999999999999999999\r\na\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$1\r\nab\r\n",
        "*1\r\n$1\ra\r\n",
        "*\r\n",
        "SET a b\r\n",
        "\r\n",
        "#no end",
        "$1\r\na\r\n",
        "#VECTRA:1\r\n#LSN:1-2:CRC32C:00000000\r\n",
        "#VECTRA:1\r\n#LSN:2-1:CRC32C:00000000\r\n",
        "#VECTRA:1\r\n#LSN:99999999999999999999999-1:CRC32C:00000000\r\n",
        "#VECTRA:1\r\n#LSN:\r\n",
        "#VECTRA:1\r\n*99999999\r\n",
    };
    size_t used = mem_used();
    size_t i, n;
    uint64_t good;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        enum aof_read_result r;

        write_text(texts[i], strlen(texts[i]));
        r = read_log(&n, &good, false);
        assert_true(r == AOF_READ_TORN || r == AOF_READ_DAMAGED);
        assert_int_equal(n, 0);
    }
    assert_true(mem_peak() < used + (8 << 20));
}

static void random_bytes_end_somehow(void **state)
{
    static const char letters[] = "*$#0123\r\n\r\nLSN:-aSET";
    struct rng rng;
    char text[200];
    int round;

    (void)state;
    cm_seed(&rng);
    for (round = 0; round < 3000; round++) {
        size_t at = 0;
        size_t len = rng_below(&rng, sizeof(text));
        uint64_t good;
        size_t n;

        if (rng_below(&rng, 2)) {
            at = strlen(AOF_MAGIC);
            memcpy(text, AOF_MAGIC, at);
        }
        for (; at < len; at++) {
            text[at] = letters[rng_below(&rng, sizeof(letters) - 1)];
        }
        write_text(text, len);
        (void)read_log(&n, &good, false);
        assert_true(good <= len);
    }
}

/* A failed write leaves the log as it was, now or at the next one. */
static void a_failed_write_is_cut_off(void **state)
{
    struct aof_file f;
    struct err_ctx ctx = {""};
    struct aof_batch b = {.stream = bytes_str(set_a),
                          .end = strlen(set_a),
                          .synced = AOF_NOT_SYNCED};
    struct stat st;
    uint64_t size;
    int error = 0;
    int good_fd;

    (void)state;
    assert_int_equal(aof_file_create(&f, path, &ctx), ERR_OK);
    size = f.size;
    good_fd = f.fd;
    f.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(aof_file_append(&f, &b, &error, &ctx), ERR_IO);
    assert_int_equal(error, ENOSPC);
    assert_true(f.has_rest);
    close(f.fd);
    f.fd = good_fd;
    assert_int_equal(write(f.fd, "half", 4), 4);
    assert_int_equal(aof_file_append(&f, &b, &error, &ctx), ERR_OK);
    assert_int_equal(fstat(f.fd, &st), 0);
    assert_int_equal(st.st_size, f.size);
    assert_true(f.size > size);
    aof_file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_are_read_and_written),
        cmocka_unit_test(a_rewrite_makes_history),
        cmocka_unit_test(bad_manifests_are_refused),
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_may_end_at_any_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_changed_byte_is_noticed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_gap_in_the_stream_is_damage, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_goes_on_where_it_was_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            logs_of_redis_are_read_command_by_command, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_lengths_take_no_memory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(random_bytes_end_somehow, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_is_cut_off, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
