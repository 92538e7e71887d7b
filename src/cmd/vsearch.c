/* Searches: from arguments to a request, and from hits to a reply. See
 * vsearch.h. */
#include "cmd/vsearch.h"

#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/vset_key.h"

/* ---- writing the answer ------------------------------------------------ */

static void write_details(struct reply *r, const struct vsearch_shape *sh,
                          const struct search_hit *hit)
{
    int n = sh->scores + sh->distances + sh->attribs;

    if (r->proto >= 3 && n > 1) {
        reply_array(r, (size_t)n);
    }
    if (sh->scores) {
        reply_double(r, hit->score);
    }
    if (sh->distances) {
        reply_double(r, hit->distance);
    }
    if (sh->attribs && hit->attribute.len) {
        reply_bulk(r, hit->attribute);
    } else if (sh->attribs) {
        reply_null(r);
    }
}

static void write_stats(struct reply *r, const struct search *s)
{
    struct search_stats st;

    search_stats_read(s, &st);
    reply_map(r, 5);
    reply_bulk_str(r, "plan");
    reply_bulk_str(r, st.plan);
    reply_bulk_str(r, "rows-scored");
    reply_int(r, (int64_t)st.scored);
    reply_bulk_str(r, "tail-rows");
    reply_int(r, (int64_t)st.tail);
    reply_bulk_str(r, "exact");
    reply_bool(r, st.exact);
    reply_bulk_str(r, "complete");
    reply_bool(r, st.complete);
}

/* Hits are ordered by distance, so those within epsilon come first. The bound
 * is a float32, as distances are: else a hit exactly on a bound like 0.3, which
 * neither holds, would be cut. */
static size_t count_within(const struct search *s, double epsilon)
{
    size_t n = search_hit_count(s);
    struct search_hit hit;

    if (epsilon >= 2) {
        return n;
    }
    while (n > 0) {
        search_hit_read(s, n - 1, &hit);
        if ((float)(1 - hit.score) <= (float)epsilon) {
            break;
        }
        n--;
    }
    return n;
}

void vsearch_write(const struct search *s, const void *data, struct buf *out)
{
    const struct vsearch_shape *sh = data;
    struct reply r = {out, sh->proto};
    int details = sh->scores + sh->distances + sh->attribs;
    struct search_hit hit;
    size_t n, i;

    if (search_outcome(s) == SEARCH_TIMED_OUT) {
        reply_error_fmt(&r, "TIMEOUT the search took longer than %.0f ms",
                        sh->timeout_ms);
        return;
    }
    n = count_within(s, sh->epsilon);
    if (sh->stats) {
        reply_array(&r, 2);
    }
    if (!details) {
        reply_array(&r, n);
    } else if (r.proto >= 3) {
        reply_map(&r, n);
    } else {
        reply_array(&r, n * (1 + (size_t)details));
    }
    for (i = 0; i < n; i++) {
        search_hit_read(s, i, &hit);
        reply_bulk(&r, hit.name);
        if (details) {
            write_details(&r, sh, &hit);
        }
    }
    if (sh->stats) {
        write_stats(&r, s);
    }
}

/* ---- starting a search ------------------------------------------------- */

static void answered_later(struct search *s, void *arg)
{
    bool late =
        !search_was_cancelled(s) && search_outcome(s) == SEARCH_TIMED_OUT;

    cmd_fulfil(arg, search_reply(s), search_run_us(s), late ? "TIMEOUT" : NULL);
}

static void abandoned(void *arg)
{
    search_cancel(arg);
}

static void answered_now(struct search *s, void *arg)
{
    struct cmd_ctx *ctx = arg;

    if (search_outcome(s) == SEARCH_TIMED_OUT) {
        ctx->failed = true;
        cmd_count_error(ctx->env, "TIMEOUT");
    }
    buf_append_bytes(ctx->reply.out, buf_bytes(search_reply(s)));
}

void vsearch_shape_store(struct search_request *r,
                         const struct vsearch_shape *sh)
{
    ASSERT(sizeof(*sh) <= sizeof(r->format_data));
    memcpy(r->format_data, sh, sizeof(*sh));
}

