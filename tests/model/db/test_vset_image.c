/* A vector set written down and read again is the same set: rows, names,
 * attributes, links, answers; and it can be gone on with. Builders are at work
 * while it is written down. */
#include "unit/cm.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"
#include "db/search/search_impl.h"
#include "db/value_digest.h"
#include "db/vset/vset_image.h"
#include "model/db/loop.h"
#include "unit/vset_payload.h"

enum { NAMES = 3000, DIM = 12, INPUT_DIM = 17, K = 10 };

struct world {
    struct vset *set;
    struct rng rng;
    struct vset_options options;
};

static struct world w;

static void begin(enum vec_type type, enum vec_metric metric)
{
    memset(&w, 0, sizeof(w));
    cm_seed(&w.rng);
    loop_begin(2, 2, 2);
    w.options = (struct vset_options){.type = type,
                                      .metric = metric,
                                      .dim = DIM,
                                      .m = 6,
                                      .ef = 40,
                                      .index = VSET_INDEX_FLAT,
                                      .keep_empty = true};
    w.set = vset_create(loop.ks, loop.ks->dbs[0], &w.options);
    assert_non_null(w.set);
}

static uint32_t jobs_under_way(void)
{
    return loop.ks->n_graph_jobs + loop.ks->n_lists_jobs;
}

static void end(void)
{
    vset_drop(w.set);
    loop_end();
}

/* ---- writes ------------------------------------------------------------ */

static struct bytes name_of(uint32_t i, char *text, size_t size)
{
    int n = i % 97 ? snprintf(text, size, "%u", i)
                   : snprintf(text, size, "%0*u", 100 + (int)(i % 400), i);

    return bytes_of(text, (size_t)n);
}

static void put(struct vset *v, uint32_t i)
{
    char name[600], attribute[64];
    float x[INPUT_DIM];
    struct vset_element e = {.name = name_of(i, name, sizeof(name)),
                             .vector = x,
                             .projected = v->options.input_dim != 0};
    bool added;
    int j;

    for (j = 0; j < INPUT_DIM; j++) {
        /* Some are equal, and hang in chains. */
        x[j] = i % 5 ? (float)rng_normal(&w.rng) : (float)(i % 3 + j);
    }
    if (i % 4 == 0) {
        e.has_attribute = true;
        e.attribute = bytes_of(
            attribute, (size_t)snprintf(attribute, sizeof(attribute),
                                        i % 8 ? "{\"g\":%u}" : "%u{", i % 10));
    }
    assert_int_equal(vset_add(v, &e, &added), ERR_OK);
}

static void take(struct vset *v, uint32_t i)
{
    char name[600];
    bool removed;

    assert_int_equal(vset_remove(v, name_of(i, name, sizeof(name)), &removed),
                     ERR_OK);
}

static void churn(struct vset *v, uint32_t steps)
{
    uint32_t i;

    for (i = 0; i < steps; i++) {
        uint32_t at = (uint32_t)rng_below(&w.rng, NAMES);

        if (rng_below(&w.rng, 3)) {
            put(v, at);
        } else {
            take(v, at);
        }
        loop_turn();
    }
}

/* ---- back and forth ---------------------------------------------------- */

static struct buf save(const struct vset *v, bool compress)
{
    struct buf out = BUF_INIT;
    struct rdb_out o;

    rdb_out_open_mem(&o, &out);
    o.compress = compress;
    vset_save(&o, v);
    assert_int_equal(rdb_out_finish(&o), ERR_OK);
    rdb_out_close(&o);
    return out;
}

/* From a file, or from memory; read by workers, too, or by this thread alone.
 */
static struct vset *load_how(struct bytes data, bool file, bool shared,
                             struct err_ctx *why)
{
    struct vset *v = NULL;
    struct rdb_in in;
    uint64_t id;
    int fd = -1;

