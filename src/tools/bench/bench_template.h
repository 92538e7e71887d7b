/* Command templates: one line of words, compiled once, rendered per request.
 *
 *     VADD {key} FP32 {vec} {name} SETATTR {attr}
 *
 * Words are split as redis-cli splits them, quotes included, and become the
 * arguments of a RESP request. Within them may stand
 *
 *     {key} {k} {ef} {dim}   constants of the run
 *     {index}                the number of the request, from 0
 *     {rand:N}               a number below N, another one for every request
 *     {name} {attr}          of the row, {query-name} of the query
 *
 * and these must be words of their own
 *
 *     {vec}                  the vector as float32 bytes
 *     {values}               its dimension and components, dim + 1 arguments
 *     {n}                    rows in this request (--batch; fewer in the last)
 *     {vecs}                 the vectors of all of them, one argument
 *     {names} {attrs}        of all of them, one argument each
 *
 * Everything constant is joined into stretches of bytes, so that rendering a
 * VADD is two or three copies and two short numbers. */
#ifndef VECTRA_TOOLS_BENCH_TEMPLATE_H
#define VECTRA_TOOLS_BENCH_TEMPLATE_H

#include "base/buf.h"
#include "tools/bench/bench_values.h"
#include "tools/bench/bench_vectors.h"

/* What placeholders stand for. Requests walk through the vectors and through
 * the names in step with their number, starting over at the end. */
struct bench_template_env {
    const char *key;
    uint32_t k, ef; /* ef 0: not set, {ef} is refused */
    uint32_t dim;
    uint32_t batch; /* rows per request, at least 1 */
    uint64_t seed;

    const struct bench_vectors *vectors; /* NULL: none */
    uint64_t vec_first, vec_n;
    const struct bench_values *values; /* texts made before; may be NULL */
    int decimals;

    const struct bench_lines *names; /* NULL: decimal row numbers */
    const struct bench_lines *attrs; /* NULL: none */
    const struct bench_lines *query_names;
    uint64_t row_first, row_n; /* row_n 0: no rows */
};

struct bench_template;

/* env and what it points to must outlive the template; env->values may be set
 * later.
 *
 * owns   caller; bench_template_destroy().
 * fails  ERR_SYNTAX, ERR_NOT_FOUND (a placeholder the run has nothing for). */
enum err bench_template_compile(const char *text,
                                const struct bench_template_env *env,
                                struct bench_template **out,
                                struct err_ctx *ctx) MUST_USE;
void bench_template_destroy(struct bench_template *t);

/* Appends request number `index`. `scratch` is memory of the calling thread. */
void bench_template_render(const struct bench_template *t, uint64_t index,
                           struct buf *out, struct buf *scratch);

/* Rows that request `index` carries, and the place of the first one within the
 * walked range (what recall is looked up by). */
uint32_t bench_template_rows(const struct bench_template *t, uint64_t index);
uint64_t bench_template_first(const struct bench_template *t, uint64_t index);

/* Requests that walk once through all vectors or, where the template has none,
 * all names; 1 when it has neither. */
uint64_t bench_template_pass(const struct bench_template *t);

/* Facts about the text. */
bool bench_template_uses_vectors(const struct bench_template *t);
bool bench_template_uses_values(const struct bench_template *t);

/* How many of the words WITHSCORES, WITHDISTANCES, WITHATTRIBS it has: each
 * puts one more value beside an element in a RESP2 reply. */
unsigned bench_template_extras(const struct bench_template *t);

#endif
