/* A vector set against a twin, with searches running on real workers.
 *
 * The test thread is the loop: it adds, replaces and removes elements, sets
 * attributes, drops and remakes the set, and starts searches that ask for every
 * element. Each search must answer with exactly the elements and attributes the
 * twin had when it was started, however late it runs; and a view must show,
 * slice by slice, the names there were when it was opened. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "db/search/search.h"
#include "db/vset/vset_impl.h"
#include "db/vset/vset_view.h"
#include "model/db/loop.h"

enum {
    NAMES = 120,
    DIM = 24,
    STEPS = 12000,
    UNDER_WAY_MAX = 40,
};

/* What each name stands for; version 0 is "not there". The attribute says its
 * own number, 0 for none. */
struct twin {
    uint32_t version[NAMES];
    uint32_t attribute[NAMES];
};

struct world {
    struct vset *set;
    struct twin now;
    uint32_t next;
    struct rng rng;
    size_t under_way;
    enum vec_type type;
    struct vset_view view; /* while viewing */
    struct twin viewed;    /* the twin when it was opened; what was met is 0 */
    bool viewing;
};

static struct world w;

static void make_set(void)
{
    struct vset_options o = {
        .type = w.type, .metric = VEC_COSINE, .dim = DIM, .m = VSET_M_DEFAULT};

    w.set = vset_create(loop.ks, loop.ks->dbs[0], &o);
    assert_non_null(w.set);
    memset(&w.now, 0, sizeof(w.now));
}

static void begin(enum vec_type type)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    w.type = type;
    loop_begin(2, 0, 1);
    make_set();
}

static void wait_for_some(void)
{
    loop_sleep();
    pool_drain(loop.pool);
}

static void end(void)
{
    if (w.viewing) {
        vset_view_close(&w.view);
    }
    while (w.under_way > 0) {
        wait_for_some();
    }
    vset_settle_all(loop.ks->dbs[0]);
    vset_validate(w.set);
    assert_int_equal(w.set->elements.slots.limbo_len, 0);
    vset_drop(w.set);
    loop_end();
}

/* ---- names, vectors, attributes that tell what they are ---------------- */

static struct bytes name_of(uint32_t i, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 32, "n%u", i));
}

static struct bytes attribute_of(uint32_t number, char *text)
{
    return bytes_of(text, (size_t)snprintf(text, 64, "{\"a\":%u,\"p\":%u}",
                                           number, number % 2));
}

static void vector_of(uint32_t version, float *x)
{
    struct rng rng;
    int j;

    rng_seed(&rng, version);
    for (j = 0; j < DIM; j++) {
        x[j] = (float)rng_normal(&rng);
    }
}

/* ---- changes ----------------------------------------------------------- */

static void add(uint32_t i)
{
    char name[32], text[64];
    float x[DIM];
    struct vset_element e = {.vector = x};
    bool added;

    e.name = name_of(i, name);
    vector_of(++w.next, x);
    if (rng_below(&w.rng, 3) == 0) {
        e.has_attribute = true;
        w.now.attribute[i] = rng_below(&w.rng, 4) ? w.next : 0;
        e.attribute =
            w.now.attribute[i] ? attribute_of(w.next, text) : BYTES_NONE;
    }
    assert_int_equal(vset_add(w.set, &e, &added), ERR_OK);
    assert_int_equal(added, w.now.version[i] == 0);
    w.now.version[i] = w.next;
}

static void remove_one(uint32_t i)
{
    char name[32];
    bool removed;

    assert_int_equal(vset_remove(w.set, name_of(i, name), &removed), ERR_OK);
    assert_int_equal(removed, w.now.version[i] != 0);
    w.now.version[i] = w.now.attribute[i] = 0;
}

