/* Inverted lists as an order of blocks: lanes, holes, other lists, and what a
 * search that began earlier sees of all that. */
#include "unit/cm.h"

#include <math.h>

#include "base/epoch.h"
#include "base/region.h"
#include "index/ivf/ivf.h"

enum { LISTS = 5, SLOTS = 4096, DIM = 8 };

struct world {
    struct region region;
    struct epoch *epoch;
    struct ivf *v;
    uint32_t next_block;
    bool used[SLOTS];
};

static struct world w;
static int centroids_alive; /* told apart by nothing but their number */

static void free_centroids(struct ivf_centroids *c)
{
    (void)c;
    centroids_alive--;
}

static struct ivf_centroids *some_centroids(void)
{
    centroids_alive++;
    return (struct ivf_centroids *)(void *)&centroids_alive;
}

static int set_up(void **state)
{
    struct ivf_options o = {.n_lists = LISTS,
                            .region = &w.region,
                            .free_centroids = free_centroids};

    (void)state;
    memset(&w, 0, sizeof(w));
    region_init(&w.region, 0);
    w.epoch = epoch_create();
    o.epoch = w.epoch;
    o.centroids = some_centroids();
    w.v = ivf_create(&o);
    assert_non_null(w.v);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_true(ivf_bytes(w.v) <= w.region.bytes);
    while (ivf_take_apart(w.v, 3)) {
    }
    ivf_destroy(w.v);
    epoch_destroy(w.epoch);
    assert_int_equal(w.region.bytes, 0);
    assert_int_equal(centroids_alive, 0);
    region_deinit(&w.region);
    return 0;
}

static bool is_used(const void *arg, uint32_t slot)
{
    (void)arg;
    return w.used[slot];
}

static void check(void)
{
    ivf_validate(w.v, is_used, NULL);
}

/* A lane of a list, which gets another block when it has none. */
static uint32_t put(uint32_t list)
{
    uint32_t slot = ivf_lane_take(w.v, list);

    if (slot == IVF_NONE) {
        assert_int_equal(ivf_block_add(w.v, list, w.next_block++), ERR_OK);
        slot = ivf_lane_take(w.v, list);
    }
    assert_int_equal(ivf_list_of(w.v, slot), list);
    assert_false(w.used[slot]);
    w.used[slot] = true;
    return slot;
}

static bool drop(uint32_t slot)
{
    ivf_lane_died(w.v, slot);
    w.used[slot] = false;
    return ivf_lane_release(w.v, slot);
}

/* Slots of a list as a view sees them, one bit each. */
static void seen(const struct ivf_view *view, uint32_t list, bool *out)
{
    const struct ivf_run *run = ivf_view_run(view, list);
    uint32_t n = ivf_run_length(run);
    uint32_t i, lanes, lane;

    memset(out, 0, SLOTS);
    for (i = 0; i < n; i++) {
        uint32_t block = ivf_run_block(run, i, &lanes);

        for (lane = 0; lane < IVF_BLOCK; lane++) {
            if (lanes >> lane & 1) {
                assert_false(out[block * IVF_BLOCK + lane]);
                out[block * IVF_BLOCK + lane] = true;
            }
        }
    }
}

static void lanes_fill_a_block_before_another_is_needed(void **state)
{
    struct ivf_list_stats s;
    struct ivf_stats all;
    uint32_t i;

    (void)state;
    assert_int_equal(ivf_lane_take(w.v, 2), IVF_NONE);
    for (i = 0; i < 3 * IVF_BLOCK; i++) {
        assert_int_equal(put(2), i);
    }
    check();
    ivf_list_stats(w.v, 2, &s);
    assert_int_equal(s.n_blocks, 3);
    assert_int_equal(s.n_used, 3 * IVF_BLOCK);
    assert_int_equal(ivf_lane_take(w.v, 2), IVF_NONE);
    ivf_stats(w.v, &all);
    assert_int_equal(all.n_empty, LISTS - 1);
    assert_int_equal(all.max, 3 * IVF_BLOCK);
    assert_true(all.imbalance == (double)LISTS);
}

