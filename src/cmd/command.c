/* The table and its index: see command.h. */
#include "cmd/command.h"

#include <string.h>

#include "base/hash.h"

/* Rows leave out what is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

const struct command command_table[CMD_ID_COUNT] = {
#define CMD(sym, name_, fn, ...)                                               \
    [CMD_ID_##sym] = {.name = (name_), .handler = fn, __VA_ARGS__},
#include "cmd/commands.def"
#undef CMD
};

enum {
    INDEX_SIZE = 1024, /* a power of two, several times the commands */
    NAME_MAX_LEN = 63,
};

/* Open addressing by a hash of the lower-case name; 0 is empty, else id + 1. */
static uint16_t by_name[INDEX_SIZE];
static bool is_container[CMD_ID_COUNT];

static size_t fold(struct bytes name, char *out)
{
    size_t i;

    for (i = 0; i < name.len; i++) {
        char c = (char)name.data[i];

        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return name.len;
}

/* FNV-1a: the names are few and short. */
static uint32_t hash_name(const char *name, size_t len)
{
    uint32_t h = 2166136261u;
    size_t i;

    for (i = 0; i < len; i++) {
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    }
    return h ^ h >> 15;
}

static bool same_folded(const char *name, const char *folded, size_t len)
{
    char other[NAME_MAX_LEN + 1];
    size_t n = strlen(name);

    return n == len && fold(bytes_of(name, n), other) == len &&
           memcmp(other, folded, len) == 0;
}

static const struct command *find_folded(const char *name, size_t len)
{
    uint32_t at = hash_name(name, len) & (INDEX_SIZE - 1);

    while (by_name[at]) {
        const struct command *c = &command_table[by_name[at] - 1];

        if (same_folded(c->name, name, len)) {
            return c;
        }
        at = (at + 1) & (INDEX_SIZE - 1);
    }
    return NULL;
}

void command_init(void)
{
    int id;

    memset(by_name, 0, sizeof(by_name));
    for (id = 0; id < CMD_ID_COUNT; id++) {
        char name[NAME_MAX_LEN + 1];
        struct bytes full = bytes_str(command_table[id].name);
        const char *bar = strchr(command_table[id].name, '|');
        uint32_t at;

        ASSERT(full.len <= NAME_MAX_LEN);
        fold(full, name);
        at = hash_name(name, full.len) & (INDEX_SIZE - 1);
        while (by_name[at]) {
            at = (at + 1) & (INDEX_SIZE - 1);
        }
        by_name[at] = (uint16_t)(id + 1);
        if (bar) {
            const struct command *parent = command_by_name(
                bytes_of(full.data, (size_t)(bar - command_table[id].name)));

            /* A container's row stands before its children's. */
            ASSERT(parent);
            is_container[parent - command_table] = true;
        }
    }
}

const struct command *command_by_name(struct bytes name)
{
    char folded[NAME_MAX_LEN + 1];

    if (name.len > NAME_MAX_LEN) {
        return NULL;
    }
    fold(name, folded);
    return find_folded(folded, name.len);
}

const struct command *command_lookup(const struct bytes *argv, size_t argc,
                                     const struct command **parent)
{
    const struct command *c = command_by_name(argv[0]);
    char full[NAME_MAX_LEN + 1];
    size_t n;

    *parent = NULL;
    if (!c || command_is_subcommand(c)) {
        return NULL;
    }
    if (!is_container[c - command_table] || argc < 2) {
        return c;
    }
    *parent = c;
    if (argv[0].len + 1 + argv[1].len > NAME_MAX_LEN) {
        return NULL;
    }
    n = fold(argv[0], full);
    full[n++] = '|';
    n += fold(argv[1], full + n);
    return find_folded(full, n);
}

enum cmd_id command_id(const struct command *c)
{
    return (enum cmd_id)(c - command_table);
}

bool command_is_container(const struct command *c)
{
    return is_container[c - command_table];
}

bool command_is_subcommand(const struct command *c)
{
    return strchr(c->name, '|') != NULL;
}

const struct command *command_next_sub(const struct command *container,
                                       const struct command *after)
{
    const struct command *c = after ? after + 1 : container + 1;
    size_t n = strlen(container->name);

    for (; c < command_table + CMD_ID_COUNT; c++) {
        if (strncmp(c->name, container->name, n) == 0 && c->name[n] == '|') {
            return c;
        }
    }
    return NULL;
}

bool command_arity_ok(const struct command *c, size_t argc)
{
    return c->arity >= 0 ? argc == (size_t)c->arity : argc >= (size_t)-c->arity;
}

uint32_t command_categories(const struct command *c)
{
    uint32_t acl = c->acl;

    acl |= c->flags & CMD_WRITE ? ACL_WRITE : 0;
    acl |= c->flags & CMD_READONLY && c->keys.first ? ACL_READ : 0;
    acl |= c->flags & CMD_ADMIN ? ACL_ADMIN | ACL_DANGEROUS : 0;
    acl |= c->flags & CMD_PUBSUB ? ACL_PUBSUB : 0;
    acl |= c->flags & CMD_BLOCKING ? ACL_BLOCKING : 0;
    acl |= c->flags & CMD_FAST ? ACL_FAST : ACL_SLOW;
    return acl;
}

size_t command_keys(const struct command *c, const struct bytes *argv,
                    size_t argc, struct cmd_key *out, size_t cap)
{
    const struct cmd_keys *ranges[] = {&c->keys, &c->more_keys};
    size_t n = 0;
    size_t r;

    if (c->find_keys) {
        return c->find_keys(argv, argc, out, cap);
    }
    for (r = 0; r < ARRAY_LEN(ranges) && ranges[r]->first != 0; r++) {
        const struct cmd_keys *k = ranges[r];
        long last = k->last < 0 ? (long)argc + k->last : k->last;
        long i;

        for (i = k->first; i <= last && i < (long)argc; i += k->step) {
            if (n < cap) {
                out[n] = (struct cmd_key){(size_t)i, k->flags};
            }
            n++;
        }
    }
    return n;
}

const char *command_group_name(enum cmd_group g)
{
    static const char *const names[CMD_GROUP_COUNT] = {
        "connection", "generic", "server", "string", "transactions", "module",
    };

    return names[g];
}

const char *command_module(const struct command *c)
{
    return c->group == CMD_GROUP_MODULE ? "vectorset" : NULL;
}

/* ---- words ------------------------------------------------------------- */

struct word {
    uint32_t bit;
    const char *text;
};

static size_t each_word(const struct word *words, size_t n, uint32_t bits,
                        command_word_fn *fn, void *arg)
{
    size_t found = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        if (bits & words[i].bit) {
            found++;
            if (fn) {
                fn(arg, words[i].text);
            }
        }
    }
    return found;
}

