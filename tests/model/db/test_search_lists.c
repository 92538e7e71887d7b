/* Searches through lists against exact ones of the same instant.
 *
 * The test thread is the loop. Every search is made twice in one turn: through
 * the lists and with all rows scored. While both are under way elements are
 * added, replaced and removed, lists are trained, filled and replaced. Where
 * the one through the lists says that it left nothing out, the two answers must
 * be the same; else there must be as many, none nearer, none twice and none
 * that was not there, and a good share of the nearest among them. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"
#include "db/search/search_impl.h"
#include "model/db/loop.h"
#include "model/db/numbers.h"

enum {
    NAMES = 6000,
    DIM = 32,
    STEPS = 9000,
    PAIRS_MAX = 12,
    VALUES = 10, /* of the attribute */
};

struct world {
    struct vset *set;
    struct rng rng;
    enum vec_type type;
    enum vec_metric metric;
    bool there[NAMES];
    uint32_t count;
    uint32_t under_way;
    /* what the searches said of themselves */
    uint32_t n_lists, n_whole, n_more, n_late;
    uint64_t found, sought;
};

static struct world w;

/* ---- a world ----------------------------------------------------------- */

static void make_set(void)
{
    struct vset_options o = {.type = w.type,
                             .metric = w.metric,
                             .dim = DIM,
                             .m = 8,
                             .index = VSET_INDEX_FLAT,
                             .keep_empty = true};

    w.set = vset_create(loop.ks, loop.ks->dbs[0], &o);
    assert_non_null(w.set);
    memset(w.there, 0, sizeof(w.there));
    w.count = 0;
}

static void begin(enum vec_type type, enum vec_metric metric, unsigned builders)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    w.type = type;
    w.metric = metric;
    loop_begin(2, builders, 1);
    make_set();
}

static void finish_searches(void)
{
    while (w.under_way > 0 || loop.ks->recalls) {
        loop_wait();
    }
}

/* Until all is in lists and nothing is to be done. */
static void settle(void)
{
    struct lists_info info;

    finish_searches();
    do {
        loop_turn();
        loop_finish_jobs();
        lists_pump(w.set, true);
        graph_pump(w.set, true);
        loop_finish_jobs();
        lists_info_read(w.set, &info);
    } while (info.is_coming || info.phase != LISTS_IDLE || w.set->coming);
    vset_validate(w.set);
}

static void end(void)
{
    finish_searches();
    vset_validate(w.set);
    recall_stop_all(loop.ks);
    while (loop.ks->recalls) {
        loop_wait();
    }
    vset_drop(w.set);
    loop_end();
    assert_int_equal(mem_promised(), 0);
}

/* ---- writes ------------------------------------------------------------ */

static bool passes(uint32_t i, uint32_t value)
{
    return i % 7 != 0 && i % VALUES == value;
}

/* Around one of some places. */
static void any_vector(uint32_t place, float *v)
{
    int j;

    for (j = 0; j < DIM; j++) {
        v[j] = (float)rng_normal(&w.rng) + 3 * (float)(place % 16 >> j % 4 & 1);
    }
}

static void put(uint32_t i)
{
    char attribute[32] = "";
    float v[DIM];
    bool added;

    any_vector((uint32_t)rng_below(&w.rng, 16), v);
    if (i % 7 != 0) {
        snprintf(attribute, sizeof(attribute), "{\"a\":%u}", i % VALUES);
    }
    assert_int_equal(add_number(w.set, i, v, bytes_str(attribute), &added),
                     ERR_OK);
    assert_int_equal(added, !w.there[i]);
    w.count += added;
    w.there[i] = true;
}

