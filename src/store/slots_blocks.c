/* Blocks of slots: see slots_blocks.h. */
#include "store/slots_blocks.h"

#include <string.h>

#include "base/mem.h"
#include "store/slots_impl.h"

enum {
    CAP_MIN = 64, /* blocks; the capacity is a multiple of it */
    SEEN_BITS = 6,
    SEEN_MASK = (1 << SEEN_BITS) - 1,
    ASLEEP = SEEN_MASK,
};

#define FREE_ALL UINT32_MAX

_Static_assert((int)SLOTS_BLOCK == 32, "a block's free slots are a word");

static enum slots_block_kind block_kind(const struct slots_blocks *b,
                                        uint32_t block)
{
    return (enum slots_block_kind)(b->state[block] >> SEEN_BITS);
}

static uint32_t block_seen(const struct slots_blocks *b, uint32_t block)
{
    return block_kind(b, block) == BLOCK_POOL ? 0 : b->state[block] & SEEN_MASK;
}

/* Of a POOL block nothing is seen, so it says there whether its page sleeps. */
static bool is_asleep(const struct slots_blocks *b, uint32_t block)
{
    return b->state[block] == (BLOCK_POOL << SEEN_BITS | ASLEEP);
}

static bool is_tail(enum slots_block_kind kind)
{
    return kind == BLOCK_GENERAL || kind == BLOCK_DRAINING;
}

/* The kind changes; the tail does not, for in a block that changes from or to
 * tail nothing is seen. */
static void set_kind(struct slots_blocks *b, uint32_t block,
                     enum slots_block_kind kind)
{
    b->state[block] =
        (uint8_t)((unsigned)kind << SEEN_BITS | block_seen(b, block));
}

static uint32_t slot_bit(slot_id slot)
{
    return (uint32_t)1 << (slot % SLOTS_BLOCK);
}

static uint32_t count(uint32_t bits)
{
    return (uint32_t)__builtin_popcount(bits);
}

/* ---- memory -------------------------------------------------------------- */

static size_t tail_bytes(uint32_t n_words)
{
    return sizeof(struct slots_tail) + n_words * sizeof(uint64_t);
}

static size_t books_bytes(uint32_t cap)
{
    return cap / 8 * 2 + cap * (sizeof(uint32_t) + sizeof(uint8_t));
}

static void tail_reclaim(struct retired *r, void *arg)
{
    struct slots_tail *t = CONTAINER_OF(r, struct slots_tail, retired);

    (void)arg;
    region_free(t->region, t, tail_bytes(t->n_words), 1);
}

static uint32_t cap_for(const struct slots_blocks *b, uint64_t n)
{
    uint64_t need = (n + SLOTS_BLOCK - 1) / SLOTS_BLOCK;

    if (b->cap && need <= b->cap) {
        return b->cap;
    }
    need += need / 8 + CAP_MIN; /* copying it all is little work */
    return (uint32_t)(need / CAP_MIN * CAP_MIN);
}

size_t slots_blocks_fit_cost(const struct slots *s, uint64_t n)
{
    uint32_t cap = cap_for(s->blocks, n);

    return cap == s->blocks->cap ? 0
                                 : region_cost(tail_bytes(cap / 64), 1) +
                                       region_cost(books_bytes(cap), 1);
}

/* Searches under way go on with the tail they have: no row they see comes to
 * lie elsewhere. */
static void move_books(struct slots_blocks *b, struct slots_tail *tail,
                       uint64_t *books, uint32_t cap)
{
    uint64_t *open = books;
    uint64_t *pool = open + cap / 64;
    uint32_t *free_slots = (uint32_t *)(void *)(pool + cap / 64);
    uint8_t *state = (uint8_t *)(free_slots + cap);
    uint32_t i;

    memset(books, 0, books_bytes(cap));
    for (i = 0; i < cap / 64; i++) {
        atomic_init(&tail->words[i],
                    i < b->cap / 64 ? atomic_load_explicit(&b->tail->words[i],
                                                           memory_order_relaxed)
                                    : 0);
    }
    if (b->cap) {
        memcpy(open, b->open, b->cap / 8);
        memcpy(pool, b->pool, b->cap / 8);
        memcpy(free_slots, b->free, b->cap * sizeof(*free_slots));
        memcpy(state, b->state, b->cap);
    }
    b->tail = tail;
    b->open = open;
    b->pool = pool;
    b->free = free_slots;
    b->state = state;
    b->cap = cap;
}

