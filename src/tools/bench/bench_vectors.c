#include "tools/bench/bench_vectors.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tools/bench/bench_parallel.h"

enum {
    DIM_MAX = 65536,
    HEADER = 4, /* the length before each row of a .?vecs file */
    ROWS_PER_CLUSTER = 256,
    FINGERPRINT_ROWS = 1024,
    PIECE = 1024,
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

void bench_vectors_close(struct bench_vectors *v)
{
    bench_file_close(&v->file);
    mem_free(v->heap);
    *v = BENCH_VECTORS_NONE;
}

/* Memory for n x dim floats; false when there is none. */
static bool alloc_rows(struct bench_vectors *v, uint64_t n, uint32_t dim)
{
    size_t bytes;

    v->n = n;
    v->dim = dim;
    v->stride = dim * sizeof(float);
    if (__builtin_mul_overflow(n, v->stride, &bytes)) {
        return false;
    }
    v->heap = mem_try_alloc(bytes);
    v->rows = (const uint8_t *)v->heap;
    return v->heap != NULL;
}

/* ---- files -------------------------------------------------------------- */

enum err bench_vectors_open_plain(const char *path, uint64_t n, uint32_t dim,
                                  struct bench_vectors *out,
                                  struct err_ctx *ctx)
{
    struct bench_vectors v = BENCH_VECTORS_NONE;
    size_t want;
    enum err err;

    ASSERT(dim >= 1 && dim <= DIM_MAX);
    err = bench_file_open(path, &v.file, ctx);
    if (err) {
        return err;
    }
    if (__builtin_mul_overflow(n, (size_t)dim * 4, &want) ||
        v.file.len != want) {
        err = err_set(ctx, ERR_CORRUPT,
                      "%s: %zu bytes, but %llu rows of %u floats are %zu", path,
                      v.file.len, (unsigned long long)n, dim, want);
        bench_file_close(&v.file);
        return err;
    }
    v.rows = v.file.data;
    v.stride = (size_t)dim * 4;
    v.n = n;
    v.dim = dim;
    *out = v;
    return ERR_OK;
}

static uint32_t read_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Checks the rows' lengths and leaves n, dim and the stride in the file. */
static enum err check_vecs(const char *path, unsigned width, uint64_t limit,
                           struct bench_vectors *v, struct err_ctx *ctx)
{
    uint32_t dim;
    uint64_t i;

    if (v->file.len < HEADER) {
        return err_set(ctx, ERR_CORRUPT, "%s: no rows in it", path);
    }
    dim = read_u32(v->file.data);
    if (dim == 0 || dim > DIM_MAX) {
        return err_set(ctx, ERR_CORRUPT, "%s: the first row has %u components",
                       path, dim);
    }
    v->dim = dim;
    v->stride = HEADER + (size_t)dim * width;
    if (v->file.len % v->stride) {
        return err_set(ctx, ERR_CORRUPT,
                       "%s: truncated: %zu bytes are not rows of %zu", path,
                       v->file.len, v->stride);
    }
    v->n = v->file.len / v->stride;
    if (limit && limit < v->n) {
        v->n = limit;
    }
    for (i = 1; i < v->n; i++) {
        uint32_t here = read_u32(v->file.data + i * v->stride);

        if (here != dim) {
            return err_set(ctx, ERR_CORRUPT,
                           "%s: row %llu has %u components, row 0 has %u", path,
                           (unsigned long long)i, here, dim);
        }
    }
    return ERR_OK;
}

/* Replaces the file's rows by floats in memory. */
static enum err widen_rows(const char *path, unsigned width,
                           struct bench_vectors *v, struct err_ctx *ctx)
{
    size_t from_stride = v->stride;
    uint64_t i;
    uint32_t j;

    if (!alloc_rows(v, v->n, v->dim)) {
        return err_set(ctx, ERR_NOMEM, "%s: out of memory", path);
    }
    for (i = 0; i < v->n; i++) {
        const uint8_t *from = v->file.data + i * from_stride + HEADER;
        float *to = v->heap + i * v->dim;

        for (j = 0; j < v->dim; j++) {
            to[j] = width == 1 ? (float)from[j]
                               : (float)(int32_t)read_u32(from + 4 * j);
        }
    }
    bench_file_close(&v->file);
    return ERR_OK;
}

enum err bench_vectors_open(const char *path, uint64_t limit,
                            struct bench_vectors *out, struct err_ctx *ctx)
{
    struct bench_vectors v = BENCH_VECTORS_NONE;
    bool is_float = ends_with(path, ".fvecs");
    unsigned width = ends_with(path, ".bvecs") ? 1 : 4;
    enum err err;

