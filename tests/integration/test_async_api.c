/* hiredis' asynchronous API: callbacks in the order of their commands, searches
 * in flight at the same time, connections that end. */
#include "integration/async_loop.h"

#include <math.h>

static int setup(void **state)
{
    redisContext *c = server_connect(&server);

    (void)state;
    is_text(call(c, "FLUSHALL"), "OK");
    redisFree(c);
    async_close_all();
    return 0;
}

enum { SEARCHED = 2000, SEARCHES = 3000 };

struct order {
    int next; /* the callback that is due */
    int wrong;
    int disconnected;
};

static void on_disconnect(const redisAsyncContext *ac, int status)
{
    struct order *o = ac->data;

    o->disconnected += status == REDIS_OK ? 1 : 100;
}

static void on_any(redisAsyncContext *ac, void *reply, void *arg)
{
    struct order *o = ac->data;

    o->wrong += (int)(intptr_t)arg != o->next++ || !reply;
}

static void on_search(redisAsyncContext *ac, void *reply, void *arg)
{
    redisReply *r = reply;
    char name[16];

    on_any(ac, reply, arg);
    snprintf(name, sizeof(name), "e%d", (int)(intptr_t)arg % SEARCHED);
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 1 ||
        strcmp(r->element[0]->str, name) != 0) {
        ((struct order *)ac->data)->wrong++;
    }
}

/* Element i's vector; no two are alike. */
static void on_circle(int i, float v[2])
{
    v[0] = cosf((float)i * 0.003F);
    v[1] = sinf((float)i * 0.003F);
}

static void test_searches_in_flight_are_answered_in_order(void **state)
{
    struct order o = {0};
    redisAsyncContext *ac = async_open(&server);
    float v[2];
    int n = 0;
    int i;

    (void)state;
    ac->data = &o;
    redisAsyncSetDisconnectCallback(ac, on_disconnect);
    for (i = 0; i < SEARCHED; i++) {
        on_circle(i, v);
        redisAsyncCommand(ac, on_any, (void *)(intptr_t)n++,
                          "VADD v FP32 %b e%d NOQUANT", v, sizeof(v), i);
    }
    o.next = 0;
    while (o.next < n) {
        assert_true(async_turn());
    }
    assert_int_equal(o.wrong, 0);
    o.next = 0;
    for (i = 0; i < SEARCHES; i++) {
        on_circle(i % SEARCHED, v);
        redisAsyncCommand(ac, on_search, (void *)(intptr_t)i,
                          "VSIM v FP32 %b COUNT 1", v, sizeof(v));
    }
    redisAsyncDisconnect(ac); /* after the last reply */
    while (async_turn()) {
    }
    assert_int_equal(o.next, SEARCHES);
    assert_int_equal(o.wrong, 0);
    assert_int_equal(o.disconnected, 1);
}

struct lost {
    int replies;
    int without;
    bool gone;
};

static void on_maybe(redisAsyncContext *ac, void *reply, void *arg)
{
    struct lost *l = ac->data;

    (void)arg;
    l->replies += reply != NULL;
    l->without += reply == NULL;
}

static void on_gone(const redisAsyncContext *ac, int status)
{
    struct lost *l = ac->data;

    l->gone = status != REDIS_OK;
}

static void test_quit_answers_what_came_before_and_closes(void **state)
{
    struct lost l = {0};
    redisAsyncContext *ac = async_open(&server);
    int i;

    (void)state;
    ac->data = &l;
    redisAsyncSetDisconnectCallback(ac, on_gone);
    for (i = 0; i < 100; i++) {
        redisAsyncCommand(ac, on_maybe, NULL, "INCR n");
    }
    redisAsyncCommand(ac, on_maybe, NULL, "QUIT");
    redisAsyncCommand(ac, on_maybe, NULL, "INCR n");
    while (async_turn()) {
    }
    assert_int_equal(l.replies, 101);
    assert_int_equal(l.without, 1);
    assert_true(l.gone);
}

static void test_clients_that_go_leave_the_others_alone(void **state)
{
    struct lost l[20] = {{0}};
    redisContext *c = server_connect(&server);
    redisAsyncContext *acs[20];
    int i, j;

    (void)state;
    for (i = 0; i < 2000; i++) {
        redisAppendCommand(c, "VADD v VALUES 3 %d %d 1 e%d", i, i * i % 77, i);
    }
    for (i = 0; i < 2000; i++) {
        is_int(next_reply(c), 1);
    }
    for (i = 0; i < 20; i++) {
        acs[i] = async_open(&server);
        acs[i]->data = &l[i];
        for (j = 0; j < 50; j++) {
            redisAsyncCommand(acs[i], on_maybe, NULL,
                              "VSIM v ELE e%d COUNT 2000 WITHSCORES", j);
        }
    }
    while (l[0].replies == 0) {
        assert_true(async_turn());
    }
    for (i = 0; i < 20; i += 2) {
        redisAsyncFree(acs[i]); /* with searches under way */
    }
    for (i = 1; i < 20; i += 2) {
        redisAsyncDisconnect(acs[i]);
    }
    while (async_turn()) {
    }
    for (i = 1; i < 20; i += 2) {
        assert_int_equal(l[i].replies, 50);
    }
    is_int(call(c, "VCARD v"), 2000);
    redisFree(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_searches_in_flight_are_answered_in_order,
                               setup),
        cmocka_unit_test_setup(test_quit_answers_what_came_before_and_closes,
                               setup),
        cmocka_unit_test_setup(test_clients_that_go_leave_the_others_alone,
                               setup),
    };

    return cmocka_run_group_tests(tests, server_group_setup,
                                  server_group_teardown);
}
