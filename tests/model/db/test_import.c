/* Sets as Redis writes them, made here: the links that come out are the links
 * that went in, whatever ids the nodes had; the set can be gone on with, and
 * written down. What leads nowhere is built anew. */
#include "unit/cm.h"

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/search/search_impl.h"
#include "db/vset/vset_image.h"
#include "model/db/loop.h"

enum { NODES = 3000, DIM = 8, M = 4, ROW_MAX = 3 * M, LEVELS = 17 };

/* A graph as Redis has it: any two nodes of a level may be linked, both ways.
 * By slots, which are in the order of insertion. */
struct twin {
    uint32_t n;
    uint32_t levels[NODES];
    uint32_t n_links[NODES][LEVELS];
    uint32_t links[NODES][LEVELS][ROW_MAX];
    uint64_t ids[NODES];
};

static struct twin t;
static struct rng rng;

static void begin(uint32_t n, uint64_t first_id, uint64_t step)
{
    uint32_t i;

    cm_seed(&rng);
    memset(&t, 0, sizeof(t));
    t.n = n;
    for (i = 0; i < n; i++) {
        t.ids[i] = first_id + step * i;
        while (t.levels[i] < LEVELS - 1 && rng_below(&rng, 4) == 0) {
            t.levels[i]++;
        }
    }
    loop_begin(2, 2, 2);
}

static void join(uint32_t a, uint32_t b, uint32_t level)
{
    t.links[a][level][t.n_links[a][level]++] = b;
    t.links[b][level][t.n_links[b][level]++] = a;
}

static bool are_joined(uint32_t a, uint32_t b, uint32_t level)
{
    uint32_t i = 0;

    while (i < t.n_links[a][level] && t.links[a][level][i] != b) {
        i++;
    }
    return i < t.n_links[a][level];
}

/* Each node to the next one of its level, and to some others while both have
 * room. */
static void link_level(uint32_t from, uint32_t to, uint32_t level,
                       uint32_t room)
{
    uint32_t last = UINT32_MAX, i, j, more;

    for (i = from; i < to; i++) {
        if (t.levels[i] < level) {
            continue;
        }
        if (last != UINT32_MAX) {
            join(last, i, level);
        }
        last = i;
    }
    for (i = from; i < to; i++) {
        for (more = 0; t.levels[i] >= level && more < M; more++) {
            j = from + (uint32_t)rng_below(&rng, to - from);
            if (j != i && t.levels[j] >= level && !are_joined(i, j, level) &&
                t.n_links[i][level] < room && t.n_links[j][level] < room) {
                join(i, j, level);
            }
        }
    }
}

static void link_nodes(uint32_t from, uint32_t to, uint32_t base_room,
                       uint32_t upper_room)
{
    uint32_t level;

    for (level = 0; level < LEVELS; level++) {
        link_level(from, to, level, level ? upper_room : base_room);
    }
}

/* ---- as bytes ------------------------------------------------------------ */

static void put_node(struct rdb_out *o, uint32_t at)
{
    uint64_t n = 3, factors = 0x3f800000, range = 0x3f000000;
    uint32_t level, i;

    for (level = 0; level <= t.levels[at]; level++) {
        n += 3 + t.n_links[at][level];
    }
    rdb_put_unsigned(o, n);
    rdb_put_unsigned(o, t.ids[at]);
    rdb_put_unsigned(o, 1 << 24 | t.levels[at]);
    for (level = 0; level <= t.levels[at]; level++) {
        rdb_put_unsigned(o, t.n_links[at][level]);
        rdb_put_unsigned(o, (level ? 2 : 3) * M);
        for (i = 0; i < t.n_links[at][level]; i++) {
            rdb_put_unsigned(o, t.ids[t.links[at][level][i]]);
        }
        rdb_put_unsigned(o, 0);
    }
    rdb_put_unsigned(o, range << 32 | factors);
}

static struct buf write_set(void)
{
    struct buf out = BUF_INIT;
    struct rdb_out o;
    uint32_t i, j;

    rdb_out_open_mem(&o, &out);
    rdb_put_module(&o, rdb_module_id("vectorset", 0));
    rdb_put_unsigned(&o, DIM);
    rdb_put_unsigned(&o, t.n);
    rdb_put_unsigned(&o, 1 | M << 8);
    rdb_put_unsigned(&o, 0);
    for (i = t.n; i-- > 0;) {
        char name[16];
        int8_t code[DIM];
        int len = snprintf(name, sizeof(name), "e%u", i);

        for (j = 0; j < DIM; j++) {
            code[j] = (int8_t)((int)rng_below(&rng, 255) - 127);
        }
        rdb_put_blob_begin(&o, (size_t)len);
        rdb_put_raw(&o, name, (size_t)len);
        rdb_put_blob_begin(&o, DIM);
        rdb_put_raw(&o, code, DIM);
        put_node(&o, i);
    }
    rdb_put_module_end(&o);
    assert_int_equal(rdb_out_finish(&o), ERR_OK);
    rdb_out_close(&o);
    return out;
}

