#include "tools/bench/bench_dataset.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/table.h"
#include "tools/bench/bench_meta.h"

struct bench_name_map {
    struct table table;
};

void bench_dataset_close(struct bench_dataset *d)
{
    if (d->name_map) {
        table_deinit(&d->name_map->table);
        mem_free(d->name_map);
    }
    bench_vectors_close(&d->base);
    bench_vectors_close(&d->query);
    bench_lines_close(&d->names);
    bench_lines_close(&d->query_names);
    bench_lines_close(&d->attrs);
    *d = (struct bench_dataset){.name = ""};
}

/* ---- folders ------------------------------------------------------------ */

static enum err join(const char *folder, const char *file, char out[PATH_MAX],
                     struct err_ctx *ctx)
{
    if (snprintf(out, PATH_MAX, "%s/%s", folder, file) >= PATH_MAX) {
        return err_set(ctx, ERR_RANGE, "%s: the path is too long", folder);
    }
    return ERR_OK;
}

static enum err read_meta(const char *folder, struct bench_meta *meta,
                          struct err_ctx *ctx)
{
    char path[PATH_MAX];
    struct bench_file file;
    enum err err = join(folder, "meta.json", path, ctx);

    if (err) {
        return err;
    }
    err = bench_file_open(path, &file, ctx);
    if (err) {
        return err_wrap(ctx, err, "not a dataset folder");
    }
    err = bench_meta_parse(bytes_of(file.data, file.len), meta, ctx);
    if (err) {
        err = err_wrap(ctx, err, "%s", path);
    }
    bench_file_close(&file);
    return err;
}

/* Lines beside the matrix, one per row; a file that is not there is none. */
static enum err open_lines(const char *folder, const char *file, uint64_t rows,
                           struct bench_lines *out, struct err_ctx *ctx)
{
    char path[PATH_MAX];
    enum err err = join(folder, file, path, ctx);

    if (err || !bench_file_exists(path)) {
        return err;
    }
    err = bench_lines_open(path, out, ctx);
    if (!err && out->n != rows) {
        err = err_set(ctx, ERR_CORRUPT, "%s: %llu lines for %llu rows", path,
                      (unsigned long long)out->n, (unsigned long long)rows);
    }
    return err;
}

static enum err open_matrix(const char *folder, const char *file, uint64_t n,
                            uint32_t dim, struct bench_vectors *out,
                            struct err_ctx *ctx)
{
    char path[PATH_MAX];
    enum err err = join(folder, file, path, ctx);

    return err ? err : bench_vectors_open_plain(path, n, dim, out, ctx);
}

static enum err open_folder(const char *folder, struct bench_dataset *d,
                            struct err_ctx *ctx)
{
    struct bench_meta meta;
    enum err err = read_meta(folder, &meta, ctx);

    if (err) {
        return err;
    }
    snprintf(d->name, sizeof(d->name), "%s", meta.name);
    err = open_matrix(folder, "base.f32", meta.n, meta.dim, &d->base, ctx);
    if (!err && meta.nq) {
        err =
            open_matrix(folder, "query.f32", meta.nq, meta.dim, &d->query, ctx);
    }
    if (!err) {
        err = open_lines(folder, "names.txt", meta.n, &d->names, ctx);
    }
    if (!err) {
        err = open_lines(folder, "queries.txt", meta.nq, &d->query_names, ctx);
    }
    if (!err) {
        err = open_lines(folder, "attrs.jsonl", meta.n, &d->attrs, ctx);
    }
    return err;
}

/* ---- opening ------------------------------------------------------------ */

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The last part of a path, without what follows a dot. */
static void name_after(const char *path, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;

    snprintf(out, cap, "%.*s", (int)strcspn(base, "."), base);
}

static enum err open_queries(const char *path, struct bench_dataset *d,
                             struct err_ctx *ctx)
{
    bench_vectors_close(&d->query);
    bench_lines_close(&d->query_names);
    return bench_vectors_open(path, 0, &d->query, ctx);
}

enum err bench_dataset_open(const char *path, const char *queries_path,
                            uint64_t limit, struct bench_dataset *out,
                            struct err_ctx *ctx)
{
    struct bench_dataset d = {.name = ""};
    enum err err;

    if (is_folder(path)) {
        err = open_folder(path, &d, ctx);
    } else {
        err = bench_vectors_open(path, limit, &d.base, ctx);
    }
    if (!err && queries_path) {
        err = open_queries(queries_path, &d, ctx);
    }
    if (!err && d.query.n && d.query.dim != d.base.dim) {
        err = err_set(ctx, ERR_DIM, "%s: queries of %u components, rows of %u",
                      queries_path, d.query.dim, d.base.dim);
    }
    if (err) {
        bench_dataset_close(&d);
        return err;
    }
    if (limit && limit < d.base.n) {
        d.base.n = limit;
    }
    if (!d.name[0]) {
        name_after(path, d.name, sizeof(d.name));
    }
    *out = d;
    return ERR_OK;
}

