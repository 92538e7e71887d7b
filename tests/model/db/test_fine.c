/* Recall of Q8 sets on vectors that codes alone do not put in order: of one
 * sign, or with components of very different size. And small sets, which answer
 * by codes alone, as Redis does. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/search/search_impl.h"
#include "model/db/loop.h"

enum { ROWS = 4000, QUERIES = 100, K = 10, LATENT = 14, CLUSTERS = 40 };

struct world {
    struct vset *set;
    struct rng rng;
    uint32_t dim;
    enum vec_metric metric;
    float *x; /* ROWS and then QUERIES */
};

static struct world w;

static void begin(enum vec_metric metric, uint32_t dim, uint64_t seed)
{
    struct vset_options set = {.type = VEC_I8,
                               .metric = metric,
                               .dim = dim,
                               .m = 16,
                               .ef = 100,
                               .index = VSET_INDEX_FLAT};

    memset(&w, 0, sizeof(w));
    rng_seed(&w.rng, seed);
    w.dim = dim;
    w.metric = metric;
    loop_begin(1, 2, 1);
    w.set = vset_create(loop.ks, loop.ks->dbs[0], &set);
    w.x = malloc((size_t)(ROWS + QUERIES) * dim * sizeof(float));
    assert_non_null(w.x);
}

static void end(void)
{
    vset_validate(w.set);
    vset_drop(w.set);
    loop_end();
    free(w.x);
}

/* ---- vectors ------------------------------------------------------------- */

static float *row(size_t i)
{
    return w.x + i * w.dim;
}

static double normal(void)
{
    return rng_normal(&w.rng);
}

static void clip_to_whole(float *x, double length, double most)
{
    double sum = 0;
    uint32_t j;

    for (j = 0; j < w.dim; j++) {
        sum += (double)x[j] * (double)x[j];
    }
    for (j = 0; j < w.dim; j++) {
        double v = floor((double)x[j] * length / sqrt(sum));

        x[j] = (float)(v > most ? most : v);
    }
}

/* Like SIFT: whole numbers from 0 to 218, many of them 0, in clusters, of few
 * degrees of freedom. */
static void make_histograms(bool whole)
{
    float *mix = malloc(LATENT * w.dim * sizeof(float));
    float *base = malloc(w.dim * sizeof(float));
    double centre[CLUSTERS][LATENT];
    size_t i, l;
    uint32_t j;

    for (i = 0; i < LATENT * (size_t)w.dim; i++) {
        mix[i] = (float)(normal() * 2 / sqrt(LATENT));
    }
    for (j = 0; j < w.dim; j++) {
        base[j] = (float)(normal() - 1.2);
    }
    for (i = 0; i < CLUSTERS; i++) {
        for (l = 0; l < LATENT; l++) {
            centre[i][l] = 0.9 * normal();
        }
    }
    for (i = 0; i < ROWS + QUERIES; i++) {
        const double *c = centre[rng_below(&w.rng, CLUSTERS)];
        double z[LATENT];

        for (l = 0; l < LATENT; l++) {
            z[l] = c[l] + 0.45 * normal();
        }
        for (j = 0; j < w.dim; j++) {
            double v = (double)base[j] + 0.25 * normal();

            for (l = 0; l < LATENT; l++) {
                v += (double)mix[l * w.dim + j] * z[l];
            }
            row(i)[j] = v > 0 ? (float)v : 0;
        }
        if (whole) {
            clip_to_whole(row(i), 512, 218);
        }
    }
    free(mix);
    free(base);
}

