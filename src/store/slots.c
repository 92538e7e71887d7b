/* Slots: see slots.h and the visibility rules of page.h. */
#include "store/slots.h"

#include <string.h>

#include "base/mem.h"
#include "store/slots_impl.h"

enum { DIR_MIN = 4, LIMBO_MIN = 16, RELEASED_MOST = 8192 };

void slots_init(struct slots *s, const struct row_layout *layout,
                struct region *region, struct epoch *epoch,
                const struct slots_ops *ops)
{
    *s = (struct slots){.region = region,
                        .epoch = epoch,
                        .free_head = SLOT_NONE,
                        .taken = SLOT_NONE,
                        .ops = *ops};
    page_geometry_init(&s->geometry, layout->row_bytes, layout->side_bytes,
                       layout->overread);
}

static size_t dir_bytes(uint32_t cap)
{
    return sizeof(struct page_dir) + 2 * cap * sizeof(struct page *);
}

static size_t stamps_bytes(uint32_t n)
{
    return sizeof(struct page_stamps) + n * sizeof(struct page_stamp);
}

static void stamps_free(struct page_stamps *st)
{
    region_free(st->region, st, stamps_bytes(st->n), 1);
}

static size_t bunch_bytes(uint32_t n_words)
{
    return sizeof(struct slot_bunch) + n_words * sizeof(uint64_t);
}

struct slot_bunch *slots_bunch_create(struct slots *s, uint32_t n_words)
{
    struct slot_bunch *b = region_alloc(s->region, bunch_bytes(n_words), 1);

    if (b) {
        b->slots = s;
        b->n = b->word = 0;
        b->n_words = n_words;
    }
    return b;
}

void slots_bunch_discard(struct slot_bunch *b)
{
    region_free(b->slots->region, b, bunch_bytes(b->n_words), 1);
}

void slots_trim(struct slots *s)
{
    while (s->n_ahead > 0) {
        page_room_free(&s->geometry, s->geometry.small_pages,
                       &s->ahead[--s->n_ahead], s->region);
    }
}

void slots_deinit(struct slots *s)
{
    uint32_t i;

    while (s->bunches) {
        struct slot_bunch *next = s->bunches->next;

        slots_bunch_discard(s->bunches);
        s->bunches = next;
    }
    if (s->blocks) {
        slots_blocks_free(s);
    }
    for (i = 0; i < s->n_pages; i++) {
        struct page *p = s->dir->pages[i];
        uint32_t n = row_page_count(&s->geometry, i);
        struct page_stamps *st = atomic_load(&p->stamps);

        if (st) {
            stamps_free(st);
        }
        region_free(s->region, atomic_load(&p->attrs),
                    n * sizeof(struct page_attr), 1);
        page_free(&s->geometry, i, p, s->region);
    }
    slots_trim(s);
    if (s->dir) {
        region_free(s->region, s->dir, dir_bytes(s->dir->cap), 1);
    }
    region_free(s->region, s->limbo, s->limbo_cap * sizeof(*s->limbo), 1);
    s->dir = NULL;
    s->limbo = NULL;
    s->n_pages = s->limbo_cap = 0;
}

/* ---- pages ------------------------------------------------------------- */

static void dir_reclaim(struct retired *r, void *arg)
{
    struct page_dir *dir = CONTAINER_OF(r, struct page_dir, retired);

    (void)arg;
    region_free(dir->region, dir, dir_bytes(dir->cap), 1);
}

/* Readers may hold the old array; it is as right as the new one for the pages
 * they look at. */
static enum err dir_grow(struct slots *s, uint32_t cap)
{
    struct page_dir *dir = region_alloc(s->region, dir_bytes(cap), 1);

    if (!dir) {
        return ERR_NOMEM;
    }
    dir->region = s->region;
    dir->cap = cap;
    dir->rows = (const uint8_t **)(void *)(dir->pages + cap);
    if (s->dir) {
        memcpy(dir->pages, s->dir->pages, s->n_pages * sizeof(struct page *));
        memcpy(dir->rows, s->dir->rows, s->n_pages * sizeof(*dir->rows));
        epoch_retire(s->epoch, &s->dir->retired, dir_reclaim, NULL);
    }
    s->dir = dir;
    return ERR_OK;
}

