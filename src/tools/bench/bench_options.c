#include "tools/bench/bench_options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/bench_engine.h"
#include "tools/bench/bench_parallel.h"

enum kind { HEADING, FLAG, TEXT, COUNT, NUMBER, WORD };

struct spec {
    char letter;      /* 0: none */
    const char *name; /* without "--"; NULL: only the letter */
    enum kind kind;
    const char *arg; /* what the value is called; of a WORD: the words */
    size_t at;       /* of the field */
    double min, max; /* COUNT, NUMBER */
    const char *help;
};

#define FIELD(f) offsetof(struct bench_options, f)

static const struct spec specs[] = {
    {0, "Connection", HEADING, NULL, 0, 0, 0, NULL},
    {'h', "host", TEXT, "HOST", FIELD(host), 0, 0, "server, 127.0.0.1"},
    {'p', "port", COUNT, "PORT", FIELD(port), 0, 65535, "port, 6379"},
    {'s', "socket", TEXT, "PATH", FIELD(socket_path), 0, 0,
     "local socket instead of host and port"},
    {'a', "pass", TEXT, "PASSWORD", FIELD(password), 0, 0, "AUTH"},
    {0, "user", TEXT, "NAME", FIELD(user), 0, 0, "AUTH with a user name"},
    {'3', NULL, FLAG, NULL, FIELD(resp3), 0, 0, "RESP3 (HELLO 3)"},
    {0, "dbnum", COUNT, "N", FIELD(db), 0, 1 << 20, "SELECT N"},
    {0, "timeout", NUMBER, "SECONDS", FIELD(timeout_s), 0, 1e6,
     "give up after so long without a reply, 60; 0 never"},

    {0, "Load", HEADING, NULL, 0, 0, 0, NULL},
    {'n', "requests", COUNT, "N", FIELD(requests), 1, 1e15,
     "requests; default: once through the data, or 100000"},
    {'c', "connections", COUNT, "N", FIELD(connections), 1,
     BENCH_CONNECTIONS_MAX, "connections, 8"},
    {'P', "pipeline", COUNT, "N", FIELD(pipeline), 1, BENCH_PIPELINE_MAX,
     "requests under way per connection, 1"},
    {0, "threads", COUNT, "N", FIELD(threads), 1, BENCH_THREADS_MAX,
     "threads of this program, 1"},
    {0, "duration", NUMBER, "SECONDS", FIELD(duration_s), 1e-3, 1e7,
     "run so long instead of -n requests"},
    {0, "warmup", COUNT, "N", FIELD(warmup), 0, 1e15,
     "requests before those that count, 0"},

    {0, "Data", HEADING, NULL, 0, 0, 0, NULL},
    {0, "data", TEXT, "PATH", FIELD(data), 0, 0,
     "folder with meta.json, or .fvecs, .bvecs, .ivecs file"},
    {0, "queries", TEXT, "FILE", FIELD(queries), 0, 0,
     ".fvecs, .bvecs or .ivecs file of queries"},
    {0, "random", TEXT, "N,DIM[,KIND]", FIELD(random), 0, 0,
     "made-up rows: gaussian, uniform or clustered"},
    {0, "seed", COUNT, "N", FIELD(seed), 0, 1e15, "of made-up things, 1"},
    {0, "limit", COUNT, "ROWS", FIELD(limit), 1, 1e15,
     "rows to use of the data"},
    {0, "offset", COUNT, "ROWS", FIELD(offset), 0, 1e15,
     "rows to leave out at the front"},

    {0, "Commands", HEADING, NULL, 0, 0, 0, NULL},
    {0, "mode", WORD, "load|search|mixed|ping|raw", FIELD(mode), 0, 0,
     "what to do; load, or raw when --command is given"},
    {0, "command", TEXT, "TEMPLATE", FIELD(command), 0, 0,
     "the request to send, see below"},
    {0, "peer", WORD, "vectra|redis8", FIELD(peer), 0, 0,
     "whose words the built-in commands use"},
    {0, "key", TEXT, "KEY", FIELD(key), 0, 0, "key of the set, bench"},
    {0, "values", FLAG, NULL, FIELD(values), 0, 0,
     "send vectors as VALUES, not as FP32"},
    {0, "decimals", COUNT, "N", FIELD(decimals), 0, 9,
     "decimals of VALUES; default: the shortest exact text"},
    {0, "metric", WORD, "cosine|l2|ip|l1", FIELD(metric), 0, 0,
     "of the set and of recall, cosine"},
    {0, "quant", WORD, "default|q8|noquant|bin|fp16|bf16", FIELD(quant), 0, 0,
     "stored precision of the set"},
    {0, "index", TEXT, "KIND", FIELD(index), 0, 0,
     "VCREATE the set with this INDEX"},
    {0, "batch", COUNT, "N", FIELD(batch), 1, 1 << 20,
     "rows per request: VMADD, VMSEARCH; 1"},
    {0, "attrs", FLAG, NULL, FIELD(attrs), 0, 0,
     "load attributes of attrs.jsonl too"},
    {0, "k", COUNT, "N", FIELD(k), 1, 65536, "neighbours asked for, 10"},
    {0, "ef", TEXT, "N[,N...]", FIELD(ef), 0, 0,
     "search effort; a list makes one run of each"},
    {0, "exact", FLAG, NULL, FIELD(exact), 0, 0,
     "ask for exact search (EXACT, TRUTH)"},
    {0, "filter", TEXT, "EXPR", FIELD(filter), 0, 0, "FILTER EXPR"},
    {0, "append", TEXT, "WORDS", FIELD(append), 0, 0,
     "words added to the built-in search command"},
    {0, "ratio", NUMBER, "PERCENT", FIELD(ratio), 0, 100,
     "writes among the requests of mixed, 10"},
    {0, "del", FLAG, NULL, FIELD(del), 0, 0, "DEL the key first"},
    {0, "settle", FLAG, NULL, FIELD(settle), 0, 0,
     "after loading, wait for the index (VINFO pending-index)"},

    {0, "Recall", HEADING, NULL, 0, 0, 0, NULL},
    {0, "truth", TEXT, "FILE|server", FIELD(truth), 0, 0,
     "exact neighbours from an .ivecs file, or by asking the server for an "
     "exact search"},
    {0, "no-recall", FLAG, NULL, FIELD(no_recall), 0, 0,
     "do not compute recall"},
    {0, "check-recall", NUMBER, "R", FIELD(check_recall), 0, 1,
     "exit with 2 when recall is below R"},
    {0, "cache", TEXT, "DIR", FIELD(cache), 0, 0,
     "where computed neighbours are kept; "
     "${XDG_CACHE_HOME:-~/.cache}/vectra/truth"},

    {0, "Output", HEADING, NULL, 0, 0, 0, NULL},
    {0, "json", FLAG, NULL, FIELD(json), 0, 0, "one JSON object per run"},
    {'q', "quiet", FLAG, NULL, FIELD(quiet), 0, 0,
     "only the line of the table"},
    {0, "progress", FLAG, NULL, FIELD(progress), 0, 0,
     "rate of every second, on stderr"},

    {0, "Other", HEADING, NULL, 0, 0, 0, NULL},
    {0, "read-bandwidth", FLAG, NULL, FIELD(read_bandwidth), 0, 0,
     "measure this machine's memory and exit"},
    {0, "sink", FLAG, NULL, FIELD(sink), 0, 0,
     "be a server at -p or -s that answers +OK to everything: shows what this "
     "program can send"},
    {0, "help", FLAG, NULL, FIELD(help), 0, 0, "this text"},
    {0, "version", FLAG, NULL, FIELD(version), 0, 0, "the version"},
};

