/* A set's graph against a twin: what is there, where, and how far away.
 *
 * The test thread is the loop: it adds, replaces and removes elements while
 * real builders link and sweep and real workers search. Every search is
 * compared with the twin as it was when the search was dispatched. */
#include "unit/cm.h"

#include <math.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "db/graph_impl.h"
#include "db/search_impl.h"

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
    struct pool *pool, *builders;
    struct reaper *reaper;
    struct keyspace *ks;
    struct vset *set;
    struct rng rng;
    enum vec_type type;
    enum vec_metric metric;
    uint32_t dim;
    int wake_fd;
    bool there[NAMES]; /* the twin */
    float at[NAMES][DIM];
    uint32_t count;
    size_t under_way;
    uint64_t wanted, found; /* of the k nearest, over all searches */
};

static struct world w;

/* ---- a world ----------------------------------------------------------- */

static void wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    assert_int_equal(write(w.wake_fd, &one, sizeof(one)), sizeof(one));
}

static void make_set(void)
{
    struct vset_options o = {.type = w.type,
                             .metric = w.metric,
                             .dim = w.dim,
                             .m = 8,
                             .ef = 64,
                             .index = VSET_INDEX_FLAT, /* never by itself */
                             .keep_empty = true};

    w.set = vset_create(w.ks, w.ks->dbs[0], &o);
    assert_non_null(w.set);
    memset(w.there, 0, sizeof(w.there));
    w.count = 0;
}

static void begin(enum vec_type type, enum vec_metric metric, unsigned workers)
{
    struct pool_options o = {.n_workers = workers,
                             .wake = wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};

    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    w.type = type;
    w.metric = metric;
    w.dim = DIM;
    w.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(pool_create(&o, &w.pool), ERR_OK);
    o.n_workers = 2;
    o.name = "b";
    o.worker_init = graph_worker_init;
    o.worker_deinit = graph_worker_deinit;
    assert_int_equal(pool_create(&o, &w.builders), ERR_OK);
    assert_int_equal(reaper_create(&w.reaper), ERR_OK);
    w.ks = keyspace_create(1, w.pool, w.reaper);
    keyspace_set_builders(w.ks, w.builders);
    make_set();
}

static bool drain(void)
{
    size_t n = pool_drain(w.pool) + pool_drain(w.builders);

    vset_settle_all(w.ks->dbs[0]);
    return n > 0;
}

static void wait_for_some(void)
{
    struct pollfd pfd = {.fd = w.wake_fd, .events = POLLIN};
    uint64_t n;

    while (!drain()) {
        assert_int_equal(poll(&pfd, 1, 60000), 1);
        assert_int_equal(read(w.wake_fd, &n, sizeof(n)), sizeof(n));
    }
}

static void finish_searches(void)
{
    while (w.under_way > 0) {
        wait_for_some();
    }
}

static void validate(void)
{
    vset_validate(w.set);
    if (w.set->graph && !w.set->graph->job) {
        hnsw_validate(graph_of(w.set));
    }
}

static void finish_jobs(void)
{
    while (w.ks->n_graph_jobs > 0) {
        wait_for_some();
    }
    vset_settle_all(w.ks->dbs[0]);
}

/* Until the graph holds everything and nothing dead. */
static void settle(void)
{
    struct graph *g = w.set->graph;
    struct graph_info info;

    finish_searches();
    do {
        finish_jobs();
        g->walk_due |= hnsw_count(g->hnsw) != g->walked_at;
        graph_pump(w.set, true);
        finish_jobs();
        if (g->n_dead + g->n_dying > 0 && !g->job) {
            graph_begin_sweep(g);
            finish_jobs();
        }
        graph_info_read(w.set, &info);
    } while (info.tail || info.dead || g->walk_due || g->job);
    validate();
}

static void end(void)
{
    finish_searches();
    vset_validate(w.set);
    vset_drop(w.set);
    graph_cancel_all(w.ks);
    pool_destroy(w.pool);
    pool_destroy(w.builders);
    keyspace_destroy(w.ks);
    reaper_destroy(w.reaper);
    close(w.wake_fd);
}

/* ---- writes ------------------------------------------------------------ */

static void random_vector(float *v)
{
    int j;

    for (j = 0; j < DIM; j++) {
        v[j] = (float)rng_normal(&w.rng);
    }
}

static struct bytes name_of(uint32_t i, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 16, "%u", i));
}

