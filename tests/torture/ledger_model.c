/* What an operation does to a key: see ledger.h. */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t ledger_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint32_t ledger_n_keys(const struct options *opt)
{
    return N_STRINGS + opt->n_sets;
}

/* ---- names and values -------------------------------------------------- */

/* Keys 2i and 2i+1 of the sets are alike, so that one can become the other. */
uint32_t model_dim(const struct client *c, uint32_t key)
{
    static const uint32_t dims[] = {16, 24, 9, 33};

    return dims[((key - N_STRINGS) / 2 + c->id) % 4];
}

enum precision model_precision(const struct client *c, uint32_t key)
{
    if (c->opt->precision < N_PRECISIONS) {
        return (enum precision)c->opt->precision;
    }
    return (enum precision)(((key - N_STRINGS) / 2 + c->id / 2) % N_PRECISIONS);
}

void model_key_name(const struct client *c, uint32_t key, char out[48])
{
    snprintf(out, 48, "%s:%u:%u", key < N_STRINGS ? "str" : "set", c->id, key);
}

void model_element_name(uint32_t el, char out[32])
{
    /* Names of several lengths, one in 16 longer than a short name. */
    snprintf(out, 32, el % 16 == 5 ? "element-%u-of-some-length" : "e%u", el);
}

static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

void model_vector(const struct client *c, uint32_t el, uint32_t version,
                  uint32_t dim, float *out)
{
    uint64_t x =
        mix(c->opt->seed ^ (uint64_t)version << 32 ^ (uint64_t)el << 8 ^ c->id);
    uint32_t i;

    for (i = 0; i < dim; i++) {
        x = mix(x);
        out[i] = (float)(x >> 40) / (float)(1 << 23) - 1.0F;
    }
}

int model_attribute(uint32_t version, char out[64])
{
    return snprintf(out, 64, "{\"v\":%u,\"even\":%s}", version,
                    version % 2 ? "false" : "true");
}

int model_value(uint32_t version, char out[64])
{
    /* One in four looks like a number, which files keep in another form. */
    return snprintf(out, 64, version % 4 ? "value-%u-%u" : "%u%u", version,
                    version % 997);
}

/* ---- states ------------------------------------------------------------ */

void model_init(struct client *c)
{
    uint32_t i;

    for (i = N_STRINGS; i < ledger_n_keys(c->opt); i++) {
        c->keys[i].el = calloc(c->opt->n_elements, sizeof(struct element));
    }
}

void model_copy(struct client *to, const struct client *from)
{
    size_t bytes = from->opt->n_elements * sizeof(struct element);
    uint32_t i;

    memcpy(to->keys, from->keys, sizeof(to->keys));
    model_init(to);
    for (i = N_STRINGS; i < ledger_n_keys(from->opt); i++) {
        memcpy(to->keys[i].el, from->keys[i].el, bytes);
    }
}

static void key_clear(const struct client *c, struct key_state *k)
{
    struct element *el = k->el;

    memset(k, 0, sizeof(*k));
    k->el = el;
    if (el) {
        memset(el, 0, c->opt->n_elements * sizeof(*el));
    }
}

void model_clear(struct client *c)
{
    uint32_t i;

    for (i = 0; i < ledger_n_keys(c->opt); i++) {
        key_clear(c, &c->keys[i]);
    }
}

uint32_t model_steps(const struct op *op)
{
    return (op->kind == OP_VMADD || op->kind == OP_VMREM) && !op->in_group
               ? op->count
               : 1;
}

static void element_add(struct key_state *k, uint32_t el, const struct op *op)
{
    k->kind = KEY_SET;
    k->card += !k->el[el].present;
    k->el[el].present = true;
    k->el[el].version = op->version;
    if (op->attr) {
        k->el[el].attr = op->version;
    }
}

static void element_remove(const struct client *c, struct key_state *k,
                           uint32_t el)
{
    if (k->kind != KEY_SET || !k->el[el].present) {
        return;
    }
    memset(&k->el[el], 0, sizeof(k->el[el]));
    if (--k->card == 0 && !k->stays) {
        key_clear(c, k);
    }
}

