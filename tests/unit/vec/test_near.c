/* The nearest of many: every instruction set against sums counted out. */
#include "unit/cm.h"

#include <math.h>

#include "vec/near.h"
#include "vec/vec.h"

enum { N = 100, BLOCKS = (N + VEC_NEAR_LANES - 1) / VEC_NEAR_LANES, NQ = 21 };

static const char *const levels[] = {"scalar", "avx2", "avx512f", "avx512",
                                     "neon"};

struct fixture {
    uint32_t dim;
    int8_t *codes, *query_codes;
    float grains[N], query_grains[NQ], add[N];
    uint8_t *blocks;
};

static void fill_codes(struct rng *rng, int8_t *codes, size_t n, int kind)
{
    size_t i;

    for (i = 0; i < n; i++) {
        int code = (int)rng_below(rng, 255) - 127;

        codes[i] = (int8_t)(kind == 0 ? code : kind == 1 ? 127 : -127);
    }
}

static void make(struct fixture *f, uint32_t dim, int kind, struct rng *rng)
{
    const size_t bytes = vec_near_block_bytes(dim);
    size_t i, j;

    f->dim = dim;
    f->codes = malloc((size_t)N * dim);
    f->query_codes = malloc((size_t)NQ * dim);
    f->blocks = aligned_alloc(64, BLOCKS * bytes);
    fill_codes(rng, f->codes, (size_t)N * dim, kind);
    fill_codes(rng, f->query_codes, (size_t)NQ * dim, kind == 2);
    for (i = 0; i < N; i++) {
        f->grains[i] = 0.01f + (float)rng_unit(rng);
        f->add[i] = (float)rng_unit(rng);
    }
    for (i = 0; i < NQ; i++) {
        f->query_grains[i] = 0.01f + (float)rng_unit(rng);
    }
    for (i = 0; i < BLOCKS; i++) {
        struct vec_near_vector v[VEC_NEAR_LANES];
        size_t n = N - i * VEC_NEAR_LANES;

        n = n < VEC_NEAR_LANES ? n : VEC_NEAR_LANES;
        for (j = 0; j < n; j++) {
            size_t at = i * VEC_NEAR_LANES + j;

            v[j].codes = f->codes + at * dim;
            v[j].grain = f->grains[at];
        }
        vec_near_pack(dim, v, n, f->add + i * VEC_NEAR_LANES,
                      f->blocks + i * bytes);
    }
}

static void drop(struct fixture *f)
{
    free(f->codes);
    free(f->query_codes);
    free(f->blocks);
}

/* The key without the query's own square, exactly. */
static double expected(const struct fixture *f, size_t query, size_t at)
{
    int64_t dot = 0, square = 0;
    uint32_t i;

    for (i = 0; i < f->dim; i++) {
        int x = f->codes[at * f->dim + i];

        dot += x * f->query_codes[query * f->dim + i];
        square += x * x;
    }
    return (double)square * (double)f->grains[at] * (double)f->grains[at] +
           (double)f->add[at] -
           2 * (double)f->grains[at] * (double)f->query_grains[query] *
               (double)dot;
}

/* Answers of one level: keys of all, and queries that kept the least. */
struct answers {
    float keys[NQ * BLOCKS * VEC_NEAR_LANES];
    float least[NQ][VEC_NEAR_LANES];
    uint32_t at[NQ][VEC_NEAR_LANES];
};

static void ask(const struct fixture *f, size_t nq, struct answers *a)
{
    const size_t bytes = vec_near_query_bytes(f->dim);
    uint8_t *memory = aligned_alloc(64, nq * bytes);
    struct vec_near_query *q[NQ];
    size_t j;

    for (j = 0; j < nq; j++) {
        struct vec_near_vector v = {f->query_codes + j * f->dim,
                                    f->query_grains[j]};

        q[j] = (struct vec_near_query *)(void *)(memory + j * bytes);
        vec_near_query_init(q[j], f->dim, &v);
    }
    vec_near_keys(q, nq, f->dim, f->blocks, BLOCKS, a->keys,
                  BLOCKS * VEC_NEAR_LANES);
    vec_near_scan(q, nq, f->dim, f->blocks, 2, 7);
    vec_near_scan(q, nq, f->dim, f->blocks + 2 * vec_near_block_bytes(f->dim),
                  BLOCKS - 2, 7 + 2 * VEC_NEAR_LANES);
    for (j = 0; j < nq; j++) {
        memcpy(a->least[j], q[j]->keys, sizeof(a->least[j]));
        memcpy(a->at[j], q[j]->at, sizeof(a->at[j]));
    }
    free(memory);
}

static void check(const struct fixture *f, size_t nq, const struct answers *a)
{
    size_t i, j;

    for (j = 0; j < nq; j++) {
        const float *keys = a->keys + j * BLOCKS * VEC_NEAR_LANES;
        float least[VEC_NEAR_LANES];
        uint32_t at[VEC_NEAR_LANES];

        for (i = 0; i < VEC_NEAR_LANES; i++) {
            least[i] = INFINITY;
        }
        for (i = 0; i < N; i++) {
            double want = expected(f, j, i);

            assert_true(
                fabs((double)keys[i] - want) <=
                1e-6 * (fabs(want) + f->dim * 17000.0 * (double)f->grains[i]));
            if (keys[i] < least[i % VEC_NEAR_LANES]) {
                least[i % VEC_NEAR_LANES] = keys[i];
                at[i % VEC_NEAR_LANES] = (uint32_t)i + 7;
            }
        }
        for (; i < (size_t)BLOCKS * VEC_NEAR_LANES; i++) {
            assert_true(keys[i] == INFINITY);
        }
        assert_memory_equal(least, a->least[j], sizeof(least));
        assert_memory_equal(at, a->at[j], sizeof(at));
    }
}

static void every_level_finds_the_same(void **state)
{
    static const uint32_t dims[] = {1,  2,  3,   4,   5,   31,
                                    64, 99, 128, 130, 771, 65536};
    static struct answers first, other;
    struct fixture f;
    struct rng rng;
    size_t i, l, nq;
    int kind;

    (void)state;
    cm_seed(&rng);
    for (i = 0; i < ARRAY_LEN(dims); i++) {
        for (kind = 0; kind < 3; kind++) {
            make(&f, dims[i], kind, &rng);
            for (nq = 1; nq <= NQ; nq += 1 + (dims[i] > 1000) * 9) {
                for (l = 0; l < ARRAY_LEN(levels); l++) {
                    if (vec_simd_select(levels[l]) != ERR_OK) {
                        continue;
                    }
                    memset(&other, 0, sizeof(other));
                    ask(&f, nq, &other);
                    if (l == 0) {
                        first = other;
                        check(&f, nq, &other);
                    }
                    assert_memory_equal(&first, &other, sizeof(first));
                }
            }
            drop(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_finds_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
