/* A server's content is fetched and compared: see ledger.h. */
#include "ledger.h"

#include <hiredis/hiredis.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 256,
    SLACK_MS = 20, /* between two readings of two clocks */
    STRANGE = 0x7FFFFFFF
};

/* ---- what the server holds --------------------------------------------- */

struct seen_element {
    bool present;
    uint32_t attr; /* version, 0: none, STRANGE: none of ours */
    float v[MAX_DIM];
};

struct seen_key {
    enum key_kind kind;
    char *value;
    size_t value_len;
    long long pttl;
    uint64_t from_ms, to_ms; /* when it was looked at */
    uint64_t card;
    struct seen_element *el;
};

struct sight {
    struct seen_key keys[MAX_KEYS];
    bool key_wrong[MAX_KEYS];
    bool *el_wrong[MAX_KEYS];
    size_t n_wrong;
};

static bool bad(struct verdict *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool bad(struct verdict *out, const char *format, ...)
{
    va_list ap;

    if (out->ok) {
        va_start(ap, format);
        vsnprintf(out->words, sizeof(out->words), format, ap);
        va_end(ap);
    }
    out->ok = false;
    return false;
}

static redisReply *next_reply(redisContext *r)
{
    redisReply *reply = NULL;

    return redisGetReply(r, (void **)&reply) == REDIS_OK ? reply : NULL;
}

static uint32_t attribute_version(const redisReply *reply)
{
    char text[64];
    unsigned version = 0;

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0) {
        return reply->type == REDIS_REPLY_NIL || reply->len == 0 ? 0 : STRANGE;
    }
    if (sscanf(reply->str, "{\"v\":%u,", &version) != 1) {
        return STRANGE;
    }
    model_attribute(version, text);
    return strcmp(text, reply->str) == 0 ? version : STRANGE;
}

static bool fetch_elements(struct client *c, redisContext *r, uint32_t key,
                           struct seen_key *s, struct verdict *out)
{
    uint32_t n = c->opt->n_elements, dim = model_dim(c, key), at, i, j;
    char name[48], el[32];

    model_key_name(c, key, name);
    for (at = 0; at < n; at += CHUNK) {
        uint32_t stop = n - at < CHUNK ? n : at + CHUNK;

        for (i = at; i < stop; i++) {
            model_element_name(i, el);
            redisAppendCommand(r, "VEMB %s %s", name, el);
            redisAppendCommand(r, "VGETATTR %s %s", name, el);
        }
        for (i = at; i < stop; i++) {
            redisReply *v = next_reply(r), *a = v ? next_reply(r) : NULL;

            if (!a) {
                return bad(out, "the connection broke while %s was read", name);
            }
            if (v->type == REDIS_REPLY_ARRAY && v->elements == dim) {
                s->el[i].present = true;
                for (j = 0; j < dim; j++) {
                    s->el[i].v[j] = strtof(v->element[j]->str, NULL);
                }
                s->el[i].attr = attribute_version(a);
            } else if (v->type != REDIS_REPLY_NIL) {
                bad(out, "VEMB %s %u: %s, %zu values", name, i,
                    v->str ? v->str : "an array", v->elements);
            }
            freeReplyObject(v);
            freeReplyObject(a);
        }
    }
    return out->ok;
}

static bool fetch_key(struct client *c, redisContext *r, uint32_t key,
                      struct seen_key *s, struct verdict *out)
{
    char name[48];
    redisReply *type, *pttl, *more;

    model_key_name(c, key, name);
    s->from_ms = ledger_now_ns() / 1000000;
    redisAppendCommand(r, "TYPE %s", name);
    redisAppendCommand(r, "PTTL %s", name);
    redisAppendCommand(r, key < N_STRINGS ? "GET %s" : "VCARD %s", name);
    type = next_reply(r);
    pttl = type ? next_reply(r) : NULL;
    more = pttl ? next_reply(r) : NULL;
    s->to_ms = ledger_now_ns() / 1000000;
    if (!more) {
        return bad(out, "the connection broke: %s", r->errstr);
    }
    if (type->type == REDIS_REPLY_ERROR) {
        return bad(out, "TYPE %s: %s", name, type->str);
    }
    s->pttl = pttl->integer;
    if (more->type == REDIS_REPLY_STRING) {
        s->kind = KEY_STRING;
        s->value = malloc(more->len + 1);
        memcpy(s->value, more->str, more->len);
        s->value_len = more->len;
    } else if (more->type == REDIS_REPLY_INTEGER &&
               strcmp(type->str, "none") != 0) {
        s->kind = KEY_SET;
        s->card = (uint64_t)more->integer;
    } else if (more->type == REDIS_REPLY_ERROR) {
        bad(out, "%s: %s", name, more->str);
    }
    freeReplyObject(type);
    freeReplyObject(pttl);
    freeReplyObject(more);
    if (key >= N_STRINGS) {
        s->el = calloc(c->opt->n_elements, sizeof(*s->el));
        if (s->kind == KEY_SET) {
            return fetch_elements(c, r, key, s, out);
        }
    }
    return out->ok;
}