/* Like pictures of one thing in the middle: 0 to 255, most variation there. */
static void make_pictures(void)
{
    uint32_t side = (uint32_t)sqrt((double)w.dim);
    double wave[LATENT][3];
    double bright[CLUSTERS][LATENT];
    size_t i, l;
    uint32_t j;

    for (l = 0; l < LATENT; l++) {
        for (j = 0; j < 3; j++) {
            wave[l][j] = normal();
        }
    }
    for (i = 0; i < CLUSTERS; i++) {
        for (l = 0; l < LATENT; l++) {
            bright[i][l] = normal();
        }
    }
    for (i = 0; i < ROWS + QUERIES; i++) {
        const double *c = bright[rng_below(&w.rng, CLUSTERS)];
        double z[LATENT];

        for (l = 0; l < LATENT; l++) {
            z[l] = c[l] + 0.3 * normal();
        }
        for (j = 0; j < w.dim; j++) {
            double down = (double)(j / side) / side - 0.5;
            double over = (double)(j % side) / side - 0.5;
            double v = 0.2 + 0.02 * normal();

            for (l = 0; l < LATENT; l++) {
                v += z[l] / 3 *
                     sin(wave[l][0] * 8 * down + wave[l][1] * 8 * over +
                         wave[l][2] * 6);
            }
            v *= 250 * exp(-8 * over * over - 4 * down * down);
            row(i)[j] = v < 3 ? 0 : v > 255 ? 255 : (float)floor(v);
        }
    }
}

/* Components of very different size. */
static void make_skewed(void)
{
    double size[1024];
    size_t i;
    uint32_t j;

    for (j = 0; j < w.dim; j++) {
        size[j] = exp(normal());
    }
    for (i = 0; i < ROWS + QUERIES; i++) {
        for (j = 0; j < w.dim; j++) {
            row(i)[j] = (float)(size[j] * normal());
        }
    }
}

static void add_rows(size_t from, size_t to)
{
    size_t i;

    for (i = from; i < to; i++) {
        char name[16];
        bool added;
        struct vset_element e = {.vector = row(i)};

        e.name = bytes_of(name, (size_t)snprintf(name, 16, "%zu", i));
        assert_int_equal(vset_add(w.set, &e, &added), ERR_OK);
        assert_true(added);
    }
}

/* ---- searches ------------------------------------------------------------ */

struct answer {
    size_t n;
    struct {
        size_t name;
        double distance;
    } hits[K];
};

static void write_hits(const struct search *s, const void *data,
                       struct buf *out)
{
    struct answer a = {.n = search_hit_count(s)};
    size_t i, j;

    (void)data;
    assert_true(a.n <= K);
    for (i = 0; i < a.n; i++) {
        struct search_hit hit;

        search_hit_read(s, i, &hit);
        for (j = 0; j < hit.name.len; j++) {
            a.hits[i].name =
                a.hits[i].name * 10 + (size_t)(hit.name.data[j] - '0');
        }
        a.hits[i].distance = hit.distance;
    }
    buf_append(out, &a, sizeof(a));
}

static void take_answer(struct search *s, void *arg)
{
    memcpy(arg, search_reply(s)->data, sizeof(struct answer));
}

static void ask(const struct search_request *request, struct answer *a)
{
    struct search_request r = *request;
    struct search *s;

    r.k = K;
    r.format = write_hits;
    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    search_run(s, take_answer, a);
}

static double true_distance(const float *a, const float *b)
{
    double dot = 0, aa = 0, bb = 0, square = 0;
    uint32_t j;

    for (j = 0; j < w.dim; j++) {
        double x = (double)a[j], y = (double)b[j];

        dot += x * y;
        aa += x * x;
        bb += y * y;
        square += (x - y) * (x - y);
    }
    return w.metric == VEC_L2 ? sqrt(square)
           : w.metric == VEC_IP
               ? 1 - dot
               : 1 - (aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0);
}

/* The distance of the k-th nearest, of each query. */
static double *nearest(size_t n)
{
    double *kth = malloc(QUERIES * sizeof(*kth));
    size_t i, j, q;

    for (q = 0; q < QUERIES; q++) {
        double best[K + 1];

        for (i = 0; i < n; i++) {
            double d = true_distance(row(ROWS + q), row(i));

            for (j = i < K ? i : K; j > 0 && best[j - 1] > d; j--) {
                best[j] = best[j - 1];
            }
            best[j] = d;
        }
        kth[q] = best[K - 1];
    }
    return kth;
}

