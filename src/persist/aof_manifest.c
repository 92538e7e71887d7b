#include "persist/aof_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/split.h"

enum { LINE_MAX_BYTES = 1024, WORDS_MAX = 32 };

void aof_manifest_init(struct aof_manifest *m)
{
    *m = (struct aof_manifest){.n = 0};
}

void aof_manifest_deinit(struct aof_manifest *m)
{
    mem_free(m->entries);
    aof_manifest_init(m);
}

void aof_manifest_copy(struct aof_manifest *to, const struct aof_manifest *from)
{
    *to = *from;
    to->cap = from->n;
    to->entries = NULL;
    if (from->n) {
        to->entries = mem_alloc(from->n * sizeof(*to->entries));
        memcpy(to->entries, from->entries, from->n * sizeof(*to->entries));
    }
}

static struct aof_entry *add(struct aof_manifest *m)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->entries = mem_realloc(m->entries, m->cap * sizeof(*m->entries));
    }
    m->entries[m->n] = (struct aof_entry){.start_lsn = -1, .end_lsn = -1};
    return &m->entries[m->n++];
}

/* ---- what it says ------------------------------------------------------ */

static struct aof_entry *find(const struct aof_manifest *m, enum aof_type type,
                              size_t i)
{
    size_t at;

    for (at = 0; at < m->n; at++) {
        if (m->entries[at].type == type && i-- == 0) {
            return &m->entries[at];
        }
    }
    return NULL;
}

const struct aof_entry *aof_manifest_base(const struct aof_manifest *m)
{
    return find(m, AOF_BASE, 0);
}

const struct aof_entry *aof_manifest_incr(const struct aof_manifest *m,
                                          size_t i)
{
    return find(m, AOF_INCR, i);
}

size_t aof_manifest_incr_count(const struct aof_manifest *m)
{
    size_t n = 0;
    size_t at;

    for (at = 0; at < m->n; at++) {
        n += m->entries[at].type == AOF_INCR;
    }
    return n;
}

/* ---- changing it ------------------------------------------------------- */

static void drop(struct aof_manifest *m, enum aof_type type)
{
    size_t from, to = 0;

    for (from = 0; from < m->n; from++) {
        if (m->entries[from].type != type) {
            m->entries[to++] = m->entries[from];
        }
    }
    m->n = to;
}

void aof_manifest_drop_history(struct aof_manifest *m)
{
    drop(m, AOF_HISTORY);
}

const struct aof_entry *aof_manifest_add_incr(struct aof_manifest *m,
                                              const char *name, uint64_t lsn)
{
    struct aof_entry *e = add(m);

    e->type = AOF_INCR;
    e->seq = ++m->incr_seq;
    e->start_lsn = (int64_t)lsn;
    snprintf(e->name, sizeof(e->name), "%.200s.%" PRIu64 ".incr.aof", name,
             e->seq);
    return e;
}

void aof_manifest_add(struct aof_manifest *m, const struct aof_entry *e)
{
    *add(m) = *e;
    m->incr_seq = e->seq;
}

void aof_manifest_add_history(struct aof_manifest *m, const char *name)
{
    struct aof_entry *e = add(m);

    e->type = AOF_HISTORY;
    e->seq = m->incr_seq;
    snprintf(e->name, sizeof(e->name), "%s", name);
}

void aof_manifest_next_base(const struct aof_manifest *m, const char *name,
                            bool rdb, char out[AOF_NAME_MAX + 1])
{
    snprintf(out, AOF_NAME_MAX + 1, "%.200s.%" PRIu64 ".base.%s", name,
             m->base_seq + 1, rdb ? "rdb" : "aof");
}

void aof_manifest_set_base(struct aof_manifest *m, const char *name,
                           size_t keep)
{
    size_t n_incr = aof_manifest_incr_count(m);
    size_t seen = 0;
    struct aof_entry base;
    size_t i;

    for (i = 0; i < m->n; i++) {
        struct aof_entry *e = &m->entries[i];

        if (e->type == AOF_BASE ||
            (e->type == AOF_INCR && n_incr - seen++ > keep)) {
            e->type = AOF_HISTORY;
        }
    }
    (void)add(m);
    base = (struct aof_entry){
        .type = AOF_BASE, .seq = ++m->base_seq, .start_lsn = -1, .end_lsn = -1};
    snprintf(base.name, sizeof(base.name), "%s", name);
    memmove(m->entries + 1, m->entries, (m->n - 1) * sizeof(*m->entries));
    m->entries[0] = base;
}

/* ---- reading ----------------------------------------------------------- */

static bool parse_number(struct bytes word, int64_t *out)
{
    return num_parse_i64(word, out) && *out >= 0;
}

static bool parse_name(struct bytes word, struct aof_entry *e)
{
    if (word.len == 0 || word.len > AOF_NAME_MAX ||
        memchr(word.data, '/', word.len) || memchr(word.data, '\0', word.len) ||
        bytes_equal(word, bytes_str(".")) ||
        bytes_equal(word, bytes_str(".."))) {
        return false;
    }
    memcpy(e->name, word.data, word.len);
    e->name[word.len] = '\0';
    return true;
}