static enum err try_put(uint32_t i, const float *v)
{
    char name[16], attribute[32];
    struct vset_element e = {.name = name_of(i, name), .vector = v};
    bool added;
    enum err err;

    e.has_attribute = true;
    e.attribute =
        bytes_of(attribute, (size_t)snprintf(attribute, sizeof(attribute),
                                             "{\"g\":%u}", i % GROUPS));
    err = vset_add(w.set, &e, &added);
    if (!err) {
        assert_int_equal(added, !w.there[i]);
        w.count += added;
        w.there[i] = true;
        memcpy(w.at[i], v, sizeof(w.at[i]));
    }
    return err;
}

static void put(uint32_t i)
{
    float v[DIM];

    random_vector(v);
    assert_int_equal(try_put(i, v), ERR_OK);
}

static enum err try_take(uint32_t i)
{
    char name[16];
    bool removed;
    enum err err = vset_remove(w.set, name_of(i, name), &removed);

    if (!err) {
        assert_int_equal(removed, w.there[i]);
        w.count -= removed;
        w.there[i] = false;
    }
    return err;
}

static void take(uint32_t i)
{
    assert_int_equal(try_take(i), ERR_OK);
}

static uint32_t any(void)
{
    return (uint32_t)rng_below(&w.rng, NAMES);
}

static void put_from_to(uint32_t from, uint32_t to)
{
    for (; from < to; from++) {
        put(from);
    }
}

static void make_graph(void)
{
    assert_int_equal(graph_begin(w.set), ERR_OK);
}

/* Whether work on graphs that were dropped has ended. */
static bool all_are_gone(void)
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

static float distance_to(const float *q, uint32_t i)
{
    double sum = 0;
    int j;

    for (j = 0; j < DIM; j++) {
        double d = (double)q[j] - (double)w.at[i][j];

        sum += d * d;
    }
    return (float)sqrt(sum);
}

static void write_hits(const struct search *s, const void *data,
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

static void check(struct search *s, void *arg)
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

static int by_distance(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static bool in_tail(const struct graph_view *g, slot_id slot)
{
    uint32_t i;

    if (!g->hnsw || slot >= g->fresh_from) {
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
static struct asked *ask_twin(const struct question *qu)
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
static void send_through_graph(struct search *s)
{
    if (s->scan.source.n_runs && s->graph.hnsw && s->plan == PLAN_FLAT) {
        s->plan = PLAN_HNSW;
        s->scored = 0;
        s->scan.source.first_run =
            s->graph.fresh_from < s->view.n_slots
                ? row_place(s->view.geometry, s->graph.fresh_from).page
                : s->scan.source.n_runs;
    }
}

static struct search *new_search(const struct question *qu)
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

static void ask(const struct question *qu)
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

static struct question random_question(void)
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
static void ask_completely(int times)
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
static void ask_graph(size_t k, uint32_t ef, bool complete, double least)
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

/* ---- life -------------------------------------------------------------- */

static void one_step(void)
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
            wait_for_some();
        }
        break;
    case 4:
        drain();
        break;
    default:
        put(i);
    }
}

static void test_any_search_at_any_time(void **state)
{
    int step;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, 3000);
    make_graph();
    graph_pump(w.set, true);
    for (step = 0; step < STEPS; step++) {
        one_step();
        if (step % 50 == 0) {
            graph_pump(w.set, true);
        }
        if (step % 1000 == 0) {
            validate();
        }
    }
    finish_searches();
    assert_true((double)w.found >= 0.97 * (double)w.wanted);
    settle();
    ask_completely(50);
    end();
}

static void test_slots_are_used_again(void **state)
{
    uint32_t n_slots = 0, turn, i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES);
    make_graph();
    settle();
    for (turn = 0; turn < 10; turn++) {
        for (i = 0; i < NAMES; i++) {
            put(i);
            if (i % 500 == 0) {
                ask_graph(K, 100, false, 0);
            }
            if (i % 50 == 0) {
                drain();
            }
            if (i % 1000 == 0) {
                settle();
            }
        }
        settle();
        if (turn == 2) {
            n_slots = w.set->elements.slots.n_slots;
        }
    }
    assert_true(w.set->elements.slots.n_slots <= n_slots + n_slots / 4);
    ask_completely(50);
    w.wanted = w.found = 0;
    for (i = 0; i < 300; i++) {
        ask_graph(K, 100, false, 0);
    }
    finish_searches();
    assert_true((double)w.found >= 0.97 * (double)w.wanted);
    end();
}

