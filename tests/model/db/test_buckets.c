/* The tail of a set's graph in buckets, against a twin: what a search that
 * looks into all buckets has to find, whatever happens to rows meanwhile. */
#include "model/db/graph_world.h"

#include "db/tail/buckets_impl.h"

enum {
    EVERYWHERE = 2 * NAMES, /* an effort that leaves no bucket out */
    BURST = 4500,
    HELD_STEPS = 1000,
};

static uint32_t times_bucketed, times_merged;

static void look(void)
{
    const struct graph *g = w.set->graph;

    times_bucketed += g && g->buckets != NULL;
    times_merged += g && g->tail_job && g->tail_job->kind == JOB_MERGE;
}

/* A search that looks into all buckets, and finds all there is. */
static void ask_everywhere(void)
{
    struct question qu = random_question();

    qu.ef = EVERYWHERE;
    qu.complete = true;
    ask(&qu);
}

static void begin_with_a_short_raw_part(enum vec_type type,
                                        enum vec_metric metric)
{
    begin(type, metric, 2);
    w.raw_bound = 24;
    times_bucketed = times_merged = 0;
}

/* The graph's own jobs come to nothing, so that rows stay in the tail. */
static void hold_the_graph(bool on)
{
    static struct graph_job nothing;

    w.set->graph->job = on ? &nothing : NULL;
}

/* No rows are assigned, and no segments merged. */
static void hold_the_tail(bool on)
{
    static struct graph_job nothing;

    w.set->graph->tail_job = on ? &nothing : NULL;
}

static void finish_tail_jobs(void)
{
    while (w.set->graph->tail_job) {
        loop_wait();
    }
}

static void fill_buckets(uint32_t from, uint32_t to)
{
    put_from_to(from, to);
    graph_tail_pump(w.set->graph);
    finish_tail_jobs();
    assert_non_null(w.set->graph->buckets);
}

/* ---- any order of things ------------------------------------------------- */

static void step_in_a_burst(void)
{
    uint32_t i = any();

    look();
    switch (rng_below(&w.rng, 16)) {
    case 0:
    case 1:
    case 2:
        take(i);
        break;
    case 3:
        if (w.under_way < UNDER_WAY_MAX) {
            ask_everywhere();
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

static void test_a_search_of_all_buckets_finds_everything(void **state)
{
    int step;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 1500);
    make_graph();
    graph_pump(w.set, true);
    for (step = 0; step < HELD_STEPS * 6; step++) {
        if (step % (2 * HELD_STEPS) == 0) { /* so that a tail grows long */
            settle();
            hold_the_graph(true);
        } else if (step % HELD_STEPS == 0) {
            graph_tail_pump(w.set->graph);
            finish_tail_jobs();
            assert_non_null(w.set->graph->buckets);
            hold_the_graph(false);
        }
        step_in_a_burst();
        if (step % 500 == 0) {
            validate();
        }
    }
    finish_searches();
    assert_true(times_bucketed > 0);
    settle();
    assert_null(w.set->graph->buckets);
    ask_completely(20);
    end();
}

/* A burst into a small graph, and searches that must be good enough. */
static void test_a_burst_is_put_into_buckets(void **state)
{
    uint32_t i;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 500);
    make_graph();
    settle();
    hold_the_graph(true);
    for (i = 500; i < BURST; i++) {
        put(i);
        look();
        if (i % 4 == 0) {
            loop_turn();
            look();
        }
        if (i % 40 == 0) {
            ask_graph(K, 100, false, 0);
        }
        for (; i % 400 == 0 && w.set->graph->tail_job; look()) {
            loop_wait();
        }
    }
    finish_searches();
    assert_true(times_bucketed > 0 && times_merged > 0);
    assert_true((double)w.found >= 0.9 * (double)w.wanted);
    hold_the_graph(false);
    settle();
    graph_pump(w.set, true);
    assert_null(w.set->graph->centroids);
    end();
}

/* Looking into all buckets is the same as scanning everything. */
static void format_and_metric(enum vec_type type, enum vec_metric metric)
{
    struct ranked exact, through;
    float q[DIM];
    size_t i, j;

    begin_with_a_short_raw_part(type, metric);
    put_from_to(0, 300);
    make_graph();
    settle();
    hold_the_graph(true);
    fill_buckets(300, 1500);
    for (i = 0; i < 20; i++) {
        random_vector(q);
        search_now(q, true, 0, &exact);
        search_now(q, false, EVERYWHERE, &through);
        assert_int_equal(exact.n, K);
        assert_int_equal(through.n, K);
        for (j = 0; j < K; j++) {
            assert_true(through.distance[j] == exact.distance[j]);
        }
    }
    hold_the_graph(false);
    settle();
    end();
}

static void test_buckets_of_every_format_and_metric(void **state)
{
    static const enum vec_type types[] = {VEC_F32, VEC_F16, VEC_BF16, VEC_I8,
                                          VEC_BIT};
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP,
                                              VEC_L1};
    size_t i, j;

    (void)state;
    for (i = 0; i < ARRAY_LEN(types); i++) {
        for (j = 0; j < ARRAY_LEN(metrics); j++) {
            format_and_metric(types[i], metrics[j]);
        }
    }
}

