/* The keyspace: entries against an array twin under random operations, expiry,
 * moving, flushing and swapping, what happens without memory, and that every
 * byte comes back. */
#include "unit/cm.h"

#include <sched.h>

#include "base/mem.h"
#include "db/string_value.h"
#include "db/vset/vset.h"

enum { N_DBS = 3, N_KEYS = 300, TEXT_MAX = 100 };

struct fixture {
    struct pool *pool;
    struct reaper *reaper;
    struct keyspace *ks;
    time_ms now;
    /* what the listener was told */
    int n_changed;
    int n_flushed;
    char last_changed[32];
    int last_db;
};

static void wake(void *arg)
{
    (void)arg;
}

static void note_changed(void *arg, int db, struct bytes key)
{
    struct fixture *f = arg;
    size_t len = key.len < sizeof(f->last_changed) - 1
                     ? key.len
                     : sizeof(f->last_changed) - 1;

    f->n_changed++;
    f->last_db = db;
    memcpy(f->last_changed, key.data, len);
    f->last_changed[len] = '\0';
}

static void note_flushed(void *arg, int db, int other)
{
    struct fixture *f = arg;

    (void)db;
    (void)other;
    f->n_flushed++;
}

static void set_now(struct fixture *f, time_ms now)
{
    f->now = now;
    keyspace_set_time(f->ks, now, now * 1000);
}

static int setup(void **state)
{
    struct pool_options o = {.n_workers = 1, .wake = wake};
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(pool_create(&o, &f->pool), ERR_OK);
    assert_int_equal(reaper_create(&f->reaper), ERR_OK);
    f->ks = keyspace_create(N_DBS, f->pool, f->reaper);
    f->ks->listener = (struct keyspace_listener){
        .changed = note_changed, .flushed = note_flushed, .arg = f};
    set_now(f, 1000000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pool_destroy(f->pool);
    keyspace_destroy(f->ks);
    reaper_destroy(f->reaper);
    free(f);
    return 0;
}

static void wait_for_reaper(struct fixture *f)
{
    while (reaper_pending(f->reaper) > 0) {
        sched_yield();
    }
}

/* ---- short forms ------------------------------------------------------- */

static struct entry *put(struct fixture *f, int db, const char *key,
                         const char *text)
{
    bool added;
    struct entry *e = keyspace_write_or_add(f->ks, db, bytes_str(key), &added);

    assert_non_null(e);
    assert_int_equal(string_set(f->ks, e, bytes_str(text)), ERR_OK);
    return e;
}

static struct entry *find(struct fixture *f, int db, const char *key)
{
    return keyspace_find(f->ks, db, bytes_str(key));
}

static void expect_text(const struct entry *e, const char *text)
{
    char digits[NUM_TEXT_MAX];

    assert_non_null(e);
    assert_int_equal(e->type, VALUE_STRING);
    assert_true(bytes_equal(string_get(e, digits), bytes_str(text)));
}

static void expect_expiry(struct fixture *f, struct entry *e, int db,
                          time_ms at)
{
    assert_int_equal(keyspace_set_expiry(f->ks, db, e, at), ERR_OK);
}

static void make_vset(struct fixture *f, int db, struct entry *e)
{
    struct vset_options o = {
        .type = VEC_F32, .metric = VEC_COSINE, .dim = 4, .m = VSET_M_DEFAULT};
    struct vset *v = vset_create(f->ks, f->ks->dbs[db], &o);

    assert_non_null(v);
    keyspace_drop_value(f->ks, e);
    e->type = VALUE_VSET;
    e->encoding = ENC_VECTOR;
    e->value.vset = v;
    vset_set_entry(v, e);
}

/* ---- values ------------------------------------------------------------ */

static void text_that_is_an_integer_is_kept_as_one(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, 0, "k", "-42")->encoding, ENC_INT);
    assert_int_equal(put(f, 0, "k", "042")->encoding, ENC_SHORT);
    expect_text(find(f, 0, "k"), "042");
    assert_int_equal(string_set_text(f->ks, find(f, 0, "k"), bytes_str("7")),
                     ERR_OK);
    assert_int_equal(find(f, 0, "k")->encoding, ENC_SHORT);
    expect_text(find(f, 0, "k"), "7");
}

