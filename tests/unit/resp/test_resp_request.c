/* Requests in every shape and in every number of pieces. */
#include "unit/cm.h"

#include "base/mem.h"
#include "resp/resp_request.h"

static const struct resp_limits open_limits = {.bulk_max = 512 << 20,
                                               .authenticated = true};

struct fixture {
    struct resp_parser parser;
    struct resp_scratch scratch;
    struct resp_request request;
    char error[128];
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    resp_parser_init(&f->parser);
    resp_scratch_init(&f->scratch);
}

static void end(struct fixture *f)
{
    resp_parser_deinit(&f->parser, &f->scratch);
    resp_scratch_deinit(&f->scratch);
}

static enum resp_result parse(struct fixture *f, void *data, size_t len)
{
    return resp_parse(&f->parser, &f->scratch, &open_limits, data, len,
                      &f->request, f->error, sizeof(f->error));
}

static void check_words(const struct fixture *f, size_t n, ...)
{
    va_list ap;
    size_t i;

    assert_int_equal(f->request.argc, n);
    va_start(ap, n);
    for (i = 0; i < n; i++) {
        const char *want = va_arg(ap, const char *);

        assert_int_equal(f->request.argv[i].len, strlen(want));
        assert_memory_equal(f->request.argv[i].data, want, strlen(want));
    }
    va_end(ap);
}

/* Parses text whole; it is one request of `consumed` bytes. */
static void check_whole(const char *text, size_t consumed, size_t n, ...)
{
    struct fixture f;
    char copy[512];
    va_list ap;
    size_t i;

    begin(&f);
    memcpy(copy, text, strlen(text) + 1);
    assert_int_equal(parse(&f, copy, strlen(text)), RESP_READY);
    assert_int_equal(f.request.consumed, consumed);
    assert_int_equal(f.request.argc, n);
    va_start(ap, n);
    for (i = 0; i < n; i++) {
        const char *want = va_arg(ap, const char *);

        assert_int_equal(f.request.argv[i].len, strlen(want));
        assert_memory_equal(f.request.argv[i].data, want, strlen(want));
    }
    va_end(ap);
    assert_true(resp_parser_is_idle(&f.parser));
    end(&f);
}

static void arrays_of_bulk_strings_become_arguments(void **state)
{
    (void)state;
    check_whole("*1\r\n$4\r\nPING\r\n", 14, (size_t)1, "PING");
    check_whole("*2\r\n$3\r\nGET\r\n$0\r\n\r\nrest", 19, (size_t)2, "GET", "");
    check_whole("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\n\r\n\r\r\n", 29, (size_t)3,
                "SET", "a", "\r\n\r");
}

static void empty_requests_are_nothing_to_do(void **state)
{
    (void)state;
    check_whole("*0\r\n", 4, (size_t)0);
    check_whole("*-1\r\n", 5, (size_t)0);
    check_whole("*-10\r\n", 6, (size_t)0);
    check_whole("\r\n", 2, (size_t)0);
    check_whole("\n", 1, (size_t)0);
    check_whole("   \r\n", 5, (size_t)0);
}

static void inline_lines_are_split_into_words(void **state)
{
    (void)state;
    check_whole("PING\r\n", 6, (size_t)1, "PING");
    check_whole("PING\n", 5, (size_t)1, "PING");
    check_whole("set  a \"b c\"\r\nx", 14, (size_t)3, "set", "a", "b c");
}

static void a_request_may_come_in_any_pieces(void **state)
{
    static const char text[] =
        "*3\r\n$4\r\nVADD\r\n$10\r\n0123456789\r\n$1\r\nx\r\n";
    size_t len = sizeof(text) - 1;
    size_t first, second;

    (void)state;
    for (first = 1; first < len; first++) {
        for (second = first; second < len; second++) {
            /* Each piece arrives in memory of another place. */
            char *a = malloc(first), *b = malloc(second), *c = malloc(len);
            struct fixture f;

            begin(&f);
            memcpy(a, text, first);
            assert_int_equal(parse(&f, a, first), RESP_MORE);
            memcpy(b, text, second);
            free(a);
            assert_int_equal(parse(&f, b, second), RESP_MORE);
            memcpy(c, text, len);
            free(b);
            assert_int_equal(parse(&f, c, len), RESP_READY);
            check_words(&f, 3, "VADD", "0123456789", "x");
            assert_int_equal(f.request.consumed, len);
            free(c);
            end(&f);
        }
    }
}

