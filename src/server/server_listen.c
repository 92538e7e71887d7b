/* Listening where the configuration says. */
#include <string.h>

#include "base/log.h"
#include "server/server.h"

/* One address of bind. With a "-" before it, it may be missing from the machine
 * (ERR_IO), but not be taken by somebody else (ERR_EXISTS). */
static enum err listen_on(struct server *s, const char *address,
                          struct err_ctx *ctx)
{
    bool optional = address[0] == '-';
    enum err err =
        net_listen_tcp(s->net, address + optional, (int)s->config.port, ctx);

    if (err && err != ERR_EXISTS && optional) {
        LOG_INFO(NET, "an optional address is not there", "why=\"%s\"",
                 ctx->text);
        return ERR_OK;
    }
    return err;
}

static enum err listen_tcp(struct server *s, struct err_ctx *ctx)
{
    char *addresses = mem_strndup(s->config.bind, strlen(s->config.bind));
    char *rest = addresses;
    char *address;
    enum err err = ERR_OK;

    while (!err && (address = strsep(&rest, " "))) {
        if (*address) {
            err = listen_on(s, address, ctx);
        }
    }
    mem_free(addresses);
    return err;
}

enum err server_listen_tcp(struct server *s, struct err_ctx *ctx)
{
    net_stop_listening(s->net, true);
    return s->config.port > 0 ? listen_tcp(s, ctx) : ERR_OK;
}

enum err server_listen(struct server *s, struct err_ctx *ctx)
{
    enum err err = server_listen_tcp(s, ctx);

    if (!err && *s->config.unixsocket) {
        err = net_listen_unix(s->net, s->config.unixsocket,
                              (unsigned)s->config.unixsocketperm, ctx);
    }
    return err;
}