static const char placeholders[] =
    "Templates are one line of words, quoted as in redis-cli. In them\n"
    "  {key} {k} {ef} {dim}   stand for the options\n"
    "  {index} {rand:N}       for the request's number, a number below N\n"
    "  {name} {attr}          for the row's name and attributes\n"
    "  {query-name}           for the query's name\n"
    "and as words of their own\n"
    "  {vec}                  for the vector, float32 bytes\n"
    "  {values}               for its dimension and its numbers\n"
    "  {n} {vecs} {names} {attrs}   for all --batch rows of a request\n"
    "{vec} is a row, or in search mode a query. Examples:\n"
    "  --command 'SET {name} {vec}' --data DIR\n"
    "  --mode search --command 'VSIM {key} FP32 {vec} COUNT {k} TRUTH' "
    "--data DIR\n"
    "  --command 'VADD small:{index} FP32 {vec} e' --random 1000,8 -n 100000\n";

/* ---- parsing ------------------------------------------------------------ */

/* The spec of "-x" or "--name" or "--name=value" (whose value is in *value). */
static const struct spec *find_spec(const char *arg, const char **value)
{
    size_t n = strcspn(arg, "=");
    size_t i;

    *value = NULL;
    for (i = 0; i < ARRAY_LEN(specs); i++) {
        const struct spec *s = &specs[i];

        if (s->kind == HEADING) {
            continue;
        }
        if (s->letter && arg[0] == '-' && arg[1] == s->letter &&
            arg[2] == '\0') {
            return s;
        }
        if (s->name && strncmp(arg, "--", 2) == 0 && strlen(s->name) == n - 2 &&
            n > 2 && strncmp(arg + 2, s->name, n - 2) == 0) {
            *value = arg[n] ? arg + n + 1 : NULL;
            return s;
        }
    }
    return NULL;
}