enum err slots_blocks_fit(struct slots *s, uint64_t n)
{
    struct slots_blocks *b = s->blocks;
    uint32_t cap = cap_for(b, n);
    struct slots_tail *tail, *old = b->tail;
    uint64_t *books, *old_books = b->open;
    uint32_t old_cap = b->cap;

    if (cap == b->cap) {
        return ERR_OK;
    }
    tail = region_alloc(s->region, tail_bytes(cap / 64), 1);
    books = region_alloc(s->region, books_bytes(cap), 1);
    if (!tail || !books) {
        region_free(s->region, tail, tail_bytes(cap / 64), 1);
        region_free(s->region, books, books_bytes(cap), 1);
        return ERR_NOMEM;
    }
    tail->region = s->region;
    tail->n_words = cap / 64;
    move_books(b, tail, books, cap);
    if (old_cap) {
        region_free(s->region, old_books, books_bytes(old_cap), 1);
        epoch_retire(s->epoch, &old->retired, tail_reclaim, NULL);
    }
    return ERR_OK;
}

static void wake_all(struct slots *s);

static void free_books(struct slots *s)
{
    struct slots_blocks *b = s->blocks;

    region_free(s->region, b->open, books_bytes(b->cap), 1);
    region_free(s->region, b, sizeof(*b), 1);
    s->blocks = NULL;
}

void slots_blocks_free(struct slots *s)
{
    struct slots_tail *tail = s->blocks->tail;

    wake_all(s);
    free_books(s);
    region_free(s->region, tail, tail_bytes(tail->n_words), 1);
}

size_t slots_blocks_bytes(const struct slots *s)
{
    const struct slots_blocks *b = s->blocks;

    return b ? region_cost(sizeof(*b), 1) +
                   region_cost(tail_bytes(b->tail->n_words), 1) +
                   region_cost(books_bytes(b->cap), 1)
             : 0;
}

size_t slots_blocks_bytes_for(uint32_t n)
{
    struct slots_blocks none = {.cap = 0};
    uint32_t cap = cap_for(&none, n);

    return region_cost(sizeof(none), 1) + region_cost(tail_bytes(cap / 64), 1) +
           region_cost(books_bytes(cap), 1);
}

/* ---- the tail ------------------------------------------------------------ */

static void tail_set(struct slots_blocks *b, uint32_t block, bool on)
{
    _Atomic uint64_t *at = &b->tail->words[block / 64];
    uint64_t bit = (uint64_t)1 << (block % 64);
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);

    /* Only the loop writes it. */
    atomic_store_explicit(at, on ? word | bit : word & ~bit,
                          memory_order_release);
}

void slots_blocks_note_seen(struct slots *s, slot_id slot)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = slot / SLOTS_BLOCK;

    DASSERT(block_seen(b, block) < SLOTS_BLOCK);
    b->state[block]++;
    if (is_tail(block_kind(b, block))) {
        b->n_tail++;
        if (block_seen(b, block) == 1) {
            tail_set(b, block, true);
        }
    }
}

void slots_blocks_note_unseen(struct slots *s, slot_id slot)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = slot / SLOTS_BLOCK;

    ASSERT(block_seen(b, block) > 0);
    b->state[block]--;
    if (is_tail(block_kind(b, block))) {
        b->n_tail--;
        if (block_seen(b, block) == 0) {
            tail_set(b, block, false);
        }
    }
}

