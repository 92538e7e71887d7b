/* Random attributes and expressions against a twin that evaluates the
 * expression as a tree over values which never were JSON.
 *
 * Numbers and strings come from tables that say what they are worth, so the
 * twin parses nothing. The tree is printed with only the parentheses its shape
 * needs, or more, which makes precedence and associativity part of the test. */
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "unit/filter/filter_test.h"

enum kind { NUMBER, STRING, NOTHING, TUPLE, MISSING };

struct ref {
    enum kind kind;
    double num;      /* NUMBER; STRING: what it converts to */
    const char *str; /* STRING */
    int n_members;
    struct ref *members[4];
};

struct text_value {
    const char *text;
    double num;
};

static const struct text_value numbers[] = {
    {"0", 0},     {"1", 1},     {"2", 2},    {"5", 5},
    {"-2", -2},   {"2.5", 2.5}, {"1e1", 10}, {"-0", -0.0},
    {"1E2", 100}, {"007", 7},   {"3.", 3},   {"12345678901", 12345678901.0},
};

static const struct text_value strings[] = {
    {"", 0},     {"5", 5},   {"05", 5},     {"a", 0},       {"1e1", 10},
    {"x\"y", 0}, {"-2", -2}, {"2.5", 2.5},  {"5 ", 0},      {" 5", 5},
    {"it's", 0}, {"b\\", 0}, {"line\n", 0}, {"tab\t\r", 0}, {"0x10", 16},
    {"abc", 0},  {"bc", 0},  {"]},{[", 0},  {"and", 0},     {"\xc3\xa9", 0},
};

enum { N_KEYS = 24, N_OPS = 16 };

struct world {
    struct rng rng;
    struct ref refs[2048];
    int n_refs;
    struct ref *keys[N_KEYS]; /* NULL: no such key */
};

static struct rng *rng_of(struct world *w)
{
    return &w->rng;
}

static bool chance(struct world *w, unsigned percent)
{
    return rng_below(rng_of(w), 100) < percent;
}

static struct ref *new_ref(struct world *w, enum kind kind)
{
    struct ref *r = &w->refs[w->n_refs++];

    assert_true(w->n_refs < (int)ARRAY_LEN(w->refs));
    *r = (struct ref){.kind = kind};
    return r;
}

static void put_blanks(struct world *w, struct buf *out)
{
    while (chance(w, 20)) {
        buf_append_byte(out, (uint8_t) " \t\n\r"[rng_below(&w->rng, 4)]);
    }
}

/* ---- literals ------------------------------------------------------------ */

static struct ref *random_number(struct world *w, struct buf *out)
{
    const struct text_value *v =
        &numbers[rng_below(&w->rng, ARRAY_LEN(numbers))];
    struct ref *r = new_ref(w, NUMBER);

    r->num = v->num;
    buf_append_str(out, v->text);
    return r;
}

/* A byte of a quoted literal, escaped where it must be and sometimes where it
 * need not. */
static void put_quoted_byte(struct world *w, struct buf *out, char c,
                            char quote)
{
    static const char plain[] = "\n\r\t";
    static const char letter[] = "nrt";
    const char *control = c ? strchr(plain, c) : NULL;

    if (control && chance(w, 50)) {
        buf_append_byte(out, '\\');
        c = letter[control - plain];
    } else if (c == quote || c == '\\' ||
               (!control && !strchr("nrt", c) && chance(w, 10))) {
        buf_append_byte(out, '\\');
    }
    buf_append_byte(out, (uint8_t)c);
}

static struct ref *random_string(struct world *w, struct buf *out, char quote)
{
    const struct text_value *v =
        &strings[rng_below(&w->rng, ARRAY_LEN(strings))];
    struct ref *r = new_ref(w, STRING);

    r->num = v->num;
    r->str = v->text;
    buf_append_byte(out, (uint8_t)quote);
    for (const char *p = v->text; *p; p++) {
        put_quoted_byte(w, out, *p, quote);
    }
    buf_append_byte(out, (uint8_t)quote);
    return r;
}

/* ---- attributes ---------------------------------------------------------- */

static void put_object(struct world *w, struct buf *out)
{
    static const char *const objects[] = {
        "{}",
        "{\"k0\":1}",
        "{ \"k1\" : [1,{}] }",
        "{\"a\":\"}\",\"b\":{}}",
    };

    buf_append_str(out, objects[rng_below(&w->rng, ARRAY_LEN(objects))]);
}

static struct ref *random_json(struct world *w, struct buf *out, int depth)
{
    struct ref *r;

