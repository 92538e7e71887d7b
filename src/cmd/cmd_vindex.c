/* Commands about the index of a set: VLINKS, VTRAIN, DEBUG VCHECK.
 *
 * What they wait for is made by builder threads. They are jobs that are parked
 * until something has happened to some graph, and then look again. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vsearch.h"
#include "cmd/vset_key.h"
#include "db/graph.h"

enum { CHECK_SLOTS = 256 };

/* A job that waits for the index of the set in argv[key_at]. */
struct index_job {
    struct cmd_job job;
    struct graph_waiter waiter;
    uint64_t uid;   /* of the set */
    uint64_t build; /* VTRAIN */
    size_t key_at;
    bool scores; /* VLINKS */
    bool asked;  /* VCHECK */
    struct graph_check check;
    struct vset_check slots;
};

static void told(struct graph_waiter *w)
{
    cmd_job_unpark(&CONTAINER_OF(w, struct index_job, waiter)->job);
}

static void index_job_destroy(struct cmd_job *job)
{
    struct index_job *j = CONTAINER_OF(job, struct index_job, job);

    graph_stop_waiting(&j->waiter);
    mem_free(j);
}

static struct index_job *index_job_create(bool (*step)(struct cmd_job *job),
                                          const struct vset *v, size_t key_at)
{
    struct index_job *j = cmd_job_alloc(sizeof(*j), step, index_job_destroy);

    j->waiter.told = told;
    j->uid = vset_uid(v);
    j->key_at = key_at;
    return j;
}

static bool runs_to_end(const struct index_job *j)
{
    return j->job.slice_end_ns == INT64_MAX;
}

/* The set it began with; NULL when it is gone. */
static struct vset *set_of(const struct index_job *j)
{
    struct entry *e =
        keyspace_find(j->job.env->ks, j->job.db, j->job.argv[j->key_at]);

    return e && e->type == VALUE_VSET && vset_uid(e->value.vset) == j->uid
               ? e->value.vset
               : NULL;
}

/* To be run again when there is news. */
static bool wait_for_news(struct index_job *j)
{
    graph_wait(j->job.env->ks, &j->waiter);
    cmd_job_park(&j->job);
    return true;
}

/* ---- VLINKS ------------------------------------------------------------ */

/* The neighbours on one level. */
static void write_level(struct reply *r, const struct vset *v, slot_id slot,
                        int level, bool scores)
{
    size_t room = (size_t)2 * VSET_M_MAX;
    slot_id *links = mem_alloc(room * sizeof(*links));
    double *score = NULL;
    size_t n = graph_links(v, slot, level, links, room);
    size_t i;

    if (scores) {
        score = mem_alloc((n + 1) * sizeof(*score));
        graph_link_scores(v, slot, links, n, score);
    }
    if (scores && r->proto >= 3) {
        reply_map(r, n);
    } else {
        reply_array(r, scores ? 2 * n : n);
    }
    for (i = 0; i < n; i++) {
        reply_bulk(r, vset_name(v, links[i]));
        if (scores) {
            reply_double(r, score[i]);
        }
    }
    mem_free(links);
    mem_free(score);
}

static void write_links(struct reply *r, const struct vset *v, slot_id slot,
                        bool scores)
{
    int level = graph_level(v, slot);

    reply_array(r, (size_t)level + 1);
    for (; level >= 0; level--) {
        write_level(r, v, slot, level, scores);
    }
}

/* Without a graph: the nearest elements, as one level. */
static void write_nearest(const struct search *s, const void *data,
                          struct buf *out)
{
    const struct vsearch_shape *sh = data;
    struct reply r = {out, sh->proto};

    reply_array(&r, 1);
    vsearch_write(s, data, out);
}

