/* The reply parser: every type of RESP2 and RESP3, at any cut, within bounds.
 */
#include "unit/cm.h"

#include <math.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "resp/resp_reply.h"

enum { MAX_TEXT = 1 << 20, MAX_NODES = 10000 };

/* Parses a whole text; the caller deinits p. Returns the error. */
static enum err parse_bytes(struct resp_reply_parser *p, const void *data,
                            size_t n, size_t *len)
{
    resp_reply_init(p, true, MAX_TEXT, MAX_NODES);
    return resp_reply_parse(p, data, n, len);
}

static enum err parse_text(struct resp_reply_parser *p, const char *text)
{
    size_t len;
    enum err err = parse_bytes(p, text, strlen(text), &len);

    if (!err) {
        assert_int_equal(len, strlen(text));
    }
    return err;
}

static void assert_text(const struct resp_reply *node, const char *data,
                        const char *want)
{
    struct bytes t = resp_reply_text(node, (const uint8_t *)data);

    assert_int_equal(t.len, strlen(want));
    assert_memory_equal(t.data, want, t.len);
}

static void assert_error(const char *text, enum err want)
{
    struct resp_reply_parser p;
    size_t len;
    enum err err = parse_bytes(&p, text, strlen(text), &len);

    resp_reply_deinit(&p);
    if (err != want) {
        fail_msg("'%s': %s, wanted %s", text, err_text(err), err_text(want));
    }
}

static void scalars_of_resp2_are_read(void **state)
{
    struct resp_reply_parser p;
    const struct resp_reply *r;

    (void)state;
    assert_int_equal(parse_text(&p, "+OK\r\n"), ERR_OK);
    r = resp_reply_root(&p);
    assert_int_equal(r->type, RESP_REPLY_STRING);
    assert_text(r, "+OK\r\n", "OK");
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, "-ERR no\r\n"), ERR_OK);
    r = resp_reply_root(&p);
    assert_int_equal(r->type, RESP_REPLY_ERROR);
    assert_text(r, "-ERR no\r\n", "ERR no");
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, ":-9223372036854775808\r\n"), ERR_OK);
    assert_true(resp_reply_root(&p)->integer == INT64_MIN);
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, ":+12\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->integer, 12);
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, "$5\r\na\r\nbc\r\n"), ERR_OK);
    r = resp_reply_root(&p);
    assert_int_equal(r->type, RESP_REPLY_BULK);
    assert_text(r, "$5\r\na\r\nbc\r\n", "a\r\nbc");
    resp_reply_deinit(&p);
}

