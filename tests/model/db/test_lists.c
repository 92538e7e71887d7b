/* A set's lists against a twin: which elements there are, and that every
 * search finds each of them once.
 *
 * The test thread is the loop: it adds, replaces and removes elements while
 * real builders train and assign, and real workers walk what a search would
 * see: the tail and all lists, as they were when the walk was dispatched. */
#include "unit/cm.h"

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"
#include "db/search/search.h"
#include "model/db/loop.h"
#include "model/db/numbers.h"

enum {
    NAMES = 6000,
    DIM = 8,
    STEPS = 12000,
    WALKS_MAX = 12,
    WALK_BLOCKS = 64, /* of one step */
};

struct world {
    struct vset *set;
    struct rng rng;
    enum vec_type type;
    enum vec_metric metric;
    bool there[NAMES]; /* the twin */
    float at[NAMES][DIM];
    uint32_t count;
    uint32_t under_way;
    uint32_t told;
    struct buf said;  /* what was trained, as it was told */
    uint64_t run;     /* of the log; 0: none */
    uint32_t n_parts; /* told */
    bool is_behind;
};

static struct world w;

/* ---- a world ----------------------------------------------------------- */

static struct entry nameless;

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
    vset_set_entry(w.set, &nameless);
    nameless.value.vset = w.set;
    memset(w.there, 0, sizeof(w.there));
    w.count = 0;
}

static void trained(void *arg, int db, struct bytes key, uint64_t from,
                    struct bytes rest)
{
    (void)arg;
    assert_int_equal(db, 0);
    assert_int_equal(key.len, 0);
    if (from == 0) {
        w.said.len = 0;
    }
    assert_true(from == w.said.len);
    buf_append_bytes(&w.said, rest);
    /* It may be what has taken the place of the one there was. */
    w.set = nameless.value.vset;
    w.told++;
}

static void trained_part(void *arg, int db, struct bytes key, uint64_t from,
                         struct bytes part)
{
    (void)arg;
    (void)key;
    assert_int_equal(db, 0);
    assert_false(w.is_behind);
    if (from == 0) {
        w.said.len = 0;
    }
    assert_true(from == w.said.len);
    buf_append_bytes(&w.said, part);
    w.n_parts++;
    w.is_behind = w.n_parts % 2;
}

static struct keyspace_log log_of(void *arg)
{
    (void)arg;
    return (struct keyspace_log){w.run, w.is_behind};
}

static void begin(enum vec_type type, enum vec_metric metric, unsigned builders)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    w.type = type;
    w.metric = metric;
    loop_begin(2, builders, 1);
    loop.ks->listener.trained = trained;
    loop.ks->listener.trained_part = trained_part;
    loop.ks->listener.log = log_of;
    make_set();
}

static void finish_walks(void)
{
    while (w.under_way > 0) {
        loop_wait();
    }
}

static bool is_used(const void *arg, uint32_t slot)
{
    const struct slots *s = arg;

    return !(slots_block_free(s, slot / IVF_BLOCK) >> (slot % IVF_BLOCK) & 1);
}

/* A row's code is that of the row, wherever it has gone. */
static void check_codes(const struct lists *l)
{
    const struct slots *s = &w.set->elements.slots;
    _Alignas(VEC_ALIGN) uint8_t work[4096];
    uint8_t made[256], there[256];
    size_t n = ivf_codes_code_bytes(l->codes);
    slot_id slot;

    assert_true(ivf_codes_work_bytes(l->codes) <= sizeof(work));
    assert_true(n <= sizeof(made));
    for (slot = 0; slot < s->n_slots; slot++) {
        if (slots_is_live(s, slot) && ivf_list_of(l->ivf, slot) != IVF_NONE) {
            ivf_codes_encode(l->codes, slots_row(s, slot), work, made);
            ivf_codes_get(l->codes, slot, there);
            assert_memory_equal(made, there, n);
        }
    }
    ivf_codes_validate(l->codes);
}

