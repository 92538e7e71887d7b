/* A set with a graph, from outside: whoever wrote a vector, a search sent after
 * the write was acknowledged finds it, and none finds what is gone, while rows
 * move from the tail into the graph, die, and are swept.
 *
 * Vectors have few components that are not zero, so that the graph itself finds
 * a vector that is there practically always. */
#include "integration/async_loop.h"

#include <limits.h>
#include <math.h>

enum {
    DIM = 64,
    USED = 8,    /* components that are not 0 */
    BASE = 8000, /* enough for a graph, see graph_worthwhile_at() */
    ACTORS = 24, /* each owns some names and does one thing at a time */
    OWNED = 40,  /* names of each */
    STEPS = 500, /* of each actor */
    CONNS = 6,
    BURST_WINDOW = 200,
    LOOKS = 20, /* of each connection in flight */
};

enum after { AFTER_ADD, AFTER_REMOVE };

struct actor {
    uint32_t number;
    int left;
    int in_air;
    uint32_t name; /* the one at hand */
    bool there[OWNED];
    float at[OWNED][USED];
    enum after after;
};

static redisAsyncContext *conns[CONNS];
static struct actor actors[ACTORS];
static struct rng rng;
static int burst_left, burst_in_air;
static uint32_t burst_name;

static void act(struct actor *a);

static redisAsyncContext *any_conn(void)
{
    return conns[rng_below(&rng, CONNS)];
}

static void random_vector(float *v)
{
    int j;

    memset(v, 0, DIM * sizeof(*v));
    for (j = 0; j < USED; j++) {
        v[j] = (float)rng_normal(&rng);
    }
}

static bool says_hnsw(const redisReply *r)
{
    size_t i;

    for (i = 0; i < r->elements; i++) {
        if (says_hnsw(r->element[i])) {
            return true;
        }
    }
    return r->str && !strcmp(r->str, "hnsw");
}

/* Until it answers searches. */
static void wait_for_graph(redisContext *c)
{
    double until = now_s() + WAIT_S;
    bool there = false;
    float v[DIM];

    random_vector(v);
    while (!there) {
        redisReply *r =
            call(c, "VSEARCH v FP32 %b K 5 WITHSTATS", v, sizeof(v));

        there = says_hnsw(r);
        freeReplyObject(r);
        assert_true(now_s() < until);
    }
}

static int setup(void **state)
{
    redisContext *c = server_connect(&server);
    float v[DIM];
    int i;

    (void)state;
    cm_seed(&rng);
    is_text(call(c, "FLUSHALL"), "OK");
    is_text(call(c, "VCREATE v DIM %d METRIC L2 NOQUANT M 8", DIM), "OK");
    for (i = 0; i < BASE; i++) {
        random_vector(v);
        redisAppendCommand(c, "VADD v FP32 %b b%d", v, sizeof(v), i);
    }
    for (i = 0; i < BASE; i++) {
        is_int(next_reply(c), 1);
    }
    wait_for_graph(c);
    redisFree(c);
    memset(actors, 0, sizeof(actors));
    for (i = 0; i < CONNS; i++) {
        conns[i] = async_open(&server);
    }
    return 0;
}

/* ---- actors ------------------------------------------------------------ */

static void check_reply(const redisReply *r)
{
    if (!r || r->type == REDIS_REPLY_ERROR) {
        fail_msg("%s", r ? r->str : "the connection is gone");
    }
}

static void on_search(redisAsyncContext *ac, void *reply, void *arg)
{
    struct actor *a = arg;
    redisReply *r = reply;
    char name[32];
    size_t i;

    (void)ac;
    check_reply(r);
    snprintf(name, sizeof(name), "a%u-%u", a->number, a->name);
    if (a->after == AFTER_ADD) {
        if (r->elements < 2 || strcmp(r->element[0]->str, name) ||
            strtod(r->element[1]->str, NULL) > 1e-3) {
            fail_msg("%s was added and is not found", name);
        }
    } else {
        for (i = 0; i < r->elements; i += 2) {
            if (!strcmp(r->element[i]->str, name)) {
                fail_msg("%s was removed and is found", name);
            }
        }
    }
    a->in_air--;
    act(a);
}

/* Searches, on whatever connection, for what the actor has just written. */
static void on_write(redisAsyncContext *ac, void *reply, void *arg)
{
    struct actor *a = arg;
    float v[DIM] = {0};

    (void)ac;
    check_reply(reply);
    memcpy(v, a->at[a->name], sizeof(a->at[a->name]));
    redisAsyncCommand(any_conn(), on_search, a,
                      "VSEARCH v FP32 %b K 5 EF 200 WITHDISTANCES", v,
                      sizeof(v));
}

static void act(struct actor *a)
{
    float v[DIM];

    if (a->left-- <= 0) {
        return;
    }
    a->in_air++;
    a->name = (uint32_t)rng_below(&rng, OWNED);
    if (a->there[a->name] && rng_below(&rng, 3) == 0) {
        a->after = AFTER_REMOVE;
        a->there[a->name] = false;
        redisAsyncCommand(any_conn(), on_write, a, "VREM v a%u-%u", a->number,
                          a->name);
        return;
    }
    a->after = AFTER_ADD;
    a->there[a->name] = true;
    random_vector(v);
    memcpy(a->at[a->name], v, sizeof(a->at[a->name]));
    redisAsyncCommand(any_conn(), on_write, a, "VADD v FP32 %b a%u-%u", v,
                      sizeof(v), a->number, a->name);
}

