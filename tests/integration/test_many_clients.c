/* Five hundred connections at the same time, each adding, removing and
 * searching in a set of its own and in one that all share; every answer is held
 * against a twin. */
#include "integration/async_loop.h"
#include "integration/twin.h"

enum {
    CLIENTS = 500,
    NAMES = 24,     /* of a client's own set */
    COMMANDS = 150, /* of each client */
    IN_FLIGHT = 8,
    SHARED = 10, /* elements each client leaves in the shared set */
    CHECKS = 200,
};

/* What a command in flight must answer. */
struct expected {
    enum { WRITE, SEARCH, SHARED_WRITE, SHARED_SEARCH } kind;
    int answer;
    size_t n;
    struct twin_hit hits[NAMES];
};

struct client {
    redisAsyncContext *ac;
    int number;
    struct rng rng;
    struct twin twin;
    int sent, answered;
    int bad;
    uint32_t shared;      /* elements sent to the shared set */
    uint32_t shared_name; /* of the last one */
    struct expected ring[IN_FLIGHT];
};

static struct client clients[CLIENTS];
static struct twin shared;

/* ---- replies ----------------------------------------------------------- */

static bool hits_are(const struct expected *e, const redisReply *r)
{
    size_t i, j;

    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 * e->n) {
        return false;
    }
    for (i = 0; i < e->n; i++) {
        double distance = strtod(r->element[2 * i + 1]->str, NULL);
        uint32_t name = (uint32_t)strtoul(r->element[2 * i]->str, NULL, 10);

        for (j = 0; j < e->n && e->hits[j].name != name; j++) {
        }
        if (j == e->n || fabs(distance - e->hits[i].distance) > 1e-4 ||
            fabs(distance - e->hits[j].distance) > 1e-4) {
            return false;
        }
    }
    return true;
}

static bool is_expected(const struct expected *e, const redisReply *r)
{
    if (!r) {
        return false;
    }
    switch (e->kind) {
    case WRITE:
    case SHARED_WRITE:
        return r->type == REDIS_REPLY_INTEGER && r->integer == e->answer;
    case SEARCH:
        return hits_are(e, r);
    default:
        return r->type == REDIS_REPLY_ARRAY && r->elements == 1 &&
               (int)strtol(r->element[0]->str, NULL, 10) == e->answer;
    }
}

static void send_next(struct client *c);

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct client *c = ac->data;

    (void)arg;
    c->bad += !is_expected(&c->ring[c->answered % IN_FLIGHT], reply);
    c->answered++;
    send_next(c);
}

/* ---- commands ---------------------------------------------------------- */

static void send_own_write(struct client *c, struct expected *e)
{
    uint32_t name = (uint32_t)rng_below(&c->rng, NAMES);
    float v[TWIN_DIM];

    e->kind = WRITE;
    if (rng_below(&c->rng, 3) == 0) {
        e->answer = twin_remove(&c->twin, name);
        redisAsyncCommand(c->ac, on_reply, NULL, "VREM own:%d %u", c->number,
                          name);
        return;
    }
    twin_random_vector(&c->rng, v);
    e->answer = twin_add(&c->twin, name, v);
    redisAsyncCommand(c->ac, on_reply, NULL, "VADD own:%d FP32 %b %u",
                      c->number, v, sizeof(v), name);
}

static void send_own_search(struct client *c, struct expected *e)
{
    float q[TWIN_DIM];

    twin_random_vector(&c->rng, q);
    e->kind = SEARCH;
    e->n = twin_search(&c->twin, q, e->hits);
    redisAsyncCommand(c->ac, on_reply, NULL,
                      "VSEARCH own:%d FP32 %b K %d WITHDISTANCES", c->number, q,
                      sizeof(q), NAMES);
}

/* Adds an element that nobody else has, or looks the last one up by its vector:
 * it must come first however many are written meanwhile. */
