/* The RDB container: what is written is read again, in the bytes Redis writes,
 * through descriptors and memory; and input that was cut, bent or invented is
 * refused with where and why. */
#include "unit/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "persist/crc64.h"
#include "persist/rdb_read.h"
#include "persist/rdb_write.h"

static struct bytes written(struct buf *b, void (*put)(struct rdb_out *out))
{
    struct rdb_out out;

    b->len = 0;
    rdb_out_open_mem(&out, b);
    put(&out);
    assert_int_equal(rdb_out_finish(&out), ERR_OK);
    rdb_out_close(&out);
    return buf_bytes(b);
}

static void assert_string_bytes(const char *text, size_t text_len,
                                const void *bytes, size_t len)
{
    struct buf b = BUF_INIT;
    struct rdb_out out;
    struct rdb_in in;
    struct bytes back;

    rdb_out_open_mem(&out, &b);
    rdb_put_string(&out, bytes_of(text, text_len));
    assert_int_equal(b.len, len);
    assert_memory_equal(b.data, bytes, len);
    rdb_in_open_mem(&in, buf_bytes(&b));
    assert_true(rdb_get_string(&in, &back));
    assert_true(bytes_equal(back, bytes_of(text, text_len)));
    assert_int_equal(rdb_in_left(&in), 0);
    rdb_in_close(&in);
    rdb_in_open_mem(&in, buf_bytes(&b));
    assert_true(rdb_skip_string(&in));
    assert_int_equal(rdb_in_left(&in), 0);
    rdb_in_close(&in);
    rdb_out_close(&out);
    buf_deinit(&b);
}

#define STRING_IS(text, bytes)                                                 \
    assert_string_bytes(text, sizeof(text) - 1, bytes, sizeof(bytes) - 1)

static void strings_are_written_as_Redis_writes_them(void **state)
{
    (void)state;
    STRING_IS("", "\x00");
    STRING_IS("abc", "\x03"
                     "abc");
    STRING_IS("0", "\xc0\x00");
    STRING_IS("-128", "\xc0\x80");
    STRING_IS("127", "\xc0\x7f");
    STRING_IS("128", "\xc1\x80\x00");
    STRING_IS("-32768", "\xc1\x00\x80");
    STRING_IS("32768", "\xc2\x00\x80\x00\x00");
    STRING_IS("2147483647", "\xc2\xff\xff\xff\x7f");
    STRING_IS("-2147483648", "\xc2\x00\x00\x00\x80");
    STRING_IS("2147483648", "\x0a"
                            "2147483648");
    STRING_IS("007", "\x03"
                     "007");
    STRING_IS("+7", "\x02+7");
    STRING_IS("-0", "\x02-0");
    STRING_IS("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\xc3\x09\x28\x01"
                                                          "aa\xe0\x1b\x00\x01"
                                                          "aa");
}

static void numbers_are_written_like_their_texts(void **state)
{
    static const int64_t numbers[] = {0,
                                      -1,
                                      127,
                                      128,
                                      -129,
                                      32767,
                                      -32769,
                                      INT32_MAX,
                                      INT32_MIN,
                                      INT64_MAX,
                                      INT64_MIN,
                                      1LL << 31,
                                      -(1LL << 31) - 1};
    struct buf a = BUF_INIT, b = BUF_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(numbers); i++) {
        struct rdb_out out;
        char text[32];

        a.len = b.len = 0;
        rdb_out_open_mem(&out, &a);
        rdb_put_int(&out, numbers[i]);
        rdb_out_close(&out);
        snprintf(text, sizeof(text), "%lld", (long long)numbers[i]);
        rdb_out_open_mem(&out, &b);
        rdb_put_string(&out, bytes_str(text));
        rdb_out_close(&out);
        assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
    }
    buf_deinit(&a);
    buf_deinit(&b);
}

