/* Lists as they are logged and saved.
 *
 * What was trained is, all numbers little-endian:
 *
 *     0   u32   "VLST"
 *     4   u32   1, the version
 *     8   u64   LISTS_OPTION_WORDS of them: what was asked for
 *     88  u64   elements the set had
 *     96  i64   when it was, milliseconds since 1970
 *     104 f64   seconds it took
 *     112 f64   mean distance of rows to their centroids, 0: not known
 *     120 u64   bytes of the centroids, which follow: ivf_centroids_write()
 *         u64   bytes of the codebooks, which follow; 0 without */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists_impl.h"

#define MEASURE_MAX 1e100

enum { VERSION = 1, HEAD_BYTES = LISTS_FORM_HEAD };

static const char MAGIC[4] = {'V', 'L', 'S', 'T'};

static void put_u64(uint8_t *at, uint64_t x)
{
    int i;

    for (i = 0; i < 8; i++) {
        at[i] = (uint8_t)(x >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t x = 0;
    int i;

    for (i = 7; i >= 0; i--) {
        x = x << 8 | at[i];
    }
    return x;
}

static void put_f64(uint8_t *at, double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    put_u64(at, bits);
}

static double get_f64(const uint8_t *at)
{
    uint64_t bits = get_u64(at);
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x >= 0 && x < 1e300 ? x : 0;
}

/* Finite numbers, one for each point. */
static enum err get_books(struct vec_pq *pq, struct bytes books)
{
    size_t i;

    if (books.len != vec_pq_n_points(pq) * sizeof(float)) {
        return ERR_CORRUPT;
    }
    for (i = 0; i < books.len / 4; i++) {
        const uint8_t *at = books.data + 4 * i;
        uint32_t bits = (uint32_t)at[0] | (uint32_t)at[1] << 8 |
                        (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;

        memcpy(&pq->points[i], &bits, sizeof(bits));
        if (!isfinite(pq->points[i])) {
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

/* ---- writing ----------------------------------------------------------- */

void lists_form_make(struct lists_form *f, const struct lists_result *r,
                     const struct ivf_centroids *c, double residual)
{
    size_t books = r->pq ? vec_pq_n_points(r->pq) * sizeof(float) : 0;
    uint64_t words[LISTS_OPTION_WORDS];
    uint8_t *at = f->head;
    int i;

    memcpy(at, MAGIC, sizeof(MAGIC));
    memcpy(at + 4, (const uint8_t[]){VERSION, 0, 0, 0}, 4);
    lists_options_put(&r->options, words);
    for (i = 0; i < LISTS_OPTION_WORDS; i++) {
        put_u64(at + 8 + 8 * i, words[i]);
    }
    at += 8 + sizeof(words);
    put_u64(at, r->trained_rows);
    put_u64(at + 8, (uint64_t)r->trained_at);
    put_f64(at + 16, r->train_s);
    put_f64(at + 24, residual);
    put_u64(at + 32, ivf_centroids_size(c));
    ivf_centroids_head(c, at + 40);
    put_u64(f->books, books);
    f->parts[0] = bytes_of(f->head, sizeof(f->head));
    f->parts[1] = ivf_centroids_floats(c);
    f->parts[2] = bytes_of(f->books, sizeof(f->books));
    f->parts[3] = bytes_of(r->pq ? r->pq->points : NULL, books);
    f->size = 0;
    for (i = 0; i < LISTS_FORM_PARTS; i++) {
        f->size += f->parts[i].len;
    }
}

void lists_form_copy(const struct lists_form *f, size_t from, size_t n,
                     uint8_t *out)
{
    int i;

    for (i = 0; i < LISTS_FORM_PARTS && n > 0; i++) {
        struct bytes b = f->parts[i];
        size_t some;

        if (from >= b.len) {
            from -= b.len;
            continue;
        }
        some = b.len - from < n ? b.len - from : n;
        memcpy(out, b.data + from, some);
        out += some;
        n -= some;
        from = 0;
    }
}

bool lists_form_of(const struct vset *v, struct lists_form *f)
{
    const struct lists *l = v->lists ? lists_target(v->lists) : NULL;
    struct lists_result r;

    if (!l) {
        return false;
    }
    r = (struct lists_result){
        .options = l->options,
        .trained_rows = l->trained_rows,
        .trained_at = l->trained_at,
        .train_s = l->train_s,
        /* Their own, or those of the set's rows. */
        .pq = l->options.discard && !l->pq ? vset_pq(v) : l->pq,
    };
    lists_form_make(f, &r, ivf_centroids_of(l->ivf),
                    l->is_filled ? l->residual : 0);
    return true;
}

bool lists_write_trained(const struct vset *v, struct buf *out)
{
    struct lists_form f;

    if (!lists_form_of(v, &f)) {
        return false;
    }
    lists_form_copy(&f, 0, f.size, buf_room(out, f.size));
    out->len += f.size;
    return true;
}

size_t lists_trained_size(const struct vset *v)
{
    struct lists_form f;

    return lists_form_of(v, &f) ? f.size : 0;
}

void lists_trained_put(const struct vset *v, uint8_t *out)
{
    struct lists_form f;

    if (lists_form_of(v, &f)) {
        lists_form_copy(&f, 0, f.size, out);
    }
}

bool lists_is_asked(const struct vset *v, struct lists_options *out)
{
    const struct lists_home *h = v->lists;
    const struct lists *l = h ? h->coming : NULL;

    if (l && !l->ivf) {
        *out = l->options;
        return true;
    }
    if (h && h->has_asked) {
        *out = h->asked;
        return true;
    }
    return false;
}

/* A length and as many bytes. */
static bool get_part(struct bytes *in, struct bytes *out)
{
    uint64_t n;

    if (in->len < 8) {
        return false;
    }
    n = get_u64(in->data);
    if (n > in->len - 8) {
        return false;
    }
    *out = bytes_of(in->data + 8, (size_t)n);
    *in = bytes_of(in->data + 8 + n, in->len - 8 - (size_t)n);
    return true;
}

/* Seconds, or a mean of distances. */
static bool is_sane(double x)
{
    return x >= 0 && x <= MEASURE_MAX;
}

struct trained {
    struct lists_result result;
    double residual;
    struct bytes centroids, books;
};

/* Takes what lists_write_trained() wrote apart. */
static enum err parse(const struct vset *v, struct bytes in, struct trained *t)
{
    struct lists_result *r = &t->result;
    struct bytes rest;
    char why[192];
    uint64_t words[LISTS_OPTION_WORDS];
    int i;

    memset(t, 0, sizeof(*t));
    if (in.len < HEAD_BYTES || memcmp(in.data, MAGIC, sizeof(MAGIC)) != 0 ||
        in.data[4] != VERSION || in.data[5] || in.data[6] || in.data[7]) {
        return ERR_CORRUPT;
    }
    for (i = 0; i < LISTS_OPTION_WORDS; i++) {
        words[i] = get_u64(in.data + 8 + 8 * i);
    }
    rest = bytes_of(in.data + HEAD_BYTES - 8, in.len - HEAD_BYTES + 8);
    if (lists_options_get(words, &r->options) != ERR_OK ||
        !lists_options_fit(&r->options, &v->options, UINT32_MAX, why,
                           sizeof(why)) ||
        !get_part(&rest, &t->centroids) || !get_part(&rest, &t->books) ||
        rest.len || get_u64(in.data + 88) > UINT32_MAX ||
        get_u64(in.data + 96) > INT64_MAX || !is_sane(get_f64(in.data + 104)) ||
        !is_sane(get_f64(in.data + 112))) {
        return ERR_CORRUPT;
    }
    r->trained_rows = (uint32_t)get_u64(in.data + 88);
    r->trained_at = (time_ms)get_u64(in.data + 96);
    r->train_s = get_f64(in.data + 104);
    t->residual = get_f64(in.data + 112);
    return ERR_OK;
}

/* Codebooks of a set that has given up its vectors already: the same again. */
static enum err check_books(const struct vset *v, struct bytes books)
{
    struct vec_pq *pq =
        mem_try_alloc(vec_pq_bytes(v->format.dim, v->options.pq_m));
    enum err err;

    if (!pq) {
        return ERR_NOMEM;
    }
    vec_pq_init(pq, v->format.metric, v->format.dim, v->options.pq_m);
    err = get_books(pq, books);
    if (!err && memcmp(pq->points, vset_pq(v)->points, books.len) != 0) {
        err = ERR_CORRUPT;
    }
    mem_free(pq);
    return err;
}

static enum err read_books(struct lists *l, struct bytes books)
{
    if (lists_make_pq(l) != ERR_OK) {
        return ERR_NOMEM;
    }
    if (l->pq) {
        return get_books(l->pq, books);
    }
    if (l->options.discard) {
        return check_books(l->home->set, books);
    }
    return books.len ? ERR_CORRUPT : ERR_OK;
}

/* Makes lists of it that nobody knows of. */
static enum err make_trained(struct vset *v, const struct trained *t,
                             struct lists **lists)
{
    struct lists_home *h = lists_home_of(v);
    struct lists *l = h ? lists_make(h, &t->result.options) : NULL;
    enum err err;

    if (!l) {
        return ERR_NOMEM;
    }
    l->trained_rows = t->result.trained_rows;
    l->trained_at = t->result.trained_at;
    l->train_s = t->result.train_s;
    l->residual = t->residual;
    err = read_books(l, t->books);
    if (err) {
        lists_drop(l);
        return err;
    }
    *lists = l;
    return ERR_OK;
}

static enum err read_trained(struct vset *v, struct bytes in, struct trained *t)
{
    enum err err = parse(v, in, t);

    return err ? err
               : ivf_centroids_read(t->centroids.data, t->centroids.len,
                                    v->format.metric, v->format.dim,
                                    &t->result.centroids);
}

static enum err discard_now(struct vset *v, struct trained *t)
{
    uint32_t dim = v->format.dim, m = t->result.options.pq_m;
    struct vec_pq *pq = mem_try_alloc(vec_pq_bytes(dim, m));
    enum err err = pq ? ERR_OK : ERR_NOMEM;

    if (!err) {
        vec_pq_init(pq, v->format.metric, dim, m);
        err = get_books(pq, t->books);
    }
    if (!err && v->n_frozen) {
        err = ERR_BUSY; /* it is being written down */
    }
    t->result.pq = pq;
    if (err) {
        ivf_centroids_destroy(t->result.centroids);
    } else {
        err = lists_discard_now(v, &t->result);
    }
    mem_free(pq);
    return err;
}

enum err lists_install_trained(struct vset *v, struct bytes trained,
                               uint64_t *build)
{
    struct trained t;
    struct lists *l;
    enum err err = read_trained(v, trained, &t);

    *build = 0;
    if (err) {
        return err;
    }
    if (lists_discards(&t.result.options, v)) {
        return discard_now(v, &t);
    }
    err = make_trained(v, &t, &l);
    if (err) {
        ivf_centroids_destroy(t.result.centroids);
        return err;
    }
    l->residual = 0; /* it is measured anew */
    lists_forget_asked(v);
    if (v->lists->coming) {
        lists_drop_all(v);
    }
    if (v->lists->answers) {
        v->lists->coming = l;
    }
    err = lists_install(l, t.result.centroids, NULL);
    if (err) {
        ivf_centroids_destroy(t.result.centroids);
        lists_drop(l);
        return err;
    }
    *build = l->build;
    lists_pump(v, true);
    return ERR_OK;
}

/* ---- files ------------------------------------------------------------- */

enum err lists_image_begin(struct vset *v, struct bytes trained,
                           struct lists **out)
{
    struct trained t;
    struct lists *l;
    enum err err = read_trained(v, trained, &t);

    if (err) {
        return err;
    }
    err = lists_discards(&t.result.options, v) ? ERR_CORRUPT
                                               : make_trained(v, &t, &l);
    if (err) {
        ivf_centroids_destroy(t.result.centroids);
        return err;
    }
    err = v->lists->answers || v->lists->coming
              ? ERR_CORRUPT
              : lists_install(l, t.result.centroids, NULL);
    if (err) {
        ivf_centroids_destroy(t.result.centroids);
        lists_drop(l);
        return err;
    }
    *out = l;
    return ERR_OK;
}

enum err lists_image_block(struct lists *l, uint32_t list, uint32_t block)
{
    struct slots *s = lists_slots(l->home);
    uint32_t free_lanes;
    enum err err;

    if (list >= ivf_n_lists(l->ivf)) {
        return ERR_CORRUPT;
    }
    err = slots_block_adopt(s, block, &free_lanes);
    if (!err) {
        err = lists_block_add(l, list, block);
    }
    if (!err) {
        ivf_block_fill(l->ivf, block, ~free_lanes);
        err = lists_encode_block(l, block, ~free_lanes);
    }
    return err;
}

enum err lists_image_install(struct lists *l)
{
    struct lists_home *h = l->home;

    l->is_filled = true;
    l->imbalance = ivf_imbalance(l->ivf);
    l->moved = l->goal;
    h->trainings = 0;
    graph_tell(h->keyspace);
    return ERR_OK;
}

void lists_image_abandon(struct lists *l)
{
    lists_drop_all(l->home->set);
}