static void validate(void)
{
    const struct lists *l = w.set->lists ? w.set->lists->all : NULL;

    vset_validate(w.set);
    for (; l; l = l->sibling) {
        if (l->ivf && !l->dropped) {
            ivf_validate(l->ivf, is_used, &w.set->elements.slots);
            if (l->codes) {
                check_codes(l);
            }
        }
    }
}

/* Until all is in lists and nothing is to be done. */
static void settle(void)
{
    struct lists_info info;

    finish_walks();
    do {
        loop_finish_jobs();
        lists_pump(w.set, true);
        graph_pump(w.set, true);
        loop_finish_jobs();
        lists_info_read(w.set, &info);
    } while (info.is_coming || info.phase != LISTS_IDLE || w.set->coming);
    validate();
}

static void end(void)
{
    finish_walks();
    vset_validate(w.set);
    vset_drop(w.set);
    loop_end();
    buf_deinit(&w.said);
}

/* ---- writes ------------------------------------------------------------ */

static void put_at(uint32_t i, const float *v)
{
    struct bytes attribute = i % 3 ? BYTES_NONE : bytes_str("{\"a\":1}");
    bool added;

    assert_int_equal(add_number(w.set, i, v, attribute, &added), ERR_OK);
    assert_int_equal(added, !w.there[i]);
    w.count += added;
    w.there[i] = true;
    memcpy(w.at[i], v, sizeof(w.at[i]));
}

/* Around one of some places. */
static void put(uint32_t i)
{
    float v[DIM];
    int j;

    for (j = 0; j < DIM; j++) {
        v[j] = (float)rng_normal(&w.rng) + 4 * (float)((i % 16) >> (j % 4) & 1);
    }
    put_at(i, v);
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
    assert_false(lists_is_given_up(w.set, build));
    w.set->lists->long_tail = NAMES / 40; /* so that it gets too long at all */
}

/* ---- what a search sees ------------------------------------------------ */

struct walk {
    struct task task;
    struct completion completion;
    uint64_t ticket;
    struct slots_view view;
    struct vec_format format;
    struct ivf_view ivf[2];
    int n_ivf;
    /* where it is */
    slot_id tail_at;
    int at_ivf;
    uint32_t at_list, at_block;
    uint32_t n_slots, n_twice, n_wrong;
    uint8_t *expected; /* by slot */
    uint8_t *seen;
    uint32_t *name; /* that is expected there */
    float (*first)[DIM];
};

static void see(struct walk *k, slot_id slot)
{
    if (slot >= k->view.n_slots || !slots_view_sees(&k->view, slot)) {
        return;
    }
    k->n_twice += k->seen[slot];
    k->seen[slot] = 1;
    if (k->expected[slot]) {
        float v[DIM];

        vec_decode(&k->format, row_map_at(&k->view.rows, slot), v);
        if (k->format.type == VEC_F32 && w.metric == VEC_L2) {
            k->n_wrong += memcmp(v, k->first[slot], sizeof(v)) != 0;
        }
    }
}

/* False at the end. */
static bool walk_lists(struct walk *k)
{
    const struct ivf_run *run;
    uint32_t i, lanes, block;

    if (k->at_ivf == k->n_ivf) {
        return false;
    }
    if (k->at_list == k->ivf[k->at_ivf].dir->n_lists) {
        k->at_ivf++;
        k->at_list = 0;
        return true;
    }
    run = ivf_view_run(&k->ivf[k->at_ivf], k->at_list);
    for (i = 0; i < ivf_run_length(run); i++) {
        block = ivf_run_block(run, i, &lanes);
        for (; lanes; lanes &= lanes - 1) {
            see(k, block * IVF_BLOCK + (uint32_t)__builtin_ctz(lanes));
        }
    }
    k->at_list++;
    return true;
}

