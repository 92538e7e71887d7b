#include "cmd/slowlog.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { RING_MIN = 16 };

/* Appends one argument to a preview, cut to fit; false when there is no room
 * left at all. */
static bool preview_add(struct slowlog_preview *p, size_t *used, const void *s,
                        size_t n)
{
    size_t left = sizeof(p->bytes) - *used;

    if (left == 0 && n > 0) {
        return false;
    }
    n = n < left ? n : left;
    if (n) {
        memcpy(p->bytes + *used, s, n);
    }
    p->len[p->n++] = (uint16_t)n;
    *used += n;
    return true;
}

void slowlog_preview_make(struct slowlog_preview *p, const struct bytes *argv,
                          size_t argc, uint32_t hidden, uint64_t client_id)
{
    size_t shown = argc <= SLOWLOG_ARGS_MAX ? argc : SLOWLOG_ARGS_MAX - 1;
    size_t used = 0;
    size_t i;

    p->n = 0;
    p->client_id = client_id;
    for (i = 0; i < shown; i++) {
        char cut[SLOWLOG_ARG_MAX + 32];
        size_t n = argv[i].len;
        const void *s = argv[i].data;

        if (hidden & slowlog_hidden_bit(i)) {
            s = SLOWLOG_HIDDEN;
            n = sizeof(SLOWLOG_HIDDEN) - 1;
        }
        if (n > SLOWLOG_ARG_MAX) {
            memcpy(cut, s, SLOWLOG_ARG_MAX);
            n = SLOWLOG_ARG_MAX + (size_t)snprintf(cut + SLOWLOG_ARG_MAX, 32,
                                                   "... (%zu more bytes)",
                                                   n - SLOWLOG_ARG_MAX);
            s = cut;
        }
        if (!preview_add(p, &used, s, n)) {
            return;
        }
    }
    if (shown < argc) {
        char more[64];

        preview_add(p, &used, more,
                    (size_t)snprintf(more, sizeof(more),
                                     "... (%zu more arguments)", argc - shown));
    }
}

static void entry_free(struct slowlog_entry *e)
{
    mem_free(e->text);
    mem_free(e->client_name);
}

static void drop_oldest(struct slowlog *s)
{
    entry_free(&s->ring[s->first]);
    s->first = (s->first + 1) % s->cap;
    s->len--;
}

void slowlog_clear(struct slowlog *s)
{
    while (s->len > 0) {
        drop_oldest(s);
    }
}

void slowlog_deinit(struct slowlog *s)
{
    slowlog_clear(s);
    mem_free(s->ring);
    s->ring = NULL;
    s->cap = 0;
}

static void resize(struct slowlog *s, size_t cap)
{
    struct slowlog_entry *ring = mem_calloc(cap, sizeof(*ring));
    size_t i;

    for (i = 0; i < s->len; i++) {
        ring[i] = s->ring[(s->first + i) % s->cap];
    }
    mem_free(s->ring);
    s->ring = ring;
    s->cap = cap;
    s->first = 0;
}

/* Room for one more. The ring grows with what is in it and not to the limit at
 * once, which may be any number. */
static void make_room(struct slowlog *s, size_t max_len)
{
    while (s->len >= max_len) {
        drop_oldest(s);
    }
    if (s->len == s->cap) {
        resize(s, s->cap ? 2 * s->cap : RING_MIN);
    } else if (s->cap > RING_MIN && s->cap / 4 > s->len) {
        resize(s, s->cap / 2);
    }
}

void slowlog_add(struct slowlog *s, const struct slowlog_preview *p,
                 const char *addr, const char *client_name, int64_t at_s,
                 time_us took_us, size_t max_len)
{
    struct slowlog_entry *e;
    size_t at = 0;
    size_t i;

    if (max_len == 0) {
        slowlog_clear(s);
        return;
    }
    make_room(s, max_len);
    e = &s->ring[(s->first + s->len++) % s->cap];
    *e = (struct slowlog_entry){
        .id = s->next_id++, .at_s = at_s, .took_us = took_us, .argc = p->n};
    e->text = mem_strndup(p->bytes, sizeof(p->bytes));
    for (i = 0; i < p->n; i++) {
        e->argv[i] = bytes_of(e->text + at, p->len[i]);
        at += p->len[i];
    }
    snprintf(e->addr, sizeof(e->addr), "%s", addr);
    e->client_name = mem_strndup(client_name ? client_name : "",
                                 client_name ? strlen(client_name) : 0);
}

const struct slowlog_entry *slowlog_get(const struct slowlog *s, size_t i)
{
    return &s->ring[(s->first + s->len - 1 - i) % s->cap];
}
