/* LCS: the longest common subsequence of two strings.
 *
 * The textbook table of prefix lengths, filled row by row and then walked back
 * from its far corner. Only one row of lengths is kept. What the walk needs of
 * every place is one bit, which string goes back where their bytes differ, so
 * that the memory is a thirty-second of the whole table's; with LEN there is no
 * walk and there are no bits. Rows lie along the shorter string.
 *
 * The whole table, four bytes a place, must be within the length that a string
 * may have: Redis's limit, and what bounds the work, which is done in slices on
 * copies of the strings. */
#include <string.h>

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/string_key.h"

enum { PLACES_PER_LOOK = 4096 };

struct lcs_options {
    bool len;
    bool idx;
    bool with_match_len;
    int64_t min_match_len;
};

struct lcs_job {
    struct cmd_job job;
    struct lcs_options o;
    struct bytes a, b; /* copies, in `block` */
    bool a_is_row;     /* rows lie along a, else along b */
    uint8_t *block;    /* everything below, and the copies */
    uint32_t *row;     /* lengths, one more than the shorter string has bytes */
    uint8_t *a_back;   /* a bit per place, rows padded to bytes */
    uint8_t *result;   /* the subsequence; shares the longer copy's length */
    size_t stride;     /* bytes of a row of a_back */
    size_t row_at;     /* rows filled */
    size_t i, j;       /* where the walk is: prefixes of a and b */
    size_t found;      /* bytes of the result not walked over yet */
    size_t run;        /* matches since the last difference */
    struct buf ranges;
    size_t n_ranges;
};

static struct bytes row_string(const struct lcs_job *l)
{
    return l->a_is_row ? l->a : l->b;
}

static struct bytes column_string(const struct lcs_job *l)
{
    return l->a_is_row ? l->b : l->a;
}

/* ---- the table --------------------------------------------------------- */

static void fill_row(struct lcs_job *l, size_t at)
{
    struct bytes along = row_string(l);
    uint8_t c = column_string(l).data[at];
    uint8_t *bits = l->a_back ? l->a_back + at * l->stride : NULL;
    uint32_t diagonal = 0;
    size_t p;

    if (bits) {
        memset(bits, 0, l->stride);
    }
    for (p = 0; p < along.len; p++) {
        uint32_t above = l->row[p + 1];
        uint32_t left = l->row[p];

        if (along.data[p] == c) {
            l->row[p + 1] = diagonal + 1;
        } else {
            bool a_back = l->a_is_row ? left > above : above > left;

            l->row[p + 1] = above > left ? above : left;
            if (bits && a_back) {
                bits[p / 8] |= (uint8_t)(1 << p % 8);
            }
        }
        diagonal = above;
    }
}

/* True when the table is complete. */
static bool fill_some(struct lcs_job *l)
{
    size_t n_rows = column_string(l).len;
    size_t places = 0;

    while (l->row_at < n_rows) {
        fill_row(l, l->row_at++);
        places += row_string(l).len + 1;
        if (places > PLACES_PER_LOOK) {
            places = 0;
            if (cmd_job_should_yield(&l->job)) {
                return l->row_at == n_rows;
            }
        }
    }
    return true;
}

/* ---- the walk back ----------------------------------------------------- */

static void end_run(struct lcs_job *l)
{
    struct reply r = {&l->ranges, l->job.reply.proto};
    size_t run = l->run;

    l->run = 0;
    if (!l->o.idx || run == 0 || (int64_t)run < l->o.min_match_len) {
        return;
    }
    reply_array(&r, l->o.with_match_len ? 3 : 2);
    reply_array(&r, 2);
    reply_int(&r, (int64_t)l->i);
    reply_int(&r, (int64_t)(l->i + run - 1));
    reply_array(&r, 2);
    reply_int(&r, (int64_t)l->j);
    reply_int(&r, (int64_t)(l->j + run - 1));
    if (l->o.with_match_len) {
        reply_int(&r, (int64_t)run);
    }
    l->n_ranges++;
}

static bool a_goes_back(const struct lcs_job *l)
{
    size_t row = l->a_is_row ? l->j - 1 : l->i - 1;
    size_t p = l->a_is_row ? l->i - 1 : l->j - 1;

    return l->a_back[row * l->stride + p / 8] >> p % 8 & 1;
}

/* True when the walk is over. */
static bool walk_some(struct lcs_job *l)
{
    size_t steps = 0;

    while (l->i > 0 && l->j > 0) {
        if (++steps % PLACES_PER_LOOK == 0 && cmd_job_should_yield(&l->job)) {
            return false;
        }
        if (l->a.data[l->i - 1] == l->b.data[l->j - 1]) {
            l->i--;
            l->j--;
            l->run++;
            l->result[--l->found] = l->a.data[l->i];
        } else {
            end_run(l);
            if (a_goes_back(l)) {
                l->i--;
            } else {
                l->j--;
            }
        }
    }
    end_run(l);
    return true;
}

/* ---- the job ----------------------------------------------------------- */