static bool walk_step(struct task *t, struct worker *worker)
{
    struct walk *k = CONTAINER_OF(t, struct walk, task);
    struct slots_run run;
    uint32_t i;

    (void)worker;
    if (slots_tail_next(&k->view, &k->tail_at, &run)) {
        for (i = 0; i < run.n; i++) {
            see(k, run.first + i);
        }
        return true;
    }
    if (walk_lists(k)) {
        return true;
    }
    pool_complete(loop.pool, &k->completion);
    return false;
}

static void walk_done(struct completion *c)
{
    struct walk *k = CONTAINER_OF(c, struct walk, completion);
    uint32_t i;

    for (i = 0; i < k->n_slots; i++) {
        if (k->expected[i] != k->seen[i]) {
            fail_msg("slot %u: expected %d, seen %d", i, k->expected[i],
                     k->seen[i]);
        }
    }
    assert_int_equal(k->n_twice, 0);
    assert_int_equal(k->n_wrong, 0);
    epoch_leave(loop.ks->epoch, k->ticket);
    w.under_way--;
    free(k->expected);
    free(k->seen);
    free(k->first);
    free(k);
}

static void walk(void)
{
    struct walk *k = calloc(1, sizeof(*k));
    struct lists_view lists;
    char name[16];
    uint32_t i;

    k->ticket = epoch_enter(loop.ks->epoch);
    slots_view_take(&w.set->elements.slots, &k->view);
    k->format = w.set->format;
    lists_view_take(w.set, &lists);
    k->n_slots = k->view.n_slots;
    if (lists.ivf) {
        ivf_view_take(lists.ivf, k->n_slots, &k->ivf[k->n_ivf++]);
    }
    if (lists.coming) {
        ivf_view_take(lists.coming, k->n_slots, &k->ivf[k->n_ivf++]);
    }
    k->expected = calloc(k->n_slots + 1, 1);
    k->seen = calloc(k->n_slots + 1, 1);
    k->first = calloc(k->n_slots + 1, sizeof(*k->first));
    for (i = 0; i < NAMES; i++) {
        slot_id slot = vset_find(w.set, name_of(i, name));

        assert_int_equal(slot != SLOT_NONE, w.there[i]);
        if (w.there[i]) {
            k->expected[slot] = 1;
            memcpy(k->first[slot], w.at[i], sizeof(w.at[i]));
        }
    }
    k->task = (struct task){.step = walk_step, .class = TASK_QUERY};
    k->completion.done = walk_done;
    w.under_way++;
    pool_submit(loop.pool, &k->task);
}

/* Every element, and nothing else, is in a list or in the tail. */
static void check_now(void)
{
    walk();
    finish_walks();
    validate();
}

/* ---- tests ------------------------------------------------------------- */

static void test_fill(void **state)
{
    struct lists_info info;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES);
    check_now();
    train(32);
    assert_true(lists_is_training(w.set));
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_true(info.has_lists);
    assert_int_equal(info.options.nlist, 32);
    assert_true(info.listed > NAMES - 200);
    assert_int_equal(info.listed + info.tail, NAMES);
    assert_int_equal(w.told, 1);
    end();
}

static void test_same_lists(void **state)
{
    uint32_t *lists = malloc(NAMES * sizeof(*lists));
    char name[16];
    uint32_t i;
    unsigned n;

    (void)state;
    for (n = 1; n <= 2; n++) {
        begin(VEC_I8, VEC_COSINE, n);
        rng_seed(&w.rng, 7);
        put_from_to(0, NAMES);
        train(48);
        settle();
        for (i = 0; i < NAMES; i++) {
            uint32_t list =
                lists_list_of(w.set, vset_find(w.set, name_of(i, name)));

            if (n == 2) {
                assert_int_equal(list, lists[i]);
            }
            lists[i] = list;
        }
        end();
    }
    free(lists);
}