    if (!is_float && width == 4 && !ends_with(path, ".ivecs")) {
        return err_set(ctx, ERR_UNSUPPORTED,
                       "%s: neither a folder nor .fvecs, .bvecs or .ivecs",
                       path);
    }
    err = bench_file_open(path, &v.file, ctx);
    if (err) {
        return err;
    }
    err = check_vecs(path, width, limit, &v, ctx);
    if (!err && is_float) {
        v.rows = v.file.data + HEADER;
    } else if (!err) {
        err = widen_rows(path, width, &v, ctx);
    }
    if (err) {
        bench_vectors_close(&v);
        return err;
    }
    *out = v;
    return ERR_OK;
}

/* ---- made-up rows ------------------------------------------------------- */

struct recipe {
    enum bench_random_kind kind;
    uint64_t seed, first, clusters;
    struct bench_vectors *v;
};

static void fill_normal(struct rng *r, float *x, uint32_t dim, float scale)
{
    uint32_t j;

    for (j = 0; j < dim; j++) {
        x[j] += scale * (float)rng_normal(r);
    }
}

/* A row and a centre each have a generator of their own, so any row can be
 * made without those before it. */
static void make_row(const struct recipe *c, uint64_t row, float *x)
{
    uint32_t dim = c->v->dim;
    struct rng r;
    uint32_t j;

    memset(x, 0, dim * sizeof(*x));
    rng_seed(&r, c->seed ^ (row + 1) * 0x9e3779b97f4a7c15u);
    switch (c->kind) {
    case BENCH_RANDOM_UNIFORM:
        for (j = 0; j < dim; j++) {
            x[j] = (float)(2 * rng_unit(&r) - 1);
        }
        break;
    case BENCH_RANDOM_CLUSTERED: {
        struct rng centre;

        rng_seed(&centre, ~c->seed ^ (rng_below(&r, c->clusters) + 1) *
                                         0xd6e8feb86659fd93u);
        fill_normal(&centre, x, dim, 1);
        fill_normal(&r, x, dim, 0.4F);
        break;
    }
    case BENCH_RANDOM_GAUSSIAN:
        fill_normal(&r, x, dim, 1);
        break;
    }
}

static enum err make_rows(void *arg, unsigned worker, uint64_t from,
                          uint64_t to)
{
    struct recipe *c = arg;
    uint64_t i;

    (void)worker;
    for (i = from; i < to; i++) {
        make_row(c, c->first + i, c->v->heap + i * c->v->dim);
    }
    return ERR_OK;
}

enum err bench_vectors_random(enum bench_random_kind kind, uint64_t first,
                              uint64_t n, uint64_t of_n, uint32_t dim,
                              uint64_t seed, unsigned n_threads,
                              struct bench_vectors *out, struct err_ctx *ctx)
{
    struct bench_vectors v = BENCH_VECTORS_NONE;
    struct recipe recipe = {.kind = kind,
                            .seed = seed * 0xbf58476d1ce4e5b9u,
                            .first = first,
                            .clusters = of_n / ROWS_PER_CLUSTER + 1,
                            .v = &v};
    enum err err;

    if (!alloc_rows(&v, n, dim)) {
        return err_set(ctx, ERR_NOMEM, "no memory for %llu rows of %u floats",
                       (unsigned long long)n, dim);
    }
    err = bench_parallel_run(n_threads, n, PIECE, make_rows, &recipe);
    ASSERT(!err);
    *out = v;
    return ERR_OK;
}

/* ---- fingerprint -------------------------------------------------------- */

/* Not base/hash.h: its seed may differ between processes, and this number is
 * part of a file's name. */
static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

uint64_t bench_vectors_fingerprint(const struct bench_vectors *v)
{
    uint64_t rows = v->n < FINGERPRINT_ROWS ? v->n : FINGERPRINT_ROWS;
    uint64_t h = mix(mix(1, v->n), v->dim);
    uint64_t i;
    uint32_t j;

    for (i = 0; i < rows; i++) {
        /* From the first row to the last one. */
        uint64_t row = rows > 1 ? i * (v->n - 1) / (rows - 1) : 0;
        const uint8_t *x = bench_vectors_row(v, row);

        for (j = 0; j < v->dim; j++) {
            h = mix(h, read_u32(x + 4 * (size_t)j));
        }
    }
    return h;
}
