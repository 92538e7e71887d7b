/* Values as bytes: strings of every encoding survive, damaged ones change
 * nothing, and types that are not known are told by name. */
#include "unit/db/keyspace_fixture.h"

#include "base/mem.h"
#include "db/string_value.h"
#include "db/value_file.h"

static void save(struct buf *b, const struct entry *e)
{
    struct rdb_out out;

    b->len = 0;
    rdb_out_open_mem(&out, b);
    value_save(&out, e);
    assert_int_equal(rdb_out_finish(&out), ERR_OK);
    rdb_out_close(&out);
}

static enum err load(struct fixture *f, struct bytes data, uint8_t type,
                     struct value *v, uint64_t *module)
{
    struct rdb_in in;
    enum err err;

    rdb_in_open_mem(&in, data);
    err = value_load(&in, type, f->ks, f->ks->dbs[0], v, module);
    rdb_in_close(&in);
    return err;
}

static void assert_survives(struct fixture *f, struct bytes text)
{
    struct entry *from, *to;
    struct buf b = BUF_INIT;
    char ta[NUM_TEXT_MAX], tb[NUM_TEXT_MAX];
    uint64_t module;
    struct value v;
    bool added;

    from = keyspace_write_or_add(f->ks, 0, bytes_str("from"), &added);
    to = keyspace_write_or_add(f->ks, 0, bytes_str("to"), &added);
    assert_int_equal(string_set(f->ks, from, text), ERR_OK);
    save(&b, from);
    assert_int_equal(value_file_type(from), RDB_STRING);
    assert_int_equal(load(f, buf_bytes(&b), RDB_STRING, &v, &module), ERR_OK);
    value_adopt(f->ks, to, &v);
    assert_true(bytes_equal(string_get(from, ta), string_get(to, tb)));
    assert_int_equal(from->encoding, to->encoding);
    buf_deinit(&b);
}

static void strings_survive(void **state)
{
    static const char *const texts[] = {"",
                                        "0",
                                        "-17",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "9223372036854775808",
                                        "00",
                                        "hello",
                                        "1e5"};
    struct fixture *f = *state;
    uint8_t *text = test_calloc(1, 1 << 20);
    struct rng rng;
    size_t i;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        assert_survives(f, bytes_str(texts[i]));
    }
    cm_seed(&rng);
    for (i = 0; i < 300; i++) {
        size_t len = rng_next(&rng) % (i % 10 ? 200 : 1 << 20), k;

        for (k = 0; k < len; k++) {
            text[k] = (uint8_t)(i % 3 ? rng_next(&rng) : k / 20);
        }
        assert_survives(f, bytes_of(text, len));
    }
    test_free(text);
}

static void a_value_nobody_wants_is_freed(void **state)
{
    struct fixture *f = *state;
    static const char data[] = "\x0a"
                               "helloworld";
    size_t before = mem_used();
    uint64_t module;
    struct value v;

    assert_int_equal(load(f, bytes_str(data), RDB_STRING, &v, &module), ERR_OK);
    value_discard(f->ks, &v);
    assert_int_equal(mem_used(), before);
    assert_int_equal(load(f, bytes_of(data, 5), RDB_STRING, &v, &module),
                     ERR_CORRUPT);
    assert_int_equal(mem_used(), before);
}

static void memory_that_is_out_is_told(void **state)
{
    struct fixture *f = *state;
    uint64_t module;
    struct value v;

    mem_fail_after(1);
    assert_int_equal(load(f, bytes_str("\x05hello"), RDB_STRING, &v, &module),
                     ERR_NOMEM);
    mem_fail_after(0);
}

static void unknown_types_are_told_by_name(void **state)
{
    static const uint8_t module_value[] = {0x81, 0xbd, 0xe7, 0x2d, 0xa2,
                                           0xbb, 0x1e, 0xb4, 0x01, 0x00};
    struct fixture *f = *state;
    uint64_t module;
    struct value v;

    assert_int_equal(load(f, bytes_str("\x01"), RDB_LIST, &v, &module),
                     ERR_UNSUPPORTED);
    assert_true(module == 0);
    assert_int_equal(load(f, bytes_of(module_value, sizeof(module_value)),
                          RDB_MODULE, &v, &module),
                     ERR_UNSUPPORTED);
    assert_true(module == rdb_module_id("vectorset", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strings_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_nobody_wants_is_freed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(memory_that_is_out_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_types_are_told_by_name, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