/* ---- the tail while a batch is under way --------------------------------- */

/* A slot that was dead when the batch was taken, and is used again before the
 * batch ends, belongs to neither. */
static void test_a_slot_used_again_during_a_batch_is_found(void **state)
{
    uint32_t i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, 64);
    make_graph();
    settle();
    put_from_to(64, 120);
    for (i = 80; i < 100; i++) {
        take(i);
    }
    graph_pump(w.set, true);
    assert_non_null(w.set->graph->job);
    put_from_to(200, 230);
    finish_jobs();
    ask_completely(20);
    settle();
    ask_completely(20);
    end();
}

/* Each row takes one place in an answer, however often it waits in the tail. */
static void test_a_waiting_slot_counts_once(void **state)
{
    uint32_t i, round;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, 5000);
    make_graph();
    settle();
    for (i = 0; i < 1000; i += 4) {
        take(i);
    }
    settle();
    for (round = 0; round < 20; round++) {
        for (i = 0; i < 60; i++) {
            put(5000 + i); /* waits, in a slot used before */
        }
        assert_true(w.set->graph->late_n > w.set->graph->late_from);
        for (i = 0; i < 20; i++) {
            struct question qu = random_question();

            memcpy(qu.q, w.at[5000 + i], sizeof(qu.q));
            qu.group = -1;
            ask(&qu);
        }
        finish_searches();
    }
    i = w.set->graph->late_n - w.set->graph->late_from;
    assert_true(i <= w.set->elements.slots.n_slots);
    settle();
    end();
}

/* ---- searches that wait while the graph changes ---------------------------
 */

struct blocker {
    struct task task;
    _Atomic bool *go;
};

static bool wait_for_go(struct task *t, struct worker *worker)
{
    struct blocker *b = CONTAINER_OF(t, struct blocker, task);

    (void)worker;
    if (atomic_load(b->go)) {
        return false;
    }
    poll(NULL, 0, 1);
    return true;
}

static int top_level(uint32_t from, uint32_t to)
{
    int top = 0;

    for (; from < to; from++) {
        int level = hnsw_level_of(w.set->uid, 8, from);

        top = level > top ? level : top;
    }
    return top;
}

/* The graph grows past everything the search knows, entry included, before a
 * worker gets round to it. */
static void test_a_search_that_waited_finds_what_it_saw(void **state)
{
    _Atomic bool go = false;
    struct blocker blocker = {
        .task = {.step = wait_for_go, .class = TASK_QUERY}, .go = &go};
    int i;

    (void)state;
    begin(VEC_F32, VEC_L2, 1);
    while (top_level(3010, NAMES) <= top_level(0, 3010)) {
        vset_drop(w.set);
        make_set();
    }
    put_from_to(0, 3000);
    make_graph();
    settle();
    put_from_to(3000, 3010);
    for (i = 0; i < 20; i++) {
        ask_graph(K, 40, false, 0.6);
    }
    finish_searches();
    atomic_store(&go, false);
    pool_submit(w.pool, &blocker.task);
    for (i = 0; i < 20; i++) {
        ask_graph(K, 40, false, 0.6);
    }
    put_from_to(3010, NAMES);
    while (w.set->graph->fresh_from < NAMES) {
        graph_pump(w.set, true);
        finish_jobs();
    }
    atomic_store(&go, true);
    finish_searches();
    settle();
    end();
}

/* ---- ends ---------------------------------------------------------------- */

static size_t memory_of_an_empty_set(void)
{
    return w.set->memory.bytes;
}

static void begin_a_job(void)
{
    put_from_to(0, 4000);
    make_graph();
    graph_pump(w.set, true);
    assert_non_null(w.set->graph->job);
}

static void test_a_graph_is_dropped_during_a_job(void **state)
{
    uint32_t i, round;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    begin_a_job();
    for (i = 0; i < 4000; i += 3) {
        take(i);
    }
    graph_drop_all(w.set);
    put_from_to(0, NAMES); /* more slots than the old graph knows of */
    put_from_to(0, NAMES);
    finish_jobs();
    vset_validate(w.set);
    assert_true(all_are_gone());
    ask_completely(5);
    make_graph();
    settle();
    ask_completely(5);
    for (round = 0; round < 5; round++) {
        for (i = 0; i < 500; i++) {
            one_step();
        }
        graph_pump(w.set, true);
        graph_drop_all(w.set);
        while (!all_are_gone()) {
            one_step();
            drain();
        }
        make_graph();
    }
    settle();
    assert_int_equal(w.set->elements.slots.n_held,
                     0); /* nothing is held for a graph that went */
    end();
}

