/* The answers of a run, as row numbers, and their recall.
 *
 * The engine hands over the first reply to every query; names are looked up at
 * once, and what is kept is k row numbers per query. */
#ifndef VECTRA_TOOLS_BENCH_RECALL_H
#define VECTRA_TOOLS_BENCH_RECALL_H

#include "resp/resp_reply.h"
#include "tools/bench/bench_dataset.h"
#include "tools/bench/bench_template.h"
#include "tools/bench/bench_truth.h"

#define BENCH_UNANSWERED UINT32_MAX

struct bench_answers {
    const struct bench_dataset *dataset;
    const struct bench_template *request; /* what was asked */
    bool in_batches; /* replies are arrays of one reply per query */
    uint64_t nq;
    uint32_t k;
    uint32_t *ids;     /* nq * k; UINT32_MAX for a name of no row */
    uint32_t *n_found; /* elements in the answer, at most k; or unanswered */
};

/* Room for answers to nq queries; the names of the set have been mapped.
 *
 * owns   caller; bench_answers_deinit(). The pointers must outlive it. */
void bench_answers_init(struct bench_answers *a,
                        const struct bench_dataset *dataset,
                        const struct bench_template *request, bool in_batches,
                        uint64_t nq, uint32_t k);
void bench_answers_deinit(struct bench_answers *a);

/* Takes the reply to request `index`: an array of elements, or a map from
 * elements to what was asked beside them. Anything else leaves the query
 * unanswered. The signature is that of bench_job's on_reply.
 *
 * thread any, for different requests. */
void bench_answers_take(void *answers, uint64_t index,
                        const struct resp_reply *reply, const uint8_t *data);

/* Mean recall of the answered queries; *answered: how many those are. */
double bench_answers_recall(const struct bench_answers *a,
                            const struct bench_question *q,
                            const struct bench_truth *truth,
                            uint64_t *answered);

#endif
