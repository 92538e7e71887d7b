/* Fuzzing configuration files: the input up to the first NUL byte is a file,
 * the rest are changes made since. Includes are not followed.
 *
 * Checked besides memory: when both are configurations, CONFIG REWRITE's file
 * says what holds then, is a configuration, and does not change when it is
 * rewritten again; and every value survives being printed as a line. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_same(const struct config *a, const struct config *b)
{
    const struct config_directive *d;
    size_t i;

    for (i = 0; (d = config_at(i)); i++) {
        ASSERT(config_equal(a, b, d));
    }
}

static void load(struct config *c, const struct buf *text)
{
    ASSERT(config_load_text(c, "lines", buf_bytes(text), false, NULL) ==
           ERR_OK);
}

static void check_lines(const struct config *c)
{
    const struct config_directive *d;
    struct buf lines = BUF_INIT;
    struct config again;
    size_t i;

    config_init(&again);
    for (i = 0; (d = config_at(i)); i++) {
        config_print_lines(c, d, &lines);
    }
    load(&again, &lines);
    assert_same(c, &again);
    config_deinit(&again);
    buf_deinit(&lines);
}

static void check_rewrite(const struct config *c, struct bytes old)
{
    struct buf once = BUF_INIT;
    struct buf twice = BUF_INIT;
    struct config again;

    ASSERT(config_rewrite_text(c, old, false, &once, NULL) == ERR_OK);
    config_init(&again);
    load(&again, &once);
    assert_same(c, &again);
    ASSERT(config_rewrite_text(c, buf_bytes(&once), false, &twice, NULL) ==
           ERR_OK);
    ASSERT(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    config_deinit(&again);
    buf_deinit(&once);
    buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t at = nul ? (size_t)(nul - data) : size;
    struct err_ctx ctx = {""};
    struct config c;

    config_init(&c);
    if (config_load_text(&c, "file", bytes_of(data, at), false, &ctx) ==
            ERR_OK &&
        config_load_text(
            &c, "changes",
            bytes_of(data + at + (nul != NULL), size - at - (nul != NULL)),
            false, &ctx) == ERR_OK) {
        check_lines(&c);
        check_rewrite(&c, bytes_of(data, at));
    } else {
        ASSERT(ctx.text[0] != '\0');
    }
    config_deinit(&c);
    return 0;
}
