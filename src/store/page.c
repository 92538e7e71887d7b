/* Page geometry and memory: see page.h. */
#include "store/page.h"

#include <string.h>

void page_geometry_init(struct row_geometry *g, uint32_t row_bytes,
                        uint32_t side_bytes, uint32_t overread)
{
    row_geometry_init(g, row_bytes + side_bytes, overread, PAGE_BYTES,
                      PAGE_WIDE_ROWS);
    g->row_bytes = row_bytes;
    g->side_bytes = side_bytes;
}

/* Names follow the live bits in one block. */
static size_t meta_bytes(uint32_t n_rows)
{
    return sizeof(struct page) + (n_rows + 63) / 64 * sizeof(uint64_t) +
           n_rows * sizeof(uint32_t);
}

static size_t rows_bytes(const struct row_geometry *g, uint32_t n_rows)
{
    size_t side =
        g->side_bytes ? (size_t)n_rows * g->side_bytes + PAGE_SIDE_OVERREAD : 0;

    /* What is read behind the rows may be what lies beside them. */
    return (size_t)n_rows * g->row_bytes +
           (side > g->overread ? side : g->overread);
}

/* A small page's codes start where they fall; a big one's on a huge-page
 * friendly boundary. */
static size_t rows_align(size_t bytes)
{
    return bytes >= 4096 ? CACHE_LINE : 1;
}

struct page *page_create(const struct row_geometry *g, uint32_t page,
                         struct region *region)
{
    uint32_t n = row_page_count(g, page);
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
    p->side = rows + (size_t)n * g->row_bytes;
    p->names = (uint32_t *)(void *)(p->live + (n + 63) / 64);
    return p;
}

void page_free(const struct row_geometry *g, uint32_t page, struct page *p,
               struct region *region)
{
    uint32_t n = row_page_count(g, page);
    size_t bytes = rows_bytes(g, n);

    region_free(region, p->rows, bytes, rows_align(bytes));
    region_free(region, p, meta_bytes(n), 1);
}

size_t page_cost(const struct row_geometry *g, uint32_t page)
{
    uint32_t n = row_page_count(g, page);
    size_t bytes = rows_bytes(g, n);

    return region_cost(bytes, rows_align(bytes)) +
           region_cost(meta_bytes(n), 1);
}
