/* Connections over real sockets: requests, the order of replies, limits. The
 * test is client and server in one thread; the loop runs until a condition
 * holds. */
#include "unit/cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/net.h"

enum { GIVE_UP_S = 60, CONNS_MAX = 8, SLOTS_HELD = 2000 };

static struct loop *loop;
static struct net *net;
static struct net_config config;
static char dir[64], path[96];

/* What the handler has seen. */
static struct conn *conns[CONNS_MAX]; /* in the order they came; NULL: closed */
static size_t n_conns;
static size_t n_requests;
static char last_error[128];
static const char *refusal;
static struct reply_slot *slots[SLOTS_HELD];
static size_t n_slots;
static struct bytes pinned;
static bool could_pin;

/* ---- the server: a word says what to do -------------------------------- */

static const char *opened(struct conn *c, void *arg)
{
    (void)arg;
    if (refusal) {
        return refusal;
    }
    assert_true(n_conns < CONNS_MAX);
    conns[n_conns++] = c;
    conn_set_authenticated(c, true);
    return NULL;
}

static void request(struct conn *c, struct bytes *argv, size_t argc)
{
    n_requests++;
    if (bytes_equal_fold(argv[0], "defer")) {
        assert_true(n_slots < SLOTS_HELD);
        slots[n_slots++] = conn_defer(c, 0);
    } else if (bytes_equal_fold(argv[0], "pause")) {
        conn_pause(c);
        could_pin = conn_pin_request(c);
        pinned = argv[argc - 1];
    } else if (bytes_equal_fold(argv[0], "quit")) {
        buf_append_str(conn_out(c), "bye ");
        conn_close_after_replies(c);
    } else if (bytes_equal_fold(argv[0], "kill")) {
        conn_close(c);
    } else if (bytes_equal_fold(argv[0], "fill")) {
        struct buf *out = conn_out(c);

        memset(buf_room(out, 1 << 20), 'x', 1 << 20);
        out->len += 1 << 20;
    } else {
        buf_append_bytes(conn_out(c), argv[argc - 1]);
        buf_append_byte(conn_out(c), ' ');
    }
}

static void invalid(struct conn *c, const char *error)
{
    snprintf(last_error, sizeof(last_error), "%s", error);
    buf_append_str(conn_out(c), "invalid ");
}

static void closed(struct conn *c)
{
    size_t i;

    for (i = 0; i < n_conns; i++) {
        if (conns[i] == c) {
            conns[i] = NULL;
        }
    }
}

static void drained(struct conn *c)
{
    (void)c;
}

static uint64_t own_position;

static uint64_t position(const struct conn *c)
{
    (void)c;
    return own_position;
}

static const struct net_handler handler = {opened, request, invalid,
                                           closed, drained, position};

/* ---- turns ------------------------------------------------------------- */

static bool (*condition)(void);

static bool turn_end(void *arg)
{
    bool more = net_turn_end(net, clock_mono_us());

    (void)arg;
    if (condition()) {
        loop_stop(loop);
    }
    return more;
}

/* The alarm ends a test whose condition never comes. */
static void run_until(bool (*until)(void))
{
    condition = until;
    loop_wake(loop); /* for what was done from outside the loop */
    alarm(GIVE_UP_S);
    loop_run(loop);
    alarm(0);
}

static void turn_until(bool (*until)(void))
{
    if (!until()) {
        run_until(until);
    }
}

static size_t wanted_requests, wanted_conns;

static bool requests_came(void)
{
    return n_requests >= wanted_requests;
}

static bool conns_are(void)
{
    return net_count(net) == wanted_conns;
}

static void turn_until_requests(size_t n)
{
    wanted_requests = n;
    turn_until(requests_came);
}

static void turn_until_conns(size_t n)
{
    wanted_conns = n;
    turn_until(conns_are);
}

static bool once(void)
{
    return true;
}

/* One turn that has something to do. */
static void turn(void)
{
    run_until(once);
}

/* ---- clients ----------------------------------------------------------- */

