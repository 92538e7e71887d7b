/* Large blocks that grow without being copied: pages of their own, which the
 * kernel moves by rewriting page tables. For buffers of many megabytes on the
 * loop thread, where copying one would be felt by every client.
 *
 * Giving such pages back takes time, too (about as much as touching them did),
 * so a process may choose to have it done a little at a time. Counted in
 * mem_used() like any other memory.
 *
 * thread any, but for mem_unmap_some(). */
#ifndef VECTRA_BASE_MEM_MAP_H
#define VECTRA_BASE_MEM_MAP_H

#include <stdbool.h>

#include "base/err.h"

/* The size that is really taken for `size` bytes; sizes below are such. */
size_t mem_map_size(size_t size);

/* Makes a block of old_size bytes one of size, or, where ptr is NULL, a new
 * one. Bytes that are new are zero. Aborts when the system has no memory. */
void *mem_map_resize(void *ptr, size_t old_size, size_t size) MUST_USE;

void mem_map_free(void *ptr, size_t size);

/* Has the system back memory that is mapped, whole pages of it, so that whoever
 * writes there first is not held up; what is in it stays. Memory that is not
 * mapped any more is left alone. */
void mem_touch(void *ptr, size_t size);

/* Gives the whole pages of a block back to the system, of which the block
 * remains: it reads as zeros, and is found memory for as it is written to.
 * Returns how many bytes that are, at least, whatever its alignment; 0 when it
 * cannot be done. mem_want() says that it will be written to, by and by. */
size_t mem_discard(void *ptr, size_t size);
void mem_want(void *ptr, size_t size);

/* From now on blocks that are freed wait for mem_unmap_some(). */
void mem_unmap_slowly(bool yes);

/* Gives some of what waits back to the system; true when there is more.
 *
 * thread one, the loop. */
bool mem_unmap_some(void);

#endif
