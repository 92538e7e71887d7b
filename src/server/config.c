/* The table of directives, and configurations as values: see config.h. */
#include "server/config.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/split.h"
#include "db/keyspace.h"
#include "server/config_impl.h"

enum { HZ_MIN = 1, HZ_MAX = 500 };

static const char *const log_level_names[] = {
    [LOG_DEBUG] = "debug",     [LOG_VERBOSE] = "verbose",
    [LOG_NOTICE] = "notice",   [LOG_WARNING] = "warning",
    [LOG_NOTHING] = "nothing", NULL,
};
static const char *const access_names[] = {
    [ACCESS_NO] = "no",
    [ACCESS_LOCAL] = "local",
    [ACCESS_YES] = "yes",
    NULL,
};
static const char *const appendfsync_names[] = {
    [AOF_FSYNC_EVERYSEC] = "everysec",
    [AOF_FSYNC_ALWAYS] = "always",
    [AOF_FSYNC_NO] = "no",
    NULL,
};
static const char *const policy_names[] = {"noeviction", NULL};
static const char *const simd_names[] = {"auto",   "scalar", "avx2",
                                         "avx512", "neon",   NULL};

/* The field of a directive has the type that config_impl.h says. */
#define FIELD_BOOL   bool
#define FIELD_INT    int64_t
#define FIELD_BYTES  int64_t
#define FIELD_OCTAL  int64_t
#define FIELD_ENUM   int64_t
#define FIELD_TEXT   char *
#define FIELD_WORDS  char *
#define FIELD_SAVE   char *
#define FIELD_LIMITS struct output_limit *
#define CONF_GROUP(title, text)
#define CONF(name_, type_, field_, def_, ...)                                  \
    _Static_assert(_Generic(((struct config *)0)->field_, FIELD_##type_ : 1,   \
                            default : 0),                                      \
                   "the field of " name_ " has another type");
#include "server/config.def"
#undef CONF
#undef CONF_GROUP

const struct config_directive config_table[] = {
#define CONF_GROUP(title, text)                                                \
    {.name = (title), .type = CONFIG_GROUP, .doc = (text)},
#define CONF(name_, type_, field_, def_, ...)                                  \
    {.name = (name_),                                                          \
     .type = CONFIG_##type_,                                                   \
     .offset = offsetof(struct config, field_),                                \
     .def = (def_),                                                            \
     __VA_ARGS__},
#include "server/config.def"
#undef CONF
#undef CONF_GROUP
};
const size_t config_table_len = ARRAY_LEN(config_table);

/* ---- directives -------------------------------------------------------- */

const struct config_directive *config_at(size_t i)
{
    size_t at;

    for (at = 0; at < config_table_len; at++) {
        if (config_table[at].type != CONFIG_GROUP && i-- == 0) {
            return &config_table[at];
        }
    }
    return NULL;
}

const struct config_directive *config_find(struct bytes name)
{
    size_t at;

    for (at = 0; at < config_table_len; at++) {
        if (config_table[at].type != CONFIG_GROUP &&
            bytes_equal_fold(name, config_table[at].name)) {
            return &config_table[at];
        }
    }
    return NULL;
}

const char *config_name(const struct config_directive *d)
{
    return d->name;
}

enum err config_parse(struct config *c, const struct config_directive *d,
                      const struct bytes *values, size_t n, struct err_ctx *ctx)
{
    enum err err = config_value_parse(config_field(c, d), d, values, n, ctx);

    /* Redis brings it inside, too. */
    c->hz = c->hz < HZ_MIN ? HZ_MIN : c->hz > HZ_MAX ? HZ_MAX : c->hz;
    return err;
}

static enum err parse_words(struct config *c, const struct config_directive *d,
                            struct bytes value, struct err_ctx *ctx)
{
    struct bytes *words;
    char *copy;
    size_t n = 0;
    enum err err;

