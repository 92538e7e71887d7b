/* The C library's heap behind mem.h and region.h, for sanitizer builds: every
 * block is its own allocation, so an overrun or a use after free is seen. An
 * arena is only a number here; its blocks are freed one by one, as region.h
 * asks of its users anyway. */
#include "base/mem_impl.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic unsigned last_arena;

void *mem_raw_alloc(size_t size)
{
    return malloc(size);
}

void *mem_raw_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size);
}

void mem_raw_free(void *ptr)
{
    free(ptr);
}

size_t mem_raw_size(const void *ptr)
{
    return malloc_usable_size((void *)(uintptr_t)ptr);
}

unsigned mem_raw_arena_create(bool private)
{
    (void)private;
    return atomic_fetch_add(&last_arena, 1) + 1;
}

void mem_raw_arena_destroy(unsigned arena)
{
    (void)arena;
}

void mem_raw_arena_purge(unsigned arena)
{
    (void)arena;
}

void *mem_raw_arena_alloc(unsigned arena, size_t size, size_t align)
{
    void *p = NULL;

    (void)arena;
    if (align <= sizeof(void *)) {
        return malloc(size);
    }
    return posix_memalign(&p, align, size) == 0 ? p : NULL;
}

void mem_raw_arena_free(void *ptr, size_t size)
{
    (void)size;
    free(ptr);
}

size_t mem_raw_arena_behind(const void *ptr, size_t size)
{
    (void)ptr;
    (void)size;
    return 0;
}

size_t mem_raw_arena_size(size_t size, size_t align)
{
    (void)align;
    return size;
}

void mem_stats_read(struct mem_stats *out)
{
    size_t rss = mem_resident();

    *out = (struct mem_stats){mem_used(), mem_used(), rss, 0};
}

const char *mem_allocator(void)
{
    return "libc";
}

void mem_decay(void)
{
}

void mem_purge(void)
{
    malloc_trim(0);
}