    loop.ks->shared_loads_from = shared ? 0 : SIZE_MAX;
    if (file) {
        fd = memfd_create("image", MFD_CLOEXEC);
        assert_int_equal(write(fd, data.data, data.len), data.len);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        rdb_in_open(&in, fd, 0, UINT64_MAX);
    } else {
        rdb_in_open_mem(&in, data);
    }
    if (rdb_get_module(&in, &id)) {
        v = vset_load(&in, vset_form_of(id), loop.ks, loop.ks->dbs[1]);
    }
    if (v && !rdb_get_module_end(&in)) {
        vset_drop(v);
        v = NULL;
    }
    *why = in.why;
    if (v) {
        assert_int_equal(rdb_in_left(&in), 0);
    } else {
        assert_int_not_equal(in.err, ERR_OK);
        assert_true(why->text[0] != 0);
    }
    rdb_in_close(&in);
    if (file) {
        close(fd);
    }
    return v;
}

static struct vset *try_load(struct bytes data, struct err_ctx *why)
{
    uint64_t how = rng_next(&w.rng);

    return load_how(data, how >> 32 & 1, how >> 33 & 1, why);
}

static struct vset *load(struct buf *data)
{
    struct err_ctx why;
    struct vset *v = try_load(buf_bytes(data), &why);

    if (!v) {
        fail_msg("%s", why.text);
    }
    buf_deinit(data);
    return v;
}

/* ---- comparing --------------------------------------------------------- */

static void digest(struct vset *v, struct value_digest *d)
{
    struct entry e = {.type = VALUE_VSET,
                      .encoding = ENC_VECTOR,
                      .expires_at = NO_EXPIRY,
                      .value.vset = v};
    struct value_digest_walk walk = {.set = NULL};

    value_digest_clear(d);
    value_digest_begin(&walk, loop.ks, &e, d);
    while (!value_digest_step(&walk, 1000)) {
    }
}

static void same_elements(struct vset *a, struct vset *b)
{
    struct value_digest x, y;

    digest(a, &x);
    digest(b, &y);
    assert_memory_equal(x.bytes, y.bytes, sizeof(x.bytes));
    assert_int_equal(vset_count(a), vset_count(b));
    assert_int_equal(a->n_attributes, b->n_attributes);
    assert_int_equal(a->node_uid, b->node_uid);
    assert_memory_equal(&a->options, &b->options, sizeof(a->options));
}

static void same_slots(struct vset *a, struct vset *b)
{
    slot_id slot;

    assert_int_equal(a->elements.slots.n_slots, b->elements.slots.n_slots);
    for (slot = 0; slot < a->elements.slots.n_slots; slot++) {
        bool live = slots_is_live(&a->elements.slots, slot);

        assert_int_equal(live, slots_is_live(&b->elements.slots, slot));
        if (live) {
            assert_true(bytes_equal(vset_name(a, slot), vset_name(b, slot)));
            assert_memory_equal(vset_row(a, slot), vset_row(b, slot),
                                a->format.row_bytes);
            assert_memory_equal(slots_side(&a->elements.slots, slot),
                                slots_side(&b->elements.slots, slot),
                                vec_fine_bytes(&a->format));
        }
    }
}

static void same_links(struct vset *a, struct vset *b)
{
    const struct hnsw *x = graph_of(a), *y = graph_of(b);
    uint32_t p[64], q[64];
    slot_id slot;
    int level;

    assert_int_equal(hnsw_count(x), hnsw_count(y));
    assert_int_equal(hnsw_start(x), hnsw_start(y));
    for (slot = 0; slot < a->elements.slots.n_slots; slot++) {
        assert_int_equal(hnsw_is_linked(x, slot), hnsw_is_linked(y, slot));
        if (!hnsw_is_linked(x, slot)) {
            continue;
        }
        assert_int_equal(hnsw_level(x, slot), hnsw_level(y, slot));
        for (level = 0; level <= hnsw_level(x, slot); level++) {
            size_t n = hnsw_links(x, slot, level, p, 64);

            assert_int_equal(n, hnsw_links(y, slot, level, q, 64));
            assert_memory_equal(p, q, n * sizeof(*p));
        }
    }
}

