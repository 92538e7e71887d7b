/* Builders at rest: at any moment they can be asked to, it does not take long,
 * and what they leave behind is a graph that a forked child can read.
 *
 * The test thread is the loop: it adds, replaces and removes elements, drops
 * sets and searches, while real builders link, sweep and walk. */
#include "unit/cm.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/search/search_impl.h"
#include "model/db/loop.h"
#include "model/db/numbers.h"

enum { NAMES = 6000, DIM = 16, ROUNDS = 600, FORK_EVERY = 20 };

struct world {
    struct vset *set;
    struct rng rng;
    bool parked;
    size_t under_way;
    uint64_t kinds[JOB_CHECK + 1]; /* of jobs that were under way at pauses */
};

static struct world w;

static void make_set(void)
{
    struct vset_options o = {.type = VEC_F32,
                             .metric = VEC_COSINE,
                             .dim = DIM,
                             .m = 8,
                             .ef = 64,
                             .index = VSET_INDEX_HNSW,
                             .keep_empty = true};

    w.set = vset_create(loop.ks, loop.ks->dbs[0], &o);
    assert_non_null(w.set);
}

static void begin(void)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    loop_begin(2, 2, 1);
    make_set();
}

static void wait_for_some(void)
{
    loop_sleep();
    loop_turn();
}

static void end(void)
{
    while (w.under_way > 0) {
        wait_for_some();
    }
    vset_drop(w.set);
    loop_end();
}

/* ---- what goes on ------------------------------------------------------ */

static void random_vector(float *v)
{
    random_floats(&w.rng, v, DIM);
}

static void put(void)
{
    uint32_t i = (uint32_t)rng_below(&w.rng, NAMES);
    float v[DIM];
    bool added;

    random_vector(v);
    assert_int_equal(add_number(w.set, i, v, BYTES_NONE, &added), ERR_OK);
}

static void take(void)
{
    uint32_t i = (uint32_t)rng_below(&w.rng, NAMES);
    bool removed;

    assert_int_equal(remove_number(w.set, i, &removed), ERR_OK);
}

static void write_nothing(const struct search *s, const void *data,
                          struct buf *out)
{
    (void)s;
    (void)data;
    (void)out;
}

static void searched(struct search *s, void *arg)
{
    (void)s;
    (void)arg;
    w.under_way--;
}

static void ask(void)
{
    float q[DIM];
    struct search_request r = {.vector = q,
                               .exclude = SLOT_NONE,
                               .k = 10,
                               .ef = 100,
                               .radius = INFINITY,
                               .format = write_nothing};
    struct search *s;

    random_vector(q);
    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    w.under_way++;
    search_submit(s, searched, NULL);
}

static void some_writes(int n)
{
    for (; n > 0; n--) {
        if (rng_below(&w.rng, 3) == 0) {
            take();
        } else {
            put();
        }
        if (rng_below(&w.rng, 16) == 0) {
            ask();
        }
    }
}

static void something_else(void)
{
    uint64_t build;

    switch (rng_below(&w.rng, 12)) {
    case 0: /* DEL, while searches and builders are at it */
        vset_drop(w.set);
        make_set();
        break;
    case 1: /* VTRAIN */
        assert_int_equal(graph_build(w.set, &build), ERR_OK);
        break;
    case 2:
        if (w.set->graph && !w.set->graph->job && !w.set->coming) {
            graph_begin_sweep(w.set->graph);
        }
        break;
    case 3:
        if (w.set->graph && !w.set->graph->job) {
            graph_begin_walk(w.set->graph);
        }
        break;
    default:
        graph_pump(w.set, true);
        break;
    }
}

/* ---- at rest ----------------------------------------------------------- */

static const char *check_graph(const struct graph *g)
{
    struct hnsw_check c;

    hnsw_check_begin(&c, g->hnsw);
    c.paused = true;
    while (hnsw_check_step(&c, UINT32_MAX)) {
    }
    return c.broken;
}

static bool links_are_sound(const struct hnsw *h, uint32_t node)
{
    uint32_t links[64];
    size_t n, i;
    int level;

    for (level = hnsw_level(h, node); level >= 0; level--) {
        n = hnsw_links(h, node, level, links, 64);
        for (i = 0; i < n; i++) {
            if (!hnsw_is_linked(h, links[i]) ||
                hnsw_level(h, links[i]) < level) {
                return false;
            }
        }
    }
    return true;
}

