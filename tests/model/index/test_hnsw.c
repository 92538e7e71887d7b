/* The graph against exact search: recall floors, deletes and re-adds, awkward
 * data. hnsw_validate() runs after every step. */
#include "unit/cm.h"

#include "base/epoch.h"
#include "base/mem.h"
#include "base/region.h"
#include "base/rng.h"
#include "index/hnsw/hnsw.h"
#include "index/topk.h"

enum { ROWS_MAX = 8192, K = 10 };

struct world {
    struct vec_format stored, codes;
    struct row_geometry geometry;
    const uint8_t *pages[64];
    struct row_map rows;
    struct region region;
    struct epoch *epoch;
    struct hnsw *h;
    struct hnsw_scratch *scratch[2];
    uint64_t *dead;
    bool *in; /* linked and alive */
    float *x; /* ROWS_MAX x dim */
    uint32_t dim, n;
    struct rng rng;
    size_t k;                    /* for searches that end by distance */
    const struct verdicts *past; /* to look past what fails */
    uint64_t scored;             /* by all searches */
};

/* Bytes that a graph said would be written to: nothing is in them yet, and it
 * does not matter what. */
static size_t expected;

static void expect(void *arg, void *memory, size_t bytes)
{
    (void)arg;
    memset(memory, 0xa5, bytes);
    expected += bytes;
}

static void make(struct world *w, enum vec_type type, enum vec_metric metric,
                 uint32_t dim, uint32_t m, uint32_t ef)
{
    struct hnsw_options o;
    uint32_t i;

    memset(w, 0, sizeof(*w));
    w->dim = dim;
    vec_format_init(&w->stored, type, metric, dim);
    vec_format_init(&w->codes, type == VEC_F32 ? VEC_I8 : type, metric, dim);
    row_geometry_init(&w->geometry, w->stored.row_bytes, w->stored.overread,
                      1 << 20, 16);
    for (i = 0; i < row_pages_for(&w->geometry, ROWS_MAX); i++) {
        w->pages[i] = calloc(1, (size_t)row_page_count(&w->geometry, i) *
                                        w->stored.row_bytes +
                                    w->stored.overread);
    }
    w->rows = (struct row_map){&w->geometry, w->pages};
    region_init(&w->region, 0);
    w->epoch = epoch_create();
    w->dead = calloc(ROWS_MAX / 64, sizeof(*w->dead));
    w->in = calloc(ROWS_MAX, sizeof(*w->in));
    w->x = calloc((size_t)ROWS_MAX * dim, sizeof(*w->x));
    rng_seed(&w->rng, 11);
    o = (struct hnsw_options){.stored = &w->stored,
                              .format = &w->codes,
                              .m = m,
                              .ef = ef,
                              .seed = 5,
                              .region = &w->region,
                              .epoch = w->epoch,
                              .expect = expect};
    w->h = hnsw_create(&o);
    w->scratch[0] = hnsw_scratch_create();
    w->scratch[1] = hnsw_scratch_create();
}

static void unmake(struct world *w)
{
    size_t i;

    hnsw_destroy(w->h);
    epoch_destroy(w->epoch);
    assert_int_equal(w->region.bytes, 0);
    region_deinit(&w->region);
    hnsw_scratch_destroy(w->scratch[0]);
    hnsw_scratch_destroy(w->scratch[1]);
    for (i = 0; i < ARRAY_LEN(w->pages); i++) {
        free((void *)(uintptr_t)w->pages[i]);
    }
    free(w->dead);
    free(w->in);
    free(w->x);
}

/* Clustered rows, as real ones are. */
static void invent(struct world *w, uint32_t row)
{
    float *x = w->x + (size_t)row * w->dim;
    struct rng centre;
    uint32_t i;

    rng_seed(&centre, 1000 + rng_below(&w->rng, 50));
    for (i = 0; i < w->dim; i++) {
        x[i] = (float)(rng_normal(&centre) + 0.6 * rng_normal(&w->rng));
    }
}