static struct vset *read_set(struct buf *data)
{
    struct vset *v;
    struct rdb_in in;
    uint64_t id;

    loop.ks->shared_loads_from = rng_below(&rng, 2) ? 0 : SIZE_MAX;
    rdb_in_open_mem(&in, buf_bytes(data));
    assert_true(rdb_get_module(&in, &id));
    v = vset_load(&in, vset_form_of(id), loop.ks, loop.ks->dbs[0]);
    if (!v) {
        fail_msg("%s", in.why.text);
    }
    assert_true(rdb_get_module_end(&in));
    rdb_in_close(&in);
    buf_deinit(data);
    return v;
}

static struct vset *import(void)
{
    struct buf data = write_set();

    return read_set(&data);
}

/* Written down in our form and read again. */
static struct vset *again(struct vset *v)
{
    struct buf data = BUF_INIT;
    struct rdb_out o;

    rdb_out_open_mem(&o, &data);
    o.compress = true;
    vset_save(&o, v);
    assert_int_equal(rdb_out_finish(&o), ERR_OK);
    rdb_out_close(&o);
    vset_drop(v);
    return read_set(&data);
}

/* ---- comparing ----------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void same_links(const struct vset *v, uint32_t slot, uint32_t level)
{
    uint32_t n = t.n_links[slot][level];
    slot_id links[ROW_MAX + 1];

    qsort(t.links[slot][level], n, sizeof(*links), compare);
    assert_int_equal(graph_links(v, slot, (int)level, links, ROW_MAX + 1), n);
    assert_memory_equal(links, t.links[slot][level], n * sizeof(*links));
}

/* The graph is Redis's, and nobody has to do anything for it. */
static void is_kept(struct vset *v)
{
    uint32_t slot, level, top = 0;
    struct graph_info g;

    graph_info_read(v, &g);
    assert_true(g.has_graph);
    assert_int_equal(g.nodes, t.n);
    assert_int_equal(g.tail, 0);
    assert_int_equal(g.m, M);
    for (slot = 0; slot < t.n; slot++) {
        assert_int_equal(graph_level(v, slot), t.levels[slot]);
        top = t.levels[slot] > top ? t.levels[slot] : top;
        for (level = 0; level <= t.levels[slot]; level++) {
            same_links(v, slot, level);
        }
    }
    assert_int_equal(g.max_level, top);
    hnsw_validate(graph_of(v));
    vset_validate(v);
}

static void churn(struct vset *v, uint32_t steps)
{
    uint32_t i, j;

    for (i = 0; i < steps; i++) {
        char name[16];
        float x[DIM];
        int len = snprintf(name, sizeof(name), "e%u",
                           (uint32_t)rng_below(&rng, t.n + t.n / 2));
        struct vset_element e = {.name = bytes_of(name, (size_t)len),
                                 .vector = x};
        bool changed;

        for (j = 0; j < DIM; j++) {
            x[j] = (float)rng_normal(&rng);
        }
        assert_int_equal(rng_below(&rng, 3) ? vset_add(v, &e, &changed)
                                            : vset_remove(v, e.name, &changed),
                         ERR_OK);
        loop_turn();
    }
    graph_pump_all(loop.ks);
    loop_finish_jobs();
    hnsw_validate(graph_of(v));
    vset_validate(v);
}

static void end(struct vset *v)
{
    vset_drop(v);
    loop_end();
}

/* ---- tests --------------------------------------------------------------- */

static void keeps(uint64_t first_id, uint64_t step, uint32_t base_room,
                  uint32_t upper_room)
{
    int levels[NODES];
    struct vset *v;
    uint32_t slot;

    begin(NODES, first_id, step);
    link_nodes(0, NODES, base_room, upper_room);
    v = import();
    is_kept(v);
    v = again(v);
    is_kept(v);
    churn(v, 1000);
    assert_true(graph_came_along(v));
    graph_begin_sweep(v->graph);
    loop_finish_jobs();
    churn(v, 1000); /* into slots that were swept */
    for (slot = 0; slot < NODES; slot++) {
        levels[slot] = graph_level(v, slot);
        assert_int_equal(levels[slot], t.levels[slot]);
    }
    v = again(v);
    for (slot = 0; slot < NODES; slot++) {
        assert_int_equal(graph_level(v, slot), levels[slot]);
    }
    churn(v, 500);
    end(v);
}

static void links_that_redis_made_are_kept(void **state)
{
    (void)state;
    keeps(1, 1, 2 * M, M);
    keeps(1, 3, 2 * M, M);
    keeps((uint64_t)NODES * 7, (uint64_t)-7, 2 * M, M); /* newest is lowest */
    keeps(UINT32_MAX - 100, 1, 2 * M, M);
}

static void ids_may_lie_far_apart(void **state)
{
    (void)state;
    keeps(5, 1000003, 2 * M, M);
}

