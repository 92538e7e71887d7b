/* The seam between counting (mem.c) and the allocator behind it: jemalloc in
 * mem_jemalloc.c, or the C library in mem_libc.c, where sanitizers need to see
 * every block. The Makefile compiles one of the two. */
#ifndef VECTRA_BASE_MEM_IMPL_H
#define VECTRA_BASE_MEM_IMPL_H

#include "base/mem.h"

void *mem_raw_alloc(size_t size);
void *mem_raw_realloc(void *ptr, size_t size);
void mem_raw_free(void *ptr);
size_t mem_raw_size(const void *ptr);

/* True when a test asked for the allocation that is about to be made to fail.
 */
bool mem_injected_failure(void);

/* Arena operations behind base/region.h. Index 0 is the ordinary heap. */
unsigned mem_raw_arena_create(bool private); /* 0 when none can be had */
void mem_raw_arena_destroy(unsigned arena);
void *mem_raw_arena_alloc(unsigned arena, size_t size, size_t align);
void mem_raw_arena_free(void *ptr, size_t size);
/* How much of what follows a block belongs to its arena: mapped, and not in use
 * so far. */
size_t mem_raw_arena_behind(const void *ptr, size_t size);
size_t mem_raw_arena_size(size_t size, size_t align); /* rounded */
void mem_raw_arena_purge(unsigned arena);

#endif
