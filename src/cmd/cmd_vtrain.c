/* VTRAIN: a set gets another index, which takes over when it is there. */
#include <stdio.h>

#include "cmd/args.h"
#include "cmd/index_job.h"
#include "cmd/vset_key.h"
#include "db/lists/lists.h"

struct train {
    struct vset_options options; /* the set's, with what is asked for */
    struct lists_options lists;
    struct bytes trained; /* what lists_write_trained() wrote, or some of it */
    uint64_t from;        /* so much of it precedes that */
    bool is_trained;
    bool is_part; /* there will be more */
    bool async;
};

/* ---- reading ----------------------------------------------------------- */

static bool syntax_error(struct cmd_ctx *ctx)
{
    cmd_error(ctx, "ERR syntax error in VTRAIN command");
    return false;
}

static bool parse_kind(struct cmd_ctx *ctx, enum vset_index *out)
{
    if (arg_is(ctx, 2, "HNSW")) {
        *out = VSET_INDEX_HNSW;
    } else if (arg_is(ctx, 2, "FLAT")) {
        *out = VSET_INDEX_FLAT;
    } else if (arg_is(ctx, 2, "IVF")) {
        *out = VSET_INDEX_IVF;
    } else {
        cmd_error(ctx, "ERR invalid index: there are FLAT, HNSW and IVF");
        return false;
    }
    return true;
}

/* The number behind a word of an option. */
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

static bool parse_graph(struct cmd_ctx *ctx, struct train *t)
{
    size_t at;

    for (at = 3; at < ctx->argc; at++) {
        bool more = at + 1 < ctx->argc && t->options.index == VSET_INDEX_HNSW;

        if (arg_is(ctx, at, "ASYNC")) {
            t->async = true;
        } else if (arg_is(ctx, at, "M") && more) {
            if (!number_in(ctx, ++at, VSET_M_MIN, VSET_M_MAX, "ERR invalid M",
                           &t->options.m)) {
                return false;
            }
        } else if (arg_is(ctx, at, "EF") && more) {
            if (!number_in(ctx, ++at, 1, VSET_EF_MAX, "ERR invalid EF",
                           &t->options.ef)) {
                return false;
            }
        } else {
            return syntax_error(ctx);
        }
    }
    return true;
}

/* An option with a number; its word has been found at `at`. */
static bool parse_number(struct cmd_ctx *ctx, size_t at, struct train *t,
                         bool *known)
{
    struct lists_options *o = &t->lists;
    const struct {
        const char *word;
        int64_t max;
        const char *error;
        uint32_t *out;
    } numbers[] = {
        {"NLIST", LISTS_NLIST_MAX, "ERR invalid NLIST", &o->nlist},
        {"NPROBE", LISTS_NLIST_MAX, "ERR invalid NPROBE", &o->nprobe},
        {"SAMPLE", UINT32_MAX, "ERR invalid SAMPLE", &o->sample},
        {"ITERATIONS", LISTS_ITERATIONS_MAX, "ERR invalid ITERATIONS",
         &o->iterations},
        {"PQ", LISTS_PQ_M_MAX, "ERR invalid PQ", &o->pq_m},
    };
    int64_t seed;
    size_t i;

    *known = at + 1 < ctx->argc;
    if (!*known) {
        return true;
    }
    for (i = 0; i < ARRAY_LEN(numbers); i++) {
        if (arg_is(ctx, at, numbers[i].word)) {
            return number_in(ctx, at + 1, 1, numbers[i].max, numbers[i].error,
                             numbers[i].out);
        }
    }
    if (arg_is(ctx, at, "SEED")) {
        if (!arg_int_in(ctx, at + 1, 0, INT64_MAX, "ERR invalid SEED", &seed)) {
            return false;
        }
        o->seed = (uint64_t)seed;
        return true;
    }
    *known = false;
    return true;
}

/* What can be said of them without the set. */
static bool check_options(struct cmd_ctx *ctx, struct train *t, bool q8)
{
    struct lists_options *o = &t->lists;
    const char *wrong;
    char text[96];

    if (q8 && o->pq_m) {
        cmd_error(ctx, "ERR Q8 and PQ exclude each other");
        return false;
    }
    o->codes = q8        ? LISTS_CODES_I8
               : o->pq_m ? LISTS_CODES_PQ
                         : LISTS_CODES_DEFAULT;
    wrong = lists_options_wrong(o);
    if (wrong) {
        snprintf(text, sizeof(text), "ERR %s", wrong);
        cmd_error(ctx, text);
    }
    return !wrong;
}

/* What a log has: TRAINED blob [AFTER n], or PART n blob before that. */
static bool parse_trained(struct cmd_ctx *ctx, struct train *t, bool *ok)
{
    const bool is_rest = ctx->argc == 7 && arg_is(ctx, 5, "AFTER");
    int64_t from = 0;

    t->is_part = ctx->argc == 6 && arg_is(ctx, 3, "PART");
    t->is_trained = (ctx->argc == 5 || is_rest) && arg_is(ctx, 3, "TRAINED");
    if (!t->is_part && !t->is_trained) {
        return false;
    }
    *ok = !(t->is_part || is_rest) ||
          arg_int_in(ctx, t->is_part ? 4 : 6, 0, INT64_MAX,
                     "ERR invalid TRAINED", &from);
    t->from = (uint64_t)from;
    t->trained = ctx->argv[t->is_part ? 5 : 4];
    return true;
}

