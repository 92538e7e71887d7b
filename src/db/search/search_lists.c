/* Searches that inverted lists answer.
 *
 * The lists whose centroids are nearest to the query are scanned, and all rows
 * that are in no list yet: the tail. Rows move from the tail into lists, and
 * from list to list, all the time; a search finds each at one place, since all
 * that it captured was captured in one turn of the loop (lists.h, L1). While
 * lists are being replaced there are two lots of them, and both are looked
 * through.
 *
 * How many lists: what NPROBE says; or what reached the wanted recall when the
 * set was last measured (recall.h), which is also what EF counts in: EF 100 is
 * the default. With a filter more, for its rows lie farther away; and when in
 * the end there are fewer than were asked for, more and more lists, until all
 * have been scanned or the client's bound is met. So an answer is short only
 * when there are no more, or when effort is bounded. A radius bounds it, too:
 * how many rows lie within is not known, so lists that were not chosen are not
 * looked at for want of rows. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "db/search/search_impl.h"
#include "index/ivf/centroids.h"
#include "index/ivf/codes.h"
#include "store/slots_blocks.h"

enum {
    EF_DEFAULT = 100,  /* stands for the default number of lists */
    TILE_ROWS = 256,   /* of the tail, scored at a time */
    TAIL_SHARE = 4,    /* one in so many rows in the tail: all are scanned */
    BYTES_PER_NS = 16, /* as search_scan_ns() */
    PROBE_NS = 1500,
    LIST_NS = 60,
    GROWTH = 4, /* times as many lists when there were too few rows */
};

#define RECALL_DEFAULT 0.95
#define LARGER         1.3 /* lists near queries are larger than the mean */

/* ---- planning. thread loop --------------------------------------------- */

bool search_may_use_lists(const struct vset *v, const struct search_request *r)
{
    return !r->exact && !r->as_stored && lists_of(v);
}

void search_take_lists(struct search *s)
{
    lists_view_take(s->set, &s->lists);
    if (s->lists.ivf) {
        ivf_view_take(s->lists.ivf, s->view.n_slots, &s->in_lists);
    }
    s->in_coming.dir = NULL;
    if (s->lists.coming) {
        ivf_view_take(s->lists.coming, s->view.n_slots, &s->in_coming);
    }
    s->all_lists = false;
}

/* Rows of the tail that are scanned. */
static double tail_rows(const struct search *s)
{
    uint32_t n_live = vset_count(s->set);
    uint32_t n = n_live > s->lists.n_listed ? n_live - s->lists.n_listed : 0;

    return s->lists.left.hnsw && s->lists.left.n_unlinked < n
               ? s->lists.left.n_unlinked
               : n;
}

static double mean_rows(const struct search *s)
{
    double n = (double)s->lists.n_listed / s->in_lists.dir->n_lists;

    return n < 1 ? 1 : n;
}

/* Lists to look through; 0: all. */
static double wanted_lists(const struct search *s,
                           const struct search_request *r)
{
    double n_lists = s->in_lists.dir->n_lists;
    double n = s->lists.n_probe;

    if (r->nprobe) {
        return r->nprobe;
    }
    if (r->recall > 0) {
        n = recall_effort(s->set, r->recall, s->k);
    } else if (n <= 0) {
        n = recall_effort(s->set, RECALL_DEFAULT, s->k);
        n = n > 0 ? n : n_lists / 4; /* the most that is measured */
    }
    if (r->ef && r->recall <= 0) {
        n = n * r->ef / EF_DEFAULT;
    }
    /* The k nearest of one row in ten reach as far as the 10 * k nearest. */
    return s->filter ? n / sqrt(s->share) : n;
}

