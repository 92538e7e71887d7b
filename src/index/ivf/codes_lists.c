/* Scanning lists by the codes of their rows.
 *
 * Blocks of several lists are scanned together, as they come, so that short
 * lists cost no more than long ones; the limit is renewed between. */
#include "index/ivf/codes.h"
#include "index/ivf/ivf_impl.h"

/* Blocks that wait to be scanned. */
struct waiting {
    uint32_t n;
    uint32_t blocks[IVF_CODES_SCAN_MAX];
    uint32_t lanes[IVF_CODES_SCAN_MAX];
};

static void keep_lanes(struct ivf_scan *s, uint32_t first, uint32_t lanes,
                       const float *keys)
{
    for (; lanes; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        uint64_t entry = topk_entry(keys[lane], first + lane);

        if (topk_wants(s->best, entry) && s->admits(s->arg, first + lane)) {
            topk_push(s->best, entry);
            s->admitted++;
        }
    }
}

static void scan_waiting(struct ivf_scan *s, const struct ivf_codes_query *q,
                         struct waiting *w)
{
    float keys[IVF_CODES_SCAN_MAX * IVF_CODES_LANES];
    uint32_t below[IVF_CODES_SCAN_MAX];
    float limit = topk_limit(s->best);
    uint32_t i;

    ivf_codes_scan(q, w->blocks, w->n, limit < s->limit ? limit : s->limit,
                   below, keys);
    for (i = 0; i < w->n; i++) {
        if (below[i] & w->lanes[i]) {
            keep_lanes(s, w->blocks[i] * IVF_BLOCK, below[i] & w->lanes[i],
                       keys + (size_t)i * IVF_CODES_LANES);
        }
    }
    s->scored += (uint64_t)w->n * IVF_BLOCK;
    s->n_blocks += w->n;
    w->n = 0;
}

static void scan_list(struct ivf_scan *s, const struct ivf_codes_query *q,
                      uint32_t list, struct waiting *w)
{
    const struct ivf_run *run = ivf_view_run(&s->view, list);
    uint32_t n = ivf_run_length(run);
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint32_t lanes;
        uint32_t block = ivf_run_block(run, i, &lanes);

        if (lanes == 0 || block * IVF_BLOCK >= s->view.n_slots) {
            continue; /* V2 */
        }
        w->blocks[w->n] = block;
        w->lanes[w->n++] = lanes;
        if (w->n == IVF_CODES_SCAN_MAX) {
            scan_waiting(s, q, w);
        }
    }
    s->n_lists++;
}

void ivf_codes_scan_lists(const struct ivf_codes_query *q, struct ivf_scan *s,
                          const uint32_t *lists, uint32_t n)
{
    struct waiting w = {0};
    uint32_t i;

    for (i = 0; i < n && !s->stopped; i++) {
        scan_list(s, q, lists[i], &w);
        s->stopped = s->stop && s->stop(s->arg);
    }
    if (w.n && !s->stopped) {
        scan_waiting(s, q, &w);
    }
}