/* A number in the spec's range, for COUNT one without a fraction. */
static bool parse_number(const struct spec *s, const char *text, double *out)
{
    char *end;

    if (s->kind == COUNT) {
        *out = (double)strtoll(text, &end, 10);
    } else {
        *out = strtod(text, &end);
    }
    return end != text && *end == '\0' && *out >= s->min && *out <= s->max;
}

/* The place of a word in "a|b|c", -1 when it is none of them. */
static int find_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    int i;

    for (i = 0; n; i++) {
        size_t len = strcspn(words, "|");

        if (len == n && strncmp(words, word, n) == 0) {
            return i;
        }
        if (words[len] == '\0') {
            break;
        }
        words += len + 1;
    }
    return -1;
}

static enum err set_value(struct bench_options *o, const struct spec *s,
                          const char *value, struct err_ctx *ctx)
{
    char *field = (char *)o + s->at;
    double number;
    int word;

    switch (s->kind) {
    case TEXT:
        memcpy(field, &value, sizeof(value));
        return ERR_OK;
    case COUNT:
    case NUMBER:
        if (!parse_number(s, value, &number)) {
            return err_set(ctx, ERR_SYNTAX,
                           "--%s: '%s' is not a number from %g to %g", s->name,
                           value, s->min, s->max);
        }
        if (s->kind == COUNT) {
            int64_t count = (int64_t)number;

            memcpy(field, &count, sizeof(count));
        } else {
            memcpy(field, &number, sizeof(number));
        }
        return ERR_OK;
    case WORD:
        word = find_word(s->arg, value);
        if (word < 0) {
            return err_set(ctx, ERR_SYNTAX, "--%s: '%s' is none of %s", s->name,
                           value, s->arg);
        }
        memcpy(field, &word, sizeof(word));
        return ERR_OK;
    case FLAG:
    case HEADING:
        break;
    }
    return ERR_OK;
}

/* "50,100,200" into ef_list. */
static enum err parse_ef(struct bench_options *o, struct err_ctx *ctx)
{
    const char *at = o->ef;

    o->n_ef = 0;
    while (at) {
        char *end;
        long v = strtol(at, &end, 10);

        if (end == at || v < 1 || v > 1000000 || (*end && *end != ',') ||
            o->n_ef == BENCH_EF_LIST_MAX) {
            return err_set(ctx, ERR_SYNTAX,
                           "--ef: '%s' is not a list of 1 to %d numbers from 1 "
                           "to 1000000",
                           o->ef, BENCH_EF_LIST_MAX);
        }
        o->ef_list[o->n_ef++] = (uint32_t)v;
        at = *end ? end + 1 : NULL;
    }
    if (o->n_ef == 0) {
        o->ef_list[o->n_ef++] = 0;
    }
    return ERR_OK;
}

static enum err check(struct bench_options *o, struct err_ctx *ctx)
{
    bool needs_data = o->mode == BENCH_MODE_LOAD ||
                      o->mode == BENCH_MODE_SEARCH ||
                      o->mode == BENCH_MODE_MIXED;