uint32_t slots_tail_count(const struct slots *s)
{
    return s->blocks ? s->blocks->n_tail : s->n_slots;
}

static bool tail_has(const struct slots_tail *t, uint32_t block)
{
    uint64_t word =
        atomic_load_explicit(&t->words[block / 64], memory_order_acquire);

    return word >> (block % 64) & 1;
}

/* The first slot at or behind `at` in a block of the tail; n when there is
 * none. */
static slot_id tail_find(const struct slots_tail *t, slot_id at, slot_id n)
{
    uint32_t block = at / SLOTS_BLOCK;
    uint32_t i = block / 64;
    uint64_t word = atomic_load_explicit(&t->words[i], memory_order_acquire) &
                    (UINT64_MAX << (block % 64));

    while (!word) {
        if (++i == t->n_words || (uint64_t)i * 64 * SLOTS_BLOCK >= n) {
            return n;
        }
        word = atomic_load_explicit(&t->words[i], memory_order_acquire);
    }
    block = i * 64 + (uint32_t)__builtin_ctzll(word);
    return block == at / SLOTS_BLOCK ? at : block * SLOTS_BLOCK;
}

bool slots_tail_next(const struct slots_view *v, slot_id *at,
                     struct slots_run *run)
{
    slot_id first = *at;
    uint64_t end, page_end;
    struct row_place place;

    if (first < v->n_slots && v->tail) {
        first = tail_find(v->tail, first, v->n_slots);
    }
    if (first >= v->n_slots) {
        *at = v->n_slots;
        return false;
    }
    place = row_place(v->geometry, first);
    page_end =
        (uint64_t)first - place.row + row_page_count(v->geometry, place.page);
    if (page_end > v->n_slots) {
        page_end = v->n_slots;
    }
    end =
        v->tail ? ((uint64_t)first / SLOTS_BLOCK + 1) * SLOTS_BLOCK : page_end;
    while (end < page_end && tail_has(v->tail, (uint32_t)(end / SLOTS_BLOCK))) {
        end += SLOTS_BLOCK;
    }
    end = end < page_end ? end : page_end;
    *run = (struct slots_run){place.page, place.row, first,
                              (uint32_t)(end - first)};
    *at = (slot_id)end;
    return true;
}

/* ---- free slots ---------------------------------------------------------- */

static void open_set(struct slots_blocks *b, uint32_t block)
{
    b->open[block / 64] |= (uint64_t)1 << (block % 64);
    if (block / 64 < b->open_from) {
        b->open_from = block / 64;
    }
}

static void open_clear(struct slots_blocks *b, uint32_t block)
{
    b->open[block / 64] &= ~((uint64_t)1 << (block % 64));
}

/* A wholly free block that is not general or owned any more. */
static void to_pool(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;

    set_kind(b, block, BLOCK_POOL);
    b->pool[block / 64] |= (uint64_t)1 << (block % 64);
    if (block / 64 < b->pool_from) {
        b->pool_from = block / 64;
    }
    b->n_pool++;
}

/* The first, so that what is left is together, and whole pages may sleep. */
static uint32_t pool_first(const struct slots_blocks *b, uint32_t *word)
{
    uint32_t i = b->pool_from;

    while (!b->pool[i]) {
        i++;
    }
    *word = i;
    return i * 64 + (uint32_t)__builtin_ctzll(b->pool[i]);
}

/* ---- sleep --------------------------------------------------------------- */

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

static void wake(struct slots *s, uint32_t block)
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

static void wake_all(struct slots *s)
{
    uint32_t n = slots_n_blocks(s), block;

    for (block = 0; block < n && s->blocks->n_asleep > 0; block++) {
        if (is_asleep(s->blocks, block)) {
            wake(s, block);
        }
    }
}