static void put(struct world *w, uint32_t row)
{
    assert_int_equal(
        vec_encode(&w->stored, w->x + (size_t)row * w->dim,
                   (uint8_t *)(uintptr_t)row_map_at(&w->rows, row)),
        ERR_OK);
    w->n = row >= w->n ? row + 1 : w->n;
}

/* Links rows in batches; order: in which order and by whom units are done. */
static void link_rows(struct world *w, const uint32_t *rows, uint32_t n,
                      int order)
{
    uint32_t done = 0, units, i;

    for (i = 0; i < n; i++) {
        put(w, rows[i]);
    }
    while (done < n) {
        uint32_t size = hnsw_batch_size(w->h, n - done);
        struct hnsw_batch *b =
            hnsw_batch_begin(w->h, rows + done, size, &w->rows, w->dead);

        assert_non_null(b);
        while ((units = hnsw_batch_units(b)) > 0) {
            for (i = 0; i < units; i++) {
                hnsw_batch_unit(b, order ? units - 1 - i : i,
                                w->scratch[order && i % 2]);
            }
            hnsw_batch_next(b);
        }
        hnsw_batch_end(b);
        for (i = done; i < done + size; i++) {
            w->in[rows[i]] = true;
        }
        done += size;
    }
    hnsw_validate(w->h);
}

static void link_range(struct world *w, uint32_t from, uint32_t to, int order)
{
    uint32_t *rows = malloc((to - from) * sizeof(*rows));
    uint32_t i;

    for (i = from; i < to; i++) {
        rows[i - from] = i;
    }
    link_rows(w, rows, to - from, order);
    free(rows);
}

static void kill_row(struct world *w, uint32_t row)
{
    w->dead[row / 64] |= (uint64_t)1 << (row % 64);
    w->in[row] = false;
}

static size_t reattach_lost(struct world *w)
{
    struct hnsw_walk *walk = hnsw_walk_begin(w->h);
    const struct hnsw_lost *lost;
    size_t n, i;

    while (hnsw_walk_step(walk, 100)) {
    }
    n = hnsw_walk_lost(walk, &lost);
    for (i = 0; i < n; i++) {
        hnsw_reattach(w->h, lost[i], &w->rows, w->dead, w->scratch[0]);
    }
    hnsw_walk_end(walk);
    return n;
}

/* Nodes that have a level and are come to on it by nobody who follows links
 * from the entry, level by level. */
static size_t out_of_reach(const struct world *w)
{
    uint64_t entry = hnsw_start(w->h) - 1;
    uint32_t *queue = malloc(ROWS_MAX * sizeof(*queue)), links[128];
    bool *seen = calloc(ROWS_MAX, sizeof(*seen));
    size_t head, tail = 0, lost = 0, n, i;
    int level = (int)(entry >> 32);

    queue[tail++] = (uint32_t)entry;
    seen[(uint32_t)entry] = true;
    for (; level >= 0; level--) {
        for (head = 0; head < tail; head++) {
            n = hnsw_links(w->h, queue[head], level, links, ARRAY_LEN(links));
            for (i = 0; i < n; i++) {
                if (!seen[links[i]]) {
                    seen[links[i]] = true;
                    queue[tail++] = links[i];
                }
            }
        }
        for (i = 0; i < w->n; i++) {
            lost += hnsw_is_linked(w->h, (uint32_t)i) && !seen[i] &&
                    hnsw_level(w->h, (uint32_t)i) >= level;
        }
    }
    free(queue);
    free(seen);
    return lost;
}

/* Sweeps what is dead, and brings back what came loose. */
static void sweep(struct world *w)
{
    struct hnsw_sweep *s = hnsw_sweep_begin(w->h, w->dead, &w->rows);
    int tries;
    uint32_t i;

    do {
        for (i = 0; i < hnsw_sweep_units(s); i++) {
            hnsw_sweep_unit(s, i, w->scratch[i % 2]);
        }
    } while (hnsw_sweep_next(s));
    hnsw_sweep_end(s);
    memset(w->dead, 0, ROWS_MAX / 8);
    hnsw_validate(w->h);
    for (tries = 0; tries < 20 && reattach_lost(w); tries++) {
    }
    assert_int_equal(reattach_lost(w), 0);
    hnsw_validate(w->h);
}