/* The effort in a graph that gives way: there is no table for it any more. */
static void plan_left(struct search *s, const struct search_request *r)
{
    double ef = r->ef ? r->ef : EF_DEFAULT;

    if (r->recall > 0) {
        ef = EF_DEFAULT * fmax(1, (1 - RECALL_DEFAULT) / (1.001 - r->recall));
    }
    ef = fmax(s->filter ? ef / s->share : ef, (double)s->k);
    if (s->filter && r->filter_ef) {
        ef = fmin(ef, (double)r->filter_ef);
    }
    s->ef = ef < SEARCH_EF_MAX ? (uint32_t)ef : SEARCH_EF_MAX;
}

bool search_plan_lists(struct search *s, const struct search_request *r)
{
    double n_lists = s->in_lists.dir->n_lists;
    double n = ceil(wanted_lists(s, r));

    if (s->lists.left.hnsw) {
        plan_left(s, r);
    }
    s->most_lists = s->in_lists.dir->n_lists;
    if (s->filter && r->filter_ef) {
        double most = ceil((double)r->filter_ef / mean_rows(s));

        s->most_lists = most < n_lists ? (uint32_t)most : s->most_lists;
        n = n < most ? n : most;
    }
    if (n <= 0 || tail_rows(s) * TAIL_SHARE > vset_count(s->set)) {
        return false;
    }
    s->n_probe = n < n_lists ? (uint32_t)n : s->in_lists.dir->n_lists;
    /* A number of lists that somebody said is kept to. */
    s->may_end_early =
        r->nprobe ? r->about : r->recall > 0 || s->lists.n_probe == 0;
    return true;
}

double search_lists_ns(const struct search *s)
{
    double n_lists = s->in_lists.dir->n_lists;
    double share = s->n_probe / n_lists;
    double rows = s->lists.n_listed * fmin(share * LARGER, 1);
    double all = rows + tail_rows(s);
    double left =
        s->lists.left.hnsw ? search_hnsw_ns(s, s->lists.left.hnsw, s->ef) : 0;

    return left + PROBE_NS + n_lists * s->set->format.dim / BYTES_PER_NS +
           s->n_probe * (double)LIST_NS + search_scan_ns(s, all) +
           search_asks_ns(s, all);
}

/* ---- searching. thread any --------------------------------------------- */

/* What a search keeps of one lot of lists while it goes through them. */
struct lot {
    struct ivf_scan scan;
    const struct ivf_codes *codes; /* NULL: rows are scanned */
    uint32_t n_lists;
    uint32_t n_done;       /* of the nearest ones */
    struct ivf_near *near; /* n_lists of them */
    uint32_t *lists;       /* likewise */
    uint8_t *is_done;      /* by list; from the second helping on */
};

enum { PER_LIST = sizeof(struct ivf_near) + sizeof(uint32_t) + 1 };

/* Memory of the scratch's for so many lists. */
static uint8_t *scratch_fit(struct search_scratch *scratch, uint32_t n)
{
    if (scratch->cap_near < n) {
        scratch->cap_near = n + n / 2;
        mem_free(scratch->near);
        scratch->near = mem_alloc((size_t)scratch->cap_near * PER_LIST);
    }
    return (uint8_t *)scratch->near;
}

static void lot_begin(struct lot *l, struct search *s,
                      const struct ivf_view *view, uint8_t *memory)
{
    uint32_t n = view->dir->n_lists;

    *l = (struct lot){
        .scan = {.view = *view,
                 .rows = s->view.rows,
                 .query = s->scan.query,
                 .best = &s->scan.best,
                 .limit = s->scan.limit,
                 .admits = s->scan.source.admits,
                 .stop = search_should_stop,
                 .arg = s},
        .n_lists = n,
        .near = (void *)memory,
        .lists = (void *)(memory + n * sizeof(struct ivf_near)),
        .is_done = memory + n * (sizeof(struct ivf_near) + sizeof(uint32_t)),
    };
}

/* Products are kept by the hundred, to be scored again: that nothing is among
 * the hundred best any more says little about the ten best. Nor do lists that
 * gave nothing where rows are near by being long. */