static void take(uint32_t i)
{
    bool removed;

    assert_int_equal(remove_number(w.set, i, &removed), ERR_OK);
    assert_int_equal(removed, w.there[i]);
    w.count -= removed;
    w.there[i] = false;
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

static void train(uint32_t n_lists)
{
    struct lists_options o = {.nlist = n_lists, .seed = 1};
    uint64_t build;

    assert_int_equal(lists_train(w.set, &o, &build), ERR_OK);
}

/* ---- two searches ------------------------------------------------------ */

struct hit {
    uint32_t name;
    double distance;
};

struct pair;

struct answer {
    struct pair *pair;
    struct hit *hits;
    size_t n;
    struct search_stats stats;
};

struct pair {
    struct answer exact, lists;
    int n_done;
    bool has_filter, is_bounded, has_radius;
    uint32_t value; /* of the filter */
    double radius;
    uint32_t nprobe;
    size_t k;
    uint32_t exclude; /* its name, or NAMES */
    bool there[NAMES];
};

static void write_hits(const struct search *s, const void *data,
                       struct buf *out)
{
    size_t n = search_hit_count(s), i, j;
    struct search_hit hit;
    struct search_stats stats;

    (void)data;
    search_stats_read(s, &stats);
    buf_append(out, &stats, sizeof(stats));
    for (i = 0; i < n; i++) {
        struct hit h = {0};

        search_hit_read(s, i, &hit);
        h.distance = hit.distance;
        for (j = 0; j < hit.name.len; j++) {
            h.name = h.name * 10 + (uint32_t)(hit.name.data[j] - '0');
        }
        buf_append(out, &h, sizeof(h));
    }
}

static void read_answer(struct search *s, struct answer *a)
{
    const struct buf *b = search_reply(s);

    memcpy(&a->stats, b->data, sizeof(a->stats));
    a->n = (b->len - sizeof(a->stats)) / sizeof(struct hit);
    a->hits = malloc((a->n + 1) * sizeof(struct hit));
    memcpy(a->hits, b->data + sizeof(a->stats), a->n * sizeof(struct hit));
}

static void check_one(const struct pair *p, const struct answer *a)
{
    bool *seen = calloc(NAMES, 1);
    size_t i;

    assert_true(a->n <= p->k);
    for (i = 0; i < a->n; i++) {
        const struct hit *h = &a->hits[i];

        assert_true(h->name < NAMES && p->there[h->name] && !seen[h->name]);
        assert_true(h->name != p->exclude);
        seen[h->name] = true;
        assert_true(i == 0 || h->distance >= a->hits[i - 1].distance);
        assert_true(!p->has_filter || passes(h->name, p->value));
        assert_true(!p->has_radius || h->distance <= p->radius + 1e-6);
    }
    free(seen);
}

static void check_pair(struct pair *p)
{
    const struct answer *a = &p->lists;
    size_t i;

    check_one(p, &p->exact);
    check_one(p, a);
    if (strcmp(a->stats.plan, "ivf") == 0) {
        w.n_lists++;
        w.n_whole += a->stats.exact;
        w.n_late += a->stats.tail > 0;
    }
    if (a->stats.exact) {
        assert_int_equal(a->n, p->exact.n);
        assert_memory_equal(a->hits, p->exact.hits, a->n * sizeof(struct hit));
        return;
    }
    assert_true(a->n <= p->exact.n);
    if (a->n < p->exact.n) { /* only when somebody bounded the effort */
        assert_true(p->has_radius || !a->stats.complete);
        assert_true(p->has_radius || p->is_bounded);
    }
    for (i = 0; i < a->n; i++) {
        assert_true(a->hits[i].distance >= p->exact.hits[i].distance);
    }
    for (i = 0; i < a->n && p->exact.n && !p->has_filter; i++) {
        w.found +=
            a->hits[i].distance <= p->exact.hits[p->exact.n - 1].distance;
    }
    w.sought += p->has_filter ? 0 : p->exact.n;
}

static void answered(struct search *s, void *arg)
{
    struct answer *a = arg;
    struct pair *p = a->pair;

    read_answer(s, a);
    w.under_way--;
    if (++p->n_done == 2) {
        check_pair(p);
        free(p->exact.hits);
        free(p->lists.hits);
        free(p);
    }
}

static struct search *make_search(const struct pair *p, const float *v,
                                  struct search_request *r)
{
    struct search *s;
    char text[32], name[16];
    size_t at;

    r->vector = v;
    r->slot = SLOT_NONE;
    r->exclude = p->exclude < NAMES
                     ? vset_find(w.set, name_of(p->exclude, name))
                     : SLOT_NONE;
    r->k = p->k;
    r->radius = p->has_radius ? p->radius : (double)INFINITY;
    r->format = write_hits;
    if (p->has_filter) {
        snprintf(text, sizeof(text), ".a == %u", p->value);
        r->filter_text = bytes_str(text);
        assert_int_equal(filter_compile(r->filter_text, &r->filter, &at),
                         ERR_OK);
    }
    assert_int_equal(search_create(w.set, r, &s), ERR_OK);
    return s;
}

/* Asks for something, twice. */
static void search_pair(struct pair *p, struct search_request r)
{
    struct search_request exact = {.exact = true};
    struct search *s[2];
    float v[DIM];
    int i;

    any_vector((uint32_t)rng_below(&w.rng, 16), v);
    memcpy(p->there, w.there, sizeof(p->there));
    p->nprobe = r.nprobe;
    p->is_bounded = r.filter_ef != 0;
    p->exact.pair = p->lists.pair = p;
    s[0] = make_search(p, v, &exact);
    s[1] = make_search(p, v, &r);
    for (i = 0; i < 2; i++) {
        struct answer *a = i ? &p->lists : &p->exact;

        w.under_way++;
        if (i && search_is_cheap(s[i])) {
            search_run(s[i], answered, a);
        } else {
            search_submit(s[i], answered, a);
        }
    }
}

static struct pair *pair_of(size_t k)
{
    struct pair *p = calloc(1, sizeof(*p));

    p->k = k;
    p->exclude = NAMES;
    return p;
}

static void search_something(void)
{
    static const size_t ks[] = {1, 10, 10, 10, 100, 700, 2 * NAMES};
    struct search_request r = {.ef = 0};
    struct pair *p = pair_of(ks[rng_below(&w.rng, ARRAY_LEN(ks))]);
    uint32_t i = any();

    p->has_filter = rng_below(&w.rng, 3) == 0;
    p->value = (uint32_t)rng_below(&w.rng, VALUES + 2);
    p->has_radius = rng_below(&w.rng, 4) == 0;
    p->radius = w.metric == VEC_L2 ? rng_unit(&w.rng) * 12 : rng_unit(&w.rng);
    if (w.there[i] && rng_below(&w.rng, 4) == 0) {
        p->exclude = i;
    }
    switch (rng_below(&w.rng, 6)) {
    case 0:
        r.ef = 1 + (uint32_t)rng_below(&w.rng, 300);
        break;
    case 1:
        r.recall = 0.5 + rng_unit(&w.rng) / 2;
        break;
    case 2:
        r.filter_ef = 1 + (size_t)rng_below(&w.rng, NAMES);
        break;
    default:
        r.nprobe = 1 + (uint32_t)rng_below(&w.rng, 80);
    }
    search_pair(p, r);
}

/* ---- tests ------------------------------------------------------------- */

static void test_found(void **state)
{
    int i;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    put_from_to(0, NAMES);
    train(64);
    settle();
    for (i = 0; i < 200; i++) {
        search_pair(pair_of(10), (struct search_request){.nprobe = 24});
        finish_searches();
    }
    assert_int_equal(w.n_lists, 200);
    assert_true((double)w.found >= 0.9 * (double)w.sought);
    end();
}

/* Few pass, and few lists are asked for: more are looked through. */
static void test_filter_is_answered_in_full(void **state)
{
    int i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES);
    train(64);
    settle();
    for (i = 0; i < 60; i++) {
        struct pair *p = pair_of(1 + (size_t)i * 20);

        p->has_filter = true;
        p->value = (uint32_t)i % (VALUES + 1);
        search_pair(p, (struct search_request){.nprobe = 1});
        finish_searches();
    }
    assert_true(w.n_lists > 0);
    end();
}