static bool is_in(const void *arg, uint32_t node)
{
    const struct world *w = arg;

    return w->in[node];
}

/* Recall@K of a search for a vector against the exact answer on the codes. */
static size_t hits(struct world *w, const float *x, uint32_t ef)
{
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(&w->codes));
    struct hnsw_search s = {.rows = w->rows,
                            .n_slots = w->n,
                            .ef = ef,
                            .admits = is_in,
                            .arg = w,
                            .k = w->k,
                            .two_hop = w->past};
    struct vec_query *q = NULL;
    uint64_t heap[K];
    struct topk best;
    size_t found = 0, i, j;
    uint32_t row;

    assert_int_equal(vec_query_init(&w->codes, x, memory, &q), ERR_OK);
    topk_init(&best, heap, K);
    for (row = 0; row < w->n; row++) {
        const uint8_t *code;
        uint64_t entry;
        float key;

        if (!w->in[row]) {
            continue;
        }
        code = hnsw_row(w->h, &w->rows, row);
        vec_gather(q, &code, 1, &key);
        entry = topk_entry(key, row);
        if (topk_wants(&best, entry)) {
            topk_push(&best, entry);
        }
    }
    s.query = q;
    hnsw_search(w->h, &s, w->scratch[0]);
    w->scored += s.scored;
    for (i = 0; i < best.n; i++) {
        for (j = 0; j < s.n_found && j < K; j++) {
            found += s.found[j] == heap[i];
        }
    }
    for (i = 0; i < s.n_found; i++) {
        assert_true(w->in[topk_entry_slot(s.found[i])]);
        assert_true(i == 0 || s.found[i] > s.found[i - 1]);
    }
    free(memory);
    return found;
}

static double recall(struct world *w, uint32_t ef)
{
    float *x = malloc(w->dim * sizeof(*x));
    size_t total = 0;
    int q;

    for (q = 0; q < 100; q++) {
        uint32_t i;

        invent(w, ROWS_MAX - 1);
        for (i = 0; i < w->dim; i++) {
            x[i] = w->x[(size_t)(ROWS_MAX - 1) * w->dim + i];
        }
        total += hits(w, x, ef);
    }
    free(x);
    return (double)total / 100 / K;
}

/* ---- tests ------------------------------------------------------------- */

static void recall_of_every_type_and_metric(void **state)
{
    static const struct {
        enum vec_type type;
        enum vec_metric metric;
        double floor;
    } cases[] = {
        {VEC_F32, VEC_COSINE, 0.97}, {VEC_I8, VEC_COSINE, 0.97},
        {VEC_F16, VEC_COSINE, 0.97}, {VEC_BF16, VEC_COSINE, 0.97},
        {VEC_F32, VEC_L2, 0.97},     {VEC_I8, VEC_L2, 0.97},
        {VEC_F32, VEC_L1, 0.95},     {VEC_F32, VEC_IP, 0.85},
        {VEC_I8, VEC_IP, 0.85},
    };
    struct world w;
    size_t c;
    uint32_t i;

    (void)state;
    for (c = 0; c < ARRAY_LEN(cases); c++) {
        make(&w, cases[c].type, cases[c].metric, 24, 16, 100);
        for (i = 0; i < 3000; i++) {
            invent(&w, i);
        }
        link_range(&w, 0, 3000, 0);
        if (recall(&w, 100) < cases[c].floor) {
            fail_msg("%s %s: recall %.3f", vec_type_name(cases[c].type),
                     vec_metric_name(cases[c].metric), recall(&w, 100));
        }
        unmake(&w);
    }
}

/* The work of 100 searches and their recall. */
static double work_and_recall(struct world *w, uint32_t ef, uint64_t *scored)
{
    double found;

    rng_seed(&w->rng, 12);
    w->scored = 0;
    found = recall(w, ef);
    *scored = w->scored;
    return found;
}