/* Runs or submits a search; replies or defers. */
void vsearch_start(struct cmd_ctx *ctx, struct vset *v,
                   struct search_request *r)
{
    struct search *s;
    enum err err = search_create(v, r, &s);

    if (err) {
        vset_key_error(ctx, err);
        return;
    }
    if (search_is_cheap(s)) {
        search_run(s, answered_now, ctx);
    } else {
        struct cmd_pending *p = cmd_defer(ctx, search_expects(s));

        cmd_when_gone(p, abandoned, s);
        search_submit(s, answered_later, p);
    }
}

/* ---- the query --------------------------------------------------------- */

void vsearch_init(struct search_request *r, struct vsearch_shape *sh,
                  const struct cmd_ctx *ctx)
{
    *r = (struct search_request){.slot = SLOT_NONE,
                                 .exclude = SLOT_NONE,
                                 .k = VSEARCH_K_DEFAULT,
                                 .radius = INFINITY,
                                 .format = vsearch_write};
    *sh = (struct vsearch_shape){.proto = (uint8_t)ctx->client->proto,
                                 .epsilon = 2};
}

/* Projects a query for a projected set, unless it is so already. */
bool vsearch_fit_query(struct cmd_ctx *ctx, const struct vset *v,
                       struct vector_arg *q, float **projected)
{
    const struct vset_options *o = vset_options(v);

    if (!o->input_dim || q->dim == o->dim) {
        return true;
    }
    if (q->dim != o->input_dim) {
        cmd_error_fmt(ctx,
                      "ERR Input dimension mismatch for projection - got %u "
                      "but projection expects %u",
                      q->dim, o->input_dim);
        return false;
    }
    *projected = mem_alloc(o->dim * sizeof(float));
    vset_project(v, q->data, *projected);
    q->data = *projected;
    q->dim = o->dim;
    return true;
}

/* Parses ELE or a vector at argv[*at] into the request. */
bool vsearch_parse_query(struct cmd_ctx *ctx, const struct vset *v, size_t *at,
                         struct search_request *r, float **projected)
{
    struct vector_arg q;

    *projected = NULL;
    if (arg_is(ctx, *at, "ELE") && *at + 1 < ctx->argc) {
        r->slot = vset_find(v, ctx->argv[*at + 1]);
        *at += 2;
        if (r->slot == SLOT_NONE) {
            cmd_error(ctx, "ERR element not found in set");
            return false;
        }
        return true;
    }
    if (!vector_arg_parse(ctx, at, false, &q)) {
        cmd_error(ctx, "ERR invalid vector specification");
        return false;
    }
    if (!vsearch_fit_query(ctx, v, &q, projected)) {
        return false;
    }
    if (q.dim != vset_options(v)->dim) {
        cmd_error_fmt(ctx,
                      "ERR Vector dimension mismatch - got %u but set has %u",
                      q.dim, vset_options(v)->dim);
        return false;
    }
    r->vector = q.data;
    return true;
}

/* Compiles the expression at argv[at]; an earlier one is forgotten. */
bool vsearch_parse_filter(struct cmd_ctx *ctx, size_t at,
                          struct search_request *r)
{
    struct bytes expr = ctx->argv[at];
    size_t error_at = 0;
    enum err err;

    filter_destroy(r->filter);
    r->filter = NULL;
    r->filter_text = expr;
    err = filter_compile(expr, &r->filter, &error_at);
    if (!err) {
        return true;
    }
    if (err == ERR_NOMEM) {
        cmd_error_oom(ctx);
        return false;
    }
    if (error_at >= expr.len) {
        error_at = 0;
    }
    cmd_error_fmt(ctx, "ERR syntax error in FILTER expression near: %.*s",
                  (int)(expr.len - error_at),
                  (const char *)expr.data + error_at);
    return false;
}

/* ---- VSEARCH's options ------------------------------------------------- */

