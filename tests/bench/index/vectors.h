/* What the benchmarks of indexes work on: rows and queries, from a folder that
 * holds meta.json, base.f32 and query.f32 (docs/benchmark-tool.md), or, for
 * "N,DIM", made up. */
#ifndef VECTRA_TESTS_BENCH_VECTORS_H
#define VECTRA_TESTS_BENCH_VECTORS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct vectors {
    uint32_t n, nq, dim;
    float *base, *query;
};

static inline float *vectors_read(const char *dir, const char *name, size_t n)
{
    char path[4096];
    float *x = malloc(n * sizeof(*x));
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f || !x || fread(x, sizeof(*x), n, f) != n) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    return x;
}

static inline uint32_t vectors_number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at ? (uint32_t)strtoul(strchr(at, ':') + 1, NULL, 10) : 0;
}

/* Clustered ones. */
static inline void vectors_make_up(struct vectors *v)
{
    enum { CENTRES = 1000 };
    float *centre = malloc(sizeof(float) * CENTRES * v->dim);
    struct rng rng;
    size_t i, j;

    rng_seed(&rng, 7);
    for (i = 0; i < (size_t)CENTRES * v->dim; i++) {
        centre[i] = (float)rng_normal(&rng);
    }
    v->nq = 1000;
    v->base = malloc(sizeof(float) * v->n * v->dim);
    v->query = malloc(sizeof(float) * v->nq * v->dim);
    for (i = 0; i < (size_t)v->n + v->nq; i++) {
        float *x =
            i < v->n ? v->base + i * v->dim : v->query + (i - v->n) * v->dim;
        const float *c = centre + rng_below(&rng, CENTRES) * v->dim;

        for (j = 0; j < v->dim; j++) {
            x[j] = c[j] + 0.7f * (float)rng_normal(&rng);
        }
    }
    free(centre);
}

/* At most `limit` rows; 0: all. */
static inline void vectors_load(struct vectors *v, const char *what,
                                uint32_t limit)
{
    char path[4096], text[4096] = "";
    FILE *f;

    if (sscanf(what, "%u,%u", &v->n, &v->dim) == 2) {
        vectors_make_up(v);
        return;
    }
    snprintf(path, sizeof(path), "%s/meta.json", what);
    f = fopen(path, "r");
    if (!f || !fread(text, 1, sizeof(text) - 1, f)) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    v->n = vectors_number_after(text, "\"n\"");
    v->nq = vectors_number_after(text, "\"nq\"");
    v->dim = vectors_number_after(text, "\"dim\"");
    v->base = vectors_read(what, "base.f32", (size_t)v->n * v->dim);
    v->query = vectors_read(what, "query.f32", (size_t)v->nq * v->dim);
    if (limit && limit < v->n) {
        v->n = limit;
    }
}

#endif
