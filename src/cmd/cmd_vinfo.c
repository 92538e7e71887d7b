/* VINFO. Fields are written aside and counted, since a map says first how many
 * it has. */
#include "cmd/vset_key.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/search/recall.h"
#include "db/vset/index_choice.h"

#define WARNING(recall)                                                        \
    "vectors are kept as codes alone: expect a recall at 10 of " recall        \
    " however many lists are searched; VRECALL counts against the codes"

struct fields {
    struct buf out;
    struct reply reply; /* into out */
    size_t n;
};

static void field_name(struct fields *f, const char *name)
{
    reply_status(&f->reply, name);
    f->n++;
}

static void field_int(struct fields *f, const char *name, uint64_t value)
{
    field_name(f, name);
    reply_int(&f->reply, (int64_t)value);
}

static void field_double(struct fields *f, const char *name, double value)
{
    field_name(f, name);
    reply_double(&f->reply, value);
}

static void field_text(struct fields *f, const char *name, const char *text)
{
    field_name(f, name);
    reply_status(&f->reply, text);
}

/* ---- the index --------------------------------------------------------- */

/* What answers, what is to be taken in, what is being built. */
static void index_fields(struct fields *f, const struct vset *v,
                         const struct graph_info *g, const struct lists_info *l)
{
    static const char *const index_names[VSET_INDEX_COUNT] = {"auto", "flat",
                                                              "hnsw", "ivf"};
    bool has_index = g->has_graph || l->has_lists;
    uint32_t tail = l->has_lists ? l->tail : g->tail;
    char why[INDEX_WHY_MAX];

    field_text(f, "index",
               l->has_lists   ? "ivf"
               : g->has_graph ? "hnsw"
                              : "flat");
    field_text(f, "index-asked", index_names[vset_options(v)->index]);
    index_choice_why(v, why, sizeof(why));
    field_text(f, "index-why", why);
    field_int(f, "pending-index", g->is_building ? g->to_build : tail);
    field_int(f, "tail", has_index ? tail : vset_count(v));
    field_int(f, "tail-bucketed", l->has_lists ? 0 : g->bucketed);
    field_int(f, "index-nodes", g->nodes);
    field_int(f, "index-dead", g->dead);
    field_int(f, "index-m", g->m);
    field_int(f, "index-ef", g->ef);
    field_text(f, "index-job", g->is_building ? "build" : g->job);
    field_int(f, "index-built", g->built);
    field_int(f, "calibrated-at", recall_calibrated_at(v));
}

static const char *codes_name(const struct lists_options *o)
{
    switch (o->codes) {
    case LISTS_CODES_I8:
        return "int8";
    case LISTS_CODES_PQ:
        return "pq";
    default:
        return "rows";
    }
}

/* Of a set that has lists, or is being given some. */
static void lists_fields(struct fields *f, const struct lists_info *l)
{
    field_int(f, "ivf-nlist", l->options.nlist);
    field_int(f, "ivf-nprobe", l->options.nprobe);
    field_text(f, "ivf-codes", codes_name(&l->options));
    field_int(f, "ivf-pq-m", l->options.pq_m);
    field_int(f, "ivf-rows", l->listed);
    field_int(f, "ivf-dead", l->dead);
    field_int(f, "ivf-blocks", l->blocks);
    field_int(f, "ivf-largest", l->largest);
    field_int(f, "ivf-smallest", l->smallest);
    field_double(f, "ivf-mean", l->mean);
    field_double(f, "ivf-imbalance", l->imbalance);
    field_double(f, "ivf-drift", l->drift);
    field_text(f, "ivf-phase", lists_phase_name(l->phase));
    field_double(f, "ivf-progress", l->progress);
    field_double(f, "ivf-eta-seconds", l->remaining_s);
    field_int(f, "ivf-last-train", (uint64_t)l->trained_at / 1000);
    field_int(f, "ivf-last-train-rows", l->trained_rows);
    field_double(f, "ivf-last-train-seconds", l->train_s);
    field_int(f, "ivf-trainings", l->trainings);
    field_int(f, "ivf-splits", l->splits);
    field_int(f, "ivf-merges", l->merges);
    field_int(f, "ivf-bytes", l->bytes);
}

/* Of a set that has given up its vectors: what it had, and what is to be
 * expected of it. As measured on words, images and sentences, see
 * docs/BENCHMARKS.md. */
static void discard_fields(struct fields *f, const struct vset_options *o)
{
    uint32_t part = o->dim / o->pq_m;

    field_text(f, "originals-type", vec_type_name(o->type));
    field_int(f, "pq-m", o->pq_m);
    field_text(f, "pq-warning",
               part <= 1   ? WARNING("about 0.9")
               : part <= 2 ? WARNING("0.6 to 0.9")
               : part <= 4 ? WARNING("0.3 to 0.8")
                           : WARNING("0.2 to 0.7"));
}

/* ---- all of it --------------------------------------------------------- */

static void write_fields(struct fields *f, const struct vset *v)
{
    const struct vset_options *o = vset_options(v);
    struct graph_info graph;
    struct lists_info lists;
    struct vset_info info;

    vset_info_read(v, &info);
    graph_info_read(v, &graph);
    lists_info_read(v, &lists);
    /* Redis's nine, in its order. */
    field_text(f, "quant-type", o->pq_m ? "ivf-pq" : vec_type_name(o->type));
    field_int(f, "hnsw-m", o->m);
    field_int(f, "vector-dim", o->dim);
    field_int(f, "projection-input-dim", o->input_dim);
    field_int(f, "size", info.count);
    field_int(f, "max-level", (uint64_t)graph.max_level);
    field_int(f, "attributes-count", info.n_attributes);
    field_int(f, "vset-uid", info.uid);
    field_int(f, "hnsw-max-node-uid", info.node_uid);
    /* Ours. */
    field_text(f, "metric", vec_metric_name(o->metric));
    field_text(f, "originals", o->pq_m ? "no" : "yes");
    if (o->pq_m) {
        discard_fields(f, o);
    }
    index_fields(f, v, &graph, &lists);
    if (lists.has_lists || lists.is_coming) {
        lists_fields(f, &lists);
    }
    field_int(f, "slots", info.n_slots);
    field_int(f, "memory-bytes", info.memory_bytes);
    field_int(f, "code-bytes", info.code_bytes);
    field_int(f, "name-bytes", info.name_bytes);
    field_int(f, "attribute-bytes", info.attribute_bytes);
    field_int(f, "index-bytes", info.index_bytes);
}

void cmd_vinfo(struct cmd_ctx *ctx)
{
    struct fields f = {.n = 0};
    struct vset *v;

    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v) {
        reply_null_array(&ctx->reply);
        return;
    }
    f.reply = (struct reply){&f.out, ctx->reply.proto};
    write_fields(&f, v);
    reply_map(&ctx->reply, f.n);
    buf_append_bytes(ctx->reply.out, buf_bytes(&f.out));
    buf_deinit(&f.out);
}
