/* Inverted lists against a plain table of what is alive: random adds, deaths,
 * moves, other lists and emptied blocks over a made-up space of slots, while
 * searches that began earlier are under way, on this thread or on others. A
 * search sees each row of its instant exactly once. ivf_validate() runs all
 * the time. */
#include "unit/cm.h"

#include <math.h>
#include <pthread.h>

#include "base/epoch.h"
#include "base/mem.h"
#include "base/region.h"
#include "index/ivf/ivf.h"

enum {
    SLOTS = 16384,
    FIRST_BLOCK = 64, /* slots before are in small pages */
    ROWS = 1500,
    DIM = 12,
    LISTS_MAX = 40,
    VIEWS = 6,
    STEPS = 40000,
    READERS = 3,
    FEW = 10,
};

#define FAR UINT64_MAX

struct slot {
    _Atomic uint64_t born, died; /* as store/page.h: FAR, FAR when free */
    bool used;                   /* alive, or dead and not released */
};

/* A search under way, and what it is to find. */
struct view {
    struct ivf_scan scan;
    uint64_t ticket, seq;
    uint32_t n; /* rows alive then */
    bool alive[SLOTS];
    uint64_t heap[ROWS];
    struct topk best;
    uint64_t few_heap[FEW]; /* the nearest of them, by another scan */
    struct topk few;
    _Atomic int state; /* 0 none, 1 to be searched, 2 done */
};

struct world {
    struct vec_format format;
    struct row_geometry geometry;
    const uint8_t *pages[64];
    struct row_map rows;
    struct region region;
    struct epoch *epoch;
    struct ivf *v;
    struct slot slots[SLOTS];
    uint32_t row_slot[ROWS]; /* where a row lies, IVF_NONE */
    uint32_t alive_rows[ROWS];
    uint32_t n_alive;
    uint32_t pool[SLOTS / IVF_BLOCK];
    uint32_t n_pool, next_block;
    uint32_t limbo[SLOTS]; /* in order of death: a ring */
    uint32_t limbo_at, limbo_n;
    struct view views[VIEWS];
    uint8_t query[VIEWS][1024] __attribute__((aligned(VEC_ALIGN)));
    struct rng rng;
    uint64_t searched;
    _Atomic bool over;
};

static struct world *w;

static uint32_t any(uint32_t n)
{
    return (uint32_t)rng_below(&w->rng, n);
}

static void write_row(uint32_t slot)
{
    uint8_t *row = (uint8_t *)(uintptr_t)row_map_at(&w->rows, slot);
    float x[DIM];
    uint32_t i;

    for (i = 0; i < DIM; i++) {
        x[i] = (float)rng_normal(&w->rng);
    }
    assert_int_equal(vec_encode(&w->format, x, row), ERR_OK);
}

static int set_up(void **state)
{
    struct ivf_options o = {.n_lists = 7};
    uint32_t i;

    (void)state;
    w = calloc(1, sizeof(*w));
    cm_seed(&w->rng);
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    vec_format_init(&w->format, VEC_I8, VEC_COSINE, DIM);
    /* Pages of 512 rows. */
    row_geometry_init(&w->geometry, w->format.row_bytes, w->format.overread,
                      512 * w->format.row_bytes + w->format.overread, 32);
    assert_true(w->geometry.small_rows <= FIRST_BLOCK * IVF_BLOCK);
    for (i = 0; i < row_pages_for(&w->geometry, SLOTS); i++) {
        w->pages[i] = calloc(1, (size_t)row_page_count(&w->geometry, i) *
                                        w->format.row_bytes +
                                    w->format.overread);
    }
    w->rows = (struct row_map){&w->geometry, w->pages};
    region_init(&w->region, 0);
    w->epoch = epoch_create();
    o.region = &w->region;
    o.epoch = w->epoch;
    w->v = ivf_create(&o);
    w->next_block = FIRST_BLOCK;
    for (i = 0; i < SLOTS; i++) {
        atomic_init(&w->slots[i].born, FAR);
        atomic_init(&w->slots[i].died, FAR);
    }
    for (i = 0; i < ROWS; i++) {
        w->row_slot[i] = IVF_NONE;
    }
    return 0;
}

