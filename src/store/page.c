/* Page geometry and memory: see page.h. */
#include "store/page.h"

#include <string.h>

void page_geometry_init(struct page_geometry *g, uint32_t row_bytes,
                        uint32_t overread)
{
    uint64_t page_bytes = PAGE_BYTES;
    uint32_t small = PAGE_FIRST_ROWS;
    uint32_t pages = 1;

    while (page_bytes < (uint64_t)row_bytes * PAGE_WIDE_ROWS + overread) {
        page_bytes *= 2;
    }
    g->row_bytes = row_bytes;
    g->overread = overread;
    g->big_rows = (uint32_t)((page_bytes - overread) / row_bytes);
    /* The largest small page has a quarter of the rows below small_rows. */
    while (small / 2 <= g->big_rows) {
        small *= 2;
        pages += 2;
    }
    g->small_rows = small;
    g->small_pages = pages;
    g->big_magic = UINT64_MAX / g->big_rows + 1;
}

slot_id page_first_slot(const struct page_geometry *g, uint32_t page)
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

uint32_t page_row_count(const struct page_geometry *g, uint32_t page)
{
    if (page >= g->small_pages) {
        return g->big_rows;
    }
    return page == 0 ? PAGE_FIRST_ROWS : 1u << (2 + (page - 1) / 2);
}

/* Names follow the live bits in one block. */
static size_t meta_bytes(uint32_t n_rows)
{
    return sizeof(struct page) + (n_rows + 63) / 64 * sizeof(uint64_t) +
           n_rows * sizeof(uint32_t);
}

static size_t rows_bytes(const struct page_geometry *g, uint32_t n_rows)
{
    return (size_t)n_rows * g->row_bytes + g->overread;
}

/* A small page's codes start where they fall; a big one's on a huge-page
 * friendly boundary. */
static size_t rows_align(size_t bytes)
{
    return bytes >= 4096 ? CACHE_LINE : 1;
}

struct page *page_create(const struct page_geometry *g, uint32_t page,
                         struct region *region)
{
    uint32_t n = page_row_count(g, page);
    size_t bytes = rows_bytes(g, n);
    uint8_t *rows = region_alloc(region, bytes, rows_align(bytes));
    struct page *p = region_alloc(region, meta_bytes(n), 1);

    if (!rows || !p) {
        region_free(region, rows, bytes, rows_align(bytes));
        region_free(region, p, meta_bytes(n), 1);
        return NULL;
    }
    memset(p, 0, meta_bytes(n));
    p->rows = rows;
    p->names = (uint32_t *)(void *)(p->live + (n + 63) / 64);
    return p;
}

void page_free(const struct page_geometry *g, uint32_t page, struct page *p,
               struct region *region)
{
    uint32_t n = page_row_count(g, page);
    size_t bytes = rows_bytes(g, n);

    region_free(region, p->rows, bytes, rows_align(bytes));
    region_free(region, p, meta_bytes(n), 1);
}

size_t page_cost(const struct page_geometry *g, uint32_t page)
{
    uint32_t n = page_row_count(g, page);
    size_t bytes = rows_bytes(g, n);

    return region_cost(bytes, rows_align(bytes)) +
           region_cost(meta_bytes(n), 1);
}