static bool is_to_sleep(const struct slots_blocks *b, uint32_t first,
                        uint32_t end)
{
    while (first < end && block_kind(b, first) == BLOCK_POOL &&
           !is_asleep(b, first)) {
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

size_t slots_blocks_take_cost(const struct slots *s)
{
    const struct slots_blocks *b = s->blocks;

    uint32_t word;

    return s->n_free == 0 && b->n_pool > 0 && is_asleep(b, pool_first(b, &word))
               ? b->slept
               : 0;
}

/* ---- free slots, again --------------------------------------------------- */

static uint32_t from_pool(struct slots *s)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = pool_first(b, &b->pool_from);

    if (is_asleep(b, block)) {
        wake(s, block);
    }
    b->pool[block / 64] &= ~((uint64_t)1 << (block % 64));
    b->n_pool--;
    b->n_idle -= SLOTS_BLOCK;
    return block;
}

/* Slots of one block become free. */
static void note_free(struct slots *s, uint32_t block, uint32_t bits)
{
    struct slots_blocks *b = s->blocks;

    ASSERT(!(b->free[block] & bits));
    b->free[block] |= bits;
    switch (block_kind(b, block)) {
    case BLOCK_GENERAL:
        s->n_free += count(bits);
        open_set(b, block);
        break;
    case BLOCK_DRAINING:
        b->n_idle += count(bits);
        if (b->free[block] == FREE_ALL) {
            b->n_draining--;
            to_pool(s, block);
        }
        break;
    case BLOCK_OWNED:
        b->n_lanes += count(bits);
        for (; b->lane && bits; bits &= bits - 1) {
            b->lane(b->arg, block * SLOTS_BLOCK + (slot_id)__builtin_ctz(bits));
        }
        break;
    case BLOCK_POOL:
        ASSERT(!"a slot of a free block becomes free");
    }
}

void slots_blocks_note_free(struct slots *s, slot_id slot)
{
    note_free(s, slot / SLOTS_BLOCK, slot_bit(slot));
}

void slots_blocks_note_bunch(struct slots *s, const struct slot_bunch *bunch)
{
    uint32_t word;

    for (word = bunch->word; word < bunch->n_words; word++) {
        uint64_t bits = bunch->bits[word];

        if ((uint32_t)bits) {
            note_free(s, 2 * word, (uint32_t)bits);
        }
        if (bits >> 32) {
            note_free(s, 2 * word + 1, (uint32_t)(bits >> 32));
        }
    }
}

bool slots_blocks_have_free(const struct slots *s)
{
    return s->n_free > 0 || s->blocks->n_pool > 0;
}

slot_id slots_blocks_take_used(struct slots *s)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block;
    slot_id slot;

    if (s->n_free == 0) {
        if (b->n_pool == 0) {
            return SLOT_NONE;
        }
        block = from_pool(s);
        set_kind(b, block, BLOCK_GENERAL);
        s->n_free += SLOTS_BLOCK;
        open_set(b, block);
    }
    while (!b->open[b->open_from]) {
        b->open_from++;
    }
    block =
        b->open_from * 64 + (uint32_t)__builtin_ctzll(b->open[b->open_from]);
    slot = block * SLOTS_BLOCK + (slot_id)__builtin_ctz(b->free[block]);
    b->free[block] &= b->free[block] - 1;
    if (!b->free[block]) {
        open_clear(b, block);
    }
    s->n_free--;
    return slot;
}

/* ---- beginning and ending ------------------------------------------------ */

/* What is seen of slots: the live ones of a page are bits already. */
static void count_seen(struct slots *s)
{
    slot_id slot;
    uint32_t i;

    for (slot = 0; slot < s->n_slots; slot++) {
        if (slots_is_live(s, slot)) {
            slots_blocks_note_seen(s, slot);
        }
    }
    for (i = 0; i < s->limbo_len; i++) {
        slots_blocks_note_seen(
            s, s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)].slot);
    }
}

