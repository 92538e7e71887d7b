/* Blocks of slots: what is kept of them, which of their slots are free, and who
 * has them. See slots_blocks.h. */
#include "store/slots_blocks.h"

#include <string.h>

#include "store/slots_blocks_impl.h"

enum { CAP_MIN = 64 }; /* blocks; the capacity is a multiple of it */

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

    slots_blocks_wake_all(s);
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

    block_set_kind(b, block, BLOCK_POOL);
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

size_t slots_blocks_take_cost(const struct slots *s)
{
    const struct slots_blocks *b = s->blocks;
    uint32_t word;

    return s->n_free == 0 && b->n_pool > 0 &&
                   block_is_asleep(b, pool_first(b, &word))
               ? b->slept
               : 0;
}

static uint32_t from_pool(struct slots *s)
{
    struct slots_blocks *b = s->blocks;
    uint32_t block = pool_first(b, &b->pool_from);

    if (block_is_asleep(b, block)) {
        slots_block_wake(s, block);
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
        s->n_free += block_count(bits);
        open_set(b, block);
        break;
    case BLOCK_DRAINING:
        b->n_idle += block_count(bits);
        if (b->free[block] == FREE_ALL) {
            b->n_draining--;
            to_pool(s, block);
        }
        break;
    case BLOCK_OWNED:
        b->n_lanes += block_count(bits);
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
        block_set_kind(b, block, BLOCK_GENERAL);
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

uint32_t slots_block_live(const struct slots *s, uint32_t block)
{
    struct row_place at = row_place(&s->geometry, block * SLOTS_BLOCK);
    const struct page *p = s->dir->pages[at.page];

    ASSERT(at.row % SLOTS_BLOCK == 0);
    return (uint32_t)(atomic_load_explicit(&p->live[at.row / 64],
                                           memory_order_relaxed) >>
                      (at.row % 64));
}

/* What is seen of slots: the live ones of a page are bits already, 32 of which
 * are looked at in one go. All blocks are general. */
static void count_seen(struct slots *s)
{
    struct slots_blocks *b = s->blocks;
    uint32_t n = slots_n_blocks(s), block, i;
    slot_id slot;

    for (slot = 0; slot < s->n_slots && slot < SLOTS_BLOCK_FIRST * SLOTS_BLOCK;
         slot++) {
        if (slots_is_live(s, slot)) {
            slots_blocks_note_seen(s, slot);
        }
    }
    for (block = SLOTS_BLOCK_FIRST; block < n; block++) {
        uint32_t live = block_count(slots_block_live(s, block));

        if (live) {
            b->state[block] = (uint8_t)(b->state[block] + live);
            b->n_tail += live;
            tail_set(b, block, true);
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

/* Slots of a block that are live; of any block. */
static uint32_t live_of(const struct slots *s, uint32_t block)
{
    uint32_t live = 0, i;

    if (block >= SLOTS_BLOCK_FIRST) {
        return slots_block_live(s, block);
    }
    for (i = 0; i < SLOTS_BLOCK; i++) {
        slot_id slot = block * SLOTS_BLOCK + i;

        live |= (uint32_t)(slot < s->n_slots && slots_is_live(s, slot)) << i;
    }
    return live;
}

/* Where nobody holds dead slots, those that are neither live nor in limbo are
 * the free ones: they need not be looked up one by one. */
static bool take_all_others(struct slots *s)
{
    struct slots_blocks *b = s->blocks;
    uint32_t n = slots_n_blocks(s), rest = s->n_slots % SLOTS_BLOCK, block, i;

    if ((uint64_t)s->n_free + s->n_bunched + s->n_live + s->limbo_len !=
        s->n_slots) {
        return false;
    }
    for (block = 0; block < n; block++) {
        b->free[block] = ~live_of(s, block);
    }
    if (rest) {
        b->free[n - 1] &= ((uint32_t)1 << rest) - 1;
    }
    for (i = 0; i < s->limbo_len; i++) {
        slot_id slot = s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)].slot;

        b->free[slot / SLOTS_BLOCK] &= ~slot_bit(slot);
    }
    s->free_head = SLOT_NONE;
    s->n_free = 0;
    for (block = 0; block < n; block++) {
        if (b->free[block]) {
            s->n_free += block_count(b->free[block]);
            open_set(b, block);
        }
    }
    while (s->bunches) {
        struct slot_bunch *next = s->bunches->next;

        s->n_bunched -= s->bunches->n;
        slots_bunch_discard(s->bunches);
        s->bunches = next;
    }
    return true;
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
    if (!take_all_others(s)) {
        take_free_lists(s);
    }
    return ERR_OK;
}

/* All that is free becomes one bunch: the bits are there already. */
static bool bunch_free(struct slots *s)
{
    const uint32_t *bits = s->blocks->free;
    uint32_t n = (slots_n_blocks(s) + 1) / 2, i; /* cap is even */
    struct slot_bunch *bunch = slots_bunch_create(s, n);

    if (!bunch) {
        return false;
    }
    for (i = 0; i < n; i++) {
        bunch->bits[i] = bits[2 * i] | (uint64_t)bits[2 * i + 1] << 32;
        bunch->n += (uint32_t)__builtin_popcountll(bunch->bits[i]);
    }
    if (bunch->n == 0) {
        slots_bunch_discard(bunch);
        return true;
    }
    s->n_bunched += bunch->n;
    bunch->next = s->bunches;
    s->bunches = bunch;
    return true;
}

/* From behind, so that those in front are used first; for want of memory. */
static void relist_free(struct slots *s)
{
    const struct slots_blocks *b = s->blocks;
    uint32_t block = slots_n_blocks(s);

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
    slots_blocks_wake_all(s);
    s->n_free = 0;
    if (!bunch_free(s)) {
        relist_free(s);
    }
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
    return kind_is_tail(slots_block_kind(s, block));
}

static void own(struct slots *s, uint32_t block)
{
    struct slots_blocks *b = s->blocks;

    block_set_kind(b, block, BLOCK_OWNED);
    b->n_owned++;
    b->n_lanes += block_count(b->free[block]);
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
    s->n_free -= block_count(s->blocks->free[block]);
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
    b->n_idle += block_count(b->free[block]);
    if (b->free[block] == FREE_ALL) {
        to_pool(s, block);
    } else {
        block_set_kind(b, block, BLOCK_DRAINING);
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
    b->n_idle -= block_count(bits);
    s->n_free += block_count(bits);
    block_set_kind(b, block, BLOCK_GENERAL);
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