/* Memory for the next page. All big pages are alike. */
static enum err next_room(struct slots *s, struct page_room *room)
{
    if (s->n_ahead == 0) {
        return page_room_alloc(&s->geometry, s->n_pages, s->region, room);
    }
    *room = s->ahead[0];
    s->n_ahead--;
    memmove(s->ahead, s->ahead + 1, s->n_ahead * sizeof(*s->ahead));
    return ERR_OK;
}

/* What is ahead is not written to before it is needed, its head neither: the
 * first touch of 2 MiB is what is to be done elsewhere. Without memory to spare
 * there is nothing ahead. */
static void look_ahead(struct slots *s)
{
    const struct row_geometry *g = &s->geometry;
    uint32_t small = g->small_pages;
    uint32_t want =
        s->n_pages > small ? (s->n_pages - small) / SLOTS_AHEAD_SHARE : 0;

    want = want < SLOTS_AHEAD_MAX ? want : SLOTS_AHEAD_MAX;
    while (s->ops.expect && s->n_ahead < want &&
           mem_has_room(page_cost(g, small))) {
        struct page_room *room = &s->ahead[s->n_ahead];

        if (page_room_alloc(g, small, s->region, room) != ERR_OK) {
            return;
        }
        s->n_ahead++;
        s->ops.expect(s->ops.arg, room->rows,
                      (size_t)g->big_rows * (g->row_bytes + g->side_bytes));
        s->ops.expect(s->ops.arg, room->page, page_room_head_bytes(g, small));
    }
}

static enum err add_page(struct slots *s)
{
    struct page_room room;
    struct page *p;

    if (s->blocks &&
        slots_blocks_fit(s, row_page_first(&s->geometry, s->n_pages + 1)) !=
            ERR_OK) {
        return ERR_NOMEM;
    }
    if (!s->dir || s->n_pages == s->dir->cap) {
        enum err err = dir_grow(s, s->dir ? s->dir->cap * 2 : DIR_MIN);

        if (err) {
            return err;
        }
    }
    if (next_room(s, &room) != ERR_OK) {
        return ERR_NOMEM;
    }
    p = page_begin(&s->geometry, s->n_pages, &room);
    s->dir->rows[s->n_pages] = p->rows;
    s->dir->pages[s->n_pages++] = p;
    s->n_settled = 0;
    look_ahead(s);
    return ERR_OK;
}

