/* CONFIG and the running server.
 *
 * CONFIG SET makes a copy of the configuration, gives it the new values, puts
 * it in the place of the old one and then does what the changes mean. If one of
 * them cannot be done, the old configuration comes back and is made to hold
 * again, so the command changes all or nothing. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/log.h"
#include "db/search/search.h"
#include "server/aof.h"
#include "server/config_impl.h"
#include "server/server.h"

/* ---- what settings mean ------------------------------------------------ */

/* No password is needed any more: nobody waits to be asked for one. */
static void admit(struct client *c, void *arg)
{
    struct server *s = arg;

    if (!c->authenticated) {
        c->authenticated = true;
        s->host.authenticated(c, true);
    }
}

static void apply_password(struct server *s)
{
    struct acl_password *p = &s->commands.settings.password;

    acl_password_set(p, bytes_str(s->config.requirepass));
    if (!p->is_set && s->net) {
        s->host.each_client(s, admit, s);
    }
}

void server_apply_settings(struct server *s)
{
    const struct config *c = &s->config;

    config_net(c, &s->net_config);
    log_set_level((enum log_level)c->loglevel);
    mem_set_limit(s->commands.is_loading ? 0 : (size_t)c->maxmemory);
    server_snapshot_apply(s);
    apply_password(s);
    s->commands.settings.slowlog_slower_than_us = c->slowlog_log_slower_than;
    s->commands.settings.slowlog_max_len = c->slowlog_max_len;
    s->commands.settings.bulk_max = (uint64_t)c->proto_max_bulk_len;
    s->commands.settings.debug_command = (int)c->enable_debug_command;
    search_pool_set_inline(s->ks->searches, c->vset_single_threaded);
}

static enum err apply_dir(struct server *s, struct err_ctx *ctx)
{
    char here[PATH_MAX];

    if (s->commands.is_loading) {
        return err_set(ctx, ERR_BUSY, "files in it are being loaded");
    }
    if (chdir(s->config.dir) != 0 || !getcwd(here, sizeof(here))) {
        return err_set(ctx, ERR_IO, "%s", strerror(errno));
    }
    /* As a relative name it would mean something else from here on. */
    mem_free(s->config.dir);
    s->config.dir = mem_strndup(here, strlen(here));
    return ERR_OK;
}

static enum err apply_maxclients(struct server *s, struct err_ctx *ctx)
{
    int64_t possible = server_raise_fd_limit(s->config.maxclients);

    if (possible < s->config.maxclients) {
        return err_set(ctx, ERR_LIMIT,
                       "The operating system is not able to handle the "
                       "specified number of clients, try with %lld",
                       (long long)possible);
    }
    return ERR_OK;
}

static enum err apply_listen(struct server *s, struct err_ctx *ctx)
{
    enum err err = server_listen_tcp(s, ctx);

    if (err) {
        LOG_WARN(NET, "cannot listen as asked", "why=\"%s\"", ctx->text);
    }
    return err;
}

static enum err apply(struct server *s, enum config_apply_bit what,
                      struct err_ctx *ctx)
{
    switch (what) {
    case APPLY_DIR:
        return apply_dir(s, ctx);
    case APPLY_LOGFILE:
        return log_open(s->config.logfile, ctx);
    case APPLY_MAXCLIENTS:
        return apply_maxclients(s, ctx);
    case APPLY_LISTEN:
        return apply_listen(s, ctx);
    case APPLY_HZ:
        loop_timer_set(s->cron_timer, 1000000 / s->config.hz);
        return ERR_OK;
    case APPLY_AOF:
        return s->commands.is_loading
                   ? err_set(ctx, ERR_BUSY, "the data is being loaded")
                   : aof_apply(s->aof, ctx);
    }
    return ERR_OK;
}

/* ---- CONFIG SET -------------------------------------------------------- */

/* One CONFIG SET. What the values of `which` are is in the pairs. */
struct change {
    struct server *server;
    struct client *by;
    const struct bytes *pairs;
    size_t n;
    const struct config_directive **which;
    struct config old;
    char old_dir[PATH_MAX];
    uint32_t applied;
};