static void ending_by_distance_finds_more_for_the_same_work(void **state)
{
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_L1,
                                              VEC_IP};
    double gained = 0;
    size_t c;

    (void)state;
    for (c = 0; c < ARRAY_LEN(metrics); c++) {
        uint64_t fixed = 0, by_distance = 0;
        double found, wanted;
        uint32_t ef = 28;
        struct world w;
        uint32_t i;

        make(&w, VEC_F32, metrics[c], 24, 5, 24);
        for (i = 0; i < 6000; i++) {
            invent(&w, i);
        }
        link_range(&w, 0, 6000, 0);
        w.k = K;
        found = work_and_recall(&w, ef, &by_distance);
        w.k = 0;
        /* As much work, or a little less, without. */
        for (wanted = 0; fixed < by_distance; ef++) {
            wanted = work_and_recall(&w, ef, &fixed);
        }
        if (metrics[c] == VEC_IP) {
            assert_true(ef == 29 &&
                        fixed == by_distance); /* no distances to go by */
        } else {
            assert_true(found > wanted - 0.01);
            gained += found - wanted;
        }
        unmake(&w);
    }
    assert_true(gained > 0);
}

/* As good as an ordinary search that goes on until ef of its nodes pass. */
/* The `want` best near a row, into out; returns how many. */
static size_t best_of(struct world *w, uint32_t row, size_t want, bool told,
                      uint64_t *out)
{
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(&w->codes));
    struct hnsw_search s = {.rows = w->rows,
                            .n_slots = w->n,
                            .ef = 100,
                            .admits = is_in,
                            .arg = w,
                            .k = 2 * K,
                            .want = told ? want : 0};
    size_t n;

    s.query =
        vec_query_from_row(&w->codes, hnsw_row(w->h, &w->rows, row), memory);
    hnsw_search(w->h, &s, w->scratch[0]);
    w->scored += s.scored;
    assert_false(s.exhausted);
    n = s.n_found < want ? s.n_found : want;
    memcpy(out, s.found, n * sizeof(*out));
    free(memory);
    return n;
}

/* A search that is told how many are wanted keeps no others in its pool than
 * it needs: it finds the same, with the same work. A third of the rows is not
 * admitted, and each cluster has fewer rows than are wanted. */
static void saying_how_many_are_wanted_changes_no_answer(void **state)
{
    enum { WANT = 120 };
    struct world w;
    uint64_t one[WANT], other[WANT], scored[2] = {0};
    size_t same = 0, all = 0, i, j;
    uint32_t row;

    (void)state;
    make(&w, VEC_I8, VEC_L2, 24, 16, 100);
    for (row = 0; row < 5000; row++) {
        invent(&w, row);
    }
    link_range(&w, 0, 5000, 0);
    for (row = 0; row < 5000; row++) {
        w.in[row] = row % 3 > 0;
    }
    for (row = 0; row < 5000; row += 50) {
        size_t n, m;

        w.scored = 0;
        n = best_of(&w, row, WANT, false, one);
        scored[0] += w.scored;
        w.scored = 0;
        m = best_of(&w, row, WANT, true, other);
        scored[1] += w.scored;
        assert_true(m >= n || m >= WANT * 2 / 3);
        for (i = 0; i < K; i++) {
            for (j = 0; j < K; j++) {
                same += one[i] == other[j];
            }
        }
        all += K;
    }
    assert_true(same * 1000 >= all * 995);
    assert_in_range(scored[1], scored[0] * 97 / 100, scored[0] * 103 / 100);
    unmake(&w);
}