/* One thing that may happen. */
static void happen(struct buf *blob)
{
    struct lists_options o = {.nlist = 1 + (uint32_t)rng_below(&w.rng, 60)};
    struct vset_options wanted = *vset_options(w.set);
    uint64_t build;
    enum err err;

    if (w.type != VEC_BIT && w.metric != VEC_L1 && rng_below(&w.rng, 3) == 0) {
        o.codes = LISTS_CODES_PQ;
        o.pq_m = 4;
        o.discard = rng_below(&w.rng, 8) == 0;
    }
    switch (rng_below(&w.rng, 8)) {
    case 0:
    case 1:
    case 2:
        err = lists_train(w.set, &o, &build);
        assert_true(err == ERR_OK || err == ERR_BUSY || err == ERR_RANGE);
        break;
    case 3:
        blob->len = 0;
        (void)lists_write_trained(w.set, blob);
        break;
    case 4:
        if (blob->len) {
            err = lists_install_trained(w.set, buf_bytes(blob), &build);
            /* Products beside the rows are none of a set without vectors. */
            assert_true(err == ERR_OK ||
                        (err == ERR_CORRUPT && w.set->options.pq_m));
            w.set = nameless.value.vset;
        }
        break;
    case 5:
        wanted.index = VSET_INDEX_FLAT;
        assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
        break;
    case 6:
        wanted.index = VSET_INDEX_HNSW;
        assert_int_equal(vset_set_index(w.set, &wanted, &build),
                         w.set->options.pq_m ? ERR_UNSUPPORTED : ERR_OK);
        break;
    default:
        lists_pump(w.set, true);
        graph_pump(w.set, true);
    }
}

static void train_to_discard(uint32_t n_lists)
{
    struct lists_options o = {.nlist = n_lists,
                              .seed = 1,
                              .codes = LISTS_CODES_PQ,
                              .pq_m = 4,
                              .discard = true};
    uint64_t build;

    assert_int_equal(lists_train(w.set, &o, &build), ERR_OK);
}

/* Writes and searches while vectors become codes; what comes of it holds the
 * same elements, and what was written last. */
static void discard(enum vec_type type, enum vec_metric metric)
{
    char name[16];
    struct vset *before;
    uint32_t i;

    begin(type, metric, 2);
    put_from_to(0, NAMES - 500);
    before = w.set;
    train_to_discard(16);
    while (w.set == before) {
        for (i = 0; i < 8; i++) {
            uint32_t which = any();

            if (rng_below(&w.rng, 3)) {
                put(which);
            } else {
                take(which);
            }
        }
        if (w.under_way < WALKS_MAX) {
            walk();
        }
        if (rng_below(&w.rng, 4) == 0) {
            loop_wait();
        }
        loop_turn();
    }
    check_now();
    settle();
    check_now();
    assert_int_equal(w.set->format.type, VEC_PQ);
    assert_int_equal(loop.ks->dbs[0]->n_vsets, 1);
    assert_int_equal(loop.ks->dbs[0]->n_vectors, w.count);
    assert_int_equal(w.set->n_builds, 1);
    for (i = 0; i < NAMES; i++) {
        if (w.there[i]) {
            slot_id slot = vset_find(w.set, name_of(i, name));
            uint8_t row[64];

            assert_int_equal(vset_attribute(w.set, slot).len, i % 3 ? 0 : 7);
            assert_true(w.set->format.row_bytes <= sizeof(row));
            if (type == VEC_F32) { /* of others codes are of rounded ones */
                assert_int_equal(vec_encode(&w.set->format, w.at[i], row),
                                 ERR_OK);
                assert_memory_equal(row, vset_row(w.set, slot),
                                    w.set->format.row_bytes);
            }
        }
    }
    for (i = 0; i < 2000; i++) {
        put(any());
        take(any());
    }
    settle();
    check_now();
    end();
}

