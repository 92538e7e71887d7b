/* Compiling templates: words become operations. */
#include "tools/bench/bench_template_impl.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/split.h"

enum { WORDS_MAX = 4096 };

/* Where {x} needs something of the run: true when it is there. */
static bool have_rows(const struct bench_template_env *e)
{
    return e->row_n != 0;
}

static bool have_attrs(const struct bench_template_env *e)
{
    return e->row_n != 0 && e->attrs;
}

static bool have_vectors(const struct bench_template_env *e)
{
    return e->vectors && e->vec_n;
}

static bool have_query_names(const struct bench_template_env *e)
{
    return e->query_names != NULL;
}

static const struct {
    const char *name;
    enum bench_op_kind kind;
    bool (*have)(const struct bench_template_env *);
    const char *needs;
} whole_words[] = {
    {"{n}", OP_N, NULL, NULL},
    {"{vec}", OP_VEC, have_vectors, "vectors: --data or --random"},
    {"{vecs}", OP_VECS, have_vectors, "vectors: --data or --random"},
    {"{values}", OP_VALUES, have_vectors, "vectors: --data or --random"},
    {"{names}", OP_NAMES, have_rows, "rows: --data or --random"},
    {"{attrs}", OP_ATTRS, have_attrs, "an attrs.jsonl beside the rows"},
};

static const struct {
    const char *name;
    enum bench_part_kind kind;
    bool (*have)(const struct bench_template_env *);
    const char *needs;
} inner_words[] = {
    {"{index}", PART_INDEX, NULL, NULL},
    {"{name}", PART_NAME, have_rows, "rows: --data or --random"},
    {"{attr}", PART_ATTR, have_attrs, "an attrs.jsonl beside the rows"},
    {"{query-name}", PART_QUERY_NAME, have_query_names,
     "a queries.txt beside the queries"},
};

static bool starts_with(struct bytes s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.len >= n && memcmp(s.data, prefix, n) == 0;
}

/* Starts an operation; a literal goes on with the one before. */
static void add_op(struct bench_template *t, enum bench_op_kind kind)
{
    struct bench_op *last = t->n_ops ? &t->ops[t->n_ops - 1] : NULL;

    if (kind == OP_LITERAL && last && last->kind == OP_LITERAL) {
        return;
    }
    t->ops[t->n_ops++] = (struct bench_op){kind, t->pool.len, t->pool.len};
}

static void add_literal(struct bench_template *t, const void *data, size_t len)
{
    add_op(t, OP_LITERAL);
    buf_append(&t->pool, data, len);
    t->ops[t->n_ops - 1].to = t->pool.len;
}

static void add_literal_bulk(struct bench_template *t, struct bytes s)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "$%zu\r\n", s.len);
    buf_append_bytes(&b, s);
    buf_append_str(&b, "\r\n");
    add_literal(t, b.data, b.len);
    buf_deinit(&b);
}

static void add_part(struct bench_template *t, enum bench_part_kind kind,
                     uint64_t below)
{
    t->parts = mem_realloc(t->parts, (t->n_parts + 1) * sizeof(*t->parts));
    t->parts[t->n_parts++] =
        (struct bench_part){kind, t->texts.len, t->texts.len, below};
}

/* Adds to the text that the word is being built of. */
static void add_text(struct bench_template *t, size_t first_part,
                     const void *data, size_t len)
{
    if (t->n_parts == first_part ||
        t->parts[t->n_parts - 1].kind != PART_TEXT) {
        add_part(t, PART_TEXT, 0);
    }
    buf_append(&t->texts, data, len);
    t->parts[t->n_parts - 1].to = t->texts.len;
}

/* The constants of a run; true when `s` starts with one, whose length is then
 * in *len. */
