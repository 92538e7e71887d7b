/* A keyspace of two databases for each test: struct fixture is its state. */
#ifndef VECTRA_TESTS_KEYSPACE_FIXTURE_H
#define VECTRA_TESTS_KEYSPACE_FIXTURE_H

#include "unit/cm.h"

#include "base/pool.h"
#include "base/reaper.h"
#include "db/keyspace.h"
#include "vec/vec.h"

struct fixture {
    struct pool *pool;
    struct reaper *reaper;
    struct keyspace *ks;
};

static void wake(void *arg)
{
    (void)arg;
}

static int setup(void **state)
{
    struct pool_options o = {.n_workers = 1, .wake = wake};
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    assert_int_equal(pool_create(&o, &f->pool), ERR_OK);
    assert_int_equal(reaper_create(&f->reaper), ERR_OK);
    f->ks = keyspace_create(2, f->pool, f->reaper);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pool_destroy(f->pool);
    keyspace_destroy(f->ks);
    reaper_destroy(f->reaper);
    free(f);
    return 0;
}

#endif