static void longer_text_is_raw(void **state)
{
    struct fixture *f = *state;
    char text[STRING_SHORT_MAX + 2];

    memset(text, 'x', sizeof(text));
    text[STRING_SHORT_MAX] = '\0';
    assert_int_equal(put(f, 0, "k", text)->encoding, ENC_SHORT);
    text[STRING_SHORT_MAX] = 'x';
    text[STRING_SHORT_MAX + 1] = '\0';
    assert_int_equal(put(f, 0, "k", text)->encoding, ENC_RAW);
}

static void a_short_text_does_not_keep_a_large_block(void **state)
{
    struct fixture *f = *state;
    uint8_t *big = calloc(1, 1 << 20);
    size_t before = mem_used();
    struct entry *e = put(f, 0, "k", "");

    assert_non_null(big);
    assert_int_equal(string_set(f->ks, e, bytes_of(big, 1 << 20)), ERR_OK);
    assert_true(mem_used() > before + (1 << 20));
    free(big);
    assert_int_equal(string_set(f->ks, e, bytes_str("abc")), ERR_OK);
    wait_for_reaper(f); /* where long texts are freed */
    assert_true(mem_used() < before + 4096);
    expect_text(e, "abc");
}

static void resizing_fills_with_zeros_and_keeps_the_digits(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "12");
    uint8_t *text;

    assert_int_equal(string_resize(e, 5, &text), ERR_OK);
    assert_memory_equal(text, "12\0\0\0", 5);
    assert_int_equal(e->encoding, ENC_RAW);
    assert_int_equal(string_len(e), 5);
}

static void a_value_of_another_type_is_dropped_when_overwritten(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "text");

    make_vset(f, 0, e);
    assert_int_equal(f->ks->dbs[0]->n_vsets, 1);
    put(f, 0, "k", "again");
    expect_text(find(f, 0, "k"), "again");
    assert_int_equal(f->ks->dbs[0]->n_vsets, 0);
    keyspace_validate(f->ks);
}

/* ---- keys -------------------------------------------------------------- */

static void keys_are_binary_safe(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *data;
        size_t len;
    } keys[] = {{"", 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"a\0", 2}};
    size_t i;
    bool added;

    for (i = 0; i < ARRAY_LEN(keys); i++) {
        struct entry *e = keyspace_write_or_add(
            f->ks, 0, bytes_of(keys[i].data, keys[i].len), &added);

        assert_true(added);
        string_set_int(f->ks, e, (int64_t)i);
    }
    for (i = 0; i < ARRAY_LEN(keys); i++) {
        struct entry *e =
            keyspace_read(f->ks, 0, bytes_of(keys[i].data, keys[i].len));

        assert_non_null(e);
        assert_int_equal(e->value.number, i);
        assert_true(
            bytes_equal(entry_key(e), bytes_of(keys[i].data, keys[i].len)));
    }
    assert_int_equal(keyspace_count(f->ks, 0), ARRAY_LEN(keys));
}

static void reads_count_and_note_writes_note_only(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "v");
    uint32_t first = e->accessed_s;

    set_now(f, f->now + 60000);
    assert_ptr_equal(find(f, 0, "k"), e);
    assert_ptr_equal(keyspace_peek(f->ks, 0, bytes_str("k")), e);
    assert_int_equal(e->accessed_s, first);
    assert_int_equal(f->ks->stats.hits, 1);
    assert_null(keyspace_peek(f->ks, 0, bytes_str("none")));
    assert_int_equal(f->ks->stats.misses, 1);
    assert_ptr_equal(keyspace_write(f->ks, 0, bytes_str("k")), e);
    assert_int_equal(e->accessed_s, first + 60);
    assert_int_equal(f->ks->stats.hits, 1);
    set_now(f, f->now + 60000);
    assert_ptr_equal(keyspace_read(f->ks, 0, bytes_str("k")), e);
    assert_int_equal(e->accessed_s, first + 120);
    assert_int_equal(f->ks->stats.hits, 2);
}

