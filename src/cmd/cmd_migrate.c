/* MIGRATE: values go to another server, and then from here.
 *
 * What is to be sent is put together at one instant: large sets are written in
 * turns with the loop (dump_turns.h), and all is begun again when one of the
 * keys was written to meanwhile, a few times; then it is done at once. The talk
 * with the other server happens elsewhere (cmd_host.h, exchange), and this one
 * goes on meanwhile, but for the client that asked. A key that is written to
 * before the other server has confirmed it stays here: the client is told that
 * both have it. Inside EXEC nobody else may come in between, so the loop waits.
 */
#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/dump_turns.h"
#include "cmd/propagate.h"
#include "db/dump.h"

enum { TIMEOUT_DEFAULT_MS = 1000, TRIES = 3 };

/* A key that is sent. */
struct sent_key {
    struct bytes key;      /* in migration->keys_text */
    size_t at;             /* among the arguments */
    struct client watcher; /* told when the key changes */
};

struct migrate_args {
    int64_t timeout_ms, to_db;
    size_t user_at, password_at; /* 0: none */
    size_t first_key, n_keys;
    bool copy, replace;
};

struct migration {
    struct cmd_exchange exchange;
    struct cmd_env *env;
    struct cmd_job *job; /* NULL: its client is gone */
    struct migrate_args args;
    int db;
    bool begun, done;
    size_t n_before; /* replies before those to RESTORE */
    size_t greeting; /* bytes of what is sent before the keys */
    struct sent_key *keys;
    size_t n_keys;
    struct buf keys_text;
    /* while it is put together */
    struct dump_turns dump;
    bool is_listed, is_put, is_dumping;
    size_t at; /* the key that is next */
    int tries;
    struct buf error; /* empty: +OK */
};

/* ---- arguments --------------------------------------------------------- */

static bool parse_keys(struct cmd_ctx *ctx, size_t at, struct migrate_args *a)
{
    if (ctx->argv[3].len) {
        cmd_error(ctx, "ERR When using MIGRATE KEYS option, the key argument "
                       "must be set to the empty string");
        return false;
    }
    a->first_key = at + 1;
    a->n_keys = ctx->argc - at - 1;
    return true;
}

static bool parse(struct cmd_ctx *ctx, struct migrate_args *a)
{
    size_t i;

    *a = (struct migrate_args){.first_key = 3, .n_keys = 1};
    for (i = 6; i < ctx->argc; i++) {
        size_t more = ctx->argc - 1 - i;

        if (arg_is(ctx, i, "COPY")) {
            a->copy = true;
        } else if (arg_is(ctx, i, "REPLACE")) {
            a->replace = true;
        } else if (arg_is(ctx, i, "AUTH") && more >= 1) {
            a->password_at = ++i;
            cmd_hide_argument(ctx, i);
        } else if (arg_is(ctx, i, "AUTH2") && more >= 2) {
            a->user_at = i + 1;
            a->password_at = i + 2;
            i += 2;
            cmd_hide_argument(ctx, i - 1);
            cmd_hide_argument(ctx, i);
        } else if (arg_is(ctx, i, "KEYS")) {
            if (!parse_keys(ctx, i, a)) {
                return false;
            }
            break;
        } else {
            cmd_error_syntax(ctx);
            return false;
        }
    }
    if (!arg_int(ctx, 5, &a->timeout_ms) || !arg_int(ctx, 4, &a->to_db)) {
        return false;
    }
    if (a->timeout_ms <= 0) {
        a->timeout_ms = TIMEOUT_DEFAULT_MS;
    }
    return true;
}

/* For COMMAND GETKEYS: KEYS is looked for where no password can stand, and
 * beside a key of its own there are none at all. */
size_t cmd_migrate_keys(const struct bytes *argv, size_t argc,
                        struct cmd_key *out, size_t cap)
{
    size_t first = 3, end = 4;
    size_t i, n;

