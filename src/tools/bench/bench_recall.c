#include "tools/bench/bench_recall.h"

#include "base/mem.h"

void bench_answers_init(struct bench_answers *a,
                        const struct bench_dataset *dataset,
                        const struct bench_template *request, bool in_batches,
                        uint64_t nq, uint32_t k)
{
    uint64_t i;

    *a = (struct bench_answers){.dataset = dataset,
                                .request = request,
                                .in_batches = in_batches,
                                .nq = nq,
                                .k = k};
    a->ids = mem_calloc(nq * k, sizeof(*a->ids));
    a->n_found = mem_calloc(nq, sizeof(*a->n_found));
    for (i = 0; i < nq; i++) {
        a->n_found[i] = BENCH_UNANSWERED;
    }
}

void bench_answers_deinit(struct bench_answers *a)
{
    mem_free(a->ids);
    mem_free(a->n_found);
}

static bool is_text(const struct resp_reply *r)
{
    return r->type == RESP_REPLY_BULK || r->type == RESP_REPLY_STRING;
}

/* The answer to one query. A map is a key and a value by turns; a flat array
 * has an element and then as many values as were asked beside it. */
static void take_answer(struct bench_answers *a, uint64_t query,
                        const struct resp_reply *reply, const uint8_t *data)
{
    bool is_map = reply->type == RESP_REPLY_MAP;
    unsigned step = is_map ? 2 : 1 + bench_template_extras(a->request);
    const struct resp_reply *at = NULL;
    uint32_t n = 0, i;

    if ((!is_map && reply->type != RESP_REPLY_ARRAY) || query >= a->nq) {
        return;
    }
    for (i = 0; i < reply->n && n < a->k; i++) {
        at = i ? resp_reply_next(at) : resp_reply_first(reply);
        if (i % step == 0) {
            uint64_t row;

            if (!is_text(at) ||
                !bench_dataset_row_of(a->dataset, resp_reply_text(at, data),
                                      &row) ||
                row > UINT32_MAX) {
                row = UINT32_MAX;
            }
            a->ids[query * a->k + n++] = (uint32_t)row;
        }
    }
    a->n_found[query] = n;
}

void bench_answers_take(void *answers, uint64_t index,
                        const struct resp_reply *reply, const uint8_t *data)
{
    struct bench_answers *a = answers;
    uint64_t first = bench_template_first(a->request, index);
    const struct resp_reply *at = NULL;
    uint32_t i;

    if (!a->in_batches) {
        take_answer(a, first, reply, data);
        return;
    }
    if (reply->type != RESP_REPLY_ARRAY ||
        reply->n != bench_template_rows(a->request, index)) {
        return;
    }
    for (i = 0; i < reply->n; i++) {
        at = i ? resp_reply_next(at) : resp_reply_first(reply);
        take_answer(a, first + i, at, data);
    }
}

double bench_answers_recall(const struct bench_answers *a,
                            const struct bench_question *q,
                            const struct bench_truth *truth, uint64_t *answered)
{
    double sum = 0;
    uint64_t i;

    *answered = 0;
    for (i = 0; i < a->nq; i++) {
        if (a->n_found[i] != BENCH_UNANSWERED) {
            sum += bench_truth_recall(q, truth, i, a->ids + i * a->k,
                                      a->n_found[i]);
            ++*answered;
        }
    }
    return *answered ? sum / (double)*answered : 0;
}