static void test_discard(void **state)
{
    (void)state;
    discard(VEC_F32, VEC_COSINE);
    discard(VEC_F32, VEC_L2);
    discard(VEC_I8, VEC_IP);
}

static void test_discard_gone_meanwhile(void **state)
{
    int n;

    (void)state;
    begin(VEC_F32, VEC_COSINE, 2);
    for (n = 0; n < 40; n++) {
        int turns = (int)rng_below(&w.rng, 40);

        put_from_to(0, NAMES / 2);
        train_to_discard(20);
        while (turns-- > 0 && loop.ks->n_lists_jobs > 0) {
            loop_wait();
            walk();
        }
        finish_walks();
        vset_drop(w.set);
        make_set();
    }
    end();
}

static void random_life(enum vec_type type, enum vec_metric metric)
{
    struct buf blob = {0};
    uint32_t step;

    begin(type, metric, 2);
    put_from_to(0, NAMES / 2);
    for (step = 0; step < STEPS; step++) {
        uint32_t what = (uint32_t)rng_below(&w.rng, 1000);

        if (what < 600) {
            put(any());
        } else if (what < 900) {
            take(any());
        } else if (what < 950 && w.under_way < WALKS_MAX) {
            walk();
        } else if (what < 990) {
            loop_turn();
        } else if (what < 994) {
            happen(&blob);
        } else if (what < 996) {
            lists_pump(w.set, true);
        } else if (what < 997) {
            validate();
        } else if (what < 998) {
            settle();
            loop.ks->now += 100 * 1000;
        }
    }
    settle();
    check_now();
    buf_deinit(&blob);
    end();
}

static void test_random(void **state)
{
    (void)state;
    random_life(VEC_F32, VEC_L2);
}

static void test_random_others(void **state)
{
    (void)state;
    random_life(VEC_I8, VEC_COSINE);
    random_life(VEC_BIT, VEC_COSINE);
    random_life(VEC_F16, VEC_L1);
}

static void test_gone_meanwhile(void **state)
{
    int n;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    for (n = 0; n < 40; n++) {
        int turns = (int)rng_below(&w.rng, 12);

        put_from_to(0, NAMES / 2);
        train(40);
        while (turns-- > 0 && loop.ks->n_lists_jobs > 0) {
            loop_wait();
            walk();
        }
        finish_walks();
        vset_drop(w.set);
        make_set();
    }
    end();
}

/* What was there when that began suffices: whoever writes all the time does not
 * keep lists from being filled, be they the first or such as replace others. */
static void test_written_all_the_time(void **state)
{
    uint64_t build;
    int round, turns;
    uint32_t i;

    (void)state;
    begin(VEC_I8, VEC_L2, 2);
    put_from_to(0, NAMES);
    for (round = 0; round < 2; round++) {
        train(40);
        build = w.set->lists->coming->build;
        for (turns = 0; !lists_is_built(w.set, build); turns++) {
            assert_true(turns < 5000);
            loop_wait();
            for (i = 0; i < NAMES / 2; i++) {
                put(any());
            }
            if (turns % 16 == 0) {
                lists_pump_all(loop.ks);
            }
        }
    }
    settle();
    check_now();
    end();
}

/* Rows that come faster than anybody finds lists for them do not gather: when
 * others have no time at all, the loop does it. */
static void test_burst(void **state)
{
    enum { A_TURN = 64 };
    uint32_t i, n, most = 0;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    put_from_to(0, NAMES / 4);
    train(40);
    settle();
    pool_pause(loop.pool, NULL, NULL);
    pool_pause(loop.builders, NULL, NULL);
    for (i = NAMES / 4; i < NAMES; i++) {
        put(i);
        if (i % A_TURN == 0) {
            loop_turn();
        }
        n = slots_tail_count(&w.set->elements.slots);
        most = i < NAMES / 2 ? 0 : n > most ? n : most;
    }
    assert_true(w.set->lists->job != NULL); /* whose units nobody is at */
    assert_in_range(most, 1, 2048);
    pool_resume(loop.pool);
    pool_resume(loop.builders);
    check_now();
    settle();
    check_now();
    end();
}