/* ---- expiry ------------------------------------------------------------ */

static void k2_an_expired_key_is_deleted_when_looked_up(void **state)
{
    struct fixture *f = *state;

    expect_expiry(f, put(f, 0, "k", "v"), 0, f->now + 10);
    set_now(f, f->now + 9);
    assert_non_null(find(f, 0, "k"));
    set_now(f, f->now + 1);
    assert_false(keyspace_has(f->ks, 0, bytes_str("k")));
    assert_int_equal(keyspace_count(f->ks, 0), 1);
    assert_null(find(f, 0, "k"));
    assert_int_equal(keyspace_count(f->ks, 0), 0);
    assert_int_equal(keyspace_volatile_count(f->ks, 0), 0);
    assert_int_equal(f->ks->stats.expired, 1);
    assert_int_equal(f->n_changed, 1);
    assert_string_equal(f->last_changed, "k");
}

static void adding_under_an_expired_key_starts_afresh(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "old");
    bool added;

    expect_expiry(f, e, 0, f->now + 10);
    set_now(f, f->now + 10);
    e = keyspace_write_or_add(f->ks, 0, bytes_str("k"), &added);
    assert_true(added);
    assert_int_equal(e->expires_at, NO_EXPIRY);
    assert_int_equal(e->value.number, 0);
    keyspace_validate(f->ks);
}

static void k1_clearing_an_expiry_takes_the_key_off_the_list(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "v");

    expect_expiry(f, e, 0, f->now + 10);
    expect_expiry(f, e, 0, f->now + 20);
    assert_int_equal(keyspace_volatile_count(f->ks, 0), 1);
    expect_expiry(f, e, 0, NO_EXPIRY);
    expect_expiry(f, e, 0, NO_EXPIRY);
    assert_int_equal(keyspace_volatile_count(f->ks, 0), 0);
    set_now(f, f->now + 100);
    assert_non_null(find(f, 0, "k"));
    keyspace_validate(f->ks);
}

static void expired_keys_of_every_database_go_in_the_background(void **state)
{
    struct fixture *f = *state;
    char key[16];
    int db, i;

    for (db = 0; db < N_DBS; db++) {
        for (i = 0; i < 500; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            expect_expiry(f, put(f, db, key, "v"), db,
                          i < 400 ? f->now + 10 : f->now + 100000);
        }
    }
    set_now(f, f->now + 10);
    f->ks->active_expire = false;
    assert_false(keyspace_expire_some(f->ks, 1000000));
    assert_int_equal(keyspace_count(f->ks, 0), 500);
    f->ks->active_expire = true;
    /* A budget of nothing still takes one sample of some database a call, and
     * not always of the same one. */
    for (i = 0; i < 10000; i++) {
        keyspace_expire_some(f->ks, 0);
    }
    for (db = 0; db < N_DBS; db++) {
        /* A few may be left: a sample that finds few ends the round. */
        assert_in_range(keyspace_count(f->ks, db), 100, 130);
    }
    keyspace_validate(f->ks);
}

static void the_mean_ttl_is_near_the_truth(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(keyspace_mean_ttl(f->ks, 0), 0);
    put(f, 0, "forever", "v");
    assert_int_equal(keyspace_mean_ttl(f->ks, 0), 0);
    expect_expiry(f, put(f, 0, "a", "v"), 0, f->now + 5000);
    assert_int_equal(keyspace_mean_ttl(f->ks, 0), 5000);
}

static void a_random_key_is_never_an_expired_one(void **state)
{
    struct fixture *f = *state;
    char key[16];
    int i;

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        expect_expiry(f, put(f, 0, key, "v"), 0, f->now + 10);
    }
    put(f, 0, "alive", "v");
    set_now(f, f->now + 10);
    for (i = 0; i < 20; i++) {
        assert_true(bytes_equal(entry_key(keyspace_random(f->ks, 0)),
                                bytes_str("alive")));
    }
    keyspace_delete(f->ks, 0, find(f, 0, "alive"));
    assert_null(keyspace_random(f->ks, 0));
    assert_int_equal(keyspace_count(f->ks, 0), 0);
}

