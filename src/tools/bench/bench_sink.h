/* A server that answers +OK to every request without looking at it: the most
 * that any server could do, and so the measure of the load generator itself.
 *
 * It reads requests as far as finding their ends takes, one thread, TCP on the
 * loopback or a local socket. */
#ifndef VECTRA_TOOLS_BENCH_SINK_H
#define VECTRA_TOOLS_BENCH_SINK_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/err.h"

struct bench_sink;

/* Listens on 127.0.0.1 at a port (0: any) or on a local socket, whose path then
 * must not exist.
 *
 * owns   caller; bench_sink_close().
 * fails  ERR_IO. */
enum err bench_sink_open(const char *socket_path, int port,
                         struct bench_sink **out, struct err_ctx *ctx) MUST_USE;
void bench_sink_close(struct bench_sink *s);

int bench_sink_port(const struct bench_sink *s);

/* What requests are answered with, "+OK\r\n" if not said. The text must outlive
 * the sink. A reply_limit not 0 makes it close a connection after so many. */
void bench_sink_answer(struct bench_sink *s, struct bytes reply,
                       uint64_t reply_limit);

/* Serves until *stop is true. */
void bench_sink_serve(struct bench_sink *s, const _Atomic bool *stop);

/* Requests answered; after bench_sink_serve() has returned. */
uint64_t bench_sink_answered(const struct bench_sink *s);

#endif