static void looking_past_what_fails_finds_as_much(void **state)
{
    static const double shares[] = {0.3, 0.15};
    static _Atomic uint64_t words[ROWS_MAX / VERDICTS_PER_WORD];
    const struct verdicts verdicts = {ROWS_MAX, words};
    struct world w;
    uint32_t i;
    size_t c;

    (void)state;
    make(&w, VEC_F32, VEC_COSINE, 24, 8, 24);
    for (i = 0; i < 6000; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, 6000, 0);
    for (c = 0; c < ARRAY_LEN(shares); c++) {
        const uint32_t ef = 32;
        uint64_t scored, wanted_scored;
        double found, wanted;

        memset(words, 0, sizeof(words));
        for (i = 0; i < 6000; i++) {
            w.in[i] = (double)rng_below(&w.rng, 1000) < 1000 * shares[c];
            words[i / VERDICTS_PER_WORD] |=
                (uint64_t)1 << (i % VERDICTS_PER_WORD + (w.in[i] ? 32 : 0));
        }
        w.past = NULL;
        w.k = 0;
        wanted =
            work_and_recall(&w, (uint32_t)(ef / shares[c]), &wanted_scored);
        w.past = &verdicts;
        w.k = K;
        found = work_and_recall(&w, ef, &scored);
        if (found < wanted - 0.005 || scored > wanted_scored) {
            fail_msg("of %.2f: %.3f of %llu instead of %.3f of %llu", shares[c],
                     found, (unsigned long long)scored, wanted,
                     (unsigned long long)wanted_scored);
        }
    }
    unmake(&w);
}

static void the_graph_does_not_depend_on_who_builds_it(void **state)
{
    struct world a, b;
    uint32_t mine[64], yours[64], i;

    (void)state;
    make(&a, VEC_I8, VEC_COSINE, 16, 8, 60);
    make(&b, VEC_I8, VEC_COSINE, 16, 8, 60);
    for (i = 0; i < 2500; i++) {
        invent(&a, i);
        invent(&b, i);
    }
    link_range(&a, 0, 2500, 0);
    link_range(&b, 0, 2500, 1);
    for (i = 0; i < 2500; i++) {
        int level = hnsw_level(a.h, i);

        for (; level >= 0; level--) {
            size_t n = hnsw_links(a.h, i, level, mine, 64);

            assert_int_equal(n, hnsw_links(b.h, i, level, yours, 64));
            assert_memory_equal(mine, yours, n * sizeof(*mine));
        }
    }
    unmake(&a);
    unmake(&b);
}

static void room_for_nodes_to_come_is_made_ahead(void **state)
{
    struct world w;
    size_t before, after;
    uint32_t i;

    (void)state;
    make(&w, VEC_F32, VEC_L2, 16, 8, 60);
    for (i = 0; i < 3000; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, 500, 0);
    before = expected;
    hnsw_expect(w.h, 3000);
    after = expected;
    assert_true(after - before >= 2 * (size_t)1024 * (16 + 16 * 4));
    hnsw_validate(w.h);
    link_range(&w, 500, 3000, 0);
    assert_true(expected == after); /* none was wanted beyond */
    hnsw_expect(w.h, 3000);
    assert_true(expected == after);
    unmake(&w);
}

static void ten_turnovers_cost_no_recall(void **state)
{
    enum { N = 2000 };
    struct world w;
    double before;
    size_t bytes;
    uint32_t rows[N], i;
    int round;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 24, 16, 100);
    for (i = 0; i < 2 * N; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, N, 0);
    before = recall(&w, 64);
    bytes = hnsw_bytes(w.h);
    for (round = 0; round < 20; round++) {
        uint32_t n = 0;

        /* Half of the rows go, and as many others come in their slots. */
        for (i = 0; i < N; i++) {
            if (rng_below(&w.rng, 2)) {
                rows[n++] = i;
                kill_row(&w, i);
            }
        }
        assert_true(recall(&w, 200) > 0.9); /* with the dead still there */
        sweep(&w);
        for (i = 0; i < n; i++) {
            invent(&w, rows[i]);
        }
        link_rows(&w, rows, n, 0);
    }
    assert_true(recall(&w, 64) >= before - 0.01);
    assert_true(hnsw_bytes(w.h) <= bytes * 115 / 100);
    unmake(&w);
}