static int client(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    turn_until_conns(net_count(net) + 1);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int hears_fd;
static char heard[256];
static const char *hears_text;

static bool has_heard(void)
{
    size_t have = strlen(heard);
    ssize_t got =
        recv(hears_fd, heard + have, sizeof(heard) - 1 - have, MSG_DONTWAIT);

    if (got > 0) {
        heard[have + (size_t)got] = '\0';
    }
    loop_wake(loop);
    return strlen(heard) >= strlen(hears_text);
}

/* Turns until the client has been sent this, and no more than this. */
static void hears(int fd, const char *text)
{
    hears_fd = fd;
    hears_text = text;
    heard[0] = '\0';
    turn_until(has_heard);
    assert_string_equal(heard, text);
}

static void hears_nothing(int fd)
{
    char c;

    turn();
    turn();
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    assert_true(errno == EAGAIN);
}

static void hears_the_end(int fd)
{
    char c;

    assert_int_equal(read(fd, &c, 1), 0);
}

static void fill(size_t i, const char *text)
{
    struct buf body = BUF_INIT;

    buf_append_str(&body, text);
    reply_slot_fill(slots[i], &body);
    assert_null(body.data);
}

static struct conn_info info_of(size_t i)
{
    struct conn_info info;

    conn_info_read(conns[i], &info);
    return info;
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/vectra-net-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    config = (struct net_config){.bulk_max = 512 << 20,
                                 .query_buffer_max = 1 << 30,
                                 .tcp_keepalive_s = 300,
                                 .tcp_backlog = 16};
    n_conns = n_requests = n_slots = 0;
    refusal = NULL;
    last_error[0] = '\0';
    assert_int_equal(loop_create(&loop), ERR_OK);
    net = net_create(loop, &config, &handler, NULL);
    loop_on_turn_end(loop, turn_end, NULL);
    assert_int_equal(net_listen_unix(net, path, 0700, NULL), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    net_destroy(net);
    loop_destroy(loop);
    assert_int_equal(access(path, F_OK), -1); /* the socket went with it */
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* ---- waiting ----------------------------------------------------------- */

enum { SLEEPS_FIRST = 65 }; /* requests, to see how long that takes */

static int asks_fd;
static size_t n_idle, n_looked;

/* Once the loop looks on, the next request comes. */
static bool may_look(void *arg, bool looked)
{
    (void)arg;
    n_idle++;
    if (looked && n_looked++ == 0) {
        say(asks_fd, "more\r\n");
    }
    return true;
}

static void what_comes_while_the_loop_looks_is_served(void **state)
{
    size_t i;

    (void)state;
    asks_fd = client();
    n_idle = n_looked = 0;
    loop_on_idle(loop, may_look, NULL);
    for (i = 1; i <= SLEEPS_FIRST; i++) {
        say(asks_fd, "x\r\n");
        turn_until_requests(i);
    }
    assert_int_equal(n_looked, 0);
    if (n_idle == 0) {
        skip(); /* one processor: it does not look */
    }
    turn_until_requests(i);
    assert_int_equal(n_looked, 1);
    close(asks_fd);
}

/* ---- requests ---------------------------------------------------------- */

static void a_pipeline_is_handed_up_request_by_request(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "one\r\n*2\r\n$4\r\necho\r\n$3\r\ntwo\r\n\r\nthree\n");
    hears(fd, "one two three ");
    assert_int_equal(n_requests, 3); /* an empty line is none */
    close(fd);
}

static void half_a_request_waits_for_the_other_half(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "a\r\n*2\r\n$4\r\necho\r\n$5\r\nhe");
    hears(fd, "a ");
    assert_int_equal(info_of(0).query_bytes,
                     strlen("*2\r\n$4\r\necho\r\n$5\r\nhe"));
    assert_true(info_of(0).query_cap > 0);
    say(fd, "llo\r\n");
    hears(fd, "hello ");
    close(fd);
}

/* N3 */
static void an_idle_connection_owns_no_buffer(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "*2\r\n$4\r\necho\r\n$5\r\nhe");
    turn_until_requests(0);
    say(fd, "llo\r\n");
    hears(fd, "hello ");
    turn();
    assert_int_equal(info_of(0).query_cap, 0);
    assert_int_equal(info_of(0).output_memory, 0);
    assert_int_equal(info_of(0).output_bytes, 0);
    close(fd);
}

