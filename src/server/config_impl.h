/* The table of directives: shared by config*.c. */
#ifndef VECTRA_SERVER_CONFIG_IMPL_H
#define VECTRA_SERVER_CONFIG_IMPL_H

#include "server/config.h"

enum config_type {
    CONFIG_GROUP,  /* no directive: the head of a section of vectra.conf */
    CONFIG_BOOL,   /* bool: yes or no */
    CONFIG_INT,    /* int64_t */
    CONFIG_BYTES,  /* int64_t with a unit */
    CONFIG_OCTAL,  /* int64_t */
    CONFIG_ENUM,   /* int64_t: an index into names */
    CONFIG_TEXT,   /* char * */
    CONFIG_WORDS,  /* char *: any number of words, joined by blanks */
    CONFIG_SAVE,   /* char *: pairs of numbers; lines add to each other */
    CONFIG_LIMITS, /* struct output_limit[CONN_CLASS_COUNT] */
};

enum config_flag {
    CONF_AT_START = 1 << 0,     /* not to be changed by CONFIG SET */
    CONF_PROTECTED = 1 << 1,    /* see enable-protected-configs */
    CONF_PERCENT = 1 << 2,      /* bytes may be a share of the machine's */
    CONF_ONLY_DEFAULT = 1 << 3, /* `only` says why */
    CONF_SECRET = 1 << 4,       /* the slow log does not show the value */
    CONF_FILE_NAME = 1 << 5,    /* a name, no path, and not empty */
};

/* What is to be done when a value changes, besides what is cheap and cannot
 * fail, which is done at every change. */
enum config_apply_bit {
    APPLY_LISTEN = 1 << 0,
    APPLY_LOGFILE = 1 << 1,
    APPLY_DIR = 1 << 2,
    APPLY_MAXCLIENTS = 1 << 3,
    APPLY_HZ = 1 << 4,
    APPLY_AOF = 1 << 5,
};

struct config_directive {
    const char *name; /* of a group: its title */
    enum config_type type;
    size_t offset;   /* in struct config */
    const char *def; /* as a file would say it */
    int64_t min, max;
    const char *const *names; /* ENUM; ends with NULL */
    uint32_t flags;           /* enum config_flag */
    uint32_t apply;           /* enum config_apply_bit */
    const char *only;
    const char *shipped;
    const char *example;
    const char *doc;
};

/* Groups among them. */
extern const struct config_directive config_table[];
extern const size_t config_table_len;

/* config_value.c */
enum err config_value_parse(void *field, const struct config_directive *d,
                            const struct bytes *values, size_t n,
                            struct err_ctx *ctx) MUST_USE;
void config_value_print(const void *field, const struct config_directive *d,
                        struct buf *out);
void config_value_print_lines(const void *field,
                              const struct config_directive *d,
                              struct buf *out);

static inline bool config_is_text(const struct config_directive *d)
{
    return d->type == CONFIG_TEXT || d->type == CONFIG_WORDS ||
           d->type == CONFIG_SAVE;
}

static inline void *config_field(struct config *c,
                                 const struct config_directive *d)
{
    return (char *)c + d->offset;
}

static inline const void *config_field_const(const struct config *c,
                                             const struct config_directive *d)
{
    return (const char *)c + d->offset;
}

#endif
