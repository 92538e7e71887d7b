/* Where a search's answer comes from: the cheapest of what would do.
 *
 * Estimates are good to a factor of two, which is enough: where two plans cost
 * about the same, either will do. A graph search that turns out to find too
 * little goes on to the next plan: see search_graph.c. */
#include <math.h>

#include "db/search/search_impl.h"

enum {
    EF_DEFAULT = 100,
    /* Measured on glove-100 and on 768 dimensions. */
    SCORED_PER_EF = 22,
    SCORE_NS = 8, /* and one per so many bytes: */
    SCORE_BYTES_PER_NS = 16,
    POOL_MOVES = 8, /* and of all pairs of the pool one in so many */
    SCAN_BYTES_PER_NS = 16,
    LINKS = 32, /* of a node */
    SCORED_PER_HOP = 16,
    LOOK_NS = 75, /* a node whose neighbours are looked at */
    ASKED_PER_LOOK = 8,
    FILTER_NS = 120, /* a question to a filter that is not remembered */
    LIST_NS = 10,    /* a row here and there, and one per so many bytes: */
    LIST_BYTES_PER_NS = 24,
    MEMO_NS = 5,           /* one that is */
    LIST_ROWS_PER_NS = 16, /* known to fail: passed over */
    WITH_DEAD_MOST = 8,
};

static double score_ns(const struct vec_format *f)
{
    return SCORE_NS + (double)f->row_bytes / SCORE_BYTES_PER_NS;
}

double search_scan_ns(const struct search *s, double rows)
{
    return rows * s->scan.source.row_bytes / SCAN_BYTES_PER_NS;
}

#define HOPS_PER_EF    1.9
#define LOOKED_THROUGH 1.4
#define TWO_HOP_SHARE                                                          \
    0.35 /* else nodes that fail are too few to be in the way */

/* Slots nobody has asked the filter about. */
static double unknown_rows(const struct search *s)
{
    double n = s->view.n_slots;
    double known = 0;

    if (s->memo) {
        known = atomic_load_explicit(&s->memo->n_known, memory_order_relaxed);
    }
    return known < n ? n - known : 0;
}

static double unknown_share(const struct search *s)
{
    return unknown_rows(s) / s->view.n_slots;
}

static double ask_ns(const struct search *s)
{
    return MEMO_NS + FILTER_NS * unknown_share(s);
}

/* Of rows in no order those that are nearer than the k nearest passing ones
 * before them, and are asked. */
static double asked_of(const struct search *s, double rows)
{
    double k = (double)s->scan.best.cap;
    double passing = rows * s->share;

    if (!s->filter || passing <= k) {
        return s->filter ? rows : 0;
    }
    return k / s->share * (1 + log(passing / k));
}

double search_asks_ns(const struct search *s, double rows)
{
    return asked_of(s, rows) * ask_ns(s);
}

/* Of a node gone through, the failing neighbours that are looked through. */
static double looked_through(double share)
{
    double n = LOOKED_THROUGH / share;

    return share > 0.5 ? 0 : n < LINKS ? n : LINKS;
}

double search_two_hop_asks(double ef, double share)
{
    return ef * HOPS_PER_EF *
           (LINKS / 2 + ASKED_PER_LOOK * looked_through(share));
}

static double two_hop_ns(const struct search *s, double ef)
{
    double hops = ef * HOPS_PER_EF;

    return hops * (SCORED_PER_HOP * score_ns(hnsw_format(s->graph.hnsw)) +
                   looked_through(s->share) * LOOK_NS) +
           ef * ef / POOL_MOVES +
           search_two_hop_asks(ef, s->share) * unknown_share(s) * FILTER_NS;
}

uint32_t search_hnsw_ef(const struct search *s)
{
    double ef = s->filter ? s->ef / s->share : s->ef;

    return ef < s->ef_most ? (uint32_t)ef : s->ef_most;
}

double search_hnsw_ns(const struct search *s, const struct hnsw *h, double ef)
{
    double asked = s->filter ? (double)s->cap_extra / s->share : 0;

    return ef * SCORED_PER_EF * score_ns(hnsw_format(h)) +
           ef * ef / POOL_MOVES + (asked < ef ? asked : ef) * ask_ns(s);
}

