/* Searches with a filter against a twin that knows every element: whatever the
 * plan, the share that passes, and what changes meanwhile.
 *
 * The test thread is the loop. Elements carry two numbers: `any` has nothing to
 * do with where they are, `side` is their place along one axis, so that what
 * passes lies to one side, where a query may be or not. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/search/search_impl.h"
#include "model/db/loop.h"
#include "model/db/numbers.h"

enum {
    NAMES = 5000,
    DIM = 12,
    K = 10,
    UNDER_WAY_MAX = 16,
    ANY_PLAN = -1,
};

struct world {
    struct vset *set;
    struct rng rng;
    bool there[NAMES];
    float at[NAMES][DIM];
    uint32_t any[NAMES], side[NAMES]; /* below NAMES */
    size_t under_way;
    uint64_t wanted, found;
    uint64_t plans[4];
    float tolerance; /* what storing does to distances */
};

static struct world w;

static void begin(enum vec_type type)
{
    struct vset_options vo = {.type = type,
                              .metric = VEC_L2,
                              .dim = DIM,
                              .m = 12,
                              .ef = 100,
                              .index = VSET_INDEX_FLAT, /* never by itself */
                              .keep_empty = true};

    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    w.tolerance = type == VEC_F32 ? 1e-4F : type == VEC_I8 ? 4e-2F : 1e-2F;
    loop_begin(2, 2, 1);
    w.set = vset_create(loop.ks, loop.ks->dbs[0], &vo);
    assert_non_null(w.set);
}

static void finish_searches(void)
{
    while (w.under_way > 0) {
        loop_wait();
    }
}

/* Until the graph holds everything. */
static void settle(void)
{
    struct graph_info info;

    finish_searches();
    do {
        while (loop.ks->n_graph_jobs > 0) {
            loop_wait();
        }
        vset_settle_all(loop.ks->dbs[0]);
        graph_pump(w.set, true);
        graph_info_read(w.set, &info);
    } while (info.tail || loop.ks->n_graph_jobs > 0);
    vset_validate(w.set);
}

static void end(void)
{
    finish_searches();
    vset_validate(w.set);
    vset_drop(w.set);
    loop_end();
}

/* ---- writes ------------------------------------------------------------ */

static struct bytes attribute_of_name(uint32_t i, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 48, "{\"any\":%u,\"side\":%u}",
                                           w.any[i], w.side[i]));
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)rng_below(&w.rng, n);
}

static void random_vector(float *v)
{
    random_floats(&w.rng, v, DIM);
}

static void put(uint32_t i)
{
    char attribute[48];
    bool added;

    random_vector(w.at[i]);
    w.any[i] = below(NAMES);
    w.side[i] = (uint32_t)(NAMES * 0.5 * (1 + erf(w.at[i][0] / sqrt(2.0))));
    w.side[i] = w.side[i] < NAMES ? w.side[i] : NAMES - 1;
    assert_int_equal(
        add_number(w.set, i, w.at[i], attribute_of_name(i, attribute), &added),
        ERR_OK);
    assert_int_equal(added, !w.there[i]);
    w.there[i] = true;
}

static void take(uint32_t i)
{
    bool removed;

    assert_int_equal(remove_number(w.set, i, &removed), ERR_OK);
    w.there[i] = false;
}

static void change(uint32_t i)
{
    char name[16], attribute[48];

    if (w.there[i]) {
        w.any[i] = below(NAMES);
        assert_int_equal(vset_set_attribute(w.set,
                                            vset_find(w.set, name_of(i, name)),
                                            attribute_of_name(i, attribute)),
                         ERR_OK);
    }
}

static void fill(void)
{
    uint32_t i;

    for (i = 0; i < NAMES; i++) {
        put(i);
    }
    assert_int_equal(graph_begin(w.set), ERR_OK);
    settle();
}

/* ---- searches ---------------------------------------------------------- */