static void send_shared(struct client *c, struct expected *e)
{
    float v[TWIN_DIM];

    if (c->shared < SHARED) {
        c->shared_name = (uint32_t)c->number * SHARED + c->shared++;
        twin_random_vector(&c->rng, v);
        e->kind = SHARED_WRITE;
        e->answer = twin_add(&shared, c->shared_name, v);
        redisAsyncCommand(c->ac, on_reply, NULL, "VADD shared FP32 %b %u", v,
                          sizeof(v), c->shared_name);
        return;
    }
    e->kind = SHARED_SEARCH;
    e->answer = (int)c->shared_name;
    redisAsyncCommand(c->ac, on_reply, NULL, "VSEARCH shared FP32 %b K 1",
                      shared.vectors[c->shared_name],
                      sizeof(shared.vectors[0]));
}

static void send_next(struct client *c)
{
    struct expected *e = &c->ring[c->sent % IN_FLIGHT];

    if (c->sent == COMMANDS) {
        if (c->answered == COMMANDS) {
            redisAsyncDisconnect(c->ac);
        }
        return;
    }
    c->sent++;
    switch (rng_below(&c->rng, 5)) {
    case 0:
    case 1:
        send_own_write(c, e);
        break;
    case 2:
    case 3:
        send_own_search(c, e);
        break;
    default:
        send_shared(c, e);
        break;
    }
}

static void create_sets(void)
{
    redisContext *c = server_connect(&server);
    int i;

    for (i = 0; i < CLIENTS; i++) {
        redisAppendCommand(c, "VCREATE own:%d DIM %d METRIC L2 NOQUANT", i,
                           TWIN_DIM);
    }
    for (i = 0; i < CLIENTS; i++) {
        is_text(next_reply(c), "OK");
    }
    is_text(call(c, "VCREATE shared DIM %d METRIC L2 NOQUANT", TWIN_DIM), "OK");
    redisFree(c);
}

/* The shared set holds what all clients together put there, no more. */
static void check_shared(struct rng *rng)
{
    struct twin_hit *hits = calloc(shared.cap, sizeof(*hits));
    redisContext *c = server_connect(&server);
    float q[TWIN_DIM];
    size_t j;
    int i;

    is_int(call(c, "VCARD shared"), (long long)shared.n_live);
    for (i = 0; i < CHECKS; i++) {
        redisReply *r;

        twin_random_vector(rng, q);
        assert_int_equal(twin_search(&shared, q, hits), shared.n_live);
        r = call(c, "VSEARCH shared FP32 %b K 50 WITHDISTANCES", q, sizeof(q));
        assert_int_equal(r->elements, 100);
        for (j = 0; j < 50; j++) {
            double distance = strtod(r->element[2 * j + 1]->str, NULL);
            uint32_t name = (uint32_t)strtoul(r->element[2 * j]->str, NULL, 10);

            assert_true(fabs(distance - hits[j].distance) < 1e-4);
            assert_true(fabs(distance - twin_l2(q, shared.vectors[name])) <
                        1e-4);
        }
        freeReplyObject(r);
    }
    redisFree(c);
    free(hits);
}

static void test_five_hundred_clients_at_the_same_time(void **state)
{
    struct rng rng;
    int i, j;

    (void)state;
    cm_seed(&rng);
    create_sets();
    twin_init(&shared, (size_t)CLIENTS * SHARED);
    for (i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];

        c->number = i;
        rng_seed(&c->rng, rng_next(&rng));
        twin_init(&c->twin, NAMES);
        c->ac = async_open(&server);
        c->ac->data = c;
        for (j = 0; j < IN_FLIGHT; j++) {
            send_next(c);
        }
    }
    while (async_turn()) {
    }
    for (i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].bad, 0);
        assert_int_equal(clients[i].answered, COMMANDS);
        twin_deinit(&clients[i].twin);
    }
    check_shared(&rng);
    twin_deinit(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_hundred_clients_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
