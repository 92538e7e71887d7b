/* Categories and passwords. */
#include "unit/cm.h"

#include <ctype.h>

#include "acl/acl.h"

static void every_category_has_a_bit_and_a_name_of_its_own(void **state)
{
    int i, j;

    (void)state;
    assert_true(ACL_CATEGORY_COUNT <= 32);
    for (i = 0; i < ACL_CATEGORY_COUNT; i++) {
        const char *name = acl_category_name((enum acl_category_index)i);
        size_t k;

        assert_true(name[0] != '\0');
        for (k = 0; name[k]; k++) {
            assert_true(islower((unsigned char)name[k]));
        }
        for (j = 0; j < i; j++) {
            assert_string_not_equal(
                name, acl_category_name((enum acl_category_index)j));
        }
    }
    assert_int_equal(ACL_READ, 1 << ACL_INDEX_READ);
    assert_string_equal(acl_category_name(ACL_INDEX_READ), "read");
    assert_string_equal(acl_category_name(ACL_INDEX_VECTORSET), "vectorset");
}

static void without_a_password_any_will_do(void **state)
{
    struct acl_password p;

    (void)state;
    memset(&p, 0xff, sizeof(p));
    acl_password_set(&p, BYTES_NONE);
    assert_false(p.is_set);
    assert_true(acl_password_check(&p, BYTES_NONE));
    assert_true(acl_password_check(&p, bytes_str("anything")));
}

static void only_the_password_itself_is_right(void **state)
{
    static const char *const wrong[] = {
        "", "s", "secre", "secrets", "Secret", " secret", "secret ", "tecret",
    };
    struct acl_password p;
    size_t i;

    (void)state;
    acl_password_set(&p, bytes_str("secret"));
    assert_true(p.is_set);
    assert_true(acl_password_check(&p, bytes_str("secret")));
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(acl_password_check(&p, bytes_str(wrong[i])));
    }
}

static void passwords_are_bytes(void **state)
{
    struct acl_password p;

    (void)state;
    acl_password_set(&p, bytes_of("a\0b", 3));
    assert_true(acl_password_check(&p, bytes_of("a\0b", 3)));
    assert_false(acl_password_check(&p, bytes_of("a\0c", 3)));
    assert_false(acl_password_check(&p, bytes_of("a", 1)));
    acl_password_set(&p, bytes_of("\0", 1));
    assert_true(p.is_set);
    assert_false(acl_password_check(&p, BYTES_NONE));
    assert_true(acl_password_check(&p, bytes_of("\0", 1)));
}

static void a_long_password_counts_to_its_end(void **state)
{
    static char text[100000];
    struct acl_password p;

    (void)state;
    memset(text, 'p', sizeof(text));
    acl_password_set(&p, bytes_of(text, sizeof(text)));
    assert_true(acl_password_check(&p, bytes_of(text, sizeof(text))));
    assert_false(acl_password_check(&p, bytes_of(text, sizeof(text) - 1)));
    text[sizeof(text) - 1] = 'q';
    assert_false(acl_password_check(&p, bytes_of(text, sizeof(text))));
}

static void a_password_may_be_changed_and_taken_away(void **state)
{
    struct acl_password p;

    (void)state;
    acl_password_set(&p, bytes_str("one"));
    acl_password_set(&p, bytes_str("two"));
    assert_false(acl_password_check(&p, bytes_str("one")));
    assert_true(acl_password_check(&p, bytes_str("two")));
    acl_password_set(&p, BYTES_NONE);
    assert_true(acl_password_check(&p, bytes_str("one")));
}

static void the_password_itself_is_not_kept(void **state)
{
    struct acl_password p;
    /* SHA-256 of "abc", FIPS 180-2. */
    static const uint8_t digest[DIGEST_SHA256] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};

    (void)state;
    acl_password_set(&p, bytes_str("abc"));
    assert_memory_equal(p.digest, digest, sizeof(digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_category_has_a_bit_and_a_name_of_its_own),
        cmocka_unit_test(without_a_password_any_will_do),
        cmocka_unit_test(only_the_password_itself_is_right),
        cmocka_unit_test(passwords_are_bytes),
        cmocka_unit_test(a_long_password_counts_to_its_end),
        cmocka_unit_test(a_password_may_be_changed_and_taken_away),
        cmocka_unit_test(the_password_itself_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
