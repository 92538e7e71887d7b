/* Operations are drawn, sent in pipelines and acknowledged: see ledger.h. */
#include "ledger.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

_Atomic bool ledger_stop;

static uint64_t draw(struct client *c, uint64_t below)
{
    c->rng ^= c->rng << 13;
    c->rng ^= c->rng >> 7;
    c->rng ^= c->rng << 17;
    return (c->rng >> 11) % below;
}

/* ---- drawing ----------------------------------------------------------- */

static struct op draw_string(struct client *c)
{
    struct op op = {0};
    uint64_t dice = draw(c, 16);

    op.key = (uint8_t)draw(c, N_STRINGS);
    op.version = ++c->version;
    switch (op.key / 2) {
    case 0:
        op.kind = dice < 10   ? OP_SET
                  : dice < 13 ? OP_DEL
                  : dice < 15 ? OP_EXPIRE
                              : OP_PERSIST;
        op.ttl_ms = 3600 * 1000 + op.version;
        break;
    case 1: /* applied twice, it shows */
        op.kind = dice < 12 ? OP_APPEND : OP_SET;
        break;
    case 2:
        op.kind = dice < 15 ? OP_INCR : OP_DEL;
        break;
    default:
        op.kind = c->opt->volatiles ? OP_SET_PX : OP_SET;
        op.ttl_ms = 200 + (uint32_t)draw(c, 3000);
        break;
    }
    return op;
}

static struct op draw_set(struct client *c)
{
    struct op op = {0};
    uint64_t dice = draw(c, 1000);

    op.key = (uint8_t)(N_STRINGS + draw(c, c->opt->n_sets));
    op.version = ++c->version;
    op.el = (uint32_t)draw(c, c->opt->n_elements);
    op.count = 1;
    if (dice < c->opt->del_share) {
        op.kind = OP_DEL;
    } else if (dice < 550) {
        op.kind = OP_VADD;
        op.attr = draw(c, 4) == 0;
    } else if (dice < 700) {
        op.kind = OP_VREM;
    } else if (dice < 850) {
        op.kind = OP_VSETATTR;
        if (draw(c, 4) == 0) {
            op.version = 0;
        }
    } else if (dice < 930) {
        op.kind = OP_VMADD;
        op.count = 1 + (uint32_t)draw(c, c->opt->bulk);
        op.attr = draw(c, 2);
    } else if (dice < 960) {
        op.kind = OP_VMREM;
        op.count = 1 + (uint32_t)draw(c, c->opt->bulk / 4 + 1);
    } else if (dice < 970) {
        op.kind = OP_VCREATE;
    } else if (dice < 975) {
        op.kind = OP_VTRAIN;
    } else if (dice < 985) {
        op.kind = OP_EXPIRE;
        op.ttl_ms = 7200 * 1000 + op.version;
    } else if (dice < 992) {
        op.kind = OP_PERSIST;
    } else {
        /* Its like, so that dimension and precision go on fitting. */
        op.kind = OP_RENAME;
        op.key2 = (uint8_t)(N_STRINGS + ((op.key - N_STRINGS) ^ 1));
        if (op.key2 >= ledger_n_keys(c->opt)) {
            op.kind = OP_PERSIST;
        }
    }
    return op;
}

static struct op draw_op(struct client *c)
{
    return c->opt->n_sets && draw(c, 4) ? draw_set(c) : draw_string(c);
}

static void op_add(struct client *c, struct op op)
{
    if (c->n_ops == c->cap_ops) {
        c->cap_ops = c->cap_ops ? 2 * c->cap_ops : 1024;
        c->ops = realloc(c->ops, c->cap_ops * sizeof(*c->ops));
    }
    c->ops[c->n_ops++] = op;
}

/* ---- sending ----------------------------------------------------------- */

static const char *const precision_words[] = {"Q8", "NOQUANT", "BIN"};

static void send_vadd(redisContext *r, const struct client *c,
                      const struct op *op, const char *key)
{
    float v[MAX_DIM];
    char name[32], attr[64];
    uint32_t dim = model_dim(c, op->key);
    const char *word = precision_words[model_precision(c, op->key)];

    model_vector(c, op->el, op->version, dim, v);
    model_element_name(op->el, name);
    model_attribute(op->version, attr);
    if (op->attr) {
        redisAppendCommand(r, "VADD %s FP32 %b %s %s SETATTR %s", key, v,
                           dim * sizeof(float), name, word, attr);
    } else if (op->version % 8 == 0) {
        /* As text, which the log keeps as bytes. */
        char text[MAX_DIM][24];
        const char *argv[MAX_DIM + 8];
        uint32_t i, n = 0;

        argv[n++] = "VADD";
        argv[n++] = key;
        argv[n++] = "VALUES";
        snprintf(attr, sizeof(attr), "%u", dim);
        argv[n++] = attr;
        for (i = 0; i < dim; i++) {
            snprintf(text[i], sizeof(text[i]), "%.9g", (double)v[i]);
            argv[n++] = text[i];
        }
        argv[n++] = name;
        argv[n++] = word;
        redisAppendCommandArgv(r, (int)n, argv, NULL);
    } else if (op->version % 8 == 1) {
        redisAppendCommand(r, "VADD %s FP32 %b %s CAS %s", key, v,
                           dim * sizeof(float), name, word);
    } else {
        redisAppendCommand(r, "VADD %s FP32 %b %s %s", key, v,
                           dim * sizeof(float), name, word);
    }
}