    for (i = 6; i < argc; i++) {
        if (bytes_equal_fold(argv[i], "AUTH")) {
            i++;
        } else if (bytes_equal_fold(argv[i], "AUTH2")) {
            i += 2;
        } else if (bytes_equal_fold(argv[i], "KEYS")) {
            first = i + 1;
            end = argv[3].len ? first : argc;
            break;
        }
    }
    for (n = 0; first + n < end; n++) {
        if (n < cap) {
            out[n].at = first + n;
            out[n].flags = CMD_KEY_RW | CMD_KEY_ACCESS | CMD_KEY_DELETE;
        }
    }
    return n;
}

/* ---- what is sent ------------------------------------------------------ */

static void put_head(struct buf *out, size_t argc)
{
    buf_printf(out, "*%zu\r\n", argc);
}

static void put(struct buf *out, struct bytes word)
{
    buf_printf(out, "$%zu\r\n", word.len);
    buf_append_bytes(out, word);
    buf_append_str(out, "\r\n");
}

static void put_int(struct buf *out, int64_t n)
{
    char text[NUM_TEXT_MAX];

    put(out, bytes_of(text, num_format_i64(n, text)));
}

static void put_greeting(struct cmd_ctx *ctx, const struct migrate_args *a,
                         struct migration *m)
{
    struct buf *out = &m->exchange.request;

    if (a->password_at) {
        put_head(out, a->user_at ? 3 : 2);
        put(out, bytes_str("AUTH"));
        if (a->user_at) {
            put(out, ctx->argv[a->user_at]);
        }
        put(out, ctx->argv[a->password_at]);
        m->n_before++;
    }
    put_head(out, 2);
    put(out, bytes_str("SELECT"));
    put_int(out, a->to_db);
    m->n_before++;
}

static void forget_keys(struct migration *m)
{
    size_t i;

    for (i = 0; i < m->n_keys; i++) {
        client_deinit(&m->keys[i].watcher, m->env);
    }
    mem_free(m->keys);
    m->keys = NULL;
    m->n_keys = 0;
    m->keys_text.len = 0;
    m->exchange.request.len = m->greeting;
}

/* Finds out which of the keys are there, and watches them. */
static enum err list_keys(struct migration *m)
{
    const struct bytes *argv = m->job->argv;
    size_t end = m->args.first_key + m->args.n_keys;
    size_t i, at = 0;

    m->keys = mem_try_alloc((m->args.n_keys + 1) * sizeof(*m->keys));
    if (!m->keys) {
        return ERR_NOMEM;
    }
    for (i = m->args.first_key; i < end; i++) {
        struct sent_key *k = &m->keys[m->n_keys];

        if (!keyspace_read(m->env->ks, m->db, argv[i])) {
            continue;
        }
        client_init(&k->watcher, 0, NULL);
        k->watcher.db = m->db;
        k->at = i;
        k->key.len = argv[i].len;
        m->n_keys++;
        buf_append_bytes(&m->keys_text, argv[i]);
        if (multi_watch(m->env, &k->watcher, argv[i]) != ERR_OK) {
            return ERR_NOMEM;
        }
    }
    for (i = 0; i < m->n_keys; i++) {
        m->keys[i].key.data = m->keys_text.data + at;
        at += m->keys[i].key.len;
    }
    m->is_listed = true;
    return ERR_OK;
}

static bool have_changed(const struct migration *m)
{
    size_t i;

    for (i = 0; i < m->n_keys && !m->keys[i].watcher.keys_changed; i++) {
    }
    return i < m->n_keys;
}

static void put_command(struct migration *m, const struct sent_key *k,
                        const struct entry *e)
{
    struct buf *out = &m->exchange.request;
    time_ms now = m->env->ks->now;
    int64_t ttl = 0;

    if (e->expires_at != NO_EXPIRY) {
        ttl = e->expires_at > now ? e->expires_at - now : 1;
    }
    put_head(out, m->args.replace ? 5 : 4);
    put(out, bytes_str("RESTORE"));
    put(out, k->key);
    put_int(out, ttl);
}