static bool tells_when_to_end(const struct lot *l, const struct search *s)
{
    return s->may_end_early && s->set->format.metric != VEC_IP &&
           (!l->codes || ivf_codes_kind_of(l->codes) == IVF_CODES_I8);
}

/* Looks through about n lists as a first helping: fewer where it is soon clear
 * that the next ones will give nothing, more where it is not. */
static void look_near(struct lot *l, struct search *s, uint32_t n,
                      struct search_scratch *scratch)
{
    uint32_t i;

    if (l->codes) {
        search_by_codes(s, &l->scan, l->codes, NULL, n, l->near, scratch);
    } else {
        ivf_search(&l->scan, s->vector, n, s->most_lists, l->near,
                   scratch->ivf);
    }
    l->scan.enough = false;
    l->n_done = l->scan.n_lists;
    memset(l->is_done, 0, l->n_lists);
    for (i = 0; i < l->n_done; i++) {
        l->is_done[l->near[i].list] = 1;
    }
}

/* Looks through the n nearest lists but for those it has been through. */
static void look_through(struct lot *l, struct search *s, uint32_t n,
                         struct search_scratch *scratch)
{
    uint32_t found, fresh = 0, i;

    n = n < l->n_lists ? n : l->n_lists;
    if (n <= l->n_done) {
        return;
    }
    if (l->n_done == 0 && n < l->n_lists && tells_when_to_end(l, s)) {
        look_near(l, s, n, scratch);
        return;
    }
    found = ivf_probe(l->scan.view.dir->centroids, s->vector, n, l->near,
                      scratch->ivf);
    if (l->n_done == 0) {
        memset(l->is_done, 0, l->n_lists);
    }
    for (i = 0; i < found; i++) {
        if (!l->is_done[l->near[i].list]) {
            l->is_done[l->near[i].list] = 1;
            l->lists[fresh++] = l->near[i].list;
        }
    }
    l->n_done = n;
    if (l->codes) {
        search_by_codes(s, &l->scan, l->codes, l->lists, fresh, NULL, scratch);
    } else {
        ivf_scan_lists(&l->scan, l->lists, fresh);
    }
}

static void score_tail_run(struct search *s, const struct slots_run *run)
{
    const struct page *p = s->view.pages[run->page];
    size_t row_bytes = s->scan.source.row_bytes;
    float keys[TILE_ROWS];
    uint32_t at[TILE_ROWS];
    uint32_t done;

    for (done = 0; done < run->n; done += TILE_ROWS) {
        uint32_t n = run->n - done < TILE_ROWS ? run->n - done : TILE_ROWS;
        float limit = topk_limit(&s->scan.best);
        size_t hits, i;

        vec_scan(s->scan.query, p->rows + (run->row + done) * row_bytes, n,
                 keys);
        hits = vec_select(keys, n,
                          limit < s->scan.limit ? limit : s->scan.limit, at);
        for (i = 0; i < hits; i++) {
            slot_id slot = run->first + done + at[i];
            uint64_t entry = topk_entry(keys[at[i]], slot);

            if (topk_entry_key(entry) <= s->scan.limit &&
                topk_wants(&s->scan.best, entry) &&
                s->scan.source.admits(s, slot)) {
                topk_push(&s->scan.best, entry);
            }
        }
    }
    s->tail_scored += run->n;
}

