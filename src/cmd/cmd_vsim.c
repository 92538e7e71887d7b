/* The searches: VSIM as Redis has it, and VSEARCH. */
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/vsearch.h"
#include "cmd/vset_key.h"

/* ---- VSIM -------------------------------------------------------------- */

struct vsim {
    struct search_request request;
    struct vsearch_shape shape;
    float *projected; /* owned, NULL without projection */
};

static bool vsim_options(struct cmd_ctx *ctx, size_t at, struct vsim *q)
{
    int64_t n;

    for (; at < ctx->argc; at++) {
        bool more = at + 1 < ctx->argc;

        if (arg_is(ctx, at, "WITHSCORES")) {
            q->shape.scores = true;
        } else if (arg_is(ctx, at, "WITHATTRIBS")) {
            q->shape.attribs = true;
        } else if (arg_is(ctx, at, "TRUTH")) {
            q->request.exact = true;
        } else if (arg_is(ctx, at, "NOTHREAD")) {
            /* No search holds the loop, wherever it runs. */
        } else if (arg_is(ctx, at, "COUNT") && more) {
            if (!arg_int_in(ctx, ++at, 1, INT64_MAX, "ERR invalid COUNT", &n)) {
                return false;
            }
            q->request.k = (size_t)n;
        } else if (arg_is(ctx, at, "EPSILON") && more) {
            if (!arg_double_over(ctx, ++at, 0, "ERR invalid EPSILON",
                                 &q->shape.epsilon)) {
                return false;
            }
        } else if (arg_is(ctx, at, "EF") && more) {
            if (!arg_int_in(ctx, ++at, 1, VSEARCH_EF_MAX, "ERR invalid EF",
                            &n)) {
                return false;
            }
            q->request.ef = (uint32_t)n;
        } else if (arg_is(ctx, at, "FILTER-EF") && more) {
            if (!arg_int_in(ctx, ++at, 1, INT64_MAX, "ERR invalid FILTER-EF",
                            &n)) {
                return false;
            }
            q->request.filter_ef = (size_t)n;
        } else if (arg_is(ctx, at, "FILTER") && more) {
            if (!vsearch_parse_filter(ctx, ++at, &q->request)) {
                return false;
            }
        } else {
            cmd_error(ctx, "ERR syntax error in VSIM command");
            return false;
        }
    }
    return true;
}

void cmd_vsim(struct cmd_ctx *ctx)
{
    struct vsim q;
    struct vset *v;
    size_t at = 2;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        reply_array(&ctx->reply, 0); /* before anything else is looked at */
        return;
    }
    vsearch_init(&q.request, &q.shape, ctx);
    if (vsearch_parse_query(ctx, v, &at, &q.request, &q.projected) &&
        vsim_options(ctx, at, &q)) {
        vsearch_shape_store(&q.request, &q.shape);
        vsearch_start(ctx, v, &q.request);
    } else {
        filter_destroy(q.request.filter);
    }
    mem_free(q.projected);
}

/* ---- VSEARCH ----------------------------------------------------------- */

void cmd_vsearch(struct cmd_ctx *ctx)
{
    struct search_request r;
    struct vsearch_shape sh;
    float *projected = NULL;
    struct vset *v;
    size_t at = 2;
    size_t filter_at;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        reply_array(&ctx->reply, 0);
        return;
    }
    vsearch_init(&r, &sh, ctx);
    if (vsearch_parse_query(ctx, v, &at, &r, &projected) &&
        vsearch_parse_options(ctx, at, &r, &sh, &filter_at)) {
        vsearch_shape_store(&r, &sh);
        vsearch_start(ctx, v, &r);
    } else {
        filter_destroy(r.filter);
    }
    mem_free(projected);
}