static int tear_down(void **state)
{
    uint32_t i;

    (void)state;
    ivf_destroy(w->v);
    epoch_destroy(w->epoch);
    assert_int_equal(w->region.bytes, 0);
    region_deinit(&w->region);
    for (i = 0; i < ARRAY_LEN(w->pages); i++) {
        free((void *)(uintptr_t)w->pages[i]);
    }
    free(w);
    return 0;
}

/* ---- the owner's side ---------------------------------------------------- */

static bool is_used(const void *arg, uint32_t slot)
{
    (void)arg;
    return w->slots[slot].used;
}

static void check(void)
{
    struct ivf_stats s;

    ivf_validate(w->v, is_used, NULL);
    ivf_stats(w->v, &s);
    assert_int_equal(s.n_used, w->n_alive);
    assert_int_equal(s.n_dead, w->limbo_n);
}

/* A lane of a list; IVF_NONE when there are no blocks left. */
static uint32_t take(uint32_t list)
{
    uint32_t slot = ivf_lane_take(w->v, list);

    if (slot == IVF_NONE) {
        uint32_t block;

        if (w->n_pool) {
            block = w->pool[--w->n_pool];
        } else if (w->next_block < SLOTS / IVF_BLOCK) {
            block = w->next_block++;
        } else {
            return IVF_NONE;
        }
        assert_int_equal(ivf_block_add(w->v, list, block), ERR_OK);
        slot = ivf_lane_take(w->v, list);
    }
    assert_false(w->slots[slot].used);
    assert_int_equal(ivf_list_of(w->v, slot), list);
    w->slots[slot].used = true;
    return slot;
}

static void publish(uint32_t slot, uint64_t seq)
{
    atomic_store(&w->slots[slot].died, FAR);
    atomic_store(&w->slots[slot].born, seq);
}

static void settle(void)
{
    uint64_t oldest = epoch_oldest(w->epoch);

    while (w->limbo_n &&
           atomic_load(&w->slots[w->limbo[w->limbo_at]].died) <= oldest) {
        uint32_t slot = w->limbo[w->limbo_at];

        w->limbo_at = (w->limbo_at + 1) % SLOTS;
        w->limbo_n--;
        w->slots[slot].used = false;
        atomic_store(&w->slots[slot].born, FAR);
        if (ivf_lane_release(w->v, slot) && any(4) > 0) {
            ivf_block_leave(w->v, slot / IVF_BLOCK);
            w->pool[w->n_pool++] = slot / IVF_BLOCK;
        }
    }
}

static void kill(uint32_t slot, uint64_t seq)
{
    atomic_store(&w->slots[slot].died, seq);
    ivf_lane_died(w->v, slot);
    w->limbo[(w->limbo_at + w->limbo_n++) % SLOTS] = slot;
}

static void add(uint32_t row)
{
    uint32_t slot = take(any(ivf_n_lists(w->v)));

    if (slot == IVF_NONE) {
        return;
    }
    write_row(slot);
    if (any(20) == 0) {
        w->slots[slot].used = false;
        ivf_lane_put_back(w->v, slot);
        return;
    }
    w->row_slot[row] = slot;
    w->n_alive++;
    publish(slot, epoch_advance(w->epoch));
}

static void take_away(uint32_t row)
{
    kill(w->row_slot[row], epoch_advance(w->epoch));
    w->row_slot[row] = IVF_NONE;
    w->n_alive--;
}

/* The same row at another place, at one instant. */
static void move(uint32_t row, uint32_t list)
{
    uint32_t from = w->row_slot[row];
    uint32_t to = take(list);
    uint64_t seq;

    if (to == IVF_NONE) {
        return;
    }
    memcpy((uint8_t *)(uintptr_t)row_map_at(&w->rows, to),
           row_map_at(&w->rows, from), w->format.row_bytes);
    seq = epoch_advance(w->epoch);
    publish(to, seq);
    kill(from, seq);
    w->row_slot[row] = to;
}

