/* Geometry of pages of rows: see row_map.h. */
#include "vec/row_map.h"

void row_geometry_init(struct row_geometry *g, uint32_t row_bytes,
                       uint32_t overread, uint64_t page_bytes,
                       uint32_t unit_rows)
{
    uint32_t small = ROW_PAGE_FIRST;
    uint32_t pages = 1;

    while (page_bytes < (uint64_t)row_bytes * unit_rows + overread) {
        page_bytes *= 2;
    }
    g->row_bytes = row_bytes;
    g->side_bytes = 0;
    g->overread = overread;
    g->big_rows =
        (uint32_t)((page_bytes - overread) / row_bytes / unit_rows * unit_rows);
    /* The largest small page has a quarter of the rows below small_rows. */
    while (small / 2 <= g->big_rows) {
        small *= 2;
        pages += 2;
    }
    g->small_rows = small;
    g->small_pages = pages;
    g->big_magic = UINT64_MAX / g->big_rows + 1;
}

uint32_t row_page_first(const struct row_geometry *g, uint32_t page)
{
    uint32_t e;

    if (page >= g->small_pages) {
        return g->small_rows + (page - g->small_pages) * g->big_rows;
    }
    if (page == 0) {
        return 0;
    }
    e = 3 + (page - 1) / 2;
    return (1u << e) + (((page - 1) & 1) << (e - 1));
}

uint32_t row_page_count(const struct row_geometry *g, uint32_t page)
{
    if (page >= g->small_pages) {
        return g->big_rows;
    }
    return page == 0 ? ROW_PAGE_FIRST : 1u << (2 + (page - 1) / 2);
}
