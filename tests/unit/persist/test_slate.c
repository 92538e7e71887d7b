/* The log's slate: what was put on it last is found, whole and in order, and
 * nothing else is. */
#include "unit/cm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "persist/aof_slate.h"

static char dir[64];
static char path[80];
static struct aof_slate_file slate;
static size_t used;

static int setup(void **state)
{
    struct err_ctx why = {""};

    (void)state;
    strcpy(dir, "/tmp/vectra-slate-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/slate", dir);
    assert_int_equal(aof_slate_create(&slate, path, &why), ERR_OK);
    used = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    aof_slate_close(&slate);
    unlink(path);
    return rmdir(dir);
}

/* The stream at an LSN, so that what is read tells where it comes from. */
static uint8_t byte_at(uint64_t lsn)
{
    return (uint8_t)(lsn * 0x9e3779b97f4a7c15U >> 56);
}

static enum err put(const char *name, uint64_t lsn, size_t len)
{
    struct buf bytes = BUF_INIT;
    enum err err;
    size_t i;

    for (i = 0; i < len; i++) {
        buf_append_byte(&bytes, byte_at(lsn + i));
    }
    err = aof_slate_put(&slate, name, lsn, buf_bytes(&bytes), &used);
    buf_deinit(&bytes);
    return err;
}

/* How much of the stream is there from `lsn` on. */
static size_t found(const char *name, uint64_t lsn)
{
    struct buf out = BUF_INIT;
    size_t i, n;

    aof_slate_read(path, name, lsn, &out);
    for (i = 0; i < out.len; i++) {
        assert_int_equal(out.data[i], byte_at(lsn + i));
    }
    n = out.len;
    buf_deinit(&out);
    return n;
}

static void flip(off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void what_was_put_there_is_found(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, AOF_SLATE_SIZE);
    assert_int_equal(found("a", 0), 0);
    assert_int_equal(put("a", 1000, 500), ERR_OK);
    assert_int_equal(put("a", 1500, 1), ERR_OK);
    assert_int_equal(put("a", 1501, 70000), ERR_OK);
    assert_int_equal(found("a", 1000), 70501);
    assert_int_equal(found("a", 1200), 70301); /* within a frame */
    assert_int_equal(found("a", 1500), 70001);
    assert_int_equal(found("a", 71500), 1);
    assert_int_equal(found("a", 71501), 0);
    assert_int_equal(found("a", 80000), 0);
    assert_int_equal(found("a", 999), 0); /* not what comes next */
}

static void only_its_own_increment_s_is_taken(void **state)
{
    struct err_ctx why;
    struct buf out = BUF_INIT;

    (void)state;
    assert_int_equal(put("a", 0, 100), ERR_OK);
    assert_int_equal(put("b", 100, 100), ERR_OK);
    assert_int_equal(found("a", 0), 100);
    assert_int_equal(found("b", 0), 0);
    assert_int_equal(found("b", 100), 100);
    aof_slate_read("/tmp/vectra-no-such-file", "a", 0, &out);
    assert_int_equal(out.len, 0);
    /* Another key: what is left of the old file counts for nothing. */
    aof_slate_close(&slate);
    assert_int_equal(aof_slate_create(&slate, path, &why), ERR_OK);
    assert_int_equal(found("a", 0), 0);
}

static void a_gap_ends_it(void **state)
{
    (void)state;
    assert_int_equal(put("a", 0, 100), ERR_OK);
    assert_int_equal(put("a", 110, 100), ERR_OK);
    assert_int_equal(found("a", 0), 100);
    assert_int_equal(found("a", 105), 0);
    assert_int_equal(found("a", 110), 100);
}

