/* Regions: see region.h. The shared arenas are made on first use. */
#include "base/region.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem_impl.h"
#include "base/mem_map.h"

static unsigned shared[REGION_SHARED_ARENAS];
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;
static _Atomic int n_private;

static void shared_create(void)
{
    int i;

    for (i = 0; i < REGION_SHARED_ARENAS; i++) {
        shared[i] = mem_raw_arena_create(false);
    }
}

void region_init(struct region *r, uint64_t salt)
{
    pthread_once(&shared_once, shared_create);
    *r = (struct region){.arena = shared[salt % REGION_SHARED_ARENAS]};
}

void region_deinit(struct region *r)
{
    ASSERT(r->bytes == 0);
    if (r->is_private) {
        mem_raw_arena_destroy(r->arena);
        atomic_fetch_sub(&n_private, 1);
        r->is_private = false;
    }
}

void region_make_private(struct region *r)
{
    unsigned arena;

    if (r->is_private) {
        return;
    }
    if (atomic_fetch_add(&n_private, 1) >= REGION_PRIVATE_MAX) {
        atomic_fetch_sub(&n_private, 1);
        return;
    }
    arena = mem_raw_arena_create(true);
    if (arena == 0) {
        atomic_fetch_sub(&n_private, 1);
        return;
    }
    r->arena = arena;
    r->is_private = true;
}

void *region_alloc(struct region *r, size_t size, size_t align)
{
    size_t cost;
    void *p;

    if (UNLIKELY(mem_injected_failure())) {
        return NULL;
    }
    p = mem_raw_arena_alloc(r->arena, size, align);
    if (p) {
        cost = region_cost(size, align);
        r->bytes += cost;
        mem_account((int64_t)cost);
    }
    return p;
}

void region_free(struct region *r, void *ptr, size_t size, size_t align)
{
    size_t cost;

    if (!ptr) {
        return;
    }
    cost = region_cost(size, align);
    DASSERT(r->bytes >= cost);
    r->bytes -= cost;
    mem_account(-(int64_t)cost);
    mem_raw_arena_free(ptr, size);
}

void region_touch_on(void *ptr, size_t size)
{
    size_t behind = mem_raw_arena_behind(ptr, size);

    mem_touch(ptr, size + (behind < REGION_AHEAD ? behind : REGION_AHEAD));
}

size_t region_sleep(struct region *r, void *ptr, size_t size)
{
    size_t bytes = mem_discard(ptr, size);

    r->bytes -= bytes;
    mem_account(-(int64_t)bytes);
    return bytes;
}

void region_wake(struct region *r, void *ptr, size_t size, size_t bytes)
{
    r->bytes += bytes;
    mem_account((int64_t)bytes);
    mem_want(ptr, size);
}

size_t region_cost(size_t size, size_t align)
{
    return mem_raw_arena_size(size, align);
}

void region_purge_shared(void)
{
    int i;

    pthread_once(&shared_once, shared_create);
    for (i = 0; i < REGION_SHARED_ARENAS; i++) {
        mem_raw_arena_purge(shared[i]);
    }
}