/* Begins to put the next key; false when it is gone. */
static bool begin_key(struct migration *m)
{
    const struct sent_key *k = &m->keys[m->at];
    const struct entry *e = keyspace_find(m->env->ks, m->db, k->key);

    if (!e) {
        return false;
    }
    put_command(m, k, e);
    m->dump = (struct dump_turns){.to = &m->exchange.request,
                                  .at_once = m->tries >= TRIES};
    dump_turns_begin(&m->dump, m->job, m->db, k->at);
    m->is_dumping = true;
    return true;
}

/* Everything anew; in the end at once, whatever it takes. */
static void put_from_start(struct migration *m)
{
    if (m->is_dumping) {
        dump_turns_end(&m->dump);
        m->is_dumping = false;
    }
    forget_keys(m);
    m->is_listed = false;
    m->at = 0;
    m->tries++;
}

/* A slice of putting together what is sent; DUMP_DONE when all is, or *err. */
static enum dump_step go_on_putting(struct migration *m, enum err *err)
{
    enum dump_step step;

    if (!m->is_listed) {
        *err = list_keys(m);
        return *err || m->n_keys == 0 ? DUMP_DONE : DUMP_MORE;
    }
    if (have_changed(m) || (!m->is_dumping && !begin_key(m))) {
        put_from_start(m);
        return DUMP_MORE;
    }
    step = dump_turns_step(&m->dump);
    if (step != DUMP_DONE) {
        return step;
    }
    *err = m->dump.err;
    if (*err == ERR_NOT_FOUND) {
        *err = ERR_OK;
        put_from_start(m);
        return DUMP_MORE;
    }
    dump_turns_end(&m->dump);
    m->is_dumping = false;
    if (m->args.replace) {
        put(&m->exchange.request, bytes_str("REPLACE"));
    }
    return *err || ++m->at == m->n_keys ? DUMP_DONE : DUMP_MORE;
}

static void destroy(struct migration *m)
{
    dump_turns_end(&m->dump);
    forget_keys(m);
    mem_free(m->exchange.host);
    mem_free(m->exchange.port);
    buf_deinit(&m->exchange.request);
    buf_deinit(&m->exchange.replies);
    buf_deinit(&m->keys_text);
    buf_deinit(&m->error);
    mem_free(m);
}

/* ---- what comes of it -------------------------------------------------- */

static void set_error(struct migration *m, const char *text)
{
    if (m->error.len == 0) {
        buf_append(&m->error, text, strlen(text) + 1);
    }
}

static void set_target_error(struct migration *m, const char *line)
{
    if (m->error.len == 0) {
        buf_printf(&m->error, "ERR Target instance replied with error: %s",
                   line + 1);
        buf_append_byte(&m->error, 0);
    }
}

/* The other server has the key. */
static void key_arrived(struct migration *m, struct sent_key *k)
{
    struct keyspace *ks = m->env->ks;
    struct entry *e;

    if (m->args.copy) {
        return;
    }
    e = keyspace_find(ks, m->db, k->key);
    if (e && k->watcher.keys_changed) {
        set_error(m, "ERR a key was written to while it was being moved, and "
                     "is there and here");
    } else if (e) {
        struct bytes argv[] = {bytes_str("DEL"), k->key};

        keyspace_delete(ks, m->db, e);
        keyspace_changed(ks, m->db, k->key);
        if (propagate_is_on(&m->env->stream)) {
            propagate_append(m->env, m->db, argv, ARRAY_LEN(argv));
        }
    }
}

/* The replies are lines, each with a NUL instead of its end. */
static void read_replies(struct migration *m)
{
    const char *line = (const char *)m->exchange.replies.data;
    size_t i;

    for (i = 0; i < m->exchange.n_got; i++, line += strlen(line) + 1) {
        if (*line == '-') {
            set_target_error(m, line);
            if (i < m->n_before) {
                return; /* what follows went nowhere, or where it should not */
            }
        } else if (i >= m->n_before) {
            key_arrived(m, &m->keys[i - m->n_before]);
        }
    }
}

