/* Page geometry and memory: see page.h. */
#include "store/page.h"

#include <string.h>

enum {
    PAGE_BYTES_MAX = 2 << 20, /* more only if rows are very wide */
    PAGE_LOST_ROW = 10,       /* bytes of a row, and */
};

#define PAGE_LOST 0.025 /* of a page are little to lose */

/* Rows of a page of so many bytes. */
static uint64_t rows_in(uint64_t bytes, uint64_t row_bytes, uint32_t overread)
{
    return (bytes - overread) / row_bytes / PAGE_UNIT_ROWS * PAGE_UNIT_ROWS;
}

/* The first size the allocator has that loses little, or that which loses
 * least. */
static uint64_t best_bytes(uint64_t row_bytes, uint32_t overread)
{
    uint64_t least = row_bytes * PAGE_UNIT_ROWS + overread;
    uint64_t size =
        region_cost(least < PAGE_BYTES ? PAGE_BYTES : least, CACHE_LINE);
    uint64_t most = 2 * size < PAGE_BYTES_MAX ? PAGE_BYTES_MAX : 2 * size;
    double little = (double)PAGE_LOST_ROW / (double)row_bytes;
    double best_lost = 1;
    uint64_t best = size;

    little = little < PAGE_LOST ? little : PAGE_LOST;
    for (; size < most && best_lost > little;
         size = region_cost(size + 1, CACHE_LINE)) {
        double lost =
            1 - (double)(rows_in(size, row_bytes, overread) * row_bytes) /
                    (double)size;

        if (lost < best_lost) {
            best_lost = lost;
            best = size;
        }
    }
    return best;
}

void page_geometry_init(struct row_geometry *g, uint32_t row_bytes,
                        uint32_t side_bytes, uint32_t overread)
{
    uint32_t behind = side_bytes && overread < PAGE_SIDE_OVERREAD
                          ? PAGE_SIDE_OVERREAD
                          : overread;

    row_geometry_init(g, row_bytes + side_bytes, behind,
                      best_bytes(row_bytes + side_bytes, behind),
                      PAGE_UNIT_ROWS);
    g->overread = overread;
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

enum err page_room_alloc(const struct row_geometry *g, uint32_t page,
                         struct region *region, struct page_room *room)
{
    uint32_t n = row_page_count(g, page);
    size_t bytes = rows_bytes(g, n);

    room->rows = region_alloc(region, bytes, rows_align(bytes));
    room->page = region_alloc(region, meta_bytes(n), 1);
    if (!room->rows || !room->page) {
        page_room_free(g, page, room, region);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void page_room_free(const struct row_geometry *g, uint32_t page,
                    struct page_room *room, struct region *region)
{
    uint32_t n = row_page_count(g, page);
    size_t bytes = rows_bytes(g, n);

    region_free(region, room->rows, bytes, rows_align(bytes));
    region_free(region, room->page, meta_bytes(n), 1);
}

size_t page_room_head_bytes(const struct row_geometry *g, uint32_t page)
{
    return meta_bytes(row_page_count(g, page));
}

struct page *page_begin(const struct row_geometry *g, uint32_t page,
                        const struct page_room *room)
{
    uint32_t n = row_page_count(g, page);
    struct page *p = room->page;

    memset(p, 0, meta_bytes(n));
    p->rows = room->rows;
    p->side = p->rows + (size_t)n * g->row_bytes;
    p->names = (uint32_t *)(void *)(p->live + (n + 63) / 64);
    return p;
}

void page_free(const struct row_geometry *g, uint32_t page, struct page *p,
               struct region *region)
{
    struct page_room room = {p, p->rows};

    page_room_free(g, page, &room, region);
}

size_t page_cost(const struct row_geometry *g, uint32_t page)
{
    uint32_t n = row_page_count(g, page);
    size_t bytes = rows_bytes(g, n);

    return region_cost(bytes, rows_align(bytes)) +
           region_cost(meta_bytes(n), 1);
}