static bool add_constant(struct bench_template *t, size_t first_part,
                         struct bytes s, size_t *len)
{
    const struct bench_template_env *e = t->env;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"{k}", e->k}, {"{ef}", e->ef}, {"{dim}", e->dim}};
    char text[NUM_TEXT_MAX];
    size_t i;

    if (starts_with(s, "{key}")) {
        add_text(t, first_part, e->key, strlen(e->key));
        *len = strlen("{key}");
        return true;
    }
    for (i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i].value && starts_with(s, numbers[i].name)) {
            add_text(t, first_part, text,
                     num_format_u64(numbers[i].value, text));
            *len = strlen(numbers[i].name);
            return true;
        }
    }
    return false;
}

/* {rand:N} at the start of `s`. */
static bool add_random(struct bench_template *t, struct bytes s, size_t *len)
{
    uint64_t below = 0;
    size_t i = strlen("{rand:");

    if (!starts_with(s, "{rand:")) {
        return false;
    }
    for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
        below = below * 10 + (uint64_t)(s.data[i] - '0');
        if (below > UINT64_C(1) << 53) {
            return false;
        }
    }
    if (below == 0 || i == s.len || s.data[i] != '}') {
        return false;
    }
    *len = i + 1;
    add_part(t, PART_RAND, below);
    return true;
}

/* The placeholder at the start of `s`. Leaves *len 0 when it is none: a brace
 * that opens no known placeholder is text, as in a JSON attribute. */
static enum err add_placeholder(struct bench_template *t, size_t first_part,
                                struct bytes s, size_t *len,
                                struct err_ctx *ctx)
{
    size_t i;

    *len = 0;
    if (starts_with(s, "{ef}") && !t->env->ef) {
        return err_set(ctx, ERR_NOT_FOUND, "{ef} needs --ef");
    }
    if (add_constant(t, first_part, s, len) || add_random(t, s, len)) {
        return ERR_OK;
    }
    for (i = 0; i < ARRAY_LEN(inner_words); i++) {
        if (!starts_with(s, inner_words[i].name)) {
            continue;
        }
        if (inner_words[i].have && !inner_words[i].have(t->env)) {
            return err_set(ctx, ERR_NOT_FOUND, "%s needs %s",
                           inner_words[i].name, inner_words[i].needs);
        }
        t->uses_rows |= inner_words[i].kind == PART_NAME ||
                        inner_words[i].kind == PART_ATTR;
        add_part(t, inner_words[i].kind, 0);
        *len = strlen(inner_words[i].name);
        return ERR_OK;
    }
    for (i = 0; i < ARRAY_LEN(whole_words); i++) {
        if (starts_with(s, whole_words[i].name)) {
            return err_set(ctx, ERR_SYNTAX, "%s must be a word of its own",
                           whole_words[i].name);
        }
    }
    return ERR_OK;
}

/* Takes a word apart; its parts are those from `first` on. */
static enum err add_parts(struct bench_template *t, size_t first,
                          struct bytes word, struct err_ctx *ctx)
{
    size_t i = 0;

    while (i < word.len) {
        struct bytes rest = bytes_of(word.data + i, word.len - i);
        size_t len = 0;

        if (rest.data[0] == '{') {
            enum err err = add_placeholder(t, first, rest, &len, ctx);

            if (err) {
                return err;
            }
        }
        if (len == 0) {
            add_text(t, first, rest.data, 1);
            len = 1;
        }
        i += len;
    }
    return ERR_OK;
}

/* A word of text and placeholders; one of text alone becomes a literal. */
static enum err add_word(struct bench_template *t, struct bytes word,
                         struct err_ctx *ctx)
{
    size_t first = t->n_parts;
    size_t text = t->texts.len;
    enum err err = add_parts(t, first, word, ctx);

