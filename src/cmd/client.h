/* A client: what a connection means to the commands. It knows nothing of
 * sockets; the server above pairs it with a connection.
 *
 * thread loop only. */
#ifndef VECTRA_CMD_CLIENT_H
#define VECTRA_CMD_CLIENT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "cmd/command.h"

struct cmd_env;
struct cmd_job;
struct watched_key;

/* A command waiting for EXEC; its arguments are copies in one block. */
struct queued_command {
    const struct command *command;
    struct bytes *argv;
    size_t argc;
};

struct client {
    uint64_t id;
    void *conn;   /* the host's */
    void *server; /* likewise */
    int db;
    int proto; /* 2 or 3 */
    bool authenticated;
    bool is_monitor;
    bool is_unix;
    char *name; /* NULL: none */
    char *lib_name;
    char *lib_ver;
    time_us connected_at;
    const struct command *last_command; /* for CLIENT LIST */
    const struct command *repeated; /* likely the next one; NULL: no guess */
    uint64_t n_commands;

    /* MULTI */
    bool in_multi;
    bool must_abort;   /* a command could not be queued */
    bool keys_changed; /* a watched key was touched */
    struct queued_command *queue;
    size_t n_queued, cap_queued;
    size_t queued_bytes;
    struct watched_key *watched; /* see multi.c */

    uint64_t write_lsn; /* where the stream ended behind its last write */

    struct cmd_job *job; /* the sliced command that runs; see job.h */
};

void client_init(struct client *c, uint64_t id, void *conn);

/* Ends transactions and jobs and frees what the client owns. */
void client_deinit(struct client *c, struct cmd_env *env);

/* RESET: everything as after connecting but the id and the addresses. */
void client_reset(struct client *c, struct cmd_env *env);

/* Visible ASCII without blanks: what a name, or a library's, may consist of, so
 * that CLIENT LIST stays a list of fields. */
bool client_name_is_valid(struct bytes name);

/* owns   client. An empty name means none. */
void client_set_name(struct client *c, struct bytes name);

#endif
