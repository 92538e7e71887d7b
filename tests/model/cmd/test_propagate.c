/* The canonical stream: whatever commands do to one keyspace, what they put
 * into the stream does to another.
 *
 * A keyspace gets random commands of every kind that writes, alone and in
 * transactions, jobs in slices among them, while keys expire. Now and then the
 * stream is run on a second keyspace, whose digest must then be the first
 * one's. Single commands are also compared with the text they are to become. */
#include "unit/cm.h"

#include <stdio.h>

#include "base/mem.h"
#include "cmd/job.h"
#include "cmd/replay.h"
#include "db/search/search.h"
#include "db/vset/vset.h"
#include "unit/cmd_host.h"

enum { STEPS = 20000, KEYS = 24, NAMES = 40, DBS = 3, BULK = 3000 };

struct side {
    struct keyspace *ks;
    struct cmd_env env;
    struct client client;
    struct buf out; /* what the client was replied */
};

struct world {
    struct pool *pool;
    struct reaper *reaper;
    struct side a, b;
    struct replay replay;
    struct rng rng;
};

static struct world w;

static void wake(void *arg)
{
    (void)arg;
}

/* ---- a host without sockets -------------------------------------------- */

static struct buf *host_out(struct client *c)
{
    return c == &w.a.client ? &w.a.out : &replay_of(c)->out;
}

static void host_give(struct client *c, struct buf *reply)
{
    buf_append_bytes(host_out(c), buf_bytes(reply));
    reply->len = 0;
}

static const struct cmd_host host = HOST_WITHOUT_SOCKETS(host_out, host_give);

/* ---- the fixture ------------------------------------------------------- */

static void side_begin(struct side *s)
{
    s->ks = keyspace_create(DBS, w.pool, w.reaper);
    cmd_env_init(&s->env, s->ks, &host);
    s->env.settings.slowlog_slower_than_us = -1;
    s->env.settings.bulk_max = 1 << 20;
    client_init(&s->client, 1, NULL);
    s->client.authenticated = true;
}

static void side_end(struct side *s)
{
    client_deinit(&s->client, &s->env);
    cmd_env_deinit(&s->env);
    keyspace_destroy(s->ks);
    buf_deinit(&s->out);
}