    if (err) {
        return err;
    }
    t->argc++;
    if (t->n_parts == first ||
        (t->n_parts == first + 1 && t->parts[first].kind == PART_TEXT)) {
        t->n_parts = first;
        add_literal_bulk(t,
                         bytes_of(t->texts.data + text, t->texts.len - text));
        t->texts.len = text;
        return ERR_OK;
    }
    add_op(t, OP_WORD);
    t->ops[t->n_ops - 1].from = first;
    t->ops[t->n_ops - 1].to = t->n_parts;
    return ERR_OK;
}

static void note_extras(struct bench_template *t, struct bytes word)
{
    t->extras += bytes_equal_fold(word, "WITHSCORES") ||
                 bytes_equal_fold(word, "WITHDISTANCES") ||
                 bytes_equal_fold(word, "WITHATTRIBS");
}

/* The operation of a placeholder that is a whole word. */
static void add_whole_op(struct bench_template *t, enum bench_op_kind kind)
{
    char head[NUM_TEXT_MAX];

    t->uses_vectors |= kind == OP_VEC || kind == OP_VECS || kind == OP_VALUES;
    t->uses_values |= kind == OP_VALUES;
    t->uses_rows |= kind == OP_NAMES || kind == OP_ATTRS;
    if (kind == OP_NAMES || kind == OP_ATTRS) {
        t->argc_per_row++;
    } else {
        t->argc += kind == OP_VALUES ? t->env->dim + 1 : 1;
    }
    if (kind != OP_VEC) {
        add_op(t, kind);
        return;
    }
    add_literal(
        t, head,
        (size_t)snprintf(head, sizeof(head), "$%u\r\n", t->env->dim * 4));
    add_op(t, kind);
    add_literal(t, "\r\n", 2);
}

/* *done: the word was such a placeholder. */
static enum err add_whole(struct bench_template *t, struct bytes word,
                          bool *done, struct err_ctx *ctx)
{
    size_t i;

    *done = false;
    for (i = 0; i < ARRAY_LEN(whole_words); i++) {
        if (!bytes_equal(word, bytes_str(whole_words[i].name))) {
            continue;
        }
        if (whole_words[i].have && !whole_words[i].have(t->env)) {
            return err_set(ctx, ERR_NOT_FOUND, "%s needs %s",
                           whole_words[i].name, whole_words[i].needs);
        }
        add_whole_op(t, whole_words[i].kind);
        *done = true;
        return ERR_OK;
    }
    return ERR_OK;
}

enum err bench_template_compile(const char *text,
                                const struct bench_template_env *env,
                                struct bench_template **out,
                                struct err_ctx *ctx)
{
    struct bench_template *t = mem_calloc(1, sizeof(*t));
    char *line = mem_strndup(text, strlen(text));
    struct bytes *words = mem_calloc(WORDS_MAX, sizeof(*words));
    size_t n = 0, i;
    enum err err;

    ASSERT(env->batch >= 1);
    t->env = env;
    err = split_words(line, strlen(line), words, WORDS_MAX, &n);
    if (err || n == 0) {
        err = err_set(ctx, ERR_SYNTAX, "'%s' is no command: %s", text,
                      err ? "unbalanced quotes" : "no words in it");
        goto out;
    }
    /* ARGC, and at most three operations per word. */
    t->ops = mem_calloc(1 + 3 * n, sizeof(*t->ops));
    add_op(t, OP_ARGC);
    for (i = 0; !err && i < n; i++) {
        bool done;

        note_extras(t, words[i]);
        err = add_whole(t, words[i], &done, ctx);
        if (!err && !done) {
            err = add_word(t, words[i], ctx);
        }
    }
    if (err) {
        err = err_wrap(ctx, err, "'%s'", text);
    }
out:
    mem_free(words);
    mem_free(line);
    if (err) {
        bench_template_destroy(t);
        return err;
    }
    *out = t;
    return ERR_OK;
}

void bench_template_destroy(struct bench_template *t)
{
    if (t) {
        buf_deinit(&t->pool);
        buf_deinit(&t->texts);
        mem_free(t->ops);
        mem_free(t->parts);
        mem_free(t);
    }
}
