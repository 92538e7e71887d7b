/* The bits of a double. */
#ifndef VECTRA_TESTS_DOUBLES_H
#define VECTRA_TESTS_DOUBLES_H

#include <stdint.h>
#include <string.h>

static inline uint64_t bits_of(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

#endif