/* ---- moving ------------------------------------------------------------ */

static void moving_takes_value_and_expiry_along(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "from", "value");

    expect_expiry(f, e, 0, f->now + 1000);
    assert_int_equal(keyspace_move(f->ks, 0, e, 1, bytes_str("to")), ERR_OK);
    assert_null(find(f, 0, "from"));
    expect_text(find(f, 1, "to"), "value");
    assert_int_equal(find(f, 1, "to")->expires_at, f->now + 1000);
    keyspace_validate(f->ks);
}

static void moving_replaces_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "from", "value");

    expect_expiry(f, put(f, 0, "to", "old"), 0, f->now + 1000);
    make_vset(f, 0, find(f, 0, "to"));
    assert_int_equal(keyspace_move(f->ks, 0, e, 0, bytes_str("to")), ERR_OK);
    expect_text(find(f, 0, "to"), "value");
    assert_int_equal(find(f, 0, "to")->expires_at, NO_EXPIRY);
    assert_int_equal(f->ks->dbs[0]->n_vsets, 0);
    assert_int_equal(keyspace_count(f->ks, 0), 1);
    keyspace_validate(f->ks);
}

static void a_moved_set_counts_in_its_new_database(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "v");

    make_vset(f, 0, e);
    assert_int_equal(keyspace_move(f->ks, 0, e, 2, bytes_str("k")), ERR_OK);
    assert_int_equal(f->ks->dbs[0]->n_vsets, 0);
    assert_int_equal(f->ks->dbs[2]->n_vsets, 1);
    keyspace_validate(f->ks);
}

/* ---- whole databases --------------------------------------------------- */

static void flushing_one_database_leaves_the_others(void **state)
{
    struct fixture *f = *state;

    put(f, 0, "k", "v");
    put(f, 1, "k", "v");
    keyspace_flush(f->ks, 0);
    assert_int_equal(keyspace_count(f->ks, 0), 0);
    assert_int_equal(keyspace_count(f->ks, 1), 1);
    assert_int_equal(f->n_flushed, 1);
    keyspace_flush(f->ks, -1);
    assert_int_equal(keyspace_count(f->ks, 1), 0);
    assert_int_equal(f->n_flushed, 2);
}

static void swapped_databases_keep_their_expiries(void **state)
{
    struct fixture *f = *state;

    expect_expiry(f, put(f, 0, "k", "zero"), 0, f->now + 10);
    put(f, 1, "k", "one");
    keyspace_swap(f->ks, 0, 1);
    assert_int_equal(f->n_flushed, 2);
    expect_text(find(f, 0, "k"), "one");
    expect_text(find(f, 1, "k"), "zero");
    assert_int_equal(keyspace_volatile_count(f->ks, 1), 1);
    keyspace_swap(f->ks, 1, 1);
    assert_int_equal(f->n_flushed, 2);
    set_now(f, f->now + 10);
    assert_null(find(f, 1, "k"));
    assert_non_null(find(f, 0, "k"));
    keyspace_validate(f->ks);
}

/* ---- without memory ---------------------------------------------------- */

static void adding_without_memory_adds_nothing(void **state)
{
    struct fixture *f = *state;
    bool added;
    uint64_t n;

    for (n = 1; n <= 2; n++) { /* the entry, the table */
        mem_fail_after(n);
        assert_null(keyspace_write_or_add(f->ks, 0, bytes_str("k"), &added));
        mem_fail_after(0);
        assert_int_equal(keyspace_count(f->ks, 0), 0);
        assert_null(find(f, 0, "k"));
    }
    keyspace_validate(f->ks);
}

