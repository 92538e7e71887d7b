/* Digests: equal with those of Redis 8.0.6 for the same data, whatever the
 * order of elements, and those of a moment though the set changes meanwhile. */
#include "unit/db/keyspace_fixture.h"

#include "db/string_value.h"
#include "db/value_digest.h"
#include "db/vset/vset.h"

/* ---- short forms ------------------------------------------------------- */

static struct entry *put_string(struct fixture *f, const char *text)
{
    struct entry *e = keyspace_add(f->ks, 0, bytes_str("string"));

    assert_non_null(e);
    assert_int_equal(string_set(f->ks, e, bytes_str(text)), ERR_OK);
    return e;
}

static struct entry *put_set(struct fixture *f, const char *key,
                             enum vec_type type)
{
    struct vset_options o = {
        .type = type, .metric = VEC_COSINE, .dim = 2, .m = VSET_M_DEFAULT};
    struct entry *e = keyspace_add(f->ks, 0, bytes_str(key));

    assert_non_null(e);
    e->value.vset = vset_create(f->ks, f->ks->dbs[0], &o);
    assert_non_null(e->value.vset);
    e->type = VALUE_VSET;
    e->encoding = ENC_VECTOR;
    return e;
}

static void add(struct entry *e, const char *name, float x, float y,
                const char *json)
{
    const float vector[2] = {x, y};
    struct vset_element element = {.name = bytes_str(name),
                                   .vector = vector,
                                   .attribute = bytes_str(json ? json : ""),
                                   .has_attribute = json != NULL};
    bool added;

    assert_int_equal(vset_add(e->value.vset, &element, &added), ERR_OK);
}

static void remove_element(struct entry *e, const char *name)
{
    bool removed;

    assert_int_equal(vset_remove(e->value.vset, bytes_str(name), &removed),
                     ERR_OK);
    assert_true(removed);
}

static void set_attribute(struct entry *e, const char *name, const char *json)
{
    slot_id slot = vset_find(e->value.vset, bytes_str(name));

    assert_int_equal(vset_set_attribute(e->value.vset, slot, bytes_str(json)),
                     ERR_OK);
}

static struct value_digest digest_of(struct fixture *f, struct entry *e,
                                     uint32_t want)
{
    struct value_digest_walk w = {.set = NULL};
    struct value_digest d;

    value_digest_clear(&d);
    value_digest_begin(&w, f->ks, e, &d);
    while (!value_digest_step(&w, want)) {
    }
    return d;
}

static void assert_hex(const struct value_digest *d, const char *want)
{
    char got[2 * DIGEST_SHA1 + 1];
    int i;

    for (i = 0; i < DIGEST_SHA1; i++) {
        snprintf(got + 2 * i, 3, "%02x", d->bytes[i]);
    }
    assert_string_equal(got, want);
}

static void assert_digest(struct fixture *f, struct entry *e, const char *want)
{
    struct value_digest d = digest_of(f, e, 1000);

    assert_hex(&d, want);
}

static void assert_same(const struct value_digest *a,
                        const struct value_digest *b)
{
    assert_memory_equal(a->bytes, b->bytes, sizeof(a->bytes));
}

static void assert_differ(const struct value_digest *a,
                          const struct value_digest *b)
{
    assert_memory_not_equal(a->bytes, b->bytes, sizeof(a->bytes));
}

/* ---- tests ------------------------------------------------------------- */

static void strings_have_the_digests_of_redis(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_string(f, "hello");

    assert_digest(f, e, "36b23a1456b2dce2c3ed252c456761301dba8060");
    assert_int_equal(string_set(f->ks, e, bytes_str("12345")), ERR_OK);
    assert_int_equal(e->encoding, ENC_INT);
    assert_digest(f, e, "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83");
}

static void an_expiry_is_part_of_the_digest(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_string(f, "hello");
    time_ms later = clock_wall_ms() + 100000;

    assert_int_equal(keyspace_set_expiry(f->ks, 0, e, later), ERR_OK);
    assert_digest(f, e, "d037c4eb8a8b36b602fbced4000daeab0714c1e3");
}

static void vector_sets_have_the_digests_of_redis(void **state)
{
    static const struct {
        enum vec_type type;
        const char *want;
    } cases[] = {
        {VEC_F32, "4c5fa54b9abf93e6913463c9dabda01e9ade100d"},
        {VEC_I8, "23150055431ca161790a8864386eae368a775e55"},
        {VEC_BIT, "f4f12d9e95982afdf0f6f0b0be99d9d5d1332995"},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        char key[2] = {(char)('a' + i), '\0'};
        struct entry *e = put_set(f, key, cases[i].type);

        add(e, "a", 1, 0, NULL);
        add(e, "b", 0, 1, "{\"y\":1980}");
        assert_digest(f, e, cases[i].want);
    }
}

