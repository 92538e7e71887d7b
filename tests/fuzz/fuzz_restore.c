/* Fuzzing RESTORE: a value that somebody made, and commands on what was
 * accepted.
 *
 * The input: how the rest is to be taken, how many commands follow, two bytes
 * for each, and the value. Checksums are made right, or nothing would get past
 * them. A set that is accepted must satisfy its invariants before and after the
 * commands, with builders at work on its graph, and must come back from its own
 * DUMP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/dump.h"
#include "db/graph/graph_impl.h"
#include "db/lists/lists.h"
#include "fuzz/keyspace.h"
#include "persist/crc64.h"
#include "unit/vset_payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum take_as {
    AS_PAYLOAD, /* footer and all */
    AS_VALUE,   /* its footer is added */
    AS_OURS,    /* the fields of a set in our form */
    AS_REDIS,   /* in Redis's */
    TAKE_AS_COUNT,
};

enum {
    COMMANDS_MAX = 24,
    MEMORY_SLACK = 320 << 20,
    MEMORY_SHARE = 2048, /* bytes for each of the input */
};

static struct client client;
static struct buf replied; /* what it was replied */

/* ---- a host without sockets -------------------------------------------- */

static struct buf *host_out(struct client *c)
{
    (void)c;
    replied.len = 0;
    return &replied;
}

/* The reply of a command that took more than a slice comes this way. */
static void host_give(struct client *c, struct buf *reply)
{
    buf_append_bytes(host_out(c), buf_bytes(reply));
    reply->len = 0;
}

static const struct cmd_host host = HOST_WITHOUT_SOCKETS(host_out, host_give);

static void begin(void)
{
    keyspace_begin(2, &host);
    search_pool_set_inline(w.ks->searches, true);
    client_init(&client, 1, NULL);
    client.authenticated = true;
}

/* ---- commands ---------------------------------------------------------- */

static void run(const struct bytes *argv, size_t argc)
{
    cmd_run(&w.env, &client, argv, argc);
    while (cmd_jobs_run(&w.env)) {
    }
}

static struct vset *find_set(const char *key)
{
    struct entry *e = keyspace_find(w.ks, 0, bytes_str(key));

    return e && e->type == VALUE_VSET ? e->value.vset : NULL;
}

/* An element, by number. */
static struct bytes element(const struct vset *v, uint8_t n)
{
    static char text[8];
    uint32_t i;

    for (i = n; i < n + 256u && i < v->elements.slots.n_slots; i++) {
        if (slots_is_live(&v->elements.slots, i)) {
            return vset_name(v, i);
        }
    }
    return bytes_of(text, (size_t)snprintf(text, sizeof(text), "n%u", n));
}

static struct bytes vector(const struct vset *v, uint8_t n)
{
    static float x[VEC_DIM_MAX];
    uint32_t dim = v->options.input_dim ? v->options.input_dim : v->options.dim;
    uint32_t i;

    for (i = 0; i < dim; i++) {
        x[i] = (float)((i * 31 + n) % 17) - 8;
    }
    return bytes_of(x, dim * sizeof(float));
}

#define RUN(...)                                                               \
    run((const struct bytes[]){__VA_ARGS__},                                   \
        ARRAY_LEN(((const struct bytes[]){__VA_ARGS__})))
#define W(text) bytes_str(text)

