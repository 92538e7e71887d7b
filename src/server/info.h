/* INFO: what the server tells about itself.
 *
 * stats.def names every section and field once, with the expression that gives
 * its value and a sentence about it. A field is there only if its number is
 * true: what is not known is left out, and what does not exist here (replicas)
 * is 0 or "no" where clients ask for it.
 *
 * thread loop only. */
#ifndef VECTRA_SERVER_INFO_H
#define VECTRA_SERVER_INFO_H

#include "base/buf.h"

/* Appends the sections asked for, each once, in the order of stats.def; without
 * any those of "default". `server` is a struct server. Some tens of
 * microseconds. */
void info_write(void *server, const struct bytes *sections, size_t n,
                struct buf *out);

/* The fields and their meanings, as a table in Markdown. */
void info_dump(struct buf *out);

#endif
