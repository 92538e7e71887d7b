/* A set with a graph and its twin, for tests.
 *
 * The test thread is the loop: it adds, replaces and removes elements while
 * real builders link and sweep and real workers search. Every search is
 * compared with the twin as it was when the search was dispatched. */
#ifndef VECTRA_TESTS_GRAPH_WORLD_H
#define VECTRA_TESTS_GRAPH_WORLD_H

#include "unit/cm.h"

#include <math.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/search/search_impl.h"
#include "model/db/loop.h"
#include "model/db/numbers.h"

enum {
    NAMES = 6000,
    DIM = 8,
    STEPS = 20000,
    K = 10,
    K_MAX = 200,
    UNDER_WAY_MAX = 24,
    GROUPS = 10, /* attributes say a name's number modulo this */
};

struct world {
    struct vset *set;
    struct rng rng;
    enum vec_type type;
    enum vec_metric metric;
    uint32_t dim;
    bool there[NAMES]; /* the twin */
    float at[NAMES][DIM];
    uint32_t count;
    size_t under_way;
    uint64_t wanted, found; /* of the k nearest, over all searches */
    uint32_t raw_bound;     /* of the graphs to come; 0: as it is */
};

static struct world w;

/* ---- a world ----------------------------------------------------------- */

static inline void make_set(void)
{
    struct vset_options o = {.type = w.type,
                             .metric = w.metric,
                             .dim = w.dim,
                             .m = 8,
                             .ef = 64,
                             .index = VSET_INDEX_FLAT, /* never by itself */
                             .keep_empty = true};

    w.set = vset_create(loop.ks, loop.ks->dbs[0], &o);
    assert_non_null(w.set);
    memset(w.there, 0, sizeof(w.there));
    w.count = 0;
}

static inline void begin(enum vec_type type, enum vec_metric metric,
                         unsigned workers)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    w.type = type;
    w.metric = metric;
    w.dim = DIM;
    loop_begin(workers, 2, 1);
    make_set();
}

static inline void finish_searches(void)
{
    while (w.under_way > 0) {
        loop_wait();
    }
}

static inline void validate(void)
{
    vset_validate(w.set);
    if (w.set->graph && !w.set->graph->job) {
        hnsw_validate(graph_of(w.set));
    }
}

/* Until the graph holds everything and nothing dead. */
static inline void settle(void)
{
    struct graph *g = w.set->graph;
    struct graph_info info;

    finish_searches();
    do {
        loop_finish_jobs();
        g->walk_due |= hnsw_count(g->hnsw) != g->walked_at;
        graph_pump(w.set, true);
        loop_finish_jobs();
        if (g->n_dead + g->n_dying > 0 && !g->job) {
            graph_begin_sweep(g);
            loop_finish_jobs();
        }
        graph_info_read(w.set, &info);
    } while (info.tail || info.dead || g->walk_due || g->job);
    validate();
}

static inline void end(void)
{
    finish_searches();
    vset_validate(w.set);
    vset_drop(w.set);
    loop_end();
}

/* ---- writes ------------------------------------------------------------ */

static inline void random_vector(float *v)
{
    random_floats(&w.rng, v, DIM);
}

static inline enum err try_put(uint32_t i, const float *v)
{
    char attribute[32];
    bool added;
    enum err err;

    snprintf(attribute, sizeof(attribute), "{\"g\":%u}", i % GROUPS);
    err = add_number(w.set, i, v, bytes_str(attribute), &added);
    if (!err) {
        assert_int_equal(added, !w.there[i]);
        w.count += added;
        w.there[i] = true;
        memcpy(w.at[i], v, sizeof(w.at[i]));
    }
    return err;
}

static inline void put(uint32_t i)
{
    float v[DIM];

    random_vector(v);
    assert_int_equal(try_put(i, v), ERR_OK);
}

static inline enum err try_take(uint32_t i)
{
    bool removed;
    enum err err = remove_number(w.set, i, &removed);

    if (!err) {
        assert_int_equal(removed, w.there[i]);
        w.count -= removed;
        w.there[i] = false;
    }
    return err;
}

static inline void take(uint32_t i)
{
    assert_int_equal(try_take(i), ERR_OK);
}

static inline uint32_t any(void)
{
    return (uint32_t)rng_below(&w.rng, NAMES);
}

static inline void put_from_to(uint32_t from, uint32_t to)
{
    for (; from < to; from++) {
        put(from);
    }
}

static inline void make_graph(void)
{
    assert_int_equal(graph_begin(w.set), ERR_OK);
    if (w.raw_bound) {
        w.set->graph->raw_bound = w.raw_bound;
    }
}