    switch (rng_below(&w->rng, depth ? 7 : 9)) {
    case 0:
    case 1:
        return random_number(w, out);
    case 2:
    case 3:
        return random_string(w, out, '"');
    case 4:
        r = new_ref(w, NUMBER);
        r->num = chance(w, 50);
        buf_append_str(out, r->num != 0 ? "true" : "false");
        return r;
    case 5:
        buf_append_str(out, "null");
        return new_ref(w, NOTHING);
    case 7:
        put_object(w, out);
        return new_ref(w, MISSING);
    default:
        r = new_ref(w, TUPLE);
        r->n_members = depth < 2 ? (int)rng_below(&w->rng, 4) : 0;
        buf_append_byte(out, '[');
        for (int i = 0; i < r->n_members; i++) {
            put_blanks(w, out);
            r->members[i] = random_json(w, out, depth + 1);
            put_blanks(w, out);
            buf_append_str(out, i + 1 < r->n_members ? "," : "");
        }
        buf_append_byte(out, ']');
        return r;
    }
}

/* Fields in random order, some twice: the first counts. */
static void random_attribute(struct world *w, struct buf *out)
{
    int n_fields = (int)rng_below(&w->rng, N_KEYS * 2);

    memset(w->keys, 0, sizeof(w->keys));
    put_blanks(w, out);
    buf_append_byte(out, '{');
    for (int i = 0; i < n_fields; i++) {
        int key = (int)rng_below(&w->rng, N_KEYS);
        struct ref *r;

        put_blanks(w, out);
        if (chance(w, 10)) {
            buf_append_str(out, "\"other \\\" k\"");
            key = -1;
        } else {
            buf_printf(out, "\"k%d\"", key);
        }
        put_blanks(w, out);
        buf_append_byte(out, ':');
        put_blanks(w, out);
        r = random_json(w, out, 0);
        if (key >= 0 && !w->keys[key]) {
            w->keys[key] = r;
        }
        put_blanks(w, out);
        buf_append_str(out, i + 1 < n_fields ? "," : "");
    }
    buf_append_str(out, chance(w, 90) ? "}" : "");
}

/* ---- the twin's operators ------------------------------------------------ */

static double to_number(const struct ref *r)
{
    return r->kind == NUMBER || r->kind == STRING ? r->num : 0;
}

static bool is_true(const struct ref *r)
{
    switch (r->kind) {
    case NUMBER:
        return r->num != 0;
    case STRING:
        return r->str[0] != '\0';
    default:
        return r->kind == TUPLE;
    }
}

static bool equal(const struct ref *a, const struct ref *b)
{
    if (a->kind == NOTHING || b->kind == NOTHING) {
        return a->kind == NOTHING && b->kind == NOTHING;
    }
    if (a->kind == STRING && b->kind == STRING) {
        return strcmp(a->str, b->str) == 0;
    }
    return to_number(a) == to_number(b);
}

static bool contains(const struct ref *a, const struct ref *b)
{
    if (b->kind == STRING) {
        return a->kind == STRING && strstr(b->str, a->str) != NULL;
    }
    for (int i = 0; b->kind == TUPLE && i < b->n_members; i++) {
        if (equal(a, b->members[i])) {
            return true;
        }
    }
    return false;
}

static const struct {
    const char *text;
    const char *other;
    int level;
} ops[N_OPS] = {
    {"!", "not ", 6}, {"**", "**", 5}, {"*", "*", 4},    {"/", "/", 4},
    {"%", "%", 4},    {"+", "+", 3},   {"-", "-", 3},    {">", ">", 2},
    {">=", ">=", 2},  {"<", "<", 2},   {"<=", "<=", 2},  {"==", "==", 2},
    {"!=", "!=", 2},  {"in", "in", 2}, {"and", "&&", 1}, {"or", "||", 0},
};

static double apply(int op, const struct ref *a, const struct ref *b)
{
    double x = to_number(a);
    double y = b ? to_number(b) : 0;

    switch (op) {
    case 0:
        return !is_true(a);
    case 1:
        return pow(x, y);
    case 2:
        return x * y;
    case 3:
        return x / y;
    case 4:
        return fmod(x, y);
    case 5:
        return x + y;
    case 6:
        return x - y;
    case 7:
        return x > y;
    case 8:
        return x >= y;
    case 9:
        return x < y;
    case 10:
        return x <= y;
    case 11:
        return equal(a, b);
    case 12:
        return !equal(a, b);
    case 13:
        return contains(a, b);
    case 14:
        return is_true(a) && is_true(b);
    default:
        return is_true(a) || is_true(b);
    }
}

/* ---- expressions --------------------------------------------------------- */

static struct ref *random_literal(struct world *w, struct buf *out)
{
    struct ref *r;

    switch (rng_below(&w->rng, 8)) {
    case 0:
    case 1:
        return random_string(w, out, chance(w, 50) ? '"' : '\'');
    case 2:
        buf_append_str(out, "null");
        return new_ref(w, NOTHING);
    case 3:
    case 4:
        r = new_ref(w, TUPLE);
        r->n_members = (int)rng_below(&w->rng, 4);
        buf_append_byte(out, '[');
        for (int i = 0; i < r->n_members; i++) {
            put_blanks(w, out);
            r->members[i] = chance(w, 50) ? random_number(w, out)
                                          : random_string(w, out, '\'');
            put_blanks(w, out);
            buf_append_str(out,
                           i + 1 < r->n_members || chance(w, 20) ? "," : "");
        }
        buf_append_byte(out, ']');
        return r;
    default:
        return random_number(w, out);
    }
}

