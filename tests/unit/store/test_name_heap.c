/* Names: stored, found again, freed and their room used again. */
#include "unit/cm.h"

#include "base/mem.h"
#include "store/name_heap.h"

struct fixture {
    struct region region;
    struct epoch *epoch;
    struct name_heap heap;
};

static void begin(struct fixture *f)
{
    region_init(&f->region, 0);
    f->epoch = epoch_create();
    name_heap_init(&f->heap, &f->region, f->epoch);
}

static void end(struct fixture *f)
{
    name_heap_deinit(&f->heap);
    epoch_destroy(f->epoch);
    assert_int_equal(f->region.bytes, 0);
    region_deinit(&f->region);
}

static name_ref add(struct fixture *f, const void *text, size_t len)
{
    name_ref ref = 0;

    assert_int_equal(name_heap_add(&f->heap, bytes_of(text, len), &ref),
                     ERR_OK);
    return ref;
}

static void names_of_every_length_come_back(void **state)
{
    static const size_t edges[] = {0,   1,    2,     3,     4,      250,
                                   251, 252,  253,   254,   255,    256,
                                   257, 1000, 65535, 65536, 1 << 20};
    struct fixture f;
    uint8_t *text = malloc(1 << 20);
    name_ref refs[ARRAY_LEN(edges)];
    size_t i;

    (void)state;
    for (i = 0; i < 1 << 20; i++) {
        text[i] = (uint8_t)(i * 7 + i / 256);
    }
    begin(&f);
    for (i = 0; i < ARRAY_LEN(edges); i++) {
        refs[i] = add(&f, text, edges[i]);
    }
    for (i = 0; i < ARRAY_LEN(edges); i++) {
        struct bytes name = name_heap_get(&f.heap, refs[i]);

        assert_int_equal(name.len, edges[i]);
        assert_memory_equal(name.data, text, name.len);
        name_heap_free(&f.heap, refs[i]);
    }
    end(&f);
    free(text);
}

static void a_few_names_take_a_few_bytes(void **state)
{
    struct fixture f;
    int i;

    (void)state;
    begin(&f);
    for (i = 0; i < 10; i++) {
        char name[16];

        add(&f, name, (size_t)snprintf(name, sizeof(name), "item:%d", i));
    }
    assert_true(f.region.bytes <= 300);
    end(&f);
}

static void short_names_cost_little_more_than_their_bytes(void **state)
{
    enum { N = 200000 };
    struct fixture f;
    int i;

    (void)state;
    begin(&f);
    for (i = 0; i < N; i++) {
        char name[16];

        add(&f, name, (size_t)snprintf(name, sizeof(name), "%07d", i));
    }
    /* Seven bytes and a length are two units; the last chunk is part empty. */
    assert_true(f.region.bytes <
                N * 2 * NAME_UNIT + NAME_CHUNK_UNITS * NAME_UNIT + 4096);
    end(&f);
}

static void names_that_come_and_go_use_the_same_room(void **state)
{
    enum { N = 1000, ROUNDS = 50 };
    static name_ref refs[N];
    struct fixture f;
    size_t after_first = 0;
    int round, i;

    (void)state;
    begin(&f);
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < N; i++) {
            char name[64];
            int len =
                snprintf(name, sizeof(name), "%0*d", 3 + i % 40, round * N + i);

            if (round) {
                name_heap_free(&f.heap, refs[i]);
            }
            refs[i] = add(&f, name, (size_t)len);
        }
        if (round == 1) {
            after_first = f.region.bytes;
        }
    }
    assert_int_equal(f.region.bytes, after_first);
    end(&f);
}

static void random_names_agree_with_copies(void **state)
{
    enum { N = 500, STEPS = 50000 };
    static name_ref refs[N];
    static char *copies[N];
    static size_t lens[N];
    struct fixture f;
    struct rng rng;
    int step, i;

    (void)state;
    cm_seed(&rng);
    begin(&f);
    for (step = 0; step < STEPS; step++) {
        i = (int)rng_below(&rng, N);
        if (copies[i]) {
            struct bytes name = name_heap_get(&f.heap, refs[i]);

            assert_int_equal(name.len, lens[i]);
            assert_memory_equal(name.data, copies[i], lens[i]);
            name_heap_free(&f.heap, refs[i]);
            free(copies[i]);
            copies[i] = NULL;
        } else {
            size_t k;

            lens[i] = rng_below(&rng, rng_below(&rng, 20) ? 40 : 3000);
            copies[i] = malloc(lens[i] + 1);
            for (k = 0; k < lens[i]; k++) {
                copies[i][k] = (char)rng_next(&rng);
            }
            refs[i] = add(&f, copies[i], lens[i]);
        }
    }
    for (i = 0; i < N; i++) {
        if (copies[i]) {
            name_heap_free(&f.heap, refs[i]);
            free(copies[i]);
        }
    }
    end(&f);
}

static void the_cost_of_adding_is_an_upper_bound(void **state)
{
    struct fixture f;
    int i;

    (void)state;
    begin(&f);
    for (i = 0; i < 3000; i++) {
        char name[512];
        size_t len = (size_t)snprintf(name, sizeof(name), "%0*d", i % 400, i);
        size_t cost = name_heap_add_cost(&f.heap, len);
        size_t before = f.region.bytes;

        name_ref ref = add(&f, name, len);

        assert_true(f.region.bytes <= before + cost);
        if (name_heap_is_long(&f.heap, ref)) {
            name_heap_free(&f.heap, ref);
        }
    }
    end(&f);
}

static void what_names_will_take_is_known_before(void **state)
{
    static const size_t lens[] = {0, 3, 8, 16, 100, 300, 5000};
    static const char text[5000];
    size_t i, n;

    (void)state;
    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (n = 1; n < 60000; n = n * 3 + 1) {
            struct fixture f;
            name_ref refs[60000];
            size_t k;

            begin(&f);
            for (k = 0; k < n; k++) {
                refs[k] = add(&f, text, lens[i]);
            }
            assert_int_equal(name_heap_bytes_for(n, lens[i]), f.region.bytes);
            for (k = 0; k < n && name_heap_is_long(&f.heap, refs[k]); k++) {
                name_heap_free(&f.heap, refs[k]);
            }
            end(&f);
        }
    }
    assert_int_equal(name_heap_bytes_for(0, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_every_length_come_back),
        cmocka_unit_test(a_few_names_take_a_few_bytes),
        cmocka_unit_test(short_names_cost_little_more_than_their_bytes),
        cmocka_unit_test(names_that_come_and_go_use_the_same_room),
        cmocka_unit_test(random_names_agree_with_copies),
        cmocka_unit_test(the_cost_of_adding_is_an_upper_bound),
        cmocka_unit_test(what_names_will_take_is_known_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
