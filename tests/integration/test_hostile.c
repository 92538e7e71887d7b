/* Clients that mean harm or know no better: a seeded mix of valid commands,
 * mutated ones, garbage, half requests, connections that end anywhere and ones
 * that never read. The server must live, answer another client all the while,
 * stay within its memory and leave keys alone that nobody touched.
 *
 * HOSTILE_SECONDS says how long (default 3), SEED repeats a run. */
#include "integration/server_fixture.h"

enum {
    SOCKETS = 24,
    KEYS = 8,
    NAMES = 300,
    DIM = 12,
    REQUEST_MAX = 1 << 16,
    CHECK_EVERY = 500,
    MEMORY_MAX = 200 << 20,
    /* What may stand beside maxmemory: replies and requests under way. */
    MEMORY_SLACK = 500 << 20,
};

static struct server server;
static struct rng rng;

struct request {
    size_t len;
    char bytes[REQUEST_MAX];
};

static struct request request; /* the one being made */

static uint32_t below(uint32_t n)
{
    return (uint32_t)(rng_next(&rng) % n);
}

/* ---- making requests --------------------------------------------------- */

static void add_bytes(const void *data, size_t len)
{
    if (len <= sizeof(request.bytes) - request.len) {
        memcpy(request.bytes + request.len, data, len);
        request.len += len;
    }
}

static void begin(int argc)
{
    char head[32];

    add_bytes(head, (size_t)snprintf(head, sizeof(head), "*%d\r\n", argc));
}

static void blob(const void *data, size_t len)
{
    char head[32];

    add_bytes(head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len));
    add_bytes(data, len);
    add_bytes("\r\n", 2);
}

static void word(const char *text)
{
    blob(text, strlen(text));
}

static void number(long long n)
{
    char text[32];

    blob(text, (size_t)snprintf(text, sizeof(text), "%lld", n));
}

static void key(void)
{
    char text[32];

    blob(text, (size_t)snprintf(text, sizeof(text), "h%u", below(KEYS)));
}

static void name(void)
{
    char text[32];

    blob(text, (size_t)snprintf(text, sizeof(text), "n%u", below(NAMES)));
}

/* n vectors; now and then with a component that is none, or too short. */
static void vectors(size_t n)
{
    float x[DIM * 64];
    size_t i;

    for (i = 0; i < n * DIM; i++) {
        x[i] = (float)below(2000) / 1000.0f - 1.0f;
    }
    if (below(20) == 0) {
        uint32_t bits = (uint32_t)rng_next(&rng) | 0x7f800000u;

        memcpy(&x[below((uint32_t)(n * DIM))], &bits, sizeof(bits));
    }
    blob(x, n * DIM * sizeof(float) - (below(30) == 0 ? below(9) : 0));
}

static long long count(void)
{
    static const long long odd[] = {0,         -1,      1,         INT64_MAX,
                                    INT64_MIN, 1 << 30, 100000000, 65537};

    return below(10) ? 1 + (long long)below(50) : odd[below(8)];
}

static void make_add(void)
{
    begin(7);
    word("VADD");
    key();
    word("FP32");
    vectors(1);
    name();
    word("SETATTR");
    word(below(2) ? "{\"n\":5,\"t\":\"x\"}" : "{\"n\":[1,{\"\\");
}

static void make_bulk(void)
{
    size_t n = 1 + below(64);
    size_t i;

    begin((int)(5 + n));
    word("VMADD");
    key();
    number(below(20) ? (long long)n : count());
    word("FP32");
    vectors(n);
    for (i = 0; i < n; i++) {
        name();
    }
}

static void make_search(void)
{
    static const char *const filters[] = {
        ".n > 3",        ".t in [\"x\"]", "((((.n", "not not .n == 5 or .n",
        ".n ** .n ** 9", "\"\\",          "",       ".n in .t and (.n < 4)"};

    begin(9);
    word(below(2) ? "VSEARCH" : "VSIM");
    key();
    word("ELE");
    name();
    word("FILTER");
    word(filters[below(8)]);
    word(below(2) ? "K" : "COUNT");
    number(count());
    word("WITHSCORES");
}

static void make_many_searches(void)
{
    size_t n = 1 + below(64);

    begin(8);
    word("VMSEARCH");
    key();
    number(below(20) ? (long long)n : count());
    word("FP32");
    vectors(n);
    word("K");
    number(count());
    word("WITHATTRIBS");
}