static void search_nearest(struct search_request *r, const struct vset *v,
                           slot_id slot, const struct vsearch_shape *sh)
{
    r->slot = slot;
    r->exclude = slot;
    r->as_stored = true; /* a link's score is that of two nodes */
    r->k = (size_t)vset_options(v)->m * 2; /* what its lowest level may hold */
    vsearch_shape_store(r, sh);
    r->format = write_nearest;
}

static void answered_job(struct search *s, void *arg)
{
    struct cmd_job *job = arg;

    buf_append_bytes(&job->out, buf_bytes(search_reply(s)));
}

/* The graph was given up while the job waited: seldom, and of a set that is
 * small, as a rule. */
static void nearest_for_job(struct index_job *j, struct vset *v, slot_id slot)
{
    struct vsearch_shape sh = {.proto = (uint8_t)j->job.reply.proto,
                               .scores = j->scores,
                               .epsilon = 2};
    struct search_request r = {.radius = (double)INFINITY};
    struct search *s;

    search_nearest(&r, v, slot, &sh);
    if (search_create(v, &r, &s) == ERR_OK) {
        search_run(s, answered_job, &j->job);
    } else {
        cmd_job_error(&j->job, "OOM command not allowed when used memory > "
                               "'maxmemory'.");
    }
}

static bool links_step(struct cmd_job *job)
{
    struct index_job *j = CONTAINER_OF(job, struct index_job, job);
    struct vset *v = set_of(j);
    slot_id slot = v ? vset_find(v, job->argv[2]) : SLOT_NONE;
    struct graph_info g;

    if (slot == SLOT_NONE) {
        reply_null(&job->reply);
        return false;
    }
    graph_info_read(v, &g);
    if (!g.has_graph) {
        nearest_for_job(j, v, slot);
        return false;
    }
    if (graph_has(v, slot) || runs_to_end(j)) {
        write_links(&job->reply, v, slot, j->scores);
        return false;
    }
    graph_pump(v, true);
    return wait_for_news(j);
}

void cmd_vlinks(struct cmd_ctx *ctx)
{
    bool scores = ctx->argc == 4;
    struct index_job *j;
    struct graph_info g;
    struct vset *v;
    slot_id slot;

    if (ctx->argc > 4 || (scores && !arg_is(ctx, 3, "WITHSCORES"))) {
        cmd_error_arity(ctx);
        return;
    }
    if (!vset_key_read(ctx, &v)) {
        return;
    }
    slot = v ? vset_find(v, ctx->argv[2]) : SLOT_NONE;
    if (slot == SLOT_NONE) {
        reply_null(&ctx->reply);
        return;
    }
    graph_info_read(v, &g);
    if (!g.has_graph) {
        struct search_request r;
        struct vsearch_shape sh;

        vsearch_init(&r, &sh, ctx);
        sh.scores = scores;
        search_nearest(&r, v, slot, &sh);
        vsearch_start(ctx, v, &r);
    } else if (graph_has(v, slot)) {
        write_links(&ctx->reply, v, slot, scores);
    } else {
        j = index_job_create(links_step, v, 1);
        j->scores = scores;
        cmd_job_start(ctx, &j->job);
    }
}

/* ---- VTRAIN ------------------------------------------------------------ */

static bool train_step(struct cmd_job *job)
{
    struct index_job *j = CONTAINER_OF(job, struct index_job, job);
    struct vset *v = set_of(j);

    if (!v) {
        cmd_job_error(job, "ERR the set is gone");
    } else if (graph_is_given_up(v, j->build)) {
        cmd_job_error(job, "ERR the index was given up while it was built");
    } else if (!runs_to_end(j) && !graph_is_built(v, j->build)) {
        graph_pump(v, true);
        return wait_for_news(j);
    } else {
        reply_status(&job->reply, "OK");
    }
    return false;
}

