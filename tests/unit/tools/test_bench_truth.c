/* Exact neighbours and recall, against sorting all distances by hand. */
#include "unit/cm.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/bench/bench_recall.h"
#include "tools/bench/bench_truth.h"

enum { DIM = 9, K = 10 };

static struct bench_vectors base, query;

static int make_sets(void **state)
{
    struct err_ctx ctx;

    (void)state;
    if (vec_simd_select("auto") ||
        bench_vectors_random(BENCH_RANDOM_GAUSSIAN, 0, 5000, 5000, DIM, 1, 2,
                             &base, &ctx) ||
        bench_vectors_random(BENCH_RANDOM_GAUSSIAN, 5000, 37, 5000, DIM, 1, 1,
                             &query, &ctx)) {
        return -1;
    }
    /* A pair of equal rows, and a zero row. */
    memcpy(base.heap + 17 * DIM, base.heap + 4011 * DIM, DIM * sizeof(float));
    memset(base.heap + 99 * DIM, 0, DIM * sizeof(float));
    return 0;
}

static int free_sets(void **state)
{
    (void)state;
    bench_vectors_close(&base);
    bench_vectors_close(&query);
    return 0;
}

static struct bench_question question(enum vec_metric metric)
{
    return (struct bench_question){
        .base = &base, .query = &query, .metric = metric, .n = base.n, .k = K};
}

static double distance(const struct bench_question *q, uint64_t i, uint64_t row)
{
    const float *x = query.heap + i * DIM, *y = base.heap + row * DIM;
    double dot = 0, xx = 0, yy = 0, l1 = 0, l2 = 0;
    int j;

    for (j = 0; j < DIM; j++) {
        dot += (double)x[j] * y[j];
        xx += (double)x[j] * x[j];
        yy += (double)y[j] * y[j];
        l1 += fabs((double)x[j] - y[j]);
        l2 += ((double)x[j] - y[j]) * ((double)x[j] - y[j]);
    }
    switch (q->metric) {
    case VEC_COSINE:
        return xx > 0 && yy > 0 ? 1 - dot / sqrt(xx * yy) : 1;
    case VEC_IP:
        return -dot;
    case VEC_L1:
        return l1;
    default:
        return l2;
    }
}

/* Every neighbour is at the distance that its rank has among all rows. */
static void assert_exact(const struct bench_question *q,
                         const struct bench_truth *t)
{
    double *all = mem_calloc(q->n, sizeof(*all));
    uint64_t i, row;
    uint32_t j;

    for (i = 0; i < query.n; i++) {
        for (j = 0; j < q->k; j++) {
            uint32_t id = t->ids[i * q->k + j];
            uint64_t nearer = 0;

            assert_in_range(id, q->first, q->first + q->n - 1);
            for (row = 0; row < q->n; row++) {
                nearer +=
                    distance(q, i, q->first + row) < distance(q, i, id) - 1e-4;
            }
            assert_true(nearer <= j);
        }
    }
    mem_free(all);
}

static void truth_is_what_sorting_all_distances_gives(void **state)
{
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP,
                                              VEC_L1};
    size_t m;

    (void)state;
    for (m = 0; m < ARRAY_LEN(metrics); m++) {
        struct bench_question q = question(metrics[m]);
        struct bench_truth t;
        struct err_ctx ctx;

        assert_int_equal(bench_truth_compute(&q, 1, &t, &ctx), 0);
        assert_exact(&q, &t);
        bench_truth_free(&t);
    }
}

static void a_range_of_rows_has_its_own_truth(void **state)
{
    struct bench_question q = question(VEC_L2);
    struct bench_truth t;
    struct err_ctx ctx;

    (void)state;
    q.first = 1234;
    q.n = 777;
    assert_int_equal(bench_truth_compute(&q, 2, &t, &ctx), 0);
    assert_exact(&q, &t);
    bench_truth_free(&t);
}

