/* Requests: from bytes to argv, in place.
 *
 * A request is a RESP array of bulk strings or an inline line of words. The
 * parser works on the bytes where they were read and gives views into them;
 * nothing is copied, so a vector blob is quantised straight from the socket
 * buffer. It keeps its place between calls: a large request that arrives in
 * many pieces is looked at once.
 *
 * The argument array is lent by the caller (`struct resp_scratch`, one per
 * thread of connections). A parser that stops in the middle of a request keeps
 * the array it has filled and leaves the scratch empty, which then makes a new
 * one when needed; so nothing is copied then either.
 *
 * thread one; the connection's. */
#ifndef VECTRA_RESP_RESP_REQUEST_H
#define VECTRA_RESP_RESP_REQUEST_H

#include <stdbool.h>

#include "base/bytes.h"

enum {
    RESP_INLINE_MAX = 64 * 1024,
    RESP_ARGS_MAX = 2147483647,
    RESP_ARGS_MAX_NO_AUTH = 10,
    RESP_BULK_MAX_NO_AUTH = 16384,
};

struct resp_limits {
    size_t bulk_max; /* proto-max-bulk-len */
    bool authenticated;
};

struct resp_args {
    struct bytes *at;
    size_t cap;
};

struct resp_scratch {
    struct resp_args args;
};

struct resp_parser {
    struct resp_args args; /* while a request is incomplete */
    const uint8_t *base;   /* where the bytes were in the last call */
    size_t pos;            /* bytes of the request understood so far */
    size_t argc;
    int64_t args_left; /* of the array, 0 between requests */
    int64_t bulk_len;  /* of the next argument, -1 when not known */
};

struct resp_request {
    struct bytes *argv; /* valid until the next call */
    size_t argc;        /* 0 for an empty line or array: nothing to do */
    size_t consumed;    /* bytes of the request */
};

enum resp_result {
    RESP_READY,   /* one request */
    RESP_MORE,    /* the bytes end inside a request */
    RESP_INVALID, /* see `error`; the connection is to be closed */
};

void resp_scratch_init(struct resp_scratch *s);
void resp_scratch_deinit(struct resp_scratch *s);
void resp_parser_init(struct resp_parser *p);
void resp_parser_deinit(struct resp_parser *p, struct resp_scratch *s);

/* Parses one request from the start of `data`. Inline words are decoded in
 * place, so the bytes must be writable.
 *
 * in     the same request's bytes in every call until it is READY; they may
 *        have moved, and more may have been added.
 * out    RESP_READY: *out. RESP_INVALID: *error, the text after "-". */
enum resp_result resp_parse(struct resp_parser *p, struct resp_scratch *s,
                            const struct resp_limits *limits, uint8_t *data,
                            size_t len, struct resp_request *out, char *error,
                            size_t error_cap);

/* After RESP_MORE: the bytes the request will have at least, counted from its
 * start; 0 when not known. Lets the reader make room once. */
size_t resp_parser_wants(const struct resp_parser *p);

/* True between requests. */
static inline bool resp_parser_is_idle(const struct resp_parser *p)
{
    return p->args_left == 0 && p->pos == 0;
}

#endif