static bool parse_type(struct bytes word, struct aof_entry *e)
{
    if (word.len != 1 || !memchr("bih", word.data[0], 3)) {
        return false;
    }
    e->type = (enum aof_type)word.data[0];
    return true;
}

/* Words that later versions add are skipped, as Redis does. */
static bool parse_entry(const struct bytes *words, size_t n,
                        struct aof_entry *e)
{
    bool ok = n >= 6 && n % 2 == 0;
    int64_t seq = -1;
    size_t i;

    for (i = 0; ok && i < n; i += 2) {
        struct bytes value = words[i + 1];

        if (bytes_equal_fold(words[i], "file")) {
            ok = parse_name(value, e);
        } else if (bytes_equal_fold(words[i], "seq")) {
            ok = parse_number(value, &seq);
        } else if (bytes_equal_fold(words[i], "type")) {
            ok = parse_type(value, e);
        } else if (bytes_equal_fold(words[i], "startoffset")) {
            ok = parse_number(value, &e->start_lsn);
        } else if (bytes_equal_fold(words[i], "endoffset")) {
            ok = parse_number(value, &e->end_lsn);
        }
    }
    e->seq = (uint64_t)seq;
    return ok && seq > 0 && *e->name && e->type;
}

/* M1 */
static const char *note_entry(struct aof_manifest *m, const struct aof_entry *e)
{
    if (e->type == AOF_BASE) {
        if (m->n > 1 && find(m, AOF_BASE, 0) != &m->entries[m->n - 1]) {
            return "there is a second base";
        }
        m->base_seq = e->seq;
    } else if (e->type == AOF_INCR) {
        if (e->seq <= m->incr_seq) {
            return "increments are out of order";
        }
        m->incr_seq = e->seq;
    }
    return NULL;
}

static const char *parse_line(struct aof_manifest *m, const char *text,
                              size_t len)
{
    char line[LINE_MAX_BYTES];
    struct bytes words[WORDS_MAX];
    size_t n;

    if (len == 0) {
        return "it is empty";
    }
    if (len >= sizeof(line)) {
        return "it is too long";
    }
    if (text[0] == '#') {
        return NULL;
    }
    memcpy(line, text, len);
    if (split_words(line, len, words, WORDS_MAX, &n) != ERR_OK ||
        !parse_entry(words, n, add(m))) {
        return "it does not name a file, a number and a type";
    }
    return note_entry(m, &m->entries[m->n - 1]);
}

enum err aof_manifest_parse(struct aof_manifest *m, struct bytes text,
                            struct err_ctx *ctx)
{
    const char *at = (const char *)text.data;
    const char *end = at + text.len;
    size_t number = 0;

    aof_manifest_init(m);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *wrong = stop ? NULL : "its end is missing";

        number++;
        if (!wrong) {
            wrong = parse_line(m, at, (size_t)(stop - at));
        }
        if (wrong) {
            aof_manifest_deinit(m);
            return err_set(ctx, ERR_CORRUPT, "line %zu: %s", number, wrong);
        }
        at = stop + 1;
    }
    if (m->n == 0) {
        aof_manifest_deinit(m);
        return err_set(ctx, ERR_CORRUPT, "it names no file");
    }
    return ERR_OK;
}

/* ---- writing ----------------------------------------------------------- */

static void format_name(const char *name, struct buf *out)
{
    const char *p;

    if (!name[strcspn(name, " \t\"'\\\n\r")]) {
        buf_append_str(out, name);
        return;
    }
    buf_append_byte(out, '"');
    for (p = name; *p; p++) {
        if (*p == '\n' || *p == '\r') {
            buf_printf(out, "\\x%02x", (unsigned)*p);
            continue;
        }
        if (*p == '"' || *p == '\\') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, (uint8_t)*p);
    }
    buf_append_byte(out, '"');
}

void aof_manifest_format(const struct aof_manifest *m, struct buf *out)
{
    static const enum aof_type order[] = {AOF_BASE, AOF_HISTORY, AOF_INCR};
    size_t t, i;

    for (t = 0; t < ARRAY_LEN(order); t++) {
        for (i = 0; i < m->n; i++) {
            const struct aof_entry *e = &m->entries[i];

            if (e->type != order[t]) {
                continue;
            }
            buf_append_str(out, "file ");
            format_name(e->name, out);
            buf_printf(out, " seq %" PRIu64 " type %c", e->seq, (char)e->type);
            if (e->type == AOF_INCR && e->start_lsn >= 0) {
                buf_printf(out, " startoffset %" PRId64, e->start_lsn);
            }
            if (e->type == AOF_INCR && e->end_lsn >= 0) {
                buf_printf(out, " endoffset %" PRId64, e->end_lsn);
            }
            buf_append_byte(out, '\n');
        }
    }
}