/* Selectors mostly of keys that are there, or everything would be false. */
static struct ref *random_selector(struct world *w, struct buf *out)
{
    for (int tries = 0;; tries++) {
        int key = (int)rng_below(&w->rng, N_KEYS);
        struct ref *r = w->keys[key];

        if ((r && r->kind != MISSING) || tries > 20 || chance(w, 1)) {
            buf_printf(out, ".k%d", key);
            return r && r->kind != MISSING ? r : new_ref(w, MISSING);
        }
    }
}

static struct ref *random_expr(struct world *w, struct buf *out, int depth,
                               int min_level);

/* min_level: operators of a lower level need parentheses here. */
static struct ref *random_operation(struct world *w, struct buf *out, int depth,
                                    int min_level)
{
    int op = (int)rng_below(&w->rng, N_OPS);
    int level = ops[op].level;
    bool is_bracketed = level < min_level || chance(w, 10);
    struct ref *a;
    struct ref *b = NULL;
    struct ref *r;

    buf_append_str(out, is_bracketed ? "(" : "");
    if (op == 0) {
        buf_append_str(out, chance(w, 50) ? ops[op].text : ops[op].other);
        a = random_expr(w, out, depth - 1, level);
    } else {
        /* the side that associates may hold the same level */
        a = random_expr(w, out, depth - 1, op == 1 ? level + 1 : level);
        buf_printf(out, " %s ", chance(w, 50) ? ops[op].text : ops[op].other);
        b = random_expr(w, out, depth - 1, op == 1 ? level : level + 1);
    }
    buf_append_str(out, is_bracketed ? ")" : "");
    if (a->kind == MISSING || (b && b->kind == MISSING)) {
        return new_ref(w, MISSING);
    }
    r = new_ref(w, NUMBER);
    r->num = apply(op, a, b);
    return r;
}

static struct ref *random_expr(struct world *w, struct buf *out, int depth,
                               int min_level)
{
    struct ref *r;

    put_blanks(w, out);
    if (depth > 0 && chance(w, 80)) {
        r = random_operation(w, out, depth, min_level);
    } else if (chance(w, 60)) {
        r = random_selector(w, out);
    } else {
        r = random_literal(w, out);
    }
    put_blanks(w, out);
    return r;
}

static uint64_t seed_of_run(void)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 0) : 20240229;

    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void random_expressions_agree_with_the_tree(void **state)
{
    struct world *w = malloc(sizeof(*w));
    struct buf json = BUF_INIT;
    struct buf expr = BUF_INIT;
    int n_passed = 0;
    const int rounds = 20000;

    (void)state;
    assert_non_null(w);
    rng_seed(&w->rng, seed_of_run());
    for (int i = 0; i < rounds; i++) {
        const struct ref *r;
        bool wanted;
        size_t at;
        int got;

        w->n_refs = 0;
        json.len = 0;
        expr.len = 0;
        random_attribute(w, &json);
        r = random_expr(w, &expr, (int)rng_below(&w->rng, 5), 0);
        wanted = r->kind != MISSING && is_true(r);
        got = filter_try(buf_bytes(&expr), buf_bytes(&json), &at);
        if (got != wanted) {
            fail_msg("round %d: %.*s on %.*s: %d", i, (int)expr.len, expr.data,
                     (int)json.len, json.data, got);
        }
        n_passed += wanted;
    }
    assert_in_range(n_passed, rounds / 5, rounds / 5 * 4);
    buf_deinit(&json);
    buf_deinit(&expr);
    free(w);
}

/* Damaged texts: no value appears that the intact prefix did not hold. */
static void a_prefix_of_a_text_never_adds_keys(void **state)
{
    struct world *w = malloc(sizeof(*w));
    struct buf json = BUF_INIT;
    struct buf whole = BUF_INIT;
    struct buf part = BUF_INIT;

    (void)state;
    assert_non_null(w);
    rng_seed(&w->rng, seed_of_run());
    for (int i = 0; i < 300; i++) {
        w->n_refs = 0;
        json.len = 0;
        whole.len = 0;
        random_attribute(w, &json);
        filter_row_build(buf_bytes(&json), &whole);
        for (size_t len = 0; len < json.len; len++) {
            struct bytes cut = bytes_copy(bytes_of(json.data, len));

            part.len = 0;
            filter_row_build(cut, &part);
            assert_true(filter_row_validate(cut, buf_bytes(&part)));
            assert_true(part.len <= whole.len);
            bytes_free(cut);
        }
    }
    buf_deinit(&json);
    buf_deinit(&whole);
    buf_deinit(&part);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_expressions_agree_with_the_tree),
        cmocka_unit_test(a_prefix_of_a_text_never_adds_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