static void interrupted_requests_of_two_parsers_do_not_mix(void **state)
{
    char one[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    char two[] = "*2\r\n$3\r\nSET\r\n$1\r\nb\r\n";
    struct fixture f;
    struct resp_parser other;
    struct resp_request r;

    (void)state;
    begin(&f);
    resp_parser_init(&other);
    assert_int_equal(parse(&f, one, sizeof(one) - 4), RESP_MORE);
    assert_int_equal(resp_parse(&other, &f.scratch, &open_limits,
                                (uint8_t *)two, sizeof(two) - 4, &r, f.error,
                                sizeof(f.error)),
                     RESP_MORE);
    assert_int_equal(parse(&f, one, sizeof(one) - 1), RESP_READY);
    check_words(&f, 2, "GET", "a");
    assert_int_equal(resp_parse(&other, &f.scratch, &open_limits,
                                (uint8_t *)two, sizeof(two) - 1, &r, f.error,
                                sizeof(f.error)),
                     RESP_READY);
    assert_memory_equal(r.argv[1].data, "b", 1);
    resp_parser_deinit(&other, &f.scratch);
    end(&f);
}

static void the_size_of_a_large_argument_is_known_early(void **state)
{
    char text[] = "*2\r\n$3\r\nSET\r\n$100000\r\nabc";
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(parse(&f, text, sizeof(text) - 1), RESP_MORE);
    assert_int_equal(resp_parser_wants(&f.parser),
                     sizeof(text) - 1 - 3 + 100000 + 2);
    end(&f);
}

static void check_invalid(const char *text, const char *error,
                          const struct resp_limits *limits)
{
    struct fixture f;
    char copy[1024];

    begin(&f);
    memcpy(copy, text, strlen(text) + 1);
    assert_int_equal(resp_parse(&f.parser, &f.scratch, limits, (uint8_t *)copy,
                                strlen(text), &f.request, f.error,
                                sizeof(f.error)),
                     RESP_INVALID);
    assert_string_equal(f.error, error);
    end(&f);
}

static void malformed_requests_get_redis_s_errors(void **state)
{
    struct resp_limits small = {.bulk_max = 1000, .authenticated = true};

    (void)state;
    check_invalid("*x\r\n", "ERR Protocol error: invalid multibulk length",
                  &open_limits);
    check_invalid("*3000000000\r\n",
                  "ERR Protocol error: invalid multibulk length", &open_limits);
    check_invalid("*99999999999999999999\r\n",
                  "ERR Protocol error: invalid multibulk length", &open_limits);
    check_invalid("*1\r\nPING\r\n", "ERR Protocol error: expected '$', got 'P'",
                  &open_limits);
    check_invalid("*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length",
                  &open_limits);
    check_invalid("*1\r\n$x\r\n", "ERR Protocol error: invalid bulk length",
                  &open_limits);
    check_invalid("*1\r\n$1001\r\n", "ERR Protocol error: invalid bulk length",
                  &small);
    check_invalid("*1\r\n$ 4\r\nPING\r\n",
                  "ERR Protocol error: invalid bulk length", &open_limits);
    check_invalid("GET \"a\r\n",
                  "ERR Protocol error: unbalanced quotes in request",
                  &open_limits);
}

/* Wherever it stands among others, and whatever follows. */
static void a_malformed_length_is_found_among_good_ones(void **state)
{
    static const char *const bad[] = {"$05", "$00", "$0x", "$1x", "$x1", "$",
                                      "$-1", "$1 ", "$ 1", "$:1", "$1:"};
    char text[1024];
    size_t i, before, len;

    (void)state;
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        for (before = 0; before < 70; before += 23) {
            len = (size_t)sprintf(text, "*99\r\n");
            for (size_t k = 0; k < before; k++) {
                len += (size_t)sprintf(text + len, "$1\r\n\r\r\n");
            }
            sprintf(text + len, "%s\r\n%.110d", bad[i], 0);
            check_invalid(text, "ERR Protocol error: invalid bulk length",
                          &open_limits);
            sprintf(text + len, "#1\r\n%.110d", 0);
            check_invalid(text, "ERR Protocol error: expected '$', got '#'",
                          &open_limits);
        }
    }
}

static void strangers_may_send_little(void **state)
{
    struct resp_limits limits = {.bulk_max = 512 << 20};

    (void)state;
    check_invalid("*11\r\n",
                  "ERR Protocol error: unauthenticated multibulk length",
                  &limits);
    check_invalid("*1\r\n$16385\r\n",
                  "ERR Protocol error: unauthenticated bulk length", &limits);
}

