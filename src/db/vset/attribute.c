/* Attributes: see attribute.h. What only an attribute set during a search
 * needs, its older one, stands in front of it and only then. */
#include "db/vset/attribute.h"

#include "filter/filter.h"

#define VERSIONED 0x80000000u

struct version {
    write_seq born;
    const struct attribute *older;
};

struct attribute {
    uint32_t text_len;
    uint32_t row_len; /* the top bit says that a version stands in front */
    uint8_t bytes[];  /* text, row */
};

static size_t block_bytes(const struct attribute *a)
{
    size_t row = a->row_len & ~VERSIONED;

    return sizeof(*a) + a->text_len + row +
           (a->row_len & VERSIONED ? sizeof(struct version) : 0);
}

static struct version *version_of(const struct attribute *a)
{
    if (!(a->row_len & VERSIONED)) {
        return NULL;
    }
    return (struct version *)(void *)((uintptr_t)a - sizeof(struct version));
}

struct attribute *attribute_create(struct region *region, struct bytes json,
                                   const struct attribute *older,
                                   write_seq born, struct buf *work)
{
    size_t front = older || born ? sizeof(struct version) : 0;
    struct attribute *a;
    uint8_t *block;

    work->len = 0;
    if (json.len) {
        filter_row_build(json, work);
    }
    ASSERT(json.len < VERSIONED && work->len < VERSIONED);
    block = region_alloc(region, front + sizeof(*a) + json.len + work->len, 1);
    if (!block) {
        return NULL;
    }
    a = (struct attribute *)(void *)(block + front);
    a->text_len = (uint32_t)json.len;
    a->row_len = (uint32_t)work->len | (front ? VERSIONED : 0);
    if (json.len) {
        memcpy(a->bytes, json.data, json.len);
    }
    if (work->len) {
        memcpy(a->bytes + json.len, work->data, work->len);
    }
    if (front) {
        *version_of(a) = (struct version){born, older};
    }
    return a;
}

void attribute_free(struct region *region, struct attribute *a)
{
    struct version *v = version_of(a);

    region_free(region, v ? (void *)v : (void *)a, block_bytes(a), 1);
}

size_t attribute_cost(struct bytes json)
{
    return json.len ? sizeof(struct attribute) + 2 * json.len : 0;
}

const struct attribute *attribute_at(const struct attribute *a, write_seq seq)
{
    while (a) {
        const struct version *v = version_of(a);

        if (!v || v->born <= seq) {
            break;
        }
        a = v->older;
    }
    return a && a->text_len ? a : NULL;
}

struct bytes attribute_text(const struct attribute *a)
{
    return bytes_of(a->bytes, a->text_len);
}

struct bytes attribute_row(const struct attribute *a)
{
    return bytes_of(a->bytes + a->text_len, a->row_len & ~VERSIONED);
}
