/* Attribute filters: rows and expressions.
 *
 * An element's attribute is a JSON text. When it is set it is parsed once into
 * a row, a compact list of the top-level keys with typed values, which refers
 * to the text for keys and plain strings; the two are stored side by side. A
 * FILTER expression is compiled once per search and then evaluated against the
 * rows of many elements, by any number of threads, without touching JSON again.
 *
 * The language and its conversions are those of Redis 8 vector sets; what a
 * user sees of it is in docs/filters.md. Parsing is tolerant in the same way:
 * whatever stands before the first malformed byte counts.
 *
 * thread any; a compiled filter is read-only. */
#ifndef VECTRA_FILTER_FILTER_H
#define VECTRA_FILTER_FILTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends the row of a JSON text to out. Never fails: what cannot be used is
 * left out, and a text that is no object gives a row without keys. The same
 * text always gives the same bytes.
 *
 * out    row bytes, position independent, any alignment; at most 4.5 times
 *        json.len, typically 16 per key.
 * cost   linear in json.len, whatever its nesting. */
void filter_row_build(struct bytes json, struct buf *out);

/* Checks R1..R3 of filter_impl.h without trusting the row; for tests. */
bool filter_row_validate(struct bytes json, struct bytes row) MUST_USE;

struct filter; /* opaque */

/* Compiles an expression.
 *
 * out    *out on success; owns caller.
 * cost   linear in expr.len; memory too.
 * fails  ERR_SYNTAX with *at = byte position the message points to (see
 *        "Error position" in docs/filters.md): the whole expression is meant
 *        when *at is 0 or >= expr.len. ERR_LIMIT when evaluation would need
 *        more than 256 operands at one time, which takes as many nested
 *        parentheses or `**` in a row. ERR_NOMEM. *at is 0 with these two. */
enum err filter_compile(struct bytes expr, struct filter **out,
                        size_t *at) MUST_USE;
void filter_destroy(struct filter *f); /* NULL is fine */

/* Checks F1 of filter_impl.h; for tests. */
bool filter_validate(const struct filter *f) MUST_USE;

/* True when the element passes. json and row as built together; an element
 * without attribute never passes and need not be asked.
 *
 * cost   no allocation; proportional to the expression times the row's keys,
 *        plus what string operators read. Some 30 ns for two comparisons. */
bool filter_match(const struct filter *f, struct bytes json, struct bytes row);

#endif
