/* Memory: allocation, the abort-or-try split, and what is in use.
 *
 * Every byte the process asks for itself goes through here (or through
 * base/region.h, which counts into the same total), so mem_used() is what
 * `used_memory` reports and what `maxmemory` is held against. The count is of
 * usable sizes, the allocator's rounding included.
 *
 * mem_alloc() and friends never fail: they report and abort. mem_try_alloc() is
 * for every size that comes from a client, a file or a peer.
 *
 * thread any. Memory may be freed by another thread than the one that asked. */
#ifndef VECTRA_BASE_MEM_H
#define VECTRA_BASE_MEM_H

#include <stdbool.h>

#include "base/err.h"

void *mem_alloc(size_t size) MUST_USE;
void *mem_calloc(size_t n, size_t size) MUST_USE;
void *mem_calloc_aligned(size_t size, size_t align) MUST_USE;
void *mem_realloc(void *ptr, size_t size) MUST_USE;
void *mem_try_alloc(size_t size) MUST_USE;
void *mem_try_realloc(void *ptr, size_t size) MUST_USE;
void mem_free(void *ptr);

/* A NUL-terminated copy; owns caller. */
char *mem_strndup(const void *s, size_t len) MUST_USE;

/* Bytes behind ptr, rounding included; 0 for NULL. */
size_t mem_size(const void *ptr);

/* Bytes that asking for `size` will really take. */
size_t mem_good_size(size_t size);

/* Bytes in use by the process, and the most there ever were when asked. */
size_t mem_used(void);
size_t mem_peak(void);

/* `maxmemory`: 0 means none. mem_has_room() is asked before memory that a
 * client's command needs is allocated. */
void mem_set_limit(size_t bytes);
size_t mem_limit(void);
bool mem_has_room(size_t more);

/* Bytes that work behind the commands is going to need for what has been let
 * in: mem_has_room() leaves room for them. What is added is taken back as they
 * are used. thread any */
void mem_promise(int64_t delta);
size_t mem_promised(void);

/* Called by base/thread.c as a thread ends: gives its counter back. */
void mem_thread_exit(void);

/* Adds to or takes from the total; for base/region.c only. */
void mem_account(int64_t delta);

/* What the allocator itself knows, for INFO. */
struct mem_stats {
    size_t allocated; /* bytes handed out */
    size_t active;    /* bytes in pages that hold at least one allocation */
    size_t resident;  /* bytes of physical memory behind the allocator */
    size_t retained;  /* address space kept for later */
};
void mem_stats_read(struct mem_stats *out);
size_t mem_resident(void); /* of the process, from the kernel */
const char *mem_allocator(void);

/* Gives unused dirty pages back to the system: all of them, or those that
 * nobody has wanted for some seconds. */
void mem_purge(void);
void mem_decay(void);

/* For tests: the n-th mem_try_*() or region_alloc() from now on fails (0: none
 * does). */
void mem_fail_after(uint64_t n);

#endif