/* Whether work on graphs that were dropped has ended. */
static inline bool all_are_gone(void)
{
    const struct graph *g;

    for (g = w.set->graphs; g; g = g->sibling) {
        if (g != w.set->graph) {
            return false;
        }
    }
    return true;
}

/* ---- searches ---------------------------------------------------------- */

struct asked {
    float distance[NAMES]; /* at dispatch; infinite: not to be in the answer */
    bool must[NAMES];      /* among the nearest, and in the tail */
    size_t n, k;           /* that may be in the answer; asked for */
    float kth;
    uint32_t scored;
    bool complete; /* exactly the k nearest, and no others */
    double least;  /* recall of this one */
};

struct answered {
    uint32_t name;
    float distance;
};

static inline float distance_to(const float *q, uint32_t i)
{
    double sum = 0;
    int j;

    for (j = 0; j < DIM; j++) {
        double d = (double)q[j] - (double)w.at[i][j];

        sum += d * d;
    }
    return (float)sqrt(sum);
}

static inline void write_hits(const struct search *s, const void *data,
                              struct buf *out)
{
    size_t i;

    (void)data;
    for (i = 0; i < search_hit_count(s); i++) {
        struct search_hit hit;
        struct answered a = {0};
        size_t j;

        search_hit_read(s, i, &hit);
        for (j = 0; j < hit.name.len; j++) {
            a.name = a.name * 10 + (uint32_t)(hit.name.data[j] - '0');
        }
        a.distance = (float)hit.distance;
        buf_append(out, &a, sizeof(a));
    }
}

static inline void check(struct search *s, void *arg)
{
    struct asked *asked = arg;
    struct buf *reply = search_reply(s);
    const struct answered *a = (const void *)reply->data;
    size_t n = reply->len / sizeof(*a);
    size_t want = asked->n < asked->k ? asked->n : asked->k;
    size_t i, found = 0;

    w.under_way--;
    assert_true(n <= asked->k);
    for (i = 0; i < n; i++) {
        float truth = asked->distance[a[i].name];

        if (isinf(truth)) {
            fail_msg("%u is no answer, or is one twice", a[i].name);
        }
        assert_true(fabsf(truth - a[i].distance) < 1e-3F);
        assert_true(i == 0 || a[i].distance >= a[i - 1].distance);
        found += truth <= asked->kth + 1e-4F;
        asked->must[a[i].name] = false;
        asked->distance[a[i].name] = INFINITY;
    }
    for (i = 0; i < NAMES; i++) {
        if (asked->must[i]) {
            fail_msg("%zu was in the tail and not found", i);
        }
    }
    found = found < want ? found : want;
    if (asked->complete) {
        assert_int_equal(n, want);
        assert_int_equal(found, want);
    }
    if ((double)found < asked->least * (double)want) {
        fail_msg("found %zu of %zu", found, want);
    }
    w.found += found;
    w.wanted += want;
    free(asked);
}