static void write_hits(const struct search *s, const void *data,
                       struct buf *out)
{
    size_t n = search_hit_count(s), i;

    (void)data;
    for (i = 0; i < n; i++) {
        struct search_hit hit;

        search_hit_read(s, i, &hit);
        buf_append(out, &hit.distance, sizeof(hit.distance));
        buf_append_bytes(out, hit.name);
    }
}

static void keep_reply(struct search *s, void *arg)
{
    struct buf *out = arg;

    buf_append_bytes(out, buf_bytes(search_reply(s)));
}

static struct buf ask(struct vset *v, const float *x)
{
    struct search_request q = {.vector = x,
                               .exclude = SLOT_NONE,
                               .k = K,
                               .ef = 30,
                               .radius = INFINITY,
                               .format = write_hits};
    struct buf out = BUF_INIT;
    struct search *s;

    assert_int_equal(search_create(v, &q, &s), ERR_OK);
    search_run(s, keep_reply, &out);
    return out;
}

static void same_answers(struct vset *a, struct vset *b)
{
    float x[DIM];
    int i, j;

    for (i = 0; i < 50; i++) {
        struct buf p, q;

        for (j = 0; j < DIM; j++) {
            x[j] = (float)rng_normal(&w.rng);
        }
        p = ask(a, x);
        q = ask(b, x);
        assert_true(bytes_equal(buf_bytes(&p), buf_bytes(&q)));
        buf_deinit(&p);
        buf_deinit(&q);
    }
}

static void check_graph(struct vset *v)
{
    loop_finish_jobs();
    vset_validate(v);
    if (v->graph) {
        hnsw_validate(graph_of(v));
    }
}

/* ---- tests ------------------------------------------------------------- */

static void back_and_forth(bool compress)
{
    struct buf data;
    struct vset *v;
    bool has_graph = w.set->graph && hnsw_count(graph_of(w.set)) > 0;
    bool at_rest = jobs_under_way() == 0;

    data = save(w.set, compress);
    v = load(&data);
    same_elements(w.set, v);
    vset_validate(v);
    if (has_graph) {
        hnsw_validate(graph_of(v));
        same_slots(w.set, v);
        if (at_rest) {
            same_links(w.set, v);
            same_answers(w.set, v);
        }
    }
    churn(v, 300);
    check_graph(v);
    vset_drop(v);
}

static void run_all(enum vec_type type, enum vec_metric metric)
{
    uint32_t i;

    begin(type, metric);
    back_and_forth(true); /* empty */
    for (i = 0; i < 200; i++) {
        put(w.set, i);
    }
    back_and_forth(true);
    assert_int_equal(graph_begin(w.set), ERR_OK);
    back_and_forth(false);
    for (i = 0; i < NAMES; i++) {
        put(w.set, i);
    }
    graph_pump(w.set, true);
    back_and_forth(true); /* while a batch is under way */
    churn(w.set, 2000);
    back_and_forth(true);
    loop_finish_jobs();
    graph_pump(w.set, true);
    loop_finish_jobs();
    back_and_forth(false);
    for (i = 0; i < 500; i++) {
        take(w.set, i);
    }
    graph_begin_sweep(w.set->graph);
    back_and_forth(true); /* during a sweep */
    check_graph(w.set);
    back_and_forth(true);
    for (i = 0; i < NAMES - 20; i++) {
        take(w.set, i);
    }
    loop_finish_jobs();
    same_elements(w.set, w.set);
    end();
}

static void every_format(void **state)
{
    int type, metric;

    (void)state;
    for (type = 0; type < VEC_TYPE_COUNT; type++) {
        for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
            run_all((enum vec_type)type, (enum vec_metric)metric);
        }
    }
}

/* ---- lists ------------------------------------------------------------- */

static void same_owners(struct vset *a, struct vset *b)
{
    uint32_t i;

    for (i = 0; i < (a->elements.slots.n_slots + 31) / 32; i++) {
        assert_int_equal(lists_owner_of_block(a, i),
                         lists_owner_of_block(b, i));
    }
}

