/* Moving elements of a set into blocks that an index owns: see vset.h. */
#include "db/graph/graph.h"
#include "db/names/name_order.h"
#include "db/search/filter_memo.h"
#include "db/vset/vset_impl.h"

enum { GROUP = 32 /* elements whose memory is asked for together */ };

/* What the index is to know before it cannot fail any more. */
static enum err prepare(struct vset *v, const struct vset_move *m)
{
    return graph_prepare(v, m->to);
}

static enum err move(struct vset *v, const struct vset_move *m, uint64_t hash)
{
    struct bytes name = elements_name(&v->elements, m->from);
    enum err err = prepare(v, m);

    if (err) {
        return err;
    }
    err = elements_move(&v->elements, hash, m->from, m->to,
                        epoch_advance(v->keyspace->epoch));
    if (err) {
        return err;
    }
    if (UNLIKELY(v->memos)) {
        filter_memos_note_move(v, m->from, m->to);
    }
    if (UNLIKELY(v->order)) {
        name_order_note_put(v, m->from, m->to, name);
    }
    graph_note_gone(v, m->from);
    graph_note_put(v, m->to);
    return ERR_OK;
}

static void expect_row(const struct slots *s, slot_id slot, int rw)
{
    const uint8_t *row = slots_row(s, slot);
    uint32_t at;

    for (at = 0; at < s->geometry.row_bytes; at += CACHE_LINE) {
        if (rw) {
            __builtin_prefetch(row + at, 1);
        } else {
            __builtin_prefetch(row + at, 0);
        }
    }
}

/* The steps of a group of moves, each for all of them before the next. */
static void expect(const struct vset *v, const struct vset_move *moves,
                   size_t n, uint64_t *hashes)
{
    const struct elements *e = &v->elements;
    size_t i;

    for (i = 0; i < n; i++) {
        elements_expect_hash(e, moves[i].from, 0);
        expect_row(&e->slots, moves[i].from, 0);
    }
    for (i = 0; i < n; i++) {
        elements_expect_hash(e, moves[i].from, 1);
        expect_row(&e->slots, moves[i].to, 1);
    }
    for (i = 0; i < n; i++) {
        hashes[i] = elements_hash(e, moves[i].from);
        elements_expect(e, hashes[i], 0);
    }
    for (i = 0; i < n; i++) {
        elements_expect(e, hashes[i], 1);
    }
}

size_t vset_move(struct vset *v, const struct vset_move *moves, size_t n)
{
    uint64_t hashes[GROUP];
    size_t done = 0, i, group;
    enum err err = ERR_OK;

    while (done < n && !err) {
        group = n - done < GROUP ? n - done : GROUP;
        expect(v, moves + done, group, hashes);
        for (i = 0; i < group && !err; i++) {
            err = move(v, &moves[done], hashes[i]);
            done += !err;
        }
    }
    vset_note_unsettled(v);
    return done;
}