    if (o->help || o->version || o->read_bandwidth || o->sink) {
        return ERR_OK;
    }
    if (o->data && o->random) {
        return err_set(ctx, ERR_SYNTAX, "either --data or --random");
    }
    if (needs_data && !o->data && !o->random && !o->command) {
        return err_set(ctx, ERR_SYNTAX, "--mode %s needs --data or --random",
                       bench_options_mode_name(o->mode));
    }
    if (o->mode == BENCH_MODE_RAW && !o->command) {
        return err_set(ctx, ERR_SYNTAX, "--mode raw needs --command");
    }
    if (o->mode == BENCH_MODE_MIXED && o->command) {
        return err_set(ctx, ERR_SYNTAX,
                       "--mode mixed has its own commands; --command is for "
                       "the other modes");
    }
    if (o->mode == BENCH_MODE_MIXED && o->batch > 1) {
        return err_set(ctx, ERR_SYNTAX, "--mode mixed takes no --batch");
    }
    if (o->requests && o->duration_s > 0) {
        return err_set(ctx, ERR_SYNTAX, "either -n or --duration");
    }
    if (o->peer == BENCH_PEER_REDIS8 && !o->command &&
        (o->batch > 1 || o->metric != VEC_COSINE ||
         o->quant >= BENCH_QUANT_FP16 || o->index)) {
        return err_set(ctx, ERR_SYNTAX,
                       "redis8 has no --batch, --index, metric but cosine, "
                       "fp16 or bf16");
    }
    if (o->values && o->batch > 1) {
        return err_set(ctx, ERR_SYNTAX, "--batch sends FP32, not --values");
    }
    if (o->threads > o->connections) {
        o->threads = o->connections;
    }
    return ERR_OK;
}

enum err bench_options_parse(int argc, char *const *argv,
                             struct bench_options *out, struct err_ctx *ctx)
{
    struct bench_options o = {.host = "127.0.0.1",
                              .port = 6379,
                              .timeout_s = 60,
                              .connections = 8,
                              .pipeline = 1,
                              .threads = 1,
                              .seed = 1,
                              .mode = -1,
                              .key = "bench",
                              .decimals = -1,
                              .k = 10,
                              .batch = 1,
                              .ratio = 10,
                              .check_recall = -1};
    enum err err = ERR_OK;
    int i;

    for (i = 1; !err && i < argc; i++) {
        const char *value;
        const struct spec *s = find_spec(argv[i], &value);

        if (!s || (s->kind == FLAG && value)) {
            return err_set(ctx, ERR_SYNTAX, "unknown option '%s', see --help",
                           argv[i]);
        }
        if (s->kind == FLAG) {
            *((bool *)((char *)&o + s->at)) = true;
            continue;
        }
        if (!value && ++i == argc) {
            return err_set(ctx, ERR_SYNTAX, "%s needs a value: %s", argv[i - 1],
                           s->arg);
        }
        err = set_value(&o, s, value ? value : argv[i], ctx);
    }
    if (!err && o.mode < 0) {
        o.mode = o.command ? BENCH_MODE_RAW : BENCH_MODE_LOAD;
    }
    if (!err) {
        err = parse_ef(&o, ctx);
    }
    if (!err) {
        err = check(&o, ctx);
    }
    if (!err) {
        *out = o;
    }
    return err;
}

/* ---- help --------------------------------------------------------------- */

const char *bench_options_mode_name(int mode)
{
    static const char *const names[] = {"load", "search", "mixed", "ping",
                                        "raw"};

    return names[mode];
}

/* Text in columns 30 to 79. */
static void print_wrapped(FILE *out, const char *text)
{
    int column = 30;

    while (*text) {
        int word = (int)strcspn(text, " ");

        if (column > 30 && column + 1 + word > 79) {
            fprintf(out, "\n%*s", 30, "");
            column = 30;
        }
        column += fprintf(out, "%s%.*s", column > 30 ? " " : "", word, text);
        text += word + (text[word] == ' ');
    }
    fputc('\n', out);
}

void bench_options_help(FILE *out)
{
    size_t i;

    fprintf(out, "usage: vectra-benchmark [OPTIONS]\n\n"
                 "Loads, searches and measures a vector server, or any server "
                 "that speaks RESP.\n");
    for (i = 0; i < ARRAY_LEN(specs); i++) {
        const struct spec *s = &specs[i];
        char left[80];
        int n;

        if (s->kind == HEADING) {
            fprintf(out, "\n%s\n", s->name);
            continue;
        }
        n = snprintf(left, sizeof(left), "  %c%c%s %s%s %s",
                     s->letter ? '-' : ' ', s->letter ? s->letter : ' ',
                     s->letter && s->name ? "," : " ", s->name ? "--" : "",
                     s->name ? s->name : "", s->arg ? s->arg : "");
        if (n > 29) {
            fprintf(out, "%s\n%*s", left, 30, "");
        } else {
            fprintf(out, "%-30s", left);
        }
        print_wrapped(out, s->help);
    }
    fprintf(out, "\n%s", placeholders);
}