static double recall(const double *kth, bool exact, uint32_t ef)
{
    size_t found = 0, q, i;

    for (q = 0; q < QUERIES; q++) {
        struct answer a;

        ask(&(struct search_request){.vector = row(ROWS + q),
                                     .slot = SLOT_NONE,
                                     .exclude = SLOT_NONE,
                                     .exact = exact,
                                     .ef = ef,
                                     .radius = (double)INFINITY},
            &a);
        assert_int_equal(a.n, K);
        for (i = 0; i < a.n; i++) {
            double d = true_distance(row(ROWS + q), row(a.hits[i].name));

            found += d <= kth[q];
            assert_true(i == 0 || a.hits[i].distance >= a.hits[i - 1].distance);
            if (w.metric == VEC_COSINE) {
                assert_float_equal(a.hits[i].distance, d, 0.005);
            }
        }
    }
    return (double)found / (QUERIES * K);
}

static void build_graph(void)
{
    struct graph_info info;

    assert_int_equal(graph_begin(w.set), ERR_OK);
    do {
        graph_pump(w.set, true);
        while (loop.ks->n_graph_jobs > 0) {
            loop_wait();
        }
        graph_info_read(w.set, &info);
    } while (info.tail || w.set->graph->job);
}

static void check_recall(const char *what, double floor)
{
    double *kth = nearest(ROWS);
    double by_scan, by_graph;

    add_rows(0, ROWS);
    by_scan = recall(kth, true, 0);
    build_graph();
    by_graph = recall(kth, false, 800);
    printf("%s %s: %.4f by scan, %.4f by graph\n", what,
           vec_metric_name(w.metric), by_scan, by_graph);
    assert_true(by_scan >= floor);
    assert_true(by_graph >= floor);
    free(kth);
}

/* ---- tests --------------------------------------------------------------- */

static void histograms_are_found(void **state)
{
    enum vec_metric m;

    (void)state;
    for (m = VEC_COSINE; m <= VEC_IP; m++) {
        begin(m, 128, 7);
        make_histograms(true);
        check_recall("histograms", 0.999); /* whole numbers are kept exactly */
        end();
        begin(m, 128, 7);
        make_histograms(false);
        check_recall("shares", 0.99);
        end();
    }
}

static void pictures_are_found(void **state)
{
    enum vec_metric m;

    (void)state;
    for (m = VEC_COSINE; m <= VEC_L2; m++) {
        begin(m, 400, 8);
        make_pictures();
        check_recall("pictures", 0.999);
        end();
    }
}

static void skewed_vectors_are_found(void **state)
{
    enum vec_metric m;

    (void)state;
    for (m = VEC_COSINE; m <= VEC_IP; m++) {
        begin(m, 128, 9);
        make_skewed();
        check_recall("skewed", 0.99);
        end();
    }
}

static void ask_for(const float *x, bool exact, struct answer *a)
{
    ask(&(struct search_request){.vector = x,
                                 .slot = SLOT_NONE,
                                 .exclude = SLOT_NONE,
                                 .exact = exact,
                                 .radius = (double)INFINITY},
        a);
}

static void remove_row(size_t i)
{
    char name[16];
    bool removed;

    assert_int_equal(
        vset_remove(w.set, bytes_of(name, (size_t)snprintf(name, 16, "%zu", i)),
                    &removed),
        ERR_OK);
    assert_true(removed);
}

/* Whether the distances of an answer are those of codes, to the last digit. */
static bool is_by_codes(const float *x, const struct answer *a)
{
    const struct vec_format *f = vset_format(w.set);
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(f));
    struct vec_query *q;
    bool all = true;
    size_t i;

    assert_int_equal(vec_query_init(f, x, memory, &q), ERR_OK);
    for (i = 0; i < a->n; i++) {
        char name[16];
        slot_id slot = vset_find(
            w.set,
            bytes_of(name, (size_t)snprintf(name, 16, "%zu", a->hits[i].name)));
        float key;

        vec_scan(q, vset_row(w.set, slot), 1, &key);
        all &= vec_distance(f, key) == a->hits[i].distance;
    }
    free(memory);
    return all;
}

