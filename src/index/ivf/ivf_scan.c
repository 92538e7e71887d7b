/* Scanning lists: see ivf.h.
 *
 * A list's blocks lie anywhere, but within a block rows follow one another. So
 * while a block is scored the next one, of this list or of the list after it,
 * is on its way to the cache.
 *
 * How many lists a query needs differs widely. What tells is how many lists
 * have given nothing, and how far the next centroid is compared with the k-th
 * best row: together, as
 *
 *     (idle lists + 1) * (centroid / k-th best)^4, of squared distances
 *
 * they found the same of 7 to 60 % fewer rows, where each alone was better for
 * some data (images, by distance) and worse for other (words). */
#include "index/ivf/ivf_impl.h"

#include <math.h>

enum {
    PATIENCE = 3, /* for each list of n_probe */
    STEP = 4,     /* times as many lists are probed when some were not enough */
};

/* A block to be scored. */
struct piece {
    const uint8_t *rows;
    uint32_t first; /* slot */
    uint32_t lanes;
    uint32_t n; /* rows to score: those up to the last lane */
};

/* Goes through the blocks of lists in their order. */
struct walk {
    const struct ivf_scan *scan;
    const uint32_t *lists; /* either this */
    const struct ivf_near *near;
    uint32_t n_lists;
    uint32_t list;  /* the next */
    uint32_t asked; /* lists that is_enough() knows of */
    uint64_t admitted;
    const struct ivf_run *run;
    uint32_t at, n; /* of the run */
};

ALWAYS_INLINE uint32_t list_at(const struct walk *w, uint32_t i)
{
    return w->near ? w->near[i].list : w->lists[i];
}

/* Runs are found through two pointers, each a miss. */
static void expect_list(const struct walk *w)
{
    const struct ivf_dir *dir = w->scan->view.dir;

    if (w->list + 2 < w->n_lists) {
        __builtin_prefetch((const void *)&dir->runs[list_at(w, w->list + 2)]);
    }
    if (w->list + 1 < w->n_lists) {
        const struct ivf_run *run =
            ivf_view_run(&w->scan->view, list_at(w, w->list + 1));

        __builtin_prefetch(run);
        __builtin_prefetch((const uint8_t *)run + CACHE_LINE);
    }
}

/* False when there are no more. */
static bool next_piece(struct walk *w, struct piece *out)
{
    const struct ivf_view *view = &w->scan->view;

    for (;;) {
        while (w->at < w->n) {
            uint32_t lanes;
            uint32_t block = ivf_run_block(w->run, w->at++, &lanes);
            uint32_t first = block * IVF_BLOCK;

            /* V2; no lanes are also those of a hole */
            if (lanes && first < view->n_slots) {
                out->first = first;
                out->lanes = lanes;
                out->n = IVF_BLOCK - (uint32_t)__builtin_clz(lanes);
                out->rows = row_map_at(&w->scan->rows, first);
                return true;
            }
        }
        if (w->list == w->n_lists) {
            return false;
        }
        expect_list(w);
        w->run = ivf_view_run(view, list_at(w, w->list++));
        w->n = ivf_run_length(w->run);
        w->at = 0;
    }
}

static void expect_rows(const struct piece *p, size_t row_bytes)
{
    const uint8_t *end = p->rows + p->n * row_bytes;
    const uint8_t *at;

    for (at = p->rows; at < end; at += CACHE_LINE) {
        __builtin_prefetch(at, 0, 2);
    }
}

/* The rows of a piece that scored well enough. */
static NO_INLINE void keep(struct ivf_scan *s, const struct piece *p,
                           const float *keys, const uint32_t *at, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint32_t slot = p->first + at[i];
        uint64_t entry = topk_entry(keys[at[i]], slot);

        /* Over the limit can only be a NaN that vec_select() let through. */
        if ((p->lanes >> at[i] & 1) && topk_entry_key(entry) <= s->limit &&
            topk_wants(s->best, entry) && s->admits(s->arg, slot)) {
            topk_push(s->best, entry);
            s->admitted++;
        }
    }
}

static float limit_of(const struct ivf_scan *s)
{
    float limit = topk_limit(s->best);

    return limit < s->limit ? limit : s->limit;
}

static void score(struct ivf_scan *s, const struct piece *p)
{
    float keys[IVF_BLOCK];
    uint32_t at[IVF_BLOCK];
    size_t hits;

    vec_scan(s->query, p->rows, p->n, keys);
    hits = vec_select(keys, p->n, limit_of(s), at);
    if (hits) {
        keep(s, p, keys, at, hits);
    }
}

/* How much farther a centroid is than the k-th best, as squared distances. */
static float remoteness(const struct ivf_scan *s, float key)
{
    const enum vec_metric metric = s->view.dir->centroids->metric;
    float limit = limit_of(s);

    switch (metric) {
    case VEC_COSINE:
        return key / (2 * limit);
    case VEC_L1:
        return key / limit * (key / limit);
    case VEC_L2:
        return key / limit;
    case VEC_IP: /* centroids are told apart by directions alone */
    case VEC_METRIC_COUNT:
        break;
    }
    return 1;
}

