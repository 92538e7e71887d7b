/* CLIENT: what is known about connections, and ending them. */
#include <stdlib.h>

#include "base/mem.h"
#include "cmd/args.h"

void cmd_client_id(struct cmd_ctx *ctx)
{
    reply_int(&ctx->reply, (int64_t)ctx->client->id);
}

void cmd_client_getname(struct cmd_ctx *ctx)
{
    if (ctx->client->name) {
        reply_bulk_str(&ctx->reply, ctx->client->name);
    } else {
        reply_null(&ctx->reply);
    }
}

void cmd_client_setname(struct cmd_ctx *ctx)
{
    if (!client_name_is_valid(ctx->argv[2])) {
        cmd_error(ctx, "ERR Client names cannot contain spaces, newlines or "
                       "special characters.");
        return;
    }
    client_set_name(ctx->client, ctx->argv[2]);
    reply_status(&ctx->reply, "OK");
}

void cmd_client_setinfo(struct cmd_ctx *ctx)
{
    struct bytes option = ctx->argv[2];
    struct bytes value = ctx->argv[3];
    char **text;

    if (arg_is(ctx, 2, "LIB-NAME")) {
        text = &ctx->client->lib_name;
    } else if (arg_is(ctx, 2, "LIB-VER")) {
        text = &ctx->client->lib_ver;
    } else {
        cmd_error_fmt(ctx, "ERR Unrecognized option '%.*s'",
                      (int)(option.len < 128 ? option.len : 128),
                      (const char *)option.data);
        return;
    }
    if (!client_name_is_valid(value)) {
        cmd_error_fmt(ctx,
                      "ERR %.*s cannot contain spaces, newlines or special "
                      "characters.",
                      (int)option.len, (const char *)option.data);
        return;
    }
    mem_free(*text);
    *text = value.len ? mem_strndup(value.data, value.len) : NULL;
    reply_status(&ctx->reply, "OK");
}

/* ---- CLIENT LIST, CLIENT INFO ------------------------------------------ */

static void append_flags(const struct client *c, struct buf *out)
{
    size_t before = out->len;

    buf_append_str(out, c->is_monitor ? "O" : "");
    buf_append_str(out, c->in_multi ? "x" : "");
    buf_append_str(out, c->job ? "b" : "");
    buf_append_str(out, c->keys_changed ? "d" : "");
    buf_append_str(out, c->is_unix ? "U" : "");
    buf_append_str(out, out->len == before ? "N" : "");
}

/* Redis's fields in its order. What there is none of here (pub/sub, client
 * tracking, reply blocks) is 0 or -1, as it is there for a client that makes no
 * use of it; replies have one buffer, whose unread bytes are omem. */
static void append_line(struct cmd_env *env, struct client *c, size_t argv_mem,
                        struct buf *out)
{
    struct net_client_info info;
    time_us now = clock_mono_us();

    env->host->client_info(c, &info);
    buf_printf(out,
               "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld "
               "flags=",
               (unsigned long long)c->id, info.addr, info.laddr, info.fd,
               c->name ? c->name : "",
               (long long)((now - c->connected_at) / 1000000),
               (long long)(now > info.last_read_at
                               ? (now - info.last_read_at) / 1000000
                               : 0));
    append_flags(c, out);
    buf_printf(out,
               " db=%d sub=0 psub=0 ssub=0 multi=%lld watch=%zu qbuf=%zu "
               "qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=0 rbp=0 obl=0 "
               "oll=%d omem=%zu tot-mem=%zu events=%s cmd=%s user=default "
               "redir=-1 resp=%d lib-name=%s lib-ver=%s io-thread=0\n",
               c->db, c->in_multi ? (long long)c->n_queued : -1,
               multi_watch_count(c), info.query_bytes, info.query_free,
               argv_mem, c->queued_bytes, info.output_bytes > 0,
               info.output_bytes, info.memory_bytes + argv_mem,
               info.output_bytes > 0 ? "rw" : "r",
               c->last_command ? c->last_command->name : "NULL", c->proto,
               c->lib_name ? c->lib_name : "", c->lib_ver ? c->lib_ver : "");
}

/* Bytes of the arguments of the command that runs. */
static size_t argv_memory(const struct cmd_ctx *ctx)
{
    size_t bytes = 0;
    size_t i;

    for (i = 0; i < ctx->argc; i++) {
        bytes += ctx->argv[i].len;
    }
    return bytes;
}

