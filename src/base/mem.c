/* Counting what is in use.
 *
 * One counter per thread, written by that thread alone with plain relaxed
 * stores, summed by whoever asks: an atomic read-modify-write per allocation
 * would cost more than the allocation. A block freed by another thread makes
 * one counter fall below zero and another stay high; the sum is right. */
#include "base/mem_impl.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEM_THREADS = 128 };

struct counter {
    _Alignas(CACHE_LINE) _Atomic int64_t bytes;
};

static struct counter counters[MEM_THREADS];
static _Atomic bool taken[MEM_THREADS];
static _Atomic unsigned n_counters; /* highest claimed index + 1 */
static _Atomic int64_t departed;    /* what ended threads left behind */
static _Atomic size_t peak;
static _Atomic size_t limit;
static _Atomic size_t promised;
static _Thread_local struct counter *mine;
static _Atomic uint64_t fail_after;

static NO_INLINE struct counter *counter_claim(void)
{
    unsigned i = 0;
    unsigned seen;

    while (atomic_exchange(&taken[i], true)) {
        /* More threads than counters cannot happen: the pool is bounded. */
        ASSERT(++i < MEM_THREADS);
    }
    seen = atomic_load(&n_counters);
    while (seen < i + 1 &&
           !atomic_compare_exchange_weak(&n_counters, &seen, i + 1)) {
    }
    mine = &counters[i];
    return mine;
}

void mem_thread_exit(void)
{
    if (mine) {
        atomic_fetch_add(&departed, atomic_load(&mine->bytes));
        atomic_store(&mine->bytes, 0);
        atomic_store(&taken[mine - counters], false);
        mine = NULL;
    }
}

void mem_account(int64_t delta)
{
    struct counter *c = LIKELY(mine != NULL) ? mine : counter_claim();
    int64_t now = atomic_load_explicit(&c->bytes, memory_order_relaxed);

    atomic_store_explicit(&c->bytes, now + delta, memory_order_relaxed);
}

size_t mem_used(void)
{
    unsigned n = atomic_load_explicit(&n_counters, memory_order_relaxed);
    int64_t sum = atomic_load_explicit(&departed, memory_order_relaxed);
    size_t used;
    unsigned i;

    for (i = 0; i < n; i++) {
        sum += atomic_load_explicit(&counters[i].bytes, memory_order_relaxed);
    }
    used = sum > 0 ? (size_t)sum : 0;
    if (used > atomic_load_explicit(&peak, memory_order_relaxed)) {
        atomic_store_explicit(&peak, used, memory_order_relaxed);
    }
    return used;
}

size_t mem_peak(void)
{
    (void)mem_used();
    return atomic_load_explicit(&peak, memory_order_relaxed);
}

void mem_set_limit(size_t bytes)
{
    atomic_store(&limit, bytes);
}

size_t mem_limit(void)
{
    return atomic_load_explicit(&limit, memory_order_relaxed);
}

bool mem_has_room(size_t more)
{
    size_t most = mem_limit();

    return most == 0 ||
           (more <= most && mem_used() + mem_promised() <= most - more);
}

void mem_promise(int64_t delta)
{
    atomic_fetch_add_explicit(&promised, (size_t)delta, memory_order_relaxed);
}

size_t mem_promised(void)
{
    return atomic_load_explicit(&promised, memory_order_relaxed);
}

static NO_INLINE NORETURN void out_of_memory(size_t size)
{
    fprintf(stderr, "vectra: out of memory allocating %zu bytes\n", size);
    fflush(stderr);
    abort();
}

/* True when a test asked for this allocation to fail. */
bool mem_injected_failure(void)
{
    uint64_t n = atomic_load_explicit(&fail_after, memory_order_relaxed);

    if (LIKELY(n == 0)) {
        return false;
    }
    atomic_store_explicit(&fail_after, n - 1, memory_order_relaxed);
    return n == 1;
}

void mem_fail_after(uint64_t n)
{
    atomic_store(&fail_after, n);
}

void *mem_try_alloc(size_t size)
{
    void *p;

    if (UNLIKELY(mem_injected_failure())) {
        return NULL;
    }
    p = mem_raw_alloc(size ? size : 1);
    if (LIKELY(p != NULL)) {
        mem_account((int64_t)mem_raw_size(p));
    }
    return p;
}

void *mem_alloc(size_t size)
{
    void *p = mem_raw_alloc(size ? size : 1);

    if (UNLIKELY(p == NULL)) {
        out_of_memory(size);
    }
    mem_account((int64_t)mem_raw_size(p));
    return p;
}

void *mem_calloc(size_t n, size_t size)
{
    size_t bytes;
    void *p;

    ASSERT(!__builtin_mul_overflow(n, size, &bytes));
    p = mem_alloc(bytes);
    memset(p, 0, bytes);
    return p;
}

void *mem_calloc_aligned(size_t size, size_t align)
{
    void *p = mem_raw_arena_alloc(0, size, align);

    if (UNLIKELY(p == NULL)) {
        out_of_memory(size);
    }
    mem_account((int64_t)mem_raw_size(p));
    memset(p, 0, size);
    return p;
}

void *mem_try_realloc(void *ptr, size_t size)
{
    int64_t before = ptr ? (int64_t)mem_raw_size(ptr) : 0;
    void *p;

    if (UNLIKELY(mem_injected_failure())) {
        return NULL;
    }
    p = mem_raw_realloc(ptr, size ? size : 1);
    if (LIKELY(p != NULL)) {
        mem_account((int64_t)mem_raw_size(p) - before);
    }
    return p;
}

void *mem_realloc(void *ptr, size_t size)
{
    int64_t before = ptr ? (int64_t)mem_raw_size(ptr) : 0;
    void *p = mem_raw_realloc(ptr, size ? size : 1);

    if (UNLIKELY(p == NULL)) {
        out_of_memory(size);
    }
    mem_account((int64_t)mem_raw_size(p) - before);
    return p;
}

void mem_free(void *ptr)
{
    if (ptr) {
        mem_account(-(int64_t)mem_raw_size(ptr));
        mem_raw_free(ptr);
    }
}

char *mem_strndup(const void *s, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (len) {
        memcpy(copy, s, len);
    }
    copy[len] = '\0';
    return copy;
}

size_t mem_size(const void *ptr)
{
    return ptr ? mem_raw_size(ptr) : 0;
}

size_t mem_good_size(size_t size)
{
    return mem_raw_arena_size(size ? size : 1, 1);
}

size_t mem_resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f) {
        return 0;
    }
    if (fscanf(f, "%*u %lu", &pages) != 1) {
        pages = 0;
    }
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}