static void test_a_set_is_dropped_during_a_job(void **state)
{
    struct vset *old;
    int i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    for (i = 0; i < 6; i++) {
        begin_a_job();
        if (i % 2) {
            graph_drop_all(w.set);
        }
        ask_graph(K, 100, false, 0);
        old = w.set;
        make_set();
        vset_drop(old);
        if (i % 3 == 0) {
            finish_jobs();
        }
    }
    put_from_to(0, 100);
    end(); /* with jobs that ended and that nobody has heard of */
}

static void test_a_database_is_flushed_during_a_job(void **state)
{
    int i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    for (i = 0; i < 4; i++) {
        begin_a_job();
        ask_graph(K, 100, false, 0);
        graph_detach_all(w.ks, w.ks->dbs[0]);
        finish_jobs();
        finish_searches();
        vset_drop(w.set);
        make_set();
    }
    end();
}

static void test_memory_is_counted_to_the_last_byte(void **state)
{
    size_t before;
    uint32_t i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    before = memory_of_an_empty_set();
    put_from_to(0, 4000);
    i = (uint32_t)w.set->memory.bytes;
    make_graph();
    settle();
    for (i = 0; i < 4000; i += 2) {
        take(i);
    }
    settle();
    graph_drop_all(w.set);
    while (w.ks->n_graph_jobs) {
        wait_for_some();
    }
    assert_true(w.set->memory.bytes >= before);
    vset_validate(w.set); /* V3: what is counted is what is there */
    end();
}

static void test_memory_that_runs_out(void **state)
{
    uint64_t n;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, 2000);
    for (n = 1; !w.set->graph; n++) {
        mem_fail_after(n);
        (void)!graph_begin(w.set);
        mem_fail_after(0);
    }
    for (n = 0; n < 4000; n++) {
        float v[DIM];
        uint32_t i = any();

        random_vector(v);
        mem_fail_after(1 + rng_below(&w.rng, 12));
        if (rng_below(&w.rng, 3) == 0) {
            (void)!try_take(i);
        } else {
            (void)!try_put(i, v);
        }
        if (n % 64 == 0) {
            graph_pump(w.set, true);
        }
        if (n % 40 == 0) {
            drain();
        }
        mem_fail_after(0);
        if (n % 100 == 0 && w.under_way < UNDER_WAY_MAX) {
            ask_graph(K, 100, false, 0);
        }
    }
    settle();
    ask_completely(20);
    end();
}

/* ---- awkward data -------------------------------------------------------- */

/* Equal rows hang in a chain; when the entry dies, a row of a chain's middle
 * must not take its place. */
