/* Nanoseconds per number parsed and printed, beside the C library's.
 *
 *     bench_num [NUMBERS [ROUNDS]]
 *
 * Each set holds NUMBERS different texts in random order, more than a branch
 * predictor remembers. The best of ROUNDS rounds counts, the two sides taking
 * turns. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

enum { TEXT_ROOM = 48 };

struct set {
    size_t n;
    double *value;
    struct bytes *text;
    char *room;
};

struct times {
    double ours_ns;
    double libc_ns;
};

typedef void (*make_fn)(struct rng *rng, char text[TEXT_ROOM]);

static void make_six_digits(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%.6f", 2 * rng_unit(rng) - 1);
}

static void make_exponent(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%.1fe-%d", 10 + 89 * rng_unit(rng),
             1 + (int)rng_below(rng, 9));
}

static void make_mixed_short(struct rng *rng, char text[TEXT_ROOM])
{
    double value = 10 * rng_normal(rng);
    int precision = 1 + (int)rng_below(rng, 6);

    switch (rng_below(rng, 3)) {
    case 0:
        snprintf(text, TEXT_ROOM, "%.*g", precision, value);
        break;
    case 1:
        snprintf(text, TEXT_ROOM, "%.*e", precision, value);
        break;
    default:
        snprintf(text, TEXT_ROOM, "%.*f", precision, value);
        break;
    }
}

static void make_small_integer(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%d", (int)rng_below(rng, 2001) - 1000);
}

static void make_float_9(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%.9g", (double)(float)rng_normal(rng));
}

static void make_double_17(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%.17g", rng_normal(rng) / 16);
}

/* What Python's and JavaScript's floats look like when they held a float32. */
static void make_shortest(struct rng *rng, char text[TEXT_ROOM])
{
    double value = (double)(float)(rng_normal(rng) / 16);

    text[num_format_double(value, text)] = '\0';
}

static void make_any_bits(struct rng *rng, char text[TEXT_ROOM])
{
    double value;

    do {
        uint64_t bits = rng_next(rng);

        memcpy(&value, &bits, sizeof(value));
    } while (!isnormal(value));
    snprintf(text, TEXT_ROOM, "%.17g", value);
}

static void make_25_digits(struct rng *rng, char text[TEXT_ROOM])
{
    snprintf(text, TEXT_ROOM, "%.25f", rng_unit(rng));
}

static void set_create(struct set *s, size_t n, make_fn make)
{
    struct rng rng;
    size_t i;

    rng_seed(&rng, 1);
    s->n = n;
    s->value = mem_alloc(n * sizeof(*s->value));
    s->text = mem_alloc(n * sizeof(*s->text));
    s->room = mem_alloc(n * TEXT_ROOM);
    for (i = 0; i < n; i++) {
        char *text = s->room + i * TEXT_ROOM;

        make(&rng, text);
        s->text[i] = bytes_str(text);
        s->value[i] = strtod(text, NULL);
    }
}

static void set_destroy(struct set *s)
{
    mem_free(s->value);
    mem_free(s->text);
    mem_free(s->room);
}

/* Each returns something of all results, so that none is optimized away. */

static double parse_ours(const struct set *s)
{
    double sum = 0;
    double value;
    size_t i;

    for (i = 0; i < s->n; i++) {
        if (num_parse_double(s->text[i], &value)) {
            sum += value;
        }
    }
    return sum;
}

static double parse_libc(const struct set *s)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < s->n; i++) {
        sum += strtod((const char *)s->text[i].data, NULL);
    }
    return sum;
}

static double format_ours(const struct set *s)
{
    char out[NUM_TEXT_MAX];
    size_t len = 0;
    size_t i;

    for (i = 0; i < s->n; i++) {
        len += num_format_double(s->value[i], out);
    }
    return (double)len;
}

static double format_libc(const struct set *s)
{
    char out[TEXT_ROOM];
    double len = 0;
    size_t i;

    for (i = 0; i < s->n; i++) {
        len += snprintf(out, sizeof(out), "%.17g", s->value[i]);
    }
    return len;
}

static double format_i64_ours(const struct set *s)
{
    char out[NUM_TEXT_MAX];
    size_t len = 0;
    size_t i;

    for (i = 0; i < s->n; i++) {
        len += num_format_i64((int64_t)(s->value[i] * 1e6), out);
    }
    return (double)len;
}

static double format_i64_libc(const struct set *s)
{
    char out[TEXT_ROOM];
    double len = 0;
    size_t i;

    for (i = 0; i < s->n; i++) {
        len +=
            snprintf(out, sizeof(out), "%lld", (long long)(s->value[i] * 1e6));
    }
    return len;
}

static volatile double sink;

static double ns_per_number(const struct set *s,
                            double (*work)(const struct set *))
{
    int64_t start = clock_mono_ns();

    sink = work(s);
    return (double)(clock_mono_ns() - start) / (double)s->n;
}

static struct times measure(const struct set *s, int rounds,
                            double (*ours)(const struct set *),
                            double (*libc)(const struct set *))
{
    struct times best = {INFINITY, INFINITY};
    int i;

    for (i = 0; i < rounds; i++) {
        best.ours_ns = fmin(best.ours_ns, ns_per_number(s, ours));
        best.libc_ns = fmin(best.libc_ns, ns_per_number(s, libc));
    }
    return best;
}

static void report(const char *what, const char *example, struct times t)
{
    printf("%-8s %-26s %8.1f %8.1f %7.1fx\n", what, example, t.ours_ns,
           t.libc_ns, t.libc_ns / t.ours_ns);
}

int main(int argc, char **argv)
{
    static const make_fn makes[] = {
        make_six_digits,    make_exponent, make_mixed_short,
        make_small_integer, make_float_9,  make_shortest,
        make_double_17,     make_any_bits, make_25_digits};
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    int rounds = argc > 2 ? atoi(argv[2]) : 20;
    size_t i;

    if (n == 0 || rounds <= 0) {
        fprintf(stderr, "usage: bench_num [NUMBERS [ROUNDS]]\n");
        return 2;
    }
    printf("%-8s %-26s %8s %8s\n", "", "for example", "ns", "libc ns");
    for (i = 0; i < ARRAY_LEN(makes); i++) {
        struct set s;
        const char *example;

        set_create(&s, n, makes[i]);
        example = (const char *)s.text[0].data;
        report("parse", example, measure(&s, rounds, parse_ours, parse_libc));
        report("print", example, measure(&s, rounds, format_ours, format_libc));
        if (makes[i] == make_mixed_short) {
            report("integer", "x * 10^6",
                   measure(&s, rounds, format_i64_ours, format_i64_libc));
        }
        set_destroy(&s);
    }
    return 0;
}