static void conclude(struct migration *m)
{
    read_replies(m);
    switch (m->exchange.result) {
    case EXCHANGE_COMPLETE:
        break;
    case EXCHANGE_NOT_CONNECTED:
        set_error(m, "IOERR error or timeout connecting to the client");
        break;
    case EXCHANGE_NOT_SENT:
        set_error(m, "IOERR error or timeout writing to target instance");
        break;
    case EXCHANGE_NOT_ANSWERED:
        set_error(m, "IOERR error or timeout reading to target instance");
        break;
    }
    m->done = true;
}

static void exchanged(struct cmd_exchange *x)
{
    struct migration *m = x->arg;

    conclude(m);
    if (m->job) {
        cmd_job_unpark(m->job);
    } else {
        destroy(m);
    }
}

/* ---- the command ------------------------------------------------------- */

struct migrate_job {
    struct cmd_job job;
    struct migration *m;
};

/* Puts together what is to be sent; true when there is more to do. */
static bool put_together(struct migration *m)
{
    struct cmd_job *job = m->job;
    enum err err = ERR_OK;
    enum dump_step step;

    do {
        step = go_on_putting(m, &err);
    } while (step == DUMP_MORE &&
             (m->tries >= TRIES || !cmd_job_should_yield(job)));
    if (step != DUMP_DONE) {
        return true;
    }
    m->is_put = true;
    m->exchange.n_replies = m->n_before + m->n_keys;
    if (err) {
        set_error(m, "OOM command not allowed when used memory > "
                     "'maxmemory'.");
        m->begun = m->done = true;
    } else if (m->n_keys == 0) {
        m->begun = m->done = true;
    }
    return false;
}

static bool migrate_step(struct cmd_job *job)
{
    struct migration *m = CONTAINER_OF(job, struct migrate_job, job)->m;
    const struct cmd_host *host = job->env->host;

    if (!m->is_put && put_together(m)) {
        return true;
    }
    if (!m->begun) {
        m->begun = true;
        if (job->slice_end_ns == INT64_MAX) {
            host->exchange(host->server, &m->exchange, true);
            conclude(m);
        } else {
            host->exchange(host->server, &m->exchange, false);
            cmd_job_park(job);
            return true;
        }
    }
    if (!m->done) {
        cmd_job_park(job);
        return true;
    }
    if (m->error.len) {
        cmd_job_error(job, (const char *)m->error.data);
    } else {
        reply_status(&job->reply, m->n_keys ? "OK" : "NOKEY");
    }
    return false;
}

static void migrate_destroy(struct cmd_job *job)
{
    struct migrate_job *j = CONTAINER_OF(job, struct migrate_job, job);

    if (j->m->begun && !j->m->done) {
        j->m->job = NULL; /* it goes on, and frees itself */
    } else {
        destroy(j->m);
    }
    mem_free(j);
}

static void begin(struct cmd_ctx *ctx, struct migration *m)
{
    struct migrate_job *j =
        cmd_job_alloc(sizeof(*j), migrate_step, migrate_destroy);

    j->m = m;
    m->job = &j->job;
    cmd_job_start(ctx, &j->job);
}

void cmd_migrate(struct cmd_ctx *ctx)
{
    struct migrate_args a;
    struct migration *m;

    if (!parse(ctx, &a)) {
        return;
    }
    cmd_propagate_none(ctx); /* keys that go are deleted one by one */
    m = mem_calloc(1, sizeof(*m));
    m->env = ctx->env;
    m->db = ctx->client->db;
    m->args = a;
    m->exchange.host = mem_strndup(ctx->argv[1].data, ctx->argv[1].len);
    m->exchange.port = mem_strndup(ctx->argv[2].data, ctx->argv[2].len);
    m->exchange.timeout_ms = a.timeout_ms;
    m->exchange.done = exchanged;
    m->exchange.arg = m;
    put_greeting(ctx, &a, m);
    m->greeting = m->exchange.request.len;
    begin(ctx, m);
}