/* Begins to train others and stops it when the sample has been read, of which
 * rows were seen that are dead; the lists that answer meanwhile. */
static const struct lists *hold_training(void)
{
    const struct lists_job *job;

    for (;;) {
        train(700);
        job = w.set->lists->job;
        while (w.set->lists->job == job && (job->has_ticket || !job->kmeans)) {
            loop_wait();
        }
        pool_pause(loop.builders, NULL, NULL);
        if (w.set->lists->job == job) {
            return w.set->lists->answers;
        }
        pool_resume(loop.builders); /* it was quicker */
        settle();
    }
}

/* The same while others are trained in the place of lists, by builders who get
 * no further: the loop finds lists for what is written, but not of a set that
 * is being written down. */
static void test_burst_in_training(void **state)
{
    enum { A_TURN = 64 };
    const struct lists *before;
    uint32_t i, n, most = 0;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    put_from_to(0, NAMES / 4);
    train(40);
    settle();
    before = hold_training();
    for (i = NAMES / 4; i < NAMES; i++) {
        put(i % 5 ? i : any());
        if (i % A_TURN == 0) {
            loop_turn();
            (void)lists_turn(loop.ks);
            if (i % 256 == 0) {
                walk();
            }
        }
        n = slots_tail_count(&w.set->elements.slots);
        most = i < NAMES / 2 ? 0 : n > most ? n : most;
    }
    assert_int_equal(w.set->lists->job->kind, LISTS_JOB_TRAIN);
    assert_ptr_equal(w.set->lists->answers, before);
    assert_in_range(most, 1, 2048);
    vset_freeze(w.set);
    n = slots_tail_count(&w.set->elements.slots);
    for (i = 0; i < 512; i++) {
        put(any());
        assert_false(lists_turn(loop.ks));
    }
    assert_true(slots_tail_count(&w.set->elements.slots) >= n);
    vset_thaw(w.set);
    check_now();
    pool_resume(loop.builders);
    settle();
    check_now();
    assert_ptr_not_equal(w.set->lists->answers, before);
    end();
}

/* What is asked for last is what a set gets, and a graph that was to come holds
 * no rows of lists that are to be emptied. */
static void test_graph_not_wanted_any_more(void **state)
{
    struct vset_options wanted;
    struct buf blob = {0};
    uint64_t build;
    uint32_t i;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    put_from_to(0, NAMES);
    train(40);
    settle();
    assert_true(lists_write_trained(w.set, &blob));
    wanted = *vset_options(w.set);
    wanted.index = VSET_INDEX_HNSW;
    assert_int_equal(vset_set_index(w.set, &wanted, &build), ERR_OK);
    assert_int_equal(
        lists_train(w.set, &(struct lists_options){.nlist = 9}, &build),
        ERR_BUSY);
    for (i = 0; i < 8 && loop.ks->n_graph_jobs > 0; i++) {
        loop_wait();
    }
    for (i = 0; i < NAMES / 2; i++) {
        put(any());
    }
    assert_int_equal(lists_install_trained(w.set, buf_bytes(&blob), &build),
                     ERR_OK);
    assert_null(w.set->coming);
    while (!lists_is_built(w.set, build)) {
        loop_wait();
        lists_pump(w.set, true);
    }
    settle();
    check_now();
    assert_null(w.set->graph);
    assert_int_equal(w.set->options.index, VSET_INDEX_IVF);
    buf_deinit(&blob);
    end();
}

/* What comes of a training waits for a set that is being written down, and
 * nobody is kept busy by that. */