/* Whether to end before the walk's list number `next`, when those before have
 * been scanned. */
static bool is_enough(struct ivf_scan *s, struct walk *w, uint32_t next)
{
    float far;

    s->n_idle = s->admitted == w->admitted ? s->n_idle + next - w->asked : 0;
    w->admitted = s->admitted;
    w->asked = next;
    if (s->stop && s->stop(s->arg)) {
        s->stopped = true;
    } else if (s->patience > 0 && w->near && next < w->n_lists &&
               isfinite(limit_of(s))) {
        far = remoteness(s, w->near[next].key);
        s->enough =
            (float)(s->n_idle + 1) * far * far * far * far >= s->patience;
    }
    return s->stopped || s->enough;
}

/* The walk is at the list of the piece to come, or the one after where it has
 * no more of that. */
static void scan_rows(struct ivf_scan *s, struct walk *w)
{
    size_t row_bytes = s->rows.geometry->row_bytes;
    struct piece piece, next;
    bool more = next_piece(w, &next);

    while (more) {
        uint32_t list = w->list;

        piece = next;
        more = next_piece(w, &next);
        if (more) {
            expect_rows(&next, row_bytes);
        }
        score(s, &piece);
        s->scored += piece.n;
        s->n_blocks++;
        if (w->list != list && is_enough(s, w, more ? w->list - 1 : w->list)) {
            break;
        }
    }
    s->n_lists += more ? w->list - 1 : w->list;
}

/* Codes are scanned for some blocks at a time: few at first, so that there is
 * soon a limit to compare with. */
static void scan_codes(struct ivf_scan *s, struct walk *w)
{
    enum { FEW = 2 };
    struct piece pieces[IVF_CODES_SCAN_MAX];
    uint32_t blocks[IVF_CODES_SCAN_MAX], below[IVF_CODES_SCAN_MAX];
    _Alignas(64) float keys[IVF_CODES_SCAN_MAX * IVF_BLOCK];
    uint32_t at[IVF_BLOCK];
    size_t most = FEW, n, i;

    do {
        uint32_t list = w->list;

        for (n = 0; n < most && next_piece(w, &pieces[n]); n++) {
            blocks[n] = pieces[n].first / IVF_BLOCK;
        }
        ivf_codes_scan(s->codes, blocks, n, limit_of(s), below, keys);
        for (i = 0; i < n; i++) {
            uint32_t lanes = below[i] & pieces[i].lanes;
            size_t hits = 0;

            for (; lanes; lanes &= lanes - 1) {
                at[hits++] = (uint32_t)__builtin_ctz(lanes);
            }
            if (hits) {
                keep(s, &pieces[i], keys + i * IVF_BLOCK, at, hits);
            }
        }
        s->scored += n * IVF_BLOCK;
        s->n_blocks += (uint32_t)n;
        most = most < IVF_CODES_SCAN_MAX ? most * 2 : IVF_CODES_SCAN_MAX;
        /* What is scanned in part counts as scanned. */
        if (w->list != list && is_enough(s, w, w->list)) {
            break;
        }
    } while (n);
    s->n_lists += w->list;
}

static void scan(struct ivf_scan *s, struct walk *w)
{
    if (s->stopped || s->enough) {
        return;
    }
    w->scan = s;
    w->admitted = s->admitted;
    if (s->codes) {
        scan_codes(s, w);
    } else {
        scan_rows(s, w);
    }
}

void ivf_scan_lists(struct ivf_scan *s, const uint32_t *lists, uint32_t n)
{
    struct walk w = {.lists = lists, .n_lists = n};

    scan(s, &w);
}

void ivf_scan_near(struct ivf_scan *s, const struct ivf_near *near, uint32_t n)
{
    struct walk w = {.near = near, .n_lists = n};

    scan(s, &w);
}

void ivf_search(struct ivf_scan *s, const float *x, uint32_t n_probe,
                uint32_t most, struct ivf_near *near,
                struct ivf_scratch *scratch)
{
    const struct ivf_dir *dir = s->view.dir;
    uint32_t reach =
        n_probe < dir->n_lists / IVF_REACH ? n_probe * IVF_REACH : dir->n_lists;
    uint32_t step = n_probe;
    uint32_t done = 0;

    most = most < reach ? most : reach;
    s->patience = PATIENCE * (float)n_probe;
    while (done < most && !s->stopped && !s->enough) {
        uint32_t n = step < most ? step : most;

        n = ivf_probe(dir->centroids, x, n, near, scratch);
        ivf_scan_near(s, near + done, n - done);
        done = n;
        step = n < most / STEP ? n * STEP : most;
    }
}

void ivf_scan_all(struct ivf_scan *s)
{
    enum { SOME = 64 };
    uint32_t lists[SOME];
    uint32_t n = 0, i;

    for (i = 0; i < s->view.dir->n_lists; i++) {
        lists[n++] = i;
        if (n == SOME || i + 1 == s->view.dir->n_lists) {
            ivf_scan_lists(s, lists, n);
            n = 0;
        }
    }
}