static void endless_lines_are_cut_off(void **state)
{
    size_t len = RESP_INLINE_MAX + 1;
    char *text = malloc(len);
    struct fixture f;

    (void)state;
    memset(text, 'a', len);
    begin(&f);
    assert_int_equal(parse(&f, text, len - 1), RESP_MORE);
    assert_int_equal(parse(&f, text, len), RESP_INVALID);
    assert_string_equal(f.error, "ERR Protocol error: too big inline request");
    end(&f);
    memset(text, '1', len);
    text[0] = '*';
    begin(&f);
    assert_int_equal(parse(&f, text, len), RESP_INVALID);
    assert_string_equal(f.error,
                        "ERR Protocol error: too big mbulk count string");
    end(&f);
    free(text);
}

static void memory_follows_what_arrives_not_what_is_announced(void **state)
{
    char text[] = "*2000000000\r\n$1\r\na\r\n";
    size_t used = mem_used();
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(parse(&f, text, sizeof(text) - 1), RESP_MORE);
    assert_true(mem_used() - used < 16384);
    end(&f);
    assert_int_equal(mem_used(), used);
}

static void many_arguments_are_all_there(void **state)
{
    enum { N = 100000 };
    char *text = malloc(N * 20 + 32);
    size_t len = (size_t)sprintf(text, "*%d\r\n", N);
    struct fixture f;
    size_t at;
    int i;

    (void)state;
    for (i = 0; i < N; i++) {
        char word[16];
        int n = sprintf(word, "%d", i);

        len += (size_t)sprintf(text + len, "$%d\r\n%s\r\n", n, word);
    }
    begin(&f);
    /* In pieces, so that the array is carried along. */
    for (at = 1000; at < len; at += 4099) {
        assert_int_equal(parse(&f, text, at), RESP_MORE);
    }
    assert_int_equal(parse(&f, text, len), RESP_READY);
    assert_int_equal(f.request.argc, N);
    for (i = 0; i < N; i++) {
        char word[16];
        int n = sprintf(word, "%d", i);

        assert_int_equal(f.request.argv[i].len, n);
        assert_memory_equal(f.request.argv[i].data, word, (size_t)n);
    }
    end(&f);
    free(text);
}

static void random_requests_in_random_pieces_agree(void **state)
{
    struct rng rng;
    int round;

    (void)state;
    cm_seed(&rng);
    for (round = 0; round < 3000; round++) {
        uint8_t text[16384], args[80][160];
        size_t lens[80], n = 1 + rng_below(&rng, 79), len, at = 0, i, k;
        size_t longest = 1 + rng_below(&rng, 160);
        enum resp_result r = RESP_MORE;
        struct fixture f;

        len = (size_t)sprintf((char *)text, "*%zu\r\n", n);
        for (i = 0; i < n; i++) {
            lens[i] = rng_below(&rng, longest);
            for (k = 0; k < lens[i]; k++) {
                args[i][k] = (uint8_t)rng_next(&rng);
            }
            len += (size_t)sprintf((char *)text + len, "$%zu\r\n", lens[i]);
            memcpy(text + len, args[i], lens[i]);
            len += lens[i];
            memcpy(text + len, "\r\n", 2);
            len += 2;
        }
        begin(&f);
        while (at < len) {
            at += 1 + rng_below(&rng, len - at);
            r = parse(&f, text, at);
            assert_int_equal(r, at < len ? RESP_MORE : RESP_READY);
        }
        assert_int_equal(f.request.argc, n);
        for (i = 0; i < n; i++) {
            assert_int_equal(f.request.argv[i].len, lens[i]);
            assert_memory_equal(f.request.argv[i].data, args[i], lens[i]);
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_bulk_strings_become_arguments),
        cmocka_unit_test(empty_requests_are_nothing_to_do),
        cmocka_unit_test(inline_lines_are_split_into_words),
        cmocka_unit_test(a_request_may_come_in_any_pieces),
        cmocka_unit_test(interrupted_requests_of_two_parsers_do_not_mix),
        cmocka_unit_test(the_size_of_a_large_argument_is_known_early),
        cmocka_unit_test(malformed_requests_get_redis_s_errors),
        cmocka_unit_test(a_malformed_length_is_found_among_good_ones),
        cmocka_unit_test(strangers_may_send_little),
        cmocka_unit_test(endless_lines_are_cut_off),
        cmocka_unit_test(memory_follows_what_arrives_not_what_is_announced),
        cmocka_unit_test(many_arguments_are_all_there),
        cmocka_unit_test(random_requests_in_random_pieces_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