/* ---- comparing --------------------------------------------------------- */

static bool vector_fits(const struct client *c, uint32_t key, uint32_t el,
                        uint32_t version, const float *got)
{
    float want[MAX_DIM], largest = 0;
    uint32_t dim = model_dim(c, key), i;
    enum precision precision = model_precision(c, key);

    model_vector(c, el, version, dim, want);
    for (i = 0; i < dim; i++) {
        largest = fmaxf(largest, fabsf(want[i]));
    }
    for (i = 0; i < dim; i++) {
        float off = fabsf(want[i] - got[i]);

        if (precision == PRECISION_BIN
                ? (want[i] > 0) != (got[i] > 0) && fabsf(want[i]) > 1e-5F
                : !(off <= (precision == PRECISION_Q8 ? largest * 0.006F : 0) +
                               1e-4F)) {
            return false;
        }
    }
    return true;
}

static bool element_fits(const struct client *c, uint32_t key, uint32_t el,
                         const struct seen_element *s)
{
    const struct element *m = &c->keys[key].el[el];

    return m->present == s->present &&
           (!m->present ||
            (m->attr == s->attr && vector_fits(c, key, el, m->version, s->v)));
}

static bool key_fits(const struct key_state *m, const struct seen_key *s)
{
    if (m->expires_from && s->kind == KEY_NONE) {
        return s->to_ms + SLACK_MS >= m->expires_from;
    }
    if (m->kind != s->kind) {
        return false;
    }
    if (m->kind == KEY_NONE) {
        return true;
    }
    if (m->expires_from == 0
            ? s->pttl != -1
            : s->pttl < 0 ||
                  s->from_ms + (uint64_t)s->pttl > m->expires_to + SLACK_MS ||
                  s->to_ms + (uint64_t)s->pttl + SLACK_MS < m->expires_from) {
        return false;
    }
    return m->kind == KEY_SET
               ? m->card == s->card
               : m->value_len == s->value_len &&
                     memcmp(m->value, s->value, s->value_len) == 0;
}

static void note(size_t *n_wrong, bool *was, bool wrong)
{
    *n_wrong += (size_t)wrong - (size_t)*was;
    *was = wrong;
}

static void compare_key(const struct client *c, struct sight *sight,
                        uint32_t key, uint32_t only)
{
    uint32_t i, n = c->opt->n_elements;

    note(&sight->n_wrong, &sight->key_wrong[key],
         !key_fits(&c->keys[key], &sight->keys[key]));
    if (key < N_STRINGS) {
        return;
    }
    for (i = only == UINT32_MAX ? 0 : only;
         i < (only == UINT32_MAX ? n : only + 1); i++) {
        note(&sight->n_wrong, &sight->el_wrong[key][i],
             !element_fits(c, key, i, &sight->keys[key].el[i]));
    }
}

/* ---- words for what is wrong ------------------------------------------- */

/* Which of its vectors an element has, if any. */
static const struct op *origin(const struct client *c, uint32_t key,
                               uint32_t el, const float *v)
{
    size_t i;

    for (i = c->n_ops; i-- > 0;) {
        const struct op *op = &c->ops[i];
        bool concerns =
            op->kind == OP_VADD
                ? op->el == el
                : op->kind == OP_VMADD &&
                      (el + c->opt->n_elements - op->el) % c->opt->n_elements <
                          op->count;

        if (concerns && model_dim(c, op->key) == model_dim(c, key) &&
            vector_fits(c, key, el, op->version, v)) {
            return op;
        }
    }
    return NULL;
}