static void lengths_take_1_2_5_and_9_bytes(void **state)
{
    static const struct {
        uint64_t len;
        size_t bytes;
    } cases[] = {{0, 1},     {63, 1},         {64, 2},         {16383, 2},
                 {16384, 5}, {UINT32_MAX, 5}, {1ULL << 32, 9}, {UINT64_MAX, 9}};
    struct buf b = BUF_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct rdb_out out;
        struct rdb_in in;
        uint64_t len = 1;

        b.len = 0;
        rdb_out_open_mem(&out, &b);
        rdb_put_len(&out, cases[i].len);
        assert_int_equal(b.len, cases[i].bytes);
        rdb_out_close(&out);
        rdb_in_open_mem(&in, buf_bytes(&b));
        assert_true(rdb_get_len(&in, &len));
        assert_true(len == cases[i].len);
        rdb_in_close(&in);
    }
    buf_deinit(&b);
}

/* ---- streams ----------------------------------------------------------- */

enum { LONGEST = 3 << 20 };

static const char temp_template[] = "/tmp/vectra-test-rdb-XXXXXX";

static int temp_file(void)
{
    char path[sizeof(temp_template)];
    int fd;

    memcpy(path, temp_template, sizeof(path));
    fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* A text that is a number, noise, or something compressible. */
static size_t random_text(struct rng *rng, uint8_t *text)
{
    static const size_t most[] = {3, 30, 300, 70000, LONGEST};
    uint64_t kind = rng_next(rng) % 3;
    size_t len, i;

    if (kind == 0) {
        return (size_t)snprintf(
            (char *)text, 32, "%lld",
            (long long)((int64_t)rng_next(rng) >> rng_next(rng) % 64));
    }
    len = rng_next(rng) % most[rng_next(rng) % 64 ? rng_next(rng) % 4 : 4];
    for (i = 0; i < len; i++) {
        text[i] = kind == 1 ? (uint8_t)rng_next(rng) : (uint8_t)(i / 50 % 7);
    }
    return len;
}

static void count_yield(void *arg)
{
    ++*(int *)arg;
}

static void put_many(struct rdb_out *out, uint64_t seed, uint8_t *text, int n)
{
    struct rng rng;

    rng_seed(&rng, seed);
    rdb_put_magic(out);
    rdb_put_aux(out, "who", bytes_str("test"));
    rdb_put_aux_int(out, "how-many", n);
    rdb_put_module(out, rdb_module_id("vectra-vs", 1));
    for (; n > 0; n--) {
        size_t len = random_text(&rng, text);

        rdb_put_string(out, bytes_of(text, len));
        rdb_put_unsigned(out, len);
        rdb_put_blob(out, bytes_of(text, len));
    }
    rdb_put_module_end(out);
    rdb_put_eof(out);
}

static void get_many(struct rdb_in *in, uint64_t seed, uint8_t *text, int n)
{
    struct bytes s;
    struct rng rng;
    uint64_t id, len;
    int version, i;
    uint8_t op;

    rng_seed(&rng, seed);
    assert_true(rdb_get_magic(in, &version));
    assert_int_equal(version, RDB_VERSION_WRITTEN);
    for (i = 0; i < 2; i++) {
        assert_true(rdb_get_u8(in, &op));
        assert_int_equal(op, RDB_OP_AUX);
        assert_true(rdb_skip_string(in) && rdb_skip_string(in));
    }
    assert_true(rdb_get_module(in, &id));
    assert_true(id == rdb_module_id("vectra-vs", 1));
    for (i = 0; i < n; i++) {
        struct bytes expected = bytes_of(text, random_text(&rng, text));

        assert_true(rdb_get_string(in, &s));
        assert_true(bytes_equal(s, expected));
        assert_true(rdb_get_unsigned(in, &len));
        assert_true(len == expected.len);
        if (i % 3 == 0) {
            assert_true(rdb_get_blob(in, &s));
            assert_true(bytes_equal(s, expected));
            continue;
        }
        assert_true(rdb_get_blob_begin(in, &len));
        assert_true(len == expected.len);
        if (i % 3 == 1) {
            uint8_t *copy = test_malloc(expected.len);

            assert_true(rdb_get_raw(in, copy, len));
            assert_true(bytes_equal(bytes_of(copy, len), expected));
            test_free(copy);
        } else {
            assert_true(rdb_skip(in, len));
        }
    }
    assert_true(rdb_get_module_end(in));
    assert_true(rdb_get_u8(in, &op));
    assert_int_equal(op, RDB_OP_EOF);
    assert_true(rdb_check_eof(in, version));
}

static void file_reads_back(bool past_cache)
{
    uint8_t *text = test_malloc(LONGEST);
    struct buf mem = BUF_INIT;
    struct rdb_out out;
    struct rdb_in in;
    struct rng rng;
    uint64_t seed = cm_seed(&rng);
    int fd = temp_file(), yields = 0, i;

    rdb_out_open(&out, fd);
    out.past_cache = past_cache;
    out.sync_every = 1 << 20;
    put_many(&out, seed, text, 300);
    assert_int_equal(rdb_out_finish(&out), ERR_OK);
    assert_true(rdb_out_offset(&out) == (uint64_t)lseek(fd, 0, SEEK_CUR));
    rdb_out_close(&out);
    for (i = 0; i < 2; i++) { /* the file knows its length, or nobody */
        lseek(fd, 0, SEEK_SET);
        rdb_in_open(&in, fd, 0, UINT64_MAX);
        in.yield = count_yield;
        in.yield_arg = &yields;
        if (i == 1) {
            in.end = UINT64_MAX;
        }
        get_many(&in, seed, text, 300);
        assert_true(rdb_in_offset(&in) == (uint64_t)lseek(fd, 0, SEEK_END));
        rdb_in_close(&in);
    }
    assert_true(yields > 2);
    rdb_out_open_mem(&out, &mem);
    put_many(&out, seed, text, 300);
    rdb_out_close(&out);
    rdb_in_open_mem(&in, buf_bytes(&mem));
    get_many(&in, seed, text, 300);
    rdb_in_close(&in);
    buf_deinit(&mem);
    close(fd);
    test_free(text);
}

static void a_file_reads_back_whatever_its_strings(void **state)
{
    (void)state;
    file_reads_back(false);
    file_reads_back(true);
}

/* The sum may be asked for at any place, and more be put behind it. */
static void sum_is_right(bool past_cache)
{
    uint8_t *bytes = test_malloc(LONGEST);
    struct rdb_out out;
    struct rng rng;
    uint64_t sum = 0, at = 0;
    int fd = temp_file(), i;

    cm_seed(&rng);
    for (i = 0; i < LONGEST; i++) {
        bytes[i] = (uint8_t)rng_next(&rng);
    }
    rdb_out_open(&out, fd);
    out.past_cache = past_cache;
    for (i = 0; i < 200; i++) {
        size_t len = rng_below(&rng, rng_below(&rng, 8) ? 5000 : LONGEST);

        rdb_put_raw(&out, bytes, len);
        sum = crc64(sum, bytes, len);
        at += len;
        assert_true(rdb_out_crc(&out) == sum);
        assert_true(rdb_out_offset(&out) == at);
    }
    assert_int_equal(rdb_out_finish(&out), ERR_OK);
    assert_true((uint64_t)lseek(fd, 0, SEEK_END) == at);
    rdb_out_close(&out);
    close(fd);
    test_free(bytes);
}

static void the_sum_is_that_of_all_there_is_so_far(void **state)
{
    (void)state;
    sum_is_right(false);
    sum_is_right(true);
}

static void reading_begins_anywhere_and_ends_where_told(void **state)
{
    struct bytes s;
    struct rdb_in in;
    uint8_t op;
    int fd = temp_file();

    (void)state;
    assert_int_equal(write(fd, "junk\x03zipjunk", 12), 12);
    lseek(fd, 4, SEEK_SET);
    rdb_in_open(&in, fd, 4, 4);
    assert_true(rdb_get_string(&in, &s));
    assert_true(bytes_equal(s, bytes_str("zip")));
    assert_int_equal(rdb_in_offset(&in), 8);
    assert_int_equal(rdb_in_left(&in), 0);
    assert_false(rdb_get_u8(&in, &op));
    assert_true(in.truncated);
    assert_non_null(strstr(in.why.text, "offset 8:"));
    rdb_in_close(&in);
    close(fd);
}

/* ---- what cannot be written -------------------------------------------- */

static void a_full_disk_is_told_and_stays_told(void **state)
{
    int fd = open("/dev/full", O_WRONLY);
    struct rdb_out out;
    uint8_t zeros[1000] = {0};
    int i;

    (void)state;
    assert_true(fd >= 0);
    rdb_out_open(&out, fd);
    for (i = 0; i < 1000; i++) {
        rdb_put_raw(&out, zeros, sizeof(zeros));
    }
    assert_int_equal(rdb_out_finish(&out), ERR_IO);
    assert_int_equal(out.error, ENOSPC);
    rdb_put_u8(&out, 1);
    assert_int_equal(rdb_out_finish(&out), ERR_IO);
    rdb_out_close(&out);
    close(fd);
}

/* ---- hostile input ----------------------------------------------------- */

static void put_some(struct rdb_out *out)
{
    uint8_t text[40] = {0};

    rdb_put_string(out, bytes_str("300"));
    rdb_put_string(out, bytes_of(text, sizeof(text)));
    rdb_put_string(out, bytes_str("plain"));
    rdb_put_unsigned(out, 70000);
    rdb_put_blob(out, bytes_str("blob"));
    rdb_put_module_end(out);
}

static bool get_some(struct rdb_in *in)
{
    struct bytes s;
    uint64_t n;

    return rdb_get_string(in, &s) && rdb_get_string(in, &s) &&
           rdb_get_string(in, &s) && rdb_get_unsigned(in, &n) &&
           rdb_get_blob(in, &s) && rdb_get_module_end(in);
}

static void every_cut_is_a_truncation(void **state)
{
    struct buf b = BUF_INIT;
    struct bytes whole = written(&b, put_some);
    size_t n;

    (void)state;
    for (n = 0; n <= whole.len; n++) {
        uint8_t *copy =
            test_malloc(n + 1); /* its end is where reading faults */
        struct rdb_in in;

        memcpy(copy, whole.data, n);
        rdb_in_open_mem(&in, bytes_of(copy, n));
        assert_int_equal(get_some(&in), n == whole.len);
        if (n < whole.len) {
            assert_int_equal(in.err, ERR_CORRUPT);
            assert_false(get_some(&in));
        }
        rdb_in_close(&in);
        test_free(copy);
    }
    buf_deinit(&b);
}

static void random_bytes_never_harm(void **state)
{
    struct buf b = BUF_INIT;
    struct rng rng;
    int i;

    (void)state;
    cm_seed(&rng);
    for (i = 0; i < 20000; i++) {
        struct bytes whole = written(&b, put_some);
        struct rdb_in in;
        uint64_t n;

        for (n = rng_next(&rng) % 4 + 1; n > 0; n--) {
            b.data[rng_next(&rng) % b.len] = (uint8_t)rng_next(&rng);
        }
        rdb_in_open_mem(&in, whole);
        if (!get_some(&in)) {
            assert_int_equal(in.err, ERR_CORRUPT);
            assert_non_null(strstr(in.why.text, "offset "));
        }
        rdb_in_close(&in);
    }
    buf_deinit(&b);
}

enum getter { STRING, SKIP, LEN, COUNT, UNSIGNED, BLOB, MAGIC };

static bool get_one(struct rdb_in *in, enum getter what)
{
    struct bytes s;
    uint64_t n;
    int version;

    switch (what) {
    case STRING:
        return rdb_get_string(in, &s);
    case SKIP:
        return rdb_skip_string(in);
    case LEN:
        return rdb_get_len(in, &n);
    case COUNT:
        return rdb_get_count(in, 4, &n);
    case UNSIGNED:
        return rdb_get_unsigned(in, &n);
    case BLOB:
        return rdb_get_blob_begin(in, &n);
    default:
        return rdb_get_magic(in, &version);
    }
}

static void assert_refused(enum getter what, const char *data, size_t len,
                           const char *words)
{
    struct rdb_in in;

    rdb_in_open_mem(&in, bytes_of(data, len));
    assert_false(get_one(&in, what));
    if (!strstr(in.why.text, words)) {
        fail_msg("%s", in.why.text);
    }
    rdb_in_close(&in);
}

#define REFUSED(what, data, words)                                             \
    assert_refused(what, data, sizeof(data) - 1, words)

static void what_cannot_be_is_named(void **state)
{
    (void)state;
    REFUSED(STRING, "\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            "ends in the middle");
    REFUSED(SKIP, "\x81\xff\xff\xff\xff\xff\xff\xff\xff", "ends in the middle");
    REFUSED(STRING, "\x80\x80\x00\x00\x00x", "ends in the middle");
    REFUSED(STRING, "\xc4", "no string encoding 4");
    REFUSED(STRING, "\x82", "0x82 begins no length");
    REFUSED(LEN, "\xc0\x01", "where a length belongs");
    REFUSED(COUNT, "\x02\x01\x02\x03", "2 items");
    /* 3 packed bytes that claim to be 2 GiB, then 400 */
    REFUSED(STRING, "\xc3\x03\x80\x7f\xff\xff\xff\xe0\x01\x00",
            "impossible lengths");
    REFUSED(STRING, "\xc3\x03\x41\x90\xe0\x01\x00", "impossible lengths");
    /* a reference before the beginning; a result of another length */
    REFUSED(STRING, "\xc3\x03\x09\xe0\x01\x00", "damaged");
    REFUSED(STRING,
            "\xc3\x02\x02\x00"
            "a",
            "damaged");
    REFUSED(UNSIGNED, "\x05\x01", "kind 5 where 2");
    REFUSED(BLOB, "\x05\x09x", "9 items");
    REFUSED(MAGIC, "REDIS0013", "version 0013");
    REFUSED(MAGIC, "REDIS00x3", "version 00x3");
    REFUSED(MAGIC, "REDIX0012", "no RDB file");
}

static void a_wrong_sum_is_found_and_none_is_let_pass(void **state)
{
    struct buf b = BUF_INIT;
    struct rdb_out out;
    struct rdb_in in;
    uint8_t op;
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        b.len = 0;
        rdb_out_open_mem(&out, &b);
        out.checksum = i != 1;
        rdb_put_eof(&out);
        rdb_out_close(&out);
        b.data[3] ^= i == 2;
        rdb_in_open_mem(&in, buf_bytes(&b));
        assert_true(rdb_get_u8(&in, &op));
        assert_int_equal(rdb_check_eof(&in, RDB_VERSION), i != 2);
        assert_int_equal(in.err, i == 2 ? ERR_CORRUPT : ERR_OK);
        rdb_in_close(&in);
    }
    buf_deinit(&b);
}

static void module_ids_hold_names(void **state)
{
    char name[10];

    (void)state;
    assert_true(rdb_module_id("vectorset", 0) == UINT64_C(0xbde72da2bb1eb400));
    rdb_module_name(UINT64_C(0xbde72da2bb1eb400), name);
    assert_string_equal(name, "vectorset");
    rdb_module_name(rdb_module_id("vectra-vs", 1), name);
    assert_string_equal(name, "vectra-vs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_written_as_Redis_writes_them),
        cmocka_unit_test(numbers_are_written_like_their_texts),
        cmocka_unit_test(lengths_take_1_2_5_and_9_bytes),
        cmocka_unit_test(a_file_reads_back_whatever_its_strings),
        cmocka_unit_test(the_sum_is_that_of_all_there_is_so_far),
        cmocka_unit_test(reading_begins_anywhere_and_ends_where_told),
        cmocka_unit_test(a_full_disk_is_told_and_stays_told),
        cmocka_unit_test(every_cut_is_a_truncation),
        cmocka_unit_test(random_bytes_never_harm),
        cmocka_unit_test(what_cannot_be_is_named),
        cmocka_unit_test(a_wrong_sum_is_found_and_none_is_let_pass),
        cmocka_unit_test(module_ids_hold_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
