/* What a search sees, from outside: the writes sent before it on its own
 * connection, all of them and no later one; of other connections' writes whole
 * ones only; of a transaction all or nothing.
 *
 * The sets are large enough that searches leave the loop for the workers, so
 * that writes really do run beside them. */
#include "integration/async_loop.h"
#include "integration/twin.h"

#include <math.h>

static int setup(void **state)
{
    redisContext *c = server_connect(&server);

    (void)state;
    is_text(call(c, "FLUSHALL"), "OK");
    is_text(call(c, "VCREATE v DIM %d METRIC L2 NOQUANT", TWIN_DIM), "OK");
    redisFree(c);
    return 0;
}

/* Elements far away that only make scans long. They are named f0, f1 ... */
static void add_far_ones(redisContext *c, int n)
{
    float v[TWIN_DIM] = {1e6F};
    int i;

    for (i = 0; i < n; i++) {
        v[1] = (float)i;
        redisAppendCommand(c, "VADD v FP32 %b f%d", v, sizeof(v), i);
    }
    for (i = 0; i < n; i++) {
        is_int(next_reply(c), 1);
    }
}

/* ---- a connection's own writes ----------------------------------------- */

enum {
    NAMES = 60,
    STEPS = 6000,
    WINDOW = 400, /* commands in flight */
    FAR = 20000,
};

/* What a command in flight must answer. */
struct expected {
    bool is_search;
    int answer; /* of a write */
    size_t n;
    struct twin_hit hits[NAMES];
};

static void send_write(redisContext *c, struct twin *t, struct rng *rng,
                       struct expected *e)
{
    uint32_t name = (uint32_t)rng_below(rng, NAMES);
    float v[TWIN_DIM];

    e->is_search = false;
    if (rng_below(rng, 3) == 0) {
        e->answer = twin_remove(t, name);
        redisAppendCommand(c, "VREM v %u", name);
        return;
    }
    twin_random_vector(rng, v);
    e->answer = twin_add(t, name, v);
    redisAppendCommand(c, "VADD v FP32 %b %u", v, sizeof(v), name);
}

static void send_search(redisContext *c, struct twin *t, struct rng *rng,
                        struct expected *e)
{
    float q[TWIN_DIM];

    twin_random_vector(rng, q);
    e->is_search = true;
    e->n = twin_search(t, q, e->hits);
    redisAppendCommand(c, "VSEARCH v FP32 %b RADIUS 1000 K %d WITHDISTANCES", q,
                       sizeof(q), 2 * NAMES);
}

static void check_search(const struct expected *e, const redisReply *r)
{
    size_t i;

    assert_int_equal(r->type, REDIS_REPLY_ARRAY);
    assert_int_equal(r->elements, 2 * e->n);
    for (i = 0; i < e->n; i++) {
        double distance = strtod(r->element[2 * i + 1]->str, NULL);
        uint32_t name = (uint32_t)strtoul(r->element[2 * i]->str, NULL, 10);
        size_t j = 0;

        assert_true(fabs(distance - e->hits[i].distance) < 1e-4);
        while (e->hits[j].name != name) {
            assert_true(++j < e->n);
        }
        assert_true(fabs(distance - e->hits[j].distance) < 1e-4);
    }
}

static void test_a_search_sees_exactly_the_writes_sent_before_it(void **state)
{
    static struct expected ring[WINDOW];
    redisContext *c = server_connect(&server);
    struct twin t;
    struct rng rng;
    int i;

    (void)state;
    cm_seed(&rng);
    twin_init(&t, NAMES);
    add_far_ones(c, FAR);
    for (i = 0; i < STEPS + WINDOW; i++) {
        struct expected *e = &ring[i % WINDOW];

        if (i >= WINDOW) {
            redisReply *r = next_reply(c);

            if (e->is_search) {
                check_search(e, r);
                freeReplyObject(r);
            } else {
                is_int(r, e->answer);
            }
        }
        if (i < STEPS && rng_below(&rng, 2) == 0) {
            send_write(c, &t, &rng, e);
        } else if (i < STEPS) {
            send_search(c, &t, &rng, e);
        }
    }
    is_int(call(c, "VCARD v"), FAR + (long long)t.n_live);
    twin_deinit(&t);
    redisFree(c);
}

/* ---- other connections' writes ----------------------------------------- */

enum { UPDATES = 4000, LOOKS = 1500, COUPLED = 20 };

struct traffic {
    struct rng rng;
    int left; /* commands still to be sent */
    int in_air;
    int bad;
    bool b_is_in; /* of the transactions */
};

/* Replaces a coupled element: its vector and its attribute say one number. */
static void send_update(redisAsyncContext *ac);

static void on_update(redisAsyncContext *ac, void *reply, void *arg)
{
    struct traffic *t = ac->data;
    redisReply *r = reply;

    (void)arg;
    t->bad += !r || r->type == REDIS_REPLY_ERROR;
    t->in_air--;
    if (t->left > 0) {
        send_update(ac);
    }
}

static void send_update(redisAsyncContext *ac)
{
    struct traffic *t = ac->data;
    unsigned number = 1 + (unsigned)rng_below(&t->rng, 1000);
    float v[TWIN_DIM] = {(float)number};

    t->left--;
    t->in_air++;
    redisAsyncCommand(ac, on_update, NULL,
                      "VADD v FP32 %b c%u SETATTR {\"n\":%u}", v, sizeof(v),
                      (unsigned)rng_below(&t->rng, COUPLED), number);
}

static void send_look(redisAsyncContext *ac);

