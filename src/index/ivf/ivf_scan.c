/* Scanning lists: see ivf.h.
 *
 * A list's blocks lie anywhere; within a block rows follow one another. */
#include "index/ivf/ivf_impl.h"

/* The rows of a block that scored well enough. */
static void keep(struct ivf_scan *s, uint32_t first, uint32_t lanes,
                 const float *keys, const uint32_t *at, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint32_t slot = first + at[i];
        uint64_t entry = topk_entry(keys[at[i]], slot);

        /* Over the limit can only be a NaN that vec_select() let through. */
        if ((lanes >> at[i] & 1) && topk_entry_key(entry) <= s->limit &&
            topk_wants(s->best, entry) && s->admits(s->arg, slot)) {
            topk_push(s->best, entry);
            s->admitted++;
        }
    }
}

static void scan_block(struct ivf_scan *s, uint32_t block, uint32_t lanes)
{
    uint32_t first = block * IVF_BLOCK;
    float limit = topk_limit(s->best);
    float keys[IVF_BLOCK];
    uint32_t at[IVF_BLOCK];
    uint32_t n = IVF_BLOCK - (uint32_t)__builtin_clz(lanes);
    size_t hits;

    if (first >= s->view.n_slots) {
        return; /* V2 */
    }
    vec_scan(s->query, row_map_at(&s->rows, first), n, keys);
    hits = vec_select(keys, n, limit < s->limit ? limit : s->limit, at);
    if (hits) {
        keep(s, first, lanes, keys, at, hits);
    }
    s->scored += n;
    s->n_blocks++;
}

static void scan_list(struct ivf_scan *s, uint32_t list)
{
    const struct ivf_run *run = ivf_view_run(&s->view, list);
    uint32_t n = ivf_run_length(run);
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint32_t lanes;
        uint32_t block = ivf_run_block(run, i, &lanes);

        if (lanes) {
            scan_block(s, block, lanes);
        }
    }
    s->n_lists++;
}

void ivf_scan_lists(struct ivf_scan *s, const uint32_t *lists, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n && !s->stopped; i++) {
        scan_list(s, lists[i]);
        s->stopped = s->stop && s->stop(s->arg);
    }
}

void ivf_scan_all(struct ivf_scan *s)
{
    uint32_t i;

    for (i = 0; i < s->view.dir->n_lists; i++) {
        ivf_scan_lists(s, &i, 1);
    }
}
