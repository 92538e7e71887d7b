/* The cache of exact neighbours.
 *
 * A file is a header and two arrays in the machine's own byte order, ids and
 * keys. It is a cache: one that does not fit in any way is computed anew. */
#include "tools/bench/bench_truth_impl.h"

#include <limits.h>
#include <stdio.h>

#include "base/buf.h"

enum { CACHE_K = 100 };

static const char magic[8] = {'V', 'T', 'R', 'U', 'T', 'H', '0', '1'};

struct cache_header {
    char magic[8];
    uint64_t nq;
    uint32_t k;
    uint32_t check; /* of what follows */
};

static uint32_t checksum(const void *data, size_t words)
{
    const uint8_t *p = data;
    uint32_t sum = 1, word;
    size_t i;

    for (i = 0; i < words; i++) {
        memcpy(&word, p + 4 * i, sizeof(word));
        sum = (sum ^ word) * 0x9e3779b1u;
    }
    return sum;
}

static void cache_path(const struct bench_question *q, uint32_t k,
                       const char *folder, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%016llx-%016llx-%s-%llu-%llu-%u.truth", folder,
             (unsigned long long)bench_vectors_fingerprint(q->base),
             (unsigned long long)bench_vectors_fingerprint(q->query),
             vec_metric_name(q->metric), (unsigned long long)q->first,
             (unsigned long long)q->n, k);
}

/* Keeps the first k neighbours of each query. */
static enum err cut(const struct bench_truth *wide, uint32_t k,
                    struct bench_truth *out, struct err_ctx *ctx)
{
    uint64_t i;
    enum err err = bench_truth_alloc(wide->nq, k, out, ctx);

    for (i = 0; !err && i < wide->nq; i++) {
        memcpy(out->ids + i * k, wide->ids + i * wide->k, (size_t)k * 4);
        memcpy(out->keys + i * k, wide->keys + i * wide->k, (size_t)k * 4);
    }
    return err;
}

/* A cached truth of k neighbours; false when there is none to be used. */
static bool cache_load(const char *path, const struct bench_question *q,
                       uint32_t k, struct bench_truth *out)
{
    size_t words = q->query->n * k;
    struct cache_header h;
    struct bench_file f;
    bool ok;

    if (bench_file_open(path, &f, NULL) != ERR_OK) {
        return false;
    }
    ok = f.len == sizeof(h) + 8 * words;
    if (ok) {
        memcpy(&h, f.data, sizeof(h));
        ok = memcmp(h.magic, magic, sizeof(magic)) == 0 &&
             h.nq == q->query->n && h.k == k &&
             h.check == checksum(f.data + sizeof(h), 2 * words) &&
             bench_truth_alloc(h.nq, k, out, NULL) == ERR_OK;
    }
    if (ok) {
        memcpy(out->ids, f.data + sizeof(h), 4 * words);
        memcpy(out->keys, f.data + sizeof(h) + 4 * words, 4 * words);
    }
    bench_file_close(&f);
    return ok;
}

static void cache_store(const char *path, const struct bench_truth *t)
{
    size_t words = t->nq * t->k;
    struct cache_header h = {.nq = t->nq, .k = t->k};
    struct buf b = BUF_INIT;

    buf_append(&b, &h, sizeof(h));
    buf_append(&b, t->ids, 4 * words);
    buf_append(&b, t->keys, 4 * words);
    memcpy(h.magic, magic, sizeof(magic));
    h.check = checksum(b.data + sizeof(h), 2 * words);
    memcpy(b.data, &h, sizeof(h));
    /* The next run computes again if this fails. */
    (void)!bench_file_replace(path, b.data, b.len, NULL);
    buf_deinit(&b);
}

enum err bench_truth_get(const struct bench_question *q, const char *folder,
                         unsigned n_threads, struct bench_truth *out,
                         bool *computed, struct err_ctx *ctx)
{
    struct bench_question wide_q = *q;
    struct bench_truth wide;
    char path[PATH_MAX];
    enum err err;

    wide_q.k = q->k > CACHE_K ? q->k : CACHE_K;
    *computed = false;
    if (folder) {
        cache_path(q, wide_q.k, folder, path);
    }
    if (!folder || !cache_load(path, q, wide_q.k, &wide)) {
        err = bench_truth_compute(&wide_q, n_threads, &wide, ctx);
        if (err) {
            return err;
        }
        *computed = true;
        if (folder) {
            cache_store(path, &wide);
        }
    }
    err = cut(&wide, q->k, out, ctx);
    bench_truth_free(&wide);
    return err;
}
