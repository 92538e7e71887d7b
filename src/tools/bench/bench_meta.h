/* meta.json of a dataset folder: {"name": "glove", "n": 340479, "nq": 1000,
 * "dim": 100}. Other members are skipped, whatever they hold. */
#ifndef VECTRA_TOOLS_BENCH_META_H
#define VECTRA_TOOLS_BENCH_META_H

#include "base/bytes.h"
#include "base/err.h"

struct bench_meta {
    char name[64]; /* cut to fit, escapes left as they are; may be empty */
    uint64_t n;    /* base rows, at least 1 */
    uint64_t nq;   /* query rows; 0 when not given */
    uint32_t dim;  /* 1..65536 */
};

/* fails  ERR_CORRUPT for a text that is no JSON object, or one without a proper
 *        "n" and "dim"; ctx says what is wrong. */
enum err bench_meta_parse(struct bytes text, struct bench_meta *out,
                          struct err_ctx *ctx) MUST_USE;

#endif