static void a_request_larger_than_a_read_is_whole(void **state)
{
    enum { LEN = 3000000 };
    char *big = malloc(LEN + 64);
    int n = snprintf(big, 64, "*2\r\n$5\r\npause\r\n$%d\r\n", LEN);
    int fd = client();
    size_t sent = 0, all;
    int i;

    (void)state;
    memset(big + n, 'y', LEN);
    all = (size_t)n + LEN;
    memcpy(big + all, "\r\n", 2);
    all += 2;
    while (sent < all) {
        ssize_t done = send(fd, big + sent, all - sent, MSG_DONTWAIT);

        sent += done > 0 ? (size_t)done : 0;
        turn();
    }
    turn_until_requests(1);
    /* It is kept where it is while the connection pauses. */
    assert_true(could_pin);
    say(fd, "next\r\n");
    turn();
    assert_int_equal(pinned.len, LEN);
    for (i = 0; i < LEN; i += 1000) {
        assert_int_equal(pinned.data[i], 'y');
    }
    conn_resume(conns[0]);
    hears(fd, "next ");
    free(big);
    close(fd);
}

static void what_is_no_request_is_answered_and_ends_the_connection(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "a\r\n*1\r\n$x\r\nb\r\n");
    hears(fd, "a invalid ");
    assert_string_equal(last_error, "ERR Protocol error: invalid bulk length");
    turn_until_conns(0);
    hears_the_end(fd);
    assert_int_equal(n_requests, 1);
    close(fd);
}

static void before_authentication_requests_are_small(void **state)
{
    int fd = client();

    (void)state;
    conn_set_authenticated(conns[0], false);
    say(fd, "*11\r\n");
    hears(fd, "invalid ");
    assert_string_equal(last_error,
                        "ERR Protocol error: unauthenticated multibulk length");
    turn_until_conns(0);
    close(fd);
}

static void a_request_over_the_query_limit_ends_the_connection(void **state)
{
    char text[6000];
    int fd = client();

    (void)state;
    config.query_buffer_max = 5000;
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    say(fd, "*2\r\n$4\r\necho\r\n$10000\r\n");
    say(fd, text);
    turn_until_conns(0);
    hears_the_end(fd);
    assert_int_equal(net_stats(net)->query_limit_closes, 1);
    assert_int_equal(n_requests, 0);
    close(fd);
}

/* ---- replies in order -------------------------------------------------- */

/* N1 */
static void replies_wait_behind_a_deferred_one(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "a\r\ndefer\r\nb\r\nc\r\n");
    hears(fd, "a ");
    turn_until_requests(4);
    hears_nothing(fd);
    assert_int_equal(info_of(0).deferred, 1);
    assert_int_equal(info_of(0).output_bytes, 4); /* of b and c */
    fill(0, "D ");
    hears(fd, "D b c ");
    assert_int_equal(info_of(0).deferred, 0);
    close(fd);
}

static void
deferred_replies_leave_in_their_order_not_in_that_of_filling(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "defer\r\na\r\ndefer\r\ndefer\r\nb\r\n");
    turn_until_requests(5);
    fill(2, "3 ");
    hears_nothing(fd);
    fill(0, "1 ");
    hears(fd, "1 a ");
    hears_nothing(fd);
    fill(1, "2 ");
    hears(fd, "2 3 b ");
    close(fd);
}

static void a_slot_outlives_its_connection(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "defer\r\ndefer\r\n");
    turn_until_requests(2);
    assert_ptr_equal(reply_slot_conn(slots[0]), conns[0]);
    fill(1, "filled before ");
    conn_close(conns[0]);
    assert_null(reply_slot_conn(slots[0]));
    turn_until_conns(0);
    fill(0, "nobody hears this ");
    hears_the_end(fd);
    close(fd);
}

