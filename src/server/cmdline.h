/* The command line of vectra-server, as redis-server's:
 *
 *     vectra-server [FILE] [-] [--directive value...]...
 *
 * FILE is read first, then standard input where there is a "-", then the
 * directives; later ones override. */
#ifndef VECTRA_SERVER_CMDLINE_H
#define VECTRA_SERVER_CMDLINE_H

#include "server/config.h"

enum cmdline_action {
    CMDLINE_RUN,
    CMDLINE_HELP,
    CMDLINE_VERSION,
    CMDLINE_DUMP,
};

struct cmdline {
    enum cmdline_action action;
    const char *file; /* NULL: none */
    const char *dump; /* what to dump */
    bool from_stdin;
    char **options; /* from the first --directive on */
    int n_options;
};

/* fails  ERR_SYNTAX for a word that has no place. */
enum err cmdline_parse(int argc, char **argv, struct cmdline *out,
                       struct err_ctx *ctx) MUST_USE;

/* Reads what the command line names into an initialised configuration.
 *
 * fails  as config_load_file(). */
enum err cmdline_load(const struct cmdline *l, struct config *c,
                      struct err_ctx *ctx) MUST_USE;

/* The text of --help. */
extern const char cmdline_usage[];

#endif