static void the_order_of_elements_does_not_count(void **state)
{
    struct fixture *f = *state;
    struct entry *a = put_set(f, "a", VEC_F32);
    struct entry *b = put_set(f, "b", VEC_F32);
    struct value_digest of_a, of_b;

    add(a, "x", 1, 0, "{}");
    add(a, "y", 0, 1, NULL);
    add(b, "z", 3, 4, NULL);
    add(b, "y", 0, 1, NULL);
    add(b, "x", 1, 0, "{}");
    remove_element(b, "z");
    of_a = digest_of(f, a, 1);
    of_b = digest_of(f, b, 100);
    assert_same(&of_a, &of_b);
}

static void everything_a_client_can_read_counts(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_set(f, "a", VEC_F32);
    struct value_digest before, after;

    add(e, "x", 1, 0, NULL);
    before = digest_of(f, e, 100);
    set_attribute(e, "x", "{\"a\":1}");
    after = digest_of(f, e, 100);
    assert_differ(&before, &after);
    set_attribute(e, "x", "");
    after = digest_of(f, e, 100);
    assert_same(&before, &after);
    add(e, "x", 0, 1, NULL);
    after = digest_of(f, e, 100);
    assert_differ(&before, &after);
    add(e, "x", 1, 0, NULL);
    add(e, "y", 1, 0, NULL);
    after = digest_of(f, e, 100);
    assert_differ(&before, &after);
}

static void writes_between_steps_do_not_show(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_set(f, "a", VEC_F32);
    struct value_digest_walk w = {.set = NULL};
    struct value_digest want, got;
    char name[16];
    int i;

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "e%d", i);
        add(e, name, (float)i, 1, i % 3 ? NULL : "{\"k\":1}");
    }
    want = digest_of(f, e, 1000);
    value_digest_clear(&got);
    value_digest_begin(&w, f->ks, e, &got);
    for (i = 0; !value_digest_step(&w, 1); i++) {
        snprintf(name, sizeof(name), "e%d", 99 - i % 100);
        if (i % 3 == 0) {
            set_attribute(e, name, "{\"k\":2}");
        } else if (i % 3 == 1) {
            add(e, name, -1, (float)i, "{\"k\":3}");
        } else if (i < 50) {
            remove_element(e, name);
        }
        snprintf(name, sizeof(name), "new%d", i);
        add(e, name, 1, 1, NULL);
        vset_settle_all(f->ks->dbs[0]);
    }
    assert_true(i >= 99);
    assert_same(&want, &got);
    assert_true(epoch_is_quiet(f->ks->epoch));
    vset_settle_all(f->ks->dbs[0]);
    vset_validate(e->value.vset);
    got = digest_of(f, e, 1000);
    assert_differ(&want, &got);
}

static void a_set_dropped_between_steps_is_digested_to_its_end(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_set(f, "a", VEC_I8);
    struct value_digest_walk w = {.set = NULL};
    struct value_digest want, got;

    add(e, "x", 1, 0, "{}");
    add(e, "y", 0, 1, NULL);
    want = digest_of(f, e, 1000);
    value_digest_clear(&got);
    value_digest_begin(&w, f->ks, e, &got);
    assert_false(value_digest_step(&w, 1));
    keyspace_delete(f->ks, 0, e);
    while (!value_digest_step(&w, 1)) {
    }
    assert_same(&want, &got);
}

static void a_walk_given_up_lets_go_of_the_set(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put_set(f, "a", VEC_I8);
    struct value_digest_walk w = {.set = NULL};
    struct value_digest d;

    add(e, "x", 1, 0, NULL);
    add(e, "y", 1, 0, NULL);
    value_digest_clear(&d);
    value_digest_begin(&w, f->ks, e, &d);
    assert_false(value_digest_step(&w, 1));
    assert_false(epoch_is_quiet(f->ks->epoch));
    value_digest_cancel(&w);
    assert_true(epoch_is_quiet(f->ks->epoch));
    value_digest_cancel(&w); /* once more does nothing */
}

static void mixing_goes_by_order_and_exclusive_or_does_not(void **state)
{
    struct value_digest a, b;

    (void)state;
    value_digest_clear(&a);
    assert_true(value_digest_is_clear(&a));
    value_digest_clear(&b);
    value_digest_xor(&a, bytes_str("one"));
    value_digest_xor(&a, bytes_str("two"));
    value_digest_xor(&b, bytes_str("two"));
    value_digest_xor(&b, bytes_str("one"));
    assert_same(&a, &b);
    assert_false(value_digest_is_clear(&a));
    value_digest_mix(&a, bytes_str("one"));
    value_digest_mix(&a, bytes_str("two"));
    value_digest_mix(&b, bytes_str("two"));
    value_digest_mix(&b, bytes_str("one"));
    assert_differ(&a, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strings_have_the_digests_of_redis,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_expiry_is_part_of_the_digest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(vector_sets_have_the_digests_of_redis,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_order_of_elements_does_not_count,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(everything_a_client_can_read_counts,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(writes_between_steps_do_not_show, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_set_dropped_between_steps_is_digested_to_its_end, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_walk_given_up_lets_go_of_the_set,
                                        setup, teardown),
        cmocka_unit_test(mixing_goes_by_order_and_exclusive_or_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