/* What a child that saves a set reads of it. */
static int read_all(const struct vset *v)
{
    const struct slots *s = &v->elements.slots;
    const struct graph *g;
    uint32_t n_live = 0, n_linked;
    slot_id slot;

    for (slot = 0; slot < s->n_slots; slot++) {
        if (slots_is_live(s, slot)) {
            n_live++;
            if (elements_name(&v->elements, slot).len == 0 ||
                vset_row(v, slot) == NULL) {
                return 2;
            }
        }
    }
    if (n_live != vset_count(v) ||
        graph_check_slots(v, 0, s->n_slots) != NULL) {
        return 3;
    }
    for (g = v->graphs; g; g = g->sibling) {
        n_linked = 0;
        for (slot = 0; slot < s->n_slots; slot++) {
            if (hnsw_is_linked(g->hnsw, slot)) {
                n_linked++;
                if (!links_are_sound(g->hnsw, slot)) {
                    return 4;
                }
            }
        }
        if (n_linked != hnsw_count(g->hnsw)) {
            return 5;
        }
    }
    return 0;
}

static void look(bool in_child)
{
    const struct graph *g;
    int status = 0;
    pid_t pid;

    for (g = w.set->graphs; g; g = g->sibling) {
        const char *broken = check_graph(g);

        if (broken) {
            fail_msg("job %d: %s", g->job ? (int)g->job->kind : -1, broken);
        }
        w.kinds[g->job ? g->job->kind : JOB_CHECK]++;
    }
    if (!in_child) {
        assert_int_equal(read_all(w.set), 0);
        return;
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(read_all(w.set));
    }
    some_writes(100); /* the child sees none of it */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void note_parked(void *arg)
{
    (void)arg;
    w.parked = true;
}

/* ---- tests ------------------------------------------------------------- */

static void test_builders_rest_at_any_time(void **state)
{
    int64_t longest = 0;
    int round;

    (void)state;
    begin();
    for (round = 0; round < ROUNDS; round++) {
        int64_t asked;

        some_writes((int)rng_below(&w.rng, 300));
        something_else();
        if (rng_below(&w.rng, 2)) {
            loop_turn();
        }
        w.parked = false;
        asked = clock_mono_us();
        pool_pause(loop.builders, note_parked, NULL);
        if (rng_below(&w.rng, 4) == 0) {
            some_writes(10);
            pool_resume(loop.builders); /* it took too long */
            continue;
        }
        while (!w.parked) {
            some_writes(1);
            wait_for_some();
        }
        longest = longest > clock_mono_us() - asked ? longest
                                                    : clock_mono_us() - asked;
        look(round % FORK_EVERY == 0);
        some_writes((int)rng_below(&w.rng, 50));
        loop_turn();
        pool_resume(loop.builders);
    }
    printf("# longest way to rest %lld us; at rest within %llu batches, %llu "
           "sweeps, %llu walks\n",
           (long long)longest, (unsigned long long)w.kinds[JOB_BATCH],
           (unsigned long long)w.kinds[JOB_SWEEP],
           (unsigned long long)w.kinds[JOB_WALK]);
    assert_true(w.kinds[JOB_BATCH] > 0);
    end();
}

/* Rows that come while builders are at rest are found, and linked later. */
static void test_what_comes_meanwhile_waits_in_the_tail(void **state)
{
    struct graph_info info;

    (void)state;
    begin();
    some_writes(3000);
    pool_pause(loop.builders, note_parked, NULL);
    assert_true(pool_wait_parked(loop.builders, 60000000));
    some_writes(3000);
    loop_turn();
    graph_info_read(w.set, &info);
    assert_true(info.tail > 0);
    look(true);
    pool_resume(loop.builders);
    do {
        graph_pump(w.set, true);
        while (loop.ks->n_graph_jobs > 0) {
            wait_for_some();
        }
        graph_info_read(w.set, &info);
    } while (info.tail > 0);
    hnsw_validate(w.set->graph->hnsw);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builders_rest_at_any_time),
        cmocka_unit_test(test_what_comes_meanwhile_waits_in_the_tail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
