/* Replies: RESP2 and RESP3 written into a buffer.
 *
 * One set of functions for both protocols: what RESP2 lacks is written as its
 * clients expect it (a map as a flat array, a double as a bulk string, a
 * boolean as 0 or 1). A nested reply is its header followed by its members, so
 * members may be written one after the other, and even arrive later. */
#ifndef VECTRA_RESP_RESP_WRITE_H
#define VECTRA_RESP_RESP_WRITE_H

#include <stdbool.h>

#include "base/buf.h"

struct reply {
    struct buf *out;
    int proto; /* 2 or 3 */
};

void reply_status(struct reply *r, const char *text);
/* `text` includes the code: "ERR syntax error". Line ends become blanks. */
void reply_error(struct reply *r, const char *text);
void reply_error_fmt(struct reply *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void reply_int(struct reply *r, int64_t value);
void reply_bulk(struct reply *r, struct bytes text);
void reply_bulk_str(struct reply *r, const char *text);
void reply_verbatim(struct reply *r, struct bytes text); /* "txt" */
void reply_null(struct reply *r);                        /* $-1 or _ */
void reply_null_array(struct reply *r);                  /* *-1 or _ */
void reply_bool(struct reply *r, bool value);
void reply_double(struct reply *r, double value);
void reply_array(struct reply *r, size_t n);
void reply_map(struct reply *r, size_t n_pairs);
void reply_set(struct reply *r, size_t n);

/* A bulk string holding a number, as MGET and INCRBYFLOAT answer. */
void reply_bulk_int(struct reply *r, int64_t value);

#endif
