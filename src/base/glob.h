/* Glob patterns as KEYS, SCAN MATCH and CONFIG GET take them: * ? [a-z] [^x]
 * and backslash. */
#ifndef VECTRA_BASE_GLOB_H
#define VECTRA_BASE_GLOB_H

#include <stdbool.h>

#include "base/bytes.h"

/* cost   linear in practice; bounded by backtracking to the last * only, so a
 *        pattern full of stars cannot take exponential time. */
bool glob_match(struct bytes pattern, struct bytes text, bool ignore_case);

#endif