static int setup(void **state)
{
    struct pool_options o = {.n_workers = 1,
                             .wake = wake,
                             .worker_init = search_worker_init,
                             .worker_deinit = search_worker_deinit};

    (void)state;
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    command_init();
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    assert_int_equal(pool_create(&o, &w.pool), ERR_OK);
    assert_int_equal(reaper_create(&w.reaper), ERR_OK);
    side_begin(&w.a);
    side_begin(&w.b);
    propagate_start(&w.a.env);
    replay_begin(&w.replay, &w.b.env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    replay_end(&w.replay);
    pool_destroy(w.pool);
    side_end(&w.a);
    side_end(&w.b);
    reaper_destroy(w.reaper);
    return 0;
}

/* ---- running ----------------------------------------------------------- */

enum { ARGS = 2 * BULK + 16 };

/* A command that is being put together; its texts lie in `text`. */
struct line {
    struct bytes argv[ARGS];
    size_t at[ARGS];
    size_t argc;
    struct buf text;
};

static struct line line;

static void add_bytes(struct bytes b)
{
    line.at[line.argc] = line.text.len;
    line.argv[line.argc++].len = b.len;
    buf_append_bytes(&line.text, b);
}

static void add(const char *word)
{
    add_bytes(bytes_str(word));
}

/* `before`, the number, `after` as one argument. */
static void add_number(const char *before, uint64_t n, const char *after)
{
    char text[64];

    snprintf(text, sizeof(text), "%s%lld%s", before, (long long)n, after);
    add(text);
}

/* Runs it on the first keyspace, in slices if it is a job. */
static void run(void)
{
    size_t i;

    for (i = 0; i < line.argc; i++) {
        line.argv[i].data = line.text.data + line.at[i];
    }
    w.a.out.len = 0;
    cmd_run(&w.a.env, &w.a.client, line.argv, line.argc);
    line.argc = 0;
    line.text.len = 0;
}

static void words(const char *text)
{
    while (*text) {
        size_t n = strcspn(text, " ");

        add_bytes(bytes_of(text, n));
        text += n + (text[n] == ' ');
    }
}

static void finish_jobs(void)
{
    while (w.a.client.job) {
        cmd_jobs_run(&w.a.env);
    }
}

/* Takes a number and the line end off the front of *text. */
static size_t take_number(struct bytes *text, char type)
{
    size_t n = 0;
    size_t i = 1;

    assert_true(text->len > 3 && text->data[0] == type);
    while (text->data[i] != '\r') {
        n = n * 10 + (size_t)(text->data[i++] - '0');
    }
    *text = bytes_of(text->data + i + 2, text->len - i - 2);
    return n;
}

/* Runs the stream on the second keyspace. */
static void replay(void)
{
    struct cmd_stream *s = &w.a.env.stream;
    struct bytes rest = buf_bytes(&s->out);
    struct bytes *argv = mem_alloc((ARGS + 16) * sizeof(*argv));

    while (rest.len) {
        struct err_ctx ctx = {""};
        size_t argc = take_number(&rest, '*');
        size_t i;

        assert_true(argc < ARGS + 16);
        for (i = 0; i < argc; i++) {
            argv[i].len = take_number(&rest, '$');
            argv[i].data = rest.data;
            rest = bytes_of(rest.data + argv[i].len + 2,
                            rest.len - argv[i].len - 2);
        }
        if (replay_command(&w.replay, argv, argc, &ctx) != ERR_OK) {
            fail_msg("%s", ctx.text);
        }
    }
    assert_false(replay_in_transaction(&w.replay));
    mem_free(argv);
    propagate_taken(s, s->out.len);
}

static void digest(struct side *s, struct client *c, struct buf *out,
                   char text[64])
{
    struct bytes argv[] = {bytes_str("debug"), bytes_str("digest")};
    const struct command *parent;
    const struct command *digest = command_lookup(argv, 2, &parent);

    out->len = 0;
    s->ks->keep_expired = true;
    cmd_call(&s->env, c, digest, argv, 2, true);
    assert_true(out->len < 64 && out->data[0] == '+');
    memcpy(text, out->data, out->len);
    text[out->len] = '\0';
}

static void compare(void)
{
    char a[64], b[64];

    finish_jobs();
    replay();
    digest(&w.a, &w.a.client, &w.a.out, a);
    digest(&w.b, &w.replay.client, &w.replay.out, b);
    w.a.ks->keep_expired = false;
    assert_string_equal(a, b);
    keyspace_validate(w.a.ks);
    keyspace_validate(w.b.ks);
}

/* ---- random commands --------------------------------------------------- */

static uint64_t below(uint64_t n)
{
    return rng_below(&w.rng, n);
}

static void add_key(char kind)
{
    char text[32];

    snprintf(text, sizeof(text), "%c%d", kind, (int)below(KEYS));
    add(text);
}

static void add_name(void)
{
    add_number("e", below(NAMES), "");
}

static void add_blob(size_t n)
{
    float x[64];
    size_t i;

    assert_true(n <= 64);
    for (i = 0; i < n; i++) {
        x[i] = (float)below(2001) / 1000 - 1;
    }
    add_bytes(bytes_of(x, n * sizeof(float)));
}

static void add_values(size_t n)
{
    size_t i;

    add("VALUES");
    add_number("", n, "");
    for (i = 0; i < n; i++) {
        char text[32];

        snprintf(text, sizeof(text), "%.3g", (double)below(2001) / 1000 - 1);
        add(text);
    }
}

/* Half of the times are over in a moment. */
static void add_time(bool seconds, bool absolute)
{
    long long t =
        below(2) ? 100000 + (long long)below(1000) : (long long)below(3) + 1;

    if (absolute) {
        t += clock_wall_ms();
        t -= below(4) == 0 ? 200000 : 0;
    }
    add_number("", (uint64_t)(seconds ? t / 1000 + 1 : t), "");
}

static void set_string(void)
{
    static const char *const times[] = {"EX", "PX", "EXAT", "PXAT"};
    uint64_t t = below(8);

    add("SET");
    add_key('s');
    add_number("", below(1000), "");
    if (t < 4) {
        add(times[t]);
        add_time(t % 2 == 0, t >= 2);
    } else if (t == 4) {
        add("KEEPTTL");
    }
    if (below(4) == 0) {
        add(below(2) ? "NX" : "XX");
    }
    if (below(4) == 0) {
        add("GET");
    }
}

static void expire(void)
{
    static const char *const names[] = {"EXPIRE", "PEXPIRE", "EXPIREAT",
                                        "PEXPIREAT"};
    static const char *const conditions[] = {"NX", "XX", "GT", "LT"};
    uint64_t i = below(4);

    add(names[i]);
    add_key(below(2) ? 's' : 'v');
    if (below(8) == 0) {
        add("-1");
    } else {
        add_time(i % 2 == 0, i >= 2);
    }
    if (below(3) == 0) {
        add(conditions[below(4)]);
    }
}

static void getex(void)
{
    add("GETEX");
    add_key('s');
    switch (below(4)) {
    case 0:
        add("PERSIST");
        break;
    case 1:
        add("PX");
        add_time(false, false);
        break;
    case 2:
        add("EXAT");
        add_time(true, true);
        break;
    default:
        break;
    }
}

static void vadd(void)
{
    static const char *const types[] = {"Q8", "NOQUANT", "BIN"};
    int key = (int)below(KEYS);
    size_t reduce = key % 4 == 3 ? 5 : 0;

    add("VADD");
    add_number("v", (uint64_t)key, "");
    if (reduce) {
        add("REDUCE");
        add("5");
    }
    if (below(2)) {
        add("FP32");
        add_blob(8);
    } else {
        add_values(8);
    }
    add_name();
    if (below(2)) {
        add("CAS");
    }
    if (below(4)) {
        add(types[key % 3]);
    }
    if (below(4) == 0) {
        add("EF");
        add("100");
    }
    if (below(4) == 0) {
        add("M");
        add("16");
    }
    if (below(3) == 0) {
        add("SETATTR");
        if (below(4)) {
            add_number("{\"n\":", below(100), "}");
        } else {
            add("");
        }
    }
}

static void vmadd(size_t n)
{
    bool attrs = below(2);
    size_t i;
    float *x = mem_alloc(n * 8 * sizeof(float));

    for (i = 0; i < n * 8; i++) {
        x[i] = (float)below(2001) / 1000 - 1;
    }
    add("VMADD");
    add_number("w", below(4), "");
    add_number("", n, "");
    add("FP32");
    add_bytes(bytes_of(x, n * 8 * sizeof(float)));
    mem_free(x);
    for (i = 0; i < n; i++) {
        add_number("e", below(2 * n), "");
    }
    if (below(2)) {
        add("Q8");
    }
    if (attrs) {
        add("ATTRS");
        for (i = 0; i < n; i++) {
            add_number("{\"n\":", i, "}");
        }
    }
}

static void vmrem(size_t n)
{
    size_t i;

    add("VMREM");
    add_number("w", below(4), "");
    for (i = 0; i < n; i++) {
        add_number("e", below(2 * n), "");
    }
}

static void del(size_t n)
{
    size_t i;

    add(below(2) ? "DEL" : "UNLINK");
    for (i = 0; i < n; i++) {
        add_key(below(4) ? 's' : below(4) ? 'v' : 'w');
    }
}

static void pairs(void)
{
    size_t n = 1 + below(4);

    add(below(2) ? "MSET" : "MSETNX");
    while (n--) {
        add_key('s');
        add_number("", below(100), "");
    }
}

/* Commands of a key that is a string, mostly. */
static void simple(const char *text, bool number)
{
    add(text);
    add_key(below(20) ? 's' : 'v');
    if (number) {
        add_number("", below(100), "");
    }
}

static void string_command(void)
{
    static const struct {
        const char *name;
        bool number;
    } simple_ones[] = {{"SETNX", true},   {"GETSET", true},  {"APPEND", true},
                       {"INCR", false},   {"DECR", false},   {"INCRBY", true},
                       {"DECRBY", true},  {"GETDEL", false}, {"GET", false},
                       {"PERSIST", false}};
    uint64_t i = below(18);

    if (i < ARRAY_LEN(simple_ones)) {
        simple(simple_ones[i].name, simple_ones[i].number);
    } else if (i < 12) {
        add("INCRBYFLOAT");
        add_key('s');
        add_number("0.", below(1000), "");
    } else if (i < 13) {
        add("SETRANGE");
        add_key('s');
        add_number("", below(10), "");
        add("xy");
    } else if (i < 14) {
        add(below(2) ? "SETEX" : "PSETEX");
        add_key('s');
        add_time(false, false);
        add("v");
    } else if (i < 15) {
        getex();
    } else if (i < 16) {
        pairs();
    } else {
        set_string();
    }
}

static void key_command(void)
{
    char kind = below(2) ? 's' : 'v';

    switch (below(8)) {
    case 0:
        add(below(2) ? "RENAME" : "RENAMENX");
        add_key(kind);
        add_key(kind);
        break;
    case 1:
        add("MOVE");
        add_key(kind);
        add_number("", below(DBS), "");
        break;
    case 2:
    case 3:
        del(1 + below(3));
        break;
    default:
        expire();
        break;
    }
}

static void set_command(void)
{
    switch (below(8)) {
    case 0:
        add("VREM");
        add_key('v');
        add_name();
        break;
    case 1:
        add("VSETATTR");
        add_key('v');
        add_name();
        if (below(3)) {
            add_number("{\"a\":", below(100), "}");
        } else {
            add("");
        }
        break;
    case 2:
        add("VTRAIN");
        add_key('v');
        add(below(2) ? "FLAT" : "HNSW");
        break;
    case 3:
        add("VCREATE");
        add_key('v');
        words(below(2) ? "DIM 8 METRIC L2 FP16" : "DIM 8 BF16 INDEX FLAT");
        break;
    default:
        vadd();
        break;
    }
}

static void rare_command(void)
{
    switch (below(12)) {
    case 0:
        words("FLUSHDB");
        break;
    case 1:
        words(below(4) ? "FLUSHDB" : "FLUSHALL");
        break;
    case 2:
    case 3:
        words("SWAPDB 0 1");
        break;
    case 4:
    case 5:
    case 6:
        vmrem(below(2) ? 3 : BULK);
        break;
    case 7:
        del(1500);
        break;
    default:
        vmadd(below(2) ? 3 : BULK);
        break;
    }
}

static void random_command(void)
{
    uint64_t kind = below(300);

    if (kind < 3) {
        rare_command();
    } else if (kind < 20) {
        add("SELECT");
        add_number("", below(DBS), "");
    } else if (kind < 140) {
        string_command();
    } else if (kind < 180) {
        key_command();
    } else {
        set_command();
    }
    run();
}

static void random_commands_come_out_equal(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < STEPS; i++) {
        if (!w.a.client.in_multi && below(30) == 0) {
            words("MULTI");
            run();
        } else if (w.a.client.in_multi && below(5) == 0) {
            words(below(6) ? "EXEC" : "DISCARD");
            run();
        } else {
            random_command();
        }
        /* While a job is under way another client's commands may come. */
        while (w.a.client.job && below(3)) {
            cmd_jobs_run(&w.a.env);
        }
        if (w.a.client.job) {
            struct cmd_job *job = w.a.client.job;

            w.a.client.job = NULL;
            add("SET");
            add_key('s');
            add("while");
            run();
            w.a.client.job = job;
            finish_jobs();
        }
        if (below(100) == 0) {
            keyspace_expire_some(w.a.ks, 1000);
        }
        if (below(500) == 0) {
            compare();
        }
    }
    if (w.a.client.in_multi) {
        words("EXEC");
        run();
    }
    compare();
    assert_true(w.replay.n_commands > STEPS / 4);
}

