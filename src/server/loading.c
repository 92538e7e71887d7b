/* Loading: see loading.h. */
#include "server/loading.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/file.h"
#include "server/server.h"

/* The first slice is before the first turn, so that what loads as fast as this
 * is there when the first client is. */
enum { SLICE_US = 5000, FIRST_SLICE_US = 20000 };

/* ---- on the other thread ----------------------------------------------- */

bool server_loading_yield(struct server *s)
{
    struct server_loading *l = &s->loading;

    if (!l->baton) {
        return true;
    }
    baton_yield_if_due(l->baton);
    return !baton_is_cancelled(l->baton);
}

struct reading {
    struct server *server;
    struct rdb_in in;
    uint64_t counted; /* offset up to which it is in loaded_bytes */
};

static void note_read(struct reading *r)
{
    uint64_t at = rdb_in_offset(&r->in);

    r->server->loading.loaded_bytes += at - r->counted;
    r->counted = at;
}

static void yield(void *arg)
{
    struct reading *r = arg;

    note_read(r);
    if (!server_loading_yield(r->server)) {
        rdb_fail(&r->in, ERR_BUSY, "the server is asked to stop");
    }
}

/* After every key. */
static void key_loaded(void *arg)
{
    struct reading *r = arg;
    int64_t delay = r->server->config.key_load_delay;

    if (delay > 0) {
        usleep((useconds_t)delay);
    }
    yield(r);
}

enum err server_load_fd(struct server *s, int fd, const char *name,
                        uint64_t offset, uint64_t left,
                        struct snapshot_load *load, uint64_t *end,
                        struct err_ctx *ctx)
{
    struct reading r = {.server = s, .counted = offset};
    time_us before = clock_mono_us();
    enum err err;

    rdb_in_open(&r.in, fd, offset, left);
    r.in.checksum = s->config.rdbchecksum;
    r.in.yield = yield;
    r.in.yield_arg = &r;
    load->tick = key_loaded;
    load->arg = &r;
    err = snapshot_read(&r.in, s->ks, load, ctx);
    note_read(&r);
    *end = rdb_in_offset(&r.in);
    rdb_in_close(&r.in);
    s->snapshots.keys_loaded = load->keys;
    s->snapshots.keys_expired = load->expired;
    if (err) {
        return err_wrap(ctx, err, "%s", name);
    }
    LOG_NOTE(PERSIST, "loaded a snapshot",
             "file=%s keys=%llu expired=%llu left-out=%llu seconds=%.3f", name,
             (unsigned long long)load->keys, (unsigned long long)load->expired,
             (unsigned long long)load->skipped,
             (double)(clock_mono_us() - before) / 1e6);
    if (load->functions > 0) {
        LOG_WARN(PERSIST, "functions were left out: Vectra has none",
                 "libraries=%llu", (unsigned long long)load->functions);
    }
    return ERR_OK;
}

enum err server_load_file(struct server *s, const char *path,
                          struct snapshot_load *load, struct err_ctx *ctx)
{
    int fd = file_open(path, O_RDONLY | O_CLOEXEC, 0);
    uint64_t end;
    enum err err;

    if (fd < 0) {
        return err_set(ctx, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s",
                       path, strerror(errno));
    }
    err = server_load_fd(s, fd, path, 0, UINT64_MAX, load, &end, ctx);
    close(fd);
    return err;
}

enum err server_load_snapshot(struct server *s, struct err_ctx *ctx)
{
    struct snapshot_load load = {
        .skip_unknown = s->config.rdb_skip_unknown_types,
    };
    struct stat st;
    enum err err;

    if (stat(s->config.dbfilename, &st) == 0) {
        s->loading.total_bytes = (uint64_t)st.st_size;
    }
    err = server_load_file(s, s->config.dbfilename, &load, ctx);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void loader_main(struct baton *b, void *arg)
{
    struct server *s = arg;
    struct server_loading *l = &s->loading;

    (void)b;
    l->err = l->body(s, &l->why);
}

/* ---- on the loop ------------------------------------------------------- */

static void end(struct server *s)
{
    baton_join(s->loading.baton);
    s->loading.baton = NULL;
    s->commands.is_loading = false;
    mem_set_limit((size_t)s->config.maxmemory);
    mem_purge(); /* what was read into */
}

static bool take_slice(struct server *s, time_us slice_us)
{
    struct server_loading *l = &s->loading;

    if (baton_run(l->baton, slice_us)) {
        return true;
    }
    end(s);
    server_loaded(s, l->err, l->why.text);
    return false;
}

enum err server_loading_begin(struct server *s,
                              enum err (*body)(struct server *s,
                                               struct err_ctx *ctx),
                              struct err_ctx *ctx)
{
    struct server_loading *l = &s->loading;

    *l = (struct server_loading){
        .body = body,
        .started_at = clock_mono_us(),
        .started_unix = clock_wall_us() / 1000000,
    };
    if (baton_start(&l->baton, "vectra-load", loader_main, s) != ERR_OK) {
        return err_set(ctx, ERR_LIMIT, "cannot start a thread to load with");
    }
    s->commands.is_loading = true;
    mem_set_limit(0);
    take_slice(s, FIRST_SLICE_US);
    loop_wake(s->loop);
    return ERR_OK;
}

bool server_loading_turn(struct server *s)
{
    return s->loading.baton && take_slice(s, SLICE_US);
}

void server_loading_stop(struct server *s)
{
    if (s->loading.baton) {
        baton_cancel(s->loading.baton);
        end(s);
    }
}
