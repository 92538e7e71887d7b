/* What a run works on: base rows with names and attributes, and queries.
 *
 * Three sources: a folder with meta.json (base.f32, and if there: query.f32,
 * names.txt, queries.txt, attrs.jsonl), an .fvecs/.bvecs/.ivecs file, or a
 * made-up set. An element is named by its line of names.txt or, without that
 * file, by its row number in decimal. */
#ifndef VECTRA_TOOLS_BENCH_DATASET_H
#define VECTRA_TOOLS_BENCH_DATASET_H

#include "tools/bench/bench_vectors.h"

struct bench_dataset {
    char name[64];
    struct bench_vectors base;
    struct bench_vectors query;      /* n 0: none */
    struct bench_lines names;        /* n 0: decimal row numbers */
    struct bench_lines query_names;  /* n 0: none */
    struct bench_lines attrs;        /* n 0: none */
    struct bench_name_map *name_map; /* bench_dataset_map_names() */
};

enum { BENCH_RANDOM_QUERIES = 1000 };

/* path: a folder or a .?vecs file. queries_path: a .?vecs file to use instead
 * of what the folder has; may be NULL. limit: rows to use at most, 0 for all.
 *
 * owns   caller; bench_dataset_close().
 * fails  ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT, ERR_DIM (queries and rows of
 *        different dimension); ctx names the file. */
enum err bench_dataset_open(const char *path, const char *queries_path,
                            uint64_t limit, struct bench_dataset *out,
                            struct err_ctx *ctx) MUST_USE;

/* A made-up set as --random says it: "N,DIM" or "N,DIM,KIND" with KIND
 * gaussian, uniform or clustered. It has BENCH_RANDOM_QUERIES queries, drawn as
 * the rows are but none of them a row.
 *
 * fails  ERR_SYNTAX for another text, ERR_NOMEM. */
enum err bench_dataset_random(const char *spec, uint64_t seed,
                              unsigned n_threads, struct bench_dataset *out,
                              struct err_ctx *ctx) MUST_USE;

void bench_dataset_close(struct bench_dataset *d);

/* Prepares bench_dataset_row_of().
 *
 * fails  ERR_NOMEM. */
enum err bench_dataset_map_names(struct bench_dataset *d,
                                 struct err_ctx *ctx) MUST_USE;

/* The row an element name belongs to; false for a name of no row. The names
 * have been mapped. thread any. */
bool bench_dataset_row_of(const struct bench_dataset *d, struct bytes name,
                          uint64_t *row);

#endif