static bool parse_lists(struct cmd_ctx *ctx, struct train *t)
{
    bool q8 = false, known, ok;
    size_t at;

    if (parse_trained(ctx, t, &ok)) {
        return ok;
    }
    for (at = 3; at < ctx->argc; at++) {
        if (arg_is(ctx, at, "ASYNC")) {
            t->async = true;
        } else if (arg_is(ctx, at, "Q8")) {
            q8 = true;
        } else if (arg_is(ctx, at, "DISCARD")) {
            t->lists.discard = true;
        } else if (!parse_number(ctx, at, t, &known)) {
            return false;
        } else if (known) {
            at++;
        } else {
            return syntax_error(ctx);
        }
    }
    return check_options(ctx, t, q8);
}

/* ---- doing ------------------------------------------------------------- */

static bool is_built(const struct index_job *j, const struct vset *v)
{
    return j->lists ? lists_is_built(v, j->build) : graph_is_built(v, j->build);
}

static bool is_given_up(const struct index_job *j, const struct vset *v)
{
    return j->lists ? lists_is_given_up(v, j->build)
                    : graph_is_given_up(v, j->build);
}

static bool train_step(struct cmd_job *job)
{
    struct index_job *j = index_job_of(job);
    struct vset *v = index_job_set(j);

    if (!v) {
        cmd_job_error(job, "ERR the set is gone");
    } else if (is_given_up(j, v)) {
        cmd_job_error(job, "ERR the index was given up while it was built");
    } else if (!index_job_runs_to_end(j) && !is_built(j, v)) {
        if (j->lists) {
            lists_pump(v, true);
        } else {
            graph_pump(v, true);
        }
        return index_job_wait(j);
    } else {
        reply_status(&job->reply, "OK");
    }
    return false;
}

/* What came in parts goes into a log as one: its base may have been written
 * between them. */
static enum err install_parts(struct cmd_ctx *ctx, struct vset *v,
                              const struct train *t, uint64_t *build)
{
    struct buf whole;
    enum err err = lists_parts_end(v, t->from, t->trained, &whole);

    if (!err) {
        struct bytes argv[] = {ctx->argv[0], ctx->argv[1], ctx->argv[2],
                               ctx->argv[3], buf_bytes(&whole)};

        err = lists_install_trained(v, buf_bytes(&whole), build);
        if (!err) {
            cmd_propagate_as(ctx, ctx->client->db, argv, ARRAY_LEN(argv));
        }
        buf_deinit(&whole);
    }
    return err;
}

static enum err train_lists(struct cmd_ctx *ctx, struct vset *v,
                            const struct train *t, uint64_t *build)
{
    char why[192], text[200];
    enum err err;

    if (t->is_part) {
        return lists_take_part(v, t->from, t->trained);
    }
    if (t->is_trained) {
        return t->from ? install_parts(ctx, v, t, build)
                       : lists_install_trained(v, t->trained, build);
    }
    if (!lists_options_fit(&t->lists, &t->options, vset_count(v), why,
                           sizeof(why))) {
        snprintf(text, sizeof(text), "ERR %s", why);
        cmd_error(ctx, text);
        return ERR_RANGE;
    }
    err = lists_train(v, &t->lists, build);
    /* The log has what came of it, if anything did, and neither waits for a
     * training nor knows how long one took. */
    return err && ctx->env->is_loading ? ERR_OK : err;
}

static void train_error(struct cmd_ctx *ctx, enum err err)
{
    switch (err) {
    case ERR_NOMEM:
        cmd_error_oom(ctx);
        break;
    case ERR_BUSY:
        cmd_error(ctx, "ERR a VTRAIN of this key is under way already");
        break;
    case ERR_CORRUPT:
        cmd_error(ctx, "ERR invalid TRAINED");
        break;
    case ERR_LIMIT:
        cmd_error_oom(ctx);
        break;
    case ERR_UNSUPPORTED:
        cmd_error(ctx, "ERR the set has given up its vectors, of which a graph "
                       "would be made");
        break;
    default:
        if (!ctx->failed) {
            cmd_error(ctx, "ERR the set cannot have such lists");
        }
        break;
    }
}

static enum err train(struct cmd_ctx *ctx, struct vset *v,
                      const struct train *t, uint64_t *build)
{
    *build = 0;
    if (t->options.index == VSET_INDEX_IVF) {
        return train_lists(ctx, v, t, build);
    }
    if (t->options.index == VSET_INDEX_HNSW && lists_is_training(v) &&
        !ctx->env->is_loading) {
        return ERR_BUSY;
    }
    return vset_set_index(v, &t->options, build);
}

void cmd_vtrain(struct cmd_ctx *ctx)
{
    struct train t = {.async = false};
    struct index_job *j;
    struct entry *e;
    struct vset *v;
    uint64_t build;
    enum err err;

    if (!vset_key_write(ctx, &e)) {
        return;
    }
    if (!e) {
        cmd_error(ctx, "ERR key does not exist");
        return;
    }
    v = e->value.vset;
    t.options = *vset_options(v);
    if (!parse_kind(ctx, &t.options.index) ||
        !(t.options.index == VSET_INDEX_IVF ? parse_lists(ctx, &t)
                                            : parse_graph(ctx, &t))) {
        return;
    }
    err = train(ctx, v, &t, &build);
    if (err) {
        train_error(ctx, err);
        return;
    }
    if (t.is_part) {
        reply_status(&ctx->reply, "OK"); /* nothing has changed yet */
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    if (t.async || t.is_trained || !build) {
        reply_status(&ctx->reply, "OK");
        return;
    }
    j = index_job_create(train_step, v, 1);
    j->build = build;
    j->lists = t.options.index == VSET_INDEX_IVF;
    cmd_job_start(ctx, &j->job);
}