static void a_freed_lane_of_a_full_block_is_used_first(void **state)
{
    uint32_t i;

    (void)state;
    for (i = 0; i < 2 * IVF_BLOCK + 3; i++) {
        put(0);
    }
    drop(7);
    check();
    assert_int_equal(put(0), 7);
    assert_int_equal(put(0), 2 * IVF_BLOCK + 3);
    check();
}

static void a_dead_lane_is_kept_until_it_is_released(void **state)
{
    struct ivf_list_stats s;
    uint32_t a = put(1);
    uint32_t b = put(1);

    (void)state;
    ivf_lane_died(w.v, a);
    check();
    ivf_list_stats(w.v, 1, &s);
    assert_int_equal(s.n_used, 1);
    assert_int_equal(s.n_dead, 1);
    assert_int_not_equal(put(1), a);
    w.used[a] = false;
    assert_false(ivf_lane_release(w.v, a));
    check();
    assert_int_equal(put(1), a);
    ivf_lane_put_back(w.v, a);
    w.used[a] = false;
    check();
    assert_int_equal(ivf_list_of(w.v, b), 1);
}

static void an_empty_block_leaves_and_its_place_is_used_again(void **state)
{
    struct ivf_view view;
    uint32_t i;
    bool last = false;

    (void)state;
    for (i = 0; i < 10 * IVF_BLOCK; i++) {
        put(3);
    }
    ivf_view_take(w.v, SLOTS, &view);
    for (i = 4 * IVF_BLOCK; i < 6 * IVF_BLOCK; i++) {
        assert_int_equal(last, false);
        last = drop(i);
        last = last && i != 5 * IVF_BLOCK - 1;
    }
    assert_true(last);
    ivf_block_leave(w.v, 4);
    ivf_block_leave(w.v, 5);
    check();
    assert_int_equal(ivf_list_of(w.v, 4 * IVF_BLOCK), IVF_NONE);
    assert_int_equal(ivf_run_length(ivf_view_run(&view, 3)), 10);
    assert_int_equal(ivf_block_add(w.v, 1, 4), ERR_OK);
    assert_int_equal(ivf_block_add(w.v, 3, 5), ERR_OK);
    assert_int_equal(ivf_block_add(w.v, 3, 20), ERR_OK);
    check();
    assert_int_equal(ivf_run_length(ivf_view_run(&view, 3)), 10);
}

static void a_closed_block_gives_no_lanes_out(void **state)
{
    uint32_t i;

    (void)state;
    for (i = 0; i < 2 * IVF_BLOCK; i++) {
        put(0);
    }
    assert_int_equal(ivf_sparsest_block(w.v, 0), IVF_NONE);
    for (i = 3; i < IVF_BLOCK; i++) {
        drop(i);
    }
    drop(2 * IVF_BLOCK - 1);
    assert_int_equal(ivf_sparsest_block(w.v, 0), 0);
    ivf_block_close(w.v, 0);
    check();
    assert_int_equal(put(0), 2 * IVF_BLOCK - 1);
    assert_int_equal(ivf_lane_take(w.v, 0), IVF_NONE);
    drop(0);
    check();
    ivf_block_open(w.v, 0);
    check();
    assert_int_equal(put(0), 0);
    ivf_block_close(w.v, 0);
    for (i = 0; i < 3; i++) {
        assert_int_equal(drop(i), i == 2);
    }
    check();
    ivf_block_leave(w.v, 0);
    check();
}

