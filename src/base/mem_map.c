/* Blocks of pages: see mem_map.h. A block that waits to be unmapped holds its
 * own place in the list, in its first page; it is given back from its end. */
#include "base/mem_map.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    UNIT = 64 * 1024, /* a multiple of the page size of any system */
    SLICE = 1 << 20,  /* unmapped at a time: some tenths of a millisecond */
};

struct dead_block {
    struct dead_block *next;
    size_t size;
};

static _Atomic(struct dead_block *) dead;
static struct dead_block *leaving; /* loop */
static _Atomic bool slowly;

size_t mem_map_size(size_t size)
{
    return (size + UNIT - 1) / UNIT * UNIT;
}

void *mem_map_resize(void *ptr, size_t old_size, size_t size)
{
    void *p = ptr ? mremap(ptr, old_size, size, MREMAP_MAYMOVE)
                  : mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        fprintf(stderr, "vectra: out of memory mapping %zu bytes\n", size);
        abort();
    }
    mem_account((int64_t)size - (ptr ? (int64_t)old_size : 0));
    return p;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an error before */
#endif

/* Of the whole pages of a block. */
static bool advise(void *ptr, size_t size, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)ptr + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)ptr + size) & ~(page - 1);

    return from < to && madvise((void *)from, to - from, advice) == 0;
}

void mem_touch(void *ptr, size_t size)
{
    advise(ptr, size, MADV_POPULATE_WRITE);
}

size_t mem_discard(void *ptr, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    /* Or the system makes a large page of it again, by itself. */
    advise(ptr, size, MADV_NOHUGEPAGE);
    return size > 2 * page && advise(ptr, size, MADV_DONTNEED)
               ? (size / page - 1) * page
               : 0;
}

void mem_want(void *ptr, size_t size)
{
    advise(ptr, size, MADV_HUGEPAGE);
}

void mem_map_free(void *ptr, size_t size)
{
    struct dead_block *b = ptr;

    mem_account(-(int64_t)size);
    if (size <= SLICE || !atomic_load_explicit(&slowly, memory_order_relaxed)) {
        munmap(ptr, size);
        return;
    }
    b->size = size;
    b->next = atomic_load_explicit(&dead, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &dead, &b->next, b, memory_order_release, memory_order_relaxed)) {
    }
}

void mem_unmap_slowly(bool yes)
{
    atomic_store(&slowly, yes);
}

bool mem_unmap_some(void)
{
    struct dead_block *b = leaving;

    if (!b && !atomic_load_explicit(&dead, memory_order_relaxed)) {
        return false;
    }
    if (!b) {
        b = atomic_exchange_explicit(&dead, NULL, memory_order_acquire);
    }
    if (b->size > SLICE) {
        b->size -= SLICE;
        munmap((char *)b + b->size, SLICE);
        leaving = b;
        return true;
    }
    leaving = b->next;
    munmap(b, b->size);
    return leaving || atomic_load_explicit(&dead, memory_order_relaxed);
}
