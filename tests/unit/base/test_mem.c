/* Counting memory, regions, random numbers, digests. */
#include "unit/cm.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/mem_map.h"
#include "base/region.h"
#include "base/thread.h"

static void what_is_freed_is_no_longer_counted(void **state)
{
    size_t before = mem_used();
    void *p = mem_alloc(100);

    (void)state;
    assert_true(mem_used() >= before + 100);
    p = mem_realloc(p, 5000);
    assert_true(mem_used() >= before + 5000);
    mem_free(p);
    assert_int_equal(mem_used(), before);
    mem_free(NULL);
}

static void free_elsewhere(void *arg)
{
    mem_free(arg);
}

static void memory_may_be_freed_by_another_thread(void **state)
{
    size_t before = mem_used();
    void *p = mem_alloc(1000);
    struct thread *t = NULL;

    (void)state;
    assert_int_equal(thread_start(&t, "test", free_elsewhere, p), ERR_OK);
    thread_join(t);
    assert_int_equal(mem_used(), before);
}

static void nothing(void *arg)
{
    mem_free(mem_alloc(10));
    (void)arg;
}

static void threads_come_and_go_without_using_up_counters(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 500; i++) {
        struct thread *t = NULL;

        assert_int_equal(thread_start(&t, "test", nothing, NULL), ERR_OK);
        thread_join(t);
    }
}

static void a_mapped_block_keeps_its_bytes_as_it_grows(void **state)
{
    size_t before = mem_used();
    size_t size = mem_map_size(100000);
    uint8_t *p = mem_map_resize(NULL, 0, size);

    (void)state;
    assert_true(size >= 100000);
    assert_int_equal(mem_used(), before + size);
    memset(p, 7, size);
    p = mem_map_resize(p, size, 8 * size);
    assert_int_equal(p[0], 7);
    assert_int_equal(p[size - 1], 7);
    assert_int_equal(p[8 * size - 1], 0);
    assert_int_equal(mem_used(), before + 8 * size);
    mem_map_free(p, 8 * size);
    assert_int_equal(mem_used(), before);
}

static void mapped_blocks_may_be_given_back_a_little_at_a_time(void **state)
{
    size_t before = mem_used();
    size_t size = mem_map_size(5 << 20);
    int rounds = 0;
    int i;

    (void)state;
    mem_unmap_slowly(true);
    for (i = 0; i < 3; i++) {
        mem_map_free(mem_map_resize(NULL, 0, size), size);
    }
    assert_int_equal(mem_used(), before);
    while (mem_unmap_some()) {
        rounds++;
    }
    assert_true(rounds > 3);
    assert_false(mem_unmap_some());
    mem_unmap_slowly(false);
}

static void a_buffer_keeps_its_bytes_as_it_grows_large(void **state)
{
    size_t before = mem_used();
    struct buf b = BUF_INIT;
    uint32_t i, n = 5000000;

    (void)state;
    for (i = 0; i < n; i++) {
        buf_append(&b, &i, sizeof(i));
    }
    for (i = 0; i < n; i++) {
        uint32_t got;

        memcpy(&got, b.data + i * sizeof(got), sizeof(got));
        if (got != i) {
            fail_msg("at %u there is %u", i, got);
        }
    }
    buf_consume(&b, 19000000);
    assert_int_equal(b.len, 1000000);
    assert_true(mem_used() - before >= b.cap);
    buf_deinit(&b);
    assert_int_equal(mem_used(), before);
}

static void the_limit_is_asked_before_memory_is_taken(void **state)
{
    void *p = mem_alloc(100);
    size_t used = mem_used();

    (void)state;
    assert_true(mem_has_room((size_t)1 << 40)); /* no limit */
    mem_set_limit(used + 1000);
    assert_true(mem_has_room(0));
    assert_true(mem_has_room(900));
    assert_false(mem_has_room(2000));
    assert_false(mem_has_room(SIZE_MAX));
    mem_set_limit(1);
    assert_false(mem_has_room(0));
    mem_set_limit(0);
    mem_free(p);
}

static void the_nth_allocation_can_be_made_to_fail(void **state)
{
    void *p;

    (void)state;
    mem_fail_after(2);
    p = mem_try_alloc(10);
    assert_non_null(p);
    assert_null(mem_try_alloc(10));
    mem_free(p);
    p = mem_try_alloc(10);
    assert_non_null(p);
    mem_free(p);
}

static void a_region_counts_every_byte_of_its_owner(void **state)
{
    size_t used = mem_used();
    struct region r;
    void *small, *large;

    (void)state;
    region_init(&r, 3);
    small = region_alloc(&r, 100, 1);
    assert_int_equal(r.bytes, region_cost(100, 1));
    region_make_private(&r);
    large = region_alloc(&r, 3 << 20, 64);
    assert_int_equal((uintptr_t)large % 64, 0);
    assert_int_equal(r.bytes, region_cost(100, 1) + region_cost(3 << 20, 64));
    assert_int_equal(mem_used() - used, r.bytes);
    memset(large, 1, 3 << 20);
    region_touch_on(large, 3 << 20);
    assert_int_equal(((uint8_t *)large)[0], 1);
    assert_int_equal(((uint8_t *)large)[(3 << 20) - 1], 1);
    assert_int_equal(mem_used() - used, r.bytes);
    region_free(&r, small, 100, 1);
    region_free(&r, large, 3 << 20, 64);
    region_free(&r, NULL, 5, 1);
    assert_int_equal(r.bytes, 0);
    region_deinit(&r);
    assert_int_equal(mem_used(), used);
}