size_t command_each_flag(const struct command *c, command_word_fn *fn,
                         void *arg)
{
    enum { MODULE = 1 << 30, MOVABLE = 1 << 29 }; /* no flags of the table */
    static const struct word words[] = {
        {CMD_WRITE, "write"},
        {CMD_READONLY, "readonly"},
        {CMD_DENYOOM, "denyoom"},
        {MODULE, "module"},
        {CMD_ADMIN, "admin"},
        {CMD_PUBSUB, "pubsub"},
        {CMD_NOSCRIPT, "noscript"},
        {CMD_BLOCKING, "blocking"},
        {CMD_LOADING, "loading"},
        {CMD_STALE, "stale"},
        {CMD_SKIP_MONITOR, "skip_monitor"},
        {CMD_SKIP_SLOWLOG, "skip_slowlog"},
        {CMD_FAST, "fast"},
        {CMD_NO_AUTH, "no_auth"},
        {CMD_NO_ASYNC_LOADING, "no_async_loading"},
        {CMD_NO_MULTI, "no_multi"},
        {MOVABLE, "movablekeys"},
        {CMD_ALLOW_BUSY, "allow_busy"},
    };
    uint32_t more =
        (command_module(c) ? MODULE : 0) | (c->find_keys ? MOVABLE : 0);

    return each_word(words, ARRAY_LEN(words), c->flags | more, fn, arg);
}

size_t command_each_category(const struct command *c, command_word_fn *fn,
                             void *arg)
{
    uint32_t categories = command_categories(c);
    size_t found = 0;
    int i;

    for (i = 0; i < ACL_CATEGORY_COUNT; i++) {
        if (categories >> i & 1) {
            found++;
            if (fn) {
                fn(arg, acl_category_name((enum acl_category_index)i));
            }
        }
    }
    return found;
}

size_t command_each_key_flag(uint32_t flags, command_word_fn *fn, void *arg)
{
    static const struct word words[] = {
        {CMD_KEY_RO, "RO"},
        {CMD_KEY_RW, "RW"},
        {CMD_KEY_OW, "OW"},
        {CMD_KEY_RM, "RM"},
        {CMD_KEY_ACCESS, "access"},
        {CMD_KEY_UPDATE, "update"},
        {CMD_KEY_INSERT, "insert"},
        {CMD_KEY_DELETE, "delete"},
        {CMD_KEY_VARIABLE, "variable_flags"},
        {CMD_KEY_INCOMPLETE, "incomplete"},
    };

    return each_word(words, ARRAY_LEN(words), flags, fn, arg);
}
