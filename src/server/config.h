/* Configuration: redis.conf's directives, CONFIG GET, SET and REWRITE.
 *
 * config.def describes every directive once: its type, default, limits, the
 * field of struct config it sets, and its documentation, from which vectra.conf
 * is printed. Names, units and defaults are Redis's; worker-threads and
 * vector-* are ours.
 *
 *     config.c          the table, copies, one directive at a time
 *     config_value.c    values and their texts, by type
 *     config_file.c     files, includes
 *     config_rewrite.c  CONFIG REWRITE
 *     config_dump.c     vectra.conf
 *     config_apply.c    what a change means to the running server
 *
 * All but config_apply.c know nothing of the server.
 *
 * thread loop only, once the server runs. */
#ifndef VECTRA_SERVER_CONFIG_H
#define VECTRA_SERVER_CONFIG_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/net.h"

enum {
    CONFIG_ADDRESSES_MAX = 16, /* of bind */
    CONFIG_FILE_MAX = 16 << 20,
    CONFIG_INCLUDE_DEPTH = 16,
};

/* In the order in which Redis names them. */
enum aof_fsync { AOF_FSYNC_EVERYSEC, AOF_FSYNC_ALWAYS, AOF_FSYNC_NO };

enum config_access { ACCESS_NO, ACCESS_LOCAL, ACCESS_YES };

/* The values. Text is owned; NULL is never stored, "" is. */
struct config {
    /* network */
    char *bind; /* addresses, blank-separated; "-" before one: may be missing */
    bool protected_mode;
    int64_t port;
    int64_t tcp_backlog;
    char *unixsocket;
    int64_t unixsocketperm;
    int64_t timeout;       /* seconds */
    int64_t tcp_keepalive; /* seconds */
    /* general */
    bool daemonize;
    char *pidfile;
    int64_t loglevel; /* enum log_level */
    char *logfile;
    int64_t databases;
    char *dir;
    int64_t hz; /* 1 to 500 */
    /* security */
    char *requirepass;
    int64_t enable_protected_configs; /* enum config_access */
    int64_t enable_debug_command;     /* enum config_access */
    /* clients */
    int64_t maxclients;
    int64_t client_query_buffer_limit; /* bytes */
    int64_t proto_max_bulk_len;        /* bytes */
    struct output_limit output_limit[CONN_CLASS_COUNT];
    /* memory */
    int64_t maxmemory; /* bytes */
    int64_t maxmemory_policy;
    bool lazyfree_eviction, lazyfree_expire, lazyfree_server_del;
    bool lazyfree_user_del, lazyfree_user_flush;
    /* snapshots */
    char *save;      /* pairs of seconds and changes */
    bool save_given; /* by a line, so that the next one adds to it */
    char *dbfilename;
    bool rdbcompression, rdbchecksum, rdb_save_incremental_fsync;
    bool stop_writes_on_bgsave_error;
    bool rdb_skip_unknown_types;
    bool rdb_del_sync_files;
    int64_t rdb_key_save_delay, key_load_delay; /* microseconds */
    /* the log */
    bool appendonly;
    int64_t appendfsync; /* enum aof_fsync */
    char *appendfilename, *appenddirname;
    bool no_appendfsync_on_rewrite;
    int64_t auto_aof_rewrite_percentage;
    int64_t auto_aof_rewrite_min_size; /* bytes */
    bool aof_use_rdb_preamble;
    bool aof_load_truncated;
    int64_t aof_load_corrupt_tail_max_size; /* bytes */
    bool aof_timestamp_enabled;
    bool aof_rewrite_incremental_fsync;
    /* slow log */
    int64_t slowlog_log_slower_than; /* microseconds */
    int64_t slowlog_max_len;
    /* vectors */
    int64_t worker_threads;       /* 0: as many as cores */
    int64_t vector_build_threads; /* likewise */
    int64_t vector_simd;
    bool vset_single_threaded;

    /* Absolute path of the configuration file, "" without one. */
    char *file;
};

struct config_directive;

/* ---- a configuration --------------------------------------------------- */

/* All defaults. owns  config_deinit(). */
void config_init(struct config *c);
void config_deinit(struct config *c);

/* `to` is not initialised before. */
void config_copy(struct config *to, const struct config *from);

/* The part of it that connections read at every use. */
void config_net(const struct config *c, struct net_config *out);

/* ---- one directive ----------------------------------------------------- */

/* In any case of letters; NULL when there is none. */
const struct config_directive *config_find(struct bytes name);

/* The i-th directive in the order of config.def, NULL past the last. */
const struct config_directive *config_at(size_t i);

const char *config_name(const struct config_directive *d);

/* Gives a directive the values of a line. ctx gets Redis's words, such as
 * "argument must be between 0 and 65535 inclusive".
 *
 * fails  ERR_SYNTAX or ERR_RANGE, c is unchanged. */
enum err config_parse(struct config *c, const struct config_directive *d,
                      const struct bytes *values, size_t n,
                      struct err_ctx *ctx) MUST_USE;

/* The same from one value, in which blanks separate the words of directives
 * that take several: --save "3600 1". */
enum err config_parse_line(struct config *c, const struct config_directive *d,
                           struct bytes value, struct err_ctx *ctx) MUST_USE;

/* The same for CONFIG SET, where what is given takes the place of what was. */
enum err config_parse_set(struct config *c, const struct config_directive *d,
                          struct bytes value, struct err_ctx *ctx) MUST_USE;

/* Appends the value as CONFIG GET answers it, or as lines of a file. */
void config_print(const struct config *c, const struct config_directive *d,
                  struct buf *out);
void config_print_lines(const struct config *c,
                        const struct config_directive *d, struct buf *out);

bool config_equal(const struct config *a, const struct config *b,
                  const struct config_directive *d);

/* The word of an enumerated directive's value. */
const char *config_simd_name(const struct config *c);

/* ---- files ------------------------------------------------------------- */

/* Sets what a text says; `name` is for the words of an error:
 * "name line 12: port: wrong number of arguments". An error leaves c with what
 * the lines before it said.
 *
 * in     includes: whether `include` reads files; otherwise its lines are
 *        skipped.
 * fails  ERR_SYNTAX, ERR_RANGE, ERR_LIMIT; ERR_NOT_FOUND, ERR_IO for
 *        included files. */
enum err config_load_text(struct config *c, const char *name, struct bytes text,
                          bool includes, struct err_ctx *ctx) MUST_USE;

/* The same for one directive, or include, and its values. */
enum err config_load_words(struct config *c, const struct bytes *words,
                           size_t n, struct err_ctx *ctx) MUST_USE;

/* The same from a file. */
enum err config_load_file(struct config *c, const char *path,
                          struct err_ctx *ctx) MUST_USE;

/* CONFIG REWRITE of a text: lines that say something else than c are replaced,
 * what no line says and is no default is appended, everything else stays.
 *
 * fails  as config_load_text(), when the text is no configuration. */
enum err config_rewrite_text(const struct config *c, struct bytes old,
                             bool includes, struct buf *out,
                             struct err_ctx *ctx) MUST_USE;

/* Of c->file; ctx gets the words after "ERR ". */
enum err config_rewrite_file(const struct config *c,
                             struct err_ctx *ctx) MUST_USE;

/* vectra.conf: every directive with its documentation. */
void config_dump(struct buf *out);

#endif