static void too_many_deferred_replies_hold_back_requests(void **state)
{
    static char text[1500 * 7 + 1];
    int fd = client();
    size_t i;

    (void)state;
    for (i = 0; i < 1500; i++) {
        memcpy(text + 7 * i, "defer\r\n", 8);
    }
    say(fd, text);
    turn_until_requests(1024);
    turn();
    assert_int_equal(n_requests, 1024);
    for (i = 0; i < 600; i++) {
        fill(i, "");
    }
    turn_until_requests(1500);
    for (i = 600; i < 1500; i++) {
        fill(i, i == 1499 ? "last " : "");
    }
    hears(fd, "last ");
    close(fd);
}

static void a_client_that_stops_sending_still_gets_its_replies(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "defer\r\na\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turn_until_requests(2);
    turn();
    fill(0, "D ");
    hears(fd, "D a ");
    turn_until_conns(0);
    hears_the_end(fd);
    close(fd);
}

/* ---- pausing and closing ----------------------------------------------- */

static void a_paused_connection_gets_no_requests(void **state)
{
    int fd = client();
    int other = client();

    (void)state;
    say(fd, "pause\r\na\r\n");
    turn_until_requests(1);
    say(fd, "b\r\n");
    assert_false(could_pin); /* it was read into the chunk all share */
    say(other, "c\r\n");
    hears(other, "c ");
    assert_int_equal(n_requests, 2);
    conn_resume(conns[0]);
    hears(fd, "a b ");
    close(fd);
    close(other);
}

static void what_was_said_before_the_end_is_sent(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "a\r\ndefer\r\nquit\r\nb\r\n");
    turn_until_requests(3);
    turn();
    assert_int_equal(n_requests, 3); /* nothing after quit */
    assert_int_equal(net_count(net), 1);
    fill(0, "D ");
    hears(fd, "a D bye ");
    turn_until_conns(0);
    hears_the_end(fd);
    close(fd);
}

/* N2 */
static void a_connection_may_be_closed_from_its_own_request(void **state)
{
    int fd = client();
    int other = client();

    (void)state;
    say(fd, "a\r\nkill\r\nb\r\n");
    turn_until_conns(1);
    hears_the_end(fd);
    assert_int_equal(n_requests, 2);
    say(other, "c\r\n");
    hears(other, "c ");
    close(fd);
    close(other);
}

static void a_refused_connection_hears_why(void **state)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    refusal = "-ERR full\r\n";
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    hears(fd, refusal);
    hears_the_end(fd);
    assert_int_equal(net_count(net), 0);
    assert_int_equal(net_stats(net)->rejected, 1);
    assert_int_equal(net_stats(net)->connections, 0);
    close(fd);
}

/* ---- output limits ----------------------------------------------------- */

static void unread_replies_over_the_limit_end_the_connection(void **state)
{
    int fd = client();
    int reader = client();
    int i;

    (void)state;
    config.output[CONN_NORMAL].hard_bytes = 4 << 20;
    for (i = 0; i < 8; i++) {
        say(fd, "fill\r\n");
    }
    turn_until_conns(1);
    assert_int_equal(net_stats(net)->output_limit_closes, 1);
    assert_int_equal(net_output_pending(net), 0);
    say(reader, "a\r\n");
    hears(reader, "a ");
    close(fd);
    close(reader);
}

static void unread_replies_are_counted_once(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "fill\r\nfill\r\nfill\r\nfill\r\ndefer\r\nfill\r\nfill\r\n");
    turn_until_requests(7);
    turn();
    assert_true(info_of(0).output_bytes > 5 << 20);
    assert_true(info_of(0).output_memory >= info_of(0).output_bytes);
    assert_true(info_of(0).output_memory < 10 << 20);
    assert_int_equal(net_output_pending(net), info_of(0).output_bytes);
    fill(0, "");
    close(fd);
    turn_until_conns(0);
    assert_int_equal(net_output_pending(net), 0);
}

/* ---- addresses --------------------------------------------------------- */

