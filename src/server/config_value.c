/* Values of directives and their texts, by type. Words of errors are Redis's
 * where it has them. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "server/config_impl.h"

enum { SAVE_TEXT_MAX = 1000 }; /* some dozens of save points */

/* ---- numbers ----------------------------------------------------------- */

static enum err check_range(const struct config_directive *d, int64_t value,
                            struct err_ctx *ctx)
{
    if (value >= d->min && value <= d->max) {
        return ERR_OK;
    }
    return d->type == CONFIG_OCTAL ? err_set(ctx, ERR_RANGE,
                                             "argument must be between %" PRIo64
                                             " and %" PRIo64 " inclusive",
                                             (uint64_t)d->min, (uint64_t)d->max)
                                   : err_set(ctx, ERR_RANGE,
                                             "argument must be between %" PRId64
                                             " and %" PRId64 " inclusive",
                                             d->min, d->max);
}

static bool parse_octal(struct bytes text, int64_t *out)
{
    int64_t value = 0;
    size_t i;

    if (text.len == 0 || text.len > 10) {
        return false;
    }
    for (i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '7') {
            return false;
        }
        value = value * 8 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

/* The factor of a unit; 0 for a word that is none. */
static int64_t unit_factor(struct bytes unit)
{
    static const struct {
        const char *word;
        int64_t factor;
    } units[] = {
        {"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
        {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(units); i++) {
        if (bytes_equal_fold(unit, units[i].word)) {
            return units[i].factor;
        }
    }
    return 0;
}

/* Digits and a unit. */
static bool parse_bytes(struct bytes text, int64_t *out)
{
    int64_t value = 0;
    int64_t factor;
    size_t i;

    for (i = 0; i < text.len && isdigit(text.data[i]); i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[i] - '0', &value)) {
            return false;
        }
    }
    factor = i == 0 ? 0 : unit_factor(bytes_of(text.data + i, text.len - i));
    return factor != 0 && !__builtin_mul_overflow(value, factor, out);
}

/* A share of the machine's memory: "75%". */
static bool parse_percent(struct bytes text, int64_t *out)
{
    int64_t percent;

    if (text.len == 0 || text.data[text.len - 1] != '%' ||
        !num_parse_i64(bytes_of(text.data, text.len - 1), &percent) ||
        percent < 0 || percent > 100) {
        return false;
    }
    *out = (int64_t)sysconf(_SC_PHYS_PAGES) / 100 * percent *
           (int64_t)sysconf(_SC_PAGESIZE);
    return true;
}

static enum err parse_number(const struct config_directive *d,
                             struct bytes text, int64_t *out,
                             struct err_ctx *ctx)
{
    bool percent = d->flags & CONF_PERCENT;
    int64_t value = 0;
    const char *error = NULL;
    enum err err;

    if (d->type == CONFIG_OCTAL && !parse_octal(text, &value)) {
        error = "argument couldn't be parsed as an octal number";
    } else if (d->type == CONFIG_BYTES && !parse_bytes(text, &value) &&
               !(percent && parse_percent(text, &value))) {
        error = percent ? "argument must be a memory or percent value"
                        : "argument must be a memory value";
    } else if (d->type == CONFIG_INT && !num_parse_i64(text, &value)) {
        error = "argument couldn't be parsed into an integer";
    }
    if (error) {
        return err_set(ctx, ERR_SYNTAX, "%s", error);
    }
    err = check_range(d, value, ctx);
    if (!err) {
        *out = value;
    }
    return err;
}

/* ---- words ------------------------------------------------------------- */

static enum err parse_bool(struct bytes text, bool *out, struct err_ctx *ctx)
{
    if (bytes_equal_fold(text, "yes")) {
        *out = true;
    } else if (bytes_equal_fold(text, "no")) {
        *out = false;
    } else {
        return err_set(ctx, ERR_SYNTAX, "argument must be 'yes' or 'no'");
    }
    return ERR_OK;
}

static enum err parse_enum(const struct config_directive *d, struct bytes text,
                           int64_t *out, struct err_ctx *ctx)
{
    struct err_ctx words = {""};
    int64_t i;

    for (i = 0; d->names[i]; i++) {
        size_t n = strlen(words.text);

        if (bytes_equal_fold(text, d->names[i])) {
            *out = i;
            return ERR_OK;
        }
        snprintf(words.text + n, sizeof(words.text) - n, "%s%s", i ? ", " : "",
                 d->names[i]);
    }
    return err_set(ctx, ERR_SYNTAX,
                   "argument(s) must be one of the following: %.200s",
                   words.text);
}

/* A value that is printed again without quotes. */
static bool is_plain(struct bytes word)
{
    size_t i;

    for (i = 0; i < word.len; i++) {
        if (!isgraph(word.data[i]) || strchr("\"'\\", word.data[i])) {
            return false;
        }
    }
    return true;
}

static enum err parse_text(const struct config_directive *d,
                           const struct bytes *values, size_t n, char **out,
                           struct err_ctx *ctx)
{
    struct buf joined = BUF_INIT;
    size_t n_words = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        if (values[i].len && memchr(values[i].data, '\0', values[i].len)) {
            buf_deinit(&joined);
            return err_set(ctx, ERR_SYNTAX, "argument contains a zero byte");
        }
        if (d->type == CONFIG_WORDS && !is_plain(values[i])) {
            buf_deinit(&joined);
            return err_set(ctx, ERR_SYNTAX,
                           "argument contains a blank, a quote or a byte that "
                           "cannot be printed");
        }
        if (joined.len && values[i].len) {
            buf_append_byte(&joined, ' ');
        }
        buf_append_bytes(&joined, values[i]);
        n_words += values[i].len > 0;
    }
    if (d->type == CONFIG_WORDS && n_words > CONFIG_ADDRESSES_MAX) {
        buf_deinit(&joined);
        return err_set(ctx, ERR_RANGE, "Too many bind addresses specified.");
    }
    mem_free(*out);
    *out = mem_strndup(joined.data, joined.len);
    buf_deinit(&joined);
    return ERR_OK;
}

