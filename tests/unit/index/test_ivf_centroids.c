/* Training lists' centroids, and asking them. */
#include "unit/cm.h"

#include <math.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/thread.h"
#include "index/ivf/centroids.h"
#include "index/ivf/kmeans.h"
#include "vec/near.h"

struct sample {
    uint32_t n, dim;
    float *x;
};

static void fetch(const void *arg, uint32_t first, uint32_t n, float *out)
{
    const struct sample *s = arg;

    assert_true(first + n <= s->n);
    memcpy(out, s->x + (size_t)first * s->dim, n * s->dim * sizeof(*out));
}

/* Normal rows around n_clusters points, all of them moved by `shift`. */
static struct sample make_sample(uint32_t n, uint32_t dim, uint32_t n_clusters,
                                 float shift, uint64_t seed)
{
    struct sample s = {n, dim, malloc(sizeof(float) * n * dim)};
    float *at = malloc(sizeof(float) * n_clusters * dim);
    struct rng rng;
    size_t i;
    uint32_t j;

    rng_seed(&rng, seed);
    for (i = 0; i < (size_t)n_clusters * dim; i++) {
        at[i] = (float)rng_normal(&rng);
    }
    for (i = 0; i < n; i++) {
        const float *c = at + rng_below(&rng, n_clusters) * dim;

        for (j = 0; j < dim; j++) {
            s.x[i * dim + j] = shift + c[j] + 0.4f * (float)rng_normal(&rng);
        }
    }
    free(at);
    return s;
}

struct crew {
    struct kmeans *k;
    _Atomic uint32_t next;
};

static void work(void *arg)
{
    struct crew *c = arg;
    struct ivf_scratch *s = ivf_scratch_create();
    uint32_t unit;

    while ((unit = atomic_fetch_add(&c->next, 1)) < kmeans_units(c->k)) {
        kmeans_unit(c->k, unit, s);
    }
    ivf_scratch_destroy(s);
}

static struct ivf_centroids *train(const struct sample *sample,
                                   enum vec_metric metric, uint32_t n_lists,
                                   unsigned n_threads)
{
    struct kmeans_options o = {.metric = metric,
                               .dim = sample->dim,
                               .n_lists = n_lists,
                               .n_rows = sample->n,
                               .seed = 5,
                               .fetch = fetch,
                               .arg = sample};
    struct crew crew = {.k = kmeans_begin(&o)};
    struct ivf_centroids *c = NULL;
    double before = 0;

    assert_non_null(crew.k);
    while (kmeans_units(crew.k) > 0) {
        struct thread *threads[8];
        unsigned i;

        atomic_store(&crew.next, 0);
        for (i = 1; i < n_threads; i++) {
            assert_int_equal(thread_start(&threads[i], "t", work, &crew), 0);
        }
        work(&crew);
        for (i = 1; i < n_threads; i++) {
            thread_join(threads[i]);
        }
        assert_true(kmeans_progress(crew.k) >= before);
        before = kmeans_progress(crew.k);
        kmeans_next(crew.k);
    }
    assert_true(kmeans_has_read(crew.k));
    assert_int_equal(kmeans_end(crew.k, &c), ERR_OK);
    assert_int_equal(c->n, n_lists);
    return c;
}

static uint8_t *bytes_of_centroids(const struct ivf_centroids *c, size_t *len)
{
    uint8_t *bytes;

    *len = ivf_centroids_size(c);
    bytes = malloc(*len);
    ivf_centroids_write(c, bytes);
    return bytes;
}

static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP, VEC_L1};

static void any_number_of_threads_trains_the_same(void **state)
{
    struct sample s = make_sample(3000, 24, 50, 0, 1);
    uint32_t m;
    unsigned t;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        struct ivf_centroids *one = train(&s, metrics[m], 64, 1);
        size_t len;
        uint8_t *bytes = bytes_of_centroids(one, &len);

        for (t = 2; t <= 4; t++) {
            struct ivf_centroids *more = train(&s, metrics[m], 64, t);
            size_t len_more;
            uint8_t *bytes_more = bytes_of_centroids(more, &len_more);

            assert_int_equal(len, len_more);
            assert_memory_equal(bytes, bytes_more, len);
            free(bytes_more);
            ivf_centroids_destroy(more);
        }
        free(bytes);
        ivf_centroids_destroy(one);
    }
    free(s.x);
}