void cmd_client_info(struct cmd_ctx *ctx)
{
    struct buf text = BUF_INIT;

    append_line(ctx->env, ctx->client, argv_memory(ctx), &text);
    reply_verbatim(&ctx->reply, buf_bytes(&text));
    buf_deinit(&text);
}

/* Every client is of the type "normal": there are no replicas yet, no primary
 * and no subscribers. */
static bool parse_type(struct cmd_ctx *ctx, size_t i, bool *normal)
{
    *normal = arg_is(ctx, i, "normal");
    if (*normal || arg_is(ctx, i, "master") || arg_is(ctx, i, "replica") ||
        arg_is(ctx, i, "slave") || arg_is(ctx, i, "pubsub")) {
        return true;
    }
    cmd_error_fmt(ctx, "ERR Unknown client type '%.*s'",
                  (int)(ctx->argv[i].len < 128 ? ctx->argv[i].len : 128),
                  (const char *)ctx->argv[i].data);
    return false;
}

struct listing {
    struct cmd_ctx *ctx;
    struct buf text;
};

static void list_one(struct client *c, void *arg)
{
    struct listing *l = arg;

    append_line(l->ctx->env, c, c == l->ctx->client ? argv_memory(l->ctx) : 0,
                &l->text);
}

/* The ids of CLIENT LIST ID, sorted so that one walk over the clients finds
 * them all, however many are asked for. */
struct asked_id {
    int64_t id;
    size_t place; /* in the request */
};

struct id_search {
    struct asked_id *asked;
    struct client **found; /* by place; NULL: nobody has it */
    size_t n;
};

