/* Sorting by name: see name_sort.h. */
#include "db/names/name_sort.h"

#include <string.h>

enum {
    KEY_BYTES = 11,
    KEY_MORE = KEY_BYTES + 1, /* in place of the count: the name goes on */
    SMALL_GROUP = 24,         /* sorted by insertion */
    NINTHER_AT = 1024,        /* from here on the pivot is a median of nine */
    /* What things cost, in comparisons of keys. */
    NAME_COST = 10,
    NAME_BYTES_PER_COST = 64,
};

void name_sort_begin(struct name_sort *s, const struct name_view *view,
                     struct name_record *records, uint32_t n, uint64_t seed)
{
    s->view = view;
    s->records = records;
    s->phase = NAME_SORT_NEXT;
    s->n_stack = 0;
    rng_seed(&s->rng, seed);
    if (n > 0) {
        s->stack[s->n_stack++] = (struct name_group){.end = n};
    }
}

/* ---- keys -------------------------------------------------------------- */

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static void load_key(struct name_record *r, struct bytes name, uint32_t depth)
{
    size_t left = name.len - depth;
    const uint8_t *p = name.data + depth;
    uint8_t padded[KEY_BYTES] = {0};

    if (left < KEY_BYTES) {
        memcpy(padded, p, left);
        p = padded;
    }
    r->key_high = load_u64(p);
    r->key_low = (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 |
                 (uint32_t)p[10] << 8 |
                 (left < KEY_MORE ? (uint32_t)left : KEY_MORE);
}

static bool key_goes_on(const struct name_record *r)
{
    return (r->key_low & 0xff) == KEY_MORE;
}

static bool key_equal(const struct name_record *a, const struct name_record *b)
{
    return a->key_high == b->key_high && a->key_low == b->key_low;
}

static bool key_less(const struct name_record *a, const struct name_record *b)
{
    return a->key_high < b->key_high ||
           (a->key_high == b->key_high && a->key_low < b->key_low);
}

/* ---- a group's prefix and keys ----------------------------------------- */

static struct bytes name_past(const struct name_sort *s, uint32_t record,
                              uint32_t depth)
{
    struct bytes name = name_view_get(s->view, s->records[record].slot);

    return bytes_of(name.data + depth, name.len - depth);
}

static uint32_t common_prefix(struct bytes a, struct bytes b, uint32_t max)
{
    uint32_t i = 0;

    while (i < max && i < a.len && i < b.len && a.data[i] == b.data[i]) {
        i++;
    }
    return i;
}

static void measure_begin(struct name_sort *s)
{
    s->phase = NAME_SORT_MEASURE;
    s->shared = UINT32_MAX;
    s->at = s->group.begin;
}

static void load_begin(struct name_sort *s)
{
    s->phase = NAME_SORT_LOAD;
    s->all_equal = true;
    s->at = s->group.begin;
}

/* Finds what the names of the group share; returns what it cost. */
static int64_t measure(struct name_sort *s, int64_t budget)
{
    struct bytes first = name_past(s, s->group.begin, s->group.depth);
    int64_t cost = 0;

    while (s->at < s->group.end && s->shared > 0 && cost < budget) {
        s->shared = common_prefix(first, name_past(s, s->at, s->group.depth),
                                  s->shared);
        cost += NAME_COST + s->shared / NAME_BYTES_PER_COST;
        s->at++;
    }
    if (s->at == s->group.end || s->shared == 0) {
        s->group.depth += s->shared;
        load_begin(s);
    }
    return cost;
}

/* ---- small groups ------------------------------------------------------ */

static bool record_less(const struct name_sort *s, const struct name_record *a,
                        const struct name_record *b)
{
    uint32_t past = s->group.depth + KEY_BYTES;
    struct bytes x, y;

    if (LIKELY(!key_equal(a, b) || !key_goes_on(a))) {
        return key_less(a, b);
    }
    x = name_view_get(s->view, a->slot);
    y = name_view_get(s->view, b->slot);
    return bytes_compare(bytes_of(x.data + past, x.len - past),
                         bytes_of(y.data + past, y.len - past)) < 0;
}

static void sort_by_insertion(struct name_sort *s)
{
    struct name_record *r = s->records;
    uint32_t i, j;

    for (i = s->group.begin + 1; i < s->group.end; i++) {
        struct name_record moving = r[i];

        for (j = i; j > s->group.begin && record_less(s, &moving, &r[j - 1]);
             j--) {
            r[j] = r[j - 1];
        }
        r[j] = moving;
    }
}

/* ---- dividing ---------------------------------------------------------- */

static const struct name_record *median(const struct name_record *a,
                                        const struct name_record *b,
                                        const struct name_record *c)
{
    if (key_less(b, a)) {
        const struct name_record *swap = a;

        a = b;
        b = swap;
    }
    if (key_less(c, b)) {
        b = key_less(c, a) ? a : c;
    }
    return b;
}

static const struct name_record *random_record(struct name_sort *s)
{
    uint32_t n = s->group.end - s->group.begin;

    return &s->records[s->group.begin + rng_below(&s->rng, n)];
}

static const struct name_record *median_of_random(struct name_sort *s)
{
    const struct name_record *a = random_record(s);
    const struct name_record *b = random_record(s);

    return median(a, b, random_record(s));
}

static void divide_begin(struct name_sort *s)
{
    const struct name_record *pivot = median_of_random(s);

    if (s->group.end - s->group.begin >= NINTHER_AT) {
        const struct name_record *second = median_of_random(s);

        pivot = median(pivot, second, median_of_random(s));
    }
    s->pivot = *pivot;
    s->phase = NAME_SORT_DIVIDE;
    s->at = s->less = s->group.begin;
}

static void push(struct name_sort *s, struct name_group g)
{
    if (g.end - g.begin > 1) {
        ASSERT(s->n_stack < NAME_SORT_STACK);
        s->stack[s->n_stack++] = g;
    }
}

/* Puts the larger group first. */
static void larger_first(struct name_group *a, struct name_group *b)
{
    if (a->end - a->begin < b->end - b->begin) {
        struct name_group swap = *a;

        *a = *b;
        *b = swap;
    }
}

/* The smallest part is taken first: that bounds the stack. */
static void divide_end(struct name_sort *s)
{
    const struct name_group *g = &s->group;
    struct name_group parts[3] = {
        {g->begin, s->less, g->depth, true},
        {s->less, s->greater, g->depth + KEY_BYTES, false},
        {s->greater, g->end, g->depth, true},
    };

    larger_first(&parts[0], &parts[1]);
    larger_first(&parts[1], &parts[2]);
    larger_first(&parts[0], &parts[1]);
    push(s, parts[0]);
    push(s, parts[1]);
    push(s, parts[2]);
    s->phase = NAME_SORT_NEXT;
}

/* Brings the records less than the pivot to the front, without a branch: which
 * ones they are cannot be predicted. */
static int64_t divide(struct name_sort *s, int64_t budget)
{
    struct name_record *r = s->records;
    struct name_record pivot = s->pivot;
    uint32_t at = s->at, less = s->less;
    uint32_t end =
        s->group.end - at < budget ? s->group.end : at + (uint32_t)budget;

    for (; at < end; at++) {
        struct name_record moving = r[at];
        bool high_equal = moving.key_high == pivot.key_high;

        r[at] = r[less];
        r[less] = moving;
        less += (moving.key_high < pivot.key_high) |
                (high_equal & (moving.key_low < pivot.key_low));
    }
    budget = at - s->at;
    s->at = at;
    s->less = less;
    if (at == s->group.end) {
        s->phase = NAME_SORT_GATHER;
        s->at = s->greater = less;
    }
    return budget + 1;
}

/* Brings the records equal to the pivot before the greater ones. Mostly it is
 * the pivot alone. */
static int64_t gather(struct name_sort *s, int64_t budget)
{
    struct name_record *r = s->records;
    struct name_record pivot = s->pivot;
    uint32_t at = s->at, greater = s->greater;
    uint32_t end =
        s->group.end - at < budget ? s->group.end : at + (uint32_t)budget;

    for (; at < end; at++) {
        if (UNLIKELY(key_equal(&r[at], &pivot))) {
            struct name_record moving = r[at];

            r[at] = r[greater];
            r[greater++] = moving;
        }
    }
    budget = at - s->at;
    s->at = at;
    s->greater = greater;
    if (at == s->group.end) {
        divide_end(s);
    }
    return budget / 2 + 1;
}

/* ---- the steps --------------------------------------------------------- */

/* A group whose keys are loaded. */
static int64_t work_on_keyed(struct name_sort *s)
{
    uint32_t n = s->group.end - s->group.begin;

    if (n <= SMALL_GROUP) {
        sort_by_insertion(s);
        s->phase = NAME_SORT_NEXT;
        return n * (n / 4 + 1);
    }
    divide_begin(s);
    return NAME_COST;
}

static int64_t load(struct name_sort *s, int64_t budget)
{
    const struct name_record *first = &s->records[s->group.begin];
    int64_t cost = 0;

    while (s->at < s->group.end && cost < budget) {
        struct name_record *r = &s->records[s->at++];

        load_key(r, name_view_get(s->view, r->slot), s->group.depth);
        s->all_equal &= key_equal(r, first);
        cost += NAME_COST;
    }
    if (s->at < s->group.end) {
        return cost;
    }
    if (s->all_equal && s->group.end - s->group.begin > 1) {
        s->group.depth += KEY_BYTES;
        measure_begin(s);
        return cost;
    }
    return cost + work_on_keyed(s);
}

static int64_t next_group(struct name_sort *s)
{
    s->group = s->stack[--s->n_stack];
    if (s->group.keyed) {
        return work_on_keyed(s);
    }
    /* At the root names are read in the order of memory, and what they share
     * is worth knowing before any key is loaded. */
    if (s->group.depth == 0) {
        measure_begin(s);
    } else {
        load_begin(s);
    }
    return 1;
}

bool name_sort_step(struct name_sort *s, uint32_t budget)
{
    int64_t left = budget;

    while (left > 0) {
        switch (s->phase) {
        case NAME_SORT_NEXT:
            if (s->n_stack == 0) {
                return false;
            }
            left -= next_group(s);
            break;
        case NAME_SORT_MEASURE:
            left -= measure(s, left);
            break;
        case NAME_SORT_LOAD:
            left -= load(s, left);
            break;
        case NAME_SORT_DIVIDE:
            left -= divide(s, left);
            break;
        case NAME_SORT_GATHER:
            left -= gather(s, left);
            break;
        }
    }
    return s->phase != NAME_SORT_NEXT || s->n_stack > 0;
}