static void test_entries_die_among_copies(void **state)
{
    static const float same[DIM] = {1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t i, round;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    for (i = 0; i < NAMES; i++) {
        if (i % 3) {
            assert_int_equal(try_put(i, same), ERR_OK);
        } else {
            put(i);
        }
    }
    make_graph();
    settle();
    for (round = 0; round < 12; round++) {
        struct graph *g = w.set->graph;
        int top = 0;

        for (i = 0; i < NAMES; i++) {
            char name[16];
            slot_id slot = vset_find(w.set, name_of(i, name));

            if (slot != SLOT_NONE && hnsw_level(g->hnsw, slot) > top) {
                top = hnsw_level(g->hnsw, slot);
            }
        }
        for (i = 0; i < NAMES; i++) { /* everything of the highest level */
            char name[16];
            slot_id slot = vset_find(w.set, name_of(i, name));

            if (slot != SLOT_NONE && hnsw_level(g->hnsw, slot) == top &&
                i % 3 == 0) {
                take(i);
            }
        }
        finish_jobs();
        if (g->n_dead + g->n_dying) {
            graph_begin_sweep(g);
            while (g->job && g->job->kind == JOB_SWEEP) {
                wait_for_some();
            }
        }
        for (i = 0; i < 10; i++) {
            ask_graph(K, 100, false, 0.5);
        }
        finish_searches();
        settle();
    }
    ask_completely(10);
    end();
}

static void test_everything_is_equal(void **state)
{
    static const float zero[DIM];
    uint32_t i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    for (i = 0; i < 3000; i++) {
        assert_int_equal(try_put(i, zero), ERR_OK);
    }
    make_graph();
    settle();
    ask_completely(5);
    for (i = 0; i < 2990; i++) {
        take(i);
    }
    settle();
    ask_completely(5);
    for (; i < 3000; i++) {
        take(i);
    }
    settle();
    ask_completely(1);
    put_from_to(0, 500);
    settle();
    ask_completely(5);
    end();
}

/* ---- every format and metric --------------------------------------------- */

struct ranked {
    size_t n;
    float distance[K_MAX];
};

static void rank(struct search *s, void *arg)
{
    struct ranked *out = arg;
    struct buf *reply = search_reply(s);
    const struct answered *a = (const void *)reply->data;

    for (out->n = 0; out->n < reply->len / sizeof(*a); out->n++) {
        out->distance[out->n] = a[out->n].distance;
    }
}

static void search_now(const float *q, bool exact, uint32_t ef,
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

static void format_and_metric(enum vec_type type, enum vec_metric metric)
{
    size_t found = 0, i, j;
    uint32_t round;

    begin(type, metric, 1);
    put_from_to(0, 2000);
    make_graph();
    settle();
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 300; i++) {
            put(any());
            take(any());
        }
        settle();
    }
    for (i = 0; i < 100; i++) {
        struct ranked exact, graph;
        float q[DIM];

        random_vector(q);
        search_now(q, true, 0, &exact);
        search_now(q, false, 300, &graph);
        assert_int_equal(exact.n, K);
        assert_int_equal(graph.n, K);
        for (j = 0; j < K; j++) {
            found += graph.distance[j] <= exact.distance[K - 1] + 1e-5F;
        }
    }
    if (found < 95 * K) {
        fail_msg("type %d metric %d: found %zu of %d", type, metric, found,
                 100 * K);
    }
    end();
}

/* Rows that come again as they were do not hang behind their dead selves: who
 * did would come to life, when those are swept, without links on the levels
 * above, and searches would be left with fewer and fewer ways in. */
static void test_rows_that_come_again_have_links_of_their_own(void **state)
{
    const struct hnsw *h;
    uint32_t alone = 0, upper = 0, i;
    slot_id slot;

    (void)state;
    begin(VEC_F32, VEC_L2, 1);
    put_from_to(0, 3000);
    make_graph();
    settle();
    for (i = 0; i < 3000; i++) {
        float same[DIM];

        memcpy(same, w.at[i], sizeof(same));
        assert_int_equal(try_put(i, same), ERR_OK);
    }
    settle();
    h = graph_of(w.set);
    for (slot = 0; slot < w.set->elements.slots.n_slots; slot++) {
        uint32_t links[64];

        if (hnsw_is_linked(h, slot) && hnsw_level(h, slot) > 0) {
            upper++;
            alone += hnsw_links(h, slot, 1, links, 64) == 0;
        }
    }
    /* Where everybody around died at once, a few may have none. */
    if (alone > upper / 5) {
        fail_msg("%u of %u nodes have no links on level 1", alone, upper);
    }
    end();
}

static void test_formats_and_metrics(void **state)
{
    static const enum vec_type types[] = {VEC_F32, VEC_F16, VEC_BF16, VEC_I8};
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP,
                                              VEC_L1};
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (j = 0; j < sizeof(metrics) / sizeof(metrics[0]); j++) {
            format_and_metric(types[i], metrics[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slot_used_again_during_a_batch_is_found),
        cmocka_unit_test(test_a_waiting_slot_counts_once),
        cmocka_unit_test(test_a_search_that_waited_finds_what_it_saw),
        cmocka_unit_test(test_a_graph_is_dropped_during_a_job),
        cmocka_unit_test(test_a_set_is_dropped_during_a_job),
        cmocka_unit_test(test_a_database_is_flushed_during_a_job),
        cmocka_unit_test(test_memory_is_counted_to_the_last_byte),
        cmocka_unit_test(test_memory_that_runs_out),
        cmocka_unit_test(test_entries_die_among_copies),
        cmocka_unit_test(test_everything_is_equal),
        cmocka_unit_test(test_rows_that_come_again_have_links_of_their_own),
        cmocka_unit_test(test_formats_and_metrics),
        cmocka_unit_test(test_slots_are_used_again),
        cmocka_unit_test(test_any_search_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