/* One of the commands that take a key and perhaps up to two words. */
static void make_small(void)
{
    static const struct {
        const char *name;
        const char *kinds; /* k key, n name, c count, else a literal letter */
    } small[] = {
        {"VREM", "kn"},       {"VMREM", "knn"},      {"VCARD", "k"},
        {"VDIM", "k"},        {"VEMB", "kn"},        {"VINFO", "k"},
        {"VLINKS", "kn"},     {"VGETATTR", "kn"},    {"VRANDMEMBER", "kc"},
        {"VRANGE", "k-+c"},   {"VISMEMBER", "kn"},   {"VSETATTR", "knn"},
        {"DEL", "k"},         {"UNLINK", "kk"},      {"RENAME", "kk"},
        {"EXPIRE", "kc"},     {"PERSIST", "k"},      {"TTL", "k"},
        {"SET", "kn"},        {"GET", "k"},          {"APPEND", "kn"},
        {"SETRANGE", "k99x"}, {"INCR", "k"},         {"MGET", "kkk"},
        {"TYPE", "k"},        {"WATCH", "kk"},       {"COPY", "kk"},
        {"MULTI", ""},        {"EXEC", ""},          {"DISCARD", ""},
        {"UNWATCH", ""},      {"PING", ""},          {"RESET", ""},
        {"HELLO", "3"},       {"HELLO", "2"},        {"SELECT", "2"},
        {"SELECT", "0"},      {"MONITOR", ""},       {"KEYS", "*"},
        {"SCAN", "0"},        {"RANDOMKEY", ""},     {"DBSIZE", ""},
        {"INFO", ""},         {"COMMAND", ""},       {"QUIT", ""},
        {"OBJECT", "ek"},     {"MEMORY", "uk"},      {"DUMP", "k"},
        {"TOUCH", "kk"},      {"EXISTS", "kk"},      {"PEXPIRE", "kc"},
        {"STRLEN", "k"},      {"SLOWLOG", "g"},      {"TIME", ""},
        {"VCREATE", "kd9"},   {"GETDEL", "k"},       {"LCS", "kk"},
        {"MOVE", "k2"},       {"ECHO", "n"},         {"CLIENT", "l"},
        {"CLIENT", "i"},      {"CONFIG", "g*"},      {"AUTH", "n"},
        {"DEBUG", "k"},       {"VSIM", "kn"},        {"OBJECT", "fk"},
        {"WAIT", "00"},       {"SINTERCARD", "kkk"}, {"LPUSH", "kn"},
        {"EVAL", "kn"}};
    const char *k;
    uint32_t i = below(sizeof(small) / sizeof(small[0]));

    begin(1 + (int)strlen(small[i].kinds));
    word(small[i].name);
    for (k = small[i].kinds; *k; k++) {
        char literal[2] = {*k, '\0'};

        switch (*k) {
        case 'k':
            key();
            break;
        case 'n':
            name();
            break;
        case 'c':
            number(count());
            break;
        default:
            word(*k == 'd'   ? "DIM"
                 : *k == 'e' ? "ENCODING"
                 : *k == 'u' ? "USAGE"
                 : *k == 'g' ? "GET"
                 : *k == 'l' ? "LIST"
                             : literal);
        }
    }
}

/* Clients of this test only: the watcher's id is below 10. */
static void make_kill(void)
{
    begin(4);
    word("CLIENT");
    word("KILL");
    word("ID");
    number(10 + (long long)below(5000));
}

static void make_garbage(void)
{
    static const char alphabet[] = "*$+-:0123456789\r\n\r\n \"'\\x\x00\xff";
    size_t n = 1 + below(200);

    while (n-- > 0) {
        char c =
            below(4) ? alphabet[below(sizeof(alphabet))] : (char)rng_next(&rng);

        add_bytes(&c, 1);
    }
}

static void make_valid(void)
{
    switch (below(12)) {
    case 0:
    case 1:
        make_add();
        break;
    case 2:
        make_bulk();
        break;
    case 3:
    case 4:
        make_search();
        break;
    case 5:
        make_many_searches();
        break;
    case 6:
        if (below(20) == 0) {
            make_kill();
        } else {
            make_small();
        }
        break;
    default:
        make_small();
        break;
    }
}

static void mutate(void)
{
    size_t n = 1 + below(4);

    while (n-- > 0 && request.len > 0) {
        size_t at = below((uint32_t)request.len);

        switch (below(3)) {
        case 0:
            request.bytes[at] = (char)rng_next(&rng);
            break;
        case 1: /* a piece goes */
            memmove(request.bytes + at, request.bytes + at + 1,
                    request.len - at - 1);
            request.len--;
            break;
        default: /* the end goes */
            request.len = at;
            break;
        }
    }
}