static void test_more_than_there_are(void **state)
{
    (void)state;
    begin(VEC_F32, VEC_COSINE, 2);
    put_from_to(0, NAMES);
    train(16);
    settle();
    search_pair(pair_of(NAMES + 1), (struct search_request){.nprobe = 1});
    finish_searches();
    assert_true(w.n_whole > 0 || w.n_lists == 0);
    end();
}

/* Through the lists, though all would rather be scanned. */
static void search_by_lists(size_t k)
{
    struct search_request r = {.nprobe = 24};
    struct search_request exact = {.exact = true};
    struct pair *p = pair_of(k);
    struct search *s[2];
    float v[DIM];

    any_vector((uint32_t)rng_below(&w.rng, 16), v);
    memcpy(p->there, w.there, sizeof(p->there));
    p->exact.pair = p->lists.pair = p;
    s[0] = make_search(p, v, &exact);
    s[1] = make_search(p, v, &r);
    assert_non_null(s[1]->lists.ivf);
    if (s[1]->plan == PLAN_FLAT) {
        s[1]->plan = PLAN_IVF;
        s[1]->scored = 0;
        s[1]->n_probe = r.nprobe;
        s[1]->most_lists = s[1]->in_lists.dir->n_lists;
        s[1]->ef = 100;
        s[1]->scan.source.first_run = s[1]->scan.source.n_runs;
    }
    w.under_way += 2;
    search_submit(s[0], answered, &p->exact);
    search_submit(s[1], answered, &p->lists);
}

static void finish_graph(uint64_t build)
{
    graph_pump(w.set, true);
    while (!graph_is_built(w.set, build)) {
        loop_finish_jobs();
        graph_pump(w.set, true);
    }
}