/* Pairs of seconds and changes, behind those that are there; one empty word
 * takes all away. */
static enum err parse_save(const struct bytes *values, size_t n, char **out,
                           struct err_ctx *ctx)
{
    struct buf all = BUF_INIT;
    int64_t seconds, changes;
    size_t i;

    if (n == 1 && values[0].len == 0) {
        **out = '\0';
        return ERR_OK;
    }
    buf_append_str(&all, *out);
    for (i = 0; i + 1 < n; i += 2) {
        if (!num_parse_i64(values[i], &seconds) || seconds < 1 ||
            !num_parse_i64(values[i + 1], &changes) || changes < 0) {
            break;
        }
        buf_printf(&all, "%s%" PRId64 " %" PRId64, all.len ? " " : "", seconds,
                   changes);
    }
    if (i != n || all.len > SAVE_TEXT_MAX) {
        buf_deinit(&all);
        return err_set(ctx, ERR_SYNTAX, "Invalid save parameters");
    }
    mem_free(*out);
    *out = mem_strndup(all.data, all.len);
    buf_deinit(&all);
    return ERR_OK;
}

/* ---- client-output-buffer-limit ---------------------------------------- */

static const char *const class_names[CONN_CLASS_COUNT] = {
    [CONN_NORMAL] = "normal",
    [CONN_REPLICA] = "replica",
    [CONN_PUBSUB] = "pubsub",
};

static int class_of(struct bytes word)
{
    int i;

    for (i = 0; i < CONN_CLASS_COUNT; i++) {
        if (bytes_equal_fold(word, class_names[i])) {
            return i;
        }
    }
    return bytes_equal_fold(word, "slave") ? CONN_REPLICA : -1;
}

static enum err parse_limits(const struct bytes *values, size_t n,
                             struct output_limit *out, struct err_ctx *ctx)
{
    struct output_limit limits[CONN_CLASS_COUNT];
    size_t i;

    memcpy(limits, out, sizeof(limits));
    if (n == 0 || n % 4 != 0) {
        return err_set(ctx, ERR_SYNTAX,
                       "Wrong number of arguments in buffer limit "
                       "configuration.");
    }
    for (i = 0; i < n; i += 4) {
        int class = class_of(values[i]);
        int64_t hard, soft, seconds;

        if (class < 0) {
            return err_set(ctx, ERR_SYNTAX,
                           "Invalid client class specified in buffer limit "
                           "configuration.");
        }
        if (!parse_bytes(values[i + 1], &hard) ||
            !parse_bytes(values[i + 2], &soft) ||
            !num_parse_i64(values[i + 3], &seconds) || seconds < 0 ||
            seconds > INT32_MAX) {
            return err_set(ctx, ERR_SYNTAX,
                           "Error in hard, soft or soft_seconds setting in "
                           "buffer limit configuration.");
        }
        limits[class] = (struct output_limit){
            .hard_bytes = (size_t)hard,
            .soft_bytes = (size_t)soft,
            .soft_seconds = seconds,
        };
    }
    memcpy(out, limits, sizeof(limits));
    return ERR_OK;
}

/* ---- parsing ----------------------------------------------------------- */

/* A directive whose default is all there is. */
static enum err check_only(const struct config_directive *d,
                           const struct bytes *values, size_t n,
                           struct err_ctx *ctx)
{
    if ((d->flags & CONF_ONLY_DEFAULT) &&
        (n != 1 || !bytes_equal_fold(values[0], d->def))) {
        return err_set(ctx, ERR_RANGE, "%s", d->only);
    }
    return ERR_OK;
}

/* Short enough for numbers and endings behind it. */
static bool is_file_name(struct bytes text)
{
    enum { NAME_MAX_BYTES = 200 };

    return text.len > 0 && text.len <= NAME_MAX_BYTES &&
           !memchr(text.data, '/', text.len) &&
           !memchr(text.data, '\0', text.len) &&
           !bytes_equal(text, bytes_str(".")) &&
           !bytes_equal(text, bytes_str(".."));
}