/* Of a few rows all buckets are looked into: it would cost more to choose. */
static void test_none_of_a_few_rows_is_missed(void **state)
{
    struct ranked exact, through;
    float q[DIM];
    size_t i, j;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 60);
    make_graph();
    settle();
    hold_the_graph(true);
    fill_buckets(60, 400);
    assert_true(w.set->graph->centroids->n >= 16);
    for (i = 0; i < 200; i++) {
        random_vector(q);
        search_now(q, true, 0, &exact);
        search_now(q, false, 100, &through);
        assert_int_equal(through.n, K);
        for (j = 0; j < K; j++) {
            assert_true(through.distance[j] == exact.distance[j]);
        }
    }
    hold_the_graph(false);
    settle();
    end();
}

/* ---- slots that are used again ------------------------------------------- */

/* T2, B4: its first vector's bucket says nothing about its second one. */
static void test_a_slot_used_again_is_found_where_it_is(void **state)
{
    uint32_t round, i;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 200);
    make_graph();
    settle();
    hold_the_graph(true);
    fill_buckets(200, 1200);
    for (round = 0; round < 30; round++) {
        for (i = 0; i < 40; i++) {
            take(200 + round * 7 + i);
        }
        loop_turn();
        for (i = 0; i < 40; i++) {
            put(200 + round * 7 + i);
        }
        for (i = 0; i < 10; i++) {
            struct question qu = random_question();

            memcpy(qu.q, w.at[200 + round * 7 + i], sizeof(qu.q));
            qu.ef = i % 2 ? EVERYWHERE : 100;
            qu.complete = i % 2;
            qu.k = i % 2 ? qu.k : 1; /* itself, in its own bucket */
            qu.group = i % 2 ? qu.group : -1;
            qu.least = i % 2 ? 0 : 1;
            ask(&qu);
        }
        if (round % 3) {
            finish_searches();
        }
        if (round % 4 == 0) {
            finish_tail_jobs();
        }
    }
    assert_true(w.set->graph->late_bucketed_to > 0);
    finish_tail_jobs();
    finish_searches();
    hold_the_graph(false);
    settle();
    ask_completely(20);
    end();
}

/* While a search waits its rows are linked and their segments go. */
static void test_a_search_keeps_the_segments_it_saw(void **state)
{
    int i;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 200);
    make_graph();
    settle();
    hold_the_graph(true);
    fill_buckets(200, 3000);
    hold_the_tail(true);
    pool_pause(loop.pool, NULL, NULL);
    for (i = 0; i < 20; i++) {
        struct question qu = random_question();
        struct asked *asked;

        qu.ef = EVERYWHERE;
        qu.complete = true;
        asked = ask_twin(&qu);
        w.under_way++;
        search_submit(new_search(&qu), check, asked);
    }
    hold_the_graph(false);
    for (i = 0; w.set->graph->buckets; i++) {
        graph_pump(w.set, true);
        loop_finish_jobs();
        take((uint32_t)i);
    }
    pool_resume(loop.pool);
    hold_the_tail(false);
    finish_searches();
    settle();
    end();
}

/* ---- ends -----------------------------------------------------------------
 */

static void test_graphs_and_sets_go_while_rows_are_assigned(void **state)
{
    struct vset *old;
    int i;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    for (i = 0; i < 12; i++) {
        put_from_to(0, 200);
        make_graph();
        graph_pump(w.set, true);
        put_from_to(200, 1000 + (uint32_t)i * 20);
        while (i % 4 < 2 && !w.set->graph->buckets) {
            loop_wait();
        }
        assert_non_null(w.set->graph->tail_job ? (void *)w.set->graph->tail_job
                                               : w.set->graph->buckets);
        ask_graph(K, 100, false, 0);
        if (i % 2) {
            graph_drop_all(w.set);
        }
        if (i % 3 == 0) {
            loop_finish_jobs();
        }
        old = w.set;
        make_set();
        vset_drop(old);
    }
    put_from_to(0, 100);
    end();
}

static void test_memory_runs_out_in_a_burst(void **state)
{
    uint32_t n;

    (void)state;
    begin_with_a_short_raw_part(VEC_F32, VEC_L2);
    put_from_to(0, 500);
    make_graph();
    for (n = 0; n < 6000; n++) {
        float v[DIM];
        uint32_t i = any();

        random_vector(v);
        mem_fail_after(1 + rng_below(&w.rng, 12));
        if (rng_below(&w.rng, 4) == 0) {
            (void)!try_take(i);
        } else {
            (void)!try_put(i, v);
        }
        if (n % 8 == 0) {
            loop_turn();
        }
        mem_fail_after(0);
        look();
        if (n % 50 == 0 && w.under_way < UNDER_WAY_MAX) {
            ask_everywhere();
        }
    }
    settle();
    ask_completely(20);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_of_a_few_rows_is_missed),
        cmocka_unit_test(test_a_slot_used_again_is_found_where_it_is),
        cmocka_unit_test(test_a_search_keeps_the_segments_it_saw),
        cmocka_unit_test(test_graphs_and_sets_go_while_rows_are_assigned),
        cmocka_unit_test(test_memory_runs_out_in_a_burst),
        cmocka_unit_test(test_a_burst_is_put_into_buckets),
        cmocka_unit_test(test_buckets_of_every_format_and_metric),
        cmocka_unit_test(test_a_search_of_all_buckets_finds_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