static void a_search_keeps_the_lists_it_began_with(void **state)
{
    static bool before[LISTS][SLOTS], after[SLOTS];
    uint32_t new_of_old[LISTS] = {4, 1, IVF_NONE, 0, 2};
    struct ivf_view view;
    uint64_t ticket;
    uint32_t i;

    (void)state;
    for (i = 0; i < 900; i++) {
        if (i % LISTS != 2) {
            put(i % LISTS);
        }
    }
    ticket = epoch_enter(w.epoch);
    ivf_view_take(w.v, SLOTS, &view);
    for (i = 0; i < LISTS; i++) {
        seen(&view, i, before[i]);
    }
    assert_int_equal(ivf_relist(w.v, some_centroids(), LISTS + 2, new_of_old),
                     ERR_OK);
    assert_int_equal(ivf_n_lists(w.v), LISTS + 2);
    assert_int_equal(centroids_alive, 2);
    check();
    for (i = 0; i < 2000; i++) {
        put(i % (LISTS + 2));
    }
    check();
    /* Rows of then are where they were, under the same numbers. */
    for (i = 0; i < LISTS; i++) {
        uint32_t slot;

        seen(&view, i, after);
        for (slot = 0; slot < SLOTS; slot++) {
            assert_true(!before[i][slot] || after[slot]);
            if (before[i][slot]) {
                assert_int_equal(ivf_list_of(w.v, slot), new_of_old[i]);
            }
        }
    }
    epoch_leave(w.epoch, ticket);
    assert_int_equal(centroids_alive, 1);
}

static void extremes_are_found_in_steps(void **state)
{
    struct ivf_extremes x = {0};
    uint32_t i;

    (void)state;
    for (i = 0; i < 40; i++) {
        put(i < 20 ? 3 : i % 4);
    }
    while (ivf_find_extremes(w.v, &x, 2)) {
    }
    assert_int_equal(x.largest, 3);
    assert_int_equal(x.smallest, 4);
}

/* ---- scanning ------------------------------------------------------------ */

static struct vec_format format;
static struct row_geometry geometry;
static const uint8_t *pages[1];
static uint32_t asked, stop_after;

static bool admits(const void *arg, uint32_t slot)
{
    (void)arg;
    return w.used[slot];
}

static bool stop(const void *arg)
{
    (void)arg;
    return ++asked > stop_after;
}

/* Row i is at distance i from the query. */
static void make_rows(struct ivf_scan *s, struct topk *best, uint64_t *heap,
                      size_t k)
{
    static _Alignas(VEC_ALIGN) uint8_t memory[1024];
    struct vec_query *query = NULL;
    float x[DIM] = {0};
    uint32_t i;

    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    vec_format_init(&format, VEC_F32, VEC_L1, DIM);
    row_geometry_init(&geometry, format.row_bytes, format.overread, 1 << 20,
                      SLOTS);
    /* One page for all. */
    geometry.small_rows = geometry.small_pages = 0;
    pages[0] = calloc(1, SLOTS * format.row_bytes + format.overread);
    assert_true(vec_query_bytes(&format) <= sizeof(memory));
    assert_int_equal(vec_query_init(&format, x, memory, &query), ERR_OK);
    for (i = 0; i < SLOTS; i++) {
        x[3] = (float)i;
        assert_int_equal(vec_encode(&format, x,
                                    (uint8_t *)(uintptr_t)pages[0] +
                                        (size_t)i * format.row_bytes),
                         ERR_OK);
    }
    topk_init(best, heap, k);
    *s = (struct ivf_scan){.rows = {&geometry, pages},
                           .query = query,
                           .best = best,
                           .limit = INFINITY,
                           .admits = admits};
    ivf_view_take(w.v, SLOTS, &s->view);
}

static void free_rows(void)
{
    free((void *)(uintptr_t)pages[0]);
}

