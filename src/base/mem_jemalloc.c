/* jemalloc behind mem.h and region.h.
 *
 * Explicit arenas carry the vector sets. Their extents come from an alloc hook
 * of ours that hands out 2 MiB-aligned, huge-page-advised memory: a scan that
 * streams gigabytes, and a graph walk that misses the TLB on every hop, both
 * gain from it, and fork() of a huge-page heap is two orders cheaper. For the
 * same reason small pieces that became free in a large owner's arena stay with
 * it, for its next blocks: taken out of a huge page, they would leave it in
 * small ones. All other hooks stay jemalloc's own; leaving split or merge empty
 * disables them and leads into its error paths.
 *
 * Arena allocations pass MALLOCX_TCACHE_NONE: a region cached by a thread would
 * outlive the arena it belongs to. */
#include "base/mem_impl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <jemalloc/jemalloc.h>

/* Read by jemalloc before main(). Few automatic arenas, since each one costs
 * fork() time. */
const char *malloc_conf = "narenas:2,background_thread:false,"
                          "dirty_decay_ms:5000,muzzy_decay_ms:0";

#define TEXT(x)    #x
#define TEXT_OF(x) TEXT(x)

#define HUGE_PAGE ((size_t)2 << 20)
#define PIECE_MIN (HUGE_PAGE / 4)

static extent_hooks_t hooks, private_hooks;
static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
static extent_alloc_t *default_alloc;
static extent_purge_t *default_purge;
static extent_hooks_t *default_hooks;

/* Maps size bytes aligned to a huge page by mapping one page more and trimming
 * both ends. */
static void *map_huge(size_t size, size_t align)
{
    size_t span = size + align;
    uintptr_t start, aligned;
    void *p;

    p = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    start = (uintptr_t)p;
    aligned = (start + align - 1) & ~(align - 1);
    if (aligned > start) {
        munmap(p, aligned - start);
    }
    if (start + span > aligned + size) {
        munmap((void *)(aligned + size), start + span - (aligned + size));
    }
    madvise((void *)aligned, size, MADV_HUGEPAGE);
    return (void *)aligned;
}

/* What was mapped for arenas lately. An arena cuts it up from its beginning, in
 * the order in which blocks of all kinds are asked for. */
enum { MAPPED_MAX = 64 };
static _Atomic(uintptr_t) mapped_from[MAPPED_MAX], mapped_to[MAPPED_MAX];
static _Atomic unsigned n_mapped;

static void note_mapped(const void *p, size_t size)
{
    unsigned i = atomic_fetch_add(&n_mapped, 1) % MAPPED_MAX;

    atomic_store(&mapped_to[i], 0);
    atomic_store(&mapped_from[i], (uintptr_t)p);
    atomic_store(&mapped_to[i], (uintptr_t)p + size);
}

size_t mem_raw_arena_behind(const void *ptr, size_t size)
{
    uintptr_t end = (uintptr_t)ptr + size;
    unsigned i;

    for (i = 0; i < MAPPED_MAX; i++) {
        uintptr_t to = atomic_load(&mapped_to[i]);

        if (end <= to && atomic_load(&mapped_from[i]) <= (uintptr_t)ptr) {
            return to - end;
        }
    }
    return 0;
}

static void *extent_alloc(extent_hooks_t *h, void *new_addr, size_t size,
                          size_t align, bool *zero, bool *commit,
                          unsigned arena)
{
    void *p;

    if (new_addr || size < HUGE_PAGE) {
        return default_alloc(h, new_addr, size, align, zero, commit, arena);
    }
    p = map_huge(size, align > HUGE_PAGE ? align : HUGE_PAGE);
    if (p) {
        note_mapped(p, size);
        *zero = true;
        *commit = true;
    }
    return p;
}

/* true: they are not given back. */
static bool purge_large(extent_hooks_t *h, void *addr, size_t size,
                        size_t offset, size_t length, unsigned arena)
{
    return length < PIECE_MIN ||
           default_purge(h, addr, size, offset, length, arena);
}

static void hooks_prepare(void)
{
    size_t len = sizeof(default_hooks);

    if (mallctl("arena.0.extent_hooks", &default_hooks, &len, NULL, 0) != 0) {
        default_hooks = NULL;
        return;
    }
    hooks = *default_hooks;
    default_alloc = default_hooks->alloc;
    hooks.alloc = extent_alloc;
    private_hooks = hooks;
    if (hooks.purge_forced) {
        default_purge = hooks.purge_forced;
        private_hooks.purge_forced = purge_large;
        private_hooks.purge_lazy = NULL;
    }
}

void *mem_raw_alloc(size_t size)
{
    return mallocx(size, 0);
}

void *mem_raw_realloc(void *ptr, size_t size)
{
    return ptr ? rallocx(ptr, size, 0) : mallocx(size, 0);
}

void mem_raw_free(void *ptr)
{
    dallocx(ptr, 0);
}

size_t mem_raw_size(const void *ptr)
{
    return sallocx(ptr, 0);
}

unsigned mem_raw_arena_create(bool private)
{
    extent_hooks_t *mine = private ? &private_hooks : &hooks;
    unsigned arena = 0;
    size_t len = sizeof(arena);

    pthread_once(&hooks_once, hooks_prepare);
    if (!default_hooks ||
        mallctl("arenas.create", &arena, &len, &mine, sizeof(mine)) != 0) {
        return 0;
    }
    return arena;
}

static void arena_ctl(unsigned arena, const char *verb)
{
    char name[64];

    snprintf(name, sizeof(name), "arena.%u.%s", arena, verb);
    mallctl(name, NULL, NULL, NULL, 0);
}

void mem_raw_arena_destroy(unsigned arena)
{
    arena_ctl(arena, "destroy");
}

void mem_raw_arena_purge(unsigned arena)
{
    arena_ctl(arena, "purge");
}

void *mem_raw_arena_alloc(unsigned arena, size_t size, size_t align)
{
    int flags = align > 1 ? MALLOCX_ALIGN(align) : 0;

    if (arena) {
        flags |= (int)(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
    }
    return mallocx(size, flags);
}

void mem_raw_arena_free(void *ptr, size_t size)
{
    (void)size;
    dallocx(ptr, MALLOCX_TCACHE_NONE);
}

size_t mem_raw_arena_size(size_t size, size_t align)
{
    return nallocx(size, align > 1 ? MALLOCX_ALIGN(align) : 0);
}

static size_t stat_read(const char *name)
{
    size_t value = 0;
    size_t len = sizeof(value);

    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

void mem_stats_read(struct mem_stats *out)
{
    uint64_t epoch = 1;
    size_t len = sizeof(epoch);

    mallctl("epoch", &epoch, &len, &epoch, len);
    out->allocated = stat_read("stats.allocated");
    out->active = stat_read("stats.active");
    out->resident = stat_read("stats.resident");
    out->retained = stat_read("stats.retained");
}

const char *mem_allocator(void)
{
    return "jemalloc-" TEXT_OF(JEMALLOC_VERSION_MAJOR) "." TEXT_OF(
        JEMALLOC_VERSION_MINOR) "." TEXT_OF(JEMALLOC_VERSION_BUGFIX);
}

void mem_purge(void)
{
    mem_raw_arena_purge(MALLCTL_ARENAS_ALL);
}

/* By itself jemalloc looks at an arena only while it is allocated from, so that
 * one at rest would keep what it has. */
void mem_decay(void)
{
    arena_ctl(MALLCTL_ARENAS_ALL, "decay");
}
