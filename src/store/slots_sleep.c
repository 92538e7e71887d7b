/* Pages of which all blocks are in the pool may sleep: the system has their
 * memory meanwhile, and gives it back, as zeros, when a block is wanted. */
#include "store/slots_blocks_impl.h"

/* The page's blocks; false when it has not whole ones that can be POOL. */
static bool blocks_of_page(const struct slots *s, uint32_t page,
                           uint32_t *first, uint32_t *end)
{
    uint64_t from = row_page_first(&s->geometry, page);
    uint64_t n = row_page_count(&s->geometry, page);

    *first = (uint32_t)(from / SLOTS_BLOCK);
    *end = (uint32_t)((from + n) / SLOTS_BLOCK);
    return page >= s->geometry.small_pages && from % SLOTS_BLOCK == 0 &&
           n % SLOTS_BLOCK == 0 && *first >= SLOTS_BLOCK_FIRST &&
           from + n <= s->n_slots;
}

static size_t page_rows_bytes(const struct slots *s)
{
    return (size_t)s->geometry.big_rows *
           (s->geometry.row_bytes + s->geometry.side_bytes);
}

static void mark_asleep(struct slots_blocks *b, uint32_t first, uint32_t end,
                        bool on)
{
    uint32_t block;

    for (block = first; block < end; block++) {
        b->state[block] =
            (uint8_t)(BLOCK_POOL << SEEN_BITS | (on ? ASLEEP : 0));
    }
}

/* False when it cannot. All that can take the same. */
static bool let_sleep(struct slots *s, uint32_t page, uint32_t first,
                      uint32_t end)
{
    struct slots_blocks *b = s->blocks;
    size_t bytes =
        region_sleep(s->region, s->dir->pages[page]->rows, page_rows_bytes(s));

    if (bytes == 0) {
        return false;
    }
    ASSERT(b->n_asleep == 0 || b->slept == bytes);
    b->slept = bytes;
    b->n_asleep++;
    mark_asleep(b, first, end, true);
    return true;
}

void slots_block_wake(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;
    uint32_t page = row_place(&s->geometry, block * SLOTS_BLOCK).page;
    uint32_t first, end;

    ASSERT(blocks_of_page(s, page, &first, &end) && b->n_asleep > 0);
    region_wake(s->region, s->dir->pages[page]->rows, page_rows_bytes(s),
                b->slept);
    b->n_asleep--;
    mark_asleep(b, first, end, false);
}

void slots_blocks_wake_all(struct slots *s)
{
    uint32_t n = slots_n_blocks(s), block;

    for (block = 0; block < n && s->blocks->n_asleep > 0; block++) {
        if (block_is_asleep(s->blocks, block)) {
            slots_block_wake(s, block);
        }
    }
}

static bool is_to_sleep(const struct slots_blocks *b, uint32_t first,
                        uint32_t end)
{
    while (first < end && block_kind(b, first) == BLOCK_POOL &&
           !block_is_asleep(b, first)) {
        first++;
    }
    return first == end;
}

bool slots_blocks_rest(struct slots *s, uint32_t *page)
{
    enum { LOOK = 1024, SLEEP = 4 };
    uint32_t looked = 0, slept = 0, first, end;

    while (s->blocks && *page < s->n_pages) {
        if (looked++ == LOOK || slept == SLEEP) {
            return true;
        }
        if (blocks_of_page(s, *page, &first, &end) &&
            is_to_sleep(s->blocks, first, end)) {
            slept++;
            if (!let_sleep(s, *page, first, end)) {
                return false;
            }
        }
        ++*page;
    }
    return false;
}