static void only_lists_that_are_asked_for_are_scanned(void **state)
{
    static const uint32_t lists[] = {3, 0};
    struct ivf_scan s;
    struct topk best;
    uint64_t heap[8];
    uint32_t i;

    (void)state;
    for (i = 0; i < 30 * LISTS; i++) {
        put(i % LISTS);
    }
    make_rows(&s, &best, heap, 8);
    ivf_scan_lists(&s, lists, 1);
    topk_sort(&best);
    for (i = 0; i < 8; i++) { /* blocks were taken in the order of lists */
        assert_int_equal(topk_entry_slot(heap[i]), 3 * IVF_BLOCK + i);
    }
    topk_init(&best, heap, 8);
    ivf_scan_lists(&s, lists, 2);
    topk_sort(&best);
    for (i = 0; i < 8; i++) {
        assert_int_equal(topk_entry_slot(heap[i]), i);
    }
    assert_int_equal(s.scored, 3 * 30);
    assert_int_equal(s.n_lists, 3);
    free_rows();
}

static void free_lanes_rejected_rows_and_far_ones_are_not_found(void **state)
{
    struct ivf_scan s;
    struct topk best;
    uint64_t heap[SLOTS];
    uint32_t i;

    (void)state;
    for (i = 0; i < 100; i++) {
        put(1);
    }
    drop(5);
    w.used[6] = false; /* not visible, say */
    make_rows(&s, &best, heap, SLOTS);
    s.limit = 49;
    ivf_scan_all(&s);
    assert_int_equal(best.n, 48);
    assert_int_equal(s.admitted, 48);
    w.used[6] = true;
    topk_init(&best, heap, SLOTS);
    s.limit = INFINITY;
    s.view.n_slots = 2 * IVF_BLOCK;
    ivf_scan_all(&s);
    assert_int_equal(best.n, 2 * IVF_BLOCK - 1);
    free_rows();
}

static void a_scan_ends_when_it_is_told_to(void **state)
{
    struct ivf_scan s;
    struct topk best;
    uint64_t heap[SLOTS];
    uint32_t i;

    (void)state;
    for (i = 0; i < 100 * LISTS; i++) {
        put(i % LISTS);
    }
    make_rows(&s, &best, heap, SLOTS);
    s.stop = stop;
    asked = 0;
    stop_after = 1;
    ivf_scan_all(&s);
    assert_true(s.stopped);
    assert_true(best.n > 0 && best.n <= 300);
    i = (uint32_t)best.n;
    ivf_scan_all(&s);
    assert_int_equal(best.n, i);
    free_rows();
}

/* ---- searching ----------------------------------------------------------- */

enum { HEAPS = 60, HEAP_ROWS = 40 };

static float clustered[HEAPS * HEAP_ROWS][DIM];

/* Rows around centroids that lie anywhere; w.v is made anew with these. */
static void make_heaps(enum vec_metric metric, struct ivf_scan *s,
                       struct topk *best, uint64_t *heap)
{
    static float centres[HEAPS][DIM];
    struct ivf_options o = {.n_lists = HEAPS,
                            .free_centroids = ivf_centroids_destroy,
                            .region = &w.region,
                            .epoch = w.epoch};
    struct rng rng;
    uint32_t i, j;

    make_rows(s, best, heap, 10);
    vec_format_init(&format, VEC_F32, metric, DIM);
    rng_seed(&rng, 77);
    for (i = 0; i < HEAPS * DIM; i++) {
        centres[i / DIM][i % DIM] = (float)rng_normal(&rng);
    }
    ivf_destroy(w.v);
    assert_int_equal(ivf_centroids_create(metric, DIM, HEAPS, &centres[0][0],
                                          NULL, &o.centroids),
                     ERR_OK);
    w.v = ivf_create(&o);
    for (i = 0; i < HEAPS * HEAP_ROWS; i++) {
        uint32_t slot = put(i % HEAPS);

        for (j = 0; j < DIM; j++) {
            clustered[i][j] =
                centres[i % HEAPS][j] + 0.3f * (float)rng_normal(&rng);
        }
        assert_int_equal(vec_encode(&format, clustered[i],
                                    (uint8_t *)(uintptr_t)pages[0] +
                                        (size_t)slot * format.row_bytes),
                         ERR_OK);
    }
    ivf_view_take(w.v, SLOTS, &s->view);
}