/* While rows move the graph there was answers for those that have not. */
static void graph_gives_way(enum vec_type type, enum vec_metric metric)
{
    struct vset_options wanted;
    uint32_t n_moved = 0, n, i;
    uint64_t build;

    begin(type, metric, 2);
    put_from_to(0, NAMES - 1000);
    wanted = *vset_options(w.set);
    wanted.index = VSET_INDEX_HNSW;
    assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
    finish_graph(build);
    put_from_to(NAMES - 1000, NAMES - 100); /* waits to be linked */
    train(64);
    while (!lists_of(w.set)) {
        loop_wait();
    }
    assert_non_null(lists_left(w.set));
    while (lists_left(w.set)) {
        struct lists_view view;

        lists_view_take(w.set, &view);
        n_moved += view.n_listed > 0 && view.n_listed < w.count;
        for (n = 0; n < 20 && w.under_way < PAIRS_MAX; n++) {
            search_by_lists(10);
            i = any();
            put(i);
            take(i);
            put(i);
        }
        lists_pump(w.set, true);
        loop_wait();
    }
    finish_searches();
    /* How many searches meet rows on the move is up to the machine. */
    print_message("%u turns while rows moved, %u searches\n", n_moved,
                  (unsigned)w.n_lists);
    if ((double)w.found < 0.85 * (double)w.sought) {
        fail_msg("found %g of %g", (double)w.found, (double)w.sought);
    }
    settle();
    assert_null(w.set->graphs);
    end();
}

static void test_graph_gives_way(void **state)
{
    (void)state;
    graph_gives_way(VEC_F32, VEC_L2);
    graph_gives_way(VEC_I8, VEC_COSINE);
    graph_gives_way(VEC_F16, VEC_COSINE);
}

/* The set goes, or what it is to have is another thing, before it has. */
static void test_graph_gives_way_for_nothing(void **state)
{
    struct vset_options wanted;
    uint64_t build;
    int turn, turns;

    (void)state;
    for (turns = 0; turns < 24; turns++) {
        begin(turns % 2 ? VEC_I8 : VEC_F32, VEC_COSINE, 2);
        put_from_to(0, 2000);
        wanted = *vset_options(w.set);
        wanted.index = VSET_INDEX_HNSW;
        assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
        finish_graph(build);
        train(20);
        for (turn = 0; turn < turns && loop.ks->n_lists_jobs; turn++) {
            put(any());
            loop_wait();
        }
        if (turns % 3 == 0) {
            wanted.index = VSET_INDEX_FLAT;
            assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
            loop_finish_jobs();
        } else if (turns % 3 == 1) {
            settle();
        }
        end();
    }
}

static void happen(void)
{
    struct lists_options o = {.nlist = 1 + (uint32_t)rng_below(&w.rng, 90)};
    struct vset_options wanted = *vset_options(w.set);
    uint64_t build;
    enum err err;

    switch (rng_below(&w.rng, 8)) {
    case 0:
        wanted.index = VSET_INDEX_FLAT;
        assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
        break;
    case 1:
        wanted.index = VSET_INDEX_HNSW;
        assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
        break;
    case 2:
    case 3:
        lists_pump(w.set, true);
        graph_pump(w.set, true);
        break;
    default:
        err = lists_train(w.set, &o, &build);
        assert_true(err == ERR_OK || err == ERR_BUSY || err == ERR_RANGE);
    }
}

static void random_life(enum vec_type type, enum vec_metric metric)
{
    uint32_t step;

    begin(type, metric, 2);
    put_from_to(0, NAMES * 3 / 4);
    train(40);
    for (step = 0; step < STEPS; step++) {
        uint32_t what = (uint32_t)rng_below(&w.rng, 1000);

        if (what < 430) {
            put(any());
        } else if (what < 600) {
            take(any());
        } else if (what < 850 && w.under_way < PAIRS_MAX) {
            search_something();
        } else if (what < 988) {
            loop_turn();
        } else if (what < 990) {
            happen();
        } else if (what < 994) {
            lists_pump(w.set, true);
        } else if (what < 998) {
            settle();
        }
    }
    settle();
    assert_true(w.n_lists > 5);
    assert_true(w.n_late > 0);
    print_message("%u through lists, %u of them whole, %u with a tail\n",
                  w.n_lists, w.n_whole, w.n_late);
    end();
}

static void test_random(void **state)
{
    (void)state;
    random_life(VEC_F32, VEC_L2);
}

static void test_random_q8(void **state)
{
    (void)state;
    random_life(VEC_I8, VEC_COSINE);
}

static void test_random_others(void **state)
{
    (void)state;
    random_life(VEC_BIT, VEC_COSINE);
    random_life(VEC_F16, VEC_IP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_filter_is_answered_in_full),
        cmocka_unit_test(test_more_than_there_are),
        cmocka_unit_test(test_graph_gives_way),
        cmocka_unit_test(test_graph_gives_way_for_nothing),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_q8),
        cmocka_unit_test(test_random_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