/* The nearest of all centroids, counted out. */
static uint32_t nearest(const struct ivf_centroids *c, const float *x,
                        float *key)
{
    uint32_t i, best = 0;

    *key = INFINITY;
    for (i = 0; i < c->n; i++) {
        float d = ivf_key(c, i, x);

        if (d < *key) {
            *key = d;
            best = i;
        }
    }
    return best;
}

static void check_assignment(const struct sample *s, enum vec_metric metric,
                             uint32_t n_lists)
{
    struct ivf_centroids *c = train(s, metric, n_lists, 2);
    struct ivf_scratch *scratch = ivf_scratch_create();
    uint32_t *lists = malloc(sizeof(*lists) * s->n), again;
    float *keys = malloc(sizeof(*keys) * s->n), key;
    uint32_t i, off = 0, n = s->n < 500 ? s->n : 500;

    ivf_assign(c, s->x, s->n, lists, keys, scratch);
    for (i = 0; i < n; i++) {
        const float *x = s->x + (size_t)i * s->dim;
        uint32_t best = nearest(c, x, &key);

        assert_true(lists[i] < c->n);
        assert_true(keys[i] == ivf_key(c, lists[i], x));
        if (lists[i] != best && keys[i] != key) {
            off++;
            assert_true(keys[i] <= key * (metric == VEC_L1 ? 1.3f : 1.1f));
        }
        ivf_assign(c, x, 1, &again, NULL, scratch);
        assert_int_equal(again, lists[i]);
    }
    assert_true(off * 100 <= n); /* 1 % at most */
    free(lists);
    free(keys);
    ivf_scratch_destroy(scratch);
    ivf_centroids_destroy(c);
}

static void rows_go_to_the_nearest_list(void **state)
{
    struct sample s = make_sample(3000, 24, 50, 0, 2);
    uint32_t m;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        check_assignment(&s, metrics[m], 64);
        check_assignment(&s, metrics[m], 1);
    }
    free(s.x);
}

static void a_common_part_of_all_rows_costs_no_precision(void **state)
{
    struct sample s = make_sample(3000, 24, 50, 100, 3);

    (void)state;
    check_assignment(&s, VEC_L2, 64);
    check_assignment(&s, VEC_L1, 64);
    check_assignment(&s, VEC_COSINE, 64);
    free(s.x);
}

static void any_dimension_is_trained(void **state)
{
    static const uint32_t dims[] = {1, 2, 3, 7, 100, 1536, 65536};
    uint32_t i, m;

    (void)state;
    for (i = 0; i < ARRAY_LEN(dims); i++) {
        struct sample s =
            make_sample(dims[i] > 2000 ? 20 : 300, dims[i], 5, 0, i);

        for (m = 0; m < ARRAY_LEN(metrics); m++) {
            struct ivf_centroids *c = train(&s, metrics[m], 8, 2);

            ivf_centroids_destroy(c);
        }
        free(s.x);
    }
}

static void rows_that_are_all_equal_are_trained(void **state)
{
    struct sample s = make_sample(600, 16, 5, 0, 4);
    uint32_t m, i;

    (void)state;
    for (i = 1; i < s.n; i++) {
        memcpy(s.x + i * s.dim, s.x, s.dim * sizeof(float));
    }
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        ivf_centroids_destroy(train(&s, metrics[m], 50, 2));
    }
    memset(s.x, 0, sizeof(float) * s.n * s.dim);
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        ivf_centroids_destroy(train(&s, metrics[m], 50, 2));
        check_assignment(&s, metrics[m], 600);
    }
    free(s.x);
}

