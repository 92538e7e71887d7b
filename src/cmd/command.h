/* The command table: every command and subcommand, described once.
 *
 * commands.def holds the rows; ids, prototypes, the table, COMMAND and its
 * DOCS, GETKEYS, ACL categories, HELP and docs/commands.md all come from there.
 * The table is read-only; what is counted per command lives in struct
 * cmd_stats.
 *
 * A handler parses its arguments into a struct, checks, acts, replies, in that
 * order, and touches no socket. */
#ifndef VECTRA_CMD_COMMAND_H
#define VECTRA_CMD_COMMAND_H

#include <stdbool.h>

#include "acl/acl.h"
#include "base/bytes.h"

struct cmd_ctx;

enum cmd_flag {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2, /* refused when past maxmemory */
    CMD_ADMIN = 1 << 3,
    CMD_NOSCRIPT = 1 << 4,
    CMD_LOADING = 1 << 5, /* allowed while loading */
    CMD_STALE = 1 << 6,   /* allowed on a replica that lost its primary */
    CMD_FAST = 1 << 7,
    CMD_NO_AUTH = 1 << 8, /* allowed before AUTH */
    CMD_NO_MULTI = 1 << 9,
    CMD_BLOCKING = 1 << 10,
    CMD_SKIP_MONITOR = 1 << 11,
    CMD_SKIP_SLOWLOG = 1 << 12,
    CMD_PUBSUB = 1 << 13,
    CMD_AT_ONCE = 1 << 14,    /* runs inside MULTI instead of being queued */
    CMD_DEBUG = 1 << 15,      /* only where enable-debug-command allows it */
    CMD_ALLOW_BUSY = 1 << 16, /* allowed while a script holds the server */
    /* Refused while a replica loads what its primary sends. */
    CMD_NO_ASYNC_LOADING = 1 << 17,
};

enum cmd_group {
    CMD_GROUP_CONNECTION,
    CMD_GROUP_GENERIC,
    CMD_GROUP_SERVER,
    CMD_GROUP_STRING,
    CMD_GROUP_TRANSACTIONS,
    CMD_GROUP_MODULE, /* vector sets: where Redis clients look for them */
    CMD_GROUP_COUNT,
};

enum cmd_key_flag {
    CMD_KEY_RO = 1 << 0,
    CMD_KEY_RW = 1 << 1,
    CMD_KEY_OW = 1 << 2, /* overwritten whatever it was */
    CMD_KEY_RM = 1 << 3,
    CMD_KEY_ACCESS = 1 << 4,
    CMD_KEY_UPDATE = 1 << 5,
    CMD_KEY_INSERT = 1 << 6,
    CMD_KEY_DELETE = 1 << 7,
    CMD_KEY_VARIABLE = 1 << 8, /* how it is used depends on other arguments */
    /* Looking for the keyword alone may find what is something else. */
    CMD_KEY_INCOMPLETE = 1 << 9,
};

/* Where the keys stand in argv; last < 0 counts from the end. With a keyword
 * they stand behind it, and it is looked for from `first` on, backwards from
 * the end where that is negative. */
struct cmd_keys {
    int first, last, step; /* first 0: none */
    uint32_t flags;
    const char *keyword;
};

#define CMD_KEYS(first_, last_, step_, flags_)                                 \
    {                                                                          \
        .first = (first_), .last = (last_), .step = (step_), .flags = (flags_) \
    }

struct cmd_key {
    size_t at;      /* in argv */
    uint32_t flags; /* enum cmd_key_flag */
};

typedef void cmd_fn(struct cmd_ctx *ctx);

/* Finds keys where ranges do not say it all; as command_keys(). */
typedef size_t cmd_keys_fn(const struct bytes *argv, size_t argc,
                           struct cmd_key *out, size_t cap);

struct command {
    const char *name; /* as errors print it; a subcommand is "parent|child" */
    cmd_fn *handler;
    enum cmd_group group;
    int arity;      /* exact argc, or minus the smallest accepted argc */
    uint32_t flags; /* enum cmd_flag */
    uint32_t acl;   /* categories beyond those implied by flags */
    struct cmd_keys keys;
    struct cmd_keys more_keys; /* behind them, used in another way */
    cmd_keys_fn *find_keys;    /* NULL: the ranges tell */
    const char *key_notes;     /* about keys, for COMMAND INFO */
    const char *since;         /* Redis's version, or Vectra's for ours */
    const char *cost;          /* time complexity */
    const char *syntax;        /* see cmd/syntax.h */
    const char *returns;       /* in words */
    const char *summary;
    const char *tips; /* for proxies and cluster clients, blank-separated */
    const char *deprecated_since; /* NULL: it is not */
    const char *replaced_by;      /* then, in words */
};

enum cmd_id {
#define CMD(sym, name, fn, ...) CMD_ID_##sym,
#include "cmd/commands.def"
#undef CMD
    CMD_ID_COUNT
};

#define CMD(sym, name, fn, ...) void fn(struct cmd_ctx *ctx);
#include "cmd/commands.def"
#undef CMD

cmd_keys_fn cmd_migrate_keys;

extern const struct command command_table[CMD_ID_COUNT];

/* Builds the index of names; once, before any lookup. */
void command_init(void);

/* The command that argv names, a subcommand where there is one. NULL when
 * unknown; *parent is then the container, if the first word is one. */
const struct command *command_lookup(const struct bytes *argv, size_t argc,
                                     const struct command **parent);

/* By full name, "get" or "config|get", in any case. */
const struct command *command_by_name(struct bytes name);

enum cmd_id command_id(const struct command *c);
bool command_is_container(const struct command *c);
bool command_is_subcommand(const struct command *c);

/* The next subcommand of a container after `after` (NULL: the first). */
const struct command *command_next_sub(const struct command *container,
                                       const struct command *after);

bool command_arity_ok(const struct command *c, size_t argc);

/* Categories, implied ones included: bits of enum acl_category. */
uint32_t command_categories(const struct command *c);

/* Finds the keys in argv; returns how many, at most cap are stored. */
size_t command_keys(const struct command *c, const struct bytes *argv,
                    size_t argc, struct cmd_key *out, size_t cap);

const char *command_group_name(enum cmd_group g);

/* The module that clients believe a command to come from; NULL: none. */
const char *command_module(const struct command *c);

/* Calls fn with the name of each flag, category or key flag as COMMAND INFO
 * prints it; returns how many there are. fn may be NULL. */
typedef void command_word_fn(void *arg, const char *word);
size_t command_each_flag(const struct command *c, command_word_fn *fn,
                         void *arg);
size_t command_each_category(const struct command *c, command_word_fn *fn,
                             void *arg);
size_t command_each_key_flag(uint32_t flags, command_word_fn *fn, void *arg);

#endif