int64_t search_plan_ns(const struct search *s, enum search_plan plan,
                       uint32_t ef)
{
    double rows = s->view.n_slots;
    double hopeful;
    double ns;

    switch (plan) {
    case PLAN_HNSW:
        ns = search_hnsw_ns(s, s->graph.hnsw, ef) + search_tail_ns(s);
        break;
    case PLAN_TWO_HOP:
        ns = two_hop_ns(s, ef) + search_tail_ns(s);
        break;
    case PLAN_LISTED:
        hopeful = unknown_rows(s) + s->share * (rows - unknown_rows(s));
        ns =
            rows / LIST_ROWS_PER_NS +
            hopeful * (LIST_NS + s->set->format.row_bytes / LIST_BYTES_PER_NS) +
            asked_of(s, hopeful) * ask_ns(s);
        break;
    case PLAN_IVF:
        ns = search_lists_ns(s);
        break;
    default:
        ns = search_scan_ns(s, rows) + asked_of(s, rows) * ask_ns(s);
    }
    return ns < 1e18 ? (int64_t)ns : (int64_t)1e18;
}

/* What the client asks of a graph; 0: more than it can do. */
static uint32_t effort(const struct search *s, const struct search_request *r)
{
    double ef = r->ef ? r->ef : EF_DEFAULT;

    if (r->recall > 0) {
        ef = recall_effort(s->set, r->recall, s->k);
        if (ef <= 0) {
            return 0;
        }
    }
    ef = ef < (double)s->k ? (double)s->k : ef;
    return ef < (double)s->ef_most ? (uint32_t)ef : s->ef_most;
}

/* Dead nodes that are not swept yet take up places in a search's pool: to have
 * as many of the others it is made longer. */
static double with_dead(const struct search *s, double n)
{
    const struct graph_view *g = &s->graph;
    double live = g->dead < g->nodes ? g->nodes - g->dead : 0;

    return live * WITH_DEAD_MOST > g->nodes ? n * g->nodes / live
                                            : n * WITH_DEAD_MOST;
}

size_t search_graph_k(const struct search *s)
{
    return (size_t)lround(with_dead(s, (double)s->scan.best.cap));
}

static void consider(struct search *s, enum search_plan plan, uint32_t ef)
{
    int64_t ns = search_plan_ns(s, plan, ef);

    if (ns < s->expected_ns) {
        s->plan = plan;
        s->expected_ns = ns;
    }
}

static void consider_graph(struct search *s, const struct search_request *r)
{
    s->ef_most = SEARCH_EF_MAX;
    if (s->filter && r->filter_ef && r->filter_ef < SEARCH_EF_MAX) {
        s->ef_most = (uint32_t)r->filter_ef;
    }
    s->ef = effort(s, r);
    if (!s->ef) {
        return;
    }
    s->ef = (uint32_t)fmin(with_dead(s, s->ef), s->ef_most);
    consider(s, PLAN_HNSW, search_hnsw_ef(s));
    if (s->memo && s->share < TWO_HOP_SHARE) {
        consider(s, PLAN_TWO_HOP, s->ef);
    }
}

void search_decide(struct search *s, const struct search_request *r)
{
    uint64_t rows = s->scan.source.n_runs ? s->view.n_slots : 0;

    s->plan = PLAN_FLAT;
    s->cut_short = false;
    s->in_ring = false;
    s->scored = rows;
    s->tail_scored = 0;
    s->share = 1;
    s->n_seeds = 0;
    s->learn_from = s->learn_to = 0;
    s->graph.hnsw = NULL;
    s->lists.ivf = NULL;
    if (!rows) {
        return;
    }
    if (search_may_use_lists(s->set, r)) {
        search_take_lists(s);
    } else if (!r->exact && !r->as_stored) {
        graph_view_take(s->set, &s->graph);
    }
    if (!s->memo && !s->graph.hnsw && !s->lists.ivf) {
        return;
    }
    if (s->filter) {
        search_sample(s);
    }
    s->expected_ns = search_plan_ns(s, PLAN_FLAT, 0);
    if (s->memo) {
        consider(s, PLAN_LISTED, 0);
    }
    if (s->graph.hnsw) {
        consider_graph(s, r);
    }
    if (s->lists.ivf && search_plan_lists(s, r)) {
        consider(s, PLAN_IVF, 0);
    }
    search_plan_learning(s);
    if (s->plan == PLAN_FLAT) {
        return;
    }
    s->scored = 0;
    /* The runs that hold the tail; none for a list. */
    s->scan.source.first_run =
        s->graph.hnsw && s->plan != PLAN_LISTED &&
                search_raw_from(s) < s->view.n_slots
            ? row_place(s->view.geometry, search_raw_from(s)).page
            : s->scan.source.n_runs;
}