static void take_free_lists(struct slots *s)
{
    slot_id slot = s->free_head;

    s->free_head = SLOT_NONE;
    s->n_free = 0;
    while (slot != SLOT_NONE) {
        uint32_t row;
        struct page *p = slots_page(s, slot, &row);

        slots_blocks_note_free(s, slot);
        slot = p->names[row];
    }
    while (s->bunches) {
        struct slot_bunch *next = s->bunches->next;

        s->n_bunched -= s->bunches->n;
        slots_blocks_note_bunch(s, s->bunches);
        slots_bunch_discard(s->bunches);
        s->bunches = next;
    }
}

enum err slots_blocks_begin(struct slots *s, slots_lane_fn *lane, void *arg)
{
    struct slots_blocks *b;

    ASSERT(s->taken == SLOT_NONE);
    if (s->blocks) {
        s->blocks->lane = lane;
        s->blocks->arg = arg;
        return ERR_OK;
    }
    b = region_alloc(s->region, sizeof(*b), 1);
    if (!b) {
        return ERR_NOMEM;
    }
    memset(b, 0, sizeof(*b));
    b->lane = lane;
    b->arg = arg;
    s->blocks = b;
    if (slots_blocks_fit(s, row_page_first(&s->geometry, s->n_pages)) !=
        ERR_OK) {
        region_free(s->region, b, sizeof(*b), 1);
        s->blocks = NULL;
        return ERR_NOMEM;
    }
    count_seen(s);
    take_free_lists(s);
    return ERR_OK;
}

/* From behind, so that those in front are used first. */
static void relist_free(struct slots *s)
{
    const struct slots_blocks *b = s->blocks;
    uint32_t block = slots_n_blocks(s);

    s->n_free = 0;
    while (block > 0) {
        uint32_t bits = b->free[--block];

        while (bits) {
            uint32_t i = 31 - (uint32_t)__builtin_clz(bits), row;
            slot_id slot = block * SLOTS_BLOCK + i;
            struct page *p = slots_page(s, slot, &row);

            bits &= ~((uint32_t)1 << i);
            p->names[row] = s->free_head;
            s->free_head = slot;
            s->n_free++;
        }
    }
}

void slots_blocks_end(struct slots *s)
{
    struct slots_tail *tail;

    ASSERT(s->taken == SLOT_NONE);
    if (!s->blocks) {
        return;
    }
    wake_all(s);
    relist_free(s);
    tail = s->blocks->tail;
    free_books(s);
    epoch_retire(s->epoch, &tail->retired, tail_reclaim, NULL);
}

/* ---- kinds --------------------------------------------------------------- */

enum slots_block_kind slots_block_kind(const struct slots *s, uint32_t block)
{
    return s->blocks && block < s->blocks->cap ? block_kind(s->blocks, block)
                                               : BLOCK_GENERAL;
}

uint32_t slots_block_free(const struct slots *s, uint32_t block)
{
    return s->blocks->free[block];
}

bool slots_block_is_general(const struct slots *s, uint32_t block)
{
    return is_tail(slots_block_kind(s, block));
}

static void own(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;

    set_kind(b, block, BLOCK_OWNED);
    b->n_owned++;
    b->n_lanes += count(b->free[block]);
}

/* Slots that have never been there become free ones. */
static void add_slots(struct slots *s, slot_id end)
{
    while (s->n_slots < end) {
        slot_id first = s->n_slots;
        slot_id block_end = (first / SLOTS_BLOCK + 1) * SLOTS_BLOCK;
        uint32_t bits = FREE_ALL << (first % SLOTS_BLOCK);

        if (end < block_end) {
            block_end = end;
            bits &= FREE_ALL >> (SLOTS_BLOCK - end % SLOTS_BLOCK);
        }
        s->n_slots = block_end;
        note_free(s, first / SLOTS_BLOCK, bits);
    }
}

enum err slots_block_own(struct slots *s, uint32_t *block)
{
    uint32_t n = slots_n_blocks(s);
    enum err err;

