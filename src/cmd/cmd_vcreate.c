/* VCREATE, and VESTIMATE, which says what the like of it would take. */
#include <stdio.h>

#include "cmd/args.h"
#include "cmd/vset_key.h"
#include "db/vset/vset_estimate.h"

enum { NAME_LEN_DEFAULT = 16, NAME_LEN_MAX = 1 << 20 };

/* ---- options ------------------------------------------------------------- */

static bool parse_metric(struct cmd_ctx *ctx, size_t at, struct vset_options *o)
{
    int m;

    for (m = 0; m < VEC_METRIC_COUNT; m++) {
        if (arg_is(ctx, at, vec_metric_name((enum vec_metric)m))) {
            o->metric = (enum vec_metric)m;
            return true;
        }
    }
    cmd_error(ctx, "ERR invalid METRIC");
    return false;
}

static bool parse_index(struct cmd_ctx *ctx, size_t at, struct vset_options *o)
{
    if (arg_is(ctx, at, "AUTO")) {
        o->index = VSET_INDEX_AUTO;
    } else if (arg_is(ctx, at, "FLAT")) {
        o->index = VSET_INDEX_FLAT;
    } else if (arg_is(ctx, at, "HNSW")) {
        o->index = VSET_INDEX_HNSW;
    } else if (arg_is(ctx, at, "IVF")) {
        o->index = VSET_INDEX_IVF;
    } else {
        cmd_error(ctx, "ERR invalid INDEX: there are AUTO, FLAT, HNSW and IVF");
        return false;
    }
    return true;
}

static bool parse_precision(const struct cmd_ctx *ctx, size_t at,
                            struct vset_options *o)
{
    static const struct {
        const char *word;
        enum vec_type type;
    } words[] = {{"NOQUANT", VEC_F32}, {"FP32", VEC_F32}, {"Q8", VEC_I8},
                 {"BIN", VEC_BIT},     {"FP16", VEC_F16}, {"BF16", VEC_BF16}};
    size_t i;

    for (i = 0; i < ARRAY_LEN(words); i++) {
        if (arg_is(ctx, at, words[i].word)) {
            o->type = words[i].type;
            return true;
        }
    }
    return false;
}

