/* A binary heap with the worst entry on top, and heapsort from it. */
#include "index/topk.h"

void topk_init(struct topk *t, uint64_t *heap, size_t cap)
{
    ASSERT(cap > 0);
    *t = (struct topk){.heap = heap, .cap = cap};
}

/* Lets `entry` sink from position i of a heap of n. */
static void sink(uint64_t *heap, size_t n, size_t i, uint64_t entry)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= n) {
            break;
        }
        if (child + 1 < n && heap[child + 1] > heap[child]) {
            child++;
        }
        if (heap[child] <= entry) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = entry;
}

void topk_push(struct topk *t, uint64_t entry)
{
    size_t i;

    if (t->n == t->cap) {
        sink(t->heap, t->n, 0, entry);
        return;
    }
    i = t->n++;
    while (i > 0 && t->heap[(i - 1) / 2] < entry) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = entry;
}

void topk_sort(struct topk *t)
{
    size_t n = t->n;

    while (n > 1) {
        uint64_t worst = t->heap[0];

        n--;
        sink(t->heap, n, 0, t->heap[n]);
        t->heap[n] = worst;
    }
}
