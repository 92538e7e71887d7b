/* Batches that pass the kernel's cache by, beside a twin that does not:
 * whatever the disk does to them, the file is the twin's, and only what fills
 * blocks takes the other way. */
#include "unit/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/file.h"
#include "persist/aof_write.h"

enum { LONGEST = AOF_ROOM + 5 * AOF_BLOCK, ROUNDS = 15, BATCHES = 12 };

static char dir[64];
static uint8_t *bytes; /* LONGEST of them */
static uint8_t *room;

/* What write() does to the watched descriptor. */
static struct {
    int fd;
    struct rng *rng;
    unsigned shorten, interrupt, fail; /* of 100 calls; one that fails fails */
    int error;                         /* as often as it is tried, with this */
    bool failing;
    int refusal; /* errno of a write past the cache */
    size_t past; /* bytes that went so */
} disk = {.fd = -1};

static bool happens(unsigned of_100)
{
    return of_100 && rng_below(disk.rng, 100) < of_100;
}

static ssize_t write_past(const void *data, size_t len, size_t whole)
{
    ssize_t done;

    assert_int_equal((uintptr_t)data % AOF_BLOCK, 0);
    assert_int_equal(whole % AOF_BLOCK, 0);
    assert_int_equal(lseek(disk.fd, 0, SEEK_END) % AOF_BLOCK, 0);
    if (disk.refusal) {
        errno = disk.refusal;
        return -1;
    }
    /* Less than it was asked for is not what a disk takes of us. */
    assert_int_equal(fcntl(disk.fd, F_SETFL, O_APPEND), 0);
    done = syscall(SYS_write, disk.fd, data, len);
    assert_int_equal(fcntl(disk.fd, F_SETFL, O_APPEND | O_DIRECT), 0);
    disk.past += done > 0 ? (size_t)done : 0;
    return done;
}

ssize_t write(int fd, const void *data, size_t len)
{
    size_t whole = len;

    if (fd < 0 || fd != disk.fd) {
        return syscall(SYS_write, fd, data, len);
    }
    if (happens(disk.interrupt)) {
        errno = EINTR;
        return -1;
    }
    disk.failing = disk.failing || happens(disk.fail);
    if (disk.failing) {
        errno = disk.error;
        return -1;
    }
    if (happens(disk.shorten)) {
        len = 1 + rng_below(disk.rng, len);
    }
    if (fcntl(fd, F_GETFL) & O_DIRECT) {
        return write_past(data, len, whole);
    }
    return syscall(SYS_write, fd, data, len);
}

/* Takes the first piece that is not empty. */
ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (fd < 0 || fd != disk.fd) {
        return syscall(SYS_writev, fd, v, n);
    }
    while (n > 1 && v->iov_len == 0) {
        v++;
        n--;
    }
    return write(fd, v->iov_base, v->iov_len);
}

/* ---- two files --------------------------------------------------------- */

static int setup(void **state)
{
    struct rng rng;
    size_t i;

    (void)state;
    strcpy(dir, "/tmp/vectra-direct-XXXXXX");
    assert_non_null(mkdtemp(dir));
    room = mem_calloc_aligned(AOF_ROOM, AOF_BLOCK);
    bytes = mem_alloc(LONGEST);
    rng_seed(&rng, 7);
    for (i = 0; i < LONGEST; i++) {
        bytes[i] = (uint8_t)rng_next(&rng);
    }
    return 0;
}

static void path_of(const char *name, char out[96])
{
    snprintf(out, 96, "%s/%s", dir, name);
}

static int teardown(void **state)
{
    char path[96];

    (void)state;
    path_of("log", path);
    unlink(path);
    path_of("twin", path);
    unlink(path);
    mem_free(bytes);
    mem_free(room);
    return rmdir(dir);
}

static struct aof_file make(const char *name)
{
    struct aof_file f;
    struct err_ctx why;
    char path[96];

    path_of(name, path);
    assert_int_equal(aof_file_create(&f, path, &why), ERR_OK);
    return f;
}

static void assert_same(const struct aof_file *f, const struct aof_file *twin)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    struct err_ctx why;
    char path[96];

    path_of("log", path);
    assert_int_equal(file_read(path, SIZE_MAX / 2, &a, &why), ERR_OK);
    path_of("twin", path);
    assert_int_equal(file_read(path, SIZE_MAX / 2, &b, &why), ERR_OK);
    assert_int_equal(f->size, twin->size);
    assert_int_equal(f->lsn, twin->lsn);
    assert_int_equal(f->last_ts, twin->last_ts);
    assert_int_equal(a.len, f->size);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(fcntl(f->fd, F_GETFL) & (O_APPEND | O_DIRECT), O_APPEND);
    buf_deinit(&a);
    buf_deinit(&b);
}

