/* Numbers and their texts.
 *
 * Decimal text is a hot path: most clients send vectors as VALUES, and every
 * score is printed. Parsing is exact (the nearest double, ties to even) and
 * printing is the shortest text that reads back as the same double, in the
 * form Redis clients know ("0.5", "2", "1e+25", "inf").
 *
 * thread any. */
#ifndef VECTRA_BASE_NUM_H
#define VECTRA_BASE_NUM_H

#include <stdbool.h>

#include "base/bytes.h"

/* Whole text is a decimal integer as Redis accepts one: optional '-', no '+',
 * no blanks, no leading zeros except "0", in range; "-0" is refused. */
bool num_parse_i64(struct bytes text, int64_t *out) MUST_USE;

/* Whole text is a number in strtod() syntax: decimal or 0x hexadecimal, "inf"
 * and "infinity" in any case, with an optional sign. False for an empty text,
 * blanks, trailing bytes, NaN, and for texts whose value overflows to infinity
 * or underflows to zero.
 *
 * in     any bytes, NUL among them, of any length; read only up to len.
 * cost   linear; 10 to 25 ns for what clients send. */
bool num_parse_double(struct bytes text, double *out) MUST_USE;

/* Room for the longest text of num_format_*(), without a NUL. */
enum { NUM_TEXT_MAX = 32 };

/* Write the text at `out` and return its length; no NUL is added. Nothing is
 * written past the text. */
size_t num_format_i64(int64_t value, char *out);
size_t num_format_u64(uint64_t value, char *out);

/* The same for a double; all NUM_TEXT_MAX bytes at `out` may be written. Of
 * all shortest texts it is the one closest to the value, and of two equally
 * close ones the larger in magnitude. Every NaN is "nan". */
size_t num_format_double(double value, char *out);

#endif
