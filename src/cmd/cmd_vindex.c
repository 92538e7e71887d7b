/* Commands about the index of a set: VLINKS, DEBUG VCHECK. What they wait for
 * is made by builder threads. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/index_job.h"
#include "cmd/vsearch.h"
#include "cmd/vset_key.h"

enum { CHECK_SLOTS = 256 };

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
    struct index_job *j = index_job_of(job);
    struct vset *v = index_job_set(j);
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
    if (graph_has(v, slot) || index_job_runs_to_end(j)) {
        write_links(&job->reply, v, slot, j->scores);
        return false;
    }
    graph_pump(v, true);
    return index_job_wait(j);
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
    struct index_job *j = index_job_of(job);
    struct vset *v = index_job_set(j);
    const char *broken = NULL;

    if (!v) {
        cmd_job_error(job, "ERR the set is gone");
        return false;
    }
    if (!index_job_runs_to_end(j) && !j->asked) {
        graph_ask_check(v, &j->check);
    }
    if (!index_job_runs_to_end(j) &&
        !graph_was_checked(v, &j->check, &broken)) {
        j->asked = true;
        return index_job_wait(j);
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
