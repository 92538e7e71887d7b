/* RDB files: whatever bytes are read, what was accepted is a keyspace that is
 * valid, that can be written down, and that is the same when it is read again.
 * What a file asks memory for is in proportion to its size.
 *
 * Checksums are believed in this build (SUMS_AGREE), since no mutation would
 * ever get past them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/search/search.h"
#include "db/snapshot.h"
#include "db/value_digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_DBS = 3 };

struct world {
    struct pool *pool, *builders;
    struct reaper *reaper;
    struct keyspace *ks;
};

static void wake(void *arg)
{
    (void)arg;
}

static void world_create(struct world *w)
{
    struct pool_options o = {.n_workers = 1,
                             .wake = wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};

    log_set_level(LOG_NOTHING);
    ASSERT(pool_create(&o, &w->pool) == ERR_OK);
    o.name = "b";
    o.worker_init = graph_worker_init;
    o.worker_deinit = graph_worker_deinit;
    ASSERT(pool_create(&o, &w->builders) == ERR_OK);
    ASSERT(reaper_create(&w->reaper) == ERR_OK);
    w->ks = keyspace_create(N_DBS, w->pool, w->reaper);
    keyspace_set_builders(w->ks, w->builders);
}

static void world_destroy(struct world *w)
{
    pool_destroy(w->builders);
    pool_destroy(w->pool);
    keyspace_destroy(w->ks);
    reaper_destroy(w->reaper);
}

static enum err load(struct world *w, struct bytes bytes)
{
    struct snapshot_load options = {.skip_unknown = true, .keep_expired = true};
    struct err_ctx ctx;
    struct rdb_in in;
    enum err err;

    rdb_in_open_mem(&in, bytes);
    err = snapshot_read(&in, w->ks, &options, &ctx);
    rdb_in_close(&in);
    keyspace_validate(w->ks);
    return err;
}

static void save(struct world *w, struct buf *out)
{
    struct snapshot_about about = {false, -1};
    struct snapshot_progress progress = {0};
    struct rdb_out o;

    rdb_out_open_mem(&o, out);
    snapshot_write(&o, w->ks, &about, &progress);
    ASSERT(rdb_out_finish(&o) == ERR_OK);
    rdb_out_close(&o);
}

struct digesting {
    struct world *w;
    struct value_digest sum; /* of all keys, in any order */
};

static void digest_entry(uint64_t ref, void *arg)
{
    struct digesting *d = arg;
    const struct entry *e = (const struct entry *)(uintptr_t)ref;
    struct value_digest_walk walk;
    struct value_digest one;

    value_digest_clear(&one);
    value_digest_mix(&one, entry_key(e));
    value_digest_begin(&walk, d->w->ks, e, &one);
    while (!value_digest_step(&walk, 64)) {
    }
    value_digest_xor(&d->sum, bytes_of(&one, sizeof(one)));
}

static struct value_digest digest(struct world *w)
{
    struct digesting d = {.w = w};
    int i;

    value_digest_clear(&d.sum);
    for (i = 0; i < N_DBS; i++) {
        table_each(&w->ks->dbs[i]->entries, digest_entry, &d);
    }
    return d.sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world first = {0}, second = {0};
    struct buf file = BUF_INIT;
    size_t before;

    world_create(&first);
    if (size % 2) {
        first.ks->shared_loads_from = 0; /* the worker takes part */
    }
    before = mem_used();
    if (load(&first, bytes_of(data, size)) == ERR_OK) {
        struct value_digest a, b;

        ASSERT(mem_used() < before + (32u << 20) + 1000 * size);
        a = digest(&first);
        save(&first, &file);
        world_create(&second);
        ASSERT(load(&second, buf_bytes(&file)) == ERR_OK);
        b = digest(&second);
        ASSERT(memcmp(&a, &b, sizeof(a)) == 0);
        world_destroy(&second);
    }
    world_destroy(&first);
    buf_deinit(&file);
    return 0;
}