static void test_frozen_meanwhile(void **state)
{
    struct lists_job *job;
    struct pollfd pfd;
    int discards;

    (void)state;
    for (discards = 0; discards < 2; discards++) {
        begin(VEC_F32, VEC_L2, 2);
        put_from_to(0, NAMES);
        if (discards) {
            train_to_discard(20);
        } else {
            train(20);
        }
        vset_freeze(w.set);
        job = w.set->lists->job;
        while (!job->is_waiting) {
            loop_wait();
            assert_ptr_equal(w.set->lists->job, job);
        }
        while (loop_turn()) {
        }
        lists_pump_all(loop.ks);
        pfd = (struct pollfd){.fd = loop.wake_fd, .events = POLLIN};
        (void)!read(loop.wake_fd, &(uint64_t){0}, sizeof(uint64_t));
        assert_int_equal(poll(&pfd, 1, 20), 0);
        assert_false(loop_turn());
        assert_true(job->is_waiting);
        vset_thaw(w.set);
        settle();
        check_now();
        assert_true(lists_of(w.set));
        end();
    }
}

static void test_all_removed(void **state)
{
    uint32_t i;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES);
    train(32);
    settle();
    for (i = 0; i < NAMES; i++) {
        take(i);
    }
    check_now();
    put_from_to(0, NAMES);
    settle();
    check_now();
    end();
}

/* Rows that come to one place make a list that is split. */
static void test_split(void **state)
{
    struct lists_info info;
    float v[DIM];
    uint32_t i;
    int j;

    (void)state;
    begin(VEC_F32, VEC_L2, 2);
    put_from_to(0, NAMES / 2);
    train(16);
    w.set->lists->long_tail = NAMES; /* or lists are not tended on the way */
    settle();
    for (i = NAMES / 2; i < NAMES; i++) {
        for (j = 0; j < DIM; j++) {
            v[j] = 50 + (float)rng_normal(&w.rng);
        }
        put_at(i, v);
        if (i % 500 == 0) {
            walk();
        }
    }
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_true(info.splits > 0);
    assert_true(info.largest < NAMES / 2);
    end();
}

/* Rows that are all alike cannot be split; nothing goes on for ever. */
static void test_all_alike(void **state)
{
    struct lists_info info;
    float v[DIM] = {1, 2, 3};
    uint64_t splits;
    uint32_t i;

    (void)state;
    begin(VEC_I8, VEC_COSINE, 2);
    put_from_to(0, NAMES / 3);
    train(16);
    settle();
    for (i = NAMES / 3; i < NAMES * 2 / 3; i++) {
        put_at(i, v);
    }
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_true(info.largest > 3 * info.mean);
    splits = info.splits;
    /* Others are split as ever. */
    for (i = NAMES * 2 / 3; i < NAMES; i++) {
        float near[DIM] = {-1, 3, -2};
        int k;

        for (k = 0; k < DIM; k++) {
            near[k] += (float)rng_normal(&w.rng) / 4;
        }
        put_at(i, near);
    }
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_true(info.listed > NAMES - 600);
    assert_true(info.splits > splits);
    end();
}

/* Lists that have lost most of their rows take no more room than they need, and
 * lists with hardly any rows are merged with others. */
static void test_compact_and_merge(void **state)
{
    struct lists_info info;
    char name[16];
    uint32_t i, left = 3;

    (void)state;
    begin(VEC_F32, VEC_COSINE, 2);
    put_from_to(0, NAMES);
    train(24);
    settle();
    w.set->lists->answers->options.nlist = 0; /* as if nobody had asked */
    for (i = 0; i < NAMES; i++) {
        uint32_t list =
            lists_list_of(w.set, vset_find(w.set, name_of(i, name)));

        if (rng_below(&w.rng, 10) < 6 || (list == 5 && left == 0)) {
            take(i);
        } else if (list == 5) {
            left--;
        }
        if (i % 500 == 0) {
            walk();
            loop_turn();
        }
    }
    put_at(0, w.at[NAMES - 1]);
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_true(info.merges > 0);
    assert_true(info.options.nlist < 24);
    assert_true(info.dead * 2 < info.listed);
    end();
}