static void set_attribute(uint32_t i)
{
    char name[32], text[64];
    slot_id slot = vset_find(w.set, name_of(i, name));
    struct bytes json = BYTES_NONE;

    if (slot == SLOT_NONE) {
        return;
    }
    w.now.attribute[i] = rng_below(&w.rng, 4) ? ++w.next : 0;
    if (w.now.attribute[i]) {
        json = attribute_of(w.now.attribute[i], text);
    }
    assert_int_equal(vset_set_attribute(w.set, slot, json), ERR_OK);
}

/* A search under way keeps the old set alive. */
static void replace_set(void)
{
    vset_drop(w.set);
    make_set();
}

static void bad_vector(uint32_t i)
{
    char name[32];
    float x[DIM] = {NAN};
    struct vset_element e = {.vector = x};
    bool added;

    e.name = name_of(i, name);
    assert_int_equal(vset_add(w.set, &e, &added), ERR_NOT_FINITE);
}

/* ---- searches ---------------------------------------------------------- */

struct expectation {
    struct twin then;
    bool filtered; /* only odd attributes */
};

/* "name attribute\n" for each hit. */
static void write_hits(const struct search *s, const void *data,
                       struct buf *out)
{
    size_t i;

    (void)data;
    for (i = 0; i < search_hit_count(s); i++) {
        struct search_hit hit;

        search_hit_read(s, i, &hit);
        buf_append_bytes(out, hit.name);
        buf_append_byte(out, ' ');
        buf_append_bytes(out, hit.attribute);
        buf_append_byte(out, '\n');
    }
}