static void small_sets_answer_by_codes_alone(void **state)
{
    struct answer a;
    enum vec_metric m;
    size_t i;

    (void)state;
    for (m = VEC_COSINE; m < VEC_METRIC_COUNT; m++) {
        begin(m, 24, 10);
        make_skewed();
        add_rows(0, VSET_FINE_FROM - 1);
        for (i = 0; i < 20; i++) {
            ask_for(row(ROWS + i), true, &a);
            assert_true(is_by_codes(row(ROWS + i), &a));
        }
        add_rows(VSET_FINE_FROM - 1, 2 * VSET_FINE_FROM);
        ask_for(row(ROWS), true, &a);
        assert_false(is_by_codes(row(ROWS), &a));
        for (i = VSET_FINE_FROM - 1; i < 2 * VSET_FINE_FROM; i++) {
            remove_row(i);
        }
        ask_for(row(ROWS), true, &a);
        assert_true(is_by_codes(row(ROWS), &a));
        end();
    }
}

static void what_is_stored_is_found_at_no_distance(void **state)
{
    enum vec_metric m;
    struct answer a;
    size_t i;

    (void)state;
    for (m = VEC_COSINE; m <= VEC_L2; m++) {
        begin(m, 32, 11);
        make_skewed();
        memset(row(0), 0, w.dim * sizeof(float));
        add_rows(0, 3000);
        for (i = 1; i < 3000; i += 37) {
            ask_for(row(i), true, &a);
            assert_int_equal(a.hits[0].name, i);
            assert_float_equal(a.hits[0].distance, 0, m == VEC_L2 ? 0 : 1e-4);
        }
        end();
    }
    /* Nothing is nearer to the zero vector than anything else. */
    begin(VEC_COSINE, 32, 12);
    make_skewed();
    memset(row(0), 0, w.dim * sizeof(float));
    add_rows(0, 2000);
    ask_for(row(0), true, &a);
    for (i = 0; i < a.n; i++) {
        assert_true(a.hits[i].distance == 1);
    }
    for (i = 2000; i < 4000; i++) {
        memset(row(i), 0, w.dim * sizeof(float));
    }
    add_rows(2000, 4000);
    for (i = 1; i < 1990; i++) {
        remove_row(i);
    }
    ask_for(row(1995), true, &a);
    for (i = 0; i < a.n; i++) {
        assert_true(a.hits[i].name < 2000 || a.hits[i].distance == 1);
    }
    end();
}

/* What is within a radius is decided by the distances that are answered. */
static void a_radius_holds_for_what_is_answered(void **state)
{
    struct answer all, within;
    size_t i, q;

    (void)state;
    begin(VEC_COSINE, 48, 13);
    make_skewed();
    add_rows(0, 3000);
    for (q = 0; q < 50; q++) {
        struct search_request r = {.vector = row(ROWS + q),
                                   .slot = SLOT_NONE,
                                   .exclude = SLOT_NONE,
                                   .exact = true};

        ask_for(row(ROWS + q), true, &all);
        r.radius = (all.hits[3].distance + all.hits[4].distance) / 2;
        ask(&r, &within);
        assert_int_equal(within.n, 4);
        for (i = 0; i < within.n; i++) {
            assert_int_equal(within.hits[i].name, all.hits[i].name);
        }
    }
    end();
}

static void replaced_and_removed_rows_are_found(void **state)
{
    struct answer a;
    size_t i, round;

    (void)state;
    begin(VEC_L2, 40, 14);
    make_skewed();
    add_rows(0, 4000);
    build_graph();
    for (round = 0; round < 3; round++) {
        for (i = round; i < 4000; i += 3) {
            remove_row(i);
        }
        for (i = round; i < 4000; i += 3) {
            add_rows(i, i + 1);
        }
        for (i = 0; i < 4000; i += 41) {
            ask_for(row(i), false, &a);
            assert_int_equal(a.hits[0].name, i);
            assert_true(a.hits[0].distance == 0);
        }
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histograms_are_found),
        cmocka_unit_test(pictures_are_found),
        cmocka_unit_test(skewed_vectors_are_found),
        cmocka_unit_test(small_sets_answer_by_codes_alone),
        cmocka_unit_test(what_is_stored_is_found_at_no_distance),
        cmocka_unit_test(a_radius_holds_for_what_is_answered),
        cmocka_unit_test(replaced_and_removed_rows_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
