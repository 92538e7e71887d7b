/* MONITOR: every command, as text, to those who asked. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/cmd.h"

/* What a monitor may leave unread. It asks for no reply, so nothing that it
 * does or does not do would hold back what is written to it. */
enum { BACKLOG_MAX = 64 << 20 };

void monitor_add(struct cmd_env *env, struct client *c)
{
    if (c->is_monitor) {
        return;
    }
    c->is_monitor = true;
    env->monitors = mem_realloc(env->monitors,
                                (env->n_monitors + 1) * sizeof(*env->monitors));
    env->monitors[env->n_monitors++] = c;
}

void monitor_remove(struct cmd_env *env, struct client *c)
{
    size_t i;

    if (!c->is_monitor) {
        return;
    }
    c->is_monitor = false;
    for (i = 0; env->monitors[i] != c; i++) {
    }
    env->monitors[i] = env->monitors[--env->n_monitors];
}

static void append_quoted(struct buf *out, struct bytes s)
{
    size_t i;

    buf_append_byte(out, '"');
    for (i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        const char *at = memchr("\n\r\t\a\b", c, 5);

        if (c == '"' || c == '\\') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, c);
        } else if (at) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (uint8_t) "nrtab"[strchr("\n\r\t\a\b", c) -
                                                   strchr("\n\r\t\a\b", '\n')]);
        } else if (c >= 0x20 && c < 0x7f) {
            buf_append_byte(out, c);
        } else {
            buf_printf(out, "\\x%02x", c);
        }
    }
    buf_append_byte(out, '"');
}

/* The client whose command it is stays: it is still at work, and while it owes
 * that much its requests are not run. */
static void feed_all(struct cmd_env *env, const struct client *c,
                     struct bytes line)
{
    size_t i = env->n_monitors;

    while (i > 0) {
        struct client *to = env->monitors[--i];
        struct buf *out = env->host->out(to);

        if (env->host->owed(to) > BACKLOG_MAX && to != c) {
            LOG_WARN(NET, "a monitor does not read, closing it", "id=%llu",
                     (unsigned long long)to->id);
            env->host->close(to); /* the last one takes its place */
        } else {
            buf_append_bytes(out, line);
        }
    }
}

void monitor_feed(struct cmd_env *env, const struct client *c,
                  const struct bytes *argv, size_t argc, uint32_t hidden)
{
    time_us now = clock_wall_us();
    struct net_client_info info;
    struct buf line = BUF_INIT;
    size_t i;

    env->host->client_info((struct client *)(uintptr_t)c, &info);
    if (c->is_unix) {
        /* Here the path stands without its port. */
        info.addr[strlen(info.addr) - 2] = '\0';
    }
    buf_printf(&line, "+%lld.%06lld [%d %s%s]", (long long)(now / 1000000),
               (long long)(now % 1000000), c->db, c->is_unix ? "unix:" : "",
               info.addr);
    for (i = 0; i < argc; i++) {
        buf_append_byte(&line, ' ');
        append_quoted(&line, hidden & slowlog_hidden_bit(i)
                                 ? bytes_str(SLOWLOG_HIDDEN)
                                 : argv[i]);
    }
    buf_append(&line, "\r\n", 2);
    feed_all(env, c, buf_bytes(&line));
    buf_deinit(&line);
}