static bool number_in(struct cmd_ctx *ctx, size_t at, int64_t min, int64_t max,
                      const char *error, uint32_t *out)
{
    int64_t n;

    if (!arg_int_in(ctx, at, min, max, error, &n)) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

/* An option of a set that is to be, at *at, which moves to its last word.
 *
 * out    *known: false when it is none of these. */
static bool parse_option(struct cmd_ctx *ctx, size_t *at,
                         struct vset_options *o, bool *known)
{
    size_t word = *at;

    *known = true;
    if (parse_precision(ctx, word, o)) {
        return true;
    }
    if (word + 1 < ctx->argc) {
        *at = word + 1;
        if (arg_is(ctx, word, "METRIC")) {
            return parse_metric(ctx, *at, o);
        }
        if (arg_is(ctx, word, "INDEX")) {
            return parse_index(ctx, *at, o);
        }
        if (arg_is(ctx, word, "M")) {
            return number_in(ctx, *at, VSET_M_MIN, VSET_M_MAX, "ERR invalid M",
                             &o->m);
        }
        if (arg_is(ctx, word, "EF")) {
            return number_in(ctx, *at, 1, VSET_EF_MAX, "ERR invalid EF",
                             &o->ef);
        }
    }
    *at = word;
    *known = false;
    return true;
}

static bool parse_dim(struct cmd_ctx *ctx, size_t at, struct vset_options *o)
{
    if (!arg_is(ctx, at, "DIM")) {
        cmd_error_syntax(ctx);
        return false;
    }
    return number_in(ctx, at + 1, 1, VEC_DIM_MAX, "ERR invalid DIM", &o->dim);
}

/* ---- VCREATE ------------------------------------------------------------- */

static bool parse_create(struct cmd_ctx *ctx, struct vset_options *o)
{
    bool known;
    size_t at;

    if (!parse_dim(ctx, 2, o)) {
        return false;
    }
    for (at = 4; at < ctx->argc; at++) {
        if (!parse_option(ctx, &at, o, &known)) {
            return false;
        }
        if (!known) {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return true;
}

void cmd_vcreate(struct cmd_ctx *ctx)
{
    struct vset_options o = {.type = VEC_I8,
                             .metric = VEC_COSINE,
                             .m = VSET_M_DEFAULT,
                             .keep_empty = true};

    if (!parse_create(ctx, &o)) {
        return;
    }
    if (keyspace_find(ctx->ks, ctx->client->db, ctx->argv[1])) {
        cmd_error(ctx, "ERR key already exists");
        return;
    }
    if (!vset_key_create(ctx->ks, ctx->client->db, ctx->argv[1], &o)) {
        cmd_error_oom(ctx);
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    reply_status(&ctx->reply, "OK");
}

/* ---- VESTIMATE ----------------------------------------------------------- */

static bool parse_estimated(struct cmd_ctx *ctx, size_t *at,
                            struct vset_estimate_of *of, bool *known)
{
    size_t word = *at;

    *known = true;
    if (arg_is(ctx, word, "DISCARD")) {
        of->lists.discard = true;
        return true;
    }
    if (word + 1 < ctx->argc) {
        *at = word + 1;
        if (arg_is(ctx, word, "NLIST")) {
            return number_in(ctx, *at, 1, LISTS_NLIST_MAX, "ERR invalid NLIST",
                             &of->lists.nlist);
        }
        if (arg_is(ctx, word, "PQ")) {
            return number_in(ctx, *at, 1, VEC_DIM_MAX, "ERR invalid PQ",
                             &of->lists.pq_m);
        }
        if (arg_is(ctx, word, "NAMELEN")) {
            return number_in(ctx, *at, 0, NAME_LEN_MAX, "ERR invalid NAMELEN",
                             &of->name_len);
        }
        if (arg_is(ctx, word, "SETATTR")) {
            of->attribute = ctx->argv[*at];
            return true;
        }
    }
    *at = word;
    *known = false;
    return true;
}

/* What is asked for of lists, when the index is to be lists. */
static bool check_lists(struct cmd_ctx *ctx, struct vset_estimate_of *of)
{
    bool asked = of->lists.nlist || of->lists.pq_m || of->lists.discard;
    const char *wrong = NULL;
    char why[192] = "ERR ";

    of->lists.codes = of->lists.pq_m ? LISTS_CODES_PQ : LISTS_CODES_DEFAULT;
    if (asked && of->options.index != VSET_INDEX_IVF) {
        wrong = "NLIST, PQ and DISCARD are for INDEX IVF";
    } else {
        wrong = lists_options_wrong(&of->lists);
    }
    if (wrong) {
        snprintf(why, sizeof(why), "ERR %s", wrong);
    } else if (of->options.index != VSET_INDEX_IVF ||
               (of->count == 0 && !of->lists.discard) ||
               lists_options_fit(&of->lists, &of->options,
                                 of->count ? of->count : UINT32_MAX, why + 4,
                                 sizeof(why) - 4)) {
        return true;
    }
    cmd_error(ctx, why);
    return false;
}

static bool parse_estimate(struct cmd_ctx *ctx, struct vset_estimate_of *of)
{
    bool known;
    size_t at;

    if (!parse_dim(ctx, 1, &of->options)) {
        return false;
    }
    if (!arg_is(ctx, 3, "COUNT")) {
        cmd_error_syntax(ctx);
        return false;
    }
    if (!number_in(ctx, 4, 0, SLOTS_MAX, "ERR invalid COUNT", &of->count)) {
        return false;
    }
    for (at = 5; at < ctx->argc; at++) {
        if (!parse_option(ctx, &at, &of->options, &known) ||
            (!known && !parse_estimated(ctx, &at, of, &known))) {
            return false;
        }
        if (!known) {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    return check_lists(ctx, of);
}

static void write_number(struct reply *r, const char *name, uint64_t n)
{
    reply_status(r, name);
    reply_int(r, (int64_t)n);
}

void cmd_vestimate(struct cmd_ctx *ctx)
{
    static const char *const names[VSET_INDEX_COUNT] = {"auto", "flat", "hnsw",
                                                        "ivf"};
    struct vset_estimate_of of = {
        .options = {.type = VEC_I8, .metric = VEC_COSINE, .m = VSET_M_DEFAULT},
        .name_len = NAME_LEN_DEFAULT};
    struct reply *r = &ctx->reply;
    struct vset_estimate e;

    if (!parse_estimate(ctx, &of)) {
        return;
    }
    vset_estimate(&of, &e);
    reply_map(r, 7);
    write_number(r, "memory-bytes", e.memory_bytes);
    reply_status(r, "bytes-per-element");
    reply_double(r, of.count ? (double)e.memory_bytes / of.count : 0);
    reply_status(r, "index");
    reply_status(r, names[e.index]);
    write_number(r, "code-bytes", e.code_bytes);
    write_number(r, "name-bytes", e.name_bytes);
    write_number(r, "attribute-bytes", e.attribute_bytes);
    write_number(r, "index-bytes", e.index_bytes);
}