struct question {
    float q[DIM];
    bool side;
    uint32_t bound; /* numbers below it pass */
    int plan;
    size_t filter_ef;
    double least; /* recall of this one */
};

struct asked {
    float distance[NAMES]; /* infinite: must not be in the answer */
    size_t n;              /* that pass */
    float kth;
    size_t filter_ef;
    double least;
};

struct answered {
    uint32_t name;
    float distance;
};

struct told {
    bool complete, exact;
    char plan[16];
    size_t n;
    struct answered of[K];
};

static void write_hits(const struct search *s, const void *data,
                       struct buf *out)
{
    struct told told = {.n = search_hit_count(s)};
    struct search_stats st;
    size_t i, j;

    (void)data;
    search_stats_read(s, &st);
    told.complete = st.complete;
    told.exact = st.exact;
    snprintf(told.plan, sizeof(told.plan), "%s", st.plan);
    for (i = 0; i < told.n; i++) {
        struct search_hit hit;

        search_hit_read(s, i, &hit);
        for (j = 0; j < hit.name.len; j++) {
            told.of[i].name =
                told.of[i].name * 10 + (uint32_t)(hit.name.data[j] - '0');
        }
        told.of[i].distance = (float)hit.distance;
    }
    buf_append(out, &told, sizeof(told));
}

static void note_plan(const char *plan)
{
    static const char *const plans[] = {"flat", "hnsw", "hnsw-two-hop",
                                        "listed"};
    size_t i;

    for (i = 0; i < 4; i++) {
        w.plans[i] += strcmp(plan, plans[i]) == 0;
    }
}

static void check(struct search *s, void *arg)
{
    struct asked *asked = arg;
    const struct told *told = (const void *)search_reply(s)->data;
    size_t want = asked->n < K ? asked->n : K;
    size_t i, found = 0;

    w.under_way--;
    for (i = 0; i < told->n; i++) {
        float truth = asked->distance[told->of[i].name];

        if (isinf(truth)) {
            fail_msg("%s: %u does not pass, or is there twice", told->plan,
                     told->of[i].name);
        }
        assert_true(fabsf(truth - told->of[i].distance) < 1e-3F + w.tolerance);
        assert_true(i == 0 || told->of[i].distance >= told->of[i - 1].distance);
        found += truth <= asked->kth + w.tolerance;
        asked->distance[told->of[i].name] = INFINITY;
    }
    if (!asked->filter_ef || told->complete) {
        assert_true(told->complete);
        assert_int_equal(told->n, want);
    }
    if (told->exact) {
        assert_int_equal(found, want);
    }
    if ((double)found < asked->least * (double)want) {
        fail_msg("%s: %zu of %zu", told->plan, found, want);
    }
    w.found += found;
    w.wanted += want;
    note_plan(told->plan);
    free(asked);
}