static void both_nulls_of_resp2_say_how_they_were_sent(void **state)
{
    struct resp_reply_parser p;

    (void)state;
    assert_int_equal(parse_text(&p, "$-1\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_NULL);
    assert_int_equal(resp_reply_root(&p)->wire, '$');
    resp_reply_deinit(&p);
    assert_int_equal(parse_text(&p, "*-1\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_NULL);
    assert_int_equal(resp_reply_root(&p)->wire, '*');
    resp_reply_deinit(&p);
    assert_int_equal(parse_text(&p, "_\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_NULL);
    resp_reply_deinit(&p);
}

static double read_double(const char *text)
{
    struct resp_reply_parser p;
    double value;

    assert_int_equal(parse_text(&p, text), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_DOUBLE);
    value = resp_reply_root(&p)->real;
    resp_reply_deinit(&p);
    return value;
}

static void doubles_are_read_with_their_special_values(void **state)
{
    (void)state;
    assert_true(read_double(",0.992125928401947\r\n") == 0.992125928401947);
    assert_true(read_double(",-2\r\n") == -2);
    assert_true(read_double(",1e+25\r\n") == 1e25);
    assert_true(read_double(",5e-324\r\n") == 5e-324);
    assert_true(read_double(",inf\r\n") == HUGE_VAL);
    assert_true(read_double(",-inf\r\n") == -HUGE_VAL);
    assert_true(isnan(read_double(",nan\r\n")));
}

static void booleans_big_numbers_and_verbatim_texts_are_read(void **state)
{
    struct resp_reply_parser p;
    const char *verbatim = "=8\r\ntxt:body\r\n";
    const char *big = "(-3492890328409238509324850943850943825024385\r\n";

    (void)state;
    assert_int_equal(parse_text(&p, "#t\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_BOOL);
    assert_int_equal(resp_reply_root(&p)->integer, 1);
    resp_reply_deinit(&p);
    assert_int_equal(parse_text(&p, "#f\r\n"), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->integer, 0);
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, big), ERR_OK);
    assert_text(resp_reply_root(&p), big,
                "-3492890328409238509324850943850943825024385");
    resp_reply_deinit(&p);

    assert_int_equal(parse_text(&p, verbatim), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_VERBATIM);
    assert_text(resp_reply_root(&p), verbatim, "body");
    resp_reply_deinit(&p);
}

static void a_bulk_error_is_an_error(void **state)
{
    struct resp_reply_parser p;
    const char *text = "!8\r\nERR a\r\nb\r\n";

    (void)state;
    assert_int_equal(parse_text(&p, text), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_ERROR);
    assert_text(resp_reply_root(&p), text, "ERR a\r\nb");
    resp_reply_deinit(&p);
}

static void maps_count_keys_and_values(void **state)
{
    struct resp_reply_parser p;
    const char *text = "%2\r\n+a\r\n*2\r\n,0.5\r\n_\r\n+b\r\n:7\r\n";
    const struct resp_reply *r, *child;

    (void)state;
    assert_int_equal(parse_text(&p, text), ERR_OK);
    r = resp_reply_root(&p);
    assert_int_equal(r->type, RESP_REPLY_MAP);
    assert_int_equal(r->n, 4);
    assert_int_equal(r->span, 7);
    child = resp_reply_first(r);
    assert_text(child, text, "a");
    child = resp_reply_next(child);
    assert_int_equal(child->n, 2);
    assert_int_equal(child->span, 3);
    child = resp_reply_next(child);
    assert_text(child, text, "b");
    assert_int_equal(resp_reply_next(child)->integer, 7);
    resp_reply_deinit(&p);
}

static void empty_aggregates_are_complete_values(void **state)
{
    struct resp_reply_parser p;
    const struct resp_reply *r;

    (void)state;
    assert_int_equal(parse_text(&p, "*3\r\n*0\r\n%0\r\n~0\r\n"), ERR_OK);
    r = resp_reply_first(resp_reply_root(&p));
    assert_int_equal(r->type, RESP_REPLY_ARRAY);
    r = resp_reply_next(r);
    assert_int_equal(r->type, RESP_REPLY_MAP);
    r = resp_reply_next(r);
    assert_int_equal(r->type, RESP_REPLY_SET);
    assert_int_equal(resp_reply_root(&p)->span, 4);
    resp_reply_deinit(&p);
}

static void a_push_is_a_reply_of_its_own(void **state)
{
    struct resp_reply_parser p;
    const char *text = ">2\r\n+message\r\n+x\r\n:1\r\n";
    size_t len;

    (void)state;
    assert_int_equal(parse_bytes(&p, text, strlen(text), &len), ERR_OK);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_PUSH);
    assert_int_equal(len, strlen(text) - 4);
    resp_reply_deinit(&p);
}

static void attributes_are_stepped_over_and_found(void **state)
{
    struct resp_reply_parser p;
    const char *text = "|1\r\n+ttl\r\n:9\r\n*2\r\n:1\r\n|1\r\n+k\r\n|0\r\n"
                       "*1\r\n+v\r\n:2\r\n";
    const struct resp_reply *r, *a;

    (void)state;
    assert_int_equal(parse_text(&p, text), ERR_OK);
    r = resp_reply_root(&p);
    assert_int_equal(r->type, RESP_REPLY_ARRAY);
    assert_int_equal(r->n, 2);
    a = resp_reply_attribute(r);
    assert_non_null(a);
    assert_text(resp_reply_first(a), text, "ttl");
    r = resp_reply_first(r);
    assert_int_equal(r->integer, 1);
    assert_null(resp_reply_attribute(r));
    r = resp_reply_next(r);
    assert_int_equal(r->integer, 2);
    a = resp_reply_attribute(r);
    assert_non_null(a);
    assert_text(resp_reply_first(a), text, "k");
    assert_int_equal(resp_reply_next(resp_reply_first(a))->n, 1);
    resp_reply_deinit(&p);
}

static void of_two_attributes_the_last_belongs_to_the_value(void **state)
{
    struct resp_reply_parser p;
    const char *text = "|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n+v\r\n";
    const struct resp_reply *a;

    (void)state;
    assert_int_equal(parse_text(&p, text), ERR_OK);
    assert_text(resp_reply_root(&p), text, "v");
    a = resp_reply_attribute(resp_reply_root(&p));
    assert_text(resp_reply_first(a), text, "b");
    assert_null(resp_reply_attribute(resp_reply_first(a)));
    resp_reply_deinit(&p);
}

static void malformed_replies_are_refused(void **state)
{
    static const char *const bad[] = {
        "OK\r\n",         "\r\n",          "+OK\n",
        ":1x\r\n",        ":\r\n",         ":-\r\n",
        "$x\r\n",         "$-2\r\n",       "*-2\r\n",
        "%-1\r\n",        "~-1\r\n",       "=-1\r\n",
        "$3\r\nabcd\r\n", "$3\r\nabc\n\n", "#x\r\n",
        "#tt\r\n",        "_x\r\n",        ",\r\n",
        ",1.5x\r\n",      ",0x10\r\n",     "(12a\r\n",
        "(\r\n",          "=3\r\nabc\r\n", "=5\r\nabcde\r\n",
        "$?\r\n",         "*?\r\n",        ":9223372036854775808\r\n",
        "*1\r\n?\r\n",
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        assert_error(bad[i], ERR_SYNTAX);
    }
}

static void bounds_are_refused_before_any_memory_is_taken(void **state)
{
    struct resp_reply_parser p;
    size_t len;

    (void)state;
    assert_error("$1048577\r\n", ERR_LIMIT);
    assert_error("*10001\r\n", ERR_LIMIT);
    assert_error("%5001\r\n", ERR_LIMIT);
    assert_error("*9223372036854775807\r\n", ERR_LIMIT);
    /* A reply that keeps to every declared count, but not to their sum. */
    resp_reply_init(&p, false, 10, 3);
    assert_int_equal(
        resp_reply_parse(&p, (const uint8_t *)"*3\r\n:1\r\n:2\r\n:3\r\n", 16,
                         &len),
        ERR_LIMIT);
    resp_reply_deinit(&p);
}

static void nesting_is_bounded(void **state)
{
    struct buf b = BUF_INIT;
    struct resp_reply_parser p;
    size_t len;
    int i;

    (void)state;
    for (i = 0; i < RESP_REPLY_DEPTH_MAX; i++) {
        buf_append_str(&b, "*1\r\n");
    }
    buf_append_str(&b, ":1\r\n");
    assert_int_equal(parse_bytes(&p, b.data, b.len, &len), ERR_OK);
    assert_int_equal(len, b.len);
    resp_reply_deinit(&p);

    b.len -= 4;
    buf_append_str(&b, "*1\r\n:1\r\n");
    assert_int_equal(parse_bytes(&p, b.data, b.len, &len), ERR_LIMIT);
    resp_reply_deinit(&p);
    buf_deinit(&b);
}

static void an_endless_line_is_refused(void **state)
{
    struct buf b = BUF_INIT;
    struct resp_reply_parser p;
    size_t len;

    (void)state;
    buf_append_byte(&b, '+');
    memset(buf_room(&b, RESP_REPLY_LINE_MAX), 'x', RESP_REPLY_LINE_MAX);
    b.len += RESP_REPLY_LINE_MAX - 1;
    assert_int_equal(parse_bytes(&p, b.data, b.len, &len), ERR_OK);
    assert_int_equal(len, 0);
    resp_reply_deinit(&p);
    assert_int_equal(parse_bytes(&p, b.data, b.len + 1, &len), ERR_LIMIT);
    resp_reply_deinit(&p);
    buf_deinit(&b);
}

/* ---- random replies ----------------------------------------------------- */

static void random_value(struct rng *r, struct buf *b, int depth)
{
    static const char simple[][24] = {
        "+OK\r\n",  "-ERR x\r\n",    ":42\r\n",        "#t\r\n",
        ",1.5\r\n", "_\r\n",         "$-1\r\n",        "*-1\r\n",
        "(123\r\n", "!3\r\nE x\r\n", "=5\r\ntxt:a\r\n"};
    unsigned n = (unsigned)rng_below(r, 4);
    unsigned i;

    switch (rng_below(r, depth > 0 ? 6 : 2)) {
    case 0:
        buf_append_str(b, simple[rng_below(r, ARRAY_LEN(simple))]);
        return;
    case 1:
        n = (unsigned)rng_below(r, 20);
        buf_printf(b, "$%u\r\n", n);
        for (i = 0; i < n; i++) {
            buf_append_byte(b, (uint8_t) "\r\n*$x"[rng_below(r, 5)]);
        }
        buf_append_str(b, "\r\n");
        return;
    case 2:
        buf_printf(b, "|%u\r\n", n);
        for (i = 0; i < 2 * n; i++) {
            random_value(r, b, depth - 1);
        }
        random_value(r, b, depth - 1);
        return;
    case 3:
        buf_printf(b, "%%%u\r\n", n);
        n *= 2;
        break;
    default:
        buf_printf(b, "%c%u\r\n", "*~>"[rng_below(r, 3)], n);
    }
    for (i = 0; i < n; i++) {
        random_value(r, b, depth - 1);
    }
}

/* The same tree, whatever the pieces in which it came and whether it is the
 * only reply in the buffer; and the skipping parser ends where it ends. */
static void a_reply_cut_anywhere_gives_the_same_tree(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 0) : 1;
    struct buf b = BUF_INIT;
    struct rng r;
    int round;

    (void)state;
    rng_seed(&r, seed);
    for (round = 0; round < 3000; round++) {
        struct resp_reply_parser whole, pieces, skip;
        size_t reply_len, len = 0, fed = 0;

        b.len = 0;
        random_value(&r, &b, 4);
        reply_len = b.len;
        buf_append_str(&b, "+next\r\n");

        if (parse_bytes(&whole, b.data, b.len, &len) || len != reply_len) {
            fail_msg("SEED=%llu round %d", (unsigned long long)seed, round);
        }
        resp_reply_init(&pieces, true, MAX_TEXT, MAX_NODES);
        resp_reply_init(&skip, false, MAX_TEXT, MAX_NODES);
        for (len = 0; len == 0;) {
            /* A copy of exactly the bytes fed, so that a read past them shows;
             * and at a new place each time. */
            size_t skipped;
            uint8_t *copy;

            fed += 1 + rng_below(&r, 6);
            fed = fed > reply_len ? reply_len : fed;
            copy = mem_alloc(fed);
            memcpy(copy, b.data, fed);
            assert_int_equal(resp_reply_parse(&pieces, copy, fed, &len), 0);
            assert_int_equal(resp_reply_parse(&skip, copy, fed, &skipped), 0);
            assert_int_equal(skipped, len);
            mem_free(copy);
            assert_true(len == 0 ? fed < reply_len : len == reply_len);
        }
        assert_int_equal(pieces.n_nodes, whole.n_nodes);
        assert_int_equal(skip.n_nodes, whole.n_nodes);
        assert_memory_equal(pieces.nodes, whole.nodes,
                            whole.n_nodes * sizeof(*whole.nodes));
        resp_reply_deinit(&whole);
        resp_reply_deinit(&pieces);
        resp_reply_deinit(&skip);
    }
    buf_deinit(&b);
}

static void a_reset_parser_reads_the_next_reply(void **state)
{
    const uint8_t *text = (const uint8_t *)"*2\r\n:1\r\n:2\r\n+x\r\n";
    struct resp_reply_parser p;
    size_t len;

    (void)state;
    assert_int_equal(parse_bytes(&p, text, 16, &len), ERR_OK);
    assert_int_equal(len, 12);
    resp_reply_reset(&p);
    assert_int_equal(resp_reply_parse(&p, text + 12, 4, &len), ERR_OK);
    assert_int_equal(len, 4);
    assert_int_equal(resp_reply_root(&p)->type, RESP_REPLY_STRING);
    resp_reply_deinit(&p);
}

static void no_memory_for_the_tree_is_an_error(void **state)
{
    struct resp_reply_parser p;
    size_t len;

    (void)state;
    mem_fail_after(1);
    assert_int_equal(parse_bytes(&p, "+OK\r\n", 5, &len), ERR_NOMEM);
    mem_fail_after(0);
    resp_reply_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_of_resp2_are_read),
        cmocka_unit_test(both_nulls_of_resp2_say_how_they_were_sent),
        cmocka_unit_test(doubles_are_read_with_their_special_values),
        cmocka_unit_test(booleans_big_numbers_and_verbatim_texts_are_read),
        cmocka_unit_test(a_bulk_error_is_an_error),
        cmocka_unit_test(maps_count_keys_and_values),
        cmocka_unit_test(empty_aggregates_are_complete_values),
        cmocka_unit_test(a_push_is_a_reply_of_its_own),
        cmocka_unit_test(attributes_are_stepped_over_and_found),
        cmocka_unit_test(of_two_attributes_the_last_belongs_to_the_value),
        cmocka_unit_test(malformed_replies_are_refused),
        cmocka_unit_test(bounds_are_refused_before_any_memory_is_taken),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(an_endless_line_is_refused),
        cmocka_unit_test(a_reply_cut_anywhere_gives_the_same_tree),
        cmocka_unit_test(a_reset_parser_reads_the_next_reply),
        cmocka_unit_test(no_memory_for_the_tree_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