    copy = mem_strndup(value.data, value.len);
    words = mem_calloc(split_words_bound(copy, value.len) + 1, sizeof(*words));
    err = split_words(copy, value.len, words,
                      split_words_bound(copy, value.len) + 1, &n);
    if (err) {
        err = err_set(ctx, err, "unbalanced quotes");
    } else {
        err = config_parse(c, d, words, n, ctx);
    }
    mem_free(words);
    mem_free(copy);
    return err;
}

enum err config_parse_line(struct config *c, const struct config_directive *d,
                           struct bytes value, struct err_ctx *ctx)
{
    bool several = d->type == CONFIG_WORDS || d->type == CONFIG_LIMITS ||
                   d->type == CONFIG_SAVE;

    return several && value.len > 0 ? parse_words(c, d, value, ctx)
                                    : config_parse(c, d, &value, 1, ctx);
}

/* CONFIG SET save puts points in the place of those that are there. */
static enum err replace_save(struct config *c, const struct config_directive *d,
                             struct bytes value, struct err_ctx *ctx)
{
    char **text = config_field(c, d);
    char *old = *text;
    enum err err;

    *text = mem_strndup("", 0);
    err = config_parse_line(c, d, value, ctx);
    if (err) {
        mem_free(*text);
        *text = old;
    } else {
        mem_free(old);
    }
    return err;
}

enum err config_parse_set(struct config *c, const struct config_directive *d,
                          struct bytes value, struct err_ctx *ctx)
{
    return d->type == CONFIG_SAVE ? replace_save(c, d, value, ctx)
                                  : config_parse_line(c, d, value, ctx);
}

void config_print(const struct config *c, const struct config_directive *d,
                  struct buf *out)
{
    config_value_print(config_field_const(c, d), d, out);
}

void config_print_lines(const struct config *c,
                        const struct config_directive *d, struct buf *out)
{
    config_value_print_lines(config_field_const(c, d), d, out);
}

bool config_equal(const struct config *a, const struct config *b,
                  const struct config_directive *d)
{
    struct buf left = BUF_INIT;
    struct buf right = BUF_INIT;
    bool equal;

    config_print(a, d, &left);
    config_print(b, d, &right);
    equal = bytes_equal(buf_bytes(&left), buf_bytes(&right));
    buf_deinit(&left);
    buf_deinit(&right);
    return equal;
}

/* ---- configurations ---------------------------------------------------- */

void config_init(struct config *c)
{
    size_t i;

    memset(c, 0, sizeof(*c));
    c->hz = HZ_MIN;
    c->save = mem_strndup("", 0);
    for (i = 0; i < config_table_len; i++) {
        const struct config_directive *d = &config_table[i];

        if (d->type != CONFIG_GROUP) {
            enum err err = config_parse_set(c, d, bytes_str(d->def), NULL);

            ASSERT(err == ERR_OK);
        }
    }
    c->file = mem_strndup("", 0);
}

void config_deinit(struct config *c)
{
    size_t i;

    for (i = 0; i < config_table_len; i++) {
        if (config_is_text(&config_table[i])) {
            mem_free(*(char **)config_field(c, &config_table[i]));
        }
    }
    mem_free(c->file);
}

void config_copy(struct config *to, const struct config *from)
{
    size_t i;

    *to = *from;
    for (i = 0; i < config_table_len; i++) {
        if (config_is_text(&config_table[i])) {
            char **text = config_field(to, &config_table[i]);

            *text = mem_strndup(*text, strlen(*text));
        }
    }
    to->file = mem_strndup(from->file, strlen(from->file));
}

void config_net(const struct config *c, struct net_config *out)
{
    *out = (struct net_config){
        .bulk_max = (size_t)c->proto_max_bulk_len,
        .query_buffer_max = (size_t)c->client_query_buffer_limit,
        .tcp_keepalive_s = (int)c->tcp_keepalive,
        .tcp_backlog = (int)c->tcp_backlog,
    };
    memcpy(out->output, c->output_limit, sizeof(out->output));
}

const char *config_simd_name(const struct config *c)
{
    return simd_names[c->vector_simd];
}