static enum err refuse(const struct change *ch, size_t i, const char *why,
                       struct err_ctx *ctx)
{
    char reason[sizeof(ctx->text)];

    snprintf(reason, sizeof(reason), "%s", why);
    return err_set(ctx, ERR_RANGE,
                   "ERR CONFIG SET failed (possibly related to argument "
                   "'%.*s') - %s",
                   ch->pairs[2 * i].len < 64 ? (int)ch->pairs[2 * i].len : 64,
                   (const char *)ch->pairs[2 * i].data, reason);
}

static bool may_change_protected(const struct server *s, struct client *by)
{
    return s->config.enable_protected_configs == ACCESS_YES ||
           (s->config.enable_protected_configs == ACCESS_LOCAL &&
            s->host.is_local(by));
}

static enum err find_directive(struct change *ch, size_t i, struct err_ctx *ctx)
{
    struct bytes name = ch->pairs[2 * i];
    const struct config_directive *d = config_find(name);
    size_t j;

    if (!d) {
        return err_set(ctx, ERR_NOT_FOUND,
                       "ERR Unknown option or number of arguments for CONFIG "
                       "SET - '%.*s'",
                       name.len < 128 ? (int)name.len : 128,
                       (const char *)name.data);
    }
    if (d->flags & CONF_AT_START) {
        return refuse(ch, i, "can't set immutable config", ctx);
    }
    if ((d->flags & CONF_PROTECTED) &&
        !may_change_protected(ch->server, ch->by)) {
        return refuse(ch, i, "can't set protected config", ctx);
    }
    for (j = 0; j < i; j++) {
        if (ch->which[j] == d) {
            return refuse(ch, i, "duplicate parameter", ctx);
        }
    }
    ch->which[i] = d;
    return ERR_OK;
}

/* Does what the changes mean; *failed is the pair that could not be. */
static enum err apply_all(struct change *ch, size_t *failed,
                          struct err_ctx *ctx)
{
    struct server *s = ch->server;
    size_t i;

    server_apply_settings(s);
    for (i = 0; i < ch->n; i++) {
        uint32_t what = ch->which[i]->apply;
        enum err err;

        if (what == 0 || (ch->applied & what)) {
            continue;
        }
        ch->applied |= what;
        err = apply(s, (enum config_apply_bit)what, ctx);
        if (err && what == APPLY_LISTEN) { /* the log has the details */
            err_set(ctx, err, "%s",
                    ch->which[i]->type == CONFIG_INT
                        ? "Unable to listen on this port. Check server logs."
                        : "Failed to bind to specified addresses.");
        }
        if (err) {
            *failed = i;
            return err;
        }
    }
    return ERR_OK;
}

/* Makes the old configuration hold again. */
static void take_back(struct change *ch)
{
    struct server *s = ch->server;
    struct err_ctx ctx = {""};
    uint32_t what;

    config_deinit(&s->config);
    s->config = ch->old;
    server_apply_settings(s);
    for (what = 1; what <= ch->applied; what <<= 1) {
        if (what == APPLY_DIR) {
            if (chdir(ch->old_dir) != 0) {
                LOG_WARN(CONFIG, "cannot go back to the old directory",
                         "path=%s", ch->old_dir);
            }
        } else if ((ch->applied & what) &&
                   apply(s, (enum config_apply_bit)what, &ctx) != ERR_OK) {
            LOG_WARN(CONFIG, "cannot take a change back", "why=\"%s\"",
                     ctx.text);
        }
    }
}

static enum err make_change(struct change *ch, struct err_ctx *ctx)
{
    struct server *s = ch->server;
    struct config next;
    enum err err = ERR_OK;
    size_t failed = 0;
    size_t i;