static void equal_rows_do_not_hide_the_others(void **state)
{
    struct world w;
    uint32_t i, j;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 24, 16, 100);
    for (i = 0; i < 3000; i++) {
        invent(&w, i);
        /* Every second row is one of three. */
        for (j = 0; i % 2 && j < w.dim; j++) {
            w.x[(size_t)i * w.dim + j] = (float)((i / 2 % 3 + 1) * (j % 5)) - 3;
        }
    }
    link_range(&w, 0, 3000, 0);
    for (i = 0; i < 20 && reattach_lost(&w); i++) {
    }
    assert_int_equal(reattach_lost(&w), 0);
    assert_true(recall(&w, 100) > 0.97);
    /* Among copies any are as good as others: ten must be found. */
    for (i = 1; i < 7; i += 2) {
        assert_int_equal(hits(&w, w.x + (size_t)i * w.dim, 600), K);
    }
    unmake(&w);
}

static void rows_that_are_all_equal_or_zero(void **state)
{
    struct world w;
    int zero;
    uint32_t i, j;

    (void)state;
    for (zero = 0; zero < 2; zero++) {
        make(&w, VEC_F32, VEC_COSINE, 12, 4, 40);
        for (i = 0; i < 1500; i++) {
            for (j = 0; j < w.dim; j++) {
                w.x[(size_t)i * w.dim + j] = zero ? 0 : (float)j + 1;
            }
        }
        link_range(&w, 0, 1500, 0);
        assert_int_equal(reattach_lost(&w), 0);
        assert_int_equal(hits(&w, w.x, 1500), K);
        /* The head of the chain goes, and then nearly all. */
        kill_row(&w, 0);
        kill_row(&w, 1);
        sweep(&w);
        for (i = 2; i < 1490; i++) {
            kill_row(&w, i);
        }
        sweep(&w);
        assert_int_equal(hnsw_count(w.h), 10);
        assert_int_equal(hits(&w, w.x, 64), K);
        unmake(&w);
    }
}

/* No row may lead to a node twice, as a copy in its chain and otherwise. */
static void copies_come_and_go(void **state)
{
    enum { N = 600 };
    struct world w;
    uint32_t rows[N], i, j, n;
    int round, kinds;

    (void)state;
    for (kinds = 2; kinds <= 50; kinds *= 5) {
        make(&w, VEC_I8, VEC_COSINE, 4, 4, 20);
        for (n = 0; n < N; n++) {
            rows[n] = n;
        }
        for (round = 0; round < 30; round++) {
            for (i = 0; i < n; i++) {
                struct rng kind;

                rng_seed(&kind, rng_below(&w.rng, (uint64_t)kinds));
                for (j = 0; j < w.dim; j++) {
                    w.x[(size_t)rows[i] * w.dim + j] = (float)rng_normal(&kind);
                }
            }
            link_rows(&w, rows, n, round % 2);
            for (i = 0; i < 20 && reattach_lost(&w); i++) {
            }
            hnsw_validate(w.h);
            for (i = n = 0; i < N; i++) {
                if (rng_below(&w.rng, 3) == 0) {
                    rows[n++] = i;
                    kill_row(&w, i);
                }
            }
            sweep(&w);
        }
        unmake(&w);
    }
}

/* On all levels, though with few links whole neighbourhoods die. */
static void all_that_remains_is_in_reach(void **state)
{
    struct world w;
    uint32_t i;
    int round;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 16, 4, 20);
    for (i = 0; i < 6000; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, 6000, 0);
    for (round = 0; round < 6; round++) {
        for (i = 0; i < 6000; i++) {
            if (w.in[i] && rng_below(&w.rng, 3) == 0) {
                kill_row(&w, i);
            }
        }
        sweep(&w);
        if (out_of_reach(&w)) {
            fail_msg("%zu of %u are out of reach", out_of_reach(&w),
                     hnsw_count(w.h));
        }
    }
    unmake(&w);
}

