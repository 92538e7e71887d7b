/* Loading at the start: on a thread of its own, in lock step with the loop
 * (base/baton.h), so that clients are answered meanwhile: LOADING, mostly.
 *
 * thread loop, but for what says otherwise. */
#ifndef VECTRA_SERVER_LOADING_H
#define VECTRA_SERVER_LOADING_H

#include "base/baton.h"
#include "db/snapshot.h"

struct server;

struct server_loading {
    struct baton *baton; /* NULL: nothing is being loaded, or not in slices */
    enum err (*body)(struct server *s, struct err_ctx *ctx);
    time_us started_at; /* monotonic */
    int64_t started_unix;
    /* Who holds the baton: */
    uint64_t total_bytes, loaded_bytes; /* of all files */
    enum err err;
    struct err_ctx why;
};

/* Has body(s) load, from the next turns of the loop on, in slices. Until it has
 * come to its end commands that need data are answered LOADING, and maxmemory
 * does not hold. When it fails, server_run() ends and server_failed() tells.
 *
 * fails  ERR_LIMIT when there is no thread to be had. */
enum err server_loading_begin(struct server *s,
                              enum err (*body)(struct server *s,
                                               struct err_ctx *ctx),
                              struct err_ctx *ctx) MUST_USE;

/* A slice; true when there is more to load. */
bool server_loading_turn(struct server *s);

/* Gives up what is being loaded. */
void server_loading_stop(struct server *s);

/* A body: loads dbfilename, if there is one. thread body. */
enum err server_load_snapshot(struct server *s, struct err_ctx *ctx) MUST_USE;

/* For bodies, and on the loop where nobody waits: loads the snapshot in a file;
 * or from a descriptor, which stands at `offset` and has `left` more bytes
 * (UINT64_MAX: what the file has), of which it reads up to the end of the
 * snapshot, *end tells where. The words of errors name the file.
 *
 * fails  as snapshot_read(); ERR_NOT_FOUND. */
enum err server_load_file(struct server *s, const char *path,
                          struct snapshot_load *load,
                          struct err_ctx *ctx) MUST_USE;
enum err server_load_fd(struct server *s, int fd, const char *name,
                        uint64_t offset, uint64_t left,
                        struct snapshot_load *load, uint64_t *end,
                        struct err_ctx *ctx) MUST_USE;

/* For bodies that read something else: lets the loop have a turn when it is due
 * one. False when the server is to stop: the body returns. */
bool server_loading_yield(struct server *s);

#endif
