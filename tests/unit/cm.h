/* cmocka with the headers it wants before it, and a seed that can be repeated.
 */
#ifndef VECTRA_TESTS_CM_H
#define VECTRA_TESTS_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

/* SEED from the environment, or one of the moment; printed, so that a failure
 * can be had again. */
static inline uint64_t cm_seed(struct rng *rng)
{
    const char *text = getenv("SEED");
    uint64_t seed;

    if (text) {
        seed = strtoull(text, NULL, 10);
    } else {
        rng_system(&seed, sizeof(seed));
        seed %= 1000000;
    }
    printf("# SEED=%llu\n", (unsigned long long)seed);
    rng_seed(rng, seed);
    return seed;
}

/* How often a test tries something at random; EFFORT=n in the environment makes
 * that n times as often. */
static inline int cm_often(int usual)
{
    const char *text = getenv("EFFORT");
    int effort = text ? atoi(text) : 1;

    return usual * (effort > 0 ? effort : 1);
}

#endif