/* ---- what single commands become --------------------------------------- */

/* The stream since the last look, words separated by blanks, commands by
 * "; ". */
static const char *taken(void)
{
    static char text[4096];
    struct cmd_stream *s = &w.a.env.stream;
    struct bytes rest = buf_bytes(&s->out);
    size_t len = 0;

    finish_jobs();
    while (rest.len) {
        size_t argc = take_number(&rest, '*');

        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
                                len ? "; " : "");
        while (argc--) {
            size_t n = take_number(&rest, '$');

            len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s%s",
                                    (int)n, (const char *)rest.data,
                                    argc ? " " : "");
            rest = bytes_of(rest.data + n + 2, rest.len - n - 2);
        }
    }
    text[len] = '\0';
    propagate_taken(s, s->out.len);
    return text;
}

static const char *becomes(const char *text)
{
    words(text);
    run();
    return taken();
}

static void commands_become_what_can_be_repeated(void **state)
{
    static const char *const same[] = {
        "SET a 1",         "SET a 2 XX GET",  "SETNX b 1",     "MSET a 1 b 2",
        "APPEND a x",      "SET n 5",         "INCRBY n 3",    "PERSIST t",
        "RENAME a c",      "SET u 1 KEEPTTL", "DEL b nothere", "SWAPDB 1 2",
        "VCREATE g DIM 2", "VTRAIN g FLAT",   "FLUSHALL",
    };
    size_t i;

    (void)state;
    assert_string_equal(becomes("SET t 1"), "SELECT 0; SET t 1");
    assert_string_equal(becomes("EXPIREAT t 99999999999"),
                        "PEXPIREAT t 99999999999000");
    for (i = 0; i < ARRAY_LEN(same); i++) {
        assert_string_equal(becomes(same[i]), same[i]);
    }
    assert_string_equal(becomes("GET t"), "");
    assert_string_equal(becomes("DEL nothere"), "");
    assert_string_equal(becomes("SET k v EXAT 99999999999"),
                        "SET k v PXAT 99999999999000");
    assert_string_equal(becomes("SET k w EXAT 99999999999 XX GET"),
                        "SET k w PXAT 99999999999000");
    assert_string_equal(becomes("GETEX k PERSIST"), "PERSIST k");
    assert_string_equal(becomes("GETEX k PXAT 99999999999000"),
                        "PEXPIREAT k 99999999999000");
    assert_string_equal(becomes("GETEX k PXAT 1"), "DEL k");
    assert_string_equal(becomes("INCRBYFLOAT f 1.5"), "SET f 1.5 KEEPTTL");
    assert_string_equal(becomes("GETDEL f"), "DEL f");
    assert_string_equal(becomes("SET k v"), "SET k v");
    assert_string_equal(becomes("EXPIRE k -1"), "DEL k");
    assert_string_equal(becomes("VADD v FP32 AAAABBBB e Q8 SETATTR {} EF 5"),
                        "VADD v FP32 AAAABBBB e Q8 SETATTR {} EF 5");
    assert_string_equal(becomes("VADD v FP32 AAAABBBB e CAS M 16 EF 5"),
                        "VADD v FP32 AAAABBBB e EF 5 M 16");
    /* 12.078431 is four letters A, to the last bit of a float. */
    assert_string_equal(
        becomes("VADD v VALUES 2 12.078431129455566 12.078431129455566 e "
                "SETATTR {\"a\":1} CAS"),
        "VADD v FP32 AAAAAAAA e SETATTR {\"a\":1}");
    assert_string_equal(becomes("VREM v nothere"), "");
    assert_string_equal(becomes("VSETATTR v nothere x"), "");
    assert_string_equal(becomes("VREM v e"), "VREM v e");
    assert_string_equal(becomes("SELECT 2"), "");
    assert_string_equal(becomes("SET k v"), "SELECT 2; SET k v");
}

