/* See value_digest.h. */
#include "db/value_digest.h"

#include "base/num.h"
#include "db/string_value.h"
#include "db/vset/vset_impl.h"

/* The numbers Redis gives to the types. */
enum { TYPE_STRING = 0, TYPE_MODULE = 5 };

void value_digest_clear(struct value_digest *d)
{
    memset(d->bytes, 0, sizeof(d->bytes));
}

bool value_digest_is_clear(const struct value_digest *d)
{
    static const struct value_digest zero;

    return memcmp(d->bytes, zero.bytes, sizeof(d->bytes)) == 0;
}

void value_digest_xor(struct value_digest *d, struct bytes b)
{
    uint8_t sha1[DIGEST_SHA1];
    int i;

    digest_sha1(b, sha1);
    for (i = 0; i < DIGEST_SHA1; i++) {
        d->bytes[i] ^= sha1[i];
    }
}

void value_digest_mix(struct value_digest *d, struct bytes b)
{
    struct value_digest before;

    value_digest_xor(d, b);
    before = *d;
    digest_sha1(bytes_of(before.bytes, sizeof(before.bytes)), d->bytes);
}

void value_digest_mix_u32(struct value_digest *d, uint32_t n)
{
    uint8_t b[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                    (uint8_t)n};

    value_digest_mix(d, bytes_of(b, sizeof(b)));
}

static void mix_number(struct value_digest *d, uint32_t n)
{
    char text[NUM_TEXT_MAX];

    value_digest_mix(d, bytes_of(text, num_format_u64(n, text)));
}

static void xor_digest(struct value_digest *d, const struct value_digest *of)
{
    value_digest_xor(d, bytes_of(of->bytes, sizeof(of->bytes)));
}

static void end(struct value_digest *d, bool has_expiry)
{
    if (has_expiry) {
        value_digest_xor(d, bytes_str("!!expire!!"));
    }
}

/* ---- sets -------------------------------------------------------------- */

static struct bytes attribute_seen(const struct value_digest_walk *w,
                                   slot_id slot)
{
    const struct attribute *a =
        attribute_at(elements_attr(&w->set->elements, slot), w->view.seq);

    return a ? attribute_text(a) : BYTES_NONE;
}

static void add_element(struct value_digest_walk *w, slot_id slot)
{
    const struct vset *v = w->set;
    struct bytes attribute = attribute_seen(w, slot);
    struct value_digest d;

    value_digest_clear(&d);
    value_digest_mix(&d, bytes_of(vset_row(v, slot), v->format.code_bytes));
    value_digest_mix(&d, vset_name(v, slot));
    if (attribute.len) {
        value_digest_mix(&d, attribute);
    }
    xor_digest(&w->sum, &d);
}

static void begin_set(struct value_digest_walk *w, struct keyspace *ks,
                      const struct vset *v)
{
    struct value_digest shape;

    w->set = v;
    w->epoch = ks->epoch;
    w->ticket = epoch_enter(ks->epoch);
    slots_view_take(&v->elements.slots, &w->view);
    w->at = 0;
    value_digest_clear(&shape);
    mix_number(&shape, vset_count(v));
    mix_number(&shape, v->options.dim);
    value_digest_clear(&w->sum);
    xor_digest(&w->sum, &shape);
}

void value_digest_begin(struct value_digest_walk *w, struct keyspace *ks,
                        const struct entry *e, struct value_digest *d)
{
    char text[NUM_TEXT_MAX];

    w->digest = d;
    w->set = NULL;
    w->has_expiry = e->expires_at != NO_EXPIRY;
    if (e->type == VALUE_VSET) {
        value_digest_mix_u32(d, TYPE_MODULE);
        begin_set(w, ks, e->value.vset);
        return;
    }
    value_digest_mix_u32(d, TYPE_STRING);
    value_digest_mix(d, string_get(e, text));
    end(d, w->has_expiry);
}

bool value_digest_step(struct value_digest_walk *w, uint32_t want)
{
    if (!w->set) {
        return true;
    }
    for (; want > 0 && w->at < w->view.n_slots; want--, w->at++) {
        if (slots_view_sees(&w->view, w->at)) {
            add_element(w, w->at);
        }
    }
    if (w->at < w->view.n_slots) {
        return false;
    }
    xor_digest(w->digest, &w->sum);
    end(w->digest, w->has_expiry);
    value_digest_cancel(w);
    return true;
}

void value_digest_cancel(struct value_digest_walk *w)
{
    if (w->set) {
        w->set = NULL;
        epoch_leave(w->epoch, w->ticket);
    }
}