/* In no order at all, so that they are sorted to be told apart and found. */
static void ids_may_be_in_any_order(void **state)
{
    struct vset *v;
    uint32_t i;

    (void)state;
    begin(NODES, 0, 0);
    for (i = 0; i < NODES; i++) {
        /* An odd factor: no two are the same. */
        t.ids[i] = (uint32_t)(i * 2654435761U) + (UINT64_C(1) << 40);
    }
    link_nodes(0, NODES, 2 * M, M);
    v = import();
    is_kept(v);
    end(again(v));
}

static void an_id_that_comes_twice_is_refused(void **state)
{
    struct buf data;
    struct rdb_in in;
    uint64_t id;

    (void)state;
    begin(NODES, 5, 1000003);
    t.ids[7] = t.ids[NODES - 3] = UINT64_C(1) << 50;
    data = write_set();
    rdb_in_open_mem(&in, buf_bytes(&data));
    assert_true(rdb_get_module(&in, &id));
    assert_null(vset_load(&in, vset_form_of(id), loop.ks, loop.ks->dbs[0]));
    assert_non_null(strstr(in.why.text, "two nodes have the same id"));
    rdb_in_close(&in);
    buf_deinit(&data);
    loop_end();
}

/* Redis gives a node more room than usual where nobody else has any. */
static void rows_may_be_longer_than_usual(void **state)
{
    (void)state;
    keeps(1, 1, 3 * M, 2 * M);
    keeps(1, 1, 2 * M + 1, M);
}

static void the_highest_level_is_kept(void **state)
{
    struct vset *v;

    (void)state;
    begin(200, 1, 1);
    t.levels[17] = t.levels[150] = LEVELS - 1;
    link_nodes(0, 200, 2 * M, M);
    v = import();
    is_kept(v);
    /* The one that came first in the file, which is the newer. */
    assert_int_equal((uint32_t)(hnsw_start(graph_of(v)) - 1), 150);
    end(again(v));
}

/* A set of ids that their lower halves do not tell apart has no graph to keep,
 * nor has one in two pieces. */
static void is_built_anew(struct vset *v)
{
    struct graph_info g;

    graph_info_read(v, &g);
    assert_false(g.has_graph);
    v->options.index = VSET_INDEX_HNSW;
    graph_begin_if_due(v);
    graph_pump(v, true);
    loop_finish_jobs();
    assert_false(graph_came_along(v));
    hnsw_validate(graph_of(v));
    end(v);
}

static void what_leads_nowhere_is_built_anew(void **state)
{
    (void)state;
    begin(1000, 1, 1);
    link_nodes(0, 500, 2 * M, M);
    link_nodes(500, 1000, 2 * M, M);
    is_built_anew(import());

    begin(1000, 1, UINT32_MAX);
    link_nodes(0, 1000, 2 * M, M);
    is_built_anew(import());

    begin(63, 1, 1); /* too few for a page */
    link_nodes(0, 63, 2 * M, M);
    is_built_anew(import());

    begin(100, 1, 1); /* and too few links */
    is_built_anew(import());
}

/* Some that are out of reach are linked. */
static void a_few_that_are_lost_are_linked(void **state)
{
    const struct hnsw_lost *lost;
    struct hnsw_walk *walk;
    struct vset *v;

    (void)state;
    begin(1000, 1, 1);
    t.levels[998] = t.levels[999] = 0;
    link_nodes(0, 998, 2 * M, M);
    join(998, 999, 0);
    v = import();
    is_kept(v);
    assert_true(graph_walk_is_due(v));
    graph_pump(v, true);
    loop_finish_jobs();
    walk = hnsw_walk_begin(v->graph->hnsw);
    while (hnsw_walk_step(walk, 1000)) {
    }
    assert_int_equal(hnsw_walk_lost(walk, &lost), 0);
    hnsw_walk_end(walk);
    end(v);
}

/* A graph goes when what it is for has nearly gone. */
static void a_graph_of_few_is_given_up(void **state)
{
    struct vset *v;
    uint32_t i;

    (void)state;
    begin(200, 1, 1);
    link_nodes(0, 200, 2 * M, M);
    v = import();
    for (i = 0; i < 150; i++) {
        char name[16];
        bool gone;

        snprintf(name, sizeof(name), "e%u", i);
        assert_int_equal(vset_remove(v, bytes_str(name), &gone), ERR_OK);
        graph_pump(v, false);
        assert_int_equal(v->graph != NULL, 200 - i - 1 >= 64);
    }
    loop_finish_jobs();
    end(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_that_redis_made_are_kept),
        cmocka_unit_test(ids_may_lie_far_apart),
        cmocka_unit_test(ids_may_be_in_any_order),
        cmocka_unit_test(an_id_that_comes_twice_is_refused),
        cmocka_unit_test(rows_may_be_longer_than_usual),
        cmocka_unit_test(the_highest_level_is_kept),
        cmocka_unit_test(what_leads_nowhere_is_built_anew),
        cmocka_unit_test(a_few_that_are_lost_are_linked),
        cmocka_unit_test(a_graph_of_few_is_given_up),
    };

    if (vec_simd_select("auto") != ERR_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