static void describe(const struct client *c, const struct sight *sight,
                     char *out, size_t cap)
{
    char name[48];
    uint32_t key, i;

    for (key = 0; key < ledger_n_keys(c->opt); key++) {
        const struct key_state *m = &c->keys[key];
        const struct seen_key *s = &sight->keys[key];

        model_key_name(c, key, name);
        if (sight->key_wrong[key]) {
            snprintf(out, cap,
                     "%s: wanted kind %d '%.*s' card %u expiry %llu..%llu, "
                     "found kind %d '%.*s' card %llu pttl %lld at %llu",
                     name, (int)m->kind, (int)m->value_len, m->value, m->card,
                     (unsigned long long)m->expires_from,
                     (unsigned long long)m->expires_to, (int)s->kind,
                     (int)s->value_len, s->value ? s->value : "",
                     (unsigned long long)s->card, s->pttl,
                     (unsigned long long)s->from_ms);
            return;
        }
        for (i = 0; key >= N_STRINGS && i < c->opt->n_elements; i++) {
            const struct op *op;

            if (!sight->el_wrong[key][i]) {
                continue;
            }
            op = s->el[i].present ? origin(c, key, i, s->el[i].v) : NULL;
            snprintf(out, cap,
                     "%s element %u: wanted %s version %u attribute %u, found "
                     "%s version %u attribute %u (first value %g)",
                     name, i, m->el[i].present ? "present" : "absent",
                     m->el[i].version, m->el[i].attr,
                     s->el[i].present ? "present" : "absent",
                     op ? op->version : 0, s->el[i].attr,
                     s->el[i].present ? (double)s->el[i].v[0] : 0.0);
            return;
        }
    }
}

/* ---- the window -------------------------------------------------------- */

struct window {
    size_t begin, end; /* operations in doubt */
    uint64_t now_ms;
};

/* Whether an operation is over: nothing may be cut off behind it otherwise. */
static bool at_boundary(const struct op *op)
{
    return !op->in_group || op->ends_group;
}

/* Walks through the states that are allowed until one fits. */
static void find_state(struct client *c, struct sight *sight,
                       const struct window *w, struct verdict *out)
{
    size_t best = sight->n_wrong, i;
    char words[400] = "";
    uint32_t step;

    describe(c, sight, words, sizeof(words));
    for (i = w->begin; sight->n_wrong > 0 && i < w->end; i++) {
        const struct op *op = &c->ops[i];

        if (op->status == OP_REFUSED) {
            continue;
        }
        for (step = 0; step < model_steps(op); step++) {
            struct touched t = model_step(c, op, step, w->now_ms);

            compare_key(c, sight, t.key, t.el);
            if (t.key2 != UINT32_MAX) {
                compare_key(c, sight, t.key2, UINT32_MAX);
            }
            if (at_boundary(op) && sight->n_wrong < best) {
                best = sight->n_wrong;
                describe(c, sight, words, sizeof(words));
            }
            if (at_boundary(op) && sight->n_wrong == 0) {
                break;
            }
        }
        /* In the middle of a transaction a fit is chance. */
        while (sight->n_wrong == 0 && !at_boundary(&c->ops[i]) &&
               i + 1 < w->end) {
            struct touched t = model_step(c, &c->ops[++i], 0, w->now_ms);

            compare_key(c, sight, t.key, UINT32_MAX);
            if (t.key2 != UINT32_MAX) {
                compare_key(c, sight, t.key2, UINT32_MAX);
            }
        }
    }
    out->in_doubt += w->end - w->begin;
    out->taken += i - w->begin;
    if (sight->n_wrong > 0) {
        bad(out, "client %u, operations %zu to %zu of %zu: %zu wrong: %s",
            c->id, w->begin, w->end, c->n_ops, best, words);
    }
}

static bool fetch(struct client *c, redisContext *r, struct sight *sight,
                  struct verdict *out)
{
    uint32_t key, n = ledger_n_keys(c->opt);
    redisReply *reply = redisCommand(r, "SELECT %u", c->id % c->opt->databases);

    if (!reply) {
        return bad(out, "no connection: %s", r->errstr);
    }
    freeReplyObject(reply);
    for (key = 0; key < n; key++) {
        if (key >= N_STRINGS) {
            sight->el_wrong[key] = calloc(c->opt->n_elements, sizeof(bool));
        }
        if (!fetch_key(c, r, key, &sight->keys[key], out)) {
            return false;
        }
        if (sight->keys[key].kind == KEY_SET) {
            char name[48];

            model_key_name(c, key, name);
            reply = redisCommand(r, "DEBUG VCHECK %s", name);
            if (!reply || reply->type == REDIS_REPLY_ERROR) {
                return bad(out, "DEBUG VCHECK %s: %s", name,
                           reply ? reply->str : r->errstr);
            }
            freeReplyObject(reply);
        }
        out->keys += sight->keys[key].kind != KEY_NONE;
        out->elements += sight->keys[key].card;
    }
    return true;
}