static void check_lists(const struct vset *v)
{
    const char *broken = lists_check_slots(v, 0, UINT32_MAX);

    if (broken) {
        fail_msg("%s", broken);
    }
}

static void train(struct vset *v, uint32_t nlist)
{
    struct lists_options o = {
        .nlist = nlist, .nprobe = 3, .iterations = 5, .seed = 9};
    uint64_t build;

    assert_int_equal(lists_train(v, &o, &build), ERR_OK);
}

static void lists_back_and_forth(void)
{
    struct lists_info a, b;
    struct buf data = save(w.set, rng_below(&w.rng, 2));
    struct vset *v = load(&data);

    lists_info_read(w.set, &a);
    lists_info_read(v, &b);
    same_elements(w.set, v);
    vset_validate(v);
    check_lists(v);
    assert_int_equal(a.has_lists || a.is_coming, b.has_lists || b.is_coming);
    if (a.has_lists && !a.is_coming) {
        assert_true(b.has_lists);
        assert_int_equal(a.options.nlist, b.options.nlist);
        assert_int_equal(a.options.nprobe, b.options.nprobe);
        assert_int_equal(a.options.seed, b.options.seed);
        assert_int_equal(a.trained_rows, b.trained_rows);
        assert_int_equal(a.trained_at, b.trained_at);
        if (v->elements.slots.n_slots == w.set->elements.slots.n_slots) {
            same_slots(w.set, v);
            same_owners(w.set, v);
            assert_int_equal(a.listed, b.listed);
        }
    }
    churn(v, 300);
    loop_finish_jobs();
    vset_validate(v);
    check_lists(v);
    vset_drop(v);
}

/* Lists are kept, and what was being made of them is made. */
static void lists_are_kept(void **state)
{
    static const struct {
        enum vec_type type;
        enum vec_metric metric;
    } kinds[] = {
        {VEC_F32, VEC_L2}, {VEC_I8, VEC_COSINE}, {VEC_BIT, VEC_COSINE}};
    uint32_t k, i;

    (void)state;
    for (k = 0; k < ARRAY_LEN(kinds); k++) {
        begin(kinds[k].type, kinds[k].metric);
        for (i = 0; i < NAMES; i++) {
            put(w.set, i);
        }
        train(w.set, 24);
        for (i = 0; jobs_under_way() > 0 && i < 40; i++) {
            loop_wait();
            if (rng_below(&w.rng, 4) == 0) {
                lists_back_and_forth(); /* while they are trained and filled */
            }
        }
        loop_finish_jobs();
        check_lists(w.set);
        lists_back_and_forth();
        churn(w.set, 1500);
        lists_back_and_forth();
        loop_finish_jobs();
        train(w.set, 33);
        for (i = 0; jobs_under_way() > 0 && i < 40; i++) {
            loop_wait();
            if (rng_below(&w.rng, 4) == 0) {
                lists_back_and_forth(); /* beside the old ones */
            }
        }
        loop_finish_jobs();
        for (i = 0; i < NAMES - 30; i++) {
            take(w.set, i);
        }
        lists_back_and_forth(); /* sparse */
        end();
    }
}

/* ---- damage ------------------------------------------------------------ */

/* What was accepted must stand being used. */
static void use(struct vset *v)
{
    struct vset *before = w.set;
    float x[INPUT_DIM] = {1, 2, 3};
    struct buf out;

    vset_validate(v);
    if (v->graph && v->graph->hnsw) {
        hnsw_validate(v->graph->hnsw);
    }
    check_lists(v);
    w.set = v;
    if (v->options.dim <= INPUT_DIM && v->options.input_dim <= INPUT_DIM &&
        vset_count(v) > 0) {
        out = ask(v, x);
        buf_deinit(&out);
        put(v, 1);
        put(v, 7);
        take(v, 4);
        if (v->graph && !v->graph->job && v->graph->n_dying) {
            graph_begin_sweep(v->graph);
        }
        loop_finish_jobs();
        vset_validate(v);
    }
    w.set = before;
}

