/* The command line: see cmdline.h. */
#include "server/cmdline.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"

enum { VALUES_MAX = 64 };

const char cmdline_usage[] =
    "usage: vectra-server [FILE] [-] [--DIRECTIVE VALUE...]...\n"
    "\n"
    "  FILE                  a configuration file, see vectra.conf\n"
    "  -                     read directives from standard input\n"
    "  --DIRECTIVE VALUE...  a directive, overriding the file\n"
    "  -v, --version         print the version\n"
    "  -h, --help            print this\n"
    "  --dump commands       print docs/commands.md\n"
    "  --dump config         print vectra.conf with all defaults\n"
    "  --dump info           print the fields of INFO and their meanings\n"
    "\n"
    "examples:\n"
    "  vectra-server                          the defaults, port 6379\n"
    "  vectra-server /etc/vectra/vectra.conf\n"
    "  vectra-server --port 7000 --maxmemory 4gb\n"
    "  vectra-server vectra.conf --loglevel verbose\n"
    "  echo 'port 7000' | vectra-server -\n";

static bool is_option(const char *word)
{
    return strncmp(word, "--", 2) == 0 && word[2] != '\0';
}

/* What needs no configuration, when it is the first word. */
static enum err parse_action(int argc, char **argv, struct cmdline *out,
                             struct err_ctx *ctx)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0) {
        out->action = CMDLINE_VERSION;
    } else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        out->action = CMDLINE_HELP;
    } else if (strcmp(word, "--dump") == 0) {
        if (argc != 3) {
            return err_set(ctx, ERR_SYNTAX, "--dump: what?");
        }
        out->action = CMDLINE_DUMP;
        out->dump = argv[2];
    }
    return ERR_OK;
}

enum err cmdline_parse(int argc, char **argv, struct cmdline *out,
                       struct err_ctx *ctx)
{
    struct cmdline l = {.action = CMDLINE_RUN};
    enum err err = parse_action(argc, argv, &l, ctx);
    int i;

    if (err || l.action != CMDLINE_RUN) {
        *out = l;
        return err;
    }
    for (i = 1; i < argc && !is_option(argv[i]); i++) {
        if (strcmp(argv[i], "-") == 0) {
            l.from_stdin = true;
        } else if (i == 1) {
            l.file = argv[i];
        } else {
            return err_set(ctx, ERR_SYNTAX, "what is '%.64s'? See --help.",
                           argv[i]);
        }
    }
    /* As with redis-server, a "-" may also end the line. */
    if (i < argc && strcmp(argv[argc - 1], "-") == 0) {
        l.from_stdin = true;
        argc--;
    }
    l.options = argv + i;
    l.n_options = argc - i;
    *out = l;
    return ERR_OK;
}

static enum err load_stdin(struct config *c, struct err_ctx *ctx)
{
    struct buf text = BUF_INIT;
    enum err err = file_read_fd(STDIN_FILENO, "standard input", CONFIG_FILE_MAX,
                                &text, ctx);

    if (!err) {
        err =
            config_load_text(c, "standard input", buf_bytes(&text), true, ctx);
    }
    buf_deinit(&text);
    return err;
}

static enum err load_options(const struct cmdline *l, struct config *c,
                             struct err_ctx *ctx)
{
    enum err err = ERR_OK;
    int i = 0;

    while (i < l->n_options && !err) {
        struct bytes words[VALUES_MAX];
        size_t n = 0;

        words[n++] = bytes_str(l->options[i++] + 2);
        while (i < l->n_options && !is_option(l->options[i]) &&
               n < VALUES_MAX) {
            words[n++] = bytes_str(l->options[i++]);
        }
        err = config_load_words(c, words, n, ctx);
    }
    return err ? err_wrap(ctx, err, "command line") : ERR_OK;
}

/* Remembers where the file is, whatever `dir` says later. */
static enum err resolve_file(const char *path, struct config *c,
                             struct err_ctx *ctx)
{
    char absolute[PATH_MAX];

    if (!realpath(path, absolute)) {
        return err_set(ctx, ERR_NOT_FOUND, "opening %s: %s", path,
                       strerror(errno));
    }
    mem_free(c->file);
    c->file = mem_strndup(absolute, strlen(absolute));
    return ERR_OK;
}

enum err cmdline_load(const struct cmdline *l, struct config *c,
                      struct err_ctx *ctx)
{
    enum err err = ERR_OK;

    if (l->file) {
        err = resolve_file(l->file, c, ctx);
        err = err ? err : config_load_file(c, l->file, ctx);
    }
    if (!err && l->from_stdin) {
        err = load_stdin(c, ctx);
    }
    return err ? err : load_options(l, c, ctx);
}