enum err config_value_parse(void *field, const struct config_directive *d,
                            const struct bytes *values, size_t n,
                            struct err_ctx *ctx)
{
    bool several = d->type == CONFIG_WORDS || d->type == CONFIG_LIMITS ||
                   d->type == CONFIG_SAVE;
    bool yes = false;
    enum err err;

    if (n == 0 || (n > 1 && !several)) {
        return err_set(ctx, ERR_SYNTAX, "wrong number of arguments");
    }
    switch (d->type) {
    case CONFIG_BOOL:
        err = parse_bool(values[0], &yes, ctx);
        if (!err) {
            err = check_only(d, values, n, ctx);
        }
        if (!err) {
            *(bool *)field = yes;
        }
        return err;
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_OCTAL:
        return parse_number(d, values[0], field, ctx);
    case CONFIG_ENUM:
        return parse_enum(d, values[0], field, ctx);
    case CONFIG_TEXT:
    case CONFIG_WORDS:
        err = check_only(d, values, n, ctx);
        if (!err && (d->flags & CONF_FILE_NAME) && !is_file_name(values[0])) {
            err = err_set(ctx, ERR_RANGE, "%s can't be a path, just a name",
                          d->name);
        }
        return err ? err : parse_text(d, values, n, field, ctx);
    case CONFIG_SAVE:
        return parse_save(values, n, field, ctx);
    case CONFIG_LIMITS:
        return parse_limits(values, n, field, ctx);
    case CONFIG_GROUP:
        break;
    }
    ASSERT(!"a group has no value");
    return ERR_UNSUPPORTED;
}

/* ---- printing ---------------------------------------------------------- */

static void print_limit(const struct output_limit *l, const char *class,
                        struct buf *out)
{
    buf_printf(out, "%s %zu %zu %" PRId64, class, l->hard_bytes, l->soft_bytes,
               l->soft_seconds);
}

void config_value_print(const void *field, const struct config_directive *d,
                        struct buf *out)
{
    const struct output_limit *limits = field;

    switch (d->type) {
    case CONFIG_BOOL:
        buf_append_str(out, *(const bool *)field ? "yes" : "no");
        return;
    case CONFIG_INT:
    case CONFIG_BYTES:
        buf_printf(out, "%" PRId64, *(const int64_t *)field);
        return;
    case CONFIG_OCTAL:
        buf_printf(out, "%" PRIo64, (uint64_t) * (const int64_t *)field);
        return;
    case CONFIG_ENUM:
        buf_append_str(out, d->names[*(const int64_t *)field]);
        return;
    case CONFIG_TEXT:
    case CONFIG_WORDS:
    case CONFIG_SAVE:
        buf_append_str(out, *(char *const *)field);
        return;
    case CONFIG_LIMITS:
        /* The word that CONFIG GET's users have known since before replicas
         * were called so. */
        print_limit(&limits[CONN_NORMAL], "normal", out);
        print_limit(&limits[CONN_REPLICA], " slave", out);
        print_limit(&limits[CONN_PUBSUB], " pubsub", out);
        return;
    case CONFIG_GROUP:
        return;
    }
}

/* In the largest unit that divides it. */
static void print_size(int64_t bytes, struct buf *out)
{
    static const char *const units[] = {"", "kb", "mb", "gb"};
    int unit = 0;

    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

static bool needs_quotes(const char *text)
{
    const char *p;

    for (p = text; *p; p++) {
        if (!isgraph((unsigned char)*p) || strchr("\"'\\#", *p)) {
            return true;
        }
    }
    return *text == '\0';
}

static void print_quoted(const char *text, struct buf *out)
{
    const char *p;

    if (!needs_quotes(text)) {
        buf_append_str(out, text);
        return;
    }
    buf_append_byte(out, '"');
    for (p = text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            buf_printf(out, "\\%c", *p);
        } else if (isprint((unsigned char)*p)) {
            buf_append_byte(out, (uint8_t)*p);
        } else {
            buf_printf(out, "\\x%02x", (unsigned)(unsigned char)*p);
        }
    }
    buf_append_byte(out, '"');
}

static void print_limit_line(const struct config_directive *d, int class,
                             const struct output_limit *l, struct buf *out)
{
    buf_printf(out, "%s %s ", d->name, class_names[class]);
    print_size((int64_t)l->hard_bytes, out);
    buf_append_byte(out, ' ');
    print_size((int64_t)l->soft_bytes, out);
    buf_printf(out, " %" PRId64 "\n", l->soft_seconds);
}

void config_value_print_lines(const void *field,
                              const struct config_directive *d, struct buf *out)
{
    int i;

    if (d->type == CONFIG_LIMITS) {
        for (i = 0; i < CONN_CLASS_COUNT; i++) {
            print_limit_line(d, i, (const struct output_limit *)field + i, out);
        }
        return;
    }
    buf_append_str(out, d->name);
    buf_append_byte(out, ' ');
    if (d->type == CONFIG_BYTES) {
        print_size(*(const int64_t *)field, out);
    } else if (d->type == CONFIG_TEXT ||
               (config_is_text(d) && **(char *const *)field == '\0')) {
        print_quoted(*(char *const *)field, out);
    } else {
        config_value_print(field, d, out);
    }
    buf_append_byte(out, '\n');
}