static void try_payload(const uint8_t *data, size_t len)
{
    struct err_ctx why;
    uint8_t *exact = mem_alloc(len + 1); /* so that ASan sees its end */
    struct vset *v;
    size_t before = mem_used();

    memcpy(exact, data, len);
    v = try_load(bytes_of(exact, len), &why);
    assert_in_range(mem_used(), 0, before + ((size_t)256 << 20));
    if (v) {
        use(v);
        vset_drop(v);
        loop_finish_jobs();
    }
    mem_free(exact);
}

/* Every byte in turn gets a few other values, its checksum made right. */
static void tamper(const struct buf *good)
{
    enum { MODULE_ID = 9 };
    static const uint8_t others[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t *bad = mem_alloc(good->len);
    size_t at, i;

    for (at = 0; at < good->len; at++) {
        try_payload(good->data, at); /* cut short */
        for (i = 0; i < 2 + ARRAY_LEN(others) / 4; i++) {
            memcpy(bad, good->data, good->len);
            bad[at] = i == 0 ? bad[at] ^ (uint8_t)(1 + rng_below(&w.rng, 255))
                             : others[rng_below(&w.rng, ARRAY_LEN(others))];
            if (i) {
                payload_mend(bad + MODULE_ID, good->len - MODULE_ID);
            }
            try_payload(bad, good->len);
        }
    }
    mem_free(bad);
}

/* Images from before there were fine parts: rows are as if they came from
 * Redis, until they are written again. */
static void images_without_fine_parts_are_read(void **state)
{
    uint32_t *side_bytes;
    struct vset *v;
    struct buf data;
    slot_id slot;
    uint32_t i;

    (void)state;
    begin(VEC_I8, VEC_COSINE);
    for (i = 0; i < NAMES; i++) {
        put(w.set, i);
    }
    side_bytes = &w.set->elements.slots.geometry.side_bytes;
    i = *side_bytes;
    *side_bytes = 0;
    data = save(w.set, true);
    *side_bytes = i;
    v = load(&data);
    same_elements(w.set, v);
    for (slot = 0; slot < v->elements.slots.n_slots; slot++) {
        assert_int_equal(*slots_side(&v->elements.slots, slot), VEC_FINE_NONE);
    }
    churn(v, 300);
    check_graph(v);
    vset_drop(v);
    end();
}

/* ---- sets of many blocks ------------------------------------------------ */

enum { WIDE = 160, MANY = 3000, LONG_TEXT = 300 };

static void begin_large(enum vec_type type)
{
    char name[LONG_TEXT + 1], attribute[LONG_TEXT + 1];
    float x[WIDE];
    struct vset_element e = {.vector = x, .has_attribute = true};
    uint32_t i;
    bool added;
    int j;

    begin(type, VEC_COSINE);
    vset_drop(w.set);
    w.options.dim = WIDE;
    w.options.m = 64;
    w.set = vset_create(loop.ks, loop.ks->dbs[0], &w.options);
    assert_non_null(w.set);
    for (i = 0; i < MANY; i++) {
        for (j = 0; j < WIDE; j++) {
            x[j] = (float)rng_normal(&w.rng);
        }
        e.name = bytes_of(
            name, (size_t)snprintf(name, sizeof(name), "%0*u", LONG_TEXT, i));
        e.attribute =
            bytes_of(attribute, (size_t)snprintf(attribute, sizeof(attribute),
                                                 "{\"g\":\"%0*u\"}", 200, i));
        assert_int_equal(vset_add(w.set, &e, &added), ERR_OK);
    }
    assert_int_equal(graph_begin(w.set), ERR_OK);
    graph_pump(w.set, true);
    loop_finish_jobs();
    for (i = 0; i < MANY; i += 50) { /* some are held */
        e.name = bytes_of(
            name, (size_t)snprintf(name, sizeof(name), "%0*u", LONG_TEXT, i));
        assert_int_equal(vset_remove(w.set, e.name, &added), ERR_OK);
    }
}

/* However it is read, it is the same set, or refused with the same words. */
static void try_all_ways(struct bytes data)
{
    struct vset *v[4];
    struct err_ctx why[4];
    int i;

    for (i = 0; i < 4; i++) {
        v[i] = load_how(data, i & 1, i & 2, &why[i]);
        assert_int_equal(!v[i], !v[0]);
        if (v[i]) {
            vset_validate(v[i]);
            same_elements(v[0], v[i]);
            same_slots(v[0], v[i]);
        } else {
            assert_string_equal(why[i].text, why[0].text);
        }
    }
    for (i = 0; i < 4; i++) {
        if (v[i]) {
            same_links(v[0], v[i]);
            if (i > 0) {
                vset_drop(v[i]);
            }
        }
    }
    if (v[0]) {
        vset_drop(v[0]);
    }
}

static void workers_read_what_one_thread_reads(void **state)
{
    enum { MODULE_ID = 9, TRIES = 12 };
    static const enum vec_type types[] = {VEC_F32, VEC_I8};
    struct buf data;
    size_t i;
    int t;

    (void)state;
    for (i = 0; i < ARRAY_LEN(types); i++) {
        begin_large(types[i]);
        data = save(w.set, i == 0);
        try_all_ways(buf_bytes(&data));
        for (t = 0; t < TRIES; t++) {
            size_t at = rng_below(&w.rng, data.len);
            uint8_t was = data.data[at];

            data.data[at] ^= (uint8_t)(1 + rng_below(&w.rng, 255));
            if (t % 3) {
                payload_mend(data.data + MODULE_ID, data.len - MODULE_ID);
            }
            try_all_ways(buf_bytes(&data));
            data.data[at] = was;
            payload_mend(data.data + MODULE_ID, data.len - MODULE_ID);
            try_all_ways(bytes_of(data.data, at)); /* cut short */
        }
        buf_deinit(&data);
        end();
    }
}

static void damage_is_refused_or_harmless(void **state)
{
    enum { FEW = 36 };
    static const enum vec_type types[] = {VEC_F32, VEC_I8, VEC_BIT};
    struct buf data;
    size_t i;
    uint32_t j;

    (void)state;
    for (i = 0; i < ARRAY_LEN(types); i++) {
        begin(types[i], VEC_L2);
        for (j = 0; j < FEW; j++) {
            put(w.set, j);
        }
        data = save(w.set, false);
        tamper(&data);
        buf_deinit(&data);
        assert_int_equal(graph_begin(w.set), ERR_OK);
        graph_pump(w.set, true);
        loop_finish_jobs();
        for (j = 0; j < FEW; j += 9) {
            take(w.set, j);
        }
        data = save(w.set, i == 1);
        tamper(&data);
        buf_deinit(&data);
        end();
    }
}

static void damaged_lists_are_refused_or_harmless(void **state)
{
    enum { SOME = 80 };
    struct buf data;
    uint32_t j;

    (void)state;
    begin(VEC_BIT, VEC_COSINE);
    for (j = 0; j < SOME; j++) {
        put(w.set, j);
    }
    train(w.set, 3);
    data = save(w.set, false);
    tamper(&data);
    buf_deinit(&data);
    loop_finish_jobs();
    for (j = 0; j < SOME; j += 9) {
        take(w.set, j);
    }
    data = save(w.set, false);
    tamper(&data);
    buf_deinit(&data);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format),
        cmocka_unit_test(images_without_fine_parts_are_read),
        cmocka_unit_test(lists_are_kept),
        cmocka_unit_test(workers_read_what_one_thread_reads),
        cmocka_unit_test(damage_is_refused_or_harmless),
        cmocka_unit_test(damaged_lists_are_refused_or_harmless),
    };

    if (vec_simd_select("auto") != ERR_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
