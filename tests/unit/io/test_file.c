/* Reading and replacing whole files. */
#include "unit/cm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/vectra-test-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void put(const char *path, const char *text)
{
    struct err_ctx ctx = {""};

    assert_int_equal(file_replace(path, bytes_str(text), &ctx), ERR_OK);
}

static void assert_content(const char *path, const char *text)
{
    struct buf b = BUF_INIT;

    assert_int_equal(file_read(path, 1 << 20, &b, NULL), ERR_OK);
    assert_int_equal(b.len, strlen(text));
    if (b.len) {
        assert_memory_equal(b.data, text, b.len);
    }
    buf_deinit(&b);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    put(in_dir("a"), "one\ntwo\n");
    assert_content(in_dir("a"), "one\ntwo\n");
    put(in_dir("a"), "");
    assert_content(in_dir("a"), "");
}

static void a_long_file_is_read_whole(void **state)
{
    char *text = malloc(100001);

    (void)state;
    memset(text, 'x', 100000);
    text[100000] = '\0';
    put(in_dir("long"), text);
    assert_content(in_dir("long"), text);
    free(text);
}

static void reading_appends(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    put(in_dir("a"), "b");
    buf_append_str(&b, "a");
    assert_int_equal(file_read(in_dir("a"), 1, &b, NULL), ERR_OK);
    assert_int_equal(b.len, 2);
    assert_memory_equal(b.data, "ab", 2);
    buf_deinit(&b);
}

static void a_file_longer_than_the_bound_is_refused(void **state)
{
    struct err_ctx ctx = {""};
    struct buf b = BUF_INIT;

    (void)state;
    put(in_dir("a"), "12345");
    assert_int_equal(file_read(in_dir("a"), 4, &b, &ctx), ERR_LIMIT);
    assert_int_equal(b.len, 0);
    assert_non_null(strstr(ctx.text, "longer than 4 bytes"));
    assert_int_equal(file_read(in_dir("a"), 5, &b, &ctx), ERR_OK);
    buf_deinit(&b);
}

static void a_missing_file_is_told_from_other_failures(void **state)
{
    struct err_ctx ctx = {""};
    struct buf b = BUF_INIT;

    (void)state;
    assert_int_equal(file_read(in_dir("none"), 4, &b, &ctx), ERR_NOT_FOUND);
    assert_non_null(strstr(ctx.text, in_dir("none")));
    assert_int_equal(file_read(dir, 4, &b, &ctx), ERR_IO);
    buf_deinit(&b);
}

static void replacing_keeps_the_mode(void **state)
{
    struct stat st;

    (void)state;
    put(in_dir("secret"), "a");
    assert_int_equal(chmod(in_dir("secret"), 0600), 0);
    put(in_dir("secret"), "b");
    assert_int_equal(stat(in_dir("secret"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void replacing_through_a_link_keeps_the_link(void **state)
{
    struct stat st;

    (void)state;
    put(in_dir("real"), "a");
    (void)unlink(in_dir("link"));
    assert_int_equal(symlink("real", in_dir("link")), 0);
    put(in_dir("link"), "b");
    assert_int_equal(lstat(in_dir("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_content(in_dir("real"), "b");
}

static void a_failed_replacement_leaves_nothing_behind(void **state)
{
    struct err_ctx ctx = {""};
    char command[128];

    (void)state;
    assert_int_equal(mkdir(in_dir("sub"), 0755), 0);
    put(in_dir("sub/x"), "keeps the directory from being replaced");
    assert_int_equal(file_replace(in_dir("sub"), bytes_str("x"), &ctx), ERR_IO);
    assert_non_null(strstr(ctx.text, "replacing"));
    assert_int_equal(
        file_replace(in_dir("no/such/place"), bytes_str("x"), &ctx), ERR_IO);
    assert_non_null(strstr(ctx.text, "creating"));
    assert_content(in_dir("sub/x"), "keeps the directory from being replaced");
    /* No temporary file beside the directory. */
    snprintf(command, sizeof(command), "ls -d %s/sub.* 2>&-", dir);
    assert_int_not_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_long_file_is_read_whole),
        cmocka_unit_test(reading_appends),
        cmocka_unit_test(a_file_longer_than_the_bound_is_refused),
        cmocka_unit_test(a_missing_file_is_told_from_other_failures),
        cmocka_unit_test(replacing_keeps_the_mode),
        cmocka_unit_test(replacing_through_a_link_keeps_the_link),
        cmocka_unit_test(a_failed_replacement_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