enum err slots_fit_pages(struct slots *s, uint64_t n)
{
    while (row_page_first(&s->geometry, s->n_pages) < n) {
        enum err err = add_page(s);

        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

enum err slots_fit_directory(struct slots *s, uint32_t n)
{
    uint32_t pages = row_pages_for(&s->geometry, n);
    uint32_t cap = s->dir ? s->dir->cap : DIR_MIN;

    while (cap < pages) {
        cap *= 2;
    }
    return s->dir && s->dir->cap == cap ? ERR_OK : dir_grow(s, cap);
}

enum err slots_extend(struct slots *s, uint64_t n)
{
    enum err err = n > SLOTS_MAX ? ERR_LIMIT : slots_fit_pages(s, n);

    ASSERT(!s->blocks);
    if (!err && n > s->n_slots) {
        s->n_slots = (slot_id)n;
    }
    return err;
}

size_t slots_bytes_for(const struct row_layout *layout, uint32_t n,
                       size_t *ahead)
{
    struct row_geometry g;
    uint32_t pages, page, cap = DIR_MIN, ready;
    size_t bytes = 0, big;

    page_geometry_init(&g, layout->row_bytes, layout->side_bytes,
                       layout->overread);
    pages = row_pages_for(&g, n);
    big = page_cost(&g, g.small_pages);
    for (page = 0; page < pages && page < g.small_pages; page++) {
        bytes += page_cost(&g, page);
    }
    ready = pages > page ? (pages - page) / SLOTS_AHEAD_SHARE : 0;
    ready = ready < SLOTS_AHEAD_MAX ? ready : SLOTS_AHEAD_MAX;
    while (cap < pages) {
        cap *= 2;
    }
    *ahead = ready * big;
    return n ? bytes + (pages - page) * big + *ahead +
                   region_cost(dir_bytes(cap), 1)
             : 0;
}

/* ---- stamps ------------------------------------------------------------ */

static struct page_stamps *stamps_of(const struct page *p)
{
    return atomic_load_explicit(&p->stamps, memory_order_relaxed);
}

/* Gives a page stamps that say what its live bits say. */
static struct page_stamps *stamps_create(struct slots *s, slot_id slot)
{
    struct row_place at = row_place(&s->geometry, slot);
    struct page *p = s->dir->pages[at.page];
    uint32_t n = row_page_count(&s->geometry, at.page);
    struct page_stamps *st = region_alloc(s->region, stamps_bytes(n), 1);
    uint32_t i;

    if (!st) {
        return NULL;
    }
    st->region = s->region;
    st->last = 0;
    st->n = n;
    for (i = 0; i < n; i++) {
        atomic_init(&st->rows[i].born, page_is_live(p, i) ? 0 : NEVER);
        atomic_init(&st->rows[i].died, NEVER);
    }
    st->next = s->stamped;
    s->stamped = p;
    atomic_store_explicit(&p->stamps, st, memory_order_release);
    return st;
}

static void stamps_reclaim(struct retired *r, void *arg)
{
    (void)arg;
    stamps_free(CONTAINER_OF(r, struct page_stamps, retired));
}

/* Drops the stamps of pages whose last change everybody under way can see. */
static void drop_settled_stamps(struct slots *s)
{
    write_seq oldest = epoch_oldest(s->epoch);
    struct page *p = s->stamped;

    s->stamped = NULL;
    while (p) {
        struct page_stamps *st = stamps_of(p);
        struct page *next = st->next;

        if (st->last <= oldest) {
            atomic_store_explicit(&p->stamps, NULL, memory_order_release);
            epoch_retire(s->epoch, &st->retired, stamps_reclaim, NULL);
        } else {
            st->next = s->stamped;
            s->stamped = p;
        }
        p = next;
    }
}

static void live_set(struct page *p, uint32_t row, bool on)
{
    uint64_t bit = (uint64_t)1 << (row % 64);
    uint64_t word =
        atomic_load_explicit(&p->live[row / 64], memory_order_relaxed);

    word = on ? word | bit : word & ~bit;
    atomic_store_explicit(&p->live[row / 64], word, memory_order_release);
}

/* ---- taking and publishing --------------------------------------------- */

static void to_free_list(struct slots *s, slot_id slot)
{
    uint32_t row;
    struct page *p;

    if (UNLIKELY(s->blocks)) {
        slots_blocks_note_free(s, slot);
        return;
    }
    p = slots_page(s, slot, &row);
    p->names[row] = s->free_head;
    s->free_head = slot;
    s->n_free++;
}

static void release(struct slots *s, slot_id slot, uint32_t kept)
{
    if (UNLIKELY(s->blocks)) {
        slots_blocks_note_unseen(s, slot);
    }
    if (s->ops.released(s->ops.arg, slot, kept)) {
        s->n_held++;
    } else {
        to_free_list(s, slot);
    }
}

void slots_free(struct slots *s, slot_id slot)
{
    ASSERT(s->n_held > 0);
    s->n_held--;
    to_free_list(s, slot);
}

void slots_free_bunch(struct slot_bunch *b)
{
    struct slots *s = b->slots;

    ASSERT(s->n_held >= b->n);
    s->n_held -= b->n;
    if (b->n == 0 || s->blocks) {
        if (b->n > 0) {
            slots_blocks_note_bunch(s, b);
        }
        slots_bunch_discard(b);
        return;
    }
    s->n_bunched += b->n;
    b->next = s->bunches;
    s->bunches = b;
}

/* A slot that was used before, SLOT_NONE when there is none. */
static slot_id take_used(struct slots *s)
{
    slot_id slot = s->free_head;
    struct slot_bunch *b = s->bunches;

    if (UNLIKELY(s->blocks)) {
        return slots_blocks_take_used(s);
    }
    if (slot != SLOT_NONE) {
        uint32_t row;
        struct page *p = slots_page(s, slot, &row);

        s->free_head = p->names[row];
        s->n_free--;
    } else if (b) {
        while (!b->bits[b->word]) {
            b->word++;
        }
        slot = b->word * 64 + (slot_id)__builtin_ctzll(b->bits[b->word]);
        b->bits[b->word] &= b->bits[b->word] - 1;
        s->n_bunched--;
        if (--b->n == 0) {
            s->bunches = b->next;
            slots_bunch_discard(b);
        }
    }
    return slot;
}

/* When many have waited for the same search the rest is left for next time. */
static void release_due(struct slots *s)
{
    int left = RELEASED_MOST;
    write_seq oldest;

    if (s->limbo_len == 0) {
        return;
    }
    oldest = epoch_oldest(s->epoch);
    while (s->limbo_len > 0 && left-- > 0) {
        struct limbo_entry *e = &s->limbo[s->limbo_head];

        if (e->died > oldest) {
            return;
        }
        release(s, e->slot, e->kept);
        s->limbo_head = (s->limbo_head + 1) & (s->limbo_cap - 1);
        s->limbo_len--;
    }
}

size_t slots_take_cost(const struct slots *s)
{
    size_t cost = 0;

    if (s->free_head != SLOT_NONE || s->bunches ||
        (s->blocks && slots_blocks_have_free(s))) {
        return s->blocks ? slots_blocks_take_cost(s) : 0;
    }
    if (s->n_pages == 0 ||
        s->n_slots == row_page_first(&s->geometry, s->n_pages)) {
        cost = page_cost(&s->geometry, s->n_pages);
        if (!s->dir || s->n_pages == s->dir->cap) {
            cost +=
                region_cost(dir_bytes(s->dir ? s->dir->cap * 2 : DIR_MIN), 1);
        }
        if (s->blocks) {
            cost += slots_blocks_fit_cost(
                s, row_page_first(&s->geometry, s->n_pages + 1));
        }
    }
    return cost;
}

enum err slots_take(struct slots *s, slot_id *slot)
{
    ASSERT(s->taken == SLOT_NONE);
    release_due(s);
    s->taken = take_used(s);
    s->taken_fresh = s->taken == SLOT_NONE;
    if (s->taken_fresh) {
        enum err err = s->n_slots == SLOTS_MAX
                           ? ERR_LIMIT
                           : slots_fit_pages(s, (uint64_t)s->n_slots + 1);

        if (err) {
            return err;
        }
        s->taken = s->n_slots++;
    }
    if (UNLIKELY(s->blocks)) {
        slots_blocks_note_seen(s, s->taken);
    }
    *slot = s->taken;
    return ERR_OK;
}

static void expect_writes(const uint8_t *from, size_t bytes)
{
    size_t i;

    for (i = 0; i < bytes; i += CACHE_LINE) {
        __builtin_prefetch(from + i, 1);
    }
}

void slots_expect(const struct slots *s, uint32_t n)
{
    const struct row_geometry *g = &s->geometry;
    uint32_t row;
    const struct page *p;

    if (s->n_free || s->n_bunched || s->blocks ||
        (uint64_t)s->n_slots + n > row_page_first(g, s->n_pages)) {
        return; /* nearly never while many are added */
    }
    p = slots_page(s, s->n_slots, &row);
    expect_writes(p->rows + (size_t)row * g->row_bytes,
                  (size_t)n * g->row_bytes);
    expect_writes(p->side + (size_t)row * g->side_bytes,
                  (size_t)n * g->side_bytes);
    expect_writes((const uint8_t *)(p->names + row), n * sizeof(*p->names));
}

void slots_put_back(struct slots *s)
{
    if (UNLIKELY(s->blocks)) {
        slots_blocks_note_unseen(s, s->taken);
    }
    if (s->taken_fresh) {
        s->n_slots--;
    } else {
        to_free_list(s, s->taken);
    }
    s->taken = SLOT_NONE;
}

static void stamp_born(struct page_stamps *st, uint32_t row, write_seq seq)
{
    st->last = seq;
    atomic_store_explicit(&st->rows[row].born, seq, memory_order_release);
    atomic_store_explicit(&st->rows[row].died, NEVER, memory_order_release);
}

void slots_publish(struct slots *s, write_seq seq)
{
    uint32_t row;
    struct page *p = slots_page(s, s->taken, &row);
    struct page_stamps *st = stamps_of(p);

    if (st) {
        stamp_born(st, row, seq);
    } else {
        ASSERT(s->taken_fresh || epoch_is_quiet(s->epoch));
    }
    live_set(p, row, true);
    s->n_live++;
    s->taken = SLOT_NONE;
}

/* ---- killing ----------------------------------------------------------- */

static enum err limbo_reserve(struct slots *s)
{
    uint32_t cap = s->limbo_cap ? s->limbo_cap * 2 : LIMBO_MIN;
    struct limbo_entry *ring;
    uint32_t i;

    if (s->limbo_len < s->limbo_cap) {
        return ERR_OK;
    }
    ring = region_alloc(s->region, cap * sizeof(*ring), 1);
    if (!ring) {
        return ERR_NOMEM;
    }
    for (i = 0; i < s->limbo_len; i++) {
        ring[i] = s->limbo[(s->limbo_head + i) & (s->limbo_cap - 1)];
    }
    region_free(s->region, s->limbo, s->limbo_cap * sizeof(*ring), 1);
    s->limbo = ring;
    s->limbo_cap = cap;
    s->limbo_head = 0;
    return ERR_OK;
}

enum err slots_prepare(struct slots *s, slot_id slot)
{
    uint32_t row;
    enum err err;

    /* A fresh slot lies past the n_slots of every search under way; only a
     * used one needs its birth stamped against them. */
    if (epoch_is_quiet(s->epoch) || (slot == s->taken && s->taken_fresh)) {
        return ERR_OK;
    }
    err = limbo_reserve(s);
    if (!err && !stamps_of(slots_page(s, slot, &row)) &&
        !stamps_create(s, slot)) {
        err = ERR_NOMEM;
    }
    return err;
}

void slots_kill(struct slots *s, slot_id slot, write_seq seq, uint32_t kept)
{
    uint32_t row;
    struct page *p = slots_page(s, slot, &row);
    struct page_stamps *st = stamps_of(p);

    if (st) {
        st->last = seq;
        atomic_store_explicit(&st->rows[row].died, seq, memory_order_release);
    }
    live_set(p, row, false);
    s->n_live--;
    if (epoch_is_quiet(s->epoch)) {
        release_due(s);
        release(s, slot, kept);
    } else {
        uint32_t at = (s->limbo_head + s->limbo_len) & (s->limbo_cap - 1);

        ASSERT(st && s->limbo_len < s->limbo_cap);
        s->limbo[at] = (struct limbo_entry){seq, slot, kept};
        s->limbo_len++;
    }
}

bool slots_settle(struct slots *s)
{
    if (s->n_ahead > 0 && ++s->n_settled > SLOTS_AHEAD_KEPT) {
        slots_trim(s);
    }
    release_due(s);
    drop_settled_stamps(s);
    if (s->limbo_len == 0 && s->limbo_cap > LIMBO_MIN) {
        region_free(s->region, s->limbo, s->limbo_cap * sizeof(*s->limbo), 1);
        s->limbo = NULL;
        s->limbo_cap = 0;
        s->limbo_head = 0;
    }
    return s->limbo_len == 0 && !s->stamped && s->n_ahead == 0;
}

/* ---- views and checks -------------------------------------------------- */

void slots_view_take(const struct slots *s, struct slots_view *v)
{
    v->geometry = &s->geometry;
    v->pages = s->dir ? s->dir->pages : NULL;
    v->rows = (struct row_map){&s->geometry, s->dir ? s->dir->rows : NULL};
    v->n_pages = s->n_pages;
    v->n_slots = s->n_slots;
    v->n_live = s->n_live;
    v->seq = epoch_now(s->epoch);
    v->tail = s->blocks ? s->blocks->tail : NULL;
}

void slots_validate(const struct slots *s)
{
    uint32_t live = 0, free_count = 0, bunched = 0;
    const struct slot_bunch *b;
    slot_id slot;
    uint32_t i;

    for (slot = 0; slot < s->n_slots; slot++) {
        uint32_t row;
        struct page *p = slots_page(s, slot, &row);
        bool is_live = page_is_live(p, row);

        live += is_live;
        ASSERT(page_sees(p, row, epoch_now(s->epoch)) == is_live);
    }
    ASSERT(live == s->n_live);
    for (slot = s->free_head; slot != SLOT_NONE; free_count++) {
        uint32_t row;
        struct page *p;

        ASSERT(slot < s->n_slots && free_count < s->n_free);
        p = slots_page(s, slot, &row);
        ASSERT(!page_is_live(p, row));
        slot = p->names[row];
    }
    ASSERT(s->blocks || free_count == s->n_free);
    for (b = s->bunches; b; b = b->next) {
        uint32_t n = 0;

        for (i = 0; i < b->n_words * 64; i++) {
            if (b->bits[i / 64] >> (i % 64) & 1) {
                ASSERT(i < s->n_slots && !slots_is_live(s, i));
                n++;
            }
        }
        ASSERT(n == b->n);
        bunched += n;
    }
    ASSERT(bunched == s->n_bunched);
    if (s->blocks) {
        slots_blocks_validate(s);
        free_count = s->n_free + s->blocks->n_idle + s->blocks->n_lanes;
    }
    ASSERT((uint64_t)live + free_count + bunched + s->limbo_len + s->n_held +
               (s->taken != SLOT_NONE) ==
           s->n_slots);
}