static void a_transaction_is_one_unit(void **state)
{
    (void)state;
    assert_string_equal(becomes("MULTI"), "");
    assert_string_equal(becomes("SET a 1"), "");
    assert_string_equal(becomes("GET a"), "");
    assert_string_equal(becomes("SELECT 1"), "");
    assert_string_equal(becomes("SET b 2 EXAT 99999999999"), "");
    assert_string_equal(becomes("EXEC"),
                        "MULTI; SELECT 0; SET a 1; SELECT 1; SET b 2 PXAT "
                        "99999999999000; EXEC");
    becomes("MULTI");
    becomes("GET a");
    assert_string_equal(becomes("EXEC"), "");
}

static void what_expires_is_deleted_in_the_stream(void **state)
{
    (void)state;
    becomes("SET a 1 PXAT 1");
    becomes("SET b 1 PXAT 1");
    assert_string_equal(becomes("GET a"), "DEL a");
    keyspace_expire_some(w.a.ks, 1000000);
    assert_string_equal(taken(), "DEL b");
    becomes("SET a 1 PXAT 1");
    assert_string_equal(becomes("INCR a"), "DEL a; INCR a");
}

static void nobody_listening_costs_nothing(void **state)
{
    uint64_t lsn = w.a.env.stream.lsn;

    (void)state;
    propagate_stop(&w.a.env);
    becomes("SET a 1 EX 100");
    becomes("VADD v VALUES 2 1 1 e");
    assert_int_equal(w.a.env.stream.lsn, lsn);
    assert_null(w.a.env.stream.out.data);
}

static void bad_streams_are_refused(void **state)
{
    static const char *const lines[] = {"NOSUCH a",   "GET a",     "SET a",
                                        "EXEC",       "SELECT 99", "SELECT x",
                                        "INCRBY a x", "PING"};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(lines); i++) {
        struct bytes argv[4];
        struct err_ctx ctx = {""};
        size_t argc = 0;
        const char *at = lines[i];

        while (*at) {
            size_t n = strcspn(at, " ");

            argv[argc++] = bytes_of(at, n);
            at += n + (at[n] == ' ');
        }
        assert_int_equal(replay_command(&w.replay, argv, argc, &ctx),
                         ERR_CORRUPT);
        assert_true(strlen(ctx.text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_commands_come_out_equal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(commands_become_what_can_be_repeated,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_is_one_unit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_expires_is_deleted_in_the_stream,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listening_costs_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(bad_streams_are_refused, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
