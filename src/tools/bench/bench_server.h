/* What a server says about itself, before and after a run. Every field may be
 * missing: any RESP server can be driven, and few know all of them. */
#ifndef VECTRA_TOOLS_BENCH_SERVER_H
#define VECTRA_TOOLS_BENCH_SERVER_H

#include "tools/bench/bench_client.h"

/* Unknown values are NaN. */
struct bench_server_facts {
    double used_memory; /* bytes */
    double rss;         /* bytes */
    double cpu_s;       /* user and system, since it started */
    double key_bytes;   /* MEMORY USAGE key SAMPLES 0 */
    double card;        /* VCARD key */
};

/* A number of INFO: the value of the line "field:value", NaN when there is
 * none. */
double bench_server_info_field(struct bytes info, const char *field);

/* Asks for all of it.
 *
 * fails  only when the connection does. */
enum err bench_server_facts_read(struct bench_client *c, const char *key,
                                 struct bench_server_facts *out,
                                 struct err_ctx *ctx) MUST_USE;

/* "Redis 8.0.6", "Vectra 0.1.0", or "" when INFO does not say. */
enum err bench_server_name(struct bench_client *c, char *out, size_t cap,
                           struct err_ctx *ctx) MUST_USE;

/* Waits until the set's index has taken in all elements, that is until VINFO's
 * pending-index is 0 or not there. *seconds: how long that took. */
enum err bench_server_settle(struct bench_client *c, const char *key,
                             double *seconds, struct err_ctx *ctx) MUST_USE;

#endif