static void truth_does_not_depend_on_the_threads(void **state)
{
    struct bench_question q = question(VEC_COSINE);
    struct bench_truth one, three;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(bench_truth_compute(&q, 1, &one, &ctx), 0);
    assert_int_equal(bench_truth_compute(&q, 3, &three, &ctx), 0);
    assert_memory_equal(one.ids, three.ids, query.n * K * sizeof(uint32_t));
    bench_truth_free(&one);
    bench_truth_free(&three);
}

static void a_set_smaller_than_k_is_found_whole(void **state)
{
    struct bench_question q = question(VEC_L2);
    uint32_t answer[] = {2, 0, 1};
    struct bench_truth t;
    struct err_ctx ctx;

    (void)state;
    q.n = 3;
    assert_int_equal(bench_truth_compute(&q, 2, &t, &ctx), 0);
    assert_int_equal(t.ids[3], UINT32_MAX);
    assert_true(bench_truth_recall(&q, &t, 0, answer, 3) == 1);
    assert_true(fabs(bench_truth_recall(&q, &t, 0, answer, 2) - 2.0 / 3) <
                1e-9);
    bench_truth_free(&t);
}

static void rows_that_are_not_finite_are_refused(void **state)
{
    struct bench_question q = question(VEC_L2);
    float saved = base.heap[321 * DIM];
    struct bench_truth t;
    struct err_ctx ctx = {""};

    (void)state;
    base.heap[321 * DIM] = NAN;
    assert_int_equal(bench_truth_compute(&q, 1, &t, &ctx), ERR_NOT_FINITE);
    assert_non_null(strstr(ctx.text, "row 321"));
    base.heap[321 * DIM] = saved;
}

static void recall_is_the_share_of_true_neighbours(void **state)
{
    struct bench_question q = question(VEC_COSINE);
    uint32_t answer[K];
    struct bench_truth t;
    struct err_ctx ctx;
    uint32_t j;

    (void)state;
    assert_int_equal(bench_truth_compute(&q, 2, &t, &ctx), 0);
    memcpy(answer, t.ids, sizeof(answer));
    assert_true(bench_truth_recall(&q, &t, 0, answer, K) == 1);
    assert_true(bench_truth_recall(&q, &t, 0, answer, 4) == 0.4);
    assert_true(bench_truth_recall(&q, &t, 0, answer, 0) == 0);
    /* The zero row is at distance 1 from everything: a miss. */
    answer[3] = 99;
    answer[5] = UINT32_MAX;
    assert_true(bench_truth_recall(&q, &t, 0, answer, K) == 0.8);
    for (j = 0; j < K; j++) {
        answer[j] = t.ids[0];
    }
    assert_true(bench_truth_recall(&q, &t, 0, answer, K) == 0.1);
    bench_truth_free(&t);
}

/* Rows 17 and 4011 are equal: whichever is in the truth, the other one is as
 * good in its place. */
static void a_row_as_near_as_the_last_neighbour_is_a_hit(void **state)
{
    struct bench_question q = question(VEC_L2);
    struct bench_vectors twin = {.rows =
                                     (const uint8_t *)(base.heap + 17 * DIM),
                                 .stride = DIM * sizeof(float),
                                 .n = 1,
                                 .dim = DIM};
    uint32_t answer;
    struct bench_truth t;
    struct err_ctx ctx;

    (void)state;
    q.query = &twin;
    q.k = 1;
    assert_int_equal(bench_truth_compute(&q, 2, &t, &ctx), 0);
    assert_int_equal(t.ids[0], 17);
    answer = 4011;
    assert_true(bench_truth_recall(&q, &t, 0, &answer, 1) == 1);
    answer = 18;
    assert_true(bench_truth_recall(&q, &t, 0, &answer, 1) == 0);
    bench_truth_free(&t);
}

/* ---- the cache ---------------------------------------------------------- */

static char folder[64];

/* The single file of the folder. */
static void cache_file(char out[400])
{
    DIR *d = opendir(folder);
    const struct dirent *e;

    assert_non_null(d);
    out[0] = '\0';
    while ((e = readdir(d))) {
        if (e->d_name[0] != '.') {
            assert_int_equal(out[0], '\0');
            snprintf(out, 400, "%s/%s", folder, e->d_name);
        }
    }
    closedir(d);
}

