/* The loop is plain C: eight independent sums, which compilers turn into vector
 * loads. At 16 bytes a load and two loads a cycle that is several times what
 * memory delivers, and above what the last-level cache does. */
#include "tools/bench/bench_bandwidth.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

enum { LANES = 8 };

#define L3_UNKNOWN ((size_t)32 << 20)
#define BIG_MIN    ((size_t)512 << 20)

/* Where sums go, so that they are computed. */
static volatile uint64_t result;

static NO_INLINE uint64_t sum_words(const uint64_t *p, size_t n)
{
    uint64_t sum[LANES] = {0};
    uint64_t all = 0;
    size_t i;
    int j;

    for (i = 0; i + LANES <= n; i += LANES) {
        for (j = 0; j < LANES; j++) {
            sum[j] += p[i + (size_t)j];
        }
    }
    for (j = 0; j < LANES; j++) {
        all += sum[j];
    }
    return all;
}

/* The best pass over one buffer, in bytes per nanosecond. */
static double best_pass(const uint64_t *p, size_t bytes, double seconds)
{
    /* A pass takes at least some 100 us, so that the clock does not matter. */
    size_t repeat = ((size_t)16 << 20) / bytes + 1;
    int64_t end = clock_mono_ns() + (int64_t)(seconds * 1e9);
    double best = 0;

    do {
        int64_t start = clock_mono_ns();
        double rate;
        size_t i;

        for (i = 0; i < repeat; i++) {
            result += sum_words(p, bytes / sizeof(*p));
        }
        rate = (double)(bytes * repeat) / (double)(clock_mono_ns() - start);
        best = rate > best ? rate : best;
    } while (clock_mono_ns() < end);
    return best;
}

/* The kernel knows better than sysconf(), which on some virtual machines gives
 * the sum over all cores of the host. */
static size_t l3_size(void)
{
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "re");
    long v = 0;
    char unit = 0;

    if (f) {
        if (fscanf(f, "%ld%c", &v, &unit) != 2 || unit != 'K') {
            v = 0;
        }
        fclose(f);
    }
    if (v > 0) {
        return (size_t)v << 10;
    }
    v = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return v > 0 ? (size_t)v : 0;
}

enum err bench_bandwidth_measure(double seconds, struct bench_bandwidth *out,
                                 struct err_ctx *ctx)
{
    size_t l3 = l3_size();
    size_t size = l3 ? l3 : L3_UNKNOWN;
    void *memory;

    memset(out, 0, sizeof(*out));
    out->l3_bytes = l3;
    /* Half of it, as nobody has a shared cache for himself. */
    out->cache_bytes = size / 2;
    out->big_bytes = 16 * size > BIG_MIN ? 16 * size : BIG_MIN;
    memory = mmap(NULL, out->big_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return err_set(ctx, ERR_NOMEM, "no memory for %zu MiB",
                       out->big_bytes >> 20);
    }
    (void)madvise(memory, out->big_bytes, MADV_HUGEPAGE);
    memset(memory, 1, out->big_bytes);
    out->cache_gb_s = best_pass(memory, out->cache_bytes, seconds);
    out->big_gb_s = best_pass(memory, out->big_bytes, seconds);
    (void)munmap(memory, out->big_bytes);
    return ERR_OK;
}