static uint32_t row_at(uint32_t slot)
{
    uint32_t row;

    for (row = 0; row < ROWS; row++) {
        if (w->row_slot[row] == slot) {
            return row;
        }
    }
    return IVF_NONE;
}

static void empty_block(uint32_t block)
{
    uint32_t list = ivf_list_of(w->v, block * IVF_BLOCK);
    uint32_t lane;

    ivf_block_close(w->v, block);
    for (lane = 0; lane < IVF_BLOCK; lane++) {
        uint32_t row = row_at(block * IVF_BLOCK + lane);

        if (row != IVF_NONE) {
            move(row, list);
            assert_int_not_equal(w->row_slot[row] / IVF_BLOCK, block);
        }
    }
    if (any(3) == 0) {
        ivf_block_open(w->v, block);
    }
}

/* Moves a list's rows elsewhere. */
static void empty_list(uint32_t list)
{
    uint32_t at = 0;
    uint32_t block, lane;

    while ((block = ivf_next_block(w->v, list, &at)) != IVF_NONE) {
        ivf_block_close(w->v, block);
        for (lane = 0; lane < IVF_BLOCK; lane++) {
            uint32_t row = row_at(block * IVF_BLOCK + lane);

            if (row != IVF_NONE) {
                move(row, (list + 1) % ivf_n_lists(w->v));
            }
        }
    }
}

/* Shuffles the lists, adds some, and leaves out those without blocks. */
static void other_lists(void)
{
    uint32_t new_of_old[LISTS_MAX];
    uint32_t n = ivf_n_lists(w->v);
    uint32_t kept = 0, i;

    for (i = 0; i < n; i++) {
        struct ivf_list_stats s;

        ivf_list_stats(w->v, i, &s);
        new_of_old[i] = s.n_blocks || (i == n - 1 && !kept) ? kept++ : IVF_NONE;
    }
    for (i = 0; i < n; i++) {
        uint32_t j = any(n), swap = new_of_old[i];

        if (swap != IVF_NONE && new_of_old[j] != IVF_NONE) {
            new_of_old[i] = new_of_old[j];
            new_of_old[j] = swap;
        }
    }
    kept += any(3);
    assert_int_equal(
        ivf_relist(w->v, NULL, kept < LISTS_MAX ? kept : LISTS_MAX, new_of_old),
        ERR_OK);
}

/* ---- searches ------------------------------------------------------------ */

static bool sees(const void *arg, uint32_t slot)
{
    const struct view *view = arg;
    uint64_t died = atomic_load(&w->slots[slot].died);
    uint64_t born = atomic_load(&w->slots[slot].born);

    return born <= view->seq && view->seq < died;
}

static void begin(struct view *view, uint32_t i)
{
    struct vec_query *query = NULL;
    float x[DIM];
    uint32_t j;

    for (j = 0; j < DIM; j++) {
        x[j] = (float)rng_normal(&w->rng);
    }
    view->ticket = epoch_enter(w->epoch);
    view->seq = epoch_now(w->epoch);
    view->n = 0;
    for (j = 0; j < SLOTS; j++) {
        view->alive[j] = sees(view, j);
        view->n += view->alive[j];
    }
    assert_int_equal(view->n, w->n_alive);
    assert_true(vec_query_bytes(&w->format) <= sizeof(w->query[i]));
    assert_int_equal(vec_query_init(&w->format, x, w->query[i], &query),
                     ERR_OK);
    topk_init(&view->best, view->heap, ROWS);
    view->scan = (struct ivf_scan){.rows = w->rows,
                                   .query = query,
                                   .best = &view->best,
                                   .limit = INFINITY,
                                   .admits = sees,
                                   .arg = view};
    ivf_view_take(w->v, w->next_block * IVF_BLOCK, &view->scan.view);
    atomic_store(&view->state, 1);
}

