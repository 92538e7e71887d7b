/* Configuration files: lines of directives, and what they include. */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/split.h"
#include "io/file.h"
#include "server/config_impl.h"

struct loader {
    struct config *config;
    bool includes;
    int depth;
};

static enum err load_file(struct loader *l, const char *path,
                          struct err_ctx *ctx);

/* Reads the files that a word of an include names. */
static enum err load_pattern(struct loader *l, struct bytes word,
                             struct err_ctx *ctx)
{
    char *pattern = mem_strndup(word.data, word.len);
    bool is_pattern = strpbrk(pattern, "*?[") != NULL;
    glob_t found;
    enum err err = ERR_OK;
    size_t i;
    int rc;

    if (!is_pattern) {
        err = load_file(l, pattern, ctx);
        mem_free(pattern);
        return err;
    }
    rc = glob(pattern, 0, NULL, &found);
    if (rc != 0 && rc != GLOB_NOMATCH) {
        err = err_set(ctx, ERR_IO, "cannot look for files that match %s",
                      pattern);
    }
    for (i = 0; rc == 0 && i < found.gl_pathc && !err; i++) {
        err = load_file(l, found.gl_pathv[i], ctx);
    }
    if (rc == 0) {
        globfree(&found);
    }
    mem_free(pattern);
    return err;
}

static enum err load_include(struct loader *l, const struct bytes *words,
                             size_t n, struct err_ctx *ctx)
{
    enum err err = ERR_OK;
    size_t i;

    if (n == 0) {
        return err_set(ctx, ERR_SYNTAX, "include: wrong number of arguments");
    }
    if (!l->includes) {
        return ERR_OK;
    }
    if (l->depth == CONFIG_INCLUDE_DEPTH) {
        return err_set(ctx, ERR_LIMIT, "include: files include each other");
    }
    l->depth++;
    for (i = 0; i < n && !err; i++) {
        err = load_pattern(l, words[i], ctx);
    }
    l->depth--;
    return err;
}

/* One line, split into words. Values are not repeated in errors: one of them
 * may be a password. */
static enum err load_words(struct loader *l, const struct bytes *words,
                           size_t n, struct err_ctx *ctx)
{
    const struct config_directive *d;
    enum err err;

    if (bytes_equal_fold(words[0], "include")) {
        return load_include(l, words + 1, n - 1, ctx);
    }
    d = config_find(words[0]);
    if (!d) {
        return err_set(ctx, ERR_SYNTAX,
                       "'%.*s' is not a directive that Vectra has",
                       words[0].len < 64 ? (int)words[0].len : 64,
                       (const char *)words[0].data);
    }
    if (d->type == CONFIG_SAVE && !l->config->save_given) {
        *l->config->save = '\0'; /* the first line takes the default away */
        l->config->save_given = true;
    }
    err = n == 2 ? config_parse_line(l->config, d, words[1], ctx)
                 : config_parse(l->config, d, words + 1, n - 1, ctx);
    return err ? err_wrap(ctx, err, "%s", d->name) : ERR_OK;
}

static enum err load_line(struct loader *l, struct bytes line,
                          struct err_ctx *ctx)
{
    char *copy = mem_strndup(line.data, line.len);
    size_t cap = split_words_bound(copy, line.len) + 1;
    struct bytes *words = mem_calloc(cap, sizeof(*words));
    size_t start = strspn(copy, " \t\r");
    size_t n = 0;
    enum err err = ERR_OK;

    if (copy[start] != '#' && start < line.len) {
        err = split_words(copy, line.len, words, cap, &n);
        if (err) {
            err = err_set(ctx, err, "Unbalanced quotes in configuration line");
        } else if (n > 0) {
            err = load_words(l, words, n, ctx);
        }
    }
    mem_free(words);
    mem_free(copy);
    return err;
}

static enum err load_text(struct loader *l, const char *name, struct bytes text,
                          struct err_ctx *ctx)
{
    enum err err = ERR_OK;
    int number = 0;

    while (text.len > 0 && !err) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;

        number++;
        err = load_line(l, bytes_of(text.data, len), ctx);
        len += end != NULL;
        text = bytes_of(text.data + len, text.len - len);
    }
    return err ? err_wrap(ctx, err, "%s line %d", name, number) : ERR_OK;
}

static enum err load_file(struct loader *l, const char *path,
                          struct err_ctx *ctx)
{
    struct buf text = BUF_INIT;
    enum err err = file_read(path, CONFIG_FILE_MAX, &text, ctx);

    if (!err) {
        err = load_text(l, path, buf_bytes(&text), ctx);
    }
    buf_deinit(&text);
    return err;
}

enum err config_load_text(struct config *c, const char *name, struct bytes text,
                          bool includes, struct err_ctx *ctx)
{
    struct loader l = {.config = c, .includes = includes};

    return load_text(&l, name, text, ctx);
}

enum err config_load_words(struct config *c, const struct bytes *words,
                           size_t n, struct err_ctx *ctx)
{
    struct loader l = {.config = c, .includes = true};

    return load_words(&l, words, n, ctx);
}

enum err config_load_file(struct config *c, const char *path,
                          struct err_ctx *ctx)
{
    struct loader l = {.config = c, .includes = true};

    return load_file(&l, path, ctx);
}
