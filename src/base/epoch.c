/* Tickets in a ring, retirements in a list: see epoch.h. */
#include "base/epoch.h"

#include "base/mem.h"

enum { RING_MIN = 64, RECLAIMED_MOST = 4096 };

struct ticket {
    write_seq seq;
    bool open;
};

/* Numbers given out, of which some are still open: ring[n & (cap - 1)]. */
struct book {
    uint64_t head; /* the oldest that may be open */
    uint64_t tail; /* the next one */
    struct ticket *ring;
    uint64_t cap;
};

struct epoch {
    write_seq now;
    struct book tickets;
    struct book holds;
    struct retired *first;
    struct retired **last;
};

static void book_init(struct book *b)
{
    b->cap = RING_MIN;
    b->ring = mem_calloc(b->cap, sizeof(*b->ring));
}

static void book_grow(struct book *b)
{
    uint64_t cap = b->cap * 2;
    struct ticket *ring = mem_calloc(cap, sizeof(*ring));
    uint64_t n;

    for (n = b->head; n < b->tail; n++) {
        ring[n & (cap - 1)] = b->ring[n & (b->cap - 1)];
    }
    mem_free(b->ring);
    b->ring = ring;
    b->cap = cap;
}

static uint64_t book_open(struct book *b, write_seq seq)
{
    if (b->tail - b->head == b->cap) {
        book_grow(b);
    }
    b->ring[b->tail & (b->cap - 1)] = (struct ticket){.seq = seq, .open = true};
    return b->tail++;
}

static void book_close(struct book *b, uint64_t number)
{
    struct ticket *t = &b->ring[number & (b->cap - 1)];

    ASSERT(number >= b->head && number < b->tail && t->open);
    t->open = false;
    while (b->head < b->tail && !b->ring[b->head & (b->cap - 1)].open) {
        b->head++;
    }
}

struct epoch *epoch_create(void)
{
    struct epoch *e = mem_calloc(1, sizeof(*e));

    book_init(&e->tickets);
    book_init(&e->holds);
    e->last = &e->first;
    return e;
}

/* When very much has waited for the same reader the rest is left for next
 * time. */
static void reclaim_due(struct epoch *e)
{
    int left = RECLAIMED_MOST;

    while (e->first && e->first->ticket <= e->tickets.head &&
           e->first->hold <= e->holds.head && left-- > 0) {
        struct retired *r = e->first;

        e->first = r->next;
        if (!e->first) {
            e->last = &e->first;
        }
        r->reclaim(r, r->arg);
    }
}

void epoch_destroy(struct epoch *e)
{
    ASSERT(epoch_is_quiet(e) && e->holds.head == e->holds.tail);
    while (e->first) {
        reclaim_due(e);
    }
    mem_free(e->tickets.ring);
    mem_free(e->holds.ring);
    mem_free(e);
}

void epoch_settle(struct epoch *e)
{
    reclaim_due(e);
}

write_seq epoch_now(const struct epoch *e)
{
    return e->now;
}

write_seq epoch_advance(struct epoch *e)
{
    return ++e->now;
}

uint64_t epoch_enter(struct epoch *e)
{
    return book_open(&e->tickets, e->now);
}

void epoch_leave(struct epoch *e, uint64_t ticket)
{
    book_close(&e->tickets, ticket);
    reclaim_due(e);
}

uint64_t epoch_hold(struct epoch *e)
{
    return book_open(&e->holds, e->now);
}

void epoch_release(struct epoch *e, uint64_t hold)
{
    book_close(&e->holds, hold);
    reclaim_due(e);
}

bool epoch_is_quiet(const struct epoch *e)
{
    return e->tickets.head == e->tickets.tail;
}

write_seq epoch_oldest(const struct epoch *e)
{
    const struct book *b = &e->tickets;

    return epoch_is_quiet(e) ? e->now : b->ring[b->head & (b->cap - 1)].seq;
}

void epoch_retire(struct epoch *e, struct retired *r,
                  void (*reclaim)(struct retired *r, void *arg), void *arg)
{
    r->reclaim = reclaim;
    r->arg = arg;
    r->next = NULL;
    r->ticket = e->tickets.tail;
    r->hold = e->holds.tail;
    *e->last = r;
    e->last = &r->next;
    reclaim_due(e);
}