static int connect_tcp(int family, int port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons((uint16_t)port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = family == AF_INET ? connect(fd, (struct sockaddr *)&in, sizeof(in))
                           : connect(fd, (struct sockaddr *)&in6, sizeof(in6));
    assert_int_equal(rc, 0);
    turn_until_conns(net_count(net) + 1);
    return fd;
}

/* Some port that this process can listen on; none of 200 free is no luck. */
static int listen_somewhere(const char *address)
{
    struct err_ctx ctx = {""};
    int port;

    for (port = 20000 + getpid() % 20000; port < 65000; port += 211) {
        if (net_listen_tcp(net, address, port, &ctx) == ERR_OK) {
            return port;
        }
    }
    fail_msg("%s", ctx.text);
    return 0;
}

static void addresses_are_written_as_redis_does(void **state)
{
    char text[CONN_ADDR_MAX], want[CONN_ADDR_MAX];
    int port = listen_somewhere("127.0.0.1");
    struct sockaddr_in mine;
    socklen_t len = sizeof(mine);
    int fd = connect_tcp(AF_INET, port);
    int local = client();

    (void)state;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &len), 0);
    conn_local_addr(conns[0], text);
    snprintf(want, sizeof(want), "127.0.0.1:%d", port);
    assert_string_equal(text, want);
    conn_peer_addr(conns[0], text);
    snprintf(want, sizeof(want), "127.0.0.1:%d", ntohs(mine.sin_port));
    assert_string_equal(text, want);
    assert_true(info_of(0).is_loopback);
    assert_false(info_of(0).is_unix);
    conn_peer_addr(conns[1], text);
    snprintf(want, sizeof(want), "%s:0", path);
    assert_string_equal(text, want);
    assert_true(info_of(1).is_unix);
    assert_true(info_of(1).is_loopback);
    close(fd);
    close(local);
}

static void ipv6_addresses_stand_in_brackets(void **state)
{
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char text[CONN_ADDR_MAX], want[CONN_ADDR_MAX];
    int port, fd;

    (void)state;
    if (probe < 0 || bind(probe, (struct sockaddr *)&any, sizeof(any)) != 0) {
        close(probe);
        return; /* this machine has no IPv6 */
    }
    close(probe);
    port = listen_somewhere("::1");
    fd = connect_tcp(AF_INET6, port);
    conn_local_addr(conns[0], text);
    snprintf(want, sizeof(want), "[::1]:%d", port);
    assert_string_equal(text, want);
    assert_true(info_of(0).is_loopback);
    close(fd);
}

static void what_cannot_be_listened_on_is_told(void **state)
{
    struct err_ctx ctx = {""};
    int port = listen_somewhere("127.0.0.1");
    char name[200];

    (void)state;
    assert_int_equal(net_listen_tcp(net, "127.0.0.1", port, &ctx), ERR_EXISTS);
    assert_non_null(strstr(ctx.text, "127.0.0.1"));
    assert_int_equal(net_listen_tcp(net, "no such address", 1, &ctx), ERR_IO);
    assert_int_equal(net_listen_tcp(net, "192.0.2.1", port, &ctx), ERR_IO);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(net_listen_unix(net, name, 0, &ctx), ERR_IO);
    assert_int_equal(net_listen_unix(net, "/no/such/dir/s", 0, &ctx), ERR_IO);
}

static void listening_may_stop_for_tcp_alone(void **state)
{
    int port = listen_somewhere("127.0.0.1");
    int fd = connect_tcp(AF_INET, port);
    int local;

    (void)state;
    net_stop_listening(net, true);
    say(fd, "a\r\n");
    hears(fd, "a "); /* who is there stays */
    local = client();
    say(local, "b\r\n");
    hears(local, "b ");
    assert_int_equal(net_listen_tcp(net, "127.0.0.1", port, NULL), ERR_OK);
    close(fd);
    close(local);
}

/* ---- replies that wait for the log ------------------------------------- */

static void gate(uint64_t turn_lsn, uint64_t in_flight, uint64_t durable)
{
    struct net_gate g = {turn_lsn, in_flight, durable, false};

    net_set_gate(net, &g);
}

static void says_one(int fd, const char *text)
{
    say(fd, text);
    turn_until_requests(n_requests + 1);
}

