/* What a search does about its filter: see filter_memo.h. */
#include "db/search/search_impl.h"

enum {
    SAMPLES = 64,      /* slots asked, for how many pass */
    SAMPLES_MAX = 256, /* by several searches */
    LIST_ROWS = 64,    /* scored at a time */
    STOP_EVERY = 64,   /* of such; a power of two */
    LEARN_NS = 120,    /* a question */
    LEARN_MIN = 64,
    LEARN_MAX = 4096,
};

/* ---- how many pass ------------------------------------------------------- */

static void keep_seed(struct filter_memo *m, slot_id slot)
{
    if (m->n_seeds < MEMO_SEEDS) {
        m->seeds[m->n_seeds++] = slot;
    } else {
        m->seeds[slot % MEMO_SEEDS] = slot;
    }
}

/* The share of a sample, over all searches there were; never 0. */
static double sampled_share(struct search *s)
{
    struct filter_memo *m = s->memo;
    struct rng *rng = &s->set->keyspace->rng;
    uint32_t passed = m ? m->sample_passed : 0;
    uint32_t seen = m ? m->sampled : 0;
    int i;

    for (i = 0; i < SAMPLES && seen < SAMPLES_MAX; i++) {
        slot_id slot = (slot_id)rng_below(rng, s->view.n_slots);

        if (slots_view_sees(&s->view, slot)) {
            bool passes = s->scan.source.admits(s, slot);

            seen++;
            passed += passes;
            if (passes && m) {
                keep_seed(m, slot);
            }
        }
    }
    if (m) {
        m->sampled = seen;
        m->sample_passed = passed;
    }
    return passed ? (double)passed / seen : 0.5 / SAMPLES;
}

/* Those of the seeds that the graph has now. */
static void take_seeds(struct search *s)
{
    uint32_t i;

    for (i = 0; i < s->memo->n_seeds; i++) {
        slot_id slot = s->memo->seeds[i];

        if (hnsw_is_linked(s->graph.hnsw, slot) &&
            s->scan.source.admits(s, slot)) {
            s->seeds[s->n_seeds++] = slot;
        }
    }
}

void search_sample(struct search *s)
{
    double known = 0, passing;

    s->share = sampled_share(s);
    if (!s->memo) {
        return;
    }
    if (s->graph.hnsw) {
        take_seeds(s);
    }
    known = atomic_load_explicit(&s->memo->n_known, memory_order_relaxed);
    passing = atomic_load_explicit(&s->memo->n_passing, memory_order_relaxed);
    /* Searches ask near where they look; what all of them asked is the set. */
    if (known > 0.5 * s->view.n_slots) {
        s->share = (passing > 0 ? passing : 0.5) / known;
    }
}

/* ---- listing ------------------------------------------------------------- */

void search_list(struct search *s, struct search_scratch *scratch)
{
    slot_id slots[LIST_ROWS];
    uint32_t n = 0, rounds = 0;
    slot_id first;

    for (first = 0; first < s->view.n_slots; first += VERDICTS_PER_WORD) {
        uint32_t hopeful =
            verdicts_hopeful(&s->memo->verdicts, first / VERDICTS_PER_WORD);

        while (hopeful) {
            slot_id slot = first + (slot_id)__builtin_ctz(hopeful);

            hopeful &= hopeful - 1;
            if (slot >= s->view.n_slots) {
                break;
            }
            slots[n++] = slot;
            if (n == LIST_ROWS) {
                search_score(s, scratch, slots, n);
                n = 0;
                if (++rounds % STOP_EVERY == 0 && search_should_stop(s)) {
                    return;
                }
            }
        }
    }
    if (n > 0) {
        search_score(s, scratch, slots, n);
    }
}

/* ---- learning ------------------------------------------------------------ */

/* A filter that comes again will come once more: half as long again is spent
 * on what the next search would like to know, until everything is. */
void search_plan_learning(struct search *s)
{
    struct filter_memo *m = s->memo;
    int64_t n;

    if (!m || m->uses < 2 || m->asked_to >= s->view.n_slots) {
        return;
    }
    n = s->expected_ns / 2 / LEARN_NS;
    n = n < LEARN_MIN ? LEARN_MIN : n > LEARN_MAX ? LEARN_MAX : n;
    s->learn_from = m->asked_to;
    s->learn_to = s->view.n_slots - s->learn_from < n
                      ? s->view.n_slots
                      : s->learn_from + (slot_id)n;
    m->asked_to = s->learn_to;
}

void search_learn(struct search *s)
{
    for (; s->learn_from < s->learn_to; s->learn_from++) {
        if (verdict_of(&s->memo->verdicts, s->learn_from) == VERDICT_UNKNOWN) {
            (void)s->scan.source.admits(s, s->learn_from);
        }
    }
}
