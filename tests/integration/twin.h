/* What a vector set must answer: names with vectors, and a scan that sorts. */
#ifndef VECTRA_TESTS_INTEGRATION_TWIN_H
#define VECTRA_TESTS_INTEGRATION_TWIN_H

#include "unit/cm.h"

#include <math.h>
#include <stdbool.h>

enum { TWIN_DIM = 8 };

struct twin {
    float (*vectors)[TWIN_DIM];
    bool *live;
    size_t cap; /* names are 0 to cap - 1 */
    size_t n_live;
};

struct twin_hit {
    uint32_t name;
    double distance;
};

static inline void twin_init(struct twin *t, size_t cap)
{
    t->vectors = calloc(cap, sizeof(*t->vectors));
    t->live = calloc(cap, sizeof(*t->live));
    t->cap = cap;
    t->n_live = 0;
}

static inline void twin_deinit(struct twin *t)
{
    free(t->vectors);
    free(t->live);
}

/* Returns 1 when the name is new, as VADD does. */
static inline int twin_add(struct twin *t, size_t name, const float *v)
{
    int added = !t->live[name];

    memcpy(t->vectors[name], v, sizeof(t->vectors[name]));
    t->live[name] = true;
    t->n_live += (size_t)added;
    return added;
}

static inline int twin_remove(struct twin *t, size_t name)
{
    int removed = t->live[name];

    t->live[name] = false;
    t->n_live -= (size_t)removed;
    return removed;
}

static inline void twin_random_vector(struct rng *rng, float *v)
{
    int j;

    for (j = 0; j < TWIN_DIM; j++) {
        v[j] = (float)rng_normal(rng);
    }
}

static inline double twin_l2(const float *a, const float *b)
{
    double sum = 0;
    int j;

    for (j = 0; j < TWIN_DIM; j++) {
        double d = (double)a[j] - (double)b[j];

        sum += d * d;
    }
    return sqrt(sum);
}

static inline int twin_nearer(const void *a, const void *b)
{
    const struct twin_hit *x = a, *y = b;

    return (x->distance > y->distance) - (x->distance < y->distance);
}

/* Every live element with its Euclidean distance, nearest first. */
static inline size_t twin_search(const struct twin *t, const float *query,
                                 struct twin_hit *out)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < t->cap; i++) {
        if (t->live[i]) {
            out[n].name = (uint32_t)i;
            out[n++].distance = twin_l2(query, t->vectors[i]);
        }
    }
    qsort(out, n, sizeof(*out), twin_nearer);
    return n;
}

#endif
