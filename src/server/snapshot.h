/* Snapshots as the server makes them: SAVE, BGSAVE, save points, SHUTDOWN, and
 * what INFO tells about them. db/snapshot.h says what is in one, child.h how it
 * is written beside the server.
 *
 * thread loop only. */
#ifndef VECTRA_SERVER_SNAPSHOT_H
#define VECTRA_SERVER_SNAPSHOT_H

#include <stdbool.h>
#include <time.h>

#include "base/err.h"
#include "cmd/cmd_host.h"

struct server;
struct snapshot_load;

enum { SAVE_POINTS_MAX = 32 };

/* Save when that much time has passed with that many changes. */
struct save_point {
    int64_t seconds;
    int64_t changes;
};

struct server_snapshots {
    struct save_point points[SAVE_POINTS_MAX];
    int n_points;
    uint64_t saved_changes; /* of the keyspace's, that the last one holds */
    uint64_t going_changes; /* those that the one under way will */
    int64_t last_save;      /* Unix time of the last that succeeded */
    time_us last_try_at;    /* monotonic */
    bool last_ok;
    bool is_scheduled; /* as soon as no other child is at work */
    int64_t last_took_s;
    uint64_t n_saves;
    size_t last_cow_bytes;
    uint64_t keys_loaded, keys_expired; /* by the last load */
};

void server_snapshot_init(struct server *s);

/* The directives have changed. */
void server_snapshot_apply(struct server *s);

/* hz times a second: save points, retries. */
void server_snapshot_cron(struct server *s);

/* Changes that no snapshot holds. */
uint64_t server_snapshot_changes(const struct server *s);

/* Writes one here and now.
 *
 * cost   the loop stands still.
 * fails  ERR_BUSY while a child writes one; with words in ctx. */
enum err server_snapshot_save(struct server *s, struct err_ctx *ctx) MUST_USE;

/* Has a child write one. fails  with words in ctx. */
enum err server_snapshot_begin(struct server *s, struct err_ctx *ctx) MUST_USE;

/* What the commands ask for, see cmd/cmd_host.h. */
const char *server_save(void *server);
const char *server_bgsave(void *server, bool schedule);
int64_t server_lastsave(void *server);
void server_flushed(void *server);
const char *server_debug_reload(void *server, uint32_t flags);

#endif
