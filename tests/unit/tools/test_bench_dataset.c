/* Data: folders, .?vecs files, made-up sets; and what is wrong with them. */
#include "unit/cm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/bench_dataset.h"
#include "tools/bench/bench_meta.h"

static char folder[64];
static char path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/vectra-dataset-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const files[] = {
        "meta.json",   "base.f32",    "query.f32",   "names.txt",
        "queries.txt", "attrs.jsonl", "a.fvecs",     "a.bvecs",
        "a.ivecs",     "a.txt",       "deep/er/file"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    snprintf(path, sizeof(path), "%s/deep/er", folder);
    (void)rmdir(path);
    snprintf(path, sizeof(path), "%s/deep", folder);
    (void)rmdir(path);
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t len)
{
    struct err_ctx ctx;

    assert_int_equal(bench_file_replace(in_folder(name), data, len, &ctx), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

/* Three rows of two, one query, names and attributes. */
static void write_good_folder(void)
{
    static const float base[] = {1, 2, 3, 4, 5, 6};
    static const float query[] = {7, 8};

    write_text("meta.json", "{\"name\": \"tiny\", \"n\": 3, \"nq\": 1, "
                            "\"dim\": 2}\n");
    write_file("base.f32", base, sizeof(base));
    write_file("query.f32", query, sizeof(query));
    write_text("names.txt", "one\ntwo\nthree\n");
    write_text("queries.txt", "seven");
    write_text("attrs.jsonl", "{}\n{\"a\":1}\n{}\n");
}

static void assert_not_opened(const char *name, enum err want,
                              const char *words)
{
    struct bench_dataset d;
    struct err_ctx ctx = {""};
    enum err err =
        bench_dataset_open(*name ? in_folder(name) : folder, NULL, 0, &d, &ctx);

    assert_int_equal(err, want);
    if (!strstr(ctx.text, words)) {
        fail_msg("'%s' does not say '%s'", ctx.text, words);
    }
}

static void a_folder_is_read_with_names_and_attributes(void **state)
{
    struct bench_dataset d;
    struct err_ctx ctx;
    uint64_t row;
    float x[2];

    (void)state;
    write_good_folder();
    assert_int_equal(bench_dataset_open(folder, NULL, 0, &d, &ctx), 0);
    assert_string_equal(d.name, "tiny");
    assert_int_equal(d.base.n, 3);
    assert_int_equal(d.base.dim, 2);
    memcpy(x, bench_vectors_row(&d.base, 2), sizeof(x));
    assert_true(x[0] == 5 && x[1] == 6);
    memcpy(x, bench_vectors_row(&d.query, 0), sizeof(x));
    assert_true(x[0] == 7 && x[1] == 8);
    assert_true(
        bytes_equal(bench_lines_at(&d.attrs, 1), bytes_str("{\"a\":1}")));
    assert_true(
        bytes_equal(bench_lines_at(&d.query_names, 0), bytes_str("seven")));
    assert_int_equal(bench_dataset_map_names(&d, &ctx), 0);
    assert_true(bench_dataset_row_of(&d, bytes_str("three"), &row));
    assert_int_equal(row, 2);
    assert_false(bench_dataset_row_of(&d, bytes_str("four"), &row));
    assert_false(bench_dataset_row_of(&d, bytes_str("2"), &row));
    bench_dataset_close(&d);
}

static void a_limit_leaves_out_rows_at_the_end(void **state)
{
    struct bench_dataset d;
    struct err_ctx ctx;
    uint64_t row;

    (void)state;
    write_good_folder();
    assert_int_equal(bench_dataset_open(folder, NULL, 2, &d, &ctx), 0);
    assert_int_equal(d.base.n, 2);
    assert_int_equal(bench_dataset_map_names(&d, &ctx), 0);
    assert_true(bench_dataset_row_of(&d, bytes_str("two"), &row));
    assert_false(bench_dataset_row_of(&d, bytes_str("three"), &row));
    bench_dataset_close(&d);
}

static void without_names_rows_are_called_by_number(void **state)
{
    struct bench_dataset d;
    struct err_ctx ctx;
    uint64_t row;

    (void)state;
    write_good_folder();
    (void)unlink(in_folder("names.txt"));
    assert_int_equal(bench_dataset_open(folder, NULL, 0, &d, &ctx), 0);
    assert_int_equal(bench_dataset_map_names(&d, &ctx), 0);
    assert_true(bench_dataset_row_of(&d, bytes_str("2"), &row));
    assert_int_equal(row, 2);
    assert_false(bench_dataset_row_of(&d, bytes_str("3"), &row));
    assert_false(bench_dataset_row_of(&d, bytes_str("-1"), &row));
    assert_false(bench_dataset_row_of(&d, bytes_str("02"), &row));
    bench_dataset_close(&d);
}

static void of_rows_with_one_name_the_last_counts(void **state)
{
    struct bench_dataset d;
    struct err_ctx ctx;
    uint64_t row;

    (void)state;
    write_good_folder();
    write_text("names.txt", "x\ny\nx\n");
    assert_int_equal(bench_dataset_open(folder, NULL, 0, &d, &ctx), 0);
    assert_int_equal(bench_dataset_map_names(&d, &ctx), 0);
    assert_true(bench_dataset_row_of(&d, bytes_str("x"), &row));
    assert_int_equal(row, 2);
    bench_dataset_close(&d);
}

static void damaged_folders_say_which_file_is_wrong(void **state)
{
    (void)state;
    write_good_folder();
    (void)unlink(in_folder("meta.json"));
    assert_not_opened("", ERR_NOT_FOUND, "meta.json");

    write_good_folder();
    write_text("meta.json", "{\"n\": 4, \"nq\": 1, \"dim\": 2}");
    assert_not_opened("", ERR_CORRUPT, "base.f32");

    write_text("meta.json", "{\"n\": 3, \"nq\": 2, \"dim\": 2}");
    assert_not_opened("", ERR_CORRUPT, "query.f32");

    write_good_folder();
    write_text("names.txt", "one\ntwo\n");
    assert_not_opened("", ERR_CORRUPT, "names.txt: 2 lines for 3 rows");

    write_good_folder();
    write_text("attrs.jsonl", "{}\n{}\n{}\n\n");
    assert_not_opened("", ERR_CORRUPT, "attrs.jsonl: 4 lines");

    write_good_folder();
    (void)unlink(in_folder("base.f32"));
    assert_not_opened("", ERR_NOT_FOUND, "base.f32");
    assert_not_opened("nothing-here.fvecs", ERR_NOT_FOUND, "nothing-here");
    write_text("a.txt", "x");
    assert_not_opened("a.txt", ERR_UNSUPPORTED, "a.txt");
}

/* Rows of a .?vecs file: dim then components of `width` bytes. */
static void write_vecs(const char *name, const uint32_t *dims, size_t rows,
                       unsigned width, size_t cut)
{
    uint8_t data[256];
    size_t n = 0, i;
    uint32_t j;

    for (i = 0; i < rows; i++) {
        memcpy(data + n, &dims[i], 4);
        n += 4;
        for (j = 0; j < dims[i]; j++) {
            uint32_t whole = (uint32_t)(10 * i + j);
            float real = (float)whole;

            memcpy(data + n,
                   name[2] == 'f' ? (const void *)&real : (const void *)&whole,
                   width);
            n += width;
        }
    }
    write_file(name, data, n - cut);
}

static void assert_vecs(const char *name)
{
    struct bench_dataset d;
    struct err_ctx ctx;
    float x[3];

    assert_int_equal(bench_dataset_open(in_folder(name), NULL, 0, &d, &ctx), 0);
    assert_string_equal(d.name, "a");
    assert_int_equal(d.base.n, 2);
    assert_int_equal(d.base.dim, 3);
    memcpy(x, bench_vectors_row(&d.base, 1), sizeof(x));
    assert_true(x[0] == 10 && x[1] == 11 && x[2] == 12);
    bench_dataset_close(&d);
}

static void files_of_vectors_are_read_as_floats(void **state)
{
    static const uint32_t dims[] = {3, 3};

    (void)state;
    write_vecs("a.fvecs", dims, 2, 4, 0);
    assert_vecs("a.fvecs");
    write_vecs("a.bvecs", dims, 2, 1, 0);
    assert_vecs("a.bvecs");
    write_vecs("a.ivecs", dims, 2, 4, 0);
    assert_vecs("a.ivecs");
}

static void damaged_files_of_vectors_are_refused(void **state)
{
    static const uint32_t good[] = {3, 3}, mixed[] = {3, 1, 5}, none[] = {0};
    static const uint8_t wild[8] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};

    (void)state;
    write_vecs("a.fvecs", good, 2, 4, 1);
    assert_not_opened("a.fvecs", ERR_CORRUPT, "truncated");
    write_vecs("a.fvecs", good, 2, 4, 28);
    assert_not_opened("a.fvecs", ERR_CORRUPT, "truncated");
    write_vecs("a.fvecs", mixed, 3, 4, 0);
    assert_not_opened("a.fvecs", ERR_CORRUPT, "row 1 has 1 components");
    write_vecs("a.fvecs", none, 1, 4, 0);
    assert_not_opened("a.fvecs", ERR_CORRUPT, "0 components");
    write_file("a.fvecs", wild, sizeof(wild));
    assert_not_opened("a.fvecs", ERR_CORRUPT, "4294967295 components");
    write_file("a.fvecs", "", 0);
    assert_not_opened("a.fvecs", ERR_CORRUPT, "no rows");
}

static void queries_of_another_dimension_are_refused(void **state)
{
    static const uint32_t dims[] = {3, 3};
    struct bench_dataset d;
    struct err_ctx ctx = {""};
    char queries[128];

    (void)state;
    write_good_folder();
    write_vecs("a.fvecs", dims, 2, 4, 0);
    snprintf(queries, sizeof(queries), "%s/a.fvecs", folder);
    assert_int_equal(bench_dataset_open(folder, queries, 0, &d, &ctx), ERR_DIM);
}

static void meta_takes_any_json_object_with_n_and_dim(void **state)
{
    struct bench_meta m;
    struct err_ctx ctx;

    (void)state;
    assert_int_equal(
        bench_meta_parse(
            bytes_str(" { \"dim\" : 3 , \"x\": {\"n\": [1, \"}\"]}"
                      ", \"n\":7, \"y\": null, \"name\": \"a\\\"b\""
                      "}\n"),
            &m, &ctx),
        0);
    assert_int_equal(m.n, 7);
    assert_int_equal(m.nq, 0);
    assert_int_equal(m.dim, 3);
    assert_string_equal(m.name, "a\\\"b");
}

static void other_meta_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{\"n\": 1, \"dim\": 2",
        "{\"n\": 1, \"dim\": 2} x",
        "{\"n\": 1 \"dim\": 2}",
        "{\"n\": -1, \"dim\": 2}",
        "{\"n\": 1, \"dim\": 0}",
        "{\"n\": 1, \"dim\": 65537}",
        "{\"n\": 0, \"dim\": 2}",
        "{\"n\": 99999999999999999999, \"dim\": 2}",
        "{\"n\": 1.5, \"dim\": 2}",
        "{\"n\": \"1\", \"dim\": 2}",
        "{\"dim\": 2}",
        "{\"n\": 1}",
        "{\"n\": 1, \"dim\": 2, \"x\": }",
        "{\"n\": 1, \"dim\": 2, \"x\": ]}",
        "{\"n\": 1, \"dim\": 2, \"name\": \"a}",
        "{\"n\": 1, \"dim\": 2,}",
    };
    struct bench_meta m;
    struct err_ctx ctx;
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        if (bench_meta_parse(bytes_str(bad[i]), &m, &ctx) != ERR_CORRUPT) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

static void assert_same_rows(const struct bench_vectors *a,
                             const struct bench_vectors *b, uint64_t n)
{
    assert_memory_equal(a->rows, b->rows, n * a->stride);
}

static void a_made_up_set_is_the_same_for_the_same_seed(void **state)
{
    static const char *const kinds[] = {"3000,7", "3000,7,uniform",
                                        "3000,7,clustered"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(kinds); i++) {
        struct bench_dataset a, b, other;
        struct err_ctx ctx;

        assert_int_equal(bench_dataset_random(kinds[i], 5, 1, &a, &ctx), 0);
        assert_int_equal(bench_dataset_random(kinds[i], 5, 3, &b, &ctx), 0);
        assert_int_equal(bench_dataset_random(kinds[i], 6, 1, &other, &ctx), 0);
        assert_int_equal(a.base.n, 3000);
        assert_int_equal(a.query.n, BENCH_RANDOM_QUERIES);
        assert_same_rows(&a.base, &b.base, 3000);
        assert_same_rows(&a.query, &b.query, BENCH_RANDOM_QUERIES);
        assert_memory_not_equal(a.base.rows, other.base.rows, a.base.stride);
        /* A query is not a row. */
        assert_memory_not_equal(a.base.rows, a.query.rows, a.base.stride);
        assert_true(bench_vectors_fingerprint(&a.base) ==
                    bench_vectors_fingerprint(&b.base));
        assert_true(bench_vectors_fingerprint(&a.base) !=
                    bench_vectors_fingerprint(&other.base));
        bench_dataset_close(&a);
        bench_dataset_close(&b);
        bench_dataset_close(&other);
    }
}

static void malformed_random_specs_are_refused(void **state)
{
    static const char *const bad[] = {
        "",     "5",       "5,",      ",5",   "0,5",  "5,0", "-5,5",
        "5,-5", "5,70000", "5,5,foo", "5,5x", "5,5,", "5;5", "x,5"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        struct bench_dataset d;
        struct err_ctx ctx;

        if (bench_dataset_random(bad[i], 1, 1, &d, &ctx) != ERR_SYNTAX) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

static void the_fingerprint_sees_the_last_row_and_the_shape(void **state)
{
    static float x[4000] = {0};
    struct bench_vectors v = {
        .rows = (const uint8_t *)x, .stride = 8, .n = 2000, .dim = 2};
    struct bench_vectors flat = {
        .rows = (const uint8_t *)x, .stride = 16, .n = 1000, .dim = 4};
    uint64_t before = bench_vectors_fingerprint(&v);

    (void)state;
    assert_true(before != bench_vectors_fingerprint(&flat));
    x[3999] = 1;
    assert_true(before != bench_vectors_fingerprint(&v));
    x[3999] = 0;
    x[0] = 1;
    assert_true(before != bench_vectors_fingerprint(&v));
}

static void a_replaced_file_brings_its_folders(void **state)
{
    struct bench_file f;
    struct err_ctx ctx;

    (void)state;
    write_text("deep/er/file", "old");
    write_text("deep/er/file", "new one");
    assert_int_equal(bench_file_open(in_folder("deep/er/file"), &f, &ctx), 0);
    assert_int_equal(f.len, 7);
    assert_memory_equal(f.data, "new one", 7);
    bench_file_close(&f);
    assert_int_equal(bench_file_open(folder, &f, &ctx), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_read_with_names_and_attributes),
        cmocka_unit_test(a_limit_leaves_out_rows_at_the_end),
        cmocka_unit_test(without_names_rows_are_called_by_number),
        cmocka_unit_test(of_rows_with_one_name_the_last_counts),
        cmocka_unit_test(damaged_folders_say_which_file_is_wrong),
        cmocka_unit_test(files_of_vectors_are_read_as_floats),
        cmocka_unit_test(damaged_files_of_vectors_are_refused),
        cmocka_unit_test(queries_of_another_dimension_are_refused),
        cmocka_unit_test(meta_takes_any_json_object_with_n_and_dim),
        cmocka_unit_test(other_meta_is_refused),
        cmocka_unit_test(a_made_up_set_is_the_same_for_the_same_seed),
        cmocka_unit_test(malformed_random_specs_are_refused),
        cmocka_unit_test(the_fingerprint_sees_the_last_row_and_the_shape),
        cmocka_unit_test(a_replaced_file_brings_its_folders),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