/* Of a run those blocks that the graph does not lead to: see graph_left.h. */
static void score_unlinked(struct search *s, const struct slots_run *run)
{
    const struct graph_left_view *left = &s->lists.left;
    slot_id end = run->first + run->n;
    slot_id at = run->first;

    while (at < end) {
        uint32_t block = at / IVF_BLOCK;
        uint64_t bits = graph_left_unlinked(left, block / 64) >> (block % 64);
        uint64_t skipped = bits ? (uint32_t)__builtin_ctzll(bits) : 64;
        uint64_t n = 0, to;

        if (skipped) {
            skipped = skipped < 64 - block % 64 ? skipped : 64 - block % 64;
            to = ((uint64_t)block + skipped) * IVF_BLOCK;
        } else {
            n = ~bits ? (uint32_t)__builtin_ctzll(~bits) : 64;
            to = ((uint64_t)block + n) * IVF_BLOCK;
        }
        to = to < end ? to : end;
        if (n) {
            struct slots_run part = {.page = run->page,
                                     .row = run->row + (at - run->first),
                                     .first = at,
                                     .n = (uint32_t)(to - at)};

            score_tail_run(s, &part);
        }
        at = (slot_id)to;
    }
}

static void score_tail(struct search *s)
{
    struct slots_run run;
    slot_id at = 0;

    while (slots_tail_next(&s->view, &at, &run) && !search_should_stop(s)) {
        if (s->lists.left.hnsw) {
            score_unlinked(s, &run);
        } else {
            score_tail_run(s, &run);
        }
    }
}

/* There may be more where it has not looked. */
static bool is_short(const struct search *s)
{
    float limit = s->fine ? s->fine_limit : s->scan.limit;

    return s->scan.best.n < s->k && isinf(limit) && !search_should_stop(s);
}

/* As a share of the lists of the other lot. */
static uint32_t so_many_of(const struct lot *l, const struct lot *other,
                           uint32_t n)
{
    uint64_t m =
        ((uint64_t)n * l->n_lists + other->n_lists - 1) / other->n_lists;

    return m < l->n_lists ? (uint32_t)m : l->n_lists;
}

/* What the graph finds may lie in lists by now: more of these would find it
 * twice. */
static void search_rest(struct search *s, struct search_scratch *scratch)
{
    s->cut_short = is_short(s) && s->most_lists < s->in_lists.dir->n_lists;
    if (is_short(s) && !s->cut_short) {
        search_all(s, scratch);
    }
}

void search_in_lists(struct search *s, struct search_scratch *scratch)
{
    struct lot lots[2];
    uint32_t n_lots = s->in_coming.dir ? 2 : 1;
    uint32_t n = s->n_probe;
    uint32_t all = s->in_lists.dir->n_lists;
    uint8_t *memory;
    uint32_t i;

    all += n_lots == 2 ? s->in_coming.dir->n_lists : 0;
    memory = scratch_fit(scratch, all + 2 * VEC_ALIGN);
    lot_begin(&lots[0], s, &s->in_lists, memory);
    lots[0].codes = s->lists.codes;
    if (n_lots == 2) {
        size_t used = (size_t)lots[0].n_lists * PER_LIST;

        lot_begin(&lots[1], s, &s->in_coming,
                  memory + (used + VEC_ALIGN - 1) / VEC_ALIGN * VEC_ALIGN);
        lots[1].codes = s->lists.coming_codes;
    }
    for (;;) {
        for (i = 0; i < n_lots; i++) {
            look_through(&lots[i], s, so_many_of(&lots[i], &lots[0], n),
                         scratch);
        }
        if (s->tail_scored == 0) {
            score_tail(s);
        }
        if (s->lists.left.hnsw) {
            break;
        }
        if (!is_short(s) || n >= s->most_lists) {
            break;
        }
        n = n < s->most_lists / GROWTH ? n * GROWTH : s->most_lists;
    }
    s->all_lists = !s->lists.left.hnsw;
    for (i = 0; i < n_lots; i++) {
        s->all_lists = s->all_lists && lots[i].n_done == lots[i].n_lists;
    }
    s->cut_short = is_short(s) && !s->all_lists;
    for (i = 0; i < n_lots; i++) {
        s->scored += lots[i].scan.scored;
    }
    s->scored += s->tail_scored;
    if (s->lists.left.hnsw) {
        search_left(s, scratch);
        search_rest(s, scratch);
    }
}
