/* Fine parts of rows: how much closer they come, the same everywhere, and what
 * keys are made of them. */
#include "unit/vec/vec_fixture.h"

#include <math.h>

#include "vec/fine.h"

static const uint32_t dims[] = {1, 2, 7, 15, 16, 17, 31, 48, 100, 128, 333};

struct stored {
    struct vec_format f;
    struct guarded memory; /* the fine part ends eight bytes before a fault */
    uint8_t *row;
    uint8_t *fine;
    float *x;
};

static struct rng rng;

static void stored_init(struct stored *s, enum vec_metric metric, uint32_t dim)
{
    vec_format_init(&s->f, VEC_I8, metric, dim);
    guarded_init(&s->memory, vec_fine_bytes(&s->f) + 8);
    s->fine = s->memory.end - 8 - vec_fine_bytes(&s->f);
    s->row = malloc(s->f.row_bytes + s->f.overread);
    s->x = malloc(4 * (size_t)dim);
    memset(s->memory.end - 8, 0xa5, 8);
}

static void stored_deinit(struct stored *s)
{
    guarded_deinit(&s->memory);
    free(s->row);
    free(s->x);
}

static void fill_normal(struct stored *s, double size)
{
    uint32_t i;

    for (i = 0; i < s->f.dim; i++) {
        s->x[i] = (float)(rng_normal(&rng) * size);
    }
}

static void store(struct stored *s)
{
    assert_int_equal(vec_encode_fine(&s->f, s->x, s->row, s->fine), ERR_OK);
}

static struct vec_fine_row row_of(const struct stored *s)
{
    return (struct vec_fine_row){s->row, s->fine};
}

/* ---- tests ------------------------------------------------------------- */

static void check_closeness(struct stored *s)
{
    uint8_t *plain = malloc(s->f.row_bytes);
    float *back = malloc(4 * (size_t)s->f.dim);
    struct vec_fine_row r = row_of(s);
    double norm =
        s->f.metric == VEC_COSINE ? (double)vec_norm(&s->f, s->row) : 1;
    double step = (double)vec_range(&s->f, s->row) * norm / 127;
    uint32_t i;

    assert_int_equal(vec_encode(&s->f, s->x, plain), ERR_OK);
    assert_memory_equal(plain, s->row, s->f.row_bytes);
    vec_fine_decode(&s->f, &r, back);
    for (i = 0; i < s->f.dim; i++) {
        double most = step * 0.25 * 1.0001 + fabs((double)s->x[i]) * 1e-6;

        if (!(fabs((double)back[i] - (double)s->x[i]) <= most)) {
            fail_msg("%s dim %u: component %u is %.9g, not %.9g +- %.3g",
                     vec_simd_name(), s->f.dim, i, (double)back[i],
                     (double)s->x[i], most);
        }
    }
    for (i = 0; i < 8; i++) {
        assert_int_equal((s->memory.end - 8)[i], 0xa5);
    }
    free(back);
    free(plain);
}

static void a_bit_halves_what_may_be_wrong(void **state)
{
    static const double sizes[] = {1, 1e-3, 1e30, 1e-30};
    enum vec_metric m;
    size_t l, d, k;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (m = 0; m < VEC_METRIC_COUNT; m++) {
            for (d = 0; d < ARRAY_LEN(dims); d++) {
                for (k = 0; k < ARRAY_LEN(sizes); k++) {
                    struct stored s;

                    stored_init(&s, m, dims[d]);
                    fill_normal(&s, sizes[k]);
                    store(&s);
                    check_closeness(&s);
                    stored_deinit(&s);
                }
            }
        }
    }
}

static void fine_parts_are_the_same_on_all_machines(void **state)
{
    uint8_t fine[64];
    size_t d, l;
    int round;

    (void)state;
    for (d = 0; d < ARRAY_LEN(dims); d++) {
        for (round = 0; round < 40; round++) {
            struct stored s;
            uint32_t i;

            stored_init(&s, rng_below(&rng, 2) ? VEC_COSINE : VEC_L2, dims[d]);
            fill_normal(&s, 3);
            for (i = 0; i < s.f.dim && round % 3 == 0; i++) {
                s.x[i] = rintf(20 * s.x[i]);
            }
            assert_int_equal(vec_simd_select("scalar"), ERR_OK);
            store(&s);
            memcpy(fine, s.fine, vec_fine_bytes(&s.f));
            for (l = 0; next_level(&l); l++) {
                memset(s.fine, 0xcc, vec_fine_bytes(&s.f));
                store(&s);
                assert_memory_equal(fine, s.fine, vec_fine_bytes(&s.f));
            }
            stored_deinit(&s);
        }
    }
}