static bool somebody_acts(void)
{
    int i;

    for (i = 0; i < ACTORS; i++) {
        if (actors[i].in_air > 0) {
            return true;
        }
    }
    return burst_in_air > 0;
}

static void run_actors(void)
{
    uint32_t i;

    for (i = 0; i < ACTORS; i++) {
        actors[i].number = i;
        actors[i].left = cm_often(STEPS);
        act(&actors[i]);
    }
    while (somebody_acts()) {
        assert_true(async_turn());
    }
    async_close_all();
}

/* What is there at the end is what the actors left. */
static void check_count(long long others)
{
    redisContext *c = server_connect(&server);
    long long n = others;
    int i, j;

    for (i = 0; i < ACTORS; i++) {
        for (j = 0; j < OWNED; j++) {
            n += actors[i].there[j];
        }
    }
    is_int(call(c, "VCARD v"), n);
    redisFree(c);
}

static void test_an_acknowledged_write_is_found(void **state)
{
    (void)state;
    run_actors();
    check_count(BASE);
}

/* ---- and beside a burst -------------------------------------------------- */

static void send_burst(redisAsyncContext *ac);

static void on_burst(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)arg;
    check_reply(reply);
    burst_in_air--;
    if (burst_left > 0) {
        send_burst(ac);
    }
}

static void send_burst(redisAsyncContext *ac)
{
    float v[DIM];

    random_vector(v);
    burst_left--;
    burst_in_air++;
    redisAsyncCommand(ac, on_burst, NULL, "VADD v FP32 %b x%u", v, sizeof(v),
                      burst_name++);
}

static void test_an_acknowledged_write_is_found_beside_a_burst(void **state)
{
    const char *variant = getenv("VECTRA_VARIANT");
    bool quick = !variant || !strcmp(variant, "release");
    redisAsyncContext *ac = async_open(&server);
    int rows = quick ? cm_often(40000) : 15000;
    int i;

    (void)state;
    burst_left = rows;
    burst_name = 0;
    for (i = 0; i < BURST_WINDOW; i++) {
        send_burst(ac);
    }
    run_actors();
    check_count(BASE + rows);
}

/* ---- sets that come and go ------------------------------------------------
 */

static int n_lookers;

static void look(redisAsyncContext *ac);

/* The set may be gone by then, or another one be in its place. */
static void on_look(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)arg;
    assert_non_null(reply);
    burst_in_air--;
    if (n_lookers-- > 0) {
        look(ac);
    }
}

static void look(redisAsyncContext *ac)
{
    float v[DIM];

    random_vector(v);
    burst_in_air++;
    redisAsyncCommand(ac, on_look, NULL, "VSEARCH v FP32 %b K 10", v,
                      sizeof(v));
}

/* The set goes, in every way there is, while its graph is being built and
 * searched. */
static void test_sets_go_while_their_graph_grows(void **state)
{
    static const char *const ends[] = {
        "DEL v",    "FLUSHALL",   "SWAPDB 0 1",    "RENAME other v",
        "UNLINK v", "RENAME v w", "FLUSHDB ASYNC", "MOVE v 1",
    };
    redisContext *c = server_connect(&server);
    redisContext *one = server_connect(&server);
    float v[DIM];
    size_t round;
    int i;

    (void)state;
    n_lookers = INT_MAX;
    for (i = 0; i < CONNS * LOOKS; i++) {
        look(conns[i % CONNS]);
    }
    for (round = 0; round < sizeof(ends) / sizeof(ends[0]); round++) {
        redisReply *r;

        freeReplyObject(call(c, "DEL v w"));
        freeReplyObject(call(c, "VADD other VALUES 2 1 1 x"));
        is_text(call(one, "SELECT 1"), "OK");
        freeReplyObject(call(one, "DEL v"));
        is_text(call(c, "VCREATE v DIM %d METRIC L2 NOQUANT M 8", DIM), "OK");
        for (i = 0; i < BASE; i++) {
            random_vector(v);
            redisAppendCommand(c, "VADD v FP32 %b b%d", v, sizeof(v), i);
            if (i % 100 == 0) {
                assert_true(async_turn());
            }
        }
        for (i = 0; i < BASE; i++) {
            is_int(next_reply(c), 1);
        }
        for (i = 0; i < 20; i++) {
            assert_true(async_turn());
        }
        r = call(c, ends[round]);
        if (r->type == REDIS_REPLY_ERROR) {
            fail_msg("%s: %s", ends[round], r->str);
        }
        freeReplyObject(r);
    }
    n_lookers = 0;
    while (burst_in_air > 0) {
        assert_true(async_turn());
    }
    async_close_all();
    is_text(call(c, "PING"), "PONG");
    redisFree(c);
    redisFree(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_acknowledged_write_is_found, setup),
        cmocka_unit_test_setup(
            test_an_acknowledged_write_is_found_beside_a_burst, setup),
        cmocka_unit_test_setup(test_sets_go_while_their_graph_grows, setup),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