static void a_value_stays_when_there_is_no_memory_for_another(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "k", "short");
    char text[200];
    uint8_t *out;

    memset(text, 'x', sizeof(text));
    mem_fail_after(1);
    assert_int_equal(string_set(f->ks, e, bytes_of(text, sizeof(text))),
                     ERR_NOMEM);
    expect_text(e, "short");
    mem_fail_after(1);
    assert_int_equal(string_resize(e, 1000, &out), ERR_NOMEM);
    expect_text(e, "short");
    mem_fail_after(1);
    assert_int_equal(keyspace_set_expiry(f->ks, 0, e, f->now + 10), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(e->expires_at, NO_EXPIRY);
    keyspace_validate(f->ks);
}

static void moving_without_memory_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct entry *e = put(f, 0, "from", "value");
    uint64_t n;

    expect_expiry(f, e, 0, f->now + 1000);
    for (n = 1; n <= 3; n++) { /* entry, table, table of expiries */
        mem_fail_after(n);
        assert_int_equal(keyspace_move(f->ks, 0, e, 1, bytes_str("to")),
                         ERR_NOMEM);
        mem_fail_after(0);
        expect_text(find(f, 0, "from"), "value");
        assert_int_equal(find(f, 0, "from")->expires_at, f->now + 1000);
        assert_int_equal(keyspace_count(f->ks, 1), 0);
    }
    put(f, 1, "to", "old");
    mem_fail_after(1);
    assert_int_equal(keyspace_move(f->ks, 0, e, 1, bytes_str("to")), ERR_NOMEM);
    mem_fail_after(0);
    expect_text(find(f, 1, "to"), "old");
    assert_int_equal(find(f, 1, "to")->expires_at, NO_EXPIRY);
    keyspace_validate(f->ks);
}