/* ---- made-up sets ------------------------------------------------------- */

static bool parse_random(const char *spec, uint64_t *n, uint32_t *dim,
                         enum bench_random_kind *kind)
{
    static const char *const kinds[] = {"gaussian", "uniform", "clustered"};
    char *end;
    unsigned long v;
    size_t i;

    *n = strtoull(spec, &end, 10);
    if (end == spec || *end != ',' || spec[0] == '-' || *n == 0 ||
        *n > UINT64_C(1) << 40) {
        return false;
    }
    spec = end + 1;
    v = strtoul(spec, &end, 10);
    if (end == spec || spec[0] == '-' || v == 0 || v > 65536) {
        return false;
    }
    *dim = (uint32_t)v;
    *kind = BENCH_RANDOM_GAUSSIAN;
    if (*end == '\0') {
        return true;
    }
    for (i = 0; i < ARRAY_LEN(kinds); i++) {
        if (*end == ',' && strcmp(end + 1, kinds[i]) == 0) {
            *kind = (enum bench_random_kind)i;
            return true;
        }
    }
    return false;
}

enum err bench_dataset_random(const char *spec, uint64_t seed,
                              unsigned n_threads, struct bench_dataset *out,
                              struct err_ctx *ctx)
{
    struct bench_dataset d = {.name = ""};
    enum bench_random_kind kind;
    uint32_t dim;
    uint64_t n;
    enum err err;

    if (!parse_random(spec, &n, &dim, &kind)) {
        return err_set(ctx, ERR_SYNTAX,
                       "'%s' is not N,DIM or N,DIM,gaussian|uniform|clustered",
                       spec);
    }
    snprintf(d.name, sizeof(d.name), "random-%s",
             strrchr(spec, ',') && kind ? strrchr(spec, ',') + 1 : "gaussian");
    err =
        bench_vectors_random(kind, 0, n, n, dim, seed, n_threads, &d.base, ctx);
    if (!err) {
        err = bench_vectors_random(kind, n, BENCH_RANDOM_QUERIES, n, dim, seed,
                                   n_threads, &d.query, ctx);
    }
    if (err) {
        bench_dataset_close(&d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

/* ---- names -------------------------------------------------------------- */

static uint64_t hash_of_row(uint64_t row, void *arg)
{
    const struct bench_lines *names = arg;
    struct bytes name = bench_lines_at(names, row);

    return hash_bytes(name.data, name.len);
}

/* True when the table has the name. Of rows with one name the last one is what
 * a server ends up with, as each VADD replaces the one before. */
static bool find_name(const struct bench_dataset *d, struct bytes name,
                      uint64_t hash, uint64_t *row)
{
    struct table_probe probe;
    uint64_t ref;

    table_probe_start(&probe, &d->name_map->table, hash);
    while (table_probe_next(&probe, &ref)) {
        if (bytes_equal(bench_lines_at(&d->names, ref), name)) {
            *row = ref;
            return true;
        }
    }
    return false;
}

enum err bench_dataset_map_names(struct bench_dataset *d, struct err_ctx *ctx)
{
    uint64_t row, before;

    if (d->names.n == 0 || d->name_map) {
        return ERR_OK;
    }
    d->name_map = mem_calloc(1, sizeof(*d->name_map));
    table_init(&d->name_map->table, sizeof(uint64_t), NULL, hash_of_row,
               &d->names);
    for (row = 0; row < d->base.n; row++) {
        uint64_t hash = hash_of_row(row, &d->names);

        if (find_name(d, bench_lines_at(&d->names, row), hash, &before)) {
            table_replace(&d->name_map->table, hash, before, row);
        } else if (table_insert(&d->name_map->table, hash, row)) {
            return err_set(ctx, ERR_NOMEM, "no memory for the element names");
        }
    }
    return ERR_OK;
}

bool bench_dataset_row_of(const struct bench_dataset *d, struct bytes name,
                          uint64_t *row)
{
    int64_t number;

    if (d->names.n == 0) {
        if (!num_parse_i64(name, &number) || number < 0 ||
            (uint64_t)number >= d->base.n) {
            return false;
        }
        *row = (uint64_t)number;
        return true;
    }
    return find_name(d, name, hash_bytes(name.data, name.len), row);
}