    if (s->blocks->n_pool > 0) {
        *block = from_pool(s);
        own(s, *block);
        return ERR_OK;
    }
    n = n < SLOTS_BLOCK_FIRST ? SLOTS_BLOCK_FIRST : n;
    if (((uint64_t)n + 1) * SLOTS_BLOCK > SLOTS_MAX) {
        return ERR_LIMIT;
    }
    err = slots_fit_pages(s, ((uint64_t)n + 1) * SLOTS_BLOCK);
    if (err) {
        return err;
    }
    add_slots(s, n * SLOTS_BLOCK);
    s->n_slots += SLOTS_BLOCK;
    s->blocks->free[n] = FREE_ALL;
    own(s, n);
    *block = n;
    return ERR_OK;
}

void slots_block_give(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;

    ASSERT(block_kind(b, block) == BLOCK_OWNED && b->free[block] == FREE_ALL);
    b->n_owned--;
    b->n_lanes -= SLOTS_BLOCK;
    b->n_idle += SLOTS_BLOCK;
    to_pool(s, block);
}

/* Adds the slots of the last block that are not there yet; false when there is
 * no room for them. */
static bool fill_up(struct slots *s, uint32_t block)
{
    if (((uint64_t)block + 1) * SLOTS_BLOCK > SLOTS_MAX) {
        return false;
    }
    add_slots(s, (block + 1) * SLOTS_BLOCK);
    return true;
}

static void close_general(struct slots *s, uint32_t block)
{
    s->n_free -= count(s->blocks->free[block]);
    open_clear(s->blocks, block);
}

enum err slots_block_adopt(struct slots *s, uint32_t block,
                           uint32_t *free_lanes)
{
    struct slots_blocks *b = s->blocks;

    if (block < SLOTS_BLOCK_FIRST || block >= slots_n_blocks(s) ||
        block_kind(b, block) != BLOCK_GENERAL || !fill_up(s, block)) {
        return ERR_CORRUPT;
    }
    close_general(s, block);
    b->n_tail -= block_seen(b, block);
    tail_set(b, block, false);
    own(s, block);
    *free_lanes = b->free[block];
    return ERR_OK;
}

void slots_block_drain(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;

    if (block < SLOTS_BLOCK_FIRST || block >= slots_n_blocks(s) ||
        block_kind(b, block) != BLOCK_GENERAL || !fill_up(s, block)) {
        return;
    }
    close_general(s, block);
    b->n_idle += count(b->free[block]);
    if (b->free[block] == FREE_ALL) {
        to_pool(s, block);
    } else {
        set_kind(b, block, BLOCK_DRAINING);
        b->n_draining++;
    }
}

void slots_block_keep(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;
    uint32_t bits;

    if (slots_block_kind(s, block) != BLOCK_DRAINING) {
        return;
    }
    bits = b->free[block];
    b->n_draining--;
    b->n_idle -= count(bits);
    s->n_free += count(bits);
    set_kind(b, block, BLOCK_GENERAL);
    if (bits) {
        open_set(b, block);
    }
}

/* ---- lanes --------------------------------------------------------------- */

enum err slots_take_lane(struct slots *s, slot_id from, slot_id lane)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = lane / SLOTS_BLOCK;
    enum err err;

    ASSERT(s->taken == SLOT_NONE && slots_is_live(s, from));
    ASSERT(block_kind(b, block) == BLOCK_OWNED &&
           (b->free[block] & slot_bit(lane)));
    err = slots_prepare(s, lane);
    if (!err) {
        err = slots_prepare(s, from);
    }
    if (err) {
        return err;
    }
    b->free[block] &= ~slot_bit(lane);
    b->n_lanes--;
    s->taken = lane;
    s->taken_fresh = false;
    slots_blocks_note_seen(s, lane);
    return ERR_OK;
}

/* ---- checks -------------------------------------------------------------- */

struct sums {
    uint32_t free, idle, lanes, tail, pool, owned, draining;
    uint32_t asleep; /* slots */
};