static void send_bulk(redisContext *r, const struct client *c,
                      const struct op *op, const char *key)
{
    uint32_t dim = model_dim(c, op->key), i, n = 0, cap = 2 * op->count + 8;
    const char **argv = calloc(cap, sizeof(*argv));
    size_t *lens = calloc(cap, sizeof(*lens));
    char(*names)[32] = calloc(op->count, sizeof(*names));
    float *v = malloc((size_t)op->count * dim * sizeof(float) + 1);
    char count[16], attr[64];

#define ARG(text, len) (argv[n] = (text), lens[n] = (len), n++)
    ARG(op->kind == OP_VMADD ? "VMADD" : "VMREM", 5);
    ARG(key, strlen(key));
    if (op->kind == OP_VMADD) {
        snprintf(count, sizeof(count), "%u", op->count);
        ARG(count, strlen(count));
        ARG("FP32", 4);
        ARG((const char *)v, (size_t)op->count * dim * sizeof(float));
    }
    for (i = 0; i < op->count; i++) {
        uint32_t el = (op->el + i) % c->opt->n_elements;

        model_vector(c, el, op->version, dim, v + (size_t)i * dim);
        model_element_name(el, names[i]);
        ARG(names[i], strlen(names[i]));
    }
    if (op->kind == OP_VMADD) {
        const char *word = precision_words[model_precision(c, op->key)];

        ARG(word, strlen(word));
        if (op->attr) {
            ARG("ATTRS", 5);
            model_attribute(op->version, attr);
            for (i = 0; i < op->count; i++) {
                ARG(attr, strlen(attr));
            }
        }
    }
#undef ARG
    redisAppendCommandArgv(r, (int)n, argv, lens);
    free(v);
    free(names);
    free(lens);
    free(argv);
}

static void send_create(redisContext *r, const struct client *c,
                        const struct op *op, const char *key)
{
    static const char *const kinds[] = {"AUTO", "HNSW", "IVF"};

    redisAppendCommand(
        r, "VCREATE %s DIM %u %s INDEX %s", key, model_dim(c, op->key),
        precision_words[model_precision(c, op->key)], kinds[op->version % 3]);
}

/* Graphs, lists and neither take turns; refused where there is nothing to
 * train on, or a training under way. */
static void send_train(redisContext *r, const struct op *op, const char *key)
{
    switch (op->version % 5) {
    case 0:
    case 1:
        redisAppendCommand(r, "VTRAIN %s HNSW ASYNC", key);
        break;
    case 2:
        redisAppendCommand(r, "VTRAIN %s FLAT", key);
        break;
    case 3:
        redisAppendCommand(r, "VTRAIN %s IVF ASYNC", key);
        break;
    default:
        redisAppendCommand(r, "VTRAIN %s IVF NLIST %u SEED %u ASYNC", key,
                           1 + op->version % 29, op->version);
        break;
    }
}

static void send_op(redisContext *r, const struct client *c,
                    const struct op *op)
{
    char key[48], key2[48], name[32], text[64];

    model_key_name(c, op->key, key);
    model_element_name(op->el, name);
    switch ((enum op_kind)op->kind) {
    case OP_VADD:
        send_vadd(r, c, op, key);
        break;
    case OP_VREM:
        redisAppendCommand(r, "VREM %s %s", key, name);
        break;
    case OP_VSETATTR:
        text[0] = '\0';
        if (op->version) {
            model_attribute(op->version, text);
        }
        redisAppendCommand(r, "VSETATTR %s %s %s", key, name, text);
        break;
    case OP_VMADD:
    case OP_VMREM:
        send_bulk(r, c, op, key);
        break;
    case OP_VCREATE:
        send_create(r, c, op, key);
        break;
    case OP_VTRAIN:
        send_train(r, op, key);
        break;
    case OP_SET:
        model_value(op->version, text);
        redisAppendCommand(r, "SET %s %s", key, text);
        break;
    case OP_SET_PX:
        model_value(op->version, text);
        redisAppendCommand(r, "SET %s %s PX %u", key, text, op->ttl_ms);
        break;
    case OP_APPEND:
        model_value(op->version, text);
        redisAppendCommand(r, "APPEND %s %s", key, text);
        break;
    case OP_INCR:
        redisAppendCommand(r, "INCR %s", key);
        break;
    case OP_DEL:
        redisAppendCommand(r, "%s %s", op->version % 2 ? "DEL" : "UNLINK", key);
        break;
    case OP_RENAME:
        model_key_name(c, op->key2, key2);
        redisAppendCommand(r, "RENAME %s %s", key, key2);
        break;
    case OP_EXPIRE:
        redisAppendCommand(r, "PEXPIRE %s %u", key, op->ttl_ms);
        break;
    case OP_PERSIST:
        redisAppendCommand(r, "PERSIST %s", key);
        break;
    case N_OP_KINDS:
        break;
    }
}