    for (i = 0; i < ch->n && !err; i++) {
        err = find_directive(ch, i, ctx);
    }
    if (err) {
        return err;
    }
    config_copy(&next, &s->config);
    for (i = 0; i < ch->n && !err; i++) {
        err = config_parse_set(&next, ch->which[i], ch->pairs[2 * i + 1], ctx);
        failed = i;
    }
    if (err) {
        config_deinit(&next);
        return refuse(ch, failed, ctx->text, ctx);
    }
    ch->old = s->config;
    s->config = next;
    err = apply_all(ch, &failed, ctx);
    if (err) {
        take_back(ch);
        return refuse(ch, failed, ctx->text, ctx);
    }
    config_deinit(&ch->old);
    return ERR_OK;
}

enum err server_config_set(void *server, struct client *by,
                           const struct bytes *pairs, size_t n_pairs,
                           struct err_ctx *ctx)
{
    struct change ch = {
        .server = server, .by = by, .pairs = pairs, .n = n_pairs};
    enum err err;

    if (!getcwd(ch.old_dir, sizeof(ch.old_dir))) {
        strcpy(ch.old_dir, ".");
    }
    /* Past as many pairs as there are directives, one is named twice. */
    ch.which = mem_calloc(config_table_len + 1, sizeof(*ch.which));
    err = make_change(&ch, ctx);
    mem_free(ch.which);
    return err;
}

bool server_config_is_secret(struct bytes name)
{
    const struct config_directive *d = config_find(name);

    return d && (d->flags & CONF_SECRET);
}

/* ---- CONFIG GET, REWRITE, RESETSTAT ------------------------------------ */

/* The name, as the first pattern that matches it spells it if that is a name
 * itself; nothing when none does. Some clients look for what they asked for. */
static struct bytes asked_name(struct bytes name, const struct bytes *patterns,
                               size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (glob_match(patterns[i], name, true)) {
            return patterns[i].len == name.len &&
                           memchr(patterns[i].data, '*', name.len) == NULL &&
                           memchr(patterns[i].data, '?', name.len) == NULL
                       ? patterns[i]
                       : name;
        }
    }
    return (struct bytes){0};
}

void server_config_get(void *server, const struct bytes *patterns, size_t n,
                       void (*found)(void *arg, struct bytes name,
                                     struct bytes value),
                       void *arg)
{
    const struct server *s = server;
    const struct config_directive *d;
    struct buf value = BUF_INIT;
    char here[PATH_MAX];
    size_t i;

    for (i = 0; (d = config_at(i)); i++) {
        struct bytes name = asked_name(bytes_str(d->name), patterns, n);

        if (name.len == 0) {
            continue;
        }
        value.len = 0;
        if (d->apply == APPLY_DIR && getcwd(here, sizeof(here))) {
            buf_append_str(&value, here);
        } else {
            config_print(&s->config, d, &value);
        }
        found(arg, name, buf_bytes(&value));
    }
    buf_deinit(&value);
}

enum err server_config_rewrite(void *server, struct err_ctx *ctx)
{
    const struct server *s = server;
    enum err err = config_rewrite_file(&s->config, ctx);
    char why[sizeof(ctx->text)];

    if (err) {
        LOG_WARN(CONFIG, "cannot rewrite the configuration file", "why=\"%s\"",
                 ctx->text);
        snprintf(why, sizeof(why), "%s", ctx->text);
        return err_set(ctx, err, "ERR %.*s", (int)sizeof(why) - 5, why);
    }
    LOG_NOTE(CONFIG, "rewrote the configuration file", "path=%s",
             s->config.file);
    return ERR_OK;
}

void server_reset_stats(void *server)
{
    struct server *s = server;
    struct cmd_env *env = &s->commands;

    net_reset_stats(s->net);
    memset(env->counters, 0, sizeof(env->counters));
    memset(env->errors, 0, sizeof(env->errors));
    env->n_errors = 0;
    env->total_commands = env->total_errors = env->denied_auths = 0;
    /* Changes since the start are no statistic: clients compare them. */
    s->ks->stats.hits = s->ks->stats.misses = s->ks->stats.expired = 0;
    search_pool_stats_reset(s->ks->searches);
    s->commands_rate = s->input_rate = s->output_rate =
        (struct metrics_rate){.total = 0};
    s->turns = 0;
}