/* All largest numbers, one sign or both, whole or 255ths. Of 254, half of the
 * numbers lie between two codes, and it is chance which they get. */
static void whole_numbers_come_back_exactly(void **state)
{
    size_t l;
    uint32_t most;
    int kind;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (most = 1; most <= 255; most += most == 253 ? 2 : 1) {
            for (kind = 0; kind < 4; kind++) {
                struct stored s;
                struct vec_fine_row r;
                float back[128];
                uint32_t i;

                stored_init(&s, kind & 1 ? VEC_L2 : VEC_COSINE, 128);
                for (i = 0; i < s.f.dim; i++) {
                    int32_t n = (int32_t)rng_below(&rng, most + 1);

                    n = i == 5 ? (int32_t)most : n;
                    n = i % 2 && most < 254 && i != 5 ? -n : n;
                    s.x[i] = kind & 2 ? (float)n / 255 : (float)n;
                }
                store(&s);
                assert_int_equal(s.fine[0], most);
                r = row_of(&s);
                vec_fine_decode(&s.f, &r, back);
                for (i = 0; i < s.f.dim; i++) {
                    assert_float_equal(back[i], s.x[i], fabsf(s.x[i]) * 3e-7f);
                }
                stored_deinit(&s);
            }
        }
    }
}

static double key_by_hand(const struct stored *s, const float *q)
{
    struct vec_fine_row r = row_of(s);
    float *y = malloc(4 * (size_t)s->f.dim);
    double dot = 0, yy = 0, qq = 0, l2 = 0, l1 = 0, key = 0;
    uint32_t i;

    vec_fine_decode(&s->f, &r, y);
    for (i = 0; i < s->f.dim; i++) {
        double a = (double)q[i], b = (double)y[i];

        dot += a * b;
        qq += a * a;
        yy += b * b;
        l2 += (a - b) * (a - b);
        l1 += fabs(a - b);
    }
    switch (s->f.metric) {
    case VEC_COSINE:
        key = qq > 0 && yy > 0 ? 1 - dot / sqrt(qq * yy) : 1;
        break;
    case VEC_IP:
        key = yy > 0 ? -dot * (double)vec_norm(&s->f, s->row) / sqrt(yy) : 0;
        break;
    case VEC_L2:
        key = l2;
        break;
    default:
        key = l1;
    }
    free(y);
    return key;
}

static void keys_are_of_the_components_that_rows_stand_for(void **state)
{
    enum vec_metric m;
    size_t l, d;
    int round;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (m = 0; m < VEC_METRIC_COUNT; m++) {
            for (d = 0; d < ARRAY_LEN(dims); d++) {
                for (round = 0; round < 6; round++) {
                    struct stored s;
                    struct vec_fine_row r;
                    struct vec_fine_query *q;
                    void *memory;
                    float *x;
                    uint32_t i;
                    double want;

                    stored_init(&s, m, dims[d]);
                    if (round % 2) {
                    }
                    x = malloc(4 * (size_t)dims[d]);
                    for (i = 0; i < dims[d]; i++) {
                        x[i] = (float)rng_normal(&rng);
                    }
                    fill_normal(&s, round == 5 ? 0 : 1);
                    for (i = 0; i < s.f.dim && round == 4; i++) {
                        s.x[i] = rintf(9 * s.x[i]);
                    }
                    store(&s);
                    memory =
                        aligned_alloc(VEC_ALIGN, vec_fine_query_bytes(&s.f));
                    q = vec_fine_query_init(&s.f, x, memory);
                    r = row_of(&s);
                    want = key_by_hand(&s, x);
                    assert_float_equal(vec_fine_key(q, &r), want,
                                       2e-5 * (1 + fabs(want)));
                    free(memory);
                    free(x);
                    stored_deinit(&s);
                }
            }
        }
    }
}

static void other_formats_have_none(void **state)
{
    enum vec_type t;

    (void)state;
    for (t = 0; t < VEC_TYPE_COUNT; t++) {
        struct vec_format f;

        vec_format_init(&f, t, VEC_COSINE, 100);
        assert_int_equal(vec_fine_bytes(&f), t == VEC_I8 ? 14 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_halves_what_may_be_wrong),
        cmocka_unit_test(fine_parts_are_the_same_on_all_machines),
        cmocka_unit_test(whole_numbers_come_back_exactly),
        cmocka_unit_test(keys_are_of_the_components_that_rows_stand_for),
        cmocka_unit_test(other_formats_have_none),
    };

    cm_seed(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