static void make_request(void)
{
    request.len = 0;
    switch (below(20)) {
    case 0:
        make_garbage();
        break;
    case 1:
    case 2:
        make_valid();
        mutate();
        break;
    default:
        make_valid();
        break;
    }
}

/* ---- sockets ----------------------------------------------------------- */

struct hostile {
    int fd; /* -1: none */
    bool deaf;
};

static struct hostile sockets[SOCKETS];

static void hostile_open(struct hostile *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)server.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(h->fd >= 0);
    assert_int_equal(connect(h->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(fcntl(h->fd, F_SETFL, O_NONBLOCK), 0);
    h->deaf = below(6) == 0;
}

static void hostile_close(struct hostile *h)
{
    close(h->fd);
    h->fd = -1;
}

/* Reads what is there; a connection that the server closed is given up. */
static void hostile_read(struct hostile *h)
{
    static char sink[1 << 16];
    ssize_t n = 1;
    int rounds = 20;

    while (n > 0 && rounds-- > 0) {
        n = read(h->fd, sink, sizeof(sink));
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        hostile_close(h);
    }
}

/* What the socket does not take is lost, so the stream goes on amid a request
 * then. */
static void hostile_act(struct hostile *h)
{
    if (h->fd < 0) {
        hostile_open(h);
    }
    make_request();
    if (send(h->fd, request.bytes, request.len, MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN) {
        hostile_close(h);
        return;
    }
    if (below(300) == 0) {
        hostile_close(h);
    } else if (below(400) == 0) {
        shutdown(h->fd, SHUT_WR);
    } else if (!h->deaf) {
        hostile_read(h);
    }
}

/* ---- what must stay ---------------------------------------------------- */

static const char *const treasures[] = {"treasure:one", "treasure:two",
                                        "treasure:text"};

static void make_treasures(redisContext *c)
{
    int i;

    for (i = 0; i < 200; i++) {
        freeReplyObject(call(c, "VADD treasure:one VALUES 3 %d %d 1 e%d", i,
                             i * i % 17, i));
        freeReplyObject(call(c,
                             "VADD treasure:two VALUES 2 %d 1 e%d NOQUANT "
                             "SETATTR {\"n\":%d}",
                             i, i, i));
    }
    freeReplyObject(call(c, "SET treasure:text something"));
}

static void digests(redisContext *c, char out[3][64])
{
    size_t i;

    for (i = 0; i < 3; i++) {
        redisReply *r = call(c, "DEBUG DIGEST-VALUE %s", treasures[i]);

        assert_int_equal(r->type, REDIS_REPLY_ARRAY);
        snprintf(out[i], 64, "%s", r->element[0]->str);
        freeReplyObject(r);
    }
}

static long long info_field(redisContext *c, const char *field)
{
    redisReply *r = call(c, "INFO memory");
    const char *at = strstr(r->str, field);
    long long n;

    assert_non_null(at);
    n = atoll(at + strlen(field) + 1);
    freeReplyObject(r);
    return n;
}

static void check(redisContext *c, char before[3][64])
{
    char now[3][64];
    size_t i;

    is_text(call(c, "PING"), "PONG");
    digests(c, now);
    for (i = 0; i < 3; i++) {
        assert_string_equal(before[i], now[i]);
    }
    assert_true(info_field(c, "used_memory") < MEMORY_MAX + MEMORY_SLACK);
}

static void test_hostile_clients(void **state)
{
    const char *more[] = {"--maxmemory", "209715200", NULL};
    const char *text = getenv("HOSTILE_SECONDS");
    double until;
    char before[3][64];
    redisContext *c;
    uint64_t steps = 0;
    int i;

    (void)state;
    cm_seed(&rng);
    server_start(&server, more);
    c = server_connect(&server);
    make_treasures(c);
    digests(c, before);
    for (i = 0; i < SOCKETS; i++) {
        sockets[i].fd = -1;
    }
    until = now_s() + (text ? atof(text) : 3.0);
    while (now_s() < until) {
        hostile_act(&sockets[below(SOCKETS)]);
        if (++steps % CHECK_EVERY == 0) {
            check(c, before);
        }
    }
    for (i = 0; i < SOCKETS; i++) {
        if (sockets[i].fd >= 0) {
            hostile_close(&sockets[i]);
        }
    }
    check(c, before);
    print_message("%llu requests\n", (unsigned long long)steps);
    /* With the keys gone, so is their memory. */
    freeReplyObject(call(c, "FLUSHALL"));
    until = now_s() + WAIT_S;
    while (info_field(c, "used_memory") > 20 << 20 && now_s() < until) {
        poll(NULL, 0, 10);
    }
    assert_true(info_field(c, "used_memory") <= 20 << 20);
    redisFree(c);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