static void check_block(const struct slots *s, uint32_t block, uint32_t seen,
                        struct sums *sums)
{
    const struct slots_blocks *b = s->blocks;
    enum slots_block_kind kind = block_kind(b, block);
    uint32_t n_free = count(b->free[block]);
    bool is_open = b->open[block / 64] >> (block % 64) & 1;

    ASSERT(block_seen(b, block) == seen);                            /* K1 */
    ASSERT(tail_has(b->tail, block) == (is_tail(kind) && seen > 0)); /* K2 */
    ASSERT(is_open == (kind == BLOCK_GENERAL && n_free > 0));        /* K4 */
    ASSERT(!is_open || block / 64 >= b->open_from);
    ASSERT((kind == BLOCK_POOL) == (b->pool[block / 64] >> (block % 64) & 1));
    ASSERT(kind != BLOCK_POOL || block / 64 >= b->pool_from);
    ASSERT(seen + n_free <= SLOTS_BLOCK);
    ASSERT(kind != BLOCK_POOL || n_free == SLOTS_BLOCK);
    ASSERT(kind != BLOCK_DRAINING || n_free < SLOTS_BLOCK);
    ASSERT(kind == BLOCK_GENERAL ||
           (block >= SLOTS_BLOCK_FIRST &&
            (uint64_t)(block + 1) * SLOTS_BLOCK <= s->n_slots));
    sums->free += kind == BLOCK_GENERAL ? n_free : 0;
    sums->idle += kind == BLOCK_DRAINING || kind == BLOCK_POOL ? n_free : 0;
    sums->lanes += kind == BLOCK_OWNED ? n_free : 0;
    sums->tail += is_tail(kind) ? seen : 0;
    sums->pool += kind == BLOCK_POOL;
    sums->asleep += is_asleep(b, block) ? SLOTS_BLOCK : 0;
    sums->owned += kind == BLOCK_OWNED;
    sums->draining += kind == BLOCK_DRAINING;
}

static bool is_free(const struct slots *s, slot_id slot)
{
    return s->blocks->free[slot / SLOTS_BLOCK] & slot_bit(slot);
}

static uint32_t seen_in(const struct slots *s, uint32_t block)
{
    uint32_t n = 0, i;
    slot_id slot;

    for (i = 0; i < SLOTS_BLOCK; i++) {
        slot = block * SLOTS_BLOCK + i;
        if (slot < s->n_slots && slots_is_live(s, slot)) {
            ASSERT(!is_free(s, slot)); /* K3 */
            n++;
        }
        ASSERT(slot < s->n_slots || !is_free(s, slot));
    }
    return n + (s->taken != SLOT_NONE && s->taken / SLOTS_BLOCK == block);
}

void slots_blocks_validate(const struct slots *s)
{
    const struct slots_blocks *b = s->blocks;
    uint32_t n = slots_n_blocks(s);
    struct sums sums = {0};
    uint32_t block, i;
    uint8_t *limbo = mem_alloc(n + 1);

    memset(limbo, 0, n + 1);
    ASSERT(n <= b->cap && b->tail->n_words * 64 == b->cap);
    ASSERT(s->free_head == SLOT_NONE && !s->bunches);
    for (i = 0; i < s->limbo_len; i++) {
        slot_id slot = s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)].slot;

        ASSERT(!is_free(s, slot));
        limbo[slot / SLOTS_BLOCK]++;
    }
    for (block = 0; block < n; block++) {
        check_block(s, block, seen_in(s, block) + limbo[block], &sums);
    }
    ASSERT(sums.pool == b->n_pool);
    ASSERT(sums.free == s->n_free && sums.idle == b->n_idle);
    ASSERT(sums.lanes == b->n_lanes && sums.tail == b->n_tail);
    ASSERT(sums.asleep == (uint64_t)b->n_asleep * s->geometry.big_rows);
    ASSERT(sums.owned == b->n_owned && sums.draining == b->n_draining);
    mem_free(limbo);
}