static void string_set(const struct client *c, struct key_state *k,
                       const char *value, int len)
{
    key_clear(c, k);
    k->kind = KEY_STRING;
    memcpy(k->value, value, (size_t)len);
    k->value_len = (uint32_t)len;
}

static void string_append(struct key_state *k, const char *value, int len)
{
    k->kind = KEY_STRING;
    if (k->value_len + (uint32_t)len <= sizeof(k->value)) {
        memcpy(k->value + k->value_len, value, (size_t)len);
        k->value_len += (uint32_t)len;
    }
}

static void string_increment(const struct client *c, struct key_state *k)
{
    char text[32];
    uint64_t from = k->expires_from, to = k->expires_to;
    long long n = 0;

    if (k->kind == KEY_STRING) {
        snprintf(text, sizeof(text), "%.*s", (int)k->value_len, k->value);
        n = atoll(text);
    }
    string_set(c, k, text, snprintf(text, sizeof(text), "%lld", n + 1));
    k->expires_from = from;
    k->expires_to = to;
}

static void key_rename(struct client *c, struct key_state *from,
                       struct key_state *to)
{
    struct element *el = to->el;

    if (from->kind == KEY_NONE) {
        return;
    }
    key_clear(c, to);
    *to = *from;
    from->el = el;
    key_clear(c, from);
}

/* When what lasts for `ttl` ends. */
static void key_expires(struct key_state *k, const struct op *op,
                        uint64_t unknown_until_ms)
{
    uint64_t ack = op->ack_ns ? op->ack_ns / 1000000 + 1 : unknown_until_ms;

    k->expires_from = op->sent_ns / 1000000 + op->ttl_ms;
    k->expires_to = ack + op->ttl_ms;
}

static void bulk(struct client *c, const struct op *op, struct key_state *k,
                 uint32_t i)
{
    uint32_t el = (op->el + i) % c->opt->n_elements;

    if (op->kind == OP_VMADD) {
        element_add(k, el, op);
    } else {
        element_remove(c, k, el);
    }
}

struct touched model_step(struct client *c, const struct op *op, uint32_t step,
                          uint64_t unknown_until_ms)
{
    struct key_state *k = &c->keys[op->key];
    struct touched touched = {op->key, UINT32_MAX, UINT32_MAX};
    char text[64];
    uint32_t i;

    switch ((enum op_kind)op->kind) {
    case OP_VADD:
        element_add(k, op->el, op);
        touched.el = op->el;
        break;
    case OP_VREM:
        element_remove(c, k, op->el);
        /* The last one takes the key along. */
        touched.el = k->kind == KEY_NONE ? UINT32_MAX : op->el;
        break;
    case OP_VSETATTR:
        if (k->kind == KEY_SET && k->el[op->el].present) {
            k->el[op->el].attr = op->version;
        }
        touched.el = op->el;
        break;
    case OP_VMADD:
    case OP_VMREM:
        if (op->in_group) {
            for (i = 0; i < op->count; i++) {
                bulk(c, op, k, i);
            }
        } else {
            bulk(c, op, k, step);
            touched.el = k->kind == KEY_NONE
                             ? UINT32_MAX
                             : (op->el + step) % c->opt->n_elements;
        }
        break;
    case OP_VCREATE:
        if (k->kind == KEY_NONE) {
            k->kind = KEY_SET;
            k->stays = true;
        }
        break;
    case OP_VTRAIN:
        break;
    case OP_SET:
    case OP_SET_PX:
        string_set(c, k, text, model_value(op->version, text));
        if (op->kind == OP_SET_PX) {
            key_expires(k, op, unknown_until_ms);
        }
        break;
    case OP_APPEND:
        string_append(k, text, model_value(op->version, text));
        break;
    case OP_INCR:
        string_increment(c, k);
        break;
    case OP_DEL:
        key_clear(c, k);
        break;
    case OP_RENAME:
        key_rename(c, k, &c->keys[op->key2]);
        touched.key2 = op->key2;
        break;
    case OP_EXPIRE:
        if (k->kind != KEY_NONE) {
            key_expires(k, op, unknown_until_ms);
        }
        break;
    case OP_PERSIST:
        k->expires_from = k->expires_to = 0;
        break;
    case N_OP_KINDS:
        break;
    }
    return touched;
}