static void queries_find_their_nearest_lists_in_order(void **state)
{
    enum { N_LISTS = 300, DIM = 20, NQ = 5 };
    struct sample s = make_sample(3000, DIM, 50, 0, 6);
    struct ivf_scratch *scratch = ivf_scratch_create();
    struct ivf_near one[N_LISTS], many[NQ * N_LISTS];
    const float *queries[NQ];
    uint32_t m, i, j, n;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        struct ivf_centroids *c = train(&s, metrics[m], N_LISTS, 1);

        for (n = 1; n < 2 * N_LISTS; n = n * 2 + 1) {
            uint32_t expect = n < N_LISTS ? n : N_LISTS;

            for (j = 0; j < NQ; j++) {
                queries[j] = s.x + (size_t)j * 17 * DIM;
            }
            n = n < N_LISTS ? n : N_LISTS;
            assert_int_equal(ivf_probe_many(c, queries, NQ, n, many, scratch),
                             expect);
            for (j = 0; j < NQ; j++) {
                float key;

                assert_int_equal(ivf_probe(c, queries[j], n, one, scratch),
                                 expect);
                for (i = 0; i < expect; i++) {
                    assert_int_equal(one[i].list, many[j * n + i].list);
                    assert_true(one[i].key == many[j * n + i].key);
                    assert_true(i == 0 || one[i].key >= one[i - 1].key);
                }
                nearest(c, queries[j], &key);
                assert_true(ivf_key(c, one[0].list, queries[j]) <=
                            key * 1.1f + 0.01f);
            }
            if (n == N_LISTS) {
                break;
            }
        }
        ivf_centroids_destroy(c);
    }
    ivf_scratch_destroy(scratch);
    free(s.x);
}

/* Most groups have one list then, and leave fifteen places over. */
static void lopsided_groups_give_as_many_lists_as_asked_for(void **state)
{
    enum { N = 1600, ALONE = 39, STEP = 40, DIM = 8, PROBES = 100 };
    float *rows = calloc((size_t)N * DIM, sizeof(*rows));
    struct ivf_scratch *scratch = ivf_scratch_create();
    struct ivf_near near[PROBES];
    struct ivf_centroids *c;
    bool seen[N];
    struct rng rng;
    uint32_t i, j, n;

    (void)state;
    rng_seed(&rng, 9);
    for (i = 0; i < N * DIM; i++) {
        rows[i] = 5000; /* most of them, and far away */
    }
    for (i = 0; i < ALONE; i++) {
        for (j = 0; j < DIM; j++) {
            rows[(size_t)i * STEP * DIM + j] = (float)(100 * rng_normal(&rng));
        }
    }
    assert_int_equal(ivf_centroids_create(VEC_L2, DIM, N, rows, NULL, &c),
                     ERR_OK);
    for (i = 0; i < ALONE; i++) {
        n = ivf_probe(c, rows + (size_t)i * STEP * DIM, PROBES, near, scratch);
        assert_int_equal(n, PROBES);
        memset(seen, 0, sizeof(seen));
        for (j = 0; j < n; j++) {
            assert_true(near[j].list < N && !seen[near[j].list]);
            seen[near[j].list] = true;
        }
    }
    ivf_centroids_destroy(c);
    ivf_scratch_destroy(scratch);
    free(rows);
}

static void bytes_give_the_same_centroids(void **state)
{
    struct sample s = make_sample(2000, 33, 50, 0, 7);
    uint32_t m;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        struct ivf_centroids *c = train(&s, metrics[m], 50, 1), *back;
        size_t len, len_back;
        uint8_t *bytes = bytes_of_centroids(c, &len), *bytes_back;

        assert_int_equal(ivf_centroids_read(bytes, len, metrics[m], 33, &back),
                         ERR_OK);
        bytes_back = bytes_of_centroids(back, &len_back);
        assert_int_equal(len, len_back);
        assert_memory_equal(bytes, bytes_back, len);
        assert_memory_equal(c->groups.blocks, back->groups.blocks,
                            c->groups.start[c->groups.n] *
                                vec_near_block_bytes(33));
        free(bytes);
        free(bytes_back);
        ivf_centroids_destroy(c);
        ivf_centroids_destroy(back);
    }
    free(s.x);
}