static void assert_get(const struct bench_question *q, bool want_computed)
{
    struct bench_truth t, exact;
    struct err_ctx ctx;
    bool computed;

    assert_int_equal(bench_truth_get(q, folder, 2, &t, &computed, &ctx), 0);
    assert_int_equal(computed, want_computed);
    assert_int_equal(bench_truth_compute(q, 1, &exact, &ctx), 0);
    assert_int_equal(t.k, q->k);
    assert_memory_equal(t.ids, exact.ids, t.nq * t.k * sizeof(*t.ids));
    bench_truth_free(&t);
    bench_truth_free(&exact);
}

static void computed_truth_is_found_in_the_cache(void **state)
{
    struct bench_question q = question(VEC_COSINE);
    char file[400];

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/vectra-truth-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_get(&q, true);
    assert_get(&q, false);
    q.k = 3; /* one file serves many k */
    assert_get(&q, false);
    cache_file(file);

    /* A damaged file is computed anew, and replaced. */
    {
        FILE *f = fopen(file, "r+b");

        assert_non_null(f);
        fseek(f, 100, SEEK_SET);
        fputc(0x5a, f);
        fclose(f);
    }
    assert_get(&q, true);
    assert_get(&q, false);
    assert_int_equal(truncate(file, 1000), 0);
    assert_get(&q, true);
    unlink(file);

    /* Another range, metric or content is another file. */
    q.n = 4000;
    assert_get(&q, true);
    cache_file(file);
    unlink(file);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- other sources ------------------------------------------------------ */

static void truth_is_read_from_ivecs(void **state)
{
    struct bench_question q = question(VEC_COSINE);
    char path[] = "/tmp/vectra-truth-XXXXXX.ivecs";
    int fd = mkstemps(path, 6);
    uint32_t width = K + 2, far = 4999, past = 5000;
    struct bench_truth exact, t;
    struct err_ctx ctx = {""};
    uint64_t i;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(bench_truth_compute(&q, 1, &exact, &ctx), 0);
    for (i = 0; i < query.n; i++) {
        assert_int_equal(write(fd, &width, 4), 4);
        assert_int_equal(write(fd, exact.ids + i * K, 4 * K), 4 * K);
        assert_int_equal(write(fd, &far, 4), 4);
        assert_int_equal(write(fd, &far, 4), 4);
    }
    assert_int_equal(bench_truth_read(&q, path, &t, &ctx), 0);
    assert_memory_equal(t.ids, exact.ids, query.n * K * sizeof(uint32_t));
    assert_true(bench_truth_recall(&q, &t, 5, exact.ids + 5 * K, K) == 1);
    bench_truth_free(&t);

    q.k = K + 3;
    assert_int_equal(bench_truth_read(&q, path, &t, &ctx), ERR_CORRUPT);
    q.k = K;
    assert_int_equal(pwrite(fd, &past, 4, 8), 4);
    assert_int_equal(bench_truth_read(&q, path, &t, &ctx), ERR_CORRUPT);
    assert_non_null(strstr(ctx.text, "row 5000"));
    assert_int_equal(ftruncate(fd, 50), 0);
    assert_int_equal(bench_truth_read(&q, path, &t, &ctx), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(bench_truth_read(&q, path, &t, &ctx), ERR_CORRUPT);
    close(fd);
    unlink(path);
    bench_truth_free(&exact);
}

/* ---- answers ------------------------------------------------------------ */

/* Hands a reply to answers of one query or a batch of two. */
static void take(struct bench_answers *a, uint64_t index, const char *reply)
{
    struct resp_reply_parser p;
    size_t len;

    resp_reply_init(&p, true, 1000, 1000);
    assert_int_equal(
        resp_reply_parse(&p, (const uint8_t *)reply, strlen(reply), &len), 0);
    assert_int_equal(len, strlen(reply));
    bench_answers_take(a, index, resp_reply_root(&p), (const uint8_t *)reply);
    resp_reply_deinit(&p);
}

static void answers_are_read_from_every_shape_of_reply(void **state)
{
    struct bench_dataset d = {.base = base, .query = query};
    struct bench_template_env env = {.key = "k",
                                     .k = 3,
                                     .dim = DIM,
                                     .batch = 1,
                                     .vectors = &query,
                                     .vec_n = query.n};
    struct bench_template *plain, *scored;
    struct bench_answers a;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(bench_template_compile("S {vec}", &env, &plain, &ctx), 0);
    assert_int_equal(
        bench_template_compile("S {vec} WITHSCORES", &env, &scored, &ctx), 0);
    bench_answers_init(&a, &d, plain, false, query.n, 3);
    take(&a, 0, "*2\r\n$1\r\n7\r\n$3\r\nfoo\r\n");
    assert_int_equal(a.n_found[0], 2);
    assert_int_equal(a.ids[0], 7);
    assert_int_equal(a.ids[1], UINT32_MAX);
    take(&a, 1, "%1\r\n$2\r\n11\r\n,0.5\r\n");
    assert_int_equal(a.n_found[1], 1);
    assert_int_equal(a.ids[3], 11);
    take(&a, 2, "*4\r\n+1\r\n+2\r\n+3\r\n+4\r\n");
    assert_int_equal(a.n_found[2], 3); /* more than k are not kept */
    take(&a, 3, "*0\r\n");
    assert_int_equal(a.n_found[3], 0);
    take(&a, 4, "-ERR x\r\n");
    assert_int_equal(a.n_found[4], BENCH_UNANSWERED);
    a.request = scored;
    take(&a, 5, "*4\r\n+1\r\n+0.9\r\n+2\r\n+0.8\r\n");
    assert_int_equal(a.n_found[5], 2);
    assert_int_equal(a.ids[5 * 3 + 1], 2);
    bench_answers_deinit(&a);
    bench_template_destroy(plain);
    bench_template_destroy(scored);
}

static void a_batch_answers_its_queries_in_order(void **state)
{
    struct bench_dataset d = {.base = base, .query = query};
    struct bench_template_env env = {.key = "k",
                                     .k = 3,
                                     .dim = DIM,
                                     .batch = 2,
                                     .vectors = &query,
                                     .vec_n = query.n};
    struct bench_template *t;
    struct bench_answers a;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(bench_template_compile("S {vecs}", &env, &t, &ctx), 0);
    bench_answers_init(&a, &d, t, true, query.n, 3);
    take(&a, 3, "*2\r\n*1\r\n+5\r\n*2\r\n+6\r\n+7\r\n");
    assert_int_equal(a.n_found[6], 1);
    assert_int_equal(a.ids[18], 5);
    assert_int_equal(a.n_found[7], 2);
    assert_int_equal(a.ids[22], 7);
    take(&a, 0, "*1\r\n*1\r\n+5\r\n"); /* not the number asked */
    assert_int_equal(a.n_found[0], BENCH_UNANSWERED);
    bench_answers_deinit(&a);
    bench_template_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truth_is_what_sorting_all_distances_gives),
        cmocka_unit_test(a_range_of_rows_has_its_own_truth),
        cmocka_unit_test(truth_does_not_depend_on_the_threads),
        cmocka_unit_test(a_set_smaller_than_k_is_found_whole),
        cmocka_unit_test(rows_that_are_not_finite_are_refused),
        cmocka_unit_test(recall_is_the_share_of_true_neighbours),
        cmocka_unit_test(a_row_as_near_as_the_last_neighbour_is_a_hit),
        cmocka_unit_test(computed_truth_is_found_in_the_cache),
        cmocka_unit_test(truth_is_read_from_ivecs),
        cmocka_unit_test(answers_are_read_from_every_shape_of_reply),
        cmocka_unit_test(a_batch_answers_its_queries_in_order),
    };

    return cmocka_run_group_tests(tests, make_sets, free_sets);
}
