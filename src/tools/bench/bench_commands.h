/* The built-in commands: what each mode sends to which kind of server, as
 * templates. */
#ifndef VECTRA_TOOLS_BENCH_COMMANDS_H
#define VECTRA_TOOLS_BENCH_COMMANDS_H

#include "tools/bench/bench_options.h"

struct bench_commands {
    char *request; /* of the mode; in mixed the search */
    char *write;   /* in mixed the insertion, else NULL */
    char *exact;   /* the search made exact; NULL without a built-in search */
    char *create;  /* what makes the set first, or NULL */
};

/* The commands for these options, with {ef} where `with_ef` says so.
 *
 * owns   caller; bench_commands_deinit(). */
void bench_commands_init(const struct bench_options *o, bool with_ef,
                         struct bench_commands *out);
void bench_commands_deinit(struct bench_commands *c);

#endif