/* The same search by all rows of the first so many lists. */
static void assert_is_answer_of(const struct ivf_scan *s,
                                const struct ivf_near *near, uint32_t n)
{
    struct ivf_scan all = *s;
    struct topk best;
    uint64_t heap[10];
    uint32_t i;

    topk_init(&best, heap, 10);
    all.best = &best;
    all.patience = 0;
    all.enough = all.stopped = false;
    all.n_lists = 0;
    for (i = 0; i < n; i++) {
        ivf_scan_lists(&all, &near[i].list, 1);
    }
    assert_int_equal(all.n_lists, n);
    topk_sort(&best);
    assert_int_equal(best.n, s->best->n);
    assert_memory_equal(heap, s->best->heap, best.n * sizeof(*heap));
}

static void a_search_has_looked_through_the_lists_it_names(void **state)
{
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP,
                                              VEC_L1};
    static _Alignas(VEC_ALIGN) uint8_t memory[1024];
    struct ivf_scratch *scratch = ivf_scratch_create();
    struct ivf_near near[HEAPS];
    struct ivf_scan s;
    struct topk best;
    uint64_t heap[10];
    uint32_t i, n_probe;

    for (i = 0; i < 4; i++) {
        uint64_t scored = 0;

        make_heaps(metrics[i], &s, &best, heap);
        for (n_probe = 1; n_probe <= HEAPS; n_probe *= 3) {
            const float *x = clustered[n_probe * 5];
            struct vec_query *query = NULL;

            topk_init(&best, heap, 10);
            s.scored = s.n_lists = s.n_idle = 0;
            s.enough = false;
            assert_int_equal(vec_query_init(&format, x, memory, &query),
                             ERR_OK);
            s.query = query;
            ivf_search(&s, x, n_probe, UINT32_MAX, near, scratch);
            topk_sort(&best);
            assert_int_equal(best.n, 10);
            assert_true(s.n_lists >= 1 && s.n_lists <= HEAPS);
            assert_true(s.n_lists <= IVF_REACH * n_probe);
            assert_is_answer_of(&s, near, s.n_lists);
            scored += s.scored;
        }
        assert_true(scored < (uint64_t)4 * HEAPS * HEAP_ROWS);
        free_rows();
        tear_down(state);
        set_up(state);
    }
    ivf_scratch_destroy(scratch);
}

static void patience_without_end_finds_everything(void **state)
{
    struct ivf_scratch *scratch = ivf_scratch_create();
    struct ivf_near near[HEAPS];
    struct ivf_scan s;
    struct topk best;
    uint64_t heap[10];

    (void)state;
    make_heaps(VEC_L2, &s, &best, heap);
    assert_int_equal(
        ivf_probe(ivf_centroids_of(w.v), clustered[0], HEAPS, near, scratch),
        HEAPS);
    s.patience = INFINITY;
    ivf_scan_near(&s, near, HEAPS);
    assert_int_equal(s.n_lists, HEAPS);
    assert_false(s.enough);
    s.n_lists = 0;
    s.patience = 1e-9f;
    topk_init(&best, heap, 10);
    ivf_scan_near(&s, near, HEAPS);
    assert_true(s.enough);
    assert_int_equal(s.n_lists, 1); /* which has ten */
    free_rows();
    ivf_scratch_destroy(scratch);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lanes_fill_a_block_before_another_is_needed),
        TEST(a_freed_lane_of_a_full_block_is_used_first),
        TEST(a_dead_lane_is_kept_until_it_is_released),
        TEST(an_empty_block_leaves_and_its_place_is_used_again),
        TEST(a_closed_block_gives_no_lanes_out),
        TEST(a_search_keeps_the_lists_it_began_with),
        TEST(extremes_are_found_in_steps),
        TEST(only_lists_that_are_asked_for_are_scanned),
        TEST(free_lanes_rejected_rows_and_far_ones_are_not_found),
        TEST(a_scan_ends_when_it_is_told_to),
        TEST(a_search_has_looked_through_the_lists_it_names),
        TEST(patience_without_end_finds_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
