/* What all runs of an invocation share: the data, the server, the values made
 * beforehand and the exact neighbours. */
#ifndef VECTRA_TOOLS_BENCH_SESSION_H
#define VECTRA_TOOLS_BENCH_SESSION_H

#include "tools/bench/bench_commands.h"
#include "tools/bench/bench_dataset.h"
#include "tools/bench/bench_engine.h"
#include "tools/bench/bench_truth.h"

struct bench_session {
    const struct bench_options *o;
    const _Atomic bool *stop;
    struct bench_address address;
    char address_text[128];
    char server[64];
    struct bench_client client;
    bool has_client;

    struct bench_dataset data;         /* base.n 0: none */
    struct bench_template_env rows;    /* {vec} is a row */
    struct bench_template_env queries; /* {vec} is a query */
    struct bench_values *row_values, *query_values;

    struct bench_question question;
    struct bench_truth truth; /* k 0: recall is not asked */
    struct bench_outcome *outcome;
};

/* Opens the data and connects.
 *
 * owns   caller; bench_session_close(), also after a failure.
 * fails  with words in ctx for the one line the user sees. */
enum err bench_session_open(struct bench_session *s,
                            const struct bench_options *o,
                            const _Atomic bool *stop,
                            struct err_ctx *ctx) MUST_USE;
void bench_session_close(struct bench_session *s);

/* DEL of the key, if asked, and VCREATE, if this kind of set needs one. An
 * error reply is shown and left to what follows: the set may be there already.
 */
enum err bench_session_prepare_set(struct bench_session *s,
                                   const struct bench_commands *c,
                                   struct err_ctx *ctx) MUST_USE;

/* The exact neighbours, if recall is to be told; s->truth.k is 0 if not. */
enum err bench_session_get_truth(struct bench_session *s,
                                 const struct bench_commands *c,
                                 struct err_ctx *ctx) MUST_USE;

/* Reads the first n rows of what `e` stands for once, so that requests do not
 * wait for the disk, and with `values` prints their texts. */
enum err bench_session_warm_rows(struct bench_session *s,
                                 struct bench_template_env *e, uint64_t n,
                                 bool values, struct err_ctx *ctx) MUST_USE;

/* A job's common part. */
struct bench_job bench_session_job(const struct bench_session *s,
                                   const struct bench_template *request);

#endif
