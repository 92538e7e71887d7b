#include "tools/bench/bench_values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "tools/bench/bench_parallel.h"

enum { PIECE = 512, SAMPLE = 64, DECIMALS_MAX = 15 };

static const double pow10_of[DECIMALS_MAX + 1] = {
    1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* m / 10^decimals, as sign, digits, point, digits. */
static size_t write_scaled(bool minus, uint64_t m, int decimals, char *out)
{
    char digits[NUM_TEXT_MAX];
    size_t n = num_format_u64(m, digits);
    size_t frac = (size_t)decimals;
    char *p = out;

    if (minus) {
        *p++ = '-';
    }
    if (n <= frac) {
        *p++ = '0';
    } else {
        memcpy(p, digits, n - frac);
        p += n - frac;
    }
    if (frac) {
        size_t have = n < frac ? n : frac;

        *p++ = '.';
        memset(p, '0', frac - have);
        memcpy(p + (frac - have), digits + (n - have), have);
        p += frac;
    }
    return (size_t)(p - out);
}

/* For values far from 1, which real sets do not have many of. */
static size_t format_rare(float x, char *out)
{
    int digits, n = 0;

    for (digits = 1; digits <= 9; digits++) {
        n = snprintf(out, BENCH_VALUES_TEXT_MAX, "%.*g", digits, (double)x);
        if (strtof(out, NULL) == x) {
            break;
        }
    }
    return (size_t)n;
}

size_t bench_values_format(float x, int decimals, char *out)
{
    bool minus = signbit(x);
    double a = fabs((double)x);
    int d;

    if (decimals >= 0) {
        if (!(a < 1e6)) {
            return (size_t)snprintf(out, BENCH_VALUES_TEXT_MAX, "%.*f",
                                    decimals, (double)x);
        }
        return write_scaled(minus, (uint64_t)(a * pow10_of[decimals] + 0.5),
                            decimals, out);
    }
    if (a == 0) {
        return write_scaled(minus, 0, 0, out);
    }
    if (!(a < 1e9 && a >= 1e-5)) {
        return format_rare(x, out);
    }
    /* In this range nine significant digits have at most 14 decimals, and the
     * scaled value fits the 53 bits of a double. */
    for (d = 0; d < DECIMALS_MAX; d++) {
        double m = floor(a * pow10_of[d] + 0.5);

        if ((double)(float)(m / pow10_of[d]) == a) {
            return write_scaled(minus, (uint64_t)m, d, out);
        }
    }
    return format_rare(x, out);
}

static void append_bulk(struct buf *out, const char *text, size_t len)
{
    char *p = (char *)buf_room(out, len + NUM_TEXT_MAX + 8);
    char *start = p;

    *p++ = '$';
    p += num_format_u64(len, p);
    memcpy(p, "\r\n", 2);
    memcpy(p + 2, text, len);
    memcpy(p + 2 + len, "\r\n", 2);
    out->len += (size_t)(p - start) + len + 4;
}

void bench_values_render(const struct bench_vectors *v, uint64_t row,
                         int decimals, struct buf *out)
{
    const uint8_t *x = bench_vectors_row(v, row);
    char text[BENCH_VALUES_TEXT_MAX];
    uint32_t j;

    append_bulk(out, text, num_format_u64(v->dim, text));
    for (j = 0; j < v->dim; j++) {
        float f;

        memcpy(&f, x + 4 * (size_t)j, sizeof(f));
        append_bulk(out, text, bench_values_format(f, decimals, text));
    }
}

/* ---- made before -------------------------------------------------------- */

struct bench_values {
    const struct bench_vectors *v;
    uint64_t first, n;
    int decimals;
    struct buf *pieces; /* the texts of PIECE rows each */
    uint32_t *starts;   /* per row: where it starts in its piece */
};

static enum err render_piece(void *arg, unsigned worker, uint64_t from,
                             uint64_t to)
{
    struct bench_values *t = arg;
    struct buf *b = &t->pieces[from / PIECE];
    uint64_t i;

    (void)worker;
    for (i = from; i < to; i++) {
        if (b->len > UINT32_MAX) {
            return ERR_LIMIT;
        }
        t->starts[i] = (uint32_t)b->len;
        bench_values_render(t->v, t->first + i, t->decimals, b);
    }
    return ERR_OK;
}

/* Bytes of all texts, from those of the first few rows; a buffer may have
 * grown by a quarter more than it holds. */
static double estimate(const struct bench_values *t)
{
    uint64_t rows = t->n < SAMPLE ? t->n : SAMPLE;
    struct buf b = BUF_INIT;
    double bytes;
    uint64_t i;

    for (i = 0; i < rows; i++) {
        bench_values_render(t->v, t->first + i, t->decimals, &b);
    }
    bytes = (double)b.len * 1.25 * (double)t->n / (double)rows;
    buf_deinit(&b);
    return bytes;
}

enum err bench_values_create(const struct bench_vectors *v, uint64_t first,
                             uint64_t n, int decimals, unsigned n_threads,
                             size_t max_bytes, struct bench_values **out)
{
    struct bench_values *t = mem_calloc(1, sizeof(*t));
    enum err err;

    ASSERT(n && first + n <= v->n);
    t->v = v;
    t->first = first;
    t->n = n;
    t->decimals = decimals;
    if (estimate(t) > (double)max_bytes) {
        err = ERR_LIMIT;
        goto fail;
    }
    t->pieces = mem_calloc((n + PIECE - 1) / PIECE, sizeof(*t->pieces));
    t->starts = mem_calloc(n, sizeof(*t->starts));
    err = bench_parallel_run(n_threads, n, PIECE, render_piece, t);
    if (err) {
        goto fail;
    }
    *out = t;
    return ERR_OK;
fail:
    bench_values_destroy(t);
    return err;
}

void bench_values_destroy(struct bench_values *t)
{
    uint64_t i;

    if (!t) {
        return;
    }
    for (i = 0; t->pieces && i < (t->n + PIECE - 1) / PIECE; i++) {
        buf_deinit(&t->pieces[i]);
    }
    mem_free(t->pieces);
    mem_free(t->starts);
    mem_free(t);
}

struct bytes bench_values_row(const struct bench_values *t, uint64_t row)
{
    uint64_t i = row - t->first;
    const struct buf *b = &t->pieces[i / PIECE];
    bool is_last = (i + 1) % PIECE == 0 || i + 1 == t->n;
    size_t end = is_last ? b->len : t->starts[i + 1];

    DASSERT(row >= t->first && i < t->n);
    return bytes_of(b->data + t->starts[i], end - t->starts[i]);
}
