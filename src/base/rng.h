/* xoshiro256** (Blackman and Vigna, 2018): fast, good, and the same sequence
 * for the same seed on every machine. One per user; never shared by threads. */
#ifndef VECTRA_BASE_RNG_H
#define VECTRA_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);

/* Uniform in [0, n), n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

/* Uniform in [0, 1). */
double rng_unit(struct rng *r);

/* Standard normal (polar method). */
double rng_normal(struct rng *r);

/* Bytes from the kernel, for seeds and ids. */
void rng_system(void *out, size_t len);

/* 40 lower-case hex digits and a NUL from the kernel's generator. */
void rng_run_id(char out[41]);

#endif
