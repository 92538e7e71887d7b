/* Geometry: every slot has one place, and pages cover all slots in order. */
#include "unit/cm.h"

#include <string.h>

#include "base/mem.h"
#include "store/page.h"

static const uint32_t row_sizes[] = {4,   5,    20,   108,   136,    404,
                                     520, 3076, 6148, 40000, 262148, 263000};

static void slots_fill_pages_in_order_without_gaps(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(row_sizes); i++) {
        struct row_geometry g;
        uint32_t page;
        slot_id next = 0;

        page_geometry_init(&g, row_sizes[i], 0, 64);
        for (page = 0; page < g.small_pages + 5; page++) {
            uint32_t n = row_page_count(&g, page);
            struct row_place first = row_place(&g, next);
            struct row_place last = row_place(&g, next + n - 1);

            assert_int_equal(row_page_first(&g, page), next);
            assert_int_equal(first.page, page);
            assert_int_equal(first.row, 0);
            assert_int_equal(last.page, page);
            assert_int_equal(last.row, n - 1);
            next += n;
            assert_int_equal(row_pages_for(&g, next), page + 1);
            assert_int_equal(row_pages_for(&g, next + 1), page + 2);
        }
    }
}

static void places_are_right_up_to_the_last_slot(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(row_sizes); i++) {
        struct row_geometry g;
        struct rng rng;
        int k;

        page_geometry_init(&g, row_sizes[i], 0, 0);
        cm_seed(&rng);
        for (k = 0; k < 10000; k++) {
            slot_id slot = (slot_id)rng_below(&rng, UINT32_MAX);
            struct row_place at = row_place(&g, slot);

            assert_int_equal((uint64_t)row_page_first(&g, at.page) + at.row,
                             slot);
            assert_true(at.row < row_page_count(&g, at.page));
        }
    }
}

static void ten_rows_take_little_more_than_ten_rows(void **state)
{
    struct row_geometry g;
    uint32_t pages, rows = 0, page;

    (void)state;
    page_geometry_init(&g, 136, 0, 0);
    pages = row_pages_for(&g, 10);
    for (page = 0; page < pages; page++) {
        rows += row_page_count(&g, page);
    }
    assert_int_equal(rows, 12);
}

static void large_pages_fill_their_allocation(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(row_sizes); i++) {
        struct row_geometry g;
        size_t bytes;

        page_geometry_init(&g, row_sizes[i], 0, 64);
        bytes = (size_t)g.big_rows * row_sizes[i] + 64;
        assert_true(g.big_rows >= PAGE_UNIT_ROWS);
        assert_int_equal(g.big_rows % PAGE_UNIT_ROWS, 0);
        /* Rows of 32 KiB and more do not divide every size well. */
        assert_true(region_cost(bytes, CACHE_LINE) - bytes <=
                    bytes / (row_sizes[i] < 32768 ? 25 : 4));
    }
}

/* What pages lose of their allocation is shared by their rows. */
static void wide_rows_lose_few_bytes_too(void **state)
{
    static const uint32_t rows[] = {20,  123, 153,  265,  404,  516,
                                    873, 990, 1033, 1540, 1737, 3076};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(rows); i++) {
        struct row_geometry g;
        size_t bytes;

        page_geometry_init(&g, rows[i], 0, 64);
        bytes = region_cost((size_t)g.big_rows * rows[i] + 64, CACHE_LINE);
        assert_true(bytes - (size_t)g.big_rows * rows[i] <=
                    g.big_rows * (rows[i] < 3000 ? 10u : 75u));
    }
}

static void a_page_costs_what_it_says(void **state)
{
    struct row_geometry g;
    struct page_room room;
    struct region r;
    struct page *p;

    (void)state;
    page_geometry_init(&g, 100, 0, 20);
    region_init(&r, 0);
    assert_int_equal(page_room_alloc(&g, 0, &r, &room), ERR_OK);
    assert_int_equal(r.bytes, page_cost(&g, 0));
    page_room_free(&g, 0, &room, &r);
    assert_int_equal(r.bytes, 0);
    assert_int_equal(page_room_alloc(&g, 0, &r, &room), ERR_OK);
    memset(room.page, 0xff, page_room_head_bytes(&g, 0));
    p = page_begin(&g, 0, &room);
    assert_false(page_is_live(p, 0));
    assert_ptr_equal(p->rows, room.rows);
    assert_int_equal(r.bytes, page_cost(&g, 0));
    page_free(&g, 0, p, &r);
    assert_int_equal(r.bytes, 0);
    region_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_fill_pages_in_order_without_gaps),
        cmocka_unit_test(places_are_right_up_to_the_last_slot),
        cmocka_unit_test(ten_rows_take_little_more_than_ten_rows),
        cmocka_unit_test(large_pages_fill_their_allocation),
        cmocka_unit_test(wide_rows_lose_few_bytes_too),
        cmocka_unit_test(a_page_costs_what_it_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