static void an_entry_that_goes_is_replaced(void **state)
{
    struct world w;
    uint32_t i;
    int level, round;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 8, 4, 40);
    for (i = 0; i < 600; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, 600, 0);
    for (round = 0; round < 100; round++) {
        /* The tallest one goes, time and again. */
        uint32_t tallest = 0;

        for (level = -1, i = 0; i < 600; i++) {
            if (w.in[i] && hnsw_level(w.h, i) > level) {
                level = hnsw_level(w.h, i);
                tallest = i;
            }
        }
        kill_row(&w, tallest);
        sweep(&w);
    }
    assert_true(recall(&w, 64) > 0.95);
    for (i = 0; i < 600; i++) {
        if (w.in[i]) {
            kill_row(&w, i);
        }
    }
    sweep(&w);
    assert_int_equal(hnsw_count(w.h), 0);
    assert_int_equal(hits(&w, w.x, 10), 0);
    link_range(&w, 0, 600, 0);
    assert_true(recall(&w, 64) > 0.95);
    unmake(&w);
}

/* Marks for a tenth of the nodes: answers as good, worked harder for, and
 * builds and sweeps that leave a graph as good. */
static void searches_that_forget_find_as_much(void **state)
{
    struct world w;
    uint32_t i;
    double before;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 24, 16, 100);
    for (i = 0; i < 3000; i++) {
        invent(&w, i);
    }
    hnsw_scratch_limit(w.scratch[1], 0, 256);
    link_range(&w, 0, 3000, 0);
    before = recall(&w, 100);
    hnsw_scratch_limit(w.scratch[0], 0, 256);
    assert_true(recall(&w, 100) > 0.97);
    assert_true(before > 0.97);
    for (i = 0; i < 3000; i += 3) {
        kill_row(&w, i);
    }
    sweep(&w);
    hnsw_validate(w.h);
    assert_true(recall(&w, 100) > 0.95);
    unmake(&w);
}

static void one_node_is_a_graph(void **state)
{
    struct world w;
    uint32_t id;

    (void)state;
    make(&w, VEC_I8, VEC_L2, 3, 16, 100);
    invent(&w, 0);
    link_range(&w, 0, 1, 0);
    assert_int_equal(hits(&w, w.x, 1), 1);
    assert_int_equal(hnsw_links(w.h, 0, 0, &id, 1), 0);
    kill_row(&w, 0);
    sweep(&w);
    assert_int_equal(hnsw_count(w.h), 0);
    unmake(&w);
}

static void a_wide_m_is_possible(void **state)
{
    struct world w;
    uint32_t i;

    (void)state;
    make(&w, VEC_I8, VEC_COSINE, 8, 256, 300);
    for (i = 0; i < 1200; i++) {
        invent(&w, i);
    }
    link_range(&w, 0, 1200, 0);
    assert_true(recall(&w, 32) > 0.99);
    unmake(&w);
}

static void levels_are_spread_as_they_should_be(void **state)
{
    size_t up[3] = {0};
    uint32_t i;
    int level;

    (void)state;
    for (i = 0; i < 1000000; i++) {
        for (level = hnsw_level_of(3, 16, i); level > 0; level--) {
            up[level <= 3 ? level - 1 : 2]++;
        }
    }
    assert_in_range(up[0], 61500, 63500); /* one in 16 */
    assert_in_range(up[1], 3600, 4200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recall_of_every_type_and_metric),
        cmocka_unit_test(ending_by_distance_finds_more_for_the_same_work),
        cmocka_unit_test(saying_how_many_are_wanted_changes_no_answer),
        cmocka_unit_test(looking_past_what_fails_finds_as_much),
        cmocka_unit_test(the_graph_does_not_depend_on_who_builds_it),
        cmocka_unit_test(room_for_nodes_to_come_is_made_ahead),
        cmocka_unit_test(ten_turnovers_cost_no_recall),
        cmocka_unit_test(equal_rows_do_not_hide_the_others),
        cmocka_unit_test(rows_that_are_all_equal_or_zero),
        cmocka_unit_test(copies_come_and_go),
        cmocka_unit_test(all_that_remains_is_in_reach),
        cmocka_unit_test(an_entry_that_goes_is_replaced),
        cmocka_unit_test(searches_that_forget_find_as_much),
        cmocka_unit_test(one_node_is_a_graph),
        cmocka_unit_test(a_wide_m_is_possible),
        cmocka_unit_test(levels_are_spread_as_they_should_be),
    };

    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
