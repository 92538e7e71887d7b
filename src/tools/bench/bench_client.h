/* One connection to a server: made, introduced, and asked one thing at a time.
 *
 * The load itself runs over connections opened here and then driven without
 * blocking (bench_engine.h); a client proper serves for what is asked before
 * and after: INFO, MEMORY USAGE, VCREATE. */
#ifndef VECTRA_TOOLS_BENCH_CLIENT_H
#define VECTRA_TOOLS_BENCH_CLIENT_H

#include "base/buf.h"
#include "resp/resp_reply.h"

struct bench_address {
    const char *host;
    int port;
    const char *socket_path; /* instead of host and port; NULL: none */
    const char *user;        /* NULL: the default user */
    const char *password;    /* NULL: no AUTH */
    unsigned db;
    bool resp3;
    int timeout_ms; /* for connecting and for each reply; 0: none */
};

enum {
    BENCH_REPLY_TEXT_MAX = 512 * 1024 * 1024,
    BENCH_REPLY_NODES_MAX = 1 << 24,
};

struct bench_client {
    int fd;
    int timeout_ms;
    struct buf out;
    struct buf in;    /* the reply last returned, then what follows it */
    size_t reply_len; /* of that reply */
    struct resp_reply_parser parser;
};

/* Connects and says what the address asks for: HELLO 3, AUTH, SELECT.
 *
 * owns   caller; bench_client_close().
 * fails  ERR_IO, ERR_TIMEOUT; ERR_UNSUPPORTED when the server refuses. */
enum err bench_client_open(const struct bench_address *a,
                           struct bench_client *out,
                           struct err_ctx *ctx) MUST_USE;
void bench_client_close(struct bench_client *c);

/* Sends the words of a line (split as redis-cli does) and waits for the reply.
 *
 * out    *reply: in the client until the next call; bench_client_text() gives
 *        its text. An error reply is a reply.
 * fails  ERR_IO, ERR_TIMEOUT, ERR_CORRUPT: the connection is of no use then. */
enum err bench_client_ask(struct bench_client *c, const char *line,
                          const struct resp_reply **reply,
                          struct err_ctx *ctx) MUST_USE;

/* The same with arguments that need no splitting. */
enum err bench_client_ask_args(struct bench_client *c, const struct bytes *args,
                               size_t n, const struct resp_reply **reply,
                               struct err_ctx *ctx) MUST_USE;

/* The same with a request that is RESP already. */
enum err bench_client_ask_raw(struct bench_client *c, struct bytes request,
                              const struct resp_reply **reply,
                              struct err_ctx *ctx) MUST_USE;

struct bytes bench_client_text(const struct bench_client *c,
                               const struct resp_reply *node);

/* "127.0.0.1:6379", or the socket's path. */
const char *bench_address_text(const struct bench_address *a, char *out,
                               size_t cap);

#endif