/* Little, about a block, about what there is room for. */
static size_t some_length(struct rng *rng)
{
    static const size_t about[] = {0, AOF_BLOCK, 3 * AOF_BLOCK, AOF_ROOM};
    size_t base = about[rng_below(rng, ARRAY_LEN(about))];

    return base ? base - 200 + rng_below(rng, 400) : rng_below(rng, LONGEST);
}

static struct aof_batch some_batch(struct rng *rng, uint64_t lsn)
{
    size_t len = some_length(rng);

    return (struct aof_batch){
        .stream = bytes_of(bytes + rng_below(rng, LONGEST - len + 1), len),
        .end = lsn + len,
        .synced = rng_below(rng, lsn + 1),
        .unix_s = (int64_t)rng_below(rng, 3),
        .room = rng_below(rng, 4) ? room : NULL};
}

static void append_both(struct aof_file *f, struct aof_file *twin,
                        struct aof_batch b)
{
    struct err_ctx why;
    int error = 0;

    if (aof_file_append(f, &b, &error, &why) == ERR_OK) {
        b.room = NULL;
        assert_int_equal(aof_file_append(twin, &b, &error, &why), ERR_OK);
        return;
    }
    assert_true(disk.failing);
    assert_int_equal(error, disk.error);
    disk.failing = false;
}

static void a_round(struct rng *rng)
{
    struct aof_file f = make("log"), twin = make("twin");
    int i;

    disk.fd = f.fd;
    for (i = 0; i < BATCHES; i++) {
        append_both(&f, &twin, some_batch(rng, f.lsn));
        assert_same(&f, &twin);
    }
    disk.fd = -1;
    aof_file_close(&f);
    aof_file_close(&twin);
}

static void rounds(uint64_t seed)
{
    struct rng rng;
    int i;

    rng_seed(&rng, seed);
    disk.rng = &rng;
    disk.past = 0;
    for (i = 0; i < ROUNDS; i++) {
        a_round(&rng);
    }
    disk.shorten = disk.interrupt = disk.fail = 0;
    disk.refusal = 0;
}

/* ---- tests ------------------------------------------------------------- */

/* Whether the file system of this test knows of it at all. */
static bool is_known(void)
{
    struct aof_file f = make("log");
    bool known = fcntl(f.fd, F_SETFL, O_APPEND | O_DIRECT) == 0;

    aof_file_close(&f);
    return known;
}

static void the_file_is_the_twins(void **state)
{
    (void)state;
    rounds(1);
    if (is_known()) {
        assert_true(disk.past > AOF_ROOM);
    }
}

static void a_disk_takes_what_it_likes(void **state)
{
    (void)state;
    disk.shorten = disk.interrupt = 30;
    rounds(2);
}

static void what_failed_is_cut_off(void **state)
{
    (void)state;
    disk.shorten = 30;
    disk.fail = 10;
    disk.error = ENOSPC;
    rounds(3);
    disk.shorten = 30;
    disk.fail = 10;
    disk.error = EIO;
    rounds(4);
}

static void who_refuses_gets_all_through_the_cache(void **state)
{
    static const int refusals[] = {EINVAL, EOPNOTSUPP};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(refusals); i++) {
        disk.refusal = refusals[i];
        disk.shorten = 20;
        rounds(5);
        assert_int_equal(disk.past, 0);
    }
}

/* A refusal is not asked for again; EINVAL of what went the usual way is a
 * failure. */
static void a_refusal_is_remembered(void **state)
{
    struct aof_file f = make("log");
    struct aof_batch b = {.stream = bytes_of(bytes, 3 * AOF_BLOCK),
                          .end = 3 * AOF_BLOCK,
                          .synced = AOF_NOT_SYNCED,
                          .room = room};
    struct rng rng;
    struct err_ctx why;
    int error = 0;

    (void)state;
    rng_seed(&rng, 6);
    disk.rng = &rng;
    disk.fd = f.fd;
    disk.refusal = EINVAL;
    assert_int_equal(aof_file_append(&f, &b, &error, &why), ERR_OK);
    assert_true(f.is_cached);
    disk.refusal = 0;
    disk.failing = true;
    disk.error = EINVAL;
    b.end = 6 * AOF_BLOCK;
    assert_int_equal(aof_file_append(&f, &b, &error, &why), ERR_IO);
    assert_int_equal(error, EINVAL);
    disk.failing = false;
    assert_int_equal(aof_file_append(&f, &b, &error, &why), ERR_OK);
    assert_int_equal(f.lsn, 6 * AOF_BLOCK);
    disk.fd = -1;
    aof_file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_is_the_twins, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_takes_what_it_likes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_failed_is_cut_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_refuses_gets_all_through_the_cache,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_remembered, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