/* Each coupled element once, its distance from 0 the number it carries. */
static void on_look(redisAsyncContext *ac, void *reply, void *arg)
{
    struct traffic *t = ac->data;
    redisReply *r = reply;
    unsigned seen = 0;
    size_t i;

    (void)arg;
    t->bad += !r || r->type != REDIS_REPLY_ARRAY || r->elements != 3 * COUPLED;
    for (i = 0; r && i + 2 < r->elements; i += 3) {
        double distance = strtod(r->element[i + 1]->str, NULL);
        double number = strtod(r->element[i + 2]->str + 5, NULL);

        seen |= 1U << strtoul(r->element[i]->str + 1, NULL, 10);
        t->bad += fabs(distance - number) > 1e-3;
    }
    t->bad += seen != (1U << COUPLED) - 1;
    t->in_air--;
    if (t->left > 0) {
        send_look(ac);
    }
}

static void send_look(redisAsyncContext *ac)
{
    struct traffic *t = ac->data;
    float v[TWIN_DIM] = {0};

    t->left--;
    t->in_air++;
    redisAsyncCommand(ac, on_look, NULL,
                      "VSEARCH v FP32 %b RADIUS 2000 K 100 WITHDISTANCES "
                      "WITHATTRIBS",
                      v, sizeof(v));
}

static void run_traffic(struct traffic *t, size_t n)
{
    bool more = true;

    while (more) {
        size_t i;

        assert_true(async_turn());
        more = false;
        for (i = 0; i < n; i++) {
            assert_int_equal(t[i].bad, 0);
            more = more || t[i].in_air > 0;
        }
    }
    async_close_all();
}

static void test_no_search_sees_half_an_update(void **state)
{
    redisContext *c = server_connect(&server);
    struct traffic t[8] = {0};
    int i, j;

    (void)state;
    add_far_ones(c, FAR);
    for (i = 0; i < COUPLED; i++) {
        float v[TWIN_DIM] = {1};

        is_int(call(c, "VADD v FP32 %b c%d SETATTR {\"n\":1}", v, sizeof(v), i),
               1);
    }
    for (i = 0; i < 8; i++) {
        redisAsyncContext *ac = async_open(&server);

        ac->data = &t[i];
        rng_seed(&t[i].rng, (uint64_t)i);
        t[i].left = i % 2 ? LOOKS : UPDATES;
        for (j = 0; j < 8; j++) {
            if (i % 2) {
                send_look(ac);
            } else {
                send_update(ac);
            }
        }
    }
    run_traffic(t, 8);
    redisFree(c);
}

/* ---- transactions ------------------------------------------------------ */

static void send_swap(redisAsyncContext *ac);

static void on_swap(redisAsyncContext *ac, void *reply, void *arg)
{
    struct traffic *t = ac->data;
    redisReply *r = reply;

    (void)arg;
    t->bad += !r || r->type != REDIS_REPLY_ARRAY || r->elements != 3 ||
              r->element[0]->integer != 1 || r->element[1]->integer != 1 ||
              r->element[2]->elements != 1;
    t->in_air--;
    if (t->left > 0) {
        send_swap(ac);
    }
}

/* Puts one of a and b in and takes the other out, in one transaction. */
static void send_swap(redisAsyncContext *ac)
{
    struct traffic *t = ac->data;
    float v[TWIN_DIM] = {5};

    t->left--;
    t->in_air++;
    t->b_is_in = !t->b_is_in;
    redisAsyncCommand(ac, NULL, NULL, "MULTI");
    redisAsyncCommand(ac, NULL, NULL, "VADD v FP32 %b %s", v, sizeof(v),
                      t->b_is_in ? "b" : "a");
    redisAsyncCommand(ac, NULL, NULL, "VREM v %s", t->b_is_in ? "a" : "b");
    redisAsyncCommand(ac, NULL, NULL, "VSEARCH v FP32 %b RADIUS 1 K 10", v,
                      sizeof(v));
    redisAsyncCommand(ac, on_swap, NULL, "EXEC");
}

static void send_glance(redisAsyncContext *ac);

static void on_glance(redisAsyncContext *ac, void *reply, void *arg)
{
    struct traffic *t = ac->data;
    redisReply *r = reply;

    (void)arg;
    t->bad += !r || r->type != REDIS_REPLY_ARRAY || r->elements != 1;
    t->in_air--;
    if (t->left > 0) {
        send_glance(ac);
    }
}

static void send_glance(redisAsyncContext *ac)
{
    struct traffic *t = ac->data;
    float v[TWIN_DIM] = {5};

    t->left--;
    t->in_air++;
    redisAsyncCommand(ac, on_glance, NULL, "VSEARCH v FP32 %b RADIUS 1 K 10", v,
                      sizeof(v));
}

static void test_a_search_sees_all_of_a_transaction_or_nothing(void **state)
{
    redisContext *c = server_connect(&server);
    struct traffic t[5] = {0};
    float v[TWIN_DIM] = {5};
    int i, j;

    (void)state;
    add_far_ones(c, FAR);
    is_int(call(c, "VADD v FP32 %b a", v, sizeof(v)), 1);
    for (i = 0; i < 5; i++) {
        redisAsyncContext *ac = async_open(&server);

        ac->data = &t[i];
        t[i].left = i ? LOOKS : UPDATES / 4;
        for (j = 0; j < 8; j++) {
            if (i) {
                send_glance(ac);
            } else {
                send_swap(ac);
            }
        }
    }
    run_traffic(t, 5);
    redisFree(c);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, setup)
    const struct CMUnitTest tests[] = {
        T(test_a_search_sees_exactly_the_writes_sent_before_it),
        T(test_no_search_sees_half_an_update),
        T(test_a_search_sees_all_of_a_transaction_or_nothing),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