static bool train_parse(struct cmd_ctx *ctx, struct vset_options *o,
                        bool *async)
{
    int64_t n;
    size_t at;

    *async = false;
    if (arg_is(ctx, 2, "HNSW")) {
        o->index = VSET_INDEX_HNSW;
    } else if (arg_is(ctx, 2, "FLAT")) {
        o->index = VSET_INDEX_FLAT;
    } else {
        cmd_error(ctx, "ERR invalid index: there are HNSW and FLAT");
        return false;
    }
    for (at = 3; at < ctx->argc; at++) {
        bool more = at + 1 < ctx->argc && o->index == VSET_INDEX_HNSW;

        if (arg_is(ctx, at, "ASYNC")) {
            *async = true;
        } else if (arg_is(ctx, at, "M") && more) {
            if (!arg_int_in(ctx, ++at, VSET_M_MIN, VSET_M_MAX, "ERR invalid M",
                            &n)) {
                return false;
            }
            o->m = (uint32_t)n;
        } else if (arg_is(ctx, at, "EF") && more) {
            if (!arg_int_in(ctx, ++at, 1, VSET_EF_MAX, "ERR invalid EF", &n)) {
                return false;
            }
            o->ef = (uint32_t)n;
        } else {
            cmd_error(ctx, "ERR syntax error in VTRAIN command");
            return false;
        }
    }
    return true;
}

void cmd_vtrain(struct cmd_ctx *ctx)
{
    struct vset_options o;
    struct index_job *j;
    struct entry *e;
    struct vset *v;
    uint64_t build;
    bool async;

    if (!vset_key_write(ctx, &e)) {
        return;
    }
    if (!e) {
        cmd_error(ctx, "ERR key does not exist");
        return;
    }
    v = e->value.vset;
    o = *vset_options(v);
    if (!train_parse(ctx, &o, &async)) {
        return;
    }
    if (vset_set_index(v, &o, &build) != ERR_OK) {
        cmd_error_oom(ctx);
        return;
    }
    keyspace_changed(ctx->ks, ctx->client->db, ctx->argv[1]);
    if (async || !build) {
        reply_status(&ctx->reply, "OK");
        return;
    }
    j = index_job_create(train_step, v, 1);
    j->build = build;
    cmd_job_start(ctx, &j->job);
}

/* ---- DEBUG VCHECK ------------------------------------------------------ */

static bool report(struct index_job *j, const char *broken)
{
    char text[128];

    if (broken) {
        snprintf(text, sizeof(text), "ERR %s", broken);
        cmd_job_error(&j->job, text);
    } else {
        reply_status(&j->job.reply, "OK");
    }
    return false;
}

/* First the links, on a builder; then the slots, in slices here. */
static bool check_step(struct cmd_job *job)
{
    struct index_job *j = CONTAINER_OF(job, struct index_job, job);
    struct vset *v = set_of(j);
    const char *broken = NULL;

    if (!v) {
        cmd_job_error(job, "ERR the set is gone");
        return false;
    }
    if (!runs_to_end(j) && !j->asked) {
        graph_ask_check(v, &j->check);
    }
    if (!runs_to_end(j) && !graph_was_checked(v, &j->check, &broken)) {
        j->asked = true;
        return wait_for_news(j);
    }
    if (broken) {
        return report(j, broken);
    }
    j->asked = true;
    if (j->slots.next == 0) {
        vset_check_begin(&j->slots, v);
    }
    while (vset_check_step(&j->slots, v, CHECK_SLOTS)) {
        if (cmd_job_should_yield(job)) {
            return true;
        }
    }
    return report(j, j->slots.broken);
}

void cmd_debug_vcheck(struct cmd_ctx *ctx)
{
    struct entry *e = keyspace_find(ctx->ks, ctx->client->db, ctx->argv[2]);

    if (!e) {
        cmd_error(ctx, "ERR no such key");
    } else if (e->type != VALUE_VSET) {
        cmd_error_wrongtype(ctx);
    } else {
        struct index_job *j = index_job_create(check_step, e->value.vset, 2);

        cmd_job_start(ctx, &j->job);
    }
}