static void test_train_again(void **state)
{
    struct lists_info info;

    (void)state;
    begin(VEC_I8, VEC_L2, 2);
    put_from_to(0, NAMES / 3);
    train(0);
    settle();
    put_from_to(NAMES / 3, NAMES);
    settle();
    loop.ks->now += 1000 * 1000;
    lists_pump(w.set, true);
    settle();
    check_now();
    lists_info_read(w.set, &info);
    assert_int_equal(info.trainings, 2);
    assert_int_equal(info.trained_rows, NAMES);
    assert_int_equal(w.told, 2);
    end();
}

/* The set takes what a log was told, in parts of its own. */
static void read_back(void)
{
    struct buf said = w.said, whole, now = {0};
    uint64_t build;
    size_t at, part = 50000;

    w.said = BUF_INIT;
    assert_int_equal(lists_take_part(w.set, 5, bytes_str("x")), ERR_CORRUPT);
    for (at = 0; at + part < said.len; at += part) {
        assert_int_equal(
            lists_take_part(w.set, at, bytes_of(said.data + at, part)), ERR_OK);
    }
    assert_true(at > 0);
    assert_int_equal(lists_parts_end(w.set, at,
                                     bytes_of(said.data + at, said.len - at),
                                     &whole),
                     ERR_OK);
    assert_int_equal(whole.len, said.len);
    assert_memory_equal(whole.data, said.data, said.len);
    assert_int_equal(lists_install_trained(w.set, buf_bytes(&whole), &build),
                     ERR_OK);
    assert_true(lists_write_trained(w.set, &now));
    assert_memory_equal(now.data, said.data, said.len);
    buf_deinit(&now);
    buf_deinit(&whole);
    buf_deinit(&said);
}

/* More than one turn may have: a log is told in parts, and all of them again
 * when it begins anew, also right before the end. */
static void test_told_in_parts(void **state)
{
    struct buf now = {0};
    uint32_t n;

    (void)state;
    for (n = 0; n < 5; n++) {
        uint32_t again = 0;

        begin(VEC_F32, VEC_L2, 2);
        w.run = 1;
        put_from_to(0, NAMES);
        train(5000);
        while (w.told == 0) {
            loop_wait();
            if (w.n_parts == n && w.n_parts > 0 && again == 0) {
                if (n == 2) {
                    vset_freeze(w.set); /* all parts but the end are there */
                }
                again = n;
                w.run = n == 4 ? 0 : 2;
            }
            w.is_behind = false;
            if (n == 2 && w.run == 2 && w.set->n_frozen) {
                vset_thaw(w.set);
            }
            lists_pump(w.set, true);
        }
        assert_int_equal(w.told, 1);
        if (n < 3) {
            assert_int_equal(w.n_parts, 2 + n);
            assert_true(lists_write_trained(w.set, &now));
            assert_int_equal(w.said.len, now.len);
            assert_memory_equal(w.said.data, now.data, now.len);
            read_back();
        }
        buf_deinit(&now);
        settle();
        check_now();
        assert_int_equal(w.set->lists->apart != NULL, n < 3);
        lists_pump_all(loop.ks); /* frees some of those that were replaced */
        if (n == 1) {
            while (w.set->lists->apart) {
                lists_pump_all(loop.ks);
            }
        }
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_same_lists),
        cmocka_unit_test(test_written_all_the_time),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_burst_in_training),
        cmocka_unit_test(test_graph_not_wanted_any_more),
        cmocka_unit_test(test_frozen_meanwhile),
        cmocka_unit_test(test_all_removed),
        cmocka_unit_test(test_gone_meanwhile),
        cmocka_unit_test(test_told_in_parts),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_all_alike),
        cmocka_unit_test(test_compact_and_merge),
        cmocka_unit_test(test_train_again),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_discard_gone_meanwhile),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