static void what_is_cut_off_is_gone(void **state)
{
    struct err_ctx why;

    (void)state;
    assert_int_equal(put("a", 0, 100), ERR_OK);
    assert_int_equal(put("a", 100, 5000), ERR_OK);
    assert_int_equal(put("a", 5100, 10), ERR_OK);
    assert_int_equal(put("b", 100, 30), ERR_OK);
    assert_int_equal(aof_slate_cut(path, "a", 5110, &why), ERR_OK);
    assert_int_equal(found("a", 0), 5110);
    assert_int_equal(aof_slate_cut(path, "a", 5109, &why), ERR_OK);
    assert_int_equal(found("a", 0), 5100);
    assert_int_equal(aof_slate_cut(path, "a", 5000, &why), ERR_OK);
    assert_int_equal(found("a", 0), 100);
    assert_int_equal(found("a", 5100), 0);
    assert_int_equal(found("b", 100), 30);
    assert_int_equal(aof_slate_cut("/tmp/vectra-no-such-file", "a", 0, &why),
                     ERR_OK);
}

static void damage_ends_it(void **state)
{
    (void)state;
    assert_int_equal(put("a", 0, 100), ERR_OK);   /* at 64 */
    assert_int_equal(put("a", 100, 100), ERR_OK); /* at 192 */
    flip(192 + 24 + 50);
    assert_int_equal(found("a", 0), 100);
    flip(192 + 24 + 50);
    assert_int_equal(found("a", 0), 200);
    flip(192 + 9); /* its LSN */
    assert_int_equal(found("a", 0), 100);
    flip(64);
    assert_int_equal(found("a", 0), 0);
    flip(64);
    flip(17); /* the key */
    assert_int_equal(found("a", 0), 0);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(found("a", 0), 0);
}

static void what_is_needed_is_not_written_over(void **state)
{
    uint64_t end = 0;

    (void)state;
    while (put("a", end, 100000) == ERR_OK) {
        end += 100000;
    }
    assert_in_range(end, 1900000, AOF_SLATE_SIZE);
    assert_int_equal(put("a", end, 100000), ERR_LIMIT);
    assert_int_equal(found("a", 0), end);
    assert_int_equal(put("a", end, AOF_SLATE_SIZE), ERR_LIMIT);
    assert_int_equal(found("a", 0), end);
}

/* The log has the first frame; another is put in its place when it fits there,
 * and the end of the file that it does not fit into is no help. */
static void what_is_needed_is_not_written_over_in_the_next_lap(void **state)
{
    enum { FIRST = 50000, LEFT = 45000 };
    uint64_t end = FIRST;
    size_t first;

    (void)state;
    assert_int_equal(put("a", 0, FIRST), ERR_OK);
    first = used;
    while (AOF_SLATE_SIZE - used > LEFT) {
        assert_int_equal(put("a", end, 9000), ERR_OK);
        end += 9000;
    }
    used -= first;
    assert_int_equal(put("a", end, FIRST + 10000), ERR_LIMIT);
    assert_int_equal(found("a", FIRST), end - FIRST);
    assert_int_equal(put("a", end, LEFT), ERR_OK);
    end += LEFT;
    assert_int_equal(found("a", FIRST), end - FIRST);
}

/* Laps of frames of all lengths. The log takes what there was when a sync
 * began, and has it when the sync has ended; what came meanwhile is needed
 * longer. */
static void laps_leave_what_is_not_taken(void **state)
{
    struct rng rng;
    uint64_t taken = 0, sync_to = 0, end = 0;
    size_t gathered = 0; /* since the sync began */
    bool syncs = false;
    int i, full = 0;

    (void)state;
    rng_seed(&rng, 7);
    for (i = 0; i < 6000; i++) {
        size_t len = 1 + rng_below(&rng, i % 50 == 0 ? 300000 : 9000);
        size_t before = used;
        bool fits = put("a", end, len) == ERR_OK;

        end += fits ? len : 0;
        gathered += used - before;
        full += !fits;
        if (!fits || rng_below(&rng, 250) == 0) {
            assert_int_equal(found("a", taken), end - taken);
            if (syncs) {
                taken = sync_to;
                used = gathered;
            } else {
                sync_to = end;
                gathered = 0;
            }
            syncs = !syncs;
        }
    }
    assert_true(full > 20);
    assert_true(end > 8 * (uint64_t)AOF_SLATE_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_there_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_its_own_increment_s_is_taken,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_gap_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_off_is_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_needed_is_not_written_over,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_needed_is_not_written_over_in_the_next_lap, setup,
            teardown),
        cmocka_unit_test_setup_teardown(laps_leave_what_is_not_taken, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