/* ---- a batch ----------------------------------------------------------- */

static bool lost(struct client *c, redisContext *r)
{
    c->lost = true;
    snprintf(c->last_error, sizeof(c->last_error), "%s", r->errstr);
    return false;
}

static void acknowledge(struct client *c, struct op *op,
                        const redisReply *reply, uint64_t now_ns)
{
    op->ack_ns = now_ns;
    op->status = OP_DONE;
    if (reply->type == REDIS_REPLY_ERROR) {
        op->status = OP_REFUSED;
        atomic_fetch_add(&c->n_refused, 1);
        snprintf(c->last_error, sizeof(c->last_error), "%s", reply->str);
    }
    atomic_fetch_add(&c->n_acked, 1);
}

/* The replies to one operation, or to a transaction of `n`. */
static bool read_replies(struct client *c, redisContext *r, struct op *op,
                         size_t n)
{
    redisReply *reply = NULL;
    uint64_t now_ns;
    size_t i;

    if (!op->in_group) {
        if (redisGetReply(r, (void **)&reply) != REDIS_OK) {
            return lost(c, r);
        }
        acknowledge(c, op, reply, ledger_now_ns());
        freeReplyObject(reply);
        return true;
    }
    for (i = 0; i < n + 1; i++) { /* OK, QUEUED ... */
        if (redisGetReply(r, (void **)&reply) != REDIS_OK) {
            return lost(c, r);
        }
        freeReplyObject(reply);
    }
    if (redisGetReply(r, (void **)&reply) != REDIS_OK) {
        return lost(c, r);
    }
    now_ns = ledger_now_ns(); /* all of it at one time */
    for (i = 0; i < n; i++) {
        acknowledge(c, &op[i],
                    reply->type == REDIS_REPLY_ARRAY && reply->elements == n
                        ? reply->element[i]
                        : reply,
                    now_ns);
    }
    freeReplyObject(reply);
    return true;
}

static bool run_batch(struct client *c, redisContext *r)
{
    size_t begin = c->n_ops, i, n;
    uint64_t depth = 1 + draw(c, c->opt->depth), sent;

    while (depth-- > 0) {
        if (draw(c, 12)) {
            op_add(c, draw_op(c));
            continue;
        }
        for (n = 2 + draw(c, 5); n > 0; n--) {
            struct op op = draw_op(c);

            op.in_group = true;
            op.ends_group = n == 1;
            op_add(c, op);
        }
    }
    for (i = begin; i < c->n_ops; i++) {
        bool starts =
            c->ops[i].in_group &&
            (i == begin || !c->ops[i - 1].in_group || c->ops[i - 1].ends_group);

        if (starts) {
            redisAppendCommand(r, "MULTI");
        }
        send_op(r, c, &c->ops[i]);
        if (c->ops[i].ends_group) {
            redisAppendCommand(r, "EXEC");
        }
    }
    sent = ledger_now_ns();
    for (i = begin; i < c->n_ops; i++) {
        c->ops[i].sent_ns = sent;
    }
    for (i = begin; i < c->n_ops; i += n) {
        n = 1;
        while (c->ops[i].in_group && !c->ops[i + n - 1].ends_group) {
            n++;
        }
        if (!read_replies(c, r, &c->ops[i], n)) {
            return false;
        }
    }
    return true;
}

static void *client_main(void *argument)
{
    struct client *c = argument;
    redisContext *r = redisConnect("127.0.0.1", c->port);
    redisReply *reply;

    c->lost = false;
    if (!r || r->err) {
        c->lost = true;
        goto out;
    }
    reply = redisCommand(r, "SELECT %u", c->id % c->opt->databases);
    if (!reply) {
        c->lost = true;
        goto out;
    }
    freeReplyObject(reply);
    while (!atomic_load(&ledger_stop) && run_batch(c, r)) {
    }

out:
    if (r) {
        redisFree(r);
    }
    atomic_store(&c->ended, true);
    return NULL;
}

void client_start(struct client *c, int port)
{
    c->port = port;
    c->ended = false;
    c->running = pthread_create(&c->thread, NULL, client_main, c) == 0;
}

void client_join(struct client *c)
{
    if (c->running) {
        pthread_join(c->thread, NULL);
        c->running = false;
    }
}
