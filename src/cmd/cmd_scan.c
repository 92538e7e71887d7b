/* Walking the keys of a database: KEYS, SCAN.
 *
 * Both walk in hash order with keyspace_scan(), in rounds short enough for a
 * slice of a job. Keys that come and go between slices may or may not be
 * answered; one that is there all the time is, and none is twice.
 *
 * A reply begins with the number of keys, so they are gathered aside, in parts
 * of bounded size: one buffer that grows would move megabytes at a time. When
 * all are there, the parts are appended to the reply, in slices again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/job.h"

enum {
    KEYS_PER_ROUND = 512,
    SCAN_COUNT_DEFAULT = 10,
    PART_BYTES = 128 * 1024, /* a part is full when it has that much */
};

struct walk_job {
    struct cmd_job job;
    bool is_scan;
    /* what is wanted */
    size_t pattern_at; /* in argv; 0: none */
    bool any_type;
    uint8_t type; /* VALUE_TYPE_COUNT: one that no key has */
    /* where the walk is */
    uint64_t cursor;
    int64_t want; /* keys still to be looked at */
    bool walked;
    struct bytes pattern; /* during a step, a view of an argument */
    bool all;
    /* what was found */
    struct buf *parts; /* bulk strings, in the reply's format */
    size_t n_parts, n_appended;
    size_t n_keys;
    size_t bytes; /* of all parts */
};

/* ---- gathering --------------------------------------------------------- */

static void gather(void *arg, struct entry *e)
{
    struct walk_job *w = arg;

    if ((w->any_type || w->type == e->type) &&
        (w->all || glob_match(w->pattern, entry_key(e), false))) {
        struct reply names = {&w->parts[w->n_parts - 1], w->job.reply.proto};

        reply_bulk(&names, entry_key(e));
        w->n_keys++;
    }
}

/* Makes sure that the last part is not full. */
static void open_part(struct walk_job *w)
{
    if (w->n_parts > 0 && w->parts[w->n_parts - 1].len < PART_BYTES) {
        return;
    }
    w->parts = mem_realloc(w->parts, (w->n_parts + 1) * sizeof(*w->parts));
    w->parts[w->n_parts++] = BUF_INIT;
}

/* Walks until enough keys were looked at, or the slice is over. */
static void walk_some(struct walk_job *w)
{
    struct cmd_job *job = &w->job;

    if (w->pattern_at) {
        w->pattern = job->argv[w->pattern_at];
    }
    w->all = !w->pattern_at || bytes_equal(w->pattern, bytes_str("*"));
    do {
        int64_t n = w->want < KEYS_PER_ROUND ? w->want : KEYS_PER_ROUND;

        open_part(w);
        w->cursor = keyspace_scan(job->env->ks, job->db, w->cursor, (size_t)n,
                                  gather, w);
        w->want -= n;
    } while (w->cursor && w->want > 0 && !cmd_job_should_yield(job));
    w->walked = !w->cursor || w->want <= 0;
}

/* ---- replying ---------------------------------------------------------- */

static void begin_reply(struct walk_job *w)
{
    struct reply *r = &w->job.reply;
    char digits[NUM_TEXT_MAX];
    size_t i;

    for (i = 0; i < w->n_parts; i++) {
        w->bytes += w->parts[i].len;
    }
    (void)buf_room(&w->job.out, w->bytes + 4 * NUM_TEXT_MAX);
    if (w->is_scan) {
        reply_array(r, 2);
        reply_bulk(r, bytes_of(digits, num_format_u64(w->cursor, digits)));
    }
    reply_array(r, w->n_keys);
}

/* True when there is more. */
static bool append_some(struct walk_job *w)
{
    while (w->n_appended < w->n_parts) {
        struct buf *part = &w->parts[w->n_appended++];

        buf_append_bytes(&w->job.out, buf_bytes(part));
        buf_deinit(part);
        if (cmd_job_should_yield(&w->job)) {
            break;
        }
    }
    return w->n_appended < w->n_parts;
}

/* ---- the job ----------------------------------------------------------- */

static bool step(struct cmd_job *job)
{
    struct walk_job *w = CONTAINER_OF(job, struct walk_job, job);

    if (!w->walked) {
        walk_some(w);
        if (!w->walked) {
            return true;
        }
        begin_reply(w);
        if (w->n_parts > 1 && cmd_job_should_yield(job)) {
            return true;
        }
    }
    return append_some(w);
}

static void destroy(struct cmd_job *job)
{
    struct walk_job *w = CONTAINER_OF(job, struct walk_job, job);
    size_t i;

    for (i = 0; i < w->n_parts; i++) {
        buf_deinit(&w->parts[i]);
    }
    mem_free(w->parts);
    mem_free(w);
}

static struct walk_job *walk_create(void)
{
    struct walk_job *w = cmd_job_alloc(sizeof(*w), step, destroy);

    w->any_type = true;
    return w;
}

/* ---- KEYS -------------------------------------------------------------- */

void cmd_keys(struct cmd_ctx *ctx)
{
    struct walk_job *w = walk_create();

    w->pattern_at = 1;
    w->want = INT64_MAX;
    cmd_job_start(ctx, &w->job);
}

/* ---- SCAN -------------------------------------------------------------- */

/* A cursor is what strtoull() takes, and not negative: clients pass back what
 * they got, and Redis takes no harder look either. */
static bool parse_cursor(struct bytes text, uint64_t *out)
{
    char copy[64];
    char *end;
    int64_t n;

    if (num_parse_i64(text, &n)) {
        *out = (uint64_t)n;
        return n >= 0;
    }
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *out = strtoull(copy, &end, 10);
    return errno == 0 && end != copy && end == copy + text.len;
}

static uint8_t type_of_name(struct bytes name)
{
    uint8_t type;

    for (type = 0; type < VALUE_TYPE_COUNT; type++) {
        if (bytes_equal_fold(name, keyspace_type_name((enum value_type)type))) {
            break;
        }
    }
    return type;
}

/* False: an error was replied. */
static bool parse_scan_options(struct cmd_ctx *ctx, struct walk_job *w)
{
    size_t i;

    w->want = SCAN_COUNT_DEFAULT;
    for (i = 2; i < ctx->argc; i += 2) {
        bool has_value = i + 1 < ctx->argc;

        if (has_value && arg_is(ctx, i, "COUNT")) {
            if (!arg_int(ctx, i + 1, &w->want)) {
                return false;
            }
            if (w->want < 1) {
                cmd_error_syntax(ctx);
                return false;
            }
        } else if (has_value && arg_is(ctx, i, "MATCH")) {
            w->pattern_at = i + 1;
        } else if (has_value && arg_is(ctx, i, "TYPE")) {
            w->any_type = false;
            w->type = type_of_name(ctx->argv[i + 1]);
        } else if (arg_is(ctx, i, "NOVALUES")) {
            cmd_error(ctx, "ERR NOVALUES option can only be used in HSCAN");
            return false;
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

void cmd_scan(struct cmd_ctx *ctx)
{
    struct walk_job *w = walk_create();

    w->is_scan = true;
    if (!parse_cursor(ctx->argv[1], &w->cursor)) {
        cmd_error(ctx, "ERR invalid cursor");
    } else if (parse_scan_options(ctx, w)) {
        cmd_job_start(ctx, &w->job);
        return;
    }
    destroy(&w->job);
}