static bool is_resident(void *p)
{
    uintptr_t page = (uintptr_t)p & ~(uintptr_t)4095;
    unsigned char there = 0;

    return mincore((void *)page, 1, &there) == 0 && (there & 1);
}

/* They would be holes in its huge pages. What is large goes. */
static void a_private_arena_keeps_small_pieces(void **state)
{
    enum { N = 64, PIECE = 16384 };
    uint8_t *pieces[N];
    struct region r;
    int i;

    (void)state;
    if (strncmp(mem_allocator(), "jemalloc", 8) != 0 ||
        sysconf(_SC_PAGESIZE) != 4096) {
        return;
    }
    region_init(&r, 0);
    region_make_private(&r);
    assert_true(r.is_private);
    for (i = 0; i < N; i++) {
        pieces[i] = region_alloc(&r, PIECE, 1);
        assert_non_null(pieces[i]);
        memset(pieces[i], 1, PIECE);
    }
    for (i = 0; i < N; i += 2) {
        region_free(&r, pieces[i], PIECE, 1);
    }
    mem_purge();
    for (i = 0; i < N; i += 2) {
        assert_true(is_resident(pieces[i] + PIECE / 2));
    }
    for (i = 1; i < N; i += 2) {
        region_free(&r, pieces[i], PIECE, 1);
    }
    mem_purge();
    assert_int_equal(r.bytes, 0);
    region_deinit(&r);
}

static void private_arenas_are_few_and_come_back(void **state)
{
    struct region r[REGION_PRIVATE_MAX + 3];
    int i, n_private = 0;

    (void)state;
    for (i = 0; i < REGION_PRIVATE_MAX + 3; i++) {
        region_init(&r[i], (uint64_t)i);
        region_make_private(&r[i]);
        n_private += r[i].is_private;
    }
    assert_int_equal(n_private, REGION_PRIVATE_MAX);
    for (i = 0; i < REGION_PRIVATE_MAX + 3; i++) {
        region_deinit(&r[i]);
    }
    region_init(&r[0], 0);
    region_make_private(&r[0]);
    assert_true(r[0].is_private);
    region_deinit(&r[0]);
}

static void equal_seeds_give_equal_numbers(void **state)
{
    struct rng a, b;
    int i;

    (void)state;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    for (i = 0; i < 100; i++) {
        assert_int_equal(rng_next(&a), rng_next(&b));
        assert_true(rng_below(&a, 7) < 7);
        (void)rng_below(&b, 7);
    }
    rng_seed(&b, 43);
    assert_true(rng_next(&a) != rng_next(&b));
}

static void normal_numbers_have_mean_0_and_variance_1(void **state)
{
    enum { N = 100000 };
    double sum = 0, squares = 0;
    struct rng rng;
    int i;

    (void)state;
    rng_seed(&rng, 7);
    for (i = 0; i < N; i++) {
        double x = rng_normal(&rng);

        sum += x;
        squares += x * x;
    }
    assert_true(sum / N > -0.02 && sum / N < 0.02);
    assert_true(squares / N > 0.97 && squares / N < 1.03);
}

static void run_ids_are_40_hex_digits(void **state)
{
    char a[41], b[41];

    (void)state;
    rng_run_id(a);
    rng_run_id(b);
    assert_int_equal(strlen(a), 40);
    assert_int_equal(strspn(a, "0123456789abcdef"), 40);
    assert_string_not_equal(a, b);
}

static void digests_are_the_standard_ones(void **state)
{
    static const uint8_t abc_sha1[DIGEST_SHA1] = {
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
        0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    uint8_t out[DIGEST_SHA256];

    (void)state;
    digest_sha1(bytes_str("abc"), out);
    assert_memory_equal(out, abc_sha1, DIGEST_SHA1);
    digest_sha256(bytes_str("abc"), out);
    assert_int_equal(out[0], 0xba);
    assert_int_equal(out[31], 0xad);
    assert_true(digest_equal("abc", "abc", 3));
    assert_false(digest_equal("abc", "abd", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_freed_is_no_longer_counted),
        cmocka_unit_test(memory_may_be_freed_by_another_thread),
        cmocka_unit_test(threads_come_and_go_without_using_up_counters),
        cmocka_unit_test(a_mapped_block_keeps_its_bytes_as_it_grows),
        cmocka_unit_test(mapped_blocks_may_be_given_back_a_little_at_a_time),
        cmocka_unit_test(a_buffer_keeps_its_bytes_as_it_grows_large),
        cmocka_unit_test(the_limit_is_asked_before_memory_is_taken),
        cmocka_unit_test(the_nth_allocation_can_be_made_to_fail),
        cmocka_unit_test(a_region_counts_every_byte_of_its_owner),
        cmocka_unit_test(a_private_arena_keeps_small_pieces),
        cmocka_unit_test(private_arenas_are_few_and_come_back),
        cmocka_unit_test(equal_seeds_give_equal_numbers),
        cmocka_unit_test(normal_numbers_have_mean_0_and_variance_1),
        cmocka_unit_test(run_ids_are_40_hex_digits),
        cmocka_unit_test(digests_are_the_standard_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