static void replies_wait_for_their_sync(void **state)
{
    int a = client();
    int b = client();

    (void)state;
    says_one(a, "early\r\n");
    hears(a, "early ");
    gate(10, 10, 0);
    says_one(a, "one\r\n");
    hears_nothing(a);
    gate(20, 10, 0); /* the next turn's waits for the sync after that */
    says_one(a, "two\r\n");
    says_one(b, "other\r\n");
    hears_nothing(a);
    hears_nothing(b);
    gate(20, 20, 10);
    hears(a, "one ");
    hears_nothing(b);
    gate(20, 20, 20);
    hears(a, "two ");
    hears(b, "other ");
    says_one(a, "open\r\n");
    hears(a, "open ");
    close(a);
    close(b);
}

/* However fast others write, what waits leaves with the second sync. */
static void nothing_waits_for_more_than_two_syncs(void **state)
{
    int fd = client();
    uint64_t lsn;

    (void)state;
    gate(1, 1, 0);
    says_one(fd, "0\r\n");
    for (lsn = 2; lsn < 12; lsn += 2) {
        char text[16], before[16];

        gate(lsn, lsn - 1, 0 + (lsn > 2 ? lsn - 3 : 0));
        snprintf(text, sizeof(text), "%d\r\n", (int)lsn);
        says_one(fd, text);
        gate(lsn + 1, lsn + 1, lsn - 1);
        snprintf(before, sizeof(before), "%d ", (int)lsn - 2);
        hears(fd, before);
    }
    gate(0, 0, 0); /* off: all of it leaves */
    hears(fd, "10 ");
    close(fd);
}

static void own_position_holds_only_those_behind_it(void **state)
{
    struct net_gate g = {20, 10, 5, true};
    int writer = client();
    int reader = client();

    (void)state;
    net_set_gate(net, &g);
    own_position = 5;
    says_one(reader, "one\r\n");
    hears(reader, "one ");
    own_position = 20;
    says_one(writer, "two\r\n");
    hears_nothing(writer);
    g.durable = g.in_flight = 10;
    net_set_gate(net, &g);
    hears_nothing(writer);
    own_position = 5;
    says_one(reader, "three\r\n");
    hears(reader, "three ");
    g.durable = g.in_flight = 20;
    net_set_gate(net, &g);
    hears(writer, "two ");
    close(writer);
    close(reader);
}

static void held_replies_go_with_their_connection(void **state)
{
    int fd = client();
    int other = client();

    (void)state;
    gate(10, 10, 0);
    says_one(fd, "one\r\n");
    says_one(other, "two\r\n");
    says_one(fd, "kill\r\n");
    turn_until_conns(1);
    says_one(other, "quit\r\n"); /* closes when all is sent */
    hears_nothing(other);
    gate(10, 10, 10);
    hears(other, "two bye ");
    turn_until_conns(0);
    close(fd);
    close(other);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(replies_wait_for_their_sync),
        T(nothing_waits_for_more_than_two_syncs),
        T(own_position_holds_only_those_behind_it),
        T(held_replies_go_with_their_connection),
        T(what_comes_while_the_loop_looks_is_served),
        T(a_pipeline_is_handed_up_request_by_request),
        T(half_a_request_waits_for_the_other_half),
        T(an_idle_connection_owns_no_buffer),
        T(a_request_larger_than_a_read_is_whole),
        T(what_is_no_request_is_answered_and_ends_the_connection),
        T(before_authentication_requests_are_small),
        T(a_request_over_the_query_limit_ends_the_connection),
        T(replies_wait_behind_a_deferred_one),
        T(deferred_replies_leave_in_their_order_not_in_that_of_filling),
        T(a_slot_outlives_its_connection),
        T(too_many_deferred_replies_hold_back_requests),
        T(a_client_that_stops_sending_still_gets_its_replies),
        T(a_paused_connection_gets_no_requests),
        T(what_was_said_before_the_end_is_sent),
        T(a_connection_may_be_closed_from_its_own_request),
        T(a_refused_connection_hears_why),
        T(unread_replies_over_the_limit_end_the_connection),
        T(unread_replies_are_counted_once),
        T(addresses_are_written_as_redis_does),
        T(ipv6_addresses_stand_in_brackets),
        T(what_cannot_be_listened_on_is_told),
        T(listening_may_stop_for_tcp_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