static void damaged_bytes_are_refused_or_harmless(void **state)
{
    struct sample s = make_sample(500, 9, 50, 0, 8);
    struct ivf_centroids *c = train(&s, VEC_COSINE, 20, 1), *back;
    struct ivf_scratch *scratch = ivf_scratch_create();
    struct rng rng;
    size_t len, i;
    uint8_t *bytes = bytes_of_centroids(c, &len);
    uint32_t list;

    (void)state;
    cm_seed(&rng);
    assert_int_equal(ivf_centroids_read(bytes, len, VEC_L2, 9, &back),
                     ERR_CORRUPT);
    assert_int_equal(ivf_centroids_read(bytes, len, VEC_COSINE, 8, &back),
                     ERR_CORRUPT);
    for (i = 0; i < len; i++) {
        uint8_t *copy = malloc(i ? i : 1); /* so that overreads are seen */

        memcpy(copy, bytes, i);
        assert_int_equal(ivf_centroids_read(copy, i, VEC_COSINE, 9, &back),
                         ERR_CORRUPT);
        free(copy);
    }
    for (i = 0; i < 20000; i++) {
        size_t at = rng_below(&rng, i % 2 ? 20 : len);
        uint8_t was = bytes[at];

        bytes[at] = (uint8_t)rng_next(&rng);
        if (ivf_centroids_read(bytes, len, VEC_COSINE, 9, &back) == ERR_OK) {
            ivf_assign(back, s.x, 1, &list, NULL, scratch);
            assert_true(list < back->n);
            ivf_centroids_destroy(back);
        }
        bytes[at] = was;
    }
    free(bytes);
    ivf_scratch_destroy(scratch);
    ivf_centroids_destroy(c);
    free(s.x);
}

static void odd_vectors_get_a_list(void **state)
{
    struct sample s = make_sample(500, 9, 50, 0, 8);
    struct ivf_scratch *scratch = ivf_scratch_create();
    static const float odd[] = {0, 1e-45f, 1e-30f, 1e18f, 1e30f, 3e38f};
    struct ivf_near near[3];
    uint32_t m, i, j, list;
    float x[9], key;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        struct ivf_centroids *c = train(&s, metrics[m], 20, 1);

        for (i = 0; i < ARRAY_LEN(odd); i++) {
            for (j = 0; j < 9; j++) {
                x[j] = j % 2 ? odd[i] : -odd[i];
            }
            ivf_assign(c, x, 1, &list, &key, scratch);
            assert_true(list < 20);
            assert_int_equal(ivf_probe(c, x, 3, near, scratch), 3);
            assert_true(near[2].list < 20);
        }
        ivf_centroids_destroy(c);
    }
    ivf_scratch_destroy(scratch);
    free(s.x);
}

static void training_that_is_abandoned_leaves_nothing(void **state)
{
    struct sample s = make_sample(500, 9, 50, 0, 8);
    struct kmeans_options o = {.metric = VEC_L2,
                               .dim = 9,
                               .n_lists = 20,
                               .n_rows = 500,
                               .fetch = fetch,
                               .arg = &s};
    struct ivf_scratch *scratch = ivf_scratch_create();
    size_t before = mem_used();
    uint32_t phases, i, u;

    (void)state;
    for (phases = 0; phases < 40; phases++) {
        struct kmeans *k = kmeans_begin(&o);

        for (i = 0; i < phases && kmeans_units(k) > 0; i++) {
            for (u = 0; u < kmeans_units(k); u++) {
                kmeans_unit(k, u, scratch);
            }
            kmeans_next(k);
        }
        kmeans_abandon(k);
    }
    for (i = 1; i < 20; i++) { /* memory that runs out */
        struct kmeans *k;

        mem_fail_after(i);
        k = kmeans_begin(&o);
        kmeans_abandon(k);
    }
    mem_fail_after(0);
    ivf_scratch_destroy(scratch);
    scratch = NULL;
    assert_true(mem_used() <= before);
    free(s.x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_trains_the_same),
        cmocka_unit_test(rows_go_to_the_nearest_list),
        cmocka_unit_test(a_common_part_of_all_rows_costs_no_precision),
        cmocka_unit_test(any_dimension_is_trained),
        cmocka_unit_test(rows_that_are_all_equal_are_trained),
        cmocka_unit_test(queries_find_their_nearest_lists_in_order),
        cmocka_unit_test(lopsided_groups_give_as_many_lists_as_asked_for),
        cmocka_unit_test(bytes_give_the_same_centroids),
        cmocka_unit_test(damaged_bytes_are_refused_or_harmless),
        cmocka_unit_test(odd_vectors_get_a_list),
        cmocka_unit_test(training_that_is_abandoned_leaves_nothing),
    };

    if (vec_simd_select("auto") != ERR_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