static int compare_ids(const void *a, const void *b)
{
    const struct asked_id *x = a;
    const struct asked_id *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static void match_ids(struct client *c, void *arg)
{
    struct id_search *s = arg;
    size_t low = 0;
    size_t high = s->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (s->asked[mid].id < (int64_t)c->id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < s->n && s->asked[low].id == (int64_t)c->id; low++) {
        s->found[s->asked[low].place] = c;
    }
}

/* Lists the ids in argv[3 ..] in their order, passing over those that nobody
 * has. False: an error was replied. */
static bool list_ids(struct cmd_ctx *ctx, struct listing *l)
{
    const struct cmd_host *host = ctx->env->host;
    struct id_search s = {.n = ctx->argc - 3};
    bool ok = true;
    size_t i;

    s.asked = mem_calloc(s.n, sizeof(*s.asked));
    s.found = mem_calloc(s.n, sizeof(struct client *));
    for (i = 0; i < s.n && ok; i++) {
        s.asked[i].place = i;
        ok = arg_int_in(ctx, 3 + i, INT64_MIN, INT64_MAX,
                        "ERR Invalid client ID", &s.asked[i].id);
    }
    if (ok) {
        qsort(s.asked, s.n, sizeof(*s.asked), compare_ids);
        host->each_client(host->server, match_ids, &s);
    }
    for (i = 0; i < s.n && ok; i++) {
        if (s.found[i]) {
            list_one(s.found[i], l);
        }
    }
    mem_free(s.asked);
    mem_free(s.found);
    return ok;
}

void cmd_client_list(struct cmd_ctx *ctx)
{
    struct listing l = {ctx, BUF_INIT};
    bool all = true;

    if (ctx->argc > 3 && arg_is(ctx, 2, "ID")) {
        if (!list_ids(ctx, &l)) {
            buf_deinit(&l.text);
            return;
        }
        all = false;
    } else if (ctx->argc == 4 && arg_is(ctx, 2, "TYPE")) {
        if (!parse_type(ctx, 3, &all)) {
            return;
        }
    } else if (ctx->argc != 2) {
        cmd_error_syntax(ctx);
        return;
    }
    if (all) {
        ctx->env->host->each_client(ctx->env->host->server, list_one, &l);
    }
    reply_verbatim(&ctx->reply, buf_bytes(&l.text));
    buf_deinit(&l.text);
}

/* ---- CLIENT KILL ------------------------------------------------------- */

struct kill_filter {
    struct cmd_ctx *ctx;
    struct bytes addr, laddr; /* empty: any */
    uint64_t id;              /* 0: any */
    int64_t max_age_s;        /* 0: any */
    bool nobody;              /* a type or user that no client is of */
    bool skip_me;
    int64_t killed;
};

static bool kill_matches(const struct kill_filter *f, struct client *c)
{
    const struct cmd_env *env = f->ctx->env;
    struct net_client_info info;

    if (f->nobody || (f->id && c->id != f->id) ||
        (f->skip_me && c == f->ctx->client) ||
        (f->max_age_s &&
         clock_mono_us() - c->connected_at < f->max_age_s * 1000000)) {
        return false;
    }
    if (!f->addr.len && !f->laddr.len) {
        return true;
    }
    env->host->client_info(c, &info);
    return (!f->addr.len || bytes_equal(f->addr, bytes_str(info.addr))) &&
           (!f->laddr.len || bytes_equal(f->laddr, bytes_str(info.laddr)));
}

/* The client that asks gets its reply before it goes. */
static void kill_if_matches(struct client *c, void *arg)
{
    struct kill_filter *f = arg;
    const struct cmd_host *host = f->ctx->env->host;

    if (!kill_matches(f, c)) {
        return;
    }
    f->killed++;
    if (c == f->ctx->client) {
        host->close_after_reply(c);
    } else {
        host->close(c);
    }
}

static bool parse_user(struct cmd_ctx *ctx, size_t i)
{
    if (bytes_equal(ctx->argv[i], bytes_str("default"))) {
        return true;
    }
    cmd_error_fmt(ctx, "ERR No such user '%.*s'",
                  (int)(ctx->argv[i].len < 128 ? ctx->argv[i].len : 128),
                  (const char *)ctx->argv[i].data);
    return false;
}

static bool parse_max_age(struct cmd_ctx *ctx, size_t i, int64_t *out)
{
    if (!arg_int_in(ctx, i, INT64_MIN, INT64_MAX,
                    "ERR maxage is not an integer or out of range", out)) {
        return false;
    }
    if (*out <= 0) {
        cmd_error(ctx, "ERR maxage should be greater than 0");
        return false;
    }
    if (*out > INT64_MAX / 1000000) {
        *out = INT64_MAX / 1000000;
    }
    return true;
}

/* One pair of the new form, argv[i] and argv[i + 1]. */
static bool parse_filter(struct cmd_ctx *ctx, size_t i, struct kill_filter *f)
{
    bool normal = true;
    bool ok = true;
    int64_t id;

    if (arg_is(ctx, i, "ID")) {
        ok = arg_int_in(ctx, i + 1, 1, INT64_MAX,
                        "ERR client-id should be greater than 0", &id);
        f->id = ok ? (uint64_t)id : 0;
    } else if (arg_is(ctx, i, "TYPE")) {
        ok = parse_type(ctx, i + 1, &normal);
        f->nobody |= !normal;
    } else if (arg_is(ctx, i, "ADDR")) {
        f->addr = ctx->argv[i + 1];
    } else if (arg_is(ctx, i, "LADDR")) {
        f->laddr = ctx->argv[i + 1];
    } else if (arg_is(ctx, i, "USER")) {
        ok = parse_user(ctx, i + 1);
    } else if (arg_is(ctx, i, "MAXAGE")) {
        ok = parse_max_age(ctx, i + 1, &f->max_age_s);
    } else if (arg_is(ctx, i, "SKIPME") && arg_is(ctx, i + 1, "YES")) {
        f->skip_me = true;
    } else if (arg_is(ctx, i, "SKIPME") && arg_is(ctx, i + 1, "NO")) {
        f->skip_me = false;
    } else {
        cmd_error_syntax(ctx);
        ok = false;
    }
    return ok;
}

void cmd_client_kill(struct cmd_ctx *ctx)
{
    const struct cmd_host *host = ctx->env->host;
    struct kill_filter f = {.ctx = ctx};
    size_t i;

    if (ctx->argc == 3) {
        f.addr = ctx->argv[2];
        f.nobody = f.addr.len == 0;
    } else if (ctx->argc % 2) {
        cmd_error_syntax(ctx);
        return;
    } else {
        f.skip_me = true;
        for (i = 2; i < ctx->argc; i += 2) {
            if (!parse_filter(ctx, i, &f)) {
                return;
            }
        }
    }
    host->each_client(host->server, kill_if_matches, &f);
    if (ctx->argc > 3) {
        reply_int(&ctx->reply, f.killed);
    } else if (f.killed) {
        reply_status(&ctx->reply, "OK");
    } else {
        cmd_error(ctx, "ERR No such client");
    }
}
