/* Elements that are called by numbers. */
#ifndef VECTRA_TESTS_NUMBERS_H
#define VECTRA_TESTS_NUMBERS_H

#include "unit/cm.h"

#include "base/rng.h"
#include "db/vset/vset.h"

static inline struct bytes name_of(uint32_t i, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 16, "%u", i));
}

static inline enum err remove_number(struct vset *v, uint32_t i, bool *removed)
{
    char name[16];

    return vset_remove(v, name_of(i, name), removed);
}

/* Adds an element, or replaces its vector. No attribute: BYTES_NONE. */
static inline enum err add_number(struct vset *v, uint32_t i, const float *x,
                                  struct bytes attribute, bool *added)
{
    char name[16];
    struct vset_element e = {.name = name_of(i, name),
                             .vector = x,
                             .has_attribute = attribute.len > 0,
                             .attribute = attribute};

    return vset_add(v, &e, added);
}

static inline void random_floats(struct rng *rng, float *v, size_t n)
{
    size_t j;

    for (j = 0; j < n; j++) {
        v[j] = (float)rng_normal(rng);
    }
}

#endif