static bool step(struct cmd_job *job)
{
    struct lcs_job *l = CONTAINER_OF(job, struct lcs_job, job);
    size_t len;

    if (l->row_at < column_string(l).len) {
        if (!fill_some(l)) {
            return true;
        }
        l->found = l->row[row_string(l).len];
    }
    len = l->row[row_string(l).len];
    if (l->o.len) {
        reply_int(&job->reply, (int64_t)len);
        return false;
    }
    if (!walk_some(l)) {
        return true;
    }
    if (!l->o.idx) {
        reply_bulk(&job->reply, bytes_of(l->result, len));
        return false;
    }
    reply_map(&job->reply, 2);
    reply_bulk_str(&job->reply, "matches");
    reply_array(&job->reply, l->n_ranges);
    buf_append_bytes(&job->out, buf_bytes(&l->ranges));
    reply_bulk_str(&job->reply, "len");
    reply_int(&job->reply, (int64_t)len);
    return false;
}

static void destroy(struct cmd_job *job)
{
    struct lcs_job *l = CONTAINER_OF(job, struct lcs_job, job);

    buf_deinit(&l->ranges);
    mem_free(l->block);
    mem_free(l);
}

/* Lays out the block for strings of these lengths and copies them; false when
 * there is no memory for it. */
static bool prepare(struct lcs_job *l, struct bytes a, struct bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    size_t longer = a.len < b.len ? b.len : a.len;
    size_t row_bytes = (shorter + 1) * sizeof(*l->row);
    size_t bits_bytes, size;
    uint8_t *at;

    l->a_is_row = a.len < b.len;
    l->stride = (shorter + 7) / 8;
    bits_bytes = l->o.len ? 0 : l->stride * longer;
    size = row_bytes + bits_bytes + a.len + b.len + shorter;
    if (!mem_has_room(mem_good_size(size))) {
        return false;
    }
    l->block = mem_try_alloc(size);
    if (!l->block) {
        return false;
    }
    l->row = (uint32_t *)(void *)l->block;
    memset(l->row, 0, row_bytes);
    at = l->block + row_bytes;
    l->a_back = l->o.len ? NULL : at;
    at += bits_bytes;
    l->a = bytes_of(at, a.len);
    if (a.len) {
        memcpy(at, a.data, a.len);
    }
    at += a.len;
    l->b = bytes_of(at, b.len);
    if (b.len) {
        memcpy(at, b.data, b.len);
    }
    l->result = at + b.len;
    l->i = a.len;
    l->j = b.len;
    return true;
}

/* ---- the command ------------------------------------------------------- */

/* False: an error was replied. */
static bool parse(struct cmd_ctx *ctx, struct lcs_options *o)
{
    size_t i;

    for (i = 3; i < ctx->argc; i++) {
        if (arg_is(ctx, i, "IDX")) {
            o->idx = true;
        } else if (arg_is(ctx, i, "LEN")) {
            o->len = true;
        } else if (arg_is(ctx, i, "WITHMATCHLEN")) {
            o->with_match_len = true;
        } else if (arg_is(ctx, i, "MINMATCHLEN") && i + 1 < ctx->argc) {
            if (!arg_int(ctx, ++i, &o->min_match_len)) {
                return false;
            }
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    if (o->idx && o->len) {
        cmd_error(ctx, "ERR If you want both the length and indexes, please "
                       "just use IDX.");
        return false;
    }
    return true;
}

/* The text of argv[i], empty without the key; false: it holds no string. */
static bool text_of(struct cmd_ctx *ctx, size_t i, char *digits,
                    struct bytes *text)
{
    const struct entry *e =
        keyspace_read(ctx->ks, ctx->client->db, ctx->argv[i]);

    *text = BYTES_NONE;
    if (!e) {
        return true;
    }
    if (e->type != VALUE_STRING) {
        return false;
    }
    *text = string_get(e, digits);
    return true;
}

static void start(struct cmd_ctx *ctx, const struct lcs_options *o,
                  struct bytes a, struct bytes b)
{
    struct lcs_job *l;
    size_t places;

    if (__builtin_mul_overflow(a.len + 1, b.len + 1, &places) ||
        places > STRING_LEN_MAX / sizeof(*l->row)) {
        cmd_error(ctx, "ERR Insufficient memory, transient memory for LCS "
                       "exceeds proto-max-bulk-len");
        return;
    }
    l = cmd_job_alloc(sizeof(*l), step, destroy);
    l->o = *o;
    if (!prepare(l, a, b)) {
        cmd_error(ctx, "ERR Insufficient memory, failed allocating transient "
                       "memory for LCS");
        destroy(&l->job);
        return;
    }
    cmd_job_start(ctx, &l->job);
}

void cmd_lcs(struct cmd_ctx *ctx)
{
    char digits[2][NUM_TEXT_MAX];
    struct lcs_options o = {.len = false};
    struct bytes a, b;
    bool a_ok = text_of(ctx, 1, digits[0], &a);
    bool b_ok = text_of(ctx, 2, digits[1], &b);

    if (!a_ok || !b_ok) {
        cmd_error(ctx, "ERR The specified keys must contain string values");
        return;
    }
    if (parse(ctx, &o)) {
        start(ctx, &o, a, b);
    }
}
