/* Tickets in a ring, retirements in a list: see epoch.h. */
#include "base/epoch.h"

#include "base/mem.h"

enum { RING_MIN = 64 };

struct ticket {
    write_seq seq;
    bool open;
};

struct epoch {
    write_seq now;
    uint64_t head;       /* oldest ticket that may be open */
    uint64_t tail;       /* the next ticket */
    struct ticket *ring; /* ticket t is at t & (cap - 1) */
    uint64_t cap;
    struct retired *first;
    struct retired **last;
};

struct epoch *epoch_create(void)
{
    struct epoch *e = mem_calloc(1, sizeof(*e));

    e->cap = RING_MIN;
    e->ring = mem_calloc(e->cap, sizeof(*e->ring));
    e->last = &e->first;
    return e;
}

static void reclaim_due(struct epoch *e)
{
    while (e->first && e->first->ticket <= e->head) {
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
    ASSERT(epoch_is_quiet(e));
    reclaim_due(e);
    ASSERT(!e->first);
    mem_free(e->ring);
    mem_free(e);
}

write_seq epoch_now(const struct epoch *e)
{
    return e->now;
}

write_seq epoch_advance(struct epoch *e)
{
    return ++e->now;
}

static void ring_grow(struct epoch *e)
{
    uint64_t cap = e->cap * 2;
    struct ticket *ring = mem_calloc(cap, sizeof(*ring));
    uint64_t t;

    for (t = e->head; t < e->tail; t++) {
        ring[t & (cap - 1)] = e->ring[t & (e->cap - 1)];
    }
    mem_free(e->ring);
    e->ring = ring;
    e->cap = cap;
}

uint64_t epoch_enter(struct epoch *e)
{
    if (e->tail - e->head == e->cap) {
        ring_grow(e);
    }
    e->ring[e->tail & (e->cap - 1)] =
        (struct ticket){.seq = e->now, .open = true};
    return e->tail++;
}

void epoch_leave(struct epoch *e, uint64_t ticket)
{
    struct ticket *t = &e->ring[ticket & (e->cap - 1)];

    ASSERT(ticket >= e->head && ticket < e->tail && t->open);
    t->open = false;
    while (e->head < e->tail && !e->ring[e->head & (e->cap - 1)].open) {
        e->head++;
    }
    reclaim_due(e);
}

bool epoch_is_quiet(const struct epoch *e)
{
    return e->head == e->tail;
}

write_seq epoch_oldest(const struct epoch *e)
{
    return epoch_is_quiet(e) ? e->now : e->ring[e->head & (e->cap - 1)].seq;
}

void epoch_retire(struct epoch *e, struct retired *r,
                  void (*reclaim)(struct retired *r, void *arg), void *arg)
{
    r->reclaim = reclaim;
    r->arg = arg;
    r->next = NULL;
    r->ticket = e->tail;
    *e->last = r;
    e->last = &r->next;
    reclaim_due(e);
}