static bool vsearch_number(struct cmd_ctx *ctx, size_t *at, const char *word,
                           int64_t max, int64_t *n, bool *matched)
{
    int64_t v;

    *matched = arg_is(ctx, *at, word) && *at + 1 < ctx->argc;
    if (!*matched) {
        return true;
    }
    (*at)++;
    if (!num_parse_i64(ctx->argv[*at], &v) || v < 1 || v > max) {
        cmd_error_fmt(ctx, "ERR invalid %s", word);
        return false;
    }
    *n = v;
    return true;
}

/* The options with a number that need no more than that. */
static bool vsearch_numbers(struct cmd_ctx *ctx, size_t *at,
                            struct search_request *r, struct vsearch_shape *sh,
                            bool *k_given, bool *matched)
{
    int64_t n = 0;

    if (!vsearch_number(ctx, at, "K", INT64_MAX, &n, matched) || *matched) {
        r->k = (size_t)n;
        *k_given = true;
        return n > 0;
    }
    if (!vsearch_number(ctx, at, "TIMEOUT", INT64_C(86400000), &n, matched) ||
        *matched) {
        r->timeout = n * 1000;
        sh->timeout_ms = (double)n;
        return n > 0;
    }
    if (!vsearch_number(ctx, at, "EF", VSEARCH_EF_MAX, &n, matched) ||
        *matched) {
        r->ef = (uint32_t)n;
        return n > 0;
    }
    if (!vsearch_number(ctx, at, "FILTER-EF", INT64_MAX, &n, matched) ||
        *matched) {
        r->filter_ef = (size_t)n;
        return n > 0;
    }
    if (!vsearch_number(ctx, at, "NPROBE", VSEARCH_NPROBE_MAX, &n, matched) ||
        *matched) {
        r->nprobe = (uint32_t)n;
        return n > 0;
    }
    return true;
}

static bool vsearch_flag(const struct cmd_ctx *ctx, size_t at,
                         struct search_request *r, struct vsearch_shape *sh)
{
    if (arg_is(ctx, at, "WITHSCORES")) {
        sh->scores = true;
    } else if (arg_is(ctx, at, "WITHDISTANCES")) {
        sh->distances = true;
    } else if (arg_is(ctx, at, "WITHATTRIBS")) {
        sh->attribs = true;
    } else if (arg_is(ctx, at, "WITHSTATS")) {
        sh->stats = true;
    } else if (arg_is(ctx, at, "EXACT")) {
        r->exact = true;
    } else {
        return false;
    }
    return true;
}

bool vsearch_parse_options(struct cmd_ctx *ctx, size_t at,
                           struct search_request *r, struct vsearch_shape *sh,
                           size_t *filter_at)
{
    bool k_given = false;

    *filter_at = 0;
    for (; at < ctx->argc; at++) {
        bool more = at + 1 < ctx->argc;
        bool matched;

        if (vsearch_flag(ctx, at, r, sh)) {
            continue;
        }
        if (arg_is(ctx, at, "FILTER") && more) {
            *filter_at = ++at;
            if (!vsearch_parse_filter(ctx, at, r)) {
                return false;
            }
            continue;
        }
        if (arg_is(ctx, at, "RADIUS") && more) {
            if (!arg_double_over(ctx, ++at, -INFINITY, "ERR invalid RADIUS",
                                 &r->radius)) {
                return false;
            }
            continue;
        }
        if (arg_is(ctx, at, "RECALL") && more) {
            if (!arg_double_over(ctx, ++at, 0, "ERR invalid RECALL",
                                 &r->recall)) {
                return false;
            }
            if (r->recall > 1) {
                cmd_error(ctx, "ERR invalid RECALL");
                return false;
            }
            continue;
        }
        if (!vsearch_numbers(ctx, &at, r, sh, &k_given, &matched)) {
            return false;
        }
        if (!matched) {
            cmd_error_fmt(ctx, "ERR syntax error in %s command",
                          ctx->command->name);
            return false;
        }
    }
    /* All within a radius, unless a number is asked for: an answer must not be
     * short for a reason the client did not give. */
    if (!k_given && !isinf(r->radius)) {
        r->k = SIZE_MAX;
    }
    return true;
}
