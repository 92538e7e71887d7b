/* Makes up sets of vectors that look like real ones, and shuffles those that
 * are there. utils/datasets/make-like compiles and runs it.
 *
 * usage: make-like sift DIR ROWS              128 dimensions, for L2
 *        make-like embedding DIR ROWS DIM     for cosine
 *        make-like shuffled DIR ROWS FROM     rows of the set in FROM
 *
 * Real vectors lie near a surface of far fewer dimensions than they have: that
 * is what makes graphs and clusters work on them, and independent random
 * numbers a poor test. Here a point of a mixture of Gaussians in 16 or 24
 * dimensions goes through a random linear map; `sift` then cuts off below zero
 * and rounds, as gradient histograms are. Everything follows from fixed seeds.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { QUERIES = 1000, CLUSTERS = 400 };

static uint64_t state = 42;

/* splitmix64 (Steele, Lea and Flood, 2014) */
static uint64_t next_random(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(void)
{
    return ((double)(next_random() >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static void die(const char *what)
{
    fprintf(stderr, "make-like: %s\n", what);
    exit(1);
}

static FILE *open_in(const char *dir, const char *name, const char *mode)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, mode);
    if (!f) {
        die(path);
    }
    return f;
}

static void write_floats(FILE *f, const float *v, size_t n)
{
    if (fwrite(v, sizeof(*v), n, f) != n) {
        die("cannot write");
    }
}

/* ---- made up ----------------------------------------------------------- */

struct maker {
    int latent, dim;
    double spread; /* of a cluster, where centres have 1 */
    double noise;  /* in every dimension */
    int cut;       /* as gradient histograms are */
    double *map, *centres;
};

static void maker_init(struct maker *m)
{
    int i;

    m->map = malloc((size_t)m->dim * (size_t)m->latent * sizeof(*m->map));
    m->centres = malloc(CLUSTERS * (size_t)m->latent * sizeof(*m->centres));
    for (i = 0; i < m->dim * m->latent; i++) {
        m->map[i] = normal() / sqrt(m->latent);
    }
    for (i = 0; i < CLUSTERS * m->latent; i++) {
        m->centres[i] = normal();
    }
}

static void make_one(const struct maker *m, float *v)
{
    const double *centre =
        m->centres + next_random() % CLUSTERS * (size_t)m->latent;
    double z[64];
    int i, j;

    for (i = 0; i < m->latent; i++) {
        z[i] = centre[i] + m->spread * normal();
    }
    for (j = 0; j < m->dim; j++) {
        double x = m->noise * normal();

        for (i = 0; i < m->latent; i++) {
            x += m->map[j * m->latent + i] * z[i];
        }
        if (m->cut) {
            x = x < 0 ? 0 : x > 3.6 ? 218 : floor(60 * x);
        }
        v[j] = (float)x;
    }
}

static void make_file(const struct maker *m, const char *dir, const char *name,
                      long n)
{
    FILE *f = open_in(dir, name, "wb");
    float *v = malloc((size_t)m->dim * sizeof(*v));

    for (; n > 0; n--) {
        make_one(m, v);
        write_floats(f, v, (size_t)m->dim);
    }
    free(v);
    fclose(f);
}

/* ---- shuffled ---------------------------------------------------------- */

static float *read_all(const char *dir, const char *name, size_t *n)
{
    FILE *f = open_in(dir, name, "rb");
    float *v;

    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f) / sizeof(*v);
    rewind(f);
    v = malloc(*n * sizeof(*v));
    if (!v || fread(v, sizeof(*v), *n, f) != *n) {
        die("cannot read");
    }
    fclose(f);
    return v;
}

/* All its rows and queries in random order: the first are the new queries, the
 * next the new rows. Returns the dimension. */
static int shuffle(const char *dir, const char *from, long rows)
{
    char meta[4096] = "";
    FILE *f = open_in(from, "meta.json", "r");
    size_t n, n_queries, total, i;
    float *base, *queries, **at;
    const char *text;
    int dim;

    (void)!fread(meta, 1, sizeof(meta) - 1, f);
    fclose(f);
    text = strstr(meta, "\"dim\":");
    dim = text ? atoi(text + 6) : 0;
    if (dim < 1) {
        die("no dimension in meta.json");
    }
    base = read_all(from, "base.f32", &n);
    queries = read_all(from, "query.f32", &n_queries);
    n /= (size_t)dim;
    total = n + n_queries / (size_t)dim;
    if ((size_t)rows + QUERIES > total) {
        die("there are not so many rows");
    }
    at = malloc(total * sizeof(*at));
    for (i = 0; i < total; i++) {
        at[i] =
            i < n ? base + i * (size_t)dim : queries + (i - n) * (size_t)dim;
    }
    for (i = 0; i < (size_t)rows + QUERIES; i++) {
        size_t j = i + next_random() % (total - i);
        float *swap = at[i];

        at[i] = at[j];
        at[j] = swap;
    }
    f = open_in(dir, "query.f32", "wb");
    for (i = 0; i < QUERIES; i++) {
        write_floats(f, at[i], (size_t)dim);
    }
    fclose(f);
    f = open_in(dir, "base.f32", "wb");
    for (i = 0; i < (size_t)rows; i++) {
        write_floats(f, at[QUERIES + i], (size_t)dim);
    }
    fclose(f);
    free(at);
    free(base);
    free(queries);
    return dim;
}

/* ---- command line ------------------------------------------------------ */

int main(int argc, char **argv)
{
    struct maker m = {.latent = 16, .dim = 128, .spread = 0.7, .noise = 0.15};
    const char *dir;
    long rows;
    FILE *f;

    if (argc < 4 || atol(argv[3]) < 1) {
        die("sift DIR ROWS | embedding DIR ROWS DIM | shuffled DIR ROWS FROM");
    }
    dir = argv[2];
    rows = atol(argv[3]);
    mkdir(dir, 0777);
    if (strcmp(argv[1], "shuffled") == 0 && argc == 5) {
        m.dim = shuffle(dir, argv[4], rows);
    } else {
        if (strcmp(argv[1], "sift") == 0) {
            m.cut = 1;
        } else if (strcmp(argv[1], "embedding") == 0 && argc == 5 &&
                   atoi(argv[4]) > 0) {
            m.latent = 24;
            m.dim = atoi(argv[4]);
        } else {
            die("sift, embedding or shuffled");
        }
        maker_init(&m);
        make_file(&m, dir, "query.f32", QUERIES);
        make_file(&m, dir, "base.f32", rows);
    }
    f = open_in(dir, "meta.json", "w"); /* last: the set is complete */
    fprintf(f, "{\"name\":\"%s\",\"n\":%ld,\"nq\":%d,\"dim\":%d}\n", argv[1],
            rows, QUERIES, m.dim);
    fclose(f);
    return 0;
}
