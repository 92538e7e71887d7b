#include "tools/bench/bench_commands.h"

#include "base/buf.h"
#include "base/mem.h"

/* The word that VADD wants for a precision; Redis wants it on every VADD. What
 * VCREATE alone knows is said there. */
static const char *quant_word(int quant)
{
    switch (quant) {
    case BENCH_QUANT_Q8:
        return " Q8";
    case BENCH_QUANT_NOQUANT:
        return " NOQUANT";
    case BENCH_QUANT_BIN:
        return " BIN";
    default:
        return "";
    }
}

static char *take_text(struct buf *b)
{
    char *text = mem_strndup(b->data, b->len);

    buf_deinit(b);
    return text;
}

static char *insertion(const struct bench_options *o)
{
    struct buf b = BUF_INIT;

    if (o->batch > 1) {
        buf_printf(&b, "VMADD {key} {n} FP32 {vecs} {names}%s%s",
                   quant_word(o->quant), o->attrs ? " ATTRS {attrs}" : "");
    } else {
        buf_printf(&b, "VADD {key} %s {name}%s%s",
                   o->values ? "VALUES {values}" : "FP32 {vec}",
                   quant_word(o->quant), o->attrs ? " SETATTR {attr}" : "");
    }
    return take_text(&b);
}

/* A word in double quotes, as base/split.h reads them. */
static void append_quoted(struct buf *b, const char *text)
{
    buf_append_byte(b, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            buf_append_byte(b, '\\');
        }
        buf_append_byte(b, (uint8_t)*text);
    }
    buf_append_byte(b, '"');
}

static char *search(const struct bench_options *o, bool with_ef, bool exact)
{
    bool is_redis = o->peer == BENCH_PEER_REDIS8;
    struct buf b = BUF_INIT;

    if (o->batch > 1) {
        buf_append_str(&b, "VMSEARCH {key} {n} FP32 {vecs}");
    } else {
        buf_printf(&b, "%s {key} %s", is_redis ? "VSIM" : "VSEARCH",
                   o->values ? "VALUES {values}" : "FP32 {vec}");
    }
    buf_printf(&b, " %s {k}", is_redis ? "COUNT" : "K");
    if (exact) {
        buf_append_str(&b, is_redis ? " TRUTH" : " EXACT");
    } else if (with_ef) {
        buf_append_str(&b, " EF {ef}");
    }
    if (o->filter) {
        buf_append_str(&b, " FILTER ");
        append_quoted(&b, o->filter);
    }
    if (o->append) {
        buf_printf(&b, " %s", o->append);
    }
    return take_text(&b);
}

/* Sets that VADD alone would make otherwise are made by VCREATE. */
static char *creation(const struct bench_options *o)
{
    static const char *const quants[] = {"",     " Q8",   " NOQUANT",
                                         " BIN", " FP16", " BF16"};
    struct buf b = BUF_INIT;

    if (o->peer == BENCH_PEER_REDIS8 ||
        (o->metric == VEC_COSINE && o->quant < BENCH_QUANT_FP16 && !o->index)) {
        return NULL;
    }
    buf_printf(&b, "VCREATE {key} DIM {dim} METRIC %s%s%s%s",
               vec_metric_name((enum vec_metric)o->metric), quants[o->quant],
               o->index ? " INDEX " : "", o->index ? o->index : "");
    return take_text(&b);
}

void bench_commands_init(const struct bench_options *o, bool with_ef,
                         struct bench_commands *out)
{
    *out = (struct bench_commands){.request = NULL};
    if (o->command) {
        out->request = mem_strndup(o->command, strlen(o->command));
        return;
    }
    switch (o->mode) {
    case BENCH_MODE_LOAD:
        out->request = insertion(o);
        out->create = creation(o);
        break;
    case BENCH_MODE_SEARCH:
        out->request = search(o, with_ef, o->exact);
        out->exact = search(o, false, true);
        break;
    case BENCH_MODE_MIXED:
        out->request = search(o, with_ef, o->exact);
        out->write = insertion(o);
        break;
    default:
        out->request = mem_strndup("PING", 4);
        break;
    }
}

void bench_commands_deinit(struct bench_commands *c)
{
    mem_free(c->request);
    mem_free(c->write);
    mem_free(c->exact);
    mem_free(c->create);
}