static void search(struct view *view)
{
    struct ivf_scan few = view->scan;

    ivf_scan_all(&view->scan);
    topk_init(&view->few, view->few_heap, FEW);
    few.best = &view->few;
    ivf_scan_all(&few);
    atomic_store(&view->state, 2);
}

/* Each row of then was found once, and nothing else; and the nearest of them
 * with fewer asked for. */
static void finish(struct view *view)
{
    uint32_t i;

    assert_int_equal(view->best.n, view->n);
    topk_sort(&view->best);
    topk_sort(&view->few);
    assert_int_equal(view->few.n, view->n < FEW ? view->n : FEW);
    assert_memory_equal(view->few_heap, view->heap,
                        view->few.n * sizeof(*view->heap));
    for (i = 0; i < view->n; i++) {
        uint32_t slot = topk_entry_slot(view->heap[i]);

        assert_true(view->alive[slot]);
        view->alive[slot] = false;
    }
    epoch_leave(w->epoch, view->ticket);
    atomic_store(&view->state, 0);
    w->searched++;
}

static void *reader(void *arg)
{
    uint32_t i;

    (void)arg;
    while (!atomic_load(&w->over)) {
        for (i = 0; i < VIEWS; i++) {
            int to_search = 1;

            if (atomic_compare_exchange_strong(&w->views[i].state, &to_search,
                                               3)) {
                search(&w->views[i]);
            }
        }
    }
    return NULL;
}

static void change(void)
{
    uint32_t row = any(ROWS);
    uint32_t what = any(1000);

    if (what < 3) {
        other_lists();
    } else if (what < 6) {
        empty_list(any(ivf_n_lists(w->v)));
    } else if (what < 20) {
        uint32_t block = ivf_sparsest_block(w->v, any(ivf_n_lists(w->v)));

        if (block != IVF_NONE) {
            empty_block(block);
        }
    } else if (w->row_slot[row] == IVF_NONE) {
        add(row);
    } else if (what < 600) {
        take_away(row);
    } else {
        move(row, any(ivf_n_lists(w->v)));
    }
}

static void run(uint32_t steps, bool readers)
{
    uint32_t i;

    for (i = 0; i < steps; i++) {
        struct view *view = &w->views[any(VIEWS)];
        int at = atomic_load(&view->state);

        change();
        if (any(4) == 0) {
            settle();
        }
        if (any(100) == 0) {
            if (at == 0) {
                begin(view, (uint32_t)(view - w->views));
            } else if (at == 1 && !readers) {
                search(view);
            }
        }
        if (at == 2) {
            finish(view);
        }
        if (i % 64 == 0) {
            check();
        }
    }
}

static void a_search_sees_its_instant_whatever_happens(void **state)
{
    uint32_t i;

    (void)state;
    run(STEPS, false);
    for (i = 0; i < VIEWS; i++) {
        if (atomic_load(&w->views[i].state) == 1) {
            search(&w->views[i]);
        }
        if (atomic_load(&w->views[i].state) == 2) {
            finish(&w->views[i]);
        }
    }
    settle();
    check();
    assert_int_equal(w->limbo_n, 0);
    assert_true(w->searched > 50);
}

static void readers_need_no_lock(void **state)
{
    pthread_t threads[READERS];
    uint32_t i;

    (void)state;
    for (i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
    }
    run(STEPS, true);
    for (i = 0; i < VIEWS; i++) {
        while (atomic_load(&w->views[i].state) & 1) {
            sched_yield();
        }
        if (atomic_load(&w->views[i].state) == 2) {
            finish(&w->views[i]);
        }
    }
    atomic_store(&w->over, true);
    for (i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    settle();
    check();
    assert_int_equal(w->limbo_n, 0);
    assert_true(w->searched > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_search_sees_its_instant_whatever_happens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_need_no_lock, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