static int by_distance(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static struct asked *ask_twin(const struct question *qu)
{
    struct asked *asked = calloc(1, sizeof(*asked));
    float *sorted = malloc(NAMES * sizeof(*sorted));
    uint32_t i;
    int j;

    asked->filter_ef = qu->filter_ef;
    asked->least = qu->least;
    for (i = 0; i < NAMES; i++) {
        double sum = 0;

        asked->distance[i] = INFINITY;
        if (!w.there[i] || (qu->side ? w.side[i] : w.any[i]) >= qu->bound) {
            continue;
        }
        for (j = 0; j < DIM; j++) {
            double d = (double)qu->q[j] - (double)w.at[i][j];

            sum += d * d;
        }
        sorted[asked->n++] = asked->distance[i] = (float)sqrt(sum);
    }
    qsort(sorted, asked->n, sizeof(*sorted), by_distance);
    asked->kth =
        asked->n ? sorted[asked->n < K ? asked->n - 1 : (size_t)K - 1] : 0;
    free(sorted);
    return asked;
}

/* Sets of this size have few plans that are worth it. */
static void force(struct search *s, int plan)
{
    if (plan == ANY_PLAN || !s->memo || !s->graph.hnsw) {
        return;
    }
    s->plan = (enum search_plan)plan;
    s->scored = 0;
    s->scan.source.first_run = 0;
    if (plan == PLAN_LISTED) {
        s->scan.source.first_run = s->scan.source.n_runs;
    } else if (plan != PLAN_FLAT) {
        s->scan.source.first_run =
            s->graph.fresh_from < s->view.n_slots
                ? row_place(s->view.geometry, s->graph.fresh_from).page
                : s->scan.source.n_runs;
    }
}

static void ask(const struct question *qu)
{
    struct search_request r = {.vector = qu->q,
                               .exclude = SLOT_NONE,
                               .k = K,
                               .ef = 100,
                               .filter_ef = qu->filter_ef,
                               .radius = INFINITY,
                               .format = write_hits};
    struct asked *asked = ask_twin(qu);
    struct search *s;
    char text[32];
    size_t at;

    snprintf(text, sizeof(text), ".%s < %u", qu->side ? "side" : "any",
             qu->bound);
    r.filter_text = bytes_of(text, strlen(text));
    assert_int_equal(filter_compile(r.filter_text, &r.filter, &at), ERR_OK);
    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    force(s, qu->plan);
    w.under_way++;
    if (below(4) == 0) {
        search_run(s, check, asked);
    } else {
        search_submit(s, check, asked);
    }
    while (w.under_way >= UNDER_WAY_MAX) {
        loop_wait();
    }
}

static void ask_often(int times, bool side, uint32_t bound, int plan,
                      double floor)
{
    w.found = w.wanted = 0;
    while (times-- > 0) {
        struct question qu = {.side = side, .bound = bound, .plan = plan};

        random_vector(qu.q);
        ask(&qu);
    }
    finish_searches();
    if ((double)w.found < floor * (double)w.wanted) {
        fail_msg("below %u on %s, plan %d: found %.3f", bound,
                 side ? "side" : "any", plan,
                 (double)w.found / (double)w.wanted);
    }
}

/* ---- tests ------------------------------------------------------------- */

static const double shares[] = {0.0002, 0.001, 0.01, 0.03, 0.05,
                                0.1,    0.2,   0.5,  0.9,  1};

static void every_share(enum vec_type type)
{
    size_t i, side;

    begin(type);
    fill();
    for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint32_t bound = (uint32_t)(shares[i] * NAMES);

        for (side = 0; side < 2; side++) {
            ask_often(20, side, bound, ANY_PLAN, 0.95);
            ask_often(60, side, bound, PLAN_HNSW, 0.95);
            ask_often(60, side, bound, PLAN_TWO_HOP,
                      shares[i] < 0.03 ? 0.7 : 0.93);
            ask_often(20, side, bound, PLAN_LISTED, 1);
            ask_often(20, side, bound, ANY_PLAN, 0.95);
        }
    }
    assert_true(w.plans[PLAN_HNSW] > 100 && w.plans[PLAN_TWO_HOP] > 100 &&
                w.plans[PLAN_LISTED] > 100);
    end();
}

static void test_every_plan_gives_k_whenever_k_pass(void **state)
{
    (void)state;
    every_share(VEC_F32);
}

static void test_the_same_without_codes_of_its_own(void **state)
{
    (void)state;
    every_share(VEC_F16);
}

static void test_the_same_with_fine_parts(void **state)
{
    (void)state;
    every_share(VEC_I8);
}

/* What is remembered of a filter must not outlive the attribute it was about,
 * and a search sees the attributes of its dispatch. */
