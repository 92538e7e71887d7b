/* What filters said: see filter_memo.h. */
#include "db/search/filter_memo.h"

#include <string.h>

#include "base/mem.h"
#include "db/vset/vset_impl.h"

enum {
    MEMOS_MAX = 4,     /* of a set: a byte per slot in all */
    SLOTS_MIN = 1024,  /* of a set that has any */
    TEXT_MAX = 4096,   /* of an expression that is remembered */
    CHANGED_SHARE = 8, /* one slot in so many that must be asked is enough */
};

static void note_bits(struct filter_memo *m, slot_id slot, uint64_t bits)
{
    atomic_fetch_or_explicit(&m->verdicts.words[slot / VERDICTS_PER_WORD],
                             bits << (slot % VERDICTS_PER_WORD),
                             memory_order_relaxed);
}

#define BIT_FAILS  ((uint64_t)1)
#define BIT_PASSES ((uint64_t)1 << 32)

void filter_memo_note(struct filter_memo *m, slot_id slot, bool passes)
{
    if (slot >= m->verdicts.cap) {
        return;
    }
    note_bits(m, slot, passes ? BIT_PASSES : BIT_FAILS);
    atomic_fetch_add_explicit(&m->n_known, 1, memory_order_relaxed);
    if (passes) {
        atomic_fetch_add_explicit(&m->n_passing, 1, memory_order_relaxed);
    }
}

/* ---- the set's list ------------------------------------------------------ */

void filter_memo_release(struct filter_memo *m)
{
    if (m && --m->refs == 0) {
        mem_free(m);
    }
}

static struct filter_memo *memo_create(const struct vset *v, struct bytes text)
{
    slot_id n_slots = v->elements.slots.n_slots;
    slot_id cap =
        (n_slots + n_slots / 4) / VERDICTS_PER_WORD * VERDICTS_PER_WORD +
        VERDICTS_PER_WORD;
    size_t words_bytes = cap / VERDICTS_PER_WORD * sizeof(uint64_t);
    size_t words_at = (sizeof(struct filter_memo) + text.len + 7) / 8 * 8;
    struct filter_memo *m = NULL;

    if (mem_has_room(words_at + words_bytes)) {
        m = mem_try_alloc(words_at + words_bytes);
    }
    if (m) {
        memset(m, 0, words_at + words_bytes);
        m->refs = 1;
        m->verdicts.cap = cap;
        m->verdicts.words = (void *)((char *)m + words_at);
        m->text_len = text.len;
        memcpy(m->text, text.data, text.len);
    }
    return m;
}

static void take_over(struct filter_memo *m, const struct filter_memo *old)
{
    size_t i;

    for (i = 0; i < old->verdicts.cap / VERDICTS_PER_WORD; i++) {
        atomic_init(&m->verdicts.words[i],
                    atomic_load_explicit(&old->verdicts.words[i],
                                         memory_order_relaxed));
    }
    atomic_init(&m->n_known, atomic_load(&old->n_known));
    atomic_init(&m->n_passing, atomic_load(&old->n_passing));
    m->uses = old->uses;
    m->asked_to = old->asked_to;
    m->n_changed = old->n_changed;
}

/* Takes the memo of an expression out of the list, or the last when there are
 * enough of others. */
static struct filter_memo *unlist(struct vset *v, struct bytes text)
{
    struct filter_memo **at = &v->memos;
    int n = 1;

    while (*at) {
        struct filter_memo *m = *at;

        if (m->text_len == text.len &&
            memcmp(m->text, text.data, text.len) == 0) {
            *at = m->next;
            return m;
        }
        if (n++ == MEMOS_MAX) {
            *at = m->next;
            filter_memo_release(m);
            return NULL;
        }
        at = &m->next;
    }
    return NULL;
}

struct filter_memo *filter_memo_take(struct vset *v, struct bytes text)
{
    slot_id n_slots = v->elements.slots.n_slots;
    struct filter_memo *m, *old;

    if (n_slots < SLOTS_MIN || text.len > TEXT_MAX || !text.data) {
        return NULL;
    }
    m = unlist(v, text);
    if (m && m->n_changed > m->verdicts.cap / CHANGED_SHARE) {
        filter_memo_release(m);
        m = NULL;
    }
    if (!m || m->verdicts.cap < n_slots) {
        old = m;
        m = memo_create(v, text);
        if (m && old) {
            take_over(m, old);
        }
        filter_memo_release(old);
        if (!m) {
            return NULL;
        }
    }
    m->next = v->memos;
    v->memos = m;
    m->uses++;
    m->refs++;
    return m;
}

void filter_memos_free(struct vset *v)
{
    while (v->memos) {
        struct filter_memo *m = v->memos;

        v->memos = m->next;
        filter_memo_release(m);
    }
}

/* ---- changes ------------------------------------------------------------- */

void filter_memos_note_change(struct vset *v, slot_id slot)
{
    struct filter_memo *m;

    for (m = v->memos; m; m = m->next) {
        if (slot < m->verdicts.cap &&
            verdict_of(&m->verdicts, slot) != VERDICT_ASK) {
            note_bits(m, slot, BIT_FAILS | BIT_PASSES); /* M1 */
            m->n_changed++;
        }
    }
}

void filter_memos_note_slot(struct vset *v, slot_id slot)
{
    struct filter_memo *m;

    for (m = v->memos; m; m = m->next) {
        if (slot < m->verdicts.cap &&
            verdict_of(&m->verdicts, slot) != VERDICT_UNKNOWN) {
            atomic_fetch_and_explicit(
                &m->verdicts.words[slot / VERDICTS_PER_WORD],
                ~((BIT_FAILS | BIT_PASSES) << (slot % VERDICTS_PER_WORD)),
                memory_order_relaxed); /* M2 */
        }
    }
}

void filter_memos_note_move(struct vset *v, slot_id from, slot_id to)
{
    struct filter_memo *m;

    filter_memos_note_slot(v, to);
    for (m = v->memos; m; m = m->next) {
        if (from < m->verdicts.cap && to < m->verdicts.cap) {
            uint64_t word = atomic_load_explicit(
                &m->verdicts.words[from / VERDICTS_PER_WORD],
                memory_order_relaxed);

            note_bits(m, to,
                      word >> (from % VERDICTS_PER_WORD) &
                          (BIT_FAILS | BIT_PASSES));
        }
    }
}