static void the_cost_of_adding_is_no_less_than_what_it_takes(void **state)
{
    struct fixture *f = *state;
    char key[64];
    int i;

    for (i = 0; i < 3000; i++) {
        size_t before, cost;

        snprintf(key, sizeof(key), "key:%.*s%d", i % 30,
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", i);
        before = mem_used();
        cost = keyspace_add_cost(f->ks, 0, bytes_str(key));
        assert_non_null(keyspace_add(f->ks, 0, bytes_str(key)));
        assert_true(mem_used() <= before + cost);
    }
}

/* ---- the random model -------------------------------------------------- */

struct twin {
    bool there;
    bool is_vset;
    char text[TEXT_MAX + 1];
    time_ms expires_at;
};

struct model {
    struct fixture *f;
    struct rng rng;
    struct twin twin[N_DBS][N_KEYS];
};

static const char *key_name(size_t i)
{
    static char name[40];

    /* Some are long, so that entries have many sizes. */
    snprintf(name, sizeof(name), "%.*s%zu", (int)(i % 20),
             "....................", i);
    return name;
}

static struct twin *live_twin(struct model *m, int db, size_t i)
{
    struct twin *t = &m->twin[db][i];

    if (t->there && t->expires_at != NO_EXPIRY && t->expires_at <= m->f->now) {
        t->there = false;
    }
    return t;
}

static void check_key(struct model *m, int db, size_t i)
{
    const struct twin *t = live_twin(m, db, i);
    const struct entry *e = find(m->f, db, key_name(i));

    assert_int_equal(e != NULL, t->there);
    if (!e) {
        return;
    }
    assert_int_equal(e->expires_at, t->expires_at);
    assert_int_equal(e->type == VALUE_VSET, t->is_vset);
    if (!t->is_vset) {
        expect_text(e, t->text);
    }
}

static void random_text(struct model *m, char *text)
{
    size_t len = rng_below(&m->rng, TEXT_MAX + 1);
    size_t i;

    if (rng_below(&m->rng, 3) == 0) {
        snprintf(text, TEXT_MAX, "%lld",
                 (long long)rng_below(&m->rng, 100000) - 50000);
        return;
    }
    for (i = 0; i < len; i++) {
        text[i] = (char)('a' + rng_below(&m->rng, 26));
    }
    text[len] = '\0';
}

static void step_put(struct model *m, int db, size_t i)
{
    struct twin *t = live_twin(m, db, i);
    struct entry *e;

    random_text(m, t->text);
    e = put(m->f, db, key_name(i), t->text);
    if (!t->there) {
        t->expires_at = NO_EXPIRY;
    }
    t->there = true;
    t->is_vset = rng_below(&m->rng, 20) == 0;
    if (t->is_vset) {
        make_vset(m->f, db, e);
    }
}

static void step_expire(struct model *m, int db, size_t i)
{
    struct twin *t = live_twin(m, db, i);
    struct entry *e = find(m->f, db, key_name(i));

    if (e) {
        t->expires_at = rng_below(&m->rng, 4)
                            ? m->f->now + (time_ms)rng_below(&m->rng, 2000)
                            : NO_EXPIRY;
        expect_expiry(m->f, e, db, t->expires_at);
    }
}

static void step_delete(struct model *m, int db, size_t i)
{
    struct entry *e = find(m->f, db, key_name(i));

    if (e) {
        keyspace_delete(m->f->ks, db, e);
    }
    m->twin[db][i].there = false;
}

static void step_move(struct model *m, int db, size_t i)
{
    int to_db = (int)rng_below(&m->rng, N_DBS);
    size_t to = rng_below(&m->rng, N_KEYS);
    struct twin *t = live_twin(m, db, i);
    struct entry *e = find(m->f, db, key_name(i));

    if (e && (db != to_db || i != to)) {
        assert_int_equal(
            keyspace_move(m->f->ks, db, e, to_db, bytes_str(key_name(to))),
            ERR_OK);
        m->twin[to_db][to] = *t;
        t->there = false;
    }
}

static void step_flush(struct model *m, int db)
{
    int i;

    if (rng_below(&m->rng, 4) == 0) {
        db = -1;
    }
    keyspace_flush(m->f->ks, db);
    for (i = 0; i < N_DBS; i++) {
        if (db < 0 || i == db) {
            memset(m->twin[i], 0, sizeof(m->twin[i]));
        }
    }
}

static void step_swap(struct model *m, int db)
{
    static struct twin kept[N_KEYS];
    int other = (int)rng_below(&m->rng, N_DBS);

    keyspace_swap(m->f->ks, db, other);
    memcpy(kept, m->twin[db], sizeof(kept));
    memmove(m->twin[db], m->twin[other], sizeof(kept));
    memcpy(m->twin[other], kept, sizeof(kept));
}

struct seen {
    size_t n;
    bool key[N_KEYS];
};

static void note_seen(void *arg, struct entry *e)
{
    struct seen *s = arg;
    const char *digits = (const char *)e->key;
    size_t len = e->key_len;
    char text[8] = "";

    while (len && *digits == '.') {
        digits++;
        len--;
    }
    memcpy(text, digits, len < 7 ? len : 7);
    assert_false(s->key[atoi(text)]);
    s->key[atoi(text)] = true;
    s->n++;
}

/* A whole scan sees exactly the keys that are there. */
static void step_scan(struct model *m, int db)
{
    struct seen s = {0};
    uint64_t cursor = 0;
    size_t i, n = 0;

    do {
        cursor = keyspace_scan(m->f->ks, db, cursor, 1 + rng_below(&m->rng, 50),
                               note_seen, &s);
    } while (cursor);
    for (i = 0; i < N_KEYS; i++) {
        assert_int_equal(s.key[i], live_twin(m, db, i)->there);
        n += s.key[i];
    }
    assert_int_equal(s.n, n);
}

static void check_all(struct model *m)
{
    int db;
    size_t i, n;

    for (db = 0; db < N_DBS; db++) {
        n = 0;
        for (i = 0; i < N_KEYS; i++) {
            check_key(m, db, i);
            n += m->twin[db][i].there;
        }
        assert_int_equal(keyspace_count(m->f->ks, db), n);
    }
    keyspace_validate(m->f->ks);
}

static void step(struct model *m)
{
    int db = (int)rng_below(&m->rng, N_DBS);
    size_t i = rng_below(&m->rng, N_KEYS);
    uint64_t what = rng_below(&m->rng, 1000);

    if (what < 400) {
        step_put(m, db, i);
    } else if (what < 550) {
        step_expire(m, db, i);
    } else if (what < 700) {
        step_delete(m, db, i);
    } else if (what < 800) {
        step_move(m, db, i);
    } else if (what < 900) {
        check_key(m, db, i);
    } else if (what < 960) {
        set_now(m->f, m->f->now + (time_ms)rng_below(&m->rng, 30));
    } else if (what < 980) {
        keyspace_expire_some(m->f->ks, 100);
    } else if (what < 990) {
        step_scan(m, db);
    } else if (what < 995) {
        step_swap(m, db);
    } else if (what < 997) {
        step_flush(m, db);
    } else {
        const struct entry *e = keyspace_random(m->f->ks, db);

        assert_true(e || keyspace_count(m->f->ks, db) == 0);
    }
}

static void random_operations_agree_with_an_array(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    int n;

    assert_non_null(m);
    m->f = *state;
    cm_seed(&m->rng);
    for (n = 0; n < 30000; n++) {
        step(m);
        if (n % 500 == 0) {
            check_all(m);
        }
    }
    check_all(m);
    free(m);
}

static void every_byte_comes_back_after_a_flush(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    size_t before;
    int round, n;

    assert_non_null(m);
    m->f = *state;
    cm_seed(&m->rng);
    wait_for_reaper(m->f);
    before = mem_used();
    for (round = 0; round < 3; round++) {
        for (n = 0; n < 5000; n++) {
            step(m);
        }
        assert_true(mem_used() > before);
        keyspace_flush(m->f->ks, -1);
        memset(m->twin, 0, sizeof(m->twin));
        wait_for_reaper(m->f);
        assert_int_equal(mem_used(), before);
    }
    free(m);
}

static void deleting_key_by_key_gives_the_bytes_back_too(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    size_t before, n;
    int db;
    size_t i;

    assert_non_null(m);
    m->f = *state;
    cm_seed(&m->rng);
    for (n = 0; n < 3000; n++) {
        step(m);
    }
    for (db = 0; db < N_DBS; db++) {
        for (i = 0; i < N_KEYS; i++) {
            step_delete(m, db, i);
        }
        assert_int_equal(keyspace_count(m->f->ks, db), 0);
    }
    wait_for_reaper(m->f);
    before = mem_used();
    /* What is left is the tables' last segments. */
    keyspace_validate(m->f->ks);
    put(m->f, 0, "k", "0");
    keyspace_flush(m->f->ks, 0);
    wait_for_reaper(m->f);
    assert_true(mem_used() <= before);
    free(m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(text_that_is_an_integer_is_kept_as_one),
        T(longer_text_is_raw),
        T(a_short_text_does_not_keep_a_large_block),
        T(resizing_fills_with_zeros_and_keeps_the_digits),
        T(a_value_of_another_type_is_dropped_when_overwritten),
        T(keys_are_binary_safe),
        T(reads_count_and_note_writes_note_only),
        T(k2_an_expired_key_is_deleted_when_looked_up),
        T(adding_under_an_expired_key_starts_afresh),
        T(k1_clearing_an_expiry_takes_the_key_off_the_list),
        T(expired_keys_of_every_database_go_in_the_background),
        T(the_mean_ttl_is_near_the_truth),
        T(a_random_key_is_never_an_expired_one),
        T(moving_takes_value_and_expiry_along),
        T(moving_replaces_what_was_there),
        T(a_moved_set_counts_in_its_new_database),
        T(flushing_one_database_leaves_the_others),
        T(swapped_databases_keep_their_expiries),
        T(adding_without_memory_adds_nothing),
        T(a_value_stays_when_there_is_no_memory_for_another),
        T(moving_without_memory_changes_nothing),
        T(the_cost_of_adding_is_no_less_than_what_it_takes),
        T(random_operations_agree_with_an_array),
        T(every_byte_comes_back_after_a_flush),
        T(deleting_key_by_key_gives_the_bytes_back_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