static void check_answer(struct search *s, void *arg)
{
    struct expectation *e = arg;
    struct buf *text = search_reply(s);
    bool seen[NAMES] = {false};
    char *line, *rest;
    uint32_t i;

    buf_append_byte(text, '\0');
    for (line = strtok_r((char *)text->data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char want[64] = "";

        i = (uint32_t)strtoul(line + 1, NULL, 10);
        assert_true(i < NAMES && !seen[i]);
        seen[i] = true;
        if (e->then.attribute[i]) {
            struct bytes a = attribute_of(e->then.attribute[i], want);

            want[a.len] = '\0';
        }
        assert_string_equal(strchr(line, ' ') + 1, want);
    }
    for (i = 0; i < NAMES; i++) {
        bool want = e->then.version[i] != 0 &&
                    (!e->filtered || e->then.attribute[i] % 2 == 1);

        assert_int_equal(seen[i], want);
    }
    free(e);
    w.under_way--;
}

static void search(bool on_workers)
{
    struct expectation *e = malloc(sizeof(*e));
    struct search_request r = {.slot = SLOT_NONE,
                               .exclude = SLOT_NONE,
                               .k = NAMES * 2,
                               .radius = INFINITY,
                               .format = write_hits};
    struct search *s;
    float x[DIM];
    size_t at;

    e->then = w.now;
    e->filtered = rng_below(&w.rng, 2);
    if (e->filtered) {
        assert_int_equal(filter_compile(bytes_str(".p == 1"), &r.filter, &at),
                         ERR_OK);
    }
    vector_of(w.next + 1000000, x);
    r.vector = x;
    assert_int_equal(search_create(w.set, &r, &s), ERR_OK);
    w.under_way++;
    if (on_workers) {
        search_submit(s, check_answer, e);
    } else {
        search_run(s, check_answer, e);
    }
}

/* ---- views ------------------------------------------------------------- */

static bool meet(void *arg, struct bytes name)
{
    char text[16];
    unsigned i;

    (void)arg;
    snprintf(text, sizeof(text), "%.*s", (int)name.len,
             (const char *)name.data);
    assert_int_equal(sscanf(text, "n%u", &i), 1);
    assert_true(w.viewed.version[i] != 0);
    w.viewed.version[i] = 0;
    return true;
}

/* Opens a view or walks a slice of the one there is. */
static void view_step(void)
{
    uint32_t i;

    if (!w.viewing) {
        vset_view_open(&w.view, w.set);
        w.viewed = w.now;
        w.viewing = true;
        assert_int_equal(vset_view_count(&w.view), vset_count(w.set));
        return;
    }
    if (vset_view_walk(&w.view, 1 + (uint32_t)rng_below(&w.rng, 40), meet,
                       NULL)) {
        return;
    }
    for (i = 0; i < NAMES; i++) {
        assert_int_equal(w.viewed.version[i], 0);
    }
    vset_view_close(&w.view);
    w.viewing = false;
}

/* ---- the runs ---------------------------------------------------------- */

static void step(void)
{
    uint32_t i = (uint32_t)rng_below(&w.rng, NAMES);

    switch (rng_below(&w.rng, 18)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        add(i);
        break;
    case 5:
    case 6:
    case 7:
        remove_one(i);
        break;
    case 8:
    case 9:
        set_attribute(i);
        break;
    case 10:
        bad_vector(i);
        break;
    case 11:
        search(false);
        break;
    case 12:
        if (rng_below(&w.rng, 100) == 0) {
            replace_set();
        }
        break;
    case 13:
        vset_settle_all(loop.ks->dbs[0]);
        pool_drain(loop.pool);
        break;
    case 14:
    case 15:
        view_step();
        break;
    default:
        if (w.under_way < UNDER_WAY_MAX) {
            search(true);
        } else {
            wait_for_some();
        }
    }
}

static void run(enum vec_type type)
{
    int i;

    begin(type);
    for (i = 0; i < STEPS; i++) {
        step();
        if (i % 200 == 0) {
            vset_validate(w.set);
        }
    }
    end();
}

static void every_search_answers_for_the_instant_it_was_started_q8(void **state)
{
    (void)state;
    run(VEC_I8);
}

static void
every_search_answers_for_the_instant_it_was_started_f32(void **state)
{
    (void)state;
    run(VEC_F32);
}

static void memory_comes_back_when_a_set_is_dropped(void **state)
{
    size_t used = mem_used();
    uint32_t i;

    (void)state;
    begin(VEC_I8);
    for (i = 0; i < NAMES; i++) {
        add(i);
        set_attribute(i);
    }
    assert_true(vset_memory(w.set) > NAMES * DIM);
    end();
    assert_int_equal(mem_used(), used);
}

static void an_empty_set_takes_less_than_a_kilobyte(void **state)
{
    (void)state;
    begin(VEC_I8);
    assert_true(vset_memory(w.set) <= 1024);
    end();
}

static void past_the_limit_nothing_is_added(void **state)
{
    float x[DIM] = {1};
    struct vset_element e = {.name = bytes_str("x"), .vector = x};
    bool added;

    (void)state;
    begin(VEC_I8);
    mem_set_limit(mem_used() + 64);
    assert_int_equal(vset_add(w.set, &e, &added), ERR_LIMIT);
    assert_int_equal(vset_count(w.set), 0);
    mem_set_limit(0);
    assert_int_equal(vset_add(w.set, &e, &added), ERR_OK);
    end();
}

/* Codes of a set take its place: what was counted of the one is not added to
 * what is counted of the other. */
static void a_check_begins_anew_with_another_set(void **state)
{
    struct vset_check check;
    struct vset *first;
    uint32_t i;

    (void)state;
    begin(VEC_I8);
    first = w.set;
    for (i = 0; i < NAMES; i++) {
        add(i);
    }
    make_set();
    for (i = 0; i < NAMES / 2; i++) {
        add(i);
    }
    vset_check_begin(&check, first);
    assert_true(vset_check_step(&check, first, NAMES / 3));
    while (vset_check_step(&check, w.set, NAMES / 3)) {
    }
    assert_null(check.broken);
    vset_drop(first);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            every_search_answers_for_the_instant_it_was_started_q8),
        cmocka_unit_test(
            every_search_answers_for_the_instant_it_was_started_f32),
        cmocka_unit_test(memory_comes_back_when_a_set_is_dropped),
        cmocka_unit_test(an_empty_set_takes_less_than_a_kilobyte),
        cmocka_unit_test(past_the_limit_nothing_is_added),
        cmocka_unit_test(a_check_begins_anew_with_another_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