static void test_attributes_change_under_searches(void **state)
{
    static const uint32_t bounds[] = {NAMES / 200, NAMES / 20, NAMES / 2};
    uint32_t step;

    (void)state;
    begin(VEC_F32);
    fill();
    for (step = 0; step < 6000; step++) {
        uint32_t i = below(NAMES);

        switch (below(8)) {
        case 0:
            if (w.there[i]) {
                take(i);
            }
            break;
        case 1:
            put(i);
            break;
        case 2:
        case 3:
            change(i);
            break;
        case 4:
            loop_turn();
            break;
        default: {
            struct question qu = {.side = below(3) == 0,
                                  .bound = bounds[below(3)],
                                  .plan = (int)below(5) - 1};

            random_vector(qu.q);
            ask(&qu);
        }
        }
        if (step % 100 == 0) {
            graph_pump(w.set, true);
        }
    }
    finish_searches();
    settle();
    ask_often(50, false, NAMES / 20, PLAN_LISTED, 1);
    end();
}

static void test_a_set_that_grows_keeps_what_it_knows(void **state)
{
    uint32_t i, j;

    (void)state;
    begin(VEC_F32);
    for (i = 0; i < 1500; i++) {
        put(i);
    }
    assert_int_equal(graph_begin(w.set), ERR_OK);
    settle();
    for (; i < NAMES; i++) {
        put(i);
        if (i % 100 == 0) {
            for (j = 0; j < 4; j++) {
                ask_often(1, false, NAMES / 20, (int)j, 0);
            }
        }
    }
    for (j = 0; j < 6; j++) { /* more filters than a set remembers */
        ask_often(10, true, 100 + j, ANY_PLAN, 0.9);
        ask_often(10, false, NAMES / 20, PLAN_LISTED, 1);
    }
    end();
}

/* With a bound to the effort an answer may be short, and says so. */
static void test_bounded_effort(void **state)
{
    size_t filter_ef;
    uint64_t before = 0;

    (void)state;
    begin(VEC_F32);
    fill();
    for (filter_ef = 1; filter_ef < 4 * NAMES; filter_ef *= 4) {
        int i;

        w.found = w.wanted = 0;
        for (i = 0; i < 40; i++) {
            struct question qu = {
                .bound = NAMES / 20, .plan = PLAN_HNSW, .filter_ef = filter_ef};

            memcpy(qu.q, w.at[i], sizeof(qu.q));
            ask(&qu);
        }
        finish_searches();
        assert_true(w.found + 4 >= before);
        before = w.found;
    }
    assert_true(before > 380);
    end();
}

/* Copies hang in chains; every other one passes. */
static void test_copies_that_pass_here_and_there(void **state)
{
    uint32_t i;

    (void)state;
    begin(VEC_F32);
    for (i = 0; i < NAMES; i++) {
        put(i);
        if (i % 2) {
            char name[16], attribute[48];
            struct vset_element e = {.name = name_of(i, name),
                                     .vector = w.at[i - i % 100],
                                     .has_attribute = true};
            bool added;

            memcpy(w.at[i], w.at[i - i % 100], sizeof(w.at[i]));
            e.attribute = attribute_of_name(i, attribute);
            assert_int_equal(vset_add(w.set, &e, &added), ERR_OK);
        }
    }
    assert_int_equal(graph_begin(w.set), ERR_OK);
    settle();
    for (i = 0; i < 4; i++) {
        double floor = i == PLAN_TWO_HOP ? 0.8 : 0.9;

        ask_often(40, false, NAMES / 20, (int)i, floor);
        ask_often(40, false, NAMES / 2, (int)i, floor);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_plan_gives_k_whenever_k_pass),
        cmocka_unit_test(test_the_same_without_codes_of_its_own),
        cmocka_unit_test(test_the_same_with_fine_parts),
        cmocka_unit_test(test_attributes_change_under_searches),
        cmocka_unit_test(test_a_set_that_grows_keeps_what_it_knows),
        cmocka_unit_test(test_bounded_effort),
        cmocka_unit_test(test_copies_that_pass_here_and_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