static inline int by_distance(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static inline bool in_tail(const struct graph_view *g, slot_id slot)
{
    uint32_t i;

    if (!g->hnsw || slot >= g->raw_from) {
        return true;
    }
    for (i = 0; i < g->n_late; i++) {
        if (g->late[i] == slot) {
            return true;
        }
    }
    return false;
}

struct question {
    float q[DIM];
    size_t k;
    uint32_t ef;
    int group; /* -1: all */
    bool complete;
    double least;
};

/* What the answer has to be, by the twin. */
static inline struct asked *ask_twin(const struct question *qu)
{
    struct asked *asked = calloc(1, sizeof(*asked));
    float *sorted = malloc(NAMES * sizeof(*sorted));
    struct graph_view g;
    uint32_t i;

    asked->k = qu->k;
    asked->complete = qu->complete;
    asked->least = qu->least;
    for (i = 0; i < NAMES; i++) {
        asked->distance[i] = INFINITY;
        if (w.there[i] && (qu->group < 0 || (int)(i % GROUPS) == qu->group)) {
            asked->distance[i] = distance_to(qu->q, i);
            sorted[asked->n++] = asked->distance[i];
        }
    }
    qsort(sorted, asked->n, sizeof(*sorted), by_distance);
    asked->kth = asked->n == 0         ? 0
                 : asked->n < asked->k ? sorted[asked->n - 1]
                                       : sorted[asked->k - 1];
    graph_view_take(w.set, &g);
    for (i = 0; i < NAMES; i++) {
        char name[16];

        asked->must[i] = asked->distance[i] < asked->kth - 1e-4F &&
                         in_tail(&g, vset_find(w.set, name_of(i, name)));
    }
    free(sorted);
    return asked;
}

/* Sets of this size would rather be scanned. */
static inline void send_through_graph(struct search *s)
{
    if (s->scan.source.n_runs && s->graph.hnsw && s->plan == PLAN_FLAT) {
        s->plan = PLAN_HNSW;
        s->scored = 0;
        s->scan.source.first_run =
            search_raw_from(s) < s->view.n_slots
                ? row_place(s->view.geometry, search_raw_from(s)).page
                : s->scan.source.n_runs;
    }
}

static inline struct search *new_search(const struct question *qu)
{
    struct search_request r = {.vector = qu->q,
                               .exclude = SLOT_NONE,
                               .k = qu->k,
                               .ef = qu->ef,
                               .radius = INFINITY,
                               .format = write_hits};
    struct search *s;
    char text[32];

    if (qu->group >= 0) {
        size_t at;

        snprintf(text, sizeof(text), ".g == %d", qu->group);
        assert_int_equal(
            filter_compile(bytes_of(text, strlen(text)), &r.filter, &at),
            ERR_OK);
    }
    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    send_through_graph(s);
    return s;
}

static inline void ask(const struct question *qu)
{
    struct asked *asked = ask_twin(qu);
    struct search *s = new_search(qu);

    w.under_way++;
    if (rng_below(&w.rng, 8) == 0) {
        search_run(s, check, asked);
    } else {
        search_submit(s, check, asked);
    }
}

static inline struct question random_question(void)
{
    struct question qu = {.k = K, .ef = 100, .group = -1};

    random_vector(qu.q);
    if (rng_below(&w.rng, 4) == 0) { /* something that is there */
        memcpy(qu.q, w.at[any()], sizeof(qu.q));
    }
    if (rng_below(&w.rng, 8) == 0) {
        qu.k = 1 + (size_t)rng_below(&w.rng, K_MAX);
    }
    if (rng_below(&w.rng, 6) == 0) {
        qu.group = (int)rng_below(&w.rng, GROUPS);
    }
    return qu;
}

/* Asks for everything there is, with effort enough. */
static inline void ask_completely(int times)
{
    while (times-- > 0) {
        struct question qu = random_question();

        qu.ef = 2 * NAMES;
        qu.complete = true;
        ask(&qu);
    }
    finish_searches();
}

/* A search that the graph answers, or the test is not worth much. */
static inline void ask_graph(size_t k, uint32_t ef, bool complete, double least)
{
    struct question qu = random_question();
    struct asked *asked;
    struct search *s;

    qu.k = k;
    qu.ef = ef;
    qu.group = -1;
    qu.complete = complete;
    qu.least = least;
    asked = ask_twin(&qu);
    s = new_search(&qu);
    w.under_way++;
    search_submit(s, check, asked);
}

/* A search on the spot, and its distances. */
struct ranked {
    size_t n;
    float distance[K_MAX];
};

static inline void rank(struct search *s, void *arg)
{
    struct ranked *out = arg;
    struct buf *reply = search_reply(s);
    const struct answered *a = (const void *)reply->data;

    for (out->n = 0; out->n < reply->len / sizeof(*a); out->n++) {
        out->distance[out->n] = a[out->n].distance;
    }
}

static inline void search_now(const float *q, bool exact, uint32_t ef,
                              struct ranked *out)
{
    struct search_request r = {.vector = q,
                               .exclude = SLOT_NONE,
                               .k = K,
                               .ef = ef,
                               .exact = exact,
                               .radius = INFINITY,
                               .format = write_hits};
    struct search *s;

    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    if (!exact) {
        send_through_graph(s);
    }
    search_run(s, rank, out);
}

/* ---- life -------------------------------------------------------------- */

static inline void one_step(void)
{
    uint32_t i = any();

    switch (rng_below(&w.rng, 10)) {
    case 0:
    case 1:
        take(i);
        break;
    case 2: /* an attribute; the same, so that the twin stays simple */
        if (w.there[i]) {
            char text[32], name[16];
            int len = snprintf(text, sizeof(text), "{\"g\":%u}", i % GROUPS);

            assert_int_equal(
                vset_set_attribute(w.set, vset_find(w.set, name_of(i, name)),
                                   bytes_of(text, (size_t)len)),
                ERR_OK);
        }
        break;
    case 3:
        if (w.under_way < UNDER_WAY_MAX) {
            struct question qu = random_question();

            ask(&qu);
        } else {
            loop_wait();
        }
        break;
    case 4:
        loop_turn();
        break;
    default:
        put(i);
    }
}

#endif
