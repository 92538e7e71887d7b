/* A set's graph against a twin: what is there, where, and how far away; see
 * graph_world.h. */
#include "model/db/graph_world.h"

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
                loop_turn();
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
    loop_finish_jobs();
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
    pool_submit(loop.pool, &blocker.task);
    for (i = 0; i < 20; i++) {
        ask_graph(K, 40, false, 0.6);
    }
    put_from_to(3010, NAMES);
    while (w.set->graph->fresh_from < NAMES) {
        graph_pump(w.set, true);
        loop_finish_jobs();
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
    loop_finish_jobs();
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
            loop_turn();
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
            loop_finish_jobs();
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
        graph_detach_all(loop.ks, loop.ks->dbs[0]);
        loop_finish_jobs();
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
    while (loop.ks->n_graph_jobs) {
        loop_wait();
    }
    assert_true(w.set->memory.bytes >= before);
    vset_validate(w.set); /* V3: what is counted is what is there */
    end();
}

/* The loop is not held while a large graph is freed. */
static void test_a_graph_that_was_given_up_is_freed_bit_by_bit(void **state)
{
    size_t before, bytes;
    int i, steps = 0;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES);
    before = w.set->memory.bytes;
    make_graph();
    settle();
    graph_drop_all(w.set);
    vset_settle_all(loop.ks->dbs[0]);
    assert_non_null(loop.ks->graphs_apart);
    while (loop.ks->graphs_apart) {
        bytes = w.set->memory.bytes;
        graph_take_apart(loop.ks, 1);
        assert_true(w.set->memory.bytes < bytes);
        put(any());
        ask_completely(1);
        validate();
        steps++;
    }
    assert_true(steps >= NAMES / 1024);
    assert_true(w.set->memory.bytes < before + before / 4);
    for (i = 0; i < 4; i++) { /* the set goes, or the graph when it is going */
        if (w.set->graph == NULL) {
            make_graph();
        }
        settle();
        graph_drop_all(w.set);
        if (i == 0) {
            graph_take_apart(loop.ks, 1);
            graph_detach_all(loop.ks, loop.ks->dbs[0]);
            assert_null(loop.ks->graphs_apart);
        } else if (i == 1) {
            ask_graph(K, 100, false, 0);
            vset_drop(w.set);
            finish_searches();
            assert_null(loop.ks->graphs_apart);
            make_set();
            put_from_to(0, NAMES);
            continue;
        }
        vset_drop(w.set);
        make_set();
        put_from_to(0, NAMES);
    }
    end();
}

/* Levels of many slots are not counted at once, and come out right. */
static void test_levels_are_counted_bit_by_bit(void **state)
{
    struct graph *g;
    slot_id slot;
    int i;

    (void)state;
    begin(VEC_F32, VEC_L2, 1);
    put_from_to(0, NAMES);
    make_graph();
    settle();
    g = w.set->graph;
    /* As if the rest had to wait. */
    memset(g->levels, 0, sizeof(g->levels));
    for (slot = 0, g->counted_to = NAMES / 2; slot < NAMES / 2; slot++) {
        g->levels[hnsw_level(g->hnsw, slot)]++;
    }
    for (i = 0; i < 200; i++) {
        put(any());
        take(any());
        put(any());
    }
    validate();
    assert_true(g->counted_to < w.set->elements.slots.n_slots);
    graph_pump(w.set, true);
    assert_int_equal(g->counted_to, w.set->elements.slots.n_slots);
    validate(); /* they add up */
    settle();
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
            loop_turn();
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
        loop_finish_jobs();
        if (g->n_dead + g->n_dying) {
            graph_begin_sweep(g);
            while (g->job && g->job->kind == JOB_SWEEP) {
                loop_wait();
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

/* Of the k nearest, by the distances. */
static double recall_with(uint32_t ef)
{
    enum { QUERIES = 300 };
    struct ranked found, truth;
    size_t hits = 0, i;
    float q[DIM];
    int n;

    for (n = 0; n < QUERIES; n++) {
        random_vector(q);
        search_now(q, true, 0, &truth);
        search_now(q, false, ef, &found);
        for (i = 0; i < found.n; i++) {
            hits += found.distance[i] <= truth.distance[K - 1];
        }
    }
    return (double)hits / QUERIES / K;
}

static void test_the_dead_do_not_cost_recall(void **state)
{
    double before, beside_dead;
    uint32_t i;

    (void)state;
    begin(VEC_F16, VEC_L2, 1);
    put_from_to(0, NAMES);
    make_graph();
    settle();
    before = recall_with(K + 2);
    for (i = 0; i < NAMES; i += 2) {
        take(i);
    }
    assert_int_equal(w.set->graph->n_dying, NAMES / 2); /* and not swept */
    beside_dead = recall_with(K + 2);
    if (beside_dead < before - 0.03) {
        fail_msg("found %.3f, and %.3f when half were dead", before,
                 beside_dead);
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
        cmocka_unit_test(test_a_graph_that_was_given_up_is_freed_bit_by_bit),
        cmocka_unit_test(test_levels_are_counted_bit_by_bit),
        cmocka_unit_test(test_memory_that_runs_out),
        cmocka_unit_test(test_entries_die_among_copies),
        cmocka_unit_test(test_everything_is_equal),
        cmocka_unit_test(test_rows_that_come_again_have_links_of_their_own),
        cmocka_unit_test(test_the_dead_do_not_cost_recall),
        cmocka_unit_test(test_formats_and_metrics),
        cmocka_unit_test(test_slots_are_used_again),
        cmocka_unit_test(test_any_search_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