static void command(struct vset *v, uint8_t what, uint8_t n)
{
    struct bytes key = W("k");

    switch (what % 17) {
    case 0:
        RUN(W("VREM"), key, element(v, n));
        break;
    case 1:
        RUN(W("VSETATTR"), key, element(v, n), n % 3 ? W("{\"a\":1}") : W(""));
        break;
    case 2:
        RUN(W("VSIM"), key, W("ELE"), element(v, n), W("WITHSCORES"));
        break;
    case 3:
        RUN(W("VSIM"), key, W("FP32"), vector(v, n), W("FILTER"),
            W(".a == 1 or .b in ['x']"), W("WITHATTRIBS"));
        break;
    case 4:
        RUN(W("VSEARCH"), key, W("FP32"), vector(v, n), W("EXACT"),
            W("WITHSTATS"));
        break;
    case 5:
        RUN(W("VLINKS"), key, element(v, n), W("WITHSCORES"));
        break;
    case 6:
        RUN(W("VINFO"), key);
        break;
    case 7:
        RUN(W("VEMB"), key, element(v, n), W("RAW"));
        break;
    case 8:
        RUN(W("VRANGE"), key, W("-"), W("+"), W("20"));
        break;
    case 9:
        RUN(W("COPY"), key, W("other"), W("REPLACE"));
        break;
    case 10:
        RUN(W("VRANDMEMBER"), key, W("-5"));
        break;
    case 11:
        if (v->graph && !v->graph->job) {
            graph_begin_sweep(v->graph);
        }
        break;
    case 12:
        graph_pump(v, true);
        finish_jobs();
        break;
    case 13:
        if (n % 4 == 3) {
            char m[16];

            snprintf(m, sizeof(m), "%u",
                     v->options.dim % 2 ? v->options.dim : v->options.dim / 2);
            RUN(W("VTRAIN"), key, W("IVF"), W("PQ"), W(m), W("DISCARD"),
                W("ASYNC"));
        } else {
            RUN(W("VTRAIN"), key, W("IVF"), W("ITERATIONS"), W("3"),
                W("ASYNC"));
        }
        break;
    case 14:
        RUN(W("VTRAIN"), key, n % 2 ? W("FLAT") : W("HNSW"), W("ASYNC"));
        break;
    case 15:
        lists_pump(v, true);
        (void)pool_drain(w.builders);
        break;
    default:
        if (v->options.input_dim) {
            char dim[16];

            snprintf(dim, sizeof(dim), "%u", v->options.dim);
            RUN(W("VADD"), key, W("REDUCE"), W(dim), W("FP32"), vector(v, n),
                element(v, n));
        } else {
            RUN(W("VADD"), key, W("FP32"), vector(v, n), element(v, n));
        }
        break;
    }
}

/* Jobs may put another set in the place of the one there was. */
static void check(const char *key)
{
    const struct vset *v;

    finish_jobs();
    while (cmd_jobs_run(&w.env)) { /* what waited for a node to be linked */
    }
    v = find_set(key);
    vset_validate(v);
    if (v->graph) {
        hnsw_validate(graph_of(v));
    }
    ASSERT(lists_check_slots(v, 0, UINT32_MAX) == NULL);
}

/* What it dumps it takes. */
static void check_dump(void)
{
    struct buf out = BUF_INIT;

    ASSERT(dump_write(keyspace_find(w.ks, 0, W("k")), &out) == ERR_OK);
    RUN(W("RESTORE"), W("back"), W("0"), buf_bytes(&out), W("REPLACE"));
    ASSERT(replied.len == 5 && memcmp(replied.data, "+OK\r\n", 5) == 0);
    buf_deinit(&out);
    check("back");
}

static void use(const uint8_t *commands, size_t n)
{
    size_t i;

    check("k");
    for (i = 0; i < n && find_set("k"); i++) {
        command(find_set("k"), commands[2 * i], commands[2 * i + 1]);
        keyspace_settle(w.ks);
    }
    if (find_set("k")) {
        check("k");
        check_dump();
    }
}

/* ---- the input --------------------------------------------------------- */

static void add_footer(struct buf *b)
{
    uint64_t crc;

    buf_append(b, "\x0c", 2);
    crc = crc64(0, b->data, b->len);
    buf_append(b, &crc, sizeof(crc));
}

static void make_payload(enum take_as as, struct bytes data, struct buf *b)
{
    uint64_t id = as == AS_OURS ? rdb_module_id("vectra-vs", 1)
                                : rdb_module_id("vectorset", 0);
    size_t start;

    if (as == AS_OURS || as == AS_REDIS) {
        id = __builtin_bswap64(id);
        buf_append(b, "\x07\x81", 2);
        buf_append(b, &id, sizeof(id));
    }
    start = b->len;
    buf_append_bytes(b, data);
    if (as == AS_OURS) {
        payload_mend(b->data + start, b->len - start);
    }
    if (as != AS_PAYLOAD) {
        add_footer(b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf payload = BUF_INIT;
    size_t n, before;
    uint8_t *exact;

    if (size < 3) {
        return 0;
    }
    if (!w.ks) {
        begin();
    }
    n = data[1] % (COMMANDS_MAX + 1);
    if (size < 3 + 2 * n) {
        return 0;
    }
    make_payload((enum take_as)(data[0] % TAKE_AS_COUNT),
                 bytes_of(data + 2 + 2 * n, size - 2 - 2 * n), &payload);
    exact = malloc(payload.len); /* reading past it is seen */
    ASSERT(exact);
    memcpy(exact, payload.data, payload.len);
    before = mem_used();
    w.ks->shared_loads_from = size % 2 ? 0 : SIZE_MAX; /* by the worker, too */
    RUN(W("RESTORE"), W("k"), W("0"), bytes_of(exact, payload.len));
    ASSERT(mem_used() <= before + MEMORY_SLACK + MEMORY_SHARE * size);
    free(exact);
    if (find_set("k")) {
        use(data + 2, n);
    }
    clear();
    buf_deinit(&payload);
    return 0;
}