static void sight_free(struct sight *sight)
{
    uint32_t key;

    for (key = 0; key < MAX_KEYS; key++) {
        free(sight->keys[key].value);
        free(sight->keys[key].el);
        free(sight->el_wrong[key]);
    }
    free(sight);
}

/* Forgets what is settled. */
static void settle(struct client *c)
{
    c->n_ops = 0;
}

void check_client(struct client *c, int port, uint64_t ack_ns, uint64_t sent_ns,
                  bool adopt, struct verdict *out)
{
    struct sight *sight = calloc(1, sizeof(*sight));
    redisContext *r = redisConnect("127.0.0.1", port);
    struct window w;
    struct client copy;
    uint32_t key, step;

    if (!r || r->err) {
        bad(out, "cannot connect: %s", r ? r->errstr : "no memory");
        goto out;
    }
    if (!fetch(c, r, sight, out)) {
        goto out;
    }
    if (!adopt) { /* a copy is worked on; the history stays */
        copy = *c;
        model_copy(&copy, c);
        c = &copy;
    }
    w.now_ms = ledger_now_ns() / 1000000;
    for (w.begin = 0; w.begin < c->n_ops && c->ops[w.begin].ack_ns &&
                      c->ops[w.begin].ack_ns < ack_ns;
         w.begin++) {
        const struct op *op = &c->ops[w.begin];

        for (step = 0; op->status == OP_DONE && step < model_steps(op);
             step++) {
            (void)model_step(c, op, step, w.now_ms);
        }
    }
    for (w.end = w.begin; w.end < c->n_ops && c->ops[w.end].sent_ns &&
                          c->ops[w.end].sent_ns <= sent_ns;
         w.end++) {
    }
    for (key = 0; key < ledger_n_keys(c->opt); key++) {
        compare_key(c, sight, key, UINT32_MAX);
    }
    find_state(c, sight, &w, out);
    if (adopt) {
        settle(c);
    } else {
        for (key = N_STRINGS; key < ledger_n_keys(c->opt); key++) {
            free(copy.keys[key].el);
        }
    }

out:
    if (r) {
        redisFree(r);
    }
    sight_free(sight);
}

/* No key is there that nobody made. */
static void check_size(const struct options *opt, int port,
                       const uint64_t *n_keys, uint64_t n_volatile,
                       struct verdict *out)
{
    redisContext *r = redisConnect("127.0.0.1", port);
    uint32_t db;

    for (db = 0; r && !r->err && db < opt->databases; db++) {
        redisReply *reply = redisCommand(r, "SELECT %u", db);

        if (reply) {
            freeReplyObject(reply);
        }
        reply = redisCommand(r, "DBSIZE");
        if (!reply || reply->type != REDIS_REPLY_INTEGER) {
            bad(out, "no DBSIZE");
        } else if ((uint64_t)reply->integer > n_keys[db] ||
                   (uint64_t)reply->integer + n_volatile < n_keys[db]) {
            bad(out, "database %u has %lld keys, %llu were found", db,
                reply->integer, (unsigned long long)n_keys[db]);
        }
        if (reply) {
            freeReplyObject(reply);
        }
    }
    if (r) {
        redisFree(r);
    }
}

void check_server(struct client *clients, uint32_t n, int port, uint64_t ack_ns,
                  uint64_t sent_ns, bool adopt, struct verdict *out)
{
    uint64_t n_keys[MAX_CLIENTS] = {0};
    uint32_t i;

    *out = (struct verdict){.ok = true};
    for (i = 0; i < n && out->ok; i++) {
        uint64_t before = out->keys;

        check_client(&clients[i], port, ack_ns, sent_ns, adopt, out);
        n_keys[i % clients[i].opt->databases] += out->keys - before;
    }
    if (out->ok) {
        check_size(clients[0].opt, port, n_keys,
                   clients[0].opt->volatiles ? 2 * (uint64_t)n : 0, out);
    }
}
