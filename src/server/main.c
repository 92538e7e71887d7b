/* vectra-server: from the command line to a running server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/command_docs.h"
#include "server/cmdline.h"
#include "server/daemon.h"
#include "server/info.h"
#include "server/server.h"
#include "vec/vec.h"

#define PIDFILE_DEFAULT "/var/run/vectra.pid"

/* ---- what is printed --------------------------------------------------- */

static const struct {
    const char *name;
    void (*print)(struct buf *out);
} dumps[] = {
    {"commands", command_docs_write},
    {"config", config_dump},
    {"info", info_dump},
};

static int print_buf(struct buf *b)
{
    bool ok = fwrite(b->data, 1, b->len, stdout) == b->len;

    buf_deinit(b);
    return ok && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int dump(const char *what)
{
    struct buf out = BUF_INIT;
    size_t i;

    for (i = 0; i < ARRAY_LEN(dumps); i++) {
        if (strcmp(what, dumps[i].name) == 0) {
            dumps[i].print(&out);
            return print_buf(&out);
        }
    }
    fprintf(stderr, "vectra-server: there is no '%s' to dump\n", what);
    return EXIT_FAILURE;
}

static int print_version(void)
{
    struct buf out = BUF_INIT;

    buf_printf(&out, "Vectra server v=%s redis=%s malloc=%s bits=%d\n",
               SERVER_VERSION, CMD_REDIS_VERSION, mem_allocator(),
               (int)(8 * sizeof(void *)));
    return print_buf(&out);
}

static int print_usage(void)
{
    struct buf out = BUF_INIT;

    buf_append_str(&out, cmdline_usage);
    return print_buf(&out);
}

/* ---- running ----------------------------------------------------------- */

/* Directory and log, from here on as configured. */
static enum err settle_in(const struct config *c, struct err_ctx *ctx)
{
    enum err err;

    log_set_level((enum log_level)c->loglevel);
    if (chdir(c->dir) != 0) {
        return err_set(ctx, ERR_IO, "dir %s: %s", c->dir, strerror(errno));
    }
    err = log_open(c->logfile, ctx);
    return err ? err_wrap(ctx, err, "logfile") : ERR_OK;
}

static void log_start(const struct server *s)
{
    const struct config *c = &s->config;

    LOG_NOTE(SERVER, "Vectra " SERVER_VERSION " is ready",
             "port=%d%s%s workers=%u simd=%s config=%s", (int)c->port,
             *c->unixsocket ? " unixsocket=" : "", c->unixsocket,
             pool_size(s->pool), vec_simd_name(), *c->file ? c->file : "none");
    if (!c->lazyfree_eviction || !c->lazyfree_expire ||
        !c->lazyfree_server_del || !c->lazyfree_user_del ||
        !c->lazyfree_user_flush) {
        LOG_NOTE(CONFIG, "lazyfree-lazy-* no is of no effect",
                 "memory is always freed in the background");
    }
}

/* The data is there. In the background the command that started the server has
 * waited for this. */
static void tell_ready(struct server *s)
{
    log_start(s);
    if (s->config.daemonize) {
        daemon_ready(s->ready_fd);
    }
}

/* A file that cannot be written is worth a warning, as in Redis. */
static const char *write_pidfile(const struct config *c)
{
    const char *path = *c->pidfile    ? c->pidfile
                       : c->daemonize ? PIDFILE_DEFAULT
                                      : NULL;
    struct err_ctx ctx = {""};

    if (path && daemon_write_pidfile(path, &ctx) != ERR_OK) {
        LOG_WARN(SERVER, "cannot write the pid file", "why=\"%s\"", ctx.text);
        return NULL;
    }
    return path;
}

static enum err run(struct server *s, struct err_ctx *ctx)
{
    bool background = s->config.daemonize;
    const char *pidfile;
    int ready_fd = -1;
    enum err err = settle_in(&s->config, ctx);

    if (err) {
        return err;
    }
    if (background) {
        err = daemon_start(&ready_fd, ctx);
    }
    s->on_ready = tell_ready;
    s->ready_fd = ready_fd;
    if (!err) {
        err = server_start(s, ctx);
    }
    if (err) {
        if (*s->config.logfile) { /* whoever looks there, too */
            LOG_WARN(SERVER, "cannot start", "why=\"%s\"", ctx->text);
        }
        return err;
    }
    pidfile = write_pidfile(&s->config);
    err = server_run(s, ctx);
    server_stop(s);
    if (pidfile) {
        unlink(pidfile);
    }
    if (err && *s->config.logfile) {
        LOG_WARN(SERVER, "cannot go on", "why=\"%s\"", ctx->text);
    }
    LOG_NOTE(SERVER, "stopped", "pid=%d", (int)getpid());
    return err;
}

int main(int argc, char **argv)
{
    static struct server s; /* large, and zero */
    struct err_ctx ctx = {""};
    struct cmdline line = {.action = CMDLINE_RUN};
    enum err err = cmdline_parse(argc, argv, &line, &ctx);

    if (!err && line.action == CMDLINE_HELP) {
        return print_usage();
    }
    if (!err && line.action == CMDLINE_VERSION) {
        return print_version();
    }
    if (!err && line.action == CMDLINE_DUMP) {
        return dump(line.dump);
    }
    config_init(&s.config);
    if (!err) {
        err = cmdline_load(&line, &s.config, &ctx);
    }
    if (!err) {
        err = run(&s, &ctx);
    }
    if (err) {
        fprintf(stderr, "vectra-server: %s\n", ctx.text);
    }
    config_deinit(&s.config);
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
